/*
 * A query of the whole site: every shard is asked until it has answered or the time is up, and the
 * asker is told once. Routers, shards and the clock are played.
 */
#include "node/query.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/shard.h"
#include "storage/base/buf.h"
#include "storage/block/columns.h"

enum { SHARDS = 3, HERE = 2, HELD_MAX = 64, QUERY_MS = 5000 };

/* ---- What a query calls -------------------------------------------------------------------- */

static uint64_t now_ms = 1000;
static struct query_request *held[HELD_MAX]; /* Asked, and not answered. */
static unsigned held_count, asked_total, canceled_count;
static bool at_once;         /* Answer from within router_query(), */
static enum err at_once_how; /* with that. */
static bool damaged_everywhere;

uint64_t worker_now_ms(void)
{
    return now_ms;
}

int node_find_server(const struct node *node, uint64_t server)
{
    for (uint32_t i = 0; i < node->options.cluster.node_count; i++)
        if (node->options.cluster.nodes[i].id == server)
            return (int)i;
    return -1;
}

bool shard_is_damaged_everywhere(const struct node *node, uint32_t group)
{
    (void)node;
    cr_assert_geq(group, 1);
    return damaged_everywhere;
}

void shard_scan_tick(struct worker *worker)
{
    (void)worker;
}

void router_free_query(struct query_request *request)
{
    for (uint32_t i = 0; i < request->part_count; i++)
        buf_unref(request->parts[i].bytes);
    free(request->parts);
    free(request);
}

static void end_request(struct query_request *request, enum err code)
{
    request->route.answer.code = code;
    (void)snprintf(request->route.answer.text, sizeof request->route.answer.text, "shard %u: %s",
                   request->shard, err_name(code));
    request->route.done(&request->route);
}

void router_query(struct worker *worker, struct query_request *request)
{
    (void)worker;
    asked_total++;
    if (at_once) {
        end_request(request, at_once_how);
        return;
    }
    cr_assert_lt(held_count, HELD_MAX);
    held[held_count++] = request;
}

static struct query_request *take(unsigned at)
{
    struct query_request *request = held[at];

    cr_assert_lt(at, held_count);
    held_count--;
    memmove(held + at, held + at + 1, (held_count - at) * sizeof(struct query_request *));
    return request;
}

void router_cancel(struct worker *worker, struct query_request *request)
{
    unsigned at = 0;

    (void)worker;
    while (at < held_count && held[at] != request)
        at++;
    canceled_count++;
    end_request(take(at), ERR_CANCELED);
}

/* ---- The asker ----------------------------------------------------------------------------- */

static struct node node = {.server = HERE, .shards = SHARDS, .groups = SHARDS + 1};
static struct worker worker = {.node = &node};
static unsigned end_count, batch_count;
static uint64_t batch_rows;
static struct message_query_end end;
static char end_text[ERR_DETAIL_MAX];
static struct query_run *run;

static void set_up(void)
{
    node.options.cluster.node_count = 3;
    for (uint32_t i = 0; i < 3; i++)
        node.options.cluster.nodes[i].id = i + 1;
    node.options.limits.query_bytes = 1 << 20;
    node.options.limits.query_time_ms = QUERY_MS;
}

static void tear_down(void)
{
    cr_assert_eq(held_count, 0);
    cr_assert_null(worker.queries);
    cr_assert_eq(worker.query_count, 0);
}

TestSuite(query, .init = set_up, .fini = tear_down);

static void batch_cb(void *ctx, struct buf *bytes)
{
    struct columns columns = {0};

    (void)ctx;
    cr_assert_eq(end_count, 0, "behind the end");
    cr_assert_eq(columns_decode(bytes->bytes, bytes->size, &columns), ERR_OK, "%s", err_detail());
    batch_count++;
    batch_rows += columns.rows;
    columns_fini(&columns);
}

static void end_cb(void *ctx, const struct message_query_end *of)
{
    (void)ctx;
    end_count++;
    end = *of;
    (void)snprintf(end_text, sizeof end_text, "%.*s", (int)of->text.size, of->text.data);
    run = NULL;
}

