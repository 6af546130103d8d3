/*
 * A check of a segment names whatever is wrong with it, at the right place.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/segment_check.h"
#include "storage/segment_format.h"
#include "storage/segment_row.h"
#include "storage/segment_writer.h"
#include "tests/support/mem_disk.h"

enum { CHUNKS = 3, REPORTS_MAX = 64 };

#define PATH "./00000007.mrs"

struct reports {
    struct damage damage[REPORTS_MAX];
    char what[REPORTS_MAX][256];
    size_t count;
};

static void note(void *arg, const struct damage *damage)
{
    struct reports *reports = arg;

    cr_assert_str_eq(damage->path, PATH);
    if (reports->count < REPORTS_MAX) {
        reports->damage[reports->count] = *damage;
        (void)snprintf(reports->what[reports->count], sizeof reports->what[0], "%s", damage->what);
    }
    reports->count++;
}

static void add_rows(struct segment_writer *writer, uint32_t id, uint32_t rows, int64_t from_ns)
{
    enum { FIELDS = 3, WORDS = 5 };
    static uint64_t words[2 * SEGMENT_CHUNK_ROWS][WORDS];
    const char *const in_fields[] = {NULL, "abc", NULL};

    cr_assert_eq(segment_row_words(FIELDS), WORDS);
    for (uint32_t i = 0; i < rows; i++) {
        uint64_t *row = words[i];
        double value = (double)(i % 97) / 4;

        row[0] = (uint64_t)(from_ns + (int64_t)i * 1000);
        row[1] = i % 3 != 0 ? 7 : 6; /* The first field is not everywhere. */
        memcpy(&row[2], &value, sizeof value);
        row[3] = row[4] = (uint64_t)3 << 32; /* Of size 3, at 0: also an integer. */
    }
    cr_assert_eq(segment_writer_series(writer, id, rows), ERR_OK);
    cr_assert_eq(segment_writer_rows(writer, words[0], in_fields, rows), ERR_OK);
}

/* Two tables: one with a long series and small ones, one with a single row. */
static struct mem_disk *make(struct segment_info *info)
{
    static const struct segment_field fields[] = {
        {{"f", 1}, FIELD_FLOAT}, {{"s", 1}, FIELD_STRING}, {{"u", 1}, FIELD_UINT}};
    struct mem_disk *disk = mem_disk_new();
    struct segment_table table = {.number = 2, .field_count = 3, .fields = fields};
    struct segment_writer *writer;

    *info = (struct segment_info){.number = 7, .first_index = 3, .last_index = 9};
    cr_assert_eq(segment_writer_new(mem_disk_table(disk), ".", 5, info, &writer), ERR_OK);
    cr_assert_eq(segment_writer_table(writer, &table), ERR_OK);
    add_rows(writer, 1, 1500, 0);
    add_rows(writer, 2, 3, 500);
    add_rows(writer, 3, 30, -77);
    table.number = 4;
    cr_assert_eq(segment_writer_table(writer, &table), ERR_OK);
    add_rows(writer, 8, 2, 9);
    cr_assert_eq(segment_writer_finish(writer, info), ERR_OK);
    segment_writer_free(writer);
    return disk;
}

static void check(struct mem_disk *disk, const struct catalog_view *series,
                  struct reports *ret_reports)
{
    struct damage_sink sink = {.report = note, .arg = ret_reports};
    struct segment *segment;
    uint32_t shard;

    ret_reports->count = 0;
    if (segment_open_alone(mem_disk_table(disk), PATH, false, &shard, &segment) != ERR_OK) {
        damage_report_error(&sink, PATH);
        return;
    }
    cr_assert_eq(shard, 5);
    cr_assert_eq(segment_check(segment, series, &sink), ERR_OK);
    cr_assert_eq(sink.count, ret_reports->count);
    segment_unref(segment);
}

Test(segment_check, finds_nothing_in_a_good_one)
{
    struct segment_info info;
    struct mem_disk *disk = make(&info);
    struct reports reports;

    check(disk, NULL, &reports);
    cr_assert_eq(reports.count, 0, "%s", reports.what[0]);
    cr_assert_eq(mem_disk_open_files(disk), 0);
    mem_disk_free(disk);
}

