/*
 * store_last_look.c - the newest value of one series, from where it stands, without a scan.
 *
 *     head blocks, newest first --> segments, newest first --> the newest of them, if
 *       block_newest.h                last_groups.h            nothing hides it
 *
 * What a scan would say, or nothing: at equal times the source that came later in the log wins, a
 * source is passed over that ends before what is known, and what no source older than this one can
 * beat is the answer. What is not plain is for a scan: strings, a value whose time and table a
 * delete names, damaged files, fields of two types, and series whose newest rows do not have the
 * field. The worker looks into the head alone; who may wait for the disk, into segments, too.
 */
#include <string.h>

#include "storage/segment_damage.h"
#include "storage/segment_proof.h"
#include "storage/store_damage.h"
#include "storage/store_internal.h"
#include "storage/store_last.h"

enum {
    DIRECTORIES_MAX = 256, /* Of head blocks, searched for one value: 100 ns each. */
    BLOCKS_MAX = 4,        /* Opened for it: 1 us each, or 100 us if they are in LZ4. */
    CHUNKS_MAX = 8,        /* Of segments. */
};

struct look {
    struct store *store;
    uint32_t id;
    uint32_t table; /* CATALOG_NONE: not looked up yet. */
    struct slice field;
    struct mark mark; /* Of the database. */
    uint32_t database;
    enum column_newest found; /* COLUMN_NEWEST_ELSE: it takes a scan. */
    struct block_newest_value best;
    uint64_t clean_index; /* Of the source that it is from. */
};

/* ---- What of it ---------------------------------------------------------------------------- */

static uint32_t table_of(struct look *look)
{
    if (look->table == CATALOG_NONE)
        look->table = catalog_table(look->store->catalog, look->id);
    return look->table;
}

/* Borrowed from the catalog. */
static struct slice table_key_of(struct look *look)
{
    struct catalog_view view = catalog_view(look->store->catalog);
    struct slice key = catalog_view_table_key(&view, table_of(look));

    catalog_view_fini(&view);
    return key;
}

static struct look begin(struct store *store, uint32_t id, uint32_t field)
{
    struct look look = {.store = store,
                        .id = id,
                        .table = CATALOG_NONE,
                        .found = COLUMN_NEWEST_NONE,
                        .mark = {.cutoff_ns = INT64_MIN}};

    if (field == LAST_NO_FIELD || store_is_blind(store) || id >= catalog_count(store->catalog)) {
        look.found = COLUMN_NEWEST_ELSE;
        return look;
    }
    look.field = store->last.names.keys[field];
    if (store->databases.count > 1)
        look.database = store->databases.of_table[table_of(&look)];
    if (store->marks.size > 0)
        look.mark = marks_find(&store->marks, store->databases.names[look.database]);
    return look;
}

/* An older source with such a time has nothing to say. */
static bool is_known(const struct look *look, int64_t time_max_ns)
{
    return look->found == COLUMN_NEWEST_FOUND && look->best.value.time_ns >= time_max_ns;
}

static void take(struct look *look, enum column_newest found,
                 const struct block_newest_value *value, uint64_t clean_index)
{
    if (found == COLUMN_NEWEST_ELSE)
        look->found = COLUMN_NEWEST_ELSE;
    if (found != COLUMN_NEWEST_FOUND || is_known(look, value->value.time_ns))
        return;
    if (look->found == COLUMN_NEWEST_FOUND && look->best.type != value->type)
        found = COLUMN_NEWEST_ELSE;
    look->found = found;
    look->best = *value;
    look->clean_index = clean_index;
}

/* A delete may hide it: it is of that time and table. */
static bool may_be_hidden(struct look *look)
{
    const struct bytes *list = &look->store->tombstones;
    struct reader reader = reader_on(list->data, list->size);
    int64_t time_ns = look->best.value.time_ns;
    struct tombstone tombstone;

    if (list->size == 0 || look->found != COLUMN_NEWEST_FOUND)
        return false;
    while (tombstones_next(&reader, &tombstone, NULL))
        if (look->clean_index < tombstone.index && time_ns >= tombstone.first_ns &&
            time_ns <= tombstone.last_ns &&
            marks_compare(tombstone.table_key, table_key_of(look)) == 0)
            return true;
    return false;
}

