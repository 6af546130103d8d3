/*
 * Blocks: what was added comes out, in order, and no damage goes unnoticed.
 *
 * The property tests keep a model beside the builder: all rows in a plain array. A block read back
 * is held against the model's rows, sorted.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/block/block_builder.h"
#include "storage/block/block_newest.h"
#include "storage/block/block_reader.h"
#include "storage/block/column_string.h"
#include "tests/support/seed.h"
#include "tests/unit/storage/block/read_all.h"

/* ---- A model ------------------------------------------------------------------------------- */

enum {
    SERIES = 400,
    TABLES = 5,
    FIELDS = 7,
    ROWS = 20000,
    STRING_MAX = 20,
};

struct model_row {
    uint32_t series;
    int64_t time_ns;
    uint32_t at; /* In the order of adding. */
    uint8_t has; /* Bit a field. */
    uint64_t bits[FIELDS];
    char string[STRING_MAX];
    uint8_t string_size;
};

static struct model {
    uint64_t state;
    struct block_builder *builder;
    uint32_t count;
    struct model_row rows[ROWS];
    uint32_t handles[SERIES];
    bool seen[SERIES];
    uint32_t places[SERIES]; /* Found in the block: by series. */
    uint32_t series_of[SERIES];
} model;

static const char *const field_names[FIELDS] = {"z", "load", "count", "up", "total", "state", "aa"};
static const enum field_type field_types[FIELDS] = {
    FIELD_FLOAT, FIELD_FLOAT, FIELD_INT, FIELD_BOOL, FIELD_UINT, FIELD_STRING, FIELD_INT};

static uint32_t table_of(uint32_t series)
{
    return series % TABLES;
}

/* Even series are known. */
static uint32_t id_of(uint32_t series)
{
    return series % 2 == 0 ? 100000 - series * 7 : BLOCK_ID_NONE;
}

static size_t write_key(uint32_t series, char *key, size_t *ret_table_key_size)
{
    char table[16], host[16];
    struct tag tag = {{"host", 4}, {host, 0}};
    struct key_parts parts;
    size_t size;

    tag.value.size = (size_t)snprintf(host, sizeof host, "h%u", series);
    size = key_write((struct slice){"plant", 5},
                     (struct slice){table, (size_t)snprintf(table, sizeof table, "t%u",
                                                            TABLES - table_of(series))},
                     &tag, 1, key, KEY_SIZE_MAX);
    cr_assert_eq(key_parse(key, size, &parts), 0);
    *ret_table_key_size = parts.table_key_size;
    return size;
}

static uint32_t add_series(struct block_builder *builder, uint32_t series)
{
    char key[KEY_SIZE_MAX];
    size_t table_key_size;
    size_t size = write_key(series, key, &table_key_size);
    uint32_t handle;

    cr_assert_eq(block_builder_series(builder, key, size, table_key_size, key_hash(key, size),
                                      id_of(series), &handle),
                 ERR_OK, "%s", err_detail());
    return handle;
}

static void add_field(struct block_builder *builder, const struct model_row *row, uint32_t field)
{
    enum err err;

    if (field_types[field] == FIELD_STRING)
        err = block_builder_string(builder, field_names[field], strlen(field_names[field]),
                                   row->string, row->string_size);
    else
        err = block_builder_value(builder, field_names[field], strlen(field_names[field]),
                                  field_types[field], row->bits[field]);
    cr_assert_eq(err, ERR_OK, "%s", err_detail());
}

static void add_row(const struct model_row *row)
{
    uint32_t first =
        (uint32_t)seed_below(&model.state, 8) == 0 ? (uint32_t)seed_below(&model.state, FIELDS) : 0;

    if (!model.seen[row->series] || seed_below(&model.state, 2) == 0) {
        model.handles[row->series] = add_series(model.builder, row->series);
        model.seen[row->series] = true;
    }
    cr_assert_eq(block_builder_row(model.builder, model.handles[row->series], row->time_ns), ERR_OK,
                 "%s", err_detail());
    for (uint32_t i = 0; i < FIELDS; i++)
        if (row->has >> (first + i) % FIELDS & 1)
            add_field(model.builder, row, (first + i) % FIELDS);
}

