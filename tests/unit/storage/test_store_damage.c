/*
 * A shard with damaged files starts, says what it cannot answer, and is whole again once good files
 * are there.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/catalog_run.h"
#include "storage/segment_damage.h"
#include "storage/segment_verify.h"
#include "storage/store_damage.h"
#include "storage/store_internal.h"
#include "tests/support/replica.h"

enum { FILES_MAX = 16 };

static struct replica replica;
static struct contents good;
static struct store_file files[FILES_MAX];
static uint32_t file_count;
static const struct query everything = {
    .database = "db", .table = "cpu", .from_ns = INT64_MIN, .to_ns = INT64_MAX};

static void write_some(const char *host, int64_t from, size_t count)
{
    struct entries_value values[8] = {0};

    for (size_t i = 0; i < count; i++)
        values[i] = (struct entries_value){.table = "cpu",
                                           .host = host,
                                           .field = "v",
                                           .type = FIELD_FLOAT,
                                           .bits = (uint64_t)i,
                                           .time_ns = from + (int64_t)i};
    replica_write(&replica, &(struct entries_from){0}, values, count);
}

static void list_files(void)
{
    struct store_file *list = NULL;

    cr_assert_eq(store_files(replica.store, &list, &file_count), ERR_OK);
    cr_assert_leq(file_count, FILES_MAX);
    memcpy(files, list, file_count * sizeof *list);
    free(list);
}

/* A run of the catalog and two segments, of times 0 to 7 and 100 to 107. */
static void make(void)
{
    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK);
    write_some("a", 0, 8);
    cr_assert_eq(replica_seal(&replica), ERR_OK);
    write_some("b", 100, 8);
    cr_assert_eq(replica_seal(&replica), ERR_OK);
    cr_assert_eq(replica_read(&replica, &good), ERR_OK);
    list_files();
    cr_assert_eq(file_count, 3);
}

static void unmake(void)
{
    contents_fini(&good);
    replica_fini(&replica);
}

TestSuite(store_damage, .init = make, .fini = unmake);

static void path_of(const struct store_file *file, const char *end, char path[64])
{
    char name[STORE_FILE_NAME_SIZE];

    store_file_name(file, name);
    (void)snprintf(path, 64, "data/%s%s", name, end);
}

static void expect_good(void)
{
    struct contents now;

    cr_assert_eq(replica_read(&replica, &now), ERR_OK, "%s", err_detail());
    cr_assert(contents_equal(&good, &now));
    contents_fini(&now);
    cr_assert_eq(store_check_damage(replica.store, &everything), ERR_OK);
}

/* What the damaged file was before, as from another node, installed and opened. */
static void mend(const struct store_file *file, const uint8_t *bytes, size_t size)
{
    const struct disk *disk = mem_disk_table(replica.disk);
    struct segment *segment = NULL;
    struct catalog_run *run = NULL;
    char path[64];

    path_of(file, ".mend.tmp", path);
    mem_disk_put(replica.disk, path, bytes, size);
    cr_assert_eq(store_verify_file(disk, path, 0, file), ERR_OK, "%s", err_detail());
    cr_assert_eq(store_install(replica.store, file, path), ERR_OK, "%s", err_detail());
    cr_assert_not(mem_disk_exists(replica.disk, path));
    if (file->kind == STORE_FILE_SEGMENT) {
        cr_assert_eq(segment_open(disk, "data", 0, &file->segment, &segment), ERR_OK);
        cr_assert(store_take_segment(replica.store, segment));
    } else {
        cr_assert_eq(catalog_file_open(disk, "data", 0, &file->run, &run), ERR_OK);
        cr_assert_eq(store_take_run(replica.store, run), ERR_OK, "%s", err_detail());
        catalog_run_unref(run);
    }
}

Test(store_damage, every_flipped_bit_of_every_file_is_found_by_verifying)
{
    const struct disk *disk = mem_disk_table(replica.disk);

    for (uint32_t f = 0; f < file_count; f++) {
        char path[64];

        path_of(&files[f], "", path);
        cr_assert_eq(store_verify_file(disk, path, 0, &files[f]), ERR_OK, "%s", err_detail());
        for (uint64_t bit = 0; bit < files[f].size * 8; bit++) {
            enum err err;

            mem_disk_flip(replica.disk, path, bit / 8, (uint8_t)(1u << bit % 8));
            err = store_verify_file(disk, path, 0, &files[f]);
            cr_assert_eq(err, ERR_CORRUPT, "%s bit %lu", path, (unsigned long)bit);
            cr_assert_not_null(strstr(err_detail(), path), "%s", err_detail());
            mem_disk_flip(replica.disk, path, bit / 8, (uint8_t)(1u << bit % 8));
        }
        cr_assert_eq(mem_disk_open_files(replica.disk), 2); /* The store's segments. */
    }
}

