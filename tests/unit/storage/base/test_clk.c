/*
 * The clocks: their scales and that they do not go back. Nothing here waits for a certain time.
 */
#include <criterion/criterion.h>
#include <time.h>

#include "storage/base/clk.h"

Test(clk, steady_time_never_goes_back)
{
    uint64_t before = clk_now_ns();

    for (int i = 0; i < 100000; i++) {
        uint64_t now = clk_now_ns();

        cr_assert_geq(now, before);
        before = now;
    }
}

Test(clk, the_coarse_clock_is_on_the_same_scale_and_never_ahead)
{
    for (int i = 0; i < 1000; i++) {
        uint64_t coarse_ms = clk_coarse_ms();

        cr_assert_leq(coarse_ms, clk_now_ns() / NS_PER_MS);
    }
}

Test(clk, wall_time_is_in_nanoseconds_since_1970)
{
    int64_t before = time(NULL);
    int64_t now_ns = clk_wall_ns();

    /* time() may be of the last tick; an hour's jump in between is not expected. */
    cr_assert_geq(now_ns / NS_PER_S, before);
    cr_assert_lt(now_ns / NS_PER_S, before + 3600);
}
