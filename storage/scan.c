#include "storage/scan.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/clk.h"
#include "storage/scan_batch.h"
#include "storage/scan_last.h"
#include "storage/scan_merge.h"

enum err scan_check(const struct scan_limits *limits)
{
    /* Relaxed: nothing else is handed over with the flag. */
    if (limits->cancel != NULL && atomic_load_explicit(limits->cancel, memory_order_relaxed))
        return err_set(ERR_CANCELED, "the query was canceled");
    if (limits->deadline_ns != 0 && clk_now_ns() > limits->deadline_ns)
        return err_set(ERR_TIMEOUT, "the query took too long: ask for a shorter time or fewer "
                                    "series, or allow it more time");
    return ERR_OK;
}

/* ---- A scan, region by region --------------------------------------------------------------- */

struct scan {
    const struct snapshot *snapshot;
    const struct query *query; /* NULL: a digest. */
    const struct scan_limits *limits;
    struct scan_match match;
    struct scan_decode decode;
    struct scan_collect collect;
    double row_size; /* Bytes of a collected row: a guess, then what was seen. */
};

/* Work on one region; *ret_full if memory did not suffice and nothing was handed out. */
typedef enum err (*region_cb)(void *arg, const struct scan_region *region, bool *ret_full);

static enum err scan_init(struct scan *scan, const struct snapshot *snapshot,
                          const struct query *query, const struct scan_limits *limits)
{
    uint32_t fields = query != NULL && query->field_count > 0 ? query->field_count : 1;
    enum err err;

    *scan = (struct scan){
        .snapshot = snapshot,
        .query = query,
        .limits = limits,
        .row_size = 8 + 9 * (double)fields,
    };
    err = scan_match_find(snapshot->series, query, limits, &scan->match);
    if (err != ERR_OK)
        return err;
    err = scan_decode_init(&scan->decode, snapshot, query, limits, &scan->match);
    if (err != ERR_OK) {
        scan_match_fini(&scan->match);
        return err;
    }
    scan_collect_init(&scan->collect, &scan->decode, limits->memory_bytes);
    return ERR_OK;
}

static void scan_fini(struct scan *scan)
{
    scan_collect_fini(&scan->collect);
    scan_decode_fini(&scan->decode);
    scan_match_fini(&scan->match);
}

/* Shrink a region to the times for which there are blocks. False: there are none. */
static bool clip(const struct scan *scan, struct scan_region *region)
{
    int64_t first_ns = INT64_MAX, last_ns = INT64_MIN;
    bool found = false;

    for (uint32_t i = 0; i < scan->snapshot->source_count; i++) {
        const struct snapshot_source *source = &scan->snapshot->sources[i];

        if (!scan_decode_overlaps(&scan->decode, region, source))
            continue;
        first_ns = source->time_min_ns < first_ns ? source->time_min_ns : first_ns;
        last_ns = source->time_max_ns > last_ns ? source->time_max_ns : last_ns;
        found = true;
    }
    if (first_ns > region->from_ns)
        region->from_ns = first_ns;
    if (last_ns < region->last_ns)
        region->last_ns = last_ns;
    return found;
}

/* The part of [b_from, b_last] that lies in [a_from, a_last], if rows are spread evenly. */
static double share(double a_from, double a_last, double b_from, double b_last)
{
    double from = a_from > b_from ? a_from : b_from, last = a_last < b_last ? a_last : b_last;

    return (last - from + 1) / (b_last - b_from + 1);
}

/* Bytes that collecting a region will take, roughly. */
static double estimate(const struct scan *scan, const struct scan_region *region)
{
    const uint32_t *ids = scan->match.ids;
    double first = ids[region->lo], last = ids[region->hi - 1];
    double density = (double)(region->hi - region->lo) / (last - first + 1), rows = 0;

    for (uint32_t i = 0; i < scan->snapshot->source_count; i++) {
        const struct snapshot_source *source = &scan->snapshot->sources[i];

        if (scan_decode_overlaps(&scan->decode, region, source))
            rows += (double)source->rows * density *
                    share(first, last, source->series_min, source->series_max) *
                    share((double)region->from_ns, (double)region->last_ns,
                          (double)source->time_min_ns, (double)source->time_max_ns);
    }
    return rows * scan->row_size;
}

