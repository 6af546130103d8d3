/*
 * head.h - the committed blocks of a shard that no segment holds yet, in log order.
 *
 * Thread    The worker's.
 */
#ifndef STORAGE_HEAD_H
#define STORAGE_HEAD_H

#include "storage/base/attrs.h"
#include "storage/base/buf.h"
#include "storage/base/err.h"
#include "storage/block/block.h"

/** One entry with its block, and what is asked of it most. */
struct head_block {
    struct buf *entry; /* Counted. */
    uint64_t index;    /* In the log. */
    uint32_t size;     /* Bytes of the block; it begins behind the entry's header. */
    uint32_t rows;
    uint32_t points;
    int64_t time_min_ns, time_max_ns;
    int64_t older_max_ns;            /* No row of the blocks before it is newer: by head_add(). */
    uint32_t series_min, series_max; /* Ids in it. */
};

struct head {
    struct head_block *blocks; /* Owned: blocks[first] to blocks[first + count - 1]. */
    uint32_t first, count, capacity;
    uint64_t added; /* Blocks, since the start. */
    uint64_t bytes; /* Of the entries. */
    uint64_t rows;
};

void head_fini(struct head *head); /* A zeroed struct is empty and valid. */

/** Append; its index is higher than all before. Takes a reference of the entry. ERR_NO_MEMORY. */
MUST_CHECK enum err head_add(struct head *head, const struct head_block *block);

/** Drop the blocks with an index of at most `upto`. */
void head_drop(struct head *head, uint64_t upto);

/** The blocks with an index above `after` (the newest ones): how many, and the first. */
uint32_t head_after(const struct head *head, uint64_t after, const struct head_block **ret_first);

#endif
