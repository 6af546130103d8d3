#include "storage/base/clk.h"

#include <time.h>

#include "storage/base/check.h"

static struct timespec read_clock(clockid_t id)
{
    struct timespec now;

    CHECK(clock_gettime(id, &now) == 0); /* Fails for clocks that do not exist: ours do. */
    return now;
}

uint64_t clk_now_ns(void)
{
    struct timespec now = read_clock(CLOCK_MONOTONIC);

    return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

uint64_t clk_coarse_ms(void)
{
    struct timespec now = read_clock(CLOCK_MONOTONIC_COARSE);

    return (uint64_t)now.tv_sec * 1000 + (uint64_t)(now.tv_nsec / NS_PER_MS);
}

int64_t clk_wall_ns(void)
{
    struct timespec now = read_clock(CLOCK_REALTIME);

    return now.tv_sec * NS_PER_S + now.tv_nsec;
}
