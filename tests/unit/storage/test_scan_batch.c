/*
 * Batches: their size, the order of their columns, and what stands in them when tags and strings
 * come in all sizes. Rows come from a store with many series.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/block/block_builder.h"
#include "storage/scan.h"
#include "storage/scan_batch.h"

enum { HEADROOM = 64, SOURCES_MAX = 16 };

static const struct scan_limits ample = {.memory_bytes = 256u << 20, .result_bytes = UINT64_MAX};

/* A snapshot made by hand: rows are added to one block after the other. */
static struct shard {
    struct catalog *catalog;
    struct catalog_view view;
    struct snapshot snapshot;
    struct snapshot_source sources[SOURCES_MAX];
    struct block_builder *builder;
} shard;

static void set_up(void)
{
    memset(&shard, 0, sizeof shard);
    cr_assert_eq(catalog_new(&shard.catalog), ERR_OK);
    cr_assert_eq(block_builder_new(&shard.builder), ERR_OK);
    shard.snapshot.sources = shard.sources;
    shard.snapshot.series = &shard.view;
}

static void tear_down(void)
{
    for (uint32_t i = 0; i < shard.snapshot.source_count; i++)
        buf_unref(shard.sources[i].entry);
    block_builder_free(shard.builder);
    catalog_view_fini(&shard.view);
    catalog_free(shard.catalog);
}

TestSuite(scan_batch, .init = set_up, .fini = tear_down);

/* Begin a row of the series of table "t" with this one tag. */
static void add_row(const char *tag_name, const char *tag_value, int64_t time_ns)
{
    struct tag tag = {{tag_name, strlen(tag_name)}, {tag_value, strlen(tag_value)}};
    char key[256];
    size_t size = key_write((struct slice){"db", 2}, (struct slice){"t", 1}, &tag, 1, key, 256);
    uint64_t hash = key_hash(key, size);
    uint32_t id = catalog_find(shard.catalog, key, size, hash), series;

    if (id == CATALOG_NONE) {
        id = catalog_count(shard.catalog);
        cr_assert_eq(catalog_add(shard.catalog, (struct slice){key, size}, 5, hash), ERR_OK);
        catalog_confirm(shard.catalog);
    }
    cr_assert_eq(block_builder_series(shard.builder, key, size, 5, hash, id, &series), ERR_OK);
    cr_assert_eq(block_builder_row(shard.builder, series, time_ns), ERR_OK, "%s", err_detail());
}

static void add_int(const char *field, uint64_t value)
{
    cr_assert_eq(block_builder_value(shard.builder, field, strlen(field), FIELD_INT, value),
                 ERR_OK);
}

static void add_text(const char *field, const char *text, size_t size)
{
    cr_assert_eq(block_builder_string(shard.builder, field, strlen(field), text, size), ERR_OK);
}

static void end_block(void)
{
    struct snapshot_source *source = &shard.sources[shard.snapshot.source_count++];
    struct block_view view;

    cr_assert_leq(shard.snapshot.source_count, SOURCES_MAX);
    *source = (struct snapshot_source){.offset = HEADROOM, .table_max = CATALOG_NONE};
    cr_assert_eq(block_builder_finish(shard.builder, HEADROOM, &source->entry, NULL), ERR_OK);
    source->size = source->entry->size - HEADROOM;
    cr_assert_eq(block_view(source->entry->bytes + HEADROOM, source->size, true, &view), ERR_OK);
    source->rows = view.header.rows;
    source->time_min_ns = view.header.time_min_ns;
    source->time_max_ns = view.header.time_max_ns;
    source->series_max = catalog_count(shard.catalog) - 1;
    catalog_view_fini(&shard.view);
    shard.view = catalog_view(shard.catalog);
}

/* What came out: columns_append() joins batches of different columns by name. */
struct taken {
    struct columns all;
    uint32_t batches;
    size_t size_max;
};

static enum err take(void *arg, const struct columns *batch)
{
    struct taken *taken = arg;
    size_t size = 0;

    for (uint32_t c = 0; c < batch->count; c++) {
        size += batch->rows * 9 + batch->columns[c].text.size;
        cr_assert(c == 0 || batch->columns[c].kind >= batch->columns[c - 1].kind,
                  "column %u is of a kind that stands earlier", c);
    }
    cr_assert_eq(batch->columns[0].kind, COLUMN_TIME);
    cr_assert_gt(batch->rows, 0);
    taken->size_max = size > taken->size_max ? size : taken->size_max;
    taken->batches++;
    cr_assert_eq(columns_append(&taken->all, batch), ERR_OK, "%s", err_detail());
    return ERR_OK;
}

static struct taken scan(uint64_t limit)
{
    struct query query = {
        .database = "db", .table = "t", .from_ns = INT64_MIN, .to_ns = INT64_MAX, .limit = limit};
    struct taken taken = {0};

    cr_assert_eq(scan_rows(&shard.snapshot, &query, &ample, take, &taken), ERR_OK, "%s",
                 err_detail());
    return taken;
}

static const struct column *column_of(const struct columns *columns, const char *name)
{
    for (uint32_t c = 0; c < columns->count; c++) {
        if (strcmp(columns->columns[c].name, name) == 0)
            return &columns->columns[c];
    }
    cr_assert_fail("no column %s", name);
    abort(); /* Not reached; not every compiler knows. */
}

