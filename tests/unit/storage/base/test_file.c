/*
 * The real disk: whole reads and writes, names, and what each failure is called. A full disk is
 * played by a file size limit, failing calls by a table that fails on demand.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "storage/base/fault.h"
#include "storage/base/file.h"

static char dir[64];
static const struct disk *disk;

static void make_dir(void)
{
    (void)snprintf(dir, sizeof dir, "/tmp/test_file.XXXXXX");
    cr_assert_not_null(mkdtemp(dir));
    disk = disk_system();
}

static void remove_one(void *arg, const char *name)
{
    char path[512];

    (void)arg;
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    cr_assert_eq(disk->remove(disk->ctx, path), ERR_OK);
}

static void remove_dir(void)
{
    cr_assert_eq(disk->list(disk->ctx, dir, remove_one, NULL), ERR_OK);
    cr_assert_eq(disk->remove(disk->ctx, dir), ERR_OK);
}

TestSuite(file, .init = make_dir, .fini = remove_dir);

static const char *in_dir(const char *name)
{
    static char path[128];

    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static struct file *open_ok(const char *name, unsigned flags)
{
    struct file *file;

    cr_assert_eq(disk->open(disk->ctx, in_dir(name), flags, &file), ERR_OK, "%s", err_detail());
    return file;
}

Test(file, reads_back_what_was_written_anywhere)
{
    struct file *file = open_ok("a", FILE_WRITE | FILE_CREATE);
    char bytes[5];
    uint64_t size;

    cr_assert_eq(disk->write(file, 4096, "hello", 5), ERR_OK);
    cr_assert_eq(disk->sync(file), ERR_OK);
    cr_assert_eq(disk->size(file, &size), ERR_OK);
    cr_assert_eq(size, 4101);
    cr_assert_eq(disk->read(file, 4096, bytes, 5), ERR_OK);
    cr_assert_arr_eq(bytes, "hello", 5);
    cr_assert_eq(disk->read(file, 4094, bytes, 5), ERR_OK);
    cr_assert_arr_eq(bytes, "\0\0hel", 5);
    disk->close(file);
}

Test(file, a_read_over_the_end_says_so_and_where)
{
    struct file *file = open_ok("a", FILE_WRITE | FILE_CREATE);
    char bytes[8];

    cr_assert_eq(disk->write(file, 0, "hello", 5), ERR_OK);
    cr_assert_eq(disk->read(file, 0, bytes, 8), ERR_END);
    cr_assert_not_null(strstr(err_detail(), "ends after 5"));
    cr_assert_eq(disk->read(file, 100, bytes, 1), ERR_END);
    cr_assert_eq(disk->read(file, 100, bytes, 0), ERR_OK);
    disk->close(file);
}

Test(file, creates_once_truncates_on_demand_and_shortens)
{
    struct file *file = open_ok("a", FILE_WRITE | FILE_CREATE);
    uint64_t size;

    cr_assert_eq(disk->write(file, 0, "hello", 5), ERR_OK);
    cr_assert_eq(disk->truncate(file, 2), ERR_OK);
    cr_assert_eq(disk->size(file, &size), ERR_OK);
    cr_assert_eq(size, 2);
    disk->close(file);

    cr_assert_eq(disk->open(disk->ctx, in_dir("a"), FILE_WRITE | FILE_CREATE, &file), ERR_IO);
    cr_assert_not_null(strstr(err_detail(), "File exists"));
    file = open_ok("a", FILE_WRITE | FILE_CREATE | FILE_TRUNCATE);
    cr_assert_eq(disk->size(file, &size), ERR_OK);
    cr_assert_eq(size, 0);
    disk->close(file);
}

Test(file, writes_and_reads_past_the_page_cache_or_falls_back)
{
    struct file *file = open_ok("a", FILE_WRITE | FILE_CREATE | FILE_DIRECT);
    char *page = aligned_alloc(4096, 4096);

    cr_assert_not_null(page);
    memset(page, 'x', 4096);
    cr_assert_eq(disk->write(file, 4096, page, 4096), ERR_OK, "%s", err_detail());
    memset(page, 0, 4096);
    cr_assert_eq(disk->read(file, 4096, page, 4096), ERR_OK, "%s", err_detail());
    cr_assert_eq(page[0], 'x');
    cr_assert_eq(page[4095], 'x');
    disk->close(file);
    free(page);

    /* procfs refuses O_DIRECT everywhere. */
    cr_assert_eq(disk->open(disk->ctx, "/proc/version", FILE_READ | FILE_DIRECT, &file), ERR_OK,
                 "%s", err_detail());
    cr_assert(!disk->is_direct(file));
    disk->close(file);
}

