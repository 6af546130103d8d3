#include "storage/segment_check.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "storage/base/check.h"
#include "storage/segment_cursor.h"
#include "storage/segment_format.h"
#include "storage/segment_pack.h"
#include "storage/segment_verify.h"

struct check {
    const struct segment *segment;
    const struct catalog_view *series; /* NULL: unknown. */
    struct damage_sink *sink;
    struct segment_cursor cursor;
    XXH3_state_t *hash;
    bool whole; /* Everything so far could be read: the hash can be compared. */

    /* The last row seen, if rows of this table came before. */
    bool has_last;
    uint32_t last_table, last_id;
    int64_t last_time_ns;

    /* One chunk. */
    uint32_t ids[SEGMENT_CHUNK_ROWS], counts[SEGMENT_CHUNK_ROWS];
    int64_t times_ns[SEGMENT_CHUNK_ROWS];
    uint64_t values[SEGMENT_CHUNK_ROWS];
    uint8_t present[SEGMENT_CHUNK_ROWS];
};

/* ---- Telling ------------------------------------------------------------------------------- */

/* A reader has failed. Without memory there is no going on, all else is a fault of the file. */
static enum err failed(struct check *check, enum err err)
{
    check->whole = false;
    if (err != ERR_NO_MEMORY) {
        damage_report_error(check->sink, segment_path(check->segment));
        return ERR_OK;
    }
    return err;
}

#define FAULT_AT(check, offset, ...) \
    damage_report((check)->sink, segment_path((check)->segment), offset, __VA_ARGS__)

/* Where the index has its entry of a chunk: column 1 is the chunks', 2 + i that of field i. */
static uint64_t entry_offset(const struct check *check, uint32_t column, uint32_t chunk)
{
    return segment_piece_offset(check->cursor.group, column) + SEGMENT_PIECE_HEADER +
           chunk * sizeof(struct segment_chunk);
}

/* ---- Rows ---------------------------------------------------------------------------------- */

/* The run's series is known, and of this table. */
static void check_series(struct check *check, uint32_t chunk, uint32_t id)
{
    const struct catalog_view *series = check->series;
    uint32_t table = check->cursor.table->number;

    if (series == NULL)
        return;
    if (id >= series->count)
        FAULT_AT(check, entry_offset(check, 1, chunk),
                 "chunk %" PRIu32 " has series %" PRIu32 ", the catalog has %" PRIu32, chunk, id,
                 series->count);
    else if (catalog_view_table(series, id) != table)
        FAULT_AT(check, entry_offset(check, 1, chunk),
                 "chunk %" PRIu32 " has series %" PRIu32 " in table %" PRIu32
                 ", the catalog in table %" PRIu32,
                 chunk, id, table, catalog_view_table(series, id));
}

/* Rows ascend by series and time, none is there twice. One report a chunk. */
static void check_order(struct check *check, uint32_t chunk)
{
    const struct segment_chunk *entry = &check->cursor.chunks[chunk];
    bool reported = false;
    uint32_t row = 0;

    if (check->last_table != check->cursor.group->table)
        check->has_last = false;
    for (uint32_t run = 0; run < entry->runs; run++) {
        check_series(check, chunk, check->ids[run]);
        for (uint32_t i = 0; i < check->counts[run]; i++, row++) {
            if (check->has_last && !reported &&
                (check->ids[run] < check->last_id ||
                 (check->ids[run] == check->last_id &&
                  check->times_ns[row] <= check->last_time_ns))) {
                FAULT_AT(check, entry_offset(check, 1, chunk),
                         "chunk %" PRIu32 ": row %" PRIu32 " is out of order", chunk, row);
                reported = true;
            }
            check->last_id = check->ids[run];
            check->last_time_ns = check->times_ns[row];
            check->has_last = true;
        }
    }
    check->last_table = check->cursor.group->table;
}

