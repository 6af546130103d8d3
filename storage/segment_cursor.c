#include "storage/segment_cursor.h"

#include <lz4.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/block/column.h"
#include "storage/block/column_int.h"
#include "storage/block/column_time.h"
#include "storage/segment_damage.h"
#include "storage/segment_format.h"

enum { LZ4_RATIO_MAX = 255 }; /* No byte of an LZ4 block makes more bytes than this. */

void segment_cursor_fini(struct segment_cursor *cursor)
{
    for (uint32_t i = 0; i < cursor->column_capacity; i++) {
        struct segment_cursor_column *column = cursor->columns[i];

        if (column == NULL)
            continue;
        bytes_fini(&column->stored);
        bytes_fini(&column->room);
        free(column);
    }
    free(cursor->columns);
    bytes_fini(&cursor->piece);
    cursor->columns = NULL;
    cursor->column_capacity = 0;
    cursor->segment = NULL;
}

size_t segment_cursor_bytes(const struct segment_cursor *cursor)
{
    size_t bytes = cursor->piece.capacity + cursor->column_capacity * sizeof(*cursor->columns);

    for (uint32_t i = 0; i < cursor->column_capacity; i++) {
        const struct segment_cursor_column *column = cursor->columns[i];

        if (column != NULL)
            bytes += sizeof *column + column->stored.capacity + column->room.capacity;
    }
    return bytes;
}

static enum err no_memory(const struct segment_cursor *cursor, size_t size)
{
    return err_set(ERR_NO_MEMORY, "%s: %zu bytes of the group at offset %" PRIu64,
                   segment_path(cursor->segment), size, cursor->group->offset);
}

static enum err corrupt(const struct segment_cursor *cursor, uint64_t offset, const char *what)
{
    segment_blame(cursor->segment);
    return err_set(ERR_CORRUPT, "%s: offset %" PRIu64 ": bad %s", segment_path(cursor->segment),
                   offset, what);
}

/* The column's state, made at first use: most queries ask for few of many fields. */
static enum err find_column(struct segment_cursor *cursor, uint32_t at,
                            struct segment_cursor_column **ret_column)
{
    if (cursor->columns[at] == NULL) {
        cursor->columns[at] = calloc(1, sizeof **ret_column);
        if (cursor->columns[at] == NULL)
            return no_memory(cursor, sizeof **ret_column);
    }
    *ret_column = cursor->columns[at];
    return ERR_OK;
}

/* ---- Index --------------------------------------------------------------------------------- */

/* Read a piece into the scratch and check its sum. */
static enum err read_piece(struct segment_cursor *cursor, uint32_t column)
{
    uint64_t offset = segment_piece_offset(cursor->group, column);
    size_t size = segment_piece_size(cursor->group->chunks);
    uint32_t crc;
    enum err err;

    bytes_clear(&cursor->piece);
    if (bytes_add(&cursor->piece, size) == NULL)
        return no_memory(cursor, size);
    err = segment_read(cursor->segment, offset, cursor->piece.data, size);
    if (err != ERR_OK)
        return err;
    memcpy(&crc, cursor->piece.data, sizeof crc);
    if (crc != segment_crc(offset, cursor->piece.data, size))
        return corrupt(cursor, offset, "checksum of an index");
    return ERR_OK;
}

/* The chunks follow each other and make up the group. */
static const char *chunks_fault(const struct segment_cursor *cursor)
{
    const struct segment_group *group = cursor->group;
    uint64_t rows = 0, points = 0;

    for (uint32_t i = 0; i < group->chunks; i++) {
        const struct segment_chunk *chunk = &cursor->chunks[i];
        const struct segment_chunk *before = i > 0 ? chunk - 1 : NULL;

        if (chunk->rows < 1 || chunk->rows > SEGMENT_CHUNK_ROWS || chunk->runs < 1 ||
            chunk->runs > chunk->rows ||
            (chunk->runs == 1) != (chunk->series_min == chunk->series_max))
            return "number of rows";
        if (chunk->series_min > chunk->series_max || chunk->series_max > group->series_max ||
            chunk->series_min < (before != NULL ? before->series_max : group->series_min))
            return "order of series";
        if (chunk->time_min_ns > chunk->time_max_ns || chunk->time_min_ns < group->time_min_ns ||
            chunk->time_max_ns > group->time_max_ns)
            return "range of times";
        if (chunk->runs_end < (before != NULL ? before->runs_end : 0) ||
            chunk->times_end <= (before != NULL ? before->times_end : 0))
            return "places in a frame";
        rows += chunk->rows;
        points += chunk->points;
    }
    return rows == group->rows && points == group->points ? NULL : "sums";
}

