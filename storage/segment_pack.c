#include "storage/segment_pack.h"

#include <stdlib.h>
#include <string.h>

#include "storage/aggregate_cell.h"
#include "storage/aggregate_sum.h"
#include "storage/base/check.h"
#include "storage/block/column.h"
#include "storage/block/column_int.h"
#include "storage/block/column_string.h"
#include "storage/block/column_time.h"
#include "storage/segment_format.h"

enum {
    CELLS_MAX = 1 << 20, /* Rows times fields of a chunk: bounds its arrays to some MiB. */
    TEXT_MAX = 1 << 20,  /* Bytes of a chunk's strings, unless one row has more. */
    BITMAP_WORDS = SEGMENT_CHUNK_ROWS / 64,
};

/* ---- Lifetime ------------------------------------------------------------------------------ */

void segment_pack_fini(struct segment_pack *pack)
{
    for (uint32_t i = 0; i < pack->column_capacity; i++) {
        struct segment_pack_column *column = &pack->columns[i];

        bytes_fini(&column->frame);
        bytes_fini(&column->entries);
        bytes_fini(&column->text);
        free(column->values);
        free(column->bitmap);
    }
    free(pack->columns);
    pack->columns = NULL;
    pack->column_capacity = 0;
}

static enum err no_memory(const struct segment_pack *pack)
{
    return err_set(ERR_NO_MEMORY, "packing %u rows of %u fields", pack->rows,
                   pack->table.field_count);
}

static enum err grow_columns(struct segment_pack *pack, uint32_t count)
{
    struct segment_pack_column *columns;

    if (count <= pack->column_capacity)
        return ERR_OK;
    columns = realloc(pack->columns, count * sizeof *columns);
    if (columns == NULL)
        return no_memory(pack);
    memset(columns + pack->column_capacity, 0, (count - pack->column_capacity) * sizeof *columns);
    pack->columns = columns;
    pack->column_capacity = count;
    return ERR_OK;
}

static void clear_chunk(struct segment_pack *pack)
{
    pack->rows = pack->runs = 0;
    pack->text = 0;
    for (uint32_t i = SEGMENT_COLUMNS; i < pack->column_capacity; i++) {
        struct segment_pack_column *column = &pack->columns[i];

        column->count = 0;
        bytes_clear(&column->text);
        if (column->bitmap != NULL)
            memset(column->bitmap, 0, BITMAP_WORDS * sizeof *column->bitmap);
    }
}

void segment_pack_clear(struct segment_pack *pack)
{
    for (uint32_t i = 0; i < pack->column_capacity; i++) {
        bytes_clear(&pack->columns[i].frame);
        bytes_clear(&pack->columns[i].entries);
    }
    pack->packed = 0;
    pack->group = (struct segment_group){
        .series_min = UINT32_MAX, .time_min_ns = INT64_MAX, .time_max_ns = INT64_MIN};
    clear_chunk(pack);
}

enum err segment_pack_table(struct segment_pack *pack, const struct segment_table *table)
{
    uint32_t rows = table->field_count == 0 ? CELLS_MAX : CELLS_MAX / table->field_count;
    enum err err;

    pack->table = *table;
    pack->rows_max = rows < SEGMENT_CHUNK_ROWS ? rows : SEGMENT_CHUNK_ROWS;
    err = grow_columns(pack, table->field_count + SEGMENT_COLUMNS);
    for (uint32_t i = SEGMENT_COLUMNS; i < table->field_count + SEGMENT_COLUMNS && err == ERR_OK;
         i++) {
        struct segment_pack_column *column = &pack->columns[i];

        /* A wider table before this one may have left arrays for fewer rows. */
        free(column->values);
        column->values = malloc(pack->rows_max * sizeof *column->values);
        if (column->bitmap == NULL)
            column->bitmap = calloc(BITMAP_WORDS, sizeof *column->bitmap);
        if (column->values == NULL || column->bitmap == NULL)
            err = no_memory(pack);
    }
    segment_pack_clear(pack);
    return err;
}

