/*
 * key_index.h - from keys to small numbers: open addressing, 8 bytes a slot.
 *
 * The index holds numbers only; the keys stand where their owner keeps them, and are asked for
 * with `key_of`. A half of the hash beside each number spares nearly all needless comparisons, and
 * tells its place when the index grows or closes a hole: keys are not read for that.
 *
 *     slots  | 17, 3be1c2a7 | -- | 3, 90d20203 | 42, 71c4e8f0 | -- | ...     -- is KEY_INDEX_NONE
 *
 * Removing shifts later entries back instead of leaving marks, so an index does not wear out.
 *
 * Thread    Its owner's.
 */
#ifndef STORAGE_KEY_INDEX_H
#define STORAGE_KEY_INDEX_H

#include "storage/base/attrs.h"
#include "storage/base/err.h"
#include "storage/base/types.h"

#define KEY_INDEX_NONE 0xffffffffu

/** The key of a number that is in the index. */
typedef struct slice (*key_index_key_of)(const void *owner, uint32_t number);

struct key_index_slot {
    uint32_t number;
    uint32_t mark; /* Of the hash. */
};

struct key_index {
    struct key_index_slot *slots; /* Owned. */
    uint32_t capacity;            /* A power of two, or 0. */
    uint32_t used;
};

void key_index_fini(struct key_index *index); /* A zeroed struct is empty and valid. */

/** Memory, in bytes. */
size_t key_index_bytes(const struct key_index *index);

/** The number of a key, or KEY_INDEX_NONE. `hash` is key_hash() of it. */
uint32_t key_index_find(const struct key_index *index, const void *owner, key_index_key_of key_of,
                        struct slice key, uint64_t hash);
/** Begin to fetch what key_index_find() and key_index_add() will look at. */
void key_index_prefetch(const struct key_index *index, uint64_t hash);

/** Make room for `more`: so many key_index_add() cannot fail. ERR_NO_MEMORY. */
MUST_CHECK enum err key_index_reserve(struct key_index *index, uint32_t more);

/** Add a number whose key is not in the index, after key_index_reserve(). */
void key_index_add(struct key_index *index, uint64_t hash, uint32_t number);

/** Remove a number that is in the index. */
void key_index_remove(struct key_index *index, uint64_t hash, uint32_t number);

#endif
