#include "client/names.h"

#include <stdlib.h>
#include <string.h>

#include "client/wire/quote.h"
#include "storage/block/block.h"

/* Series and keys are taken from big pieces that never move: the I/O thread holds pointers. */
enum { SERIES_CHUNK = 4096, KEY_ROOM = 256 * 1024, SERIES_MAX = 1 << 28 };

struct key_room {
    struct key_room *next;
    size_t used;
    uint8_t bytes[KEY_ROOM];
};

struct names {
    struct slice database; /* Owned. */
    uint32_t shards;

    struct table *tables; /* Owned. */
    uint32_t table_count, table_capacity;
    struct hash_index table_by_key;

    struct series **chunks; /* Owned: SERIES_CHUNK series each. */
    uint32_t chunk_count;
    uint32_t series_count;
    struct hash_index series_by_key;
    struct key_room *keys; /* Owned. */
};

/* ---- Life ---------------------------------------------------------------------------------- */

static enum err check_name(const char *what, struct slice name)
{
    if (name.size == 0)
        return err_set(ERR_INVALID, "%s is empty", what);
    if (name.size > NAME_SIZE_MAX)
        return err_set(ERR_LIMIT, "%s \"%s\" has %zu bytes, at most %d are allowed", what,
                       quote(name).text, name.size, NAME_SIZE_MAX);
    return ERR_OK;
}

enum err names_new(struct slice database, uint32_t shards, struct names **ret_names)
{
    struct names *names;
    char *copy;
    enum err err = check_name("database", database);

    if (err != ERR_OK)
        return err;
    names = calloc(1, sizeof *names);
    copy = malloc(database.size);
    if (!names || !copy) {
        free(names);
        free(copy);
        return err_set(ERR_NO_MEMORY, "names of a client");
    }
    memcpy(copy, database.data, database.size);
    names->database = (struct slice){copy, database.size};
    names->shards = shards;
    *ret_names = names;
    return ERR_OK;
}

static void table_fini(struct table *table)
{
    for (uint32_t i = 0; i < table->field_count; i++)
        free(table->fields[i].name);
    free(table->fields);
    free(table->key);
    hash_index_fini(&table->by_name);
}

void names_free(struct names *names)
{
    if (!names)
        return;
    for (uint32_t i = 0; i < names->table_count; i++)
        table_fini(&names->tables[i]);
    for (uint32_t i = 0; i < names->chunk_count; i++)
        free(names->chunks[i]);
    while (names->keys) {
        struct key_room *next = names->keys->next;

        free(names->keys);
        names->keys = next;
    }
    free(names->tables);
    free(names->chunks);
    hash_index_fini(&names->table_by_key);
    hash_index_fini(&names->series_by_key);
    free((char *)names->database.data);
    free(names);
}

struct slice names_database(const struct names *names)
{
    return names->database;
}

uint32_t names_series_count(const struct names *names)
{
    return names->series_count;
}

/* ---- Tables and fields --------------------------------------------------------------------- */

/* Make room for one more element of an array that doubles. */
static enum err array_grow(void **array, uint32_t count, uint32_t *capacity, size_t size)
{
    uint32_t bigger = *capacity ? *capacity * 2 : 8;
    void *moved;

    if (count < *capacity)
        return ERR_OK;
    moved = realloc(*array, bigger * size);
    if (!moved)
        return err_set(ERR_NO_MEMORY, "%u names", (unsigned)bigger);
    *array = moved;
    *capacity = bigger;
    return ERR_OK;
}

static enum err find_table(struct names *names, const uint8_t *key, size_t size, size_t name_size,
                           uint32_t *ret_table)
{
    uint64_t hash = key_hash(key, size);
    struct hash_cursor cursor = hash_index_find(&names->table_by_key, hash);
    struct table table = {.key_size = size};
    uint32_t at;
    enum err err;

    while (hash_index_next(&names->table_by_key, &cursor, &at)) {
        if (names->tables[at].key_size == size && memcmp(names->tables[at].key, key, size) == 0) {
            *ret_table = at;
            return ERR_OK;
        }
    }

    err = array_grow((void **)&names->tables, names->table_count, &names->table_capacity,
                     sizeof *names->tables);
    if (err != ERR_OK)
        return err;
    table.key = malloc(size);
    if (!table.key)
        return err_set(ERR_NO_MEMORY, "a table's key");
    memcpy(table.key, key, size);
    table.name = (struct slice){(const char *)table.key + size - name_size, name_size};
    err = hash_index_add(&names->table_by_key, hash, names->table_count);
    if (err != ERR_OK) {
        free(table.key);
        return err;
    }
    names->tables[names->table_count] = table;
    *ret_table = names->table_count++;
    return ERR_OK;
}

struct table *names_table(struct names *names, uint32_t table)
{
    return &names->tables[table];
}

static enum err add_field(struct table *table, struct slice name, uint64_t hash)
{
    struct field field = {.size = name.size};
    enum err err = check_name("field", name);

    if (err != ERR_OK)
        return err;
    if (table->field_count >= FIELD_COUNT_MAX)
        return err_set(ERR_LIMIT,
                       "field \"%s\" would be the table's number %u, at most %d are allowed",
                       quote(name).text, (unsigned)table->field_count + 1, FIELD_COUNT_MAX);
    err = array_grow((void **)&table->fields, table->field_count, &table->field_capacity,
                     sizeof *table->fields);
    if (err != ERR_OK)
        return err;
    field.name = strndup(name.data, name.size);
    if (!field.name)
        return err_set(ERR_NO_MEMORY, "a field's name");
    err = hash_index_add(&table->by_name, hash, table->field_count);
    if (err != ERR_OK) {
        free(field.name);
        return err;
    }
    table->fields[table->field_count++] = field;
    return ERR_OK;
}

