/*
 * Percentiles held to a sorted array: never below the true value, never 1 % above it.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

#include "storage/base/histogram.h"
#include "storage/base/rand.h"
#include "tests/support/seed.h"

static struct histogram histogram;
static struct histogram other;

static int compare(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static void assert_close(uint64_t found, uint64_t exact)
{
    cr_assert_geq(found, exact);
    cr_assert_leq((double)(found - exact), (double)exact / 128.0, "%lu for %lu", found, exact);
}

Test(histogram, is_zero_when_it_is_empty)
{
    cr_assert_eq(histogram_percentile(&histogram, 50), 0);
    cr_assert_eq(histogram_percentile(&histogram, 100), 0);
    cr_assert_eq(histogram_max(&histogram), 0);
    cr_assert_eq(histogram_mean(&histogram), 0);
}

Test(histogram, every_value_of_every_scale_comes_back_within_one_percent)
{
    for (int bit = 0; bit < HISTOGRAM_BITS; bit++) {
        for (int64_t near = -2; near <= 2; near++) {
            uint64_t value = (UINT64_C(1) << bit) + (uint64_t)near;

            if (value >> HISTOGRAM_BITS != 0)
                continue;
            histogram_clear(&histogram);
            histogram_record(&histogram, value);
            histogram_record(&histogram, UINT64_MAX); /* Or the maximum would correct it. */
            assert_close(histogram_percentile(&histogram, 50), value);
        }
    }
}

Test(histogram, percentiles_agree_with_a_sorted_array)
{
    enum { COUNT = 20000 };
    static const double percents[] = {0, 0.1, 1, 25, 50, 90, 99, 99.9, 99.99, 100};
    uint64_t *values = malloc(COUNT * sizeof *values);
    struct rand rand;

    cr_assert_not_null(values);
    rand_init(&rand, seed_of_run("histogram"));
    for (size_t i = 0; i < COUNT; i++) {
        values[i] = rand_next(&rand) >> (22 + rand_below(&rand, 42)); /* All scales. */
        histogram_record(&histogram, values[i]);
    }
    qsort(values, COUNT, sizeof *values, compare);
    for (size_t i = 0; i < sizeof percents / sizeof *percents; i++) {
        double rank = ceil((double)COUNT * percents[i] / 100);

        assert_close(histogram_percentile(&histogram, percents[i]),
                     values[rank < 1 ? 0 : (size_t)rank - 1]);
    }
    cr_assert_eq(histogram_max(&histogram), values[COUNT - 1]);
    cr_assert_eq(histogram_count(&histogram), COUNT);
    free(values);
}

Test(histogram, merging_is_the_same_as_having_recorded_all_in_one)
{
    static struct histogram whole;
    struct rand rand;

    rand_init(&rand, seed_of_run("histogram"));
    for (int i = 0; i < 10000; i++) {
        uint64_t value = rand_below(&rand, 100000000);

        histogram_record(i % 3 == 0 ? &histogram : &other, value);
        histogram_record(&whole, value);
    }
    histogram_merge(&histogram, &other);
    cr_assert_eq(histogram_count(&histogram), 10000);
    cr_assert_eq(histogram_max(&histogram), histogram_max(&whole));
    cr_assert_float_eq(histogram_mean(&histogram), histogram_mean(&whole), 1e-6);
    for (double percent = 0; percent <= 100; percent += 0.5)
        cr_assert_eq(histogram_percentile(&histogram, percent),
                     histogram_percentile(&whole, percent));
}

Test(histogram, a_value_beyond_the_range_is_counted_and_the_maximum_stays_true)
{
    histogram_record(&histogram, UINT64_C(1) << 50);
    histogram_record_many(&histogram, 10, 3);
    histogram_record_many(&histogram, 99999, 0);
    cr_assert_eq(histogram_count(&histogram), 4);
    cr_assert_eq(histogram_max(&histogram), UINT64_C(1) << 50);
    cr_assert_eq(histogram_percentile(&histogram, 75), 10);
    cr_assert_eq(histogram_percentile(&histogram, 76), UINT64_C(1) << 50);
}
