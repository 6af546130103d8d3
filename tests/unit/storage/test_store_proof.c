/*
 * A store's proofs as its worker sees them: what is asked and when, what is ordered of it, and what
 * becomes of such an order at each replica. What a proof finds is in test_proof.c.
 */
#include "storage/store_proof.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "storage/segment_proof.h"
#include "storage/store_compact.h"
#include "storage/store_damage.h"
#include "storage/store_internal.h"
#include "tests/support/replica.h"

static struct replica replica;

static void write_and_seal(const char *host, int64_t time_ns)
{
    struct entries_value value = {"cpu", host, time_ns, "v", FIELD_INT, 1, NULL, 0};

    replica_write(&replica, &(struct entries_from){0}, &value, 1);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
}

/* Segments 1 to 4 of one row each, of a, b, a, b. */
static void set_up(void)
{
    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    for (int64_t i = 0; i < 4; i++)
        write_and_seal(i % 2 == 0 ? "a" : "b", i);
}

static void tear_down(void)
{
    replica_fini(&replica);
}

TestSuite(store_proof, .init = set_up, .fini = tear_down);

static uint64_t apply(struct buf *entry)
{
    enum store_outcome outcome;

    cr_assert_eq(replica_apply(&replica, entry, &outcome), ERR_OK, "%s", err_detail());
    return store_applied_index(replica.store);
}

static uint64_t delete_host(const char *host, int64_t first_ns, int64_t last_ns)
{
    return apply(entries_delete(0, 0, "cpu", host, first_ns, last_ns));
}

static struct proof_job *begin(uint64_t erase_index)
{
    struct proof_job *job = NULL;

    cr_assert_eq(store_proof_begin(replica.store, erase_index, &job), ERR_OK, "%s", err_detail());
    return job;
}

static void prove(uint64_t erase_index)
{
    cr_assert_eq(replica_prove(&replica, erase_index), ERR_OK, "%s", err_detail());
}

static uint32_t plan(struct seal_clean *cleans)
{
    uint32_t count = 99;

    cr_assert_eq(store_plan_cleans(replica.store, cleans, &count), ERR_OK);
    return count;
}

/* What the leader would order now. */
static void order_cleans(void)
{
    struct seal_clean cleans[SEAL_CLEANS_MAX];
    uint32_t count = plan(cleans);

    cr_assert_gt(count, 0);
    (void)apply(entries_clean(0, 0, cleans, count, NULL, 0));
}

static void order(uint64_t first, uint64_t second)
{
    struct seal_compaction compaction = {.count = second == 0 ? 1 : 2, .inputs = {first, second}};

    (void)apply(entries_compact(0, 0, &compaction, 1));
}

static uint64_t tombstones(void)
{
    struct store_stats stats;

    store_stats(replica.store, &stats);
    return stats.tombstones;
}

static uint64_t clean_index(uint64_t number)
{
    const struct manifest *manifest = &replica.store->sealer.manifest;

    for (uint32_t i = 0; i < manifest->segment_count; i++)
        if (manifest->segments[i].number == number) {
            cr_assert_eq(manifest->segments[i].clean_index,
                         segment_clean_index(replica.store->segments[i]));
            return manifest->segments[i].clean_index;
        }
    return 0;
}

/* ---- What is asked ------------------------------------------------------------------------- */

Test(store_proof, only_segments_of_its_times_are_asked_once_a_delete_is_due)
{
    uint64_t deleted = delete_host("a", 1, 2);
    struct proof_job *job;

    cr_assert_null(begin(deleted - 1), "not yet");
    job = begin(deleted);
    cr_assert_eq(job->count, 2);
    cr_assert_eq(segment_info(job->items[0].segment)->number, 2);
    cr_assert_eq(segment_info(job->items[1].segment)->number, 3);
    cr_assert_null(begin(deleted), "one is out");
    cr_assert_not(store_wants_compaction(replica.store));
    cr_assert_eq(proof_run(job), ERR_OK, "%s", err_detail());
    cr_assert_not(job->items[0].hit);
    cr_assert(job->items[1].hit);
    store_proof_done(replica.store, job, false);
    cr_assert_null(begin(deleted), "that is known now");
}

