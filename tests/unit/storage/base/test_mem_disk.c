/*
 * The disk that the fault tests stand on: it must lose what a real one may lose, and nothing else.
 */
#include <criterion/criterion.h>

#include "tests/support/mem_disk.h"

static struct mem_disk *disk;
static const struct disk *table;

static void set_up(void)
{
    disk = mem_disk_new();
    table = mem_disk_table(disk);
    cr_assert_eq(table->make_dir(disk, "d"), ERR_OK);
    cr_assert_eq(table->sync_dir(disk, "."), ERR_OK);
}

static void tear_down(void)
{
    mem_disk_free(disk);
}

TestSuite(mem_disk, .init = set_up, .fini = tear_down);

static struct file *make(const char *path, const char *text)
{
    struct file *file;

    cr_assert_eq(table->open(disk, path, FILE_WRITE | FILE_CREATE, &file), ERR_OK, "%s",
                 err_detail());
    cr_assert_eq(table->write(file, 0, text, strlen(text)), ERR_OK);
    return file;
}

static void expect(const char *path, const char *text)
{
    size_t size = 0;
    uint8_t *bytes = mem_disk_get(disk, path, &size);

    cr_assert_not_null(bytes, "%s", path);
    cr_assert_eq(size, strlen(text));
    cr_assert_arr_eq(bytes, text, size);
    free(bytes);
}

Test(mem_disk, loses_at_a_power_cut_what_was_not_synced)
{
    struct file *file = make("d/a", "one");

    cr_assert_eq(table->sync(file), ERR_OK);
    cr_assert_eq(table->sync_dir(disk, "d"), ERR_OK);
    cr_assert_eq(table->write(file, 0, "two and more", 12), ERR_OK);
    table->close(make("d/b", "no name yet"));
    mem_disk_crash(disk, MEM_DISK_POWER, 0);
    cr_assert_eq(table->write(file, 0, "late", 4), ERR_IO);
    table->close(file);
    expect("d/a", "one");
    cr_assert_not(mem_disk_exists(disk, "d/b"));
}

Test(mem_disk, loses_a_synced_file_whose_name_was_not)
{
    struct file *file = make("d/a", "one");

    cr_assert_eq(table->sync(file), ERR_OK);
    table->close(file);
    mem_disk_crash(disk, MEM_DISK_POWER, 0);
    cr_assert_not(mem_disk_exists(disk, "d/a"));
}

Test(mem_disk, loses_all_in_a_directory_that_was_not_durable)
{
    cr_assert_eq(table->make_dir(disk, "d/e"), ERR_OK);
    table->close(make("d/e/a", "one"));
    cr_assert_eq(table->sync_dir(disk, "d/e"), ERR_OK);
    mem_disk_crash(disk, MEM_DISK_POWER, 0);
    cr_assert_not(mem_disk_exists(disk, "d/e"));
    cr_assert_not(mem_disk_exists(disk, "d/e/a"));
}

Test(mem_disk, keeps_all_when_only_the_process_dies)
{
    table->close(make("d/a", "one"));
    mem_disk_crash(disk, MEM_DISK_PROCESS, 0);
    expect("d/a", "one");
    mem_disk_crash(disk, MEM_DISK_POWER, 0);
    expect("d/a", "one");
}

Test(mem_disk, replaces_a_file_by_rename_wholly_or_not_at_all)
{
    struct file *file = make("d/a", "old");

    cr_assert_eq(table->sync(file), ERR_OK);
    cr_assert_eq(table->sync_dir(disk, "d"), ERR_OK);
    table->close(file);
    file = make("d/new", "new");
    cr_assert_eq(table->sync(file), ERR_OK);
    table->close(file);
    cr_assert_eq(table->rename(disk, "d/new", "d/a"), ERR_OK);
    expect("d/a", "new");
    mem_disk_crash(disk, MEM_DISK_POWER, 0);
    expect("d/a", "old");
}

