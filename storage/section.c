#include "storage/section.h"

#include <inttypes.h>
#include <string.h>

#include "storage/base/check.h"

void section_fini(struct section_reader *reader)
{
    block_free(reader->block);
    segment_cursor_fini(&reader->cursor);
    reader->block = NULL;
    reader->source = NULL;
}

static enum err open_block(struct section_reader *reader)
{
    const struct snapshot_source *source = reader->source;
    /* The body was checked when the entry was applied, and has not left memory since. */
    enum err err =
        block_view(source->entry->bytes + source->offset, source->size, false, &reader->view);

    if (err == ERR_OK)
        err = block_load(&reader->view, &reader->block);
    if (err == ERR_OK)
        reader->count = block_sections(reader->block);
    return err;
}

static enum err open_group(struct section_reader *reader)
{
    const struct snapshot_source *source = reader->source;
    enum err err = segment_cursor_open(&reader->cursor, source->segment, source->group);

    if (err != ERR_OK)
        return err;
    if (reader->cursor.table->number >= reader->series->tables)
        return err_set(ERR_CORRUPT, "%s: it has table %u of %u", segment_path(source->segment),
                       reader->cursor.table->number, reader->series->tables);
    reader->table = reader->cursor.table;
    reader->count = reader->cursor.group->chunks;
    return ERR_OK;
}

enum err section_open(struct section_reader *reader, const struct snapshot_source *source,
                      const struct catalog_view *series)
{
    block_free(reader->block);
    reader->block = NULL;
    reader->table = NULL;
    reader->count = 0;
    reader->source = source;
    reader->series = series;
    return source->segment != NULL ? open_group(reader) : open_block(reader);
}

static void go_in_block(struct section_reader *reader)
{
    const struct snapshot_source *source = reader->source;
    const struct block_section *info = block_section(reader->block, reader->at);

    reader->section = (struct section){
        .table_key = {info->table_key, info->table_key_size},
        .rows = info->rows,
        .runs = info->runs,
        .fields = info->fields,
        .series_min = source->series_min,
        .series_max = source->series_max,
        .time_min_ns = source->time_min_ns,
        .time_max_ns = source->time_max_ns,
    };
}

static void go_in_group(struct section_reader *reader)
{
    const struct segment_chunk *chunk = &reader->cursor.chunks[reader->at];

    reader->section = (struct section){
        .table_key = catalog_view_table_key(reader->series, reader->cursor.table->number),
        .rows = chunk->rows,
        .runs = chunk->runs,
        .fields = reader->cursor.table->field_count,
        .series_min = chunk->series_min,
        .series_max = chunk->series_max,
        .time_min_ns = chunk->time_min_ns,
        .time_max_ns = chunk->time_max_ns,
        .is_sorted = true,
    };
}

void section_go(struct section_reader *reader, uint32_t at)
{
    CHECK(at < reader->count);
    reader->at = at;
    if (reader->block != NULL)
        go_in_block(reader);
    else
        go_in_group(reader);
}

/* ---- Columns ------------------------------------------------------------------------------- */

struct segment_field section_field(const struct section_reader *reader, uint32_t field)
{
    const struct block_field *own;

    CHECK(field < reader->section.fields);
    if (reader->block == NULL)
        return reader->cursor.table->fields[field];
    own = block_field(reader->block, reader->at, field);
    return (struct segment_field){own->name, own->type};
}

enum err section_values(struct section_reader *reader, uint32_t field, uint32_t *ret_values)
{
    const struct segment_stats *stats;
    enum err err;

    if (reader->block != NULL) {
        *ret_values = block_field(reader->block, reader->at, field)->values;
        return ERR_OK;
    }
    err = segment_cursor_stats(&reader->cursor, reader->at, field, &stats);
    if (err == ERR_OK)
        *ret_values = stats->count;
    return err;
}

enum err section_stats(struct section_reader *reader, uint32_t field,
                       const struct segment_stats **ret_stats)
{
    *ret_stats = NULL;
    if (reader->block != NULL)
        return ERR_OK;
    return segment_cursor_stats(&reader->cursor, reader->at, field, ret_stats);
}

enum err section_read_runs(struct section_reader *reader, uint32_t *ids, uint32_t *counts)
{
    uint32_t places = reader->view.header.known + reader->view.header.fresh;
    enum err err;

    if (reader->block == NULL)
        return segment_cursor_runs(&reader->cursor, reader->at, ids, counts);
    err = block_read_runs(reader->block, reader->at, ids, counts);
    for (uint32_t run = 0; err == ERR_OK && run < reader->section.runs; run++) {
        if (ids[run] >= places)
            return err_set(ERR_CORRUPT, "run %" PRIu32 " has place %" PRIu32, run, ids[run]);
        ids[run] = block_view_id(&reader->view, ids[run]);
    }
    return err;
}

enum err section_read_times(struct section_reader *reader, int64_t *times_ns)
{
    if (reader->block == NULL)
        return segment_cursor_times(&reader->cursor, reader->at, times_ns);
    return block_read_times(reader->block, reader->at, times_ns);
}

enum err section_packed(struct section_reader *reader, uint32_t field, struct reader *ret_values)
{
    if (reader->block == NULL)
        return segment_cursor_packed(&reader->cursor, reader->at, field, ret_values);
    *ret_values = block_packed_field(reader->block, reader->at, field);
    return ERR_OK;
}

enum err section_read_field(struct section_reader *reader, uint32_t field, uint8_t *present,
                            uint64_t *values, const char **ret_strings)
{
    if (reader->block == NULL)
        return segment_cursor_field(&reader->cursor, reader->at, field, present, values,
                                    ret_strings);
    return block_read_field(reader->block, reader->at, field, present, values, ret_strings);
}

/* ---- A part of a block --------------------------------------------------------------------- */

enum err section_read_some_times(struct section_reader *reader, uint32_t first, uint32_t end,
                                 int64_t *times_ns)
{
    if (reader->block == NULL)
        return segment_cursor_times(&reader->cursor, reader->at, times_ns);
    return block_read_some_times(reader->block, reader->at, first, end, times_ns);
}

enum err section_read_some_values(struct section_reader *reader, uint32_t field, uint32_t first,
                                  uint32_t end, uint8_t *present, uint64_t *values,
                                  const char **ret_strings)
{
    if (reader->block == NULL)
        return segment_cursor_field(&reader->cursor, reader->at, field, present, values,
                                    ret_strings);
    return block_read_some_values(reader->block, reader->at, field, first, end, present, values,
                                  ret_strings);
}
