#include "storage/catalog.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/varint.h"
#include "storage/key_index.h"

enum {
    PARTS = 256,            /* Of the index. */
    SLOTS_CHUNK = 1 << 16,  /* Slots in a chunk. */
    SLOTS_CHUNKS = 1 << 16, /* Chunks of slots: 2^32 series. */
    TABLES_CHUNK = 1 << 10, /* Tables in a chunk. */
    TABLES_CHUNKS = CATALOG_TABLES_MAX / TABLES_CHUNK,
    KEYS_CHUNKS = 1 << 14, /* Chunks of keys: 16 GiB. */
    POSITION_BITS = 34,    /* Chunk number and offset in it. */
    TABLE_BITS = 20,
};
static_assert((uint64_t)KEYS_CHUNKS * CATALOG_CHUNK <= (uint64_t)1 << POSITION_BITS,
              "a slot has to hold every position");
static_assert(CATALOG_TABLES_MAX <= 1 << TABLE_BITS, "a slot has to hold every table number");
static_assert(POSITION_BITS + TABLE_BITS <= 64, "both in one slot");
static_assert(KEY_SIZE_MAX + VARINT_SIZE_MAX <= CATALOG_CHUNK, "a key does not span chunks");

struct table {
    uint32_t first;    /* Id of its first series: the table key is the start of that key. */
    uint32_t key_size; /* Bytes of the table key. */
};

/* The directories have their full size from the start (the system maps what is used), so a view can
 * read them while the worker adds chunks. */
struct catalog {
    uint32_t count, total;
    uint32_t tables;
    uint64_t end; /* Position behind the last key. */
    uint64_t *slots[SLOTS_CHUNKS];
    struct table *table_chunks[TABLES_CHUNKS];
    uint8_t *keys[KEYS_CHUNKS];
    uint32_t slot_chunks, key_chunks; /* Allocated; they stay after catalog_forget(). */
    struct key_index parts[PARTS];
    struct key_index table_index;
};

enum err catalog_new(struct catalog **ret_catalog)
{
    struct catalog *catalog = calloc(1, sizeof *catalog);

    if (catalog == NULL)
        return err_set(ERR_NO_MEMORY, "catalog");
    *ret_catalog = catalog;
    return ERR_OK;
}

void catalog_free(struct catalog *catalog)
{
    if (catalog == NULL)
        return;
    for (size_t i = 0; i < catalog->slot_chunks; i++)
        free(catalog->slots[i]);
    for (size_t i = 0; i < TABLES_CHUNKS; i++)
        free(catalog->table_chunks[i]);
    for (size_t i = 0; i < catalog->key_chunks; i++)
        free(catalog->keys[i]);
    for (size_t i = 0; i < PARTS; i++)
        key_index_fini(&catalog->parts[i]);
    key_index_fini(&catalog->table_index);
    free(catalog);
}

uint32_t catalog_count(const struct catalog *catalog)
{
    return catalog->count;
}

uint32_t catalog_total(const struct catalog *catalog)
{
    return catalog->total;
}

uint32_t catalog_tables(const struct catalog *catalog)
{
    return catalog->tables;
}

size_t catalog_bytes(const struct catalog *catalog)
{
    size_t bytes = (size_t)catalog->slot_chunks * SLOTS_CHUNK * sizeof(uint64_t) +
                   (size_t)catalog->key_chunks * CATALOG_CHUNK +
                   (size_t)catalog->tables * sizeof(struct table) +
                   key_index_bytes(&catalog->table_index);

    for (size_t i = 0; i < PARTS; i++)
        bytes += key_index_bytes(&catalog->parts[i]);
    return bytes;
}

/* ---- Slots, keys, tables ------------------------------------------------------------------- */

static uint64_t slot_of(const struct catalog *catalog, uint32_t id)
{
    return catalog->slots[id / SLOTS_CHUNK][id % SLOTS_CHUNK];
}

static uint64_t position_of(const struct catalog *catalog, uint32_t id)
{
    return slot_of(catalog, id) & (((uint64_t)1 << POSITION_BITS) - 1);
}

