#include <stdlib.h>
#include <string.h>

#include "storage/aggregate_table.h"

/* The result of an aggregate: its rows, in order, as columns. */

struct result_row {
    uint32_t rank; /* Of its group's tag values. */
    uint32_t row;
    int64_t window;
};

struct result {
    struct slice *tags;      /* Owned: group_count times the query's tags. */
    uint32_t *ranks;         /* Owned: of each group; as much again is scratch. */
    struct result_row *rows; /* Owned: those that have cells, in their order. */
    uint32_t row_count;
    uint32_t *fields;   /* Owned: their order. */
    uint32_t *field_at; /* Owned: columns of the fields, in that order. */
    bool *exact;        /* Owned: sums of the fields, in that order. */
    uint32_t tag_at[QUERY_TAGS_MAX];
};

static int compare_slices(struct slice a, struct slice b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);

    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}

struct group_order {
    const struct slice *tags;
    uint32_t tag_count;
};

static int compare_groups(const void *a, const void *b, void *arg)
{
    const struct group_order *by = arg;
    const struct slice *x = by->tags + (size_t) * (const uint32_t *)a * by->tag_count;
    const struct slice *y = by->tags + (size_t) * (const uint32_t *)b * by->tag_count;
    int order = 0;

    for (uint32_t i = 0; i < by->tag_count && order == 0; i++)
        order = compare_slices(x[i], y[i]);
    return order;
}

static int compare_rows(const void *a, const void *b)
{
    const struct result_row *x = a, *y = b;

    if (x->rank != y->rank)
        return x->rank < y->rank ? -1 : 1;
    return (x->window > y->window) - (x->window < y->window);
}

static int compare_fields(const void *a, const void *b, void *arg)
{
    const struct aggregate_field *fields = arg;

    return strcmp(fields[*(const uint32_t *)a].name, fields[*(const uint32_t *)b].name);
}

static void rank_groups(const struct aggregate *aggregate, struct result *result)
{
    uint32_t *by_tags = result->ranks + aggregate->groups.count; /* Second half: scratch. */
    uint32_t tag_count = aggregate->query->group_count;
    struct group_order order = {result->tags, tag_count};

    for (uint32_t i = 0; i < aggregate->groups.count; i++) {
        struct slice key = aggregate->groups.keys[i];
        struct reader r = reader_on(key.data, key.size);

        for (uint32_t tag = 0; tag < tag_count; tag++) {
            struct slice *value = &result->tags[(size_t)i * tag_count + tag];

            value->data = reader_string(&r, NAME_SIZE_MAX, &value->size);
        }
        by_tags[i] = i;
    }
    qsort_r(by_tags, aggregate->groups.count, sizeof *by_tags, compare_groups, &order);
    for (uint32_t i = 0; i < aggregate->groups.count; i++)
        result->ranks[by_tags[i]] = i;
}

static bool has_cells(const struct aggregate *aggregate, uint32_t row)
{
    for (uint32_t i = 0; i < aggregate->field_count; i++) {
        const struct aggregate_field *field = &aggregate->fields[i];

        if (row < field->capacity && field->cells[row].count > 0)
            return true;
    }
    return false;
}

static void order_rows(const struct aggregate *aggregate, struct result *result)
{
    for (uint32_t i = 0; i < aggregate->row_count; i++) {
        const struct aggregate_row *row = &aggregate->rows[i];

        if (has_cells(aggregate, i))
            result->rows[result->row_count++] =
                (struct result_row){result->ranks[row->group], i, row->window};
    }
    qsort(result->rows, result->row_count, sizeof *result->rows, compare_rows);
}

static void order_fields(const struct aggregate *aggregate, struct result *result)
{
    const struct query *query = aggregate->query;
    uint32_t count = 0;

    for (uint32_t i = 0; i < aggregate->field_count; i++)
        result->fields[i] = i;
    qsort_r(result->fields, aggregate->field_count, sizeof *result->fields, compare_fields,
            aggregate->fields);
    for (uint32_t asked = 0; asked < query->field_count; asked++) {
        for (uint32_t i = count; i < aggregate->field_count; i++) {
            uint32_t field = result->fields[i];

            if (strcmp(aggregate->fields[field].name, query->fields[asked]) != 0)
                continue;
            result->fields[i] = result->fields[count];
            result->fields[count++] = field;
            break;
        }
    }
}

/* ---- Into columns --------------------------------------------------------------------------- */

static enum err add_columns(const struct aggregate *aggregate, struct result *result,
                            struct columns *columns)
{
    const struct query *query = aggregate->query;
    uint32_t time_at;
    enum err err = ERR_OK;

