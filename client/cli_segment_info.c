/*
 * cli_segment_info.c - what is in a segment: counted from its directory and index, with no column
 * decoded.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli.h"
#include "client/cli_print.h"
#include "client/cli_segment.h"
#include "client/cli_time.h"
#include "storage/segment_cursor.h"
#include "storage/segment_format.h"

enum { NAME_ROOM = 2 * NAME_SIZE_MAX + 2 };

/* A column of a table, over all groups: 0 series, 1 times, 2 + i field i. */
struct column_sum {
    uint64_t values, bytes, packed; /* Bytes in the file, and before LZ4. */
};

struct table_sum {
    const struct segment_table *table;
    uint64_t rows, chunks, groups, series, index;
    uint32_t last_id;           /* Series of the chunk before; UINT32_MAX: there is none. */
    struct column_sum *columns; /* Owned. */
};

struct info {
    const struct cli_segment_options *options;
    const struct segment *segment;
    struct catalog_folder folder;
    struct segment_cursor cursor;
    struct table_sum *tables; /* Owned: those that have groups, in their order. */
    uint32_t table_count;
};

/* ---- Adding up ----------------------------------------------------------------------------- */

/* How large a frame's columns are stands behind its checksum. */
static enum err add_frame(struct info *info, struct column_sum *sum, uint64_t offset, uint32_t size)
{
    uint32_t packed = 0;
    enum err err = ERR_OK;

    if (size > 0)
        err = segment_read(info->segment, offset + sizeof(uint32_t), &packed, sizeof packed);
    sum->bytes += size;
    sum->packed += packed;
    return err;
}

static enum err add_columns(struct info *info, struct table_sum *sum)
{
    struct segment_cursor *cursor = &info->cursor;
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < SEGMENT_COLUMNS + sum->table->field_count && err == ERR_OK; i++) {
        const struct segment_stats *stats;

        for (uint32_t chunk = 0; chunk < cursor->group->chunks && err == ERR_OK; chunk++) {
            if (i < SEGMENT_COLUMNS) {
                sum->columns[i].values +=
                    i == 0 ? cursor->chunks[chunk].runs : cursor->chunks[chunk].rows;
                continue;
            }
            err = segment_cursor_stats(cursor, chunk, i - SEGMENT_COLUMNS, &stats);
            if (err == ERR_OK)
                sum->columns[i].values += stats->count;
        }
        if (err == ERR_OK)
            err = add_frame(info, &sum->columns[i], cursor->columns[i]->offset,
                            cursor->columns[i]->size);
    }
    return err;
}

static enum err add_group(struct info *info, uint32_t at)
{
    struct table_sum *sum = &info->tables[info->table_count - 1];
    enum err err = segment_cursor_open(&info->cursor, info->segment, at);

    if (err != ERR_OK)
        return err;
    sum->groups++;
    sum->rows += info->cursor.group->rows;
    sum->chunks += info->cursor.group->chunks;
    sum->index +=
        (sum->table->field_count + 1) * (uint64_t)segment_piece_size(info->cursor.group->chunks);
    for (uint32_t i = 0; i < info->cursor.group->chunks; i++) {
        const struct segment_chunk *chunk = &info->cursor.chunks[i];

        sum->series += chunk->runs - (chunk->series_min == sum->last_id);
        sum->last_id = chunk->series_max;
    }
    return add_columns(info, sum);
}

static enum err add_up(struct info *info)
{
    enum err err = ERR_OK;

    info->tables = calloc(segment_groups(info->segment), sizeof *info->tables);
    if (info->tables == NULL)
        return err_set(ERR_NO_MEMORY, "%u tables", segment_groups(info->segment));
    for (uint32_t i = 0; i < segment_groups(info->segment) && err == ERR_OK; i++) {
        const struct segment_table *table = segment_table(info->segment, i);
        struct table_sum *sum = &info->tables[info->table_count];

        if (info->table_count == 0 || sum[-1].table != table) {
            sum->columns =
                calloc(SEGMENT_COLUMNS + (size_t)table->field_count, sizeof *sum->columns);
            if (sum->columns == NULL)
                return err_set(ERR_NO_MEMORY, "%u fields", table->field_count);
            sum->table = table;
            sum->last_id = UINT32_MAX;
            info->table_count++;
        }
        err = add_group(info, i);
    }
    return err;
}

/* ---- Printing ------------------------------------------------------------------------------ */

static const char *column_name(const struct table_sum *sum, uint32_t at, struct slice *ret_name)
{
    static const char *const own[] = {"(series)", "(time)"};

    *ret_name = at < SEGMENT_COLUMNS ? (struct slice){own[at], strlen(own[at])}
                                     : sum->table->fields[at - SEGMENT_COLUMNS].name;
    return at < SEGMENT_COLUMNS ? ""
                                : field_type_name(sum->table->fields[at - SEGMENT_COLUMNS].type);
}

static double bytes_each(const struct column_sum *column)
{
    return column->values > 0 ? (double)column->bytes / (double)column->values : 0;
}

