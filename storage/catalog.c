#include "storage/catalog.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/catalog_run.h"
#include "storage/catalog_young.h"
#include "storage/database_map.h"
#include "storage/key_index.h"

enum {
    TABLES_CHUNK = 1 << 10, /* Tables in a chunk. */
    TABLES_CHUNKS = CATALOG_TABLES_MAX / TABLES_CHUNK,
};
static_assert(CATALOG_KEY_ROOM >= KEY_SIZE_MAX + 10, "a run writes a size before it looks");
static_assert(CATALOG_RUN_NONE == CATALOG_NONE, "a run's table may be none");
static_assert((int)CATALOG_BATCH <= (int)CATALOG_RUN_BATCH, "a run is asked for a batch");
static_assert(CATALOG_YOUNG_NONE == CATALOG_NONE, "both kinds of parts are asked");

struct table {
    uint32_t first; /* Id of its first series; of a loaded one: of the first of its run. */
    uint32_t key_size;
    char *key; /* Owned. */
    uint32_t database;
};

/* Numbered in the order of their first tables, as those are in that of their first series. */
struct database {
    struct slice name; /* Borrowed from its first table. */
    uint32_t table;    /* That one. */
    uint32_t series;
};

struct catalog_parts {
    atomic_uint references;
    uint32_t count;
    struct catalog_part parts[]; /* Owned, each counted. */
};

/* The directory of tables has its full size from the start (the system maps what is used), so a
 * view can read it while the worker adds chunks. */
struct catalog {
    uint32_t count;
    uint32_t tables;
    uint32_t last_table;         /* Of the series added last: the next one is mostly of the same. */
    struct catalog_parts *parts; /* Owned, counted. */
    struct catalog_part young;   /* The last of the parts. */
    struct table *table_chunks[TABLES_CHUNKS];
    struct key_index table_index;
    struct database *databases; /* Owned. */
    uint32_t database_count, database_capacity;
};

/* ---- Parts --------------------------------------------------------------------------------- */

static void parts_unref(struct catalog_parts *parts)
{
    /* Release, and acquire at the last one: what others read came before it is freed. */
    if (parts == NULL || atomic_fetch_sub_explicit(&parts->references, 1, memory_order_acq_rel) > 1)
        return;
    for (uint32_t i = 0; i < parts->count; i++) {
        catalog_run_unref(parts->parts[i].run);
        catalog_young_unref(parts->parts[i].young);
    }
    free(parts);
}

/* Room for `count` parts. */
static struct catalog_parts *parts_new(uint32_t count)
{
    struct catalog_parts *parts = calloc(1, sizeof *parts + count * sizeof parts->parts[0]);

    if (parts != NULL)
        atomic_init(&parts->references, 1);
    return parts;
}

static void parts_put(struct catalog_parts *parts, const struct catalog_part *part)
{
    struct catalog_part *copy = &parts->parts[parts->count++];

    copy->first = part->first;
    if (part->run != NULL)
        copy->run = catalog_run_ref(part->run);
    if (part->young != NULL)
        copy->young = catalog_young_ref(part->young);
}

static void take_parts(struct catalog *catalog, struct catalog_parts *parts)
{
    parts_unref(catalog->parts);
    catalog->parts = parts;
    catalog->young = parts->parts[parts->count - 1];
}

/* The part of an id: the newest one that does not begin behind it. */
static const struct catalog_part *part_of(const struct catalog_parts *parts, uint32_t id)
{
    uint32_t at = parts->count - 1;

    while (parts->parts[at].first > id)
        at--;
    return &parts->parts[at];
}

static uint32_t find_in(const struct catalog_part *part, struct slice key, uint64_t hash)
{
    uint32_t at = part->run != NULL ? catalog_run_find(part->run, key, hash)
                                    : catalog_young_find(part->young, key, hash);

    return at == CATALOG_NONE ? CATALOG_NONE : part->first + at;
}

static uint32_t table_of(const struct catalog_part *part, uint32_t id)
{
    return part->run != NULL ? catalog_run_table(part->run, id - part->first)
                             : catalog_young_table(part->young, id - part->first);
}

