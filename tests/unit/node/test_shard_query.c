/*
 * A shard's part of a query: who may answer, how many scans run at a time, and that each question
 * is answered once, whoever leaves meanwhile. Group, router and pool are played; rows are a real
 * store's.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/shard_io.h"
#include "storage/base/metric.h"
#include "storage/block/columns.h"
#include "tests/support/replica.h"

enum { THREADS = 2, JOBS_MAX = 16, ROWS = 5 };

/* ---- What shard_query.c calls -------------------------------------------------------------- */

static struct pool_job *jobs[JOBS_MAX]; /* In the pool. */
static unsigned job_count, suspects;
static bool leads = true;
static enum err read_says;
static uint64_t read_token; /* Of the last group_read(). */

void worker_pool(struct worker *worker, struct pool_job *job)
{
    job->worker = worker;
    cr_assert_lt(job_count, JOBS_MAX);
    jobs[job_count++] = job;
}

bool shard_can_propose(const struct shard *shard, struct answer *ret_answer)
{
    (void)shard;
    if (!leads)
        *ret_answer = (struct answer){.code = ERR_NOT_LEADER, .leader = 2};
    return leads;
}

void group_state(const struct group *group, struct group_state *ret_state)
{
    (void)group;
    *ret_state = (struct group_state){.leading = leads, .silent_ms = 77};
}

enum err group_read(struct group *group, uint64_t token)
{
    (void)group;
    read_token = token;
    return read_says == ERR_OK ? ERR_OK : err_set(read_says, "told to");
}

void shard_suspect(struct shard *shard, enum err err)
{
    (void)shard;
    suspects += err == ERR_CORRUPT || err == ERR_IO;
}

void router_answer(struct worker *worker, struct route *route)
{
    (void)worker;
    route->done(route);
}

void router_fail(struct worker *worker, struct route *route, enum err code, uint32_t retry_ms)
{
    route->answer.code = code;
    route->answer.retry_ms = retry_ms;
    (void)snprintf(route->answer.text, sizeof route->answer.text, "%s", err_detail());
    router_answer(worker, route);
}

/* ---- A shard ------------------------------------------------------------------------------- */

static struct replica replica;
static struct node node;
static struct worker worker = {.node = &node};
static struct shard shard = {.worker = &worker, .number = 1};
static struct query query;
static unsigned done_count;
static struct answer last;
static uint64_t last_rows, last_stale_ms;

static void set_up(void)
{
    struct entries_value values[ROWS];

    for (int i = 0; i < ROWS; i++)
        values[i] = (struct entries_value){"cpu", "a", i, "v", FIELD_INT, 1, NULL, 0};
    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    replica_write(&replica, &(struct entries_from){0}, values, ROWS);
    node.options.pool_threads = THREADS;
    node.options.limits.query_bytes = 1 << 20;
    node.options.limits.query_time_ms = 60000;
    worker.scans_end = &worker.scans;
    shard.store = replica.store;
    query =
        (struct query){.database = "db", .table = "cpu", .from_ns = INT64_MIN, .to_ns = INT64_MAX};
}

/* All that was begun has ended. */
static void tear_down(void)
{
    cr_assert_eq(job_count, 0);
    cr_assert_null(worker.scans);
    cr_assert_eq(worker.scans_running, 0);
    cr_assert_null(shard.reads);
    cr_assert_eq(metric_sum(METRIC_SCAN_OPEN), 0);
    replica_fini(&replica);
}

TestSuite(shard_query, .init = set_up, .fini = tear_down);

static void done(struct route *route)
{
    struct query_request *request = (struct query_request *)route;

    done_count++;
    last = route->answer;
    last_rows = request->rows;
    last_stale_ms = request->stale_ms;
    for (uint32_t i = 0; i < request->part_count; i++)
        buf_unref(request->parts[i].bytes);
    free(request->parts);
    free(request);
}

static struct query_request *ask_of(struct shard *of, bool local)
{
    struct query_request *request = calloc(1, sizeof *request);

    request->route.done = done;
    request->query = &query;
    request->local = local;
    shard_query(of, request);
    return request;
}

static struct query_request *ask(void)
{
    return ask_of(&shard, false);
}

/* The pool has done the oldest job. */
static void run_job(void)
{
    struct pool_job *job = jobs[0];

    cr_assert_gt(job_count, 0);
    job_count--;
    memmove(jobs, jobs + 1, job_count * sizeof(struct pool_job *));
    job->run(job);
    job->done(job);
}

static void run_all(void)
{
    while (job_count > 0)
        run_job();
}

/* ---- Who may answer ------------------------------------------------------------------------ */

Test(shard_query, the_leader_answers_with_all_rows)
{
    (void)ask();
    cr_assert_eq(done_count, 0);
    run_all();
    cr_assert_eq(done_count, 1);
    cr_assert_eq(last.code, ERR_OK, "%s", last.text);
    cr_assert_eq(last_rows, ROWS);
    cr_assert_eq(last_stale_ms, 0);
}

Test(shard_query, who_does_not_lead_says_who_does_unless_any_will_do)
{
    leads = false;
    (void)ask();
    cr_assert_eq(done_count, 1);
    cr_assert_eq(last.code, ERR_NOT_LEADER);
    cr_assert_eq(last.leader, 2);
    (void)ask_of(&shard, true);
    run_all();
    cr_assert_eq(last.code, ERR_OK);
    cr_assert_eq(last_rows, ROWS);
    cr_assert_eq(last_stale_ms, 77, "as old as the leader's last word");
}

