#include <inttypes.h>
#include <math.h>
#include <regex.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "tests/support/world.h"

enum { LINE_SIZE = 1024 };

/* ---- Lines --------------------------------------------------------------------------------- */

struct line {
    char text[LINE_SIZE];
    size_t size;
};

static void PRINTF_LIKE(2, 3) put(struct line *line, const char *format, ...)
{
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(line->text + line->size, LINE_SIZE - line->size, format, args);
    va_end(args);
    CHECK(size >= 0 && (size_t)size < LINE_SIZE - line->size);
    line->size += (size_t)size;
}

static void put_value(struct line *line, const char *name, enum field_type type, uint64_t bits,
                      struct slice text, bool one_nan)
{
    double value;

    memcpy(&value, &bits, sizeof value);
    put(line, " %s:%s=", name, field_type_name(type));
    if (type == FIELD_STRING)
        put(line, "%.*s", (int)text.size, text.data);
    else if (type == FIELD_FLOAT && one_nan && isnan(value))
        put(line, "nan");
    else
        put(line, "%" PRIx64, bits);
}

static void add_line(struct lines *lines, const struct line *line)
{
    char **more = realloc(lines->lines, (lines->count + 1) * sizeof(*more));

    CHECK(more != NULL);
    lines->lines = more;
    lines->lines[lines->count++] = strdup(line->text);
}

void lines_free(struct lines *lines)
{
    for (size_t i = 0; i < lines->count; i++)
        free(lines->lines[i]);
    free(lines->lines);
    *lines = (struct lines){0};
}

static int compare_columns(const void *a, const void *b)
{
    const struct column *x = *(const struct column *const *)a;
    const struct column *y = *(const struct column *const *)b;

    return x->kind != y->kind ? (int)x->kind - (int)y->kind : strcmp(x->name, y->name);
}

void lines_of_columns(const struct columns *columns, bool one_nan, struct lines *lines)
{
    const struct column *by_name[64];

    CHECK(columns->count <= 64);
    for (uint32_t c = 0; c < columns->count; c++)
        by_name[c] = &columns->columns[c];
    qsort(by_name, columns->count, sizeof(*by_name), compare_columns);
    for (uint32_t row = 0; row < columns->rows; row++) {
        struct line line = {.size = 0};

        for (uint32_t c = 0; c < columns->count; c++) {
            const struct column *column = by_name[c];
            uint64_t bits = column->values[row];
            struct slice text = {"", 0};

            if (!column->present[row])
                continue;
            if (column->type == FIELD_STRING && bits >> 32 > 0)
                text = (struct slice){(char *)column->text.data + (uint32_t)bits, bits >> 32};
            if (column->kind == COLUMN_TIME)
                put(&line, "time=%" PRId64, (int64_t)bits);
            else if (column->kind == COLUMN_TAG)
                put(&line, " %s=%.*s", column->name, (int)text.size, text.data);
            else
                put_value(&line, column->name, column->type, bits, text, one_nan);
        }
        add_line(lines, &line);
    }
}

/* ---- Rows ---------------------------------------------------------------------------------- */

static const char *tag_of(const struct world_series *series, const char *name)
{
    if (strcmp(name, "host") == 0)
        return series->host;
    return strcmp(name, "site") == 0 && series->site != NULL ? series->site : "";
}

/* Patterns of the tests are also POSIX ones. The last few stay compiled: one is asked for with each
 * value of each series. */
static bool matches(const char *value, const char *pattern)
{
    enum { KEPT = 8 };
    static struct {
        char whole[256];
        regex_t compiled;
    } kept[KEPT];
    static uint32_t used;
    char whole[256];
    uint32_t at = 0;

    (void)snprintf(whole, sizeof whole, "^(%s)$", pattern);
    while (at < KEPT && strcmp(kept[at].whole, whole) != 0)
        at++;
    if (at == KEPT) {
        at = used++ % KEPT;
        if (used > KEPT)
            regfree(&kept[at].compiled);
        memcpy(kept[at].whole, whole, sizeof whole);
        CHECK(regcomp(&kept[at].compiled, whole, REG_EXTENDED | REG_NOSUB) == 0);
    }
    return regexec(&kept[at].compiled, value, 0, NULL, 0) == 0;
}

