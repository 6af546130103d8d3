#include "storage/block/column_float.h"

#include <stdbool.h>

#include "storage/block/column_decimal.h"
#include "storage/block/column_int.h"
#include "storage/block/lanes.h"

enum {
    EXPONENT_MAX = COLUMN_DECIMAL_EXPONENT_MAX,
    SHIFTED = COLUMN_FLOAT_SHIFTED,
    SAMPLE_MAX = 32,      /* Values that the exponent is chosen by. */
    SAMPLE_MISSES = 4,    /* So many that no exponent fits: these are no decimals. */
    EXCEPTION_SHARE = 16, /* One value of so many may be an exception. */
    EXCEPTION_BITS = 80,  /* What one costs. */
};

/* ---- Choosing ------------------------------------------------------------------------------ */

/* The smallest exponent from `from` on that fits; EXPONENT_MAX + 1 if there is none. */
static unsigned fit(uint64_t bits, unsigned from)
{
    for (unsigned exponent = from; exponent <= EXPONENT_MAX; exponent++) {
        uint64_t miss;

        (void)column_decimal_integer(bits, column_decimal(exponent), &miss);
        if (miss == 0)
            return exponent;
    }
    return EXPONENT_MAX + 1;
}

/* By a sample; EXPONENT_MAX + 1: no decimals. */
static unsigned guess_exponent(const uint64_t *bits, uint32_t count)
{
    uint32_t step = count <= SAMPLE_MAX ? 1 : count / SAMPLE_MAX;
    unsigned exponent = 0;
    unsigned misses = 0;

    for (uint32_t i = 0; i < count; i += step) {
        unsigned fitting = fit(bits[i], exponent);

        if (fitting <= EXPONENT_MAX)
            exponent = fitting;
        else if (++misses >= SAMPLE_MISSES)
            return EXPONENT_MAX + 1;
    }
    return exponent;
}

struct exceptions {
    uint32_t count;
    uint32_t at[COLUMN_CHUNK / EXCEPTION_SHARE];
};

/* Find the values that do not fit. False if they are too many. */
static bool find_exceptions(const uint64_t *bits, uint32_t count, unsigned exponent,
                            struct exceptions *ret_exceptions)
{
    struct column_decimal decimal = column_decimal(exponent);

    ret_exceptions->count = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t miss;

        (void)column_decimal_integer(bits[i], decimal, &miss);
        if (miss == 0)
            continue;
        if (ret_exceptions->count == count / EXCEPTION_SHARE)
            return false;
        ret_exceptions->at[ret_exceptions->count++] = i;
    }
    return true;
}

/* Is it shorter to give every value the digits that the first exception needs? Each digit costs
 * each value 3.3 bits. */
static bool worth_raising(const struct exceptions *exceptions, unsigned digits, uint32_t count)
{
    return (uint64_t)exceptions->count * EXCEPTION_BITS > (uint64_t)digits * count * 10 / 3;
}

/* Find exponent, integers and exceptions of a chunk; false if it is no decimals. */
static bool find_integers(const uint64_t *bits, uint32_t count, unsigned *ret_exponent,
                          uint64_t *ret_integers, struct exceptions *ret_exceptions)
{
    unsigned exponent = guess_exponent(bits, count);

    ret_exceptions->count = 0;
    while (exponent <= EXPONENT_MAX) {
        bool few;
        uint32_t first = 0;
        unsigned raised;

        *ret_exponent = exponent;
        if (lanes_kernels()->to_integers(bits, count, exponent, ret_integers) == 0) {
            ret_exceptions->count = 0;
            return true;
        }
        few = find_exceptions(bits, count, exponent, ret_exceptions);
        if (ret_exceptions->count > 0)
            first = ret_exceptions->at[0];
        else /* A chunk too short for exceptions. */
            while (fit(bits[first], exponent) == exponent)
                first++;
        raised = fit(bits[first], exponent + 1);
        if (few &&
            (raised > EXPONENT_MAX || !worth_raising(ret_exceptions, raised - exponent, count)))
            return true;
        exponent = raised;
    }
    return false;
}

/* ---- Writing ------------------------------------------------------------------------------- */

static bool put_integers(const uint64_t *integers, uint32_t count, bool dense, struct bytes *out)
{
    if (dense)
        return column_int_put_dense_chunk(integers, count, out);
    column_int_put_chunk(integers, count, out);
    return false;
}

static bool put_decimals(const uint64_t *bits, uint32_t count, unsigned exponent, bool dense,
                         uint64_t *integers, const struct exceptions *exceptions, struct bytes *out)
{
    uint32_t next = 0;
    bool is_dense;

    /* An exception's place gets its neighbour's number, which costs nothing in any order. */
    for (uint32_t i = 0; i < exceptions->count; i++) {
        uint32_t at = exceptions->at[i];

        integers[at] = at == 0 ? 0 : integers[at - 1];
    }
    bytes_put_u8(out, (uint8_t)exponent);
    bytes_put_varint(out, exceptions->count);
    is_dense = put_integers(integers, count, dense, out);
    for (uint32_t i = 0; i < exceptions->count; i++) {
        bytes_put_varint(out, exceptions->at[i] - next);
        bytes_put_u64(out, bits[exceptions->at[i]]);
        next = exceptions->at[i] + 1;
    }
    return is_dense;
}

/* A float32 that was widened has 29 zeros at the end of each value. */
static bool put_patterns(const uint64_t *bits, uint32_t count, bool dense, uint64_t *integers,
                         struct bytes *out)
{
    uint64_t any = 0;
    unsigned shift;

