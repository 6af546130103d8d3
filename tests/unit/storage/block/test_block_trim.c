/*
 * Trimmed blocks are those that the young rows would have made by themselves.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/block/block_builder.h"
#include "storage/block/block_reader.h"
#include "storage/block/block_trim.h"
#include "tests/support/seed.h"

enum { SERIES = 30, TIMES = 40, HEADROOM = 64 };

struct row {
    uint32_t series, has;
    int64_t time_ns;
    uint64_t bits;
};

static void add_row(struct block_builder *builder, const struct row *row)
{
    char host[16], table[8], text[8], key[KEY_SIZE_MAX];
    struct tag tag = {{"host", 4}, {host, 0}};
    struct key_parts parts;
    uint32_t series, id = row->series % 3 == 0 ? BLOCK_ID_NONE : row->series;
    size_t size;

    tag.value.size = (size_t)snprintf(host, sizeof host, "h%02u", row->series);
    size = key_write(
        (struct slice){"db", 2},
        (struct slice){table, (size_t)snprintf(table, sizeof table, "t%u", row->series % 2)}, &tag,
        1, key, sizeof key);
    cr_assert_eq(key_parse(key, size, &parts), 0);
    cr_assert_eq(block_builder_series(builder, key, size, parts.table_key_size, key_hash(key, size),
                                      id, &series),
                 ERR_OK);
    cr_assert_eq(block_builder_row(builder, series, row->time_ns), ERR_OK);
    if (row->has & 1)
        cr_assert_eq(block_builder_value(builder, "f", 1, FIELD_FLOAT, row->bits), ERR_OK);
    if (row->has & 2)
        cr_assert_eq(block_builder_value(builder, "n", 1, FIELD_INT, row->bits), ERR_OK);
    if (row->has & 4)
        cr_assert_eq(block_builder_string(
                         builder, "s", 1, text,
                         (size_t)snprintf(text, sizeof text, "%.*s", (int)(row->bits % 5), "abcd")),
                     ERR_OK);
}

/* Series with ids come first in places, so their order does not depend on who came first. */
static struct buf *build(const struct row *rows, uint32_t count, int64_t from_ns,
                         uint32_t *ret_rows)
{
    struct block_builder *builder;
    struct buf *buf = NULL;

    *ret_rows = 0;
    cr_assert_eq(block_builder_new(&builder), ERR_OK);
    for (uint32_t i = 0; i < count; i++) {
        if (rows[i].time_ns < from_ns)
            continue;
        add_row(builder, &rows[i]);
        ++*ret_rows;
    }
    if (*ret_rows > 0)
        cr_assert_eq(block_builder_finish(builder, HEADROOM, &buf, NULL), ERR_OK);
    block_builder_free(builder);
    return buf;
}

static struct block *load(const struct buf *buf, struct block_view *view)
{
    struct block *block;

    cr_assert_eq(block_view(buf->bytes + HEADROOM, buf->size - HEADROOM, true, view), ERR_OK);
    cr_assert_eq(block_load(view, &block), ERR_OK);
    return block;
}

/* A digest of all rows that does not depend on the order of series. */
static uint64_t digest(const struct buf *buf)
{
    static uint32_t places[65536], counts[65536];
    static int64_t times_ns[65536];
    static uint8_t present[65536];
    static uint64_t values[65536];
    struct block_view view;
    struct block *block = load(buf, &view);
    uint64_t sum = 0;

    for (uint32_t s = 0; s < block_sections(block); s++) {
        const struct block_section *section = block_section(block, s);

        cr_assert_eq(block_read_runs(block, s, places, counts), ERR_OK);
        cr_assert_eq(block_read_times(block, s, times_ns), ERR_OK);
        for (uint32_t f = 0; f < section->fields; f++) {
            struct slice name = block_field(block, s, f)->name;
            const char *strings;
            uint32_t row = 0;

            cr_assert_eq(block_read_field(block, s, f, present, values, &strings), ERR_OK);
            for (uint32_t run = 0; run < section->runs; run++) {
                const char *key = NULL;
                size_t size = 0, at = 0;
                uint64_t series = block_view_id(&view, places[run]);

                for (uint32_t i = view.header.known; i <= places[run]; i++)
                    cr_assert(block_view_next_key(&view, &at, &key, &size));
                if (key != NULL)
                    series = key_hash(key, size);
                for (uint32_t i = 0; i < counts[run]; i++, row++) {
                    uint64_t words[4] = {series, (uint64_t)times_ns[row], values[row],
                                         key_hash(name.data, name.size)};

                    if (!present[row])
                        continue;
                    if (strings != NULL)
                        words[2] =
                            key_hash(strings + (uint32_t)values[row], (size_t)(values[row] >> 32));
                    sum += key_hash(words, sizeof words);
                }
            }
        }
    }
    block_free(block);
    return sum;
}

