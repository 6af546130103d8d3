#include "storage/merge_plan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/bytes.h"
#include "storage/merge_hidden.h"
#include "storage/segment_row.h"

#define NONE UINT32_MAX

enum {
    BUCKETS = 1024, /* Of the times of a series that is too large. */
    ROW_BYTES = 8,  /* A row's share of sorting. */
};

/* A range of times of one series, with so many rows. */
struct merge_cut {
    int64_t from_ns, to_ns;
    uint64_t rows;
};

/* ---- Sources ------------------------------------------------------------------------------- */

enum err merge_plan_open(const struct merge_plan *plan, const struct snapshot_source *from,
                         struct merge_source *source)
{
    struct block_view view;
    enum err err = ERR_OK;

    /* What is written for good is checked once more. A segment is checked by whoever reads it. */
    if (from->segment == NULL)
        err = block_view(from->entry->bytes + from->offset, from->size, true, &view);
    source->reader.source = from;
    if (err == ERR_OK)
        err = section_open(&source->reader, from, plan->series);
    return merge_plan_wrap(err, source);
}

enum err merge_plan_wrap(enum err err, const struct merge_source *source)
{
    if (err == ERR_OK || source->reader.source->segment != NULL)
        return err; /* A segment has named file and offset. */
    return err_wrap(err, "block of log index %" PRIu64, source->reader.source->index);
}

enum err merge_plan_go_on(const struct merge_plan *plan)
{
    if (plan->cancel != NULL && atomic_load_explicit(plan->cancel, memory_order_relaxed))
        return err_set(ERR_CANCELED, "the node stops");
    return ERR_OK;
}

static enum err grow_runs(struct merge_source *source, uint32_t runs)
{
    uint32_t *ids, *counts;

    if (runs <= source->runs_max)
        return ERR_OK;
    ids = realloc(source->ids, runs * sizeof *ids);
    if (ids != NULL)
        source->ids = ids;
    counts = realloc(source->counts, runs * sizeof *counts);
    if (counts != NULL)
        source->counts = counts;
    if (ids == NULL || counts == NULL)
        return err_set(ERR_NO_MEMORY, "%u runs", runs);
    source->runs_max = runs;
    return ERR_OK;
}

enum err merge_plan_runs(const struct merge_plan *plan, struct merge_source *source)
{
    uint32_t runs = source->reader.section.runs;
    enum err err = grow_runs(source, runs);

    if (err == ERR_OK)
        err = section_read_runs(&source->reader, source->ids, source->counts);
    for (uint32_t run = 0; run < runs && err == ERR_OK; run++)
        if (source->ids[run] >= plan->series->count)
            err = err_set(ERR_CORRUPT, "section %u, run %u: series %u of %u", source->reader.at,
                          run, source->ids[run], plan->series->count);
    return err;
}

void merge_plan_close(struct merge_source *source)
{
    section_fini(&source->reader);
    free(source->ids);
    free(source->counts);
    free(source->deleted);
    *source = (struct merge_source){0};
}

bool merge_plan_has(const struct snapshot_source *source, const struct merge_slice *slice,
                    uint32_t id_min, uint32_t id_max)
{
    return source->rows > 0 && source->series_min <= id_max && source->series_max >= id_min &&
           source->time_min_ns <= slice->to_ns && source->time_max_ns >= slice->from_ns;
}

/* ---- Counting ------------------------------------------------------------------------------ */

uint32_t merge_plan_field(const struct merge_table *table, const struct segment_field *field,
                          uint32_t hint)
{
    /* Sections list their fields by name, so the next one is mostly where the hint says. */
    for (uint32_t i = 0; i < table->field_count; i++) {
        uint32_t at = (hint + i) % table->field_count;
        const struct segment_field *own = &table->fields[at];

        if (own->type == field->type && own->name.size == field->name.size &&
            memcmp(own->name.data, field->name.data, own->name.size) == 0)
            return at;
    }
    return NONE;
}

static enum err add_field(struct merge_table *table, const struct segment_field *field)
{
    char *name = malloc(field->name.size + 1);

    if (name != NULL && table->field_count == table->field_capacity) {
        uint32_t capacity = table->field_capacity == 0 ? 16 : 2 * table->field_capacity;
        struct segment_field *fields = realloc(table->fields, capacity * sizeof *fields);

        if (fields == NULL) {
            free(name);
            name = NULL;
        } else {
            table->fields = fields;
            table->field_capacity = capacity;
        }
    }
    if (name == NULL)
        return err_set(ERR_NO_MEMORY, "%u fields", table->field_count + 1);
    memcpy(name, field->name.data, field->name.size);
    table->fields[table->field_count++] =
        (struct segment_field){{name, field->name.size}, field->type};
    return ERR_OK;
}

