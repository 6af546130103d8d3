/*
 * last_follow.h - keep the cache of last values right while blocks are applied.
 *
 *     block's directory --a bit an id--> nobody asked: nothing more is done
 *                              |
 *                              +--> asked, but not of late: dropped
 *                              '--> asked of late: its runs are decoded, and put in
 *
 * A block is opened for the sake of a series at most LAST_CREDIT times a question, and only the
 * rows around its runs are decoded. So what this costs is bounded by what is asked, and a shard
 * that nobody asks pays a look at a counter.
 *
 * Thread    The worker's.
 */
#ifndef STORAGE_LAST_FOLLOW_H
#define STORAGE_LAST_FOLLOW_H

#include "storage/block/block_reader.h"
#include "storage/last_cache.h"

struct last_hit;

/** Its memory, kept from block to block; zeroed at first. */
struct last_follow {
    struct last_hit *hits; /* Owned, as what follows. */
    uint32_t hit_count, hit_capacity;
    uint32_t *places, *counts; /* BLOCK_ROWS_MAX each, as what follows. */
    int64_t *times_ns;
    uint64_t *bits;
    uint8_t *present;
};

void last_follow_fini(struct last_follow *follow);
uint64_t last_follow_bytes(const struct last_follow *follow);

/** The block is applied: what the cache knows of its series is renewed, or dropped. */
void last_follow_block(struct last_follow *follow, struct last_cache *cache,
                       const struct block_view *view);

#endif
