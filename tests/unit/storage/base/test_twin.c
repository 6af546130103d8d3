#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/crc32c.h"
#include "storage/base/dry_disk.h"
#include "storage/base/twin.h"
#include "tests/support/mem_disk.h"

enum { MAX = 1000 };

/* Contents that know their sum: crc, then text. */
struct contents {
    uint8_t bytes[64];
    size_t size;
};

static struct contents contents(const char *text)
{
    struct contents made = {.size = 4 + strlen(text)};
    uint32_t crc = crc32c(0, text, strlen(text));

    memcpy(made.bytes, &crc, 4);
    memcpy(made.bytes + 4, text, strlen(text));
    return made;
}

static enum err check(const void *bytes, size_t size)
{
    uint32_t crc;

    if (size < 4)
        return err_set(ERR_CORRUPT, "%zu bytes are too few", size);
    memcpy(&crc, bytes, 4);
    return crc == crc32c(0, (const uint8_t *)bytes + 4, size - 4)
               ? ERR_OK
               : err_set(ERR_CORRUPT, "bad checksum");
}

static struct mem_disk *new_disk(void)
{
    struct mem_disk *disk = mem_disk_new();
    const struct disk *table = mem_disk_table(disk);

    cr_assert_eq(table->make_dir(table->ctx, "d"), ERR_OK);
    cr_assert_eq(table->sync_dir(table->ctx, "."), ERR_OK);
    return disk;
}

static void save(struct mem_disk *disk, const char *text)
{
    struct contents made = contents(text);

    cr_assert_eq(twin_save(mem_disk_table(disk), "d", "f", made.bytes, made.size), ERR_OK);
}

/* Loads; the text must be this one. */
static void expect(const struct disk *disk, const char *text)
{
    uint8_t *bytes = NULL;
    size_t size = 0;
    enum err err = twin_load(disk, "d", "f", MAX, check, &bytes, &size);

    cr_assert_eq(err, ERR_OK, "%s", err_detail());
    cr_assert_eq(size, 4 + strlen(text));
    cr_assert_eq(memcmp(bytes + 4, text, strlen(text)), 0);
    free(bytes);
}

static void expect_mended(struct mem_disk *disk, const char *text)
{
    size_t size, copy_size;
    uint8_t *file = mem_disk_get(disk, "d/f", &size);
    uint8_t *copy = mem_disk_get(disk, "d/f.copy", &copy_size);

    cr_assert_eq(twin_verify(mem_disk_table(disk), "d", "f", MAX, check), ERR_OK);
    cr_assert_eq(size, copy_size);
    cr_assert_eq(memcmp(file, copy, size), 0);
    cr_assert_eq(memcmp(file + 4, text, strlen(text)), 0);
    free(file);
    free(copy);
}

Test(twin, every_flipped_bit_of_either_copy_is_mended_from_the_other)
{
    static const char *const names[] = {"d/f", "d/f.copy"};
    struct mem_disk *disk = new_disk();
    struct contents made = contents("state 7");

    save(disk, "state 7");
    for (size_t f = 0; f < 2; f++) {
        for (size_t bit = 0; bit < 8 * made.size; bit++) {
            mem_disk_flip(disk, names[f], bit / 8, (uint8_t)(1u << bit % 8));
            cr_assert_eq(twin_verify(mem_disk_table(disk), "d", "f", MAX, check), ERR_CORRUPT);
            cr_assert_not_null(strstr(err_detail(), names[f]), "%s", err_detail());
            expect(mem_disk_table(disk), "state 7");
            expect_mended(disk, "state 7");
        }
    }
    mem_disk_free(disk);
}

Test(twin, a_missing_empty_long_or_unreadable_copy_is_mended)
{
    static const char *const names[] = {"d/f", "d/f.copy"};
    static const uint8_t zeros[MAX + 1];

    for (size_t f = 0; f < 2; f++) {
        struct mem_disk *disk = new_disk();
        const struct disk *table = mem_disk_table(disk);

        save(disk, "state 7");
        cr_assert_eq(table->remove(table->ctx, names[f]), ERR_OK);
        cr_assert_eq(twin_verify(table, "d", "f", MAX, check), ERR_CORRUPT);
        expect(table, "state 7");
        expect_mended(disk, "state 7");
        mem_disk_put(disk, names[f], zeros, 0);
        expect(table, "state 7");
        expect_mended(disk, "state 7");
        mem_disk_put(disk, names[f], zeros, sizeof zeros);
        expect(table, "state 7");
        expect_mended(disk, "state 7");
        mem_disk_fail(disk, MEM_DISK_READ, f + 1, ERR_IO, false);
        expect(table, "state 7");
        mem_disk_fail(disk, MEM_DISK_READ, 0, ERR_OK, false);
        expect_mended(disk, "state 7");
        mem_disk_free(disk);
    }
}

