#include "client/cli_size.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { UNITS = 5 };

static const char *const units[UNITS] = {"B", "KiB", "MiB", "GiB", "TiB"};

bool cli_size_parse(const char *text, uint64_t *ret_bytes)
{
    const char *at = text;
    uint64_t bytes = 0;
    unsigned unit = 0;

    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(bytes, UINT64_C(10), &bytes) ||
            __builtin_add_overflow(bytes, (uint64_t)(*at - '0'), &bytes))
            return false;
    if (at == text)
        return false;
    while (*at != '\0' && unit < UNITS && strcmp(at, units[unit]) != 0)
        unit++;
    if (unit == UNITS ||
        __builtin_mul_overflow(bytes, UINT64_C(1) << (*at == '\0' ? 0 : 10 * unit), &bytes) ||
        bytes > INT64_MAX)
        return false;
    *ret_bytes = bytes;
    return true;
}

void cli_size_format(uint64_t bytes, char out[CLI_SIZE_SIZE])
{
    double amount = (double)bytes;
    size_t unit = 0;

    while (amount >= 1024 && unit < UNITS - 1) {
        amount /= 1024;
        unit++;
    }
    snprintf(out, CLI_SIZE_SIZE, unit ? "%.1f %s" : "%.0f %s", amount, units[unit]);
}