Test(file, what_is_written_once_is_there_after_it_left_the_page_cache)
{
    struct file *file = open_ok("a", FILE_WRITE | FILE_CREATE | FILE_ONCE);
    char bytes[10000], again[10000];

    for (uint64_t turn = 0; turn < 3; turn++) {
        memset(bytes, 'a' + (int)turn, sizeof bytes);
        cr_assert_eq(disk->write(file, turn * sizeof bytes, bytes, sizeof bytes), ERR_OK);
        cr_assert_eq(disk->sync(file), ERR_OK);
        cr_assert_eq(disk->read(file, turn * sizeof bytes, again, sizeof again), ERR_OK);
        cr_assert_arr_eq(again, bytes, sizeof bytes);
    }
    disk->close(file);
}

Test(file, what_is_read_once_is_read_the_same_from_the_cache_and_from_the_disk)
{
    enum { SIZE = 3 * 4096 + 100 };
    static uint8_t bytes[SIZE], read[SIZE];
    struct file *file = open_ok("a", FILE_WRITE | FILE_CREATE | FILE_ONCE);

    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 256);
    cr_assert_eq(disk->write(file, 0, bytes, SIZE), ERR_OK);
    cr_assert_eq(disk->sync(file), ERR_OK); /* It leaves the cache. */
    disk->close(file);
    file = open_ok("a", FILE_READ | FILE_ONCE);
    for (int round = 0; round < 2; round++) {
        cr_assert_eq(disk->read(file, 0, read, SIZE), ERR_OK, "%s", err_detail());
        cr_assert_arr_eq(read, bytes, SIZE);
        cr_assert_eq(disk->read(file, 4000, read, 200), ERR_OK, "%s", err_detail());
        cr_assert_arr_eq(read, bytes + 4000, 200);
        cr_assert_eq(disk->read(file, SIZE - 10, read, 11), ERR_END);
    }
    disk->close(file);
    file = open_ok("a", FILE_READ); /* From here on it is in the cache. */
    cr_assert_eq(disk->read(file, 0, read, SIZE), ERR_OK);
    disk->close(file);
    file = open_ok("a", FILE_READ | FILE_ONCE);
    cr_assert_eq(disk->read(file, 0, read, SIZE), ERR_OK);
    cr_assert_arr_eq(read, bytes, SIZE);
    disk->close(file);
}

Test(file, names_are_found_renamed_and_removed)
{
    struct file *file = open_ok("a", FILE_WRITE | FILE_CREATE);
    char from[128];

    disk->close(file);
    (void)snprintf(from, sizeof from, "%s", in_dir("a"));
    cr_assert_eq(disk->rename(disk->ctx, from, in_dir("b")), ERR_OK);
    cr_assert_eq(disk->sync_dir(disk->ctx, dir), ERR_OK);
    cr_assert_eq(disk->open(disk->ctx, from, FILE_READ, &file), ERR_NOT_FOUND);
    cr_assert_not_null(strstr(err_detail(), from), "the detail names the file");
    cr_assert_eq(disk->remove(disk->ctx, from), ERR_NOT_FOUND);
    cr_assert_eq(disk->rename(disk->ctx, from, in_dir("c")), ERR_NOT_FOUND);
    cr_assert_eq(disk->remove(disk->ctx, in_dir("b")), ERR_OK);
}

