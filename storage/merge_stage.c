#include "storage/merge_stage.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/block/column_string.h"
#include "storage/merge_hidden.h"

#define NONE UINT32_MAX

/* Rows `from` on of a section go to row `to` on of a stage. */
struct piece {
    uint32_t from, to, count;
};

enum {
    LANES_MAX = 64,        /* Fields of a section that are read, then put into its rows together. */
    AHEAD = 10,            /* Pieces whose first row is fetched while others are written. */
    LANE_VALUES = 1 << 17, /* Their values: as many as fit a core's cache, or one whole field. */
};

/* A field of the section, read. */
struct lane {
    const uint64_t *values;
    const uint8_t *present; /* NULL: all rows have it. */
    uint32_t field;         /* Of the table. */
};

/* Room for what is read of one section. */
struct scratch {
    struct merge_source source;
    int64_t *times_ns;
    uint64_t *values;
    uint8_t *present;
    struct lane lanes[LANES_MAX];
    uint32_t lane_count;
    struct piece *pieces; /* A run may be cut by time, so up to one a row. */
    uint32_t piece_count;
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

static void free_stages(struct merge_stages *stages)
{
    for (uint32_t i = 0; stages->stages != NULL && i < stages->count; i++) {
        struct merge_stage *stage = &stages->stages[i];

        for (uint32_t f = 0; stage->texts != NULL && f < stage->table->field_count; f++)
            bytes_fini(&stage->texts[f]);
        free(stage->texts);
    }
    free(stages->stages);
    free(stages->cursor);
    stages->stages = NULL;
    stages->cursor = NULL;
}

void merge_stage_fini(struct merge_stages *stages)
{
    free_stages(stages);
    room_fini(&stages->room);
}

/* Each stage's part of the room. */
static enum err make_room(struct merge_stages *stages)
{
    uint64_t *words;
    size_t sum = 0;

    for (uint32_t i = 0; i < stages->count; i++)
        sum += (size_t)stages->stages[i].rows * stages->stages[i].words;
    if (!room_make(&stages->room, (sum + 1) * sizeof *words))
        return err_set(ERR_NO_MEMORY, "a slice of %zu bytes", sum * sizeof *words);
    words = stages->room.bytes;
    for (uint32_t i = 0; i < stages->count; i++) {
        stages->stages[i].words_of_rows = words;
        words += (size_t)stages->stages[i].rows * stages->stages[i].words;
    }
    return ERR_OK;
}

static enum err make_stages(const struct merge_plan *plan, const struct merge_slice *slice,
                            struct merge_stages *stages)
{
    stages->first = table_of(plan, plan->order[slice->first]);
    stages->count = table_of(plan, plan->order[slice->end - 1]) - stages->first + 1;
    stages->stages = calloc(stages->count, sizeof *stages->stages);
    stages->cursor = malloc(((size_t)plan->series->count + 1) * sizeof *stages->cursor);
    if (stages->stages == NULL || stages->cursor == NULL)
        return err_set(ERR_NO_MEMORY, "a slice of %u tables", stages->count);
    for (uint32_t i = 0; i < stages->count; i++) {
        struct merge_stage *stage = &stages->stages[i];

        stage->table = plan->tables[stages->first + i];
        stage->words = segment_row_words(stage->table->field_count);
        stage->texts = calloc((size_t)stage->table->field_count + 1, sizeof *stage->texts);
        if (stage->texts == NULL)
            return err_set(ERR_NO_MEMORY, "a slice of %u fields", stage->table->field_count);
    }
    memset(stages->cursor, 0xff, (size_t)plan->series->count * sizeof *stages->cursor);
    for (uint32_t i = slice->first; i < slice->end; i++) {
        uint32_t id = plan->order[i];
        struct merge_stage *stage = merge_stage_of(stages, plan, id);

        stages->cursor[id] = stage->rows;
        stage->rows += slice->cut ? (uint32_t)slice->rows : plan->rows[id];
    }
    return make_room(stages);
}

/* ---- Copying ------------------------------------------------------------------------------- */

static enum err scratch_init(struct scratch *scratch)
{
    *scratch = (struct scratch){0};
    scratch->times_ns = malloc(BLOCK_ROWS_MAX * sizeof *scratch->times_ns);
    scratch->values = malloc(LANE_VALUES * sizeof *scratch->values);
    scratch->present = malloc(LANE_VALUES);
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

static void add_piece(struct scratch *scratch, uint32_t from, uint32_t end, uint32_t *cursor)
{
    if (from == end)
        return;
    scratch->pieces[scratch->piece_count++] = (struct piece){from, *cursor, end - from};
    *cursor += end - from;
}

/* Pieces of a run of which not all rows may be in the slice. */
static void cut_run(const struct merge_slice *slice, struct scratch *scratch, uint32_t row,
                    uint32_t end, uint32_t *cursor)
{
    while (row < end) {
        uint32_t from = row;

        while (row < end && in_slice(slice, scratch, row))
            row++;
        add_piece(scratch, from, row, cursor);
        while (row < end && !in_slice(slice, scratch, row))
            row++;
    }
}

/* What of the section is in the slice. */
static void find_pieces(const struct merge_slice *slice, const struct merge_stages *stages,
                        struct scratch *scratch)
{
    const struct merge_source *source = &scratch->source;
    const struct section *section = &source->reader.section;
    bool whole = section->time_min_ns >= slice->from_ns && section->time_max_ns <= slice->to_ns &&
                 !source->has_deleted;
    uint32_t row = 0;

