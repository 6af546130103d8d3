/*
 * The kernels of every level of CPU: the same bits from the same numbers, and back.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "storage/block/column_decimal.h"
#include "storage/block/lanes_dense.h"
#include "storage/block/pack.h"
#include "tests/support/seed.h"

enum { NUMBERS = LANES_NUMBERS_MAX };

/* The levels that this CPU has. */
#define EACH_LEVEL(kernels)                  \
    for (enum cpu_level level_ = CPU_SCALAR; \
         level_ <= cpu_level_max() && ((kernels) = lanes_kernels_of(level_)) != NULL; level_++)

static void fill(uint64_t *numbers, uint64_t *state)
{
    unsigned shift = (unsigned)seed_below(state, 64);

    for (uint32_t i = 0; i < NUMBERS; i++)
        numbers[i] = seed_next(state) >> shift;
    if (seed_below(state, 2) == 0) /* A line, so that orders 1 to 3 have something to find. */
        for (uint32_t i = 0; i < NUMBERS; i++)
            numbers[i] = (numbers[i] & 15) + (uint64_t)i * (numbers[0] & 0xffff);
}

/* Where number i of lane-major rows stands, told a second way. */
static uint64_t packed_number(const uint8_t *in, uint32_t rows, unsigned width, uint32_t i)
{
    uint32_t lane = i / rows, row = i % rows;
    uint64_t number = 0;

    for (unsigned bit = 0; bit < width; bit++) {
        uint32_t at = row * width + bit; /* In the lane's stream. */
        uint32_t byte = (at / 64 * LANES + lane) * 8 + at % 64 / 8;

        number |= (uint64_t)(in[byte] >> at % 8 & 1) << bit;
    }
    return number;
}

Test(lanes, pack_puts_each_number_where_the_format_says)
{
    const struct lanes_kernels *kernels;
    uint64_t state = seed_of_run("lanes");
    uint64_t numbers[NUMBERS];

    for (unsigned width = 1; width <= 64; width++) {
        uint32_t rows = LANES_ROW_STEP * (1 + (uint32_t)seed_below(&state, 16));
        size_t size = lanes_size(rows, width);
        uint8_t *bytes = malloc(size);

        cr_assert_not_null(bytes);
        for (uint32_t i = 0; i < NUMBERS; i++)
            numbers[i] = seed_next(&state) >> (64 - width);
        EACH_LEVEL(kernels)
        {
            memset(bytes, 0xee, size);
            kernels->pack(numbers, rows, width, bytes);
            for (uint32_t i = 0; i < rows * LANES; i++)
                cr_assert_eq(packed_number(bytes, rows, width, i), numbers[i], "width %u, %u of %u",
                             width, i, rows);
        }
        free(bytes);
    }
}

/* Number i of dense ones, told a second way: bytes of lanes that have not ended, one after the
 * other; a digit is what the fraction, times a power of 3, has before the point. */
static uint64_t dense_number(const uint8_t *in, uint32_t count, uint32_t i)
{
    static const unsigned powers[] = {1, 3, 9, 27, 81, 243};
    uint32_t rows = lanes_rows(count), byte = i % rows / LANES_DENSE,
             digit = i % rows % LANES_DENSE;

    for (uint32_t b = 0;; b++)
        for (uint32_t lane = 0; lane < LANES; lane++) {
            if (lane * rows + b * LANES_DENSE >= count || b * LANES_DENSE >= rows)
                continue;
            if (b == byte && lane == i / rows)
                return *in * powers[digit + 1] / 256 % 3;
            in++;
        }
}

