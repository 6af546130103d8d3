#include "storage/block/block_builder.h"

#include <lz4.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/block/block_builder_rows.h"
#include "storage/block/column_string.h"
#include "storage/block/entry.h"

enum {
    FIELDS_MIN = 8,
    ROWS_MIN = 8,
    VALUES_MIN = 8,
    TEXT_MIN = 64,
    SERIES_MIN = 8,
    TABLES_MIN = 4,

    /* A new row is refused when what is there may need this much; the rest up to ENTRY_SIZE_MAX is
     * for the row under way, however large. */
    ENCODED_ROW_MAX = ENTRY_SIZE_MAX / 2,
    ENCODED_MAX = ENTRY_SIZE_MAX - 64 * 1024,

    /* What each thing adds to the encoded size at most: the thing, and its share of heads. */
    TABLE_COST = 128,
    SERIES_COST = 24,
    ROW_COST = 24,
    FIELD_COST = 128,
    VALUE_COST = 12,
};

/* ---- Lifetime ------------------------------------------------------------------------------ */

enum err block_builder_new(struct block_builder **ret_builder)
{
    struct block_builder *builder = calloc(1, sizeof *builder);

    if (builder != NULL)
        builder->lz4 = LZ4_createStream();
    if (builder == NULL || builder->lz4 == NULL) {
        free(builder);
        return err_set(ERR_NO_MEMORY, "block builder");
    }
    *ret_builder = builder;
    return ERR_OK;
}

void block_builder_free(struct block_builder *builder)
{
    if (builder == NULL)
        return;
    block_arena_fini(&builder->arena);
    bytes_fini(&builder->body);
    bytes_fini(&builder->piece);
    LZ4_freeStream(builder->lz4);
    free(builder);
}

static void reset_bytes(struct bytes *bytes)
{
    if (bytes->capacity > BLOCK_ARENA_KEEP_MAX)
        bytes_fini(bytes);
    bytes_clear(bytes);
}

void block_builder_reset(struct block_builder *builder)
{
    struct block_builder empty = {
        .series_before = builder->series_count,
        .arena = builder->arena,
        .lz4 = builder->lz4,
        .body = builder->body,
        .piece = builder->piece,
    };

    block_arena_reset(&empty.arena);
    reset_bytes(&empty.body);
    reset_bytes(&empty.piece);
    *builder = empty;
}

uint32_t block_builder_rows(const struct block_builder *builder)
{
    return builder->rows;
}

uint32_t block_builder_points(const struct block_builder *builder)
{
    return builder->points;
}

size_t block_builder_bytes(const struct block_builder *builder)
{
    return builder->arena.used;
}

static enum err no_memory(const struct block_builder *builder)
{
    return err_set(ERR_NO_MEMORY, "block builder: %u rows in %zu bytes", builder->rows,
                   builder->arena.used);
}

/* Room for one more than `count` in an array that lives in the arena; false: no memory. */
static bool grow(struct block_builder *builder, void *array, size_t element, uint32_t count,
                 uint32_t *capacity, uint32_t first)
{
    uint32_t larger = *capacity == 0 ? first : 2 * *capacity;
    void *grown;
    void *old;

    memcpy(&old, array, sizeof old);
    grown = block_arena_grow(&builder->arena, old, count * element, larger * element);
    if (grown == NULL)
        return false;
    memcpy(array, &grown, sizeof grown);
    *capacity = larger;
    return true;
}

static inline bool reserve(struct block_builder *builder, void *array, size_t element,
                           uint32_t count, uint32_t *capacity, uint32_t first)
{
    return count < *capacity || grow(builder, array, element, count, capacity, first);
}

/* Names of 8 to 16 bytes are two words that overlap; the call of memcmp() would cost more. */
static inline bool same_bytes(struct slice slice, const char *other, size_t size)
{
    uint64_t a, b, c, d;

    if (slice.size != size)
        return false;
    if (size < sizeof a || size > 2 * sizeof a)
        return memcmp(slice.data, other, size) == 0;
    memcpy(&a, slice.data, sizeof a);
    memcpy(&b, other, sizeof b);
    memcpy(&c, slice.data + size - sizeof c, sizeof c);
    memcpy(&d, other + size - sizeof d, sizeof d);
    return ((a ^ b) | (c ^ d)) == 0;
}

/* ---- Series and tables --------------------------------------------------------------------- */