static enum err grow_columns(struct segment_cursor *cursor, uint32_t count)
{
    struct segment_cursor_column **columns;

    if (count <= cursor->column_capacity)
        return ERR_OK;
    columns = realloc(cursor->columns, count * sizeof(*columns));
    if (columns == NULL)
        return no_memory(cursor, count * sizeof(*columns));
    memset(columns + cursor->column_capacity, 0,
           (count - cursor->column_capacity) * sizeof(*columns));
    cursor->columns = columns;
    cursor->column_capacity = count;
    return ERR_OK;
}

static enum err take_chunks(struct segment_cursor *cursor)
{
    struct reader reader = reader_on(cursor->piece.data, cursor->piece.size);
    struct segment_cursor_column *runs, *times;
    const char *fault;
    enum err err = find_column(cursor, 0, &runs);

    if (err == ERR_OK)
        err = find_column(cursor, 1, &times);
    if (err != ERR_OK)
        return err;
    (void)reader_u32(&reader);
    runs->offset = cursor->group->offset;
    runs->size = reader_u32(&reader);
    times->offset = runs->offset + runs->size;
    times->size = reader_u32(&reader);
    (void)reader_u32(&reader);
    memcpy(cursor->chunks, reader.at, cursor->group->chunks * sizeof *cursor->chunks);
    fault = chunks_fault(cursor);
    return fault == NULL ? ERR_OK : corrupt(cursor, segment_piece_offset(cursor->group, 1), fault);
}

enum err segment_cursor_open(struct segment_cursor *cursor, const struct segment *segment,
                             uint32_t group)
{
    enum err err;

    cursor->segment = segment;
    cursor->group = segment_group(segment, group);
    cursor->table = segment_table(segment, group);
    for (uint32_t i = 0; i < cursor->column_capacity; i++)
        if (cursor->columns[i] != NULL)
            cursor->columns[i]->has_stats = cursor->columns[i]->has_frame = false;
    err = grow_columns(cursor, SEGMENT_COLUMNS + cursor->table->field_count);
    if (err == ERR_OK)
        err = read_piece(cursor, 1);
    return err == ERR_OK ? take_chunks(cursor) : err;
}

static const char *stats_fault(const struct segment_cursor *cursor,
                               const struct segment_cursor_column *column)
{
    uint32_t end = 0;

    for (uint32_t i = 0; i < cursor->group->chunks; i++) {
        const struct segment_stats *stats = &column->stats[i];

        if (stats->count > cursor->chunks[i].rows)
            return "number of values";
        if (stats->count == 0 ? stats->end != end : stats->end <= end)
            return "places in a frame";
        if (stats->sum_form > SEGMENT_SUM_DECIMAL_MAX && stats->sum_form != SEGMENT_SUM_NONE)
            return "form of a sum";
        end = stats->end;
    }
    return NULL;
}

static enum err load_stats(struct segment_cursor *cursor, uint32_t field,
                           struct segment_cursor_column **ret_column)
{
    struct segment_cursor_column *column;
    struct reader reader;
    const char *fault;
    enum err err = find_column(cursor, SEGMENT_COLUMNS + field, &column);

    *ret_column = column;
    if (err != ERR_OK || column->has_stats)
        return err;
    err = read_piece(cursor, SEGMENT_COLUMNS + field);
    if (err != ERR_OK)
        return err;
    reader = reader_on(cursor->piece.data, cursor->piece.size);
    (void)reader_u32(&reader);
    column->size = reader_u32(&reader);
    column->offset = reader_u64(&reader);
    memcpy(column->stats, reader.at, cursor->group->chunks * sizeof *column->stats);
    fault = stats_fault(cursor, column);
    if (fault != NULL)
        return corrupt(cursor, segment_piece_offset(cursor->group, SEGMENT_COLUMNS + field), fault);
    column->has_stats = true;
    return ERR_OK;
}