/* ---- Head ---------------------------------------------------------------------------------- */

static void look_at_block(struct look *look, const struct head_block *block,
                          const struct block_view *view)
{
    struct block_newest *newest = &look->store->last_block;
    struct slice table_key = {"", 0};
    struct block_newest_value value;
    enum column_newest found = COLUMN_NEWEST_ELSE;

    if (view->header.tables > 1)
        table_key = table_key_of(look);
    if (block_newest_open(newest, block->index, view))
        found = block_newest(newest, table_key, look->id, look->field, &value);
    take(look, found, &value, block->index);
}

static void look_in_head(struct look *look)
{
    const struct head *head = &look->store->head;
    uint32_t directories = 0, blocks = 0;
    uint32_t i = last_where_find(&look->store->last_where, head, look->id);

    while (i-- > 0 && look->found != COLUMN_NEWEST_ELSE) {
        const struct head_block *block = &head->blocks[head->first + i];
        struct block_view view;

        if (block->index < look->mark.erased_index)
            return; /* As all before. */
        if (look->id >= block->series_min && look->id <= block->series_max && block->rows > 0 &&
            !is_known(look, block->time_max_ns)) {
            view = block_view_again(block->entry->bytes + sizeof(struct entry_header), block->size);
            if (++directories > DIRECTORIES_MAX)
                look->found = COLUMN_NEWEST_ELSE;
            else if (block_view_find(&view, look->id, 0) < view.header.known + view.header.fresh &&
                     ++blocks > BLOCKS_MAX)
                look->found = COLUMN_NEWEST_ELSE;
            else
                look_at_block(look, block, &view);
        }
        if (is_known(look, block->older_max_ns))
            return;
    }
}

/* ---- Segments ------------------------------------------------------------------------------ */

/* It may have what is newer than what is known. */
static bool is_needed(const struct look *look, const struct segment_info *info)
{
    return info->database == look->database && !is_known(look, info->time_max_ns) &&
           !store_is_gone(look->store, info);
}

static bool needs_segments(const struct look *look)
{
    for (uint32_t i = 0; i < look->store->segment_count; i++)
        if (is_needed(look, segment_info(look->store->segments[i])))
            return true;
    return false;
}

/* The field in the table; field_count: it has none. False: it has two, of different types. */
static bool find_field(const struct segment_table *table, struct slice name, uint32_t *ret_field)
{
    bool found = false;

    *ret_field = table->field_count;
    for (uint32_t i = 0; i < table->field_count; i++) {
        struct slice other = table->fields[i].name;

        if (other.size != name.size || memcmp(other.data, name.data, name.size) != 0)
            continue;
        if (found)
            return false;
        *ret_field = i;
        found = true;
    }
    return true;
}