/* ---- The whole ----------------------------------------------------------------------------- */

enum err catalog_new(struct catalog **ret_catalog)
{
    struct catalog *catalog = calloc(1, sizeof *catalog);
    struct catalog_parts *parts = parts_new(1);

    if (catalog == NULL || parts == NULL || catalog_young_new(&parts->parts[0].young) != ERR_OK) {
        free(parts);
        free(catalog);
        return err_set(ERR_NO_MEMORY, "catalog");
    }
    parts->count = 1;
    catalog->last_table = CATALOG_NONE;
    take_parts(catalog, parts);
    *ret_catalog = catalog;
    return ERR_OK;
}

static struct table *table_at(const struct catalog *catalog, uint32_t table)
{
    return &catalog->table_chunks[table / TABLES_CHUNK][table % TABLES_CHUNK];
}

void catalog_free(struct catalog *catalog)
{
    if (catalog == NULL)
        return;
    for (uint32_t table = 0; table < catalog->tables; table++)
        free(table_at(catalog, table)->key);
    for (size_t i = 0; i < TABLES_CHUNKS; i++)
        free(catalog->table_chunks[i]);
    key_index_fini(&catalog->table_index);
    free(catalog->databases);
    parts_unref(catalog->parts);
    free(catalog);
}

uint32_t catalog_count(const struct catalog *catalog)
{
    return catalog->count;
}

uint32_t catalog_total(const struct catalog *catalog)
{
    return catalog->young.first + catalog_young_count(catalog->young.young);
}

uint32_t catalog_tables(const struct catalog *catalog)
{
    return catalog->tables;
}

size_t catalog_bytes(const struct catalog *catalog)
{
    size_t bytes =
        (size_t)catalog->tables * sizeof(struct table) + key_index_bytes(&catalog->table_index);

    for (uint32_t i = 0; i < catalog->parts->count; i++)
        if (catalog->parts->parts[i].young != NULL)
            bytes += catalog_young_bytes(catalog->parts->parts[i].young);
    return bytes;
}

/* ---- Finding ------------------------------------------------------------------------------- */

/* Parts are asked oldest first: that is the largest. A key is in one part only. */
uint32_t catalog_find(const struct catalog *catalog, const void *key, size_t size, uint64_t hash)
{
    const struct catalog_parts *parts = catalog->parts;
    uint32_t id = CATALOG_NONE;

    for (uint32_t i = 0; i < parts->count && id == CATALOG_NONE; i++)
        id = find_in(&parts->parts[i], (struct slice){key, size}, hash);
    return id;
}

static void find_batch_in(const struct catalog_part *part, const struct slice *keys,
                          const uint64_t *hashes, uint32_t count, uint32_t *ids)
{
    uint32_t found[CATALOG_BATCH];

    memcpy(found, ids, count * sizeof *ids);
    if (part->run != NULL)
        catalog_run_find_batch(part->run, keys, hashes, count, found);
    for (uint32_t i = 0; i < count; i++) {
        if (ids[i] != CATALOG_NONE)
            continue;
        if (part->young != NULL)
            found[i] = catalog_young_find(part->young, keys[i], hashes[i]);
        if (found[i] != CATALOG_NONE)
            ids[i] = part->first + found[i];
    }
}

void catalog_find_batch(const struct catalog *catalog, const struct slice *keys,
                        const uint64_t *hashes, uint32_t count, uint32_t *ret_ids)
{
    const struct catalog_parts *parts = catalog->parts;

    CHECK(count <= CATALOG_BATCH);
    for (uint32_t i = 0; i < count; i++) {
        ret_ids[i] = CATALOG_NONE;
        for (uint32_t part = 0; part < parts->count; part++)
            if (parts->parts[part].young != NULL)
                catalog_young_prefetch(parts->parts[part].young, hashes[i]);
    }
    for (uint32_t part = 0; part < parts->count; part++)
        find_batch_in(&parts->parts[part], keys, hashes, count, ret_ids);
}

static struct slice table_key(const struct catalog *catalog, uint32_t number)
{
    const struct table *table = table_at(catalog, number);

