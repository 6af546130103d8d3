/*
 * lanes_dense.h - numbers from 0 to 2 in lanes, five in a byte: 1.6 bits each.
 *
 * Byte b of a lane has its rows 5 * b to 5 * b + 4; behind the last number they are 0. Byte 0 of
 * each lane comes first, then byte 1 of each, and so on. Lanes that have ended are left out: what
 * fills up the last lanes costs nothing.
 *
 *     1000 numbers, 128 rows     lanes 0 to 6 have 128 numbers, 26 bytes; lane 7 has 104, 21 bytes
 *
 *     byte  0 of lanes 0 to 7 | byte  1 of lanes 0 to 7 | ... | byte 20 of lanes 0 to 7 |
 *     byte 21 of lanes 0 to 6 | ... | byte 25 of lanes 0 to 6
 *
 * A byte is a fraction, byte / 256, of which the five numbers are the first digits to the base of
 * 3, so that a digit is what passes the point:
 *
 *     2 0 1 2 1   0.20121 is 178/243, the next 256th not below it is 188/256
 *
 *     188 * 3 = 564 = 2 * 256 + 52     number of row 0: 2
 *      52 * 3 = 156 = 0 * 256 + 156                  1: 0
 *     156 * 3 = 468 = 1 * 256 + 212                  2: 1     and so on
 *
 * The error of that rounding is below 1/256, so it grows to less than 243/256 of a digit. Any byte
 * is five numbers; the writer makes the smallest one.
 */
#ifndef STORAGE_BLOCK_LANES_DENSE_H
#define STORAGE_BLOCK_LANES_DENSE_H

#include "storage/block/lanes.h"

enum {
    LANES_DENSE = 5,     /* Numbers in a byte, */
    LANES_DENSE_MAX = 2, /* none above this. */
};

/** Bytes of `rows` numbers of one lane. */
static inline uint32_t lanes_dense_bytes(uint32_t rows)
{
    return (rows + LANES_DENSE - 1) / LANES_DENSE;
}

/** Bytes of `count` numbers. */
static inline size_t lanes_dense_size(uint32_t count)
{
    uint32_t rows = lanes_rows(count);

    return (size_t)(count / rows) * lanes_dense_bytes(rows) + lanes_dense_bytes(count % rows);
}

#endif
