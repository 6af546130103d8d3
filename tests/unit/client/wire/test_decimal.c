/*
 * Decimal text: the same float64 as the C library reads, to the bit, and exact integer bounds.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/decimal.h"
#include "tests/support/seed.h"

static struct decimal read_all(const char *text)
{
    struct decimal decimal;
    const char *after = decimal_read(text, text + strlen(text), &decimal);

    cr_assert_not_null(after, "%s", text);
    cr_assert_eq(*after, '\0', "%s: stopped at %s", text, after);
    return decimal;
}

static void assert_like_the_library(const char *text)
{
    struct decimal decimal = read_all(text);
    double expected = strtod(text, NULL);
    double value = 0;

    cr_assert(decimal_to_float(&decimal, &value), "%s", text);
    cr_assert_eq(memcmp(&value, &expected, sizeof value), 0, "%s: %a, not %a", text, value,
                 expected);
}

Test(decimal, reads_floats_at_the_edges_of_every_path)
{
    static const char *const texts[] = {
        "0",
        "-0",
        "0.0",
        "-0.0e5",
        "1",
        "1.",
        ".5",
        "-.5",
        "00001.50",
        "9007199254740991",
        "9007199254740992",
        "9007199254740993",
        "9007199254740995",
        "90071992547409930000",
        "0.9007199254740993",
        "99.12345678901234",
        "1844674407370955161.5",
        "18446744073709551615",
        "18446744073709551616",
        "1844674407370955161600000",
        "1e19",
        "1e-19",
        "1e20",
        "1e22",
        "1e23",
        "1e-20",
        "123456789012345678e19",
        "9999999999999999999e-19",
        "4503599627370496.5",
        "4503599627370497.5",
        "1.7976931348623157e308",
        "2.2250738585072014e-308",
        "4.9e-324",
        "1e-400",
        "0e999999999999",
        "8.5e+2",
        "8E2",
        "0.000000000000000000000000000001",
        "123456789.123456789123456789123456789",
        "2.2250738585072011360574097967091319759348195463516456e-308",
    };

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        assert_like_the_library(texts[i]);
}

Test(decimal, reads_random_floats_as_the_library_does)
{
    uint64_t seed = seed_of_run("decimal");

    for (int i = 0; i < 300000; i++) {
        uint64_t bits = seed_next(&seed);
        char text[64];
        double value;

        if (i % 3 == 0) { /* Any bit pattern, as 17 digits and an exponent. */
            memcpy(&value, &bits, sizeof value);
            if (value != value || value - value != 0)
                continue;
            (void)snprintf(text, sizeof text, "%.*g", 1 + (int)(bits % 17), value);
        } else { /* Digits and a small exponent: the way of machines. */
            (void)snprintf(text, sizeof text, "%s%" PRIu64 "%s%" PRIu64, bits & 1 ? "-" : "",
                           seed_next(&seed) >> (bits >> 58), bits & 2 ? "." : "e-",
                           bits & 2 ? seed_next(&seed) >> (8 + bits % 56) : bits >> 4 & 31);
        }
        if (!isinf(strtod(text, NULL))) /* Rounded up to one digit, the largest are too large. */
            assert_like_the_library(text);
    }
}

Test(decimal, refuses_what_is_no_number)
{
    static const char *const texts[] = {"",    "-", ".", "-.",  "e5",  "+1",  "1e",
                                        "1e+", "x", "i", "NaN", "inf", "-e1", ".e1"};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct decimal decimal;

        cr_assert_null(decimal_read(texts[i], texts[i] + strlen(texts[i]), &decimal), "%s",
                       texts[i]);
    }
}

Test(decimal, stops_where_the_number_does)
{
    const char *text = "12.5.1";
    struct decimal decimal;

    cr_assert_eq(decimal_read(text, text + 6, &decimal), text + 4);
    cr_assert_eq(decimal_read(text, text + 2, &decimal), text + 2);
    cr_assert_not(decimal.fraction);
}

Test(decimal, refuses_floats_beyond_the_range)
{
    double value;
    struct decimal big = read_all("1e309"), small = read_all("-1.8e308");

    cr_assert_not(decimal_to_float(&big, &value));
    cr_assert_not(decimal_to_float(&small, &value));
}

Test(decimal, refuses_a_text_longer_than_its_limit)
{
    char text[DECIMAL_SIZE_MAX + 2];
    struct decimal decimal;
    double value;

    memset(text, '0', sizeof text);
    text[sizeof text - 1] = '\0';
    decimal = read_all(text);
    cr_assert_not(decimal_to_float(&decimal, &value));
    decimal = read_all(text + 1);
    cr_assert(decimal_to_float(&decimal, &value));
    cr_assert_eq(value, 0);
}

Test(decimal, knows_the_bounds_of_integers)
{
    static const struct {
        const char *text;
        bool is_int, is_uint;
    } cases[] = {
        {"9223372036854775807", true, true},
        {"9223372036854775808", false, true},
        {"-9223372036854775808", true, false},
        {"-9223372036854775809", false, false},
        {"18446744073709551615", false, true},
        {"18446744073709551616", false, false},
        {"000000000000000000000000000000000017", true, true},
        {"99999999999999999999", false, false},
        {"100000000000000000000000000000", false, false},
        {"-0", true, false},
        {"1.0", false, false},
        {"1e3", false, false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct decimal decimal = read_all(cases[i].text);
        int64_t integer;
        uint64_t natural;

        cr_assert_eq(decimal_to_int(&decimal, &integer), cases[i].is_int, "%s", cases[i].text);
        cr_assert_eq(decimal_to_uint(&decimal, &natural), cases[i].is_uint, "%s", cases[i].text);
        if (cases[i].is_int)
            cr_assert_eq(integer, strtoll(cases[i].text, NULL, 10), "%s", cases[i].text);
        if (cases[i].is_uint)
            cr_assert_eq(natural, strtoull(cases[i].text, NULL, 10), "%s", cases[i].text);
    }
}
