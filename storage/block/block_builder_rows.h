/*
 * block_builder_rows.h - what a block builder holds: private to block_builder*.c.
 *
 *     builder -- series --> the series' key, id and table
 *        |
 *        '----- tables --> rows: series[], times[]
 *                            |
 *                            '-- fields --> rows[], values[] of those rows that have the field
 *
 * Rows and values are columns from the start, in the order in which they came. All arrays are in
 * the arena and grow by doubling.
 */
#ifndef STORAGE_BLOCK_BLOCK_BUILDER_ROWS_H
#define STORAGE_BLOCK_BLOCK_BUILDER_ROWS_H

#include "storage/base/bytes.h"
#include "storage/block/block_arena.h"
#include "storage/block/block_builder.h"
#include "storage/block/key_map.h"

static_assert(BLOCK_ROWS_MAX <= 1 << 16, "a row's number in its table is kept in 16 bits");

struct builder_field {
    struct slice name; /* Borrowed from the table's map. */
    enum field_type type;
    uint32_t next;  /* The field that came after this one last time: a guess. */
    uint32_t count; /* Values. */
    uint32_t capacity;
    uint64_t *values; /* Bits; strings: place in text (column_string.h). */
    uint16_t *rows;   /* The row of each value, ascending. */
    char *text;       /* FIELD_STRING: the bytes. */
    uint32_t text_size;
    uint32_t text_capacity;
};

struct builder_table {
    struct slice key;     /* Borrowed from the builder's map. */
    struct key_map names; /* Field name -> number. */
    struct builder_field *fields;
    uint32_t field_capacity;
    uint32_t first; /* The field that a row began with last time. */
    uint32_t rows;
    uint32_t row_capacity;
    uint32_t *series; /* Number of each row's series. */
    int64_t *times_ns;
};

struct builder_series {
    uint64_t hash;
    struct slice key; /* In the arena; data is NULL if it was known from the start. */
    uint32_t id;
    uint32_t table;
};

struct block_builder {
    struct block_arena arena;
    struct builder_series *series; /* By number. */
    uint32_t series_count;
    uint32_t series_capacity;
    uint32_t series_before; /* Of the block before: room to begin with. */
    uint64_t *slots;        /* Hash table, twice as many as series_capacity: upper half of the
                               hash, then number + 1; 0: empty. */
    struct key_map table_keys;
    struct builder_table **tables;
    uint32_t table_capacity;

    uint32_t rows;
    uint32_t points;
    size_t encoded_max; /* Bytes that all of it needs at most when encoded. */

    struct builder_table *table; /* Of the row under way; NULL: there is none. */
    uint32_t last;               /* The field before; KEY_MAP_NONE: none yet in this row. */
    uint32_t row_points;         /* Of the row under way. */

    void *lz4;         /* Owned: state for LZ4. */
    struct bytes body; /* Scratch of block_builder_finish(). */
    struct bytes piece;
};

#endif
