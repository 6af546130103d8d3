#include "storage/block/columns.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/block/column.h"
#include "storage/block/column_string.h"

enum {
    ROWS_FIRST = 64, /* Rows to make room for first. */
    CODEC = 1,       /* Of the encoded form. */
};

/* ---- Lifetime ------------------------------------------------------------------------------ */

static void column_fini(struct column *column)
{
    free(column->name);
    free(column->present);
    free(column->values);
    bytes_fini(&column->text);
}

void columns_fini(struct columns *columns)
{
    for (uint32_t at = 0; at < columns->count; at++)
        column_fini(&columns->columns[at]);
    free(columns->columns);
    *columns = (struct columns){0};
}

void columns_clear(struct columns *columns)
{
    columns->rows = 0;
    for (uint32_t at = 0; at < columns->count; at++)
        bytes_clear(&columns->columns[at].text);
}

size_t columns_bytes(const struct columns *columns)
{
    size_t bytes = columns->count * sizeof *columns->columns;

    for (uint32_t at = 0; at < columns->count; at++)
        bytes += columns->capacity * (sizeof(uint64_t) + 1) + strlen(columns->columns[at].name) +
                 1 + columns->columns[at].text.capacity;
    return bytes;
}

/* ---- Building ------------------------------------------------------------------------------ */

static bool is_column(const struct column *column, struct slice name, enum column_kind kind)
{
    return column->kind == kind && strlen(column->name) == name.size &&
           memcmp(column->name, name.data, name.size) == 0;
}

/* Room for `capacity` rows in one column. What was taken when another fails is kept: no harm. */
static enum err grow_column(struct column *column, uint32_t capacity)
{
    uint8_t *present = realloc(column->present, capacity);
    uint64_t *values;

    if (present != NULL)
        column->present = present;
    values = realloc(column->values, capacity * sizeof *values);
    if (values != NULL)
        column->values = values;
    if (present == NULL || values == NULL)
        return err_set(ERR_NO_MEMORY, "column %s: %u rows", column->name, capacity);
    return ERR_OK;
}

static enum err make_column(struct column *column, struct slice name, enum column_kind kind,
                            enum field_type type, uint32_t capacity)
{
    enum err err = ERR_OK;

    *column = (struct column){.kind = kind, .type = type, .name = malloc(name.size + 1)};
    if (column->name == NULL)
        return err_set(ERR_NO_MEMORY, "column name of %zu bytes", name.size);
    memcpy(column->name, name.data, name.size);
    column->name[name.size] = '\0';
    if (capacity > 0)
        err = grow_column(column, capacity);
    if (err != ERR_OK)
        column_fini(column);
    return err;
}

enum err columns_column(struct columns *columns, struct slice name, enum column_kind kind,
                        enum field_type type, uint32_t *ret_at)
{
    struct column *column;
    enum err err;

    for (uint32_t at = 0; at < columns->count; at++) {
        column = &columns->columns[at];
        if (!is_column(column, name, kind))
            continue;
        if (column->type != type)
            return err_set(ERR_TYPE_CONFLICT, "column %s is %s and %s", column->name,
                           field_type_name(column->type), field_type_name(type));
        *ret_at = at;
        return ERR_OK;
    }
    if (columns->count == COLUMNS_MAX)
        return err_set(ERR_LIMIT, "more than %d columns in a result", COLUMNS_MAX);
    column = realloc(columns->columns, (columns->count + 1) * sizeof *column);
    if (column == NULL)
        return err_set(ERR_NO_MEMORY, "%u columns", columns->count + 1);
    columns->columns = column;
    column += columns->count;
    err = make_column(column, name, kind, type, columns->capacity);
    if (err != ERR_OK)
        return err;
    if (columns->rows > 0) {
        memset(column->present, 0, columns->rows);
        memset(column->values, 0, columns->rows * sizeof *column->values);
    }
    *ret_at = columns->count++;
    return ERR_OK;
}

enum err columns_reserve(struct columns *columns, uint32_t more)
{
    uint32_t need = columns->rows + more;
    uint32_t capacity = columns->capacity < ROWS_FIRST ? ROWS_FIRST : columns->capacity;

    if (more > COLUMNS_ROWS_MAX - columns->rows)
        return err_set(ERR_LIMIT, "more than %d rows in a result: ask for fewer with a limit",
                       COLUMNS_ROWS_MAX);
    if (need <= columns->capacity)
        return ERR_OK;
    while (capacity < need)
        capacity *= 2;
    for (uint32_t at = 0; at < columns->count; at++) {
        enum err err = grow_column(&columns->columns[at], capacity);

        if (err != ERR_OK)
            return err;
    }
    columns->capacity = capacity;
    return ERR_OK;
}