static enum err find_table(struct block_builder *builder, const void *key, size_t size,
                           uint32_t *ret_table)
{
    struct builder_table *table;
    uint64_t hash;
    uint32_t at;

    if (builder->series_count > 0) { /* Mostly that of the series before. */
        at = builder->series[builder->series_count - 1].table;
        if (same_bytes(builder->tables[at]->key, key, size)) {
            *ret_table = at;
            return ERR_OK;
        }
    }
    hash = key_hash(key, size);
    at = key_map_find(&builder->table_keys, hash, key, size);
    *ret_table = at;
    if (at != KEY_MAP_NONE)
        return ERR_OK;
    at = builder->table_keys.count;
    if (at == BLOCK_TABLES_MAX)
        return err_set(ERR_LIMIT, "block: more than %d tables", BLOCK_TABLES_MAX);
    table = block_arena_take(&builder->arena, sizeof *table);
    if (table == NULL ||
        !reserve(builder, &builder->tables, sizeof(struct builder_table *), at,
                 &builder->table_capacity, TABLES_MIN) ||
        !key_map_add(&builder->table_keys, &builder->arena, hash, key, size))
        return no_memory(builder);
    *table = (struct builder_table){
        .key = builder->table_keys.keys[at],
        .first = KEY_MAP_NONE,
    };
    builder->tables[at] = table;
    builder->encoded_max += size + TABLE_COST;
    *ret_table = at;
    return ERR_OK;
}

/* A series that was known from the start is told by its hash and id; the others by their keys. */
static inline bool is_series(const struct builder_series *series, uint64_t hash, const void *key,
                             size_t size, uint32_t id)
{
    if (series->hash != hash)
        return false;
    if (series->key.data == NULL)
        return series->id == id;
    return same_bytes(series->key, key, size);
}

static uint32_t find_series(const struct block_builder *builder, uint64_t hash, const void *key,
                            size_t size, uint32_t id)
{
    uint32_t mask = 2 * builder->series_capacity - 1;

    if (builder->series_capacity == 0)
        return KEY_MAP_NONE;
    for (uint32_t at = (uint32_t)(hash >> 32) & mask; builder->slots[at] != 0; at = (at + 1) & mask)
        if (builder->slots[at] >> 32 == hash >> 32) {
            uint32_t number = (uint32_t)builder->slots[at] - 1;

            if (is_series(&builder->series[number], hash, key, size, id))
                return number;
        }
    return KEY_MAP_NONE;
}

static void put_slot(struct block_builder *builder, uint32_t number)
{
    uint64_t hash = builder->series[number].hash;
    uint32_t mask = 2 * builder->series_capacity - 1;
    uint32_t at = (uint32_t)(hash >> 32) & mask;

    while (builder->slots[at] != 0)
        at = (at + 1) & mask;
    builder->slots[at] = hash >> 32 << 32 | (number + 1);
}

/* Room for one more series; false: no memory. */
static bool reserve_series(struct block_builder *builder)
{
    struct block_arena *arena = &builder->arena;
    uint32_t count = builder->series_count;
    uint32_t capacity = 2 * builder->series_capacity;
    struct builder_series *series;
    uint64_t *slots;

    if (count < builder->series_capacity)
        return true;
    while (capacity < SERIES_MIN || capacity < builder->series_before)
        capacity = capacity == 0 ? SERIES_MIN : 2 * capacity;
    series =
        block_arena_grow(arena, builder->series, count * sizeof *series, capacity * sizeof *series);
    slots = block_arena_take(arena, 2 * (size_t)capacity * sizeof *slots);
    if (series == NULL || slots == NULL)
        return false;
    memset(slots, 0, 2 * (size_t)capacity * sizeof *slots);
    builder->series = series;
    builder->series_capacity = capacity;
    builder->slots = slots;
    for (uint32_t number = 0; number < count; number++)
        put_slot(builder, number);
    return true;
}

static enum err add_series(struct block_builder *builder, const struct builder_series *series,
                           uint32_t *ret_series)
{
    uint32_t at = builder->series_count;
    char *key = NULL;

    if (!reserve_series(builder))
        return no_memory(builder);
    if (series->id == BLOCK_ID_NONE) {
        key = block_arena_take(&builder->arena, series->key.size);
        if (key == NULL)
            return no_memory(builder);
        memcpy(key, series->key.data, series->key.size);
    }
    builder->series[at] = *series;
    builder->series[at].key.data = key;
    builder->series_count++;
    builder->encoded_max += (key != NULL ? series->key.size : 0) + SERIES_COST;
    put_slot(builder, at);
    *ret_series = at;
    return ERR_OK;
}