Test(lanes, pack_dense_puts_each_number_where_the_format_says)
{
    const struct lanes_kernels *kernels;
    uint64_t state = seed_of_run("lanes");

    for (uint32_t count = 1; count <= NUMBERS;
         count += count < 140 ? 1 : 1 + (uint32_t)seed_below(&state, 40)) {
        uint64_t numbers[NUMBERS] = {0}, unpacked[NUMBERS];
        uint32_t rows = lanes_rows(count);
        size_t size = lanes_dense_size(count);
        uint8_t *bytes = malloc(size); /* Exactly: sanitizers see a byte too much. */

        cr_assert_not_null(bytes);
        cr_assert_leq(size, (count + 4) / 5 + 8 + rows / 40 * 2, "%u numbers", count);
        for (uint32_t i = 0; i < count; i++)
            numbers[i] = seed_below(&state, 3);
        EACH_LEVEL(kernels)
        {
            struct lanes_sums sums, want = {{0}, {0}};

            memset(bytes, 0xee, size);
            kernels->pack_dense(numbers, count, bytes);
            for (uint32_t i = 0; i < count; i++)
                cr_assert_eq(dense_number(bytes, count, i), numbers[i], "%u of %u", i, count);
            kernels->unpack_dense(bytes, count, unpacked, &sums);
            for (uint32_t i = 0; i < rows * LANES; i++) {
                cr_assert_eq(unpacked[i % rows * LANES + i / rows], numbers[i], "%u of %u", i,
                             count);
                want.sum[i / rows] += numbers[i];
                want.prefix[i / rows] += want.sum[i / rows];
            }
            cr_assert_arr_eq(&sums, &want, sizeof sums);
        }
        free(bytes);
    }
}

/* Forged bytes are no fractions that a writer makes; all levels must read the same from them. */
Test(lanes, every_level_unpacks_any_dense_byte)
{
    const struct lanes_kernels *kernels;
    uint64_t state = seed_of_run("lanes");

    for (int turn = 0; turn < 400; turn++) {
        uint32_t count = 1 + (uint32_t)seed_below(&state, NUMBERS);
        uint64_t want[NUMBERS], got[NUMBERS];
        struct lanes_sums want_sums, sums;
        uint8_t bytes[NUMBERS];

        for (uint32_t i = 0; i < lanes_dense_size(count); i++)
            bytes[i] = (uint8_t)seed_next(&state);
        lanes_kernels_of(CPU_SCALAR)->unpack_dense(bytes, count, want, &want_sums);
        for (uint32_t i = 0; i < lanes_rows(count) * LANES; i++)
            cr_assert_leq(want[i], LANES_DENSE_MAX);
        EACH_LEVEL(kernels)
        {
            kernels->unpack_dense(bytes, count, got, &sums);
            cr_assert_arr_eq(got, want, lanes_rows(count) * LANES * sizeof *got);
            cr_assert_arr_eq(&sums, &want_sums, sizeof sums);
        }
    }
}

/* What packs, unpacks and restores on one level gives the same on every other. */
Test(lanes, every_level_restores_what_any_packed)
{
    const struct lanes_kernels *kernels;
    uint64_t state = seed_of_run("lanes");
    uint64_t numbers[NUMBERS], packed[NUMBERS], back[NUMBERS];
    uint8_t bytes[NUMBERS * 8];
    _Alignas(64) uint64_t unpacked[NUMBERS];
    struct lanes_sums sums;

    for (int turn = 0; turn < 400; turn++) {
        uint32_t rows = LANES_ROW_STEP * (1 + (uint32_t)seed_below(&state, 16));
        struct lanes_model model = {.order = (unsigned)seed_below(&state, LANES_ORDERS),
                                    .base = seed_next(&state) >> seed_below(&state, 64)};
        unsigned width = 0;

        fill(numbers, &state);
        if (model.order == 1)
            model.before = numbers[0] - model.base;
        if (model.order == 2) {
            model.before = numbers[0] - (numbers[1] - numbers[0] - model.base);
            model.step = numbers[1] - numbers[0] - 2 * model.base;
        }
        if (model.order == LANES_LINE)
            model.step = seed_next(&state) >> seed_below(&state, 64);
        lanes_kernels_of(CPU_SCALAR)->find_packed(numbers, rows * LANES, &model, packed);
        for (uint32_t i = 0; i < rows * LANES; i++)
            if (pack_width(packed[i]) > width)
                width = pack_width(packed[i]);
        lanes_kernels_of(CPU_SCALAR)->pack(packed, rows, width, bytes);
        EACH_LEVEL(kernels)
        {
            kernels->find_packed(numbers, rows * LANES, &model, back);
            cr_assert_arr_eq(back, packed, rows * LANES * sizeof *back);
            kernels->unpack(bytes, rows, width, unpacked, &sums);
            kernels->restore(unpacked, rows, &model, &sums, back);
            cr_assert_arr_eq(back, numbers, rows * LANES * sizeof *back,
                             "level %d, order %u, width %u, %u rows", (int)level_, model.order,
                             width, rows);
        }
    }
}

