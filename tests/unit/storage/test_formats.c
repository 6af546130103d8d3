/*
 * The files of a shard, byte for byte: tests/golden/store_v2, and store_v1, which older programs
 * wrote.
 *
 * What a version has written stays readable for ever, and is written again the same, because all
 * replicas have to make the same segments. GOLDEN_WRITE=1 makes the files of store_v2 anew: only
 * when a version changes.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/base/types.h"
#include "tests/support/replica.h"

enum { FILES = 6, DENSE_ROWS = 300 };

/* What is in a folder. */
static const struct golden {
    const char *folder;
    const char *files[FILES];
    uint64_t sealed_index, series;
    uint32_t dense_rows; /* Beside the others. */
} today = {"store_v2",
           {"manifest.mrm", "00000005.mrc", "00000001.mrs", "00000002.mrs", "00000003.mrs",
            "00000004.mrs"},
           6,
           5,
           DENSE_ROWS},
  /* Segments of version 2. */
    old = {"store_v1",
           {"manifest.mrm", "00000004.mrc", "00000001.mrs", "00000002.mrs", "00000003.mrs",
            "00000004.mrs"},
           5,
           4,
           0};

/* A series whose values are three neighbouring numbers. */
static void write_dense(struct replica *replica)
{
    static struct entries_value values[DENSE_ROWS];

    for (uint32_t i = 0; i < DENSE_ROWS; i++)
        values[i] = (struct entries_value){
            .table = "cpu",
            .host = "edge-4",
            .time_ns = 1700000000000000000 + i * 1000000000ll,
            .field = "level",
            .type = FIELD_INT,
            .bits = 70 + (i * i / 7 + i) % 3,
        };
    replica_write(replica, &(struct entries_from){0, 0xabcd, 1, 2}, values, DENSE_ROWS);
}

/* Two seals: all types, two tables, one row that is written in both, and a cutoff. */
static void write_sample(struct replica *replica)
{
    const struct entries_value first[] = {
        {"cpu", "edge-1", 1700000000000000000, "user", FIELD_FLOAT, 0x3ff8000000000000, NULL, 0},
        {"cpu", "edge-1", 1700000000000000000, "idle", FIELD_INT, (uint64_t)-3, NULL, 0},
        {"cpu", "edge-2", 1700000001000000000, "user", FIELD_FLOAT, 0x4004000000000000, NULL, 0},
        {"door", "edge-1", -1, "open", FIELD_BOOL, 1, NULL, 0},
        {"door", "edge-1", -1, "count", FIELD_UINT, UINT64_MAX, NULL, 0},
    };
    const struct entries_value second[] = {
        {"cpu", "edge-1", 1700000000000000000, "user", FIELD_FLOAT, 0x4010000000000000, NULL, 0},
        {"door", "edge-3", 7, "note", FIELD_STRING, 0, "stuck", 0},
    };
    const struct seal_database database = {{"db", 2}, SEAL_WINDOW_DEFAULT_NS, -1000, 0};
    enum store_outcome outcome;

    replica_write(replica, &(struct entries_from){0, 0xabcd, 1, 1}, first, 5);
    write_dense(replica);
    cr_assert_eq(replica_seal(replica), ERR_OK, "%s", err_detail());
    replica_write(replica, &(struct entries_from){0, 0xabcd, 1, 3}, second, 2);
    cr_assert_eq(replica_apply(replica, entries_drop(0, 4, &database, 1), &outcome), ERR_OK, "%s",
                 err_detail());
    cr_assert_eq(
        replica_apply(replica, entries_delete(0, 5, "cpu", "edge-2", 0, INT64_MAX), &outcome),
        ERR_OK, "%s", err_detail());
}

static void expect_dense(const struct contents *contents)
{
    for (uint32_t i = 0; i < DENSE_ROWS; i++) {
        char line[128];

        (void)snprintf(line, sizeof line, "db/cpu host=edge-4 %020lld level integer %x",
                       1700000000000000000ll + i * 1000000000ll, 70 + (i * i / 7 + i) % 3);
        cr_assert(contents_have(contents, line), "no %s", line);
    }
}

