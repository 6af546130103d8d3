/*
 * last_sets.h - which few series a question is about, so that it needs no search.
 *
 * A set is the answer of scan_match.h for a table and conditions, as of so many series of the
 * shard. Series never go, so the set stays right, and who uses it looks at those that came since.
 * The oldest set goes for a new one when the room is used up.
 *
 * Thread    The worker's.
 */
#ifndef STORAGE_LAST_SETS_H
#define STORAGE_LAST_SETS_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/base/types.h"
#include "storage/key_index.h"

struct last_set {
    uint32_t series; /* Ids below it were looked at. */
    uint32_t count;
    uint32_t name_size;
    uint32_t ids[]; /* Ascending; then the name. */
};

struct last_sets {
    uint64_t bytes_max, bytes;
    struct last_set **sets; /* Owned, each, too: a ring of `capacity`. NULL: was replaced. */
    uint32_t capacity, oldest, count;
    struct key_index index;
};

void last_sets_init(struct last_sets *sets, uint64_t bytes_max);
void last_sets_fini(struct last_sets *sets);

/** The set of a question, or NULL. Borrowed until the next one is put. */
struct last_set *last_sets_find(const struct last_sets *sets, struct slice name);
/** Put a set, which may replace one. Without memory or room it is not kept. */
void last_sets_put(struct last_sets *sets, struct slice name, const uint32_t *ids, uint32_t count,
                   uint32_t series);

#endif
