/*
 * cli_segment_cat.c - the rows of a segment, chunk by chunk; salvage goes on behind damage.
 *
 * SALVAGE   A damaged field of a group is left out, its other fields are printed; without series or
 *           times the whole group is left out. Everything left out is named on standard error. The
 *           rows come as line protocol, not as a new segment: no manifest knows the hash of such a
 *           file, so no node could take it, while lines can be written to any site.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli.h"
#include "client/cli_segment.h"
#include "storage/segment_cursor.h"

enum {
    NAME_ROOM = 2 * NAME_SIZE_MAX + 2,
    CELLS_MAX = 1 << 22, /* Rows times fields of a chunk: four times what we write. */
};

struct cat_field {
    uint64_t *values; /* Owned, as `present`: SEGMENT_CHUNK_ROWS. */
    uint8_t *present;
    const char *text;
    bool lost; /* In this group. */
};

struct cat {
    struct cli_segment_options *options;
    const struct segment *segment;
    struct catalog_folder folder;
    struct segment_cursor cursor;
    struct cli_row_printer printer;
    uint64_t lost;            /* What salvage has left out: reports. */
    struct cat_field *fields; /* Owned, as the next two: for field_capacity fields. */
    struct cli_row_field *names;
    struct cli_row_cell *cells;
    uint32_t field_capacity;
    uint32_t ids[SEGMENT_CHUNK_ROWS], counts[SEGMENT_CHUNK_ROWS];
    int64_t times_ns[SEGMENT_CHUNK_ROWS];

    /* The series under way. */
    struct key_parts parts;
    char room[CATALOG_KEY_ROOM];
    char table[32], number[16]; /* What it is called without a catalog. */
};

/* ---- Names --------------------------------------------------------------------------------- */

static struct slice text_of(const char *text)
{
    return (struct slice){text, strlen(text)};
}

static void find_series(struct cat *cat, uint32_t id)
{
    struct slice key = catalog_folder_key(&cat->folder, id, cat->room);

    if (key.size > 0 && key_parse(key.data, key.size, &cat->parts) == 0)
        return;
    (void)snprintf(cat->table, sizeof cat->table, "table_%" PRIu32, cat->cursor.table->number);
    (void)snprintf(cat->number, sizeof cat->number, "%" PRIu32, id);
    cat->parts = (struct key_parts){.database = text_of(""),
                                    .table = text_of(cat->table),
                                    .tag_count = 1,
                                    .tags = {{text_of("series"), text_of(cat->number)}}};
}

static bool is_name(struct slice name, const char *text)
{
    return text == NULL || (strlen(text) == name.size && memcmp(text, name.data, name.size) == 0);
}

static bool wants_table(const struct cat *cat, const struct segment_table *table)
{
    struct slice key = catalog_folder_table_key(&cat->folder, table->number);
    char name[32];
    struct key_parts parts;

    if (key.size > 0 && key_parse(key.data, key.size, &parts) == 0)
        return is_name(parts.table, cat->options->table) &&
               is_name(parts.database, cat->options->database);
    (void)snprintf(name, sizeof name, "table_%" PRIu32, table->number);
    return cat->options->database == NULL && is_name(text_of(name), cat->options->table);
}

static bool overlaps(const struct cat *cat, int64_t min_ns, int64_t max_ns)
{
    /* The end is not part of the range, unless there is no end. */
    return max_ns >= cat->options->from_ns &&
           (min_ns < cat->options->to_ns || cat->options->to_ns == INT64_MAX);
}

static bool wants_group(const struct cat *cat, uint32_t at)
{
    const struct segment_group *group = segment_group(cat->segment, at);

    return cat->options->limit > 0 && overlaps(cat, group->time_min_ns, group->time_max_ns) &&
           wants_table(cat, segment_table(cat->segment, at));
}