static uint64_t random_bits(uint32_t field)
{
    uint64_t number = seed_next(&model.state);
    double decimal = (double)(number % 10000) / 100;
    uint64_t bits;

    memcpy(&bits, &decimal, sizeof bits);
    switch (field_types[field]) {
    case FIELD_FLOAT:
        return field == 0 ? number : bits;
    case FIELD_BOOL:
        return number & 1;
    default:
        return number >> (number & 63);
    }
}

/* How a turn's rows are: picked at random, so that all paths are met. */
struct shape {
    uint32_t series;
    uint64_t time_spread;
    int64_t time_step;
    uint8_t always; /* Fields that every row has. */
    bool undo;
};

static void random_row(const struct shape *shape, struct model_row *row)
{
    row->series = (uint32_t)seed_below(&model.state, shape->series);
    row->time_ns = 1700000000000000000 + (int64_t)model.count * shape->time_step +
                   (int64_t)seed_below(&model.state, shape->time_spread);
    row->at = model.count;
    row->has = (uint8_t)(shape->always | seed_next(&model.state)) & ((1u << FIELDS) - 1);
    if (seed_below(&model.state, 4) == 0)
        row->has = shape->always;
    for (uint32_t field = 0; field < FIELDS; field++)
        row->bits[field] = random_bits(field);
    row->string_size = (uint8_t)seed_below(&model.state, STRING_MAX);
    memset(row->string, 'a' + (int)seed_below(&model.state, 3), sizeof row->string);
}

static void fill(uint32_t rows, const struct shape *shape)
{
    model.count = 0;
    memset(model.seen, 0, sizeof model.seen);
    while (model.count < rows) {
        struct model_row *row = &model.rows[model.count];

        random_row(shape, row);
        add_row(row);
        if (shape->undo && seed_below(&model.state, 4) == 0)
            block_builder_undo_row(model.builder);
        else
            model.count++;
    }
    cr_assert_eq(block_builder_rows(model.builder), rows);
}

/* ---- Comparing ----------------------------------------------------------------------------- */

static void find_places(const struct block_view *view)
{
    size_t at = 0;
    uint32_t place = view->header.known;
    const char *key;
    size_t size;

    memset(model.places, 0xff, sizeof model.places);
    for (uint32_t i = 0; i < view->header.known; i++) {
        uint32_t series = (100000 - block_view_id(view, i)) / 7;

        model.places[series] = i;
        model.series_of[i] = series;
    }
    for (; block_view_next_key(view, &at, &key, &size); place++) {
        char want[KEY_SIZE_MAX];
        size_t table_key_size, host;
        uint32_t series;

        cr_assert_eq(block_view_id(view, place), BLOCK_ID_NONE);
        host = size - 1;
        while (key[host] != 'h')
            host--;
        series = 0;
        for (const char *digit = key + host + 1; digit < key + size; digit++)
            series = series * 10 + (uint32_t)(*digit - '0');
        cr_assert_lt(series, SERIES);
        cr_assert_eq(write_key(series, want, &table_key_size), size);
        cr_assert_eq(memcmp(want, key, size), 0);
        model.places[series] = place;
        model.series_of[place] = series;
    }
    cr_assert_eq(place, view->header.known + view->header.fresh);
}

static int compare_rows(const void *left, const void *right)
{
    const struct model_row *a = left, *b = right;
    uint32_t table_a = TABLES - table_of(a->series), table_b = TABLES - table_of(b->series);

    if (table_a != table_b)
        return table_a < table_b ? -1 : 1;
    if (a->series != b->series)
        return model.places[a->series] < model.places[b->series] ? -1 : 1;
    if (a->time_ns != b->time_ns)
        return a->time_ns < b->time_ns ? -1 : 1;
    return a->at < b->at ? -1 : 1;
}

static uint32_t number_of_field(struct slice name)
{
    for (uint32_t field = 0; field < FIELDS; field++)
        if (strlen(field_names[field]) == name.size &&
            memcmp(field_names[field], name.data, name.size) == 0)
            return field;
    cr_assert_fail("unknown field");
    return FIELDS;
}

