/*
 * Integers: every order, width and patch comes back, and no forged chunk reads past its end.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/cpu.h"
#include "storage/block/column_int.h"
#include "storage/block/pack.h"
#include "tests/support/seed.h"

/* Some of the values alone, and sums of some. */
static void check_ones(const uint64_t *values, uint32_t count, const uint8_t *bytes, size_t size)
{
    uint64_t sum = 0;

    for (uint32_t at = 0; at < count; sum += values[at], at++) {
        struct reader reader = reader_on(bytes, size);

        if (count > 200 && at % 61 != 0 && at != count - 1 && at % COLUMN_CHUNK > 1)
            continue;
        cr_assert_eq(column_int_get_one(&reader, count, at), values[at], "value %u of %u", at,
                     count);
        cr_assert(!reader.bad);
        cr_assert(at / COLUMN_CHUNK < (count - 1) / COLUMN_CHUNK || reader_done(&reader));
        reader = reader_on(bytes, size);
        cr_assert_eq(column_int_get_sum(&reader, count, 0, at), sum, "to %u of %u", at, count);
        reader = reader_on(bytes, size);
        cr_assert_eq(column_int_get_sum(&reader, count, at, at + 1), values[at]);
        cr_assert(!reader.bad);
        reader = reader_on(bytes, size);
        column_int_skip(&reader, count);
        cr_assert(reader_done(&reader));
    }
}

/* On every level of CPU: the same bytes, and all values back from memory of exactly that size.
 * Returns the bytes. */
static size_t check_form(const uint64_t *values, uint32_t count, bool dense)
{
    uint64_t *back = malloc((count + 1u) * sizeof *back);
    uint8_t *exact = NULL;
    size_t size = 0;

    cr_assert_not_null(back);
    for (enum cpu_level level = CPU_SCALAR; level <= cpu_level_max(); level++) {
        struct bytes out = {0};
        struct reader reader;

        cr_assert_eq(cpu_use(cpu_level_name(level)), ERR_OK);
        if (dense)
            (void)column_int_put_dense(values, count, &out);
        else
            column_int_put(values, count, &out);
        cr_assert(!out.failed);
        if (exact == NULL) {
            size = out.size;
            exact = malloc(size + 1);
            cr_assert_not_null(exact);
            memcpy(exact + 1, out.data == NULL ? (const uint8_t *)"" : out.data, size);
        }
        cr_assert_eq(out.size, size, "%s", cpu_level_name(level));
        cr_assert(size == 0 || memcmp(out.data, exact + 1, size) == 0, "%s", cpu_level_name(level));
        reader = reader_on(exact + 1, size);
        column_int_get(&reader, count, back);
        cr_assert(reader_done(&reader));
        for (uint32_t i = 0; i < count; i++)
            cr_assert_eq(back[i], values[i], "value %u of %u", i, count);
        check_ones(values, count, exact + 1, size);
        bytes_fini(&out);
    }
    free(exact);
    free(back);
    return size;
}

/* Returns the bytes without dense chunks, which are never longer. */
static size_t check_round_trip(const uint64_t *values, uint32_t count)
{
    size_t size = check_form(values, count, false);

    cr_assert_leq(check_form(values, count, true), size);
    return size;
}

Test(pack, gives_back_every_width_and_count)
{
    uint64_t state = seed_of_run("pack");

    for (unsigned width = 0; width <= 64; width++) {
        for (uint32_t count = 0; count < 80; count++) {
            uint64_t values[80], back[80];
            size_t size = pack_size(count, width);
            uint8_t *bytes = malloc(size + 1);

            cr_assert_not_null(bytes);
            for (uint32_t i = 0; i < count; i++)
                values[i] = width == 0 ? 0 : seed_next(&state) >> (64 - width);
            bytes[size] = 0xa5;
            pack_put(values, count, width, bytes);
            cr_assert_eq(bytes[size], 0xa5);
            bytes = realloc(bytes, size > 0 ? size : 1);
            pack_get(bytes, count, width, back);
            cr_assert_eq(memcmp(values, back, count * sizeof values[0]), 0, "width %u, count %u",
                         width, count);
            free(bytes);
        }
    }
}

