#include "storage/block/column_aggregate.h"

#include "storage/base/check.h"
#include "storage/block/column_decimal.h"
#include "storage/block/column_float.h"
#include "storage/block/column_int.h"
#include "storage/block/lanes.h"

static void get_integers(struct reader *reader, uint32_t count, uint32_t first, uint32_t end,
                         bool has_sign, struct column_aggregate *ret_aggregate)
{
    struct column_int_totals totals = {0};

    column_int_get_totals(reader, count, first, end, has_sign, &totals);
    *ret_aggregate = (struct column_aggregate){
        .exact = true,
        .min = totals.min,
        .max = totals.max,
        .sum_low = totals.sum_low,
        .sum_high = totals.sum_high,
    };
}

/* ---- Floats -------------------------------------------------------------------------------- */

#define INFINITE 0x7ff0000000000000
#define NOT_ONE  0x7ff8000000000000

/* Of numbers that are none, the same on every CPU. */
static double make_canonical(double sum)
{
    return sum != sum ? column_decimal_float(NOT_ONE) : sum;
}

static bool is_nan(uint64_t bits)
{
    return (bits & ~(1ull << 63)) > INFINITE;
}

/* With NaNs among them: those count only if there is nothing else. */
static void find_ends(const uint64_t *bits, uint32_t count, struct lanes_float_totals *totals)
{
    struct lanes_float_totals found = {.min = INT64_MAX, .max = INT64_MIN};

    for (uint32_t i = 0; i < count; i++) {
        int64_t order = lanes_float_order(bits[i]);

        if (is_nan(bits[i]))
            continue;
        found.min = order < found.min ? order : found.min;
        found.max = order > found.max ? order : found.max;
    }
    if (found.min > found.max)
        found.min = found.max = lanes_float_order(NOT_ONE);
    totals->min = found.min;
    totals->max = found.max;
}

static void add_up(const uint64_t *bits, uint32_t count, struct column_aggregate *ret_aggregate)
{
    struct lanes_float_totals totals;

    lanes_kernels()->reduce_floats(bits, count, &totals);
    if (is_nan((uint64_t)lanes_float_order((uint64_t)totals.min)) ||
        is_nan((uint64_t)lanes_float_order((uint64_t)totals.max)))
        find_ends(bits, count, &totals);
    *ret_aggregate = (struct column_aggregate){
        .min = (uint64_t)lanes_float_order((uint64_t)totals.min),
        .max = (uint64_t)lanes_float_order((uint64_t)totals.max),
        .sum = make_canonical(totals.sum),
    };
}

/* A chunk of decimals whose exceptions, if any, come behind it. */
static bool has_exceptions(struct reader reader)
{
    return reader_varint(&reader) != 0;
}

static void get_floats(struct reader *reader, uint32_t count, uint32_t first, uint32_t end,
                       struct column_aggregate *ret_aggregate)
{
    struct reader inside = *reader;
    uint8_t form = reader_u8(&inside);
    uint64_t bits[COLUMN_CHUNK];

    if (form <= COLUMN_DECIMAL_EXPONENT_MAX && !has_exceptions(inside)) {
        (void)reader_varint(&inside);
        *reader = inside;
        get_integers(reader, count, first, end, true, ret_aggregate);
        ret_aggregate->exponent = form;
        reader->bad |= (column_decimal_outside(ret_aggregate->min) |
                        column_decimal_outside(ret_aggregate->max)) != 0;
        return;
    }
    column_float_get_chunk(reader, count, bits);
    if (!reader->bad)
        add_up(bits + first, end - first, ret_aggregate);
}

void column_aggregate_chunk(struct reader *reader, enum field_type type, uint32_t count,
                            uint32_t first, uint32_t end, struct column_aggregate *ret_aggregate)
{
    CHECK(count <= COLUMN_CHUNK);
    CHECK(first < end);
    CHECK(end <= count);
    CHECK(type != FIELD_STRING);
    if (type == FIELD_FLOAT)
        get_floats(reader, count, first, end, ret_aggregate);
    else
        get_integers(reader, count, first, end, type != FIELD_UINT, ret_aggregate);
    if (type == FIELD_BOOL && (ret_aggregate->min > 1 || ret_aggregate->max > 1))
        reader->bad = true;
}

bool column_aggregate_sums(struct reader *reader, enum field_type type, uint32_t count,
                           uint8_t *ret_exponent, struct column_int_sums *ret_sums)
{
    struct reader inside = *reader;
    uint8_t exponent = 0;

    CHECK(count <= COLUMN_CHUNK);
    CHECK(type == FIELD_FLOAT || type == FIELD_INT || type == FIELD_UINT);
    if (type == FIELD_FLOAT) {
        exponent = reader_u8(&inside);
        if (exponent > COLUMN_DECIMAL_EXPONENT_MAX || reader_varint(&inside) != 0)
            return false;
    }
    if (!column_int_get_sums(&inside, count, type != FIELD_UINT, ret_sums)) {
        reader->bad |= inside.bad;
        return false;
    }
    *ret_exponent = exponent;
    *reader = inside;
    return true;
}

/* Makes the better one the greater, as signed numbers. */
static uint64_t flip_of(enum field_type type, bool want_min)
{
    return (type == FIELD_UINT ? 1ull << 63 : 0) ^ (want_min ? UINT64_MAX : 0);
}

bool column_aggregate_extremes(struct reader *reader, enum field_type type, uint32_t count,
                               bool want_min, const struct lanes_run *runs, uint32_t run_count,
                               uint64_t *ret_bits)
{
    struct reader inside = *reader;
    uint64_t values[COLUMN_CHUNK], any = 0;
    uint8_t exponent = 0;

    CHECK(count <= COLUMN_CHUNK);
    CHECK(run_count <= COLUMN_CHUNK);
    CHECK(type != FIELD_STRING);
    if (type == FIELD_FLOAT) {
        exponent = reader_u8(&inside);
        if (exponent > COLUMN_DECIMAL_EXPONENT_MAX || reader_varint(&inside) != 0)
            return false;
    }
    column_int_get_roomy(&inside, count, values);
    *reader = inside;
    if (inside.bad)
        return false;
    for (uint32_t i = 0; i < count && type == FIELD_BOOL; i++)
        any |= values[i] >> 1;
    lanes_kernels()->find_extremes(values, count, flip_of(type, want_min), runs, run_count,
                                   ret_bits);
    if (type == FIELD_FLOAT)
        any = lanes_kernels()->to_floats(ret_bits, run_count, exponent);
    reader->bad = any != 0;
    return any == 0;
}

void column_aggregate_skip(struct reader *reader, enum field_type type, uint32_t count)
{
    if (type == FIELD_FLOAT)
        column_float_skip_chunk(reader, count);
    else
        column_int_skip_chunk(reader, count);
}

uint64_t column_aggregate_float(uint64_t integer, unsigned exponent)
{
    return column_decimal_bits(integer, column_decimal(exponent));
}
