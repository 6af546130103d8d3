#include <criterion/criterion.h>

#include "client/cli_size.h"

Test(cli_size, reads_what_people_write)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {{"0", 0},
                {"512", 512},
                {"7B", 7},
                {"512KiB", 512 << 10},
                {"10GiB", UINT64_C(10) << 30},
                {"3TiB", UINT64_C(3) << 40},
                {"9223372036854775807", INT64_MAX}};
    static const char *const bad[] = {"",
                                      "GiB",
                                      "-1",
                                      "1.5GiB",
                                      "10 GiB",
                                      "10gib",
                                      "10GB",
                                      "9000000TiB",
                                      "10GiBs",
                                      " 1",
                                      "9223372036854775808",
                                      "99999999999999999999"};
    uint64_t bytes = 42;

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        cr_assert(cli_size_parse(good[i].text, &bytes), "%s", good[i].text);
        cr_assert_eq(bytes, good[i].bytes, "%s", good[i].text);
    }
    bytes = 42;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_not(cli_size_parse(bad[i], &bytes), "%s", bad[i]);
    cr_assert_eq(bytes, 42);
}

Test(cli_size, writes_what_people_read)
{
    char text[CLI_SIZE_SIZE];

    cli_size_format(512, text);
    cr_assert_str_eq(text, "512 B");
    cli_size_format(UINT64_C(3) << 29, text);
    cr_assert_str_eq(text, "1.5 GiB");
    cli_size_format(UINT64_C(2048) << 40, text);
    cr_assert_str_eq(text, "2048.0 TiB");
}