static void check_field(struct block *block, uint32_t at, uint32_t field_at,
                        const struct model_row *rows, uint8_t *present, uint64_t *values)
{
    const struct block_section *section = block_section(block, at);
    const struct block_field *field = block_field(block, at, field_at);
    uint32_t number = number_of_field(field->name);
    const char *strings;
    uint32_t count = 0;

    cr_assert_eq(field->type, field_types[number]);
    cr_assert_eq(block_read_field(block, at, field_at, present, values, &strings), ERR_OK, "%s",
                 err_detail());
    for (uint32_t i = 0; i < section->rows; i++) {
        const struct model_row *row = &rows[i];

        cr_assert_eq(present[i], row->has >> number & 1, "row %u", i);
        count += present[i];
        if (!present[i]) {
            cr_assert_eq(values[i], 0);
        } else if (field->type == FIELD_STRING) {
            cr_assert_eq(column_string_size(values[i]), row->string_size);
            cr_assert_eq(
                memcmp(strings + column_string_offset(values[i]), row->string, row->string_size),
                0);
        } else {
            cr_assert_eq(values[i], row->bits[number], "row %u", i);
        }
    }
    cr_assert_eq(count, field->values);
}

/* The last runs alone, and their values of each field. */
static void check_some_runs(struct block *block, uint32_t at, const struct model_row *rows,
                            const uint32_t *counts, int64_t *times)
{
    const struct block_section *section = block_section(block, at);
    uint32_t first = section->runs * 2 / 3, start = 0;
    uint8_t *present = malloc(section->rows);
    uint64_t *values = malloc(section->rows * sizeof *values);
    const char *strings;

    cr_assert(present != NULL && values != NULL);
    for (uint32_t run = 0; run < first; run++)
        start += counts[run];
    memset(times, 0xee, section->rows * sizeof *times);
    cr_assert_eq(block_read_some_times(block, at, first, section->runs, times), ERR_OK);
    for (uint32_t row = start; row < section->rows; row++)
        cr_assert_eq(times[row], rows[row].time_ns);
    for (uint32_t field = 0; field < section->fields; field++) {
        uint32_t number = number_of_field(block_field(block, at, field)->name);

        cr_assert_eq(block_read_some_values(block, at, field, start, section->rows, present, values,
                                            &strings),
                     ERR_OK);
        for (uint32_t row = start; row < section->rows; row++) {
            cr_assert_eq(present[row], rows[row].has >> number & 1);
            if (present[row] && field_types[number] != FIELD_STRING)
                cr_assert_eq(values[row], rows[row].bits[number]);
        }
    }
    free(present);
    free(values);
}

static void check_runs(struct block *block, uint32_t at, const struct model_row *rows)
{
    const struct block_section *section = block_section(block, at);
    uint32_t *places = malloc(section->runs * sizeof *places);
    uint32_t *counts = malloc(section->runs * sizeof *counts);
    int64_t *times = malloc(section->rows * sizeof *times);
    uint32_t row = 0;

    cr_assert(places != NULL && counts != NULL && times != NULL);
    cr_assert_eq(block_read_runs(block, at, places, counts), ERR_OK, "%s", err_detail());
    cr_assert_eq(block_read_times(block, at, times), ERR_OK, "%s", err_detail());
    for (uint32_t run = 0; run < section->runs; run++)
        for (uint32_t i = 0; i < counts[run]; i++, row++) {
            cr_assert_eq(model.series_of[places[run]], rows[row].series);
            cr_assert_eq(times[row], rows[row].time_ns);
        }
    cr_assert_eq(row, section->rows);
    check_some_runs(block, at, rows, counts, times);
    free(places);
    free(counts);
    free(times);
}

/* The newest value of each field of each known series, alone. */
static void check_newest(const struct block_view *view, const struct model_row *rows)
{
    struct block_newest newest = {.room = NULL};
    uint32_t at = 0, end;

    if (!block_newest_open(&newest, 1, view)) {
        cr_assert_gt(view->header.body_raw_size, (uint32_t)BLOCK_NEWEST_RAW_MAX);
        return;
    }
    for (; at < model.count; at = end) {
        uint32_t series = rows[at].series;
        size_t table_key_size;
        char key[KEY_SIZE_MAX];

        for (end = at; end < model.count && rows[end].series == series;)
            end++;
        (void)write_key(series, key, &table_key_size);
        for (uint32_t field = 0; field < FIELDS && id_of(series) != BLOCK_ID_NONE; field++) {
            struct slice name = {field_names[field], strlen(field_names[field])};
            struct slice table_key = {key, table_key_size};
            struct block_newest_value value;
            enum column_newest found =
                block_newest(&newest, table_key, id_of(series), name, &value);
            uint32_t row = end;

            while (row > at && (rows[row - 1].has >> field & 1) == 0)
                row--;
            if (row == at || field_types[field] == FIELD_STRING) {
                cr_assert_eq(found, row == at ? COLUMN_NEWEST_NONE : COLUMN_NEWEST_ELSE);
                continue;
            }
            cr_assert_eq(found, COLUMN_NEWEST_FOUND, "%d", (int)found);
            cr_assert_eq(value.type, field_types[field]);
            cr_assert_eq(value.value.time_ns, rows[row - 1].time_ns);
            cr_assert_eq(value.value.bits, rows[row - 1].bits[field]);
        }
    }
    block_newest_fini(&newest);
}

