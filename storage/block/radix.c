#include "storage/block/radix.h"

#include <string.h>

enum { SMALL = 48 }; /* Below this, clearing the counts would cost more than comparing. */

static void insertion_sort(const uint64_t *keys, uint32_t count, uint32_t *order)
{
    for (uint32_t i = 1; i < count; i++) {
        uint32_t moved = order[i];
        uint32_t at = i;

        for (; at > 0 && keys[order[at - 1]] > keys[moved]; at--)
            order[at] = order[at - 1];
        order[at] = moved;
    }
}

static void sort_by_byte(const uint64_t *keys, uint32_t count, unsigned shift, const uint32_t *from,
                         uint32_t *to)
{
    uint32_t starts[256] = {0};
    uint32_t start = 0;

    for (uint32_t i = 0; i < count; i++)
        starts[keys[i] >> shift & 0xff]++;
    for (uint32_t digit = 0; digit < 256; digit++) {
        uint32_t of_digit = starts[digit];

        starts[digit] = start;
        start += of_digit;
    }
    for (uint32_t i = 0; i < count; i++)
        to[starts[keys[from[i]] >> shift & 0xff]++] = from[i];
}

void radix_sort(const uint64_t *keys, uint32_t count, uint32_t *order, uint32_t *spare)
{
    uint32_t *from = order, *to = spare;
    uint64_t varying = 0;

    if (count < SMALL) {
        insertion_sort(keys, count, order);
        return;
    }
    for (uint32_t i = 1; i < count; i++)
        varying |= keys[i] ^ keys[0];
    for (unsigned shift = 0; shift < 64; shift += 8) {
        uint32_t *swap = from;

        if ((varying >> shift & 0xff) == 0)
            continue;
        sort_by_byte(keys, count, shift, from, to);
        from = to;
        to = swap;
    }
    if (from != order)
        memcpy(order, from, count * sizeof *order);
}
