#include "tests/support/fake_store.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/block/block_reader.h"

void fake_store_init(struct fake_store *store)
{
    *store = (struct fake_store){.in_order = true};
}

void fake_store_fini(struct fake_store *store)
{
    for (uint32_t i = 0; i < FAKE_SHARDS_MAX; i++) {
        for (uint32_t id = 0; id < store->shards[i].series; id++)
            free(store->shards[i].keys[id]);
    }
}

void fake_store_forget(struct fake_store *store, uint32_t shard)
{
    store->shards[shard].producer = (struct fake_producer){0};
}

/* The id of a key, new or known. */
static uint32_t id_of(struct fake_shard *shard, const char *key, size_t size)
{
    for (uint32_t id = 0; id < shard->series; id++) {
        if (shard->sizes[id] == size && memcmp(shard->keys[id], key, size) == 0)
            return id;
    }
    CHECK(shard->series < FAKE_SERIES_MAX);
    shard->keys[shard->series] = malloc(size);
    CHECK(shard->keys[shard->series] != NULL);
    memcpy(shard->keys[shard->series], key, size);
    shard->sizes[shard->series] = size;
    shard->newest[shard->series] = -1;
    return shard->series++;
}

/* Count the rows of one section by the number that is their first field. */
static enum err store_section(struct fake_store *store, struct fake_shard *shard,
                              struct block *block, uint32_t at, const uint32_t *ids)
{
    const struct block_section *section = block_section(block, at);
    uint32_t *places = calloc(section->runs + 1u, sizeof *places);
    uint32_t *counts = calloc(section->runs + 1u, sizeof *counts);
    uint8_t *present = calloc(section->rows + 1u, 1);
    uint64_t *values = calloc(section->rows + 1u, sizeof *values);
    const char *strings = NULL;
    enum err err = block_read_runs(block, at, places, counts);

    if (err == ERR_OK)
        err = block_read_field(block, at, 0, present, values, &strings);
    for (uint32_t run = 0, row = 0; err == ERR_OK && run < section->runs; run++) {
        int64_t *newest = &shard->newest[ids[places[run]]];

        for (uint32_t i = 0; i < counts[run]; i++, row++) {
            CHECK(values[row] < FAKE_ROWS_MAX);
            store->rows[values[row]]++;
            if ((int64_t)values[row] <= *newest)
                store->in_order = false;
            *newest = (int64_t)values[row];
        }
    }
    free(places);
    free(counts);
    free(present);
    free(values);
    return err;
}

static enum err store_block(struct fake_store *store, struct fake_shard *shard,
                            const uint8_t *bytes, size_t size, struct message_write_ok *ok,
                            uint32_t *fresh_ids)
{
    struct block_view view;
    struct block *block;
    uint32_t *ids;
    const char *key;
    size_t key_size, at = 0;
    uint32_t fresh = 0;
    enum err err = block_view(bytes, size, true, &view);

    if (err != ERR_OK)
        return err;
    ids = calloc(view.header.known + view.header.fresh + 1u, sizeof *ids);
    for (uint32_t i = 0; i < view.header.known; i++) {
        ids[i] = block_view_id(&view, i);
        if (ids[i] >= shard->series)
            err = ERR_INVALID; /* An id that nobody was given. */
    }
    while (block_view_next_key(&view, &at, &key, &key_size)) {
        fresh_ids[fresh] = ids[view.header.known + fresh] = id_of(shard, key, key_size);
        fresh++;
    }
    ok->rows = view.header.rows;
    ok->id_count = fresh;
    ok->ids = (const uint8_t *)fresh_ids;
    store->fresh_keys += fresh;
    if (err == ERR_OK)
        err = block_load(&view, &block);
    if (err == ERR_OK) {
        for (uint32_t i = 0; i < block_sections(block) && err == ERR_OK; i++)
            err = store_section(store, shard, block, i, ids);
        block_free(block);
    }
    free(ids);
    return err;
}

enum err fake_store_apply(struct fake_store *store, const struct entry_header *header,
                          const uint8_t *entry, struct message_write_ok *ok)
{
    static uint32_t fresh_ids[FAKE_SERIES_MAX]; /* One thread at a time is here. */
    struct fake_shard *shard = &store->shards[header->shard];
    struct fake_producer *producer = &shard->producer;
    enum err err;

    if (producer->id != header->producer || header->epoch > producer->epoch) {
        if (header->sequence != 1) {
            store->gaps++;
            return ERR_SEQUENCE;
        }
        *producer = (struct fake_producer){header->producer, header->epoch, 0};
    }
    *ok = (struct message_write_ok){.shard = header->shard, .sequence = header->sequence};
    if (header->epoch < producer->epoch)
        return ERR_INVALID;
    if (header->sequence <= producer->last) {
        store->duplicates++;
        ok->duplicate = true;
        return ERR_OK;
    }
    if (header->sequence > producer->last + 1) {
        store->gaps++;
        return ERR_SEQUENCE;
    }
    err = store_block(store, shard, entry + sizeof *header, header->size - sizeof *header, ok,
                      fresh_ids);
    if (err != ERR_OK) {
        store->bad++;
        return ERR_INVALID;
    }
    producer->last = header->sequence;
    ok->index = ++store->entries;
    if (header->epoch > store->epoch_max)
        store->epoch_max = header->epoch;
    return ERR_OK;
}
