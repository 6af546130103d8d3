#include "node/query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/shard.h"
#include "storage/aggregate.h"
#include "storage/base/check.h"
#include "storage/base/clk.h"
#include "storage/base/metric.h"
#include "storage/block/columns.h"

enum {
    ASK_AGAIN_MS = 50,
    DAMAGED_MS_MAX = 2000, /* Files that are damaged at every node are mended by then, or never. */
};

struct shard_ask {
    struct query_request *request; /* Under way; NULL: not asked, or answered. */
    bool answered;
    uint32_t tries;      /* At nodes that did not answer it (consistency any). */
    uint64_t damaged_ms; /* Met damage first. */
    uint64_t again_ms;   /* Ask then. 0: not waiting to. */
};

struct query_run {
    struct query_run *next;
    struct worker *worker;
    struct message_query message;
    struct query_sink sink; /* end NULL: abandoned. */
    struct aggregate *aggregate;
    uint64_t started_ns, deadline_ms;
    uint64_t rows, bytes, stale_ms;
    struct query_place place; /* Behind a page. */
    uint32_t under_way, left;
    bool starting; /* Its shards are asked, or told: an answer must not end it meanwhile. */
    bool canceled; /* Those under way were told that nobody waits for them. */
    enum err code;
    char text[ERR_DETAIL_MAX];
    struct shard_ask shards[];
};

/* A request knows its run and shard. */
struct run_request {
    struct query_request request; /* First: freed as one. */
    struct query_run *run;
};

/* ---- The end ------------------------------------------------------------------------------- */

static void free_run(struct query_run *run)
{
    struct query_run **at = &run->worker->queries;

    while (*at != run)
        at = &(*at)->next;
    *at = run->next;
    run->worker->query_count--;
    if (run->aggregate != NULL)
        aggregate_free(run->aggregate);
    message_query_fini(&run->message);
    free(run);
}

static void fail(struct query_run *run, enum err code, const char *text)
{
    if (run->code != ERR_OK)
        return;
    run->code = code;
    (void)snprintf(run->text, sizeof run->text, "%s", text);
}

static void pass_columns(struct query_run *run, const struct columns *columns)
{
    struct bytes bytes = {0};
    struct buf *buf;

    columns_encode(columns, &bytes);
    buf = bytes.failed || bytes.size > FRAME_PAYLOAD_MAX ? NULL : buf_new((uint32_t)bytes.size);
    if (bytes.size > FRAME_PAYLOAD_MAX) {
        fail(run, ERR_LIMIT,
             "the result does not fit one answer; ask for less, or narrow the time");
    } else if (buf == NULL) {
        fail(run, ERR_NO_MEMORY, "no memory for the result");
    } else {
        memcpy(buf->bytes, bytes.data, bytes.size);
        buf->size = (uint32_t)bytes.size;
        run->sink.batch(run->sink.ctx, buf);
        buf_unref(buf);
    }
    bytes_fini(&bytes);
}

static void finish_aggregate(struct query_run *run)
{
    struct columns columns = {0};
    enum err err = aggregate_finish(run->aggregate, &columns);

    if (err != ERR_OK) {
        fail(run, err, err_detail());
        return;
    }
    run->rows = columns.rows;
    if (columns.rows > 0)
        pass_columns(run, &columns);
    columns_fini(&columns);
}

/* It has failed, or its asker is gone: what is still under way is for nothing. */
static void cancel_parts(struct query_run *run)
{
    run->canceled = true;
    run->starting = true; /* Some answer at once: that must not end it under us. */
    for (uint32_t i = 0; i < run->worker->node->shards; i++) {
        if (run->shards[i].request != NULL)
            router_cancel(run->worker, run->shards[i].request);
    }
    run->starting = false;
}

/* True: it has ended, and is gone. */
static bool end_if_done(struct query_run *run)
{
    struct message_query_end end;

    if (run->code != ERR_OK && run->under_way > 0 && !run->starting && !run->canceled)
        cancel_parts(run);
    if (run->under_way > 0 || run->starting || (run->left > 0 && run->code == ERR_OK))
        return false;
    if (run->sink.end != NULL) {
        if (run->code == ERR_OK && run->aggregate != NULL)
            finish_aggregate(run);
        metric_time(METRIC_TIME_QUERY, clk_now_ns() - run->started_ns);
        end = (struct message_query_end){.code = run->code,
                                         .rows = run->rows,
                                         .stale_ms = run->stale_ms,
                                         .text = {run->text, strlen(run->text)},
                                         .next = run->place};
        run->sink.end(run->sink.ctx, &end);
    }
    free_run(run);
    return true;
}

/* ---- A shard's answer ---------------------------------------------------------------------- */

