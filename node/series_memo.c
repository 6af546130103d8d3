#include "node/series_memo.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/varint.h"
#include "storage/block/block.h"

void series_memo_init(struct series_memo *memo, uint64_t bytes_max)
{
    *memo = (struct series_memo){.bytes_max = bytes_max};
}

static struct memo_series *series_at(const struct series_memo *memo, uint32_t at)
{
    return &memo->chunks[at / MEMO_CHUNK][at % MEMO_CHUNK];
}

static void free_tables(struct series_memo *memo)
{
    for (uint32_t i = 0; i < MEMO_TABLE_LISTS; i++) {
        while (memo->tables[i] != NULL) {
            struct memo_table *table = memo->tables[i];

            memo->tables[i] = table->next;
            for (uint32_t f = 0; f < table->field_count; f++)
                free(table->fields[f].name);
            free(table->fields);
            free(table->key);
            free(table);
        }
    }
}

static void forget_all(struct series_memo *memo)
{
    for (uint32_t i = 0; i < memo->count; i++)
        free(series_at(memo, i)->head);
    for (uint32_t i = 0; i < MEMO_CHUNKS_MAX; i++) {
        free(memo->chunks[i]);
        memo->chunks[i] = NULL;
    }
    free_tables(memo);
    free(memo->slots);
    memo->slots = NULL;
    memo->capacity = 0;
    memo->count = 0;
    memo->bytes = 0;
    memo->generation++;
}

void series_memo_fini(struct series_memo *memo)
{
    forget_all(memo);
}

/* ---- Series -------------------------------------------------------------------------------- */

static uint64_t head_hash(struct slice database, struct slice head)
{
    return key_hash(head.data, head.size) ^ (key_hash(database.data, database.size) << 1);
}

/* A key begins with its database: varint size, bytes. */
static bool is_of_database(const struct memo_series *series, struct slice database)
{
    uint8_t size[VARINT_SIZE_MAX];
    size_t used = (size_t)(varint_put(size, database.size) - size);

    return series->key_size >= used + database.size &&
           memcmp(memo_series_key(series), size, used) == 0 &&
           memcmp(memo_series_key(series) + used, database.data, database.size) == 0;
}

static struct memo_slot *find_slot(const struct series_memo *memo, uint64_t hash,
                                   struct slice database, struct slice head)
{
    uint32_t at = (uint32_t)hash & (memo->capacity - 1);

    for (; memo->slots[at].number != 0; at = (at + 1) & (memo->capacity - 1)) {
        const struct memo_series *series;

        if (memo->slots[at].hash != hash)
            continue;
        series = series_at(memo, memo->slots[at].number - 1);
        if (series->head_size == head.size && memcmp(series->head, head.data, head.size) == 0 &&
            is_of_database(series, database))
            break;
    }
    return &memo->slots[at];
}

struct memo_series *series_memo_find(const struct series_memo *memo, struct slice database,
                                     struct slice head)
{
    const struct memo_slot *slot;

    if (memo->capacity == 0)
        return NULL;
    slot = find_slot(memo, head_hash(database, head), database, head);
    return slot->number == 0 ? NULL : series_at(memo, slot->number - 1);
}

struct memo_series *series_memo_by_tag(const struct series_memo *memo, uint64_t tag)
{
    if (tag >> 32 != memo->generation || (uint32_t)tag >= memo->count)
        return NULL;
    return series_at(memo, (uint32_t)tag);
}

static enum err grow(struct series_memo *memo)
{
    uint32_t capacity = memo->capacity == 0 ? 1024 : memo->capacity * 2;
    struct memo_slot *slots = calloc(capacity, sizeof *slots);

    if (slots == NULL)
        return err_set(ERR_NO_MEMORY, "a memo of %u series", capacity);
    for (uint32_t i = 0; i < memo->capacity; i++) {
        uint32_t at = (uint32_t)memo->slots[i].hash & (capacity - 1);

        if (memo->slots[i].number == 0)
            continue;
        while (slots[at].number != 0)
            at = (at + 1) & (capacity - 1);
        slots[at] = memo->slots[i];
    }
    free(memo->slots);
    memo->slots = slots;
    memo->bytes += (capacity - memo->capacity) * sizeof *slots;
    memo->capacity = capacity;
    return ERR_OK;
}

/* A place for one more series. */
static enum err take_place(struct series_memo *memo, struct memo_series **ret_series)
{
    struct memo_series **chunk = &memo->chunks[memo->count / MEMO_CHUNK];

    if (*chunk == NULL) {
        *chunk = calloc(MEMO_CHUNK, sizeof **chunk);
        if (*chunk == NULL)
            return err_set(ERR_NO_MEMORY, "a memo of %u series", memo->count);
        memo->bytes += MEMO_CHUNK * sizeof **chunk;
    }
    *ret_series = series_at(memo, memo->count);
    return ERR_OK;
}

static enum err find_table(struct series_memo *memo, const char *key, size_t key_size,
                           struct memo_table **ret_table)
{
    struct memo_table **list = &memo->tables[key_hash(key, key_size) % MEMO_TABLE_LISTS];
    struct memo_table *table = *list;