/* Of each lane from its first row on, in place of the packed numbers. */
static void expect_running_sums(const struct lanes_kernels *kernels, uint64_t *rows_of,
                                uint32_t rows, const struct lanes_model *model,
                                const struct lanes_sums *sums, const uint64_t *numbers)
{
    const uint64_t bias = 1ull << 50;
    uint64_t any = 0;

    for (uint32_t i = 0; i < rows * LANES; i++)
        any |= numbers[i] + bias;
    cr_assert_eq(kernels->accumulate(rows_of, rows, model, sums, bias, rows_of), any);
    for (uint32_t lane = 0; lane < LANES; lane++) {
        uint64_t sum = 0;

        for (uint32_t row = 0; row < rows; row++) {
            sum += numbers[lane * rows + row];
            cr_assert_eq(rows_of[row * LANES + lane], sum);
        }
    }
}

Test(lanes, every_level_reduces_any_range)
{
    const struct lanes_kernels *kernels;
    uint64_t state = seed_of_run("lanes");
    uint64_t numbers[NUMBERS], packed[NUMBERS];
    uint8_t bytes[NUMBERS * 8];
    _Alignas(64) uint64_t unpacked[NUMBERS];
    struct lanes_sums sums;

    for (int turn = 0; turn < 400; turn++) {
        uint32_t rows = LANES_ROW_STEP * (1 + (uint32_t)seed_below(&state, 16));
        struct lanes_model model = {.order = (unsigned)seed_below(&state, LANES_ORDERS)};
        uint32_t first = (uint32_t)seed_below(&state, rows * LANES);
        uint32_t end = first + 1 + (uint32_t)seed_below(&state, rows * LANES - first);
        struct lanes_totals want = {0, INT64_MAX, INT64_MIN}, got;

        if (seed_below(&state, 3) == 0) {
            first = 0;
            end = rows * LANES;
        }
        fill(numbers, &state);
        if (model.order == 1)
            model.before = numbers[0];
        if (model.order == 2) {
            model.before = 2 * numbers[0] - numbers[1];
            model.step = numbers[1] - numbers[0];
        }
        if (model.order == LANES_LINE)
            model.step = seed_next(&state) >> seed_below(&state, 64);
        lanes_kernels_of(CPU_SCALAR)->find_packed(numbers, rows * LANES, &model, packed);
        lanes_kernels_of(CPU_SCALAR)->pack(packed, rows, 64, bytes);
        for (uint32_t i = first; i < end; i++) {
            want.sum += numbers[i];
            want.min = (int64_t)numbers[i] < want.min ? (int64_t)numbers[i] : want.min;
            want.max = (int64_t)numbers[i] > want.max ? (int64_t)numbers[i] : want.max;
        }
        EACH_LEVEL(kernels)
        {
            kernels->unpack(bytes, rows, 64, unpacked, &sums);
            kernels->reduce(unpacked, rows, &model, &sums, first, end, &got);
            cr_assert_eq(got.sum, want.sum);
            cr_assert_eq(got.min, want.min);
            cr_assert_eq(got.max, want.max);
            expect_running_sums(kernels, unpacked, rows, &model, &sums, numbers);
        }
    }
}

