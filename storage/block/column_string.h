/*
 * column_string.h - columns of byte strings.
 *
 *     1 | sizes: integers (column_int.h) | the bytes, back to back
 *     2 | varint entries | their sizes: integers | their bytes | for each value its entry: integers
 *
 * The second form is for few different strings (states, versions): entries stand in the order of
 * their first use. What repeats in the bytes of the first is left to LZ4.
 *
 * In memory a string is a u64, its offset in the low and its size in the high 32 bits, and a text
 * that all of them point into.
 */
#ifndef STORAGE_BLOCK_COLUMN_STRING_H
#define STORAGE_BLOCK_COLUMN_STRING_H

#include <stdint.h>

#include "storage/base/bytes.h"

static inline uint64_t column_string_make(uint32_t offset, uint32_t size)
{
    return (uint64_t)size << 32 | offset;
}

static inline uint32_t column_string_offset(uint64_t string)
{
    return (uint32_t)string;
}

static inline uint32_t column_string_size(uint64_t string)
{
    return (uint32_t)(string >> 32);
}

/** Append `count` strings that point into `text`. */
void column_string_put(const uint64_t *strings, uint32_t count, const char *text,
                       struct bytes *out);

/** Read `count` strings; *ret_text is borrowed from the reader's bytes. Sets reader->bad. */
void column_string_get(struct reader *reader, uint32_t count, uint64_t *ret_strings,
                       const char **ret_text);

#endif
