#include "storage/scan.h"

#include "storage/base/clk.h"
#include "storage/database_map.h"
#include "storage/scan_batch.h"
#include "storage/scan_last.h"
#include "storage/scan_regions.h"
#include "storage/scan_stream.h"

static bool is_set(const atomic_bool *flag)
{
    /* Relaxed: nothing else is handed over with it. */
    return flag != NULL && atomic_load_explicit(flag, memory_order_relaxed);
}

enum err scan_check(const struct scan_limits *limits)
{
    if (is_set(limits->cancel) || is_set(limits->stop))
        return err_set(ERR_CANCELED, "the query was canceled");
    if (limits->deadline_ns != 0 && clk_now_ns() > limits->deadline_ns)
        return err_set(ERR_TIMEOUT, "the query took too long: ask for a shorter time or fewer "
                                    "series, or allow it more time");
    return ERR_OK;
}

/* ---- Rows ---------------------------------------------------------------------------------- */

struct rows_to {
    struct scan_regions *regions;
    struct scan_last last; /* query->last alone. */
    struct scan_batch batch;
    struct scan_stream stream; /* Hands out to `batch`. */
    struct last_found *found;  /* Borrowed. NULL: nobody wants to know. */
};

static enum err all_rows(void *arg, const struct scan_region *region, enum scan_fit *ret_fit)
{
    struct rows_to *to = arg;

    if (scan_stream_fits(&to->regions->decode, region))
        return scan_stream_region(&to->stream, &to->regions->decode, region);
    return scan_regions_collect(to->regions, region, scan_batch_add, &to->batch, ret_fit);
}

static enum err last_rows(void *arg, const struct scan_region *region, enum scan_fit *ret_fit)
{
    struct rows_to *to = arg;
    enum err err = scan_last_region(&to->last, region);

    if (err != ERR_OK)
        return err;
    if (to->last.full) {
        *ret_fit = SCAN_TOO_MANY_SERIES;
        return ERR_OK;
    }
    if (to->found != NULL)
        scan_last_tell(&to->last, to->found);
    return scan_last_run(&to->last, scan_batch_add, &to->batch);
}

static enum err run_rows(struct rows_to *to)
{
    struct scan_regions *regions = to->regions;
    enum err err;

    if (!regions->query->last)
        return scan_regions_run(regions, SCAN_BY_SERIES, all_rows, to);
    regions->row_size = 0;
    scan_last_init(&to->last, &regions->decode, regions->limits->memory_bytes);
    err = scan_regions_run(regions, SCAN_WHOLE_SERIES, last_rows, to);
    scan_last_fini(&to->last);
    return err;
}

enum err scan_found(const struct snapshot *snapshot, const struct query *query,
                    const struct scan_limits *limits, scan_batch_cb take, void *arg,
                    struct query_place *ret_next, struct last_found *found)
{
    struct scan_regions regions;
    struct rows_to to = {.regions = &regions, .found = found};
    enum err err = scan_regions_init(&regions, snapshot, query, limits);

    if (err != ERR_OK)
        return err;
    if (found != NULL)
        last_found_series(found, regions.match.ids, regions.match.count);
    scan_batch_init(&to.batch, &regions.decode, take, arg);
    scan_stream_init(&to.stream, scan_batch_add, &to.batch);
    err = run_rows(&to);
    if (err == ERR_END && (to.batch.rows_left == 0 || to.batch.next.series != QUERY_PLACE_END))
        err = ERR_OK; /* The query's limit, or its page's. */
    if (err == ERR_OK)
        err = scan_batch_flush(&to.batch);
    scan_stream_fini(&to.stream);
    if (found != NULL) /* What a full page leaves out was not looked at. */
        found->failed |= to.batch.next.series != QUERY_PLACE_END;
    *ret_next = to.batch.next;
    scan_batch_fini(&to.batch);
    scan_regions_fini(&regions);
    return err;
}

enum err scan_page(const struct snapshot *snapshot, const struct query *query,
                   const struct scan_limits *limits, scan_batch_cb take, void *arg,
                   struct query_place *ret_next)
{
    return scan_found(snapshot, query, limits, take, arg, ret_next, NULL);
}

enum err scan_rows(const struct snapshot *snapshot, const struct query *query,
                   const struct scan_limits *limits, scan_batch_cb take, void *arg)
{
    struct query_place next;

    return scan_page(snapshot, query, limits, take, arg, &next);
}

/* ---- Digests ------------------------------------------------------------------------------- */

struct digest_to {
    struct scan_regions *regions;
    uint32_t id; /* Of the series whose key's hash and cutoff are known. */
    uint64_t key_hash;
    int64_t cutoff_ns;
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
        char room[CATALOG_KEY_ROOM];
        struct slice key = catalog_view_key(to->regions->decode.snapshot->series, id, room);

        to->key_hash = key_hash(key.data, key.size);
        to->cutoff_ns = snapshot_cutoff(to->regions->decode.snapshot, database_map_name(key));
        to->id = id;
    }
    while (rows > 0 && chunk->times_ns[start] < to->cutoff_ns) { /* Times ascend. */
        start++;
        rows--;
    }
    for (uint32_t f = 0; f < chunk->field_count; f++) {
        const struct scan_values *values = &chunk->fields[f];
        struct slice name = to->regions->decode.columns[values->column].name;
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

static enum err digest_region(void *arg, const struct scan_region *region, enum scan_fit *ret_fit)
{
    struct digest_to *to = arg;

    return scan_regions_collect(to->regions, region, add_to_digest, to, ret_fit);
}

enum err scan_digest(const struct snapshot *snapshot, const struct scan_limits *limits,
                     uint64_t *ret_digest, uint64_t *ret_rows)
{
    struct scan_regions regions;
    struct digest_to to = {.regions = &regions, .id = CATALOG_NONE};
    enum err err = scan_regions_init(&regions, snapshot, NULL, limits);

    if (err != ERR_OK)
        return err;
    err = scan_regions_run(&regions, SCAN_BY_TIME, digest_region, &to);
    scan_regions_fini(&regions);
    if (err != ERR_OK)
        return err;
    *ret_digest = to.digest;
    *ret_rows = to.rows;
    return ERR_OK;
}
