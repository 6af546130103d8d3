#include "storage/block/block_trim.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/bytes.h"
#include "storage/block/block_builder.h"
#include "storage/block/block_reader.h"

/* A field's values that are there, row by row. */
struct trim_field {
    struct block_field field;
    uint32_t *rows; /* Owned: ascending. */
    uint64_t *bits; /* Owned; strings: offset and size in `text`, as the reader gives them. */
    struct bytes text;
    uint32_t count, at;
};

struct trim {
    struct block_view view;
    struct block *block;
    struct block_builder *builder;
    int64_t from_ns;

    struct slice *keys;  /* Owned: of fresh series. */
    uint32_t *fresh_of;  /* Owned: series of the builder -> fresh key of the whole block. */
    uint32_t fresh_room; /* Series that fresh_of has room for. */

    /* The section under way; all owned. */
    uint32_t *places, *counts;
    int64_t *times_ns;
    uint8_t *present;
    uint64_t *values;
    struct trim_field *fields;
    uint32_t field_count;
};

static enum err no_memory(uint32_t rows)
{
    return err_set(ERR_NO_MEMORY, "trimming a block of %u rows", rows);
}

/* ---- Reading ------------------------------------------------------------------------------- */

static void free_section(struct trim *trim)
{
    for (uint32_t i = 0; i < trim->field_count; i++) {
        free(trim->fields[i].rows);
        free(trim->fields[i].bits);
        bytes_fini(&trim->fields[i].text);
    }
    free(trim->fields);
    free(trim->places);
    free(trim->counts);
    free(trim->times_ns);
    free(trim->present);
    free(trim->values);
    trim->fields = NULL;
    trim->field_count = 0;
    trim->places = trim->counts = NULL;
    trim->times_ns = NULL;
    trim->present = NULL;
    trim->values = NULL;
}

static enum err read_field(struct trim *trim, uint32_t section, uint32_t rows,
                           struct trim_field *field)
{
    const char *strings = NULL;
    enum err err = block_read_field(trim->block, section, (uint32_t)(field - trim->fields),
                                    trim->present, trim->values, &strings);

    if (err != ERR_OK)
        return err;
    field->rows = malloc((field->field.values + 1u) * sizeof *field->rows);
    field->bits = malloc((field->field.values + 1u) * sizeof *field->bits);
    if (field->rows == NULL || field->bits == NULL)
        return no_memory(rows);
    for (uint32_t row = 0; row < rows; row++) {
        uint64_t bits = trim->values[row];

        if (!trim->present[row] || trim->times_ns[row] < trim->from_ns)
            continue;
        if (strings != NULL) {
            uint64_t offset = field->text.size;

            bytes_put(&field->text, strings + (uint32_t)bits, (size_t)(bits >> 32));
            bits = (bits >> 32) << 32 | offset;
        }
        field->rows[field->count] = row;
        field->bits[field->count++] = bits;
    }
    return field->text.failed ? no_memory(rows) : ERR_OK;
}

static enum err read_section(struct trim *trim, uint32_t at)
{
    const struct block_section *section = block_section(trim->block, at);
    enum err err;

    trim->places = malloc((section->runs + 1u) * sizeof *trim->places);
    trim->counts = malloc((section->runs + 1u) * sizeof *trim->counts);
    trim->times_ns = malloc((section->rows + 1u) * sizeof *trim->times_ns);
    trim->present = malloc(section->rows + 1u);
    trim->values = malloc((section->rows + 1u) * sizeof *trim->values);
    trim->fields = calloc(section->fields + 1u, sizeof *trim->fields);
    if (trim->places == NULL || trim->counts == NULL || trim->times_ns == NULL ||
        trim->present == NULL || trim->values == NULL || trim->fields == NULL)
        return no_memory(section->rows);
    trim->field_count = section->fields;
    err = block_read_runs(trim->block, at, trim->places, trim->counts);
    if (err == ERR_OK)
        err = block_read_times(trim->block, at, trim->times_ns);
    for (uint32_t i = 0; i < section->fields && err == ERR_OK; i++) {
        trim->fields[i].field = *block_field(trim->block, at, i);
        err = read_field(trim, at, section->rows, &trim->fields[i]);
    }
    return err;
}

/* ---- Building ------------------------------------------------------------------------------ */

