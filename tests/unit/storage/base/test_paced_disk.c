#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/paced_disk.h"
#include "storage/base/rand.h"
#include "tests/support/mem_disk.h"
#include "tests/support/seed.h"

enum { SIZE = 3 * PACED_DISK_WINDOW + 4096 + 777 };

struct pace {
    uint64_t bytes;
    unsigned windows;
    enum err says;
};

static enum err wait(void *arg, size_t size)
{
    struct pace *pace = arg;

    pace->bytes += size;
    pace->windows++;
    return pace->says == ERR_OK ? ERR_OK : err_set(pace->says, "told to");
}

static uint8_t *fill(struct mem_disk *disk, const char *path, size_t size, uint64_t seed)
{
    uint8_t *bytes = malloc(size + 1);
    struct rand rand;

    rand_init(&rand, seed);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)rand_next(&rand);
    mem_disk_put(disk, path, bytes, size);
    return bytes;
}

Test(paced_disk, reads_what_is_there_in_aligned_windows)
{
    uint64_t seed = seed_of_run("paced_disk");
    struct mem_disk *below = mem_disk_new();
    uint8_t *bytes = fill(below, "f", SIZE, seed);
    uint8_t *read = malloc(SIZE);
    struct paced_disk paced;
    struct pace pace = {0};
    const struct disk *disk;
    struct file *file;
    uint64_t size;
    struct rand rand;

    mem_disk_direct(below, true); /* Aborts at a read that is not aligned. */
    cr_assert_eq(paced_disk_init(&paced, mem_disk_table(below), wait, &pace, &disk), ERR_OK);
    cr_assert_eq(disk->open(disk->ctx, "f", FILE_READ, &file), ERR_OK, "%s", err_detail());
    cr_assert_eq(disk->size(file, &size), ERR_OK);
    cr_assert_eq(size, SIZE);
    cr_assert_eq(disk->read(file, 0, read, SIZE), ERR_OK, "%s", err_detail());
    cr_assert_eq(memcmp(read, bytes, SIZE), 0);
    cr_assert_eq(pace.bytes, SIZE);
    cr_assert_leq(pace.windows, 5); /* The first one is small. */
    rand_init(&rand, seed);
    for (unsigned i = 0; i < 300; i++) {
        size_t at = rand_below(&rand, SIZE);
        size_t part = rand_below(&rand, SIZE - at) % (i % 2 ? 100 : SIZE);

        cr_assert_eq(disk->read(file, at, read, part), ERR_OK);
        cr_assert_eq(memcmp(read, bytes + at, part), 0);
    }
    cr_assert_eq(disk->read(file, SIZE - 1, read, 2), ERR_END);
    cr_assert_eq(disk->read(file, UINT64_MAX, read, 2), ERR_END);
    disk->close(file);
    paced_disk_fini(&paced);
    cr_assert_eq(mem_disk_open_files(below), 0);
    free(bytes);
    free(read);
    mem_disk_free(below);
}

Test(paced_disk, keeps_files_apart_and_small_ones_whole)
{
    struct mem_disk *below = mem_disk_new();
    struct paced_disk paced;
    struct pace pace = {0};
    const struct disk *disk;
    struct file *a, *b;
    char read[4];

    mem_disk_direct(below, true);
    mem_disk_put(below, "a", "aaaa", 4);
    mem_disk_put(below, "b", "bbbb", 4);
    cr_assert_eq(paced_disk_init(&paced, mem_disk_table(below), wait, &pace, &disk), ERR_OK);
    cr_assert_eq(disk->open(disk->ctx, "a", FILE_READ, &a), ERR_OK);
    cr_assert_eq(disk->open(disk->ctx, "b", FILE_READ, &b), ERR_OK);
    for (unsigned i = 0; i < 3; i++) {
        cr_assert_eq(disk->read(a, 1, read, 3), ERR_OK);
        cr_assert_eq(memcmp(read, "aaa", 3), 0);
        cr_assert_eq(disk->read(b, 0, read, 4), ERR_OK);
        cr_assert_eq(memcmp(read, "bbbb", 4), 0);
    }
    disk->close(a);
    disk->close(b);
    cr_assert_eq(disk->open(disk->ctx, "none", FILE_READ, &a), ERR_NOT_FOUND);
    paced_disk_fini(&paced);
    mem_disk_free(below);
}

Test(paced_disk, stops_when_it_is_told_to_and_passes_errors_on)
{
    struct mem_disk *below = mem_disk_new();
    uint8_t *bytes = fill(below, "f", 10000, 1);
    struct paced_disk paced;
    struct pace pace = {.says = ERR_CANCELED};
    const struct disk *disk;
    struct file *file;
    uint8_t read[10];

    cr_assert_eq(paced_disk_init(&paced, mem_disk_table(below), wait, &pace, &disk), ERR_OK);
    cr_assert_eq(disk->open(disk->ctx, "f", FILE_READ, &file), ERR_OK);
    cr_assert_eq(disk->read(file, 0, read, 10), ERR_CANCELED);
    pace.says = ERR_OK;
    mem_disk_fail(below, MEM_DISK_READ, 1, ERR_IO, false);
    cr_assert_eq(disk->read(file, 0, read, 10), ERR_IO);
    cr_assert_eq(disk->read(file, 9990, read, 10), ERR_OK); /* Nothing of the failed one stayed. */
    cr_assert_eq(memcmp(read, bytes + 9990, 10), 0);
    disk->close(file);
    for (uint64_t nth = 1; nth <= 2; nth++) {
        mem_disk_fail(below, MEM_DISK_OPEN, nth, ERR_IO, false);
        cr_assert_eq(disk->open(disk->ctx, "f", FILE_READ, &file), ERR_IO);
        cr_assert_eq(mem_disk_open_files(below), 0);
    }
    paced_disk_fini(&paced);
    free(bytes);
    mem_disk_free(below);
}
