/*
 * Columns of every type: any bits come back as they were.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/cpu.h"
#include "storage/block/column.h"
#include "storage/block/column_string.h"
#include "storage/block/column_time.h"
#include "tests/support/golden_columns.h"
#include "tests/support/seed.h"

static uint64_t bits_of(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* Bits that a careless codec loses. */
static const uint64_t specials[] = {
    0x0000000000000000, /* 0 */
    0x8000000000000000, /* -0.0 */
    0x7ff0000000000000, /* inf */
    0xfff0000000000000, /* -inf */
    0x7ff8000000000000, /* quiet NaN */
    0xfff8000000000001, /* quiet NaN with sign and payload */
    0x7ff0000000000001, /* signaling NaN */
    0x7ff4dead0000beef, /* signaling NaN with payload */
    0x0000000000000001, /* smallest denormal */
    0x800fffffffffffff, /* largest denormal, negative */
    0x0010000000000000, /* smallest normal */
    0x7fefffffffffffff, /* largest */
    0x4320000000000000, /* 2^51: first that the decimals cannot hold */
    0x431fffffffffffff, /* 2^51 - 0.5 */
    0xc320000000000000, /* -2^51 */
    0xc320000000000001, /* next below it */
    0x4330000000000001, /* 2^52 + 1 */
    0x4340000000000001, /* 2^53 + 2 */
    0x3fd5555555555555, /* 1/3 */
};
enum { SPECIALS = sizeof specials / sizeof specials[0] };

/* Parts of it: the first chunk, the last one, something in between. */
static void check_some(enum field_type type, const uint64_t *values, uint32_t count,
                       const void *bytes, size_t size, uint64_t *back)
{
    const uint32_t ranges[][2] = {{0, count < 7 ? count : 7},
                                  {count - 1, count},
                                  {count / 3, count - count / 4},
                                  {count / 2, count / 2}};

    for (size_t i = 0; i < sizeof ranges / sizeof *ranges && type != FIELD_STRING; i++) {
        uint32_t first = ranges[i][0], end = ranges[i][1];
        struct reader reader = reader_on(bytes, size);
        const char *text;

        memset(back, 0xee, count * sizeof *back);
        column_get_some_values(&reader, type, count, first, end, back, &text);
        cr_assert(!reader.bad);
        cr_assert_eq(memcmp(back + first, values + first, (end - first) * sizeof *back), 0);
    }
    for (uint32_t at = 0; at < count && type != FIELD_STRING; at += 1 + at % 47) {
        struct reader reader = reader_on(bytes, size);

        cr_assert_eq(column_get_one_value(&reader, type, count, at), values[at], "value %u", at);
        cr_assert(!reader.bad);
    }
}

static void check_bytes(enum field_type type, const uint64_t *values, uint32_t count,
                        const char *text, const void *bytes, size_t size)
{
    uint64_t *back = malloc((count + 1u) * sizeof *back);
    struct reader reader = reader_on(bytes, size);
    const char *back_text;

    cr_assert_not_null(back);
    column_get_values(&reader, type, count, back, &back_text);
    cr_assert(reader_done(&reader), "%u values, %zu bytes", count, size);
    for (uint32_t i = 0; i < count; i++) {
        if (type != FIELD_STRING) {
            cr_assert_eq(back[i], values[i], "value %u of %u: %016lx, not %016lx", i, count,
                         back[i], values[i]);
            continue;
        }
        cr_assert_eq(column_string_size(back[i]), column_string_size(values[i]));
        cr_assert_eq(memcmp(back_text + column_string_offset(back[i]),
                            text + column_string_offset(values[i]), column_string_size(values[i])),
                     0);
    }
    check_some(type, values, count, bytes, size, back);
    free(back);
}

/* On every level of CPU: the same bytes, and all values back from memory of exactly that size.
 * Returns the bytes. */
