/*
 * catalog_values.h - a sorted list of texts, front-coded: the values of one label in a run.
 *
 *     block   varint size, text | varint shared, varint more, text | ...     1 << shift values
 *     index   u32 offset of each block
 *
 * A value's *rank* is its position. Neighbours share much, so a value of 15 bytes takes about 4;
 * short lists are not front-coded (shift 0), so that their values are found in one step.
 *
 * TRUST    The bytes come from a file. Whatever they hold, every function stays inside them; what
 *          does not fit together is a value that is not there.
 * Thread   Any: nothing is written.
 */
#ifndef STORAGE_CATALOG_VALUES_H
#define STORAGE_CATALOG_VALUES_H

#include <stdbool.h>

#include "storage/base/types.h"

enum {
    CATALOG_VALUES_SHIFT = 3,        /* Of long lists: a value is at most eight steps away. */
    CATALOG_VALUES_PLAIN_MAX = 1024, /* Longer lists are front-coded. */
};

struct catalog_values {
    const uint8_t *blocks; /* Borrowed, as `index`. */
    uint64_t size;         /* Bytes of the blocks. */
    const uint8_t *index;  /* u32 each, not aligned. */
    uint32_t count;        /* Values. */
    uint32_t shift;
};

/** One walk over a list, in order. */
struct catalog_values_walk {
    const struct catalog_values *values; /* Borrowed. */
    const uint8_t *at, *end;             /* In the current block. */
    uint32_t next;                       /* Rank of the next value. */
    uint32_t size;                       /* Bytes of the last one. */
    char text[NAME_SIZE_MAX];
};

/** Blocks of a list of so many values. */
static inline uint32_t catalog_values_blocks(uint32_t count, uint32_t shift)
{
    return (uint32_t)(((uint64_t)count + (1u << shift) - 1) >> shift);
}

/** The next value will be the one of rank `rank`. */
void catalog_values_seek(struct catalog_values_walk *walk, const struct catalog_values *values,
                         uint32_t rank);
/** The next value, borrowed until the next call. False at the end, and where bytes are wrong. */
bool catalog_values_next(struct catalog_values_walk *walk, struct slice *ret_value);

/** A value; its data is NULL if there is none. Borrowed from the list or from `walk`. */
struct slice catalog_values_get(const struct catalog_values *values, uint32_t rank,
                                struct catalog_values_walk *walk);

/** Begin to fetch what catalog_values_get() will look at: where the value stands; `deep`, when that
 * has come: the value. */
void catalog_values_prefetch(const struct catalog_values *values, uint32_t rank, bool deep);

/** The first rank whose value is not less than `text`: count if there is none. */
uint32_t catalog_values_lower_bound(const struct catalog_values *values, struct slice text,
                                    struct catalog_values_walk *walk);

/** As memcmp(): bytes, then the shorter one first. */
int catalog_values_compare(struct slice a, struct slice b);

#endif