/* The first report is of the frame, piece or end that the byte belongs to: as bytes ascend, so do
 * the places that are named, and none is behind its byte. */
Test(segment_check, finds_every_flipped_byte_where_it_is)
{
    struct segment_info info;
    struct mem_disk *disk = make(&info);
    uint64_t last = 0;
    struct reports reports;

    for (uint64_t at = 0; at < info.size; at++) {
        uint8_t mask = (uint8_t)(1 << at % 8);

        mem_disk_flip(disk, PATH, at, mask);
        check(disk, NULL, &reports);
        cr_assert_eq(reports.count, 1, "%zu reports of byte %u", reports.count, (unsigned)at);
        cr_assert(reports.damage[0].offset <= at && reports.damage[0].offset >= last,
                  "byte %u is named as %llu (%s) behind %llu", (unsigned)at,
                  (unsigned long long)reports.damage[0].offset, reports.what[0],
                  (unsigned long long)last);
        last = reports.damage[0].offset;
        mem_disk_flip(disk, PATH, at, mask);
    }
    cr_assert_eq(last, info.size - sizeof(struct segment_footer));
    mem_disk_free(disk);
}

Test(segment_check, finds_a_cut_at_every_place)
{
    struct segment_info info;
    struct mem_disk *disk = make(&info);
    size_t size = 0;
    uint8_t *bytes = mem_disk_get(disk, PATH, &size);
    struct reports reports;

    for (size_t kept = 0; kept < size; kept++) {
        mem_disk_put(disk, PATH, bytes, kept);
        check(disk, NULL, &reports);
        cr_assert_eq(reports.count, 1, "%zu bytes", kept);
    }
    free(bytes);
    mem_disk_free(disk);
}

/* ---- Good checksums, wrong contents -------------------------------------------------------- */

/* Change a word of the entry of a chunk in the first group, and make its piece's sum right. */
static void forge(struct mem_disk *disk, const struct segment_group *group, uint32_t column,
                  uint32_t chunk, size_t at, uint64_t add)
{
    uint64_t offset = segment_piece_offset(group, column);
    size_t size = segment_piece_size(group->chunks), file_size = 0;
    uint8_t *bytes = mem_disk_get(disk, PATH, &file_size);
    uint8_t *word = bytes + offset + SEGMENT_PIECE_HEADER + chunk * sizeof(struct segment_stats);
    uint64_t value;
    uint32_t crc;

    memcpy(&value, word + at, sizeof value);
    value += add;
    memcpy(word + at, &value, sizeof value);
    crc = segment_crc(offset, bytes + offset, size);
    memcpy(bytes + offset, &crc, sizeof crc);
    mem_disk_put(disk, PATH, bytes, file_size);
    free(bytes);
}

static struct segment_group first_group(struct mem_disk *disk)
{
    struct segment *segment;
    struct segment_group group;
    uint32_t shard;

    cr_assert_eq(segment_open_alone(mem_disk_table(disk), PATH, false, &shard, &segment), ERR_OK);
    group = *segment_group(segment, 0);
    segment_unref(segment);
    return group;
}

Test(segment_check, works_the_index_out_again)
{
    static const struct {
        size_t at;
        const char *what;
    } words[] = {
        {offsetof(struct segment_stats, min), "another smallest value of field f in chunk 1"},
        {offsetof(struct segment_stats, max), "another largest value of field f in chunk 1"},
        {offsetof(struct segment_stats, sum), "another sum of field f in chunk 1"},
        {offsetof(struct segment_stats, first), "another first value of field f in chunk 1"},
        {offsetof(struct segment_stats, last), "another last value of field f in chunk 1"},
    };

    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        struct segment_info info;
        struct mem_disk *disk = make(&info);
        struct segment_group group = first_group(disk);
        struct reports reports;

        cr_assert_eq(group.chunks, CHUNKS);
        forge(disk, &group, 2, 1, words[i].at, 1);
        check(disk, NULL, &reports);
        cr_assert_eq(reports.count, 2, "%zu", reports.count); /* And the hash. */
        cr_assert_not_null(strstr(reports.what[0], words[i].what), "%s", reports.what[0]);
        cr_assert_eq(reports.damage[0].offset, segment_piece_offset(&group, 2) +
                                                   SEGMENT_PIECE_HEADER +
                                                   sizeof(struct segment_stats));
        cr_assert_not_null(strstr(reports.what[1], "hash"), "%s", reports.what[1]);
        mem_disk_free(disk);
    }
}

