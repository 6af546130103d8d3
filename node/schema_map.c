#include "node/schema_map.h"

#include <stdlib.h>
#include <string.h>

static uint64_t field_hash(struct slice table_key, struct slice field)
{
    /* A rotation, so that a table and a field of the same bytes do not cancel out. */
    uint64_t hash = key_hash(table_key.data, table_key.size);

    return (hash << 23 | hash >> 41) ^ key_hash(field.data, field.size);
}

static bool is_field(const struct schema_field *slot, uint64_t hash, struct slice table_key,
                     struct slice field)
{
    return slot->hash == hash && slot->name_size == field.size &&
           slot->table_key_size == table_key.size &&
           memcmp(slot->name, field.data, field.size) == 0 &&
           memcmp(slot->table_key, table_key.data, table_key.size) == 0;
}

static struct schema_field *find_slot(struct schema_field *slots, uint32_t capacity, uint64_t hash,
                                      struct slice table_key, struct slice field)
{
    uint32_t at = (uint32_t)hash & (capacity - 1);

    while (slots[at].type != 0 && !is_field(&slots[at], hash, table_key, field))
        at = (at + 1) & (capacity - 1);
    return &slots[at];
}

void schema_map_fini(struct schema_map *map)
{
    for (uint32_t i = 0; i < map->capacity; i++) {
        if (map->slots[i].type != 0)
            free((void *)(uintptr_t)map->slots[i].table_key);
    }
    for (uint32_t i = 0; i < map->database_count; i++)
        free(map->databases[i]);
    free(map->databases);
    free(map->slots);
    *map = (struct schema_map){0};
}

unsigned schema_map_find(const struct schema_map *map, struct slice table_key, struct slice field)
{
    if (map->capacity == 0)
        return 0;
    return find_slot(map->slots, map->capacity, field_hash(table_key, field), table_key, field)
        ->type;
}

static enum err grow(struct schema_map *map)
{
    uint32_t capacity = map->capacity == 0 ? 256 : map->capacity * 2;
    struct schema_field *slots = calloc(capacity, sizeof *slots);

    if (slots == NULL)
        return err_set(ERR_NO_MEMORY, "schema: %u slots", capacity);
    for (uint32_t i = 0; i < map->capacity; i++) {
        const struct schema_field *old = &map->slots[i];

        if (old->type != 0)
            *find_slot(slots, capacity, old->hash,
                       (struct slice){old->table_key, old->table_key_size},
                       (struct slice){old->name, old->name_size}) = *old;
    }
    free(map->slots);
    map->slots = slots;
    map->capacity = capacity;
    return ERR_OK;
}

enum err schema_map_add(struct schema_map *map, struct slice table_key, struct slice field,
                        enum field_type type)
{
    uint64_t hash = field_hash(table_key, field);
    struct schema_field *slot;
    char *names;

    if (map->count >= SCHEMA_FIELDS_MAX)
        return err_set(ERR_LIMIT,
                       "schema: the site has %d fields already; use tags or fewer tables",
                       (int)SCHEMA_FIELDS_MAX);
    if (map->count >= map->capacity / 4 * 3) {
        enum err err = grow(map);

        if (err != ERR_OK)
            return err;
    }
    slot = find_slot(map->slots, map->capacity, hash, table_key, field);
    if (slot->type != 0)
        return ERR_OK;
    names = malloc(table_key.size + field.size + 1);
    if (names == NULL)
        return err_set(ERR_NO_MEMORY, "schema: a field's name");
    memcpy(names, table_key.data, table_key.size);
    memcpy(names + table_key.size, field.data, field.size);
    *slot = (struct schema_field){
        .hash = hash,
        .table_key = names,
        .table_key_size = (uint32_t)table_key.size,
        .name = names + table_key.size,
        .name_size = (uint16_t)field.size,
        .type = (uint8_t)type,
    };
    map->count++;
    return ERR_OK;
}

bool schema_map_has_database(const struct schema_map *map, struct slice name)
{
    for (uint32_t i = 0; i < map->database_count; i++) {
        if (strlen(map->databases[i]) == name.size &&
            memcmp(map->databases[i], name.data, name.size) == 0)
            return true;
    }
    return false;
}

enum err schema_map_add_database(struct schema_map *map, struct slice name)
{
    char **databases;
    char *copy;

    if (schema_map_has_database(map, name))
        return ERR_OK;
    if (map->database_count >= SCHEMA_DATABASES_MAX)
        return err_set(ERR_LIMIT, "the site has %d databases already", (int)SCHEMA_DATABASES_MAX);
    databases = realloc(map->databases, (map->database_count + 1) * sizeof *databases);
    if (databases == NULL)
        return err_set(ERR_NO_MEMORY, "a database's name");
    map->databases = databases;
    copy = strndup(name.data, name.size);
    if (copy == NULL)
        return err_set(ERR_NO_MEMORY, "a database's name");
    map->databases[map->database_count++] = copy;
    return ERR_OK;
}
