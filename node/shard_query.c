/*
 * A shard's part of a query: decide whether this replica may answer, answer what is known (last
 * values), or wait for a place in the pool, freeze a snapshot on the worker, scan it there, hand
 * the parts back.
 *
 *    shard_query() --linearizable--> group_read() --shard_read_done()--.
 *         |                                                            |
 *         '--leader, any------------------> answer_known() or start_scan() -pool-> answer
 */
#include <stdlib.h>
#include <string.h>

#include "node/shard_io.h"
#include "storage/aggregate.h"
#include "storage/base/clk.h"
#include "storage/base/metric.h"
#include "storage/scan_databases.h"
#include "storage/scan_labels.h"
#include "storage/snapshot.h"
#include "storage/store_damage.h"
#include "storage/store_last.h"

enum {
    RETRY_ROUND_MS = 20,
    PAGE_BYTES = 16 << 20,
    /* A page needs no more: what is collected beyond it would be collected again for the next. */
    PAGE_MEMORY = 4 * PAGE_BYTES,
};

struct read_wait {
    struct read_wait *next;
    uint64_t token;
    struct query_request *request;
};

struct scan_task {
    struct scan_task *next; /* In the worker's queue. */
    struct pool_job job;
    struct shard *shard;
    struct query_request *request;
    struct snapshot *snapshot;
    struct scan_limits limits;
    struct last_found found; /* Of last values, to know them the next time. */
    enum err err;
    struct err_note note;
};

/* ---- In the pool --------------------------------------------------------------------------- */

static enum err add_part(struct query_request *request, struct bytes *bytes, bool aggregate)
{
    struct query_part *parts =
        realloc(request->parts, (request->part_count + 1) * sizeof *request->parts);
    struct buf *buf = NULL;

    if (parts == NULL)
        return err_set(ERR_NO_MEMORY, "a part of a query's result");
    request->parts = parts; /* Whatever becomes of this one: the old place is gone. */
    if (!bytes->failed && bytes->size <= UINT32_MAX)
        buf = buf_new((uint32_t)bytes->size);
    if (buf == NULL)
        return err_set(ERR_NO_MEMORY, "%zu bytes of a query's result", bytes->size);
    memcpy(buf->bytes, bytes->data, bytes->size);
    buf->size = (uint32_t)bytes->size;
    request->parts[request->part_count++] = (struct query_part){buf, aggregate};
    request->bytes += bytes->size;
    return ERR_OK;
}

static enum err take_batch(void *arg, const struct columns *batch)
{
    struct query_request *request = arg;
    struct bytes bytes = {0};
    enum err err;

    columns_encode(batch, &bytes);
    err = add_part(request, &bytes, false);
    request->rows += batch->rows;
    bytes_fini(&bytes);
    return err;
}

static enum err scan_to_aggregate(struct scan_task *task)
{
    struct aggregate *aggregate;
    struct bytes bytes = {0};
    enum err err = aggregate_new(task->request->query, task->limits.memory_bytes, &aggregate);

    if (err != ERR_OK)
        return err;
    err = scan_aggregate(task->snapshot, task->request->query, &task->limits, aggregate);
    if (err == ERR_OK) {
        aggregate_encode(aggregate, &bytes);
        err = add_part(task->request, &bytes, true);
    }
    bytes_fini(&bytes);
    aggregate_free(aggregate);
    return err;
}

static void scan_in_pool(struct pool_job *job)
{
    struct scan_task *task = CONTAINER_OF(job, struct scan_task, job);

    if (task->request->query->agg != QUERY_RAW)
        task->err = scan_to_aggregate(task);
    else if (task->request->query->about == QUERY_DATABASES)
        task->err = scan_databases(task->snapshot, &task->limits, take_batch, task->request);
    else if (task->request->query->about != QUERY_ROWS)
        task->err = scan_labels(task->snapshot, task->request->query, &task->limits, take_batch,
                                task->request);
    else
        task->err = scan_found(task->snapshot, task->request->query, &task->limits, take_batch,
                               task->request, &task->request->next,
                               task->found.wanted ? &task->found : NULL);
    if (task->err != ERR_OK)
        err_save(&task->note, task->err);
}

