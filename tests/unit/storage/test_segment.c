/*
 * Segments: what is written is read back, the index says what a plain look at the values says, and
 * a file that claims to be huge is refused.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/block/column_string.h"
#include "storage/segment_cursor.h"
#include "storage/segment_format.h"
#include "storage/segment_row.h"
#include "storage/segment_writer.h"
#include "tests/support/mem_disk.h"
#include "tests/support/seed.h"

enum { ROWS = 5000, FIELDS = 5 };

static const struct segment_field fields[FIELDS] = {{{"b", 1}, FIELD_BOOL},
                                                    {{"f", 1}, FIELD_FLOAT},
                                                    {{"i", 1}, FIELD_INT},
                                                    {{"s", 1}, FIELD_STRING},
                                                    {{"u", 1}, FIELD_UINT}};
static const struct segment_table table = {3, FIELDS, fields};
static const char texts[] = "on off something longer";

/* Rows of some series, by hand. */
static struct rows {
    struct mem_disk *disk;
    uint32_t ids[ROWS];
    int64_t times_ns[ROWS];
    uint64_t values[FIELDS][ROWS];
    uint8_t present[FIELDS][ROWS];
    uint64_t words[ROWS * (2 + FIELDS)]; /* The same as the writer takes them. */
    uint32_t count;
} rows;

static void set_up(void)
{
    rows.disk = mem_disk_new();
    cr_assert_eq(mem_disk_table(rows.disk)->make_dir(rows.disk, "data"), ERR_OK);
}

static void tear_down(void)
{
    mem_disk_free(rows.disk);
}

TestSuite(segment, .init = set_up, .fini = tear_down);

static uint64_t draw_value(uint64_t *chance, enum field_type type)
{
    double value = ((double)seed_below(chance, 5000) - 2000) / 100;
    uint64_t bits;

    switch (type) {
    case FIELD_BOOL:
        return seed_below(chance, 2);
    case FIELD_FLOAT:
        if (seed_below(chance, 3000) == 0)
            value = (double)NAN;
        memcpy(&bits, &value, sizeof bits);
        return bits;
    case FIELD_STRING:
        return column_string_make((uint32_t)seed_below(chance, 10),
                                  (uint32_t)seed_below(chance, 12));
    case FIELD_UINT: /* Dense, where a chunk has enough of them. */
        return seed_below(chance, 3);
    default:
        return seed_below(chance, 500) == 0 ? seed_next(chance) : seed_below(chance, 1000);
    }
}

static void draw_rows(uint64_t *chance)
{
    uint32_t id = 5;
    int64_t time_ns = -1000;

    rows.count = 1 + (uint32_t)seed_below(chance, ROWS);
    for (uint32_t i = 0; i < rows.count; i++) {
        if (seed_below(chance, i < 1000 ? 40 : 1500) == 0) {
            id += 1 + (uint32_t)seed_below(chance, 3);
            time_ns = (int64_t)seed_below(chance, 1000) - 1000;
        }
        time_ns += 1 + (int64_t)seed_below(chance, 5);
        rows.ids[i] = id;
        rows.times_ns[i] = time_ns;
        for (uint32_t f = 0; f < FIELDS; f++) {
            rows.present[f][i] = f == 1 || seed_below(chance, i < 2500 ? 3 : 50) != 0;
            rows.values[f][i] = draw_value(chance, fields[f].type);
        }
    }
}

static void make_words(void)
{
    for (uint32_t i = 0; i < rows.count; i++) {
        uint64_t *row = rows.words + (size_t)i * segment_row_words(FIELDS);

        row[0] = (uint64_t)rows.times_ns[i];
        row[1] = 0;
        for (uint32_t f = 0; f < FIELDS; f++) {
            row[segment_row_at(FIELDS, f)] = rows.values[f][i];
            if (rows.present[f][i])
                segment_row_set(row, f);
        }
    }
}

/* Write the rows, `at_once` of a series at a time. */
static struct segment_info write_rows(uint32_t at_once)
{
    const struct disk *disk = mem_disk_table(rows.disk);
    struct segment_info info = {.number = 1, .first_index = 1, .last_index = 2};
    const char *in_fields[FIELDS];
    struct segment_writer *writer;

