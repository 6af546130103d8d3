/*
 * segment_row.h - a row of a table in 64-bit words, in the form that segments are made of.
 *
 *     time | bits: which fields it has, 64 a word | values: a word a field, in the table's order
 *
 * A value is its bits; a string's is its place in a text beside the rows (column_string.h). Where
 * the bit is not set, it is whatever. All of a row stands together, because rows are brought into
 * the order of series one by one: so that costs one or two cache lines a row, not one a field.
 */
#ifndef STORAGE_SEGMENT_ROW_H
#define STORAGE_SEGMENT_ROW_H

#include <stdbool.h>
#include <stdint.h>

/** Words of bits. */
static inline uint32_t segment_row_bits(uint32_t fields)
{
    return (fields + 63) / 64;
}

/** Words of a row. */
static inline uint32_t segment_row_words(uint32_t fields)
{
    return 1 + segment_row_bits(fields) + fields;
}

/** Where the value of a field is. */
static inline uint32_t segment_row_at(uint32_t fields, uint32_t field)
{
    return 1 + segment_row_bits(fields) + field;
}

static inline bool segment_row_has(const uint64_t *row, uint32_t field)
{
    return row[1 + field / 64] >> field % 64 & 1;
}

static inline void segment_row_set(uint64_t *row, uint32_t field)
{
    row[1 + field / 64] |= (uint64_t)1 << field % 64;
}

#endif