enum err segment_cursor_stats(struct segment_cursor *cursor, uint32_t chunk, uint32_t field,
                              const struct segment_stats **ret_stats)
{
    struct segment_cursor_column *column = NULL;
    enum err err;

    CHECK(chunk < cursor->group->chunks);
    CHECK(field < cursor->table->field_count);
    err = load_stats(cursor, field, &column);
    if (err == ERR_OK)
        *ret_stats = &column->stats[chunk];
    return err;
}

/* ---- Frames -------------------------------------------------------------------------------- */

static enum err decompress(struct segment_cursor *cursor, struct segment_cursor_column *column)
{
    const uint8_t *stored = column->stored.data + SEGMENT_FRAME_HEADER;
    uint32_t stored_size = column->size - SEGMENT_FRAME_HEADER;
    int size;

    column->raw = stored;
    if (stored_size == column->raw_size)
        return ERR_OK;
    bytes_clear(&column->room);
    if (bytes_add(&column->room, column->raw_size) == NULL)
        return no_memory(cursor, column->raw_size);
    size = LZ4_decompress_safe((const char *)stored, (char *)column->room.data, (int)stored_size,
                               (int)column->raw_size);
    if (size < 0 || (uint32_t)size != column->raw_size)
        return corrupt(cursor, column->offset, "LZ4 of a frame");
    column->raw = column->room.data;
    return ERR_OK;
}

/* `end`: where the index says that its last chunk ends. */
static enum err load_frame(struct segment_cursor *cursor, struct segment_cursor_column *column,
                           uint32_t end)
{
    const struct segment_group *group = cursor->group;
    uint32_t crc;
    enum err err;

    if (column->has_frame)
        return ERR_OK;
    if (column->size < SEGMENT_FRAME_HEADER || column->offset < group->offset ||
        column->offset > group->index_offset || column->size > group->index_offset - column->offset)
        return corrupt(cursor, column->offset, "place of a frame");
    bytes_clear(&column->stored);
    if (bytes_add(&column->stored, column->size) == NULL)
        return no_memory(cursor, column->size);
    err = segment_read(cursor->segment, column->offset, column->stored.data, column->size);
    if (err != ERR_OK)
        return err;
    memcpy(&crc, column->stored.data, sizeof crc);
    memcpy(&column->raw_size, column->stored.data + sizeof crc, sizeof column->raw_size);
    if (crc != segment_crc(column->offset, column->stored.data, column->size))
        return corrupt(cursor, column->offset, "checksum of a frame");
    if (column->raw_size != end || column->raw_size > SEGMENT_FRAME_MAX ||
        column->raw_size < column->size - SEGMENT_FRAME_HEADER ||
        column->raw_size > (uint64_t)(column->size - SEGMENT_FRAME_HEADER) * LZ4_RATIO_MAX)
        return corrupt(cursor, column->offset, "size of a frame");
    err = decompress(cursor, column);
    column->has_frame = err == ERR_OK;
    return err;
}

enum err segment_cursor_load(struct segment_cursor *cursor)
{
    const struct segment_chunk *last = &cursor->chunks[cursor->group->chunks - 1];
    enum err err = ERR_OK;

    if (last->runs_end > 0)
        err = load_frame(cursor, cursor->columns[0], last->runs_end);
    if (err == ERR_OK)
        err = load_frame(cursor, cursor->columns[1], last->times_end);
    for (uint32_t i = 0; i < cursor->table->field_count && err == ERR_OK; i++) {
        struct segment_cursor_column *column = NULL;
        uint32_t end;

        err = load_stats(cursor, i, &column);
        end = err == ERR_OK ? column->stats[cursor->group->chunks - 1].end : 0;
        if (end > 0)
            err = load_frame(cursor, column, end);
    }
    return err;
}

static struct reader part(const struct segment_cursor_column *column, uint32_t start, uint32_t end)
{
    return reader_on(column->raw + start, end - start);
}

/* Ids and counts of a chunk's runs into cursor->numbers, counts from SEGMENT_CHUNK_ROWS on. */
static enum err load_runs(struct segment_cursor *cursor, uint32_t at)
{
    const struct segment_chunk *chunk = &cursor->chunks[at];
    struct segment_cursor_column *column = cursor->columns[0];
    uint64_t *ids = cursor->numbers, *counts = cursor->numbers + SEGMENT_CHUNK_ROWS;
    struct reader reader;
    uint64_t rows = 0;
    enum err err;