static void assert_trimmed(const struct row *rows, uint32_t count, int64_t from_ns)
{
    uint32_t all, young;
    struct buf *whole = build(rows, count, INT64_MIN, &all);
    struct buf *expected = build(rows, count, from_ns, &young);
    struct block_trimmed trimmed;

    cr_assert_eq(
        block_trim(whole->bytes + HEADROOM, whole->size - HEADROOM, from_ns, HEADROOM, &trimmed),
        ERR_OK, "%s", err_detail());
    cr_assert_eq(trimmed.rows, young);
    if (young > 0) {
        struct block_view before, after;
        struct block *one = load(whole, &before), *two = load(trimmed.buf, &after);
        const char *keys[2];
        size_t sizes[2], at = 0;

        cr_assert_eq(digest(trimmed.buf), digest(expected));
        cr_assert_eq(after.header.fresh, trimmed.fresh_count);
        cr_assert_eq(after.header.points, trimmed.points);
        cr_assert_geq(after.header.time_min_ns, from_ns);
        for (uint32_t i = 0; i < trimmed.fresh_count; i++) { /* They are the same keys. */
            size_t old = 0;

            cr_assert(block_view_next_key(&after, &at, &keys[0], &sizes[0]));
            for (uint32_t k = 0; k <= trimmed.fresh[i]; k++)
                cr_assert(block_view_next_key(&before, &old, &keys[1], &sizes[1]));
            cr_assert_eq(sizes[0], sizes[1]);
            cr_assert_eq(memcmp(keys[0], keys[1], sizes[0]), 0);
        }
        block_free(one);
        block_free(two);
        free(trimmed.fresh);
    }
    buf_unref(trimmed.buf);
    buf_unref(whole);
    buf_unref(expected);
}

Test(block_trim, has_the_young_rows_and_no_others)
{
    static struct row rows[3000];
    uint64_t chance = seed_of_run("block_trim");

    for (int i = 0; i < 60; i++) {
        uint32_t count = 1 + (uint32_t)seed_below(&chance, i % 10 == 0 ? 3000 : 60);

        for (uint32_t r = 0; r < count; r++)
            rows[r] = (struct row){.series = (uint32_t)seed_below(&chance, SERIES),
                                   .has = 1 + (uint32_t)seed_below(&chance, 7),
                                   .time_ns = (int64_t)seed_below(&chance, TIMES),
                                   .bits = seed_next(&chance)};
        assert_trimmed(rows, count, (int64_t)seed_below(&chance, TIMES + 1));
        assert_trimmed(rows, count, INT64_MIN);
        assert_trimmed(rows, count, INT64_MAX);
    }
}

Test(block_trim, refuses_damage)
{
    struct row row = {.series = 1, .has = 7, .time_ns = 5, .bits = 3};
    struct block_trimmed trimmed;
    uint32_t count;
    struct buf *buf = build(&row, 1, 0, &count);

    buf->bytes[buf->size - 1] ^= 1;
    cr_assert_eq(block_trim(buf->bytes + HEADROOM, buf->size - HEADROOM, 5, 0, &trimmed),
                 ERR_CORRUPT);
    buf_unref(buf);
}
