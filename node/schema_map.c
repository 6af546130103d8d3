#include "node/schema_map.h"

#include <stdlib.h>
#include <string.h>

#include "storage/block/seal_order.h"

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
    for (uint32_t i = 0; i < map->database_count; i++) {
        free(map->databases[i].name);
        free(map->databases[i].cutoffs_ns);
    }
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

/* ---- Databases ----------------------------------------------------------------------------- */

static struct schema_database *find_database(const struct schema_map *map, struct slice name)
{
    for (uint32_t i = 0; i < map->database_count; i++) {
        struct schema_database *database = &map->databases[i];

        if (strlen(database->name) == name.size &&
            memcmp(database->name, name.data, name.size) == 0)
            return database;
    }
    return NULL;
}

const struct schema_database *schema_map_database(const struct schema_map *map, struct slice name)
{
    return find_database(map, name);
}

bool schema_map_has_database(const struct schema_map *map, struct slice name)
{
    const struct schema_database *database = find_database(map, name);

    return database != NULL && !database->dropped;
}

static enum err append_database(struct schema_map *map, struct slice name,
                                struct schema_database **ret_database)
{
    struct schema_database *databases;
    char *copy;

    if (map->database_count >= SCHEMA_DATABASES_MAX)
        return err_set(ERR_LIMIT, "the site has %d databases already, dropped ones included",
                       (int)SCHEMA_DATABASES_MAX);
    databases = realloc(map->databases, (map->database_count + 1) * sizeof *databases);
    if (databases == NULL)
        return err_set(ERR_NO_MEMORY, "a database's name");
    map->databases = databases;
    copy = strndup(name.data, name.size);
    if (copy == NULL)
        return err_set(ERR_NO_MEMORY, "a database's name");
    *ret_database = &databases[map->database_count++];
    **ret_database = (struct schema_database){.name = copy};
    return ERR_OK;
}

enum err schema_map_set_database(struct schema_map *map, struct slice name,
                                 const struct schema_database *database)
{
    struct schema_database *own = find_database(map, name);

    if (own == NULL) {
        enum err err = append_database(map, name, &own);

        if (err != ERR_OK)
            return err;
    }
    if (database->drop != own->drop) { /* What was refused was so of the one before. */
        free(own->cutoffs_ns);
        own->cutoffs_ns = NULL;
    }
    map->dropped_count += database->dropped;
    map->dropped_count -= own->dropped;
    own->retention_ns = database->retention_ns;
    own->retention_bytes = database->retention_bytes;
    own->series_max = database->series_max;
    own->drop = database->drop;
    own->dropped = database->dropped;
    own->dropped_ms = database->dropped_ms;
    if (own->drop > map->drop_max)
        map->drop_max = own->drop;
    return ERR_OK;
}

enum err schema_map_add_database(struct schema_map *map, struct slice name)
{
    static const struct schema_database plain = {0};

    if (find_database(map, name) != NULL)
        return ERR_OK;
    return schema_map_set_database(map, name, &plain);
}

enum err schema_map_cut(struct schema_map *map, struct slice name, uint32_t shard, uint32_t shards,
                        int64_t cutoff_ns)
{
    struct schema_database *database = find_database(map, name);

    if (database == NULL) {
        enum err err = append_database(map, name, &database);

        if (err != ERR_OK)
            return err;
    }
    if (database->cutoffs_ns == NULL) {
        database->cutoffs_ns = malloc(shards * sizeof *database->cutoffs_ns);
        if (database->cutoffs_ns == NULL)
            return err_set(ERR_NO_MEMORY, "cutoffs of %u shards", shards);
        for (uint32_t i = 0; i < shards; i++)
            database->cutoffs_ns[i] = INT64_MIN;
    }
    database->cutoffs_ns[shard] = cutoff_ns;
    return ERR_OK;
}

int64_t schema_map_window_ns(uint64_t retention_ns)
{
    static const int64_t minutes[] = {1440, 720, 360, 180, 120, 60, 30, 15, 10, 5, 2, 1};
    int64_t window_ns = SEAL_WINDOW_DEFAULT_NS;

    if (retention_ns == 0)
        return window_ns;
    for (size_t i = 0; i < sizeof minutes / sizeof minutes[0]; i++) {
        window_ns = minutes[i] * SEAL_WINDOW_MIN_NS;
        if ((uint64_t)window_ns <= retention_ns / 24)
            break;
    }
    return window_ns;
}
