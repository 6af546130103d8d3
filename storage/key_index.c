#include "storage/key_index.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"

enum { CAPACITY_MIN = 8 };

/* The hash's high bits choose the shard and its low byte the catalog's table, so all keys that meet
 * here may have those in common: tag and place come from in between. */
static uint8_t tag_of(uint64_t hash)
{
    return (uint8_t)(hash >> 8);
}

static uint32_t home_of(const struct key_index *index, uint64_t hash)
{
    return (uint32_t)(hash >> 16) & (index->capacity - 1);
}

void key_index_fini(struct key_index *index)
{
    free(index->numbers);
    *index = (struct key_index){0};
}

size_t key_index_bytes(const struct key_index *index)
{
    return (size_t)index->capacity * (sizeof *index->numbers + sizeof *index->tags);
}

uint32_t key_index_find(const struct key_index *index, const void *owner, key_index_key_of key_of,
                        struct slice key, uint64_t hash)
{
    uint8_t tag = tag_of(hash);

    if (index->capacity == 0)
        return KEY_INDEX_NONE;
    for (uint32_t at = home_of(index, hash);; at = (at + 1) & (index->capacity - 1)) {
        uint32_t number = index->numbers[at];
        struct slice found;

        if (number == KEY_INDEX_NONE)
            return KEY_INDEX_NONE;
        if (index->tags[at] != tag)
            continue;
        found = key_of(owner, number);
        if (found.size == key.size && memcmp(found.data, key.data, key.size) == 0)
            return number;
    }
}

static void put(struct key_index *index, uint64_t hash, uint32_t number)
{
    uint32_t at = home_of(index, hash);

    while (index->numbers[at] != KEY_INDEX_NONE)
        at = (at + 1) & (index->capacity - 1);
    index->numbers[at] = number;
    index->tags[at] = tag_of(hash);
}

static uint64_t hash_of(const void *owner, key_index_key_of key_of, uint32_t number)
{
    struct slice key = key_of(owner, number);

    return key_hash(key.data, key.size);
}

enum err key_index_reserve(struct key_index *index, const void *owner, key_index_key_of key_of,
                           uint32_t more)
{
    struct key_index grown = {.capacity = index->capacity, .used = index->used};

    /* At most seven of eight slots: runs stay short, and find() always meets an empty slot. */
    while ((uint64_t)index->used + more > grown.capacity / 8 * 7)
        grown.capacity = grown.capacity == 0 ? CAPACITY_MIN : 2 * grown.capacity;
    if (grown.capacity == index->capacity)
        return ERR_OK;
    grown.numbers = malloc(key_index_bytes(&grown));
    if (grown.numbers == NULL)
        return err_set(ERR_NO_MEMORY, "key index of %u slots", grown.capacity);
    grown.tags = (uint8_t *)(grown.numbers + grown.capacity);
    memset(grown.numbers, 0xff, grown.capacity * sizeof *grown.numbers);
    for (uint32_t i = 0; i < index->capacity; i++)
        if (index->numbers[i] != KEY_INDEX_NONE)
            put(&grown, hash_of(owner, key_of, index->numbers[i]), index->numbers[i]);
    free(index->numbers);
    *index = grown;
    return ERR_OK;
}

void key_index_add(struct key_index *index, uint64_t hash, uint32_t number)
{
    CHECK(index->used < index->capacity / 8 * 7);
    put(index, hash, number);
    index->used++;
}

void key_index_remove(struct key_index *index, const void *owner, key_index_key_of key_of,
                      uint64_t hash, uint32_t number)
{
    uint32_t mask = index->capacity - 1;
    uint32_t hole = home_of(index, hash);

    while (index->numbers[hole] != number) {
        CHECK(index->numbers[hole] != KEY_INDEX_NONE);
        hole = (hole + 1) & mask;
    }
    /* Close the hole: move back every later one of the run whose home is not behind the hole. */
    for (uint32_t at = (hole + 1) & mask; index->numbers[at] != KEY_INDEX_NONE;
         at = (at + 1) & mask) {
        uint32_t home = home_of(index, hash_of(owner, key_of, index->numbers[at]));

        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        index->numbers[hole] = index->numbers[at];
        index->tags[hole] = index->tags[at];
        hole = at;
    }
    index->numbers[hole] = KEY_INDEX_NONE;
    index->used--;
}