static void expect_sample(struct replica *replica, const struct golden *golden)
{
    static const char *const lines[] = {
        "db/cpu host=edge-1 01700000000000000000 user float 4010000000000000",
        "db/cpu host=edge-1 01700000000000000000 idle integer fffffffffffffffd",
        "db/door host=edge-1 -0000000000000000001 open boolean 1",
        "db/door host=edge-1 -0000000000000000001 count unsigned ffffffffffffffff",
        "db/door host=edge-3 00000000000000000007 note string stuck",
    };
    struct contents contents;

    cr_assert_eq(replica_read(replica, &contents), ERR_OK, "%s", err_detail());
    cr_assert_eq(contents.count, 5 + golden->dense_rows);
    if (golden->dense_rows > 0)
        expect_dense(&contents);
    for (size_t i = 0; i < 5; i++)
        cr_assert(contents_have(&contents, lines[i]), "no %s", lines[i]);
    contents_fini(&contents);
}

static void golden_path(const struct golden *golden, size_t file, char *ret_path, size_t room)
{
    (void)snprintf(ret_path, room, "%s/%s/%s", GOLDEN_DIR, golden->folder, golden->files[file]);
}

static void write_golden(struct replica *replica, const struct golden *golden)
{
    for (size_t i = 0; i < FILES; i++) {
        char path[4096];
        size_t size = 0;
        uint8_t *bytes;
        FILE *file;

        (void)snprintf(path, sizeof path, "data/%s", golden->files[i]);
        bytes = mem_disk_get(replica->disk, path, &size);
        golden_path(golden, i, path, sizeof path);
        file = fopen(path, "wb");
        cr_assert_not_null(file, "%s", path);
        cr_assert_eq(fwrite(bytes, 1, size, file), size);
        cr_assert_eq(fclose(file), 0);
        free(bytes);
    }
}

static uint8_t *read_golden(const struct golden *golden, size_t at, size_t *ret_size)
{
    enum { ROOM = 1 << 16 };
    uint8_t *bytes = malloc(ROOM);
    char path[4096];
    FILE *file;

    golden_path(golden, at, path, sizeof path);
    file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    *ret_size = fread(bytes, 1, ROOM, file);
    (void)fclose(file);
    return bytes;
}

Test(formats, files_are_written_as_the_golden_ones)
{
    const struct golden *golden = &today;
    struct replica replica;

    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    write_sample(&replica);
    if (getenv("GOLDEN_WRITE") != NULL)
        write_golden(&replica, golden);
    for (size_t i = 0; i < FILES; i++) {
        size_t size = 0;
        size_t golden_size;
        char path[64];
        uint8_t *want = read_golden(golden, i, &golden_size);
        uint8_t *bytes;

        (void)snprintf(path, sizeof path, "data/%s", golden->files[i]);
        bytes = mem_disk_get(replica.disk, path, &size);
        cr_assert_eq(size, golden_size, "%s", golden->files[i]);
        cr_assert_arr_eq(bytes, want, size, "%s", golden->files[i]);
        free(bytes);
        free(want);
    }
    replica_fini(&replica);
}

static void check_reading(const struct golden *golden)
{
    struct replica replica;
    struct store_stats stats;

    replica_init(&replica);
    cr_assert_eq(replica.options.disk->make_dir(replica.disk, "data"), ERR_OK);
    for (size_t i = 0; i < FILES; i++) {
        size_t size;
        char path[64];
        uint8_t *bytes = read_golden(golden, i, &size);

        (void)snprintf(path, sizeof path, "data/%s", golden->files[i]);
        mem_disk_put(replica.disk, path, bytes, size);
        free(bytes);
    }
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    expect_sample(&replica, golden);
    store_stats(replica.store, &stats);
    cr_assert_eq(stats.sealed_index, golden->sealed_index);
    cr_assert_eq(stats.series, golden->series);
    cr_assert_eq(stats.rows, 5 + golden->dense_rows);
    cr_assert_eq(stats.points, 7 + golden->dense_rows);
    replica_fini(&replica);
}

Test(formats, golden_files_are_read)
{
    check_reading(&today);
}

Test(formats, files_of_older_programs_are_read)
{
    check_reading(&old);
}