static size_t check_form(enum field_type type, const uint64_t *values, uint32_t count,
                         const char *text, bool dense)
{
    uint8_t *exact = NULL;
    size_t size = 0;

    for (enum cpu_level level = CPU_SCALAR; level <= cpu_level_max(); level++) {
        struct bytes out = {0};

        cr_assert_eq(cpu_use(cpu_level_name(level)), ERR_OK);
        if (dense)
            column_put_dense_values(type, values, count, text, &out);
        else
            column_put_values(type, values, count, text, &out);
        cr_assert(!out.failed);
        if (exact == NULL) {
            size = out.size;
            exact = malloc(size);
            cr_assert_not_null(exact);
            memcpy(exact, out.data, size);
        }
        cr_assert_eq(out.size, size, "%s", cpu_level_name(level));
        cr_assert_eq(memcmp(out.data, exact, size), 0, "%s", cpu_level_name(level));
        check_bytes(type, values, count, text, exact, size);
        bytes_fini(&out);
    }
    free(exact);
    return size;
}

/* As blocks keep it, whose bytes are returned, and as segments do. */
static size_t check_round_trip(enum field_type type, const uint64_t *values, uint32_t count,
                               const char *text)
{
    size_t size = check_form(type, values, count, text, false);

    cr_assert_leq(check_form(type, values, count, text, true), size);
    return size;
}

/* ---- Golden bytes -------------------------------------------------------------------------- */

/* GOLDEN_WRITE=1 makes the file anew: only when the codec's number changes. */
static void check_golden(unsigned codec, const char *path)
{
    static uint8_t golden[1 << 20];
    size_t size;
    FILE *file;

    if (getenv("GOLDEN_WRITE") != NULL) {
        struct bytes out = {0};

        golden_columns_encode(codec, &out);
        cr_assert(!out.failed);
        file = fopen(path, "wb");
        cr_assert_not_null(file);
        cr_assert_eq(fwrite(out.data, 1, out.size, file), out.size);
        cr_assert_eq(fclose(file), 0);
        bytes_fini(&out);
    }
    file = fopen(path, "rb");
    cr_assert_not_null(file);
    size = fread(golden, 1, sizeof golden, file);
    (void)fclose(file);
    for (enum cpu_level level = CPU_SCALAR; level <= cpu_level_max(); level++) {
        const char *fault;

        cr_assert_eq(cpu_use(cpu_level_name(level)), ERR_OK);
        fault = golden_columns_fault(codec, golden, size);
        cr_assert_null(fault, "%s: %s", cpu_level_name(level), fault);
    }
}

Test(column, bytes_are_those_of_codec_2_on_every_level)
{
    check_golden(2, GOLDEN_DIR "/columns_v2.bin");
}

Test(column, bytes_are_those_of_codec_3_on_every_level)
{
    check_golden(3, GOLDEN_DIR "/columns_v3.bin");
}

/* ---- Chains -------------------------------------------------------------------------------- */

/* What an adversary would send: pieces of every kind of column, of every bit pattern, one after the
 * other inside of a chunk, so that each choice is wrong for some of them. */
Test(column, gives_back_columns_that_change_their_nature)
{
    enum { COUNT = 2600 };
    uint64_t state = seed_of_run("column");
    uint64_t *values = malloc(COUNT * sizeof *values);

    cr_assert_not_null(values);
    for (int turn = 0; turn < 400; turn++) {
        uint32_t count = 1 + (uint32_t)seed_below(&state, COUNT);
        uint64_t longest = 1 + seed_below(&state, turn % 2 == 0 ? 20 : 1500);

        for (uint32_t at = 0; at < count;) {
            uint32_t end = at + 1 + (uint32_t)seed_below(&state, longest);
            uint64_t kind = seed_below(&state, 8);
            uint64_t value = seed_next(&state), step = seed_next(&state) >> seed_below(&state, 64);
            unsigned shift = (unsigned)seed_below(&state, 64);
            double power = pow(10, (double)seed_below(&state, 14));

            for (; at < end && at < count; at++) {
                uint64_t noise = seed_next(&state) >> shift;

                values[at] = kind == 0   ? value
                             : kind == 1 ? noise
                             : kind == 2 ? noise << seed_below(&state, 64)
                             : kind == 3 ? (value += step)
                             : kind == 4 ? (value += step += noise)
                             : kind == 5 ? specials[seed_below(&state, SPECIALS)]
                             : kind == 6 ? bits_of((double)(int64_t)noise / power)
                                         : (value += step) + (noise & 15);
            }
        }
        (void)check_round_trip(FIELD_FLOAT, values, count, NULL);
        (void)check_round_trip(FIELD_INT, values, count, NULL);
        (void)check_round_trip(FIELD_UINT, values, count, NULL);
    }
    free(values);
}