bool world_matches(const struct world_series *series, const struct query *query)
{
    if (strcmp(series->table, query->table) != 0 || strcmp(query->database, "db") != 0)
        return false;
    for (uint32_t i = 0; i < query->where_count; i++) {
        const struct query_match *match = &query->where[i];
        const char *value = tag_of(series, match->name);
        bool is_pattern = match->op == QUERY_MATCHES || match->op == QUERY_NOT_MATCHES;
        bool holds = is_pattern ? matches(value, match->value) : strcmp(value, match->value) == 0;

        if (holds == (match->op == QUERY_NOT_EQUAL || match->op == QUERY_NOT_MATCHES))
            return false;
    }
    return true;
}

static bool is_asked(const struct query *query, uint32_t field)
{
    for (uint32_t i = 0; i < query->field_count; i++) {
        if (strcmp(query->fields[i], world_field_names[field]) == 0)
            return true;
    }
    return query->field_count == 0;
}

static bool is_in_time(const struct query *query, int64_t time_ns)
{
    return time_ns >= query->from_ns && (time_ns < query->to_ns || query->to_ns == INT64_MAX);
}

/* A line of these cells, if any is present. */
static void add_row(const struct world_series *series, int64_t time_ns,
                    const struct world_cell *cells, const struct query *query, struct lines *lines)
{
    struct line line = {.size = 0};
    bool found = false;

    put(&line, "time=%" PRId64 " host=%s", time_ns, series->host);
    if (series->site != NULL)
        put(&line, " site=%s", series->site);
    for (uint32_t f = 0; f < WORLD_FIELDS; f++) {
        const char *text = cells[f].text != NULL ? cells[f].text : "";

        if (!cells[f].present || !is_asked(query, f))
            continue;
        put_value(&line, world_field_names[f], world_field_types[f], cells[f].bits,
                  (struct slice){text, strlen(text)}, false);
        found = true;
    }
    if (found && (query->limit == 0 || lines->count < query->limit))
        add_line(lines, &line);
}

static void add_last_row(const struct world *world, uint32_t id, const struct query *query,
                         struct lines *lines)
{
    struct world_cell newest[WORLD_FIELDS] = {{0}};
    int64_t time_ns = INT64_MIN;

    for (uint32_t t = 0; t < WORLD_TIMES; t++) {
        for (uint32_t f = 0; f < WORLD_FIELDS && is_in_time(query, world_time(t)); f++) {
            if (!world->cells[id][t][f].present || !is_asked(query, f))
                continue;
            newest[f] = world->cells[id][t][f];
            time_ns = world_time(t);
        }
    }
    add_row(&world->series[id], time_ns, newest, query, lines);
}

struct lines world_rows(const struct world *world, const struct query *query)
{
    struct lines lines = {0};

    for (uint32_t id = 0; id < WORLD_SERIES; id++) {
        if (!world_matches(&world->series[id], query))
            continue;
        for (uint32_t t = 0; t < WORLD_TIMES && !query->last; t++) {
            if (is_in_time(query, world_time(t)))
                add_row(&world->series[id], world_time(t), world->cells[id][t], query, &lines);
        }
        if (query->last)
            add_last_row(world, id, query, &lines);
    }
    return lines;
}

/* ---- Aggregates ---------------------------------------------------------------------------- */

/* All cells of one group, window and field are looked at again for each result: simple, and quick
 * enough for a world of this size. */
struct part {
    const char *tags[QUERY_TAGS_MAX];
    int64_t window;
};

static int64_t window_of(const struct query *query, int64_t time_ns)
{
    int64_t windows;

    if (query->every_ns == 0)
        return 0;
    windows = time_ns / query->every_ns;
    if (windows * query->every_ns > time_ns) /* Division rounds towards zero. */
        windows--;
    return windows * query->every_ns;
}

