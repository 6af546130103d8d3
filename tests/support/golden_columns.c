#include "tests/support/golden_columns.h"

#include <string.h>

#include "storage/block/column.h"
#include "storage/block/column_aggregate.h"
#include "storage/block/column_int.h"
#include "storage/block/column_string.h"
#include "storage/block/column_time.h"

/* ---- Chance -------------------------------------------------------------------------------- */

static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static uint64_t bits_of(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* ---- Floats -------------------------------------------------------------------------------- */

static void walk_of_decimals(struct golden_column *column, uint64_t *state)
{
    int64_t number = 2137;

    for (uint32_t i = 0; i < column->count; i++) {
        number += (int64_t)(next(state) % 21) - 10;
        column->values[i] = bits_of((double)number / 100);
    }
}

static void decimals_and_others(struct golden_column *column, uint64_t *state)
{
    static const uint64_t others[] = {
        0x8000000000000000, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000000,
        0xfff8000000000001, 0x7ff0000000000001, 0x7ff4dead0000beef, 0x0000000000000001,
        0x800fffffffffffff, 0x7fefffffffffffff, 0x4320000000000000, 0x3fd5555555555555,
    };

    for (uint32_t i = 0; i < column->count; i++) {
        column->values[i] = bits_of((double)(int64_t)(next(state) % 100000) / 1000);
        if (next(state) % 50 == 0)
            column->values[i] = others[next(state) % (sizeof others / sizeof others[0])];
    }
}

static void any_bits(struct golden_column *column, uint64_t *state)
{
    for (uint32_t i = 0; i < column->count; i++)
        column->values[i] = next(state);
}

static void narrow_floats(struct golden_column *column, uint64_t *state)
{
    for (uint32_t i = 0; i < column->count; i++)
        column->values[i] = bits_of(1.5) | (next(state) % (1 << 22)) << 29;
}

/* ---- Integers ------------------------------------------------------------------------------ */

static void numbers_of_13_bits(struct golden_column *column, uint64_t *state)
{
    for (uint32_t i = 0; i < column->count; i++)
        column->values[i] = 1000000 + next(state) % 8192;
}

static void steps(struct golden_column *column, uint64_t *state)
{
    uint64_t number = 0 - (uint64_t)5000;

    for (uint32_t i = 0; i < column->count; i++)
        column->values[i] = number += next(state) % 19;
}

static void squares(struct golden_column *column, uint64_t *state)
{
    (void)state;
    for (uint32_t i = 0; i < column->count; i++)
        column->values[i] = 3 + (uint64_t)i * i * 7;
}

static void jitter(struct golden_column *column, uint64_t *state)
{
    for (uint32_t i = 0; i < column->count; i++)
        column->values[i] = i * 1000ull + next(state) % 11 - 300000;
}

static void outliers(struct golden_column *column, uint64_t *state)
{
    for (uint32_t i = 0; i < column->count; i++)
        column->values[i] = next(state) % 97 == 0 ? next(state) : next(state) % 16;
}

static void constant(struct golden_column *column, uint64_t *state)
{
    (void)state;
    for (uint32_t i = 0; i < column->count; i++)
        column->values[i] = 0 - (uint64_t)77;
}

static void extremes(struct golden_column *column, uint64_t *state)
{
    (void)state;
    for (uint32_t i = 0; i < column->count; i++)
        column->values[i] = i % 2 == 0 ? (uint64_t)INT64_MAX : (uint64_t)INT64_MIN;
}

/* Up, down or not. */
static void three_steps(struct golden_column *column, uint64_t *state)
{
    uint64_t number = 50;

    for (uint32_t i = 0; i < column->count; i++)
        column->values[i] = number += next(state) % 3 - 1;
}

/* The same, but for a jump now and then. */
static void jumps(struct golden_column *column, uint64_t *state)
{
    uint64_t number = 50;

    for (uint32_t i = 0; i < column->count; i++)
        column->values[i] = number += next(state) % 90 == 0 ? 1000 : next(state) % 3 - 1;
}

static void three_bends(struct golden_column *column, uint64_t *state)
{
    uint64_t number = 0, step = 0;

    for (uint32_t i = 0; i < column->count; i++)
        column->values[i] = number += step += next(state) % 3 - 1;
}

static void three_states(struct golden_column *column, uint64_t *state)
{
    for (uint32_t i = 0; i < column->count; i++)
        column->values[i] = 7 + next(state) % 3;
}

static void three_decimals(struct golden_column *column, uint64_t *state)
{
    int64_t number = 400;

    for (uint32_t i = 0; i < column->count; i++) {
        number += (int64_t)(next(state) % 3) - 1;
        column->values[i] = bits_of(i % 200 == 7 ? 1.0 / 3 : (double)number / 10);
    }
}

/* ---- Booleans, strings, times -------------------------------------------------------------- */

static void switches(struct golden_column *column, uint64_t *state)
{
    uint64_t value = 0;

    for (uint32_t i = 0; i < column->count; i++)
        column->values[i] = value ^= next(state) % 60 == 0;
}

static void coins(struct golden_column *column, uint64_t *state)
{
    for (uint32_t i = 0; i < column->count; i++)
        column->values[i] = next(state) % 2;
}

static void states(struct golden_column *column, uint64_t *state)
{
    static const uint64_t entries[] = {7ull << 32, 7ull << 32 | 7, 5ull << 32 | 14, 0};

    column->text = "runningstoppedfault";
    for (uint32_t i = 0; i < column->count; i++)
        column->values[i] = entries[next(state) % 4];
}

static void texts(struct golden_column *column, uint64_t *state)
{
    column->text = "the quick brown fox jumps over the lazy dog";
    for (uint32_t i = 0; i < column->count; i++) {
        uint32_t offset = (uint32_t)(next(state) % 20);

        column->values[i] = column_string_make(offset, (uint32_t)(next(state) % 24));
    }
}

/* Runs as long as columns->run_count says; the last one is shorter. */
static void times(struct golden_column *column, uint64_t *state)
{
    uint32_t length = column->run_count, run = 0;

    for (uint32_t i = 0; i < column->count; i++) {
        if (i % length == 0)
            column->runs[run++] = column->count - i < length ? column->count - i : length;
        column->values[i] = (1700000000000 + i % length * 1000ull + next(state) % 11) * 1000000ull;
    }
    column->run_count = run;
}

/* ---- All, by codec ------------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum field_type type;
    uint32_t count;
    void (*make)(struct golden_column *column, uint64_t *state);
    uint32_t run;
    unsigned codec;
} kinds[] = {
    {"decimals", FIELD_FLOAT, 2048, walk_of_decimals, 0, 2},
    {"decimals, few", FIELD_FLOAT, 9, walk_of_decimals, 0, 2},
    {"decimals and others", FIELD_FLOAT, 1500, decimals_and_others, 0, 2},
    {"any bits", FIELD_FLOAT, 1100, any_bits, 0, 2},
    {"narrow floats", FIELD_FLOAT, 512, narrow_floats, 0, 2},
    {"numbers of 13 bits", FIELD_INT, 1024, numbers_of_13_bits, 0, 2},
    {"numbers, lanes filled up", FIELD_UINT, 1000, numbers_of_13_bits, 0, 2},
    {"numbers, the first lanes", FIELD_UINT, 256, numbers_of_13_bits, 0, 2},
    {"numbers, no lanes yet", FIELD_UINT, 255, numbers_of_13_bits, 0, 2},
    {"steps", FIELD_INT, 2500, steps, 0, 2},
    {"squares", FIELD_INT, 1024, squares, 0, 2},
    {"squares, few", FIELD_INT, 70, squares, 0, 2},
    {"jitter", FIELD_INT, 1024, jitter, 0, 2},
    {"jitter, one behind the other", FIELD_INT, 200, jitter, 0, 2},
    {"outliers", FIELD_INT, 1024, outliers, 0, 2},
    {"outliers, one behind the other", FIELD_INT, 190, outliers, 0, 2},
    {"a constant", FIELD_INT, 1024, constant, 0, 2},
    {"extremes", FIELD_INT, 1024, extremes, 0, 2},
    {"64 bits", FIELD_UINT, 1024, any_bits, 0, 2},
    {"one number", FIELD_UINT, 1, any_bits, 0, 2},
    {"switches", FIELD_BOOL, 1024, switches, 0, 2},
    {"coins", FIELD_BOOL, 700, coins, 0, 2},
    {"states", FIELD_STRING, 300, states, 0, 2},
    {"texts", FIELD_STRING, 100, texts, 0, 2},
    {"times of one run", 0, 1024, times, 1024, 2},
    {"times of long runs", 0, 2500, times, 1000, 2},
    {"times of short runs", 0, 1000, times, 3, 2},
    {"three steps", FIELD_INT, 2500, three_steps, 0, 3},
    {"three steps, one lane ends early", FIELD_INT, 1000, three_steps, 0, 3},
    {"three steps, one lane is empty", FIELD_UINT, 257, three_steps, 0, 3},
    {"three steps, the first lanes", FIELD_INT, 256, three_steps, 0, 3},
    {"three steps, no lanes yet", FIELD_INT, 255, three_steps, 0, 3},
    {"three steps and jumps", FIELD_INT, 1600, jumps, 0, 3},
    {"three bends", FIELD_INT, 1024, three_bends, 0, 3},
    {"three states", FIELD_UINT, 700, three_states, 0, 3},
    {"three decimals and others", FIELD_FLOAT, 1500, three_decimals, 0, 3},
    {"steps, codec 3", FIELD_INT, 2500, steps, 0, 3},
};

enum { KINDS = sizeof kinds / sizeof kinds[0] };

/* Make column `at` if it is of the codec. */
static bool make(size_t at, unsigned codec, struct golden_column *ret_column)
{
    uint64_t state = at;

    if (kinds[at].codec != codec)
        return false;
    *ret_column = (struct golden_column){.name = kinds[at].name,
                                         .type = kinds[at].type,
                                         .count = kinds[at].count,
                                         .run_count = kinds[at].run};
    kinds[at].make(ret_column, &state);
    return true;
}

static void encode(const struct golden_column *column, unsigned codec, struct bytes *out)
{
    static uint64_t scratch[GOLDEN_COLUMN_VALUES];

    if (column->type == 0)
        column_time_put((const int64_t *)column->values, column->runs, column->run_count, scratch,
                        out);
    else if (codec == 3)
        column_put_dense_values(column->type, column->values, column->count, column->text, out);
    else
        column_put_values(column->type, column->values, column->count, column->text, out);
}

void golden_columns_encode(unsigned codec, struct bytes *out)
{
    static struct golden_column column;

    for (size_t at = 0; at < KINDS; at++) {
        struct bytes one = {0};

        if (!make(at, codec, &column))
            continue;
        encode(&column, codec, &one);
        bytes_put_u32(out, (uint32_t)one.size);
        bytes_put(out, one.data, one.size);
        out->failed |= one.failed;
        bytes_fini(&one);
    }
}

/* ---- Checking ------------------------------------------------------------------------------ */

static bool same_values(const struct golden_column *column, const uint64_t *values,
                        const char *text)
{
    for (uint32_t i = 0; i < column->count; i++) {
        uint32_t size = column_string_size(values[i]);

        if (column->type != FIELD_STRING) {
            if (values[i] != column->values[i])
                return false;
        } else if (size != column_string_size(column->values[i]) ||
                   memcmp(text + column_string_offset(values[i]),
                          column->text + column_string_offset(column->values[i]), size) != 0) {
            return false;
        }
    }
    return true;
}

static bool reads_well(const struct golden_column *column, struct reader reader)
{
    static uint64_t values[GOLDEN_COLUMN_VALUES], scratch[GOLDEN_COLUMN_VALUES];
    const char *text = NULL;

    if (column->type == 0)
        column_time_get(&reader, column->runs, column->run_count, column->count, scratch,
                        (int64_t *)values);
    else
        column_get_values(&reader, column->type, column->count, values, &text);
    return reader_done(&reader) && same_values(column, values, text);
}

/* Sums of whole chunks, modulo 2^64; of floats only that there are some. */
static bool adds_well(const struct golden_column *column, struct reader reader)
{
    column_open_values(&reader);
    for (uint32_t at = 0; at < column->count; at += COLUMN_CHUNK) {
        uint32_t left = column->count - at;
        uint32_t count = left < COLUMN_CHUNK ? left : COLUMN_CHUNK;
        struct column_aggregate aggregate;
        uint64_t sum = 0;

        column_aggregate_chunk(&reader, column->type, count, 0, count, &aggregate);
        for (uint32_t i = at; i < at + count; i++)
            sum += column->values[i];
        if (column->type != FIELD_FLOAT && sum != aggregate.sum_low)
            return false;
    }
    return reader_done(&reader);
}

const char *golden_columns_fault(unsigned codec, const void *golden, size_t size)
{
    static struct golden_column column;
    struct reader reader = reader_on(golden, size);

    for (size_t at = 0; at < KINDS; at++) {
        struct bytes out = {0};
        uint32_t one_size;
        const uint8_t *one;
        bool same;

        if (!make(at, codec, &column))
            continue;
        one_size = reader_u32(&reader);
        one = reader_take(&reader, one_size);
        if (one == NULL)
            return "size";
        encode(&column, codec, &out);
        same = !out.failed && out.size == one_size && memcmp(out.data, one, one_size) == 0;
        bytes_fini(&out);
        if (!same || !reads_well(&column, reader_on(one, one_size)) ||
            ((column.type != 0 && column.type != FIELD_STRING) &&
             !adds_well(&column, reader_on(one, one_size))))
            return column.name;
    }
    return reader_done(&reader) ? NULL : "size";
}