static enum err add_series(struct trim *trim, const struct block_section *section, uint32_t place,
                           uint32_t *ret_series)
{
    uint32_t known = trim->view.header.known;
    enum err err;

    if (place < known) {
        uint32_t id = block_view_id(&trim->view, place);

        /* What tells series with ids apart is their hash, and another place is another series. */
        return block_builder_series(trim->builder, section->table_key, section->table_key_size,
                                    section->table_key_size, key_hash(&place, sizeof place), id,
                                    ret_series);
    }
    if (place - known >= trim->view.header.fresh)
        return err_set(ERR_CORRUPT, "a run of place %u", place);
    err = block_builder_series(
        trim->builder, trim->keys[place - known].data, trim->keys[place - known].size,
        section->table_key_size,
        key_hash(trim->keys[place - known].data, trim->keys[place - known].size), BLOCK_ID_NONE,
        ret_series);
    if (err == ERR_OK && *ret_series < trim->fresh_room)
        trim->fresh_of[*ret_series] = place - known;
    return err;
}

static enum err add_row(struct trim *trim, uint32_t series, uint32_t row)
{
    enum err err = block_builder_row(trim->builder, series, trim->times_ns[row]);

    for (uint32_t i = 0; i < trim->field_count && err == ERR_OK; i++) {
        struct trim_field *field = &trim->fields[i];
        struct slice name = field->field.name;
        uint64_t bits;

        if (field->at == field->count || field->rows[field->at] != row)
            continue;
        bits = field->bits[field->at++];
        if (field->field.type == FIELD_STRING)
            err = block_builder_string(
                trim->builder, name.data, name.size,
                bits >> 32 > 0 ? (const char *)field->text.data + (uint32_t)bits : "",
                (size_t)(bits >> 32));
        else
            err = block_builder_value(trim->builder, name.data, name.size, field->field.type, bits);
    }
    return err;
}

static enum err add_section(struct trim *trim, uint32_t at)
{
    const struct block_section *section = block_section(trim->block, at);
    uint32_t row = 0;
    enum err err = read_section(trim, at);

    for (uint32_t run = 0; run < section->runs && err == ERR_OK; run++) {
        uint32_t series = BLOCK_ID_NONE;

        for (uint32_t end = row + trim->counts[run]; row < end && err == ERR_OK; row++) {
            if (trim->times_ns[row] < trim->from_ns)
                continue;
            if (series == BLOCK_ID_NONE)
                err = add_series(trim, section, trim->places[run], &series);
            if (err == ERR_OK)
                err = add_row(trim, series, row);
        }
    }
    free_section(trim);
    return err;
}

static enum err find_keys(struct trim *trim)
{
    uint32_t fresh = trim->view.header.fresh, count = 0;
    size_t at = 0;

    trim->fresh_room = fresh + trim->view.header.known;
    trim->keys = malloc((fresh + 1u) * sizeof *trim->keys);
    trim->fresh_of = malloc((trim->fresh_room + 1u) * sizeof *trim->fresh_of);
    if (trim->keys == NULL || trim->fresh_of == NULL)
        return no_memory(trim->view.header.rows);
    while (count < fresh &&
           block_view_next_key(&trim->view, &at, &trim->keys[count].data, &trim->keys[count].size))
        count++;
    return ERR_OK;
}

static enum err finish(struct trim *trim, size_t headroom, struct block_trimmed *ret)
{
    struct block_trimmed done = {.rows = block_builder_rows(trim->builder),
                                 .points = block_builder_points(trim->builder)};
    struct block_header header;
    enum err err;

    if (done.rows == 0) {
        *ret = done;
        return ERR_OK;
    }
    done.fresh = malloc((trim->fresh_room + 1u) * sizeof *done.fresh);
    if (done.fresh == NULL)
        return no_memory(done.rows);
    err = block_builder_finish(trim->builder, headroom, &done.buf, done.fresh);
    if (err != ERR_OK) {
        free(done.fresh);
        return err;
    }
    memcpy(&header, done.buf->bytes + headroom, sizeof header);
    done.fresh_count = header.fresh;
    for (uint32_t i = 0; i < header.fresh; i++)
        done.fresh[i] = trim->fresh_of[done.fresh[i]];
    *ret = done;
    return ERR_OK;
}

enum err block_trim(const void *block, size_t size, int64_t from_ns, size_t headroom,
                    struct block_trimmed *ret)
{
    struct trim trim = {.from_ns = from_ns};
    enum err err = block_view(block, size, true, &trim.view);

    if (err == ERR_OK)
        err = block_load(&trim.view, &trim.block);
    if (err == ERR_OK)
        err = block_builder_new(&trim.builder);
    if (err == ERR_OK)
        err = find_keys(&trim);
    for (uint32_t i = 0; err == ERR_OK && i < block_sections(trim.block); i++)
        err = add_section(&trim, i);
    if (err == ERR_OK)
        err = finish(&trim, headroom, ret);
    free_section(&trim);
    free(trim.keys);
    free(trim.fresh_of);
    block_builder_free(trim.builder);
    block_free(trim.block);
    return err;
}
