/*
 * column_int.h - integers of 64 bits as few bytes: what every other column is made of in the end.
 *
 * CHUNKS   The values are cut into chunks of COLUMN_CHUNK (the last may be shorter); each chunk is
 *          coded in the way that is shortest for it. `count` is known to the reader beforehand.
 *
 *     order 0..3, +4 if patched, +8 if in lanes, +16 if dense | width 0..64 | [patches] | seeds |
 *     base | packed | [patches]
 *
 *          ORDER   0: the values. 1: differences of neighbours. 2: differences of differences.
 *                  3: distances from a straight line.
 *          SEEDS   1: the value before the first. 2: that, and the difference before. 3: the slope,
 *                  in 2^-16 a place.
 *          BASE    of the residuals: residual = base + packed. Base and seeds are zigzag varints.
 *          PACKED  numbers of `width` bits, one behind the other (pack.h) or in eight lanes
 *                  (lanes.h). Width 0: all are the base.
 *          DENSE   In lanes, numbers from 0 to 2, five in a byte (lanes_dense.h); width says 2.
 *                  Only who asks for it writes it: programs older than it do not know it.
 *          PATCHES varint how many; behind the packed ones for each: varint distance from the
 *                  place behind the patch before it, zigzag varint difference from the base. A
 *                  patched one counts instead of the packed one.
 *
 *          The writer chooses before and base of order 1 and 2 so that the first packed numbers
 *          are 0. One behind the other they are left out; in lanes they are there.
 *
 * All arithmetic is modulo 2^64: signed and unsigned numbers are the same to it.
 */
#ifndef STORAGE_BLOCK_COLUMN_INT_H
#define STORAGE_BLOCK_COLUMN_INT_H

#include <stdbool.h>

#include "storage/base/bytes.h"
#include "storage/block/lanes.h"

enum { COLUMN_CHUNK = 1024 };

/** Append `count` values. */
void column_int_put(const uint64_t *values, uint32_t count, struct bytes *out);
/** The same, with dense chunks where these are shorter. Returns whether there is one. */
bool column_int_put_dense(const uint64_t *values, uint32_t count, struct bytes *out);

/** Read `count` values; sets reader->bad if the bytes hold something else. */
void column_int_get(struct reader *reader, uint32_t count, uint64_t *ret_values);

/** Of `count` values at least `first` to `end` - 1, at their places; the reader stops behind the
 * chunk of the last one. What stands at other places is undefined. */
void column_int_get_some(struct reader *reader, uint32_t count, uint32_t first, uint32_t end,
                         uint64_t *ret_values);

/** Of `count` values the one at `at`: of most chunks without unpacking any other. The reader stops
 * behind its chunk. */
uint64_t column_int_get_one(struct reader *reader, uint32_t count, uint32_t at);
/** Of `count` values the sum, modulo 2^64, of `first` to `end` - 1. The reader stops behind the
 * chunk of the last one. */
uint64_t column_int_get_sum(struct reader *reader, uint32_t count, uint32_t first, uint32_t end);
/** Pass over `count` values. */
void column_int_skip(struct reader *reader, uint32_t count);

/** One chunk: 1 to COLUMN_CHUNK values. */
void column_int_put_chunk(const uint64_t *values, uint32_t count, struct bytes *out);
/** The same, dense if that is shorter. Returns whether it is. */
bool column_int_put_dense_chunk(const uint64_t *values, uint32_t count, struct bytes *out);
void column_int_get_chunk(struct reader *reader, uint32_t count, uint64_t *ret_values);
/** The same, with room for COLUMN_CHUNK: what stands behind the values is undefined. */
void column_int_get_roomy(struct reader *reader, uint32_t count, uint64_t *ret_values);
void column_int_skip_chunk(struct reader *reader, uint32_t count);
uint64_t column_int_get_one_of_chunk(struct reader *reader, uint32_t count, uint32_t at);

/* Of some values of a chunk. The sum has 128 bits, in two's complement. */
struct column_int_totals {
    uint64_t min;
    uint64_t max;
    uint64_t sum_low;
    int64_t sum_high;
};

/**
 * Read one chunk, but for its values only what becomes of values `first` to `end` - 1: at least
 * one. In lanes this takes a third of the time that the values would.
 *
 * has_sign   the values are signed numbers
 */
void column_int_get_totals(struct reader *reader, uint32_t count, uint32_t first, uint32_t end,
                           bool has_sign, struct column_int_totals *ret_totals);

/* Running sums of a chunk, each in one of eight lanes (lanes.h). The first place is for the sum of
 * no value, the next seven are not used. */
struct column_int_sums {
    uint64_t before[8]; /* Sums of the lanes before. */
    _Alignas(
        64) uint64_t inside[8 + COLUMN_CHUNK]; /* Value `row` of `lane`: [8 + row * 8 + lane]. */
};

/**
 * Read one chunk as running sums, if its values are from 0 (signed ones: -2^50) to 2^50 - 1.
 *
 * Returns  false: they are not, or the bytes hold something else (reader->bad)
 */
bool column_int_get_sums(struct reader *reader, uint32_t count, bool has_sign,
                         struct column_int_sums *ret_sums);

/** For column_int_place(): 2^32 / rows of the lanes, rounded up. */
static inline uint32_t column_int_inverse(uint32_t count)
{
    return UINT32_MAX / lanes_rows(count) + 1; /* Exact for quotients below 1024 / 8. */
}

/** Where the sum of the first `end` values of a chunk of `count` stands, in all columns. */
static inline uint16_t column_int_place(uint32_t count, uint32_t inverse, uint32_t end)
{
    uint32_t lane = (uint32_t)((uint64_t)(end - 1) * inverse >> 32);

    return end == 0 ? 0 : (uint16_t)(8 + (end - 1 - lane * lanes_rows(count)) * 8 + lane);
}

/** The sum at a place. */
static inline int64_t column_int_sum(const struct column_int_sums *sums, uint16_t place)
{
    return (int64_t)(sums->before[place % 8] + sums->inside[place]);
}

#endif