static struct message_query plain(void)
{
    return (struct message_query){
        .query = {.database = "db", .table = "t", .from_ns = INT64_MIN, .to_ns = INT64_MAX}};
}

static enum err start(struct message_query message)
{
    static const struct query_sink sink = {.batch = batch_cb, .end = end_cb};

    return query_start(&worker, &message, &sink, &run);
}

static void start_good(struct message_query message)
{
    cr_assert_eq(start(message), ERR_OK, "%s", err_detail());
}

/* Rows as a shard sends them. */
static void add_rows(struct query_request *request, uint32_t rows)
{
    struct columns columns = {0};
    struct bytes bytes = {0};
    struct buf *buf;
    uint32_t at;

    cr_assert_eq(columns_column(&columns, (struct slice){"time", 4}, COLUMN_TIME, FIELD_INT, &at),
                 ERR_OK);
    for (uint32_t i = 0; i < rows; i++) {
        cr_assert_eq(columns_row(&columns), ERR_OK);
        columns_set(&columns, at, i);
    }
    columns_encode(&columns, &bytes);
    columns_fini(&columns);
    buf = buf_new((uint32_t)bytes.size);
    memcpy(buf->bytes, bytes.data, bytes.size);
    buf->size = (uint32_t)bytes.size;
    bytes_fini(&bytes);
    request->parts = realloc(request->parts, (request->part_count + 1) * sizeof *request->parts);
    request->parts[request->part_count++] = (struct query_part){buf, false};
    request->rows += rows;
    request->bytes += buf->size;
}

static void answer(unsigned at, enum err code)
{
    end_request(take(at), code);
}

static void answer_rows(unsigned at, uint32_t rows)
{
    struct query_request *request = take(at);

    add_rows(request, rows);
    end_request(request, ERR_OK);
}

static void tick(uint64_t ms)
{
    now_ms += ms;
    query_tick(&worker, now_ms);
}

/* ---- Answers ------------------------------------------------------------------------------- */

Test(query, asks_every_shard_and_passes_rows_on_as_they_come)
{
    start_good(plain());
    cr_assert_eq(held_count, SHARDS);
    for (uint32_t i = 0; i < SHARDS; i++) {
        cr_assert_eq(held[i]->shard, i);
        cr_assert_eq(held[i]->timeout_ms, QUERY_MS);
        cr_assert_not(held[i]->local);
    }
    answer_rows(1, 5);
    cr_assert_eq(batch_rows, 5);
    held[0]->stale_ms = 7;
    answer_rows(0, 2);
    cr_assert_eq(end_count, 0);
    answer(0, ERR_OK);
    cr_assert_eq(end_count, 1);
    cr_assert_eq(end.code, ERR_OK);
    cr_assert_eq(end.rows, 7);
    cr_assert_eq(end.stale_ms, 7);
}

Test(query, a_page_is_asked_of_its_shard_alone)
{
    struct message_query message = plain();

    message.query.page = (struct query_page){.on = true, .shard = 2, .series_last = UINT32_MAX};
    start_good(message);
    cr_assert_eq(held_count, 1);
    cr_assert_eq(held[0]->shard, 2);
    held[0]->next = (struct query_place){5, 77};
    answer_rows(0, 3);
    cr_assert_eq(end.next.series, 5);
    cr_assert_eq(end.next.time_ns, 77);
    message.query.page.shard = SHARDS;
    cr_assert_eq(start(message), ERR_INVALID);
    cr_assert_str_eq(err_detail(), "a page of shard 3: there are 3");
}

Test(query, cuts_rows_at_the_limit_that_was_asked_for)
{
    struct message_query message = plain();

    message.query.limit = 6;
    start_good(message);
    answer_rows(0, 4);
    answer_rows(0, 4);
    answer_rows(0, 4);
    cr_assert_eq(batch_rows, 6);
    cr_assert_eq(batch_count, 2);
    cr_assert_eq(end.rows, 6);
}

