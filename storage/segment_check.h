/*
 * segment_check.h - verify all that a segment says: for tools, and for whoever doubts a file.
 *
 *     every checksum            header, footer, directory at opening; here frames and indexes
 *     every byte                frames follow each other without a gap, as groups do
 *     the index                 is worked out again from the columns: counts, ranges, smallest,
 *                               largest, sum, first, last
 *     the order of rows         by series and time, across chunks and groups, none twice
 *     the hash                  over all contents, as the footer has it
 *
 * It goes on behind a fault with what does not depend on it, so that one run names all of them: a
 * damaged frame once, not once a chunk. MEMORY: one group's frames, at most.
 *
 * Thread    Any; it blocks on the disk.
 */
#ifndef STORAGE_SEGMENT_CHECK_H
#define STORAGE_SEGMENT_CHECK_H

#include "storage/catalog.h"
#include "storage/damage.h"
#include "storage/segment.h"

/**
 * Check an open segment; `series`, if not NULL, must know every series of it in the right table.
 *
 * Errors  ERR_NO_MEMORY. Everything that is wrong with the file is a report, not an error.
 */
MUST_CHECK enum err segment_check(const struct segment *segment, const struct catalog_view *series,
                                  struct damage_sink *sink);

#endif
