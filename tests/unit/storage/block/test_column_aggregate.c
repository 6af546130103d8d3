/*
 * Aggregates from packed chunks: what adding up the decoded values gives, on every level of CPU.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/cpu.h"
#include "storage/block/column.h"
#include "storage/block/column_aggregate.h"
#include "storage/block/column_decimal.h"
#include "storage/block/column_int.h"
#include "tests/support/seed.h"

/* The longer way: value by value, with a carry. */
static struct column_aggregate add_integers(const uint64_t *values, uint32_t first, uint32_t end,
                                            bool has_sign)
{
    struct column_aggregate want = {.exact = true, .min = values[first], .max = values[first]};

    for (uint32_t i = first; i < end; i++) {
        uint64_t low = want.sum_low + values[i];
        bool negative = has_sign && (int64_t)values[i] < 0;

        want.sum_high += (low < values[i] ? 1 : 0) - (negative ? 1 : 0);
        want.sum_low = low;
        if (has_sign ? (int64_t)values[i] < (int64_t)want.min : values[i] < want.min)
            want.min = values[i];
        if (has_sign ? (int64_t)values[i] > (int64_t)want.max : values[i] > want.max)
            want.max = values[i];
    }
    return want;
}

static void expect_same(const struct column_aggregate *got, const struct column_aggregate *want)
{
    cr_assert_eq(got->exact, want->exact);
    cr_assert_eq(got->exponent, want->exponent);
    cr_assert_eq(got->min, want->min, "%016lx, not %016lx", got->min, want->min);
    cr_assert_eq(got->max, want->max, "%016lx, not %016lx", got->max, want->max);
    cr_assert_eq(got->sum_low, want->sum_low);
    cr_assert_eq(got->sum_high, want->sum_high);
    cr_assert(memcmp(&got->sum, &want->sum, sizeof got->sum) == 0 || isnan(want->sum));
}

/* As blocks keep them or, by what the first value is, as segments do. */
static void put(enum field_type type, const uint64_t *values, uint32_t count, struct bytes *out)
{
    if (values[0] % 2 == 0)
        column_put_values(type, values, count, NULL, out);
    else
        column_put_dense_values(type, values, count, NULL, out);
}

/* Encode, then aggregate on each level; every level's answer must be `want`. */
static void check(enum field_type type, const uint64_t *values, uint32_t count, uint32_t first,
                  uint32_t end, const struct column_aggregate *want)
{
    struct bytes out = {0};

    put(type, values, count, &out);
    for (enum cpu_level level = CPU_SCALAR; level <= cpu_level_max(); level++) {
        struct reader reader = reader_on(out.data, out.size);
        struct column_aggregate got = {0};

        cr_assert_eq(cpu_use(cpu_level_name(level)), ERR_OK);
        column_open_values(&reader);
        column_aggregate_chunk(&reader, type, count, first, end, &got);
        cr_assert(reader_done(&reader));
        expect_same(&got, want);
    }
    bytes_fini(&out);
}

static void pick_range(uint64_t *state, uint32_t count, uint32_t *ret_first, uint32_t *ret_end)
{
    *ret_first = (uint32_t)seed_below(state, count);
    *ret_end = *ret_first + 1 + (uint32_t)seed_below(state, count - *ret_first);
    if (seed_below(state, 3) == 0) {
        *ret_first = 0;
        *ret_end = count;
    }
}

static uint32_t pick_count(uint64_t *state)
{
    return seed_below(state, 2) == 0 ? COLUMN_CHUNK : 1 + (uint32_t)seed_below(state, COLUMN_CHUNK);
}

Test(column_aggregate, adds_integers_of_every_size_exactly)
{
    uint64_t state = seed_of_run("column_aggregate");
    uint64_t values[COLUMN_CHUNK];

    for (int turn = 0; turn < 3000; turn++) {
        uint32_t count = pick_count(&state), first, end;
        bool has_sign = seed_below(&state, 2) == 0;
        unsigned shift = (unsigned)seed_below(&state, 64);
        uint64_t offset = seed_next(&state) >> seed_below(&state, 64);
        uint64_t rare = 1 + seed_below(&state, 300);
        bool walks = seed_below(&state, 2) == 0, three = seed_below(&state, 2) == 0;
        struct column_aggregate want;

        for (uint32_t i = 0; i < count; i++) {
            uint64_t noise = seed_next(&state) >> shift;

            noise = three ? noise % 3 : noise;
            values[i] = walks && i > 0 ? values[i - 1] + noise : offset + noise;
            if (rare < 100 && seed_below(&state, rare) == 0)
                values[i] = seed_next(&state);
        }
        pick_range(&state, count, &first, &end);
        want = add_integers(values, first, end, has_sign);
        check(has_sign ? FIELD_INT : FIELD_UINT, values, count, first, end, &want);
    }
}

