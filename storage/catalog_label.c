#include "storage/catalog_label.h"

#include <stdio.h>
#include <string.h>

#include "storage/block/key_map.h"
#include "storage/catalog_run.h"
#include "storage/database_map.h"

enum { KEYS_MAX = 256, NAMES_MAX = 64 }; /* Of those in memory, the newest ones. */

/* Labels and their values, of some keys. */
struct sample {
    struct block_arena arena;
    struct key_map names;
    struct key_map values[NAMES_MAX]; /* By name. */
};

static void take(struct slice name, uint32_t values, struct catalog_label *widest)
{
    if (values <= widest->values)
        return;
    widest->values = values;
    (void)snprintf(widest->name, sizeof widest->name, "%.*s", (int)name.size, name.data);
}

/* The number of a text; KEY_MAP_NONE: no memory. */
static uint32_t number_of(struct sample *sample, struct key_map *map, struct slice text)
{
    uint64_t hash = key_hash(text.data, text.size);
    uint32_t number = key_map_find(map, hash, text.data, text.size);

    if (number == KEY_MAP_NONE && key_map_add(map, &sample->arena, hash, text.data, text.size))
        number = map->count - 1;
    return number;
}

static bool is_of(struct slice name, struct slice database)
{
    return database.size == 0 ||
           (name.size == database.size && memcmp(name.data, database.data, name.size) == 0);
}

static void take_key(struct sample *sample, struct slice key, struct slice database)
{
    struct key_parts parts;

    if (key_parse(key.data, key.size, &parts) != 0 || !is_of(parts.database, database))
        return;
    for (size_t i = 0; i < parts.tag_count; i++) {
        uint32_t name = number_of(sample, &sample->names, parts.tags[i].name);

        if (name < NAMES_MAX)
            (void)number_of(sample, &sample->values[name], parts.tags[i].value);
    }
}

static void take_keys(const struct catalog_view *view, uint32_t first, uint32_t end,
                      struct slice database, struct catalog_label *widest)
{
    struct sample sample = {0};
    char room[CATALOG_KEY_ROOM];

    first = end - first > KEYS_MAX ? end - KEYS_MAX : first;
    for (uint32_t id = first; id < end; id++)
        take_key(&sample, catalog_view_key(view, id, room), database);
    for (uint32_t i = 0; i < sample.names.count && i < NAMES_MAX; i++)
        take(sample.names.keys[i], sample.values[i].count, widest);
    block_arena_fini(&sample.arena);
}

/* A run has a list of values for each name, whichever series they are of. */
static void take_run(const struct catalog_run *run, struct slice database,
                     struct catalog_label *widest)
{
    for (uint32_t i = 0; i < run->header.shapes; i++) {
        const struct catalog_run_shape *shape = &run->shapes[i];

        if (!is_of(database_map_name(run->tables[shape->table].key), database))
            continue;
        for (uint32_t tag = 0; tag < shape->tags; tag++) {
            const struct catalog_run_name *name = &run->names[shape->names[tag]];

            take(name->name, name->values.count, widest);
        }
    }
}

struct catalog_label catalog_label_widest(const struct catalog_view *view, struct slice database)
{
    struct catalog_label widest = {.values = 0};
    uint32_t count = 0;
    const struct catalog_part *parts = catalog_view_parts(view, &count);

    for (uint32_t i = 0; i < count; i++) {
        const struct catalog_run *run = parts[i].run;
        uint32_t end = i + 1 < count ? parts[i + 1].first : view->count;

        if (run != NULL)
            take_run(run, database, &widest);
        else
            take_keys(view, parts[i].first, end, database, &widest);
    }
    return widest;
}