Test(segment_check, works_the_ranges_of_times_out_again)
{
    struct segment_info info;
    struct mem_disk *disk = make(&info);
    struct segment_group group = first_group(disk);
    struct reports reports;

    forge(disk, &group, 1, 2, offsetof(struct segment_chunk, time_max_ns), 1);
    check(disk, NULL, &reports);
    cr_assert_eq(reports.count, 2);
    cr_assert_not_null(strstr(reports.what[0], "times"), "%s", reports.what[0]);
    mem_disk_free(disk);
}

/* The writer trusts who calls it. */
Test(segment_check, finds_rows_out_of_order)
{
    static const struct segment_field fields[] = {
        {{"f", 1}, FIELD_FLOAT}, {{"s", 1}, FIELD_STRING}, {{"u", 1}, FIELD_UINT}};
    const struct segment_table table = {.number = 2, .field_count = 3, .fields = fields};
    struct segment_info info = {.number = 7, .first_index = 3, .last_index = 9};
    struct mem_disk *disk = mem_disk_new();
    struct segment_writer *writer;
    struct reports reports;

    cr_assert_eq(segment_writer_new(mem_disk_table(disk), ".", 5, &info, &writer), ERR_OK);
    cr_assert_eq(segment_writer_table(writer, &table), ERR_OK);
    add_rows(writer, 1, 1000, 0);
    add_rows(writer, 1, 1000, 0); /* The same times again, in the next chunk. */
    cr_assert_eq(segment_writer_finish(writer, &info), ERR_OK);
    segment_writer_free(writer);
    check(disk, NULL, &reports);
    cr_assert(reports.count >= 1);
    cr_assert_not_null(strstr(reports.what[0], "out of order"), "%s", reports.what[0]);
    mem_disk_free(disk);
}

Test(segment_check, finds_series_that_the_catalog_lacks)
{
    struct segment_info info;
    struct mem_disk *disk = make(&info);
    struct catalog *catalog;
    struct catalog_view view;
    struct reports reports;

    cr_assert_eq(catalog_new(&catalog), ERR_OK);
    view = catalog_view(catalog);
    check(disk, &view, &reports);
    cr_assert_eq(reports.count, 5, "%zu", reports.count); /* 1 in two chunks, 2, 3 and 8. */
    cr_assert_not_null(strstr(reports.what[0], "the catalog has 0"), "%s", reports.what[0]);
    catalog_view_fini(&view);
    catalog_free(catalog);
    mem_disk_free(disk);
}

/* ---- Salvage ------------------------------------------------------------------------------- */

Test(segment_check, a_segment_with_a_damaged_end_can_still_be_opened)
{
    struct segment_info info;
    struct mem_disk *disk = make(&info);
    const struct disk *table = mem_disk_table(disk);
    struct segment *segment;
    uint32_t shard;

    mem_disk_flip(disk, PATH, 5, 1);              /* The header's checksum, */
    mem_disk_flip(disk, PATH, info.size - 90, 1); /* and the footer's. */
    cr_assert_eq(segment_open_alone(table, PATH, false, &shard, &segment), ERR_CORRUPT);
    cr_assert_eq(segment_open_alone(table, PATH, true, &shard, &segment), ERR_OK, "%s",
                 err_detail());
    cr_assert_eq(segment_info(segment)->rows, info.rows);
    segment_unref(segment);
    cr_assert_eq(segment_open_alone(table, "./none", false, &shard, &segment), ERR_NOT_FOUND);
    cr_assert_eq(mem_disk_open_files(disk), 0);
    mem_disk_free(disk);
}
