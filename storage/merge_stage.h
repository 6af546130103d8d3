/*
 * merge_stage.h - the rows of one slice, copied out of the sources: a stage for each table.
 *
 *     stage of table 3 | series 7: rows in log order | series 9: ... | series 12: ... |
 *                        as columns: times, and for each field values and presence
 *
 * Private to merge*.c.
 */
#ifndef STORAGE_MERGE_STAGE_H
#define STORAGE_MERGE_STAGE_H

#include "storage/merge_plan.h"

struct merge_column {
    uint64_t *values; /* Bits; strings: offset (low 32) and size (high 32) in text. */
    uint8_t *present;
    struct bytes text;
};

struct merge_stage {
    const struct merge_table *table;
    uint32_t rows;
    uint32_t emitted; /* Rows from the start that the caller has dealt with. */
    int64_t *times_ns;
    struct merge_column *columns; /* One a field of the table. */
};

struct merge_stages {
    struct merge_stage *stages; /* Of the tables from `first` on, as they stand in the plan. */
    uint32_t first, count;
    uint32_t *cursor; /* By id: where the series' next row goes; UINT32_MAX: not of the slice. */
};

/** Copy the slice's rows. merge_stage_fini() in any case. ERR_CORRUPT, ERR_NO_MEMORY. */
MUST_CHECK enum err merge_stage_fill(const struct merge_plan *plan, const struct merge_slice *slice,
                                     struct merge_stages *ret_stages);
void merge_stage_fini(struct merge_stages *stages);

/** The stage that has the rows of a series of the slice. */
struct merge_stage *merge_stage_of(const struct merge_stages *stages, const struct merge_plan *plan,
                                   uint32_t id);

#endif