Test(column_int, gives_back_nothing_and_one)
{
    uint64_t one = 0x8000000000000000u;

    cr_assert_eq(check_round_trip(&one, 0), 0);
    (void)check_round_trip(&one, 1);
}

Test(column_int, gives_back_extremes_in_any_mix)
{
    static const uint64_t extremes[] = {
        0, 1, UINT64_MAX, INT64_MAX, (uint64_t)INT64_MIN, (uint64_t)INT64_MIN + 1, 1ull << 32, 7};
    uint64_t state = seed_of_run("column_int");

    for (uint32_t count = 1; count < 3000; count = count * 3 / 2 + 1) {
        uint64_t *values = malloc(count * sizeof *values);

        cr_assert_not_null(values);
        for (uint32_t i = 0; i < count; i++)
            values[i] = extremes[seed_below(&state, 8)];
        (void)check_round_trip(values, count);
        free(values);
    }
}

/* Walks of every width, with rare outliers: what the three orders and the patches are for. */
Test(column_int, gives_back_walks_with_outliers)
{
    enum { COUNT = 2500 };
    uint64_t state = seed_of_run("column_int");
    uint64_t *values = malloc(COUNT * sizeof *values);

    cr_assert_not_null(values);
    for (int turn = 0; turn < 600; turn++) {
        unsigned order = (unsigned)seed_below(&state, 3);
        unsigned width = (unsigned)seed_below(&state, 64);
        uint64_t outliers = seed_below(&state, 4) == 0 ? 0 : 1 + seed_below(&state, 300);
        uint64_t value = seed_next(&state), delta = seed_next(&state) >> seed_below(&state, 64);
        uint32_t count = 1 + (uint32_t)seed_below(&state, COUNT);

        for (uint32_t i = 0; i < count; i++) {
            uint64_t noise = seed_next(&state) >> (63 - width) >> 1;

            delta = order == 2 ? delta + noise : order == 1 ? noise : delta;
            value = order == 0 ? noise : value + delta;
            values[i] = value;
            if (outliers > 0 && seed_below(&state, outliers) == 0)
                values[i] = seed_next(&state) >> seed_below(&state, 64);
        }
        (void)check_round_trip(values, count);
    }
    free(values);
}

Test(column_int, stores_a_constant_and_a_straight_line_in_a_few_bytes)
{
    uint64_t values[COLUMN_CHUNK];

    for (uint32_t i = 0; i < COLUMN_CHUNK; i++)
        values[i] = 12345678901234567u;
    cr_assert_leq(check_round_trip(values, COLUMN_CHUNK), 12);
    for (uint32_t i = 0; i < COLUMN_CHUNK; i++)
        values[i] = 1700000000000u + 1000u * i;
    cr_assert_leq(check_round_trip(values, COLUMN_CHUNK), 14);
    for (uint32_t i = 0; i < COLUMN_CHUNK; i++)
        values[i] = (uint64_t)i * i;
    cr_assert_leq(check_round_trip(values, COLUMN_CHUNK), 8);
}

Test(column_int, patches_jumps_instead_of_widening_everything)
{
    uint64_t values[COLUMN_CHUNK];
    size_t calm, jumping;
    uint64_t state = 1;

    for (uint32_t i = 0; i < COLUMN_CHUNK; i++)
        values[i] = 1000000 + seed_below(&state, 16);
    calm = check_round_trip(values, COLUMN_CHUNK);
    for (uint32_t i = 0; i < 10; i++)
        values[i * 100 + 3] = seed_next(&state);
    jumping = check_round_trip(values, COLUMN_CHUNK);
    cr_assert_leq(calm, 520);
    cr_assert_leq(jumping, calm + 10 * 13 + 130, "%zu bytes", jumping);
}

/* Values, differences and differences of those that are three neighbouring numbers, wherever these
 * lie, beside outliers of any kind. */