    for (uint32_t i = 0; i < count; i++)
        any |= bits[i];
    shift = any == 0 ? 0 : (unsigned)__builtin_ctzll(any);
    for (uint32_t i = 0; i < count; i++)
        integers[i] = bits[i] >> shift;
    bytes_put_u8(out, (uint8_t)(SHIFTED + shift));
    return put_integers(integers, count, dense, out);
}

static bool put_chunk(const uint64_t *bits, uint32_t count, bool dense, struct bytes *out)
{
    uint64_t integers[COLUMN_CHUNK];
    struct exceptions exceptions;
    unsigned exponent;

    if (find_integers(bits, count, &exponent, integers, &exceptions))
        return put_decimals(bits, count, exponent, dense, integers, &exceptions, out);
    return put_patterns(bits, count, dense, integers, out);
}

bool column_float_put(const uint64_t *bits, uint32_t count, bool dense, struct bytes *out)
{
    bool any = false;

    for (uint32_t at = 0; at < count; at += COLUMN_CHUNK)
        any |=
            put_chunk(bits + at, count - at < COLUMN_CHUNK ? count - at : COLUMN_CHUNK, dense, out);
    return any;
}

/* ---- Reading ------------------------------------------------------------------------------- */

static void get_decimals(struct reader *reader, unsigned exponent, uint32_t count,
                         uint64_t *ret_bits)
{
    uint64_t exceptions = reader_varint(reader);
    uint64_t next = 0;

    column_int_get_chunk(reader, count, ret_bits);
    if (reader->bad)
        return;
    if (lanes_kernels()->to_floats(ret_bits, count, exponent) != 0) {
        reader->bad = true;
        return;
    }
    for (; exceptions > 0; exceptions--) {
        uint64_t distance = reader_varint(reader);
        uint64_t bits = reader_u64(reader);

        if (reader->bad || distance >= count - next) {
            reader->bad = true;
            return;
        }
        ret_bits[next + distance] = bits;
        next += distance + 1;
    }
}

static void get_patterns(struct reader *reader, unsigned shift, uint32_t count, uint64_t *ret_bits)
{
    column_int_get_chunk(reader, count, ret_bits);
    if (reader->bad)
        return;
    for (uint32_t i = 0; i < count; i++)
        ret_bits[i] <<= shift;
}

void column_float_get_chunk(struct reader *reader, uint32_t count, uint64_t *ret_bits)
{
    uint8_t form = reader_u8(reader);

    if (form <= EXPONENT_MAX)
        get_decimals(reader, form, count, ret_bits);
    else if (form >= SHIFTED && form < SHIFTED + 64)
        get_patterns(reader, form - SHIFTED, count, ret_bits);
    else
        reader->bad = true;
}

void column_float_skip_chunk(struct reader *reader, uint32_t count)
{
    uint8_t form = reader_u8(reader);
    uint64_t exceptions = form <= EXPONENT_MAX ? reader_varint(reader) : 0;

    column_int_skip_chunk(reader, count);
    for (; exceptions > 0 && !reader->bad; exceptions--) {
        (void)reader_varint(reader);
        (void)reader_u64(reader);
    }
}

void column_float_get_some(struct reader *reader, uint32_t count, uint32_t first, uint32_t end,
                           uint64_t *ret_bits)
{
    for (uint32_t at = 0; at < end && !reader->bad; at += COLUMN_CHUNK) {
        uint32_t size = count - at < COLUMN_CHUNK ? count - at : COLUMN_CHUNK;

        if (at + size > first)
            column_float_get_chunk(reader, size, ret_bits + at);
        else
            column_float_skip_chunk(reader, size);
    }
}

void column_float_get(struct reader *reader, uint32_t count, uint64_t *ret_bits)
{
    column_float_get_some(reader, count, 0, count, ret_bits);
}

static uint64_t get_one_decimal(struct reader *reader, unsigned exponent, uint32_t count,
                                uint32_t at)
{
    uint64_t exceptions = reader_varint(reader), next = 0;
    uint64_t value = column_int_get_one_of_chunk(reader, count, at);

    if (!reader->bad && column_decimal_outside(value) != 0)
        reader->bad = true;
    value = column_decimal_bits(value, column_decimal(exponent));
    for (; exceptions > 0 && !reader->bad; exceptions--) {
        uint64_t distance = reader_varint(reader);
        uint64_t bits = reader_u64(reader);

        if (reader->bad || distance >= count - next) {
            reader->bad = true;
            return 0;
        }
        next += distance + 1;
        if (next == (uint64_t)at + 1)
            value = bits;
    }
    return value;
}

uint64_t column_float_get_one(struct reader *reader, uint32_t count, uint32_t at)
{
    uint8_t form;

    for (; at >= COLUMN_CHUNK && !reader->bad; at -= COLUMN_CHUNK, count -= COLUMN_CHUNK)
        column_float_skip_chunk(reader, COLUMN_CHUNK);
    form = reader_u8(reader);
    count = count < COLUMN_CHUNK ? count : COLUMN_CHUNK;
    if (!reader->bad && form <= EXPONENT_MAX)
        return get_one_decimal(reader, form, count, at);
    if (!reader->bad && form >= SHIFTED && form < SHIFTED + 64)
        return column_int_get_one_of_chunk(reader, count, at) << (form - SHIFTED);
    reader->bad = true;
    return 0;
}
