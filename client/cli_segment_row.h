/*
 * cli_segment_row.h - a row of a segment as line protocol, CSV or a line of JSON.
 *
 *     line    cpu,host=a usage=1.5 1700000000000000000         what `millrace write` reads
 *     csv     time,host,usage                                  a header when the columns change
 *     jsonl   {"time":"...","database":"d","table":"cpu","tags":{...},"fields":{...}}
 */
#ifndef CLIENT_CLI_SEGMENT_ROW_H
#define CLIENT_CLI_SEGMENT_ROW_H

#include "client/cli_segment.h"
#include "storage/base/bytes.h"

enum { CLI_SEGMENT_TAGS_MAX = 1024 }; /* Different names in one table, for the columns of CSV. */

struct cli_segment_cell {
    bool present;
    uint64_t bits;     /* As in block_builder_value(). */
    struct slice text; /* FIELD_STRING. Borrowed. */
};

struct cli_segment_row {
    const struct key_parts *series;
    const struct segment_table *table;
    const struct cli_segment_cell *cells; /* One a field of the table. */
    int64_t time_ns;
};

struct cli_segment_printer {
    FILE *out;
    enum cli_segment_format format;
    struct bytes tags[CLI_SEGMENT_TAGS_MAX]; /* CSV: names, sorted. Owned. */
    uint32_t tag_count;
    struct bytes line, header;           /* Owned. */
    uint64_t unsaid_rows, unsaid_values; /* That line protocol has no words for. */
};

void cli_segment_row_fini(struct cli_segment_printer *printer);

/** CSV: there will be rows with this series' tags. False: too many names, or no memory. */
bool cli_segment_row_expect(struct cli_segment_printer *printer, const struct key_parts *series);
/** CSV: forget the names that were expected. */
void cli_segment_row_forget(struct cli_segment_printer *printer);

/** Print it. False: no memory. */
bool cli_segment_row_print(struct cli_segment_printer *printer, const struct cli_segment_row *row);

#endif