Test(file, a_directory_may_exist_but_not_as_a_file)
{
    struct file *file = open_ok("plain", FILE_WRITE | FILE_CREATE);

    disk->close(file);
    cr_assert_eq(disk->make_dir(disk->ctx, in_dir("sub")), ERR_OK);
    cr_assert_eq(disk->make_dir(disk->ctx, in_dir("sub")), ERR_OK);
    cr_assert_eq(disk->make_dir(disk->ctx, in_dir("plain")), ERR_IO);
    cr_assert_eq(disk->make_dir(disk->ctx, in_dir("no/sub")), ERR_NOT_FOUND);
    cr_assert_eq(disk->sync_dir(disk->ctx, in_dir("none")), ERR_NOT_FOUND);
    cr_assert_eq(disk->list(disk->ctx, in_dir("none"), remove_one, NULL), ERR_NOT_FOUND);
}

Test(file, a_full_device_is_a_full_disk)
{
    struct file *file;
    uint64_t free_bytes;
    uint64_t total;

    cr_assert_eq(disk->open(disk->ctx, "/dev/full", FILE_WRITE, &file), ERR_OK);
    cr_assert_eq(disk->write(file, 0, "x", 1), ERR_DISK_FULL);
    disk->close(file);
    cr_assert_eq(disk->free_bytes(disk->ctx, dir, &free_bytes, &total), ERR_OK);
    cr_assert_leq(free_bytes, total);
    cr_assert_eq(disk->free_bytes(disk->ctx, in_dir("none"), &free_bytes, &total), ERR_NOT_FOUND);
}

Test(file, a_write_that_fits_only_in_part_is_a_full_disk)
{
    struct file *file = open_ok("a", FILE_WRITE | FILE_CREATE);
    struct rlimit limit = {.rlim_cur = 4096, .rlim_max = RLIM_INFINITY};
    static char bytes[8192];

    (void)signal(SIGXFSZ, SIG_IGN);
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    cr_assert_eq(disk->write(file, 0, bytes, sizeof bytes), ERR_DISK_FULL);
    limit.rlim_cur = RLIM_INFINITY;
    cr_assert_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
    disk->close(file);
}

Test(file, fails_where_a_fault_is_armed)
{
    struct file *file = open_ok("a", FILE_WRITE | FILE_CREATE);
    char byte = 'x';

    cr_assert_eq(fault_arm("disk.write:fail:1,disk.full:fail:1,disk.sync:fail:2,disk.read:fail:1"),
                 ERR_OK);
    cr_assert_eq(disk->write(file, 0, &byte, 1), ERR_IO);
    cr_assert_eq(disk->write(file, 0, &byte, 1), ERR_DISK_FULL);
    cr_assert_eq(disk->write(file, 0, &byte, 1), ERR_OK);
    cr_assert_eq(disk->sync(file), ERR_OK);
    cr_assert_eq(disk->sync(file), ERR_IO);
    cr_assert_eq(disk->read(file, 0, &byte, 1), ERR_IO);
    cr_assert_eq(disk->read(file, 0, &byte, 1), ERR_OK);
    disk->close(file);
}

/* ---- disk_replace and disk_read_all -------------------------------------------------------- */

static struct disk failing;
static int calls_left; /* Until a call fails; the same count over all kinds of calls. */

static bool fails_now(void)
{
    return calls_left-- == 0;
}

static enum err failing_write(struct file *file, uint64_t offset, const void *bytes, size_t size)
{
    return fails_now() ? err_set(ERR_DISK_FULL, "injected write")
                       : disk->write(file, offset, bytes, size);
}

static enum err failing_sync(struct file *file)
{
    return fails_now() ? err_set(ERR_IO, "injected sync") : disk->sync(file);
}