    CHECK(at < cursor->group->chunks);
    ids[0] = chunk->series_min;
    counts[0] = chunk->rows;
    if (chunk->runs == 1)
        return ERR_OK;
    err = load_frame(cursor, column, cursor->chunks[cursor->group->chunks - 1].runs_end);
    if (err != ERR_OK)
        return err;
    reader = part(column, at == 0 ? 0 : chunk[-1].runs_end, chunk->runs_end);
    column_int_get(&reader, chunk->runs, ids);
    column_int_get(&reader, chunk->runs, counts);
    if (!reader_done(&reader) || ids[0] != chunk->series_min ||
        ids[chunk->runs - 1] != chunk->series_max)
        return corrupt(cursor, column->offset, "runs");
    for (uint32_t i = 0; i < chunk->runs; i++) {
        if ((i > 0 && ids[i] <= ids[i - 1]) || counts[i] < 1 || counts[i] > chunk->rows - rows)
            return corrupt(cursor, column->offset, "runs");
        rows += counts[i];
    }
    return rows == chunk->rows ? ERR_OK : corrupt(cursor, column->offset, "runs");
}

enum err segment_cursor_runs(struct segment_cursor *cursor, uint32_t chunk, uint32_t *ids,
                             uint32_t *counts)
{
    enum err err = load_runs(cursor, chunk);

    for (uint32_t i = 0; err == ERR_OK && i < cursor->chunks[chunk].runs; i++) {
        ids[i] = (uint32_t)cursor->numbers[i];
        counts[i] = (uint32_t)cursor->numbers[SEGMENT_CHUNK_ROWS + i];
    }
    return err;
}

enum err segment_cursor_times(struct segment_cursor *cursor, uint32_t at, int64_t *times_ns)
{
    const struct segment_chunk *chunk = &cursor->chunks[at];
    struct segment_cursor_column *column = cursor->columns[1];
    struct reader reader;
    enum err err = load_runs(cursor, at);

    if (err == ERR_OK)
        err = load_frame(cursor, column, cursor->chunks[cursor->group->chunks - 1].times_end);
    if (err != ERR_OK)
        return err;
    reader = part(column, at == 0 ? 0 : chunk[-1].times_end, chunk->times_end);
    column_time_get(&reader, cursor->numbers + SEGMENT_CHUNK_ROWS, chunk->runs, chunk->rows,
                    cursor->numbers, times_ns);
    if (!reader_done(&reader))
        return corrupt(cursor, column->offset, "times");
    for (uint32_t run = 0, at_row = 0; run < chunk->runs; run++) { /* Times of a run ascend. */
        uint32_t last = at_row + (uint32_t)cursor->numbers[SEGMENT_CHUNK_ROWS + run] - 1;

        if (times_ns[at_row] < chunk->time_min_ns || times_ns[last] > chunk->time_max_ns)
            return corrupt(cursor, column->offset, "times");
        at_row = last + 1;
    }
    return ERR_OK;
}

/* The column of a field that the chunk has, from its presence on. */
static enum err find_part(struct segment_cursor *cursor, uint32_t at, uint32_t field,
                          const struct segment_stats *stats, struct column_presence *ret_presence,
                          struct reader *ret_values)
{
    struct segment_cursor_column *column = cursor->columns[SEGMENT_COLUMNS + field];
    enum err err = load_frame(cursor, column, column->stats[cursor->group->chunks - 1].end);

    if (err != ERR_OK)
        return err;
    *ret_values = part(column, at == 0 ? 0 : stats[-1].end, stats->end);
    column_find_presence(ret_values, cursor->chunks[at].rows, ret_presence);
    if (ret_values->bad || ret_presence->values != stats->count)
        return corrupt(cursor, column->offset, "presence");
    return ERR_OK;
}

enum err segment_cursor_packed(struct segment_cursor *cursor, uint32_t chunk, uint32_t field,
                               struct reader *ret_values)
{
    const struct segment_stats *stats;
    struct column_presence presence;
    enum err err = segment_cursor_stats(cursor, chunk, field, &stats);

    if (err != ERR_OK)
        return err;
    CHECK(stats->count > 0);
    return find_part(cursor, chunk, field, stats, &presence, ret_values);
}

