/*
 * aggregate_order.h - which of two values is the minimum or maximum. Private to aggregate*.c.
 *
 *     NaN (replaces nothing, anything replaces it)    -inf ... -0.0  0.0 ... inf
 */
#ifndef STORAGE_AGGREGATE_ORDER_H
#define STORAGE_AGGREGATE_ORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/base/types.h"
#include "storage/block/query.h"

/** Bits of any type but strings, mapped so that they compare as unsigned numbers. */
static inline uint64_t aggregate_order(enum field_type type, uint64_t bits)
{
    const uint64_t sign = 1ull << 63;

    if (type == FIELD_FLOAT)
        return (bits & sign) != 0 ? ~bits : bits | sign;
    return type == FIELD_INT ? bits ^ sign : bits;
}

static inline bool aggregate_order_nan(uint64_t bits)
{
    return (bits & ~(1ull << 63)) > 0x7ff0000000000000;
}

/** Whether `a` replaces `b` as minimum or maximum. */
static inline bool aggregate_order_better(enum query_agg agg, enum field_type type, uint64_t a,
                                          uint64_t b)
{
    if (type == FIELD_FLOAT && (aggregate_order_nan(a) || aggregate_order_nan(b)))
        return !aggregate_order_nan(a);
    a = aggregate_order(type, a);
    b = aggregate_order(type, b);
    return agg == QUERY_MIN ? a < b : a > b;
}

#endif