static enum err find_table(struct merge_plan *plan, uint32_t number, struct merge_table **ret_table)
{
    struct merge_table **tables;
    struct merge_table *table;

    if (plan->table_at[number] != NONE) {
        *ret_table = plan->tables[plan->table_at[number]];
        return ERR_OK;
    }
    tables = realloc(plan->tables, (plan->table_count + 1) * sizeof(struct merge_table *));
    if (tables != NULL)
        plan->tables = tables;
    table = calloc(1, sizeof *table);
    if (tables == NULL || table == NULL) {
        free(table);
        return err_set(ERR_NO_MEMORY, "%u tables", plan->table_count + 1);
    }
    table->number = number;
    plan->table_at[number] = plan->table_count;
    plan->tables[plan->table_count++] = table;
    *ret_table = table;
    return ERR_OK;
}

static bool in_filter(const struct merge_plan *plan, int64_t time_ns)
{
    return time_ns >= plan->filter.from_ns && time_ns <= plan->filter.last_ns;
}

static bool is_whole(const struct merge_plan *plan, const struct section *section)
{
    return in_filter(plan, section->time_min_ns) && in_filter(plan, section->time_max_ns);
}

static bool has_times(const struct merge_plan *plan, const struct section *section)
{
    return section->time_min_ns <= plan->filter.last_ns &&
           section->time_max_ns >= plan->filter.from_ns;
}

/* Count the section's rows that are wanted, series by series. `times_ns` is room for its times. */
static enum err count_runs(struct merge_plan *plan, struct merge_source *source,
                           struct merge_table *table, int64_t *times_ns, uint32_t *ret_rows)
{
    const struct section *section = &source->reader.section;
    bool whole = is_whole(plan, section) && !merge_hidden_some(plan, source);
    uint32_t row = 0, rows = 0;
    enum err err = whole ? ERR_OK : merge_hidden_times(plan, source, times_ns);

    for (uint32_t run = 0; run < section->runs && err == ERR_OK; run++) {
        uint32_t id = source->ids[run], end = row + source->counts[run];
        uint32_t before = plan->rows[id];

        /* Admission has seen to it. To carry rows into another table is worse than to stop. */
        if (catalog_view_table(plan->series, id) != table->number)
            err = err_set(ERR_CORRUPT, "section %u: series %u is of another table",
                          source->reader.at, id);
        if (whole)
            plan->rows[id] += end - row;
        for (uint32_t at = row; at < end && !whole; at++)
            plan->rows[id] += in_filter(plan, times_ns[at]) && !merge_hidden_row(source, at);
        rows += plan->rows[id] - before;
        row = end;
    }
    *ret_rows = rows;
    return err;
}

/* Bytes of strings in a section, roughly: their share of a block without LZ4, or a multiple of what
 * they are packed to in a chunk, where a word that repeats stands once. */
enum { CHUNK_TEXT_GROWS = 8 };

static uint64_t text_bytes(const struct merge_source *source, uint32_t rows, uint64_t packed)
{
    const struct block_header *header = &source->reader.view.header;

    if (source->reader.block != NULL)
        return (uint64_t)header->body_raw_size * rows / header->rows;
    return packed * CHUNK_TEXT_GROWS * rows / source->reader.section.rows;
}

/* The fields that the section has; those of strings add to the table's text. */
static enum err count_fields(struct merge_table *table, struct merge_source *source, uint32_t rows)
{
    struct section_reader *reader = &source->reader;
    uint64_t packed = 0;
    bool text = false;
    uint32_t hint = 0;
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < reader->section.fields && err == ERR_OK; i++) {
        struct segment_field field = section_field(reader, i);
        struct reader values = {0};
        uint32_t count = 0, at;

        err = section_values(reader, i, &count);
        if (err != ERR_OK || count == 0)
            continue;
        at = merge_plan_field(table, &field, hint);
        if (at == NONE) {
            at = table->field_count;
            err = add_field(table, &field);
        }
        hint = at + 1;
        if (field.type != FIELD_STRING)
            continue;
        text = true;
        if (err == ERR_OK)
            err = section_packed(reader, i, &values);
        packed += reader_left(&values);
    }
    if (err == ERR_OK && text)
        table->text_bytes += text_bytes(source, rows, packed);
    return err;
}

