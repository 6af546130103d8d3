/*
 * column.h - one field of many rows as bytes: which rows have it, and the values of those.
 *
 *     presence   0                                                    all rows
 *                1 | bitmap: row i is bit i % 8 of byte i / 8          some
 *                2 | varint values | piece: their rows,               few
 *                    ascending, integers (column_int.h)
 *     values     codec 2 or 3 | as column_int.h, column_float.h or column_string.h say, by type
 *                booleans are integers of 0 and 1; in codec 3 some chunks of integers are dense
 *
 * A *piece* is a varint size, then so many bytes: a reader may pass over it. Every column starts
 * with its codec, so that a better one needs no new version of the block.
 */
#ifndef STORAGE_BLOCK_COLUMN_H
#define STORAGE_BLOCK_COLUMN_H

#include "storage/base/bytes.h"
#include "storage/base/types.h"

/* ---- Presence ------------------------------------------------------------------------------ */

/** Words of 64 bits in a bitmap of `rows`. */
static inline uint32_t column_words(uint32_t rows)
{
    return (rows + 63) / 64;
}

/** `values` (1 to rows) of `rows` have the field: those whose bit is set in `bitmap`. */
void column_put_presence(const uint64_t *bitmap, uint32_t rows, uint32_t values, struct bytes *out);

/** Presence that was found in a reader's bytes (borrowed) but not decoded. */
struct column_presence {
    uint8_t form;
    uint32_t values;
    struct reader rest;
};

/** Pass over a presence of `rows` rows; sets reader->bad. */
void column_find_presence(struct reader *reader, uint32_t rows,
                          struct column_presence *ret_presence);

/** One byte a row, 1 where the row has the field; false if the bytes contradict themselves. */
bool column_get_presence(const struct column_presence *presence, uint32_t rows,
                         uint8_t *ret_present);

/** Of rows `first` to `end` - 1 the last one that has the field: its value is number *ret_at.
 * False: none has it; or, with presence->rest.bad, the bytes contradict themselves. */
bool column_find_last(struct column_presence *presence, uint32_t rows, uint32_t first, uint32_t end,
                      uint32_t *ret_row, uint32_t *ret_at);

/* ---- Values -------------------------------------------------------------------------------- */

/** Append `count` values of a type: bits, or for FIELD_STRING places in `text`. */
void column_put_values(enum field_type type, const uint64_t *values, uint32_t count,
                       const char *text, struct bytes *out);

/** The same for what is read as often as it is written, and by no older program: segments. Looks
 * longer for the shortest form, and takes one that older programs do not know (codec 3). */
void column_put_dense_values(enum field_type type, const uint64_t *values, uint32_t count,
                             const char *text, struct bytes *out);

/** Read `count` values; for FIELD_STRING *ret_text is borrowed from the reader's bytes, else NULL.
 * Sets reader->bad. */
void column_get_values(struct reader *reader, enum field_type type, uint32_t count,
                       uint64_t *ret_values, const char **ret_text);

/** Of `count` values at least `first` to `end` - 1, at their places; for FIELD_STRING all. The
 * reader stops somewhere behind the last one. */
void column_get_some_values(struct reader *reader, enum field_type type, uint32_t count,
                            uint32_t first, uint32_t end, uint64_t *ret_values,
                            const char **ret_text);

/** Of `count` values, which are no strings, the one at `at`. Sets reader->bad. */
uint64_t column_get_one_value(struct reader *reader, enum field_type type, uint32_t count,
                              uint32_t at);

/** Pass over the codec, as column_get_values() begins; sets reader->bad if it is unknown. Then come
 * the chunks: column_aggregate.h. */
void column_open_values(struct reader *reader);

/** Move the first values to the rows that have one; 0 in the others. */
void column_spread(const uint8_t *present, uint32_t rows, uint32_t count, uint64_t *values);

#endif
