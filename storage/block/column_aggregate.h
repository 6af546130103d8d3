/*
 * column_aggregate.h - sum, minimum, maximum of a chunk, straight from its packed form.
 *
 * For dashboards that ask for one number a minute no value needs to exist: decimals and integers
 * are added as the integers that they are stored as. Such results are EXACT: they do not depend on
 * how rows were cut into chunks, on the order of adding, or on the CPU.
 *
 *     column_open_values(&reader);                          the codec, once a column
 *     for each chunk of COLUMN_CHUNK values (column_int.h), the last may be shorter:
 *         column_aggregate_chunk(&reader, type, count, first, end, &aggregate);
 *
 * `first` to `end` - 1 are the values of the chunk that count; the reader moves behind the chunk
 * in any case. Values are what column_put_values() got: absent ones are not among them.
 */
#ifndef STORAGE_BLOCK_COLUMN_AGGREGATE_H
#define STORAGE_BLOCK_COLUMN_AGGREGATE_H

#include <stdbool.h>

#include "storage/base/bytes.h"
#include "storage/base/types.h"
#include "storage/block/column_int.h"

struct column_aggregate {
    /* Exact: min, max and sum are integers, and the values are those divided by 10^exponent. Of
     * integers and booleans always, with exponent 0; of floats if the chunk has decimals alone.
     * min and max are signed numbers, but for FIELD_UINT.
     * Else: min and max are the bits of floats, as is the sum. */
    bool exact;
    uint8_t exponent;
    uint64_t min; /* Not exact: -0.0 is below 0.0; a NaN only if there is nothing else. */
    uint64_t max;
    uint64_t sum_low; /* Exact: 128 bits, two's complement. */
    int64_t sum_high;
    double
        sum; /* Not exact: in a fixed order (lanes.h), the same on every CPU; all NaNs are one. */
};

/**
 * Aggregate values `first` to `end` - 1, at least one, of a chunk of `count` values. Not for
 * FIELD_STRING. Sets reader->bad if the bytes hold something else; of values that do not count,
 * less is checked than by column_get_values().
 */
void column_aggregate_chunk(struct reader *reader, enum field_type type, uint32_t count,
                            uint32_t first, uint32_t end, struct column_aggregate *ret_aggregate);

/**
 * Running sums of a chunk, for many runs of it: their sum is that of integers, divided by
 * 10^*ret_exponent.
 *
 * Returns  false: it has other values than decimals and integers below 2^50. The reader did not
 *          move then, unless it is bad.
 */
bool column_aggregate_sums(struct reader *reader, enum field_type type, uint32_t count,
                           uint8_t *ret_exponent, struct column_int_sums *ret_sums);

/**
 * QUERY_MIN or QUERY_MAX of many runs of a chunk: the bits of values.
 *
 * Returns  false: it has other floats than decimals. The reader did not move, unless it is bad.
 */
bool column_aggregate_extremes(struct reader *reader, enum field_type type, uint32_t count,
                               bool want_min, const struct lanes_run *runs, uint32_t run_count,
                               uint64_t *ret_bits);

/** Pass over a chunk. */
void column_aggregate_skip(struct reader *reader, enum field_type type, uint32_t count);

/** The bits of the float integer / 10^exponent: what an exact min or max of floats is. */
uint64_t column_aggregate_float(uint64_t integer, unsigned exponent);

#endif
