/*
 * Merging: what comes out does not depend on memory, nothing is lost, rows are sorted and joined.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "storage/base/check.h"
#include "storage/block/block_builder.h"
#include "storage/merge.h"
#include "storage/section.h"
#include "tests/support/contents.h"
#include "tests/support/entries.h"
#include "tests/support/mem_disk.h"
#include "tests/support/seed.h"

enum { SOURCES_MAX = 64 };

/* Blocks of a head, built by hand, and the segment that comes of them. */
struct fixture {
    struct mem_disk *disk;
    struct catalog *catalog;
    struct head head;
};

static struct fixture fixture;

static void set_up(void)
{
    fixture.disk = mem_disk_new();
    cr_assert_eq(mem_disk_table(fixture.disk)->make_dir(fixture.disk, "data"), ERR_OK);
    cr_assert_eq(catalog_new(&fixture.catalog), ERR_OK);
}

static void tear_down(void)
{
    head_fini(&fixture.head);
    catalog_free(fixture.catalog);
    mem_disk_free(fixture.disk);
}

TestSuite(merge, .init = set_up, .fini = tear_down);

static uint32_t id_of(const char *table, const char *host)
{
    struct key_parts parts;
    char key[256];
    size_t size = entries_key(table, host, key);
    uint64_t hash = key_hash(key, size);
    uint32_t id = catalog_find(fixture.catalog, key, size, hash);

    if (id != CATALOG_NONE)
        return id;
    cr_assert_eq(key_parse(key, size, &parts), 0);
    cr_assert_eq(
        catalog_add(fixture.catalog, (struct slice){key, size}, parts.table_key_size, hash),
        ERR_OK);
    catalog_confirm(fixture.catalog);
    return catalog_count(fixture.catalog) - 1;
}

/* Add a block with known ids to the head. */
static void add_block(struct entries_value *values, size_t count)
{
    struct head_block block = {.index = fixture.head.count + 1};
    struct block_view view;

    for (size_t i = 0; i < count; i++)
        values[i].id = id_of(values[i].table, values[i].host) + 1;
    block.entry = entries_block(&(struct entries_from){0}, values, count);
    cr_assert_eq(block_view(block.entry->bytes + sizeof(struct entry_header),
                            block.entry->size - sizeof(struct entry_header), true, &view),
                 ERR_OK);
    block.size = (uint32_t)view.size;
    block.rows = view.header.rows;
    block.points = view.header.points;
    block.time_min_ns = view.header.time_min_ns;
    block.time_max_ns = view.header.time_max_ns;
    block.series_min = block_view_id(&view, 0);
    block.series_max = block_view_id(&view, view.header.known - 1);
    cr_assert_eq(head_add(&fixture.head, &block), ERR_OK);
    buf_unref(block.entry);
}

static struct segment *merge_some(uint64_t number, const struct merge_filter *filter, size_t memory)
{
    struct segment_info info = {.number = number, .first_index = 1, .last_index = 99};
    struct catalog_view view = catalog_view(fixture.catalog);
    struct segment_writer *writer;
    struct segment *segment;

    cr_assert_eq(segment_writer_new(mem_disk_table(fixture.disk), "data", 0, &info, &writer),
                 ERR_OK);
    cr_assert_eq(
        merge_blocks(fixture.head.blocks, fixture.head.count, &view, filter, memory, NULL, writer),
        ERR_OK, "%s", err_detail());
    cr_assert_eq(segment_writer_finish(writer, &info), ERR_OK, "%s", err_detail());
    segment_writer_free(writer);
    catalog_view_fini(&view);
    cr_assert_eq(segment_open(mem_disk_table(fixture.disk), "data", 0, &info, &segment), ERR_OK,
                 "%s", err_detail());
    return segment;
}

static struct segment *merge(uint64_t number, size_t memory)
{
    return merge_some(number, NULL, memory);
}

/* The groups of a segment, or the blocks of the head from `first` on if it is NULL. */
static uint32_t list_sources(struct segment *segment, uint32_t first,
                             struct snapshot_source *ret_sources)
{
    uint32_t count = segment == NULL ? fixture.head.count : segment_groups(segment);

