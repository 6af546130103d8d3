#include "storage/catalog_young.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/varint.h"
#include "storage/key_index.h"

enum {
    PARTS = 256,            /* Of the index. */
    SLOTS_CHUNK = 1 << 16,  /* Slots in a chunk. */
    SLOTS_CHUNKS = 1 << 16, /* Chunks of slots: 2^32 series. */
    KEYS_CHUNKS = 1 << 14,  /* Chunks of keys: 16 GiB. */
    POSITION_BITS = 34,     /* Chunk number and offset in it. */
    TABLE_BITS = 30,
};
static_assert((uint64_t)KEYS_CHUNKS * CATALOG_CHUNK <= (uint64_t)1 << POSITION_BITS,
              "a slot has to hold every position");
static_assert(POSITION_BITS + TABLE_BITS <= 64, "both in one slot");
static_assert(KEY_SIZE_MAX + VARINT_SIZE_MAX <= CATALOG_CHUNK, "a key does not span chunks");

/* The directories have their full size from the start (the system maps what is used), so a view can
 * read them while the worker adds chunks. */
struct catalog_young {
    atomic_uint references;
    uint32_t count;
    uint64_t end; /* Position behind the last key. */
    uint64_t *slots[SLOTS_CHUNKS];
    uint8_t *keys[KEYS_CHUNKS];
    uint32_t slot_chunks, key_chunks; /* Allocated; they stay when keys are taken back. */
    struct key_index parts[PARTS];
};

enum err catalog_young_new(struct catalog_young **ret_young)
{
    struct catalog_young *young = calloc(1, sizeof *young);

    if (young == NULL)
        return err_set(ERR_NO_MEMORY, "catalog");
    atomic_init(&young->references, 1);
    *ret_young = young;
    return ERR_OK;
}

struct catalog_young *catalog_young_ref(struct catalog_young *young)
{
    (void)atomic_fetch_add_explicit(&young->references, 1, memory_order_relaxed);
    return young;
}

void catalog_young_unref(struct catalog_young *young)
{
    /* Release, and acquire at the last one: what others read came before it is freed. */
    if (young == NULL || atomic_fetch_sub_explicit(&young->references, 1, memory_order_acq_rel) > 1)
        return;
    for (size_t i = 0; i < young->slot_chunks; i++)
        free(young->slots[i]);
    for (size_t i = 0; i < young->key_chunks; i++)
        free(young->keys[i]);
    for (size_t i = 0; i < PARTS; i++)
        key_index_fini(&young->parts[i]);
    free(young);
}

uint32_t catalog_young_count(const struct catalog_young *young)
{
    return young->count;
}

size_t catalog_young_bytes(const struct catalog_young *young)
{
    size_t bytes = (size_t)young->slot_chunks * SLOTS_CHUNK * sizeof(uint64_t) +
                   (size_t)young->key_chunks * CATALOG_CHUNK;

    for (size_t i = 0; i < PARTS; i++)
        bytes += key_index_bytes(&young->parts[i]);
    return bytes;
}

/* ---- Slots and keys ------------------------------------------------------------------------ */

static uint64_t slot_of(const struct catalog_young *young, uint32_t number)
{
    return young->slots[number / SLOTS_CHUNK][number % SLOTS_CHUNK];
}

static uint64_t position_of(const struct catalog_young *young, uint32_t number)
{
    return slot_of(young, number) & (((uint64_t)1 << POSITION_BITS) - 1);
}

static uint8_t *key_at(const struct catalog_young *young, uint64_t position)
{
    return young->keys[position / CATALOG_CHUNK] + position % CATALOG_CHUNK;
}

struct slice catalog_young_key(const struct catalog_young *young, uint32_t number)
{
    const uint8_t *at = key_at(young, position_of(young, number));
    uint64_t size = 0;

    at = varint_get(at, at + VARINT_SIZE_MAX, &size); /* Written by us: it is good. */
    return (struct slice){(const char *)at, (size_t)size};
}

uint32_t catalog_young_table(const struct catalog_young *young, uint32_t number)
{
    return (uint32_t)(slot_of(young, number) >> POSITION_BITS);
}

static struct slice key_of(const void *owner, uint32_t number)
{
    return catalog_young_key(owner, number);
}

uint32_t catalog_young_find(const struct catalog_young *young, struct slice key, uint64_t hash)
{
    return key_index_find(&young->parts[hash % PARTS], young, key_of, key, hash);
}

void catalog_young_prefetch(const struct catalog_young *young, uint64_t hash)
{
    key_index_prefetch(&young->parts[hash % PARTS], hash);
}

/* ---- Adding -------------------------------------------------------------------------------- */

/* Memory for one more slot and for `size` bytes of keys in one chunk. */
static enum err make_room(struct catalog_young *young, size_t size, uint64_t *ret_position)
{
    uint64_t position = young->end;
    size_t slots = young->count / SLOTS_CHUNK;

    if (position % CATALOG_CHUNK + size > CATALOG_CHUNK)
        position = (position / CATALOG_CHUNK + 1) * CATALOG_CHUNK;
    if (position / CATALOG_CHUNK >= KEYS_CHUNKS)
        return err_set(ERR_LIMIT, "the shard's new series keys take %d MiB, the most there can be",
                       KEYS_CHUNKS);
    if (slots >= young->slot_chunks) {
        young->slots[slots] = malloc(SLOTS_CHUNK * sizeof(uint64_t));
        if (young->slots[slots] == NULL)
            return err_set(ERR_NO_MEMORY, "catalog of %u new series", young->count);
        young->slot_chunks++;
    }
    if (position / CATALOG_CHUNK >= young->key_chunks) {
        young->keys[young->key_chunks] = malloc(CATALOG_CHUNK);
        if (young->keys[young->key_chunks] == NULL)
            return err_set(ERR_NO_MEMORY, "catalog of %u new series", young->count);
        young->key_chunks++;
    }
    *ret_position = position;
    return ERR_OK;
}

enum err catalog_young_add(struct catalog_young *young, struct slice key, uint32_t table,
                           uint64_t hash)
{
    struct key_index *part = &young->parts[hash % PARTS];
    uint8_t room[VARINT_SIZE_MAX];
    size_t coded = (size_t)(varint_put(room, key.size) - room);
    uint64_t position = 0;
    enum err err;

    CHECK(key.size <= KEY_SIZE_MAX);
    CHECK(table < 1u << TABLE_BITS);
    err = make_room(young, coded + key.size, &position);
    if (err == ERR_OK)
        err = key_index_reserve(part, 1);
    if (err != ERR_OK)
        return err;
    memcpy(key_at(young, position), room, coded);
    memcpy(key_at(young, position) + coded, key.data, key.size);
    young->slots[young->count / SLOTS_CHUNK][young->count % SLOTS_CHUNK] =
        position | (uint64_t)table << POSITION_BITS;
    young->end = position + coded + key.size;
    key_index_add(part, hash, young->count++);
    return ERR_OK;
}

void catalog_young_remove(struct catalog_young *young)
{
    uint32_t number = young->count - 1;
    struct slice key;
    uint64_t hash;

    CHECK(young->count > 0);
    key = catalog_young_key(young, number);
    hash = key_hash(key.data, key.size);
    key_index_remove(&young->parts[hash % PARTS], hash, number);
    young->end = position_of(young, number);
    young->count--;
}
