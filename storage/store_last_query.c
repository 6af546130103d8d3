/*
 * store_last_query.c - answer a query for last values from what is known, as a scan would.
 *
 *     conditions --last_sets--> ids --last_cache--> cells --scan_batch--> the same columns
 */
#include <stdlib.h>
#include <string.h>

#include "storage/base/bytes.h"
#include "storage/scan_batch.h"
#include "storage/store_damage.h"
#include "storage/store_internal.h"
#include "storage/store_last.h"

enum {
    NEW_SERIES_MAX = 64,    /* Looked at for one question. */
    KNOWN_COLUMNS_MAX = 64, /* With so many series: less than a millisecond. */
    LOOKS_MAX = 32,         /* Into the head, for one question: about 50 us. */
};

/* ---- Which series -------------------------------------------------------------------------- */

static void put_string(struct bytes *bytes, const char *string)
{
    bytes_put(bytes, string, strlen(string) + 1);
}

static struct bytes set_name(const struct query *query)
{
    struct bytes name = {0};

    put_string(&name, query->database);
    put_string(&name, query->table);
    for (uint32_t i = 0; i < query->where_count; i++) {
        put_string(&name, query->where[i].name);
        put_string(&name, query->where[i].value);
    }
    return name;
}

void store_last_put_set(struct store *store, const struct query *query,
                        const struct last_found *found)
{
    struct bytes name = set_name(query);

    if (!name.failed)
        last_sets_put(&store->last_sets, (struct slice){(const char *)name.data, name.size},
                      found->ids, found->id_count, found->series);
    bytes_fini(&name);
}

static bool matches(const struct catalog_view *view, uint32_t id, const struct query *query)
{
    char room[CATALOG_KEY_ROOM];
    struct slice key = catalog_view_key(view, id, room);
    struct key_parts parts;

    if (key_parse(key.data, key.size, &parts) != 0)
        return true; /* A scan has to say what is wrong. */
    for (uint32_t i = 0; i < query->where_count; i++) {
        struct slice value = scan_match_tag(&parts, query->where[i].name);

        if (value.size != strlen(query->where[i].value) ||
            memcmp(value.data, query->where[i].value, value.size) != 0)
            return false;
    }
    return true;
}

/* None of the series that came since belongs to the set. */
static bool renew_set(const struct store *store, const struct query *query, struct last_set *set)
{
    uint32_t count = catalog_count(store->catalog), table;
    char key[KEY_SIZE_MAX];
    struct catalog_view view;
    bool same = true;
    size_t size;

    if (count == set->series)
        return true;
    if (count - set->series > NEW_SERIES_MAX)
        return false;
    size = key_write_table((struct slice){query->database, strlen(query->database)},
                           (struct slice){query->table, strlen(query->table)}, key, sizeof key);
    table = catalog_find_table(store->catalog, (struct slice){key, size});
    view = catalog_view(store->catalog);
    for (uint32_t id = set->series; id < count && same; id++)
        same = catalog_table(store->catalog, id) != table || !matches(&view, id, query);
    catalog_view_fini(&view);
    if (same)
        set->series = count;
    return same;
}

static const struct last_set *find_set(const struct store *store, const struct query *query)
{
    struct bytes name = set_name(query);
    struct last_set *set = NULL;

    if (!name.failed)
        set = last_sets_find(&store->last_sets, (struct slice){(const char *)name.data, name.size});
    bytes_fini(&name);
    return set != NULL && renew_set(store, query, set) ? set : NULL;
}

/* ---- Which values -------------------------------------------------------------------------- */

/* What is known of a query's answer. */
struct known {
    struct store *store;
    const struct query *query;
    const struct last_set *set;
    int64_t from_ns; /* Values before it are not seen. */
    uint32_t fields[KNOWN_COLUMNS_MAX];
    struct scan_column columns[KNOWN_COLUMNS_MAX];
    uint32_t column_count;
};

/* The column of a field; KNOWN_COLUMNS_MAX: there is none. */
static uint32_t find_column(const struct known *known, uint32_t field)
{
    uint32_t column = 0;

    while (column < known->column_count && known->fields[column] != field)
        column++;
    return column < known->column_count ? column : KNOWN_COLUMNS_MAX;
}

static bool add_column(struct known *known, uint32_t field)
{
    uint32_t column = known->column_count;

    if (field == LAST_NO_FIELD || column == KNOWN_COLUMNS_MAX ||
        find_column(known, field) < KNOWN_COLUMNS_MAX)
        return false; /* Fields that are listed twice are for a scan. */
    known->fields[column] = field;
    known->columns[column] = (struct scan_column){known->store->last.names.keys[field], 0};
    known->column_count++;
    return true;
}

/* A value is seen, or it is too old, or (false) it is not what is asked for. */
static bool see(struct known *known, uint32_t column, const struct last_value *value)
{
    struct scan_column *seen = &known->columns[column];

    if (known->query->to_ns != INT64_MAX && value->time_ns >= known->query->to_ns)
        return false; /* The newest one before that is. */
    if (value->time_ns < known->from_ns)
        return true;
    if (seen->type != 0 && seen->type != value->type)
        return false;
    seen->type = value->type;
    return true;
}

static bool see_listed(struct known *known, uint32_t line)
{
    for (uint32_t column = 0; column < known->column_count; column++) {
        struct last_value value;
        enum last_answer answer =
            last_cache_get(&known->store->last, line, known->fields[column], &value);

        if (answer == LAST_UNKNOWN || (answer == LAST_VALUE && !see(known, column, &value)))
            return false;
    }
    return true;
}

