#include "storage/aggregate.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/aggregate_table.h"
#include "storage/base/check.h"
#include "storage/block/column_int.h"

/* ---- Groups, rows, fields ------------------------------------------------------------------ */

enum err aggregate_new(const struct query *query, uint64_t memory_max,
                       struct aggregate **ret_aggregate)
{
    struct aggregate *aggregate;

    if (query->agg == QUERY_RAW || query->agg >= QUERY_AGG_END)
        return err_set(ERR_INVALID, "there is no aggregate number %" PRIu32, query->agg);
    if (query->every_ns < 0)
        return err_set(ERR_INVALID, "windows of %" PRId64 " ns: give a positive width",
                       query->every_ns);
    aggregate = calloc(1, sizeof *aggregate);
    if (aggregate == NULL)
        return err_set(ERR_NO_MEMORY, "aggregate: no memory to start");
    if (bytes_add(&aggregate->key, 1) == NULL) { /* So its data is never NULL. */
        free(aggregate);
        return err_set(ERR_NO_MEMORY, "aggregate: no memory to start");
    }
    aggregate->query = query;
    aggregate->agg = (enum query_agg)query->agg;
    aggregate->memory_max = memory_max;
    *ret_aggregate = aggregate;
    return ERR_OK;
}

void aggregate_free(struct aggregate *aggregate)
{
    if (aggregate == NULL)
        return;
    for (uint32_t i = 0; i < aggregate->field_count; i++) {
        struct aggregate_field *field = &aggregate->fields[i];

        for (uint32_t row = 0; row < field->capacity; row++)
            aggregate_cell_fini(aggregate->agg, field->type, &field->cells[row]);
        free(field->cells);
        free(field->name);
    }
    free(aggregate->fields);
    free(aggregate->runs);
    free(aggregate->rows);
    free(aggregate->row_slots);
    block_arena_fini(&aggregate->arena);
    bytes_fini(&aggregate->key);
    free(aggregate);
}

enum err aggregate_group(struct aggregate *aggregate, const struct slice *tag_values,
                         uint32_t *ret_group)
{
    struct bytes *key = &aggregate->key;

    bytes_clear(key);
    for (uint32_t i = 0; i < aggregate->query->group_count; i++)
        bytes_put_string(key, tag_values[i].data, tag_values[i].size);
    if (key->failed)
        return err_set(ERR_NO_MEMORY, "aggregate: no memory for a group's tags");
    return aggregate_table_group(aggregate, ret_group);
}

enum err aggregate_field(struct aggregate *aggregate, struct slice name, enum field_type type,
                         uint32_t *ret_field)
{
    enum err err;

    if (!aggregate_cell_takes(aggregate->agg, type)) {
        if (aggregate->query->field_count > 0)
            return err_set(ERR_INVALID, "field %.*s is of type %s, which has no such aggregate",
                           (int)name.size, name.data, field_type_name(type));
        *ret_field = AGGREGATE_SKIP;
        return ERR_OK;
    }
    for (uint32_t i = 0; i < aggregate->field_count; i++) {
        const struct aggregate_field *field = &aggregate->fields[i];

        if (field->name_size != name.size || memcmp(field->name, name.data, name.size) != 0)
            continue;
        if (field->type != type)
            return err_set(ERR_TYPE_CONFLICT, "field %s is stored as %s and as %s", field->name,
                           field_type_name(field->type), field_type_name(type));
        *ret_field = i;
        return ERR_OK;
    }
    err = aggregate_table_add_field(aggregate, name, type);
    if (err == ERR_OK)
        *ret_field = aggregate->field_count - 1;
    return err;
}

/* ---- Adding rows --------------------------------------------------------------------------- */

/* The first row after `at` whose time is behind `last_ns`, or `end`. `guess` rows are tried first:
 * rows come at a steady pace. */
static uint32_t window_end(const int64_t *times_ns, uint32_t at, uint32_t end, int64_t last_ns,
                           uint32_t guess)
{
    uint32_t high, step = 1;

    if (guess < end - at && times_ns[at + guess - 1] <= last_ns && times_ns[at + guess] > last_ns)
        return at + guess;
    if (times_ns[end - 1] <= last_ns)
        return end;
    /* Windows tend to be short: leap ahead, then halve. `at` is inside, `high` is not. */
    while (at + step < end && times_ns[at + step] <= last_ns) {
        at += step;
        step *= 2;
    }
    high = at + step < end ? at + step : end;
    while (high - at > 1) {
        uint32_t middle = at + (high - at) / 2;

        if (times_ns[middle] <= last_ns)
            at = middle;
        else
            high = middle;
    }
    return high;
}