/* Line protocol has no word for the database, a CSV file one set of columns. */
static int check_names(const struct cat *cat)
{
    enum cli_row_format format = cat->options->format;
    const struct segment_table *last = NULL;
    char names[2][NAME_ROOM];

    for (uint32_t i = 0; i < segment_groups(cat->segment); i++) {
        const struct segment_table *table = segment_table(cat->segment, i);

        if (table == last || !wants_table(cat, table))
            continue;
        cli_segment_table_name(&cat->folder, table->number, names[1], NAME_ROOM);
        if (last != NULL && format == CLI_ROW_CSV)
            return cli_usage("segment", "%s has several tables (%s, %s): choose with --table",
                             segment_path(cat->segment), names[0], names[1]);
        if (last != NULL && format == CLI_ROW_LINE &&
            strcspn(names[0], "/") + 1 <= strlen(names[0]) &&
            strncmp(names[0], names[1], strcspn(names[0], "/") + 1) != 0)
            return cli_usage("segment", "%s has several databases (%s, %s): choose with --db",
                             segment_path(cat->segment), names[0], names[1]);
        memcpy(names[0], names[1], NAME_ROOM);
        last = table;
    }
    return CLI_OK;
}

/* ---- Damage -------------------------------------------------------------------------------- */

/* Cat ends with the error; salvage names what is missing and goes on. */
static enum err left_out(struct cat *cat, enum err err, uint32_t rows, struct slice field)
{
    const struct segment_group *group = cat->cursor.group;
    char name[NAME_ROOM];

    if (!cat->options->salvage || err != ERR_CORRUPT)
        return err;
    cli_segment_table_name(&cat->folder, cat->cursor.table->number, name, sizeof name);
    cli_error(cat->options->command, 0,
              "%s: left out: %s%.*s%s%" PRIu32 " rows of %s, series %" PRIu32 " to %" PRIu32,
              err_detail(), field.size > 0 ? "field " : "", (int)field.size, field.data,
              field.size > 0 ? " of " : "", rows, name, group->series_min, group->series_max);
    cat->lost++;
    return ERR_OK;
}

/* ---- Rows ---------------------------------------------------------------------------------- */

static enum err grow(struct cat *cat, uint32_t count)
{
    struct cat_field *fields;
    struct cli_row_field *names;
    struct cli_row_cell *cells;

    if ((uint64_t)count * SEGMENT_CHUNK_ROWS > CELLS_MAX)
        return err_set(ERR_LIMIT, "%s: table %" PRIu32 " has %" PRIu32 " fields, too many for here",
                       segment_path(cat->segment), cat->cursor.table->number, count);
    fields = realloc(cat->fields, (count + 1) * sizeof *fields);
    if (fields == NULL)
        return err_set(ERR_NO_MEMORY, "%" PRIu32 " fields", count);
    cat->fields = fields;
    names = realloc(cat->names, (count + 1) * sizeof *names);
    if (names == NULL)
        return err_set(ERR_NO_MEMORY, "%" PRIu32 " fields", count);
    cat->names = names;
    cells = realloc(cat->cells, (count + 1) * sizeof *cells);
    if (cells == NULL)
        return err_set(ERR_NO_MEMORY, "%" PRIu32 " fields", count);
    cat->cells = cells;
    for (; cat->field_capacity < count; cat->field_capacity++) {
        struct cat_field *field = &fields[cat->field_capacity];

        *field = (struct cat_field){.values = malloc(SEGMENT_CHUNK_ROWS * sizeof *field->values),
                                    .present = malloc(SEGMENT_CHUNK_ROWS)};
        if (field->values == NULL || field->present == NULL) {
            free(field->values);
            free(field->present);
            return err_set(ERR_NO_MEMORY, "%" PRIu32 " fields", count);
        }
    }
    return ERR_OK;
}

