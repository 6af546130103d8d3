#include "storage/block/key_map.h"

#include <string.h>

enum { CAPACITY_MIN = 8 };

static uint32_t first_slot(const struct key_map *map, uint64_t hash)
{
    return (uint32_t)(hash >> 32) & (2 * map->capacity - 1);
}

uint32_t key_map_find(const struct key_map *map, uint64_t hash, const void *key, size_t size)
{
    uint32_t mask = 2 * map->capacity - 1;

    if (map->capacity == 0)
        return KEY_MAP_NONE;
    for (uint32_t at = first_slot(map, hash); map->slots[at] != 0; at = (at + 1) & mask) {
        uint32_t number = (uint32_t)map->slots[at] - 1;

        if (map->slots[at] >> 32 == hash >> 32 && map->keys[number].size == size &&
            memcmp(map->keys[number].data, key, size) == 0)
            return number;
    }
    return KEY_MAP_NONE;
}

static void put_slot(struct key_map *map, uint64_t slot)
{
    uint32_t mask = 2 * map->capacity - 1;
    uint32_t at = first_slot(map, slot);

    while (map->slots[at] != 0)
        at = (at + 1) & mask;
    map->slots[at] = slot;
}

static bool grow(struct key_map *map, struct block_arena *arena)
{
    struct key_map larger = *map;

    larger.capacity = map->capacity == 0 ? CAPACITY_MIN : 2 * map->capacity;
    larger.keys = block_arena_grow(arena, map->keys, map->count * sizeof *map->keys,
                                   larger.capacity * sizeof *larger.keys);
    larger.slots = block_arena_take(arena, 2 * larger.capacity * sizeof *larger.slots);
    if (larger.keys == NULL || larger.slots == NULL)
        return false;
    memset(larger.slots, 0, 2 * larger.capacity * sizeof *larger.slots);
    for (uint32_t at = 0; at < 2 * map->capacity; at++)
        if (map->slots[at] != 0)
            put_slot(&larger, map->slots[at]);
    *map = larger;
    return true;
}

bool key_map_add(struct key_map *map, struct block_arena *arena, uint64_t hash, const void *key,
                 size_t size)
{
    char *copy;

    if (map->count == map->capacity && !grow(map, arena))
        return false;
    copy = block_arena_take(arena, size);
    if (copy == NULL)
        return false;
    memcpy(copy, key, size);
    map->keys[map->count] = (struct slice){copy, size};
    put_slot(map, hash >> 32 << 32 | ++map->count);
    return true;
}
