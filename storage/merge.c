#include "storage/merge.h"

#include <stdlib.h>

#include "storage/block/block_builder.h"
#include "storage/merge_stage.h"

/* The blocks being built. */
struct output {
    const atomic_bool *cancel;
    struct segment_writer *writer;
    const struct catalog_view *series;
    struct block_builder *builder;
    uint32_t id;     /* Series last asked of the builder, */
    uint32_t handle; /* and its number there; id CATALOG_NONE: none since the last block. */
    uint32_t table_min, table_max;
};

static enum err flush(struct output *output)
{
    struct buf *block = NULL;
    enum err err;

    if (block_builder_rows(output->builder) == 0)
        return ERR_OK;
    err = block_builder_finish(output->builder, 0, &block, NULL);
    if (err == ERR_OK)
        err = segment_writer_block(output->writer, block->bytes, block->size, output->table_min,
                                   output->table_max);
    buf_unref(block);
    output->id = CATALOG_NONE;
    output->table_min = CATALOG_NONE;
    output->table_max = 0;
    return err;
}

/* The builder is full, or cannot take this beside what it has: the next block can. */
static bool is_full(enum err err)
{
    return err == ERR_LIMIT || err == ERR_TOO_LARGE || err == ERR_TYPE_CONFLICT;
}

/* The builder's number of the series. */
static enum err try_series(struct output *output, uint32_t id)
{
    uint32_t table = catalog_view_table(output->series, id);
    struct slice key = catalog_view_key(output->series, id);
    enum err err;

    if (output->id == id)
        return ERR_OK;
    /* The builder tells series with ids apart by their hashes alone. Ids are distinct, and an odd
     * factor keeps them so, whatever keys somebody made up. */
    err = block_builder_series(output->builder, key.data, key.size,
                               catalog_view_table_key(output->series, table).size,
                               id * UINT64_C(0x9e3779b97f4a7c15), id, &output->handle);
    if (err != ERR_OK)
        return err;
    output->id = id;
    if (table < output->table_min)
        output->table_min = table;
    if (table > output->table_max)
        output->table_max = table;
    return ERR_OK;
}

static enum err try_begin(struct output *output, uint32_t id, int64_t time_ns)
{
    enum err err = try_series(output, id);

    return err == ERR_OK ? block_builder_row(output->builder, output->handle, time_ns) : err;
}

static enum err begin_row(struct output *output, uint32_t id, int64_t time_ns)
{
    enum err err = ERR_OK;

    if (block_builder_rows(output->builder) == MERGE_BLOCK_ROWS)
        err = flush(output);
    if (err == ERR_OK)
        err = try_begin(output, id, time_ns);
    if (!is_full(err))
        return err;
    err = flush(output);
    return err == ERR_OK ? try_begin(output, id, time_ns) : err;
}

/* One field of rows that are one: the last of them that has it counts. */
static enum err put_field(struct output *output, const struct merge_stage *stage, uint32_t at,
                          const uint32_t *rows, uint32_t count)
{
    const struct merge_field *field = &stage->table->fields[at];
    const struct merge_column *column = &stage->columns[at];

    while (count > 0) {
        uint32_t row = rows[--count];
        uint64_t bits = column->values[row];

        if (!column->present[row])
            continue;
        if (field->type == FIELD_STRING)
            return block_builder_string(output->builder, field->name.data, field->name.size,
                                        column->text.data + (uint32_t)bits, bits >> 32);
        return block_builder_value(output->builder, field->name.data, field->name.size, field->type,
                                   bits);
    }
    return ERR_OK;
}

/*
 * One row, made of `count` of the stage that have one series and time, in log order.
 *
 * A row that does not fit beside the others goes to the next block as a whole. One that does not
 * fit an empty block (joined of several with thousands of fields, or with two types of one field,
 * which admission refuses) is continued in the next: nothing is lost, and readers join it again.
 */
static enum err put_row(struct output *output, const struct merge_stage *stage, uint32_t id,
                        const uint32_t *rows, uint32_t count)
{
    uint32_t begun = 0;
    uint32_t at = 0;
    enum err err = begin_row(output, id, stage->times_ns[rows[0]]);

    while (err == ERR_OK && at < stage->table->field_count) {
        err = put_field(output, stage, at, rows, count);
        if (!is_full(err)) {
            at++;
            continue;
        }
        if (block_builder_rows(output->builder) > 1) {
            block_builder_undo_row(output->builder);
            at = begun;
        } else if (at == begun) {
            return err;
        }
        begun = at;
        err = flush(output);
        if (err == ERR_OK)
            err = begin_row(output, id, stage->times_ns[rows[0]]);
    }
    return err;
}

/* ---- Columns ------------------------------------------------------------------------------- */

/* Rows that may be given to the builder at once: it takes up to 4 MiB. Text goes row by row. */
static uint32_t rows_at_once(const struct merge_table *table)
{
    uint32_t rows = (4 << 20) / (16 * (table->field_count + 1));

    for (uint32_t i = 0; i < table->field_count; i++)
        if (table->fields[i].type == FIELD_STRING)
            return 0;
    return rows < MERGE_BLOCK_ROWS ? rows : MERGE_BLOCK_ROWS;
}