/* Hold a block against the model's rows. */
static void check_block(const struct buf *buf, size_t headroom)
{
    struct block_view view;
    struct block *block;
    uint8_t *present = malloc(ROWS);
    uint64_t *values = malloc(ROWS * sizeof *values);
    uint32_t row = 0;

    cr_assert_eq(block_view(buf->bytes + headroom, buf->size - headroom, true, &view), ERR_OK, "%s",
                 err_detail());
    find_places(&view);
    qsort(model.rows, model.count, sizeof model.rows[0], compare_rows);
    cr_assert_eq(block_load(&view, &block), ERR_OK, "%s", err_detail());
    cr_assert(present != NULL && values != NULL);
    for (uint32_t at = 0; at < block_sections(block); at++) {
        const struct block_section *section = block_section(block, at);
        uint32_t fields = 0;

        check_runs(block, at, &model.rows[row]);
        for (uint32_t i = 0; i < section->rows; i++)
            fields |= model.rows[row + i].has;
        cr_assert_eq(section->fields, (uint32_t)__builtin_popcount(fields),
                     "%u fields, not %x, of %u rows", section->fields, fields, section->rows);
        for (uint32_t field = 0; field < section->fields; field++)
            check_field(block, at, field, &model.rows[row], present, values);
        row += section->rows;
    }
    cr_assert_eq(row, model.count);
    cr_assert_eq(view.header.rows, model.count);
    check_newest(&view, model.rows);
    block_free(block);
    free(present);
    free(values);
}

/* ---- Round trips --------------------------------------------------------------------------- */

/* One builder for all turns: what a block leaves behind must not show in the next one. */
Test(block, gives_back_all_rows_in_order, .timeout = 100)
{
    model.state = seed_of_run("block");
    cr_assert_eq(block_builder_new(&model.builder), ERR_OK);
    for (int turn = 0; turn < 150; turn++) {
        static const uint32_t sizes[] = {1, 2, 10, 47, 48, 300, 1024, 1025, 4000};
        struct shape shape = {
            .series = 1 + (uint32_t)seed_below(&model.state, SERIES),
            .time_spread = 1ull << seed_below(&model.state, 50),
            .time_step = (int64_t)seed_below(&model.state, 3) * 1000000,
            .always = seed_next(&model.state) & seed_next(&model.state) & ((1u << FIELDS) - 1),
            .undo = seed_below(&model.state, 3) == 0,
        };
        struct buf *buf;

        fill(sizes[seed_below(&model.state, sizeof sizes / sizeof sizes[0])], &shape);
        cr_assert_eq(block_builder_finish(model.builder, 64, &buf, NULL), ERR_OK, "%s",
                     err_detail());
        cr_assert_eq(block_builder_rows(model.builder), 0);
        cr_assert_eq(block_builder_points(model.builder), 0);
        cr_assert_eq(block_builder_bytes(model.builder), 0);
        check_block(buf, 64);
        buf_unref(buf);
    }
    block_builder_free(model.builder);
}

Test(block, gives_back_a_large_block, .timeout = 100)
{
    struct shape shape = {.series = SERIES, .time_spread = 1ull << 40, .always = 0x0f};
    struct buf *buf;

    model.state = seed_of_run("block");
    cr_assert_eq(block_builder_new(&model.builder), ERR_OK);
    fill(ROWS, &shape);
    cr_assert_eq(block_builder_finish(model.builder, 0, &buf, NULL), ERR_OK);
    check_block(buf, 0);
    buf_unref(buf);
    block_builder_free(model.builder);
}

