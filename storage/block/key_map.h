/*
 * key_map.h - numbers for names: 0, 1, 2, ... in the order in which they were first seen.
 *
 * Open addressing over the upper half of a 64-bit hash; a slot holds hash and number, so that a
 * miss touches no key. All memory comes from an arena and goes with it.
 */
#ifndef STORAGE_BLOCK_KEY_MAP_H
#define STORAGE_BLOCK_KEY_MAP_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/base/types.h"
#include "storage/block/block_arena.h"

#define KEY_MAP_NONE UINT32_MAX

struct key_map {
    struct slice *keys; /* By number. */
    uint64_t *slots;    /* Upper half of the hash, then number + 1; 0: empty. */
    uint32_t count;
    uint32_t capacity; /* Of keys; twice as many slots: a power of two. 0: none yet. */
};

/** The number of a key, or KEY_MAP_NONE. */
uint32_t key_map_find(const struct key_map *map, uint64_t hash, const void *key, size_t size);

/** Give a key that is not there the number map->count. It is copied. False: no memory. */
bool key_map_add(struct key_map *map, struct block_arena *arena, uint64_t hash, const void *key,
                 size_t size);

#endif
