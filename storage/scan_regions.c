#include "storage/scan_regions.h"

#include <inttypes.h>
#include <string.h>

enum err scan_regions_init(struct scan_regions *regions, const struct snapshot *snapshot,
                           const struct query *query, const struct scan_limits *limits)
{
    uint32_t fields = query != NULL && query->field_count > 0 ? query->field_count : 1;
    enum err err;

    *regions = (struct scan_regions){
        .query = query,
        .limits = limits,
        .row_size = 8 + 9 * (double)fields,
    };
    err = scan_match_find(snapshot->series, query, limits, &regions->match);
    if (err != ERR_OK)
        return err;
    err = scan_decode_init(&regions->decode, snapshot, query, limits, &regions->match);
    if (err != ERR_OK) {
        scan_match_fini(&regions->match);
        return err;
    }
    scan_collect_init(&regions->collect, &regions->decode, limits->memory_bytes);
    return ERR_OK;
}

void scan_regions_fini(struct scan_regions *regions)
{
    scan_collect_fini(&regions->collect);
    scan_decode_fini(&regions->decode);
    scan_match_fini(&regions->match);
}

/* Shrink a region to the times for which there are blocks. False: there are none. */
static bool clip(const struct scan_regions *regions, struct scan_region *region)
{
    int64_t first_ns = INT64_MAX, last_ns = INT64_MIN;
    bool found = false;

    for (uint32_t i = 0; i < regions->decode.snapshot->source_count; i++) {
        const struct snapshot_source *source = &regions->decode.snapshot->sources[i];

        if (!scan_decode_overlaps(&regions->decode, region, source))
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
static double estimate(const struct scan_regions *regions, const struct scan_region *region)
{
    const uint32_t *ids = regions->match.ids;
    double first = ids[region->lo], last = ids[region->hi - 1];
    double density = (double)(region->hi - region->lo) / (last - first + 1), rows = 0;

    for (uint32_t i = 0; i < regions->decode.snapshot->source_count; i++) {
        const struct snapshot_source *source = &regions->decode.snapshot->sources[i];

        if (scan_decode_overlaps(&regions->decode, region, source))
            rows += (double)source->rows * density *
                    share(first, last, source->series_min, source->series_max) *
                    share((double)region->from_ns, (double)region->last_ns,
                          (double)source->time_min_ns, (double)source->time_max_ns);
    }
    return rows * regions->row_size;
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
    if (region->only != NULL)
        halves[1].only = region->only + (middle - region->lo);
    return region->hi - region->lo > 1;
}

static bool split(const struct scan_region *region, enum scan_order order,
                  struct scan_region halves[2])
{
    switch (order) {
    case SCAN_BY_TIME:
        return split_time(region, halves) || split_series(region, halves);
    case SCAN_BY_SERIES:
        return split_series(region, halves) || split_time(region, halves);
    default:
        return split_series(region, halves);
    }
}

static enum err budget_too_small(const struct scan_regions *regions)
{
    return err_set(ERR_LIMIT,
                   "one row, with the blocks that overwrite it, needs more than the %" PRIu64
                   " bytes that a query may use: ask for fewer fields, or raise the limit",
                   regions->limits->memory_bytes);
}

/* What the query asks for, as one region. False: it asks for no time at all. */
static bool whole_region(const struct scan_regions *regions, struct scan_region *ret_region)
{
    const struct query *query = regions->query;
    int64_t cutoff_ns;

    *ret_region = (struct scan_region){
        .hi = regions->match.count, .from_ns = INT64_MIN, .last_ns = INT64_MAX};
    if (query == NULL)
        return true;
    cutoff_ns = snapshot_cutoff(regions->decode.snapshot,
                                (struct slice){query->database, strlen(query->database)});
    ret_region->from_ns = query->from_ns > cutoff_ns ? query->from_ns : cutoff_ns;
    if (query->to_ns != INT64_MAX)
        ret_region->last_ns = query->to_ns - 1;
    return ret_region->from_ns < query->to_ns;
}

enum err scan_regions_run_part(struct scan_regions *regions, const struct scan_region *part,
                               enum scan_order order, scan_regions_cb work, void *arg)
{
    /* A split takes one off and puts two on; series halve 32 times, times 64 times. */
    struct scan_region stack[128];
    uint32_t depth = 1;

    stack[0] = *part;
    while (depth > 0) {
        struct scan_region region = stack[--depth], halves[2];
        enum scan_fit fit = SCAN_FITS;
        bool can_split;

        if (!clip(regions, &region))
            continue;
        can_split = split(&region, order, halves);
        if (can_split && estimate(regions, &region) > (double)regions->limits->memory_bytes) {
            fit = SCAN_TOO_MANY_ROWS;
        } else {
            enum err err = work(arg, &region, &fit);

            if (err != ERR_OK)
                return err;
        }
        if (fit == SCAN_FITS)
            continue;
        if (fit == SCAN_TOO_MANY_SERIES)
            can_split = split(&region, SCAN_BY_SERIES, halves);
        if (!can_split)
            return budget_too_small(regions);
        stack[depth++] = halves[1];
        stack[depth++] = halves[0];
    }
    return ERR_OK;
}

enum err scan_regions_run(struct scan_regions *regions, enum scan_order order, scan_regions_cb work,
                          void *arg)
{
    struct scan_region whole;

    return whole_region(regions, &whole) ? scan_regions_run_part(regions, &whole, order, work, arg)
                                         : ERR_OK;
}

/* `twice` may be NULL. */
static enum err collect_region(struct scan_regions *regions, const struct scan_region *region,
                               scan_merge_cb take, void *arg, bool *twice, enum scan_fit *ret_fit)
{
    struct scan_collect *collect = &regions->collect;
    struct scan_merge merge;
    enum err err = scan_collect_region(collect, region);

    if (err != ERR_OK)
        return err;
    if (regions->row_size > 0 && collect->rows > 0)
        regions->row_size = (double)collect->used / (double)collect->rows;
    if (collect->full) {
        *ret_fit = SCAN_TOO_MANY_ROWS;
        return ERR_OK;
    }
    scan_merge_init(&merge, collect, take, arg);
    merge.twice = twice;
    err = scan_merge_run(&merge);
    scan_merge_fini(&merge);
    return err;
}

enum err scan_regions_collect(struct scan_regions *regions, const struct scan_region *region,
                              scan_merge_cb take, void *arg, enum scan_fit *ret_fit)
{
    return collect_region(regions, region, take, arg, NULL, ret_fit);
}

/* Takes rows from scan_merge. */
static enum err take_nothing(void *arg, uint32_t id, const struct scan_chunk *chunk, uint32_t start,
                             uint32_t rows)
{
    (void)arg;
    (void)id;
    (void)chunk;
    (void)start;
    (void)rows;
    return ERR_OK;
}

enum err scan_regions_find_twice(struct scan_regions *regions, const struct scan_region *region,
                                 bool *twice, enum scan_fit *ret_fit)
{
    enum err err;

    regions->collect.times_only = true;
    err = collect_region(regions, region, take_nothing, NULL, twice, ret_fit);
    regions->collect.times_only = false;
    return err;
}
