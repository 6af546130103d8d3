/*
 * columns.h - a result: named, typed columns of equal length, in memory and as bytes.
 *
 * What a scan returns, what a QUERY_BATCH frame carries, and what the client library hands out.
 * Order: time first (when there is one), then tags, then fields. Absent values have present[i] 0.
 */
#ifndef STORAGE_BLOCK_COLUMNS_H
#define STORAGE_BLOCK_COLUMNS_H

#include "storage/base/attrs.h"
#include "storage/base/bytes.h"
#include "storage/base/err.h"
#include "storage/base/types.h"

enum column_kind { COLUMN_TIME = 1, COLUMN_TAG = 2, COLUMN_FIELD = 3 };

struct column {
    char *name; /* Owned, NUL-terminated. */
    enum column_kind kind;
    enum field_type type; /* COLUMN_TIME: FIELD_INT, ns; COLUMN_TAG: FIELD_STRING. */
    uint8_t *present;     /* Owned: one byte a row. */
    uint64_t *values;  /* Owned: bits; for strings offset (low 32) and size (high 32) into text. */
    struct bytes text; /* Strings, back to back. */
};

struct columns {
    struct column *columns; /* Owned. */
    uint32_t count;
    uint32_t rows;
    uint32_t capacity; /* Rows that the arrays have room for. */
};

enum {
    COLUMNS_MAX = 2048,
    COLUMNS_ROWS_MAX = 1 << 20,
    COLUMNS_CELLS_MAX = 1 << 23, /* Columns times rows that columns_decode() takes: 72 MiB. */
};

void columns_fini(struct columns *columns); /* A zeroed struct is empty and valid. */

/** Forget all rows; columns and memory stay. */
void columns_clear(struct columns *columns);

/** Find or add a column (earlier rows get it absent). ERR_NO_MEMORY, ERR_LIMIT, ERR_TYPE_CONFLICT.
 */
MUST_CHECK enum err columns_column(struct columns *columns, struct slice name,
                                   enum column_kind kind, enum field_type type, uint32_t *ret_at);
/** Begin a row, everything absent. */
MUST_CHECK enum err columns_row(struct columns *columns);
/** Room for `more` rows behind columns->rows. ERR_NO_MEMORY, ERR_LIMIT. */
MUST_CHECK enum err columns_reserve(struct columns *columns, uint32_t more);
/**
 * Begin `count` rows, everything absent; the caller fills in the arrays behind
 * columns->rows - count.
 */
MUST_CHECK enum err columns_rows(struct columns *columns, uint32_t count);
/** Set a value of the last row. */
void columns_set(struct columns *columns, uint32_t at, uint64_t bits);
MUST_CHECK enum err columns_set_string(struct columns *columns, uint32_t at, const void *data,
                                       size_t size);
/** Memory in use, in bytes. */
size_t columns_bytes(const struct columns *columns);

/**
 * Append all of `from` to `into`, columns matched by (name, kind). After an error `into` has the
 * rows that it had, maybe more columns. ERR_NO_MEMORY, ERR_LIMIT, ERR_TYPE_CONFLICT.
 */
MUST_CHECK enum err columns_append(struct columns *into, const struct columns *from);

/** Append the bytes to `out`; out->failed if there is no memory. Values are coded as in blocks
 * (column.h). */
void columns_encode(const struct columns *columns, struct bytes *out);
/** From untrusted bytes. ERR_INVALID, ERR_NO_MEMORY. */
MUST_CHECK enum err columns_decode(const void *bytes, size_t size, struct columns *ret_columns);

#endif