static bool split_time(const struct scan_region *region, struct scan_region halves[2])
{
    int64_t middle_ns =
        region->from_ns + (int64_t)(((uint64_t)region->last_ns - (uint64_t)region->from_ns) / 2);

    halves[0] = halves[1] = *region;
    halves[0].last_ns = middle_ns;
    halves[1].from_ns = middle_ns + 1;
    return region->last_ns > region->from_ns;
}

static bool split_series(const struct scan_region *region, struct scan_region halves[2])
{
    uint32_t middle = region->lo + (region->hi - region->lo) / 2;

    halves[0] = halves[1] = *region;
    halves[0].hi = halves[1].lo = middle;
    return region->hi - region->lo > 1;
}

enum split_order {
    TIME_FIRST,   /* Each block is decoded about once. */
    SERIES_FIRST, /* Rows come by series, then by time. */
    SERIES_ALONE, /* A series gives one row. */
};

static bool split(const struct scan_region *region, enum split_order order,
                  struct scan_region halves[2])
{
    switch (order) {
    case TIME_FIRST:
        return split_time(region, halves) || split_series(region, halves);
    case SERIES_FIRST:
        return split_series(region, halves) || split_time(region, halves);
    default:
        return split_series(region, halves);
    }
}

static enum err budget_too_small(const struct scan *scan)
{
    return err_set(ERR_LIMIT,
                   "one row, with the blocks that overwrite it, needs more than the %" PRIu64
                   " bytes that a query may use: ask for fewer fields, or raise the limit",
                   scan->limits->memory_bytes);
}

/* Halve the region until it fits, and go on with the other halves, in order. */
static enum err scan_regions(struct scan *scan, enum split_order order, region_cb run, void *arg)
{
    const struct query *query = scan->query;
    /* A split takes one off and puts two on; series halve 32 times, times 64 times. */
    struct scan_region stack[128];
    uint32_t depth = 0;

    if (query == NULL)
        stack[depth++] = (struct scan_region){0, scan->match.count, INT64_MIN, INT64_MAX};
    else if (query->from_ns < query->to_ns)
        stack[depth++] = (struct scan_region){
            0,
            scan->match.count,
            query->from_ns,
            query->to_ns == INT64_MAX ? INT64_MAX : query->to_ns - 1,
        };
    while (depth > 0) {
        struct scan_region region = stack[--depth], halves[2];
        bool full = false, can_split;

        if (!clip(scan, &region))
            continue;
        can_split = split(&region, order, halves);
        if (can_split && estimate(scan, &region) > (double)scan->limits->memory_bytes)
            full = true;
        if (!full) {
            enum err err = run(arg, &region, &full);

            if (err != ERR_OK)
                return err;
        }
        if (full && !can_split)
            return budget_too_small(scan);
        if (full) {
            stack[depth++] = halves[1];
            stack[depth++] = halves[0];
        }
    }
    return ERR_OK;
}

/* ---- Collected rows, to somebody ------------------------------------------------------------ */

struct rows_to {
    struct scan *scan;
    scan_merge_cb take;
    void *arg;
};

static enum err collect_rows(void *arg, const struct scan_region *region, bool *ret_full)
{
    const struct rows_to *to = arg;
    struct scan_collect *collect = &to->scan->collect;
    struct scan_merge merge;
    enum err err = scan_collect_region(collect, region);

    if (err != ERR_OK)
        return err;
    if (collect->rows > 0)
        to->scan->row_size = (double)collect->used / (double)collect->rows;
    *ret_full = collect->full;
    if (collect->full)
        return ERR_OK;
    scan_merge_init(&merge, collect, to->take, to->arg);
    err = scan_merge_run(&merge);
    scan_merge_fini(&merge);
    return err;
}