    make_words();
    for (uint32_t f = 0; f < FIELDS; f++)
        in_fields[f] = texts;
    cr_assert_eq(segment_writer_new(disk, "data", 0, &info, &writer), ERR_OK);
    cr_assert_eq(segment_writer_table(writer, &table), ERR_OK);
    for (uint32_t i = 0, end, upto; i < rows.count; i = end) {
        for (upto = i; upto < rows.count && rows.ids[upto] == rows.ids[i]; upto++)
            continue;
        cr_assert_eq(segment_writer_series(writer, rows.ids[i], upto - i), ERR_OK);
        for (end = i; end < upto; end += at_once < upto - end ? at_once : upto - end)
            cr_assert_eq(
                segment_writer_rows(writer, rows.words + (size_t)end * segment_row_words(FIELDS),
                                    in_fields, at_once < upto - end ? at_once : upto - end),
                ERR_OK);
    }
    cr_assert_eq(segment_writer_count(writer), rows.count);
    cr_assert_eq(segment_writer_finish(writer, &info), ERR_OK, "%s", err_detail());
    segment_writer_free(writer);
    return info;
}

static struct segment *open_rows(const struct segment_info *info)
{
    struct segment *segment;

    cr_assert_eq(segment_open(mem_disk_table(rows.disk), "data", 0, info, &segment), ERR_OK, "%s",
                 err_detail());
    return segment;
}

/* ---- Reading back --------------------------------------------------------------------------- */

static bool is_less(enum field_type type, uint64_t a, uint64_t b)
{
    double x, y;

    memcpy(&x, &a, sizeof x);
    memcpy(&y, &b, sizeof y);
    if (type == FIELD_FLOAT)
        return !isnan(x) && (isnan(y) || x < y);
    return type == FIELD_INT ? (int64_t)a < (int64_t)b : a < b;
}

static void expect_stats(struct segment_cursor *cursor, uint32_t chunk, uint32_t field,
                         uint32_t first)
{
    enum field_type type = fields[field].type;
    const struct segment_stats *stats;
    uint64_t min = 0, max = 0, last = 0;
    uint32_t count = 0;
    double sum = 0, from_index;

    cr_assert_eq(segment_cursor_stats(cursor, chunk, field, &stats), ERR_OK, "%s", err_detail());
    for (uint32_t i = first; i < first + cursor->chunks[chunk].rows; i++) {
        uint64_t bits = rows.values[field][i];
        double value;

        if (!rows.present[field][i])
            continue;
        if (count++ == 0) {
            min = max = bits;
            cr_assert(type == FIELD_STRING || stats->first == bits);
        }
        min = is_less(type, bits, min) ? bits : min;
        max = is_less(type, max, bits) ? bits : max;
        memcpy(&value, &bits, sizeof value);
        sum += type == FIELD_FLOAT ? value : (double)(int64_t)bits;
        last = bits;
    }
    cr_assert_eq(stats->count, count);
    if (type == FIELD_STRING || count == 0)
        return;
    cr_assert_eq(stats->last, last);
    if (type == FIELD_FLOAT && isnan(sum)) { /* This look is too plain for a NaN. */
        cr_assert_eq(stats->sum_form, SEGMENT_SUM_NONE);
        return;
    }
    cr_assert_eq(stats->min, min);
    cr_assert_eq(stats->max, max);
    from_index = (double)stats->sum / pow(10, stats->sum_form);
    if (stats->sum_form != SEGMENT_SUM_NONE)
        cr_assert_float_eq(from_index, sum, 1e-9 * (fabs(sum) + 1));
    else
        cr_assert_neq(type, FIELD_FLOAT);
}

static void expect_field(struct segment_cursor *cursor, uint32_t chunk, uint32_t field,
                         uint32_t first)
{
    static uint8_t present[SEGMENT_CHUNK_ROWS];
    static uint64_t values[SEGMENT_CHUNK_ROWS];
    const char *strings;

    cr_assert_eq(segment_cursor_field(cursor, chunk, field, present, values, &strings), ERR_OK,
                 "%s", err_detail());
    for (uint32_t i = 0; i < cursor->chunks[chunk].rows; i++) {
        uint64_t bits = rows.values[field][first + i];

        cr_assert_eq(present[i], rows.present[field][first + i]);
        if (!present[i])
            cr_assert_eq(values[i], 0);
        else if (fields[field].type != FIELD_STRING)
            cr_assert_eq(values[i], bits);
        else
            cr_assert(values[i] >> 32 == bits >> 32 &&
                      memcmp(strings + (uint32_t)values[i], texts + (uint32_t)bits, bits >> 32) ==
                          0);
    }
}