Test(store_proof, a_later_delete_is_asked_about_alone)
{
    uint64_t first = delete_host("a", 0, 9), second;
    struct proof_job *job;

    prove(first);
    second = delete_host("b", 1, 1);
    cr_assert_null(begin(first));
    job = begin(second);
    cr_assert_eq(job->count, 1, "1 and 3 are written anew anyway, and 4 is of another time");
    cr_assert_eq(segment_info(job->items[0].segment)->number, 2);
    cr_assert_eq(job->items[0].after, first);
    cr_assert_eq(proof_run(job), ERR_OK);
    store_proof_done(replica.store, job, false);
    cr_assert(segment_proof(replica.store->segments[1]).hit);
}

Test(store_proof, what_is_to_become_part_of_another_one_is_not_asked)
{
    struct seal_clean cleans[SEAL_CLEANS_MAX];
    uint64_t deleted = delete_host("a", 0, 9);
    struct proof_job *job;

    prove(deleted);
    cr_assert_eq(plan(cleans), 2);
    order(1, 2);
    cr_assert_eq(plan(cleans), 1);
    cr_assert_eq(cleans[0].number, 4);
    deleted = delete_host("b", 0, 9);
    job = begin(deleted);
    cr_assert_eq(job->count, 1);
    cr_assert_eq(segment_info(job->items[0].segment)->number, 4);
    store_proof_done(replica.store, job, true);
}

/* ---- What is ordered ----------------------------------------------------------------------- */

Test(store_proof, clean_segments_are_ordered_until_all_replicas_know)
{
    struct seal_clean cleans[SEAL_CLEANS_MAX];
    uint64_t deleted = delete_host("a", 0, 9);

    cr_assert_eq(plan(cleans), 0, "nobody asked yet");
    prove(deleted);
    for (int again = 0; again < 2; again++) {
        cr_assert_eq(plan(cleans), 2);
        cr_assert_eq(cleans[0].number, 2);
        cr_assert_eq(cleans[0].index, deleted);
        cr_assert_eq(cleans[1].number, 4);
    }
    order_cleans();
    cr_assert_eq(plan(cleans), 0);
    cr_assert_eq(clean_index(2), deleted);
    cr_assert_lt(clean_index(1), deleted);
    cr_assert_null(begin(store_applied_index(replica.store)));
}

Test(store_proof, only_segments_with_such_rows_are_written_anew)
{
    const struct compact_rules rules = {.fanout = 60, .bytes_max = 1 << 30, .now_ns = INT64_MIN};
    struct seal_compaction compactions[SEAL_COMPACTIONS_MAX];
    uint64_t deleted = delete_host("a", 0, 9);
    uint32_t count;

    cr_assert_eq(store_plan_compactions(replica.store, &rules, compactions, &count), ERR_OK);
    cr_assert_eq(count, 0);
    prove(deleted);
    cr_assert_eq(store_plan_compactions(replica.store, &rules, compactions, &count), ERR_OK);
    cr_assert_eq(count, 2);
    cr_assert_eq(compactions[0].inputs[0], 1);
    cr_assert_eq(compactions[1].inputs[0], 3);
}

Test(store_proof, a_delete_leaves_when_what_it_hides_is_erased_and_the_rest_is_clean)
{
    prove(delete_host("a", 0, 9));
    order_cleans();
    cr_assert_eq(tombstones(), 1);
    order(1, 0);
    order(3, 0);
    cr_assert_eq(replica_compact(&replica), ERR_OK, "%s", err_detail());
    cr_assert_eq(tombstones(), 0);
}