/* ---- Adding rows --------------------------------------------------------------------------- */

/* How many of the rows have room beside those of the chunk; *text grows by their strings. */
static uint32_t rows_that_fit(const struct segment_pack *pack, const struct segment_column *columns,
                              uint32_t first, uint32_t count, size_t *text)
{
    uint32_t room = pack->rows_max - pack->rows;
    bool strings = false;

    count = count < room ? count : room;
    for (uint32_t i = 0; i < pack->table.field_count; i++)
        strings |= pack->table.fields[i].type == FIELD_STRING;
    if (!strings)
        return count;
    for (uint32_t row = 0; row < count; row++) {
        size_t size = 0;

        for (uint32_t i = 0; i < pack->table.field_count; i++)
            if (pack->table.fields[i].type == FIELD_STRING && columns[i].present[first + row])
                size += column_string_size(columns[i].values[first + row]);
        if (*text + size > TEXT_MAX && pack->rows + row > 0)
            return row;
        *text += size;
    }
    return count;
}

static void add_strings(struct segment_pack_column *into, const struct segment_column *from,
                        uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        uint32_t size = column_string_size(from->values[i]);

        if (!from->present[i])
            continue;
        into->values[into->count++] = column_string_make((uint32_t)into->text.size, size);
        if (size > 0)
            bytes_put(&into->text, from->text + column_string_offset(from->values[i]), size);
    }
}

static void add_values(struct segment_pack *pack, uint32_t field, const struct segment_column *from,
                       uint32_t first, uint32_t count)
{
    struct segment_pack_column *into = &pack->columns[SEGMENT_COLUMNS + field];

    for (uint32_t i = 0; i < count; i++)
        into->bitmap[(pack->rows + i) / 64] |= (uint64_t)(from->present[first + i] != 0)
                                               << (pack->rows + i) % 64;
    if (pack->table.fields[field].type == FIELD_STRING) {
        add_strings(into, from, first, count);
        return;
    }
    for (uint32_t i = first; i < first + count; i++) {
        into->values[into->count] = from->values[i];
        into->count += from->present[i] != 0;
    }
}

enum err segment_pack_rows(struct segment_pack *pack, uint32_t id, const int64_t *times_ns,
                           const struct segment_column *columns, uint32_t first, uint32_t count,
                           uint32_t *ret_taken)
{
    uint32_t taken = rows_that_fit(pack, columns, first, count, &pack->text);

    *ret_taken = taken;
    if (taken == 0)
        return ERR_OK;
    if (pack->runs == 0 || pack->ids[pack->runs - 1] != id) {
        pack->ids[pack->runs] = id;
        pack->counts[pack->runs++] = 0;
    }
    pack->counts[pack->runs - 1] += taken;
    memcpy(pack->times_ns + pack->rows, times_ns + first, taken * sizeof *times_ns);
    for (uint32_t i = 0; i < pack->table.field_count; i++) {
        add_values(pack, i, &columns[i], first, taken);
        if (pack->columns[SEGMENT_COLUMNS + i].text.failed)
            return no_memory(pack);
    }
    pack->rows += taken;
    return ERR_OK;
}

/* ---- Packing a chunk ----------------------------------------------------------------------- */

struct segment_stats segment_pack_stats(enum field_type type, const uint64_t *values,
                                        uint32_t count)
{
    struct segment_stats stats = {.count = (uint16_t)count, .sum_form = SEGMENT_SUM_NONE};
    unsigned form = 0;

    if (type == FIELD_STRING || count == 0)
        return stats;
    stats.min = aggregate_cell_extreme(QUERY_MIN, type, values, count);
    stats.max = aggregate_cell_extreme(QUERY_MAX, type, values, count);
    stats.first = values[0];
    stats.last = values[count - 1];
    if (type == FIELD_FLOAT) {
        if (aggregate_sum_decimals(values, count, &form, &stats.sum))
            stats.sum_form = (uint8_t)form;
        else
            stats.sum = 0;
    } else if (type != FIELD_BOOL) {
        int128 sum = aggregate_cell_sum(type, values, count);

        if (sum >= INT64_MIN && sum <= INT64_MAX) {
            stats.sum = (int64_t)sum;
            stats.sum_form = 0;
        }
    }
    return stats;
}

