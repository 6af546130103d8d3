/*
 * The checksum: known answers, and the CPU's version held to the portable one on every length
 * around the seams of its lanes.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "storage/base/crc32c.h"

enum { LONGEST = 3 * 3 * 4096 + 3 * 3 * 256 + 100 };

static uint8_t *noise(size_t size)
{
    uint8_t *bytes = malloc(size);
    uint64_t state = 0x9e3779b97f4a7c15;

    cr_assert_not_null(bytes);
    for (size_t i = 0; i < size; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = (uint8_t)(state >> 56);
    }
    return bytes;
}

Test(crc32c, gives_the_published_answers)
{
    uint8_t zeros[32] = {0};
    uint8_t ones[32];

    memset(ones, 0xff, sizeof ones);
    cr_assert_eq(crc32c(0, "123456789", 9), 0xe3069283);
    cr_assert_eq(crc32c(0, zeros, sizeof zeros), 0x8a9136aa); /* RFC 3720, B.4 */
    cr_assert_eq(crc32c(0, ones, sizeof ones), 0x62a8ab43);
    cr_assert_eq(crc32c(0, "", 0), 0);
    cr_assert_eq(crc32c_portable(0, "123456789", 9), 0xe3069283);
    cr_assert_eq(crc32c_portable(0, zeros, sizeof zeros), 0x8a9136aa);
}

Test(crc32c, is_the_same_with_and_without_the_instruction)
{
    uint8_t *bytes = noise(LONGEST + 8);

    for (size_t size = 0; size <= 3000; size++)
        cr_assert_eq(crc32c(7, bytes, size), crc32c_portable(7, bytes, size), "size %zu", size);
    for (size_t size = LONGEST; size > 3000; size -= size % 61 + 1)
        cr_assert_eq(crc32c(7, bytes, size), crc32c_portable(7, bytes, size), "size %zu", size);
    for (size_t at = 0; at < 8; at++)
        cr_assert_eq(crc32c(0, bytes + at, LONGEST), crc32c_portable(0, bytes + at, LONGEST));
    free(bytes);
}

Test(crc32c, goes_on_where_the_bytes_before_ended)
{
    uint8_t *bytes = noise(LONGEST);
    uint32_t whole = crc32c(0, bytes, LONGEST);

    for (size_t cut = 0; cut <= LONGEST; cut += 1 + cut % 977)
        cr_assert_eq(crc32c(crc32c(0, bytes, cut), bytes + cut, LONGEST - cut), whole);
    free(bytes);
}

Test(crc32c, notices_every_flipped_bit)
{
    uint8_t *bytes = noise(4096);
    uint32_t good = crc32c(0, bytes, 4096);

    for (size_t bit = 0; bit < 4096 * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        cr_assert_neq(crc32c(0, bytes, 4096), good, "bit %zu", bit);
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    free(bytes);
}
