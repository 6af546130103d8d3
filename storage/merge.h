/*
 * merge.h - many sources in log order, blocks of the head and segments, become one segment in the
 * order of (table, series, time).
 *
 *     1 plan    count the rows of each series, list the fields of each table (merge_plan.h)
 *     2 slice   as many series, in order, as fit the memory: their rows are copied out of every
 *               source that has some, each to its series' place        (merge_stage.h)
 *     3 emit    series by series: sort by time where needed, join rows of one time field by field
 *               (the later in the log wins), append them to the segment
 *
 * The result depends on the rows alone, not on the memory: every replica makes the same bytes.
 *
 * MEMORY    `memory` for copied rows; besides, 4 bytes a series of the shard, one input source
 *           opened, one group of the segment being built. A series too large for it is
 *           cut by time. Text is planned with its mean size, so one slice of very uneven strings
 *           may take more.
 *
 * Thread    Pool: immutable inputs, blocking writes.
 */
#ifndef STORAGE_MERGE_H
#define STORAGE_MERGE_H

#include <stdatomic.h>

#include "storage/catalog.h"
#include "storage/head.h"
#include "storage/segment_writer.h"
#include "storage/snapshot.h"

/** Which rows to take: a segment may hold a part of what is merged. */
struct merge_filter {
    const bool *tables;                 /* Borrowed: by table number. NULL: all. */
    int64_t from_ns, last_ns;           /* Both inclusive. */
    const struct tombstone *tombstones; /* Borrowed: rows that they hide are left out. */
    uint32_t tombstone_count;
};

/**
 * Merge `count` blocks of the head and append the result.
 *
 * series   knows every id in the blocks
 * filter   NULL: every row. The writer may have no row afterwards.
 * cancel   set by any thread: ends soon, with ERR_CANCELED; NULL: never
 * Errors   ERR_CORRUPT: a block is damaged, names its log index; ERR_NO_MEMORY; those of writing
 */
MUST_CHECK enum err merge_blocks(const struct head_block *blocks, uint32_t count,
                                 const struct catalog_view *series,
                                 const struct merge_filter *filter, size_t memory,
                                 const atomic_bool *cancel, struct segment_writer *writer);

/**
 * Merge sources of any kind, in log order: the later one wins where two have a row of one series
 * and time. The result is what scanning them says.
 *
 * Errors   as merge_blocks(); ERR_CORRUPT names the file of a damaged segment; ERR_IO
 */
MUST_CHECK enum err merge_sources(const struct snapshot_source *sources, uint32_t count,
                                  const struct catalog_view *series,
                                  const struct merge_filter *filter, size_t memory,
                                  const atomic_bool *cancel, struct segment_writer *writer);

#endif
