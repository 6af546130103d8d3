/*
 * clk.h - the three clocks, each for one purpose.
 *
 *   clk_now_ns     steady, for durations and deadlines. Never compared between machines.
 *   clk_coarse_ms  the same clock, up to 4 ms behind but five times cheaper: once a turn of a loop.
 *   clk_wall_ns    the time of day, for what users see and for rows without a time. May jump.
 *
 * Any thread. About 30, 6 and 30 ns a call: never once a point.
 */
#ifndef STORAGE_BASE_CLK_H
#define STORAGE_BASE_CLK_H

#include <stdint.h>

#define NS_PER_S  INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_US INT64_C(1000)

/** Nanoseconds since some time in the past. Never goes back. */
uint64_t clk_now_ns(void);

/** Milliseconds on the scale of clk_now_ns(), never ahead of it. */
uint64_t clk_coarse_ms(void);

/** Nanoseconds since 1970 UTC. */
int64_t clk_wall_ns(void);

#endif
