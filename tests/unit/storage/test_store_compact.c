/*
 * A store's compactions as its worker sees them: when one is wanted, what may be taken in that
 * others have made, and what the leader leaves alone. What a merge makes is in test_compact.c.
 */
#include "storage/store_compact.h"

#include <criterion/criterion.h>
#include <string.h>

#include "storage/store_internal.h"
#include "tests/support/replica.h"

static struct replica replica;

static void write_and_seal(int64_t time_ns)
{
    struct entries_value value = {"cpu", "a", time_ns, "v", FIELD_INT, 1, NULL, 0};

    replica_write(&replica, &(struct entries_from){0}, &value, 1);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
}

/* Segments 1 to 4 of one row each. */
static void set_up(void)
{
    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    for (int64_t i = 0; i < 4; i++)
        write_and_seal(i);
}

static void tear_down(void)
{
    replica_fini(&replica);
}

TestSuite(store_compact, .init = set_up, .fini = tear_down);

static void order(uint64_t first, uint64_t second)
{
    struct seal_compaction compaction = {.count = 2, .inputs = {first, second}};
    enum store_outcome outcome;

    cr_assert_eq(replica_apply(&replica, entries_compact(0, 0, &compaction, 1), &outcome), ERR_OK,
                 "%s", err_detail());
}

static struct compact_job *begin(void)
{
    struct compact_job *job = NULL;

    cr_assert_eq(store_compact_begin(replica.store, &job), ERR_OK, "%s", err_detail());
    return job;
}

static void finish(struct compact_job *job)
{
    store_compact_ready(replica.store, job);
    cr_assert_eq(compact_adopt(job), ERR_OK, "%s", err_detail());
    store_compact_done(replica.store, job, false);
}

/* ---- When ---------------------------------------------------------------------------------- */

Test(store_compact, one_is_wanted_at_a_time)
{
    struct compact_job *job;

    cr_assert_not(store_wants_compaction(replica.store));
    order(1, 2);
    order(3, 4);
    cr_assert(store_wants_compaction(replica.store));
    job = begin();
    cr_assert_eq(job->number, 5, "the oldest first");
    cr_assert_eq(job->input_count, 2);
    cr_assert_not(store_wants_compaction(replica.store));
    cr_assert_eq(compact_run(job), ERR_OK, "%s", err_detail());
    finish(job);
    cr_assert(store_wants_compaction(replica.store));
    cr_assert_eq(replica_compact(&replica), ERR_OK);
    cr_assert_not(store_wants_compaction(replica.store));
}

Test(store_compact, one_that_failed_is_wanted_again_later)
{
    order(1, 2);
    store_compact_done(replica.store, begin(), true);
    cr_assert_not(store_wants_compaction(replica.store), "a full disk does not get better faster");
    replica.store->compact_retry_ns = 0; /* Some seconds later. */
    cr_assert(store_wants_compaction(replica.store));
    cr_assert_eq(replica_compact(&replica), ERR_OK, "%s", err_detail());
}

/* ---- What others have made ----------------------------------------------------------------- */

/* What comes of 1 and 2, as another replica makes it: opened from this one's disk. */
static struct segment *fetched(void)
{
    struct compact_job *job = begin();
    struct segment_info info;
    struct segment *segment;

    cr_assert_eq(compact_run(job), ERR_OK, "%s", err_detail());
    info = job->info;
    cr_assert_eq(segment_open(replica.options.disk, "data", 0, &info, &segment), ERR_OK, "%s",
                 err_detail());
    store_compact_done(replica.store, job, true);
    return segment;
}

Test(store_compact, takes_in_what_others_have_made)
{
    struct compact_job *job;
    struct store_stats stats;

    order(1, 2);
    cr_assert_eq(store_compact_fetched(replica.store, 5, fetched(), &job), ERR_OK, "%s",
                 err_detail());
    finish(job);
    store_stats(replica.store, &stats);
    cr_assert_eq(stats.segments, 3);
    cr_assert_eq(stats.segment_rows, 4);
    cr_assert_eq(stats.compactions, 0);
}

