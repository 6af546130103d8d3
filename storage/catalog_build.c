#include "storage/catalog_build.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/block/key_map.h"
#include "storage/catalog_writer.h"

enum { SERIES_A_CHECK = 4096 }; /* Between looks at `cancel`. */

/* What the keys are made of, numbered in the order of appearance. */
struct draft {
    const struct catalog_view *view;
    uint32_t first, end;
    const atomic_bool *cancel;
    struct block_arena arena; /* Of the maps. */
    struct key_map names;
    struct key_map *values; /* Owned: by name. */
    uint32_t values_room;
    struct key_map shapes; /* Of u32 table, u32 names. */
    struct bytes codes;    /* For each series: u32 shape, u32 values. */
    uint32_t *name_ranks;  /* Owned: by name. */
    uint32_t **ranks;      /* Owned, each: by name and value. */
};

static enum err no_memory(const struct draft *draft)
{
    return err_set(ERR_NO_MEMORY, "a catalog of %u new series", draft->end - draft->first);
}

static void draft_fini(struct draft *draft)
{
    for (uint32_t i = 0; draft->ranks != NULL && i < draft->names.count; i++)
        free(draft->ranks[i]);
    free(draft->ranks);
    free(draft->name_ranks);
    free(draft->values);
    bytes_fini(&draft->codes);
    block_arena_fini(&draft->arena);
}

/* ---- Taking keys apart --------------------------------------------------------------------- */

/* The number of a text, its own or a new one; KEY_MAP_NONE: no memory. */
static uint32_t number_of(struct draft *draft, struct key_map *map, const void *text, size_t size)
{
    uint64_t hash = key_hash(text, size);
    uint32_t number = key_map_find(map, hash, text, size);

    if (number != KEY_MAP_NONE)
        return number;
    return key_map_add(map, &draft->arena, hash, text, size) ? map->count - 1 : KEY_MAP_NONE;
}

static uint32_t number_name(struct draft *draft, struct slice name)
{
    uint32_t number = number_of(draft, &draft->names, name.data, name.size);

    if (number != KEY_MAP_NONE && number >= draft->values_room) {
        uint32_t room = number < 8 ? 16 : 2 * number;
        struct key_map *values = realloc(draft->values, room * sizeof *values);

        if (values == NULL)
            return KEY_MAP_NONE;
        memset(values + draft->values_room, 0, (room - draft->values_room) * sizeof *values);
        draft->values = values;
        draft->values_room = room;
    }
    return number;
}

static enum err take_key(struct draft *draft, uint32_t id)
{
    char room[CATALOG_KEY_ROOM];
    struct slice key = catalog_view_key(draft->view, id, room);
    uint32_t shape[1 + TAG_COUNT_MAX];
    uint32_t codes[1 + TAG_COUNT_MAX];
    struct key_parts parts;
    bool failed = false;

    if (key_parse(key.data, key.size, &parts) != 0)
        return err_set(ERR_CORRUPT, "series %u has no canonical key", id);
    shape[0] = catalog_view_table(draft->view, id);
    for (size_t i = 0; i < parts.tag_count && !failed; i++) {
        struct slice value = parts.tags[i].value;

        shape[1 + i] = number_name(draft, parts.tags[i].name);
        failed = shape[1 + i] == KEY_MAP_NONE;
        if (!failed)
            codes[1 + i] = number_of(draft, &draft->values[shape[1 + i]], value.data, value.size);
        failed = failed || codes[1 + i] == KEY_MAP_NONE;
    }
    if (!failed)
        codes[0] = number_of(draft, &draft->shapes, shape, (1 + parts.tag_count) * sizeof shape[0]);
    if (failed || codes[0] == KEY_MAP_NONE)
        return no_memory(draft);
    bytes_put(&draft->codes, codes, (1 + parts.tag_count) * sizeof codes[0]);
    return draft->codes.failed ? no_memory(draft) : ERR_OK;
}

static enum err take_keys(struct draft *draft)
{
    enum err err = ERR_OK;

