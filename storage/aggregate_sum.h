/*
 * aggregate_sum.h - sums of floats that come out the same whatever the order.
 *
 * Most measured values are decimals, 21.37 = 2137 / 10^2, and their sum is a sum of integers:
 *
 *     decimal   v is the double next to n / 10^e, with 0 <= e <= 12 and -2^51 <= n < 2^51.
 *               n and e are found from v alone, and n / 10^e is the same number for each e that
 *               fits, so the sum does not depend on how a column was packed. Sums are kept
 *               in units of 10^-12 in 128 bits: 2^36 values of the largest size.
 *     other     anything else that is finite. Its 53 bits are shifted to one of 64 bins of 32
 *               exponents each, 128 bits wide: also exact. Bins are made when first needed.
 *     not finite  are remembered as flags.
 *
 * Nothing is rounded before aggregate_sum_value(), so rows may be cut into runs, chunks, shards
 * and replicas in any way: the result is the same to the bit.
 */
#ifndef STORAGE_AGGREGATE_SUM_H
#define STORAGE_AGGREGATE_SUM_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/base/attrs.h"
#include "storage/base/bytes.h"
#include "storage/base/err.h"

__extension__ typedef __int128 int128; /* Sums of 2^63 integers of 64 bits. */

enum {
    AGGREGATE_SUM_FORM_MAX = 12,
    AGGREGATE_SUM_BINS = 64,
    AGGREGATE_SUM_AT_ONCE = 1024, /* Values whose n add up to 64 bits. */
};

/** What is not decimal. */
struct aggregate_bins {
    int128 bins[AGGREGATE_SUM_BINS]; /* Bin b is in units of 2^(32 b - 1075). */
    bool nan, positive, negative;    /* There was a NaN, an infinity of that sign. */
};

struct aggregate_sum {
    int128 decimals;             /* In units of 10^-12. */
    struct aggregate_bins *bins; /* Owned, or NULL: none so far. */
};

/**
 * The sum of at most AGGREGATE_SUM_AT_ONCE floats, if all are decimals of one e.
 *
 * Returns  true: the sum is *ret_sum / 10^*ret_form
 */
bool aggregate_sum_decimals(const uint64_t *bits, uint32_t count, unsigned *ret_form,
                            int64_t *ret_sum);

/** The n of at most AGGREGATE_SUM_AT_ONCE floats, if all are decimals of one e: *ret_form. */
bool aggregate_sum_numbers(const uint64_t *bits, uint32_t count, unsigned *ret_form,
                           int64_t *ret_numbers);

/** What a number of decimals with this form counts: 10^(12 - form). */
int64_t aggregate_sum_unit(unsigned form);

/** Add a sum of decimals: `sum` / 10^form. */
void aggregate_sum_add_decimals(struct aggregate_sum *into, unsigned form, int64_t sum);

/** Add floats. *memory grows by what is allocated. ERR_NO_MEMORY. */
MUST_CHECK enum err aggregate_sum_add(struct aggregate_sum *into, const uint64_t *bits,
                                      uint32_t count, uint64_t *memory);

/** Add another sum. ERR_NO_MEMORY; ERR_INVALID: 128 bits do not hold it (only made-up sums). */
MUST_CHECK enum err aggregate_sum_combine(struct aggregate_sum *into,
                                          const struct aggregate_sum *from, uint64_t *memory);

/** The sum as a double: the same for the same values, in whatever order they were added. */
double aggregate_sum_value(const struct aggregate_sum *sum);

void aggregate_sum_put(const struct aggregate_sum *sum, struct bytes *out);
/** From untrusted bytes; ret_sum->bins is `room` or NULL. Nonsense sets reader->bad. */
void aggregate_sum_get(struct reader *reader, struct aggregate_bins *room,
                       struct aggregate_sum *ret_sum);

#endif
