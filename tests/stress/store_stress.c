/*
 * A worker applies entries and admits others that it forgets, while one thread reads snapshots,
 * another runs seals, and a third one makes segments of others, or finds which of them are clean
 * of deletes, on real files. Every snapshot must hold just the rows that were applied when it was
 * made, and ThreadSanitizer must stay silent.
 *
 * A plain program, not a Criterion test: Criterion's sandbox and ThreadSanitizer do not get along.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/base/check.h"
#include "storage/base/metric.h"
#include "storage/base/ring.h"
#include "storage/base/types.h"
#include "storage/block/block_reader.h"
#include "storage/snapshot.h"
#include "storage/store_compact.h"
#include "storage/store_proof.h"
#include "tests/support/contents.h"
#include "tests/support/entries.h"

enum { HOSTS_AT_ONCE = 20, SEAL_EVERY = 40, READ_EVERY = 7 };

/* A snapshot and how many values have to be in it; a seal, a proof, or a compaction to make or
 * (once it is made) to adopt; and how it went. */
struct task {
    struct snapshot *snapshot;
    size_t values;
    struct seal_job *job;
    struct proof_job *proof;
    struct compact_job *compaction;
    bool made;
    enum err err;
};

/* One thread, with a ring each way. */
struct helper {
    struct ring to, from;
    pthread_t thread;
    uint32_t out; /* Tasks that it has. */
};

static unsigned total = 600;

static void send_task(struct ring *ring, const struct task *task)
{
    void *slot;

    while (ring_reserve(ring, 1, &slot) == 0)
        (void)sched_yield();
    memcpy(slot, task, sizeof *task);
    ring_publish(ring, 1);
}

static bool take_task(struct ring *ring, struct task *ret_task)
{
    const void *slot;

    if (ring_peek(ring, 1, &slot) == 0)
        return false;
    memcpy(ret_task, slot, sizeof *ret_task);
    ring_release(ring, 1);
    return true;
}

static void *help(void *arg)
{
    struct helper *helper = arg;
    struct task task;

    for (;;) {
        while (!take_task(&helper->to, &task))
            (void)usleep(100);
        if (task.snapshot == NULL && task.job == NULL && task.compaction == NULL &&
            task.proof == NULL)
            return NULL;
        if (task.job != NULL) {
            task.err = seal_run(task.job);
        } else if (task.proof != NULL) {
            task.err = proof_run(task.proof);
        } else if (task.compaction != NULL) {
            task.err = task.made ? compact_adopt(task.compaction) : compact_run(task.compaction);
        } else {
            struct contents contents;

            task.err = contents_read(task.snapshot, &contents);
            if (task.err == ERR_OK && contents.count != task.values)
                task.err = err_set(ERR_INVALID, "%zu values, not %zu", contents.count, task.values);
            contents_fini(&contents);
            snapshot_free(task.snapshot);
        }
        if (task.err != ERR_OK)
            (void)fprintf(stderr, "store_stress: %s: %s\n", err_name(task.err), err_detail());
        send_task(&helper->from, &task);
    }
}

static void start(struct helper *helper)
{
    CHECK(ring_init(&helper->to, 64, sizeof(struct task)) == ERR_OK);
    CHECK(ring_init(&helper->from, 64, sizeof(struct task)) == ERR_OK);
    CHECK(pthread_create(&helper->thread, NULL, help, helper) == 0);
}

static void hand_over(struct helper *helper, const struct task *task)
{
    send_task(&helper->to, task);
    helper->out++;
}

static struct compact_job *made; /* Waits to be adopted. */

/* What has come back; with `wait`, until everything has. */
static void collect(struct store *store, struct helper *helper, bool wait)
{
    struct task task;

    while (helper->out > 0) {
        if (!take_task(&helper->from, &task)) {
            if (!wait)
                return;
            (void)usleep(100);
            continue;
        }
        helper->out--;
        if (task.job != NULL)
            store_seal_done(store, task.job, task.err != ERR_OK);
        if (task.proof != NULL)
            store_proof_done(store, task.proof, task.err != ERR_OK);
        if (task.compaction != NULL && task.made)
            store_compact_done(store, task.compaction, task.err != ERR_OK);
        else if (task.compaction != NULL)
            made = task.compaction;
        CHECK(task.err == ERR_OK);
    }
}

static void stop(struct store *store, struct helper *helper)
{
    collect(store, helper, true);
    send_task(&helper->to, &(struct task){0});
    CHECK(pthread_join(helper->thread, NULL) == 0);
    ring_fini(&helper->to);
    ring_fini(&helper->from);
}

/* Twenty new series, one value each, none written before. */
static struct buf *make_entry(unsigned number)
{
    struct entries_value values[HOSTS_AT_ONCE];
    char hosts[HOSTS_AT_ONCE][24];

    for (unsigned i = 0; i < HOSTS_AT_ONCE; i++) {
        (void)snprintf(hosts[i], sizeof hosts[i], "host-%u-%u", number, i);
        values[i] = (struct entries_value){number % 3 == 0 ? "cpu" : "mem",
                                           hosts[i],
                                           (int64_t)number,
                                           "value",
                                           FIELD_INT,
                                           number,
                                           NULL,
                                           0};
    }
    return entries_block(&(struct entries_from){0}, values, HOSTS_AT_ONCE);
}

