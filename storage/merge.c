#include "storage/merge.h"

#include <stdlib.h>
#include <string.h>

#include "storage/block/entry.h"
#include "storage/merge_stage.h"

enum { GATHER_ROWS = 1024 }; /* Rows that are put in order and joined at once. */

/* Where rows go, and room for those that have to be copied once more. */
struct output {
    struct segment_writer *writer;
    const struct merge_table *table; /* That the writer is at. */
    struct segment_column *columns;  /* Owned: a stage's, or those of the next three. */
    uint64_t *values;                /* Owned: GATHER_ROWS for each field. */
    uint8_t *present;
    int64_t *times_ns;
    uint32_t gather_rows; /* That there is room for. */
};

static void output_fini(struct output *output)
{
    free(output->columns);
    free(output->values);
    free(output->present);
    free(output->times_ns);
}

static enum err begin_table(struct output *output, const struct merge_table *table)
{
    const struct segment_table next = {table->number, table->field_count, table->fields};
    size_t fields = (size_t)table->field_count + 1;

    if (output->table == table)
        return ERR_OK;
    output_fini(output);
    output->table = table;
    output->gather_rows = fields > 64 ? 64 : GATHER_ROWS;
    output->columns = calloc(fields, sizeof *output->columns);
    output->values = malloc(fields * output->gather_rows * sizeof *output->values);
    output->present = malloc(fields * output->gather_rows);
    output->times_ns = malloc(output->gather_rows * sizeof *output->times_ns);
    if (output->columns == NULL || output->values == NULL || output->present == NULL ||
        output->times_ns == NULL)
        return err_set(ERR_NO_MEMORY, "merging %u fields", table->field_count);
    return segment_writer_table(output->writer, &next);
}

/* ---- Rows that are in order ---------------------------------------------------------------- */

static bool times_ascend(const int64_t *times_ns, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        if (times_ns[i] <= times_ns[i - 1])
            return false;
    return true;
}

static const char *text_of(const struct merge_column *column)
{
    return (const char *)column->text.data;
}

static enum err put_sorted(struct output *output, const struct merge_stage *stage, uint32_t first,
                           uint32_t count)
{
    for (uint32_t i = 0; i < stage->table->field_count; i++) {
        const struct merge_column *column = &stage->columns[i];

        output->columns[i] =
            (struct segment_column){column->values, column->present, text_of(column)};
    }
    return segment_writer_rows(output->writer, stage->times_ns, output->columns, first, count);
}

/* ---- Rows that are not --------------------------------------------------------------------- */

/* A row of the stage, to sort by time; the row's number keeps the log's order. */
struct ranked {
    int64_t time_ns;
    uint32_t row;
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *left = a;
    const struct ranked *right = b;

    if (left->time_ns != right->time_ns)
        return left->time_ns < right->time_ns ? -1 : 1;
    return (left->row > right->row) - (left->row < right->row);
}

/* Rows of one time become row `at` of the gathered ones: field by field, the last counts. */
static void join(struct output *output, const struct merge_stage *stage, uint32_t at,
                 const struct ranked *ranked, uint32_t count)
{
    output->times_ns[at] = ranked->time_ns;
    for (uint32_t i = 0; i < stage->table->field_count; i++) {
        const struct merge_column *column = &stage->columns[i];
        size_t into = (size_t)i * output->gather_rows + at;
        uint32_t left = count;

        while (left > 0 && !column->present[ranked[left - 1].row])
            left--;
        output->present[into] = left > 0;
        output->values[into] = left > 0 ? column->values[ranked[left - 1].row] : 0;
    }
}

static enum err put_gathered(struct output *output, const struct merge_stage *stage, uint32_t count)
{
    for (uint32_t i = 0; i < stage->table->field_count; i++)
        output->columns[i] = (struct segment_column){
            output->values + (size_t)i * output->gather_rows,
            output->present + (size_t)i * output->gather_rows, text_of(&stage->columns[i])};
    return segment_writer_rows(output->writer, output->times_ns, output->columns, 0, count);
}

