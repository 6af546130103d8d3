/*
 * column_float.h - float64 columns, given back bit for bit.
 *
 * Most sensors send decimals: 21.37 is 2137 / 10^2, and 2137 needs few bits. So each chunk of
 * COLUMN_CHUNK values is one of
 *
 *     exponent 0..12 | varint exceptions | integers (column_int.h) | exceptions
 *     64 + shift 0..63 | integers: the bit patterns, shifted right by `shift`
 *
 * A value of the first kind is (double)n / 10^exponent, where n is a signed integer of at most 52
 * bits: one division, correctly rounded, so every CPU gives the same bits (column_decimal.h). The
 * writer has tried that with each value. The ones that come out otherwise (NaN, -0.0, a third) are
 * exceptions: for each a varint distance from the place behind the exception before it, and eight
 * bytes.
 */
#ifndef STORAGE_BLOCK_COLUMN_FLOAT_H
#define STORAGE_BLOCK_COLUMN_FLOAT_H

#include <stdbool.h>

#include "storage/base/bytes.h"

enum { COLUMN_FLOAT_SHIFTED = 64 }; /* Added to the shift of bit patterns. */

/** Append `count` bit patterns; `dense`: as column_int_put_dense() does. Returns whether a chunk is
 * dense. */
bool column_float_put(const uint64_t *bits, uint32_t count, bool dense, struct bytes *out);

/** Read `count` bit patterns; sets reader->bad if the bytes hold something else. */
void column_float_get(struct reader *reader, uint32_t count, uint64_t *ret_bits);

/** Some of `count`, as column_int_get_some(). */
void column_float_get_some(struct reader *reader, uint32_t count, uint32_t first, uint32_t end,
                           uint64_t *ret_bits);

/** One of `count`, as column_int_get_one(). */
uint64_t column_float_get_one(struct reader *reader, uint32_t count, uint32_t at);

/** One chunk: 1 to COLUMN_CHUNK values. */
void column_float_get_chunk(struct reader *reader, uint32_t count, uint64_t *ret_bits);
void column_float_skip_chunk(struct reader *reader, uint32_t count);

#endif
