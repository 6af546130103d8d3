#include "storage/block/block_reader.h"

#include <lz4.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/bytes.h"
#include "storage/base/check.h"
#include "storage/block/block_section.h"
#include "storage/block/column.h"
#include "storage/block/column_int.h"
#include "storage/block/column_time.h"

enum { FIELDS_FIRST = 64 }; /* Room to begin with when finding fields. */

struct loaded_section {
    struct block_section section;
    struct reader runs;
    struct reader times;
    uint32_t first_field;
};

struct block {
    struct block_header header;
    const uint8_t *body; /* Without LZ4. */
    uint8_t *raw;        /* Owned: that body; NULL if it was stored as it is. */
    struct loaded_section *sections;
    struct block_column *fields;
    uint32_t field_count;
    uint32_t field_capacity;
    uint32_t runs_max; /* Of all sections. */
    uint64_t *scratch; /* Owned, taken at first need: room for places and counts of runs_max. */
    const struct loaded_section *counted; /* The section whose counts stand there. */
};

/* ---- Loading ------------------------------------------------------------------------------- */

static bool ascend(struct slice before, struct slice after)
{
    int order =
        memcmp(before.data, after.data, before.size < after.size ? before.size : after.size);

    return order < 0 || (order == 0 && before.size < after.size);
}

/* One more; NULL: no memory. */
static struct block_column *add_field(struct block *block)
{
    if (block->field_count == block->field_capacity) {
        uint32_t capacity = block->field_capacity == 0 ? FIELDS_FIRST : 2 * block->field_capacity;
        struct block_column *fields = realloc(block->fields, capacity * sizeof *fields);

        if (fields == NULL)
            return NULL;
        block->fields = fields;
        block->field_capacity = capacity;
    }
    return &block->fields[block->field_count++];
}

static enum err find_fields(struct block *block, struct reader *reader,
                            struct loaded_section *loaded, uint64_t *points)
{
    const struct block_section *section = &loaded->section;

    loaded->first_field = block->field_count;
    for (uint32_t at = 0; at < section->fields; at++) {
        struct block_column *column = add_field(block);

        if (column == NULL)
            return err_set(ERR_NO_MEMORY, "block: %u fields", block->field_count + 1);
        if (!block_section_next_column(reader, section->rows, column) ||
            (at > 0 && !ascend(column[-1].field.name, column->field.name)))
            return err_set(ERR_CORRUPT, "block: bad field %u of %u", at, section->fields);
        *points += column->field.values;
    }
    return ERR_OK;
}

static bool is_table_key(const char *key, size_t size)
{
    struct key_parts parts;

    return key_parse(key, size, &parts) == 0 && parts.table_key_size == size;
}

static enum err find_section(struct block *block, struct reader *reader, uint32_t at,
                             uint64_t *rows, uint64_t *points)
{
    struct loaded_section *loaded = &block->sections[at];
    struct block_section *section = &loaded->section;
    enum err err = block_section_next(reader, block->header.rows - (uint32_t)*rows, section,
                                      &loaded->runs, &loaded->times);

    if (err != ERR_OK)
        return err;
    if (!is_table_key(section->table_key, section->table_key_size))
        return err_set(ERR_CORRUPT, "block: bad table key");
    if (at > 0) {
        const struct block_section *before = &loaded[-1].section;

        if (!ascend((struct slice){before->table_key, before->table_key_size},
                    (struct slice){section->table_key, section->table_key_size}))
            return err_set(ERR_CORRUPT, "block: order of tables");
    }
    *rows += section->rows;
    if (section->runs > block->runs_max)
        block->runs_max = section->runs;
    return find_fields(block, reader, loaded, points);
}

static enum err find_sections(struct block *block)
{
    struct reader reader = reader_on(block->body, block->header.body_raw_size);
    uint64_t rows = 0, points = 0;

    for (uint32_t at = 0; at < block->header.tables; at++) {
        enum err err = find_section(block, &reader, at, &rows, &points);

        if (err != ERR_OK)
            return err_wrap(err, "table %u of %u", at, block->header.tables);
    }
    if (!reader_done(&reader) || rows != block->header.rows || points != block->header.points)
        return err_set(ERR_CORRUPT,
                       "block: header says %u rows and %u points, tables have %llu and %llu",
                       block->header.rows, block->header.points, (unsigned long long)rows,
                       (unsigned long long)points);
    return ERR_OK;
}