    for (uint32_t i = first; i < count; i++) {
        struct snapshot_source *source = &ret_sources[i - first];

        if (segment == NULL) {
            const struct head_block *block = &fixture.head.blocks[i];

            *source = (struct snapshot_source){.entry = block->entry,
                                               .offset = sizeof(struct entry_header),
                                               .size = block->size,
                                               .rows = block->rows,
                                               .time_min_ns = block->time_min_ns,
                                               .time_max_ns = block->time_max_ns,
                                               .series_min = block->series_min,
                                               .series_max = block->series_max};
        } else {
            const struct segment_group *group = segment_group(segment, i);

            *source = (struct snapshot_source){.segment = segment,
                                               .group = i,
                                               .rows = group->rows,
                                               .time_min_ns = group->time_min_ns,
                                               .time_max_ns = group->time_max_ns,
                                               .series_min = group->series_min,
                                               .series_max = group->series_max};
        }
    }
    return count - first;
}

/* All values of a segment, or of the head if it is NULL. */
static struct contents read(struct segment *segment)
{
    struct catalog_view view = catalog_view(fixture.catalog);
    struct snapshot_source sources[SOURCES_MAX];
    struct snapshot snapshot = {.sources = sources, .series = &view};
    struct contents contents;

    snapshot.source_count = list_sources(segment, 0, sources);
    cr_assert_leq(snapshot.source_count, SOURCES_MAX);
    cr_assert_eq(contents_read(&snapshot, &contents), ERR_OK, "%s", err_detail());
    catalog_view_fini(&view);
    return contents;
}

static void expect_same_values(struct segment *segment)
{
    struct contents before = read(NULL);
    struct contents after = read(segment);

    cr_assert(contents_equal(&before, &after), "%zu values became %zu", before.count, after.count);
    contents_fini(&before);
    contents_fini(&after);
}

struct place {
    uint32_t table, id;
    int64_t time_ns;
};

static void expect_sorted_section(struct section_reader *reader, struct place *last)
{
    const struct section *section = &reader->section;
    uint32_t *ids = malloc(2 * section->runs * sizeof *ids), *counts = ids + section->runs;
    int64_t *times = malloc(section->rows * sizeof *times);
    uint32_t row = 0;

    cr_assert(section->is_sorted);
    cr_assert_eq(section_read_runs(reader, ids, counts), ERR_OK);
    cr_assert_eq(section_read_times(reader, times), ERR_OK);
    for (uint32_t run = 0; run < section->runs; run++) {
        uint32_t table = catalog_table(fixture.catalog, ids[run]);

        for (uint32_t end = row + counts[run]; row < end; row++) {
            cr_assert(
                table > last->table ||
                (table == last->table &&
                 (ids[run] > last->id || (ids[run] == last->id && (times[row] > last->time_ns ||
                                                                   last->time_ns == INT64_MIN)))));
            *last = (struct place){table, ids[run], times[row]};
        }
    }
    free(ids);
    free(times);
}

/* Rows ascend by (table number, series, time), and no two are the same. */
static void expect_sorted(struct segment *segment)
{
    struct catalog_view view = catalog_view(fixture.catalog);
    struct section_reader reader = {0};
    struct place last = {0, 0, INT64_MIN};

    for (uint32_t i = 0; i < segment_groups(segment); i++) {
        struct snapshot_source source = {.segment = segment, .group = i};

        cr_assert_eq(section_open(&reader, &source, &view), ERR_OK, "%s", err_detail());
        for (uint32_t s = 0; s < reader.count; s++) {
            section_go(&reader, s);
            expect_sorted_section(&reader, &last);
        }
    }
    section_fini(&reader);
    catalog_view_fini(&view);
}

static void draw_blocks(uint64_t *chance, unsigned blocks, unsigned rows, unsigned hosts)
{
    struct entries_value *values = calloc(rows, sizeof *values);
    char(*names)[16] = calloc(rows, sizeof *names);

    for (unsigned b = 0; b < blocks; b++) {
        for (unsigned i = 0; i < rows; i++) {
            unsigned field = (unsigned)seed_below(chance, 3);

            (void)snprintf(names[i], sizeof names[i], "h%u", (unsigned)seed_below(chance, hosts));
            values[i] = (struct entries_value){.table = seed_below(chance, 2) == 0 ? "cpu" : "mem",
                                               .host = names[i],
                                               .time_ns = (int64_t)seed_below(chance, 200) - 100,
                                               .field = field == 0   ? "a"
                                                        : field == 1 ? "b"
                                                                     : "text",
                                               .type = field == 0   ? FIELD_INT
                                                       : field == 1 ? FIELD_FLOAT
                                                                    : FIELD_STRING,
                                               .bits = seed_next(chance),
                                               .text = names[i]};
        }
        add_block(values, rows);
    }
    free(values);
    free(names);
}

