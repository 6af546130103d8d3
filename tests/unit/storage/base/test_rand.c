/*
 * Random numbers: they repeat with the seed, keep to their bounds and reach all of it.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "storage/base/rand.h"
#include "tests/support/seed.h"

Test(rand, the_same_seed_gives_the_same_numbers_for_ever)
{
    struct rand rand;

    /* Computed by hand from the published xoshiro256** and splitmix64: tests name seeds, and the
     * run of a seed must not change. */
    rand_init(&rand, 0);
    cr_assert_eq(rand_next(&rand), 0x99ec5f36cb75f2b4);
    cr_assert_eq(rand_next(&rand), 0xbf6e1f784956452a);
}

Test(rand, neighbouring_seeds_share_nothing)
{
    struct rand a;
    struct rand b;
    int equal = 0;

    rand_init(&a, 1);
    rand_init(&b, 2);
    for (int i = 0; i < 1000; i++)
        equal += rand_next(&a) == rand_next(&b);
    cr_assert_eq(equal, 0);
}

Test(rand, below_reaches_every_number_and_none_beyond)
{
    struct rand rand;
    int seen[7] = {0};

    rand_init(&rand, seed_of_run("rand"));
    for (int i = 0; i < 7000; i++) {
        uint64_t number = rand_below(&rand, 7);

        cr_assert_lt(number, 7);
        seen[number]++;
    }
    /* 1000 expected, standard deviation 29: 10 of those is out of reach. */
    for (int i = 0; i < 7; i++) {
        cr_assert_gt(seen[i], 700);
        cr_assert_lt(seen[i], 1300);
    }
    cr_assert_eq(rand_below(&rand, 1), 0);
    for (int i = 0; i < 100; i++)
        cr_assert_lt(rand_below(&rand, (UINT64_C(1) << 63) + 1), (UINT64_C(1) << 63) + 1);
}

Test(rand, unit_stays_between_zero_and_one)
{
    struct rand rand;
    double sum = 0;

    rand_init(&rand, seed_of_run("rand"));
    for (int i = 0; i < 10000; i++) {
        double number = rand_unit(&rand);

        cr_assert_geq(number, 0.0);
        cr_assert_lt(number, 1.0);
        sum += number;
    }
    cr_assert_gt(sum, 4700);
    cr_assert_lt(sum, 5300);
}

Test(rand, entropy_fills_every_byte_and_differs_each_time)
{
    uint8_t a[1000];
    uint8_t b[1000];
    int zeros = 0;

    memset(a, 0, sizeof a);
    rand_entropy(a, sizeof a);
    rand_entropy(b, sizeof b);
    cr_assert_arr_neq(a, b, sizeof a);
    for (size_t i = 0; i < sizeof a; i++)
        zeros += a[i] == 0;
    cr_assert_lt(zeros, 50);
    rand_entropy(a, 0);
}