Test(shard_query, the_meta_group_has_no_rows)
{
    struct shard meta = {.worker = &worker};

    (void)ask_of(&meta, false);
    cr_assert_eq(last.code, ERR_INVALID);
    cr_assert_str_eq(last.text, "group 0 has no rows to query");
}

Test(shard_query, a_linearizable_one_waits_for_its_round)
{
    query.consistency = QUERY_LINEARIZABLE;
    (void)ask();
    (void)ask();
    cr_assert_eq(job_count, 0);
    shard_read_done(&shard, read_token, true);
    shard_read_done(&shard, read_token, true); /* It is over. */
    cr_assert_eq(job_count, 1);
    run_all();
    cr_assert_eq(last.code, ERR_OK);
    cr_assert_eq(done_count, 1);
    shard_read_done(&shard, read_token - 1, false);
    cr_assert_eq(done_count, 2);
    cr_assert_eq(last.code, ERR_UNAVAILABLE);
    cr_assert_str_eq(last.text, "shard 0: leadership is not confirmed");
    cr_assert_gt(last.retry_ms, 0);
    read_says = ERR_BUSY; /* There is no round for it. */
    (void)ask();
    cr_assert_eq(done_count, 3);
    cr_assert_eq(last.code, ERR_UNAVAILABLE);
}

Test(shard_query, all_rounds_end_with_leadership)
{
    query.consistency = QUERY_LINEARIZABLE;
    for (unsigned i = 0; i < 5; i++)
        (void)ask();
    shard_fail_reads(&shard);
    cr_assert_eq(done_count, 5);
    cr_assert_eq(last.code, ERR_UNAVAILABLE);
}

/* ---- The pool ------------------------------------------------------------------------------ */

Test(shard_query, no_more_scans_are_in_the_pool_than_it_has_threads)
{
    for (unsigned i = 0; i < 7; i++)
        (void)ask();
    for (unsigned left = 7; left > 0; left--) {
        cr_assert_eq(job_count, left < THREADS ? left : THREADS, "a seal would wait behind them");
        cr_assert_eq(metric_sum(METRIC_SCAN_OPEN), left);
        run_job();
    }
    cr_assert_eq(done_count, 7);
    cr_assert_eq(last_rows, ROWS);
}

Test(shard_query, what_nobody_waits_for_ends_before_its_turn)
{
    struct query_request *waiting[3];

    for (unsigned i = 0; i < THREADS; i++)
        (void)ask();
    for (unsigned i = 0; i < 3; i++)
        waiting[i] = ask();
    atomic_store(&waiting[0]->canceled, true);
    atomic_store(&waiting[2]->canceled, true); /* The last one: others come behind it. */
    shard_scan_tick(&worker);
    cr_assert_eq(done_count, 2);
    cr_assert_eq(last.code, ERR_CANCELED);
    cr_assert_eq(last.text[0], 's', "%s", last.text);
    (void)ask();
    run_all();
    cr_assert_eq(done_count, THREADS + 4);
    cr_assert_eq(last.code, ERR_OK);
    cr_assert_eq(metric_sum(METRIC_SCAN_CANCELED), 2);
}

Test(shard_query, a_scan_that_runs_ends_when_nobody_waits_for_it)
{
    struct query_request *request = ask();

    atomic_store(&request->canceled, true);
    run_all();
    cr_assert_eq(last.code, ERR_CANCELED);
    cr_assert_eq(last_rows, 0);
    cr_assert_eq(metric_sum(METRIC_SCAN_CANCELED), 1);
}

Test(shard_query, scans_end_when_the_node_has_no_more_time)
{
    (void)ask();
    atomic_store(&node.closing, true);
    run_all();
    cr_assert_eq(last.code, ERR_CANCELED);
    cr_assert_eq(metric_sum(METRIC_SCAN_CANCELED), 0, "somebody waited for it");
}

/* ---- What is wrong ------------------------------------------------------------------------- */

Test(shard_query, says_which_shard_could_not_answer)
{
    query.field_count = 1;
    query.fields[0] = "v";
    query.agg = QUERY_MEAN;
    node.options.limits.query_bytes = 2; /* Nothing fits. */
    (void)ask();
    run_all();
    cr_assert_eq(last.code, ERR_LIMIT, "%s", last.text);
    cr_assert_eq(strncmp(last.text, "shard 0: ", 9), 0, "%s", last.text);
    cr_assert_eq(suspects, 0);
}

Test(shard_query, damage_that_a_scan_meets_is_looked_for)
{
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    mem_disk_flip(replica.disk, "data/00000001.mrs", 100, 1);
    (void)ask();
    run_all();
    cr_assert_eq(last.code, ERR_CORRUPT);
    cr_assert_not_null(strstr(last.text, "data/00000001.mrs"), "%s", last.text);
    cr_assert_eq(suspects, 1);
    (void)ask(); /* Known by now: it does not come to the pool. */
    cr_assert_eq(job_count, 0);
    cr_assert_eq(last.code, ERR_CORRUPT);
    cr_assert_eq(done_count, 2);
}