    if (query->every_ns > 0)
        err = columns_column(columns, (struct slice){"time", 4}, COLUMN_TIME, FIELD_INT, &time_at);
    for (uint32_t i = 0; i < query->group_count && err == ERR_OK; i++) {
        struct slice name = {query->group_by[i], strlen(query->group_by[i])};

        err = columns_column(columns, name, COLUMN_TAG, FIELD_STRING, &result->tag_at[i]);
    }
    for (uint32_t i = 0; i < aggregate->field_count && err == ERR_OK; i++) {
        const struct aggregate_field *field = &aggregate->fields[result->fields[i]];
        bool exact = true;

        for (uint32_t row = 0; row < field->capacity && exact; row++)
            exact = aggregate_cell_is_exact(aggregate->agg, field->type, &field->cells[row]);
        result->exact[i] = exact;
        err = columns_column(columns, (struct slice){field->name, field->name_size}, COLUMN_FIELD,
                             aggregate_cell_type(aggregate->agg, field->type, exact),
                             &result->field_at[i]);
    }
    return err;
}

static enum err set_fields(const struct aggregate *aggregate, const struct result *result,
                           uint32_t row, struct columns *columns)
{
    for (uint32_t i = 0; i < aggregate->field_count; i++) {
        const struct aggregate_field *field = &aggregate->fields[result->fields[i]];
        const struct aggregate_cell *cell;
        enum err err = ERR_OK;

        if (row >= field->capacity || field->cells[row].count == 0)
            continue;
        cell = &field->cells[row];
        if (field->type == FIELD_STRING && aggregate->agg != QUERY_COUNT)
            err = columns_set_string(columns, result->field_at[i], cell->as.text.data,
                                     cell->as.text.size);
        else
            columns_set(columns, result->field_at[i],
                        aggregate_cell_bits(aggregate->agg, field->type, result->exact[i], cell));
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

static enum err add_row(const struct aggregate *aggregate, const struct result *result,
                        const struct result_row *at, struct columns *columns)
{
    const struct query *query = aggregate->query;
    uint32_t group = aggregate->rows[at->row].group;
    const struct slice *tags = result->tags + (size_t)group * query->group_count;
    enum err err = columns_row(columns);

    if (err == ERR_OK && query->every_ns > 0)
        columns_set(columns, 0, (uint64_t)at->window);
    for (uint32_t i = 0; i < query->group_count && err == ERR_OK; i++) {
        if (tags[i].size > 0)
            err = columns_set_string(columns, result->tag_at[i], tags[i].data, tags[i].size);
    }
    return err == ERR_OK ? set_fields(aggregate, result, at->row, columns) : err;
}

static void result_fini(struct result *result)
{
    free(result->tags);
    free(result->ranks);
    free(result->rows);
    free(result->fields);
    free(result->field_at);
    free(result->exact);
}

/* One element more than is needed, so that none asks for 0 bytes. */
static bool result_init(struct result *result, const struct aggregate *aggregate)
{
    size_t groups = (size_t)aggregate->groups.count + 1,
           fields = (size_t)aggregate->field_count + 1;

    *result = (struct result){
        .tags = calloc(groups * (aggregate->query->group_count + 1), sizeof *result->tags),
        .ranks = calloc(2 * groups, sizeof *result->ranks),
        .rows = calloc((size_t)aggregate->row_count + 1, sizeof *result->rows),
        .fields = calloc(fields, sizeof *result->fields),
        .field_at = calloc(fields, sizeof *result->field_at),
        .exact = calloc(fields, sizeof *result->exact),
    };
    return result->tags != NULL && result->ranks != NULL && result->rows != NULL &&
           result->fields != NULL && result->field_at != NULL && result->exact != NULL;
}

enum err aggregate_finish(struct aggregate *aggregate, struct columns *ret_columns)
{
    uint64_t limit = aggregate->query->limit == 0 ? UINT64_MAX : aggregate->query->limit;
    struct columns columns = {0};
    struct result result;
    enum err err = ERR_NO_MEMORY;

    if (!result_init(&result, aggregate)) {
        (void)err_set(err, "aggregate: no memory for a result of %u rows", aggregate->row_count);
    } else {
        rank_groups(aggregate, &result);
        order_rows(aggregate, &result);
        order_fields(aggregate, &result);
        err = add_columns(aggregate, &result, &columns);
    }
    for (uint32_t i = 0; i < result.row_count && i < limit && err == ERR_OK; i++)
        err = add_row(aggregate, &result, &result.rows[i], &columns);
    result_fini(&result);
    if (err != ERR_OK) {
        columns_fini(&columns);
        return err;
    }
    *ret_columns = columns;
    return ERR_OK;
}