Test(mem_disk, tears_at_sectors)
{
    enum { SIZE = 64 * 512 };
    static char old[SIZE + 1], new[SIZE + 1];
    unsigned kept = 0;
    struct file *file;
    uint8_t *bytes;
    size_t size;

    memset(old, 'o', SIZE);
    memset(new, 'n', SIZE);
    file = make("d/a", old);
    cr_assert_eq(table->sync(file), ERR_OK);
    cr_assert_eq(table->sync_dir(disk, "d"), ERR_OK);
    cr_assert_eq(table->write(file, 0, new, SIZE), ERR_OK);
    mem_disk_crash(disk, MEM_DISK_TORN, 42);
    table->close(file);
    bytes = mem_disk_get(disk, "d/a", &size);
    cr_assert_eq(size, SIZE);
    for (size_t sector = 0; sector < 64; sector++) {
        const uint8_t *at = bytes + sector * 512;

        kept += at[0] == 'n';
        for (size_t i = 1; i < 512; i++)
            cr_assert_eq(at[i], at[0]);
    }
    cr_assert_gt(kept, 10);
    cr_assert_lt(kept, 54);
    free(bytes);
}

Test(mem_disk, never_makes_durable_what_a_failed_sync_has_dropped)
{
    struct file *file = make("d/a", "one");
    uint8_t *bytes;
    size_t size;

    cr_assert_eq(table->sync_dir(disk, "d"), ERR_OK);
    mem_disk_fail(disk, MEM_DISK_SYNC, 1, ERR_IO, false);
    cr_assert_eq(table->sync(file), ERR_IO);
    cr_assert_eq(table->sync(file), ERR_OK); /* As Linux does: it says so, and it is not true. */
    mem_disk_crash(disk, MEM_DISK_POWER, 0);
    table->close(file);
    bytes = mem_disk_get(disk, "d/a", &size);
    cr_assert_eq(size, 3);
    cr_assert_arr_eq(bytes, "\0\0\0", 3);
    free(bytes);
}

Test(mem_disk, fails_the_call_that_it_was_told_to)
{
    struct file *file = make("d/a", "one");
    uint64_t calls = mem_disk_calls(disk, MEM_DISK_WRITE);

    mem_disk_fail(disk, MEM_DISK_WRITE, 2, ERR_DISK_FULL, true);
    cr_assert_eq(table->write(file, 0, "1234", 4), ERR_OK);
    cr_assert_eq(table->write(file, 4, "5678", 4), ERR_DISK_FULL); /* Half of it stays. */
    cr_assert_eq(table->write(file, 0, "x", 1), ERR_DISK_FULL);
    cr_assert_eq(table->sync(file), ERR_OK);
    cr_assert_eq(mem_disk_calls(disk, MEM_DISK_WRITE) - calls, 3);
    mem_disk_fail(disk, 0, 0, ERR_IO, false);
    expect("d/a", "123456");
    table->close(file);
}

Test(mem_disk, has_an_end)
{
    struct file *file = make("d/a", "one");
    uint64_t left, total;
    char bytes[4];

    mem_disk_limit(disk, 10);
    cr_assert_eq(table->free_bytes(disk, "d", &left, &total), ERR_OK);
    cr_assert_eq(left, 7);
    cr_assert_eq(table->write(file, 3, "12345678", 8), ERR_DISK_FULL);
    cr_assert_eq(table->write(file, 3, "1234567", 7), ERR_OK);
    cr_assert_eq(table->read(file, 7, bytes, 4), ERR_END);
    cr_assert_eq(table->read(file, 7, bytes, 3), ERR_OK);
    table->close(file);
}

Test(mem_disk, copies_itself)
{
    struct mem_disk *copy;
    uint8_t *bytes;
    size_t size;

    table->close(make("d/a", "one"));
    copy = mem_disk_clone(disk);
    mem_disk_flip(disk, "d/a", 0, 1);
    mem_disk_crash(copy, MEM_DISK_POWER, 0);
    bytes = mem_disk_get(copy, "d/a", &size);
    cr_assert_not_null(bytes);
    cr_assert_arr_eq(bytes, "one", 3);
    free(bytes);
    mem_disk_free(copy);
}