/* ---- Floats -------------------------------------------------------------------------------- */

Test(column_float, gives_back_each_special_alone_and_all_together)
{
    for (uint32_t i = 0; i < SPECIALS; i++)
        (void)check_round_trip(FIELD_FLOAT, &specials[i], 1, NULL);
    for (uint32_t count = 1; count <= SPECIALS; count++)
        (void)check_round_trip(FIELD_FLOAT, specials, count, NULL);
}

/* Decimals of 0 to 15 digits, sprinkled with specials from never to often. */
Test(column_float, gives_back_decimals_with_exceptions)
{
    enum { COUNT = 2300 };
    uint64_t state = seed_of_run("column_float");
    uint64_t *values = malloc(COUNT * sizeof *values);

    cr_assert_not_null(values);
    for (int turn = 0; turn < 500; turn++) {
        uint32_t count = 1 + (uint32_t)seed_below(&state, COUNT);
        double power = pow(10, (double)seed_below(&state, 16));
        uint64_t range = 1ull << seed_below(&state, 60);
        uint64_t rare = seed_below(&state, 3) == 0 ? 0 : 1 + seed_below(&state, 200);

        for (uint32_t i = 0; i < count; i++) {
            double number = (double)(int64_t)(seed_below(&state, 2 * range) - range);

            values[i] = bits_of(number / power);
            if (rare > 0 && seed_below(&state, rare) == 0)
                values[i] = specials[seed_below(&state, SPECIALS)];
        }
        (void)check_round_trip(FIELD_FLOAT, values, count, NULL);
    }
    free(values);
}

Test(column_float, gives_back_random_bits)
{
    enum { COUNT = 5000 };
    uint64_t state = seed_of_run("column_float");
    uint64_t *values = malloc(COUNT * sizeof *values);

    cr_assert_not_null(values);
    for (uint32_t i = 0; i < COUNT; i++)
        values[i] = seed_next(&state);
    cr_assert_leq(check_round_trip(FIELD_FLOAT, values, COUNT, NULL), COUNT * 8 + 100);
    for (uint32_t i = 0; i < COUNT; i++) {
        float narrow = (float)(i * 0.37) / 7.0f;

        values[i] = bits_of((double)narrow);
    }
    /* A widened float32 has 29 zeros at its end, which cost nothing. */
    cr_assert_leq(check_round_trip(FIELD_FLOAT, values, COUNT, NULL), COUNT * 4 + 100);
    free(values);
}

Test(column_float, stores_two_decimals_in_as_many_bits_as_their_integers)
{
    enum { COUNT = 1024 };
    uint64_t values[COUNT];
    uint64_t state = 1;
    size_t clean;

    for (uint32_t i = 0; i < COUNT; i++)
        values[i] = bits_of((double)(2000 + seed_below(&state, 64)) / 100);
    clean = check_round_trip(FIELD_FLOAT, values, COUNT, NULL);
    cr_assert_leq(clean, COUNT * 6 / 8 + 16);
    values[5] = specials[1];
    values[700] = specials[7];
    cr_assert_leq(check_round_trip(FIELD_FLOAT, values, COUNT, NULL), clean + 2 * 12);
}

