/*
 * cli_row.h - a row as line protocol, CSV or a line of JSON: what `millrace segment cat` and
 * `millrace export` print, and `millrace import` reads again (cli_row_read.h).
 *
 *     lp      cpu,host=a usage=1.5,n=3i 1700000000000000000           what `millrace write` reads
 *     csv     time,host:tag,n:integer,usage:float                     a header when columns change
 *             2023-11-14T22:13:20Z,a,3,1.5
 *     jsonl   {"time":"2023-11-14T22:13:20Z","database":"d","table":"cpu","tags":{"host":"a"},
 *              "fields":{"n":3,"usage":1.5}}                          in one line
 *
 * All are read back to the same bits, but for what line protocol has no words for, which is counted
 * (line_write.h).
 *
 * CSV     RFC 4180. A column's name says whether it is a tag, or a field of which type. Nothing
 *         between two commas: the row has no such value. An empty string is "".
 * JSON    Floats have a point or an exponent, integers have not. {"unsigned":7}: of that type.
 *         Bytes that are no UTF-8 stay as they are.
 * Floats  that are no numbers: inf, -inf, nan, and any other NaN as its bits, 0x7ff8000000000001;
 *         in JSON {"float":"inf"}.
 */
#ifndef CLIENT_CLI_ROW_H
#define CLIENT_CLI_ROW_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "storage/base/bytes.h"
#include "storage/base/types.h"

enum cli_row_format { CLI_ROW_LINE, CLI_ROW_CSV, CLI_ROW_JSONL };

enum { CLI_ROW_TAGS_MAX = 1024 }; /* Different names in one table, for the columns of CSV. */

#define CLI_ROW_FORMATS "lp, csv or jsonl"

/** "lp", "csv", "jsonl". False: none of them. */
bool cli_row_format(const char *name, enum cli_row_format *ret_format);

struct cli_row_field {
    struct slice name;
    enum field_type type;
};

struct cli_row_cell {
    bool present;
    uint64_t bits;     /* As in block_builder_value(). */
    struct slice text; /* FIELD_STRING. Borrowed. */
};

struct cli_row {
    struct slice database, table;
    const struct tag *tags;
    size_t tag_count;
    const struct cli_row_cell *cells; /* One for each field of cli_row_fields(). */
    int64_t time_ns;
};

struct cli_row_column {
    struct bytes name; /* Owned. */
    enum field_type type;
};

struct cli_row_printer {
    FILE *out;
    enum cli_row_format format;
    const struct cli_row_field *fields; /* Of the rows that follow. Borrowed. */
    uint32_t field_count;
    uint64_t bytes;                      /* Printed. */
    uint64_t unsaid_rows, unsaid_values; /* That line protocol has no words for. */

    /* CSV: the columns of the header, tags sorted by name, fields in the order of their coming. */
    struct bytes tags[CLI_ROW_TAGS_MAX]; /* Owned. */
    uint32_t tag_count;
    struct cli_row_column *columns; /* Owned. */
    uint32_t column_count, column_capacity;
    uint32_t *places;  /* Owned: field -> column, or UINT32_MAX. */
    uint32_t *cells;   /* Owned: column -> cell of the row, or UINT32_MAX. */
    bool headed;       /* The header was printed, and fits. */
    struct bytes line; /* Owned. */
};

void cli_row_fini(struct cli_row_printer *printer);

/** The fields of the rows from now on; borrowed until the next call. False: no memory. */
bool cli_row_fields(struct cli_row_printer *printer, const struct cli_row_field *fields,
                    uint32_t count);

/** CSV: the header has these columns from the start. Others are added when a row has one. False:
 * too many tags, or no memory. */
bool cli_row_expect_tag(struct cli_row_printer *printer, struct slice name);
bool cli_row_expect_field(struct cli_row_printer *printer, struct slice name, enum field_type type);
/** CSV: another table begins, with columns of its own. */
void cli_row_forget(struct cli_row_printer *printer);

/** Print it. False: no memory, or too many tags. Whether `out` took it, ferror() tells. */
bool cli_row_print(struct cli_row_printer *printer, const struct cli_row *row);

#endif
