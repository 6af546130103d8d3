#include "storage/aggregate_sum.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"

enum { LANES = 8, BIN_BITS = 32, EXPONENT_BIAS = 1075 };

#define SIGN       (UINT64_C(1) << 63)
#define NUMBER_MAX 2251799813685248.0 /* 2^51: what is below it has 15 safe decimal digits. */
#define ROUNDER    6755399441055744.0 /* 1.5 * 2^52: adding it rounds to an integer. */

static const double powers[AGGREGATE_SUM_FORM_MAX + 1] = {1,   1e1, 1e2, 1e3,  1e4,  1e5, 1e6,
                                                          1e7, 1e8, 1e9, 1e10, 1e11, 1e12};
static const int64_t units[AGGREGATE_SUM_FORM_MAX + 1] = {
    1000000000000, 100000000000, 10000000000, 1000000000, 100000000, 10000000, 1000000,
    100000,        10000,        1000,        100,        10,        1};

static double as_float(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t as_bits(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* ---- Decimals ------------------------------------------------------------------------------
 *
 * The largest e for which |v| 10^e is below 2^51 decides: what is a decimal with a smaller e is
 * one with this e. n is the integer next to v 10^e: with v = n / 10^e (1 + d), |d| <= 2^-53, the
 * product is off by less than n 2^-52 < 1/2.
 */

/* The e for values of at most this size; -1: too large, or not finite. */
static int form_of(double size)
{
    for (int form = AGGREGATE_SUM_FORM_MAX; form >= 0; form--)
        if (size * powers[form] < NUMBER_MAX)
            return form;
    return -1;
}

static double largest(const uint64_t *bits, uint32_t count)
{
    uint64_t lanes[LANES] = {0}, most = 0;
    uint32_t i = 0;

    for (; i + LANES <= count; i += LANES)
        for (uint32_t lane = 0; lane < LANES; lane++) {
            uint64_t size = bits[i + lane] << 1; /* Without its sign, in order of size. */

            lanes[lane] = size > lanes[lane] ? size : lanes[lane];
        }
    for (; i < count; i++)
        lanes[0] = bits[i] << 1 > lanes[0] ? bits[i] << 1 : lanes[0];
    for (uint32_t lane = 0; lane < LANES; lane++)
        most = lanes[lane] > most ? lanes[lane] : most;
    return as_float(most >> 1);
}

/* n of a value whose size is right for `power`; false: it is no decimal. */
static bool number_of(double value, double power, int64_t *ret_number)
{
    double rounded = value * power + ROUNDER;

    *ret_number = (int64_t)(as_bits(rounded) - as_bits(ROUNDER));
    return (rounded - ROUNDER) / power == value;
}

bool aggregate_sum_decimals(const uint64_t *bits, uint32_t count, unsigned *ret_form,
                            int64_t *ret_sum)
{
    int form = form_of(largest(bits, count));
    double power = form < 0 ? 0 : powers[form];
    uint64_t sums[LANES] = {0}, wrong[LANES] = {0}, sum = 0, any = 0;
    uint32_t i = 0;

    DCHECK(count <= AGGREGATE_SUM_AT_ONCE);
    if (form < 0)
        return false;
    for (; i + LANES <= count; i += LANES)
        for (uint32_t lane = 0; lane < LANES; lane++) {
            double value = as_float(bits[i + lane]);
            double rounded = value * power + ROUNDER;

            sums[lane] += as_bits(rounded) - as_bits(ROUNDER);
            wrong[lane] |= as_bits((rounded - ROUNDER) / power - value);
        }
    for (uint32_t lane = 0; lane < LANES; lane++) {
        sum += sums[lane];
        any |= wrong[lane]; /* A difference of 0 is +0: bits 0. */
    }
    for (; i < count; i++) {
        int64_t number;

        any |= !number_of(as_float(bits[i]), power, &number);
        sum += (uint64_t)number;
    }
    *ret_form = (unsigned)form;
    *ret_sum = (int64_t)sum;
    return any == 0;
}

bool aggregate_sum_numbers(const uint64_t *bits, uint32_t count, unsigned *ret_form,
                           int64_t *ret_numbers)
{
    int form = form_of(largest(bits, count));
    double power = form < 0 ? 0 : powers[form];
    uint64_t wrong = 0;

    DCHECK(count <= AGGREGATE_SUM_AT_ONCE);
    if (form < 0)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        double value = as_float(bits[i]);
        double rounded = value * power + ROUNDER;

        ret_numbers[i] = (int64_t)(as_bits(rounded) - as_bits(ROUNDER));
        wrong |= as_bits((rounded - ROUNDER) / power - value);
    }
    *ret_form = (unsigned)form;
    return wrong == 0;
}

int64_t aggregate_sum_unit(unsigned form)
{
    CHECK(form <= AGGREGATE_SUM_FORM_MAX);
    return units[form];
}

void aggregate_sum_add_decimals(struct aggregate_sum *into, unsigned form, int64_t sum)
{
    into->decimals += (int128)sum * aggregate_sum_unit(form);
}

/* ---- What is not --------------------------------------------------------------------------- */

static enum err make_bins(struct aggregate_sum *into, uint64_t *memory)
{
    if (into->bins != NULL)
        return ERR_OK;
    into->bins = calloc(1, sizeof *into->bins);
    if (into->bins == NULL)
        return err_set(ERR_NO_MEMORY, "aggregate: no memory for a sum of floats");
    *memory += sizeof *into->bins;
    return ERR_OK;
}

static void add_other(struct aggregate_bins *into, uint64_t bits)
{
    const uint64_t one = UINT64_C(1) << 52;
    unsigned exponent = (unsigned)(bits >> 52) & 0x7ff;
    uint64_t fraction = bits & (one - 1);
    int128 number;

    if (exponent == 0x7ff) {
        into->nan |= fraction != 0;
        into->positive |= fraction == 0 && (bits & SIGN) == 0;
        into->negative |= fraction == 0 && (bits & SIGN) != 0;
        return;
    }
    if (exponent == 0)
        exponent = 1; /* Denormal: no leading one. */
    else
        fraction |= one;
    number = (int128)fraction << exponent % BIN_BITS;
    into->bins[exponent / BIN_BITS] += (bits & SIGN) != 0 ? -number : number;
}

/* Value by value: each one decides for itself. */
static enum err add_mixed(struct aggregate_sum *into, const uint64_t *bits, uint32_t count,
                          uint64_t *memory)
{
    for (uint32_t i = 0; i < count; i++) {
        double value = as_float(bits[i]);
        int form = form_of(fabs(value));
        int64_t number;
        enum err err;

        if (form >= 0 && number_of(value, powers[form], &number)) {
            aggregate_sum_add_decimals(into, (unsigned)form, number);
            continue;
        }
        err = make_bins(into, memory);
        if (err != ERR_OK)
            return err;
        add_other(into->bins, bits[i]);
    }
    return ERR_OK;
}

enum err aggregate_sum_add(struct aggregate_sum *into, const uint64_t *bits, uint32_t count,
                           uint64_t *memory)
{
    for (uint32_t at = 0, some; at < count; at += some) {
        unsigned form;
        int64_t sum;

        some = count - at < AGGREGATE_SUM_AT_ONCE ? count - at : AGGREGATE_SUM_AT_ONCE;
        if (aggregate_sum_decimals(bits + at, some, &form, &sum)) {
            aggregate_sum_add_decimals(into, form, sum);
        } else {
            enum err err = add_mixed(into, bits + at, some, memory);

            if (err != ERR_OK)
                return err;
        }
    }
    return ERR_OK;
}

/* ---- Combining ----------------------------------------------------------------------------- */

static enum err overflow(void)
{
    return err_set(ERR_INVALID, "aggregate: a sum of floats overflows 128 bits");
}

enum err aggregate_sum_combine(struct aggregate_sum *into, const struct aggregate_sum *from,
                               uint64_t *memory)
{
    if (__builtin_add_overflow(into->decimals, from->decimals, &into->decimals))
        return overflow();
    if (from->bins == NULL)
        return ERR_OK;
    if (make_bins(into, memory) != ERR_OK)
        return ERR_NO_MEMORY;
    for (uint32_t i = 0; i < AGGREGATE_SUM_BINS; i++)
        if (__builtin_add_overflow(into->bins->bins[i], from->bins->bins[i], &into->bins->bins[i]))
            return overflow();
    into->bins->nan |= from->bins->nan;
    into->bins->positive |= from->bins->positive;
    into->bins->negative |= from->bins->negative;
    return ERR_OK;
}

/* As few digits behind the point as it has: then the division is the only thing that rounds, for
 * all sums below 2^53 of the last digit. */
static double decimals_as_float(int128 decimals)
{
    unsigned form = AGGREGATE_SUM_FORM_MAX;
    int64_t small;

    while (form > 0 && (decimals > INT64_MAX || decimals < INT64_MIN) && decimals % 10 == 0) {
        decimals /= 10;
        form--;
    }
    if (decimals > INT64_MAX || decimals < INT64_MIN)
        return (double)decimals / powers[form];
    small = (int64_t)decimals; /* Nearly all are: 128 bits take ten times as long to divide. */
    /* Steps of 8, 4, 2 and 1 digits take off as many zeros as twelve of one would. */
    for (unsigned digits = 8; digits > 0; digits /= 2) {
        int64_t step = units[AGGREGATE_SUM_FORM_MAX - digits];

        if (form >= digits && small % step == 0) {
            small /= step;
            form -= digits;
        }
    }
    return (double)small / powers[form];
}

double aggregate_sum_value(const struct aggregate_sum *sum)
{
    const struct aggregate_bins *bins = sum->bins;
    double value = 0;

    if (bins == NULL)
        return decimals_as_float(sum->decimals);
    if (bins->nan || (bins->positive && bins->negative))
        return (double)NAN;
    if (bins->positive || bins->negative)
        return bins->positive ? (double)INFINITY : -(double)INFINITY;
    for (int i = AGGREGATE_SUM_BINS - 1; i >= 0; i--)
        value += ldexp((double)bins->bins[i], BIN_BITS * i - EXPONENT_BIAS);
    return value + decimals_as_float(sum->decimals);
}

/* ---- As bytes ------------------------------------------------------------------------------ */

enum { HAS_BINS = 1, HAS_NAN = 2, HAS_POSITIVE = 4, HAS_NEGATIVE = 8, FLAGS_END = 16 };

void aggregate_sum_put(const struct aggregate_sum *sum, struct bytes *out)
{
    const struct aggregate_bins *bins = sum->bins;
    uint64_t used = 0;

    bytes_put(out, &sum->decimals, sizeof sum->decimals);
    bytes_put_u8(out, (uint8_t)(bins == NULL ? 0
                                             : HAS_BINS | (bins->nan ? HAS_NAN : 0) |
                                                   (bins->positive ? HAS_POSITIVE : 0) |
                                                   (bins->negative ? HAS_NEGATIVE : 0)));
    if (bins == NULL)
        return;
    for (uint32_t i = 0; i < AGGREGATE_SUM_BINS; i++)
        used |= bins->bins[i] != 0 ? UINT64_C(1) << i : 0;
    bytes_put_u64(out, used);
    for (uint32_t i = 0; i < AGGREGATE_SUM_BINS; i++)
        if (bins->bins[i] != 0)
            bytes_put(out, &bins->bins[i], sizeof bins->bins[i]);
}

static int128 get_number(struct reader *reader)
{
    const uint8_t *bytes = reader_take(reader, sizeof(int128));
    int128 number = 0;

    if (bytes != NULL)
        memcpy(&number, bytes, sizeof number);
    return number;
}

void aggregate_sum_get(struct reader *reader, struct aggregate_bins *room,
                       struct aggregate_sum *ret_sum)
{
    struct aggregate_sum sum = {.decimals = get_number(reader)};
    unsigned flags = reader_u8(reader);

    if (flags >= FLAGS_END || (flags != 0 && (flags & HAS_BINS) == 0))
        reader->bad = true;
    if (flags != 0 && !reader->bad) {
        uint64_t used = reader_u64(reader);

        *room = (struct aggregate_bins){.nan = (flags & HAS_NAN) != 0,
                                        .positive = (flags & HAS_POSITIVE) != 0,
                                        .negative = (flags & HAS_NEGATIVE) != 0};
        for (uint32_t i = 0; i < AGGREGATE_SUM_BINS; i++)
            if (used >> i & 1)
                room->bins[i] = get_number(reader);
        sum.bins = room;
    }
    *ret_sum = sum;
}
