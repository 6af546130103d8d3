/*
 * block_section.h - pass over what stands in a section of a block's body, without decoding it.
 *
 *     body    section | section | ...                                       header.tables of them
 *     section string table key | varint runs | varint rows | varint fields
 *             piece runs | piece times | field | field | ...
 *     field   string name | u8 type | presence | piece values               column.h
 *
 * For block_reader.c and block_newest.c. In here as the latter's question for one value takes a
 * microsecond: a call for each field is a part of that which can be measured.
 *
 * TRUST    The bytes may be anything: nothing behind the reader's end is touched.
 */
#ifndef STORAGE_BLOCK_BLOCK_SECTION_H
#define STORAGE_BLOCK_BLOCK_SECTION_H

#include "storage/block/block_reader.h"
#include "storage/block/column.h"

/* Two files have them, so the compiler would rather call them. */
#define BLOCK_SECTION_INLINE static inline __attribute__((always_inline))

/** A field as it stands there. Borrowed bytes. */
struct block_column {
    struct block_field field;
    struct column_presence presence;
    struct reader values;
};

static inline struct reader block_section_take(struct reader *reader)
{
    size_t size;
    const char *piece = reader_string(reader, SIZE_MAX, &size);

    return reader_on(piece, size);
}

/** Pass over a section's head; then come its fields. Borrows the bytes; the table's key is not
 * parsed. ERR_CORRUPT: also of more than `rows_max` rows. */
MUST_CHECK BLOCK_SECTION_INLINE enum err
block_section_next(struct reader *reader, uint32_t rows_max, struct block_section *ret_section,
                   struct reader *ret_runs, struct reader *ret_times)
{
    uint64_t runs, rows, fields;

    ret_section->table_key = reader_string(reader, KEY_SIZE_MAX, &ret_section->table_key_size);
    runs = reader_varint(reader);
    rows = reader_varint(reader);
    fields = reader_varint(reader);
    *ret_runs = block_section_take(reader);
    *ret_times = block_section_take(reader);
    if (reader->bad)
        return err_set(ERR_CORRUPT, "block: bad sizes");
    if (rows < 1 || rows > rows_max || runs < 1 || runs > rows || fields > FIELD_COUNT_MAX)
        return err_set(ERR_CORRUPT, "block: %llu runs, %llu rows of at most %u, %llu fields",
                       (unsigned long long)runs, (unsigned long long)rows, rows_max,
                       (unsigned long long)fields);
    ret_section->runs = (uint32_t)runs;
    ret_section->rows = (uint32_t)rows;
    ret_section->fields = (uint32_t)fields;
    return ERR_OK;
}

/** Pass over a field of a section of `rows` rows. Borrows the bytes. False: it is corrupt. */
BLOCK_SECTION_INLINE bool block_section_next_column(struct reader *reader, uint32_t rows,
                                                    struct block_column *ret_column)
{
    struct block_field *field = &ret_column->field;
    uint8_t type;

    field->name.data = reader_string(reader, NAME_SIZE_MAX, &field->name.size);
    type = reader_u8(reader);
    column_find_presence(reader, rows, &ret_column->presence);
    ret_column->values = block_section_take(reader);
    field->type = (enum field_type)type;
    field->values = ret_column->presence.values;
    return !reader->bad && field->name.size > 0 && type != 0 && type < FIELD_TYPE_END;
}

#endif