/* Rows that there is room for, all absent. */
static void add_rows(struct columns *columns, uint32_t more)
{
    for (uint32_t at = 0; at < columns->count && more > 0; at++) {
        memset(columns->columns[at].present + columns->rows, 0, more);
        memset(columns->columns[at].values + columns->rows, 0, more * sizeof(uint64_t));
    }
    columns->rows += more;
}

enum err columns_rows(struct columns *columns, uint32_t count)
{
    enum err err = columns_reserve(columns, count);

    if (err == ERR_OK)
        add_rows(columns, count);
    return err;
}

enum err columns_row(struct columns *columns)
{
    return columns_rows(columns, 1);
}

void columns_set(struct columns *columns, uint32_t at, uint64_t bits)
{
    struct column *column = &columns->columns[at];

    CHECK(at < columns->count);
    CHECK(columns->rows > 0);
    column->present[columns->rows - 1] = 1;
    column->values[columns->rows - 1] = bits;
}

enum err columns_set_string(struct columns *columns, uint32_t at, const void *data, size_t size)
{
    struct bytes *text;
    size_t offset;

    CHECK(at < columns->count);
    text = &columns->columns[at].text;
    offset = text->size;
    if (size > UINT32_MAX - offset)
        return err_set(ERR_LIMIT, "column %s: more than 4 GiB of text", columns->columns[at].name);
    bytes_put(text, data, size);
    if (text->failed) {
        text->failed = false;
        return err_set(ERR_NO_MEMORY, "column %s: %zu bytes of text", columns->columns[at].name,
                       offset + size);
    }
    columns_set(columns, at, column_string_make((uint32_t)offset, (uint32_t)size));
    return ERR_OK;
}

/* ---- Appending ----------------------------------------------------------------------------- */

/* Copy a column's rows behind `into`'s first `rows`. */
static enum err append_column(struct column *into, uint32_t rows, const struct column *from,
                              uint32_t more)
{
    uint32_t offset = (uint32_t)into->text.size;

    if (from->text.size > UINT32_MAX - into->text.size)
        return err_set(ERR_LIMIT, "column %s: more than 4 GiB of text", into->name);
    if (from->text.size > 0)
        bytes_put(&into->text, from->text.data, from->text.size);
    if (into->text.failed) {
        into->text.failed = false;
        return err_set(ERR_NO_MEMORY, "column %s: %zu bytes of text", into->name, from->text.size);
    }
    if (more == 0)
        return ERR_OK;
    memcpy(into->present + rows, from->present, more);
    memcpy(into->values + rows, from->values, more * sizeof *into->values);
    if (from->type == FIELD_STRING)
        for (uint32_t i = rows; i < rows + more; i++)
            if (into->present[i])
                into->values[i] += offset; /* The low half: the sum stays below 4 GiB. */
    return ERR_OK;
}

static struct slice name_of(const struct column *column)
{
    return (struct slice){column->name, strlen(column->name)};
}

/* Where the i-th column of one result stands in another: mostly at the same place. */
static enum err find_like(struct columns *into, uint32_t i, const struct column *column,
                          uint32_t *ret_at)
{
    *ret_at = i;
    if (i < into->count && into->columns[i].type == column->type &&
        is_column(&into->columns[i], name_of(column), column->kind))
        return ERR_OK;
    return columns_column(into, name_of(column), column->kind, column->type, ret_at);
}

enum err columns_append(struct columns *into, const struct columns *from)
{
    uint32_t rows = into->rows;
    enum err err = columns_reserve(into, from->rows);

    if (err != ERR_OK)
        return err;
    for (uint32_t i = 0; i < from->count; i++) {
        uint32_t at;

        err = find_like(into, i, &from->columns[i], &at);
        if (err != ERR_OK)
            return err;
    }
    add_rows(into, from->rows);
    for (uint32_t i = 0; i < from->count && err == ERR_OK; i++) {
        uint32_t at;

        err =
            find_like(into, i, &from->columns[i], &at); /* It is there: the first loop added it. */
        if (err == ERR_OK)
            err = append_column(&into->columns[at], rows, &from->columns[i], from->rows);
    }
    if (err != ERR_OK)
        into->rows = rows; /* As it was, but for columns without values. */
    return err;
}

/* ---- Bytes --------------------------------------------------------------------------------- */

static void encode_column(const struct column *column, uint32_t rows, uint64_t *values,
                          uint64_t *bitmap, struct bytes *out)
{
    struct bytes piece = {0};
    uint32_t count = 0;

    memset(bitmap, 0, column_words(rows) * sizeof *bitmap);
    for (uint32_t row = 0; row < rows; row++) {
        if (!column->present[row])
            continue;
        bitmap[row / 64] |= 1ull << row % 64;
        values[count++] = column->values[row];
    }
    bytes_put_string(out, column->name, strlen(column->name));
    bytes_put_u8(out, (uint8_t)column->kind);
    bytes_put_u8(out, (uint8_t)column->type);
    bytes_put_varint(out, count);
    if (count > 0) {
        column_put_presence(bitmap, rows, count, out);
        column_put_values(column->type, values, count, (const char *)column->text.data, &piece);
        bytes_put_string(out, piece.data, piece.size);
        out->failed |= piece.failed;
    }
    bytes_fini(&piece);
}