static enum err decompress(struct block *block, const struct block_view *view)
{
    const struct block_header *header = &view->header;
    int size;

    block->body = view->body;
    if (header->body_size == header->body_raw_size)
        return ERR_OK;
    block->raw = malloc(header->body_raw_size);
    if (block->raw == NULL)
        return err_set(ERR_NO_MEMORY, "block: body of %u bytes", header->body_raw_size);
    size = LZ4_decompress_safe((const char *)view->body, (char *)block->raw, (int)header->body_size,
                               (int)header->body_raw_size);
    if (size < 0 || (uint32_t)size != header->body_raw_size)
        return err_set(ERR_CORRUPT, "block: LZ4 gives %d bytes from %u, not %u", size,
                       header->body_size, header->body_raw_size);
    block->body = block->raw;
    return ERR_OK;
}

enum err block_load(const struct block_view *view, struct block **ret_block)
{
    struct block *block = calloc(1, sizeof *block);
    enum err err;

    if (block == NULL)
        return err_set(ERR_NO_MEMORY, "block");
    block->header = view->header;
    block->sections = calloc(view->header.tables + 1u, sizeof *block->sections);
    if (block->sections == NULL)
        err = err_set(ERR_NO_MEMORY, "block: %u tables", view->header.tables);
    else
        err = decompress(block, view);
    if (err == ERR_OK)
        err = find_sections(block);
    if (err != ERR_OK) {
        block_free(block);
        return err;
    }
    *ret_block = block;
    return ERR_OK;
}

void block_free(struct block *block)
{
    if (block == NULL)
        return;
    free(block->raw);
    free(block->sections);
    free(block->fields);
    free(block->scratch);
    free(block);
}

/* ---- Columns ------------------------------------------------------------------------------- */

uint32_t block_sections(const struct block *block)
{
    return block->header.tables;
}

static const struct loaded_section *section_at(const struct block *block, uint32_t at)
{
    CHECK(at < block->header.tables);
    return &block->sections[at];
}

static const struct block_column *field_at(const struct block *block, uint32_t section,
                                           uint32_t field)
{
    const struct loaded_section *loaded = section_at(block, section);

    CHECK(field < loaded->section.fields);
    return &block->fields[loaded->first_field + field];
}

const struct block_section *block_section(const struct block *block, uint32_t at)
{
    return &section_at(block, at)->section;
}

const struct block_field *block_field(const struct block *block, uint32_t section, uint32_t field)
{
    return &field_at(block, section, field)->field;
}

/* Decode places and counts into block->scratch, one behind the other. */
static enum err read_runs(struct block *block, const struct loaded_section *loaded)
{
    const struct block_section *section = &loaded->section;
    uint32_t series = block->header.known + block->header.fresh;
    struct reader reader = loaded->runs;
    uint64_t rows = 0;
    uint64_t *places, *counts;

    if (block->scratch == NULL)
        block->scratch = malloc((size_t)block->runs_max * 2 * sizeof *block->scratch);
    if (block->scratch == NULL)
        return err_set(ERR_NO_MEMORY, "block: %u runs", block->runs_max);
    block->counted = NULL;
    places = block->scratch;
    counts = block->scratch + section->runs;
    column_int_get(&reader, section->runs, places);
    column_int_get(&reader, section->runs, counts);
    if (!reader_done(&reader))
        return err_set(ERR_CORRUPT, "block: bad column of %u runs", section->runs);
    for (uint32_t run = 0; run < section->runs; run++) {
        if (places[run] >= series || (run > 0 && places[run] <= places[run - 1]))
            return err_set(ERR_CORRUPT, "block: run %u has place %llu of %u", run,
                           (unsigned long long)places[run], series);
        if (counts[run] < 1 || counts[run] > section->rows - rows)
            return err_set(ERR_CORRUPT, "block: run %u has %llu rows of %u", run,
                           (unsigned long long)counts[run], section->rows);
        rows += counts[run];
    }
    if (rows != section->rows)
        return err_set(ERR_CORRUPT, "block: runs have %llu rows, not %u", (unsigned long long)rows,
                       section->rows);
    block->counted = loaded;
    return ERR_OK;
}

