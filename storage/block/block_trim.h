/*
 * block_trim.h - the rows of a block from a time on, as a block of their own.
 *
 * For who sent a block to a shard that keeps no rows before that time: the others need not be
 * refused with them. Rows, series and fields keep their order, so that the same rows make the same
 * bytes.
 *
 * Thread   Any.
 */
#ifndef STORAGE_BLOCK_BLOCK_TRIM_H
#define STORAGE_BLOCK_BLOCK_TRIM_H

#include "storage/base/attrs.h"
#include "storage/base/buf.h"
#include "storage/base/err.h"

struct block_trimmed {
    struct buf *buf; /* Owned: headroom, then the block. NULL: no row is left. */
    uint32_t rows, points;
    uint32_t fresh_count;
    uint32_t *fresh; /* Owned: for each fresh key, which one it was in the whole block. */
};

/** ERR_CORRUPT, ERR_NO_MEMORY; ERR_LIMIT: does not happen to what a builder made. */
MUST_CHECK enum err block_trim(const void *block, size_t size, int64_t from_ns, size_t headroom,
                               struct block_trimmed *ret);

#endif
