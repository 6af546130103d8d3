/*
 * decimal.h - decimal text to the nearest float64 or to an integer, whatever the locale.
 *
 *     -12.50e3  ->  negative, mantissa 1250, exponent 1, fraction
 *
 * Reading and converting are apart, because a suffix (12i, 12u) decides the type after the digits
 * were read. Up to 19 digits with a power of ten within +-19 are exact in 128-bit integers, which
 * covers what machines print; the C library does the rest.
 */
#ifndef CLIENT_WIRE_DECIMAL_H
#define CLIENT_WIRE_DECIMAL_H

#include <stdbool.h>
#include <stdint.h>

enum { DECIMAL_SIZE_MAX = 800 }; /* Bytes of a number; the longest exact float64 has 767 digits. */

struct decimal {
    uint64_t mantissa; /* All digits as one number, if `exact`. */
    int32_t exponent;  /* Value = mantissa * 10^exponent; 0 unless `fraction`. */
    bool negative;
    bool fraction;    /* It had a dot or an exponent: not an integer. */
    bool exact;       /* The digits fit the mantissa, the exponent is small. */
    const char *text; /* Borrowed: where it starts and ends. */
    const char *end;
};

/**
 * Read [-]digits[.digits][e[+-]digits] as far as it goes; a dot needs a digit on one side.
 *
 * Returns the byte after it, or NULL if there is no number at `at`.
 */
const char *decimal_read(const char *at, const char *end, struct decimal *ret_decimal);

/** False if it is beyond float64's range or longer than DECIMAL_SIZE_MAX. Too small is 0. */
bool decimal_to_float(const struct decimal *decimal, double *ret_value);
/** False if it had a fraction or is out of range. */
bool decimal_to_int(const struct decimal *decimal, int64_t *ret_value);
/** False if it had a fraction, a minus sign, or is out of range. */
bool decimal_to_uint(const struct decimal *decimal, uint64_t *ret_value);

#endif