static enum err count_section(struct merge_plan *plan, struct merge_source *source,
                              int64_t *times_ns)
{
    struct merge_table *table = NULL;
    uint32_t number, rows = 0;
    enum err err = merge_plan_runs(plan, source);

    if (err != ERR_OK || source->reader.section.runs == 0)
        return err;
    number = catalog_view_table(plan->series, source->ids[0]);
    if (plan->filter.tables != NULL && !plan->filter.tables[number])
        return ERR_OK;
    err = find_table(plan, number, &table);
    if (err == ERR_OK)
        err = count_runs(plan, source, table, times_ns, &rows);
    if (err == ERR_OK && rows > 0)
        err = count_fields(table, source, rows);
    if (err == ERR_OK)
        table->rows += rows;
    return err;
}

static enum err count_sources(struct merge_plan *plan)
{
    struct merge_source source = {0};
    int64_t *times_ns = malloc(BLOCK_ROWS_MAX * sizeof *times_ns);
    enum err err = times_ns == NULL ? err_set(ERR_NO_MEMORY, "times") : ERR_OK;

    for (uint32_t i = 0; i < plan->source_count && err == ERR_OK; i++) {
        if (plan->sources[i].rows == 0)
            continue;
        err = merge_plan_go_on(plan);
        if (err == ERR_OK)
            err = merge_plan_open(plan, &plan->sources[i], &source);
        for (uint32_t s = 0; err == ERR_OK && s < source.reader.count; s++) {
            section_go(&source.reader, s);
            if (has_times(plan, &source.reader.section))
                err = merge_plan_wrap(count_section(plan, &source, times_ns), &source);
        }
    }
    free(times_ns);
    merge_plan_close(&source);
    return err;
}

/* ---- Order --------------------------------------------------------------------------------- */

static int compare_tables(const void *a, const void *b)
{
    uint32_t left = (*(struct merge_table *const *)a)->number;
    uint32_t right = (*(struct merge_table *const *)b)->number;

    return (left > right) - (left < right);
}

/* Ids by (table number, id): counted by table, then each put at its table's next place. */
static enum err order_series(struct merge_plan *plan)
{
    uint32_t *next = calloc(plan->table_count + 1, sizeof *next);
    uint32_t sum = 0;

    qsort(plan->tables, plan->table_count, sizeof(struct merge_table *), compare_tables);
    for (uint32_t t = 0; t < plan->table_count; t++)
        plan->table_at[plan->tables[t]->number] = t;
    for (uint32_t id = 0; id < plan->series->count; id++)
        plan->order_count += plan->rows[id] > 0;
    plan->order = malloc((plan->order_count + 1) * sizeof *plan->order);
    if (next == NULL || plan->order == NULL) {
        free(next);
        return err_set(ERR_NO_MEMORY, "order of %u series", plan->order_count);
    }
    for (uint32_t id = 0; id < plan->series->count; id++)
        if (plan->rows[id] > 0)
            next[plan->table_at[catalog_view_table(plan->series, id)]]++;
    for (uint32_t t = 0; t < plan->table_count; t++) {
        uint32_t count = next[t];

        next[t] = sum;
        sum += count;
    }
    for (uint32_t id = 0; id < plan->series->count; id++)
        if (plan->rows[id] > 0)
            plan->order[next[plan->table_at[catalog_view_table(plan->series, id)]]++] = id;
    free(next);
    return ERR_OK;
}

enum err merge_plan_init(struct merge_plan *plan, const struct snapshot_source *sources,
                         uint32_t count, const struct catalog_view *series,
                         const struct merge_filter *filter, size_t memory,
                         const atomic_bool *cancel)
{
    enum err err;

    *plan = (struct merge_plan){.sources = sources,
                                .source_count = count,
                                .series = series,
                                .filter = *filter,
                                .memory = memory,
                                .cancel = cancel};
    plan->rows = calloc((size_t)series->count + 1, sizeof *plan->rows);
    plan->table_at = malloc(((size_t)series->tables + 1) * sizeof *plan->table_at);
    if (plan->rows == NULL || plan->table_at == NULL) {
        err = err_set(ERR_NO_MEMORY, "counting the rows of %u series", series->count);
    } else {
        memset(plan->table_at, 0xff, series->tables * sizeof *plan->table_at);
        err = count_sources(plan);
    }
    if (err == ERR_OK)
        err = order_series(plan);
    if (err != ERR_OK)
        merge_plan_fini(plan);
    return err;
}