Test(lanes, every_level_looks_alike)
{
    const struct lanes_kernels *kernels;
    uint64_t state = seed_of_run("lanes");
    uint64_t numbers[NUMBERS];
    uint16_t want_places[NUMBERS], places[NUMBERS];

    for (int turn = 0; turn < 400; turn++) {
        uint32_t count = 1 + (uint32_t)seed_below(&state, NUMBERS);
        uint64_t slope = seed_next(&state) >> seed_below(&state, 64);
        unsigned width = (unsigned)seed_below(&state, 64);
        struct lanes_span want[3], want_line, spans[3], line;
        uint32_t found;

        fill(numbers, &state);
        kernels = lanes_kernels_of(CPU_SCALAR);
        kernels->find_spans(numbers, count, want);
        kernels->find_line_span(numbers, count, slope, &want_line);
        found = kernels->find_wide(numbers, count, width, want_places);
        EACH_LEVEL(kernels)
        {
            kernels->find_spans(numbers, count, spans);
            cr_assert_arr_eq(spans, want, sizeof want);
            kernels->find_line_span(numbers, count, slope, &line);
            cr_assert_arr_eq(&line, &want_line, sizeof line);
            cr_assert_eq(kernels->find_wide(numbers, count, width, places), found);
            cr_assert_arr_eq(places, want_places, found * sizeof *places);
        }
    }
}

/* ---- Decimals ------------------------------------------------------------------------------ */

static double divided(uint64_t integer, unsigned exponent)
{
    return (double)(int64_t)integer / column_decimal(exponent).power;
}

/* With and without a fused multiply-add: the correctly rounded quotient. */
Test(lanes, every_level_divides_as_ieee_754_says)
{
    const struct lanes_kernels *kernels;
    uint64_t state = seed_of_run("lanes");
    const uint64_t limit = 1ull << 51;
    uint64_t integers[NUMBERS], floats[NUMBERS], back[NUMBERS];

    for (int turn = 0; turn < 2000; turn++) {
        unsigned exponent = (unsigned)seed_below(&state, COLUMN_DECIMAL_EXPONENT_MAX + 1);
        unsigned shift = (unsigned)seed_below(&state, 52);

        for (uint32_t i = 0; i < NUMBERS; i++)
            integers[i] = ((seed_next(&state) >> 12) >> shift) - (limit >> shift);
        integers[0] = limit - 1;
        integers[1] = 0 - limit;
        integers[2] = 0;
        EACH_LEVEL(kernels)
        {
            memcpy(floats, integers, sizeof floats);
            cr_assert_eq(kernels->to_floats(floats, NUMBERS, exponent), 0);
            for (uint32_t i = 0; i < NUMBERS; i++)
                cr_assert_eq(floats[i], column_decimal_pattern(divided(integers[i], exponent)),
                             "%ld / 10^%u", (int64_t)integers[i], exponent);
            cr_assert_eq(
                kernels->to_integers(floats, NUMBERS, exponent, back) == 0,
                lanes_kernels_of(CPU_SCALAR)->to_integers(floats, NUMBERS, exponent, back) == 0);
        }
    }
}

Test(lanes, every_level_tells_of_floats_that_do_not_come_back)
{
    const struct lanes_kernels *kernels;
    uint64_t state = seed_of_run("lanes");
    uint64_t bits[NUMBERS], want[NUMBERS], got[NUMBERS];

    for (int turn = 0; turn < 1000; turn++) {
        unsigned exponent = (unsigned)seed_below(&state, COLUMN_DECIMAL_EXPONENT_MAX + 1);
        uint32_t odd = (uint32_t)seed_below(&state, NUMBERS);
        uint64_t misses;

        for (uint32_t i = 0; i < NUMBERS; i++)
            bits[i] = column_decimal_pattern(divided(seed_below(&state, 1000000), exponent));
        if (turn % 2 == 0)
            bits[odd] = seed_next(&state);
        misses = lanes_kernels_of(CPU_SCALAR)->to_integers(bits, NUMBERS, exponent, want);
        cr_assert(turn % 2 == 0 || misses == 0);
        EACH_LEVEL(kernels)
        {
            cr_assert_eq(kernels->to_integers(bits, NUMBERS, exponent, got) == 0, misses == 0);
            for (uint32_t i = 0; i < NUMBERS; i++)
                cr_assert(got[i] == want[i] || (i == odd && misses != 0));
        }
    }
}