/* ---- Rows ---------------------------------------------------------------------------------- */

struct last_to {
    struct scan_last last;
    struct scan_batch *batch;
};

static enum err last_rows(void *arg, const struct scan_region *region, bool *ret_full)
{
    struct last_to *to = arg;
    enum err err = scan_last_region(&to->last, region);

    if (err != ERR_OK)
        return err;
    *ret_full = to->last.full;
    return to->last.full ? ERR_OK : scan_last_run(&to->last, scan_batch_add, to->batch);
}

static enum err scan_last_rows(struct scan *scan, struct scan_batch *batch)
{
    struct last_to to = {.batch = batch};
    enum err err;

    scan->row_size = 0; /* Rows take no memory here, series do: only trying tells. */
    scan_last_init(&to.last, &scan->decode, scan->limits->memory_bytes);
    err = scan_regions(scan, SERIES_ALONE, last_rows, &to);
    scan_last_fini(&to.last);
    return err;
}

enum err scan_rows(const struct snapshot *snapshot, const struct query *query,
                   const struct scan_limits *limits, scan_batch_cb take, void *arg)
{
    struct scan scan;
    struct scan_batch batch;
    struct rows_to to = {&scan, scan_batch_add, &batch};
    enum err err = scan_init(&scan, snapshot, query, limits);

    if (err != ERR_OK)
        return err;
    scan_batch_init(&batch, &scan.decode, take, arg);
    err = query->last ? scan_last_rows(&scan, &batch)
                      : scan_regions(&scan, SERIES_FIRST, collect_rows, &to);
    if (err == ERR_END && batch.rows_left == 0) /* The query's limit. */
        err = ERR_OK;
    if (err == ERR_OK)
        err = scan_batch_flush(&batch);
    scan_batch_fini(&batch);
    scan_fini(&scan);
    return err;
}

/* ---- Aggregates ---------------------------------------------------------------------------- */

enum { VALUES_MAX = 64, FIELD_UNKNOWN = -2 };

struct aggregate_to {
    struct scan *scan;
    struct aggregate *into;
    uint32_t id; /* Of the series whose group is known. */
    uint32_t group;
    uint32_t *fields; /* Owned: column -> field of the aggregate, AGGREGATE_SKIP, FIELD_UNKNOWN. */
    uint32_t capacity;
};

static enum err find_group(struct aggregate_to *to, uint32_t id)
{
    const struct query *query = to->scan->query;
    struct slice key = catalog_view_key(to->scan->snapshot->series, id);
    struct slice values[QUERY_TAGS_MAX];
    struct key_parts parts;
    enum err err;

    if (query->group_count > 0 && key_parse(key.data, key.size, &parts) != 0)
        return err_set(ERR_CORRUPT, "series %" PRIu32 " has no canonical key", id);
    for (uint32_t i = 0; i < query->group_count; i++)
        values[i] = scan_match_tag(&parts, query->group_by[i]);
    err = aggregate_group(to->into, values, &to->group);
    if (err == ERR_OK)
        to->id = id;
    return err;
}

static enum err find_aggregate_field(struct aggregate_to *to, uint32_t column, uint32_t *ret_field)
{
    const struct scan_decode *decode = &to->scan->decode;
    enum err err = ERR_OK;

    if (column >= to->capacity) {
        uint32_t *fields = realloc(to->fields, decode->column_count * sizeof *fields);

        if (fields == NULL)
            return err_set(ERR_NO_MEMORY, "scan: no memory for %" PRIu32 " fields",
                           decode->column_count);
        for (uint32_t i = to->capacity; i < decode->column_count; i++)
            fields[i] = (uint32_t)FIELD_UNKNOWN;
        to->fields = fields;
        to->capacity = decode->column_count;
    }
    if (to->fields[column] == (uint32_t)FIELD_UNKNOWN)
        err = aggregate_field(to->into, decode->columns[column].name, decode->columns[column].type,
                              &to->fields[column]);
    *ret_field = to->fields[column];
    return err;
}