void merge_plan_fini(struct merge_plan *plan)
{
    for (uint32_t t = 0; t < plan->table_count; t++) {
        struct merge_table *table = plan->tables[t];

        for (uint32_t i = 0; i < table->field_count; i++)
            free((char *)(uintptr_t)table->fields[i].name.data);
        free(table->fields);
        free(table);
    }
    free(plan->tables);
    free(plan->rows);
    free(plan->order);
    free(plan->table_at);
    free(plan->cuts);
    *plan = (struct merge_plan){0};
}

struct merge_table *merge_plan_table(const struct merge_plan *plan, uint32_t id)
{
    return plan->tables[plan->table_at[catalog_view_table(plan->series, id)]];
}

/* ---- Cutting a series by time -------------------------------------------------------------- */

static enum err add_cut(struct merge_plan *plan, const struct merge_cut *cut)
{
    if (cut->rows == 0)
        return ERR_OK;
    if (plan->cut_count == plan->cut_capacity) {
        uint32_t capacity = plan->cut_capacity == 0 ? 64 : 2 * plan->cut_capacity;
        struct merge_cut *cuts = realloc(plan->cuts, capacity * sizeof *cuts);

        if (cuts == NULL)
            return err_set(ERR_NO_MEMORY, "%u cuts", capacity);
        plan->cuts = cuts;
        plan->cut_capacity = capacity;
    }
    plan->cuts[plan->cut_count++] = *cut;
    return ERR_OK;
}

/* Times from `from_ns` on, in buckets of 2^shift ns. */
struct histogram {
    int64_t from_ns, to_ns;
    unsigned shift;
    uint64_t rows[BUCKETS];
};

static enum err count_section_times(const struct merge_plan *plan, uint32_t id,
                                    struct merge_source *source, int64_t *times_ns,
                                    struct histogram *histogram)
{
    uint32_t row = 0;
    enum err err = merge_plan_runs(plan, source);

    if (err == ERR_OK)
        err = merge_hidden_times(plan, source, times_ns);
    for (uint32_t run = 0; err == ERR_OK && run < source->reader.section.runs; run++) {
        uint32_t end = row + source->counts[run];

        for (; row < end; row++)
            if (source->ids[run] == id && times_ns[row] >= histogram->from_ns &&
                times_ns[row] <= histogram->to_ns && !merge_hidden_row(source, row))
                histogram->rows[((uint64_t)times_ns[row] - (uint64_t)histogram->from_ns) >>
                                histogram->shift]++;
    }
    return merge_plan_wrap(err, source);
}

static enum err count_times(const struct merge_plan *plan, uint32_t id, struct histogram *histogram)
{
    const struct merge_slice slice = {0, 0, 0, histogram->from_ns, histogram->to_ns, true};
    struct merge_source source = {0};
    int64_t *times_ns = malloc(BLOCK_ROWS_MAX * sizeof *times_ns);
    enum err err = times_ns == NULL ? err_set(ERR_NO_MEMORY, "times") : ERR_OK;

    for (uint32_t i = 0; i < plan->source_count && err == ERR_OK; i++) {
        if (!merge_plan_has(&plan->sources[i], &slice, id, id))
            continue;
        err = merge_plan_open(plan, &plan->sources[i], &source);
        for (uint32_t s = 0; err == ERR_OK && s < source.reader.count; s++) {
            section_go(&source.reader, s);
            if (id >= source.reader.section.series_min && id <= source.reader.section.series_max)
                err = count_section_times(plan, id, &source, times_ns, histogram);
        }
    }
    free(times_ns);
    merge_plan_close(&source);
    return err;
}

static enum err cut_range(struct merge_plan *plan, uint32_t id, int64_t from_ns, int64_t to_ns,
                          uint64_t rows, uint64_t rows_max);

