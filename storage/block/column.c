#include "storage/block/column.h"

#include <string.h>

#include "storage/base/check.h"
#include "storage/block/column_float.h"
#include "storage/block/column_int.h"
#include "storage/block/column_string.h"

enum {
    PRESENT_ALL = 0,
    PRESENT_BITMAP = 1,
    PRESENT_ROWS = 2,

    FEW = 16, /* One row of so many or fewer: their numbers are shorter than the bitmap. */
    CODEC = 2,
    CODEC_DENSE = 3, /* Chunks of integers may be dense. */
};

/* ---- Presence ------------------------------------------------------------------------------ */

static void put_rows(const uint64_t *bitmap, uint32_t rows, struct bytes *out)
{
    uint64_t numbers[COLUMN_CHUNK];
    uint32_t count = 0;

    for (uint32_t word = 0; word < column_words(rows); word++)
        for (uint64_t bits = bitmap[word]; bits != 0; bits &= bits - 1) {
            numbers[count++] = (uint64_t)word * 64 + (unsigned)__builtin_ctzll(bits);
            if (count == COLUMN_CHUNK) {
                column_int_put_chunk(numbers, count, out);
                count = 0;
            }
        }
    if (count > 0)
        column_int_put_chunk(numbers, count, out);
}

void column_put_presence(const uint64_t *bitmap, uint32_t rows, uint32_t values, struct bytes *out)
{
    CHECK(values >= 1);
    CHECK(values <= rows);
    if (values == rows) {
        bytes_put_u8(out, PRESENT_ALL);
    } else if (values > rows / FEW) {
        bytes_put_u8(out, PRESENT_BITMAP);
        bytes_put(out, bitmap, (rows + 7) / 8);
    } else {
        struct bytes piece = {0};

        put_rows(bitmap, rows, &piece);
        bytes_put_u8(out, PRESENT_ROWS);
        bytes_put_varint(out, values);
        bytes_put_string(out, piece.data, piece.size);
        out->failed |= piece.failed;
        bytes_fini(&piece);
    }
}

static uint32_t count_bits(const uint8_t *bytes, size_t size)
{
    uint32_t count = 0;

    for (; size >= sizeof(uint64_t); size -= sizeof(uint64_t), bytes += sizeof(uint64_t)) {
        uint64_t word;

        memcpy(&word, bytes, sizeof word);
        count += (uint32_t)__builtin_popcountll(word);
    }
    for (; size > 0; size--)
        count += (uint32_t)__builtin_popcount(*bytes++);
    return count;
}

static void find_bitmap(struct reader *reader, uint32_t rows, struct column_presence *ret_presence)
{
    size_t size = (rows + 7) / 8;
    const uint8_t *bitmap = reader_take(reader, size);

    if (bitmap == NULL)
        return;
    if (rows % 8 != 0 && bitmap[size - 1] >> rows % 8 != 0)
        reader->bad = true; /* Bits behind the last row. */
    ret_presence->values = count_bits(bitmap, size);
    ret_presence->rest = reader_on(bitmap, size);
}

void column_find_presence(struct reader *reader, uint32_t rows,
                          struct column_presence *ret_presence)
{
    ret_presence->form = reader_u8(reader);
    ret_presence->values = rows;
    ret_presence->rest = reader_on("", 0);
    if (ret_presence->form == PRESENT_BITMAP) {
        find_bitmap(reader, rows, ret_presence);
    } else if (ret_presence->form == PRESENT_ROWS) {
        uint64_t values = reader_varint(reader);
        size_t size;
        const char *piece = reader_string(reader, SIZE_MAX, &size);

        if (values > rows / FEW)
            reader->bad = true;
        ret_presence->values = (uint32_t)values;
        ret_presence->rest = reader_on(piece, size);
    } else if (ret_presence->form != PRESENT_ALL) {
        reader->bad = true;
    }
    if (ret_presence->values < 1)
        reader->bad = true;
}

static bool get_rows(const struct column_presence *presence, uint32_t rows, uint8_t *present)
{
    struct reader reader = presence->rest;
    uint64_t numbers[COLUMN_CHUNK];
    uint64_t next = 0;

    for (uint32_t at = 0; at < presence->values; at += COLUMN_CHUNK) {
        uint32_t left = presence->values - at;
        uint32_t count = left < COLUMN_CHUNK ? left : COLUMN_CHUNK;

        column_int_get_chunk(&reader, count, numbers);
        if (reader.bad)
            return false;
        for (uint32_t i = 0; i < count; i++) {
            if (numbers[i] < next || numbers[i] >= rows)
                return false;
            present[numbers[i]] = 1;
            next = numbers[i] + 1;
        }
    }
    return reader_done(&reader);
}

bool column_get_presence(const struct column_presence *presence, uint32_t rows,
                         uint8_t *ret_present)
{
    if (presence->form == PRESENT_ALL) {
        memset(ret_present, 1, rows);
        return true;
    }
    if (presence->form == PRESENT_BITMAP) {
        for (uint32_t i = 0; i < rows; i++)
            ret_present[i] = presence->rest.at[i / 8] >> i % 8 & 1;
        return true;
    }
    memset(ret_present, 0, rows);
    return get_rows(presence, rows, ret_present);
}