static enum err failing_rename(void *ctx, const char *from, const char *to)
{
    return fails_now() ? err_set(ERR_IO, "injected rename") : disk->rename(ctx, from, to);
}

static enum err failing_sync_dir(void *ctx, const char *path)
{
    return fails_now() ? err_set(ERR_IO, "injected sync_dir") : disk->sync_dir(ctx, path);
}

static enum err failing_read(struct file *file, uint64_t offset, void *bytes, size_t size)
{
    return fails_now() ? err_set(ERR_IO, "injected read") : disk->read(file, offset, bytes, size);
}

static void count_one(void *arg, const char *name)
{
    (void)name;
    ++*(int *)arg;
}

static void assert_content(const char *expected)
{
    uint8_t *bytes;
    size_t size;

    cr_assert_eq(disk_read_all(disk, in_dir("f"), 100, &bytes, &size), ERR_OK);
    cr_assert_str_eq((char *)bytes, expected);
    cr_assert_eq(size, strlen(expected));
    free(bytes);
}

Test(file, replace_leaves_the_old_or_the_new_whatever_call_fails)
{
    static const char *const injected[] = {"write", "sync", "rename", "sync_dir"};

    failing = *disk;
    failing.write = failing_write;
    failing.sync = failing_sync;
    failing.rename = failing_rename;
    failing.sync_dir = failing_sync_dir;

    cr_assert_eq(disk_replace(disk, dir, "f", "old", 3), ERR_OK);
    for (int call = 0; call < 4; call++) {
        int names = 0;
        enum err err;

        calls_left = call;
        err = disk_replace(&failing, dir, "f", "new", 3);
        cr_assert_eq(err, call == 0 ? ERR_DISK_FULL : ERR_IO);
        cr_assert_not_null(strstr(err_detail(), injected[call]), "%s", err_detail());
        assert_content(call < 3 ? "old" : "new");
        cr_assert_eq(disk->list(disk->ctx, dir, count_one, &names), ERR_OK);
        cr_assert_eq(names, 1, "no temporary file stays behind");
    }
    calls_left = 4;
    cr_assert_eq(disk_replace(&failing, dir, "f", "newer", 5), ERR_OK);
    assert_content("newer");
}

Test(file, replace_goes_over_a_temporary_file_that_a_crash_left)
{
    struct file *file = open_ok("f.tmp", FILE_WRITE | FILE_CREATE);

    cr_assert_eq(disk->write(file, 0, "a longer leftover", 17), ERR_OK);
    disk->close(file);
    cr_assert_eq(disk_replace(disk, dir, "f", "new", 3), ERR_OK);
    assert_content("new");
}

Test(file, replace_refuses_a_path_that_does_not_fit)
{
    static char name[5000];

    memset(name, 'n', sizeof name - 1);
    cr_assert_eq(disk_replace(disk, dir, name, "x", 1), ERR_TOO_LARGE);
}

Test(file, read_all_keeps_to_its_limit_and_passes_errors_on)
{
    uint8_t *bytes = NULL;
    size_t size = 0;

    cr_assert_eq(disk_replace(disk, dir, "f", "12345", 5), ERR_OK);
    cr_assert_eq(disk_read_all(disk, in_dir("f"), 4, &bytes, &size), ERR_TOO_LARGE);
    cr_assert_eq(disk_read_all(disk, in_dir("none"), 4, &bytes, &size), ERR_NOT_FOUND);
    failing = *disk;
    failing.read = failing_read;
    calls_left = 0;
    cr_assert_eq(disk_read_all(&failing, in_dir("f"), 5, &bytes, &size), ERR_IO);
    cr_assert_null(bytes);
    cr_assert_eq(disk_read_all(disk, in_dir("f"), 5, &bytes, &size), ERR_OK);
    cr_assert_eq(size, 5);
    free(bytes);
}
