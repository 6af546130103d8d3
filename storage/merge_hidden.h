/*
 * merge_hidden.h - which rows of a section were deleted: a merge leaves them out.
 *
 * A row is hidden by a tombstone of the filter that is newer than what the source is clean of, if
 * its table, its series and its time are meant.
 *
 * Private to merge*.c.
 */
#ifndef STORAGE_MERGE_HIDDEN_H
#define STORAGE_MERGE_HIDDEN_H

#include "storage/merge_plan.h"

/** Something of the current section may be hidden. */
bool merge_hidden_some(const struct merge_plan *plan, const struct merge_source *source);

/** Read the times of the current section, whose runs were read, and find what is hidden.
 * ERR_CORRUPT, ERR_IO, ERR_NO_MEMORY. */
MUST_CHECK enum err merge_hidden_times(const struct merge_plan *plan, struct merge_source *source,
                                       int64_t *times_ns);

/** After merge_hidden_times(). */
static inline bool merge_hidden_row(const struct merge_source *source, uint32_t row)
{
    return source->has_deleted && source->deleted[row] != 0;
}

#endif