Test(column_aggregate, adds_decimals_as_integers)
{
    uint64_t state = seed_of_run("column_aggregate");
    uint64_t values[COLUMN_CHUNK], integers[COLUMN_CHUNK];

    for (int turn = 0; turn < 1000; turn++) {
        uint32_t count = pick_count(&state), first, end;
        struct column_aggregate want;

        for (uint32_t i = 0; i < count; i++) {
            /* The last digit is never 0, so that no shorter exponent will do. */
            int64_t number = 10 * ((int64_t)seed_below(&state, 10000) - 5000) + 1;

            integers[i] = (uint64_t)number;
            values[i] = column_decimal_pattern((double)number / 100);
        }
        pick_range(&state, count, &first, &end);
        want = add_integers(integers, first, end, true);
        want.exponent = 2;
        check(FIELD_FLOAT, values, count, first, end, &want);
        cr_assert_eq(column_aggregate_float(integers[0], 2), values[0]);
    }
}

/* Sums of all runs from 0 on, on each level; `fits`: numbers are small enough for that. */
static void check_sums(enum field_type type, const uint64_t *values, const uint64_t *integers,
                       uint32_t count, bool fits)
{
    struct bytes out = {0};

    put(type, values, count, &out);
    for (enum cpu_level level = CPU_SCALAR; level <= cpu_level_max(); level++) {
        struct reader reader = reader_on(out.data, out.size), before;
        struct column_int_sums sums;
        int64_t want = 0;
        uint8_t exponent;

        cr_assert_eq(cpu_use(cpu_level_name(level)), ERR_OK);
        column_open_values(&reader);
        before = reader;
        if (!column_aggregate_sums(&reader, type, count, &exponent, &sums)) {
            cr_assert(!fits);
            cr_assert(!reader.bad);
            cr_assert_eq(reader.at, before.at);
            continue;
        }
        cr_assert(reader_done(&reader));
        for (uint32_t end = 0; end <= count; end++) {
            cr_assert_eq(
                column_int_sum(&sums, column_int_place(count, column_int_inverse(count), end)),
                want, "%u of %u", end, count);
            want += end < count ? (int64_t)integers[end] : 0;
        }
    }
    bytes_fini(&out);
}

Test(column_aggregate, knows_the_sums_of_all_runs)
{
    uint64_t state = seed_of_run("column_aggregate");
    uint64_t values[COLUMN_CHUNK], integers[COLUMN_CHUNK];

    for (int turn = 0; turn < 400; turn++) {
        uint32_t count = turn < 100 ? 1 + (uint32_t)turn : pick_count(&state);
        uint64_t step = turn % 3 == 0 ? 3 : seed_next(&state) >> (14 + seed_below(&state, 50));
        bool walks = seed_below(&state, 2) == 0;

        for (uint32_t i = 0; i < count; i++) {
            int64_t number = (int64_t)(step > 0 ? seed_below(&state, step) : 7);

            number = walks && i > 0 ? (int64_t)integers[i - 1] + number % 4096 - 2000 : number;
            integers[i] = (uint64_t)number;
            values[i] = column_decimal_pattern((double)number / 1000);
        }
        check_sums(FIELD_INT, integers, integers, count, false);
        check_sums(FIELD_FLOAT, integers, integers, count, false); /* Bits by chance. */
        if (step < 1ull << 40) {
            check_sums(FIELD_INT, integers, integers, count, true);
            /* Decimals may be stored with fewer digits than three: 1.5 as 15. */
            values[0] = column_decimal_pattern(0.001);
            integers[0] = 1;
            check_sums(FIELD_FLOAT, values, integers, count, true);
        }
    }
}

/* Runs of every length, some places in none of them. */
static uint32_t pick_runs(uint64_t *state, uint32_t count, struct lanes_run *runs)
{
    uint64_t longest = 1 + seed_below(state, seed_below(state, 3) == 0 ? count : 20);
    uint32_t made = 0, at = 0;

    while (at < count) {
        uint32_t length = 1 + (uint32_t)seed_below(state, longest);

        length = length < count - at ? length : count - at;
        if (made == 0 || seed_below(state, 8) != 0)
            runs[made++] = (struct lanes_run){.first = (uint16_t)at,
                                              .end = (uint16_t)(at + length),
                                              .window = lanes_window(length)};
        at += length;
    }
    return made;
}