static int compare_parts(const void *a, const void *b, void *arg)
{
    const struct part *x = a, *y = b;
    const struct query *query = arg;

    for (uint32_t i = 0; i < query->group_count; i++) {
        int order = strcmp(x->tags[i], y->tags[i]);

        if (order != 0)
            return order;
    }
    return (x->window > y->window) - (x->window < y->window);
}

static double as_float(enum field_type type, uint64_t bits)
{
    double value;

    if (type == FIELD_INT)
        return (double)(int64_t)bits;
    if (type != FIELD_FLOAT)
        return (double)bits;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t float_bits(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

__extension__ typedef __int128 wide;

struct sum {
    uint64_t count;
    wide whole;   /* Of integers. */
    double parts; /* Of floats. */
    struct world_cell best;
    int64_t best_ns;
};

/* -0.0 is less than 0.0 here, so that there is one answer. */
static bool is_less(enum field_type type, uint64_t a, uint64_t b)
{
    double x = as_float(type, a), y = as_float(type, b);

    if (type == FIELD_FLOAT)
        return x < y || (x == y && signbit(x) && !signbit(y)) || (isnan(y) && !isnan(x));
    return type == FIELD_INT ? (int64_t)a < (int64_t)b : a < b;
}

static bool is_more(enum field_type type, uint64_t a, uint64_t b)
{
    double x = as_float(type, a), y = as_float(type, b);

    if (type == FIELD_FLOAT)
        return x > y || (x == y && !signbit(x) && signbit(y)) || (isnan(y) && !isnan(x));
    return is_less(type, b, a);
}

static bool is_larger_tie(enum field_type type, const struct world_cell *a,
                          const struct world_cell *b)
{
    return type == FIELD_STRING ? strcmp(a->text, b->text) > 0 : a->bits > b->bits;
}

static void take_cell(const struct query *query, enum field_type type, int64_t time_ns,
                      const struct world_cell *cell, struct sum *sum)
{
    bool best = sum->count == 0;

    if (query->agg == QUERY_MIN)
        best = best || is_less(type, cell->bits, sum->best.bits);
    if (query->agg == QUERY_MAX)
        best = best || is_more(type, cell->bits, sum->best.bits);
    if (query->agg == QUERY_FIRST || query->agg == QUERY_LAST)
        best = best || (time_ns == sum->best_ns && is_larger_tie(type, cell, &sum->best)) ||
               (query->agg == QUERY_FIRST ? time_ns < sum->best_ns : time_ns > sum->best_ns);
    if (best) {
        sum->best = *cell;
        sum->best_ns = time_ns;
    }
    sum->count++;
    sum->whole += type == FIELD_INT ? (wide)(int64_t)cell->bits : (wide)cell->bits;
    sum->parts += type == FIELD_FLOAT ? as_float(type, cell->bits) : 0;
}

static struct sum sum_of(const struct world *world, const struct query *query,
                         const struct part *part, uint32_t field)
{
    struct sum sum = {0};

    for (uint32_t id = 0; id < WORLD_SERIES; id++) {
        bool in = world_matches(&world->series[id], query);

        for (uint32_t i = 0; i < query->group_count; i++)
            in = in && strcmp(tag_of(&world->series[id], query->group_by[i]), part->tags[i]) == 0;
        for (uint32_t t = 0; t < WORLD_TIMES && in; t++) {
            int64_t time_ns = world_time(t);

            if (is_in_time(query, time_ns) && window_of(query, time_ns) == part->window &&
                world->cells[id][t][field].present)
                take_cell(query, world_field_types[field], time_ns, &world->cells[id][t][field],
                          &sum);
        }
    }
    return sum;
}

static bool takes(uint32_t agg, enum field_type type)
{
    if (agg == QUERY_COUNT || agg == QUERY_FIRST || agg == QUERY_LAST)
        return true;
    if (agg == QUERY_MIN || agg == QUERY_MAX)
        return type != FIELD_STRING;
    return type != FIELD_STRING && type != FIELD_BOOL;
}

static void put_sum(struct line *line, const struct query *query, uint32_t field, bool exact,
                    const struct sum *sum)
{
    const char *name = world_field_names[field], *text = sum->best.text;
    enum field_type type = world_field_types[field];
    struct slice none = {"", 0};
    double total = type == FIELD_FLOAT ? sum->parts : (double)sum->whole;

    if (query->agg == QUERY_COUNT)
        put_value(line, name, FIELD_UINT, sum->count, none, true);
    else if (query->agg == QUERY_MEAN)
        put_value(line, name, FIELD_FLOAT, float_bits(total / (double)sum->count), none, true);
    else if (query->agg == QUERY_SUM && (type == FIELD_FLOAT || !exact))
        put_value(line, name, FIELD_FLOAT, float_bits(total), none, true);
    else if (query->agg == QUERY_SUM)
        put_value(line, name, type, (uint64_t)sum->whole, none, true);
    else
        put_value(line, name, type, sum->best.bits,
                  type == FIELD_STRING ? (struct slice){text, strlen(text)} : none, true);
}

/* The groups and windows that have rows, in order, each once. */
static size_t find_parts(const struct world *world, const struct query *query, struct part *parts)
{
    size_t count = 0, kept = 0;

    for (uint32_t id = 0; id < WORLD_SERIES; id++) {
        for (uint32_t t = 0; t < WORLD_TIMES && world_matches(&world->series[id], query); t++) {
            struct part part = {.window = window_of(query, world_time(t))};

            for (uint32_t i = 0; i < query->group_count; i++)
                part.tags[i] = tag_of(&world->series[id], query->group_by[i]);
            parts[count++] = part;
        }
    }
    qsort_r(parts, count, sizeof *parts, compare_parts, (void *)(uintptr_t)query);
    for (size_t i = 0; i < count; i++) {
        if (kept == 0 || compare_parts(&parts[kept - 1], &parts[i], (void *)(uintptr_t)query) != 0)
            parts[kept++] = parts[i];
    }
    return kept;
}

static void add_part(const struct query *query, const struct part *part, const bool *exact,
                     const struct sum *sums, struct lines *lines)
{
    struct line line = {.size = 0};
    bool found = false;

    if (query->every_ns > 0)
        put(&line, "time=%" PRId64, part->window);
    for (uint32_t i = 0; i < query->group_count; i++) {
        if (part->tags[i][0] != '\0')
            put(&line, " %s=%s", query->group_by[i], part->tags[i]);
    }
    for (uint32_t f = 0; f < WORLD_FIELDS; f++) {
        if (sums[f].count == 0)
            continue;
        put_sum(&line, query, f, exact[f], &sums[f]);
        found = true;
    }
    if (found && (query->limit == 0 || lines->count < query->limit))
        add_line(lines, &line);
}

struct lines world_aggregate(const struct world *world, const struct query *query)
{
    static struct part parts[WORLD_SERIES * WORLD_TIMES];
    static struct sum sums[WORLD_SERIES * WORLD_TIMES][WORLD_FIELDS];
    size_t count = find_parts(world, query, parts);
    bool exact[WORLD_FIELDS];
    struct lines lines = {0};

    for (uint32_t f = 0; f < WORLD_FIELDS; f++) {
        exact[f] = true;
        for (size_t i = 0; i < count; i++) {
            sums[i][f] = (struct sum){0};
            if (!is_asked(query, f) || !takes(query->agg, world_field_types[f]))
                continue;
            sums[i][f] = sum_of(world, query, &parts[i], f);
            if (world_field_types[f] == FIELD_UINT && sums[i][f].whole > (wide)UINT64_MAX)
                exact[f] = false;
        }
    }
    for (size_t i = 0; i < count; i++)
        add_part(query, &parts[i], exact, sums[i], &lines);
    return lines;
}
