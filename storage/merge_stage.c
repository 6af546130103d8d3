#include "storage/merge_stage.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/merge_hidden.h"

#define NONE UINT32_MAX

/* Rows `from` on of a section go to row `to` on of a stage. */
struct piece {
    uint32_t from, to, count;
};

/* Room for what is read of one section. */
struct scratch {
    struct merge_source source;
    int64_t *times_ns;
    uint64_t *values;
    uint8_t *present;
    struct piece *pieces; /* A run may be cut by time, so up to one a row. */
};

/* ---- Making stages ------------------------------------------------------------------------- */

static uint32_t table_of(const struct merge_plan *plan, uint32_t id)
{
    return plan->table_at[catalog_view_table(plan->series, id)];
}

struct merge_stage *merge_stage_of(const struct merge_stages *stages, const struct merge_plan *plan,
                                   uint32_t id)
{
    return &stages->stages[table_of(plan, id) - stages->first];
}

static enum err make_stage(struct merge_stage *stage)
{
    uint32_t fields = stage->table->field_count;

    stage->times_ns = malloc(((size_t)stage->rows + 1) * sizeof *stage->times_ns);
    stage->columns = calloc((size_t)fields + 1, sizeof *stage->columns);
    if (stage->times_ns == NULL || stage->columns == NULL)
        return err_set(ERR_NO_MEMORY, "%u rows", stage->rows);
    for (uint32_t i = 0; i < fields; i++) {
        stage->columns[i].values = malloc(((size_t)stage->rows + 1) * sizeof(uint64_t));
        stage->columns[i].present = calloc((size_t)stage->rows + 1, 1);
        if (stage->columns[i].values == NULL || stage->columns[i].present == NULL)
            return err_set(ERR_NO_MEMORY, "%u rows of %u fields", stage->rows, fields);
    }
    return ERR_OK;
}

static enum err make_stages(const struct merge_plan *plan, const struct merge_slice *slice,
                            struct merge_stages *stages)
{
    enum err err = ERR_OK;

    stages->first = table_of(plan, plan->order[slice->first]);
    stages->count = table_of(plan, plan->order[slice->end - 1]) - stages->first + 1;
    stages->stages = calloc(stages->count, sizeof *stages->stages);
    stages->cursor = malloc(((size_t)plan->series->count + 1) * sizeof *stages->cursor);
    if (stages->stages == NULL || stages->cursor == NULL)
        return err_set(ERR_NO_MEMORY, "a slice of %u tables", stages->count);
    memset(stages->cursor, 0xff, (size_t)plan->series->count * sizeof *stages->cursor);
    for (uint32_t i = slice->first; i < slice->end; i++) {
        uint32_t id = plan->order[i];
        struct merge_stage *stage = merge_stage_of(stages, plan, id);

        stages->cursor[id] = stage->rows;
        stage->rows += slice->cut ? (uint32_t)slice->rows : plan->rows[id];
    }
    for (uint32_t i = 0; i < stages->count && err == ERR_OK; i++) {
        stages->stages[i].table = plan->tables[stages->first + i];
        err = make_stage(&stages->stages[i]);
    }
    return err;
}

void merge_stage_fini(struct merge_stages *stages)
{
    for (uint32_t i = 0; stages->stages != NULL && i < stages->count; i++) {
        struct merge_stage *stage = &stages->stages[i];

        for (uint32_t f = 0; stage->columns != NULL && f < stage->table->field_count; f++) {
            free(stage->columns[f].values);
            free(stage->columns[f].present);
            bytes_fini(&stage->columns[f].text);
        }
        free(stage->columns);
        free(stage->times_ns);
    }
    free(stages->stages);
    free(stages->cursor);
    *stages = (struct merge_stages){0};
}

/* ---- Copying ------------------------------------------------------------------------------- */

static enum err scratch_init(struct scratch *scratch)
{
    *scratch = (struct scratch){0};
    scratch->times_ns = malloc(BLOCK_ROWS_MAX * sizeof *scratch->times_ns);
    scratch->values = malloc(BLOCK_ROWS_MAX * sizeof *scratch->values);
    scratch->present = malloc(BLOCK_ROWS_MAX);
    scratch->pieces = malloc(BLOCK_ROWS_MAX * sizeof *scratch->pieces);
    if (scratch->times_ns == NULL || scratch->values == NULL || scratch->present == NULL ||
        scratch->pieces == NULL)
        return err_set(ERR_NO_MEMORY, "room for a section");
    return ERR_OK;
}

static void scratch_fini(struct scratch *scratch)
{
    merge_plan_close(&scratch->source);
    free(scratch->times_ns);
    free(scratch->values);
    free(scratch->present);
    free(scratch->pieces);
}

static bool in_slice(const struct merge_slice *slice, const struct scratch *scratch, uint32_t row)
{
    int64_t time_ns = scratch->times_ns[row];

    return time_ns >= slice->from_ns && time_ns <= slice->to_ns &&
           !merge_hidden_row(&scratch->source, row);
}

/* What of the section is in the slice: pieces, and their times into the stage. */
static uint32_t find_pieces(const struct merge_slice *slice, uint32_t runs,
                            struct merge_stages *stages, struct merge_stage *stage,
                            struct scratch *scratch)
{
    uint32_t pieces = 0;
    uint32_t row = 0;

    for (uint32_t run = 0; run < runs; run++) {
        uint32_t *cursor = &stages->cursor[scratch->source.ids[run]];
        uint32_t end = row + scratch->source.counts[run];

        while (*cursor != NONE && row < end) { /* Not of the slice: the whole run is passed over. */
            struct piece piece = {row, *cursor, 0};

            while (row < end && in_slice(slice, scratch, row))
                row++;
            piece.count = row - piece.from;
            while (row < end && !in_slice(slice, scratch, row))
                row++;
            if (piece.count == 0)
                continue;
            memcpy(stage->times_ns + piece.to, scratch->times_ns + piece.from,
                   piece.count * sizeof *stage->times_ns);
            *cursor += piece.count;
            scratch->pieces[pieces++] = piece;
        }
        row = end;
    }
    return pieces;
}

