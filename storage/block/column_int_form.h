/*
 * column_int_form.h - the first byte of a chunk of integers, and what else its writer and its
 * reader agree on. Private to column_int*.c.
 */
#ifndef STORAGE_BLOCK_COLUMN_INT_FORM_H
#define STORAGE_BLOCK_COLUMN_INT_FORM_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/block/lanes.h"

enum {
    COLUMN_INT_ORDER = 3,
    COLUMN_INT_PATCHED = 4,
    COLUMN_INT_LANES = 8,
    COLUMN_INT_DENSE = 16, /* In lanes, five in a byte; the width is said to be this: */
    COLUMN_INT_DENSE_WIDTH = 2,
};

/** First numbers that are not packed. */
static inline uint32_t column_int_skipped(unsigned order, bool in_lanes)
{
    return in_lanes || order == LANES_LINE ? 0 : order;
}

/** Where a line is, from slope times place: a signed shift. */
static inline uint64_t column_int_line(uint64_t position)
{
    const uint64_t top = 1ull << 63;

    return ((position ^ top) >> LANES_SLOPE_BITS) - (top >> LANES_SLOPE_BITS);
}

#endif