/* Join neighbouring buckets to cuts of at most rows_max; a bucket above it is cut further. */
static enum err cut_buckets(struct merge_plan *plan, uint32_t id, const struct histogram *histogram,
                            uint64_t rows_max)
{
    struct merge_cut cut = {.from_ns = histogram->from_ns};
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < BUCKETS && err == ERR_OK; i++) {
        uint64_t rows = histogram->rows[i];
        uint64_t width = (uint64_t)1 << histogram->shift;
        int64_t start = (int64_t)((uint64_t)histogram->from_ns + i * width);
        uint64_t left = (uint64_t)histogram->to_ns - (uint64_t)start;
        int64_t end = left < width ? histogram->to_ns : (int64_t)((uint64_t)start + width - 1);

        if (rows == 0)
            continue;
        if (cut.rows > 0 && cut.rows + rows > rows_max) {
            err = add_cut(plan, &cut);
            cut.rows = 0;
        }
        if (err == ERR_OK && rows > rows_max) {
            err = cut_range(plan, id, start, end, rows, rows_max);
            continue;
        }
        if (cut.rows == 0)
            cut.from_ns = start;
        cut.to_ns = end;
        cut.rows += rows;
    }
    return err == ERR_OK ? add_cut(plan, &cut) : err;
}

/* Each level takes 10 bits of the time away, so there are seven at most. */
static enum err cut_range(struct merge_plan *plan, uint32_t id, int64_t from_ns, int64_t to_ns,
                          uint64_t rows, uint64_t rows_max)
{
    struct histogram *histogram;
    enum err err;

    if (rows <= rows_max || from_ns == to_ns)
        return add_cut(plan, &(struct merge_cut){from_ns, to_ns, rows});
    histogram = calloc(1, sizeof *histogram);
    if (histogram == NULL)
        return err_set(ERR_NO_MEMORY, "cutting series %u", id);
    histogram->from_ns = from_ns;
    histogram->to_ns = to_ns;
    while (((uint64_t)to_ns - (uint64_t)from_ns) >> histogram->shift >= BUCKETS)
        histogram->shift++;
    err = count_times(plan, id, histogram);
    if (err == ERR_OK)
        err = cut_buckets(plan, id, histogram, rows_max);
    free(histogram);
    return err;
}

/* ---- Slices -------------------------------------------------------------------------------- */

static uint64_t row_bytes(const struct merge_table *table)
{
    return ROW_BYTES + segment_row_words(table->field_count) * sizeof(uint64_t) +
           table->text_bytes / (table->rows + 1);
}

static enum err begin_cuts(struct merge_plan *plan, uint32_t id)
{
    uint64_t rows_max = plan->memory / row_bytes(merge_plan_table(plan, id));
    int64_t from_ns = INT64_MAX;
    int64_t to_ns = INT64_MIN;

    for (uint32_t i = 0; i < plan->source_count; i++) {
        const struct snapshot_source *source = &plan->sources[i];

        if (source->rows == 0 || id < source->series_min || id > source->series_max)
            continue;
        from_ns = source->time_min_ns < from_ns ? source->time_min_ns : from_ns;
        to_ns = source->time_max_ns > to_ns ? source->time_max_ns : to_ns;
    }
    from_ns = from_ns > plan->filter.from_ns ? from_ns : plan->filter.from_ns;
    to_ns = to_ns < plan->filter.last_ns ? to_ns : plan->filter.last_ns;
    plan->cut_count = plan->cut_next = 0;
    return cut_range(plan, id, from_ns, to_ns, plan->rows[id], rows_max == 0 ? 1 : rows_max);
}

enum err merge_plan_next(struct merge_plan *plan, struct merge_slice *ret_slice)
{
    struct merge_slice slice = {.first = plan->next,
                                .end = plan->next,
                                .from_ns = plan->filter.from_ns,
                                .to_ns = plan->filter.last_ns};
    uint64_t bytes = 0;

    if (plan->cut_next < plan->cut_count) {
        const struct merge_cut *cut = &plan->cuts[plan->cut_next++];

        *ret_slice = (struct merge_slice){slice.first,  slice.first + 1, cut->rows,
                                          cut->from_ns, cut->to_ns,      true};
        plan->next += plan->cut_next == plan->cut_count;
        return ERR_OK;
    }
    while (slice.end < plan->order_count) {
        uint32_t id = plan->order[slice.end];
        uint64_t more = plan->rows[id] * row_bytes(merge_plan_table(plan, id));

        if (bytes + more > plan->memory) {
            enum err err;

            if (slice.end > slice.first)
                break;
            err = begin_cuts(plan, id);
            return err == ERR_OK ? merge_plan_next(plan, ret_slice) : err;
        }
        bytes += more;
        slice.rows += plan->rows[id];
        slice.end++;
    }
    if (slice.end == slice.first)
        return ERR_END;
    plan->next = slice.end;
    *ret_slice = slice;
    return ERR_OK;
}