static struct table *table_at(const struct catalog *catalog, uint32_t table)
{
    return &catalog->table_chunks[table / TABLES_CHUNK][table % TABLES_CHUNK];
}

static uint8_t *key_at(const struct catalog *catalog, uint64_t position)
{
    return catalog->keys[position / CATALOG_CHUNK] + position % CATALOG_CHUNK;
}

struct slice catalog_key(const struct catalog *catalog, uint32_t id)
{
    const uint8_t *at = key_at(catalog, position_of(catalog, id));
    uint64_t size = 0;

    at = varint_get(at, at + VARINT_SIZE_MAX, &size); /* Written by us: it is good. */
    return (struct slice){(const char *)at, (size_t)size};
}

uint32_t catalog_table(const struct catalog *catalog, uint32_t id)
{
    return (uint32_t)(slot_of(catalog, id) >> POSITION_BITS);
}

static struct slice table_key(const struct catalog *catalog, uint32_t number)
{
    const struct table *table = table_at(catalog, number);

    return (struct slice){catalog_key(catalog, table->first).data, table->key_size};
}

static struct slice series_key_of(const void *owner, uint32_t number)
{
    return catalog_key(owner, number);
}

static struct slice table_key_of(const void *owner, uint32_t number)
{
    return table_key(owner, number);
}