enum err block_read_runs(struct block *block, uint32_t section, uint32_t *places, uint32_t *counts)
{
    const struct loaded_section *loaded = section_at(block, section);
    uint32_t runs = loaded->section.runs;
    enum err err = read_runs(block, loaded);

    if (err != ERR_OK)
        return err;
    for (uint32_t run = 0; run < runs; run++) {
        places[run] = (uint32_t)block->scratch[run];
        counts[run] = (uint32_t)block->scratch[runs + run];
    }
    return ERR_OK;
}

/* Rows `first` to `end` - 1 are within the header's range. */
static enum err check_times(const struct block *block, uint32_t first, uint32_t end,
                            const int64_t *times_ns)
{
    int64_t min_ns = INT64_MAX, max_ns = INT64_MIN;

    for (uint32_t row = first; row < end; row++) {
        min_ns = times_ns[row] < min_ns ? times_ns[row] : min_ns;
        max_ns = times_ns[row] > max_ns ? times_ns[row] : max_ns;
    }
    if (first < end && (min_ns < block->header.time_min_ns || max_ns > block->header.time_max_ns))
        return err_set(ERR_CORRUPT, "block: rows %u to %u have times outside of the header's",
                       first, end);
    return ERR_OK;
}

enum err block_read_some_times(struct block *block, uint32_t section, uint32_t first, uint32_t end,
                               int64_t *times_ns)
{
    const struct loaded_section *loaded = section_at(block, section);
    uint32_t runs = loaded->section.runs, start = 0, behind = 0;
    struct reader reader = loaded->times;
    const uint64_t *counts;
    enum err err = block->counted == loaded ? ERR_OK : read_runs(block, loaded);

    CHECK(first <= end);
    CHECK(end <= runs);
    if (err != ERR_OK)
        return err;
    counts = block->scratch + runs;
    column_time_get_some(&reader, counts, runs, loaded->section.rows, first, end, block->scratch,
                         times_ns);
    if (reader.bad || (first == 0 && end == runs && !reader_done(&reader)))
        return err_set(ERR_CORRUPT, "block: bad column of %u times", loaded->section.rows);
    for (uint32_t run = 0; run < end; run++) {
        start += run < first ? (uint32_t)counts[run] : 0;
        behind += (uint32_t)counts[run];
    }
    return check_times(block, start, behind, times_ns);
}

enum err block_read_times(struct block *block, uint32_t section, int64_t *times_ns)
{
    return block_read_some_times(block, section, 0, section_at(block, section)->section.runs,
                                 times_ns);
}

enum err block_read_some_values(struct block *block, uint32_t section, uint32_t field,
                                uint32_t first, uint32_t end, uint8_t *present, uint64_t *values,
                                const char **ret_strings)
{
    const struct block_column *loaded = field_at(block, section, field);
    uint32_t rows = block->sections[section].section.rows, count = loaded->field.values;
    struct reader reader = loaded->values;

    CHECK(first <= end);
    CHECK(end <= rows);
    if (count < rows) { /* Where a row's value stands depends on all rows before. */
        first = 0;
        end = rows;
    }
    if (count == rows)
        memset(present + first, 1, end - first);
    else if (!column_get_presence(&loaded->presence, rows, present))
        return err_set(ERR_CORRUPT, "block: field %.*s: bad presence of %u in %u rows",
                       (int)loaded->field.name.size, loaded->field.name.data, count, rows);
    column_get_some_values(&reader, loaded->field.type, count, first, end < count ? end : count,
                           values, ret_strings);
    if (reader.bad || (first == 0 && end == rows && !reader_done(&reader)))
        return err_set(ERR_CORRUPT, "block: field %.*s: bad column of %u values",
                       (int)loaded->field.name.size, loaded->field.name.data, count);
    column_spread(present, rows, count, values);
    return ERR_OK;
}

enum err block_read_field(struct block *block, uint32_t section, uint32_t field, uint8_t *present,
                          uint64_t *values, const char **ret_strings)
{
    return block_read_some_values(block, section, field, 0, block->sections[section].section.rows,
                                  present, values, ret_strings);
}

struct reader block_packed_field(const struct block *block, uint32_t section, uint32_t field)
{
    return field_at(block, section, field)->values;
}
