/*
 * hash_index.h - from a 64-bit hash to small numbers, for whoever keeps the things themselves.
 *
 * The index holds no keys. It offers every number that was added under a hash, and the caller
 * looks whether the thing of that number is the one that it means:
 *
 *     struct hash_cursor at = hash_index_find(&index, hash);
 *     while (hash_index_next(&index, &at, &number))
 *         if (things[number] is the one) return number;
 *
 * Open addressing, linear probing, at most half full, nothing is ever taken out.
 */
#ifndef CLIENT_HASH_INDEX_H
#define CLIENT_HASH_INDEX_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/base/attrs.h"
#include "storage/base/err.h"

struct hash_slot {
    uint64_t hash;
    uint32_t number; /* Plus 1; 0: the slot is free. */
};

/** A zeroed struct is empty and valid. One thread at a time. */
struct hash_index {
    struct hash_slot *slots; /* Owned. */
    uint32_t capacity;       /* A power of two, or 0. */
    uint32_t count;
};

struct hash_cursor {
    uint64_t hash;
    uint32_t at;
};

void hash_index_fini(struct hash_index *index);

/** Add `number`, at most UINT32_MAX - 1, under `hash`. ERR_NO_MEMORY; ERR_LIMIT at 2^30 numbers. */
MUST_CHECK enum err hash_index_add(struct hash_index *index, uint64_t hash, uint32_t number);

/** Start to look for `hash`. */
struct hash_cursor hash_index_find(const struct hash_index *index, uint64_t hash);

/** The next number under the cursor's hash; false when there are no more. */
bool hash_index_next(const struct hash_index *index, struct hash_cursor *cursor,
                     uint32_t *ret_number);

#endif