/* Extremes of all runs on each level are those of one run after the other. */
static void check_extremes(enum field_type type, const uint64_t *values, uint32_t count,
                           bool want_min, const struct lanes_run *runs, uint32_t run_count)
{
    struct bytes out = {0};

    put(type, values, count, &out);
    for (enum cpu_level level = CPU_SCALAR; level <= cpu_level_max(); level++) {
        struct reader reader = reader_on(out.data, out.size), before;
        uint64_t bits[COLUMN_CHUNK];

        cr_assert_eq(cpu_use(cpu_level_name(level)), ERR_OK);
        column_open_values(&reader);
        before = reader;
        cr_assert(column_aggregate_extremes(&reader, type, count, want_min, runs, run_count, bits));
        cr_assert(reader_done(&reader));
        for (uint32_t i = 0; i < run_count; i++) {
            struct column_aggregate one = {0};
            uint64_t want;

            reader = before;
            column_aggregate_chunk(&reader, type, count, runs[i].first, runs[i].end, &one);
            cr_assert(one.exact);
            want = want_min ? one.min : one.max;
            want = type == FIELD_FLOAT ? column_aggregate_float(want, one.exponent) : want;
            cr_assert_eq(bits[i], want, "%u to %u of %u", runs[i].first, runs[i].end, count);
        }
    }
    bytes_fini(&out);
}

Test(column_aggregate, knows_the_extremes_of_all_runs)
{
    uint64_t state = seed_of_run("column_aggregate");
    uint64_t values[COLUMN_CHUNK], bools[COLUMN_CHUNK], floats[COLUMN_CHUNK];
    struct lanes_run runs[COLUMN_CHUNK];

    for (int turn = 0; turn < 300; turn++) {
        uint32_t count = turn < 70 ? 1 + (uint32_t)turn : pick_count(&state);
        uint32_t run_count = pick_runs(&state, count, runs);
        unsigned shift = (unsigned)seed_below(&state, 64);
        bool want_min = seed_below(&state, 2) == 0;

        for (uint32_t i = 0; i < count; i++) {
            values[i] = seed_next(&state) >> shift;
            bools[i] = seed_below(&state, 5) == 0;
            floats[i] = column_decimal_pattern(((double)seed_below(&state, 5000) - 2000) / 100);
        }
        check_extremes(FIELD_INT, values, count, want_min, runs, run_count);
        check_extremes(FIELD_UINT, values, count, want_min, runs, run_count);
        check_extremes(FIELD_BOOL, bools, count, want_min, runs, run_count);
        check_extremes(FIELD_FLOAT, floats, count, want_min, runs, run_count);
    }
}

Test(column_aggregate, leaves_extremes_of_other_floats_to_others)
{
    const struct lanes_run run = {.first = 0, .end = 9, .window = lanes_window(9)};
    uint64_t values[9] = {0}, bits;
    struct bytes out = {0};
    struct reader reader, before;

    values[5] = column_decimal_pattern(NAN);
    column_put_values(FIELD_FLOAT, values, 9, NULL, &out);
    reader = reader_on(out.data, out.size);
    column_open_values(&reader);
    before = reader;
    cr_assert(!column_aggregate_extremes(&reader, FIELD_FLOAT, 9, true, &run, 1, &bits));
    cr_assert(!reader.bad);
    cr_assert_eq(reader.at, before.at);
    bytes_clear(&out);
    values[5] = 2; /* No boolean. */
    column_int_put_chunk(values, 9, &out);
    reader = reader_on(out.data, out.size);
    cr_assert(!column_aggregate_extremes(&reader, FIELD_BOOL, 9, true, &run, 1, &bits));
    cr_assert(reader.bad);
    bytes_fini(&out);
}

Test(column_aggregate, leaves_sums_to_others_where_they_could_overflow)
{
    static const double odd[] = {NAN, -0.0, INFINITY, 1.0 / 3, 1e300, 2e15};
    uint64_t values[COLUMN_CHUNK] = {0};
    struct bytes out = {0};
    uint8_t exponent;
    struct column_int_sums sums;
    struct reader reader;

    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        values[5] = column_decimal_pattern(odd[i]);
        bytes_clear(&out);
        column_put_values(FIELD_FLOAT, values, COLUMN_CHUNK, NULL, &out);
        reader = reader_on(out.data, out.size);
        column_open_values(&reader);
        cr_assert(!column_aggregate_sums(&reader, FIELD_FLOAT, COLUMN_CHUNK, &exponent, &sums));
    }
    for (uint32_t i = 0; i < COLUMN_CHUNK; i++)
        values[i] = i % 2 == 0 ? UINT64_MAX - i : i;
    check_sums(FIELD_UINT, values, values, COLUMN_CHUNK, false);
    values[0] = 1ull << 50;
    bytes_clear(&out);
    column_put_values(FIELD_INT, values, 1, NULL, &out);
    reader = reader_on(out.data, out.size);
    column_open_values(&reader);
    cr_assert(!column_aggregate_sums(&reader, FIELD_INT, 1, &exponent, &sums));
    cr_assert(!reader.bad);
    bytes_fini(&out);
}