static enum err take_rows(struct query_run *run, struct buf *bytes)
{
    uint64_t limit = run->message.query.limit;
    struct columns columns = {0};
    enum err err;

    if (bytes->size > FRAME_PAYLOAD_MAX)
        return err_set(ERR_LIMIT, "a row of %u bytes does not fit one answer; ask for fewer fields",
                       bytes->size);
    if (limit == 0) {
        run->sink.batch(run->sink.ctx, bytes);
        return ERR_OK;
    }
    if (run->rows >= limit)
        return ERR_OK;
    err = columns_decode(bytes->bytes, bytes->size, &columns);
    if (err != ERR_OK)
        return err;
    if (columns.rows > limit - run->rows)
        columns.rows = (uint32_t)(limit - run->rows);
    run->rows += columns.rows;
    pass_columns(run, &columns);
    columns_fini(&columns);
    return ERR_OK;
}

static void take_parts(struct query_run *run, struct query_request *request)
{
    uint64_t bytes_max = run->worker->node->options.limits.query_bytes;

    /* Rows wait in memory until the asker has read them. */
    run->bytes += request->bytes;
    if (run->bytes > bytes_max && run->aggregate == NULL) {
        (void)err_set(ERR_LIMIT,
                      "the result is larger than limits.query_bytes, %llu; ask for less at a time",
                      (unsigned long long)bytes_max);
        fail(run, ERR_LIMIT, err_detail());
    }
    if (run->message.query.limit == 0)
        run->rows += request->rows;
    run->place = request->next;
    if (request->stale_ms > run->stale_ms)
        run->stale_ms = request->stale_ms;
    for (uint32_t i = 0; i < request->part_count && run->code == ERR_OK; i++) {
        struct query_part *part = &request->parts[i];
        enum err err;

        if (part->aggregate != (run->aggregate != NULL))
            err = err_set(ERR_INVALID, "shard %u answered with the wrong kind of result",
                          request->shard);
        else if (part->aggregate)
            err = aggregate_merge(run->aggregate, part->bytes->bytes, part->bytes->size);
        else
            err = take_rows(run, part->bytes);
        if (err != ERR_OK)
            fail(run, err, err_detail());
    }
}

/* Canceled: the shard's node stops, and another one leads soon. Corrupt, i/o: files are damaged
 * there; another node answers instead, leads soon, or has mended them. */
static bool may_pass(const struct query_run *run, struct shard_ask *shard, enum err code,
                     uint64_t now_ms)
{
    const struct node *node = run->worker->node;
    uint32_t group = (uint32_t)(shard - run->shards) + 1;

    if (code != ERR_CORRUPT && code != ERR_IO)
        return code == ERR_NOT_LEADER || code == ERR_UNAVAILABLE || code == ERR_BUSY ||
               code == ERR_CANCELED;
    if (shard->damaged_ms == 0)
        shard->damaged_ms = now_ms;
    return node->options.cluster.node_count > 1 && (now_ms - shard->damaged_ms < DAMAGED_MS_MAX ||
                                                    !shard_is_damaged_everywhere(node, group));
}

/* Which node's replica to ask, where any will do: this one at first, then the others, one after the
 * other. 0: this one. */
static uint64_t next_node(const struct query_run *run, uint32_t tries)
{
    const struct node *node = run->worker->node;
    uint32_t count = node->options.cluster.node_count;
    uint32_t own = (uint32_t)node_find_server(node, node->server);
    uint64_t server = node->options.cluster.nodes[(own + tries) % count].id;

    return server == node->server ? 0 : server;
}

static void shard_answered(struct route *route)
{
    struct run_request *asked = (struct run_request *)route;
    struct query_run *run = asked->run;
    struct shard_ask *shard = &run->shards[asked->request.shard];
    const struct answer *answer = &route->answer;
    uint64_t now_ms = worker_now_ms();

    shard->request = NULL;
    run->under_way--;
    if (answer->code == ERR_OK) {
        shard->answered = true;
        run->left--;
        if (run->sink.end != NULL)
            take_parts(run, &asked->request);
    } else if (may_pass(run, shard, answer->code, now_ms) &&
               now_ms + ASK_AGAIN_MS < run->deadline_ms && run->code == ERR_OK &&
               run->sink.end != NULL) {
        shard->again_ms = now_ms + ASK_AGAIN_MS;
        shard->tries++;
    } else {
        fail(run, answer->code == ERR_NOT_LEADER ? ERR_UNAVAILABLE : answer->code, answer->text);
    }
    router_free_query(&asked->request);
    (void)end_if_done(run);
}

