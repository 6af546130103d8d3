#include "storage/block/block_newest.h"

#include <lz4.h>
#include <stdlib.h>
#include <string.h>

#include "storage/block/block_section.h"

void block_newest_fini(struct block_newest *newest)
{
    free(newest->room);
    *newest = (struct block_newest){0};
}

bool block_newest_open(struct block_newest *newest, uint64_t number, const struct block_view *view)
{
    const struct block_header *header = &view->header;
    int size;

    newest->view = *view;
    newest->body = view->body;
    if (header->body_size == header->body_raw_size)
        return true;
    newest->body = newest->room;
    if (newest->room != NULL && newest->number == number)
        return true;
    if (header->body_raw_size > BLOCK_NEWEST_RAW_MAX)
        return false;
    if (newest->room == NULL)
        newest->room = malloc(BLOCK_NEWEST_RAW_MAX);
    if (newest->room == NULL)
        return false;
    newest->body = newest->room;
    newest->number = 0;
    size = LZ4_decompress_safe((const char *)view->body, (char *)newest->room,
                               (int)header->body_size, (int)header->body_raw_size);
    if (size < 0 || (uint32_t)size != header->body_raw_size)
        return false;
    newest->number = number;
    return true;
}

static bool is_equal(struct slice a, struct slice b)
{
    return a.size == b.size && memcmp(a.data, b.data, a.size) == 0;
}

/* The section of the table, and in it the field. */
static enum column_newest find_field(const struct block_newest *newest, struct slice table_key,
                                     struct slice name, struct column_rows *ret_rows,
                                     struct block_column *ret_column)
{
    const struct block_header *header = &newest->view.header;
    struct reader reader = reader_on(newest->body, header->body_raw_size);

    for (uint32_t at = 0; at < header->tables; at++) {
        struct block_section section;
        bool wanted;

        if (block_section_next(&reader, header->rows, &section, &ret_rows->runs,
                               &ret_rows->times) != ERR_OK)
            return COLUMN_NEWEST_ELSE;
        ret_rows->run_count = section.runs;
        ret_rows->rows = section.rows;
        wanted = table_key.size == 0 ||
                 is_equal((struct slice){section.table_key, section.table_key_size}, table_key);
        for (uint32_t i = 0; i < section.fields; i++) {
            if (!block_section_next_column(&reader, section.rows, ret_column))
                return COLUMN_NEWEST_ELSE;
            if (wanted && is_equal(ret_column->field.name, name))
                return COLUMN_NEWEST_FOUND;
        }
        if (wanted)
            return COLUMN_NEWEST_NONE;
    }
    return COLUMN_NEWEST_NONE;
}

/* The newest value at one place, if it is not older than what is known. */
static enum column_newest look_at(const struct block_newest *newest, const struct column_rows *rows,
                                  const struct block_column *column, uint32_t place,
                                  enum column_newest known, struct column_newest_value *value)
{
    const struct block_header *header = &newest->view.header;
    struct column_newest_value other;
    struct column_run run;
    enum column_newest found = column_newest_run(rows, place, header->known + header->fresh, &run);

    if (found == COLUMN_NEWEST_FOUND)
        found = column_newest_of(rows, &run, &column->presence, column->field.type, column->values,
                                 &other);
    if (found != COLUMN_NEWEST_FOUND)
        return found == COLUMN_NEWEST_NONE ? known : found;
    if (other.time_ns < header->time_min_ns || other.time_ns > header->time_max_ns)
        return COLUMN_NEWEST_ELSE;
    if (known == COLUMN_NEWEST_NONE || other.time_ns >= value->time_ns)
        *value = other;
    return COLUMN_NEWEST_FOUND;
}

enum column_newest block_newest(const struct block_newest *newest, struct slice table_key,
                                uint32_t id, struct slice field,
                                struct block_newest_value *ret_value)
{
    const struct block_header *header = &newest->view.header;
    uint32_t places = header->known + header->fresh;
    uint32_t place = block_view_find(&newest->view, id, 0);
    enum column_newest found = COLUMN_NEWEST_NONE;
    struct column_newest_value value = {0};
    struct block_column of;
    struct column_rows rows;

    if (place == places)
        return COLUMN_NEWEST_NONE;
    found = find_field(newest, table_key, field, &rows, &of);
    if (found != COLUMN_NEWEST_FOUND)
        return found;
    found = COLUMN_NEWEST_NONE;
    /* Several places may be one series: what stands behind came later. */
    for (; place < places && found != COLUMN_NEWEST_ELSE;
         place = block_view_find(&newest->view, id, place + 1))
        found = look_at(newest, &rows, &of, place, found, &value);
    if (found == COLUMN_NEWEST_FOUND)
        *ret_value = (struct block_newest_value){of.field.type, value};
    return found;
}