    scratch->piece_count = 0;
    for (uint32_t run = 0; run < section->runs; run++) {
        uint32_t *cursor = &stages->cursor[source->ids[run]];
        uint32_t end = row + source->counts[run];

        if (*cursor != NONE && whole) /* Else it is not of the slice. */
            add_piece(scratch, row, end, cursor);
        else if (*cursor != NONE)
            cut_run(slice, scratch, row, end, cursor);
        row = end;
    }
}

/* Strings of the pieces' rows go into the stage's text, and their places change. */
static enum err copy_text(struct bytes *into, const struct scratch *scratch, const uint8_t *present,
                          uint64_t *values, const char *text)
{
    for (uint32_t i = 0; i < scratch->piece_count; i++) {
        const struct piece *piece = &scratch->pieces[i];

        for (uint32_t row = piece->from; row < piece->from + piece->count; row++) {
            uint32_t size = column_string_size(values[row]);
            size_t offset = into->size;

            if (!present[row])
                continue;
            if (offset + size > UINT32_MAX)
                return err_set(ERR_LIMIT, "over 4 GiB of text in one slice");
            bytes_put(into, text + column_string_offset(values[row]), size);
            values[row] = column_string_make((uint32_t)offset, size);
        }
    }
    return into->failed ? err_set(ERR_NO_MEMORY, "text of a slice") : ERR_OK;
}

/* Read a field of the section into the next lane. */
static enum err read_lane(struct merge_stage *stage, struct scratch *scratch, uint32_t field,
                          uint32_t at, uint32_t count)
{
    uint32_t rows = scratch->source.reader.section.rows;
    struct lane *lane = &scratch->lanes[scratch->lane_count];
    uint64_t *values = scratch->values + (size_t)scratch->lane_count * rows;
    uint8_t *present = scratch->present + (size_t)scratch->lane_count * rows;
    const char *text = NULL;
    enum err err = section_read_field(&scratch->source.reader, field, present, values, &text);

    if (err == ERR_OK && text != NULL)
        err = copy_text(&stage->texts[at], scratch, present, values, text);
    *lane = (struct lane){values, count == rows ? NULL : present, at};
    scratch->lane_count++;
    return err;
}

/* Bits of a word of rows. */
struct bits {
    uint32_t at;
    uint64_t bits;
};

/* Those of the lanes that all rows have; mostly they are neighbours. */
static uint32_t find_bits(const struct scratch *scratch, struct bits *ret_bits)
{
    uint32_t count = 0;

    for (uint32_t l = 0; l < scratch->lane_count; l++) {
        uint32_t field = scratch->lanes[l].field, at = 1 + field / 64;

        if (scratch->lanes[l].present != NULL)
            continue;
        if (count == 0 || ret_bits[count - 1].at != at)
            ret_bits[count++] = (struct bits){at, 0};
        ret_bits[count - 1].bits |= (uint64_t)1 << field % 64;
    }
    return count;
}

/* Each piece is mostly one row, far from the one before: ask for those to come. */
static void fetch_row(const struct merge_stage *stage, const struct scratch *scratch, uint32_t at)
{
    const uint64_t *row;

    if (at >= scratch->piece_count)
        return;
    row = merge_stage_row(stage, scratch->pieces[at].to);
    __builtin_prefetch(row, 1);
    __builtin_prefetch(row + stage->words - 1, 1);
}

/* A row's time, and that it has no field yet. */
static void begin_row(uint64_t *row, int64_t time_ns, uint32_t bits)
{
    row[0] = (uint64_t)time_ns;
    if (bits == 1) /* Nearly always: not worth a call. */
        row[1] = 0;
    else
        memset(row + 1, 0, bits * sizeof *row);
}

static void put_values(const struct merge_stage *stage, const struct scratch *scratch, bool first)
{
    uint32_t row_bits = segment_row_bits(stage->table->field_count);
    struct bits bits[LANES_MAX];
    uint32_t at[LANES_MAX];
    uint32_t bits_count = find_bits(scratch, bits);

    for (uint32_t l = 0; l < scratch->lane_count; l++)
        at[l] = segment_row_at(stage->table->field_count, scratch->lanes[l].field);
    for (uint32_t i = 0; i < scratch->piece_count; i++) {
        const struct piece *piece = &scratch->pieces[i];
        uint64_t *row = merge_stage_row(stage, piece->to);

        fetch_row(stage, scratch, i + AHEAD);
        for (uint32_t from = piece->from; from < piece->from + piece->count; from++) {
            if (first)
                begin_row(row, scratch->times_ns[from], row_bits);
            for (uint32_t b = 0; b < bits_count; b++)
                row[bits[b].at] |= bits[b].bits;
            for (uint32_t l = 0; l < scratch->lane_count; l++)
                row[at[l]] = scratch->lanes[l].values[from];
            row += stage->words;
        }
    }
}

/* Which rows have a lane's field, if not all have it. */
static void put_present(const struct merge_stage *stage, const struct scratch *scratch,
                        const struct lane *lane)
{
    for (uint32_t i = 0; i < scratch->piece_count; i++) {
        const struct piece *piece = &scratch->pieces[i];

        for (uint32_t r = 0; r < piece->count; r++)
            if (lane->present[piece->from + r])
                segment_row_set(merge_stage_row(stage, piece->to + r), lane->field);
    }
}

static void put_lanes(struct merge_stage *stage, struct scratch *scratch, bool first)
{
    put_values(stage, scratch, first);
    for (uint32_t l = 0; l < scratch->lane_count; l++)
        if (scratch->lanes[l].present != NULL)
            put_present(stage, scratch, &scratch->lanes[l]);
    scratch->lane_count = 0;
}

static enum err copy_fields(struct merge_stage *stage, struct scratch *scratch)
{
    struct section_reader *reader = &scratch->source.reader;
    uint32_t lanes_max = LANE_VALUES / reader->section.rows;
    uint32_t hint = 0;
    bool first = true;
    enum err err;