Test(store_damage, a_shard_starts_with_a_damaged_segment_and_refuses_what_needs_it)
{
    struct query early = everything, late = everything, series = everything;
    struct store_file file;
    struct contents now;
    uint8_t *bytes;
    size_t size = 0;
    uint32_t at = 0;
    char path[64];

    early.to_ns = 50;
    late.from_ns = 50;
    series.about = QUERY_SERIES;
    path_of(&files[1], "", path);
    bytes = mem_disk_get(replica.disk, path, &size);
    replica_close(&replica);
    mem_disk_flip(replica.disk, path, size - 90, 4); /* The footer. */
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    cr_assert(mem_disk_exists(replica.disk, path), "it stays until there is a good one");
    cr_assert_eq(store_check_damage(replica.store, &everything), ERR_CORRUPT);
    cr_assert_not_null(strstr(err_detail(), path), "%s", err_detail());
    cr_assert_eq(store_check_damage(replica.store, &early), ERR_CORRUPT);
    cr_assert_eq(store_check_damage(replica.store, &late), ERR_OK);
    cr_assert_eq(store_check_damage(replica.store, &series), ERR_OK);
    cr_assert_eq(replica_read(&replica, &now), ERR_CORRUPT, "who asks all the same fails");
    cr_assert(store_next_damaged(replica.store, &at, &file));
    cr_assert(store_file_is(&file, &files[1]));
    cr_assert_not(store_next_damaged(replica.store, &at, &file));
    mend(&files[1], bytes, size);
    expect_good();
    at = 0;
    cr_assert_not(store_next_damaged(replica.store, &at, &file));
    free(bytes);
}

Test(store_damage, a_reader_flags_what_it_meets)
{
    struct snapshot *before = store_snapshot(replica.store);
    struct contents now;
    struct store_file file;
    uint8_t *bytes;
    size_t size = 0;
    uint32_t at = 0;
    char path[64];

    path_of(&files[2], "", path);
    bytes = mem_disk_get(replica.disk, path, &size);
    mem_disk_flip(replica.disk, path, 70, 1);
    cr_assert_eq(store_check_damage(replica.store, &everything), ERR_OK);
    cr_assert_eq(replica_read(&replica, &now), ERR_CORRUPT);
    cr_assert_eq(store_check_damage(replica.store, &everything), ERR_CORRUPT);
    cr_assert(store_next_damaged(replica.store, &at, &file));
    cr_assert(store_file_is(&file, &files[2]));
    mend(&files[2], bytes, size);
    expect_good();
    snapshot_free(before); /* Holds the old file until now. */
    free(bytes);
}

Test(store_damage, an_unreadable_sector_is_damage)
{
    struct contents now;
    uint32_t at = 0;
    struct store_file file;

    mem_disk_fail(replica.disk, MEM_DISK_READ, 1, ERR_IO, false);
    cr_assert_eq(replica_read(&replica, &now), ERR_IO);
    cr_assert(store_next_damaged(replica.store, &at, &file));
}

Test(store_damage, a_damaged_catalog_stops_a_shard_until_it_is_replaced)
{
    uint8_t *bytes;
    size_t size = 0;
    char path[64];

    path_of(&files[0], "", path);
    bytes = mem_disk_get(replica.disk, path, &size);
    store_blame(replica.store, &files[0]);
    cr_assert(store_is_blind(replica.store));
    cr_assert_eq(store_check_damage(replica.store, &everything), ERR_CORRUPT);
    mend(&files[0], bytes, size);
    store_see(replica.store);
    cr_assert_not(store_is_blind(replica.store));
    expect_good();
    write_some("a", 200, 3); /* Known series are found in the new run, new ones are added to it. */
    write_some("c", 200, 3);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    contents_fini(&good);
    cr_assert_eq(replica_read(&replica, &good), ERR_OK);
    replica_close(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK);
    expect_good();
    free(bytes);
}