Test(merge, makes_the_same_bytes_with_any_memory)
{
    uint64_t chance = seed_of_run("merge");
    size_t memories[] = {1, 100, 3000, 20000, 64 << 20};
    uint64_t hash = 0;

    draw_blocks(&chance, 12, 500, 20);
    for (size_t i = 0; i < sizeof memories / sizeof memories[0]; i++) {
        struct segment *segment = merge(1, memories[i]);

        if (i == 0) {
            expect_same_values(segment);
            expect_sorted(segment);
            hash = segment_info(segment)->hash;
        }
        cr_assert_eq(segment_info(segment)->hash, hash, "with %zu bytes", memories[i]);
        segment_unref(segment);
    }
}

Test(merge, cuts_a_series_with_times_of_all_sizes)
{
    static const int64_t times[] = {INT64_MIN, INT64_MIN + 1, -5,       0, 1, 2,
                                    1000,      INT64_MAX - 1, INT64_MAX};
    struct entries_value values[9 * 40];
    struct segment *segment;

    for (int64_t i = 0; i < 9 * 40; i++)
        values[i] =
            (struct entries_value){"cpu", "a", times[i % 9], "x", FIELD_INT, (uint64_t)i, NULL, 0};
    for (size_t i = 0; i < 9; i++)
        add_block(values + 40 * i, 40);
    segment = merge(1, 60); /* Two rows at a time, where times differ. */
    cr_assert_eq(segment_info(segment)->rows, 9);
    expect_same_values(segment);
    expect_sorted(segment);
    segment_unref(segment);
}

Test(merge, gives_a_long_series_chunks_of_its_own)
{
    enum { ROWS = 50000 };
    struct entries_value *values = calloc(ROWS, sizeof *values);
    struct segment_cursor *cursor = calloc(1, sizeof *cursor);
    struct segment *segment;

    for (int64_t i = 0; i < ROWS; i++)
        values[i] = (struct entries_value){
            "cpu", i < 100 ? "a" : i < 200 ? "b" : "c", i, "x", FIELD_INT, (uint64_t)i, NULL, 0};
    add_block(values, ROWS);
    segment = merge(1, 64 << 20);
    cr_assert_eq(segment_groups(segment), 1);
    cr_assert_eq(segment_cursor_open(cursor, segment, 0), ERR_OK);
    cr_assert_eq(cursor->group->chunks, 50);
    cr_assert_eq(cursor->chunks[0].runs, 2); /* "a" and "b" together. */
    cr_assert_eq(cursor->chunks[0].rows, 200);
    for (uint32_t i = 1; i < 50; i++) {
        cr_assert_eq(cursor->chunks[i].runs, 1);
        cr_assert_geq(cursor->chunks[i].rows, 980);
    }
    expect_sorted(segment);
    expect_same_values(segment);
    segment_cursor_fini(cursor);
    free(cursor);
    segment_unref(segment);
    free(values);
}

/* Blocks `first` to end - 1 of the head as a segment. */
static struct segment *merge_part(uint64_t number, uint32_t first, uint32_t end)
{
    struct head whole = fixture.head;
    struct segment *segment;

    fixture.head.blocks += first;
    fixture.head.count = end - first;
    segment = merge(number, 64 << 20);
    fixture.head = whole;
    return segment;
}

static struct segment *merge_again(uint64_t number, const struct snapshot_source *sources,
                                   uint32_t count, size_t memory)
{
    struct segment_info info = {.number = number, .first_index = 1, .last_index = 99};
    struct catalog_view view = catalog_view(fixture.catalog);
    struct segment_writer *writer;
    struct segment *segment;

    cr_assert_eq(segment_writer_new(mem_disk_table(fixture.disk), "data", 0, &info, &writer),
                 ERR_OK);
    cr_assert_eq(merge_sources(sources, count, &view, NULL, memory, NULL, writer), ERR_OK, "%s",
                 err_detail());
    cr_assert_eq(segment_writer_finish(writer, &info), ERR_OK, "%s", err_detail());
    segment_writer_free(writer);
    catalog_view_fini(&view);
    cr_assert_eq(segment_open(mem_disk_table(fixture.disk), "data", 0, &info, &segment), ERR_OK,
                 "%s", err_detail());
    return segment;
}

