/*
 * pack.h - numbers of a few bits each, one behind the other.
 *
 * Value i stands in bits i * width to (i + 1) * width - 1 of the stream; bit k is bit k % 8 of byte
 * k / 8. The last byte is filled up with zeros. So eight values end on a byte's border, and a
 * reader needs no state but the position.
 */
#ifndef STORAGE_BLOCK_PACK_H
#define STORAGE_BLOCK_PACK_H

#include <stddef.h>
#include <stdint.h>

/** Bits that `value` needs: 0 to 64. */
static inline unsigned pack_width(uint64_t value)
{
    return value == 0 ? 0 : 64 - (unsigned)__builtin_clzll(value);
}

/** Bytes of `count` values of `width` bits. */
static inline size_t pack_size(uint32_t count, unsigned width)
{
    return ((size_t)count * width + 7) / 8;
}

/** Write pack_size() bytes. Every value is below 2^width; width is 0 to 64. */
void pack_put(const uint64_t *values, uint32_t count, unsigned width, uint8_t *out);

/** Read `count` values from pack_size() bytes; not a byte more is touched. */
void pack_get(const uint8_t *in, uint32_t count, unsigned width, uint64_t *ret_values);

#endif
