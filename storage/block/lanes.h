/*
 * lanes.h - the loops over numbers that are compiled once for each level of CPU.
 *
 * LANES    `rows` times 8 numbers, cut into 8 lanes of `rows` each, so that neighbours stand in
 *          one lane and 8 lanes go through one register:
 *
 *              number    0 ..        rows - 1  ->  lane 0, rows 0 .. rows - 1
 *              number rows ..    2 * rows - 1  ->  lane 1
 *              ...
 *
 *          Each lane is a stream of 64-bit words in which its numbers stand `width` bits each, low
 *          bits first; word w of lane l is word 8 * w + l of the bytes. Differences are then
 *          subtractions of whole registers, and need no steps inside of one.
 *
 * DENSE    Numbers from 0 to 2 may instead stand five in a byte, 1.6 bits each: lanes_dense.h.
 *
 * MODEL    A number of a chunk is what its order says (column_int.h) of the packed one:
 *
 *              0  base + packed
 *              1  number before + base + packed
 *              2  number before + (difference before += base + packed)
 *              3  (slope * i >> 16) + base + packed
 *
 * All arithmetic is modulo 2^64. Every table gives the same bits for the same numbers; the scalar
 * one is for every architecture. lanes_kernels.c is compiled for each.
 */
#ifndef STORAGE_BLOCK_LANES_H
#define STORAGE_BLOCK_LANES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/base/cpu.h"

enum {
    LANES = 8,
    LANES_ROWS_MAX = 128,
    LANES_NUMBERS_MAX = LANES * LANES_ROWS_MAX,
    LANES_ROW_STEP = 8, /* `rows` is a multiple of it: registers are transposed whole. */
    LANES_ORDERS = 4,
    LANES_LINE = 3, /* The order that is a line. */
    LANES_SLOPE_BITS = 16,
};

/** Rows for `count` numbers: the last lanes may be filled up. */
static inline uint32_t lanes_rows(uint32_t count)
{
    return (count + LANES * LANES_ROW_STEP - 1) / (LANES * LANES_ROW_STEP) * LANES_ROW_STEP;
}

/** Bytes of `rows` times 8 numbers of `width` bits. */
static inline size_t lanes_size(uint32_t rows, unsigned width)
{
    return ((size_t)rows * width + 63) / 64 * LANES * sizeof(uint64_t);
}

struct lanes_span {
    int64_t min; /* INT64_MAX and INT64_MIN when nothing was looked at. */
    int64_t max;
};

/* How packed numbers become the numbers of a chunk. */
struct lanes_model {
    unsigned order; /* 0 to 3 */
    uint64_t base;
    uint64_t before; /* Order 1 and 2: number 0 minus its difference. */
    uint64_t step;   /* Order 2: the difference of number 0 minus base. Order 3: the slope. */
};

/* Numbers `first` to `end` - 1 of a chunk, at least one, that go into one result. */
struct lanes_run {
    uint32_t into; /* The caller's: which result. */
    uint16_t first, end;
    uint16_t before, last; /* Where running sums up to them stand: column_int_place(). */
    uint16_t window;       /* lanes_window() */
    uint16_t unused;
};

enum { LANES_WINDOW_MAX = 8 };

/** The width of the windows that cover a run of `count` numbers, at least 1. */
static inline uint16_t lanes_window(uint32_t count)
{
    if (count >= LANES_WINDOW_MAX)
        return LANES_WINDOW_MAX;
    return (uint16_t)(1u << (31 - (unsigned)__builtin_clz(count)));
}

/* Of packed numbers, by lane: what tells where the next lane begins. */
struct lanes_sums {
    uint64_t sum[LANES];    /* Of the numbers. */
    uint64_t prefix[LANES]; /* Of the sums up to each row. */
};

struct lanes_totals {
    uint64_t sum; /* Modulo 2^64. */
    int64_t min;
    int64_t max;
};

struct lanes_float_totals {
    double sum;
    int64_t min; /* As lanes_float_order() gives it. */
    int64_t max;
};

/** Bits of a float as a number that compares as the float does; -0.0 is below 0.0, NaNs with a sign
 * are below all others, those without above. Its own inverse. */
static inline int64_t lanes_float_order(uint64_t bits)
{
    return (int64_t)(bits ^ ((0 - (bits >> 63)) >> 1));
}

struct lanes_kernels {
    /** Ranges of the numbers, their differences, and the differences of those. */
    void (*find_spans)(const uint64_t *numbers, uint32_t count, struct lanes_span ret_spans[3]);