Test(column_float, get_refuses_unknown_forms_and_exceptions_past_the_end)
{
    static const uint8_t unknown[] = {2, 13, 0, 0, 0, 0};
    static const uint8_t unknown_high[] = {2, 128, 0, 0, 0, 0};
    static const uint8_t past[] = {2, 0, 1, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8};
    uint64_t values[2];
    const char *text;
    struct reader reader = reader_on(unknown, sizeof unknown);

    column_get_values(&reader, FIELD_FLOAT, 1, values, &text);
    cr_assert(reader.bad);
    reader = reader_on(unknown_high, sizeof unknown_high);
    column_get_values(&reader, FIELD_FLOAT, 1, values, &text);
    cr_assert(reader.bad);
    reader = reader_on(past, sizeof past);
    column_get_values(&reader, FIELD_FLOAT, 1, values, &text);
    cr_assert(reader.bad);
    reader = reader_on(past, sizeof past);
    column_get_values(&reader, FIELD_FLOAT, 2, values, &text);
    cr_assert(reader_done(&reader));
    cr_assert_eq(values[1], 0x0807060504030201u);
}

/* ---- Booleans and strings ------------------------------------------------------------------ */

/* Three neighbouring numbers, whatever they are of; programs that do not know the form see a codec
 * that they do not know. */
Test(column, dense_values_take_1_6_bits_and_say_so)
{
    static const enum field_type types[] = {FIELD_INT, FIELD_UINT, FIELD_FLOAT};
    uint64_t values[1000], state = seed_of_run("column");

    for (size_t type = 0; type < sizeof types / sizeof types[0]; type++) {
        struct bytes plain = {0}, dense = {0};
        int64_t number = 5000;

        for (uint32_t i = 0; i < 1000; i++) {
            number += (int64_t)seed_below(&state, 3) - 1;
            values[i] =
                types[type] == FIELD_FLOAT ? bits_of((double)number / 10) : (uint64_t)number;
        }
        (void)check_round_trip(types[type], values, 1000, NULL);
        column_put_values(types[type], values, 1000, NULL, &plain);
        column_put_dense_values(types[type], values, 1000, NULL, &dense);
        cr_assert_eq(plain.data[0], 2);
        cr_assert_eq(dense.data[0], 3);
        cr_assert_geq(plain.size, 250);
        cr_assert_leq(dense.size, 200 + 8 + 12, "%zu bytes", dense.size);
        bytes_clear(&dense);
        column_put_dense_values(types[type], values, 255, NULL, &dense);
        cr_assert_eq(dense.data[0], 2, "nothing dense in it");
        bytes_fini(&plain);
        bytes_fini(&dense);
    }
}

Test(column_bool, costs_a_bit_and_refuses_other_numbers)
{
    uint64_t values[1000];
    uint64_t state = 7;
    struct bytes out = {0};
    struct reader reader;
    const char *text;

    for (uint32_t i = 0; i < 1000; i++)
        values[i] = seed_below(&state, 2);
    cr_assert_leq(check_round_trip(FIELD_BOOL, values, 1000, NULL), 1000 / 8 + 8);
    values[999] = 2;
    column_put_values(FIELD_INT, values, 1000, NULL, &out);
    reader = reader_on(out.data, out.size);
    column_get_values(&reader, FIELD_BOOL, 1000, values, &text);
    cr_assert(reader.bad);
    bytes_fini(&out);
}

