#include "storage/last_sets.h"

#include <stdlib.h>
#include <string.h>

enum { SET_ROOM = 256 }; /* Bytes that a set with its name and places takes, about. */

void last_sets_init(struct last_sets *sets, uint64_t bytes_max)
{
    *sets = (struct last_sets){.bytes_max = bytes_max};
}

static size_t size_of(const struct last_set *set)
{
    return sizeof *set + set->count * sizeof *set->ids + set->name_size;
}

static struct slice name_of(const void *owner, uint32_t number)
{
    const struct last_set *set = ((const struct last_sets *)owner)->sets[number];

    return (struct slice){(const char *)(set->ids + set->count), set->name_size};
}

static void drop(struct last_sets *sets, uint32_t number)
{
    struct slice name = name_of(sets, number);

    key_index_remove(&sets->index, key_hash(name.data, name.size), number);
    sets->bytes -= size_of(sets->sets[number]);
    free(sets->sets[number]);
    sets->sets[number] = NULL;
}

static void drop_oldest(struct last_sets *sets)
{
    if (sets->sets[sets->oldest] != NULL)
        drop(sets, sets->oldest);
    sets->oldest = (sets->oldest + 1) % sets->capacity;
    sets->count--;
}

void last_sets_fini(struct last_sets *sets)
{
    while (sets->count > 0)
        drop_oldest(sets);
    free(sets->sets);
    key_index_fini(&sets->index);
    *sets = (struct last_sets){0};
}

static bool begin(struct last_sets *sets)
{
    uint32_t capacity = (uint32_t)(sets->bytes_max / SET_ROOM);

    if (sets->sets != NULL || capacity == 0)
        return sets->sets != NULL;
    if (key_index_reserve(&sets->index, capacity) != ERR_OK)
        return false;
    sets->sets = calloc(capacity, sizeof(struct last_set *));
    if (sets->sets == NULL)
        return false;
    sets->capacity = capacity;
    sets->bytes = key_index_bytes(&sets->index) + capacity * sizeof(struct last_set *);
    return true;
}

static uint32_t find(const struct last_sets *sets, struct slice name)
{
    return key_index_find(&sets->index, sets, name_of, name, key_hash(name.data, name.size));
}

struct last_set *last_sets_find(const struct last_sets *sets, struct slice name)
{
    uint32_t number = find(sets, name);

    return number == KEY_INDEX_NONE ? NULL : sets->sets[number];
}

void last_sets_put(struct last_sets *sets, struct slice name, const uint32_t *ids, uint32_t count,
                   uint32_t series)
{
    struct last_set *set = malloc(sizeof *set + count * sizeof *ids + name.size);
    uint32_t at = find(sets, name);

    if (at != KEY_INDEX_NONE)
        drop(sets, at);
    if (set == NULL || !begin(sets)) {
        free(set);
        return;
    }
    *set = (struct last_set){.series = series, .count = count, .name_size = (uint32_t)name.size};
    if (count > 0)
        memcpy(set->ids, ids, count * sizeof *ids);
    memcpy(set->ids + count, name.data, name.size);
    while (sets->count > 0 &&
           (sets->count == sets->capacity || sets->bytes + size_of(set) > sets->bytes_max))
        drop_oldest(sets);
    if (sets->bytes + size_of(set) > sets->bytes_max) {
        free(set);
        return;
    }
    at = (sets->oldest + sets->count) % sets->capacity;
    sets->sets[at] = set;
    sets->count++;
    sets->bytes += size_of(set);
    key_index_add(&sets->index, key_hash(name.data, name.size), at);
}
