/*
 * Varints: every boundary comes back in its shortest spelling; damaged ones are refused.
 */
#include <criterion/criterion.h>

#include "storage/base/varint.h"
#include "tests/support/seed.h"

static void assert_round_trip(uint64_t value)
{
    uint8_t room[VARINT_SIZE_MAX];
    uint8_t *end = varint_put(room, value);
    uint64_t back;

    cr_assert_leq(end - room, VARINT_SIZE_MAX);
    cr_assert_eq(varint_get(room, end, &back), end);
    cr_assert_eq(back, value);
    for (uint8_t *cut = room; cut < end; cut++)
        cr_assert_null(varint_get(room, cut, &back));
}

Test(varint, every_power_of_two_and_its_neighbours_come_back)
{
    for (int bit = 0; bit < 64; bit++) {
        assert_round_trip((UINT64_C(1) << bit) - 1);
        assert_round_trip(UINT64_C(1) << bit);
        assert_round_trip((UINT64_C(1) << bit) + 1);
    }
    assert_round_trip(UINT64_MAX);
}

Test(varint, random_numbers_come_back)
{
    uint64_t seed = seed_of_run("varint");

    for (int i = 0; i < 100000; i++) {
        uint64_t shift = seed_below(&seed, 64);

        assert_round_trip(seed_next(&seed) >> shift);
    }
}

Test(varint, has_one_byte_for_each_seven_bits)
{
    uint8_t room[VARINT_SIZE_MAX];

    cr_assert_eq(varint_put(room, 127) - room, 1);
    cr_assert_eq(varint_put(room, 128) - room, 2);
    cr_assert_eq(varint_put(room, UINT64_MAX) - room, VARINT_SIZE_MAX);
}

Test(varint, more_than_64_bits_are_refused_and_leave_the_result_alone)
{
    static const uint8_t two_to_the_64[] = "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02";
    static const uint8_t endless[] = "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff";
    uint64_t value = 42;

    cr_assert_null(varint_get(two_to_the_64, two_to_the_64 + 10, &value));
    cr_assert_null(varint_get(endless, endless + 12, &value));
    cr_assert_eq(value, 42);
}

Test(varint, zigzag_folds_small_differences_to_small_numbers)
{
    cr_assert_eq(zigzag(0), 0);
    cr_assert_eq(zigzag((uint64_t)-1), 1);
    cr_assert_eq(zigzag(1), 2);
    cr_assert_eq(zigzag((uint64_t)INT64_MIN), UINT64_MAX);
    for (int64_t i = -1000; i < 1000; i++)
        cr_assert_eq(unzigzag(zigzag((uint64_t)i)), (uint64_t)i);
    cr_assert_eq(unzigzag(zigzag((uint64_t)INT64_MIN)), (uint64_t)INT64_MIN);
    cr_assert_eq(unzigzag(zigzag(INT64_MAX)), INT64_MAX);
}
