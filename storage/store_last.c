#include "storage/store_last.h"

#include <inttypes.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/snapshot.h"
#include "storage/store_damage.h"
#include "storage/store_internal.h"

enum {
    BLOCKS_SINCE_MAX = 256, /* Applied during a scan: of more, what it found is not taken in. */
    READ_MEMORY = 64 << 20,
};

/* ---- Asking for one ------------------------------------------------------------------------ */

uint32_t store_last_field(struct store *store, struct slice name)
{
    return last_cache_add_field(&store->last, name);
}

bool store_last_is_gone(const struct store *store, uint32_t id, int64_t time_ns)
{
    const struct database_map *databases = &store->databases;
    uint32_t database;

    if (time_ns >= store->cutoff_max_ns)
        return false;
    database = databases->of_table[catalog_table(store->catalog, id)];
    return time_ns < marks_find(&store->marks, databases->names[database]).cutoff_ns;
}

static enum last_answer answer(struct store *store, uint32_t number, uint32_t field,
                               struct last_value *ret_value)
{
    struct last_line *line = &store->last.lines[number];
    enum last_answer known = last_cache_get(&store->last, number, field, ret_value);

    if (line->credit < LAST_CREDIT)
        line->credit = LAST_CREDIT;
    if (known == LAST_VALUE && store_last_is_gone(store, line->id, ret_value->time_ns))
        return LAST_NONE;
    return known;
}

enum last_answer store_last(struct store *store, uint32_t id, uint32_t field,
                            struct last_value *ret_value)
{
    uint32_t line = last_cache_find(&store->last, id);

    return line == LAST_NO_LINE ? LAST_UNKNOWN : answer(store, line, field, ret_value);
}

enum last_answer store_last_by_key(struct store *store, struct slice key, uint64_t hash,
                                   uint32_t field, struct last_value *ret_value)
{
    uint32_t line = last_cache_find_key(&store->last, key, hash);

    if (line == LAST_NO_LINE && store->last.series > 0 && !store_is_blind(store)) {
        line = last_cache_find(&store->last, store_find_series(store, key.data, key.size, hash));
        if (line != LAST_NO_LINE)
            last_cache_name(&store->last, line, key, hash);
    }
    return line == LAST_NO_LINE ? LAST_UNKNOWN : answer(store, line, field, ret_value);
}

/* ---- Learning ------------------------------------------------------------------------------ */

void store_last_begin(const struct store *store, const struct query *query,
                      struct last_found *found)
{
    found->index = store->applied_index;
    found->epoch = store->last.epoch;
    found->series = catalog_count(store->catalog);
    /* What a query leaves out at the newer end or by its limit is not looked at. */
    found->wanted = store->options.last_bytes > 0 && query->last && query->agg == QUERY_RAW &&
                    query->about == QUERY_ROWS && query->limit == 0 && query->to_ns == INT64_MAX;
    for (uint32_t i = 0; i < query->where_count; i++)
        found->wanted &= query->where[i].op == QUERY_EQUAL;
}

/* Rows of one of the series may have been applied since. */
static bool is_outdated(const struct store *store, const struct last_found *found)
{
    const struct head_block *blocks;
    uint32_t count;

    if (found->index < store->sealed_index || found->epoch != store->last.epoch)
        return true;
    count = head_after(&store->head, found->index, &blocks);
    if (count > BLOCKS_SINCE_MAX)
        return true;
    for (uint32_t i = 0; i < count; i++) {
        struct block_view view =
            block_view_again(blocks[i].entry->bytes + sizeof(struct entry_header), blocks[i].size);

        if (block_view_may_have(&view, found->ids, found->id_count))
            return true;
    }
    return false;
}

/* Put in what was found of one series. False: not all of it, and it may be gone. */
static bool put_found(struct last_cache *cache, uint32_t line, const struct last_found *found,
                      uint32_t id)
{
    for (uint32_t i = 0; i < found->cell_count; i++) {
        const struct last_found_cell *cell = &found->cells[i];
        uint32_t field;

        if (cell->id != id)
            continue;
        field = last_cache_add_field(cache, cell->name);
        if (field == LAST_NO_FIELD || !last_cache_put(cache, line, field, &cell->value))
            return false;
    }
    return true;
}

