/*
 * lanes_dense_loops.h - packing and unpacking what lanes_dense.h draws. Private to lanes_kernels.c,
 * which is compiled for each level of CPU.
 *
 * A lane's bytes go through the registers as its words do: one of each lane at once. Where lanes
 * have ended, zeros are put between the bytes of the others first.
 */
#ifndef STORAGE_BLOCK_LANES_DENSE_LOOPS_H
#define STORAGE_BLOCK_LANES_DENSE_LOOPS_H

#include "storage/block/lanes_dense.h"
#include "storage/block/lanes_registers.h"

typedef uint8_t bytes_vec __attribute__((vector_size(WIDE)));

INLINE vec load_bytes(const uint8_t *at)
{
    bytes_vec bytes;

    memcpy(&bytes, at, sizeof bytes);
    return __builtin_convertvector(bytes, vec);
}

INLINE void store_bytes(uint8_t *at, vec numbers)
{
    bytes_vec bytes = __builtin_convertvector(numbers, bytes_vec);

    memcpy(at, &bytes, sizeof bytes);
}

/* number * 256 / 243, rounded up; exact for numbers below 243. */
INLINE vec dense_fraction(vec number)
{
    return (number * all(69043) + all(65535)) >> 16;
}

INLINE void pack_dense_part(const uint64_t *numbers, uint32_t rows, uint8_t *out)
{
    vec digits = {0};
    unsigned fill = 0; /* Numbers in `digits`. */

    for (uint32_t row = 0; row < rows; row += WIDE) {
        vec r[WIDE];

        for (unsigned lane = 0; lane < WIDE; lane++)
            r[lane] = load(numbers + lane * rows + row);
        transpose(r);
        for (unsigned k = 0; k < WIDE; k++) {
            digits = digits + digits + digits + r[k];
            if (++fill < LANES_DENSE)
                continue;
            store_bytes(out, dense_fraction(digits));
            out += LANES;
            digits = (vec){0};
            fill = 0;
        }
    }
    if (fill == 0)
        return;
    for (; fill < LANES_DENSE; fill++)
        digits = digits + digits + digits;
    store_bytes(out, dense_fraction(digits));
}

/* Bytes of all lanes, whether they have ended or not. */
enum { DENSE_BYTES_MAX = (LANES_ROWS_MAX + LANES_DENSE - 1) / LANES_DENSE * LANES };

static void pack_dense(const uint64_t *numbers, uint32_t count, uint8_t *out)
{
    uint32_t rows = lanes_rows(count), whole = count / rows;
    uint32_t bytes = lanes_dense_bytes(rows), rest = lanes_dense_bytes(count % rows);
    uint8_t all_lanes[DENSE_BYTES_MAX];

    for (unsigned lane = 0; lane < LANES; lane += WIDE)
        pack_dense_part(numbers + lane * rows, rows, all_lanes + lane);
    for (uint32_t i = 0; i < bytes; i++) {
        uint32_t lanes = whole + (i < rest);

        memcpy(out, all_lanes + (size_t)i * LANES, lanes);
        out += lanes;
    }
}

/* Put zeros where lanes have ended: there is room for DENSE_BYTES_MAX. */
INLINE void fill_up_dense(const uint8_t *in, uint32_t count, uint8_t *ret_all_lanes)
{
    uint32_t rows = lanes_rows(count), whole = count / rows;
    uint32_t bytes = lanes_dense_bytes(rows), rest = lanes_dense_bytes(count % rows);
    uint8_t some[DENSE_BYTES_MAX + LANES] = {0}; /* Eight bytes may be loaded from each place. */
    const uint8_t *at = some;

    memcpy(some, in, lanes_dense_size(count));
    for (uint32_t i = 0; i < bytes; i++) {
        uint32_t lanes = whole + (i < rest);
        uint64_t word;

        memcpy(&word, at, sizeof word);
        word &= lanes == 0 ? 0 : UINT64_MAX >> (64 - 8 * lanes);
        memcpy(ret_all_lanes + (size_t)i * LANES, &word, sizeof word);
        at += lanes;
    }
}

/* The next number of each lane. */
INLINE void next_dense(vec *fraction, vec *sum, vec *prefix, uint64_t *ret_row)
{
    vec product = *fraction + *fraction + *fraction;
    vec number = product >> 8;

    *fraction = product & all(255);
    *sum += number;
    *prefix += *sum;
    store(ret_row, number);
}

INLINE void unpack_dense_part(const uint8_t *in, uint32_t rows, uint64_t *ret_rows,
                              uint64_t *ret_sum, uint64_t *ret_prefix)
{
    vec sum = {0}, prefix = {0};
    uint32_t left = rows;

    for (; left >= LANES_DENSE; left -= LANES_DENSE, in += LANES) {
        vec fraction = load_bytes(in);

        for (unsigned k = 0; k < LANES_DENSE; k++, ret_rows += LANES)
            next_dense(&fraction, &sum, &prefix, ret_rows);
    }
    if (left > 0) {
        vec fraction = load_bytes(in);

        for (; left > 0; left--, ret_rows += LANES)
            next_dense(&fraction, &sum, &prefix, ret_rows);
    }
    store(ret_sum, sum);
    store(ret_prefix, prefix);
}

static void unpack_dense(const uint8_t *in, uint32_t count, uint64_t *ret_rows,
                         struct lanes_sums *ret_sums)
{
    uint32_t rows = lanes_rows(count);
    uint8_t all_lanes[DENSE_BYTES_MAX];

    if (count < rows * LANES) {
        fill_up_dense(in, count, all_lanes);
        in = all_lanes;
    }
    for (unsigned lane = 0; lane < LANES; lane += WIDE)
        unpack_dense_part(in + lane, rows, ret_rows + lane, ret_sums->sum + lane,
                          ret_sums->prefix + lane);
}

#endif