Test(twin, the_file_counts_where_its_copy_is_older)
{
    struct mem_disk *disk = new_disk();
    struct contents old = contents("state 6");

    save(disk, "state 7");
    mem_disk_put(disk, "d/f.copy", old.bytes, old.size);
    cr_assert_eq(twin_verify(mem_disk_table(disk), "d", "f", MAX, check), ERR_OK);
    expect(mem_disk_table(disk), "state 7");
    expect_mended(disk, "state 7");
    mem_disk_free(disk);
}

Test(twin, says_both_names_when_neither_is_good_and_that_there_is_none)
{
    struct mem_disk *disk = new_disk();
    const struct disk *table = mem_disk_table(disk);
    uint8_t *bytes;
    size_t size;

    cr_assert_eq(twin_load(table, "d", "f", MAX, check, &bytes, &size), ERR_NOT_FOUND);
    cr_assert_eq(twin_verify(table, "d", "f", MAX, check), ERR_NOT_FOUND);
    save(disk, "state 7");
    mem_disk_flip(disk, "d/f", 5, 1);
    mem_disk_flip(disk, "d/f.copy", 6, 1);
    cr_assert_eq(twin_load(table, "d", "f", MAX, check, &bytes, &size), ERR_CORRUPT);
    cr_assert_not_null(strstr(err_detail(), "d/f: bad checksum"), "%s", err_detail());
    cr_assert_not_null(strstr(err_detail(), "d/f.copy"), "%s", err_detail());
    /* What is lost with one copy gone is not made good by forgetting the other. */
    cr_assert_eq(table->remove(table->ctx, "d/f"), ERR_OK);
    cr_assert_eq(twin_load(table, "d", "f", MAX, check, &bytes, &size), ERR_CORRUPT);
    mem_disk_free(disk);
}

Test(twin, a_crash_or_an_error_at_any_call_leaves_the_old_state_or_the_new)
{
    for (unsigned how = 0; how < 3; how++) {
        for (uint64_t at = 1; at < 40; at++) {
            struct mem_disk *disk = new_disk();
            struct contents next = contents("state 8");
            uint8_t *bytes = NULL;
            size_t size = 0;
            bool failed;

            save(disk, "state 7");
            mem_disk_fail(disk, MEM_DISK_ANY, at, ERR_IO, true);
            failed = twin_save(mem_disk_table(disk), "d", "f", next.bytes, next.size) != ERR_OK;
            if (how > 0)
                mem_disk_crash(disk, how == 1 ? MEM_DISK_POWER : MEM_DISK_TORN, at);
            mem_disk_fail(disk, MEM_DISK_ANY, 0, ERR_OK, false);
            cr_assert_eq(twin_load(mem_disk_table(disk), "d", "f", MAX, check, &bytes, &size),
                         ERR_OK, "%s", err_detail());
            cr_assert(bytes[size - 1] == '8' || (failed && bytes[size - 1] == '7'));
            cr_assert_eq(twin_verify(mem_disk_table(disk), "d", "f", MAX, check), ERR_OK);
            free(bytes);
            mem_disk_free(disk);
        }
    }
}

Test(twin, goes_on_with_one_copy_when_the_other_cannot_be_written)
{
    struct mem_disk *disk = new_disk();
    struct dry_disk dry;

    save(disk, "state 7");
    mem_disk_flip(disk, "d/f", 5, 1);
    mem_disk_fail(disk, MEM_DISK_WRITE, 1, ERR_DISK_FULL, true);
    expect(mem_disk_table(disk), "state 7");
    mem_disk_fail(disk, MEM_DISK_WRITE, 0, ERR_OK, false);
    expect(dry_disk_init(&dry, mem_disk_table(disk)), "state 7");
    cr_assert_eq(twin_verify(mem_disk_table(disk), "d", "f", MAX, check), ERR_CORRUPT);
    mem_disk_free(disk);
}
