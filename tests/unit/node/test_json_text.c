/*
 * JSON strings: whatever comes in, what goes out is one valid string.
 */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "node/json_text.h"
#include "tests/support/seed.h"

static void assert_text(const char *text, size_t size, const char *expected)
{
    struct bytes out = {0};

    json_text_put(&out, (struct slice){text, size});
    bytes_put_u8(&out, 0);
    cr_assert_str_eq((const char *)out.data, expected);
    bytes_fini(&out);
}

Test(json_text, escapes_what_json_cannot_hold)
{
    assert_text("", 0, "\"\"");
    assert_text("plain", 5, "\"plain\"");
    assert_text("a\"b\\c", 5, "\"a\\\"b\\\\c\"");
    assert_text("a\nb\tc\0d", 7, "\"a\\nb\\u0009c\\u0000d\"");
    assert_text("\x7f", 1, "\"\\u007f\"");
    assert_text("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", 9,
                "\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80\"");
}

Test(json_text, replaces_what_is_no_utf8)
{
#define GONE "\xef\xbf\xbd"
    assert_text("\xff", 1, "\"" GONE "\"");
    assert_text("a\xc3", 2, "\"a" GONE "\"");                          /* Cut short. */
    assert_text("\xc0\xaf", 2, "\"" GONE GONE "\"");                   /* Overlong. */
    assert_text("\xe0\x80\xaf", 3, "\"" GONE GONE GONE "\"");          /* Overlong. */
    assert_text("\xed\xa0\x80", 3, "\"" GONE GONE GONE "\"");          /* Surrogate. */
    assert_text("\xf4\x90\x80\x80", 4, "\"" GONE GONE GONE GONE "\""); /* Beyond U+10FFFF. */
    assert_text("\xe2\x82(", 3, "\"" GONE GONE "(\"");
}

Test(json_text, tells_how_much_is_utf8)
{
    cr_assert_eq(json_text_valid((struct slice){"", 0}), 0);
    cr_assert_eq(json_text_valid((struct slice){"plain", 5}), 5);
    cr_assert_eq(json_text_valid((struct slice){"a\xe2\x82\xac", 4}), 4);
    cr_assert_eq(json_text_valid((struct slice){"a\xe2\x82", 3}), 1);
    cr_assert_eq(json_text_valid((struct slice){"\xff"
                                                "a",
                                                2}),
                 0);
}

Test(json_text, is_always_json)
{
    uint64_t seed = seed_of_run("json_text");

    for (int round = 0; round < 20000; round++) {
        char text[24];
        size_t size = seed_below(&seed, sizeof text);
        struct bytes out = {0};
        json_error_t error;
        json_t *json;

        for (size_t i = 0; i < size; i++)
            text[i] = (char)(seed_next(&seed) >> (seed_next(&seed) & 3) * 8);
        bytes_put_u8(&out, '[');
        json_text_put(&out, (struct slice){text, size});
        bytes_put_u8(&out, ']');
        json = json_loadb((const char *)out.data, out.size, JSON_ALLOW_NUL, &error);
        cr_assert_not_null(json, "%s: %.*s", error.text, (int)out.size, (const char *)out.data);
        json_decref(json);
        bytes_fini(&out);
    }
}