static bool find_last_bit(const struct column_presence *presence, uint32_t first, uint32_t end,
                          uint32_t *ret_row, uint32_t *ret_at)
{
    const uint8_t *bitmap = presence->rest.at;
    uint32_t row = end;

    while (row > first && (bitmap[(row - 1) / 8] >> (row - 1) % 8 & 1) == 0)
        row--;
    if (row == first)
        return false;
    row--;
    *ret_row = row;
    *ret_at = count_bits(bitmap, row / 8) +
              (uint32_t)__builtin_popcount(bitmap[row / 8] & ((1u << row % 8) - 1));
    return true;
}

static bool find_last_number(struct column_presence *presence, uint32_t rows, uint32_t first,
                             uint32_t end, uint32_t *ret_row, uint32_t *ret_at)
{
    struct reader *reader = &presence->rest;
    uint64_t numbers[COLUMN_CHUNK], next = 0;
    bool found = false;

    for (uint32_t at = 0; at < presence->values && next < end; at += COLUMN_CHUNK) {
        uint32_t left = presence->values - at;
        uint32_t count = left < COLUMN_CHUNK ? left : COLUMN_CHUNK;

        column_int_get_chunk(reader, count, numbers);
        for (uint32_t i = 0; i < count && !reader->bad; i++) {
            reader->bad = numbers[i] < next || numbers[i] >= rows;
            next = numbers[i] + 1;
            if (numbers[i] < first || numbers[i] >= end)
                continue;
            *ret_row = (uint32_t)numbers[i];
            *ret_at = at + i;
            found = true;
        }
        if (reader->bad)
            return false;
    }
    return found;
}

bool column_find_last(struct column_presence *presence, uint32_t rows, uint32_t first, uint32_t end,
                      uint32_t *ret_row, uint32_t *ret_at)
{
    if (presence->form == PRESENT_BITMAP)
        return find_last_bit(presence, first, end, ret_row, ret_at);
    if (presence->form == PRESENT_ROWS)
        return find_last_number(presence, rows, first, end, ret_row, ret_at);
    *ret_row = *ret_at = end - 1;
    return end > first;
}

/* ---- Values -------------------------------------------------------------------------------- */

void column_put_values(enum field_type type, const uint64_t *values, uint32_t count,
                       const char *text, struct bytes *out)
{
    bytes_put_u8(out, CODEC);
    if (type == FIELD_FLOAT)
        (void)column_float_put(values, count, false, out);
    else if (type == FIELD_STRING)
        column_string_put(values, count, text, out);
    else
        column_int_put(values, count, out);
}

void column_put_dense_values(enum field_type type, const uint64_t *values, uint32_t count,
                             const char *text, struct bytes *out)
{
    size_t start = out->size;
    bool dense = false;

    bytes_put_u8(out, CODEC);
    if (type == FIELD_FLOAT)
        dense = column_float_put(values, count, true, out);
    else if (type == FIELD_STRING)
        column_string_put(values, count, text, out);
    else
        dense = column_int_put_dense(values, count, out);
    if (dense && !out->failed)
        out->data[start] = CODEC_DENSE;
}

void column_open_values(struct reader *reader)
{
    uint8_t codec = reader_u8(reader);

    if (codec != CODEC && codec != CODEC_DENSE)
        reader->bad = true;
}

void column_get_some_values(struct reader *reader, enum field_type type, uint32_t count,
                            uint32_t first, uint32_t end, uint64_t *ret_values,
                            const char **ret_text)
{
    *ret_text = NULL;
    column_open_values(reader);
    if (reader->bad)
        return;
    if (type == FIELD_FLOAT)
        column_float_get_some(reader, count, first, end, ret_values);
    else if (type == FIELD_STRING)
        column_string_get(reader, count, ret_values, ret_text);
    else
        column_int_get_some(reader, count, first, end, ret_values);
    if (type == FIELD_BOOL)
        for (uint32_t i = first; i < end && !reader->bad; i++)
            reader->bad = ret_values[i] > 1;
}

void column_get_values(struct reader *reader, enum field_type type, uint32_t count,
                       uint64_t *ret_values, const char **ret_text)
{
    column_get_some_values(reader, type, count, 0, count, ret_values, ret_text);
}

uint64_t column_get_one_value(struct reader *reader, enum field_type type, uint32_t count,
                              uint32_t at)
{
    uint64_t value;

    column_open_values(reader);
    if (reader->bad)
        return 0;
    if (type == FIELD_FLOAT)
        return column_float_get_one(reader, count, at);
    value = column_int_get_one(reader, count, at);
    if (type == FIELD_BOOL && value > 1)
        reader->bad = true;
    return value;
}

void column_spread(const uint8_t *present, uint32_t rows, uint32_t count, uint64_t *values)
{
    /* Backwards, so that no value is overwritten before it has moved: it never moves down. */
    for (uint32_t row = rows; row > 0 && count < row; row--)
        values[row - 1] = present[row - 1] ? values[--count] : 0;
}