/* Runs of one row that touch become one, so that all series of a group are added in one go. First
 * and last need runs whose times ascend. */
static enum err add_run(struct aggregate *aggregate, uint32_t row, uint32_t start, uint32_t rows)
{
    enum err err;

    if (aggregate->run_count > 0 && aggregate->agg != QUERY_FIRST && aggregate->agg != QUERY_LAST) {
        struct aggregate_run *before = &aggregate->runs[aggregate->run_count - 1];

        if (before->cell == row && before->start + before->rows == start) {
            before->rows += rows;
            return ERR_OK;
        }
    }
    err = aggregate->run_count < aggregate->run_capacity ? ERR_OK
                                                         : aggregate_table_make_run(aggregate);
    if (err == ERR_OK)
        aggregate->runs[aggregate->run_count++] = (struct aggregate_run){start, rows, row};
    return err;
}

/* Mostly the one behind the last. */
static enum err find_row(struct aggregate *aggregate, int64_t window, uint32_t group,
                         uint32_t *ret_row)
{
    uint32_t next = aggregate->row_last + 1;

    if (next >= aggregate->row_count || aggregate->rows[next].window != window ||
        aggregate->rows[next].group != group)
        return aggregate_table_row(aggregate, window, group, ret_row);
    *ret_row = aggregate->row_last = next;
    return ERR_OK;
}

void aggregate_begin(struct aggregate *aggregate, const int64_t *times_ns)
{
    aggregate->times_ns = times_ns;
    aggregate->run_count = 0;
}

enum err aggregate_rows(struct aggregate *aggregate, uint32_t group, uint32_t start, uint32_t rows)
{
    const int64_t *times_ns = aggregate->times_ns;
    int64_t every_ns = aggregate->query->every_ns, first_ns = 0, last_ns = INT64_MIN;
    uint32_t before = 1;