Test(query, may_end_before_query_start_returns)
{
    at_once = true;
    start_good(plain());
    cr_assert_null(run);
    cr_assert_eq(end_count, 1);
    cr_assert_eq(end.code, ERR_OK);
    at_once_how = ERR_LIMIT;
    start_good(plain());
    cr_assert_null(run);
    cr_assert_eq(end_count, 2);
    cr_assert_eq(end.code, ERR_LIMIT);
    cr_assert_eq(asked_total, SHARDS + 1, "the first one's error ends it");
}

/* ---- Asking again -------------------------------------------------------------------------- */

Test(query, asks_again_where_nobody_leads_for_the_moment)
{
    static const enum err passing[] = {ERR_NOT_LEADER, ERR_UNAVAILABLE, ERR_BUSY, ERR_CANCELED};

    start_good(plain());
    answer(1, ERR_OK);
    answer(1, ERR_OK);
    for (size_t i = 0; i < sizeof passing / sizeof *passing; i++) {
        answer(0, passing[i]);
        tick(49);
        cr_assert_eq(held_count, 0);
        tick(1);
        cr_assert_eq(held_count, 1);
        cr_assert_eq(held[0]->shard, 0);
    }
    cr_assert_eq(held[0]->timeout_ms, QUERY_MS - 4 * 50, "what is left of its time");
    answer_rows(0, 1);
    cr_assert_eq(end.code, ERR_OK);
    cr_assert_eq(end.rows, 1);
}

Test(query, gives_up_when_its_time_is_up)
{
    struct message_query message = plain();

    message.timeout_ms = 200;
    start_good(message);
    answer(1, ERR_OK);
    answer(1, ERR_OK);
    while (end_count == 0) {
        cr_assert_eq(held_count, 1);
        answer(0, ERR_NOT_LEADER);
        tick(60);
    }
    cr_assert_eq(end.code, ERR_UNAVAILABLE, "who leads is not the asker's business");
    cr_assert_str_eq(end_text, "shard 0: not leader");
    cr_assert_leq(now_ms, 1000 + 200 + 60);
    message.timeout_ms = UINT32_MAX; /* No more than the node allows. */
    start_good(message);
    cr_assert_eq(held[0]->timeout_ms, QUERY_MS);
    query_abandon(run);
}

/* Another node answers instead, or has mended them soon. */
Test(query, asks_again_where_files_are_damaged_unless_they_are_everywhere)
{
    start_good(plain());
    answer(1, ERR_OK);
    answer(1, ERR_OK);
    damaged_everywhere = true;
    answer(0, ERR_CORRUPT);
    tick(50);
    answer(0, ERR_IO);
    cr_assert_eq(end_count, 0, "it may be mended by now");
    damaged_everywhere = false;
    tick(3000);
    answer(0, ERR_CORRUPT);
    cr_assert_eq(end_count, 0);
    tick(50);
    damaged_everywhere = true;
    answer(0, ERR_CORRUPT);
    cr_assert_eq(end_count, 1);
    cr_assert_eq(end.code, ERR_CORRUPT);
}

Test(query, one_node_alone_has_nobody_to_ask_instead)
{
    node.options.cluster.node_count = 1;
    node.options.cluster.nodes[0].id = HERE;
    start_good(plain());
    answer(0, ERR_CORRUPT);
    cr_assert_eq(end.code, ERR_CORRUPT);
}

Test(query, any_replica_will_do_the_own_one_first)
{
    static const uint64_t nodes[] = {0, 3, 1, 0}; /* 0: this one, which is 2. */
    struct message_query message = plain();

    message.query.consistency = QUERY_ANY;
    start_good(message);
    answer(1, ERR_OK);
    answer(1, ERR_OK);
    for (size_t i = 0; i < 4; i++) {
        cr_assert(held[0]->local);
        cr_assert_eq(held[0]->at, nodes[i], "try %zu: %lu", i, (unsigned long)held[0]->at);
        answer(0, ERR_UNAVAILABLE);
        tick(50);
    }
    answer(0, ERR_OK);
    cr_assert_eq(end.code, ERR_OK);
}

/* ---- Failing ------------------------------------------------------------------------------- */