enum err block_builder_series(struct block_builder *builder, const void *key, size_t key_size,
                              size_t table_key_size, uint64_t hash, uint32_t id,
                              uint32_t *ret_series)
{
    struct builder_series series = {.hash = hash, .key = {key, key_size}, .id = id};
    uint32_t at = find_series(builder, hash, key, key_size, id);
    enum err err;

    if (at != KEY_MAP_NONE) {
        if (id != BLOCK_ID_NONE)
            builder->series[at].id = id; /* It became known meanwhile. */
        *ret_series = at;
        return ERR_OK;
    }
    CHECK(key_size <= KEY_SIZE_MAX);
    CHECK(table_key_size <= key_size);
    if (builder->series_count == BLOCK_SERIES_MAX || builder->encoded_max > ENCODED_ROW_MAX)
        return err_set(ERR_LIMIT, "block: %u series and %u rows fill it", builder->series_count,
                       builder->rows);
    err = find_table(builder, key, table_key_size, &series.table);
    return err != ERR_OK ? err : add_series(builder, &series, ret_series);
}

/* ---- Rows ---------------------------------------------------------------------------------- */

enum err block_builder_row(struct block_builder *builder, uint32_t series, int64_t time_ns)
{
    struct builder_table *table;
    uint32_t series_capacity;

    CHECK(series < builder->series_count);
    builder->table = NULL;
    if (builder->rows == BLOCK_ROWS_MAX || builder->encoded_max > ENCODED_ROW_MAX)
        return err_set(ERR_LIMIT, "block: %u rows with %u points fill it", builder->rows,
                       builder->points);
    table = builder->tables[builder->series[series].table];
    series_capacity = table->row_capacity;
    if (!reserve(builder, &table->series, sizeof *table->series, table->rows, &series_capacity,
                 ROWS_MIN) ||
        !reserve(builder, &table->times_ns, sizeof *table->times_ns, table->rows,
                 &table->row_capacity, ROWS_MIN))
        return no_memory(builder);
    table->series[table->rows] = series;
    table->times_ns[table->rows++] = time_ns;
    builder->rows++;
    builder->encoded_max += ROW_COST;
    builder->table = table;
    builder->last = KEY_MAP_NONE;
    builder->row_points = 0;
    return ERR_OK;
}

void block_builder_undo_row(struct block_builder *builder)
{
    struct builder_table *table = builder->table;

    CHECK(table != NULL);
    table->rows--;
    builder->rows--;
    for (uint32_t at = 0; at < table->names.count; at++) {
        struct builder_field *field = &table->fields[at];

        while (field->count > 0 && field->rows[field->count - 1] >= table->rows)
            field->count--;
    }
    builder->points -= builder->row_points;
    builder->table = NULL;
}

/* ---- Values -------------------------------------------------------------------------------- */

static enum err add_field(struct block_builder *builder, struct builder_table *table, uint64_t hash,
                          const char *name, size_t name_size, enum field_type type)
{
    uint32_t at = table->names.count;

    if (name_size < 1 || name_size > NAME_SIZE_MAX)
        return err_set(ERR_LIMIT, "field name of %zu bytes: 1 to %d are allowed", name_size,
                       NAME_SIZE_MAX);
    if (at == FIELD_COUNT_MAX)
        return err_set(ERR_LIMIT, "field %.*s: more than %d fields in one table", (int)name_size,
                       name, FIELD_COUNT_MAX);
    if (!reserve(builder, &table->fields, sizeof *table->fields, at, &table->field_capacity,
                 FIELDS_MIN) ||
        !key_map_add(&table->names, &builder->arena, hash, name, name_size))
        return no_memory(builder);
    table->fields[at] = (struct builder_field){
        .name = table->names.keys[at],
        .type = type,
        .next = KEY_MAP_NONE,
    };
    builder->encoded_max += name_size + FIELD_COST;
    return ERR_OK;
}

/* The guess was wrong: look the name up, and guess better next time. */
static enum err search_field(struct block_builder *builder, const char *name, size_t name_size,
                             enum field_type type, uint32_t *ret_at)
{
    struct builder_table *table = builder->table;
    uint64_t hash = key_hash(name, name_size);
    uint32_t at = key_map_find(&table->names, hash, name, name_size);