static void pack_field(struct segment_pack *pack, uint32_t field)
{
    enum field_type type = pack->table.fields[field].type;
    struct segment_pack_column *column = &pack->columns[SEGMENT_COLUMNS + field];
    struct segment_stats stats = segment_pack_stats(type, column->values, column->count);

    if (column->count > 0) {
        column_put_presence(column->bitmap, pack->rows, column->count, &column->frame);
        column_put_values(type, column->values, column->count, (const char *)column->text.data,
                          &column->frame);
    }
    stats.end = (uint32_t)column->frame.size;
    bytes_put(&column->entries, &stats, sizeof stats);
}

static struct segment_chunk chunk_of(const struct segment_pack *pack)
{
    struct segment_chunk chunk = {.rows = pack->rows,
                                  .runs = pack->runs,
                                  .series_min = (uint32_t)pack->ids[0],
                                  .series_max = (uint32_t)pack->ids[pack->runs - 1],
                                  .time_min_ns = INT64_MAX,
                                  .time_max_ns = INT64_MIN};

    for (uint32_t i = 0; i < pack->rows; i++) {
        int64_t time_ns = pack->times_ns[i];

        chunk.time_min_ns = time_ns < chunk.time_min_ns ? time_ns : chunk.time_min_ns;
        chunk.time_max_ns = time_ns > chunk.time_max_ns ? time_ns : chunk.time_max_ns;
    }
    for (uint32_t i = 0; i < pack->table.field_count; i++)
        chunk.points += pack->columns[SEGMENT_COLUMNS + i].count;
    return chunk;
}

static void add_to_group(struct segment_group *group, const struct segment_chunk *chunk)
{
    group->chunks++;
    group->rows += chunk->rows;
    group->points += chunk->points;
    if (chunk->series_min < group->series_min)
        group->series_min = chunk->series_min;
    group->series_max = chunk->series_max;
    if (chunk->time_min_ns < group->time_min_ns)
        group->time_min_ns = chunk->time_min_ns;
    if (chunk->time_max_ns > group->time_max_ns)
        group->time_max_ns = chunk->time_max_ns;
}

enum err segment_pack_end_chunk(struct segment_pack *pack)
{
    struct bytes *runs = &pack->columns[0].frame, *times = &pack->columns[1].frame;
    uint32_t columns = pack->table.field_count + SEGMENT_COLUMNS;
    struct segment_chunk chunk;

    CHECK(pack->rows > 0);
    chunk = chunk_of(pack);
    if (pack->runs > 1) {
        column_int_put(pack->ids, pack->runs, runs);
        column_int_put(pack->counts, pack->runs, runs);
    }
    column_time_put(pack->times_ns, pack->counts, pack->runs, pack->scratch, times);
    chunk.runs_end = (uint32_t)runs->size;
    chunk.times_end = (uint32_t)times->size;
    bytes_put(&pack->columns[1].entries, &chunk, sizeof chunk);
    for (uint32_t i = 0; i < pack->table.field_count; i++)
        pack_field(pack, i);
    pack->packed = 0;
    for (uint32_t i = 0; i < columns; i++) {
        if (pack->columns[i].frame.failed || pack->columns[i].entries.failed)
            return no_memory(pack);
        pack->packed += pack->columns[i].frame.size;
    }
    add_to_group(&pack->group, &chunk);
    clear_chunk(pack);
    return ERR_OK;
}
