/*
 * aggregate_table.h - the inside of a struct aggregate: groups, rows, fields and cells, found by
 * hash and bounded in bytes. For the files aggregate*.c only.
 *
 *     groups: tag values       rows: (window, group)       fields: cells, one a row
 */
#ifndef STORAGE_AGGREGATE_TABLE_H
#define STORAGE_AGGREGATE_TABLE_H

#include "storage/aggregate.h"
#include "storage/aggregate_cell.h"
#include "storage/block/block_arena.h"
#include "storage/block/key_map.h"

enum { AGGREGATE_TABLE_MAX = 1 << 30 }; /* Rows or groups: keeps counts of slots in 32 bits. */

struct aggregate_field {
    char *name; /* Owned. */
    size_t name_size;
    enum field_type type;
    struct aggregate_cell *cells; /* Owned: one a row; those behind `capacity` are empty. */
    uint32_t capacity;
};

struct aggregate_row {
    int64_t window; /* Its start; 0 if there is one window. */
    uint32_t group;
};

struct aggregate {
    const struct query *query; /* Borrowed. */
    enum query_agg agg;
    uint64_t memory_max;
    uint64_t memory; /* Bytes taken by all that follows. */

    struct block_arena arena; /* Of `groups`. */
    struct key_map groups;    /* Keys: a string (bytes.h) for each tag. */
    struct bytes key;         /* Scratch: of the group being looked for. */

    struct aggregate_row *rows; /* Owned. */
    uint32_t row_count, row_capacity;
    uint32_t *row_slots; /* Owned: hash of a row -> 1 + its number; 0: free. */
    uint32_t slot_count; /* A power of two, or 0: at least twice row_count. */
    uint32_t row_last;   /* Where the last look-up ended: mostly the next is there, or behind. */

    struct aggregate_field *fields; /* Owned. */
    uint32_t field_count, field_capacity;

    const int64_t *times_ns;    /* Of the rows that are being added. */
    struct aggregate_run *runs; /* Owned: those rows, by row of the aggregate. */
    uint32_t run_count, run_capacity;
};

/** Where the window of a time starts, by floor division, and its last time. What would be before
 * INT64_MIN or behind INT64_MAX is there; without windows all times are in that of 0. */
int64_t aggregate_table_window(const struct aggregate *aggregate, int64_t time_ns,
                               int64_t *ret_last_ns);

/** The group whose key stands in `key`. */
MUST_CHECK enum err aggregate_table_group(struct aggregate *aggregate, uint32_t *ret_group);
MUST_CHECK enum err aggregate_table_row(struct aggregate *aggregate, int64_t window, uint32_t group,
                                        uint32_t *ret_row);
/** A field that is not there yet: it gets the number field_count - 1. */
MUST_CHECK enum err aggregate_table_add_field(struct aggregate *aggregate, struct slice name,
                                              enum field_type type);
/** Room for a cell of that field in every row. */
MUST_CHECK enum err aggregate_table_make_cells(struct aggregate *aggregate, uint32_t field);
/** Room for one more run. */
MUST_CHECK enum err aggregate_table_make_run(struct aggregate *aggregate);
/** ERR_LIMIT if the texts of cells have outgrown the memory. */
MUST_CHECK enum err aggregate_table_check(struct aggregate *aggregate);
/** Add `cell` to the cell of that field and row. */
MUST_CHECK enum err aggregate_table_combine(struct aggregate *aggregate, uint32_t field,
                                            uint32_t row, const struct aggregate_cell *cell);

#endif
