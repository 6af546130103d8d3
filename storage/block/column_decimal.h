/*
 * column_decimal.h - one float as an integer: 21.37 is 2137 / 10^2.
 *
 * A decimal is the correctly rounded quotient (double)n / 10^exponent, where n is a signed integer
 * from -2^51 to 2^51 - 1: one value on every CPU that follows IEEE 754.
 *
 * DIVIDING  takes 16 cycles; where there is a fused multiply-add, three of those do:
 *
 *               q = n * inverse     r = n - q * power     q + r * inverse
 *
 *           That is the correctly rounded quotient too, for these n and powers. The inverse is
 *           within half an ulp, so q is within 1.5 ulp(q) of n / power; r is a multiple of
 *           ulp(q) * 2^exponent below 1.5 ulp(q) * power, so it has at most 30 bits and is exact.
 *           What is rounded at the end differs from n / power by r / power times the error of the
 *           inverse: less than 2^-52 ulp(q). That matters only if n / power lies that close to the
 *           middle m of two doubles. n - m * power is a multiple of ulp(q) / 2 * 2^exponent, so
 *           it is 0, or n / power is at least ulp(q) / 2 / 5^exponent > 2^-30 ulp(q) away. And it
 *           is not 0: then 5^exponent would divide n, and the quotient has less than 53 bits.
 */
#ifndef STORAGE_BLOCK_COLUMN_DECIMAL_H
#define STORAGE_BLOCK_COLUMN_DECIMAL_H

#include <stdint.h>
#include <string.h>

enum { COLUMN_DECIMAL_EXPONENT_MAX = 12 };

struct column_decimal {
    double power; /* 10^exponent: exact up to 10^22. */
    double inverse;
};

static inline struct column_decimal column_decimal(unsigned exponent)
{
    static const struct column_decimal table[COLUMN_DECIMAL_EXPONENT_MAX + 1] = {
        {1, 1},        {1e1, 1e-1},   {1e2, 1e-2},  {1e3, 1e-3}, {1e4, 1e-4},
        {1e5, 1e-5},   {1e6, 1e-6},   {1e7, 1e-7},  {1e8, 1e-8}, {1e9, 1e-9},
        {1e10, 1e-10}, {1e11, 1e-11}, {1e12, 1e-12}};

    return table[exponent];
}

/*
 * Adding 1.5 * 2^52 leaves no bits for a fraction, so the CPU rounds to an integer (ties to even)
 * and the integer stands in the low bits: round and convert in one addition that every CPU does on
 * several values at a time. It holds while the sum's exponent is still 52: -2^51 <= n < 2^51.
 */
#define COLUMN_DECIMAL_MAGIC      0x1.8p52
#define COLUMN_DECIMAL_MAGIC_BITS 0x4338000000000000ull

static inline double column_decimal_float(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint64_t column_decimal_pattern(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline double column_decimal_divide(double number, struct column_decimal decimal)
{
#if defined(__FMA__)
    double quotient = number * decimal.inverse;
    double rest = __builtin_fma(-quotient, decimal.power, number);

    return __builtin_fma(rest, decimal.inverse, quotient);
#else
    return number / decimal.power;
#endif
}

/** The integer for one value; *ret_miss is not 0 if it does not give the same bits back. */
static inline uint64_t column_decimal_integer(uint64_t bits, struct column_decimal decimal,
                                              uint64_t *ret_miss)
{
    double rounded = column_decimal_float(bits) * decimal.power + COLUMN_DECIMAL_MAGIC;
    double back = column_decimal_divide(rounded - COLUMN_DECIMAL_MAGIC, decimal);
    uint64_t number = column_decimal_pattern(rounded);

    *ret_miss =
        ((number ^ COLUMN_DECIMAL_MAGIC_BITS) >> 52) | (column_decimal_pattern(back) ^ bits);
    return number - COLUMN_DECIMAL_MAGIC_BITS;
}

/** Not 0 for an integer that no value has. */
static inline uint64_t column_decimal_outside(uint64_t integer)
{
    return (integer + (1ull << 51)) >> 52;
}

/** The bits of integer / 10^exponent. Of one outside, some bits, which differ between CPUs. */
static inline uint64_t column_decimal_bits(uint64_t integer, struct column_decimal decimal)
{
    double number =
        column_decimal_float(integer + COLUMN_DECIMAL_MAGIC_BITS) - COLUMN_DECIMAL_MAGIC;

    return column_decimal_pattern(column_decimal_divide(number, decimal));
}

#endif
