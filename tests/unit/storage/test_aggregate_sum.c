/*
 * Sums of floats: decimals add up as people add them, all else exactly, in any order.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "storage/aggregate_sum.h"
#include "tests/support/seed.h"

enum { VALUES = 3000 };

static uint64_t bits_of(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double sum_of(const uint64_t *bits, uint32_t count)
{
    struct aggregate_sum sum = {0};
    uint64_t memory = 0;
    double value;

    cr_assert_eq(aggregate_sum_add(&sum, bits, count, &memory), ERR_OK);
    value = aggregate_sum_value(&sum);
    free(sum.bins);
    return value;
}

static uint64_t draw_bits(uint64_t *chance)
{
    static const double powers[] = {1, 10, 100, 1000, 1e6, 1e12};
    double value = (double)seed_below(chance, 1u << 20) - (1 << 19);

    switch (seed_below(chance, 8)) {
    case 0:
        return seed_next(chance) & ~(UINT64_C(1) << 62); /* Anything below 2. */
    case 1:
        return bits_of(sqrt(fabs(value)));
    case 2:
        return bits_of(-0.0);
    default:
        return bits_of(value / powers[seed_below(chance, 6)]);
    }
}

/* The same values, shuffled and cut in another way: added, combined, through bytes. */
static double sum_otherwise(uint64_t *chance, uint64_t *bits, uint32_t count)
{
    struct aggregate_sum whole = {0};
    uint64_t memory = 0;
    double value;

    for (uint32_t i = count - 1; i > 0; i--) {
        uint32_t other = (uint32_t)seed_below(chance, i + 1);
        uint64_t swapped = bits[i];

        bits[i] = bits[other];
        bits[other] = swapped;
    }
    for (uint32_t at = 0, some; at < count; at += some) {
        struct aggregate_sum part = {0}, read;
        struct aggregate_bins room;
        struct bytes bytes = {0};
        struct reader reader;

        some = 1 + (uint32_t)seed_below(chance, 1500);
        some = some < count - at ? some : count - at;
        cr_assert_eq(aggregate_sum_add(&part, bits + at, some, &memory), ERR_OK);
        aggregate_sum_put(&part, &bytes);
        reader = reader_on(bytes.data, bytes.size);
        aggregate_sum_get(&reader, &room, &read);
        cr_assert(reader_done(&reader));
        cr_assert_eq(aggregate_sum_combine(&whole, &read, &memory), ERR_OK);
        free(part.bins);
        bytes_fini(&bytes);
    }
    value = aggregate_sum_value(&whole);
    free(whole.bins);
    return value;
}

Test(aggregate_sum, is_the_same_in_any_order)
{
    static uint64_t bits[VALUES];
    uint64_t chance = seed_of_run("aggregate sum");

    for (uint32_t round = 0; round < 200; round++) {
        uint32_t count = 1 + (uint32_t)seed_below(&chance, VALUES);
        double first;

        for (uint32_t i = 0; i < count; i++)
            bits[i] = draw_bits(&chance);
        first = sum_of(bits, count);
        for (uint32_t again = 0; again < 5; again++)
            cr_assert_eq(bits_of(sum_otherwise(&chance, bits, count)), bits_of(first));
    }
}

Test(aggregate_sum, adds_decimals_as_people_do)
{
    static uint64_t tenths[1000];
    const uint64_t two[] = {bits_of(0.1), bits_of(0.2)};
    const uint64_t back[] = {bits_of(1e15), bits_of(0.3), bits_of(-1e15)};

    for (uint32_t i = 0; i < 1000; i++)
        tenths[i] = bits_of(0.1);
    cr_assert_eq(sum_of(tenths, 1000), 100.0);
    cr_assert_eq(sum_of(two, 2), 0.3);
    cr_assert_eq(sum_of(back, 3), 0.3);
}

Test(aggregate_sum, gives_one_value_back)
{
    static const double values[] = {
        0.30000000000000004, 1.0 / 3, M_PI,   1e300,    -1e-300, 5e-324,
        4503599627370497.0,  1e22,    -21.37, 0.000001, 1e-13,   2251.5};
    uint64_t chance = seed_of_run("aggregate sum of one");

    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        uint64_t bits = bits_of(values[i]);

        cr_assert_eq(sum_of(&bits, 1), values[i], "%.17g", values[i]);
    }
    for (uint32_t i = 0; i < 100000; i++) {
        uint64_t bits = draw_bits(&chance);
        double sum = sum_of(&bits, 1), value;

        memcpy(&value, &bits, sizeof value);
        cr_assert(sum == value || (isnan(sum) && isnan(value)), "%.17g", value);
    }
}

Test(aggregate_sum, knows_what_is_not_finite)
{
    const uint64_t up[] = {bits_of(INFINITY), bits_of(1)};
    const uint64_t both[] = {bits_of(INFINITY), bits_of(-INFINITY)};
    const uint64_t nan[] = {bits_of(1), bits_of(NAN), bits_of(INFINITY)};
    const uint64_t zeros[] = {bits_of(-0.0), bits_of(-0.0)};

    cr_assert_eq(sum_of(up, 2), INFINITY);
    cr_assert(isnan(sum_of(both, 2)));
    cr_assert(isnan(sum_of(nan, 3)));
    cr_assert_eq(bits_of(sum_of(zeros, 2)), 0);
}

Test(aggregate_sum, finds_one_form_for_a_column_or_says_no)
{
    uint64_t bits[20];
    unsigned form;
    int64_t sum, unit = 1;

    for (uint32_t i = 0; i < 20; i++)
        bits[i] = bits_of(20 + i / 100.0);
    cr_assert(aggregate_sum_decimals(bits, 20, &form, &sum));
    for (unsigned i = 2; i < form; i++)
        unit *= 10;
    cr_assert_eq(sum, 40190 * unit);
    bits[7] = bits_of(sqrt(2));
    cr_assert_not(aggregate_sum_decimals(bits, 20, &form, &sum));
    bits[7] = bits_of(1e15); /* Beside it there is no room for two digits. */
    cr_assert_not(aggregate_sum_decimals(bits, 20, &form, &sum));
}

Test(aggregate_sum, takes_no_nonsense)
{
    struct aggregate_sum sum = {.decimals = (int128)INT64_MAX << 63}, more = sum;
    struct aggregate_bins room;
    uint8_t bytes[17] = {0};
    struct reader reader;
    uint64_t memory = 0;

    bytes[16] = 2; /* A NaN without bins. */
    reader = reader_on(bytes, sizeof bytes);
    aggregate_sum_get(&reader, &room, &more);
    cr_assert(reader.bad);
    more = sum;
    cr_assert_eq(aggregate_sum_combine(&sum, &more, &memory), ERR_OK);
    cr_assert_eq(aggregate_sum_combine(&sum, &more, &memory), ERR_INVALID);
}