    while (table != NULL && (table->key_size != key_size || memcmp(table->key, key, key_size) != 0))
        table = table->next;
    if (table == NULL) {
        table = calloc(1, sizeof *table);
        if (table == NULL || (table->key = malloc(key_size)) == NULL) {
            free(table);
            return err_set(ERR_NO_MEMORY, "a table's memo");
        }
        memcpy(table->key, key, key_size);
        table->key_size = (uint32_t)key_size;
        table->next = *list;
        *list = table;
        memo->bytes += sizeof *table + key_size;
    }
    *ret_table = table;
    return ERR_OK;
}

static enum err check_names(struct slice table, const struct tag *tags, size_t tag_count)
{
    if (table.size == 0 || table.size > NAME_SIZE_MAX)
        return err_set(ERR_LIMIT, "a table's name of %zu bytes; allowed are 1 to %d", table.size,
                       (int)NAME_SIZE_MAX);
    if (tag_count > TAG_COUNT_MAX)
        return err_set(ERR_LIMIT, "%zu tags; allowed are %d", tag_count, (int)TAG_COUNT_MAX);
    for (size_t i = 0; i < tag_count; i++) {
        if (tags[i].name.size > NAME_SIZE_MAX || tags[i].value.size > NAME_SIZE_MAX)
            return err_set(ERR_LIMIT, "tag \"%.*s\" is longer than %d bytes",
                           (int)(tags[i].name.size < 64 ? tags[i].name.size : 64),
                           tags[i].name.data, (int)NAME_SIZE_MAX);
    }
    return ERR_OK;
}

enum err series_memo_add(struct series_memo *memo, struct slice database, struct slice head,
                         struct slice table, const struct tag *tags, size_t tag_count,
                         uint32_t shards, struct memo_series **ret_series)
{
    char key[KEY_SIZE_MAX];
    struct memo_series *series = NULL;
    struct memo_table *found = NULL;
    struct memo_slot *slot;
    size_t key_size, table_key_size;
    char *names;
    enum err err = check_names(table, tags, tag_count);

    if (err != ERR_OK)
        return err;
    key_size = key_write(database, table, tags, tag_count, key, sizeof key);
    if (key_size == 0)
        return err_set(ERR_INVALID,
                       "the series' key is longer than %d bytes, or a tag is given twice",
                       (int)KEY_SIZE_MAX);
    table_key_size =
        key_write_table(database, table, key, sizeof key); /* The key's own first bytes. */
    if (memo->bytes > memo->bytes_max || memo->count == MEMO_CHUNK * MEMO_CHUNKS_MAX)
        forget_all(memo);
    if (memo->count >= memo->capacity / 4 * 3)
        err = grow(memo);
    if (err == ERR_OK)
        err = find_table(memo, key, table_key_size, &found);
    if (err == ERR_OK)
        err = take_place(memo, &series);
    names = err == ERR_OK ? malloc(head.size + key_size) : NULL;
    if (err == ERR_OK && names == NULL)
        err = err_set(ERR_NO_MEMORY, "a series' memo");
    if (err != ERR_OK)
        return err;
    memcpy(names, head.data, head.size);
    memcpy(names + head.size, key, key_size);
    *series = (struct memo_series){
        .tag = (uint64_t)memo->generation << 32 | memo->count,
        .head = names,
        .head_size = (uint32_t)head.size,
        .key_size = (uint32_t)key_size,
        .key_hash = key_hash(key, key_size),
        .table = found,
        .id = BLOCK_ID_NONE,
    };
    series->shard = key_shard(series->key_hash, shards);
    slot = find_slot(memo, head_hash(database, head), database, head);
    *slot = (struct memo_slot){head_hash(database, head), memo->count + 1};
    memo->count++;
    memo->bytes += head.size + key_size;
    *ret_series = series;
    return ERR_OK;
}

/* ---- Fields -------------------------------------------------------------------------------- */

static bool is_field(const struct memo_field *field, struct slice name)
{
    return field->name_size == name.size && memcmp(field->name, name.data, name.size) == 0;
}

unsigned series_memo_find_field(const struct memo_table *table, uint32_t guess, struct slice field)
{
    if (guess < table->field_count && is_field(&table->fields[guess], field))
        return table->fields[guess].type;
    for (uint32_t i = 0; i < table->field_count; i++) {
        if (is_field(&table->fields[i], field))
            return table->fields[i].type;
    }
    return 0;
}

enum err series_memo_add_field(struct series_memo *memo, struct memo_table *table, uint32_t guess,
                               struct slice field, enum field_type type)
{
    struct memo_field *fields = table->fields;
    char *name;

    if (table->field_count == MEMO_FIELDS_MAX)
        return ERR_OK;
    name = malloc(field.size + 1);
    if (name != NULL && table->field_count == table->field_capacity) {
        uint32_t capacity = table->field_capacity == 0 ? 16 : table->field_capacity * 2;

        fields = realloc(table->fields, capacity * sizeof *fields);
        if (fields != NULL) {
            table->fields = fields;
            table->field_capacity = capacity;
        }
    }
    if (name == NULL || fields == NULL) {
        free(name);
        return err_set(ERR_NO_MEMORY, "a field's memo");
    }
    memcpy(name, field.data, field.size);
    if (guess > table->field_count)
        guess = table->field_count;
    memmove(fields + guess + 1, fields + guess, (table->field_count - guess) * sizeof *fields);
    fields[guess] = (struct memo_field){name, (uint32_t)field.size, (uint8_t)type};
    table->field_count++;
    memo->bytes += sizeof *fields + field.size;
    return ERR_OK;
}
