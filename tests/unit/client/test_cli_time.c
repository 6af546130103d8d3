/*
 * Times and durations as people write them.
 */
#include <criterion/criterion.h>

#include "client/cli_time.h"
#include "tests/support/seed.h"

#define S INT64_C(1000000000)

static const int64_t now_ns = 1700000000 * S;

Test(cli_time, takes_all_forms_of_a_time)
{
    static const struct {
        const char *text;
        int64_t time_ns;
    } good[] = {
        {"now", 1700000000 * S},
        {"-15m", (1700000000 - 900) * S},
        {"now-1h30m", (1700000000 - 5400) * S},
        {"now+1d", (1700000000 + 86400) * S},
        {"1970-01-01", 0},
        {"2023-11-14T22:13:20Z", 1700000000 * S},
        {"2023-11-14 22:13:20Z", 1700000000 * S},
        {"2023-11-14T23:13:20.5+01:00", 1700000000 * S + S / 2},
        {"2023-11-14T17:43:20.000000001-04:30", 1700000000 * S + 1},
        {"1969-12-31T23:59:59.999999999Z", -1},
        {"2024-02-29", 1709164800 * S},
        {"1700000000s", 1700000000 * S},
        {"1700000000123ms", 1700000000 * S + 123000000},
        {"1700000000000000123ns", 1700000000 * S + 123},
        {"0ns", 0},
    };

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        int64_t time_ns = 42;

        cr_assert(cli_time_parse(good[i].text, now_ns, &time_ns), "%s", good[i].text);
        cr_assert_eq(time_ns, good[i].time_ns, "%s", good[i].text);
    }
}

Test(cli_time, refuses_what_is_no_time_or_out_of_range)
{
    static const char *const bad[] = {
        "",
        "yesterday",
        "1700000000",
        "2023-02-29",
        "2023-13-01",
        "2023-1-1",
        "2023-11-14T22:13Z",
        "2023-11-14T22:13:20",
        "2023-11-14T25:00:00Z",
        "-",
        "-15",
        "now15m",
        "now-",
        "-15m3",
        "9999-01-01",
        "1500-01-01",
        "10000000000s",
        "2023-11-14T22:13:20ZZ",
        "-1y",
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int64_t time_ns = 42;

        cr_assert_not(cli_time_parse(bad[i], now_ns, &time_ns), "\"%s\" was taken", bad[i]);
    }
}

Test(cli_time, takes_durations_of_several_parts)
{
    int64_t ns;

    cr_assert(cli_time_parse_duration("100ms", &ns));
    cr_assert_eq(ns, S / 10);
    cr_assert(cli_time_parse_duration("1w2d3h4m5s6ms7us8ns", &ns));
    cr_assert_eq(ns, ((((7 + 2) * 24 + 3) * 60 + 4) * 60 + 5) * S + 6007008);
    cr_assert_not(cli_time_parse_duration("0s", &ns));
    cr_assert_not(cli_time_parse_duration("-1s", &ns));
    cr_assert_not(cli_time_parse_duration("1", &ns));
    cr_assert_not(cli_time_parse_duration("", &ns));
    cr_assert_not(cli_time_parse_duration("100000d9999999d", &ns));
}

Test(cli_time, shows_only_the_digits_that_a_time_has)
{
    char text[CLI_TIME_SIZE];

    cli_time_format(1700000000 * S, text);
    cr_assert_str_eq(text, "2023-11-14T22:13:20Z");
    cli_time_format(1700000000 * S + 120000000, text);
    cr_assert_str_eq(text, "2023-11-14T22:13:20.12Z");
    cli_time_format(-1, text);
    cr_assert_str_eq(text, "1969-12-31T23:59:59.999999999Z");
    cli_time_format(INT64_MAX, text);
    cr_assert_str_eq(text, "2262-04-11T23:47:16.854775807Z");
    cli_time_format(INT64_MIN, text);
    cr_assert_str_eq(text, "1677-09-21T00:12:43.145224192Z");
}

Test(cli_time, reads_back_what_it_wrote)
{
    uint64_t state = seed_of_run("cli_time");

    for (int i = 0; i < 10000; i++) {
        int64_t time_ns = (int64_t)seed_next(&state), back;
        char text[CLI_TIME_SIZE];

        if (time_ns < INT64_MIN + S)
            continue; /* Its whole second is before what 64 bits can say. */
        cli_time_format(time_ns, text);
        cr_assert(cli_time_parse(text, 0, &back), "%s", text);
        cr_assert_eq(back, time_ns, "%s", text);
    }
}