/* The same rows make the same bytes, whatever the builder was used for before. */
Test(block, same_rows_make_the_same_bytes)
{
    struct shape shape = {.series = 50, .time_spread = 1000, .always = 1};
    struct buf *first, *second;

    cr_assert_eq(block_builder_new(&model.builder), ERR_OK);
    model.state = 42;
    fill(3000, &shape);
    cr_assert_eq(block_builder_finish(model.builder, 0, &first, NULL), ERR_OK);
    fill(100, &shape);
    block_builder_reset(model.builder);
    model.state = 42;
    fill(3000, &shape);
    cr_assert_eq(block_builder_finish(model.builder, 0, &second, NULL), ERR_OK);
    cr_assert_eq(first->size, second->size);
    cr_assert_eq(memcmp(first->bytes, second->bytes, first->size), 0);
    buf_unref(first);
    buf_unref(second);
    block_builder_free(model.builder);
}

/* ---- A small block ------------------------------------------------------------------------- */

/* Four series of two tables, seven rows of every type, with a duplicate and a gap. */
static struct buf *small_block(void)
{
    static const struct {
        uint32_t series;
        int64_t time_ns;
        double load;
    } rows[] = {{2, 1000, 1.25}, {4, 3000, -0.0}, {1, 500, 3},    {2, 500, 7.5},
                {2, 1000, 1.5},  {3, -1, 0.1},    {4, 1000, 9.75}};
    struct block_builder *builder;
    struct buf *buf;

    cr_assert_eq(block_builder_new(&builder), ERR_OK);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct model_row row = {.string = "idle", .string_size = (uint8_t)(i % 5)};

        memcpy(&row.bits[1], &rows[i].load, sizeof rows[i].load);
        row.bits[2] = i * 1000;
        row.bits[3] = i % 2;
        cr_assert_eq(block_builder_row(builder, add_series(builder, rows[i].series % 3 + 1),
                                       rows[i].time_ns),
                     ERR_OK);
        for (uint32_t field = 1; field < 6; field++)
            if (field != i % 5)
                add_field(builder, &row, field);
    }
    cr_assert_eq(block_builder_finish(builder, 0, &buf, NULL), ERR_OK, "%s", err_detail());
    block_builder_free(builder);
    return buf;
}

