/*
 * lanes_extremes.h - the greatest number of each of many short runs. Private to lanes_kernels.c,
 * which is compiled for each level of CPU.
 *
 * Each number becomes the greatest of itself and those behind it, 2, 4, then 8 of them; a run is
 * covered by two such windows, or, if it is long, by one every 8 places:
 *
 *     numbers        3 1 4 1 5 9
 *     windows of 2   3 4 4 5 9
 *     windows of 4   4 5 9              those at the first number and at the third cover all six
 */
#ifndef STORAGE_BLOCK_LANES_EXTREMES_H
#define STORAGE_BLOCK_LANES_EXTREMES_H

#include "storage/block/lanes.h"
#include "storage/block/lanes_registers.h"

INLINE int64_t lesser_one(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

INLINE int64_t greater_one(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Windows become twice as wide. */
INLINE void widen(uint64_t *windows, uint32_t count, uint32_t width)
{
    for (uint32_t i = 0; i + width < count; i++)
        windows[i] = (uint64_t)greater_one((int64_t)windows[i], (int64_t)windows[i + width]);
}

INLINE uint64_t greatest_of_run(const uint64_t *windows, const struct lanes_run *run,
                                uint32_t width)
{
    int64_t greatest = (int64_t)windows[run->end - width];

    for (uint32_t i = run->first; i + width < run->end; i += width)
        greatest = greater_one(greatest, (int64_t)windows[i]);
    return (uint64_t)greatest;
}

static void find_extremes(uint64_t *numbers, uint32_t count, uint64_t flip,
                          const struct lanes_run *runs, uint32_t run_count, uint64_t *ret_extremes)
{
    unsigned widths = 0;

    for (uint32_t i = 0; i < run_count; i++)
        widths |= runs[i].window;
    for (uint32_t i = 0; i < count && flip != 0; i++)
        numbers[i] ^= flip;
    for (unsigned width = 1; width <= widths; width *= 2) {
        if (width == 2)
            widen(numbers, count, 1);
        else if (width == 4)
            widen(numbers, count, 2);
        else if (width == LANES_WINDOW_MAX)
            widen(numbers, count, LANES_WINDOW_MAX / 2);
        for (uint32_t i = 0; i < run_count && (widths & width) != 0; i++)
            if (runs[i].window == width)
                ret_extremes[i] = greatest_of_run(numbers, &runs[i], width) ^ flip;
    }
}

#endif