/* The fields that were asked for and not found have no value. */
static void put_missing(struct last_cache *cache, uint32_t line, const struct query *query)
{
    for (uint32_t i = 0; i < query->field_count; i++) {
        struct slice name = {query->fields[i], strlen(query->fields[i])};
        uint32_t field = last_cache_add_field(cache, name);

        if (field == LAST_NO_FIELD || !last_cache_put(cache, line, field, NULL))
            return;
    }
    if (query->field_count == 0)
        cache->lines[line].complete = true;
}

void store_last_learn(struct store *store, const struct query *query,
                      const struct last_found *found)
{
    if (!found->wanted || found->failed || store_is_blind(store) || is_outdated(store, found))
        return;
    for (uint32_t i = 0; i < found->id_count; i++) {
        uint32_t line = last_cache_add(&store->last, found->ids[i]);

        if (line != LAST_NO_LINE && put_found(&store->last, line, found, found->ids[i]) &&
            query->from_ns == INT64_MIN)
            put_missing(&store->last, line, query);
    }
    if (!query->page.on)
        store_last_put_set(store, query, found);
}

/* ---- Reading ------------------------------------------------------------------------------- */

static enum err pass_over(void *arg, const struct columns *batch)
{
    (void)arg;
    (void)batch;
    return ERR_OK;
}

static enum err read_now(struct store *store, const struct query *query)
{
    struct scan_limits limits = {
        .memory_bytes = READ_MEMORY, .result_bytes = READ_MEMORY, .page_bytes = READ_MEMORY};
    struct last_found found = {.wanted = false};
    struct snapshot *snapshot;
    struct query_place next;
    enum err err = store_check_damage(store, query);

    if (err != ERR_OK)
        return err;
    store_last_begin(store, query, &found);
    snapshot = store_snapshot(store);
    if (snapshot == NULL)
        return err_set(ERR_NO_MEMORY, "a snapshot");
    err = scan_found(snapshot, query, &limits, pass_over, NULL, &next, &found);
    snapshot_free(snapshot);
    if (err == ERR_OK)
        store_last_learn(store, query, &found);
    last_found_fini(&found);
    return err;
}

static bool copy_name(struct slice name, char ret_name[NAME_SIZE_MAX + 1])
{
    if (name.size > NAME_SIZE_MAX || memchr(name.data, 0, name.size) != NULL)
        return false;
    memcpy(ret_name, name.data, name.size);
    ret_name[name.size] = '\0';
    return true;
}

enum err store_last_read(struct store *store, uint32_t id, uint32_t count, struct slice field)
{
    char names[3][NAME_SIZE_MAX + 1];
    char room[CATALOG_KEY_ROOM];
    struct catalog_view view;
    struct key_parts parts;
    struct slice key;
    bool named;

    CHECK(count >= 1 && count <= LAST_SERIES_MAX);
    if (store_is_blind(store) || id >= catalog_count(store->catalog))
        return err_set(ERR_INVALID, "series %" PRIu32 " of shard %" PRIu32 ": there is none", id,
                       store->options.shard);
    if (count == 1 && store_last_seek(store, id, last_cache_add_field(&store->last, field)))
        return ERR_OK;
    view = catalog_view(store->catalog);
    key = catalog_view_key(&view, id, room);
    named = key_parse(key.data, key.size, &parts) == 0 && copy_name(parts.database, names[0]) &&
            copy_name(parts.table, names[1]) && copy_name(field, names[2]);
    catalog_view_fini(&view);
    if (!named)
        return err_set(ERR_INVALID, "series %" PRIu32 ": a query cannot have its names", id);
    return read_now(store,
                    &(struct query){.database = names[0],
                                    .table = names[1],
                                    .field_count = 1,
                                    .fields = {names[2]},
                                    .from_ns = INT64_MIN,
                                    .to_ns = INT64_MAX,
                                    .last = true,
                                    .page = {true, store->options.shard, id, id + count - 1}});
}