    CHECK(group < aggregate->groups.count);
    for (uint32_t at = start, end = start + rows, next = end; at < end; at = next) {
        uint32_t row;
        enum err err;

        if (every_ns > 0) {
            /* Mostly the next window. A division takes longer than all the rest. */
            if (at > start && last_ns < INT64_MAX - every_ns &&
                times_ns[at] <= last_ns + every_ns) {
                first_ns = last_ns + 1;
                last_ns += every_ns;
            } else {
                first_ns = aggregate_table_window(aggregate, times_ns[at], &last_ns);
            }
            next = window_end(times_ns, at, end, last_ns, before);
            before = next - at;
        }
        err = find_row(aggregate, first_ns, group, &row);
        if (err == ERR_OK)
            err = add_run(aggregate, row, at, next - at);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

enum err aggregate_values(struct aggregate *aggregate, uint32_t field_at, const uint8_t *present,
                          const uint64_t *bits, const char *text)
{
    const struct aggregate_column column = {aggregate->times_ns, present, bits, text};
    const struct aggregate_field *field = &aggregate->fields[field_at];
    enum err err;

    CHECK(field_at < aggregate->field_count);
    err = aggregate_table_make_cells(aggregate, field_at);
    if (err == ERR_OK)
        err = aggregate_cell_add(aggregate->agg, field->type, field->cells, aggregate->runs,
                                 aggregate->run_count, &column, &aggregate->memory);
    return err == ERR_OK ? aggregate_table_check(aggregate) : err;
}

enum err aggregate_part(struct aggregate *aggregate, uint32_t group, int64_t time_ns,
                        uint32_t field, const struct aggregate_cell *part)
{
    int64_t last_ns;
    uint32_t row;
    enum err err;

    CHECK(group < aggregate->groups.count);
    CHECK(field < aggregate->field_count);
    err = aggregate_table_row(aggregate, aggregate_table_window(aggregate, time_ns, &last_ns),
                              group, &row);
    return err == ERR_OK ? aggregate_table_combine(aggregate, field, row, part) : err;
}

const struct aggregate_run *aggregate_runs(const struct aggregate *aggregate, uint32_t *ret_count)
{
    *ret_count = aggregate->run_count;
    return aggregate->runs;
}

enum err aggregate_add_sums(struct aggregate *aggregate, uint32_t field_at, unsigned form,
                            const struct lanes_run *runs, uint32_t run_count,
                            const struct column_int_sums *sums)
{
    const struct aggregate_field *field = &aggregate->fields[field_at];
    enum err err = aggregate_table_make_cells(aggregate, field_at);

    CHECK(aggregate->agg == QUERY_SUM || aggregate->agg == QUERY_MEAN);
    if (err == ERR_OK)
        aggregate_cell_add_sums(field->cells, runs, run_count,
                                field->type == FIELD_FLOAT ? aggregate_sum_unit(form) : 1, sums);
    return err;
}

enum err aggregate_add_extremes(struct aggregate *aggregate, uint32_t field_at,
                                const struct lanes_run *runs, uint32_t run_count,
                                const uint64_t *bits)
{
    const struct aggregate_field *field = &aggregate->fields[field_at];
    enum err err = aggregate_table_make_cells(aggregate, field_at);

    CHECK(aggregate->agg == QUERY_MIN || aggregate->agg == QUERY_MAX);
    if (err == ERR_OK)
        aggregate_cell_add_extremes(aggregate->agg, field->type, field->cells, runs, run_count,
                                    bits);
    return err;
}

enum err aggregate_add_values(struct aggregate *aggregate, uint32_t field_at,
                              const struct lanes_run *runs, uint32_t run_count,
                              const uint64_t *bits)
{
    const struct aggregate_column column = {.bits = bits};
    const struct aggregate_field *field = &aggregate->fields[field_at];
    enum err err = aggregate_table_make_cells(aggregate, field_at);

    CHECK(aggregate->agg != QUERY_FIRST);
    CHECK(aggregate->agg != QUERY_LAST);
    for (uint32_t i = 0; i < run_count && err == ERR_OK; i++) {
        const struct aggregate_run run = {runs[i].first, (uint32_t)(runs[i].end - runs[i].first),
                                          runs[i].into};

        err = aggregate_cell_add(aggregate->agg, field->type, field->cells, &run, 1, &column,
                                 &aggregate->memory);
    }
    return err == ERR_OK ? aggregate_table_check(aggregate) : err;
}

bool aggregate_one_window(const struct aggregate *aggregate, int64_t time_ns, int64_t other_ns)
{
    int64_t last_ns;

    return aggregate_table_window(aggregate, time_ns, &last_ns) ==
           aggregate_table_window(aggregate, other_ns, &last_ns);
}

/* ---- As bytes ------------------------------------------------------------------------------
 *
 *     u8 agg | i64 every | varint tags
 *     varint groups | for each: a string for each tag
 *     varint rows   | for each: varint group, i64 window
 *     varint fields | for each: string name, u8 type, varint cells
 *                               for each: varint row - (last row + 1), cell
 */

static void encode_field(const struct aggregate *aggregate, const struct aggregate_field *field,
                         struct bytes *out)
{
    uint32_t cells = 0, next = 0;

    for (uint32_t row = 0; row < field->capacity; row++)
        cells += field->cells[row].count > 0;
    bytes_put_string(out, field->name, field->name_size);
    bytes_put_u8(out, (uint8_t)field->type);
    bytes_put_varint(out, cells);
    for (uint32_t row = 0; row < field->capacity; row++) {
        if (field->cells[row].count == 0)
            continue;
        bytes_put_varint(out, row - next);
        aggregate_cell_put(aggregate->agg, field->type, &field->cells[row], out);
        next = row + 1;
    }
}

void aggregate_encode(const struct aggregate *aggregate, struct bytes *out)
{
    bytes_put_u8(out, (uint8_t)aggregate->agg);
    bytes_put_u64(out, (uint64_t)aggregate->query->every_ns);
    bytes_put_varint(out, aggregate->query->group_count);
    bytes_put_varint(out, aggregate->groups.count);
    for (uint32_t i = 0; i < aggregate->groups.count; i++)
        bytes_put(out, aggregate->groups.keys[i].data, aggregate->groups.keys[i].size);
    bytes_put_varint(out, aggregate->row_count);
    for (uint32_t i = 0; i < aggregate->row_count; i++) {
        bytes_put_varint(out, aggregate->rows[i].group);
        bytes_put_u64(out, (uint64_t)aggregate->rows[i].window);
    }
    bytes_put_varint(out, aggregate->field_count);
    for (uint32_t i = 0; i < aggregate->field_count; i++)
        encode_field(aggregate, &aggregate->fields[i], out);
}

static enum err malformed(const char *part)
{
    return err_set(ERR_INVALID, "part of an aggregate: its %s are cut short or out of range", part);
}

/* A count of things that take at least `size` bytes each: what follows it can hold them. */
static uint32_t get_count(struct reader *r, size_t size)
{
    uint64_t count = reader_varint(r);

    if (count > AGGREGATE_TABLE_MAX || count > reader_left(r) / size)
        r->bad = true;
    return r->bad ? 0 : (uint32_t)count;
}

/* Its groups' numbers -> ours. */
static enum err merge_groups(struct aggregate *aggregate, struct reader *r, uint32_t *map,
                             uint32_t groups)
{
    struct slice values[QUERY_TAGS_MAX];

    for (uint32_t i = 0; i < groups; i++) {
        enum err err;

        for (uint32_t tag = 0; tag < aggregate->query->group_count; tag++)
            values[tag].data = reader_string(r, NAME_SIZE_MAX, &values[tag].size);
        if (r->bad)
            return malformed("groups");
        err = aggregate_group(aggregate, values, &map[i]);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

/* Its rows' numbers -> ours. */
static enum err merge_rows(struct aggregate *aggregate, struct reader *r, const uint32_t *groups,
                           uint32_t group_count, uint32_t *map, uint32_t rows)
{
    for (uint32_t i = 0; i < rows; i++) {
        uint64_t group = reader_varint(r);
        int64_t window = (int64_t)reader_u64(r), last_ns;
        enum err err;

        if (r->bad || group >= group_count ||
            aggregate_table_window(aggregate, window, &last_ns) != window)
            return malformed("windows");
        err = aggregate_table_row(aggregate, window, groups[group], &map[i]);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

static enum err merge_field(struct aggregate *aggregate, struct reader *r, const uint32_t *rows,
                            uint32_t row_count)
{
    struct slice name;
    unsigned type;
    uint32_t field, cells;
    uint64_t row = 0;
    enum err err;

    name.data = reader_string(r, NAME_SIZE_MAX, &name.size);
    type = reader_u8(r);
    cells = get_count(r, 2);
    if (r->bad || type == 0 || type >= FIELD_TYPE_END ||
        !aggregate_cell_takes(aggregate->agg, (enum field_type)type))
        return malformed("fields");
    err = aggregate_field(aggregate, name, (enum field_type)type, &field);
    for (uint32_t i = 0; i < cells && err == ERR_OK; i++, row++) {
        struct aggregate_cell cell;
        struct aggregate_bins room;
        uint64_t gap = reader_varint(r);

        aggregate_cell_get(aggregate->agg, (enum field_type)type, r, &room, &cell);
        if (r->bad || gap >= row_count || row + gap >= row_count)
            return malformed("cells");
        row += gap;
        err = aggregate_table_combine(aggregate, field, rows[row], &cell);
    }
    return err;
}

static enum err merge_fields(struct aggregate *aggregate, struct reader *r, const uint32_t *rows,
                             uint32_t row_count)
{
    uint32_t fields = get_count(r, 3);

    for (uint32_t i = 0; i < fields; i++) {
        enum err err = merge_field(aggregate, r, rows, row_count);

        if (err != ERR_OK)
            return err;
    }
    return reader_done(r) ? ERR_OK : malformed("fields");
}

enum err aggregate_merge(struct aggregate *aggregate, const void *bytes, size_t size)
{
    const struct query *query = aggregate->query;
    struct reader r = reader_on(bytes, size);
    unsigned agg = reader_u8(&r);
    int64_t every_ns = (int64_t)reader_u64(&r);
    uint64_t tags = reader_varint(&r);
    uint32_t group_count, row_count, *groups = NULL, *rows = NULL;
    enum err err;

    if (r.bad || agg != aggregate->agg || every_ns != query->every_ns || tags != query->group_count)
        return err_set(ERR_INVALID, "part of an aggregate: it answers another question");

    /* Without tags a group has no bytes, and there can be one only. */
    group_count = tags > 0 ? get_count(&r, (size_t)tags) : (uint32_t)reader_varint(&r);
    if (r.bad || (tags == 0 && group_count > 1))
        return malformed("groups");
    groups = malloc(sizeof *groups * ((size_t)group_count + 1));
    err = groups == NULL ? err_set(ERR_NO_MEMORY, "aggregate: no memory to merge")
                         : merge_groups(aggregate, &r, groups, group_count);
    if (err != ERR_OK)
        goto free_groups;

    row_count = get_count(&r, 9);
    rows = malloc(sizeof *rows * ((size_t)row_count + 1));
    err = rows == NULL ? err_set(ERR_NO_MEMORY, "aggregate: no memory to merge")
                       : merge_rows(aggregate, &r, groups, group_count, rows, row_count);
    if (err == ERR_OK)
        err = merge_fields(aggregate, &r, rows, row_count);
    free(rows);
free_groups:
    free(groups);
    return err;
}