Test(merge, makes_of_segments_and_blocks_what_scanning_them_says)
{
    static const size_t memories[] = {100, 5000, 64 << 20};
    uint64_t chance = seed_of_run("merge segments"), hash = 0;
    struct snapshot_source sources[SOURCES_MAX];
    struct segment *parts[3];
    uint32_t count = 0;

    draw_blocks(&chance, 12, 500, 20);
    for (uint32_t i = 0; i < 3; i++) {
        parts[i] = merge_part(i + 1, 3 * i, 3 * i + 3);
        count += list_sources(parts[i], 0, sources + count);
    }
    count += list_sources(NULL, 9, sources + count);
    for (size_t i = 0; i < 3; i++) {
        struct segment *segment = merge_again(10 + i, sources, count, memories[i]);

        expect_same_values(segment);
        expect_sorted(segment);
        cr_assert(hash == 0 || hash == segment_info(segment)->hash, "with %zu bytes", memories[i]);
        hash = segment_info(segment)->hash;
        segment_unref(segment);
    }
    for (uint32_t i = 0; i < 3; i++)
        segment_unref(parts[i]);
}

Test(merge, makes_the_same_of_a_segment_as_of_what_it_was_made_of)
{
    uint64_t chance = seed_of_run("merge twice");
    struct snapshot_source sources[SOURCES_MAX];
    struct entries_value values[2000];
    struct segment *once, *twice;

    for (int64_t i = 0; i < 2000; i++)
        values[i] = (struct entries_value){"cpu",     i < 1500 ? "a" : i % 2 == 0 ? "b" : "c",
                                           i,         "x",
                                           FIELD_INT, seed_below(&chance, 100),
                                           NULL,      0};
    add_block(values, 1000);
    add_block(values + 1000, 1000);
    once = merge(1, 64 << 20);
    twice = merge_again(2, sources, list_sources(once, 0, sources), 64 << 20);
    cr_assert_eq(segment_info(once)->hash, segment_info(twice)->hash);
    segment_unref(once);
    segment_unref(twice);
}

Test(merge, names_the_segment_that_is_damaged)
{
    struct entries_value value = {"cpu", "a", 1, "x", FIELD_INT, 1, NULL, 0};
    struct snapshot_source sources[SOURCES_MAX];
    struct segment_info info = {.number = 2};
    struct catalog_view view;
    struct segment_writer *writer;
    struct segment *segment;

    add_block(&value, 1);
    segment = merge(1, 1 << 20);
    view = catalog_view(fixture.catalog);
    mem_disk_flip(fixture.disk, "data/00000001.mrs", 100, 1);
    cr_assert_eq(segment_writer_new(mem_disk_table(fixture.disk), "data", 0, &info, &writer),
                 ERR_OK);
    cr_assert_eq(merge_sources(sources, list_sources(segment, 0, sources), &view, NULL, 1 << 20,
                               NULL, writer),
                 ERR_CORRUPT);
    cr_assert_neq(strstr(err_detail(), "data/00000001.mrs"), NULL, "%s", err_detail());
    segment_writer_free(writer);
    catalog_view_fini(&view);
    segment_unref(segment);
}

Test(merge, takes_only_what_the_filter_wants)
{
    uint64_t chance = seed_of_run("merge filter");
    struct contents whole, parts[4];
    size_t count = 0;
    bool tables[2] = {false, false};

    draw_blocks(&chance, 12, 500, 20);
    whole = read(NULL);
    for (size_t i = 0; i < 4; i++) {
        struct merge_filter filter = {
            .tables = tables, .from_ns = i < 2 ? INT64_MIN : 10, .last_ns = i < 2 ? 9 : INT64_MAX};
        struct segment *segment;

        tables[i % 2] = true;
        tables[1 - i % 2] = false;
        segment = merge_some(i + 1, &filter, i == 0 ? 3000 : 64 << 20);
        parts[i] = read(segment);
        cr_assert(contents_within(&parts[i], &whole));
        count += parts[i].count;
        expect_sorted(segment);
        segment_unref(segment);
        contents_fini(&parts[i]);
    }
    cr_assert_eq(count, whole.count);
    contents_fini(&whole);
}

Test(merge, loses_no_value_of_a_field_with_two_types)
{
    /* Admission refuses it, so it should never be; if it is, both stay. */
    struct entries_value first[] = {{"cpu", "a", 1, "x", FIELD_INT, 1, NULL, 0},
                                    {"cpu", "a", 2, "x", FIELD_INT, 2, NULL, 0}};
    struct entries_value second[] = {{"cpu", "a", 2, "x", FIELD_FLOAT, 3, NULL, 0},
                                     {"cpu", "a", 3, "x", FIELD_FLOAT, 4, NULL, 0}};
    struct segment *segment;
    struct contents contents;

    add_block(first, 2);
    add_block(second, 2);
    segment = merge(1, 64 << 20);
    contents = read(segment);
    cr_assert(contents_have(&contents, "db/cpu host=a 00000000000000000001 x integer 1"));
    cr_assert(contents_have(&contents, "db/cpu host=a 00000000000000000002 x float 3"));
    cr_assert(contents_have(&contents, "db/cpu host=a 00000000000000000003 x float 4"));
    cr_assert_eq(segment_info(segment)->points, 4);
    contents_fini(&contents);
    segment_unref(segment);
}

