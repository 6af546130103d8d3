#include "tests/support/contents.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/section.h"

enum { LINE_SIZE = 1024 };

/* A value: what it is of, what it is, and how late it came. */
struct cell {
    char *place;
    char *value;
    uint64_t order;
};

struct cells {
    struct cell *cells;
    size_t count, capacity;
};

static void add_cell(struct cells *cells, const char *place, const char *value)
{
    if (cells->count == cells->capacity) {
        cells->capacity = cells->capacity == 0 ? 256 : 2 * cells->capacity;
        cells->cells = realloc(cells->cells, cells->capacity * sizeof *cells->cells);
        CHECK(cells->cells != NULL);
    }
    cells->cells[cells->count] = (struct cell){strdup(place), strdup(value), cells->count};
    cells->count++;
}

static void print_key(struct slice key, char *ret_text, size_t room)
{
    struct key_parts parts;
    size_t used;

    CHECK(key_parse(key.data, key.size, &parts) == 0);
    used = (size_t)snprintf(ret_text, room, "%.*s/%.*s", (int)parts.database.size,
                            parts.database.data, (int)parts.table.size, parts.table.data);
    for (size_t i = 0; i < parts.tag_count; i++)
        used += (size_t)snprintf(ret_text + used, room - used, " %.*s=%.*s",
                                 (int)parts.tags[i].name.size, parts.tags[i].name.data,
                                 (int)parts.tags[i].value.size, parts.tags[i].value.data);
}

/* The decoded rows of one section. */
struct section_rows {
    uint32_t *ids, *counts;
    int64_t *times;
    uint8_t *present;
    uint64_t *values;
    int64_t cutoff_ns; /* Rows before it are gone. */
};

static bool is_deleted(const struct snapshot *snapshot, const struct section_reader *reader,
                       uint32_t id, int64_t time_ns)
{
    char room[CATALOG_KEY_ROOM];

    for (uint32_t i = 0; i < snapshot->tombstone_count; i++) {
        const struct tombstone *tombstone = &snapshot->tombstones[i];

        if (reader->source->clean_index < tombstone->index && time_ns >= tombstone->first_ns &&
            time_ns <= tombstone->last_ns &&
            marks_compare(tombstone->table_key, reader->section.table_key) == 0 &&
            tombstone_matches(tombstone, catalog_view_key(snapshot->series, id, room)))
            return true;
    }
    return false;
}

static enum err read_field(const struct snapshot *snapshot, struct section_reader *reader,
                           uint32_t f, struct section_rows *rows, struct cells *cells)
{
    struct segment_field field = section_field(reader, f);
    const char *strings = NULL;
    uint32_t run = 0;
    uint32_t left = 0;
    enum err err = section_read_field(reader, f, rows->present, rows->values, &strings);

    for (uint32_t row = 0; row < reader->section.rows && err == ERR_OK; row++, left--) {
        char room[CATALOG_KEY_ROOM];
        char key[LINE_SIZE / 2];
        char place[LINE_SIZE];
        char value[LINE_SIZE];
        uint64_t bits = rows->values[row];

        while (left == 0)
            left = rows->counts[run++];
        if (!rows->present[row] || rows->times[row] < rows->cutoff_ns ||
            is_deleted(snapshot, reader, rows->ids[run - 1], rows->times[row]))
            continue;
        print_key(catalog_view_key(snapshot->series, rows->ids[run - 1], room), key, sizeof key);
        (void)snprintf(place, sizeof place, "%s %020" PRId64 " %.*s", key, rows->times[row],
                       (int)field.name.size, field.name.data);
        if (field.type == FIELD_STRING)
            (void)snprintf(value, sizeof value, "string %.*s", (int)(bits >> 32),
                           strings + (uint32_t)bits);
        else
            (void)snprintf(value, sizeof value, "%s %" PRIx64, field_type_name(field.type), bits);
        add_cell(cells, place, value);
    }
    return err;
}

static struct slice database_of(struct slice table_key)
{
    struct reader reader = reader_on(table_key.data, table_key.size);
    struct slice name;

    name.data = reader_string(&reader, NAME_SIZE_MAX, &name.size);
    return name;
}

