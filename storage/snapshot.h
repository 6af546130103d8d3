/*
 * snapshot.h - what one scan may look at: blocks, segments and series of one moment.
 *
 * Made by the shard's worker in store_snapshot(), read and dropped by any one thread. Everything
 * in it is immutable and counted, so sealing goes on meanwhile. It must be dropped before the
 * store is closed: the series borrow the store's catalog.
 *
 * ORDER     Sources are in log order: segments oldest first, then head blocks by index. Where two
 *           sources hold the same series, time and field, the later one wins.
 * GONE      Sources may hold rows that were dropped and not cleared away yet: marks tell which.
 */
#ifndef STORAGE_SNAPSHOT_H
#define STORAGE_SNAPSHOT_H

#include "storage/base/buf.h"
#include "storage/base/err.h"
#include "storage/block/tombstone.h"
#include "storage/catalog.h"
#include "storage/marks.h"

/** One block of the head, or one group of a segment: section.h reads it. */
struct snapshot_source {
    struct buf *entry;       /* Head: the entry, counted. NULL for a segment. */
    struct segment *segment; /* Segment: counted (segment.h). NULL for the head. */
    uint64_t index;          /* In the log: of the head's block, or the segment's last. */
    uint64_t clean_index;    /* What deletes up to this log index hide is not in it. */
    uint32_t group;          /* Segment: which. */
    uint32_t size;           /* Head: bytes of the block, */
    uint64_t offset;         /* and where it begins in the entry. */
    uint32_t rows;
    int64_t time_min_ns, time_max_ns;
    uint32_t series_min, series_max; /* Ids in it. */
    uint32_t table_min, table_max;   /* Table numbers in it (catalog.h); 0 and CATALOG_NONE for a
                                        head block: any. */
};

struct snapshot {
    struct snapshot_source *sources; /* Owned, in log order. */
    uint32_t source_count;
    struct catalog_view *series;  /* Owned. */
    struct bytes marks;           /* Owned: marks.h. */
    struct bytes hidden;          /* Owned: what tombstones borrow from. */
    struct tombstone *tombstones; /* Owned: of rows that were deleted. */
    uint32_t tombstone_count;
};

void snapshot_free(struct snapshot *snapshot); /* NULL is allowed. */

/** One group of a segment as a source, which takes over the caller's count of it. */
struct snapshot_source snapshot_group(struct segment *segment, uint32_t group);

/** Take in a list of tombstones. False: no memory. */
bool snapshot_hide(struct snapshot *snapshot, const struct bytes *tombstones);
/** The next tombstone, from `at` on, that may hide rows of a table in the source, with a time from
 * first_ns to last_ns; NULL: there is none. Rows of series that it matches are hidden. */
const struct tombstone *snapshot_hides(const struct snapshot *snapshot,
                                       const struct snapshot_source *source, struct slice table_key,
                                       int64_t first_ns, int64_t last_ns, uint32_t *at);

/** Rows of the database with an earlier time are gone. INT64_MIN: there is no such time. */
int64_t snapshot_cutoff(const struct snapshot *snapshot, struct slice database);
/** All rows that the source has of a table are gone. */
bool snapshot_is_gone(const struct snapshot *snapshot, const struct snapshot_source *source,
                      struct slice table_key);

#endif