static void apply(struct store *store, struct buf *entry, struct helper *sealer)
{
    struct task task = {0};
    enum store_outcome outcome;

    CHECK(store_apply(store, store_applied_index(store) + 1, entry, &outcome, &task.job) == ERR_OK);
    CHECK(outcome != STORE_REFUSED);
    if (task.job != NULL)
        hand_over(sealer, &task);
    buf_unref(entry);
}

/* A seal, with what a leader would have merged, and what it knows to be clean. */
static struct buf *make_order(const struct store *store)
{
    struct compact_rules rules = {3, 1 << 30, INT64_MAX, 0};
    struct seal_compaction compactions[SEAL_COMPACTIONS_MAX];
    struct seal_clean cleans[SEAL_CLEANS_MAX];
    uint32_t count = 0, clean_count = 0;

    CHECK(store_plan_compactions(store, &rules, compactions, &count) == ERR_OK);
    CHECK(store_plan_cleans(store, cleans, &clean_count) == ERR_OK);
    return entries_clean(0, store_applied_index(store), cleans, clean_count, compactions, count);
}

static void compact(struct store *store, struct helper *merger, struct helper *sealer)
{
    struct task task = {0};

    collect(store, merger, false);
    if (made != NULL) {
        task = (struct task){.compaction = made, .made = true};
        made = NULL;
        collect(store, sealer, true);
        store_compact_ready(store, task.compaction);
        hand_over(sealer, &task);
        return;
    }
    if (merger->out > 0)
        return;
    CHECK(store_proof_begin(store, store_applied_index(store), &task.proof) == ERR_OK);
    if (task.proof != NULL) {
        hand_over(merger, &task);
    } else if (store_wants_compaction(store)) {
        CHECK(store_compact_begin(store, &task.compaction) == ERR_OK);
        hand_over(merger, &task);
    }
}

static void work(struct store *store, struct helper *reader, struct helper *sealer,
                 struct helper *merger)
{
    for (unsigned number = 0; number < total; number++) {
        struct buf *entry = make_entry(number);
        struct buf *forgotten = make_entry(number + total);
        bool duplicate;

        /* A tentative tail that comes and goes in the memory behind what snapshots read. */
        CHECK(store_admit(store, forgotten, 1, &duplicate) == ERR_OK);
        store_retract(store);
        CHECK(store_admit(store, entry, 1, &duplicate) == ERR_OK);
        CHECK(store_admit(store, forgotten, 1, &duplicate) == ERR_OK);
        store_retract(store);
        buf_unref(forgotten);
        apply(store, entry, sealer);
        if (number % SEAL_EVERY == SEAL_EVERY / 2) { /* Of nobody's rows. */
            collect(store, sealer, true);
            apply(store, entries_delete(0, 0, "cpu", "nobody", INT64_MIN, INT64_MAX), sealer);
        }
        if (number % SEAL_EVERY == SEAL_EVERY - 1) {
            collect(store, sealer, true); /* A job runs after the one before is done. */
            apply(store, make_order(store), sealer);
        }
        if (number % READ_EVERY == 0) {
            struct task task = {.snapshot = store_snapshot(store),
                                .values = ((size_t)number + 1) * HOSTS_AT_ONCE};

            CHECK(task.snapshot != NULL);
            collect(store, reader, reader->out > 8);
            hand_over(reader, &task);
        }
        collect(store, sealer, false);
        compact(store, merger, sealer);
    }
    while (merger->out > 0 || made != NULL)
        compact(store, merger, sealer);
}

static void remove_file(void *arg, const char *name)
{
    char path[512];

    (void)snprintf(path, sizeof path, "%s/%s", (const char *)arg, name);
    (void)unlink(path);
}

int main(int argc, char **argv)
{
    const char *above = getenv("TMPDIR");
    static struct helper reader, sealer, merger;
    char dir[256];
    struct store_options options = {.disk = disk_system(),
                                    .dir = dir,
                                    .series_max = 1 << 20,
                                    .head_bytes_max = 1 << 30,
                                    .seal_bytes = 1 << 30,
                                    .producers_max = 16,
                                    .compact_memory = 1 << 20};
    struct store_stats stats;
    struct store *store;

    if (argc > 1)
        total = (unsigned)strtoul(argv[1], NULL, 10);
    (void)snprintf(dir, sizeof dir, "%s/store-stress-XXXXXX", above == NULL ? "/tmp" : above);
    CHECK(mkdtemp(dir) != NULL);
    CHECK(store_open(&options, &store) == ERR_OK);
    start(&reader);
    start(&sealer);
    start(&merger);
    work(store, &reader, &sealer, &merger);
    stop(store, &merger);
    stop(store, &reader);
    stop(store, &sealer);
    store_stats(store, &stats);
    CHECK(stats.rows == (uint64_t)total * HOSTS_AT_ONCE);
    CHECK(stats.segments > 0);
    CHECK(total < 10 * SEAL_EVERY || stats.segments < total / SEAL_EVERY);
    CHECK(total < 10 * SEAL_EVERY || metric_sum(METRIC_SEGMENT_SPARED) > 0);
    store_close(store);
    CHECK(options.disk->list(options.disk->ctx, dir, remove_file, dir) == ERR_OK);
    (void)rmdir(dir);
    (void)printf("%u entries, %llu segments\n", total, (unsigned long long)stats.segments);
    return 0;
}