Test(column_int, gives_back_three_numbers_with_outliers)
{
    enum { COUNT = 2100 };
    uint64_t state = seed_of_run("column_int");
    uint64_t values[COUNT];

    for (int turn = 0; turn < 400; turn++) {
        unsigned order = (unsigned)seed_below(&state, 3);
        uint64_t outliers = seed_below(&state, 3) == 0 ? 0 : 1 + seed_below(&state, 300);
        uint64_t base = seed_next(&state) >> seed_below(&state, 64), share = seed_below(&state, 30);
        uint64_t value = seed_next(&state), step = seed_next(&state) >> seed_below(&state, 64);
        uint32_t count = 200 + (uint32_t)seed_below(&state, COUNT - 200);

        for (uint32_t i = 0; i < count; i++) {
            uint64_t number = base + (seed_below(&state, 30) < share ? 1 : seed_below(&state, 3));

            if (outliers > 0 && seed_below(&state, outliers) == 0)
                number += seed_next(&state) >> seed_below(&state, 64);
            step = order == 2 ? step + number : number;
            value = order == 0 ? number : value + step;
            values[i] = value;
        }
        (void)check_round_trip(values, count);
    }
}

Test(column_int, three_numbers_take_1_6_bits_even_beside_jumps)
{
    uint64_t values[COLUMN_CHUNK], state = seed_of_run("column_int"), value = 50;
    struct bytes out = {0};

    for (uint32_t i = 0; i < COLUMN_CHUNK; i++)
        values[i] = value += seed_below(&state, 3) - 1;
    cr_assert(column_int_put_dense(values, COLUMN_CHUNK, &out));
    cr_assert_leq(out.size, 8 * 26 + 6);
    for (uint32_t i = 300; i < COLUMN_CHUNK; i++) /* Two bits have no room for that. */
        values[i] += 7;
    bytes_clear(&out);
    cr_assert(column_int_put_dense(values, COLUMN_CHUNK, &out));
    cr_assert_leq(out.size, 8 * 26 + 6 + 4);
    cr_assert_geq(check_round_trip(values, COLUMN_CHUNK), 384, "without");
    bytes_fini(&out);
}

Test(column_int, get_stays_inside_forged_bytes)
{
    uint64_t state = seed_of_run("column_int");
    uint64_t values[COLUMN_CHUNK] = {0};

    for (int turn = 0; turn < 200000; turn++) {
        size_t size = seed_below(&state, 64);
        uint8_t *bytes = malloc(size + 1);
        struct reader reader;

        cr_assert_not_null(bytes);
        for (size_t i = 0; i < size; i++)
            bytes[i + 1] = (uint8_t)(seed_next(&state) >> seed_below(&state, 64));
        if (size > 2) {
            bytes[1] = (uint8_t)seed_below(&state, 33);
            bytes[2] = seed_below(&state, 4) == 0 ? 2 : (uint8_t)seed_below(&state, 70);
        }
        reader = reader_on(bytes + 1, size);
        column_int_get(&reader, 1 + (uint32_t)seed_below(&state, 100), values);
        cr_assert(reader.bad || reader.at <= reader.end);
        free(bytes);
    }
}

Test(column_int, get_refuses_what_no_writer_writes)
{
    static const struct {
        const char *what;
        size_t size;
        uint8_t bytes[8];
    } bad[] = {
        {"a line without its slope", 3, {3, 0, 0}},
        {"unknown flags", 3, {32, 0, 0}},
        {"dense, but not in lanes", 4, {16, 2, 0, 0}},
        {"dense, of three bits", 4, {24, 3, 0, 0}},
        {"dense, of no bits", 4, {24, 0, 0, 0}},
        {"dense, and nothing there", 3, {24, 2, 0}},
        {"lanes that end early", 8, {8, 1, 0, 0, 0, 0, 0, 0}},
        {"width 65", 3, {0, 65, 0}},
        {"as many seeds as values", 4, {2, 0, 0, 0}},
        {"a patch past the end", 6, {4, 0, 1, 0, 2, 0}},
        {"more patches than values", 8, {4, 0, 3, 0, 0, 0, 0, 0}},
        {"packed bits missing", 3, {0, 8, 0}},
        {"base missing", 2, {0, 0}},
    };
    uint64_t values[2];

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct reader reader = reader_on(bad[i].bytes, bad[i].size);

        column_int_get(&reader, 2, values);
        cr_assert(reader.bad, "%s", bad[i].what);
    }
}