void columns_encode(const struct columns *columns, struct bytes *out)
{
    uint64_t *values = malloc((columns->rows + 1u) * sizeof *values);
    uint64_t *bitmap = malloc((column_words(columns->rows) + 1u) * sizeof *bitmap);

    bytes_put_u8(out, CODEC);
    bytes_put_varint(out, columns->count);
    bytes_put_varint(out, columns->rows);
    if (values == NULL || bitmap == NULL)
        out->failed = true;
    for (uint32_t at = 0; at < columns->count && !out->failed; at++)
        encode_column(&columns->columns[at], columns->rows, values, bitmap, out);
    free(values);
    free(bitmap);
}

/* The kind's only types; a name that can be a C string. */
static bool is_sound(struct slice name, uint8_t kind, uint8_t type)
{
    if (memchr(name.data, '\0', name.size) != NULL)
        return false;
    if (kind == COLUMN_TIME)
        return type == FIELD_INT;
    if (kind == COLUMN_TAG)
        return type == FIELD_STRING;
    return kind == COLUMN_FIELD && type > 0 && type < FIELD_TYPE_END;
}

static enum err decode_values(struct reader *reader, struct column *column, uint32_t rows,
                              uint32_t count)
{
    struct column_presence presence;
    struct reader piece;
    const char *text;
    const char *data;
    size_t size;

    column_find_presence(reader, rows, &presence);
    data = reader_string(reader, SIZE_MAX, &size);
    if (reader->bad || presence.values != count ||
        !column_get_presence(&presence, rows, column->present))
        return err_set(ERR_INVALID, "result: column %s: bad presence", column->name);
    piece = reader_on(data, size);
    column_get_values(&piece, column->type, count, column->values, &text);
    if (!reader_done(&piece))
        return err_set(ERR_INVALID, "result: column %s: bad values", column->name);
    column_spread(column->present, rows, count, column->values);
    if (text != NULL) {
        /* Strings start at 0 of `text` and end before the end of the piece. */
        bytes_put(&column->text, text, (size_t)(data + size - text));
        if (column->text.failed)
            return err_set(ERR_NO_MEMORY, "result: column %s: %zu bytes", column->name, size);
    }
    return ERR_OK;
}

static enum err decode_column(struct reader *reader, struct columns *columns)
{
    uint32_t before = columns->count;
    struct slice name;
    uint64_t count;
    uint8_t kind, type;
    uint32_t at;
    enum err err;

    name.data = reader_string(reader, NAME_SIZE_MAX, &name.size);
    kind = reader_u8(reader);
    type = reader_u8(reader);
    count = reader_varint(reader);
    if (reader->bad || !is_sound(name, kind, type) || count > columns->rows)
        return err_set(ERR_INVALID, "result: bad column %u", before);
    err = columns_column(columns, name, (enum column_kind)kind, (enum field_type)type, &at);
    if (err != ERR_OK)
        return err;
    if (at != before)
        return err_set(ERR_INVALID, "result: column %s twice", columns->columns[at].name);
    if (count == 0)
        return ERR_OK;
    return decode_values(reader, &columns->columns[at], columns->rows, (uint32_t)count);
}

enum err columns_decode(const void *bytes, size_t size, struct columns *ret_columns)
{
    struct reader reader = reader_on(bytes, size);
    struct columns columns = {0};
    uint8_t codec = reader_u8(&reader);
    uint64_t count = reader_varint(&reader);
    uint64_t rows = reader_varint(&reader);
    enum err err = ERR_OK;

    if (reader.bad || codec != CODEC || count > COLUMNS_MAX || rows > COLUMNS_ROWS_MAX ||
        count * rows > COLUMNS_CELLS_MAX)
        return err_set(ERR_INVALID,
                       "result: codec %u, %llu columns of %llu rows in %zu bytes: at most %d cells",
                       codec, (unsigned long long)count, (unsigned long long)rows, size,
                       COLUMNS_CELLS_MAX);
    columns.rows = (uint32_t)rows;
    columns.capacity = (uint32_t)rows;
    while (err == ERR_OK && columns.count < count)
        err = decode_column(&reader, &columns);
    if (err == ERR_OK && !reader_done(&reader))
        err = err_set(ERR_INVALID, "result: %zu bytes left over", reader_left(&reader));
    if (err != ERR_OK) {
        columns_fini(&columns);
        return err;
    }
    *ret_columns = columns;
    return ERR_OK;
}