static enum err read_fields(struct cat *cat, uint32_t chunk)
{
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < cat->cursor.table->field_count && err == ERR_OK; i++) {
        struct cat_field *field = &cat->fields[i];

        if (!field->lost)
            err = segment_cursor_field(&cat->cursor, chunk, i, field->present, field->values,
                                       &field->text);
        if (err != ERR_OK) {
            uint32_t rows = 0;

            for (uint32_t rest = chunk; rest < cat->cursor.group->chunks; rest++)
                rows += cat->cursor.chunks[rest].rows;
            err = left_out(cat, err, rows, cat->cursor.table->fields[i].name);
            field->lost = true;
        }
        if (field->lost)
            memset(field->present, 0, SEGMENT_CHUNK_ROWS);
    }
    return err;
}

static enum err print_row(struct cat *cat, uint32_t at)
{
    const struct segment_table *table = cat->cursor.table;
    bool any = false;

    for (uint32_t i = 0; i < table->field_count; i++) {
        const struct cat_field *field = &cat->fields[i];
        struct cli_row_cell *cell = &cat->cells[i];

        *cell = (struct cli_row_cell){.present = field->present[at], .bits = field->values[at]};
        if (cell->present && table->fields[i].type == FIELD_STRING)
            cell->text =
                (struct slice){field->text + (uint32_t)cell->bits, (size_t)(cell->bits >> 32)};
        any |= cell->present;
    }
    if (!any) /* What it had was lost. */
        return ERR_OK;
    cat->options->limit--;
    if (!cli_row_print(&cat->printer, &(struct cli_row){.database = cat->parts.database,
                                                        .table = cat->parts.table,
                                                        .tags = cat->parts.tags,
                                                        .tag_count = cat->parts.tag_count,
                                                        .cells = cat->cells,
                                                        .time_ns = cat->times_ns[at]}))
        return err_set(ERR_NO_MEMORY, "a row");
    return ERR_OK;
}

static enum err print_chunk(struct cat *cat, uint32_t chunk)
{
    uint32_t row = 0;
    enum err err = read_fields(cat, chunk);

    for (uint32_t run = 0; run < cat->cursor.chunks[chunk].runs && err == ERR_OK; run++) {
        find_series(cat, cat->ids[run]);
        for (uint32_t end = row + cat->counts[run]; row < end && err == ERR_OK; row++)
            if (cat->options->limit > 0 && overlaps(cat, cat->times_ns[row], cat->times_ns[row]))
                err = print_row(cat, row);
    }
    return err;
}

static enum err print_chunks(struct cat *cat)
{
    const struct segment_cursor *cursor = &cat->cursor;
    uint32_t before = 0; /* Rows of the chunks that were read. */
    enum err err = grow(cat, cursor->table->field_count);

    for (uint32_t i = 0; i < cursor->table->field_count && err == ERR_OK; i++) {
        cat->fields[i].lost = false;
        cat->names[i] =
            (struct cli_row_field){cursor->table->fields[i].name, cursor->table->fields[i].type};
    }
    if (err == ERR_OK && !cli_row_fields(&cat->printer, cat->names, cursor->table->field_count))
        err = err_set(ERR_NO_MEMORY, "%" PRIu32 " fields", cursor->table->field_count);
    for (uint32_t i = 0; i < cursor->group->chunks && err == ERR_OK; i++) {
        const struct segment_chunk *chunk = &cursor->chunks[i];

        if (overlaps(cat, chunk->time_min_ns, chunk->time_max_ns)) {
            err = segment_cursor_runs(&cat->cursor, i, cat->ids, cat->counts);
            if (err == ERR_OK)
                err = segment_cursor_times(&cat->cursor, i, cat->times_ns);
            if (err != ERR_OK)
                return left_out(cat, err, cursor->group->rows - before, text_of(""));
            err = print_chunk(cat, i);
        }
        before += chunk->rows;
    }
    return err;
}

static bool expect_series(struct cat *cat)
{
    for (size_t i = 0; i < cat->parts.tag_count; i++)
        if (!cli_row_expect_tag(&cat->printer, cat->parts.tags[i].name))
            return false;
    return true;
}

