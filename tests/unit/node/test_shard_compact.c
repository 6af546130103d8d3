/*
 * What a shard orders to be merged, and how it comes to make it: with a clock and a compactor of
 * the test's own.
 */
#include <criterion/criterion.h>

#include "node/compactor.h"
#include "node/shard_io.h"
#include "storage/base/fault.h"
#include "tests/support/replica.h"

static struct replica replica;
static struct node node = {.shards = 1, .groups = 2, .worker_count = 1};
static struct worker worker = {.node = &node};
static struct shard shard = {.number = 1, .worker = &worker};
static struct compact_task *queued;
static struct compact_job *to_adopt;
static enum err suspected;
static uint64_t now_ms;

/* ---- In place of the rest of the node ------------------------------------------------------ */

void compactor_queue(struct compactor *compactor, struct compact_task *task)
{
    (void)compactor;
    cr_assert_null(queued);
    queued = task;
}

void shard_adopt(struct shard *of, struct compact_job *job)
{
    (void)of;
    to_adopt = job;
}

void shard_suspect(struct shard *of, enum err err)
{
    (void)of;
    suspected = err;
}

uint64_t worker_now_ms(void)
{
    return now_ms;
}

/* ---- Tests --------------------------------------------------------------------------------- */

static void set_up(void)
{
    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    shard.store = replica.store;
    node.options.storage.segment_bytes_max = 1 << 30;
    node.options.storage.erase_after_ms = 1000;
    now_ms = 1000000;
}

static void tear_down(void)
{
    replica_fini(&replica);
}

TestSuite(shard_compact, .init = set_up, .fini = tear_down);

static void put_of(const char *host, int64_t time_ns)
{
    struct entries_value value = {"cpu", host, time_ns, "v", FIELD_INT, 1, NULL, 0};

    replica_write(&replica, &(struct entries_from){0}, &value, 1);
}

static void put(int64_t time_ns)
{
    put_of("a", time_ns);
}

static void apply(struct buf *entry)
{
    enum store_outcome outcome;

    cr_assert_eq(replica_apply(&replica, entry, &outcome), ERR_OK, "%s", err_detail());
}

static struct store_stats stats(void)
{
    struct store_stats now;

    store_stats(replica.store, &now);
    return now;
}

/* Two segments that are ordered to become one. */
static void order(void)
{
    struct seal_compaction compaction = {2, {1, 2}};

    put(1);
    cr_assert_eq(replica_seal(&replica), ERR_OK);
    put(2);
    cr_assert_eq(replica_seal(&replica), ERR_OK);
    apply(entries_compact(0, 0, &compaction, 1));
    cr_assert_eq(stats().compactions, 1);
}

static void run_queued(void)
{
    struct compact_task *task = queued;

    cr_assert_not_null(task);
    queued = NULL;
    task->run(task);
    task->done(task);
}

Test(shard_compact, what_was_ordered_is_made_and_taken_in)
{
    order();
    shard_compact_tick(&shard, now_ms);
    shard_compact_tick(&shard, now_ms); /* One at a time. */
    run_queued();
    cr_assert_not_null(to_adopt);
    cr_assert_eq(stats().segments, 2);
    cr_assert_eq(compact_adopt(to_adopt), ERR_OK, "%s", err_detail());
    shard_compact_end(&shard, to_adopt, ERR_OK);
    cr_assert_eq(stats().segments, 1);
    cr_assert_eq(stats().compactions, 0);
    shard_compact_tick(&shard, now_ms);
    cr_assert_null(queued);
}

Test(shard_compact, what_fails_is_said_once_and_not_tried_at_once)
{
    order();
    shard_compact_tick(&shard, now_ms);
    cr_assert_eq(fault_arm("compact.merge:fail:1"), ERR_OK);
    run_queued();
    cr_assert_eq(fault_arm(""), ERR_OK);
    cr_assert_null(to_adopt);
    cr_assert(shard.compact_failed);
    cr_assert_eq(suspected, ERR_IO);
    cr_assert_eq(stats().segments, 2);
    shard_compact_tick(&shard, now_ms);
    cr_assert_null(queued);
}

Test(shard_compact, a_shard_that_stops_begins_nothing)
{
    order();
    worker.phase = WORKER_CLOSING;
    shard_compact_tick(&shard, now_ms);
    cr_assert_null(queued);
}

/* A segment of a and one of b; a's are deleted, and due. */
static void delete_due(void)
{
    put(1);
    put(2);
    cr_assert_eq(replica_seal(&replica), ERR_OK);
    put_of("b", 1);
    cr_assert_eq(replica_seal(&replica), ERR_OK);
    shard.led_since_ms = now_ms;
    shard_compact_tick(&shard, now_ms);
    apply(entries_delete(0, 0, "cpu", "a", 1, 1));
    shard_compact_tick(&shard, now_ms += 999);
    shard_compact_tick(&shard, now_ms += 1); /* From here on it is known. */
    cr_assert_null(queued);
    now_ms += 1000;
}

Test(shard_compact, deleted_rows_are_erased_when_they_were_for_some_time)
{
    struct seal_compaction compactions[SEAL_COMPACTIONS_MAX];
    struct seal_clean cleans[SEAL_CLEANS_MAX];

    delete_due();
    shard_compact_tick(&shard, now_ms);
    cr_assert_eq(shard_compact_plan(&shard, compactions), 0);
    run_queued(); /* Who has them? */
    cr_assert_eq(shard_compact_plan(&shard, compactions), 1);
    cr_assert_eq(compactions[0].count, 1);
    cr_assert_eq(compactions[0].inputs[0], 1);
    cr_assert_eq(shard_compact_cleans(&shard, cleans), 1);
    cr_assert_eq(cleans[0].number, 2);
    shard_compact_tick(&shard, now_ms += 1000);
    cr_assert_null(queued, "that is known");
}

Test(shard_compact, only_the_leader_looks_for_deleted_rows_and_once_a_second)
{
    delete_due();
    shard.led_since_ms = 0;
    shard_compact_tick(&shard, now_ms);
    cr_assert_null(queued);
    shard.led_since_ms = now_ms;
    shard.proved_ms = now_ms - 999;
    shard_compact_tick(&shard, now_ms);
    cr_assert_null(queued);
    shard_compact_tick(&shard, now_ms += 1);
    run_queued();
}

Test(shard_compact, what_is_damaged_proves_nothing_and_is_suspected)
{
    struct seal_compaction compactions[SEAL_COMPACTIONS_MAX];
    struct seal_clean cleans[SEAL_CLEANS_MAX];

    delete_due();
    shard_compact_tick(&shard, now_ms);
    for (uint64_t offset = 64; offset < 300; offset++) /* Frames and index. */
        mem_disk_flip(replica.disk, "data/00000001.mrs", offset, 1);
    run_queued();
    cr_assert_eq(suspected, ERR_CORRUPT);
    cr_assert_eq(shard_compact_plan(&shard, compactions), 0);
    cr_assert_eq(shard_compact_cleans(&shard, cleans), 0);
}

Test(shard_compact, one_is_ordered_alone_if_no_seal_is_near)
{
    cr_assert_not(shard_compact_is_due(&shard, 0));
    cr_assert(shard_compact_is_due(&shard, 1)); /* Nothing is in memory. */
    put(1);
    now_ms += 5000;
    cr_assert_not(shard_compact_is_due(&shard, 1));
    now_ms += 5000;
    cr_assert(shard_compact_is_due(&shard, 1));
    cr_assert_not(shard_compact_is_due(&shard, 0)); /* It came with a seal. */
    cr_assert_not(shard_compact_is_due(&shard, 1));
}
