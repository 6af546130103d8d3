/*
 * merge_stage.h - the rows of one slice, copied out of the sources: a stage for each table.
 *
 *     stage of table 3 | series 7: rows in log order | series 9: ... | series 12: ... |
 *                        each in one place: segment_row.h
 *
 * The rows of a source go to as many places as it has series. So a row is written as a whole: with
 * a column for each field, every value would be a cache line of its own, and every page another.
 *
 * Private to merge*.c.
 */
#ifndef STORAGE_MERGE_STAGE_H
#define STORAGE_MERGE_STAGE_H

#include "storage/base/room.h"
#include "storage/merge_plan.h"
#include "storage/segment_row.h"

struct merge_stage {
    const struct merge_table *table;
    uint32_t rows;
    uint32_t emitted; /* Rows from the start that the caller has dealt with. */
    uint32_t words;   /* Of a row. */
    uint64_t *words_of_rows;
    struct bytes *texts; /* One a field of the table; of strings. */
};

/** A zeroed struct is valid. */
struct merge_stages {
    struct room room;           /* The rows of all stages: kept from one slice to the next. */
    struct merge_stage *stages; /* Of the tables from `first` on, as they stand in the plan. */
    uint32_t first, count;
    uint32_t *cursor; /* By id: where the series' next row goes; UINT32_MAX: not of the slice. */
};

/** Copy the slice's rows, in place of those of the slice before. merge_stage_fini() in any case.
 * ERR_CORRUPT, ERR_NO_MEMORY. */
MUST_CHECK enum err merge_stage_fill(const struct merge_plan *plan, const struct merge_slice *slice,
                                     struct merge_stages *stages);
void merge_stage_fini(struct merge_stages *stages);

/** The stage that has the rows of a series of the slice. */
struct merge_stage *merge_stage_of(const struct merge_stages *stages, const struct merge_plan *plan,
                                   uint32_t id);

/** A row of it. */
static inline uint64_t *merge_stage_row(const struct merge_stage *stage, uint32_t row)
{
    return stage->words_of_rows + (size_t)row * stage->words;
}

#endif
