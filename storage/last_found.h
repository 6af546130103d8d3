/*
 * last_found.h - what a scan of last values has found, series by series, for the cache to keep.
 *
 *     worker: store_last_begin()   pool: the scan adds      worker: store_last_learn()
 *             of which moment            what it hands out          if it is still so
 *
 * Only of few series: of more `failed` is set, and nothing is kept.
 *
 * Thread    One at a time; it goes with the scan.
 */
#ifndef STORAGE_LAST_FOUND_H
#define STORAGE_LAST_FOUND_H

#include <stdbool.h>

#include "storage/base/types.h"
#include "storage/block/block_arena.h"
#include "storage/last_cache.h"

enum { LAST_SERIES_MAX = 64 }; /* Of one question. */

struct last_found_cell {
    uint32_t id;
    struct slice name;       /* Of the field. */
    struct last_value value; /* Its text is the arena's, as the name is. */
};

struct last_found {
    bool wanted;                   /* By store_last_begin(): somebody may ask this again. */
    bool failed;                   /* There is more than what is here. */
    uint64_t index;                /* Everything up to this log index was looked at, */
    uint32_t epoch;                /* in this epoch of the cache, */
    uint32_t series;               /* of so many series of the shard. */
    uint32_t ids[LAST_SERIES_MAX]; /* Those that match, ascending. */
    uint32_t id_count;
    struct last_found_cell *cells; /* The arena's. */
    uint32_t cell_count, cell_capacity;
    struct block_arena arena;
};

void last_found_fini(struct last_found *found); /* A zeroed struct is empty and valid. */

void last_found_series(struct last_found *found, const uint32_t *ids, uint32_t count);
void last_found_add(struct last_found *found, uint32_t id, struct slice name,
                    const struct last_value *value);

#endif
