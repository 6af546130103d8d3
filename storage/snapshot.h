/*
 * snapshot.h - what one scan may look at: blocks, segments and series of one moment.
 *
 * Made by the shard's worker in store_snapshot(), read and dropped by any one thread. Everything
 * in it is immutable and counted, so sealing goes on meanwhile.
 *
 * ORDER     Sources are in log order: segments oldest first, then head blocks by index. Where two
 *           sources hold the same series, time and field, the later one wins.
 */
#ifndef STORAGE_SNAPSHOT_H
#define STORAGE_SNAPSHOT_H

#include "storage/base/buf.h"
#include "storage/base/err.h"
#include "storage/block/block_reader.h"

/** One block, of the head or of a segment. */
struct snapshot_source {
    struct buf *entry;       /* Head: the entry, counted. NULL for a segment's block. */
    struct segment *segment; /* Segment: counted (segment.h). NULL for the head. */
    uint64_t offset;         /* Of the block in the entry, or in the segment's file. */
    uint32_t size;           /* Bytes of the block. */
    uint32_t rows;
    int64_t time_min_ns, time_max_ns;
    uint32_t series_min, series_max; /* Ids in it. */
};

struct snapshot {
    struct snapshot_source *sources; /* Owned, in log order. */
    uint32_t source_count;
    struct catalog_view *series; /* Owned (catalog.h). */
};

void snapshot_free(struct snapshot *snapshot);

#endif
