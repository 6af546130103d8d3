#include "client/wire/decimal.h"

#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

__extension__ typedef unsigned __int128 uint128;

enum {
    POWER_MAX = 19,       /* 10^19 is the last power of ten in 64 bits. */
    EXPONENT_CAP = 99999, /* Beyond any float64; keeps the sums below in range. */
    MANTISSA_BITS = 53,
};

static const uint64_t powers[POWER_MAX + 1] = {
    1u,
    10u,
    100u,
    1000u,
    10000u,
    100000u,
    1000000u,
    10000000u,
    100000000u,
    1000000000u,
    10000000000u,
    100000000000u,
    1000000000000u,
    10000000000000u,
    100000000000000u,
    1000000000000000u,
    10000000000000000u,
    100000000000000000u,
    1000000000000000000u,
    10000000000000000000u,
};

/* ---- Reading ------------------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/* How many of eight bytes, from the first, are digits. A byte below 10 after the exclusive or is
 * one; the addition sets bit 7 of the others and carries nothing into a neighbour. */
static unsigned leading_digits(uint64_t word)
{
    uint64_t off = word ^ 0x3030303030303030u;
    uint64_t others = ((off & 0x7f7f7f7f7f7f7f7fu) + 0x7676767676767676u) | off;

    others &= 0x8080808080808080u;
    return others == 0 ? 8 : (unsigned)__builtin_ctzll(others) / 8;
}

/* Eight ASCII digits (or zero bytes) as a number. Each step joins neighbours: digits to pairs,
 * pairs to fours, fours to one. */
static uint32_t eight_value(uint64_t word)
{
    word = (word & 0x0f0f0f0f0f0f0f0fu) * 2561 >> 8;
    word = (word & 0x00ff00ff00ff00ffu) * 6553601 >> 16;
    return (uint32_t)((word & 0x0000ffff0000ffffu) * 42949672960001u >> 32);
}

/* Digits from `at` join `*mantissa`, which wraps if there are too many of them. */
static inline const char *read_digits(const char *at, const char *end, uint64_t *mantissa)
{
    uint64_t value = *mantissa;

    while (end - at >= 8) {
        uint64_t word;
        unsigned count;

        memcpy(&word, at, sizeof word);
        count = leading_digits(word);
        if (count > 0)
            value = value * powers[count] + eight_value(word << (64 - 8 * count));
        at += count;
        if (count < 8) {
            *mantissa = value;
            return at;
        }
    }
    while (at < end && is_digit(*at))
        value = value * 10 + (uint64_t)(*at++ - '0');
    *mantissa = value;
    return at;
}

/* The part after e or E. NULL if it has no digits. */
static const char *read_exponent(const char *at, const char *end, int32_t *ret_exponent)
{
    bool negative = false;
    int32_t value = 0;
    const char *digits;

    if (at < end && (*at == '-' || *at == '+'))
        negative = *at++ == '-';
    for (digits = at; at < end && is_digit(*at); at++) {
        if (value < EXPONENT_CAP)
            value = value * 10 + (*at - '0');
    }
    *ret_exponent = negative ? -value : value;
    return at == digits ? NULL : at;
}

/* Do the digits of a number with `count` of them, leading zeros included, fit the mantissa? */
static bool mantissa_fits(const char *at, const char *end, size_t count)
{
    uint64_t value = 0;

    if (count <= 19)
        return true;
    for (; at < end && (is_digit(*at) || *at == '.'); at++) {
        if (*at == '.')
            continue;
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
            return false;
    }
    return true;
}

const char *decimal_read(const char *at, const char *end, struct decimal *ret_decimal)
{
    const char *text = at;
    const char *digits;
    size_t count;
    uint64_t mantissa = 0;
    int32_t exponent = 0;
    bool negative = at < end && *at == '-';
    bool fraction = false;

    at += negative;
    digits = at;
    at = read_digits(at, end, &mantissa);
    count = (size_t)(at - digits);
    if (at < end && *at == '.') {
        const char *point = at;

        at = read_digits(at + 1, end, &mantissa);
        fraction = true;
        exponent = at - point > EXPONENT_CAP ? -EXPONENT_CAP : (int32_t)(point + 1 - at);
        count += (size_t)(at - point - 1);
    }
    if (count == 0)
        return NULL;
    ret_decimal->exact = mantissa_fits(digits, at, count);
    if (at < end && (*at == 'e' || *at == 'E')) {
        int32_t power;

        at = read_exponent(at + 1, end, &power);
        if (at == NULL)
            return NULL;
        fraction = true;
        exponent += power;
    }
    if (at - text > DECIMAL_SIZE_MAX)
        ret_decimal->exact = false; /* Its exponent may have been capped. */
    ret_decimal->mantissa = mantissa;
    ret_decimal->exponent = exponent;
    ret_decimal->negative = negative;
    ret_decimal->fraction = fraction;
    ret_decimal->text = text;
    ret_decimal->end = at;
    return at;
}