Test(column_aggregate, adds_other_floats_in_a_fixed_order)
{
    static const double odd[] = {NAN, -NAN, -0.0, 0.0, INFINITY, 1.0 / 3, 1e300};
    uint64_t state = seed_of_run("column_aggregate");
    uint64_t values[COLUMN_CHUNK];

    for (int turn = 0; turn < 500; turn++) {
        uint32_t count = pick_count(&state), first, end;
        uint64_t rare = seed_below(&state, 3) * 200;
        struct column_aggregate want = {0};
        double min = NAN, max = NAN, sums[8] = {0};

        for (uint32_t i = 0; i < count; i++) {
            values[i] = column_decimal_pattern((double)seed_below(&state, 1000) / 10);
            if (rare == 0 || i == count / 2 || seed_below(&state, rare) == 0)
                values[i] = column_decimal_pattern(odd[seed_below(&state, 7)]);
        }
        values[count / 2] = column_decimal_pattern(1.0 / 3);
        pick_range(&state, count, &first, &end);
        for (uint32_t i = first; i < end; i++) {
            double value = column_decimal_float(values[i]);

            sums[(i - first) % 8] += value;
            if (isnan(min) || value < min || (value == 0 && min == 0 && signbit(value)))
                min = value;
            if (isnan(max) || value > max || (value == 0 && max == 0 && !signbit(value)))
                max = value;
        }
        want.sum = ((sums[0] + sums[4]) + (sums[2] + sums[6])) +
                   ((sums[1] + sums[5]) + (sums[3] + sums[7]));
        want.min = isnan(min) ? 0x7ff8000000000000 : column_decimal_pattern(min);
        want.max = isnan(max) ? 0x7ff8000000000000 : column_decimal_pattern(max);
        check(FIELD_FLOAT, values, count, first, end, &want);
    }
}

Test(column_aggregate, refuses_integers_that_no_value_has)
{
    uint64_t values[COLUMN_CHUNK] = {0};
    struct bytes out = {0};
    struct column_aggregate aggregate = {0};
    struct reader reader;

    values[7] = 1ull << 51;
    bytes_put_u8(&out, 2); /* The exponent, */
    bytes_put_u8(&out, 0); /* and no exceptions. */
    column_int_put_chunk(values, COLUMN_CHUNK, &out);
    reader = reader_on(out.data, out.size);
    column_aggregate_chunk(&reader, FIELD_FLOAT, COLUMN_CHUNK, 0, COLUMN_CHUNK, &aggregate);
    cr_assert(reader.bad);
    bytes_clear(&out);
    column_int_put_chunk(values, COLUMN_CHUNK, &out);
    reader = reader_on(out.data, out.size);
    column_aggregate_chunk(&reader, FIELD_BOOL, COLUMN_CHUNK, 0, COLUMN_CHUNK, &aggregate);
    cr_assert(reader.bad);
    bytes_fini(&out);
}

Test(column_aggregate, passes_over_one_chunk_after_the_other)
{
    enum { COUNT = 3 * COLUMN_CHUNK + 5 };
    static uint64_t values[COUNT];
    struct bytes out = {0};
    struct reader reader;

    for (uint32_t i = 0; i < COUNT; i++)
        values[i] = i;
    column_put_values(FIELD_UINT, values, COUNT, NULL, &out);
    reader = reader_on(out.data, out.size);
    column_open_values(&reader);
    for (uint32_t at = 0; at < COUNT; at += COLUMN_CHUNK) {
        uint32_t count = COUNT - at < COLUMN_CHUNK ? COUNT - at : COLUMN_CHUNK;
        struct column_aggregate got, want = add_integers(values + at, 0, count, false);

        column_aggregate_chunk(&reader, FIELD_UINT, count, 0, count, &got);
        expect_same(&got, &want);
    }
    cr_assert(reader_done(&reader));
    bytes_fini(&out);
}
