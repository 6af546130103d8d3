#include "storage/block/column_aggregate.h"

#include "storage/base/check.h"
#include "storage/block/column_decimal.h"
#include "storage/block/column_float.h"
#include "storage/block/column_int.h"

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

static bool is_nan(uint64_t bits)
{
    return (bits & ~(1ull << 63)) > 0x7ff0000000000000;
}

/* Bits as numbers that compare as the floats do; -0.0 is below 0.0. */
static int64_t order_of(uint64_t bits)
{
    return (int64_t)(bits ^ (((bits >> 63) * UINT64_MAX) >> 1));
}

/* Whether `a` replaces `b`. A NaN replaces nothing, anything replaces it. */
static bool is_below(uint64_t a, uint64_t b)
{
    if (is_nan(a) || is_nan(b))
        return !is_nan(a);
    return order_of(a) < order_of(b);
}

static bool is_above(uint64_t a, uint64_t b)
{
    if (is_nan(a) || is_nan(b))
        return !is_nan(a);
    return order_of(a) > order_of(b);
}

static void add_up(const uint64_t *bits, uint32_t count, struct column_aggregate *ret_aggregate)
{
    struct column_aggregate aggregate = {.min = bits[0], .max = bits[0]};

    for (uint32_t i = 0; i < count; i++) {
        aggregate.sum += column_decimal_float(bits[i]);
        aggregate.min = is_below(bits[i], aggregate.min) ? bits[i] : aggregate.min;
        aggregate.max = is_above(bits[i], aggregate.max) ? bits[i] : aggregate.max;
    }
    *ret_aggregate = aggregate;
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

uint64_t column_aggregate_float(uint64_t integer, unsigned exponent)
{
    return column_decimal_bits(integer, column_decimal(exponent));
}