static void assert_text(const struct column *column, uint32_t row, const char *text, size_t size)
{
    uint64_t bits = column->values[row];

    cr_assert(column->present[row]);
    cr_assert_eq(bits >> 32, size, "row %u", row);
    if (size > 0)
        cr_assert_eq(memcmp(column->text.data + (uint32_t)bits, text, size), 0, "row %u", row);
}

/* ---- Size ---------------------------------------------------------------------------------- */

Test(scan_batch, cuts_many_rows_into_batches_of_about_a_mebibyte)
{
    enum { ROWS = 50000, BLOCKS = 4 };
    struct taken taken;

    for (int64_t block = 0; block < BLOCKS; block++) {
        for (int64_t row = 0; row < ROWS; row++) {
            add_row("host", "a", block * ROWS + row);
            add_int("v", (uint64_t)(block * ROWS + row) * 3);
        }
        end_block();
    }
    taken = scan(0);
    cr_assert_eq(taken.all.rows, ROWS * BLOCKS);
    cr_assert_geq(taken.batches, 5);
    cr_assert_lt(taken.size_max, SCAN_BATCH_BYTES + 100);
    for (uint32_t row = 0; row < taken.all.rows; row++) {
        cr_assert_eq(column_of(&taken.all, "time")->values[row], row);
        cr_assert_eq(column_of(&taken.all, "v")->values[row], row * 3);
    }
    assert_text(column_of(&taken.all, "host"), ROWS * BLOCKS - 1, "a", 1);
    columns_fini(&taken.all);

    taken = scan(ROWS + 1);
    cr_assert_eq(taken.all.rows, ROWS + 1);
    columns_fini(&taken.all);
}

Test(scan_batch, counts_long_strings)
{
    enum { ROWS = 40, SIZE = 100000 };
    char *text = malloc(SIZE);
    struct taken taken;

    for (int64_t row = 0; row < ROWS; row++) {
        memset(text, 'a' + (int)(row / 4) % 26, SIZE);
        add_row("host", "a", row);
        add_text("s", text, row % 4 == 3 ? 0 : SIZE - (size_t)row);
    }
    end_block();
    taken = scan(0);
    cr_assert_eq(taken.all.rows, ROWS);
    cr_assert_geq(taken.batches, 3);
    cr_assert_lt(taken.size_max, SCAN_BATCH_BYTES + 2 * SIZE);
    for (uint32_t row = 0; row < ROWS; row++) {
        memset(text, 'a' + (int)(row / 4) % 26, SIZE);
        assert_text(column_of(&taken.all, "s"), row, text, row % 4 == 3 ? 0 : SIZE - row);
    }
    columns_fini(&taken.all);
    free(text);
}

/* ---- Columns ------------------------------------------------------------------------------- */

Test(scan_batch, keeps_tags_before_fields_when_each_series_has_its_own)
{
    enum { SERIES = 100 };
    struct taken taken;

    for (uint32_t i = 0; i < SERIES; i++) {
        char name[8], field[8];

        (void)snprintf(name, sizeof name, "tag%u", i);
        (void)snprintf(field, sizeof field, "f%u", i % 10);
        for (int64_t row = 0; row < 5; row++) {
            add_row(name, i % 2 == 0 ? "even" : "odd", row);
            add_int(field, i * 10 + (uint64_t)row);
        }
    }
    end_block();
    taken = scan(0); /* take() looks at the order. */
    cr_assert_eq(taken.all.rows, SERIES * 5);
    cr_assert_eq(taken.all.count, 1 + SERIES + 10);
    for (uint32_t row = 0; row < taken.all.rows; row++) {
        uint32_t tags = 0, fields = 0;

        for (uint32_t c = 1; c < taken.all.count; c++) {
            const struct column *column = &taken.all.columns[c];

            tags += column->kind == COLUMN_TAG && column->present[row];
            fields += column->kind == COLUMN_FIELD && column->present[row];
        }
        cr_assert_eq(tags, 1, "row %u has %u tags", row, tags);
        cr_assert_eq(fields, 1);
    }
    assert_text(column_of(&taken.all, "tag42"), 42 * 5, "even", 4);
    assert_text(column_of(&taken.all, "tag99"), 99 * 5 + 4, "odd", 3);
    cr_assert_eq(column_of(&taken.all, "f2")->values[42 * 5 + 3], 423);
    columns_fini(&taken.all);
}

Test(scan_batch, keeps_a_field_and_a_tag_of_one_name_apart)
{
    struct taken taken;

    add_row("v", "tag", 1);
    add_int("v", 7);
    end_block();
    taken = scan(0);
    cr_assert_eq(taken.all.count, 3);
    assert_text(&taken.all.columns[1], 0, "tag", 3);
    cr_assert_eq(taken.all.columns[2].values[0], 7);
    columns_fini(&taken.all);
}

Test(scan_batch, says_when_there_are_more_columns_than_a_result_may_have)
{
    struct query query = {.database = "db", .table = "t", .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    struct taken taken = {0};

    for (uint32_t i = 0; i < COLUMNS_MAX + 10; i++) {
        char name[16];

        (void)snprintf(name, sizeof name, "tag%u", i);
        add_row(name, "x", 1);
        add_int("v", i);
    }
    end_block();
    cr_assert_eq(scan_rows(&shard.snapshot, &query, &ample, take, &taken), ERR_LIMIT);
    columns_fini(&taken.all);
}