Test(store_damage, notices_ids_that_went_wrong_while_the_catalog_was_damaged)
{
    const struct catalog_run *run = replica.store->sealer.runs[0];
    uint8_t *table = (uint8_t *)(uintptr_t)run->bytes + run->header.table_at;
    const struct disk *disk = mem_disk_table(replica.disk);
    struct catalog_run *good_run = NULL;

    memset(table, 0, run->header.size - run->header.table_at); /* Nothing is found in there. */
    write_some("a", 200, 3);
    cr_assert_eq(catalog_file_open(disk, "data", 0, &files[0].run, &good_run), ERR_OK);
    cr_assert_eq(store_take_run(replica.store, good_run), ERR_CORRUPT);
    cr_assert_not_null(strstr(err_detail(), "taken for a new one"), "%s", err_detail());
    catalog_run_unref(good_run);
    replica_close(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "the log has what is right: %s", err_detail());
    cr_assert_eq(store_check_damage(replica.store, &everything), ERR_OK);
}

Test(store_damage, a_seal_does_not_carry_a_damaged_catalog_over)
{
    const struct catalog_run *run = replica.store->sealer.runs[0];
    uint8_t *last = (uint8_t *)(uintptr_t)run->bytes + run->header.size - 1;

    write_some("c", 200, 3);
    *last ^= 1; /* What is mapped shows what the disk has. */
    cr_assert_eq(replica_seal(&replica), ERR_CORRUPT);
    cr_assert_not_null(strstr(err_detail(), "bad checksum"), "%s", err_detail());
    *last ^= 1;
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
}

Test(store_damage, a_shard_waits_for_its_catalog)
{
    struct store *store = NULL;
    struct store_file *list = NULL;
    uint32_t count = 0;
    uint64_t sealed = store_sealed_index(replica.store);
    uint8_t *bytes;
    size_t size = 0;
    char path[64], temporary[64];

    path_of(&files[0], "", path);
    path_of(&files[0], ".mend.tmp", temporary);
    bytes = mem_disk_get(replica.disk, path, &size);
    replica_close(&replica);
    mem_disk_flip(replica.disk, path, 200, 1);
    cr_assert_eq(replica_open(&replica), ERR_CORRUPT);
    cr_assert_eq(store_open_waiting(&replica.options, &store), ERR_OK, "%s", err_detail());
    cr_assert(store_is_waiting(store));
    cr_assert(store_is_blind(store));
    cr_assert_eq(store_applied_index(store), sealed);
    cr_assert_eq(store_check_damage(store, &everything), ERR_CORRUPT);
    cr_assert_eq(store_files(store, &list, &count), ERR_OK);
    cr_assert_eq(count, file_count);
    cr_assert(store_has_file(store, &files[0]));
    mem_disk_put(replica.disk, temporary, bytes, size);
    cr_assert_eq(store_install(store, &files[0], temporary), ERR_OK);
    store_close(store);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    expect_good();
    free(list);
    free(bytes);
}

Test(store_damage, what_does_not_count_any_more_is_not_put_back)
{
    struct store_file other = files[1];
    char path[64];

    other.hash++;
    path_of(&files[1], ".mend.tmp", path);
    mem_disk_put(replica.disk, path, "x", 1);
    cr_assert_not(store_has_file(replica.store, &other));
    cr_assert_eq(store_install(replica.store, &other, path), ERR_NOT_FOUND);
    cr_assert_not(mem_disk_exists(replica.disk, path));
    expect_good();
}

Test(store_damage, a_damaged_manifest_is_written_again)
{
    static const char *const names[] = {"data/manifest.mrm", "data/manifest.mrm.copy"};
    const struct disk *disk = mem_disk_table(replica.disk);

    cr_assert_eq(store_check_manifest(replica.store, disk), ERR_OK);
    for (size_t f = 0; f < 2; f++) {
        mem_disk_flip(replica.disk, names[f], 30, 2);
        cr_assert_eq(store_check_manifest(replica.store, disk), ERR_CORRUPT);
        cr_assert_not_null(strstr(err_detail(), names[f]), "%s", err_detail());
        cr_assert_eq(store_check_manifest(replica.store, disk), ERR_OK);
    }
    mem_disk_flip(replica.disk, names[0], 30, 2);
    mem_disk_flip(replica.disk, names[1], 31, 2);
    mem_disk_fail(replica.disk, MEM_DISK_WRITE, 1, ERR_DISK_FULL, true);
    cr_assert_eq(store_check_manifest(replica.store, disk), ERR_DISK_FULL);
    mem_disk_fail(replica.disk, MEM_DISK_WRITE, 0, ERR_OK, false);
    cr_assert_eq(store_check_manifest(replica.store, disk), ERR_CORRUPT);
    replica_close(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK);
    expect_good();
}