enum err segment_cursor_field(struct segment_cursor *cursor, uint32_t at, uint32_t field,
                              uint8_t *present, uint64_t *values, const char **ret_strings)
{
    const struct segment_chunk *chunk = &cursor->chunks[at];
    struct column_presence presence;
    const struct segment_stats *stats;
    struct reader reader;
    enum err err = segment_cursor_stats(cursor, at, field, &stats);

    if (err != ERR_OK)
        return err;
    *ret_strings = NULL;
    if (stats->count == 0) {
        memset(present, 0, chunk->rows);
        memset(values, 0, chunk->rows * sizeof *values);
        if (cursor->table->fields[field].type == FIELD_STRING)
            *ret_strings = "";
        return ERR_OK;
    }
    err = find_part(cursor, at, field, stats, &presence, &reader);
    if (err != ERR_OK)
        return err;
    if (!column_get_presence(&presence, chunk->rows, present))
        return corrupt(cursor, cursor->columns[SEGMENT_COLUMNS + field]->offset, "presence");
    column_get_values(&reader, cursor->table->fields[field].type, stats->count, values,
                      ret_strings);
    if (!reader_done(&reader))
        return corrupt(cursor, cursor->columns[SEGMENT_COLUMNS + field]->offset, "values");
    column_spread(present, chunk->rows, stats->count, values);
    return ERR_OK;
}

/* ---- One value ----------------------------------------------------------------------------- */

/* The columns of runs and times of a chunk, where there are such frames. */
static enum err find_rows(struct segment_cursor *cursor, uint32_t at, struct column_rows *ret_rows)
{
    const struct segment_chunk *chunk = &cursor->chunks[at];
    const struct segment_chunk *last = &cursor->chunks[cursor->group->chunks - 1];
    enum err err = load_frame(cursor, cursor->columns[1], last->times_end);

    ret_rows->runs = reader_on("", 0);
    if (err == ERR_OK && chunk->runs > 1) {
        err = load_frame(cursor, cursor->columns[0], last->runs_end);
        if (err == ERR_OK)
            ret_rows->runs =
                part(cursor->columns[0], at == 0 ? 0 : chunk[-1].runs_end, chunk->runs_end);
    }
    if (err == ERR_OK)
        ret_rows->times =
            part(cursor->columns[1], at == 0 ? 0 : chunk[-1].times_end, chunk->times_end);
    ret_rows->run_count = chunk->runs;
    ret_rows->rows = chunk->rows;
    return err;
}

enum err segment_cursor_newest(struct segment_cursor *cursor, uint32_t at, uint32_t field,
                               uint32_t id, enum column_newest *ret_found,
                               struct column_newest_value *ret_value)
{
    const struct segment_chunk *chunk = &cursor->chunks[at];
    enum field_type type = cursor->table->fields[field].type;
    struct column_run run = {0, 0, chunk->rows};
    struct column_presence presence;
    const struct segment_stats *stats;
    struct column_rows rows;
    struct reader values;
    enum err err = segment_cursor_stats(cursor, at, field, &stats);

    *ret_found = COLUMN_NEWEST_NONE;
    if (err != ERR_OK || stats->count == 0 || chunk->series_min > id || chunk->series_max < id)
        return err;
    if (chunk->runs == 1 && stats->count == chunk->rows && type != FIELD_STRING) {
        *ret_value = (struct column_newest_value){chunk->time_max_ns, stats->last};
        *ret_found = COLUMN_NEWEST_FOUND;
        return ERR_OK;
    }
    err = find_rows(cursor, at, &rows);
    if (err == ERR_OK && chunk->runs > 1)
        *ret_found = column_newest_run(&rows, id, UINT32_MAX, &run);
    else
        *ret_found = COLUMN_NEWEST_FOUND;
    if (err != ERR_OK || *ret_found != COLUMN_NEWEST_FOUND)
        return err;
    err = find_part(cursor, at, field, stats, &presence, &values);
    if (err == ERR_OK)
        *ret_found = column_newest_of(&rows, &run, &presence, type, values, ret_value);
    if (err == ERR_OK && *ret_found == COLUMN_NEWEST_FOUND &&
        (ret_value->time_ns < chunk->time_min_ns || ret_value->time_ns > chunk->time_max_ns))
        return corrupt(cursor, cursor->columns[1]->offset, "times");
    return err;
}