static enum err copy_text(struct merge_column *column, const struct piece *piece,
                          const struct scratch *scratch, const char *text)
{
    for (uint32_t i = 0; i < piece->count; i++) {
        uint64_t bits = scratch->values[piece->from + i];
        uint32_t size = (uint32_t)(bits >> 32);
        size_t offset = column->text.size;

        if (!scratch->present[piece->from + i])
            continue;
        if (offset + size > UINT32_MAX)
            return err_set(ERR_LIMIT, "over 4 GiB of text in one slice");
        bytes_put(&column->text, text + (uint32_t)bits, size);
        column->values[piece->to + i] = offset | (uint64_t)size << 32;
    }
    return column->text.failed ? err_set(ERR_NO_MEMORY, "text of a slice") : ERR_OK;
}

static enum err copy_field(struct merge_column *column, uint32_t pieces, uint32_t field,
                           struct scratch *scratch)
{
    const char *text = NULL;
    enum err err = section_read_field(&scratch->source.reader, field, scratch->present,
                                      scratch->values, &text);

    for (uint32_t i = 0; i < pieces && err == ERR_OK; i++) {
        const struct piece *piece = &scratch->pieces[i];

        if (text != NULL) {
            memcpy(column->present + piece->to, scratch->present + piece->from, piece->count);
            err = copy_text(column, piece, scratch, text);
        } else if (piece->count == 1) { /* What clients send has mostly a row of each series. */
            column->present[piece->to] = scratch->present[piece->from];
            column->values[piece->to] = scratch->values[piece->from];
        } else {
            memcpy(column->present + piece->to, scratch->present + piece->from, piece->count);
            memcpy(column->values + piece->to, scratch->values + piece->from,
                   piece->count * sizeof *column->values);
        }
    }
    return err;
}

static enum err copy_fields(struct merge_stage *stage, uint32_t pieces, struct scratch *scratch)
{
    struct section_reader *reader = &scratch->source.reader;
    uint32_t hint = 0;
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < reader->section.fields && pieces > 0 && err == ERR_OK; i++) {
        struct segment_field field = section_field(reader, i);
        uint32_t values = 0, at;

        err = section_values(reader, i, &values);
        if (err != ERR_OK || values == 0)
            continue;
        at = merge_plan_field(stage->table, &field, hint);
        CHECK(at != NONE); /* The plan has seen the same bytes. */
        err = copy_field(&stage->columns[at], pieces, i, scratch);
        hint = at + 1;
    }
    return err;
}

static bool touches(const struct merge_stages *stages, const struct merge_source *source)
{
    for (uint32_t run = 0; run < source->reader.section.runs; run++)
        if (stages->cursor[source->ids[run]] != NONE)
            return true;
    return false;
}

static enum err copy_section(const struct merge_plan *plan, const struct merge_slice *slice,
                             struct merge_stages *stages, struct scratch *scratch)
{
    struct section_reader *reader = &scratch->source.reader;
    struct merge_stage *stage;
    enum err err = merge_plan_runs(plan, &scratch->source);

    if (err != ERR_OK || !touches(stages, &scratch->source))
        return err;
    err = merge_hidden_times(plan, &scratch->source, scratch->times_ns);
    if (err != ERR_OK)
        return err;
    stage = merge_stage_of(stages, plan, scratch->source.ids[0]);
    return copy_fields(stage, find_pieces(slice, reader->section.runs, stages, stage, scratch),
                       scratch);
}

static enum err copy_source(const struct merge_plan *plan, const struct merge_slice *slice,
                            const struct snapshot_source *from, struct merge_stages *stages,
                            struct scratch *scratch, const uint32_t ids[2])
{
    struct section_reader *reader = &scratch->source.reader;
    enum err err = merge_plan_open(plan, from, &scratch->source);

    for (uint32_t s = 0; err == ERR_OK && s < reader->count; s++) {
        section_go(reader, s);
        if (reader->section.series_min <= ids[1] && reader->section.series_max >= ids[0] &&
            reader->section.time_min_ns <= slice->to_ns &&
            reader->section.time_max_ns >= slice->from_ns)
            err = merge_plan_wrap(copy_section(plan, slice, stages, scratch), &scratch->source);
    }
    return err;
}

enum err merge_stage_fill(const struct merge_plan *plan, const struct merge_slice *slice,
                          struct merge_stages *ret_stages)
{
    uint32_t ids[2] = {UINT32_MAX, 0}; /* Smallest and largest. */
    struct scratch scratch;
    enum err err;

    *ret_stages = (struct merge_stages){0};
    for (uint32_t i = slice->first; i < slice->end; i++) {
        ids[0] = plan->order[i] < ids[0] ? plan->order[i] : ids[0];
        ids[1] = plan->order[i] > ids[1] ? plan->order[i] : ids[1];
    }
    err = scratch_init(&scratch);
    if (err == ERR_OK)
        err = make_stages(plan, slice, ret_stages);
    for (uint32_t i = 0; i < plan->source_count && err == ERR_OK; i++)
        if (merge_plan_has(&plan->sources[i], slice, ids[0], ids[1]) &&
            (err = merge_plan_go_on(plan)) == ERR_OK)
            err = copy_source(plan, slice, &plan->sources[i], ret_stages, &scratch, ids);
    scratch_fini(&scratch);
    return err;
}
