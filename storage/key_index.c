#include "storage/key_index.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/huge.h"

enum { CAPACITY_MIN = 8 };

/* The hash's high bits choose the shard and its low byte the catalog's table, so all keys that meet
 * here may have those in common: what is kept comes from in between, and its higher part is the
 * place. (An index of over 2^24 slots would be right, and slow.) */
static uint32_t mark_of(uint64_t hash)
{
    return (uint32_t)(hash >> 8);
}

static uint32_t home_of(const struct key_index *index, uint32_t mark)
{
    return mark >> 8 & (index->capacity - 1);
}

void key_index_fini(struct key_index *index)
{
    free(index->slots);
    *index = (struct key_index){0};
}

size_t key_index_bytes(const struct key_index *index)
{
    return (size_t)index->capacity * sizeof *index->slots;
}

uint32_t key_index_find(const struct key_index *index, const void *owner, key_index_key_of key_of,
                        struct slice key, uint64_t hash)
{
    uint32_t mark = mark_of(hash);

    if (index->capacity == 0)
        return KEY_INDEX_NONE;
    for (uint32_t at = home_of(index, mark);; at = (at + 1) & (index->capacity - 1)) {
        const struct key_index_slot *slot = &index->slots[at];
        struct slice found;

        if (slot->number == KEY_INDEX_NONE)
            return KEY_INDEX_NONE;
        if (slot->mark != mark)
            continue;
        found = key_of(owner, slot->number);
        if (found.size == key.size && memcmp(found.data, key.data, key.size) == 0)
            return slot->number;
    }
}

void key_index_prefetch(const struct key_index *index, uint64_t hash)
{
    if (index->capacity > 0)
        __builtin_prefetch(&index->slots[home_of(index, mark_of(hash))]);
}

static void put(struct key_index *index, uint32_t mark, uint32_t number)
{
    uint32_t at = home_of(index, mark);

    while (index->slots[at].number != KEY_INDEX_NONE)
        at = (at + 1) & (index->capacity - 1);
    index->slots[at] = (struct key_index_slot){number, mark};
}

enum err key_index_reserve(struct key_index *index, uint32_t more)
{
    struct key_index grown = {.capacity = index->capacity, .used = index->used};

    /* At most seven of eight slots: runs stay short, and find() always meets an empty slot. */
    while ((uint64_t)index->used + more > grown.capacity / 8 * 7)
        grown.capacity = grown.capacity == 0 ? CAPACITY_MIN : 2 * grown.capacity;
    if (grown.capacity == index->capacity)
        return ERR_OK;
    grown.slots = huge_alloc(key_index_bytes(&grown));
    if (grown.slots == NULL)
        return err_set(ERR_NO_MEMORY, "key index of %u slots", grown.capacity);
    memset(grown.slots, 0xff, key_index_bytes(&grown));
    for (uint32_t i = 0; i < index->capacity; i++)
        if (index->slots[i].number != KEY_INDEX_NONE)
            put(&grown, index->slots[i].mark, index->slots[i].number);
    free(index->slots);
    *index = grown;
    return ERR_OK;
}

void key_index_add(struct key_index *index, uint64_t hash, uint32_t number)
{
    CHECK(index->used < index->capacity / 8 * 7);
    put(index, mark_of(hash), number);
    index->used++;
}

void key_index_remove(struct key_index *index, uint64_t hash, uint32_t number)
{
    uint32_t mask = index->capacity - 1;
    uint32_t hole = home_of(index, mark_of(hash));

    while (index->slots[hole].number != number) {
        CHECK(index->slots[hole].number != KEY_INDEX_NONE);
        hole = (hole + 1) & mask;
    }
    /* Close the hole: move back every later one of the run whose home is not behind the hole. */
    for (uint32_t at = (hole + 1) & mask; index->slots[at].number != KEY_INDEX_NONE;
         at = (at + 1) & mask) {
        uint32_t home = home_of(index, index->slots[at].mark);

        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        index->slots[hole] = index->slots[at];
        hole = at;
    }
    index->slots[hole].number = KEY_INDEX_NONE;
    index->used--;
}
