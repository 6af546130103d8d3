/*
 * Entry headers: what is stamped is accepted, and nothing else.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/crc32c.h"
#include "storage/block/entry.h"

static struct entry_header sample(void)
{
    struct entry_header header = {
        .size = sizeof header + 16,
        .kind = ENTRY_SEAL,
        .producer = 0x1122334455667788u,
        .epoch = 3,
        .shard = 5,
        .sequence = 77,
    };

    entry_stamp(&header);
    return header;
}

Test(entry, check_accepts_what_stamp_made)
{
    struct entry_header header = sample(), back;

    cr_assert_eq(entry_check(&header, sizeof header + 16, &back), ERR_OK, "%s", err_detail());
    cr_assert_eq(memcmp(&header, &back, sizeof back), 0);
}

Test(entry, check_notices_every_flipped_bit)
{
    struct entry_header header = sample(), back;
    uint8_t *bytes = (uint8_t *)&header;

    for (size_t bit = 0; bit < sizeof header * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(entry_check(bytes, sizeof header + 16, &back), ERR_INVALID, "bit %zu", bit);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

Test(entry, check_refuses_other_sizes)
{
    struct entry_header header = sample(), back;

    for (size_t size = 0; size < sizeof header + 32; size++)
        if (size != header.size)
            cr_assert_eq(entry_check(&header, size, &back), ERR_INVALID, "%zu bytes", size);
    header.size = ENTRY_SIZE_MAX + 1u;
    entry_stamp(&header);
    cr_assert_eq(entry_check(&header, header.size, &back), ERR_INVALID);
}

/* The checksum of such a header is right: a newer or a broken writer made it. */
Test(entry, check_refuses_what_this_version_does_not_know)
{
    struct entry_header header = sample(), back;

    header.kind = 0;
    entry_stamp(&header);
    cr_assert_eq(entry_check(&header, header.size, &back), ERR_INVALID);
    header.kind = ENTRY_KIND_END;
    entry_stamp(&header);
    cr_assert_eq(entry_check(&header, header.size, &back), ERR_INVALID);
    header = sample();
    header.flags = 1;
    entry_stamp(&header);
    cr_assert_eq(entry_check(&header, header.size, &back), ERR_INVALID);
    header = sample();
    header.zero[23] = 1;
    entry_stamp(&header);
    cr_assert_eq(entry_check(&header, header.size, &back), ERR_INVALID);
    header = sample();
    header.version = ENTRY_VERSION + 1;
    header.crc = crc32c(0, (const uint8_t *)&header + 8, sizeof header - 8);
    cr_assert_eq(entry_check(&header, header.size, &back), ERR_INVALID);
}

/* GOLDEN_WRITE=1 makes the file anew: only when the version changes. */
Test(entry, bytes_are_those_of_version_1)
{
    struct entry_header header = sample(), golden;
    char path[4096];
    FILE *file;

    (void)snprintf(path, sizeof path, "%s/entry_v1.bin", GOLDEN_DIR);
    if (getenv("GOLDEN_WRITE") != NULL) {
        file = fopen(path, "wb");
        cr_assert_not_null(file);
        cr_assert_eq(fwrite(&header, 1, sizeof header, file), sizeof header);
        cr_assert_eq(fclose(file), 0);
    }
    file = fopen(path, "rb");
    cr_assert_not_null(file, "%s", path);
    cr_assert_eq(fread(&golden, 1, sizeof golden, file), sizeof golden);
    cr_assert_eq(fgetc(file), EOF);
    (void)fclose(file);
    cr_assert_eq(memcmp(&golden, &header, sizeof header), 0);
    cr_assert_eq(entry_check(&golden, golden.size, &header), ERR_OK, "%s", err_detail());
}
