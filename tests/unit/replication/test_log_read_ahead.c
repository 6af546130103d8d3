/*
 * Files that are read ahead: recovery finds what it finds without, whatever the disk does.
 */
#include "replication/log_read_ahead.h"

#include <criterion/criterion.h>

#include "tests/unit/replication/log_fixture.h"

enum { FILE_BYTES = 3 * 1024 * 1024 + 4096, RECORD_BYTES = 1500 * 1000 };

/* Some files, whose records go over the borders of windows. The last group is not synced. */
static struct fixture *large_log(uint64_t *seed, size_t groups)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);

    mem_disk_direct(fixture->disk, true);
    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    for (size_t i = 0; i < groups; i++) {
        cr_assert_eq(fixture_write_random(fixture, seed, 4, RECORD_BYTES), ERR_OK);
        if (i + 1 < groups)
            cr_assert_eq(fixture_sync(fixture), ERR_OK);
    }
    fixture_close(fixture);
    return fixture;
}

static struct log_file *file_of(struct mem_disk *disk, uint32_t number, const char *path,
                                uint64_t bytes)
{
    const struct disk *table = mem_disk_table(disk);
    struct log_file *file = calloc(1, sizeof *file);
    uint8_t *content = malloc(bytes);

    cr_assert_not_null(file);
    cr_assert_not_null(content);
    for (uint64_t i = 0; i < bytes; i++)
        content[i] = (uint8_t)(i / LOG_ALIGN + number * 7);
    mem_disk_put(disk, path, content, bytes);
    free(content);
    file->part.number = number;
    file->part.bytes = bytes;
    cr_assert_eq(table->open(table->ctx, path, FILE_READ, &file->part.file), ERR_OK);
    return file;
}

static void expect_window(struct log_read_ahead *ahead, const struct log_file *file, uint64_t at)
{
    const uint8_t *bytes = log_read_ahead_take(ahead, &file->part, at);
    uint64_t size =
        file->part.bytes - at < LOG_WINDOW_BYTES ? file->part.bytes - at : LOG_WINDOW_BYTES;

    cr_assert_not_null(bytes, "file %u at %zu", file->part.number, (size_t)at);
    for (uint64_t i = 0; i < size; i += LOG_ALIGN / 2)
        cr_assert_eq(bytes[i], (uint8_t)((at + i) / LOG_ALIGN + file->part.number * 7));
}

Test(log_read_ahead, gives_all_windows_and_those_passed_over_no_more)
{
    struct mem_disk *disk = mem_disk_new();
    struct log_file *files[3] = {
        file_of(disk, 1, "a", FILE_BYTES),
        file_of(disk, 2, "b", 64 * 1024),
        file_of(disk, 3, "c", (uint64_t)9 * LOG_WINDOW_BYTES),
    };
    struct log log = {.options = {.disk = mem_disk_table(disk)}, .files = files, .file_count = 3};
    struct log_read_ahead *ahead = log_read_ahead_start(&log);

    cr_assert_not_null(ahead);
    for (uint64_t at = 0; at < FILE_BYTES; at += LOG_WINDOW_BYTES)
        expect_window(ahead, files[0], at);
    cr_assert_null(log_read_ahead_take(ahead, &files[0]->part, 0));
    expect_window(ahead, files[2], 0);
    expect_window(ahead, files[2], (uint64_t)7 * LOG_WINDOW_BYTES);
    expect_window(ahead, files[2], (uint64_t)7 * LOG_WINDOW_BYTES);
    cr_assert_null(log_read_ahead_take(ahead, &files[1]->part, 0));
    expect_window(ahead, files[2], (uint64_t)8 * LOG_WINDOW_BYTES);
    cr_assert_null(log_read_ahead_take(ahead, &files[2]->part, (uint64_t)9 * LOG_WINDOW_BYTES));
    log_read_ahead_stop(ahead);

    ahead = log_read_ahead_start(&log); /* Nobody wants them: it ends all the same. */
    log_read_ahead_stop(ahead);
    for (size_t i = 0; i < 3; i++) {
        log.options.disk->close(files[i]->part.file);
        free(files[i]);
    }
    mem_disk_free(disk);
}

/* After power cuts that tore the tail: the same records, and the same log behind. */
Test(log_read_ahead, recovery_finds_what_it_finds_without)
{
    uint64_t seed = seed_of_run("log_read_ahead");

    for (int round = 0; round < 6; round++) {
        struct fixture *fixture = large_log(&seed, 6 + seed_below(&seed, 8));
        struct mem_disk *disk = fixture->disk;
        struct fixture_record *plain = calloc(FIXTURE_RECORDS_MAX * 2, sizeof *plain);
        size_t count;

        cr_assert_not_null(plain);
        mem_disk_crash(disk, MEM_DISK_TORN, seed_next(&seed));
        fixture->disk = mem_disk_clone(disk);
        fixture->options.disk = mem_disk_table(fixture->disk);
        cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
        fixture_check(fixture);
        count = fixture->replayed_count;
        memcpy(plain, fixture->replayed, count * sizeof *plain);
        fixture_close(fixture);
        mem_disk_free(fixture->disk);

        fixture->disk = disk;
        fixture->options.disk = mem_disk_table(disk);
        fixture->options.read_ahead = true;
        cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
        cr_assert_eq(fixture->replayed_count, count);
        for (size_t i = 0; i < count; i++)
            cr_assert(fixture_same(&plain[i], &fixture->replayed[i]), "record %zu", i);
        free(plain);
        fixture_free(fixture);
    }
}

/* A window that could not be read ahead is read again; a disk that goes on failing is an error. */
Test(log_read_ahead, what_cannot_be_read_is_found_by_recovery_itself)
{
    uint64_t seed = 4;
    struct fixture *fixture = large_log(&seed, 6);
    uint64_t before = mem_disk_calls(fixture->disk, MEM_DISK_READ), reads;
    size_t count;

    fixture->options.read_ahead = true;
    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    count = fixture->replayed_count;
    fixture_close(fixture);
    reads = mem_disk_calls(fixture->disk, MEM_DISK_READ) - before;
    for (uint64_t nth = 1; nth <= reads; nth++) {
        enum err err;

        mem_disk_fail(fixture->disk, MEM_DISK_READ, nth, ERR_IO, true);
        err = fixture_open(fixture); /* With all headers read, it is that place. */
        cr_assert(err == ERR_IO || err == ERR_CORRUPT, "read %zu", (size_t)nth);
        mem_disk_fail(fixture->disk, MEM_DISK_READ, nth, ERR_IO, false);
        err = fixture_open(fixture);
        cr_assert(err == ERR_OK || err == ERR_IO); /* Its own read of a header may have failed. */
        if (err == ERR_OK) {
            cr_assert_geq(fixture->replayed_count, count);
            fixture_close(fixture);
        }
    }
    mem_disk_fail(fixture->disk, MEM_DISK_READ, 0, ERR_OK, false);
    fixture_free(fixture);
}