    for (uint32_t id = draft->first; id < draft->end && err == ERR_OK; id++) {
        if (id % SERIES_A_CHECK == 0 && draft->cancel != NULL && atomic_load(draft->cancel))
            return err_set(ERR_CANCELED, "the catalog of a seal");
        err = take_key(draft, id);
    }
    return err;
}

/* ---- Sorting ------------------------------------------------------------------------------- */

struct sorted {
    struct slice text;
    uint32_t number;
};

static int compare(const void *a, const void *b)
{
    return catalog_values_compare(((const struct sorted *)a)->text,
                                  ((const struct sorted *)b)->text);
}

/* Texts in their order, and the rank of each number. NULL: no memory. */
static struct sorted *sort(const struct key_map *map, uint32_t **ret_ranks)
{
    struct sorted *sorted = malloc(((size_t)map->count + 1) * sizeof *sorted);
    uint32_t *ranks = malloc(((size_t)map->count + 1) * sizeof *ranks);

    if (sorted == NULL || ranks == NULL) {
        free(sorted);
        free(ranks);
        return NULL;
    }
    for (uint32_t i = 0; i < map->count; i++)
        sorted[i] = (struct sorted){map->keys[i], i};
    if (map->count > 1)
        qsort(sorted, map->count, sizeof *sorted, compare);
    for (uint32_t i = 0; i < map->count; i++)
        ranks[sorted[i].number] = i;
    *ret_ranks = ranks;
    return sorted;
}

static enum err write_values(struct draft *draft, uint32_t name, struct catalog_writer *writer)
{
    const struct key_map *values = &draft->values[name];
    struct sorted *sorted = sort(values, &draft->ranks[name]);

    if (sorted == NULL)
        return no_memory(draft);
    catalog_writer_name(writer, draft->names.keys[name], values->count);
    for (uint32_t i = 0; i < values->count; i++)
        catalog_writer_value(writer, sorted[i].text);
    free(sorted);
    return ERR_OK;
}

static enum err write_names(struct draft *draft, struct catalog_writer *writer)
{
    struct sorted *sorted = sort(&draft->names, &draft->name_ranks);
    enum err err = ERR_OK;

    if (sorted == NULL)
        return no_memory(draft);
    draft->ranks = calloc((size_t)draft->names.count + 1, sizeof(uint32_t *));
    if (draft->ranks == NULL)
        err = no_memory(draft);
    for (uint32_t i = 0; i < draft->names.count && err == ERR_OK; i++)
        err = write_values(draft, sorted[i].number, writer);
    free(sorted);
    return err;
}

static uint32_t u32_at(const void *words, size_t at)
{
    uint32_t word;

    memcpy(&word, (const char *)words + at * sizeof word, sizeof word);
    return word;
}

static int compare_numbers(const void *a, const void *b)
{
    uint32_t left = u32_at(a, 0), right = u32_at(b, 0);

    return (left > right) - (left < right);
}

/* The tables of all shapes, ascending and once each. NULL: no memory. */
static uint32_t *list_tables(const struct draft *draft, uint32_t *ret_count)
{
    uint32_t *tables = malloc(((size_t)draft->shapes.count + 1) * sizeof *tables);
    uint32_t count = 0;

    if (tables == NULL)
        return NULL;
    for (uint32_t i = 0; i < draft->shapes.count; i++)
        tables[i] = u32_at(draft->shapes.keys[i].data, 0);
    if (draft->shapes.count > 1)
        qsort(tables, draft->shapes.count, sizeof *tables, compare_numbers);
    for (uint32_t i = 0; i < draft->shapes.count; i++)
        if (count == 0 || tables[count - 1] != tables[i])
            tables[count++] = tables[i];
    *ret_count = count;
    return tables;
}

static uint32_t tags_of(const struct draft *draft, uint32_t shape)
{
    return (uint32_t)(draft->shapes.keys[shape].size / sizeof(uint32_t)) - 1;
}