/* From all the same to all different, empty ones too, in both forms. */
Test(column_string, gives_back_few_and_many_different_strings)
{
    enum { COUNT = 3000, TEXT = 64 * 1024 };
    uint64_t state = seed_of_run("column_string");
    uint64_t *values = malloc(COUNT * sizeof *values);
    char *text = malloc(TEXT);

    cr_assert_not_null(values);
    cr_assert_not_null(text);
    for (uint32_t i = 0; i < TEXT; i++)
        text[i] = (char)seed_next(&state);
    for (int turn = 0; turn < 300; turn++) {
        uint32_t count = 1 + (uint32_t)seed_below(&state, COUNT);
        uint64_t places = 1 + seed_below(&state, turn % 2 ? 20 : 5000);
        uint64_t sizes = 1 + seed_below(&state, 40);

        for (uint32_t i = 0; i < count; i++)
            values[i] = column_string_make((uint32_t)seed_below(&state, places),
                                           (uint32_t)seed_below(&state, sizes));
        (void)check_round_trip(FIELD_STRING, values, count, text);
    }
    free(values);
    free(text);
}

Test(column_string, stores_states_in_a_few_bits)
{
    static const char text[] = "runningstoppedfault";
    static const uint64_t states[] = {7ull << 32 | 0, 7ull << 32 | 7, 5ull << 32 | 14};
    uint64_t values[1000];
    uint64_t state = 3;

    for (uint32_t i = 0; i < 1000; i++)
        values[i] = states[seed_below(&state, 3)];
    cr_assert_leq(check_round_trip(FIELD_STRING, values, 1000, text), 1000 / 4 + 40);
}

Test(column_string, get_refuses_sizes_past_the_end_and_unknown_entries)
{
    /* codec, form, sizes {order, width, base}, bytes: */
    static const uint8_t past[] = {2, 1, 0, 0, 6, 'a', 'b'};
    static const uint8_t huge[] = {2, 1, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1};
    static const uint8_t entry[] = {2, 2, 1, 0, 0, 2, 'a', 0, 0, 2};
    static const uint8_t form[] = {2, 3, 0, 0, 0};
    static const struct {
        const uint8_t *bytes;
        size_t size;
    } bad[] = {
        {past, sizeof past}, {huge, sizeof huge}, {entry, sizeof entry}, {form, sizeof form}};
    uint64_t values[1];
    const char *text;

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct reader reader = reader_on(bad[i].bytes, bad[i].size);

        column_get_values(&reader, FIELD_STRING, 1, values, &text);
        cr_assert(reader.bad, "case %zu", i);
    }
}

/* ---- Presence ------------------------------------------------------------------------------ */

Test(column, gives_back_any_presence)
{
    enum { ROWS = 5000 };
    uint64_t state = seed_of_run("column");
    uint64_t *bitmap = malloc(column_words(ROWS) * sizeof *bitmap);
    uint8_t *present = malloc(ROWS);

    cr_assert_not_null(bitmap);
    cr_assert_not_null(present);
    for (int turn = 0; turn < 500; turn++) {
        uint32_t rows = 1 + (uint32_t)seed_below(&state, ROWS);
        uint64_t rare = 1 + seed_below(&state, 100);
        struct column_presence presence;
        struct bytes out = {0};
        struct reader reader;
        uint32_t values = 0;

        memset(bitmap, 0, column_words(ROWS) * sizeof *bitmap);
        for (uint32_t row = 0; row < rows; row++)
            if (seed_below(&state, rare) == 0) {
                bitmap[row / 64] |= 1ull << row % 64;
                values++;
            }
        if (values == 0)
            continue;
        column_put_presence(bitmap, rows, values, &out);
        cr_assert_leq(out.size, values * 2 + 16);
        reader = reader_on(out.data, out.size);
        column_find_presence(&reader, rows, &presence);
        cr_assert(reader_done(&reader));
        cr_assert_eq(presence.values, values);
        cr_assert(column_get_presence(&presence, rows, present));
        for (uint32_t row = 0; row < rows; row++)
            cr_assert_eq(present[row], bitmap[row / 64] >> row % 64 & 1);
        bytes_fini(&out);
    }
    free(bitmap);
    free(present);
}