static void check_times(struct check *check, uint32_t chunk)
{
    const struct segment_chunk *entry = &check->cursor.chunks[chunk];
    int64_t min = INT64_MAX, max = INT64_MIN;

    for (uint32_t i = 0; i < entry->rows; i++) {
        min = check->times_ns[i] < min ? check->times_ns[i] : min;
        max = check->times_ns[i] > max ? check->times_ns[i] : max;
    }
    if (min != entry->time_min_ns || max != entry->time_max_ns)
        FAULT_AT(check, entry_offset(check, 1, chunk),
                 "the index has times %" PRId64 " to %" PRId64 " of chunk %" PRIu32
                 ", its rows have %" PRId64 " to %" PRId64,
                 entry->time_min_ns, entry->time_max_ns, chunk, min, max);
}

static enum err check_rows(struct check *check)
{
    struct segment_cursor *cursor = &check->cursor;

    for (uint32_t chunk = 0; chunk < cursor->group->chunks; chunk++) {
        enum err err = segment_cursor_runs(cursor, chunk, check->ids, check->counts);

        if (err == ERR_OK)
            err = segment_cursor_times(cursor, chunk, check->times_ns);
        if (err != ERR_OK) {
            check->has_last = false;
            return failed(check, err); /* The next chunk is in the same frame. */
        }
        check_times(check, chunk);
        check_order(check, chunk);
    }
    return ERR_OK;
}

/* ---- Fields -------------------------------------------------------------------------------- */

/* What the index should say of a chunk's values; `end` is not for values to tell. */
static struct segment_stats stats_of(struct check *check, uint32_t field, uint32_t rows)
{
    uint32_t count = 0;

    for (uint32_t row = 0; row < rows; row++)
        if (check->present[row])
            check->values[count++] = check->values[row];
    return segment_pack_stats(check->cursor.table->fields[field].type, check->values, count);
}

static const char *stats_fault(const struct segment_stats *is, const struct segment_stats *should)
{
    if (is->count != should->count)
        return "count";
    if (is->min != should->min)
        return "smallest value";
    if (is->max != should->max)
        return "largest value";
    if (is->sum_form != should->sum_form || is->sum != should->sum)
        return "sum";
    if (is->first != should->first)
        return "first value";
    return is->last != should->last ? "last value" : NULL;
}

static enum err check_field(struct check *check, uint32_t field)
{
    struct segment_cursor *cursor = &check->cursor;
    struct slice name = cursor->table->fields[field].name;

    for (uint32_t chunk = 0; chunk < cursor->group->chunks; chunk++) {
        const struct segment_stats *stats;
        struct segment_stats should;
        const char *strings, *fault;
        enum err err = segment_cursor_stats(cursor, chunk, field, &stats);

        if (err == ERR_OK)
            err =
                segment_cursor_field(cursor, chunk, field, check->present, check->values, &strings);
        if (err != ERR_OK)
            return failed(check, err);
        should = stats_of(check, field, cursor->chunks[chunk].rows);
        fault = stats_fault(stats, &should);
        if (fault != NULL)
            FAULT_AT(check, entry_offset(check, SEGMENT_COLUMNS + field, chunk),
                     "the index has another %s of field %.*s in chunk %" PRIu32 " than its values",
                     fault, (int)name.size, name.data, chunk);
    }
    return ERR_OK;
}

/* ---- Groups -------------------------------------------------------------------------------- */

static uint32_t column_count(const struct check *check)
{
    return SEGMENT_COLUMNS + check->cursor.table->field_count;
}

/* Frames stand one behind the other, from the group's start to its index. */
static void check_frames(struct check *check)
{
    const struct segment_group *group = check->cursor.group;
    uint64_t offset = group->offset;

    for (uint32_t i = 0; i < column_count(check); i++) {
        const struct segment_cursor_column *column = check->cursor.columns[i];

        if (column == NULL || (i >= SEGMENT_COLUMNS && !column->has_stats))
            return; /* Its piece of the index is damaged, which was reported. */
        if (column->size > 0 && column->offset != offset) {
            FAULT_AT(check, segment_piece_offset(group, i < 1 ? 1 : i),
                     "the frame of column %" PRIu32 " is said to be at %" PRIu64
                     ", the one before ends at %" PRIu64,
                     i, column->offset, offset);
            return;
        }
        if (column->size > 0 && !column->has_frame && check->whole)
            FAULT_AT(check, offset, "a frame of %" PRIu32 " bytes that no chunk refers to",
                     column->size);
        offset += column->size;
    }
    if (offset != group->index_offset)
        FAULT_AT(check, offset, "%" PRIu64 " bytes before the index belong to nothing",
                 group->index_offset - offset);
}