static void ask_shard(struct query_run *run, uint32_t number, uint64_t now_ms)
{
    struct run_request *asked = calloc(1, sizeof *asked);

    run->shards[number].again_ms = 0;
    if (asked == NULL) {
        fail(run, ERR_NO_MEMORY, "no memory to ask a shard");
        return;
    }
    asked->run = run;
    asked->request.route =
        (struct route){.kind = ROUTE_QUERY, .origin = run->worker, .done = shard_answered};
    asked->request.shard = number;
    asked->request.query = &run->message.query;
    asked->request.timeout_ms =
        (uint32_t)(run->deadline_ms > now_ms ? run->deadline_ms - now_ms : 1);
    asked->request.local = run->message.query.consistency == QUERY_ANY;
    if (asked->request.local)
        asked->request.at = next_node(run, run->shards[number].tries);
    run->shards[number].request = &asked->request;
    run->under_way++;
    router_query(run->worker, &asked->request);
}

/* ---- Starting ------------------------------------------------------------------------------ */

static enum err check(const struct query *query, uint32_t shards)
{
    if (query->about < QUERY_TABLES && (query->table == NULL || query->table[0] == '\0'))
        return err_set(ERR_INVALID, "a query names no table");
    if (query->page.on && query->page.shard >= shards)
        return err_set(ERR_INVALID, "a page of shard %u: there are %u", query->page.shard, shards);
    if (query->database == NULL || query->database[0] == '\0')
        return err_set(ERR_INVALID, "a query names no database");
    if (query->agg >= QUERY_AGG_END || query->consistency > QUERY_ANY)
        return err_set(ERR_INVALID, "aggregate %u or consistency %u is unknown", query->agg,
                       query->consistency);
    if (query->from_ns >= query->to_ns)
        return err_set(ERR_INVALID, "from (%lld) is not before to (%lld)",
                       (long long)query->from_ns, (long long)query->to_ns);
    if (query->every_ns < 0 || (query->every_ns > 0 && query->agg == QUERY_RAW))
        return err_set(ERR_INVALID, "every goes with an aggregate, and is positive");
    if (query->last && query->agg != QUERY_RAW)
        return err_set(ERR_INVALID, "last goes without an aggregate");
    return ERR_OK;
}

enum err query_start(struct worker *worker, struct message_query *message,
                     const struct query_sink *sink, struct query_run **ret_run)
{
    const struct options_limits *limits = &worker->node->options.limits;
    uint32_t shards = worker->node->shards;
    uint32_t timeout_ms = message->timeout_ms;
    struct query_run *run;
    enum err err = check(&message->query, shards);

    if (err == ERR_OK && worker->query_count >= QUERY_RUNS_MAX)
        err = err_set(ERR_BUSY, "%d queries run already", (int)QUERY_RUNS_MAX);
    run = err == ERR_OK ? calloc(1, sizeof *run + shards * sizeof run->shards[0]) : NULL;
    if (err == ERR_OK && run == NULL)
        err = err_set(ERR_NO_MEMORY, "a query");
    if (err == ERR_OK && message->query.agg != QUERY_RAW) {
        run->message = *message; /* The aggregate keeps a pointer to the query. */
        err = aggregate_new(&run->message.query, limits->query_bytes / 2, &run->aggregate);
        if (err != ERR_OK)
            free(run);
    }
    if (err != ERR_OK) {
        message_query_fini(message);
        return err;
    }
    if (timeout_ms == 0 || timeout_ms > limits->query_time_ms)
        timeout_ms = limits->query_time_ms;
    run->worker = worker;
    run->message = *message;
    run->sink = *sink;
    run->started_ns = clk_now_ns();
    run->deadline_ms = worker_now_ms() + timeout_ms;
    run->left = message->query.page.on ? 1 : shards;
    run->starting = true;
    run->next = worker->queries;
    worker->queries = run;
    worker->query_count++;
    for (uint32_t i = 0; i < shards && run->code == ERR_OK; i++)
        if (!run->message.query.page.on || run->message.query.page.shard == i)
            ask_shard(run, i, worker_now_ms());
    run->starting = false;
    *ret_run = end_if_done(run) ? NULL : run;
    return ERR_OK;
}

void query_abandon(struct query_run *run)
{
    run->sink.end = NULL;
    metric_add(METRIC_QUERY_CANCELED, 1);
    fail(run, ERR_CANCELED, "the asker is gone");
    (void)end_if_done(run);
}

void query_tick(struct worker *worker, uint64_t now_ms)
{
    struct query_run *next;

    shard_scan_tick(worker);
    for (struct query_run *run = worker->queries; run != NULL; run = next) {
        next = run->next;
        run->starting = true; /* An answer that comes at once must not end it under us. */
        for (uint32_t i = 0; i < worker->node->shards && run->code == ERR_OK; i++) {
            if (run->shards[i].again_ms != 0 && run->shards[i].again_ms <= now_ms)
                ask_shard(run, i, now_ms);
        }
        run->starting = false;
        (void)end_if_done(run);
    }
}