Test(column, find_presence_refuses_contradictions)
{
    static const uint8_t no_values[] = {1, 0, 0};
    static const uint8_t past_rows[] = {1, 0, 0x80};
    static const uint8_t too_many[] = {2, 2, 3, 0, 0, 0};
    static const uint8_t none[] = {2, 0, 0};
    static const uint8_t form[] = {3};
    static const struct {
        const uint8_t *bytes;
        size_t size;
    } bad[] = {{no_values, sizeof no_values},
               {past_rows, sizeof past_rows},
               {too_many, sizeof too_many},
               {none, sizeof none},
               {form, sizeof form}};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct reader reader = reader_on(bad[i].bytes, bad[i].size);
        struct column_presence presence;

        column_find_presence(&reader, 15, &presence);
        cr_assert(reader.bad, "case %zu", i);
    }
}

Test(column, spread_moves_values_to_their_rows)
{
    static const uint8_t present[] = {0, 1, 0, 0, 1, 1};
    uint64_t values[6] = {10, 20, 30, 99, 99, 99};
    static const uint64_t want[] = {0, 10, 0, 0, 20, 30};

    column_spread(present, 6, 3, values);
    cr_assert_eq(memcmp(values, want, sizeof want), 0);
}

/* ---- Times --------------------------------------------------------------------------------- */

/* Any runs alone, at their places. */
static void expect_some_runs(const struct bytes *bytes, const uint64_t *counts, uint32_t runs,
                             uint32_t rows, const int64_t *times, uint64_t *state)
{
    uint32_t first = (uint32_t)seed_below(state, runs);
    uint32_t end = first + (uint32_t)seed_below(state, runs - first + 1), start = 0, behind = 0;
    int64_t *back = malloc(rows * sizeof *back);
    uint64_t *scratch = malloc(runs * sizeof *scratch);
    struct reader reader = reader_on(bytes->data, bytes->size);

    cr_assert(back != NULL && scratch != NULL);
    for (uint32_t run = 0; run < end; run++) {
        start += run < first ? (uint32_t)counts[run] : 0;
        behind += (uint32_t)counts[run];
    }
    column_time_get_some(&reader, counts, runs, rows, first, end, scratch, back);
    cr_assert(!reader.bad);
    cr_assert_eq(memcmp(times + start, back + start, (behind - start) * sizeof *times), 0);
    free(back);
    free(scratch);
}

Test(column_time, gives_back_runs_of_any_unit)
{
    static const int64_t units[] = {1, 1000, 1000000, 1000000000};
    enum { ROWS = 3000 };
    uint64_t state = seed_of_run("column_time");
    int64_t *times = malloc(ROWS * sizeof *times), *back = malloc(ROWS * sizeof *back);
    uint64_t *counts = malloc(ROWS * sizeof *counts), *scratch = malloc(ROWS * sizeof *scratch);

    cr_assert(times != NULL && back != NULL && counts != NULL && scratch != NULL);
    for (int turn = 0; turn < 500; turn++) {
        int64_t unit = units[seed_below(&state, 4)];
        uint64_t longest = 1 + seed_below(&state, 300);
        int64_t step = 1 + (int64_t)seed_below(&state, 100000);
        uint32_t rows = 0, runs = 0;
        struct bytes out = {0};
        struct reader reader;

        while (rows < ROWS - longest && (runs == 0 || seed_below(&state, 50) > 0)) {
            int64_t time = (int64_t)seed_below(&state, 2000000000) - 1000000000;
            uint64_t count = 1 + seed_below(&state, longest);

            counts[runs++] = count;
            for (; count > 0; count--, time += (int64_t)seed_below(&state, (uint64_t)step))
                times[rows++] = time * unit;
        }
        column_time_put(times, counts, runs, scratch, &out);
        reader = reader_on(out.data, out.size);
        column_time_get(&reader, counts, runs, rows, scratch, back);
        cr_assert(reader_done(&reader));
        cr_assert_eq(memcmp(times, back, rows * sizeof *times), 0);
        expect_some_runs(&out, counts, runs, rows, times, &state);
        bytes_fini(&out);
    }
    free(times);
    free(back);
    free(counts);
    free(scratch);
}