static void expect_chunk(struct segment_cursor *cursor, uint32_t chunk, uint32_t first)
{
    static uint32_t ids[SEGMENT_CHUNK_ROWS], counts[SEGMENT_CHUNK_ROWS];
    static int64_t times_ns[SEGMENT_CHUNK_ROWS];
    const struct segment_chunk *info = &cursor->chunks[chunk];
    uint32_t row = 0;

    cr_assert_eq(segment_cursor_runs(cursor, chunk, ids, counts), ERR_OK);
    cr_assert_eq(segment_cursor_times(cursor, chunk, times_ns), ERR_OK);
    for (uint32_t run = 0; run < info->runs; run++)
        for (uint32_t end = row + counts[run]; row < end; row++)
            cr_assert_eq(ids[run], rows.ids[first + row]);
    cr_assert_eq(row, info->rows);
    cr_assert_arr_eq(times_ns, rows.times_ns + first, info->rows * sizeof *times_ns);
    for (uint32_t field = 0; field < FIELDS; field++) {
        expect_stats(cursor, chunk, field, first);
        expect_field(cursor, chunk, field, first);
    }
}

static void expect_rows(const struct segment *segment)
{
    struct segment_cursor *cursor = calloc(1, sizeof *cursor);
    uint32_t row = 0;

    for (uint32_t group = 0; group < segment_groups(segment); group++) {
        cr_assert_eq(segment_cursor_open(cursor, segment, group), ERR_OK, "%s", err_detail());
        for (uint32_t chunk = 0; chunk < cursor->group->chunks; chunk++) {
            expect_chunk(cursor, chunk, row);
            row += cursor->chunks[chunk].rows;
        }
    }
    cr_assert_eq(row, rows.count);
    segment_cursor_fini(cursor);
    free(cursor);
}

Test(segment, gives_back_what_was_written)
{
    uint64_t chance = seed_of_run("segment");

    for (uint32_t round = 0; round < 30; round++) {
        struct segment_info info;
        struct segment *segment;
        uint64_t hash = 0;

        draw_rows(&chance);
        for (uint32_t at_once = ROWS; at_once > 0; at_once /= 37) {
            info = write_rows(at_once);
            cr_assert(hash == 0 || hash == info.hash, "with %u rows at once", at_once);
            hash = info.hash;
        }
        segment = open_rows(&info);
        expect_rows(segment);
        segment_unref(segment);
    }
}

Test(segment, has_another_hash_for_another_value)
{
    uint64_t chance = seed_of_run("segment hash"), hash;

    draw_rows(&chance);
    hash = write_rows(ROWS).hash;
    rows.values[1][rows.count / 2] ^= 1;
    cr_assert_neq(write_rows(ROWS).hash, hash);
}

/* ---- What claims too much ------------------------------------------------------------------- */

/* Change four bytes of the directory or the footer, make the sums right, and open it. */
static enum err open_changed(const uint8_t *good, size_t size, size_t at, uint32_t value)
{
    uint8_t *bytes = malloc(size);
    struct segment_footer footer;
    struct segment_info info = {.number = 1, .first_index = 1, .last_index = 2, .size = size};
    struct segment *segment;
    enum err err;

    memcpy(bytes, good, size);
    memcpy(bytes + at, &value, sizeof value);
    memcpy(&footer, bytes + size - sizeof footer, sizeof footer);
    if (footer.directory_offset < size - sizeof footer)
        footer.directory_crc = crc32c(0, bytes + footer.directory_offset,
                                      size - sizeof footer - footer.directory_offset);
    footer.crc = segment_footer_crc(&footer);
    memcpy(bytes + size - sizeof footer, &footer, sizeof footer);
    info.rows = footer.rows;
    info.points = footer.points;
    info.groups = footer.groups;
    info.hash = footer.hash;
    mem_disk_put(rows.disk, "data/00000001.mrs", bytes, size);
    err = segment_open(mem_disk_table(rows.disk), "data", 0, &info, &segment);
    if (err == ERR_OK)
        segment_unref(segment);
    free(bytes);
    return err;
}

