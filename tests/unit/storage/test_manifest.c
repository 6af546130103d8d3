#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/crc32c.h"
#include "storage/manifest.h"
#include "storage/marks.h"
#include "tests/support/mem_disk.h"

static void add_compaction(struct manifest *manifest, uint64_t number, const uint64_t *inputs,
                           uint32_t count)
{
    struct compaction compaction = {.info = manifest->segments[0], .input_count = count};

    compaction.info.number = number;
    compaction.info.last_index = 80;
    compaction.info.clean_index = 80 + number;
    compaction.info.size = compaction.info.rows = compaction.info.points = 0;
    compaction.info.hash = compaction.info.groups = 0;
    compaction.cutoff_ns = -20;
    compaction.inputs = malloc((count + 1) * sizeof *inputs);
    memcpy(compaction.inputs, inputs, count * sizeof *inputs);
    cr_assert_eq(compactions_add(&manifest->compactions, &compaction), ERR_OK);
}

static struct manifest sample(void)
{
    struct manifest manifest = {.shard = 3,
                                .sealed_index = 90,
                                .next_segment = 7,
                                .chain = 0x1122334455667788,
                                .rows = 10,
                                .points = 20,
                                .catalog = {2, {{0, 3, 300, 7}, {3, 1, 200, 8}}}};
    struct mark mark = {{"db", 2}, -50, 3, 77};
    struct segment_info info = {.number = 2,
                                .first_index = 1,
                                .last_index = 40,
                                .clean_index = 40,
                                .database = 1,
                                .window_first_ns = -100,
                                .window_last_ns = 99,
                                .size = 5000,
                                .rows = 4,
                                .points = 8,
                                .time_min_ns = -7,
                                .time_max_ns = 7,
                                .bound_ns = 9,
                                .hash = 99,
                                .groups = 1};

    info.number = 4;
    info.first_index = 41;
    info.last_index = 80;
    info.clean_index = 80;
    cr_assert_eq(manifest_add(&manifest, &info), ERR_OK);
    info.number = 2;
    info.first_index = 1;
    info.last_index = info.clean_index = 40;
    cr_assert_eq(manifest_add(&manifest, &info), ERR_OK); /* To its place, the first. */
    add_compaction(&manifest, 5, (uint64_t[]){2, 4}, 2);
    add_compaction(&manifest, 6, (uint64_t[]){5}, 1);
    cr_assert_eq(marks_put(&manifest.marks, &mark), ERR_OK);
    bytes_put_u32(&manifest.producers, 0);
    return manifest;
}

static void expect_sample(const struct manifest *manifest)
{
    cr_assert_eq(manifest->shard, 3);
    cr_assert_eq(manifest->sealed_index, 90);
    cr_assert_eq(manifest->next_segment, 7);
    cr_assert_eq(manifest->chain, 0x1122334455667788);
    cr_assert_eq(manifest->rows, 10);
    cr_assert_eq(manifest->points, 20);
    cr_assert_eq(manifest->catalog.count, 2);
    cr_assert_eq(manifest->catalog.files[1].first, 3);
    cr_assert_eq(manifest->catalog.files[1].size, 200);
    cr_assert_eq(manifest->segment_count, 2);
    cr_assert_eq(manifest->segments[0].number, 2);
    cr_assert_eq(manifest->segments[0].database, 1);
    cr_assert_eq(manifest->segments[0].window_first_ns, -100);
    cr_assert_eq(manifest->segments[0].window_last_ns, 99);
    cr_assert_eq(manifest->segments[0].time_min_ns, -7);
    cr_assert_eq(manifest->segments[1].hash, 99);
    cr_assert_eq(manifest->segments[1].last_index, 80);
    cr_assert_eq(manifest->segments[1].clean_index, 80);
    cr_assert_eq(manifest->segments[1].bound_ns, 9);
    cr_assert_eq(manifest->compactions.count, 2);
    cr_assert_eq(manifest->compactions.items[0].info.clean_index, 85);
    cr_assert_eq(manifest->compactions.items[0].cutoff_ns, -20);
    cr_assert_eq(manifest->compactions.items[0].input_count, 2);
    cr_assert_eq(manifest->compactions.items[0].inputs[1], 4);
    cr_assert_eq(manifest->compactions.items[1].inputs[0], 5);
    cr_assert_eq(marks_find(&manifest->marks, (struct slice){"db", 2}).cutoff_ns, -50);
    cr_assert_eq(manifest->producers.size, 4);
}

