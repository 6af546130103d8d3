#include "storage/producers.h"

#include <inttypes.h>
#include <stdlib.h>

#include "storage/base/check.h"
#include "storage/key_index.h"

#define NONE UINT32_MAX

/* All records form a list by use, oldest first, with `none` at both ends. */
struct record {
    uint64_t producer;
    uint64_t index; /* Of its last applied entry. */
    struct producer_state state;
    uint32_t older, newer;
};

struct producers {
    uint32_t max, count;
    uint32_t oldest, newest;
    struct key_index by_producer;
    struct record records[];
};

enum producers_verdict producers_judge(const struct producer_state *last, uint32_t epoch,
                                       uint64_t sequence)
{
    if (last == NULL || epoch > last->epoch)
        return sequence == 1 ? PRODUCERS_NEXT : PRODUCERS_GAP;
    /* What an epoch that is over had applied is not known any more: "done" might be a lie. */
    if (epoch < last->epoch || sequence == 0)
        return PRODUCERS_GAP;
    if (sequence <= last->sequence)
        return PRODUCERS_DUPLICATE;
    return sequence == last->sequence + 1 ? PRODUCERS_NEXT : PRODUCERS_GAP;
}

static struct slice key_of(const void *owner, uint32_t number)
{
    const struct producers *producers = owner;

    return (struct slice){(const char *)&producers->records[number].producer, sizeof(uint64_t)};
}

static uint64_t hash_of(uint64_t producer)
{
    return key_hash(&producer, sizeof producer);
}

static uint32_t find(const struct producers *producers, uint64_t producer)
{
    return key_index_find(&producers->by_producer, producers, key_of,
                          (struct slice){(const char *)&producer, sizeof producer},
                          hash_of(producer));
}

enum err producers_new(uint32_t max, struct producers **ret_producers)
{
    struct producers *producers;

    CHECK(max >= 1);
    CHECK(max <= PRODUCERS_MAX);
    producers = calloc(1, sizeof *producers + max * sizeof producers->records[0]);
    if (producers == NULL)
        return err_set(ERR_NO_MEMORY, "room for %u producers", max);
    producers->max = max;
    producers->oldest = producers->newest = NONE;
    /* One more than there will be: noting a producer cannot fail later. */
    if (key_index_reserve(&producers->by_producer, max + 1) != ERR_OK) {
        producers_free(producers);
        return ERR_NO_MEMORY;
    }
    *ret_producers = producers;
    return ERR_OK;
}

void producers_free(struct producers *producers)
{
    if (producers == NULL)
        return;
    key_index_fini(&producers->by_producer);
    free(producers);
}

uint32_t producers_count(const struct producers *producers)
{
    return producers->count;
}

const struct producer_state *producers_find(const struct producers *producers, uint64_t producer)
{
    uint32_t at = find(producers, producer);

    return at == KEY_INDEX_NONE ? NULL : &producers->records[at].state;
}

/* ---- The list ------------------------------------------------------------------------------ */

static void unlink_record(struct producers *producers, uint32_t at)
{
    const struct record *record = &producers->records[at];

    if (record->older == NONE)
        producers->oldest = record->newer;
    else
        producers->records[record->older].newer = record->newer;
    if (record->newer == NONE)
        producers->newest = record->older;
    else
        producers->records[record->newer].older = record->older;
}

static void link_newest(struct producers *producers, uint32_t at)
{
    struct record *record = &producers->records[at];

    record->older = producers->newest;
    record->newer = NONE;
    if (producers->newest == NONE)
        producers->oldest = at;
    else
        producers->records[producers->newest].newer = at;
    producers->newest = at;
}

void producers_note(struct producers *producers, uint64_t producer,
                    const struct producer_state *state, uint64_t index)
{
    uint32_t at = find(producers, producer);

    if (at != KEY_INDEX_NONE) {
        unlink_record(producers, at);
    } else {
        if (producers->count < producers->max) {
            at = producers->count++;
        } else {
            at = producers->oldest;
            unlink_record(producers, at);
            key_index_remove(&producers->by_producer, hash_of(producers->records[at].producer), at);
        }
        producers->records[at].producer = producer;
        key_index_add(&producers->by_producer, hash_of(producer), at);
    }
    producers->records[at].index = index;
    producers->records[at].state = *state;
    link_newest(producers, at);
}

/* ---- Stored -------------------------------------------------------------------------------- */

void producers_encode(const struct producers *producers, struct bytes *out)
{
    bytes_put_u32(out, producers->count);
    for (uint32_t at = producers->oldest; at != NONE; at = producers->records[at].newer) {
        const struct record *record = &producers->records[at];

        bytes_put_u64(out, record->producer);
        bytes_put_u32(out, record->state.epoch);
        bytes_put_u64(out, record->state.sequence);
        bytes_put_u64(out, record->index);
    }
}

enum err producers_decode(struct producers *producers, struct reader *reader)
{
    uint32_t count = reader_u32(reader);
    uint64_t last = 0;

    CHECK(producers->count == 0);
    for (uint32_t i = 0; i < count && !reader->bad; i++) {
        uint64_t producer = reader_u64(reader);
        struct producer_state state;
        uint64_t index;

        state.epoch = reader_u32(reader);
        state.sequence = reader_u64(reader);
        index = reader_u64(reader);
        if (reader->bad || producer == 0 || index <= last ||
            find(producers, producer) != KEY_INDEX_NONE)
            return err_set(ERR_CORRUPT, "producer %u of %u: not a good record", i, count);
        producers_note(producers, producer, &state, index);
        last = index;
    }
    return reader->bad ? err_set(ERR_CORRUPT, "%u producers do not fit", count) : ERR_OK;
}
