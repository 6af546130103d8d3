#include "storage/database_map.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/bytes.h"

void database_map_fini(struct database_map *map)
{
    for (uint32_t i = 0; i < map->count; i++)
        free((char *)(uintptr_t)map->names[i].data);
    free(map->names);
    free(map->of_table);
    *map = (struct database_map){0};
}

struct slice database_map_name(struct slice table_key)
{
    struct reader reader = reader_on(table_key.data, table_key.size);
    struct slice name;

    name.data = reader_string(&reader, NAME_SIZE_MAX, &name.size);
    return reader.bad ? (struct slice){"", 0} : name;
}

static bool is_same(struct slice a, struct slice b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

uint32_t database_map_find(const struct database_map *map, struct slice name)
{
    for (uint32_t i = 0; i < map->count; i++)
        if (is_same(map->names[i], name))
            return i;
    return DATABASE_NONE;
}

static enum err add_name(struct database_map *map, struct slice name)
{
    char *copy = malloc(name.size + 1);

    if (copy != NULL && map->count == map->capacity) {
        uint32_t capacity = map->capacity == 0 ? 8 : 2 * map->capacity;
        struct slice *names = realloc(map->names, capacity * sizeof *names);

        if (names == NULL) {
            free(copy);
            copy = NULL;
        } else {
            map->names = names;
            map->capacity = capacity;
        }
    }
    if (copy == NULL)
        return err_set(ERR_NO_MEMORY, "%u databases", map->count + 1);
    memcpy(copy, name.data, name.size);
    map->names[map->count++] = (struct slice){copy, name.size};
    return ERR_OK;
}

static enum err make_room(struct database_map *map, uint32_t tables)
{
    uint32_t capacity = map->table_capacity == 0 ? 16 : map->table_capacity;
    uint32_t *of_table;

    if (tables <= map->table_capacity)
        return ERR_OK;
    while (capacity < tables)
        capacity *= 2;
    of_table = realloc(map->of_table, capacity * sizeof *of_table);
    if (of_table == NULL)
        return err_set(ERR_NO_MEMORY, "databases of %u tables", tables);
    map->of_table = of_table;
    map->table_capacity = capacity;
    return ERR_OK;
}

enum err database_map_extend(struct database_map *map, const struct catalog_view *view)
{
    enum err err = make_room(map, view->tables);

    while (err == ERR_OK && map->tables < view->tables) {
        struct slice name = database_map_name(catalog_view_table_key(view, map->tables));
        uint32_t before = map->tables == 0 ? DATABASE_NONE : map->of_table[map->tables - 1];
        uint32_t number;

        if (name.size == 0)
            return err_set(ERR_CORRUPT, "table %u has no canonical key", map->tables);
        /* Tables of one database often follow each other. */
        number = before != DATABASE_NONE && is_same(map->names[before], name)
                     ? before
                     : database_map_find(map, name);
        if (number == DATABASE_NONE) {
            number = map->count;
            err = add_name(map, name);
        }
        if (err == ERR_OK)
            map->of_table[map->tables++] = number;
    }
    return err;
}