Test(column_time, gives_back_the_ends_of_time)
{
    static const int64_t times[] = {INT64_MIN, INT64_MAX, INT64_MIN, INT64_MIN, -1, INT64_MAX};
    static const uint64_t counts[] = {2, 1, 3};
    uint64_t scratch[6];
    int64_t back[6];
    struct bytes out = {0};
    struct reader reader;

    column_time_put(times, counts, 3, scratch, &out);
    reader = reader_on(out.data, out.size);
    column_time_get(&reader, counts, 3, 6, scratch, back);
    cr_assert(reader_done(&reader));
    cr_assert_eq(memcmp(times, back, sizeof times), 0);
    bytes_fini(&out);
}

/* Long runs of a jittering clock are written whole, and stay within half a byte and a bit. */
Test(column_time, keeps_close_to_a_clock_that_jitters)
{
    enum { ROWS = 4096 };
    static const uint64_t counts[] = {ROWS / 4, ROWS / 2, ROWS / 4};
    static uint64_t scratch[ROWS];
    static int64_t times[ROWS], back[ROWS];
    uint64_t state = seed_of_run("column_time");
    struct bytes out = {0};
    struct reader reader;
    uint32_t row = 0;

    for (uint32_t run = 0; run < 3; run++)
        for (uint64_t i = 0; i < counts[run]; i++)
            times[row++] =
                (1700000000000 + (int64_t)(i * 1000 + seed_below(&state, 11)) - 5) * 1000000;
    column_time_put(times, counts, 3, scratch, &out);
    cr_assert_leq(out.size, ROWS * 53 / 100, "%zu bytes", out.size);
    reader = reader_on(out.data, out.size);
    column_time_get(&reader, counts, 3, ROWS, scratch, back);
    cr_assert(reader_done(&reader));
    cr_assert_arr_eq(back, times, sizeof times);
    bytes_fini(&out);
}

Test(column_time, get_refuses_times_that_descend_or_pass_the_end_of_time)
{
    static const uint8_t descends[] = {2, 0, 0, 0, 20, 0, 0, 1}; /* 10, then 10 - 1 */
    static const uint8_t too_late[] = {2,    3,    0,    0,    0xfe, 0xff, 0xff, 0xff, 0xff,
                                       0xff, 0xff, 0xff, 0xff, 1,    0,    0,    0};
    static const uint8_t unit[] = {2, 8, 0, 0, 20, 0, 0, 1};
    static const uint8_t codec[] = {1, 0, 0, 0, 20, 0, 0, 2};
    static const uint8_t whole_descends[] = {2, 4, 1, 0, 20, 1}; /* 9, then 8 */
    static const uint8_t whole_too_late[] = {2,    7,    1,    0,    0xfe, 0xff, 0xff, 0xff,
                                             0xff, 0xff, 0xff, 0xff, 0xff, 1,    0};
    static const uint8_t whole_too_early[] = {2,    5,    1,    0,    0xff, 0xff, 0xff, 0xff,
                                              0xff, 0xff, 0xff, 0xff, 0xff, 1,    0};
    static const uint64_t counts[] = {2};
    static const struct {
        const uint8_t *bytes;
        size_t size;
    } bad[] = {{descends, sizeof descends},
               {too_late, sizeof too_late},
               {unit, sizeof unit},
               {codec, sizeof codec},
               {whole_descends, sizeof whole_descends},
               {whole_too_late, sizeof whole_too_late},
               {whole_too_early, sizeof whole_too_early}};
    uint64_t scratch[1];
    int64_t back[2];

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct reader reader = reader_on(bad[i].bytes, bad[i].size);

        column_time_get(&reader, counts, 1, 2, scratch, back);
        cr_assert(reader.bad, "case %zu", i);
    }
}