Test(lanes, to_floats_tells_of_integers_that_no_value_has)
{
    const struct lanes_kernels *kernels;
    uint64_t values[NUMBERS];

    for (uint32_t at = 0; at < NUMBERS; at += 97) {
        EACH_LEVEL(kernels)
        {
            memset(values, 0, sizeof values);
            values[at] = 1ull << 51;
            cr_assert_neq(kernels->to_floats(values, NUMBERS, 2), 0);
            memset(values, 0, sizeof values);
            values[at] = 0 - (1ull << 51) - 1;
            cr_assert_neq(kernels->to_floats(values, NUMBERS, 0), 0);
        }
    }
}

/* ---- Times --------------------------------------------------------------------------------- */

Test(lanes, every_level_divides_times_that_are_multiples_and_no_others)
{
    static const int64_t units[] = {1, 1000, 1000000, 1000000000};
    const struct lanes_kernels *kernels;
    uint64_t state = seed_of_run("lanes");
    int64_t times[NUMBERS], got[NUMBERS];

    for (int turn = 0; turn < 2000; turn++) {
        unsigned unit = 1 + (unsigned)seed_below(&state, 3);
        int64_t size = units[unit];

        for (uint32_t i = 0; i < NUMBERS; i++)
            times[i] = (int64_t)(seed_next(&state) >> seed_below(&state, 64)) / size * size;
        times[0] = INT64_MAX / size * size;
        times[1] = INT64_MIN / size * size;
        if (turn % 2 != 0) /* Also multiples of the power of two alone. */
            times[seed_below(&state, NUMBERS)] = (int64_t)(seed_next(&state) << 30) | size / 2;
        EACH_LEVEL(kernels)
        {
            bool divided_all = kernels->divide_times(times, NUMBERS, unit, got);
            bool want = true;

            for (uint32_t i = 0; i < NUMBERS; i++)
                want &= times[i] % size == 0;
            cr_assert_eq(divided_all, want);
            for (uint32_t i = 0; i < NUMBERS && want; i++)
                cr_assert_eq(got[i], times[i] / size);
            if (want) {
                cr_assert(kernels->multiply_times(got, NUMBERS, unit));
                cr_assert_arr_eq(got, times, sizeof times);
                got[turn % NUMBERS] = INT64_MIN / size - 1;
                cr_assert_not(kernels->multiply_times(got, NUMBERS, unit));
            }
        }
    }
}

Test(lanes, every_level_sees_times_that_descend)
{
    const struct lanes_kernels *kernels;
    uint64_t state = seed_of_run("lanes");
    int64_t times[NUMBERS];

    for (int turn = 0; turn < 500; turn++) {
        uint32_t count = 2 + (uint32_t)seed_below(&state, NUMBERS - 1);
        uint32_t at = 1 + (uint32_t)seed_below(&state, count - 1);

        times[0] = INT64_MIN;
        for (uint32_t i = 1; i < count; i++)
            times[i] = times[i - 1] + (int64_t)seed_below(&state, INT64_MAX / NUMBERS * 2) / 2;
        EACH_LEVEL(kernels)
        {
            cr_assert(kernels->times_ascend(times, count));
        }
        times[at] = times[at - 1] == INT64_MIN ? times[at] : times[at - 1] - 1;
        EACH_LEVEL(kernels)
        {
            cr_assert_eq(kernels->times_ascend(times, count), at == 1);
        }
    }
}