    return (struct slice){table->key, table->key_size};
}

static struct slice table_key_of(const void *owner, uint32_t number)
{
    return table_key(owner, number);
}

static bool is_same(struct slice a, struct slice b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

uint32_t catalog_find_new(const struct catalog *catalog, struct slice key, uint64_t hash)
{
    return find_in(&catalog->young, key, hash);
}

bool catalog_has(const struct catalog *catalog, uint32_t id, struct slice key)
{
    const struct catalog_part *part;

    if (id >= catalog_total(catalog))
        return false;
    part = part_of(catalog->parts, id);
    if (part->young != NULL)
        return is_same(catalog_young_key(part->young, id - part->first), key);
    return catalog_run_has(part->run, id - part->first, key);
}

uint32_t catalog_find_table(const struct catalog *catalog, struct slice key)
{
    return key_index_find(&catalog->table_index, catalog, table_key_of, key,
                          key_hash(key.data, key.size));
}

uint32_t catalog_table(const struct catalog *catalog, uint32_t id)
{
    CHECK(id < catalog_total(catalog));
    return table_of(part_of(catalog->parts, id), id);
}

/* ---- Tables and databases ------------------------------------------------------------------ */

/* The database of a name, or the count of them. */
static uint32_t find_database(const struct catalog *catalog, struct slice name)
{
    uint32_t at = 0;

    while (at < catalog->database_count && !is_same(catalog->databases[at].name, name))
        at++;
    return at;
}

uint32_t catalog_database_series(const struct catalog *catalog, struct slice name)
{
    uint32_t at = find_database(catalog, name);

    return at < catalog->database_count ? catalog->databases[at].series : 0;
}

/* Room for one more. */
static bool reserve_database(struct catalog *catalog)
{
    uint32_t capacity = catalog->database_capacity == 0 ? 8 : 2 * catalog->database_capacity;
    struct database *databases;

    if (catalog->database_count < catalog->database_capacity)
        return true;
    databases = realloc(catalog->databases, capacity * sizeof *databases);
    if (databases == NULL)
        return false;
    catalog->databases = databases;
    catalog->database_capacity = capacity;
    return true;
}

/* The database of the new table `table`, added if it is its first one. */
static uint32_t place_database(struct catalog *catalog, uint32_t table)
{
    const struct table *own = table_at(catalog, table);
    struct slice name = database_map_name((struct slice){own->key, own->key_size});
    uint32_t at = table > 0 ? table_at(catalog, table - 1)->database : 0;

    /* Tables of one database often follow each other. */
    if (table == 0 || !is_same(catalog->databases[at].name, name))
        at = find_database(catalog, name);
    if (at == catalog->database_count)
        catalog->databases[catalog->database_count++] = (struct database){name, table, 0};
    return at;
}

static enum err add_table(struct catalog *catalog, struct slice key, uint32_t first)
{
    struct table **chunk = &catalog->table_chunks[catalog->tables / TABLES_CHUNK];
    char *copy;

    if (catalog->tables >= CATALOG_TABLES_MAX)
        return err_set(ERR_LIMIT, "the shard has %u tables, the most there can be",
                       catalog->tables);
    if (*chunk == NULL)
        *chunk = malloc(TABLES_CHUNK * sizeof(struct table));
    copy = malloc(key.size + 1);
    if (*chunk == NULL || copy == NULL || !reserve_database(catalog) ||
        key_index_reserve(&catalog->table_index, 1) != ERR_OK) {
        free(copy);
        return err_set(ERR_NO_MEMORY, "catalog of %u tables", catalog->tables);
    }
    memcpy(copy, key.data, key.size);
    *table_at(catalog, catalog->tables) = (struct table){first, (uint32_t)key.size, copy, 0};
    table_at(catalog, catalog->tables)->database = place_database(catalog, catalog->tables);
    key_index_add(&catalog->table_index, key_hash(key.data, key.size), catalog->tables);
    catalog->tables++;
    return ERR_OK;
}

static void remove_table(struct catalog *catalog)
{
    uint32_t table = catalog->tables - 1;
    struct slice key = table_key(catalog, table);

    key_index_remove(&catalog->table_index, key_hash(key.data, key.size), table);
    if (catalog->databases[table_at(catalog, table)->database].table == table)
        catalog->database_count--;
    free(table_at(catalog, table)->key);
    catalog->tables--;
    if (catalog->last_table == table)
        catalog->last_table = CATALOG_NONE;
}

/* ---- Adding -------------------------------------------------------------------------------- */

enum err catalog_add(struct catalog *catalog, struct slice key, size_t table_key_size,
                     uint64_t hash)
{
    struct slice name = {key.data, table_key_size};
    uint32_t total = catalog_total(catalog);
    uint32_t table = catalog->last_table;
    bool is_new = false;
    enum err err = ERR_OK;

    if (total >= CATALOG_SERIES_MAX)
        return err_set(ERR_LIMIT, "the shard has %u series, the most there can be", total);
    if (table == CATALOG_NONE || !is_same(table_key(catalog, table), name)) {
        table = catalog_find_table(catalog, name);
        is_new = table == CATALOG_NONE;
    }
    if (is_new) {
        table = catalog->tables;
        err = add_table(catalog, name, total);
        if (err != ERR_OK)
            return err;
    }
    err = catalog_young_add(catalog->young.young, key, table, hash);
    if (err == ERR_OK) {
        catalog->last_table = table;
        catalog->databases[table_at(catalog, table)->database].series++;
    } else if (is_new) {
        remove_table(catalog);
    }
    return err;
}

void catalog_confirm(struct catalog *catalog)
{
    CHECK(catalog->count < catalog_total(catalog));
    catalog->count++;
}

void catalog_forget(struct catalog *catalog, uint32_t total)
{
    CHECK(total >= catalog->count);
    while (catalog_total(catalog) > total) {
        uint32_t id = catalog_total(catalog) - 1;
        uint32_t table = catalog_table(catalog, id);

        catalog_young_remove(catalog->young.young);
        catalog->databases[table_at(catalog, table)->database].series--;
        if (table_at(catalog, table)->first == id) {
            CHECK(table == catalog->tables - 1);
            remove_table(catalog);
        }
    }
}

/* ---- Views --------------------------------------------------------------------------------- */

struct catalog_view catalog_view(const struct catalog *catalog)
{
    struct catalog_view view = {catalog, catalog->parts, catalog->count, catalog->tables};

    (void)atomic_fetch_add_explicit(&view.parts->references, 1, memory_order_relaxed);
    /* Tables of tentative series are the newest ones: leave them out. */
    while (view.tables > 0 && table_at(catalog, view.tables - 1)->first >= view.count)
        view.tables--;
    return view;
}

void catalog_view_fini(struct catalog_view *view)
{
    parts_unref(view->parts);
    *view = (struct catalog_view){0};
}

struct slice catalog_view_key(const struct catalog_view *view, uint32_t id, char *room)
{
    const struct catalog_part *part;

    CHECK(id < view->count);
    part = part_of(view->parts, id);
    if (part->young != NULL)
        return catalog_young_key(part->young, id - part->first);
    return (struct slice){room, catalog_run_key(part->run, id - part->first, room)};
}

uint32_t catalog_view_table(const struct catalog_view *view, uint32_t id)
{
    CHECK(id < view->count);
    return table_of(part_of(view->parts, id), id);
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

const struct catalog_part *catalog_view_parts(const struct catalog_view *view, uint32_t *ret_count)
{
    *ret_count = view->parts->count;
    return view->parts->parts;
}

/* ---- Seals --------------------------------------------------------------------------------- */

/* Put the tentative series of the young part into `fresh`, which begins where the applied ones
 * end. They are those of entries on their way: few. */
static enum err copy_tentative(struct catalog *catalog, struct catalog_young *fresh)
{
    struct catalog_young *young = catalog->young.young;
    enum err err = ERR_OK;

    for (uint32_t id = catalog->count; id < catalog_total(catalog) && err == ERR_OK; id++) {
        uint32_t number = id - catalog->young.first;
        struct slice key = catalog_young_key(young, number);

        err = catalog_young_add(fresh, key, catalog_young_table(young, number),
                                key_hash(key.data, key.size));
    }
    return err;
}

enum err catalog_freeze(struct catalog *catalog, struct catalog_view *ret_view)
{
    struct catalog_part fresh = {.first = catalog->count};
    struct catalog_parts *parts = NULL;
    enum err err = ERR_OK;

    if (catalog->count == catalog->young.first) { /* Nothing new. */
        *ret_view = catalog_view(catalog);
        return ERR_OK;
    }
    err = catalog_young_new(&fresh.young);
    if (err == ERR_OK)
        err = copy_tentative(catalog, fresh.young);
    if (err == ERR_OK)
        parts = parts_new(catalog->parts->count + 1);
    if (parts == NULL) {
        catalog_young_unref(fresh.young);
        return err != ERR_OK ? err : err_set(ERR_NO_MEMORY, "parts of a catalog");
    }
    while (catalog_total(catalog) > catalog->count)
        catalog_young_remove(catalog->young.young);
    for (uint32_t i = 0; i < catalog->parts->count; i++)
        parts_put(parts, &catalog->parts->parts[i]);
    parts->parts[parts->count++] = fresh;
    take_parts(catalog, parts);
    *ret_view = catalog_view(catalog);
    return ERR_OK;
}

enum err catalog_adopt(struct catalog *catalog, struct catalog_run *run)
{
    struct catalog_parts *parts = parts_new(catalog->parts->count + 1);
    struct catalog_part part = {.first = run->header.first, .run = run};
    uint32_t end = run->header.first + run->header.count;
    bool placed = false;

    if (parts == NULL)
        return err_set(ERR_NO_MEMORY, "parts of a catalog");
    CHECK(end <= catalog->young.first);
    for (uint32_t i = 0; i < catalog->parts->count; i++) {
        const struct catalog_part *old = &catalog->parts->parts[i];

        if (!placed && old->first >= part.first) {
            parts_put(parts, &part);
            placed = true;
        }
        if (old->first < part.first || old->first >= end)
            parts_put(parts, old);
    }
    take_parts(catalog, parts);
    return ERR_OK;
}

static enum err load_tables(struct catalog *catalog, const struct catalog_run *run)
{
    for (uint32_t i = 0; i < run->header.tables; i++) {
        const struct catalog_run_table *table = &run->tables[i];
        bool is_good = table->number < catalog->tables
                           ? is_same(table_key(catalog, table->number), table->key)
                           : table->number == catalog->tables &&
                                 catalog_find_table(catalog, table->key) == CATALOG_NONE;
        enum err err = ERR_OK;

        if (!is_good)
            return err_set(ERR_CORRUPT, "table %u is not the one before the run, or skips some",
                           table->number);
        if (table->number == catalog->tables)
            err = add_table(catalog, table->key, run->header.first);
        if (err != ERR_OK)
            return err;
        catalog->databases[table_at(catalog, table->number)->database].series += table->series;
    }
    return ERR_OK;
}

enum err catalog_load(struct catalog *catalog, struct catalog_run *run)
{
    struct catalog_part part = {.first = run->header.first, .run = run};
    struct catalog_parts *parts;
    enum err err;

    CHECK(catalog_total(catalog) == catalog->young.first);
    if (run->header.first != catalog->count)
        return err_set(ERR_CORRUPT, "it begins with series %u, not %u", run->header.first,
                       catalog->count);
    err = load_tables(catalog, run);
    if (err != ERR_OK)
        return err;
    parts = parts_new(catalog->parts->count + 1);
    if (parts == NULL)
        return err_set(ERR_NO_MEMORY, "parts of a catalog");
    for (uint32_t i = 0; i + 1 < catalog->parts->count; i++)
        parts_put(parts, &catalog->parts->parts[i]);
    parts_put(parts, &part);
    parts_put(parts, &catalog->young);
    catalog->count += run->header.count;
    parts->parts[parts->count - 1].first = catalog->count;
    take_parts(catalog, parts);
    return ERR_OK;
}