static bool field_is(const struct field *field, const char *name, size_t size)
{
    return field->size == size && memcmp(field->name, name, size) == 0;
}

enum err names_field(struct table *table, const char *name, size_t size, struct field **ret_field)
{
    struct hash_cursor cursor;
    uint64_t hash;
    uint32_t at = table->guess;
    bool found = false;

    if (at >= table->field_count || !field_is(&table->fields[at], name, size)) {
        hash = key_hash(name, size);
        cursor = hash_index_find(&table->by_name, hash);
        while (!found && hash_index_next(&table->by_name, &cursor, &at))
            found = field_is(&table->fields[at], name, size);
        if (!found) {
            enum err err = add_field(table, (struct slice){name, size}, hash);

            if (err != ERR_OK)
                return err;
            at = table->field_count - 1;
        }
    }
    table->guess = at + 1 < table->field_count ? at + 1 : 0;
    *ret_field = &table->fields[at];
    return ERR_OK;
}

/* ---- Series -------------------------------------------------------------------------------- */

static enum err check_tags(const struct tag *tags, size_t count)
{
    enum err err = ERR_OK;

    if (count > TAG_COUNT_MAX)
        return err_set(ERR_LIMIT, "%zu tags, at most %d are allowed", count, TAG_COUNT_MAX);
    for (size_t i = 0; i < count && err == ERR_OK; i++) {
        err = check_name("tag name", tags[i].name);
        if (err == ERR_OK)
            err = check_name("tag value", tags[i].value);
        if (err != ERR_OK)
            err = err_wrap(err, "tag \"%s\"", quote(tags[i].name).text);
    }
    return err;
}

static const uint8_t *keep_key(struct names *names, const uint8_t *key, size_t size)
{
    uint8_t *kept;

    if (!names->keys || KEY_ROOM - names->keys->used < size) {
        struct key_room *room = malloc(sizeof *room);

        if (!room)
            return NULL;
        room->next = names->keys;
        room->used = 0;
        names->keys = room;
    }
    kept = names->keys->bytes + names->keys->used;
    memcpy(kept, key, size);
    names->keys->used += size;
    return kept;
}

static struct series *next_free_series(struct names *names)
{
    uint32_t chunk = names->series_count / SERIES_CHUNK;

    if (chunk == names->chunk_count) {
        struct series **chunks = realloc(names->chunks, (chunk + 1) * sizeof(struct series *));

        if (!chunks)
            return NULL;
        names->chunks = chunks;
        chunks[chunk] = calloc(SERIES_CHUNK, sizeof **chunks);
        if (!chunks[chunk])
            return NULL;
        names->chunk_count++;
    }
    return &names->chunks[chunk][names->series_count % SERIES_CHUNK];
}

static enum err add_series(struct names *names, const uint8_t *key, size_t size, uint64_t hash,
                           size_t table_key_size, size_t table_name_size)
{
    struct series *series;
    uint32_t table = 0;
    enum err err = find_table(names, key, table_key_size, table_name_size, &table);

    if (err != ERR_OK)
        return err;
    if (names->series_count >= SERIES_MAX)
        return err_set(ERR_LIMIT, "more than %d series", SERIES_MAX);
    series = next_free_series(names);
    if (!series)
        return err_set(ERR_NO_MEMORY, "series %u", (unsigned)names->series_count);
    series->key = keep_key(names, key, size);
    if (!series->key)
        return err_set(ERR_NO_MEMORY, "the key of series %u", (unsigned)names->series_count);
    err = hash_index_add(&names->series_by_key, hash, names->series_count);
    if (err != ERR_OK)
        return err;
    atomic_init(&series->id, BLOCK_ID_NONE);
    series->shard = key_shard(hash, names->shards);
    series->key_size = (uint32_t)size;
    series->table = table;
    series->hash = hash;
    names->series_count++;
    return ERR_OK;
}

enum err names_series(struct names *names, struct slice table, const struct tag *tags,
                      size_t tag_count, uint32_t *ret_series)
{
    uint8_t key[KEY_SIZE_MAX];
    struct hash_cursor cursor;
    size_t size, table_key_size;
    uint64_t hash;
    uint32_t at;
    enum err err = check_name("table", table);

    if (err == ERR_OK)
        err = check_tags(tags, tag_count);
    if (err != ERR_OK)
        return err;
    size = key_write(names->database, table, tags, tag_count, key, sizeof key);
    if (size == 0)
        return err_set(
            ERR_INVALID,
            "series of table \"%s\": two tags have one name, or the key is over %d bytes",
            quote(table).text, KEY_SIZE_MAX);
    hash = key_hash(key, size);
    cursor = hash_index_find(&names->series_by_key, hash);
    while (hash_index_next(&names->series_by_key, &cursor, &at)) {
        const struct series *series = names_series_at(names, at);

        if (series->key_size == size && memcmp(series->key, key, size) == 0) {
            *ret_series = at;
            return ERR_OK;
        }
    }

    /* The key starts with its table key: this writes the same bytes again and tells their size. */
    table_key_size = key_write_table(names->database, table, key, sizeof key);
    err = add_series(names, key, size, hash, table_key_size, table.size);
    if (err == ERR_OK)
        *ret_series = names->series_count - 1;
    return err;
}

struct series *names_series_at(struct names *names, uint32_t series)
{
    if (series >= names->series_count)
        return NULL;
    return &names->chunks[series / SERIES_CHUNK][series % SERIES_CHUNK];
}
