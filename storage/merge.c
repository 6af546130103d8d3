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
    const char **texts;              /* Owned: one a field, of the stage. */
    uint64_t *gathered;              /* Owned: rows. */
    uint32_t gather_rows;            /* That there is room for. */
};

static void output_fini(struct output *output)
{
    free(output->texts);
    free(output->gathered);
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
    output->texts = calloc(fields, sizeof(char *));
    output->gathered = malloc((size_t)output->gather_rows * segment_row_words(table->field_count) *
                              sizeof *output->gathered);
    if (output->texts == NULL || output->gathered == NULL)
        return err_set(ERR_NO_MEMORY, "merging %u fields", table->field_count);
    return segment_writer_table(output->writer, &next);
}

static enum err put_rows(struct output *output, const struct merge_stage *stage,
                         const uint64_t *rows, uint32_t count)
{
    for (uint32_t i = 0; i < stage->table->field_count; i++)
        output->texts[i] = (const char *)stage->texts[i].data;
    return segment_writer_rows(output->writer, rows, output->texts, count);
}

static bool times_ascend(const struct merge_stage *stage, uint32_t first, uint32_t count)
{
    const uint64_t *row = merge_stage_row(stage, first);

    for (uint32_t i = 1; i < count; i++, row += stage->words)
        if ((int64_t)row[stage->words] <= (int64_t)row[0])
            return false;
    return true;
}

/* ---- Rows that are not in order ------------------------------------------------------------ */

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

/* What the row has not is taken of one before it in the log. */
static void fill_in(uint64_t *row, const uint64_t *before, uint32_t fields)
{
    for (uint32_t word = 0; word < segment_row_bits(fields); word++) {
        uint64_t missing = before[1 + word] & ~row[1 + word];

        row[1 + word] |= missing;
        for (; missing != 0; missing &= missing - 1) {
            uint32_t at = segment_row_at(fields, 64 * word + (uint32_t)__builtin_ctzll(missing));

            row[at] = before[at];
        }
    }
}

/* Rows of one time become one: field by field, the last counts. */
static void join(const struct merge_stage *stage, const struct ranked *ranked, uint32_t count,
                 uint64_t *ret_row)
{
    memcpy(ret_row, merge_stage_row(stage, ranked[count - 1].row), stage->words * sizeof *ret_row);
    for (uint32_t left = count - 1; left > 0; left--)
        fill_in(ret_row, merge_stage_row(stage, ranked[left - 1].row), stage->table->field_count);
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
        ranked[i] = (struct ranked){(int64_t)merge_stage_row(stage, first + i)[0], first + i};
    qsort(ranked, count, sizeof *ranked, compare_ranked);
    for (uint32_t i = 0; i < count && err == ERR_OK; i = end) {
        for (end = i; end < count && ranked[end].time_ns == ranked[i].time_ns; end++)
            continue;
        join(stage, ranked + i, end - i, output->gathered + (size_t)gathered++ * stage->words);
        if (gathered == output->gather_rows || end == count) {
            err = put_rows(output, stage, output->gathered, gathered);
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
    if (times_ascend(stage, first, count))
        return put_rows(output, stage, merge_stage_row(stage, first), count);
    return put_unsorted(output, stage, first, count);
}

static enum err put_slice(struct output *output, const struct merge_plan *plan,
                          const struct merge_slice *slice, struct merge_stages *stages)
{
    enum err err = merge_stage_fill(plan, slice, stages);

    for (uint32_t i = slice->first; i < slice->end && err == ERR_OK; i++) {
        uint32_t id = plan->order[i];

        err = merge_plan_go_on(plan);
        if (err == ERR_OK)
            err = put_series(output, plan, slice, merge_stage_of(stages, plan, id), id);
    }
    return err;
}

enum err merge_sources(const struct snapshot_source *sources, uint32_t count,
                       const struct catalog_view *series, const struct merge_filter *filter,
                       size_t memory, const atomic_bool *cancel, struct segment_writer *writer)
{
    static const struct merge_filter all = {.from_ns = INT64_MIN, .last_ns = INT64_MAX};
    struct output output = {.writer = writer};
    struct merge_stages stages = {0};
    struct merge_slice slice;
    struct merge_plan plan;
    enum err err = merge_plan_init(&plan, sources, count, series, filter == NULL ? &all : filter,
                                   memory, cancel);

    if (err != ERR_OK)
        return err;
    while (err == ERR_OK && (err = merge_plan_next(&plan, &slice)) == ERR_OK)
        err = put_slice(&output, &plan, &slice, &stages);
    if (err == ERR_END)
        err = segment_writer_end_table(writer);
    merge_stage_fini(&stages);
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