static bool expect_fields(struct cat *cat, const struct segment_table *table)
{
    for (uint32_t i = 0; i < table->field_count; i++)
        if (!cli_row_expect_field(&cat->printer, table->fields[i].name, table->fields[i].type))
            return false;
    return true;
}

/* Which columns the rows of a CSV will have. What cannot be read is told when it is printed. */
static enum err expect_columns(struct cat *cat)
{
    for (uint32_t i = 0; i < segment_groups(cat->segment); i++) {
        if (!wants_group(cat, i))
            continue;
        if (!expect_fields(cat, segment_table(cat->segment, i)))
            return err_set(ERR_NO_MEMORY, "the columns of a CSV");
        if (segment_cursor_open(&cat->cursor, cat->segment, i) != ERR_OK)
            continue;
        for (uint32_t chunk = 0; chunk < cat->cursor.group->chunks; chunk++) {
            if (segment_cursor_runs(&cat->cursor, chunk, cat->ids, cat->counts) != ERR_OK)
                break;
            for (uint32_t run = 0; run < cat->cursor.chunks[chunk].runs; run++) {
                find_series(cat, cat->ids[run]);
                if (!expect_series(cat))
                    return err_set(ERR_LIMIT, "%s: more than %d names of tags are too many for CSV",
                                   segment_path(cat->segment), CLI_ROW_TAGS_MAX);
            }
        }
    }
    return ERR_OK;
}

static enum err print_groups(struct cat *cat)
{
    enum err err = ERR_OK;

    if (cat->options->format == CLI_ROW_CSV)
        err = expect_columns(cat);
    for (uint32_t i = 0; i < segment_groups(cat->segment) && err == ERR_OK; i++) {
        if (!wants_group(cat, i))
            continue;
        err = segment_cursor_open(&cat->cursor, cat->segment, i);
        err = err == ERR_OK ? print_chunks(cat)
                            : left_out(cat, err, segment_group(cat->segment, i)->rows, text_of(""));
    }
    return err;
}

/* ---- The command --------------------------------------------------------------------------- */

static int finish(struct cat *cat, enum err err)
{
    const char *command = cat->options->command;

    if (cat->printer.unsaid_rows + cat->printer.unsaid_values > 0)
        cli_error(command, 0,
                  "%s: line protocol has no words for %" PRIu64 " rows (names with control bytes) "
                  "and %" PRIu64 " values (NaN, infinite): left out; --format jsonl has the rows",
                  segment_path(cat->segment), cat->printer.unsaid_rows, cat->printer.unsaid_values);
    if (err == ERR_CORRUPT)
        return cli_error(command, CLI_FAILED, "%s: %s; segment salvage goes on behind it",
                         err_name(err), err_detail());
    if (err != ERR_OK)
        return cli_error(command, CLI_FAILED, "%s: %s", err_name(err), err_detail());
    return cat->lost > 0 ? CLI_FAILED : CLI_OK;
}

int cli_segment_cat(struct cli_segment_options *options, const char *path, FILE *out)
{
    struct cat *cat = calloc(1, sizeof *cat);
    struct segment *segment;
    uint32_t shard;
    int code;

    if (cat == NULL)
        return cli_error(options->command, CLI_FAILED, "no memory");
    if (!cli_segment_open(options, path, &shard, &segment)) {
        free(cat);
        return CLI_FAILED;
    }
    cat->options = options;
    cat->segment = segment;
    cat->printer.out = out;
    cat->printer.format = options->format;
    (void)cli_segment_catalog(options, path, &cat->folder);
    code = check_names(cat);
    if (code == CLI_OK)
        code = finish(cat, print_groups(cat));
    for (uint32_t i = 0; i < cat->field_capacity; i++) {
        free(cat->fields[i].values);
        free(cat->fields[i].present);
    }
    free(cat->fields);
    free(cat->names);
    free(cat->cells);
    cli_row_fini(&cat->printer);
    segment_cursor_fini(&cat->cursor);
    catalog_folder_close(&cat->folder);
    segment_unref(segment);
    free(cat);
    return code;
}