    /** Range of what is left of a line with this slope and base 0. */
    void (*find_line_span)(const uint64_t *numbers, uint32_t count, uint64_t slope,
                           struct lanes_span *ret_span);

    /** The packed numbers of a chunk, one for each number; 0 for the first ones of order 1 and 2,
     * which the model makes up for. */
    void (*find_packed)(const uint64_t *numbers, uint32_t count, const struct lanes_model *model,
                        uint64_t *ret_packed);

    /** How many numbers have how many bits as zigzag ones: ret_counts has 65. */
    void (*count_widths)(const uint64_t *numbers, uint32_t count, uint32_t *ret_counts);

    /** Places, ascending, of the numbers of more than `width` bits. Returns how many. */
    uint32_t (*find_wide)(const uint64_t *numbers, uint32_t count, unsigned width,
                          uint16_t *ret_places);

    /** Write lanes_size() bytes. Every number is below 2^width. */
    void (*pack)(const uint64_t *numbers, uint32_t rows, unsigned width, uint8_t *out);

    /** Read lanes_size() bytes: packed number `row` of `lane` to ret_rows[row * 8 + lane]. */
    void (*unpack)(const uint8_t *in, uint32_t rows, unsigned width, uint64_t *ret_rows,
                   struct lanes_sums *ret_sums);

    /** The same of `count` numbers, at least one, dense: lanes_dense_size() bytes. To pack, there
     * are zeros up to lanes_rows() times 8. */
    void (*pack_dense)(const uint64_t *numbers, uint32_t count, uint8_t *out);
    void (*unpack_dense)(const uint8_t *in, uint32_t count, uint64_t *ret_rows,
                         struct lanes_sums *ret_sums);

    /** Numbers, in their own order, of unpacked rows. */
    void (*restore)(const uint64_t *packed_rows, uint32_t rows, const struct lanes_model *model,
                    const struct lanes_sums *sums, uint64_t *ret_numbers);

    /** Sum, minimum and maximum of numbers `first` to `end` - 1, at least one. */
    void (*reduce)(const uint64_t *packed_rows, uint32_t rows, const struct lanes_model *model,
                   const struct lanes_sums *sums, uint32_t first, uint32_t end,
                   struct lanes_totals *ret_totals);

    /** Running sums: those of a lane's numbers up to row `row` to ret_rows[row * 8 + lane], where
     * the packed ones may stand. Returns all bits that any number + `bias` has. */
    uint64_t (*accumulate)(const uint64_t *packed_rows, uint32_t rows,
                           const struct lanes_model *model, const struct lanes_sums *sums,
                           uint64_t bias, uint64_t *ret_rows);

    /** Of each run the number for which number ^ flip, as a signed one, is greatest. `numbers` are
     * scratch then. */
    void (*find_extremes)(uint64_t *numbers, uint32_t count, uint64_t flip,
                          const struct lanes_run *runs, uint32_t run_count, uint64_t *ret_extremes);

    /** The integers of decimals with `exponent` digits. Not 0 if a value does not come back. */
    uint64_t (*to_integers)(const uint64_t *bits, uint32_t count, unsigned exponent,
                            uint64_t *ret_integers);

    /** And back, in place. Not 0 if an integer is none that to_integers() makes. */
    uint64_t (*to_floats)(uint64_t *values, uint32_t count, unsigned exponent);

    /** Sum, minimum and maximum. Sum k of eight is that of values k, k + 8, ...; then 0 + 4, 1 + 5,
     * 2 + 6, 3 + 7; of those 0 + 2, 1 + 3; and those two. */
    void (*reduce_floats)(const uint64_t *bits, uint32_t count,
                          struct lanes_float_totals *ret_totals);

    /** Times in units of 1000^unit ns, unit 1 to 3; false if one is no multiple. */
    bool (*divide_times)(const int64_t *times_ns, uint32_t count, unsigned unit,
                         int64_t *ret_times);

    /** And back, in place, unit 1 to 3; false if one is out of range. */
    bool (*multiply_times)(int64_t *times, uint32_t count, unsigned unit);

    /** None is below the one before. */
    bool (*times_ascend)(const int64_t *times, uint32_t count);
};

/** The kernels for cpu_level(). */
const struct lanes_kernels *lanes_kernels(void);

/** Those of a level, whether this CPU has it or not; NULL on other architectures. */
const struct lanes_kernels *lanes_kernels_of(enum cpu_level level);

#endif