/* ---- On the worker ------------------------------------------------------------------------- */

static void run_scans(struct worker *worker);

/* `err` is that of err_detail(). */
static void answer(struct shard *shard, struct query_request *request, enum err err)
{
    if (err != ERR_OK) {
        (void)err_wrap(err, "shard %u", shard->number - 1);
        router_fail(shard->worker, &request->route, err, 0);
    } else {
        router_answer(shard->worker, &request->route);
    }
}

static bool is_canceled(const struct scan_task *task)
{
    return atomic_load_explicit(&task->request->canceled, memory_order_relaxed);
}

static void end_scan(struct scan_task *task)
{
    metric_sub(METRIC_SCAN_OPEN, 1);
    metric_add(METRIC_SCAN_ENDED, 1);
    if (task->err == ERR_CANCELED && is_canceled(task))
        metric_add(METRIC_SCAN_CANCELED, 1);
    if (task->err != ERR_OK)
        (void)err_restore(&task->note);
    last_found_fini(&task->found);
    answer(task->shard, task->request, task->err);
    free(task);
}

/* Those that wait in vain end before their turn. */
static void drop_canceled(struct worker *worker)
{
    struct scan_task **at = &worker->scans;
    struct scan_task *gone = NULL, **gone_end = &gone;

    while (*at != NULL) {
        struct scan_task *task = *at;

        if (!is_canceled(task)) {
            at = &task->next;
            continue;
        }
        *at = task->next;
        task->next = NULL;
        *gone_end = task;
        gone_end = &task->next;
    }
    worker->scans_end = at;
    while (gone != NULL) {
        struct scan_task *task = gone;

        gone = task->next;
        task->err = err_set(ERR_CANCELED, "nobody waits for the answer");
        err_save(&task->note, task->err);
        end_scan(task);
    }
}

static void scan_finished(struct pool_job *job)
{
    struct scan_task *task = CONTAINER_OF(job, struct scan_task, job);
    struct worker *worker = task->shard->worker;

    snapshot_free(task->snapshot);
    worker->scans_running--;
    shard_suspect(task->shard, task->err);
    if (task->err == ERR_OK && store_is_blind(task->shard->store)) {
        /* It may have looked at what is damaged. */
        task->err = store_check_damage(task->shard->store, task->request->query);
        err_save(&task->note, task->err);
    }
    if (task->err == ERR_OK && task->found.wanted)
        store_last_learn(task->shard->store, task->request->query, &task->found);
    end_scan(task);
    run_scans(worker);
}

/* The pool has one queue for all, and seals stand in it, too: a worker puts no more scans in than
 * there are threads, so that a seal never waits behind all the questions of a site. */
static void run_scans(struct worker *worker)
{
    drop_canceled(worker);
    while (worker->scans != NULL && worker->scans_running < worker->node->options.pool_threads) {
        struct scan_task *task = worker->scans;

        worker->scans = task->next;
        if (worker->scans == NULL)
            worker->scans_end = &worker->scans;
        task->err = store_check_damage(task->shard->store, task->request->query);
        if (task->err == ERR_OK) {
            store_last_begin(task->shard->store, task->request->query, &task->found);
            task->snapshot = store_snapshot(task->shard->store);
            if (task->snapshot == NULL)
                task->err = err_set(ERR_NO_MEMORY, "a snapshot");
        }
        if (task->err != ERR_OK) {
            err_save(&task->note, task->err);
            end_scan(task);
            continue;
        }
        worker->scans_running++;
        worker_pool(worker, &task->job);
    }
}

static struct scan_limits limits_of(const struct shard *shard, struct query_request *request)
{
    const struct options_limits *limits = &shard->worker->node->options.limits;
    uint32_t timeout_ms = request->timeout_ms;
    struct scan_limits scan;