static bool see_all(struct known *known, uint32_t line)
{
    struct last_cell_at at = {line, 0};
    enum last_answer answer;
    struct last_value value;
    uint32_t field;

    if (!known->store->last.lines[line].complete)
        return false;
    while (last_cache_next(&known->store->last, &at, &field, &answer, &value)) {
        uint32_t column = find_column(known, field);

        if (answer == LAST_NONE || value.time_ns < known->from_ns)
            continue;
        if (column == KNOWN_COLUMNS_MAX && !add_column(known, field))
            return false;
        if (!see(known, column == KNOWN_COLUMNS_MAX ? known->column_count - 1 : column, &value))
            return false;
    }
    return true;
}

/* Look for what is not known in the head, as far as that is not too much for one question. Before
 * anything is taken for known: there may not be room for all. */
static void look_for(const struct known *known)
{
    struct store *store = known->store;
    uint32_t looks = 0;

    for (uint32_t i = 0; i < known->set->count; i++) {
        uint32_t id = known->set->ids[i], line = last_cache_find(&store->last, id);

        for (uint32_t column = 0; column < known->column_count; column++) {
            uint32_t field = known->fields[column];
            struct last_value value;

            if (line != LAST_NO_LINE &&
                last_cache_get(&store->last, line, field, &value) != LAST_UNKNOWN)
                continue;
            if (++looks > LOOKS_MAX || store_last_look(store, id, field, &value) == LAST_UNKNOWN)
                return;
            line = last_cache_find(&store->last, id);
        }
    }
}

/* All that is asked for is known, and what the columns are. */
static bool see_series(struct known *known)
{
    const struct query *query = known->query;

    for (uint32_t i = 0; i < query->field_count; i++) {
        struct slice name = {query->fields[i], strlen(query->fields[i])};

        if (!add_column(known, last_cache_add_field(&known->store->last, name)))
            return false;
    }
    look_for(known);
    for (uint32_t i = 0; i < known->set->count; i++) {
        uint32_t line = last_cache_find(&known->store->last, known->set->ids[i]);

        if (line == LAST_NO_LINE)
            return false;
        known->store->last.lines[line].credit = LAST_CREDIT;
        if (!(query->field_count > 0 ? see_listed(known, line) : see_all(known, line)))
            return false;
    }
    return true;
}

/* ---- Handing out --------------------------------------------------------------------------- */

static void make_row(const struct known *known, uint32_t line, struct scan_chunk *chunk)
{
    chunk->field_count = 0;
    for (uint32_t column = 0; column < known->column_count; column++) {
        struct scan_values *values = &chunk->fields[chunk->field_count];
        struct last_value value;

        if (last_cache_get(&known->store->last, line, known->fields[column], &value) !=
                LAST_VALUE ||
            value.time_ns < known->from_ns)
            continue;
        if (chunk->field_count == 0 || value.time_ns > chunk->times_ns[0])
            chunk->times_ns[0] = value.time_ns;
        values->column = column;
        values->present[0] = 1;
        values->bits[0] = value.bits;
        values->text = NULL;
        if (value.type == FIELD_STRING) {
            values->bits[0] = (uint64_t)value.text.size << 32;
            values->text = (char *)(uintptr_t)value.text.data; /* Lent: taken back below. */
        }
        chunk->field_count++;
    }
}

static enum err hand_out(const struct known *known, struct scan_batch *batch)
{
    size_t size;
    struct scan_chunk *chunk = scan_collect_new_chunk(1, known->column_count, &size);
    enum err err = ERR_OK;

    if (chunk == NULL)
        return err_set(ERR_NO_MEMORY, "a row of last values");
    for (uint32_t i = 0; i < known->set->count && err == ERR_OK; i++) {
        uint32_t id = known->set->ids[i];

        make_row(known, last_cache_find(&known->store->last, id), chunk);
        if (chunk->field_count > 0)
            err = scan_batch_add(batch, id, chunk, 0, 1);
    }
    chunk->field_count = 0;
    scan_collect_free_chunk(chunk);
    if (err == ERR_OK || err == ERR_END) /* The query's limit. */
        err = scan_batch_flush(batch);
    return err;
}

static enum err answer(struct known *known, const struct scan_limits *limits, scan_batch_cb take,
                       void *arg)
{
    struct catalog_view view = catalog_view(known->store->catalog);
    struct snapshot snapshot = {.series = &view};
    struct scan_match match = {.ids = (uint32_t *)(uintptr_t)known->set->ids,
                               .count = known->set->count};
    struct scan_decode decode = {.snapshot = &snapshot,
                                 .query = known->query,
                                 .limits = limits,
                                 .match = &match,
                                 .columns = known->columns,
                                 .column_count = known->column_count};
    struct scan_batch batch;
    enum err err;

    scan_batch_init(&batch, &decode, take, arg);
    err = hand_out(known, &batch);
    scan_batch_fini(&batch);
    catalog_view_fini(&view);
    return err;
}

enum err store_last_query(struct store *store, const struct query *query,
                          const struct scan_limits *limits, scan_batch_cb take, void *arg,
                          bool *ret_known)
{
    struct known known = {.store = store, .query = query, .from_ns = query->from_ns};
    struct mark mark;

    *ret_known = false;
    if (!query->last || query->agg != QUERY_RAW || query->about != QUERY_ROWS || query->page.on ||
        store->last_sets.count == 0 || store_is_blind(store))
        return ERR_OK;
    for (uint32_t i = 0; i < query->where_count; i++)
        if (query->where[i].op != QUERY_EQUAL)
            return ERR_OK;
    known.set = find_set(store, query);
    mark = marks_find(&store->marks, (struct slice){query->database, strlen(query->database)});
    if (mark.cutoff_ns > known.from_ns)
        known.from_ns = mark.cutoff_ns;
    *ret_known = known.set != NULL && see_series(&known);
    return *ret_known ? answer(&known, limits, take, arg) : ERR_OK;
}