Test(segment, is_refused_if_it_claims_what_it_has_no_bytes_for)
{
    static const uint32_t claims[] = {0, 0x7fffffff, 0xffffffff, 0x10000};
    uint64_t chance = seed_of_run("segment claims");
    size_t size = 0, directory;
    struct segment_info info;
    struct segment_footer footer;
    uint8_t *bytes;

    draw_rows(&chance);
    info = write_rows(ROWS);
    bytes = mem_disk_get(rows.disk, "data/00000001.mrs", &size);
    cr_assert_eq(size, info.size);
    memcpy(&footer, bytes + size - sizeof footer, sizeof footer);
    directory = footer.directory_offset;
    for (size_t i = 0; i < sizeof claims / sizeof claims[0]; i++) {
        size_t footer_at = size - sizeof footer, group_at = footer_at - 64 * footer.groups;

        /* Groups, offset of the directory, tables; fields of a table; places of a group. */
        cr_assert_eq(open_changed(bytes, size, footer_at + 12, claims[i]), ERR_CORRUPT);
        cr_assert_eq(open_changed(bytes, size, footer_at + 16, claims[i]), ERR_CORRUPT);
        cr_assert_eq(open_changed(bytes, size, footer_at + 28, claims[i]), ERR_CORRUPT);
        cr_assert_eq(open_changed(bytes, size, directory + 4, claims[i]), ERR_CORRUPT);
        for (size_t at = 0; at < 28; at += 4)
            cr_assert(at == 4 || at == 12 || (at == 16 && claims[i] == 0) ||
                          open_changed(bytes, size, group_at + at, claims[i]) == ERR_CORRUPT,
                      "%zu %u", at, claims[i]);
    }
    free(bytes);
}

Test(segment, takes_rows_with_long_strings_and_with_many_fields)
{
    enum { MANY = 3000, LONG = 3 << 20 };
    const struct disk *disk = mem_disk_table(rows.disk);
    struct segment_info info = {.number = 1, .first_index = 1, .last_index = 2};
    struct segment_field *many = calloc(MANY, sizeof *many);
    const char **in_fields = calloc(MANY, sizeof(char *));
    uint64_t *row = calloc(segment_row_words(MANY), sizeof *row);
    struct segment_table wide = {1, MANY, many};
    char *text = malloc(LONG), names[MANY][8];
    struct segment_writer *writer;
    struct segment *segment;

    memset(text, 'x', LONG);
    for (uint32_t i = 0; i < MANY; i++) {
        (void)snprintf(names[i], sizeof names[i], "f%u", i);
        many[i] =
            (struct segment_field){{names[i], strlen(names[i])}, i == 0 ? FIELD_STRING : FIELD_INT};
        in_fields[i] = text;
        row[segment_row_at(MANY, i)] = i == 0 ? column_string_make(0, LONG) : 7;
        if (i % 2 == 0)
            segment_row_set(row, i);
    }
    cr_assert_eq(segment_writer_new(disk, "data", 0, &info, &writer), ERR_OK);
    cr_assert_eq(segment_writer_table(writer, &wide), ERR_OK);
    for (int64_t i = 0; i < 5; i++) {
        cr_assert_eq(segment_writer_series(writer, (uint32_t)i, 1), ERR_OK);
        row[0] = (uint64_t)i;
        cr_assert_eq(segment_writer_rows(writer, row, in_fields, 1), ERR_OK);
    }
    cr_assert_eq(segment_writer_finish(writer, &info), ERR_OK, "%s", err_detail());
    segment_writer_free(writer);
    segment = open_rows(&info);
    cr_assert_gt(segment_groups(segment), 1);
    cr_assert_eq(info.points, 5 * MANY / 2);
    segment_unref(segment);
    free(many);
    free(in_fields);
    free(row);
    free(text);
}
