#include "storage/scan_databases.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/block/block_reader.h"
#include "storage/database_map.h"
#include "storage/segment.h"

enum { SERIES_A_CHECK = 65536, BLOCKS_A_CHECK = 16 };

struct figures {
    uint64_t series, rows, head_rows, segments, bytes;
    int64_t time_min_ns, time_max_ns;
};

struct databases {
    const struct snapshot *snapshot;
    const struct scan_limits *limits;
    struct database_map map;
    struct figures *figures; /* Owned: by database number. */
};

static void add_rows(struct figures *figures, uint64_t rows, int64_t time_min_ns,
                     int64_t time_max_ns)
{
    figures->rows += rows;
    if (rows == 0)
        return;
    if (time_min_ns < figures->time_min_ns)
        figures->time_min_ns = time_min_ns;
    if (time_max_ns > figures->time_max_ns)
        figures->time_max_ns = time_max_ns;
}

/* ---- Series, segments ---------------------------------------------------------------------- */

static enum err count_series(struct databases *databases)
{
    const struct catalog_view *view = databases->snapshot->series;
    enum err err = ERR_OK;

    for (uint32_t id = 0; id < view->count && err == ERR_OK; id++) {
        uint32_t table = catalog_view_table(view, id);

        if (id % SERIES_A_CHECK == 0)
            err = scan_check(databases->limits);
        if (table < databases->map.tables)
            databases->figures[databases->map.of_table[table]].series++;
    }
    return err;
}

/* Groups of one segment stand together, and are of one database. */
static void count_group(struct databases *databases, const struct snapshot_source *source,
                        const struct segment *before)
{
    const struct database_map *map = &databases->map;
    struct figures *figures;

    if (source->table_min >= map->tables)
        return;
    figures = &databases->figures[map->of_table[source->table_min]];
    add_rows(figures, source->rows, source->time_min_ns, source->time_max_ns);
    if (source->segment != before) {
        figures->segments++;
        figures->bytes += segment_info(source->segment)->size;
    }
}

/* ---- The head ------------------------------------------------------------------------------ */

static enum err count_section(struct databases *databases, const struct snapshot_source *source,
                              struct block *block, uint32_t at)
{
    const struct block_section *section = block_section(block, at);
    struct slice key = {section->table_key, section->table_key_size};
    uint32_t number = database_map_find(&databases->map, database_map_name(key));
    int64_t time_min_ns = source->time_min_ns, time_max_ns = source->time_max_ns;
    int64_t *times_ns;
    enum err err = ERR_OK;

    if (number == DATABASE_NONE || snapshot_is_gone(databases->snapshot, source, key))
        return ERR_OK;
    if (block_sections(block) > 1) {
        times_ns = malloc(section->rows * sizeof *times_ns);
        if (times_ns == NULL)
            return err_set(ERR_NO_MEMORY, "times of %" PRIu32 " rows", section->rows);
        err = block_read_times(block, at, times_ns);
        time_min_ns = INT64_MAX;
        time_max_ns = INT64_MIN;
        for (uint32_t i = 0; i < section->rows && err == ERR_OK; i++) {
            time_min_ns = times_ns[i] < time_min_ns ? times_ns[i] : time_min_ns;
            time_max_ns = times_ns[i] > time_max_ns ? times_ns[i] : time_max_ns;
        }
        free(times_ns);
    }
    add_rows(&databases->figures[number], section->rows, time_min_ns, time_max_ns);
    databases->figures[number].head_rows += section->rows;
    return err;
}

static enum err count_block(struct databases *databases, const struct snapshot_source *source)
{
    struct block_view view;
    struct block *block = NULL;
    enum err err = block_view(source->entry->bytes + source->offset, source->size, false, &view);

    if (err == ERR_OK)
        err = block_load(&view, &block);
    for (uint32_t i = 0; err == ERR_OK && i < block_sections(block); i++)
        err = count_section(databases, source, block, i);
    block_free(block);
    return err;
}

static enum err count_sources(struct databases *databases)
{
    const struct snapshot *snapshot = databases->snapshot;
    const struct segment *before = NULL;
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < snapshot->source_count && err == ERR_OK; i++) {
        const struct snapshot_source *source = &snapshot->sources[i];

        if (i % BLOCKS_A_CHECK == 0)
            err = scan_check(databases->limits);
        if (err == ERR_OK && source->segment != NULL)
            count_group(databases, source, before);
        else if (err == ERR_OK && source->rows > 0)
            err = count_block(databases, source);
        before = source->segment;
    }
    return err;
}

/* ---- The answer ---------------------------------------------------------------------------- */

static enum err put_number(struct columns *columns, const char *name, enum field_type type,
                           uint64_t bits)
{
    uint32_t at = 0;
    enum err err =
        columns_column(columns, (struct slice){name, strlen(name)}, COLUMN_FIELD, type, &at);

    if (err == ERR_OK)
        columns_set(columns, at, bits);
    return err;
}

static enum err put_database(struct columns *columns, struct slice name,
                             const struct figures *figures)
{
    uint32_t at = 0;
    enum err err =
        columns_column(columns, (struct slice){"database", 8}, COLUMN_TAG, FIELD_STRING, &at);

    if (err == ERR_OK)
        err = columns_row(columns);
    if (err == ERR_OK)
        err = columns_set_string(columns, at, name.data, name.size);
    if (err == ERR_OK)
        err = put_number(columns, "series", FIELD_UINT, figures->series);
    if (err == ERR_OK)
        err = put_number(columns, "rows", FIELD_UINT, figures->rows);
    if (err == ERR_OK)
        err = put_number(columns, "head_rows", FIELD_UINT, figures->head_rows);
    if (err == ERR_OK)
        err = put_number(columns, "segments", FIELD_UINT, figures->segments);
    if (err == ERR_OK)
        err = put_number(columns, "bytes", FIELD_UINT, figures->bytes);
    if (err == ERR_OK && figures->rows > 0)
        err = put_number(columns, "time_min", FIELD_INT, (uint64_t)figures->time_min_ns);
    if (err == ERR_OK && figures->rows > 0)
        err = put_number(columns, "time_max", FIELD_INT, (uint64_t)figures->time_max_ns);
    return err;
}

static enum err put_databases(const struct databases *databases, scan_batch_cb take, void *arg)
{
    struct columns columns = {0};
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < databases->map.count && err == ERR_OK; i++)
        err = put_database(&columns, databases->map.names[i], &databases->figures[i]);
    if (err == ERR_OK && columns.rows > 0)
        err = take(arg, &columns);
    columns_fini(&columns);
    return err;
}

enum err scan_databases(const struct snapshot *snapshot, const struct scan_limits *limits,
                        scan_batch_cb batch, void *arg)
{
    struct databases databases = {.snapshot = snapshot, .limits = limits};
    enum err err = database_map_extend(&databases.map, snapshot->series);

    if (err == ERR_OK) {
        databases.figures = calloc(databases.map.count + 1u, sizeof *databases.figures);
        if (databases.figures == NULL)
            err = err_set(ERR_NO_MEMORY, "figures of %" PRIu32 " databases", databases.map.count);
    }
    for (uint32_t i = 0; err == ERR_OK && i < databases.map.count; i++) {
        databases.figures[i].time_min_ns = INT64_MAX;
        databases.figures[i].time_max_ns = INT64_MIN;
    }
    if (err == ERR_OK)
        err = count_series(&databases);
    if (err == ERR_OK)
        err = count_sources(&databases);
    if (err == ERR_OK)
        err = put_databases(&databases, batch, arg);
    free(databases.figures);
    database_map_fini(&databases.map);
    return err;
}
