/*
 * column_int.h - integers of 64 bits as few bytes: what every other column is made of in the end.
 *
 * CHUNKS   The values are cut into chunks of COLUMN_CHUNK (the last may be shorter); each chunk is
 *          coded in the way that is shortest for it. `count` is known to the reader beforehand.
 *
 *     order 0..2, +4 if patched | width 0..64 | [patches] | seeds | base | packed | [patches]
 *
 *          ORDER   0: the values. 1: differences of neighbours. 2: differences of differences.
 *                  The first `order` values (the first value, the first difference) are the seeds.
 *          BASE    of the residuals: residual = base + packed. Base and seeds are zigzag varints.
 *          PACKED  count - order numbers of `width` bits (pack.h). Width 0: all are the base.
 *          PATCHES varint how many; behind the packed ones for each: varint distance from the
 *                  place behind the patch before it, zigzag varint difference from the base. A
 *                  patched one counts instead of the packed one.
 *
 * All arithmetic is modulo 2^64: signed and unsigned numbers are the same to it.
 */
#ifndef STORAGE_BLOCK_COLUMN_INT_H
#define STORAGE_BLOCK_COLUMN_INT_H

#include "storage/base/bytes.h"

enum { COLUMN_CHUNK = 1024 };

/** Append `count` values. */
void column_int_put(const uint64_t *values, uint32_t count, struct bytes *out);

/** Read `count` values; sets reader->bad if the bytes hold something else. */
void column_int_get(struct reader *reader, uint32_t count, uint64_t *ret_values);

/** One chunk: 1 to COLUMN_CHUNK values. */
void column_int_put_chunk(const uint64_t *values, uint32_t count, struct bytes *out);
void column_int_get_chunk(struct reader *reader, uint32_t count, uint64_t *ret_values);

#endif