static bool is_same(struct slice a, struct slice b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

/* ---- Finding ------------------------------------------------------------------------------- */

uint32_t catalog_find(const struct catalog *catalog, const void *key, size_t size, uint64_t hash)
{
    return key_index_find(&catalog->parts[hash % PARTS], catalog, series_key_of,
                          (struct slice){key, size}, hash);
}

uint32_t catalog_find_table(const struct catalog *catalog, struct slice key)
{
    return key_index_find(&catalog->table_index, catalog, table_key_of, key,
                          key_hash(key.data, key.size));
}

/* ---- Adding -------------------------------------------------------------------------------- */

/* Where one more series goes, all memory for it reserved. */
struct place {
    uint64_t position;
    uint32_t table;
    bool new_table;
};

/* Memory for one more slot and for `size` bytes of keys in one chunk. */
static enum err make_room(struct catalog *catalog, size_t size, uint64_t *ret_position)
{
    uint64_t position = catalog->end;
    size_t slots = catalog->total / SLOTS_CHUNK;

    if (catalog->total >= CATALOG_SERIES_MAX)
        return err_set(ERR_LIMIT, "the shard has %u series, the most there can be", catalog->total);
    if (position % CATALOG_CHUNK + size > CATALOG_CHUNK)
        position = (position / CATALOG_CHUNK + 1) * CATALOG_CHUNK;
    if (position / CATALOG_CHUNK >= KEYS_CHUNKS)
        return err_set(ERR_LIMIT, "the shard's series keys take %d MiB, the most there can be",
                       KEYS_CHUNKS);
    if (slots >= catalog->slot_chunks) {
        catalog->slots[slots] = malloc(SLOTS_CHUNK * sizeof(uint64_t));
        if (catalog->slots[slots] == NULL)
            return err_set(ERR_NO_MEMORY, "catalog of %u series", catalog->total);
        catalog->slot_chunks++;
    }
    if (position / CATALOG_CHUNK >= catalog->key_chunks) {
        catalog->keys[catalog->key_chunks] = malloc(CATALOG_CHUNK);
        if (catalog->keys[catalog->key_chunks] == NULL)
            return err_set(ERR_NO_MEMORY, "catalog of %u series", catalog->total);
        catalog->key_chunks++;
    }
    *ret_position = position;
    return ERR_OK;
}

/* The number that the table has, or that it will have. */
static enum err number_table(struct catalog *catalog, struct slice name, struct place *place)
{
    uint32_t last = catalog->total == 0 ? CATALOG_NONE : catalog_table(catalog, catalog->total - 1);
    struct table **chunk;

    /* Series of one table mostly come together. */
    if (last != CATALOG_NONE && is_same(table_key(catalog, last), name))
        place->table = last;
    else
        place->table = catalog_find_table(catalog, name);
    place->new_table = place->table == CATALOG_NONE;
    if (!place->new_table)
        return ERR_OK;
    if (catalog->tables >= CATALOG_TABLES_MAX)
        return err_set(ERR_LIMIT, "the shard has %u tables, the most there can be",
                       catalog->tables);
    place->table = catalog->tables;
    chunk = &catalog->table_chunks[place->table / TABLES_CHUNK];
    if (*chunk == NULL)
        *chunk = malloc(TABLES_CHUNK * sizeof(struct table));
    if (*chunk == NULL)
        return err_set(ERR_NO_MEMORY, "catalog of %u tables", catalog->tables);
    return key_index_reserve(&catalog->table_index, catalog, table_key_of, 1);
}

static enum err reserve(struct catalog *catalog, size_t stored, struct slice name, uint64_t hash,
                        struct place *ret_place)
{
    enum err err = make_room(catalog, stored, &ret_place->position);

    if (err == ERR_OK)
        err = number_table(catalog, name, ret_place);
    if (err == ERR_OK)
        err = key_index_reserve(&catalog->parts[hash % PARTS], catalog, series_key_of, 1);
    return err;
}

/* The stored form of the key stands at the place already. */
static void append(struct catalog *catalog, const struct place *place, size_t stored,
                   struct slice name, uint64_t hash)
{
    uint32_t id = catalog->total++;

    catalog->slots[id / SLOTS_CHUNK][id % SLOTS_CHUNK] = place->position | (uint64_t)place->table
                                                                               << POSITION_BITS;
    catalog->end = place->position + stored;
    key_index_add(&catalog->parts[hash % PARTS], hash, id);
    if (place->new_table) {
        *table_at(catalog, place->table) = (struct table){id, (uint32_t)name.size};
        catalog->tables++;
        key_index_add(&catalog->table_index, key_hash(name.data, name.size), place->table);
    }
}

static size_t stored_size(size_t key_size)
{
    uint8_t room[VARINT_SIZE_MAX];

    return (size_t)(varint_put(room, key_size) - room) + key_size;
}

enum err catalog_add(struct catalog *catalog, struct slice key, size_t table_key_size,
                     uint64_t hash)
{
    struct slice name = {key.data, table_key_size};
    size_t stored = stored_size(key.size);
    struct place place = {0};
    enum err err;

    CHECK(key.size <= KEY_SIZE_MAX);
    err = reserve(catalog, stored, name, hash, &place);
    if (err != ERR_OK)
        return err;
    memcpy(varint_put(key_at(catalog, place.position), key.size), key.data, key.size);
    append(catalog, &place, stored, name, hash);
    return ERR_OK;
}

void catalog_confirm(struct catalog *catalog)
{
    CHECK(catalog->count < catalog->total);
    catalog->count++;
}

void catalog_forget(struct catalog *catalog, uint32_t total)
{
    CHECK(total >= catalog->count);
    while (catalog->total > total) {
        uint32_t id = catalog->total - 1;
        struct slice key = catalog_key(catalog, id);
        uint64_t hash = key_hash(key.data, key.size);
        uint32_t table = catalog_table(catalog, id);

        key_index_remove(&catalog->parts[hash % PARTS], catalog, series_key_of, hash, id);
        if (table_at(catalog, table)->first == id) {
            struct slice name = table_key(catalog, table);

            CHECK(table == catalog->tables - 1);
            key_index_remove(&catalog->table_index, catalog, table_key_of,
                             key_hash(name.data, name.size), table);
            catalog->tables--;
        }
        catalog->end = position_of(catalog, id);
        catalog->total--;
    }
}

/* ---- Loading and storing ------------------------------------------------------------------- */

/* The table key at the start of a key: two names. 0 if there are none. */
static size_t table_key_size(const uint8_t *key, size_t size)
{
    const uint8_t *at = key;
    const uint8_t *end = key + size;

    for (int name = 0; name < 2; name++) {
        uint64_t name_size = 0;

        at = varint_get(at, end, &name_size);
        if (at == NULL || name_size > (uint64_t)(end - at))
            return 0;
        at += name_size;
    }
    return (size_t)(at - key);
}

static enum err load_key(struct catalog *catalog, size_t stored, struct slice key)
{
    struct slice name = {key.data, table_key_size((const uint8_t *)key.data, key.size)};
    uint64_t hash = key_hash(key.data, key.size);
    struct place place = {0};
    enum err err;

    if (name.size == 0 || key.size > KEY_SIZE_MAX)
        return err_set(ERR_CORRUPT, "series %u: not a key", catalog->total);
    if (catalog_find(catalog, key.data, key.size, hash) != CATALOG_NONE)
        return err_set(ERR_CORRUPT, "series %u: its key is there already", catalog->total);
    err = reserve(catalog, stored, name, hash, &place);
    if (err == ERR_OK) {
        append(catalog, &place, stored, name, hash);
        catalog->count = catalog->total;
    }
    return err;
}

enum err catalog_expect(struct catalog *catalog, uint32_t count)
{
    enum err err = ERR_OK;

    for (size_t i = 0; i < PARTS && err == ERR_OK; i++)
        err = key_index_reserve(&catalog->parts[i], catalog, series_key_of, count / PARTS + 1);
    return err;
}

enum err catalog_load(struct catalog *catalog, const void *bytes, size_t size, uint32_t count)
{
    const uint8_t *at;
    const uint8_t *end;
    enum err err;

    CHECK(size <= CATALOG_CHUNK);
    CHECK(catalog->count == catalog->total);
    /* All in one chunk, so that each key is added just where it stands. */
    err = make_room(catalog, size, &catalog->end);
    if (err != ERR_OK)
        return err;
    at = key_at(catalog, catalog->end);
    end = at + size;
    memcpy(key_at(catalog, catalog->end), bytes, size);
    while (at < end && count > 0) {
        uint64_t key_size = 0;
        const uint8_t *key = varint_get(at, end, &key_size);

        if (key == NULL || key_size > (uint64_t)(end - key) ||
            stored_size((size_t)key_size) != (size_t)(key - at) + (size_t)key_size)
            return err_set(ERR_CORRUPT, "series %u: no key of a good size", catalog->total);
        err = load_key(catalog, (size_t)(key - at) + (size_t)key_size,
                       (struct slice){(const char *)key, (size_t)key_size});
        if (err != ERR_OK)
            return err;
        at = key + key_size;
        count--;
    }
    if (at < end || count > 0)
        return err_set(ERR_CORRUPT, "series %u: %u keys are missing, %zu bytes are left",
                       catalog->total, count, (size_t)(end - at));
    return ERR_OK;
}

struct slice catalog_stored(const struct catalog *catalog, uint32_t from, uint32_t to,
                            uint32_t *ret_next)
{
    uint64_t first = position_of(catalog, from);
    uint64_t end = first;
    uint32_t id = from;

    CHECK(from < to);
    do {
        end += stored_size(catalog_key(catalog, id).size);
        id++;
    } while (id < to && position_of(catalog, id) == end && end % CATALOG_CHUNK != 0);
    *ret_next = id;
    return (struct slice){(const char *)key_at(catalog, first), (size_t)(end - first)};
}

/* ---- Views --------------------------------------------------------------------------------- */

struct catalog_view catalog_view(const struct catalog *catalog)
{
    struct catalog_view view = {catalog, catalog->count, catalog->tables};

    /* Tables of tentative series are the newest ones: leave them out. */
    while (view.tables > 0 && table_at(catalog, view.tables - 1)->first >= view.count)
        view.tables--;
    return view;
}

struct slice catalog_view_key(const struct catalog_view *view, uint32_t id)
{
    CHECK(id < view->count);
    return catalog_key(view->catalog, id);
}

uint32_t catalog_view_table(const struct catalog_view *view, uint32_t id)
{
    CHECK(id < view->count);
    return catalog_table(view->catalog, id);
}

struct slice catalog_view_table_key(const struct catalog_view *view, uint32_t table)
{
    CHECK(table < view->tables);
    return table_key(view->catalog, table);
}

uint32_t catalog_view_find_table(const struct catalog_view *view, struct slice key)
{
    for (uint32_t table = 0; table < view->tables; table++)
        if (is_same(table_key(view->catalog, table), key))
            return table;
    return CATALOG_NONE;
}
