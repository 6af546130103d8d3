#include "client/result.h"

#include <stdlib.h>
#include <string.h>

#include "client/hash_index.h"

/* A row to be sorted. */
struct sort_row {
    int64_t time_ns;
    uint32_t series; /* Its series' place among all, see number_series(). */
    uint32_t row;
};

/* What qsort_r() calls need to see. */
struct sort_view {
    const struct columns *columns;
    const uint32_t *tags; /* Tag columns by name. */
    uint32_t tag_count;
    const char *const *fields; /* As asked for. */
    size_t field_count;
};

/* ---- Gathering ----------------------------------------------------------------------------- */

enum err result_add(struct millrace_result *result, const uint8_t *bytes, size_t size)
{
    struct columns batch = {0};
    enum err err = columns_decode(bytes, size, &batch);

    if (err == ERR_OK)
        err = columns_append(&result->columns, &batch);
    columns_fini(&batch);
    return err;
}

void result_clear(struct millrace_result *result)
{
    columns_fini(&result->columns);
    result->columns = (struct columns){0};
}

/* ---- Columns in order ---------------------------------------------------------------------- */

static size_t place_asked(const struct sort_view *view, const struct column *column)
{
    size_t at = 0;

    while (column->kind == COLUMN_FIELD && at < view->field_count &&
           strcmp(view->fields[at], column->name) != 0)
        at++;
    return at;
}

static int compare_columns(const void *left, const void *right, void *arg)
{
    const struct sort_view *view = arg;
    const struct column *a = &view->columns->columns[*(const uint32_t *)left];
    const struct column *b = &view->columns->columns[*(const uint32_t *)right];
    size_t place_a = place_asked(view, a), place_b = place_asked(view, b);

    if (a->kind != b->kind)
        return a->kind < b->kind ? -1 : 1;
    if (place_a != place_b)
        return place_a < place_b ? -1 : 1;
    return strcmp(a->name, b->name);
}

/* ---- Rows in order ------------------------------------------------------------------------- */

static int compare_strings(const struct column *column, uint32_t a, uint32_t b)
{
    uint32_t size_a = (uint32_t)(column->values[a] >> 32);
    uint32_t size_b = (uint32_t)(column->values[b] >> 32);
    uint32_t shorter = size_a < size_b ? size_a : size_b;
    int order = 0;

    if (column->present[a] != column->present[b])
        return column->present[a] < column->present[b] ? -1 : 1;
    if (!column->present[a])
        return 0;
    if (shorter > 0)
        order = memcmp(column->text.data + (uint32_t)column->values[a],
                       column->text.data + (uint32_t)column->values[b], shorter);
    if (order != 0 || size_a == size_b)
        return order;
    return size_a < size_b ? -1 : 1;
}

static int compare_tags(const struct sort_view *view, uint32_t a, uint32_t b)
{
    int order = 0;

    for (uint32_t i = 0; i < view->tag_count && order == 0; i++)
        order = compare_strings(&view->columns->columns[view->tags[i]], a, b);
    return order;
}

static int compare_series(const void *left, const void *right, void *arg)
{
    return compare_tags(arg, *(const uint32_t *)left, *(const uint32_t *)right);
}

static int compare_rows(const void *left, const void *right)
{
    const struct sort_row *a = left, *b = right;

    if (a->series != b->series)
        return a->series < b->series ? -1 : 1;
    if (a->time_ns != b->time_ns)
        return a->time_ns < b->time_ns ? -1 : 1;
    return a->row < b->row ? -1 : 1; /* Never equal: the order is the same everywhere. */
}

static uint64_t hash_tags(const struct sort_view *view, uint32_t row)
{
    uint64_t hash = 0;

    for (uint32_t i = 0; i < view->tag_count; i++) {
        const struct column *column = &view->columns->columns[view->tags[i]];
        uint64_t value = column->values[row];

        hash = hash * UINT64_C(0x9e3779b97f4a7c15) + column->present[row];
        if (column->present[row])
            hash ^= key_hash(column->text.data + (uint32_t)value, (size_t)(value >> 32));
    }
    return hash;
}

/* Give each row its series' place among all series. Rows are many and series few, so tags are
 * compared once a series and row, and never again while rows are sorted. */
static enum err number_series(const struct sort_view *view, struct sort_row *rows)
{
    uint32_t count = view->columns->rows, series_count = 0;
    uint32_t *firsts = malloc(((size_t)count + 1) * sizeof *firsts); /* A row of each series. */
    uint32_t *places = malloc(((size_t)count + 1) * sizeof *places); /* By that row. */
    struct hash_index index = {0};
    enum err err = firsts && places ? ERR_OK : err_set(ERR_NO_MEMORY, "%u rows", (unsigned)count);

    for (uint32_t row = 0; row < count && err == ERR_OK; row++) {
        uint64_t hash = hash_tags(view, row);
        struct hash_cursor cursor = hash_index_find(&index, hash);
        uint32_t first = UINT32_MAX;
        bool known = false;

        while (!known && hash_index_next(&index, &cursor, &first))
            known = compare_tags(view, first, row) == 0;
        if (!known) {
            first = row;
            firsts[series_count++] = row;
            err = hash_index_add(&index, hash, row);
        }
        rows[row].series = first;
    }
    if (err == ERR_OK) {
        qsort_r(firsts, series_count, sizeof *firsts, compare_series, (void *)view);
        for (uint32_t i = 0; i < series_count; i++)
            places[firsts[i]] = i;
        for (uint32_t row = 0; row < count; row++)
            rows[row].series = places[rows[row].series];
    }
    hash_index_fini(&index);
    free(firsts);
    free(places);
    return err;
}