/* All of the section was dropped with its database. */
static bool is_gone(const struct snapshot *snapshot, const struct snapshot_source *source,
                    const struct section *section)
{
    return source->index <
           marks_find(&snapshot->marks, database_of(section->table_key)).erased_index;
}

static enum err read_section(const struct snapshot *snapshot, struct section_reader *reader,
                             struct cells *cells)
{
    const struct section *info = &reader->section;
    size_t count = info->rows + 1;
    struct section_rows rows = {malloc((info->runs + 1) * sizeof(uint32_t)),
                                malloc((info->runs + 1) * sizeof(uint32_t)),
                                malloc(count * sizeof(int64_t)),
                                malloc(count),
                                malloc(count * sizeof(uint64_t)),
                                snapshot_cutoff(snapshot, database_of(info->table_key))};
    enum err err = section_read_runs(reader, rows.ids, rows.counts);

    if (err == ERR_OK)
        err = section_read_times(reader, rows.times);
    for (uint32_t f = 0; f < info->fields && err == ERR_OK; f++)
        err = read_field(snapshot, reader, f, &rows, cells);
    free(rows.ids);
    free(rows.counts);
    free(rows.times);
    free(rows.present);
    free(rows.values);
    return err;
}

static enum err read_source(const struct snapshot *snapshot, const struct snapshot_source *source,
                            struct section_reader *reader, struct cells *cells)
{
    enum err err = section_open(reader, source, snapshot->series);

    for (uint32_t s = 0; err == ERR_OK && s < reader->count; s++) {
        section_go(reader, s);
        if (!is_gone(snapshot, source, &reader->section))
            err = read_section(snapshot, reader, cells);
    }
    return err;
}

static int compare_cells(const void *a, const void *b)
{
    const struct cell *left = a;
    const struct cell *right = b;
    int order = strcmp(left->place, right->place);

    return order != 0 ? order : (left->order > right->order) - (left->order < right->order);
}

enum err contents_read(const struct snapshot *snapshot, struct contents *ret_contents)
{
    struct contents contents = {0};
    struct cells cells = {0};
    struct section_reader reader = {0};
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < snapshot->source_count && err == ERR_OK; i++) {
        contents.rows += snapshot->sources[i].rows;
        err = read_source(snapshot, &snapshot->sources[i], &reader, &cells);
    }
    if (cells.count > 0)
        qsort(cells.cells, cells.count, sizeof *cells.cells, compare_cells);
    contents.lines = calloc(cells.count + 1, sizeof(char *));
    for (size_t i = 0; i < cells.count; i++) {
        struct cell *cell = &cells.cells[i];
        bool last = i + 1 == cells.count || strcmp(cell->place, cell[1].place) != 0;

        if (last) {
            size_t size = strlen(cell->place) + strlen(cell->value) + 2;

            contents.lines[contents.count] = malloc(size);
            (void)snprintf(contents.lines[contents.count++], size, "%s %s", cell->place,
                           cell->value);
        }
    }
    for (size_t i = 0; i < cells.count; i++) {
        free(cells.cells[i].place);
        free(cells.cells[i].value);
    }
    free(cells.cells);
    section_fini(&reader);
    if (err != ERR_OK)
        contents_fini(&contents);
    *ret_contents = contents;
    return err;
}

void contents_fini(struct contents *contents)
{
    for (size_t i = 0; i < contents->count; i++)
        free(contents->lines[i]);
    free(contents->lines);
    *contents = (struct contents){0};
}

bool contents_equal(const struct contents *a, const struct contents *b)
{
    return a->count == b->count && contents_within(a, b);
}

static int compare_lines(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

bool contents_have(const struct contents *contents, const char *line)
{
    char *key = (char *)(size_t)line;

    return contents->count > 0 &&
           bsearch(&key, contents->lines, contents->count, sizeof(char *), compare_lines) != NULL;
}

bool contents_within(const struct contents *part, const struct contents *whole)
{
    for (size_t i = 0; i < part->count; i++)
        if (!contents_have(whole, part->lines[i]))
            return false;
    return true;
}