static void print_text(const struct info *info, const char *path, uint32_t shard)
{
    const struct segment_info *own = segment_info(info->segment);
    char from[CLI_TIME_SIZE], to[CLI_TIME_SIZE], name[NAME_ROOM];
    uint64_t series = 0;

    for (uint32_t i = 0; i < info->table_count; i++)
        series += info->tables[i].series;
    cli_time_format(own->time_min_ns, from);
    cli_time_format(own->time_max_ns, to);
    printf("%s: segment %" PRIu64 " of shard %" PRIu32 ", %" PRIu64 " bytes\n"
           "  log %" PRIu64 " to %" PRIu64 ", hash %016" PRIx64 "\n"
           "  %" PRIu64 " rows, %" PRIu64 " values, %" PRIu64 " series, %.2f bytes a value\n"
           "  %s to %s\n",
           path, own->number, shard, own->size, own->first_index, own->last_index, own->hash,
           own->rows, own->points, series,
           own->points > 0 ? (double)own->size / (double)own->points : 0.0, from, to);
    for (uint32_t i = 0; i < info->table_count; i++) {
        const struct table_sum *sum = &info->tables[i];

        cli_segment_table_name(&info->folder, sum->table->number, name, sizeof name);
        printf("\n  %s: %" PRIu64 " rows, %" PRIu64 " series, %" PRIu64 " chunks in %" PRIu64
               " groups, index %" PRIu64 " bytes\n"
               "    %-24s %-9s %10s %10s %10s %8s\n",
               name, sum->rows, sum->series, sum->chunks, sum->groups, sum->index, "column", "type",
               "values", "packed", "bytes", "a value");
        for (uint32_t at = 0; at < SEGMENT_COLUMNS + sum->table->field_count; at++) {
            struct slice column;
            const char *type = column_name(sum, at, &column);

            printf("    %-24.*s %-9s %10" PRIu64 " %10" PRIu64 " %10" PRIu64 " %8.2f\n",
                   (int)column.size, column.data, type, sum->columns[at].values,
                   sum->columns[at].packed, sum->columns[at].bytes, bytes_each(&sum->columns[at]));
        }
    }
}

static void print_json_table(const struct info *info, const struct table_sum *sum)
{
    char name[NAME_ROOM];

    cli_segment_table_name(&info->folder, sum->table->number, name, sizeof name);
    fputs("{\"table\": ", stdout);
    cli_print_json_string(stdout, name, strlen(name));
    printf(", \"number\": %" PRIu32 ", \"rows\": %" PRIu64 ", \"series\": %" PRIu64
           ", \"chunks\": %" PRIu64 ", \"groups\": %" PRIu64 ", \"index_bytes\": %" PRIu64
           ", \"columns\": [",
           sum->table->number, sum->rows, sum->series, sum->chunks, sum->groups, sum->index);
    for (uint32_t at = 0; at < SEGMENT_COLUMNS + sum->table->field_count; at++) {
        struct slice column;
        const char *type = column_name(sum, at, &column);

        fputs(at > 0 ? ",\n     {\"name\": " : "\n     {\"name\": ", stdout);
        cli_print_json_string(stdout, column.data, column.size);
        printf(", \"type\": \"%s\", \"values\": %" PRIu64 ", \"packed_bytes\": %" PRIu64
               ", \"bytes\": %" PRIu64 "}",
               type, sum->columns[at].values, sum->columns[at].packed, sum->columns[at].bytes);
    }
    fputs("]}", stdout);
}

static void print_json(const struct info *info, const char *path, uint32_t shard, bool first)
{
    const struct segment_info *own = segment_info(info->segment);
    char from[CLI_TIME_SIZE], to[CLI_TIME_SIZE];

    cli_time_format(own->time_min_ns, from);
    cli_time_format(own->time_max_ns, to);
    fputs(first ? "\n{\"file\": " : ",\n{\"file\": ", stdout);
    cli_print_json_string(stdout, path, strlen(path));
    printf(", \"shard\": %" PRIu32 ", \"number\": %" PRIu64 ", \"first_index\": %" PRIu64
           ", \"last_index\": %" PRIu64 ", \"bytes\": %" PRIu64 ", \"rows\": %" PRIu64
           ", \"values\": %" PRIu64 ", \"groups\": %" PRIu32 ", \"time_min\": \"%s\""
           ", \"time_max\": \"%s\", \"hash\": \"%016" PRIx64 "\",\n  \"tables\": [",
           shard, own->number, own->first_index, own->last_index, own->size, own->rows, own->points,
           own->groups, from, to, own->hash);
    for (uint32_t i = 0; i < info->table_count; i++) {
        fputs(i > 0 ? ",\n   " : "\n   ", stdout);
        print_json_table(info, &info->tables[i]);
    }
    fputs("]}", stdout);
}

int cli_segment_info(const struct cli_segment_options *options, const char *path, bool first)
{
    struct info *info = calloc(1, sizeof *info);
    struct segment *segment;
    uint32_t shard;
    enum err err;

    if (info == NULL)
        return cli_error(options->command, CLI_FAILED, "no memory");
    if (!cli_segment_open(options, path, &shard, &segment)) {
        free(info);
        return CLI_FAILED;
    }
    info->options = options;
    info->segment = segment;
    (void)cli_segment_catalog(options, path, &info->folder);
    err = add_up(info);
    if (err != ERR_OK)
        cli_error(options->command, 0, "%s: %s", err_name(err), err_detail());
    else if (options->json)
        print_json(info, path, shard, first);
    else
        print_text(info, path, shard);
    for (uint32_t i = 0; i < info->table_count; i++)
        free(info->tables[i].columns);
    free(info->tables);
    segment_cursor_fini(&info->cursor);
    catalog_folder_close(&info->folder);
    segment_unref(segment);
    free(info);
    return err == ERR_OK ? CLI_OK : CLI_FAILED;
}