static enum err try_columns(struct output *output, const struct merge_stage *stage, uint32_t id,
                            uint32_t first, uint32_t count)
{
    enum err err = try_series(output, id);

    if (err == ERR_OK)
        err =
            block_builder_rows_of(output->builder, output->handle, stage->times_ns + first, count);
    if (err != ERR_OK)
        return err;
    for (uint32_t i = 0; i < stage->table->field_count && err == ERR_OK; i++)
        err = block_builder_column(output->builder, stage->table->fields[i].name,
                                   stage->table->fields[i].type, stage->columns[i].values + first,
                                   stage->columns[i].present + first);
    if (err != ERR_OK)
        block_builder_undo_row(output->builder);
    return err;
}

/* Rows of one series that are in order, all different: as many as fit at once. ERR_OK with
 * *ret_count 0: not in this way. */
static enum err put_columns(struct output *output, const struct merge_stage *stage, uint32_t id,
                            uint32_t first, uint32_t count, uint32_t *ret_count)
{
    uint32_t most = rows_at_once(stage->table);
    uint32_t room;
    enum err err = ERR_OK;

    *ret_count = 0;
    if (block_builder_rows(output->builder) == MERGE_BLOCK_ROWS)
        err = flush(output);
    if (err != ERR_OK || most == 0)
        return err;
    room = MERGE_BLOCK_ROWS - block_builder_rows(output->builder);
    count = count < room ? count : room;
    count = count < most ? count : most;
    err = try_columns(output, stage, id, first, count);
    if (err == ERR_OK)
        *ret_count = count;
    return is_full(err) ? ERR_OK : err;
}

/* ---- Series -------------------------------------------------------------------------------- */

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

static bool times_ascend(const int64_t *times_ns, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        if (times_ns[i] <= times_ns[i - 1])
            return false;
    return true;
}

static enum err put_unsorted(struct output *output, const struct merge_stage *stage, uint32_t id,
                             uint32_t first, uint32_t count)
{
    struct ranked *ranked = malloc(count * sizeof *ranked);
    uint32_t *rows = malloc(count * sizeof *rows);
    uint32_t end;
    enum err err = ERR_OK;

    if (ranked == NULL || rows == NULL)
        err = err_set(ERR_NO_MEMORY, "sorting %u rows", count);
    for (uint32_t i = 0; i < count && err == ERR_OK; i++)
        ranked[i] = (struct ranked){stage->times_ns[first + i], first + i};
    if (err == ERR_OK)
        qsort(ranked, count, sizeof *ranked, compare_ranked);
    for (uint32_t i = 0; i < count && err == ERR_OK; i = end) {
        for (end = i; end < count && ranked[end].time_ns == ranked[i].time_ns; end++)
            rows[end - i] = ranked[end].row;
        err = put_row(output, stage, id, rows, end - i);
    }
    free(ranked);
    free(rows);
    return err;
}

static enum err put_series(struct output *output, const struct merge_stage *stage, uint32_t id,
                           uint32_t first, uint32_t count)
{
    uint32_t end = first + count;
    enum err err = ERR_OK;

    if (!times_ascend(stage->times_ns + first, count))
        return put_unsorted(output, stage, id, first, count);
    while (first < end && err == ERR_OK) {
        uint32_t done = 0;

        err = put_columns(output, stage, id, first, end - first, &done);
        if (err == ERR_OK && done == 0) {
            err = put_row(output, stage, id, &first, 1);
            done = 1;
        }
        first += done;
    }
    return err;
}

static enum err put_slice(struct output *output, const struct merge_plan *plan,
                          const struct merge_slice *slice)
{
    struct merge_stages stages;
    enum err err = merge_stage_fill(plan, slice, &stages);

    for (uint32_t i = slice->first; i < slice->end && err == ERR_OK; i++) {
        uint32_t id = plan->order[i];
        struct merge_stage *stage = merge_stage_of(&stages, plan, id);
        uint32_t count = slice->cut ? (uint32_t)slice->rows : plan->rows[id];

        if (output->cancel != NULL && atomic_load_explicit(output->cancel, memory_order_relaxed)) {
            err = err_set(ERR_CANCELED, "the node stops");
            break;
        }
        err = put_series(output, stage, id, stage->emitted, count);
        stage->emitted += count;
    }
    merge_stage_fini(&stages);
    return err;
}

enum err merge_blocks(const struct head_block *blocks, uint32_t count,
                      const struct catalog_view *series, size_t memory, const atomic_bool *cancel,
                      struct segment_writer *writer)
{
    struct output output = {.writer = writer,
                            .series = series,
                            .cancel = cancel,
                            .id = CATALOG_NONE,
                            .table_min = CATALOG_NONE};
    struct merge_slice slice;
    struct merge_plan plan;
    enum err err = merge_plan_init(&plan, blocks, count, series, memory);

    if (err != ERR_OK)
        return err;
    err = block_builder_new(&output.builder);
    while (err == ERR_OK && (err = merge_plan_next(&plan, &slice)) == ERR_OK)
        err = put_slice(&output, &plan, &slice);
    if (err == ERR_END)
        err = flush(&output);
    block_builder_free(output.builder);
    merge_plan_fini(&plan);
    return err;
}