/* How many series have each of the tables. NULL: no memory. */
static uint32_t *count_series(const struct draft *draft, const uint32_t *tables, uint32_t count)
{
    uint32_t *of_shape = calloc((size_t)draft->shapes.count + 1, sizeof *of_shape);
    uint32_t *series = calloc((size_t)count + 1, sizeof *series);

    if (of_shape == NULL || series == NULL) {
        free(of_shape);
        free(series);
        return NULL;
    }
    for (size_t at = 0; at < draft->codes.size / sizeof(uint32_t);) {
        uint32_t shape = u32_at(draft->codes.data, at);

        of_shape[shape]++;
        at += 1 + (size_t)tags_of(draft, shape);
    }
    for (uint32_t i = 0; i < draft->shapes.count; i++) {
        uint32_t table = u32_at(draft->shapes.keys[i].data, 0);
        const uint32_t *at = bsearch(&table, tables, count, sizeof table, compare_numbers);

        series[at - tables] += of_shape[i];
    }
    free(of_shape);
    return series;
}

static enum err write_shapes(const struct draft *draft, struct catalog_writer *writer)
{
    uint32_t count = 0;
    uint32_t *tables = list_tables(draft, &count);
    uint32_t *series = tables == NULL ? NULL : count_series(draft, tables, count);

    if (series == NULL) {
        free(tables);
        return no_memory(draft);
    }
    for (uint32_t i = 0; i < count; i++)
        catalog_writer_table(writer, tables[i], catalog_view_table_key(draft->view, tables[i]),
                             series[i]);
    free(series);
    for (uint32_t i = 0; i < draft->shapes.count; i++) {
        struct slice shape = draft->shapes.keys[i];
        uint32_t tags = tags_of(draft, i);
        uint32_t table = u32_at(shape.data, 0);
        uint32_t names[TAG_COUNT_MAX];
        const uint32_t *at = bsearch(&table, tables, count, sizeof table, compare_numbers);

        for (uint32_t t = 0; t < tags; t++)
            names[t] = draft->name_ranks[u32_at(shape.data, 1 + t)];
        catalog_writer_shape(writer, (uint32_t)(at - tables), names, tags);
    }
    free(tables);
    return ERR_OK;
}

static void write_series(const struct draft *draft, struct catalog_writer *writer)
{
    size_t at = 0;

    for (uint32_t id = draft->first; id < draft->end; id++) {
        char room[CATALOG_KEY_ROOM];
        struct slice key = catalog_view_key(draft->view, id, room);
        uint32_t number = u32_at(draft->codes.data, at++);
        struct slice shape = draft->shapes.keys[number];
        uint32_t tags = tags_of(draft, number);
        uint32_t ranks[TAG_COUNT_MAX];

        for (uint32_t t = 0; t < tags; t++)
            ranks[t] = draft->ranks[u32_at(shape.data, 1 + t)][u32_at(draft->codes.data, at++)];
        catalog_writer_series(writer, number, ranks, tags, key_hash(key.data, key.size));
    }
}

static enum err write_draft(struct draft *draft, struct catalog_writer *writer, uint32_t shard,
                            struct catalog_run **ret_run)
{
    struct catalog_run_header header;
    uint8_t *bytes = NULL;
    enum err err = take_keys(draft);

    if (err == ERR_OK)
        err = write_names(draft, writer);
    if (err == ERR_OK)
        err = write_shapes(draft, writer);
    if (err != ERR_OK)
        return err;
    write_series(draft, writer);
    err = catalog_writer_finish(writer, &header, &bytes);
    return err == ERR_OK ? catalog_run_open(bytes, header.size, shard, NULL, ret_run) : err;
}

enum err catalog_build(const struct catalog_view *view, uint32_t first, uint32_t end,
                       uint32_t shard, const atomic_bool *cancel, struct catalog_run **ret_run)
{
    struct draft draft = {.view = view, .first = first, .end = end, .cancel = cancel};
    struct catalog_writer *writer = NULL;
    enum err err;

    CHECK(first < end);
    CHECK(end <= view->count);
    err = catalog_writer_new(NULL, NULL, shard, first, end - first, &writer);
    if (err != ERR_OK)
        return err;
    err = write_draft(&draft, writer, shard, ret_run);
    catalog_writer_free(writer);
    draft_fini(&draft);
    return err;
}
