#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/rejoin_list.h"
#include "storage/base/crc32c.h"
#include "tests/support/mem_disk.h"

enum { GROUPS = 5 };

static struct rejoin_list list, other;

static void set_up(void)
{
    cr_assert_eq(rejoin_list_init(&list, GROUPS), ERR_OK);
    cr_assert_eq(rejoin_list_init(&other, GROUPS), ERR_OK);
}

static void tear_down(void)
{
    rejoin_list_fini(&list);
    rejoin_list_fini(&other);
}

TestSuite(rejoin_list, .init = set_up, .fini = tear_down);

/* The one of the golden file. */
static void fill(void)
{
    struct rejoin_entry *ready = &list.entries[3];

    rejoin_list_set(&list, 0, REJOIN_LOST);
    rejoin_list_set(&list, 2, REJOIN_BEHIND);
    *ready = (struct rejoin_entry){.state = REJOIN_READY,
                                   .index = 88000,
                                   .term = 17,
                                   .configuration_index = 1,
                                   .until = UINT64_C(1) << 40,
                                   .until_term = 18};
    bytes_put(&ready->configuration, "three voters", 12);
}

static void expect_filled(const struct rejoin_list *read)
{
    const struct rejoin_entry *ready = &read->entries[3];

    cr_assert_eq(read->entries[0].state, REJOIN_LOST);
    cr_assert_eq(read->entries[1].state, REJOIN_NOT);
    cr_assert_eq(read->entries[2].state, REJOIN_BEHIND);
    cr_assert_eq(read->entries[4].state, REJOIN_NOT);
    cr_assert(ready->state == REJOIN_READY && ready->index == 88000 && ready->term == 17 &&
              ready->configuration_index == 1 && ready->until == UINT64_C(1) << 40 &&
              ready->until_term == 18);
    cr_assert_eq(ready->configuration.size, 12);
    cr_assert_eq(memcmp(ready->configuration.data, "three voters", 12), 0);
}

Test(rejoin_list, what_is_written_is_read_again)
{
    struct bytes bytes = {0};

    fill();
    rejoin_list_encode(&list, &bytes);
    cr_assert_eq(rejoin_list_decode(bytes.data, bytes.size, &other), ERR_OK);
    expect_filled(&other);
    for (size_t size = 0; size < bytes.size; size++)
        cr_assert_eq(rejoin_list_decode(bytes.data, size, &other), ERR_CORRUPT);
    for (size_t at = 0; at < bytes.size; at++) {
        bytes.data[at] ^= 4;
        cr_assert_eq(rejoin_list_decode(bytes.data, bytes.size, &other), ERR_CORRUPT, "byte %zu",
                     at);
        bytes.data[at] ^= 4;
    }
    bytes_fini(&bytes);
}

Test(rejoin_list, the_golden_file_is_of_this_format)
{
    struct bytes bytes = {0};
    uint8_t golden[256];
    FILE *file = fopen(GOLDEN_DIR "/rejoin_v1.bin", "rb");
    size_t size;

    cr_assert_not_null(file);
    size = fread(golden, 1, sizeof golden, file);
    cr_assert_eq(fclose(file), 0);
    fill();
    rejoin_list_encode(&list, &bytes);
    cr_assert_eq(bytes.size, size);
    cr_assert_eq(memcmp(bytes.data, golden, size), 0);
    cr_assert_eq(rejoin_list_decode(golden, size, &other), ERR_OK);
    expect_filled(&other);
    bytes_fini(&bytes);
}

/* Make the checksum right, and read. */
static enum err read_forged(struct bytes *bytes)
{
    uint32_t crc = crc32c(0, bytes->data + 8, bytes->size - 8);

    memcpy(bytes->data + 4, &crc, sizeof crc);
    return rejoin_list_decode(bytes->data, bytes->size, &other);
}

Test(rejoin_list, what_makes_no_sense_is_refused)
{
    struct bytes bytes = {0};

    fill();
    rejoin_list_encode(&list, &bytes);
    bytes.data[8] = 2;
    cr_assert_eq(read_forged(&bytes), ERR_VERSION);
    bytes.data[8] = 1;
    bytes.data[12]++; /* One group more than follows. */
    cr_assert_eq(read_forged(&bytes), ERR_CORRUPT);
    bytes.data[12] -= 2;
    cr_assert_eq(read_forged(&bytes), ERR_CORRUPT);
    bytes.data[12]++;
    bytes.data[20] = REJOIN_BARE + 1;
    cr_assert_eq(read_forged(&bytes), ERR_CORRUPT);
    bytes.data[20] = REJOIN_NOT;
    cr_assert_eq(read_forged(&bytes), ERR_CORRUPT);
    bytes.data[20] = REJOIN_LOST;
    bytes.data[21] = 0; /* Group 0 again. */
    cr_assert_eq(read_forged(&bytes), ERR_CORRUPT);
    bytes.data[21] = GROUPS;
    cr_assert_eq(read_forged(&bytes), ERR_INVALID);
    bytes_fini(&bytes);
}

Test(rejoin_list, one_copy_is_enough_and_an_empty_list_has_no_file)
{
    struct mem_disk *memory = mem_disk_new();
    const struct disk *disk = mem_disk_table(memory);

    cr_assert_eq(disk->make_dir(disk->ctx, "data"), ERR_OK);
    cr_assert_eq(rejoin_list_load(&other, disk, "data"), ERR_OK);
    cr_assert(rejoin_list_is_empty(&other));
    fill();
    cr_assert_eq(rejoin_list_save(&list, disk, "data"), ERR_OK);
    mem_disk_put(memory, "data/" REJOIN_FILE, "damaged", 7);
    cr_assert_eq(rejoin_list_load(&other, disk, "data"), ERR_OK);
    expect_filled(&other);

    for (uint32_t i = 0; i < GROUPS; i++)
        rejoin_list_set(&list, i, REJOIN_NOT);
    cr_assert(rejoin_list_is_empty(&list));
    cr_assert_eq(rejoin_list_save(&list, disk, "data"), ERR_OK);
    cr_assert_not(mem_disk_exists(memory, "data/" REJOIN_FILE));
    cr_assert_not(mem_disk_exists(memory, "data/" REJOIN_FILE ".copy"));
    cr_assert_eq(rejoin_list_save(&list, disk, "data"), ERR_OK); /* Nothing to remove. */
    mem_disk_free(memory);
}

Test(rejoin_list, both_copies_damaged_is_said)
{
    struct mem_disk *memory = mem_disk_new();
    const struct disk *disk = mem_disk_table(memory);

    cr_assert_eq(disk->make_dir(disk->ctx, "data"), ERR_OK);
    mem_disk_put(memory, "data/" REJOIN_FILE, "damaged", 7);
    mem_disk_put(memory, "data/" REJOIN_FILE ".copy", "damaged", 7);
    cr_assert_eq(rejoin_list_load(&list, disk, "data"), ERR_CORRUPT);
    cr_assert_not_null(strstr(err_detail(), REJOIN_FILE));
    mem_disk_free(memory);
}