Test(query, one_shards_error_ends_the_others)
{
    start_good(plain());
    answer(1, ERR_LIMIT);
    cr_assert_eq(canceled_count, 2);
    cr_assert_eq(held_count, 0);
    cr_assert_eq(end_count, 1);
    cr_assert_eq(end.code, ERR_LIMIT);
    cr_assert_str_eq(end_text, "shard 1: limit");
}

Test(query, has_no_result_that_is_larger_than_allowed)
{
    start_good(plain());
    held[0]->bytes = 1 << 20;
    answer(0, ERR_OK);
    cr_assert_eq(end_count, 0);
    answer_rows(0, 1);
    cr_assert_eq(end.code, ERR_LIMIT);
    cr_assert_not_null(strstr(end_text, "larger than limits.query_bytes, 1048576"), "%s", end_text);
    cr_assert_eq(batch_count, 0);
}

Test(query, takes_no_rows_for_an_aggregate)
{
    struct message_query message = plain();

    message.query.agg = QUERY_COUNT;
    start_good(message);
    answer_rows(1, 1);
    cr_assert_eq(end.code, ERR_INVALID);
    cr_assert_str_eq(end_text, "shard 1 answered with the wrong kind of result");
}

Test(query, who_left_is_told_nothing_and_his_scans_end)
{
    start_good(plain());
    answer_rows(0, 1);
    query_abandon(run);
    cr_assert_eq(canceled_count, 2);
    cr_assert_eq(end_count, 0);
    cr_assert_eq(batch_count, 1);
    start_good(plain()); /* One that is to be asked again, and nothing under way. */
    while (held_count > 0)
        answer(0, ERR_UNAVAILABLE);
    query_abandon(run);
    cr_assert_null(worker.queries);
    tick(100);
    cr_assert_eq(held_count, 0);
    cr_assert_eq(end_count, 0);
}

/* ---- Refusals ------------------------------------------------------------------------------ */

Test(query, refuses_what_makes_no_sense)
{
    static const struct {
        const char *says;
        struct query query;
    } bad[] = {
        {"a query names no table", {.database = "db", .to_ns = 1}},
        {"a query names no table", {.database = "db", .table = "", .to_ns = 1}},
        {"a query names no database", {.table = "t", .to_ns = 1}},
        {"aggregate 8 or consistency 0 is unknown",
         {.database = "db", .table = "t", .to_ns = 1, .agg = QUERY_AGG_END}},
        {"aggregate 0 or consistency 3 is unknown",
         {.database = "db", .table = "t", .to_ns = 1, .consistency = 3}},
        {"from (5) is not before to (5)",
         {.database = "db", .table = "t", .from_ns = 5, .to_ns = 5}},
        {"every goes with an aggregate, and is positive",
         {.database = "db", .table = "t", .to_ns = 1, .every_ns = 1}},
        {"every goes with an aggregate, and is positive",
         {.database = "db", .table = "t", .to_ns = 1, .agg = QUERY_MEAN, .every_ns = -1}},
        {"last goes without an aggregate",
         {.database = "db", .table = "t", .to_ns = 1, .agg = QUERY_MEAN, .last = true}},
    };

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        cr_assert_eq(start((struct message_query){.query = bad[i].query}), ERR_INVALID);
        cr_assert_str_eq(err_detail(), bad[i].says);
    }
    cr_assert_eq(asked_total, 0);
}

Test(query, has_an_end_to_queries_at_one_time)
{
    struct query_run *runs[QUERY_RUNS_MAX];

    node.shards = 1;
    for (unsigned i = 0; i < QUERY_RUNS_MAX; i++) {
        start_good(plain());
        runs[i] = run;
    }
    cr_assert_eq(start(plain()), ERR_BUSY);
    cr_assert_str_eq(err_detail(), "64 queries run already");
    for (unsigned i = 0; i < QUERY_RUNS_MAX; i++) /* In another order than they began. */
        query_abandon(runs[(i * 7) % QUERY_RUNS_MAX]);
    start_good(plain());
    query_abandon(run);
}
