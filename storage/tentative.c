#include "storage/tentative.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"

enum { CAPACITY_MIN = 64 };

struct tentative_entry {
    uint64_t producer;
    struct producer_state state;
    uint64_t before; /* Count of the producer's entry before this one, plus 1; 0: none. */
    uint32_t series;
};

static struct tentative_entry *at(const struct tentative *tentative, uint64_t count)
{
    return &tentative->entries[count & (tentative->capacity - 1)];
}

static struct slice key_of(const void *owner, uint32_t number)
{
    const struct tentative *tentative = owner;

    return (struct slice){(const char *)&tentative->entries[number].producer, sizeof(uint64_t)};
}

static uint64_t hash_of(uint64_t producer)
{
    return key_hash(&producer, sizeof producer);
}

static uint32_t find(const struct tentative *tentative, uint64_t producer)
{
    return key_index_find(&tentative->by_producer, tentative, key_of,
                          (struct slice){(const char *)&producer, sizeof producer},
                          hash_of(producer));
}

void tentative_fini(struct tentative *tentative)
{
    free(tentative->entries);
    key_index_fini(&tentative->by_producer);
    *tentative = (struct tentative){0};
}

const struct producer_state *tentative_find(const struct tentative *tentative, uint64_t producer)
{
    uint32_t place = find(tentative, producer);

    return place == KEY_INDEX_NONE ? NULL : &tentative->entries[place].state;
}

static void unindex(struct tentative *tentative, uint64_t count)
{
    uint64_t producer = at(tentative, count)->producer;
    uint32_t place = (uint32_t)(count & (tentative->capacity - 1));

    if (producer != 0 && find(tentative, producer) == place)
        key_index_remove(&tentative->by_producer, hash_of(producer), place);
}

/* The newest one of each producer, entered anew: later ones push out earlier ones. */
static enum err index_all(struct tentative *tentative)
{
    enum err err = ERR_OK;

    for (uint64_t count = tentative->first; count < tentative->end && err == ERR_OK; count++) {
        struct tentative_entry *entry = at(tentative, count);

        if (entry->producer == 0)
            continue;
        if (entry->before > tentative->first)
            unindex(tentative, entry->before - 1);
        err = key_index_reserve(&tentative->by_producer, 1);
        if (err == ERR_OK)
            key_index_add(&tentative->by_producer, hash_of(entry->producer),
                          (uint32_t)(count & (tentative->capacity - 1)));
    }
    return err;
}

enum err tentative_reserve(struct tentative *tentative)
{
    struct tentative grown = {.first = tentative->first, .end = tentative->end};
    enum err err;

    if (tentative->end - tentative->first < tentative->capacity)
        return key_index_reserve(&tentative->by_producer, 1);
    grown.capacity = tentative->capacity == 0 ? CAPACITY_MIN : 2 * tentative->capacity;
    grown.entries = malloc(grown.capacity * sizeof *grown.entries);
    if (grown.entries == NULL)
        return err_set(ERR_NO_MEMORY, "room for %u entries", grown.capacity);
    for (uint64_t count = grown.first; count < grown.end; count++)
        *at(&grown, count) = *at(tentative, count);
    err = index_all(&grown);
    if (err == ERR_OK)
        err = key_index_reserve(&grown.by_producer, 1);
    if (err != ERR_OK) {
        tentative_fini(&grown);
        return err;
    }
    tentative_fini(tentative);
    *tentative = grown;
    return ERR_OK;
}

void tentative_add(struct tentative *tentative, uint64_t producer,
                   const struct producer_state *state, uint32_t series)
{
    uint64_t count = tentative->end;
    struct tentative_entry entry = {.producer = producer, .state = *state, .series = series};
    uint32_t before = producer == 0 ? KEY_INDEX_NONE : find(tentative, producer);

    CHECK(count - tentative->first < tentative->capacity);
    if (before != KEY_INDEX_NONE) {
        /* Its count: the only one in the ring at that place. */
        entry.before =
            tentative->first + ((before - tentative->first) & (tentative->capacity - 1)) + 1;
        key_index_remove(&tentative->by_producer, hash_of(producer), before);
    }
    tentative->end++;
    *at(tentative, count) = entry;
    if (producer != 0)
        key_index_add(&tentative->by_producer, hash_of(producer),
                      (uint32_t)(count & (tentative->capacity - 1)));
}

void tentative_applied(struct tentative *tentative)
{
    if (tentative->first == tentative->end)
        return;
    unindex(tentative, tentative->first);
    tentative->first++;
}

bool tentative_retract(struct tentative *tentative, uint32_t *ret_series)
{
    struct tentative_entry *entry;

    if (tentative->first == tentative->end)
        return false;
    entry = at(tentative, tentative->end - 1);
    unindex(tentative, tentative->end - 1);
    tentative->end--;
    if (entry->producer != 0 && entry->before > tentative->first)
        key_index_add(&tentative->by_producer, hash_of(entry->producer),
                      (uint32_t)((entry->before - 1) & (tentative->capacity - 1)));
    *ret_series = entry->series;
    return true;
}

void tentative_clear(struct tentative *tentative)
{
    while (tentative->first < tentative->end)
        tentative_applied(tentative);
}