    lanes_max = lanes_max > LANES_MAX ? LANES_MAX : lanes_max;
    for (uint32_t i = 0; i < reader->section.fields && scratch->piece_count > 0; i++) {
        struct segment_field field = section_field(reader, i);
        uint32_t values = 0, at;

        err = section_values(reader, i, &values);
        if (err != ERR_OK)
            return err;
        if (values == 0)
            continue;
        at = merge_plan_field(stage->table, &field, hint);
        CHECK(at != NONE); /* The plan has seen the same bytes. */
        err = read_lane(stage, scratch, i, at, values);
        if (err != ERR_OK)
            return err;
        if (scratch->lane_count == lanes_max) {
            put_lanes(stage, scratch, first);
            first = false;
        }
        hint = at + 1;
    }
    put_lanes(stage, scratch, first);
    return ERR_OK;
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
    struct merge_stage *stage;
    enum err err = merge_plan_runs(plan, &scratch->source);

    if (err != ERR_OK || !touches(stages, &scratch->source))
        return err;
    err = merge_hidden_times(plan, &scratch->source, scratch->times_ns);
    if (err != ERR_OK)
        return err;
    stage = merge_stage_of(stages, plan, scratch->source.ids[0]);
    find_pieces(slice, stages, scratch);
    return copy_fields(stage, scratch);
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
                          struct merge_stages *stages)
{
    uint32_t ids[2] = {UINT32_MAX, 0}; /* Smallest and largest. */
    struct scratch scratch;
    enum err err;

    free_stages(stages);
    for (uint32_t i = slice->first; i < slice->end; i++) {
        ids[0] = plan->order[i] < ids[0] ? plan->order[i] : ids[0];
        ids[1] = plan->order[i] > ids[1] ? plan->order[i] : ids[1];
    }
    err = scratch_init(&scratch);
    if (err == ERR_OK)
        err = make_stages(plan, slice, stages);
    for (uint32_t i = 0; i < plan->source_count && err == ERR_OK; i++)
        if (merge_plan_has(&plan->sources[i], slice, ids[0], ids[1]) &&
            (err = merge_plan_go_on(plan)) == ERR_OK)
            err = copy_source(plan, slice, &plan->sources[i], stages, &scratch, ids);
    scratch_fini(&scratch);
    return err;
}