Test(manifest, comes_back_as_it_was)
{
    struct manifest manifest = sample();
    struct manifest read;
    struct bytes bytes = {0};

    manifest_encode(&manifest, &bytes);
    cr_assert_eq(manifest_decode(bytes.data, bytes.size, &read), ERR_OK, "%s", err_detail());
    expect_sample(&read);
    manifest_fini(&read);
    manifest_fini(&manifest);
    bytes_fini(&bytes);
}

Test(manifest, notices_every_flipped_bit_and_every_cut)
{
    struct manifest manifest = sample();
    struct manifest read;
    struct bytes bytes = {0};

    manifest_encode(&manifest, &bytes);
    for (size_t bit = 0; bit < bytes.size * 8; bit++) {
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(manifest_decode(bytes.data, bytes.size, &read), ERR_CORRUPT, "bit %zu", bit);
        bytes.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    for (size_t cut = 0; cut < bytes.size; cut++)
        cr_assert_eq(manifest_decode(bytes.data, cut, &read), ERR_CORRUPT, "cut at %zu", cut);
    manifest_fini(&manifest);
    bytes_fini(&bytes);
}

/* Decode after a change of the sample, with the sum made right again. */
static enum err decode_changed(size_t at, uint8_t value)
{
    struct manifest manifest = sample();
    struct manifest read = {0};
    struct bytes bytes = {0};
    uint32_t crc;
    enum err err;

    manifest_encode(&manifest, &bytes);
    bytes.data[at] = value;
    crc = crc32c(0, bytes.data + 8, bytes.size - 8);
    memcpy(bytes.data + 4, &crc, sizeof crc);
    err = manifest_decode(bytes.data, bytes.size, &read);
    manifest_fini(&read);
    manifest_fini(&manifest);
    bytes_fini(&bytes);
    return err;
}

Test(manifest, refuses_contents_that_contradict_themselves)
{
    enum {
        SEGMENTS = 112, /* docs/formats.md. */
        SEGMENT = 112,
        COMPACTIONS = SEGMENTS + 2 * SEGMENT + 4,
        COMPACTION = 88,
        MARKS = COMPACTIONS + 2 * COMPACTION + 3 * 8,
    };

    cr_assert_eq(decode_changed(12, 3), ERR_OK);
    cr_assert_eq(decode_changed(8, 99), ERR_VERSION);
    cr_assert_eq(decode_changed(16, 1), ERR_CORRUPT);                 /* Size. */
    cr_assert_eq(decode_changed(24, 70), ERR_CORRUPT);                /* Sealed before a segment. */
    cr_assert_eq(decode_changed(32, 4), ERR_CORRUPT);                 /* Next number is in use. */
    cr_assert_eq(decode_changed(SEGMENTS - 4, 200), ERR_CORRUPT);     /* Count. */
    cr_assert_eq(decode_changed(SEGMENTS + SEGMENT, 2), ERR_CORRUPT); /* Number twice. */
    cr_assert_eq(decode_changed(SEGMENTS + SEGMENT + 16, 39), ERR_CORRUPT); /* Order. */
    cr_assert_eq(decode_changed(SEGMENTS + SEGMENT + 24, 79), ERR_CORRUPT); /* Clean of its own. */
    cr_assert_eq(decode_changed(SEGMENTS + 44, 6), ERR_CORRUPT); /* Rows behind a window. */
    cr_assert_eq(decode_changed(SEGMENTS + 92, 6), ERR_CORRUPT); /* Rows behind the bound. */
    cr_assert_eq(decode_changed(COMPACTIONS - 4, 200), ERR_CORRUPT);
    cr_assert_eq(decode_changed(COMPACTIONS, 4), ERR_CORRUPT);              /* In use. */
    cr_assert_eq(decode_changed(COMPACTIONS, 6), ERR_CORRUPT);              /* Order. */
    cr_assert_eq(decode_changed(COMPACTIONS + 84, 255), ERR_CORRUPT);       /* Inputs. */
    cr_assert_eq(decode_changed(COMPACTIONS + COMPACTION, 3), ERR_CORRUPT); /* Not there. */
    cr_assert_eq(decode_changed(COMPACTIONS + COMPACTION, 4), ERR_CORRUPT); /* Twice. */
    cr_assert_eq(decode_changed(COMPACTIONS + COMPACTION, 6), ERR_CORRUPT); /* Not older. */
    cr_assert_eq(decode_changed(MARKS, 26), ERR_CORRUPT);                   /* Marks end early. */
    cr_assert_eq(decode_changed(MARKS + 4, 0), ERR_CORRUPT);                /* Without a name. */
}

Test(manifest, lines_up_what_there_is_to_be)
{
    struct manifest manifest = sample();
    const struct segment_info **infos;
    uint32_t count;

    cr_assert_eq(manifest_line_up(&manifest, &infos, &count), ERR_OK);
    cr_assert_eq(count, 1);
    cr_assert_eq(infos[0]->number, 6);
    free(infos);
    compactions_remove(&manifest.compactions, 6);
    compactions_remove(&manifest.compactions, 5);
    cr_assert_eq(manifest_line_up(&manifest, &infos, &count), ERR_OK);
    cr_assert_eq(count, 2);
    cr_assert_eq(infos[0]->number, 2);
    free(infos);
    manifest_fini(&manifest);
}

Test(manifest, takes_several_segments_of_one_seal)
{
    struct manifest manifest = sample();
    struct segment_info info = manifest.segments[1];
    struct manifest read;
    struct bytes bytes = {0};

    manifest.next_segment = 8;
    info.number = 7;
    info.database = 0;
    cr_assert_eq(manifest_add(&manifest, &info), ERR_OK);
    manifest_encode(&manifest, &bytes);
    cr_assert_eq(manifest_decode(bytes.data, bytes.size, &read), ERR_OK, "%s", err_detail());
    cr_assert_eq(read.segment_count, 3);
    manifest_fini(&read);
    manifest_fini(&manifest);
    bytes_fini(&bytes);
}

Test(manifest, replaces_the_old_one_wholly_or_not_at_all)
{
    struct mem_disk *disk = mem_disk_new();
    struct manifest manifest = sample();
    struct manifest read;

    cr_assert_eq(mem_disk_table(disk)->make_dir(disk, "data"), ERR_OK);
    cr_assert_eq(mem_disk_table(disk)->sync_dir(disk, "."), ERR_OK);
    cr_assert_eq(manifest_load(mem_disk_table(disk), "data", 3, &read), ERR_NOT_FOUND);
    cr_assert_eq(manifest_save(&manifest, mem_disk_table(disk), "data"), ERR_OK);
    manifest.rows = 11;
    mem_disk_fail(disk, MEM_DISK_RENAME, 1, ERR_IO, true);
    cr_assert_eq(manifest_save(&manifest, mem_disk_table(disk), "data"), ERR_IO);
    mem_disk_crash(disk, MEM_DISK_POWER, 0);
    cr_assert_eq(manifest_load(mem_disk_table(disk), "data", 3, &read), ERR_OK, "%s", err_detail());
    expect_sample(&read);
    manifest_fini(&read);
    cr_assert_eq(manifest_load(mem_disk_table(disk), "data", 4, &read), ERR_CORRUPT);
    manifest_fini(&manifest);
    mem_disk_free(disk);
}