    if (at == KEY_MAP_NONE) {
        enum err err = add_field(builder, table, hash, name, name_size, type);

        if (err != ERR_OK)
            return err;
        at = table->names.count - 1;
    }
    if (builder->last == KEY_MAP_NONE)
        table->first = at;
    else
        table->fields[builder->last].next = at;
    *ret_at = at;
    return ERR_OK;
}

static enum err take_other_type(struct builder_field *field, enum field_type type)
{
    if (field->count > 0)
        return err_set(ERR_TYPE_CONFLICT, "field %.*s is %s, and was %s before",
                       (int)field->name.size, field->name.data, field_type_name(type),
                       field_type_name(field->type));
    field->type = type; /* All its rows were taken back. */
    return ERR_OK;
}

static enum err add_value(struct block_builder *builder, struct builder_field *field, uint64_t bits)
{
    uint32_t row = builder->table->rows - 1;
    uint32_t rows_capacity = field->capacity;

    if (field->count > 0 && field->rows[field->count - 1] == row) {
        field->values[field->count - 1] = bits; /* Given twice in one row. */
        return ERR_OK;
    }
    if (field->count == field->capacity && (!reserve(builder, &field->rows, sizeof *field->rows,
                                                     field->count, &rows_capacity, VALUES_MIN) ||
                                            !reserve(builder, &field->values, sizeof *field->values,
                                                     field->count, &field->capacity, VALUES_MIN)))
        return no_memory(builder);
    if (builder->encoded_max > ENCODED_MAX - VALUE_COST)
        return err_set(ERR_TOO_LARGE, "row: more than %d bytes", ENTRY_SIZE_MAX - ENCODED_ROW_MAX);
    field->values[field->count] = bits;
    field->rows[field->count] = (uint16_t)row;
    field->count++;
    builder->points++;
    builder->row_points++;
    builder->encoded_max += VALUE_COST;
    return ERR_OK;
}

/* The field of this name in the table of the row under way, made if it is new. */
static inline enum err find_field(struct block_builder *builder, const char *name, size_t name_size,
                                  enum field_type type, uint32_t *ret_at)
{
    struct builder_table *table = builder->table;
    uint32_t at;

    CHECK(table != NULL);
    /* Rows of a table mostly have the same fields in the same order. */
    at = builder->last == KEY_MAP_NONE ? table->first : table->fields[builder->last].next;
    if (at == KEY_MAP_NONE || !same_bytes(table->fields[at].name, name, name_size)) {
        enum err err = search_field(builder, name, name_size, type, &at);

        if (err != ERR_OK)
            return err;
    }
    builder->last = at;
    *ret_at = at;
    return table->fields[at].type == type ? ERR_OK : take_other_type(&table->fields[at], type);
}

enum err block_builder_value(struct block_builder *builder, const char *name, size_t name_size,
                             enum field_type type, uint64_t bits)
{
    uint32_t at;
    enum err err = find_field(builder, name, name_size, type, &at);

    return err != ERR_OK ? err : add_value(builder, &builder->table->fields[at], bits);
}

enum err block_builder_string(struct block_builder *builder, const char *name, size_t name_size,
                              const void *data, size_t size)
{
    struct builder_field *field;
    uint32_t at;
    enum err err;

    if (size > ENCODED_MAX - ENCODED_ROW_MAX || builder->encoded_max > ENCODED_MAX - size)
        return err_set(ERR_TOO_LARGE, "field %.*s: a string of %zu bytes in a row of at most %d",
                       (int)name_size, name, size, ENTRY_SIZE_MAX - ENCODED_ROW_MAX);
    err = find_field(builder, name, name_size, FIELD_STRING, &at);
    if (err != ERR_OK)
        return err;
    field = &builder->table->fields[at];
    if (size > field->text_capacity - field->text_size) {
        uint32_t capacity = field->text_capacity < TEXT_MIN ? TEXT_MIN : field->text_capacity;
        char *text;

        while (capacity - field->text_size < size)
            capacity *= 2;
        text = block_arena_grow(&builder->arena, field->text, field->text_size, capacity);
        if (text == NULL)
            return no_memory(builder);
        field->text = text;
        field->text_capacity = capacity;
    }
    if (size > 0)
        memcpy(field->text + field->text_size, data, size);
    err = add_value(builder, field, column_string_make(field->text_size, (uint32_t)size));
    if (err != ERR_OK)
        return err;
    field->text_size += (uint32_t)size;
    builder->encoded_max += size;
    return ERR_OK;
}