/* ---- Converting ---------------------------------------------------------------------------- */

/* 2^power, which is a normal number. */
static double power_of_two(int power)
{
    uint64_t bits = (uint64_t)(power + 1023) << (MANTISSA_BITS - 1);
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The nearest double to (bits + something below 1 if `sticky`) * 2^power; bits is not 0. Adding
 * half of what is cut, less one where the rest is even and nothing follows, rounds to even. */
static double round_bits(uint128 bits, bool sticky, int power)
{
    uint64_t high = (uint64_t)(bits >> 64);
    int width = high != 0 ? 128 - __builtin_clzll(high) : 64 - __builtin_clzll((uint64_t)bits);
    int cut = width - MANTISSA_BITS;
    uint64_t kept;

    if (cut <= 0)
        return (double)(uint64_t)bits * power_of_two(power); /* Exact. A quotient is cut. */
    kept = (uint64_t)(bits >> cut);
    if ((bits >> (cut - 1)) & 1) {
        uint128 below = bits & (((uint128)1 << (cut - 1)) - 1);

        kept += sticky || below != 0 || (kept & 1) != 0;
    }
    return (double)kept * power_of_two(power + cut);
}

/* mantissa * 10^exponent, correctly rounded: a whole 128-bit product, or a quotient of 64 bits
 * and more with its remainder as the sticky bit. */
static double scale(uint64_t mantissa, int32_t exponent)
{
    uint64_t power = powers[exponent < 0 ? -exponent : exponent];

    if (mantissa == 0)
        return 0;
    /* Both are exact as double, 10^19 being 5^19 * 2^19: one operation rounds once. */
    if (mantissa >> MANTISSA_BITS == 0)
        return exponent < 0 ? (double)mantissa / (double)power : (double)mantissa * (double)power;
    if (exponent >= 0)
        return round_bits((uint128)mantissa * power, false, 0);

    {
        int shift = __builtin_clzll(mantissa) + 64;
        uint128 dividend = (uint128)mantissa << shift;

        return round_bits(dividend / power, dividend % power != 0, -shift);
    }
}

static locale_t c_locale;

static void make_c_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* The rare rest. strtod() needs a NUL, and would follow the program's locale. */
static bool library_float(const struct decimal *decimal, double *ret_value)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    char text[DECIMAL_SIZE_MAX + 1];
    size_t size = (size_t)(decimal->end - decimal->text);
    double value;

    if (size > DECIMAL_SIZE_MAX)
        return false;
    (void)pthread_once(&once, make_c_locale);
    memcpy(text, decimal->text, size);
    text[size] = '\0';
    value = c_locale != (locale_t)0 ? strtod_l(text, NULL, c_locale) : strtod(text, NULL);
    if (isinf(value))
        return false;
    *ret_value = value;
    return true;
}

bool decimal_to_float(const struct decimal *decimal, double *ret_value)
{
    double value;

    if (!decimal->exact || decimal->exponent < -POWER_MAX || decimal->exponent > POWER_MAX)
        return library_float(decimal, ret_value);
    value = scale(decimal->mantissa, decimal->exponent);
    *ret_value = decimal->negative ? -value : value;
    return true;
}

bool decimal_to_int(const struct decimal *decimal, int64_t *ret_value)
{
    uint64_t max = (uint64_t)INT64_MAX + decimal->negative;

    if (decimal->fraction || !decimal->exact || decimal->mantissa > max)
        return false;
    *ret_value = decimal->negative ? (int64_t)(0 - decimal->mantissa) : (int64_t)decimal->mantissa;
    return true;
}

bool decimal_to_uint(const struct decimal *decimal, uint64_t *ret_value)
{
    if (decimal->fraction || !decimal->exact || decimal->negative)
        return false;
    *ret_value = decimal->mantissa;
    return true;
}