Test(store_proof, a_delete_of_nothing_leaves_at_once)
{
    prove(delete_host("c", 0, 9));
    cr_assert_eq(tombstones(), 1);
    order_cleans();
    cr_assert_eq(tombstones(), 0);
    replica_close(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    cr_assert_eq(tombstones(), 0);
    cr_assert_gt(clean_index(1), 0);
}

/* Replay of an order whose seal was not done, and the manifest of one that was. */
Test(store_proof, what_was_ordered_outlives_a_crash)
{
    uint64_t deleted = delete_host("a", 0, 9);

    prove(deleted);
    order_cleans();
    replica_close(&replica);
    mem_disk_crash(replica.disk, MEM_DISK_POWER, 7);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    cr_assert_eq(clean_index(2), deleted);
    cr_assert_eq(clean_index(4), deleted);
    cr_assert_eq(segment_proof(replica.store->segments[0]).index, 0, "that is forgotten");
}

/* ---- What is to be made -------------------------------------------------------------------- */

static struct bytes manifest_bytes(const struct replica *of)
{
    struct bytes bytes = {0};

    manifest_encode(&of->store->sealer.manifest, &bytes);
    return bytes;
}

/* The same log; `late` comes to make segment 5 when all was ordered, this one made it at once. */
Test(store_proof, it_does_not_matter_when_a_segment_is_made_that_is_clean)
{
    struct bytes own, others;
    struct replica late;

    replica_init(&late);
    cr_assert_eq(replica_open(&late), ERR_OK);
    order(1, 2);
    cr_assert_eq(replica_compact(&replica), ERR_OK, "%s", err_detail());
    prove(delete_host("c", 0, 9));
    order_cleans();
    for (size_t i = 0; i < replica.log_count; i++) {
        enum store_outcome outcome;

        cr_assert_eq(replica_apply(&late, entries_copy(replica.log[i]), &outcome), ERR_OK);
    }
    cr_assert_eq(compactions_find(&late.store->compactions, 5)->info.clean_index, clean_index(5));
    cr_assert_eq(replica_compact(&late), ERR_OK, "%s", err_detail());
    own = manifest_bytes(&replica);
    others = manifest_bytes(&late);
    cr_assert_eq(own.size, others.size);
    cr_assert_arr_eq(own.data, others.data, own.size);
    bytes_fini(&own);
    bytes_fini(&others);
    replica_fini(&late);
}

/* Another leader has made it and found it clean; here it is on its way. */
Test(store_proof, a_segment_is_clean_though_that_was_said_while_it_was_made)
{
    struct seal_clean clean = {.number = 5};
    struct compact_job *job;

    order(1, 2);
    clean.index = delete_host("c", 0, 9);
    cr_assert_eq(store_compact_begin(replica.store, &job), ERR_OK);
    cr_assert_eq(compact_run(job), ERR_OK, "%s", err_detail());
    (void)apply(entries_clean(0, 0, &clean, 1, NULL, 0));
    store_compact_ready(replica.store, job);
    cr_assert_eq(compact_adopt(job), ERR_OK, "%s", err_detail());
    store_compact_done(replica.store, job, false);
    cr_assert_eq(clean_index(5), clean.index);
    prove(clean.index);
    order_cleans();
    cr_assert_eq(tombstones(), 0);
}

/* A reader has both as they were; a segment that was mended is as clean as the one before. */
Test(store_proof, readers_and_mended_files_find_what_they_need)
{
    uint64_t deleted = delete_host("c", 0, 9);
    struct snapshot *snapshot = store_snapshot(replica.store);
    struct segment *again = NULL;

    prove(deleted);
    cr_assert_eq(segment_open_again(replica.store->segments[0], &again), ERR_OK);
    order_cleans();
    cr_assert_lt(snapshot->sources[0].clean_index, deleted);
    cr_assert_eq(snapshot->tombstone_count, 1);
    snapshot_free(snapshot);
    cr_assert(store_take_segment(replica.store, again));
    cr_assert_eq(clean_index(1), deleted);
}