static enum err add_to_aggregate(void *arg, uint32_t id, const struct scan_chunk *chunk,
                                 uint32_t start, uint32_t rows)
{
    struct aggregate_to *to = arg;
    struct aggregate_values values[VALUES_MAX];
    uint32_t count = 0;
    enum err err = id == to->id ? ERR_OK : find_group(to, id);

    for (uint32_t f = 0; f < chunk->field_count && err == ERR_OK; f++) {
        const struct scan_values *from = &chunk->fields[f];
        uint32_t field = AGGREGATE_SKIP;

        err = find_aggregate_field(to, from->column, &field);
        if (err == ERR_OK && field != AGGREGATE_SKIP)
            values[count++] = (struct aggregate_values){field, from->present + start,
                                                        from->bits + start, from->text};
        if (err == ERR_OK && count > 0 && (count == VALUES_MAX || f + 1 == chunk->field_count)) {
            err = aggregate_add(to->into, to->group, chunk->times_ns + start, rows, values, count);
            count = 0;
        }
    }
    return err;
}

enum err scan_aggregate(const struct snapshot *snapshot, const struct query *query,
                        const struct scan_limits *limits, struct aggregate *into)
{
    struct scan scan;
    struct aggregate_to aggregate = {.scan = &scan, .into = into, .id = CATALOG_NONE};
    struct rows_to to = {&scan, add_to_aggregate, &aggregate};
    enum err err = scan_init(&scan, snapshot, query, limits);

    if (err != ERR_OK)
        return err;
    err = scan_regions(&scan, TIME_FIRST, collect_rows, &to);
    free(aggregate.fields);
    scan_fini(&scan);
    return err;
}

/* ---- Digests ------------------------------------------------------------------------------- */

struct digest_to {
    struct scan *scan;
    uint32_t id; /* Of the series whose key's hash is known. */
    uint64_t key_hash;
    uint64_t digest, rows;
};

/* Of (series key, field, time, value), where names and strings stand for themselves by their
 * hashes. */
static uint64_t value_hash(uint64_t series, uint64_t field, int64_t time_ns, uint64_t value)
{
    uint64_t words[4] = {series, field, (uint64_t)time_ns, value};

    return key_hash(words, sizeof words);
}

static enum err add_to_digest(void *arg, uint32_t id, const struct scan_chunk *chunk,
                              uint32_t start, uint32_t rows)
{
    struct digest_to *to = arg;

    if (id != to->id) {
        struct slice key = catalog_view_key(to->scan->snapshot->series, id);

        to->key_hash = key_hash(key.data, key.size);
        to->id = id;
    }
    for (uint32_t f = 0; f < chunk->field_count; f++) {
        const struct scan_values *values = &chunk->fields[f];
        struct slice name = to->scan->decode.columns[values->column].name;
        uint64_t field = key_hash(name.data, name.size);

        for (uint32_t i = start; i < start + rows; i++) {
            uint64_t bits = values->bits[i];

            if (!values->present[i])
                continue;
            if (values->text != NULL)
                bits = key_hash(values->text + (uint32_t)bits, (size_t)(bits >> 32));
            to->digest += value_hash(to->key_hash, field, chunk->times_ns[i], bits);
        }
    }
    to->rows += rows;
    return ERR_OK;
}

enum err scan_digest(const struct snapshot *snapshot, const struct scan_limits *limits,
                     uint64_t *ret_digest, uint64_t *ret_rows)
{
    struct scan scan;
    struct digest_to digest = {.scan = &scan, .id = CATALOG_NONE};
    struct rows_to to = {&scan, add_to_digest, &digest};
    enum err err = scan_init(&scan, snapshot, NULL, limits);

    if (err != ERR_OK)
        return err;
    err = scan_regions(&scan, TIME_FIRST, collect_rows, &to);
    scan_fini(&scan);
    if (err != ERR_OK)
        return err;
    *ret_digest = digest.digest;
    *ret_rows = digest.rows;
    return ERR_OK;
}
