#include "client/hash_index.h"

#include <stdlib.h>

enum { CAPACITY_FIRST = 16, COUNT_MAX = 1 << 30 };

void hash_index_fini(struct hash_index *index)
{
    free(index->slots);
    *index = (struct hash_index){0};
}

static void put(struct hash_index *index, struct hash_slot slot)
{
    uint32_t at = (uint32_t)slot.hash & (index->capacity - 1);

    while (index->slots[at].number != 0)
        at = (at + 1) & (index->capacity - 1);
    index->slots[at] = slot;
}

static enum err grow(struct hash_index *index)
{
    struct hash_index bigger = {0};

    bigger.capacity = index->capacity ? index->capacity * 2 : CAPACITY_FIRST;
    bigger.count = index->count;
    bigger.slots = calloc(bigger.capacity, sizeof *bigger.slots);
    if (!bigger.slots)
        return err_set(ERR_NO_MEMORY, "an index of %u names", (unsigned)bigger.capacity);
    for (uint32_t i = 0; i < index->capacity; i++) {
        if (index->slots[i].number != 0)
            put(&bigger, index->slots[i]);
    }
    free(index->slots);
    *index = bigger;
    return ERR_OK;
}

enum err hash_index_add(struct hash_index *index, uint64_t hash, uint32_t number)
{
    if (index->count >= COUNT_MAX)
        return err_set(ERR_LIMIT, "more than %d names", COUNT_MAX);
    if (index->count >= index->capacity / 2) {
        enum err err = grow(index);

        if (err != ERR_OK)
            return err;
    }
    put(index, (struct hash_slot){hash, number + 1});
    index->count++;
    return ERR_OK;
}

struct hash_cursor hash_index_find(const struct hash_index *index, uint64_t hash)
{
    return (struct hash_cursor){hash, index->capacity ? (uint32_t)hash & (index->capacity - 1) : 0};
}

bool hash_index_next(const struct hash_index *index, struct hash_cursor *cursor,
                     uint32_t *ret_number)
{
    if (index->capacity == 0)
        return false;
    /* Half of the slots are free, so this ends. */
    while (index->slots[cursor->at].number != 0) {
        struct hash_slot slot = index->slots[cursor->at];

        cursor->at = (cursor->at + 1) & (index->capacity - 1);
        if (slot.hash == cursor->hash) {
            *ret_number = slot.number - 1;
            return true;
        }
    }
    return false;
}