static enum err order_rows(struct millrace_result *result, const struct sort_view *view)
{
    uint32_t count = view->columns->rows;
    const struct column *time = NULL;
    struct sort_row *rows = calloc((size_t)count + 1, sizeof *rows);
    enum err err;

    result->rows = malloc(((size_t)count + 1) * sizeof *result->rows);
    if (!rows || !result->rows) {
        free(rows);
        return err_set(ERR_NO_MEMORY, "a result of %u rows", (unsigned)count);
    }
    for (uint32_t i = 0; i < view->columns->count; i++) {
        if (view->columns->columns[i].kind == COLUMN_TIME)
            time = &view->columns->columns[i];
    }
    for (uint32_t row = 0; row < count; row++) {
        rows[row].row = row;
        rows[row].time_ns = time ? (int64_t)time->values[row] : 0;
    }
    err = number_series(view, rows);
    if (err == ERR_OK)
        qsort(rows, count, sizeof *rows, compare_rows);
    result->row_count = 0;
    for (uint32_t row = 0; row < count; row++) {
        /* Shards may name the same label; a row of tags alone says no more when it comes twice. */
        if (row == 0 || rows[row].series != rows[row - 1].series ||
            view->tag_count < view->columns->count)
            result->rows[result->row_count++] = rows[row].row;
    }
    free(rows);
    return err;
}

static enum err order_columns(struct millrace_result *result, struct sort_view *view)
{
    const struct columns *columns = &result->columns;
    uint32_t *order = malloc(((size_t)columns->count + 1) * sizeof *order);
    uint32_t first_tag = 0;

    if (!order)
        return err_set(ERR_NO_MEMORY, "a result of %u columns", (unsigned)columns->count);
    for (uint32_t i = 0; i < columns->count; i++)
        order[i] = i;
    qsort_r(order, columns->count, sizeof *order, compare_columns, view);
    while (first_tag < columns->count && columns->columns[order[first_tag]].kind == COLUMN_TIME)
        first_tag++;
    view->tags = order + first_tag;
    while (first_tag + view->tag_count < columns->count &&
           columns->columns[view->tags[view->tag_count]].kind == COLUMN_TAG)
        view->tag_count++;
    result->order = order;
    return ERR_OK;
}

enum err result_keep(struct millrace_result *result, const char *const *fields, size_t field_count)
{
    struct sort_view view = {
        .columns = &result->columns, .fields = fields, .field_count = field_count};
    uint32_t count = result->columns.rows;

    result->rows = malloc(((size_t)count + 1) * sizeof *result->rows);
    if (!result->rows)
        return err_set(ERR_NO_MEMORY, "a result of %u rows", (unsigned)count);
    for (uint32_t row = 0; row < count; row++)
        result->rows[row] = row;
    result->row_count = count;
    return order_columns(result, &view);
}

enum err result_order(struct millrace_result *result, const char *const *fields, size_t field_count,
                      uint64_t limit)
{
    struct sort_view view = {
        .columns = &result->columns, .fields = fields, .field_count = field_count};
    enum err err = order_columns(result, &view);

    if (err == ERR_OK)
        err = order_rows(result, &view);
    if (err == ERR_OK && limit > 0 && result->row_count > limit)
        result->row_count = (uint32_t)limit;
    return err;
}

/* ---- Reading (millrace.h) ------------------------------------------------------------------ */

static const struct column *column_at(const struct millrace_result *result, size_t column)
{
    return &result->columns.columns[result->order[column]];
}

void result_fini(struct millrace_result *result)
{
    columns_fini(&result->columns);
    free(result->rows);
    free(result->order);
}

void millrace_result_free(struct millrace_result *result)
{
    if (!result)
        return;
    result_fini(result);
    free(result);
}

size_t millrace_result_rows(const struct millrace_result *result)
{
    return result->row_count;
}

size_t millrace_result_columns(const struct millrace_result *result)
{
    return result->columns.count;
}

const char *millrace_result_name(const struct millrace_result *result, size_t column)
{
    return column_at(result, column)->name;
}

enum millrace_kind millrace_result_kind(const struct millrace_result *result, size_t column)
{
    return (enum millrace_kind)column_at(result, column)->kind;
}

enum millrace_type millrace_result_type(const struct millrace_result *result, size_t column)
{
    return (enum millrace_type)column_at(result, column)->type;
}

uint64_t millrace_result_stale_ms(const struct millrace_result *result)
{
    return result->stale_ms;
}

int millrace_result_get(const struct millrace_result *result, size_t row, size_t at,
                        struct millrace_value *ret_value)
{
    const struct column *column = column_at(result, at);
    uint32_t place = result->rows[row];
    uint64_t bits = column->values[place];

    if (!column->present[place])
        return 0;
    ret_value->name = column->name;
    ret_value->type = (enum millrace_type)column->type;
    switch (column->type) {
    case FIELD_FLOAT:
        memcpy(&ret_value->as.f, &bits, sizeof ret_value->as.f);
        break;
    case FIELD_BOOL:
        ret_value->as.b = bits != 0;
        break;
    case FIELD_STRING:
        ret_value->as.s.data = bits >> 32 ? (const char *)column->text.data + (uint32_t)bits : "";
        ret_value->as.s.size = (size_t)(bits >> 32);
        break;
    default:
        ret_value->as.u = bits; /* int64 and uint64 share their bits. */
        break;
    }
    return 1;
}