Test(merge, takes_a_row_with_more_fields_than_a_block_takes)
{
    static struct entries_value values[FIELD_COUNT_MAX];
    static char names[2 * FIELD_COUNT_MAX][16];
    struct segment *segment;

    for (unsigned half = 0; half < 2; half++) {
        for (unsigned i = 0; i < FIELD_COUNT_MAX; i++) {
            char *name = names[half * FIELD_COUNT_MAX + i];

            (void)snprintf(name, sizeof names[0], "f%u", half * FIELD_COUNT_MAX + i);
            values[i] = (struct entries_value){"cpu", "a", 1, name, FIELD_INT, i, NULL, 0};
        }
        add_block(values, FIELD_COUNT_MAX);
    }
    segment = merge(1, 64 << 20);
    cr_assert_eq(segment_info(segment)->points, 2 * FIELD_COUNT_MAX);
    cr_assert_eq(segment_info(segment)->rows, 1);
    expect_same_values(segment);
    segment_unref(segment);
}

/* More fields than are put into rows at once, and than have their bits in one word. */
Test(merge, knows_which_rows_have_which_of_many_fields)
{
    enum { FIELDS = 150, ROWS = 20, HOSTS = 3 };
    static struct entries_value values[FIELDS * ROWS];
    static char names[FIELDS][8];
    static const char *const hosts[HOSTS] = {"a", "b", "c"};
    uint64_t chance = seed_of_run("merge fields");
    struct segment *segment;

    for (unsigned f = 0; f < FIELDS; f++)
        (void)snprintf(names[f], sizeof names[f], "f%u", f);
    for (unsigned block = 0; block < 4; block++) {
        size_t count = 0;

        for (unsigned row = 0; row < ROWS; row++) {
            const char *host = hosts[seed_below(&chance, HOSTS)];
            int64_t time_ns = (int64_t)seed_below(&chance, 40);

            for (unsigned f = 0; f < FIELDS; f++)
                if (f % 7 == 0 || seed_below(&chance, 3) == 0)
                    values[count++] = (struct entries_value){
                        "cpu",     host, time_ns, names[f], f % 10 == 9 ? FIELD_STRING : FIELD_INT,
                        f * 3 + 1, host, 0};
        }
        add_block(values, count);
    }
    segment = merge(1, 64 << 20);
    expect_same_values(segment);
    expect_sorted(segment);
    segment_unref(segment);
}

Test(merge, takes_long_strings)
{
    enum { LONG = 3 << 20 };
    char *text = malloc(LONG + 1);
    struct entries_value value = {"cpu", "a", 0, "s", FIELD_STRING, 0, text, 0};
    struct segment *segment;
    uint64_t chance = 1;

    for (size_t i = 0; i < LONG; i++)
        text[i] = (char)('a' + seed_below(&chance, 26));
    text[LONG] = '\0';
    for (int64_t i = 0; i < 6; i++) {
        value.time_ns = i;
        add_block(&value, 1);
    }
    segment = merge(1, 4 << 20);
    cr_assert_eq(segment_info(segment)->rows, 6);
    cr_assert_gt(segment_groups(segment), 1); /* Of one row each, and some MiB. */
    expect_sorted(segment);
    segment_unref(segment);
    free(text);
}

Test(merge, says_which_block_is_damaged)
{
    struct entries_value value = {"cpu", "a", 1, "x", FIELD_INT, 1, NULL, 0};
    struct segment_info info = {.number = 1};
    struct catalog_view view;
    struct segment_writer *writer;

    add_block(&value, 1);
    add_block(&value, 1);
    fixture.head.blocks[1].entry->bytes[fixture.head.blocks[1].entry->size - 1] ^= 1;
    view = catalog_view(fixture.catalog);
    cr_assert_eq(segment_writer_new(mem_disk_table(fixture.disk), "data", 0, &info, &writer),
                 ERR_OK);
    cr_assert_eq(merge_blocks(fixture.head.blocks, 2, &view, NULL, 1 << 20, NULL, writer),
                 ERR_CORRUPT);
    cr_assert_neq(strstr(err_detail(), "log index 2"), NULL, "%s", err_detail());
    segment_writer_free(writer);
    catalog_view_fini(&view);
}