Test(store_compact, takes_in_that_nothing_was_left)
{
    struct compact_job *job;
    struct store_stats stats;

    order(1, 2);
    cr_assert_eq(store_compact_fetched(replica.store, 5, NULL, &job), ERR_OK, "%s", err_detail());
    finish(job);
    store_stats(replica.store, &stats);
    cr_assert_eq(stats.segments, 2);
    cr_assert_eq(stats.compactions, 0);
}

Test(store_compact, takes_nothing_in_that_was_not_ordered)
{
    struct compact_job *job = NULL;
    struct segment *segment;

    order(1, 2);
    segment = fetched();
    cr_assert_eq(store_compact_fetched(replica.store, 6, segment_ref(segment), &job),
                 ERR_NOT_FOUND);
    cr_assert_not_null(strstr(err_detail(), "segment 6 is not to be made"), "%s", err_detail());
    /* A good file of the right name, made of other rows. */
    replica.store->compactions.items[0].info.time_max_ns = 0;
    cr_assert_eq(store_compact_fetched(replica.store, 5, segment_ref(segment), &job), ERR_INVALID);
    cr_assert_not_null(strstr(err_detail(), "segment 5 is not what was ordered"), "%s",
                       err_detail());
    replica.store->compactions.items[0].info.time_max_ns = 1;
    cr_assert_null(job);
    cr_assert_eq(store_compact_fetched(replica.store, 5, segment, &job), ERR_OK, "%s",
                 err_detail());
    finish(job);
    cr_assert_eq(store_compact_fetched(replica.store, 5, NULL, &job), ERR_NOT_FOUND, "it is made");
}

Test(store_compact, takes_nothing_in_while_one_is_made_here)
{
    struct compact_job *own, *job = NULL;
    struct segment *segment;

    order(1, 2);
    segment = fetched();
    own = begin();
    cr_assert_eq(store_compact_fetched(replica.store, 5, segment, &job), ERR_BUSY);
    cr_assert_eq(compact_run(own), ERR_OK, "%s", err_detail());
    finish(own);
}

/* ---- The leader's choice ------------------------------------------------------------------- */

Test(store_compact, nothing_is_planned_around_what_is_not_made_yet)
{
    const struct compact_rules rules = {.fanout = 2, .bytes_max = 1 << 30, .now_ns = INT64_MIN};
    struct seal_compaction compactions[SEAL_COMPACTIONS_MAX];
    uint32_t count = 9;

    cr_assert_eq(store_plan_compactions(replica.store, &rules, compactions, &count), ERR_OK);
    cr_assert_gt(count, 0);
    order(1, 2);
    cr_assert_eq(store_plan_compactions(replica.store, &rules, compactions, &count), ERR_OK);
    cr_assert_eq(count, 0);
    cr_assert_eq(replica_compact(&replica), ERR_OK);
    cr_assert_eq(store_plan_compactions(replica.store, &rules, compactions, &count), ERR_OK);
    cr_assert_gt(count, 0);
}

Test(store_compact, what_was_deleted_is_erased_when_it_was_for_some_time)
{
    const struct compact_rules rules = {.fanout = 60, .bytes_max = 1 << 30, .now_ns = INT64_MIN};
    struct seal_compaction compactions[SEAL_COMPACTIONS_MAX];
    enum store_outcome outcome;
    uint64_t deleted;
    uint32_t count;

    cr_assert_eq(replica_apply(&replica, entries_delete(0, 0, "cpu", "a", 2, 2), &outcome), ERR_OK);
    deleted = store_applied_index(replica.store);
    cr_assert_eq(replica_prove(&replica, deleted - 1), ERR_OK);
    cr_assert_eq(store_plan_compactions(replica.store, &rules, compactions, &count), ERR_OK);
    cr_assert_eq(count, 0);
    cr_assert_eq(replica_prove(&replica, deleted), ERR_OK);
    cr_assert_eq(store_plan_compactions(replica.store, &rules, compactions, &count), ERR_OK);
    cr_assert_eq(count, 1);
    cr_assert_eq(compactions[0].count, 1);
    cr_assert_eq(compactions[0].inputs[0], 3, "the one with the row of time 2");
}