/* How many groups do not stand behind those of the series: the last one has its newest rows. */
static uint32_t find_group(struct look *look, const struct segment *segment)
{
    uint32_t low = 0, high = segment_groups(segment), table = table_of(look);

    while (low < high) {
        uint32_t middle = low + (high - low) / 2, number = segment_table(segment, middle)->number;

        if (number < table ||
            (number == table && segment_group(segment, middle)->series_min <= look->id))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* From the last chunk on until the series has a value. *ret_done: there is none before. */
static enum err look_at_chunks(struct look *look, struct segment_cursor *cursor, uint32_t field,
                               uint32_t *chunks, bool *ret_done)
{
    struct block_newest_value value = {.type = cursor->table->fields[field].type};

    for (uint32_t at = cursor->group->chunks; at-- > 0;) {
        const struct segment_chunk *chunk = &cursor->chunks[at];
        enum column_newest found;
        enum err err;

        if (chunk->series_min > look->id)
            continue;
        *ret_done = chunk->series_max < look->id || is_known(look, chunk->time_max_ns);
        if (*ret_done)
            return ERR_OK;
        err = segment_cursor_newest(cursor, at, field, look->id, &found, &value.value);
        if (err != ERR_OK)
            return err;
        if (found == COLUMN_NEWEST_NONE && ++*chunks >= CHUNKS_MAX)
            found = COLUMN_NEWEST_ELSE;
        take(look, found, &value, segment_clean_index(cursor->segment));
        *ret_done = found != COLUMN_NEWEST_NONE || chunk->series_min < look->id;
        if (*ret_done)
            return ERR_OK;
    }
    return ERR_OK;
}

static enum err look_at_segment(struct look *look, struct segment *segment)
{
    struct last_groups *groups = &look->store->last_groups;
    uint32_t at = find_group(look, segment), chunks = 0;
    bool done = false;

    while (at-- > 0 && !done && look->found != COLUMN_NEWEST_ELSE) {
        const struct segment_table *table = segment_table(segment, at);
        struct last_group *group = NULL;
        uint32_t field;
        enum err err;

        if (table->number != look->table || segment_group(segment, at)->series_max < look->id ||
            is_known(look, segment_group(segment, at)->time_max_ns))
            return ERR_OK;
        if (!find_field(table, look->field, &field)) {
            look->found = COLUMN_NEWEST_ELSE;
            return ERR_OK;
        }
        if (field == table->field_count)
            return ERR_OK;
        err = last_groups_open(groups, segment, at, &group);
        if (err == ERR_OK) {
            err = look_at_chunks(look, &group->cursor, field, &chunks, &done);
            last_groups_done(groups, group);
        }
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

static void look_in_segments(struct look *look)
{
    const struct store *store = look->store;

    for (uint32_t i = store->segment_count; i-- > 0 && look->found != COLUMN_NEWEST_ELSE;) {
        struct segment *segment = store->segments[i];
        const struct segment_info *info = segment_info(segment);

        if (!is_needed(look, info) || info->last_index < look->mark.erased_index)
            continue;
        if (segment_is_damaged(segment) || look_at_segment(look, segment) != ERR_OK)
            look->found = COLUMN_NEWEST_ELSE; /* The scan says what is wrong. */
    }
}

/* ---- Answers ------------------------------------------------------------------------------- */

/* What was found is known from now on. False: nothing was found out. */
static bool settle(struct look *look, uint32_t field, struct last_value *ret_value)
{
    struct last_cache *cache = &look->store->last;
    const struct block_newest_value *best = &look->best;
    bool is_value = look->found == COLUMN_NEWEST_FOUND;
    uint32_t line;

    if (look->found == COLUMN_NEWEST_ELSE || may_be_hidden(look))
        return false;
    *ret_value = (struct last_value){.type = FIELD_FLOAT};
    if (is_value)
        *ret_value = (struct last_value){
            .time_ns = best->value.time_ns, .type = best->type, .bits = best->value.bits};
    line = last_cache_add(cache, look->id);
    if (line != LAST_NO_LINE)
        (void)last_cache_put(cache, line, field, is_value ? ret_value : NULL);
    return true;
}

enum last_answer store_last_look(struct store *store, uint32_t id, uint32_t field,
                                 struct last_value *ret_value)
{
    enum last_answer answer = store_last(store, id, field, ret_value);
    struct look look;

    if (answer != LAST_UNKNOWN)
        return answer;
    look = begin(store, id, field);
    look_in_head(&look);
    if (look.found == COLUMN_NEWEST_ELSE || needs_segments(&look) ||
        !settle(&look, field, ret_value))
        return LAST_UNKNOWN;
    return look.found == COLUMN_NEWEST_FOUND && look.best.value.time_ns >= look.mark.cutoff_ns
               ? LAST_VALUE
               : LAST_NONE;
}

bool store_last_seek(struct store *store, uint32_t id, uint32_t field)
{
    struct look look = begin(store, id, field);
    struct last_value value;

    look_in_head(&look);
    look_in_segments(&look);
    return settle(&look, field, &value);
}
