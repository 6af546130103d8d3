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
#include "storage/segment_row.h"

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
    pack->words = segment_row_words(table->field_count);
    pack->has_strings = false;
    for (uint32_t i = 0; i < table->field_count; i++)
        pack->has_strings |= table->fields[i].type == FIELD_STRING;
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

/* Bytes of the row's strings. */
static size_t row_text(const struct segment_table *table, const uint64_t *row)
{
    const uint64_t *values = row + segment_row_at(table->field_count, 0);
    size_t size = 0;

    for (uint32_t i = 0; i < table->field_count; i++)
        if (table->fields[i].type == FIELD_STRING && segment_row_has(row, i))
            size += column_string_size(values[i]);
    return size;
}

/* How many of the rows have room beside those of the chunk; *text grows by their strings. */
static uint32_t rows_that_fit(const struct segment_pack *pack, const uint64_t *rows, uint32_t count,
                              size_t *text)
{
    uint32_t room = pack->rows_max - pack->rows;

    count = count < room ? count : room;
    if (!pack->has_strings)
        return count;
    for (uint32_t row = 0; row < count; row++, rows += pack->words) {
        size_t size = row_text(&pack->table, rows);

        if (*text + size > TEXT_MAX && pack->rows + row > 0)
            return row;
        *text += size;
    }
    return count;
}

static void add_strings(struct segment_pack *pack, uint32_t field, const uint64_t *rows,
                        const char *text, uint32_t count)
{
    struct segment_pack_column *into = &pack->columns[SEGMENT_COLUMNS + field];
    uint32_t at = segment_row_at(pack->table.field_count, field);

    for (uint32_t i = 0; i < count; i++, rows += pack->words) {
        uint32_t size = column_string_size(rows[at]);

        if (!segment_row_has(rows, field))
            continue;
        into->values[into->count++] = column_string_make((uint32_t)into->text.size, size);
        if (size > 0)
            bytes_put(&into->text, text + column_string_offset(rows[at]), size);
    }
}

static void add_values(struct segment_pack *pack, uint32_t field, const uint64_t *rows,
                       uint32_t count, bool all)
{
    struct segment_pack_column *into = &pack->columns[SEGMENT_COLUMNS + field];
    const uint64_t *value = rows + segment_row_at(pack->table.field_count, field);
    uint64_t *values = into->values + into->count;

    if (all) {
        for (uint32_t i = 0; i < count; i++)
            values[i] = value[(size_t)i * pack->words];
        into->count += count;
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        into->values[into->count] = value[(size_t)i * pack->words];
        into->count += segment_row_has(rows + (size_t)i * pack->words, field);
    }
}

static void add_presence(struct segment_pack *pack, uint32_t field, const uint64_t *rows,
                         uint32_t count, bool all)
{
    uint64_t *bitmap = pack->columns[SEGMENT_COLUMNS + field].bitmap;
    uint32_t end = pack->rows + count;

    if (!all) {
        for (uint32_t at = pack->rows; at < end; at++, rows += pack->words)
            bitmap[at / 64] |= (uint64_t)segment_row_has(rows, field) << at % 64;
        return;
    }
    for (uint32_t at = pack->rows, next; at < end; at = next) { /* Word by word. */
        next = (at / 64 + 1) * 64;
        next = next < end ? next : end;
        bitmap[at / 64] |= UINT64_MAX >> (64 - (next - at)) << at % 64;
    }
}

/* Those of up to 64 fields, whose bits are in one word. */
static void add_fields(struct segment_pack *pack, uint32_t word, const uint64_t *rows,
                       const char *const *texts, uint32_t count)
{
    uint32_t end = 64 * (word + 1);
    uint64_t some = 0, all = UINT64_MAX;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t bits = rows[(size_t)i * pack->words + 1 + word];

        some |= bits;
        all &= bits;
    }
    end = end < pack->table.field_count ? end : pack->table.field_count;
    for (uint32_t field = 64 * word; field < end; field++) {
        if ((some >> field % 64 & 1) == 0)
            continue;
        add_presence(pack, field, rows, count, all >> field % 64 & 1);
        if (pack->table.fields[field].type == FIELD_STRING)
            add_strings(pack, field, rows, texts[field], count);
        else
            add_values(pack, field, rows, count, all >> field % 64 & 1);
    }
}

enum err segment_pack_rows(struct segment_pack *pack, uint32_t id, const uint64_t *rows,
                           const char *const *texts, uint32_t count, uint32_t *ret_taken)
{
    uint32_t taken = rows_that_fit(pack, rows, count, &pack->text);

    *ret_taken = taken;
    if (taken == 0)
        return ERR_OK;
    if (pack->runs == 0 || pack->ids[pack->runs - 1] != id) {
        pack->ids[pack->runs] = id;
        pack->counts[pack->runs++] = 0;
    }
    pack->counts[pack->runs - 1] += taken;
    for (uint32_t i = 0; i < taken; i++)
        pack->times_ns[pack->rows + i] = (int64_t)rows[(size_t)i * pack->words];
    for (uint32_t word = 0; word < segment_row_bits(pack->table.field_count); word++)
        add_fields(pack, word, rows, texts, taken);
    for (uint32_t i = 0; i < pack->table.field_count && pack->has_strings; i++)
        if (pack->columns[SEGMENT_COLUMNS + i].text.failed)
            return no_memory(pack);
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
        column_put_dense_values(type, column->values, column->count,
                                (const char *)column->text.data, &column->frame);
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
