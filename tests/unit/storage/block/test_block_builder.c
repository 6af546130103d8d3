/*
 * What the builder promises beside the bytes: series and their places, limits, and that an error
 * costs no row. test_block.c reads whole blocks back.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "storage/block/block_builder.h"
#include "storage/block/block_reader.h"
#include "storage/block/column_string.h"
#include "storage/block/entry.h"
#include "tests/support/seed.h"
#include "tests/unit/storage/block/read_all.h"

enum { SERIES = 400 };

/* Even series are known; the higher the number, the lower the id. */
static uint32_t id_of(uint32_t series)
{
    return series % 2 == 0 ? 100000 - series * 7 : BLOCK_ID_NONE;
}

static size_t write_key(uint32_t series, char *key, size_t *ret_table_key_size)
{
    char host[16];
    struct tag tag = {{"host", 4}, {host, 0}};
    struct key_parts parts;
    size_t size;

    tag.value.size = (size_t)snprintf(host, sizeof host, "h%u", series);
    size =
        key_write((struct slice){"plant", 5}, (struct slice){"cpu", 3}, &tag, 1, key, KEY_SIZE_MAX);
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

/* ---- Series ------------------------------------------------------------------------------ */

Test(block_builder, finish_says_which_series_are_fresh)
{
    struct block_builder *builder;
    uint32_t handles[SERIES], fresh[SERIES], count = 0;
    struct block_view view;
    struct buf *buf;

    cr_assert_eq(block_builder_new(&builder), ERR_OK);
    for (uint32_t series = 0; series < SERIES; series++) {
        handles[series] = add_series(builder, series);
        cr_assert_eq(add_series(builder, series), handles[series]);
    }
    cr_assert_eq(block_builder_finish(builder, 0, &buf, fresh), ERR_OK);
    for (uint32_t series = 0; series < SERIES; series++)
        if (id_of(series) == BLOCK_ID_NONE)
            cr_assert_eq(fresh[count++], handles[series]);
    cr_assert_eq(block_view(buf->bytes, buf->size, true, &view), ERR_OK, "%s", err_detail());
    cr_assert_eq(view.header.rows, 0);
    cr_assert_eq(view.header.fresh, count);
    cr_assert_eq(view.header.known, SERIES - count);
    cr_assert_eq(read_all(buf->bytes, buf->size), ERR_OK);
    buf_unref(buf);
    block_builder_free(builder);
}

Test(block_builder, series_that_became_known_is_written_as_known)
{
    struct block_builder *builder;
    struct block_view view;
    struct buf *buf;
    char key[KEY_SIZE_MAX];
    size_t table_key_size, size = write_key(1, key, &table_key_size);
    uint32_t first, second;

    cr_assert_eq(block_builder_new(&builder), ERR_OK);
    cr_assert_eq(block_builder_series(builder, key, size, table_key_size, 9, BLOCK_ID_NONE, &first),
                 ERR_OK);
    cr_assert_eq(block_builder_series(builder, key, size, table_key_size, 9, 77, &second), ERR_OK);
    cr_assert_eq(first, second);
    cr_assert_eq(block_builder_finish(builder, 0, &buf, NULL), ERR_OK);
    cr_assert_eq(block_view(buf->bytes, buf->size, true, &view), ERR_OK);
    cr_assert_eq(view.header.known, 1);
    cr_assert_eq(view.header.fresh, 0);
    cr_assert_eq(block_view_id(&view, 0), 77);
    buf_unref(buf);
    block_builder_free(builder);
}

/* A series that lost its id (a stale cache was cleared) gets a second place; readers merge. */
Test(block_builder, series_that_is_no_longer_known_gets_a_place_of_its_own)
{
    struct block_builder *builder;
    struct block_view view;
    struct buf *buf;
    char key[KEY_SIZE_MAX];
    size_t table_key_size, size = write_key(1, key, &table_key_size);
    uint32_t first, second, third;

    cr_assert_eq(block_builder_new(&builder), ERR_OK);
    cr_assert_eq(block_builder_series(builder, key, size, table_key_size, 9, 77, &first), ERR_OK);
    cr_assert_eq(
        block_builder_series(builder, key, size, table_key_size, 9, BLOCK_ID_NONE, &second),
        ERR_OK);
    cr_assert_eq(block_builder_series(builder, key, size, table_key_size, 9, 77, &third), ERR_OK);
    cr_assert_neq(first, second);
    cr_assert_eq(block_builder_finish(builder, 0, &buf, NULL), ERR_OK);
    cr_assert_eq(block_view(buf->bytes, buf->size, true, &view), ERR_OK, "%s", err_detail());
    cr_assert_eq(view.header.known + view.header.fresh, 2);
    buf_unref(buf);
    block_builder_free(builder);
}

/* ---- What the builder refuses -------------------------------------------------------------- */

Test(block_builder, names_both_types_of_a_conflict_and_keeps_the_row)
{
    struct block_builder *builder;

    cr_assert_eq(block_builder_new(&builder), ERR_OK);
    cr_assert_eq(block_builder_row(builder, add_series(builder, 1), 1), ERR_OK);
    cr_assert_eq(block_builder_value(builder, "a", 1, FIELD_FLOAT, 0), ERR_OK);
    cr_assert_eq(block_builder_value(builder, "a", 1, FIELD_INT, 0), ERR_TYPE_CONFLICT);
    cr_assert(strstr(err_detail(), "float") != NULL && strstr(err_detail(), "integer") != NULL);
    cr_assert_eq(block_builder_string(builder, "a", 1, "x", 1), ERR_TYPE_CONFLICT);
    cr_assert_eq(block_builder_rows(builder), 1);
    cr_assert_eq(block_builder_points(builder), 1);
    block_builder_free(builder);
}

/* A bad line must not decide the type for the good ones after it. */
Test(block_builder, undone_row_leaves_no_type_behind)
{
    struct block_builder *builder;
    struct block_view view;
    struct buf *buf;

    cr_assert_eq(block_builder_new(&builder), ERR_OK);
    cr_assert_eq(block_builder_row(builder, add_series(builder, 1), 1), ERR_OK);
    cr_assert_eq(block_builder_value(builder, "a", 1, FIELD_FLOAT, 0), ERR_OK);
    block_builder_undo_row(builder);
    cr_assert_eq(block_builder_points(builder), 0);
    cr_assert_eq(block_builder_row(builder, add_series(builder, 1), 2), ERR_OK);
    cr_assert_eq(block_builder_string(builder, "a", 1, "x", 1), ERR_OK, "%s", err_detail());
    cr_assert_eq(block_builder_finish(builder, 0, &buf, NULL), ERR_OK);
    cr_assert_eq(block_view(buf->bytes, buf->size, true, &view), ERR_OK);
    cr_assert_eq(view.header.time_min_ns, 2);
    cr_assert_eq(view.header.time_max_ns, 2);
    cr_assert_eq(view.header.rows, 1);
    cr_assert_eq(view.header.points, 1);
    buf_unref(buf);
    block_builder_free(builder);
}

Test(block_builder, keeps_the_later_of_a_name_given_twice)
{
    struct block_builder *builder;
    struct block_view view;
    struct block *block;
    struct buf *buf;
    uint8_t present;
    uint64_t value;
    const char *strings;

    cr_assert_eq(block_builder_new(&builder), ERR_OK);
    cr_assert_eq(block_builder_row(builder, add_series(builder, 1), 1), ERR_OK);
    cr_assert_eq(block_builder_value(builder, "a", 1, FIELD_INT, 5), ERR_OK);
    cr_assert_eq(block_builder_string(builder, "s", 1, "first", 5), ERR_OK);
    cr_assert_eq(block_builder_value(builder, "a", 1, FIELD_INT, 6), ERR_OK);
    cr_assert_eq(block_builder_string(builder, "s", 1, "second", 6), ERR_OK);
    cr_assert_eq(block_builder_points(builder), 2);
    cr_assert_eq(block_builder_finish(builder, 0, &buf, NULL), ERR_OK);
    cr_assert_eq(block_view(buf->bytes, buf->size, true, &view), ERR_OK);
    cr_assert_eq(block_load(&view, &block), ERR_OK, "%s", err_detail());
    cr_assert_eq(block_read_field(block, 0, 0, &present, &value, &strings), ERR_OK);
    cr_assert_eq(value, 6);
    cr_assert_null(strings);
    cr_assert_eq(block_read_field(block, 0, 1, &present, &value, &strings), ERR_OK);
    cr_assert_eq(column_string_size(value), 6);
    cr_assert_eq(memcmp(strings + column_string_offset(value), "second", 6), 0);
    block_free(block);
    buf_unref(buf);
    block_builder_free(builder);
}

Test(block_builder, refuses_rows_fields_and_tables_past_the_limits, .timeout = 100)
{
    struct block_builder *builder;
    struct buf *buf;
    char name[NAME_SIZE_MAX + 1] = {0};
    uint32_t series;

    cr_assert_eq(block_builder_new(&builder), ERR_OK);
    series = add_series(builder, 1);
    for (int i = 0; i < BLOCK_ROWS_MAX; i++)
        cr_assert_eq(block_builder_row(builder, series, i), ERR_OK);
    cr_assert_eq(block_builder_row(builder, series, 0), ERR_LIMIT);
    cr_assert_eq(block_builder_finish(builder, 0, &buf, NULL), ERR_OK);
    cr_assert_eq(read_all(buf->bytes, buf->size), ERR_OK, "%s", err_detail());
    buf_unref(buf);

    cr_assert_eq(block_builder_row(builder, add_series(builder, 1), 1), ERR_OK);
    for (int i = 0; i < FIELD_COUNT_MAX; i++)
        cr_assert_eq(block_builder_value(builder, name,
                                         (size_t)snprintf(name, sizeof name, "f%d", i), FIELD_INT,
                                         1),
                     ERR_OK);
    cr_assert_eq(block_builder_value(builder, "one more", 8, FIELD_INT, 1), ERR_LIMIT);
    cr_assert_eq(block_builder_value(builder, "f7", 2, FIELD_INT, 1), ERR_OK);
    cr_assert_eq(block_builder_value(builder, name, sizeof name, FIELD_INT, 1), ERR_LIMIT);
    cr_assert_eq(block_builder_value(builder, name, 0, FIELD_INT, 1), ERR_LIMIT);
    cr_assert_eq(block_builder_finish(builder, 0, &buf, NULL), ERR_OK);
    cr_assert_eq(read_all(buf->bytes, buf->size), ERR_OK, "%s", err_detail());
    buf_unref(buf);

    for (uint32_t i = 0; i <= BLOCK_TABLES_MAX; i++) {
        char key[64], table[16];
        size_t size =
            key_write_table((struct slice){"db", 2},
                            (struct slice){table, (size_t)snprintf(table, sizeof table, "t%u", i)},
                            key, sizeof key);
        enum err err =
            block_builder_series(builder, key, size, size, key_hash(key, size), i, &series);

        cr_assert_eq(err, i < BLOCK_TABLES_MAX ? ERR_OK : ERR_LIMIT);
        if (err == ERR_OK)
            cr_assert_eq(block_builder_row(builder, series, i), ERR_OK);
    }
    cr_assert_eq(block_builder_finish(builder, 0, &buf, NULL), ERR_OK);
    cr_assert_eq(read_all(buf->bytes, buf->size), ERR_OK, "%s", err_detail());
    buf_unref(buf);
    block_builder_free(builder);
}

/* Whatever the rows hold, a block that was accepted can be finished and fits an entry. */
Test(block_builder, finish_fits_an_entry_however_large_the_rows, .timeout = 100)
{
    enum { BIG = 1 << 20 };
    struct block_builder *builder;
    struct buf *buf;
    char *noise = malloc(BIG);
    uint64_t state = seed_of_run("block_builder");
    enum err err = ERR_OK;
    uint32_t series;

    cr_assert_not_null(noise);
    for (size_t i = 0; i < BIG; i++)
        noise[i] = (char)seed_next(&state);
    cr_assert_eq(block_builder_new(&builder), ERR_OK);
    series = add_series(builder, 1);
    for (int64_t row = 0; err == ERR_OK; row++) {
        err = block_builder_row(builder, series, row);
        for (int field = 0; err == ERR_OK && field < 7; field++) {
            char name[8];

            err = block_builder_string(builder, name,
                                       (size_t)snprintf(name, sizeof name, "s%d", field), noise,
                                       BIG - (size_t)row);
        }
    }
    cr_assert_eq(err, ERR_LIMIT, "%s", err_name(err));
    cr_assert_eq(block_builder_finish(builder, sizeof(struct entry_header), &buf, NULL), ERR_OK,
                 "%s", err_detail());
    cr_assert_leq(buf->size, ENTRY_SIZE_MAX);
    buf_unref(buf);

    cr_assert_eq(block_builder_row(builder, add_series(builder, 1), 0), ERR_OK);
    for (int field = 0; err != ERR_TOO_LARGE; field++) {
        char name[8];

        cr_assert_lt(field, 20);
        err = block_builder_string(builder, name, (size_t)snprintf(name, sizeof name, "s%d", field),
                                   noise, BIG);
    }
    block_builder_undo_row(builder);
    cr_assert_eq(block_builder_rows(builder), 0);
    block_builder_free(builder);
    free(noise);
}

/* A sanitizer keeps memory of its own and cannot live with a limit. */
#if !defined(__SANITIZE_ADDRESS__) && !defined(__clang__)

/* Let the process have `more` bytes more than it has now. */
static void limit_memory(size_t more)
{
    struct rlimit limit;
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");

    cr_assert_not_null(file);
    cr_assert_eq(fscanf(file, "%lu", &pages), 1);
    (void)fclose(file);
    cr_assert_eq(getrlimit(RLIMIT_AS, &limit), 0);
    limit.rlim_cur = more == SIZE_MAX ? limit.rlim_max : pages * 4096 + more;
    cr_assert_eq(setrlimit(RLIMIT_AS, &limit), 0);
}

Test(block_builder, keeps_its_rows_when_there_is_no_memory)
{
    struct block_builder *builder;
    struct buf *buf;
    struct block_view view;
    char noise[4096];
    uint64_t state = 1;
    enum err err = ERR_OK;
    uint32_t series, rows = 0;

    for (size_t i = 0; i < sizeof noise; i++)
        noise[i] = (char)seed_next(&state);
    cr_assert_eq(block_builder_new(&builder), ERR_OK);
    series = add_series(builder, 1);
    limit_memory(4 << 20);
    while (err == ERR_OK) {
        err = block_builder_row(builder, series, rows);
        if (err == ERR_OK) {
            rows++;
            err = block_builder_string(builder, "noise", 5, noise, sizeof noise);
        }
    }
    cr_assert_eq(err, ERR_NO_MEMORY, "%s after %u rows", err_name(err), rows);
    cr_assert_eq(block_builder_rows(builder), rows);
    limit_memory(0);
    cr_assert_eq(block_builder_finish(builder, 0, &buf, NULL), ERR_NO_MEMORY);
    cr_assert_eq(block_builder_rows(builder), rows);
    limit_memory(SIZE_MAX);
    cr_assert_eq(block_builder_finish(builder, 0, &buf, NULL), ERR_OK, "%s", err_detail());
    cr_assert_eq(block_view(buf->bytes, buf->size, true, &view), ERR_OK);
    cr_assert_eq(view.header.rows, rows);
    cr_assert_eq(read_all(buf->bytes, buf->size), ERR_OK, "%s", err_detail());
    buf_unref(buf);
    block_builder_free(builder);
}

#endif
