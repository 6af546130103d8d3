/*
 * What seems to change a dry disk leaves the one below as it was.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/dry_disk.h"
#include "tests/support/mem_disk.h"

enum {
    CHANGES = MEM_DISK_WRITE | MEM_DISK_SYNC | MEM_DISK_TRUNCATE | MEM_DISK_RENAME |
              MEM_DISK_REMOVE | MEM_DISK_MAKE_DIR | MEM_DISK_SYNC_DIR
};

static void count_one(void *arg, const char *name)
{
    (void)name;
    ++*(unsigned *)arg;
}

Test(dry_disk, changes_nothing_and_reads_all)
{
    struct mem_disk *below = mem_disk_new();
    struct dry_disk dry;
    const struct disk *disk = dry_disk_init(&dry, mem_disk_table(below));
    uint64_t changes, size = 0, total = 0;
    struct file *file;
    char bytes[5];
    unsigned names = 0;

    cr_assert_eq(mem_disk_table(below)->make_dir(mem_disk_table(below)->ctx, "d"), ERR_OK);
    mem_disk_put(below, "d/a", "hello", 5);
    changes = mem_disk_calls(below, CHANGES);
    cr_assert_eq(disk->open(disk->ctx, "d/a", FILE_WRITE | FILE_TRUNCATE, &file), ERR_OK);
    cr_assert_eq(disk->write(file, 0, "HELLO", 5), ERR_OK);
    cr_assert_eq(disk->truncate(file, 1), ERR_OK);
    cr_assert_eq(disk->sync(file), ERR_OK);
    cr_assert_eq(disk->size(file, &size), ERR_OK);
    cr_assert_eq(size, 5);
    cr_assert_eq(disk->read(file, 0, bytes, 5), ERR_OK);
    cr_assert_arr_eq(bytes, "hello", 5);
    disk->close(file);
    cr_assert_eq(disk->rename(disk->ctx, "d/a", "d/b"), ERR_OK);
    cr_assert_eq(disk->remove(disk->ctx, "d/a"), ERR_OK);
    cr_assert_eq(disk->make_dir(disk->ctx, "d/c"), ERR_OK);
    cr_assert_eq(disk->sync_dir(disk->ctx, "d"), ERR_OK);
    cr_assert_eq(disk->open(disk->ctx, "d/new", FILE_WRITE | FILE_CREATE, &file), ERR_NOT_FOUND);
    cr_assert_eq(disk->list(disk->ctx, "d", count_one, &names), ERR_OK);
    cr_assert_eq(names, 1);
    cr_assert_eq(disk->free_bytes(disk->ctx, "d", &size, &total), ERR_OK);
    cr_assert_eq(mem_disk_calls(below, CHANGES), changes);
    cr_assert(mem_disk_exists(below, "d/a"));
    mem_disk_free(below);
}