    if (timeout_ms == 0 || timeout_ms > limits->query_time_ms)
        timeout_ms = limits->query_time_ms;
    scan = (struct scan_limits){.memory_bytes = limits->query_bytes / 2,
                                .result_bytes = limits->query_bytes / 2,
                                .page_bytes = PAGE_BYTES,
                                .deadline_ns = clk_now_ns() + (uint64_t)timeout_ms * 1000000,
                                .cancel = &request->canceled,
                                .stop = &shard->worker->node->closing};
    if (request->query->page.on && scan.memory_bytes > PAGE_MEMORY)
        scan.memory_bytes = PAGE_MEMORY;
    return scan;
}

/* Last values that were asked for before: a few series at most, so it is done at once. */
static bool answer_known(struct shard *shard, struct query_request *request,
                         const struct scan_limits *limits)
{
    bool known;
    enum err err =
        store_last_query(shard->store, request->query, limits, take_batch, request, &known);

    if (!known)
        return false;
    metric_add(METRIC_LAST_KNOWN, 1);
    request->next = (struct query_place){.series = QUERY_PLACE_END};
    answer(shard, request, err);
    return true;
}

static void start_scan(struct shard *shard, struct query_request *request)
{
    struct scan_limits limits = limits_of(shard, request);
    struct scan_task *task;

    if (answer_known(shard, request, &limits))
        return;
    task = calloc(1, sizeof *task);
    if (task == NULL) {
        router_fail(shard->worker, &request->route,
                    err_set(ERR_NO_MEMORY, "shard %u: a scan", shard->number - 1), 1000);
        return;
    }
    *task = (struct scan_task){
        .job = {.run = scan_in_pool, .done = scan_finished},
        .shard = shard,
        .request = request,
        .limits = limits,
    };
    metric_add(METRIC_SCAN_OPEN, 1);
    *shard->worker->scans_end = task;
    shard->worker->scans_end = &task->next;
    run_scans(shard->worker);
}

void shard_scan_tick(struct worker *worker)
{
    drop_canceled(worker);
}

void shard_query(struct shard *shard, struct query_request *request)
{
    struct group_state state;
    struct read_wait *wait;
    uint64_t token;
    enum err err;

    if (shard->store == NULL) {
        router_fail(shard->worker, &request->route,
                    err_set(ERR_INVALID, "group 0 has no rows to query"), 0);
        return;
    }
    if (request->local) {
        /* What this replica has applied; it is as old as its leader's last word to it. */
        group_state(shard->group, &state);
        request->stale_ms = state.leading ? 0 : state.silent_ms;
        start_scan(shard, request);
        return;
    }
    if (!shard_can_propose(shard, &request->route.answer)) {
        router_answer(shard->worker, &request->route);
        return;
    }
    if (request->query->consistency != QUERY_LINEARIZABLE) {
        start_scan(shard, request);
        return;
    }
    wait = calloc(1, sizeof *wait);
    if (wait == NULL) {
        router_fail(shard->worker, &request->route, err_set(ERR_NO_MEMORY, "a linearizable read"),
                    RETRY_ROUND_MS);
        return;
    }
    token = ++shard->read_token;
    *wait = (struct read_wait){shard->reads, token, request};
    shard->reads = wait;
    err = group_read(shard->group, token); /* May be answered before it returns. */
    if (err != ERR_OK)
        shard_read_done(shard, token, false);
}

void shard_read_done(struct shard *shard, uint64_t token, bool ok)
{
    struct read_wait **at = &shard->reads;
    struct read_wait *wait;

    while (*at != NULL && (*at)->token != token)
        at = &(*at)->next;
    if (*at == NULL)
        return;
    wait = *at;
    *at = wait->next;
    if (ok)
        start_scan(shard, wait->request);
    else
        router_fail(
            shard->worker, &wait->request->route,
            err_set(ERR_UNAVAILABLE, "shard %u: leadership is not confirmed", shard->number - 1),
            RETRY_ROUND_MS);
    free(wait);
}

void shard_fail_reads(struct shard *shard)
{
    while (shard->reads != NULL)
        shard_read_done(shard, shard->reads->token, false);
}