/* The index adds up, and the directory's ranges are what the chunks have. */
static void check_group_entry(struct check *check)
{
    const struct segment_cursor *cursor = &check->cursor;
    const struct segment_group *group = cursor->group;
    int64_t min = INT64_MAX, max = INT64_MIN;

    for (uint32_t chunk = 0; chunk < group->chunks; chunk++) {
        const struct segment_chunk *entry = &cursor->chunks[chunk];
        uint64_t points = 0;

        min = entry->time_min_ns < min ? entry->time_min_ns : min;
        max = entry->time_max_ns > max ? entry->time_max_ns : max;
        for (uint32_t i = SEGMENT_COLUMNS; i < column_count(check); i++) {
            if (cursor->columns[i] == NULL || !cursor->columns[i]->has_stats)
                return;
            points += cursor->columns[i]->stats[chunk].count;
        }
        if (points != entry->points)
            FAULT_AT(check, entry_offset(check, 1, chunk),
                     "the index has %" PRIu32 " values in chunk %" PRIu32 ", its fields %" PRIu64,
                     entry->points, chunk, points);
    }
    if (min != group->time_min_ns || max != group->time_max_ns ||
        cursor->chunks[0].series_min != group->series_min ||
        cursor->chunks[group->chunks - 1].series_max != group->series_max)
        FAULT_AT(check, group->index_offset,
                 "the directory has another range of times or series than the group's chunks");
}

static enum err check_group(struct check *check, uint32_t at)
{
    enum err err = segment_cursor_open(&check->cursor, check->segment, at);

    if (err != ERR_OK) {
        check->has_last = false;
        return failed(check, err);
    }
    err = check_rows(check);
    for (uint32_t i = 0; i < check->cursor.table->field_count && err == ERR_OK; i++)
        err = check_field(check, i);
    if (err != ERR_OK)
        return err;
    check_frames(check);
    check_group_entry(check);
    if (check->whole)
        segment_hash_group(check->hash, &check->cursor);
    return ERR_OK;
}

/* ---- The whole ----------------------------------------------------------------------------- */

static void check_range(struct check *check)
{
    const struct segment_info *info = segment_info(check->segment);
    int64_t min = INT64_MAX, max = INT64_MIN;

    for (uint32_t i = 0; i < info->groups; i++) {
        const struct segment_group *group = segment_group(check->segment, i);

        min = group->time_min_ns < min ? group->time_min_ns : min;
        max = group->time_max_ns > max ? group->time_max_ns : max;
    }
    if (min != info->time_min_ns || max != info->time_max_ns)
        FAULT_AT(check, info->size - sizeof(struct segment_footer),
                 "the footer has times %" PRId64 " to %" PRId64 ", its groups %" PRId64
                 " to %" PRId64,
                 info->time_min_ns, info->time_max_ns, min, max);
}

static enum err check_hash(struct check *check)
{
    enum err err = segment_hash_end(check->hash, check->segment);

    return err == ERR_OK ? ERR_OK : failed(check, err);
}

enum err segment_check(const struct segment *segment, const struct catalog_view *series,
                       struct damage_sink *sink)
{
    struct check *check = calloc(1, sizeof *check);
    enum err err = ERR_OK;

    if (check != NULL)
        check->hash = XXH3_createState();
    if (check == NULL || check->hash == NULL) {
        free(check);
        return err_set(ERR_NO_MEMORY, "%s: checking it", segment_path(segment));
    }
    (void)XXH3_64bits_reset(check->hash);
    check->segment = segment;
    check->series = series;
    check->sink = sink;
    check->whole = true;
    for (uint32_t i = 0; i < segment_groups(segment) && err == ERR_OK; i++)
        err = check_group(check, i);
    if (err == ERR_OK)
        check_range(check);
    if (err == ERR_OK && check->whole)
        err = check_hash(check);
    segment_cursor_fini(&check->cursor);
    (void)XXH3_freeState(check->hash);
    free(check);
    return err;
}