Test(block, view_notices_every_flipped_bit)
{
    struct buf *buf = small_block();
    struct block_view view;

    for (size_t bit = 0; bit < buf->size * 8; bit++) {
        buf->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(block_view(buf->bytes, buf->size, true, &view), ERR_CORRUPT, "bit %zu", bit);
        buf->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    cr_assert_eq(block_view(buf->bytes, buf->size, true, &view), ERR_OK);
    buf_unref(buf);
}

Test(block, view_notices_every_truncation_and_extension)
{
    struct buf *buf = small_block();
    struct block_view view;

    for (size_t kept = 0; kept <= buf->size + 1; kept++) {
        uint8_t *part = calloc(1, kept + 1);

        cr_assert_not_null(part);
        memcpy(part, buf->bytes, kept < buf->size ? kept : buf->size);
        cr_assert_eq(block_view(part, kept, true, &view), kept == buf->size ? ERR_OK : ERR_CORRUPT,
                     "%zu bytes", kept);
        free(part);
    }
    buf_unref(buf);
}

/* A forger fixes the checksums. Every function must then stay inside the bytes. */
Test(block, reading_stays_inside_forged_bytes, .timeout = 100)
{
    struct buf *buf = small_block();
    struct block_header header;
    uint8_t *bytes = malloc(buf->size);

    cr_assert_not_null(bytes);
    for (size_t at = 8; at < buf->size; at++) {
        for (unsigned value = 0; value < 256; value++) {
            enum err err;

            memcpy(bytes, buf->bytes, buf->size);
            bytes[at] = (uint8_t)value;
            memcpy(&header, bytes, sizeof header);
            if (header.directory_size <= buf->size - sizeof header)
                header.directory_crc = crc32c(0, bytes + sizeof header, header.directory_size);
            header.header_crc = block_header_crc(&header);
            memcpy(bytes, &header, sizeof header);
            err = read_all(bytes, buf->size);
            cr_assert(err == ERR_OK || err == ERR_CORRUPT, "byte %zu: %s", at, err_name(err));
        }
    }
    free(bytes);
    buf_unref(buf);
}

/* ---- Stamping ------------------------------------------------------------------------------ */

Test(block, stamp_fills_the_slots_and_keeps_the_body)
{
    struct buf *buf = small_block();
    struct block_view view, after;
    uint32_t ids[SERIES];

    cr_assert_eq(block_view(buf->bytes, buf->size, true, &view), ERR_OK);
    cr_assert_eq(view.header.known, 1);
    cr_assert_eq(view.header.fresh, 2);
    for (uint32_t i = 0; i < view.header.fresh; i++)
        ids[i] = 5000 + i;
    block_stamp(buf->bytes, &view, ids);
    cr_assert_eq(block_view(buf->bytes, buf->size, true, &after), ERR_OK, "%s", err_detail());
    cr_assert_eq(memcmp(&after, &view, sizeof view), 0);
    cr_assert_eq(block_view_id(&after, 1), 5000);
    cr_assert_eq(block_view_id(&after, 2), 5001);
    cr_assert_eq(read_all(buf->bytes, buf->size), ERR_OK);
    buf_unref(buf);
}

/* ---- Directory ----------------------------------------------------------------------------- */

/* Ids of any spread, from neighbours to all of the 32 bits, are each found at their place. */
Test(block, gives_back_each_known_id)
{
    static const uint32_t counts[] = {1, 2, 31, 32, 33, 64, 1000, 4096};
    uint64_t state = seed_of_run("block");
    struct block_builder *builder;

    cr_assert_eq(block_builder_new(&builder), ERR_OK);
    for (int turn = 0; turn < 200; turn++) {
        uint32_t count = counts[seed_below(&state, 8)];
        unsigned shift = (unsigned)seed_below(&state, 31);
        uint32_t *ids = malloc(count * sizeof *ids);
        uint32_t id = (uint32_t)seed_below(&state, 1000);
        struct block_view view;
        struct buf *buf;

        cr_assert_not_null(ids);
        for (uint32_t i = 0; i < count; i++) {
            char key[KEY_SIZE_MAX];
            size_t table_key_size, size = write_key(i, key, &table_key_size);
            uint32_t room = (BLOCK_ID_NONE - 1 - id) / (count - i);
            uint32_t series;

            id += 1 + (uint32_t)seed_below(&state, room >> shift);
            ids[i] = id;
            cr_assert_eq(block_builder_series(builder, key, size, table_key_size,
                                              key_hash(key, size), id, &series),
                         ERR_OK);
            cr_assert_eq(block_builder_row(builder, series, i), ERR_OK);
        }
        cr_assert_eq(block_builder_finish(builder, 0, &buf, NULL), ERR_OK);
        cr_assert_eq(block_view(buf->bytes, buf->size, true, &view), ERR_OK, "%s", err_detail());
        cr_assert_eq(view.header.known, count);
        for (uint32_t i = 0; i < count; i++)
            cr_assert_eq(block_view_id(&view, i), ids[i], "%u of %u", i, count);
        free(ids);
        buf_unref(buf);
    }
    block_builder_free(builder);
}

/* ---- Golden bytes -------------------------------------------------------------------------- */

/* Bytes that a version has written stay readable for ever, and are written again the same.
 * GOLDEN_WRITE=1 makes the file anew: only when the version changes. */
Test(block, bytes_are_those_of_version_2)
{
    struct buf *buf = small_block();
    char path[4096];
    uint8_t *golden = malloc(buf->size + 1);
    FILE *file;

    cr_assert_not_null(golden);
    (void)snprintf(path, sizeof path, "%s/block_v2.bin", GOLDEN_DIR);
    if (getenv("GOLDEN_WRITE") != NULL) {
        file = fopen(path, "wb");
        cr_assert_not_null(file);
        cr_assert_eq(fwrite(buf->bytes, 1, buf->size, file), buf->size);
        cr_assert_eq(fclose(file), 0);
    }
    file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    cr_assert_eq(fread(golden, 1, buf->size + 1, file), buf->size);
    (void)fclose(file);
    cr_assert_eq(memcmp(golden, buf->bytes, buf->size), 0);
    cr_assert_eq(read_all(golden, buf->size), ERR_OK, "%s", err_detail());
    free(golden);
    buf_unref(buf);
}