static enum err put_unsorted(struct output *output, const struct merge_stage *stage, uint32_t first,
                             uint32_t count)
{
    struct ranked *ranked = malloc(count * sizeof *ranked);
    uint32_t gathered = 0, end;
    enum err err = ERR_OK;

    if (ranked == NULL)
        return err_set(ERR_NO_MEMORY, "sorting %u rows", count);
    for (uint32_t i = 0; i < count; i++)
        ranked[i] = (struct ranked){stage->times_ns[first + i], first + i};
    qsort(ranked, count, sizeof *ranked, compare_ranked);
    for (uint32_t i = 0; i < count && err == ERR_OK; i = end) {
        for (end = i; end < count && ranked[end].time_ns == ranked[i].time_ns; end++)
            continue;
        join(output, stage, gathered++, ranked + i, end - i);
        if (gathered == output->gather_rows || end == count) {
            err = put_gathered(output, stage, gathered);
            gathered = 0;
        }
    }
    free(ranked);
    return err;
}

/* ---- Slices -------------------------------------------------------------------------------- */

static enum err put_series(struct output *output, const struct merge_plan *plan,
                           const struct merge_slice *slice, struct merge_stage *stage, uint32_t id)
{
    uint32_t first = stage->emitted;
    uint32_t count = slice->cut ? (uint32_t)slice->rows : plan->rows[id];
    enum err err = begin_table(output, stage->table);

    stage->emitted += count;
    if (err == ERR_OK)
        err = segment_writer_series(output->writer, id, plan->rows[id]);
    if (err != ERR_OK)
        return err;
    if (times_ascend(stage->times_ns + first, count))
        return put_sorted(output, stage, first, count);
    return put_unsorted(output, stage, first, count);
}

static enum err put_slice(struct output *output, const struct merge_plan *plan,
                          const struct merge_slice *slice)
{
    struct merge_stages stages;
    enum err err = merge_stage_fill(plan, slice, &stages);

    for (uint32_t i = slice->first; i < slice->end && err == ERR_OK; i++) {
        uint32_t id = plan->order[i];

        err = merge_plan_go_on(plan);
        if (err == ERR_OK)
            err = put_series(output, plan, slice, merge_stage_of(&stages, plan, id), id);
    }
    merge_stage_fini(&stages);
    return err;
}

enum err merge_sources(const struct snapshot_source *sources, uint32_t count,
                       const struct catalog_view *series, const struct merge_filter *filter,
                       size_t memory, const atomic_bool *cancel, struct segment_writer *writer)
{
    static const struct merge_filter all = {.from_ns = INT64_MIN, .last_ns = INT64_MAX};
    struct output output = {.writer = writer};
    struct merge_slice slice;
    struct merge_plan plan;
    enum err err = merge_plan_init(&plan, sources, count, series, filter == NULL ? &all : filter,
                                   memory, cancel);

    if (err != ERR_OK)
        return err;
    while (err == ERR_OK && (err = merge_plan_next(&plan, &slice)) == ERR_OK)
        err = put_slice(&output, &plan, &slice);
    if (err == ERR_END)
        err = segment_writer_end_table(writer);
    output_fini(&output);
    merge_plan_fini(&plan);
    return err;
}

enum err merge_blocks(const struct head_block *blocks, uint32_t count,
                      const struct catalog_view *series, const struct merge_filter *filter,
                      size_t memory, const atomic_bool *cancel, struct segment_writer *writer)
{
    struct snapshot_source *sources = calloc((size_t)count + 1, sizeof *sources);
    enum err err;

    if (sources == NULL)
        return err_set(ERR_NO_MEMORY, "merging %u blocks", count);
    for (uint32_t i = 0; i < count; i++)
        sources[i] = (struct snapshot_source){.entry = blocks[i].entry,
                                              .index = blocks[i].index,
                                              .clean_index = blocks[i].index,
                                              .offset = sizeof(struct entry_header),
                                              .size = blocks[i].size,
                                              .rows = blocks[i].rows,
                                              .time_min_ns = blocks[i].time_min_ns,
                                              .time_max_ns = blocks[i].time_max_ns,
                                              .series_min = blocks[i].series_min,
                                              .series_max = blocks[i].series_max,
                                              .table_max = CATALOG_NONE};
    err = merge_sources(sources, count, series, filter, memory, cancel, writer);
    free(sources);
    return err;
}
