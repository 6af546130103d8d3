#include "client/cli_time.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define SECOND INT64_C(1000000000)

enum { FRACTION_DIGITS = 9 };

static const struct {
    const char *name;
    int64_t ns;
} units[] = {
    {"ns", 1},          {"us", 1000},         {"ms", 1000000},           {"s", SECOND},
    {"m", 60 * SECOND}, {"h", 3600 * SECOND}, {"d", 24 * 3600 * SECOND}, {"w", 168 * 3600 * SECOND},
};

int64_t cli_time_now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * SECOND + now.tv_nsec;
}

/* ---- Numbers and units --------------------------------------------------------------------- */

/* Digits at *text, which is moved behind them; at least one, at most `count_max`. */
static bool take_digits(const char **text, unsigned count_max, int64_t *ret_number)
{
    int64_t number = 0;
    unsigned count = 0;

    while (**text >= '0' && **text <= '9' && count < count_max) {
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, **text - '0', &number))
            return false;
        ++*text;
        count++;
    }
    *ret_number = number;
    return count > 0 && !(**text >= '0' && **text <= '9');
}

/* "15m" at *text; fails on anything else and on overflow. */
static bool take_amount(const char **text, int64_t *ret_ns)
{
    int64_t number;
    size_t size = 0;

    if (!take_digits(text, 19, &number))
        return false;
    while ((*text)[size] >= 'a' && (*text)[size] <= 'z')
        size++;
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (strlen(units[i].name) == size && memcmp(units[i].name, *text, size) == 0) {
            *text += size;
            return !__builtin_mul_overflow(number, units[i].ns, ret_ns);
        }
    }
    return false;
}

bool cli_time_parse_duration(const char *text, int64_t *ret_ns)
{
    int64_t total = 0, part;

    do {
        if (!take_amount(&text, &part) || __builtin_add_overflow(total, part, &total))
            return false;
    } while (*text != '\0');
    if (total <= 0)
        return false;
    *ret_ns = total;
    return true;
}

/* ---- Calendar ------------------------------------------------------------------------------ */

static bool take_char(const char **text, const char *allowed)
{
    if (**text == '\0' || !strchr(allowed, **text))
        return false;
    ++*text;
    return true;
}

/* Exactly two digits. */
static bool take_two(const char **text, int64_t *ret_number)
{
    const char *start = *text;

    return take_digits(text, 2, ret_number) && *text == start + 2;
}

/* "YYYY-MM-DD" */
static bool take_date(const char **text, struct tm *tm)
{
    int64_t year, month, day;

    if (!take_digits(text, 4, &year) || !take_char(text, "-") || !take_two(text, &month) ||
        !take_char(text, "-") || !take_two(text, &day) || month < 1 || month > 12 || day < 1 ||
        day > 31)
        return false;
    tm->tm_year = (int)year - 1900;
    tm->tm_mon = (int)month - 1;
    tm->tm_mday = (int)day;
    return true;
}

/* "HH:MM:SS[.fraction]" */
static bool take_clock(const char **text, struct tm *tm, int64_t *ret_ns)
{
    int64_t hour, minute, second, ns = 0;

    if (!take_two(text, &hour) || !take_char(text, ":") || !take_two(text, &minute) ||
        !take_char(text, ":") || !take_two(text, &second) || hour > 23 || minute > 59 ||
        second > 60)
        return false;
    if (take_char(text, ".")) {
        const char *start = *text;

        if (!take_digits(text, FRACTION_DIGITS, &ns))
            return false;
        for (const char *digit = *text; digit < start + FRACTION_DIGITS; digit++)
            ns *= 10;
    }
    tm->tm_hour = (int)hour;
    tm->tm_min = (int)minute;
    tm->tm_sec = (int)second;
    *ret_ns = ns;
    return true;
}

/* "Z" or "+HH:MM": seconds to add to get UTC. */
static bool take_zone(const char **text, int64_t *ret_seconds)
{
    int64_t hours, minutes;
    bool east = **text == '+';

    *ret_seconds = 0;
    if (take_char(text, "Zz"))
        return true;
    if (!take_char(text, "+-") || !take_two(text, &hours) || !take_char(text, ":") ||
        !take_two(text, &minutes) || hours > 23 || minutes > 59)
        return false;
    *ret_seconds = (hours * 60 + minutes) * 60 * (east ? -1 : 1);
    return true;
}

static bool parse_calendar(const char *text, int64_t *ret_ns)
{
    struct tm tm = {0};
    struct tm day;
    int64_t fraction_ns = 0, zone_s = 0, seconds;

    if (!take_date(&text, &tm))
        return false;
    day = tm;
    timegm(&day);
    if (day.tm_mday != tm.tm_mday)
        return false; /* The 31st of a month that has 30 days. */
    if (*text != '\0' && !(take_char(&text, "Tt ") && take_clock(&text, &tm, &fraction_ns) &&
                           take_zone(&text, &zone_s) && *text == '\0'))
        return false;
    seconds = (int64_t)timegm(&tm) + zone_s;
    /* The first second of all begins before there are ns to say so, and ends behind. */
    if (seconds < 0 && fraction_ns > 0) {
        seconds++;
        fraction_ns -= SECOND;
    }
    return !__builtin_mul_overflow(seconds, SECOND, ret_ns) &&
           !__builtin_add_overflow(*ret_ns, fraction_ns, ret_ns);
}

bool cli_time_parse(const char *text, int64_t now_ns, int64_t *ret_ns)
{
    const char *at = text;
    int64_t amount_ns;

    if (strcmp(text, "now") == 0) {
        *ret_ns = now_ns;
        return true;
    }
    if (strncmp(at, "now", 3) == 0)
        at += 3;
    if (*at == '-')
        return cli_time_parse_duration(at + 1, &amount_ns) &&
               !__builtin_sub_overflow(now_ns, amount_ns, ret_ns);
    if (*at == '+')
        return cli_time_parse_duration(at + 1, &amount_ns) &&
               !__builtin_add_overflow(now_ns, amount_ns, ret_ns);
    if (at == text && strlen(text) > 4 && text[4] == '-')
        return parse_calendar(text, ret_ns);
    return at == text && take_amount(&at, ret_ns) && *at == '\0';
}

void cli_time_format(int64_t time_ns, char out[CLI_TIME_SIZE])
{
    int64_t ns = time_ns % SECOND;
    time_t seconds = time_ns / SECOND;
    struct tm tm;
    size_t size;

    if (ns < 0) {
        ns += SECOND;
        seconds--;
    }
    gmtime_r(&seconds, &tm);
    size = strftime(out, CLI_TIME_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    if (ns > 0) {
        size += (size_t)snprintf(out + size, CLI_TIME_SIZE - size, ".%09d", (int)ns);
        while (out[size - 1] == '0')
            size--;
    }
    out[size++] = 'Z';
    out[size] = '\0';
}
