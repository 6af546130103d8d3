/*
 * cli_row_read.h - rows of a CSV or of JSON lines, as cli_row.h prints them, back into rows.
 *
 *     size = cli_row_read_size(reader, text, size, more)     where the first record ends
 *     cli_row_read(reader, text, size, &line)                what it says
 *
 * Others' files of the same form are taken, too: JSON members in any order, with blanks; numbers
 * with a point, an exponent or neither (then an integer). A record is one row, a header or nothing.
 */
#ifndef CLIENT_CLI_ROW_READ_H
#define CLIENT_CLI_ROW_READ_H

#include "client/cli_row.h"
#include "client/wire/line_protocol.h"
#include "storage/base/err.h"

enum {
    CLI_ROW_READ_MAX = 32 * 1024 * 1024, /* Bytes of a record: a row of the longest strings. */
    CLI_ROW_READ_COLUMNS = 2 * LINE_FIELDS_MAX,
};

struct cli_row_title {
    struct slice name;
    enum field_type type; /* 0: a tag. */
};

struct cli_row_reader {
    enum cli_row_format format; /* CLI_ROW_CSV or CLI_ROW_JSONL. */
    const char *table;          /* CSV: what the rows belong to. Borrowed. */
    struct bytes scratch;       /* Owned: what has no escapes any more. */

    /* CSV: the header; no columns: there was none yet. */
    struct bytes header; /* Owned: the names. */
    struct cli_row_title titles[CLI_ROW_READ_COLUMNS];
    uint32_t title_count;
    bool headed;

    /* JSON: the database of the first row; all must have it. */
    char database[NAME_SIZE_MAX];
    size_t database_size;
    bool has_database;
};

void cli_row_read_fini(struct cli_row_reader *reader);

/** Bytes of the first record, its newline among them; 0: it goes on behind `size` bytes. What is
 * longer than CLI_ROW_READ_MAX ends at its first newline: it will be a bad one. */
size_t cli_row_read_size(const struct cli_row_reader *reader, const char *text, size_t size,
                         bool more);

/**
 * Read one record. Slices borrow the text, or the reader until the next call.
 *
 * Errors  ERR_END: it holds no row; ERR_INVALID, ERR_LIMIT: it is bad, the next one may be good;
 *         ERR_NO_MEMORY
 */
MUST_CHECK enum err cli_row_read(struct cli_row_reader *reader, const char *text, size_t size,
                                 struct line *ret_line);

/** A value in words: what stands in a cell of a CSV. ERR_INVALID. */
MUST_CHECK enum err cli_row_read_value(struct slice text, enum field_type type,
                                       struct line_field *ret_field);
/** A time with a date: 2026-01-31T12:00:00.5Z. ERR_INVALID. */
MUST_CHECK enum err cli_row_read_time(struct slice text, int64_t *ret_ns);

#endif
