/*
 * A worker applies rows and asks for last values, while another thread scans for them on snapshots
 * of a moment ago, and runs seals. What the worker knows must be what it has applied last, whenever
 * a scan comes back, and ThreadSanitizer must stay silent.
 *
 * A plain program, not a Criterion test: Criterion's sandbox and ThreadSanitizer do not get along.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/base/check.h"
#include "storage/base/ring.h"
#include "storage/snapshot.h"
#include "storage/store_last.h"
#include "tests/support/entries.h"
#include "tests/support/mem_disk.h"
#include "tests/support/seed.h"

enum { SERIES = 40, ROWS = 3, SEAL_EVERY = 50, OUT_MAX = 8 };

/* A scan for the last values of some series, or a seal; neither: the end. */
struct task {
    struct query query;
    struct snapshot *snapshot;
    struct last_found found;
    struct seal_job *job;
};

static struct ring to, from; /* Of struct task *. */
static uint32_t out;

static void send_task(struct ring *ring, struct task *task)
{
    void *slot;

    while (ring_reserve(ring, 1, &slot) == 0)
        (void)usleep(10);
    memcpy(slot, &task, sizeof task);
    ring_publish(ring, 1);
}

static struct task *take_task(struct ring *ring)
{
    const void *slot;
    struct task *task;

    if (ring_peek(ring, 1, &slot) == 0)
        return NULL;
    memcpy(&task, slot, sizeof task);
    ring_release(ring, 1);
    return task;
}

/* ---- The other thread ---------------------------------------------------------------------- */

static enum err pass_over(void *arg, const struct columns *batch)
{
    (void)arg;
    (void)batch;
    return ERR_OK;
}

static void *help(void *arg)
{
    struct scan_limits limits = {
        .memory_bytes = 1 << 20, .result_bytes = 1 << 20, .page_bytes = 1 << 20};

    (void)arg;
    for (;;) {
        struct task *task = take_task(&to);
        struct query_place next;

        if (task == NULL) {
            (void)usleep(10);
            continue;
        }
        if (task->job != NULL) {
            CHECK(seal_run(task->job) == ERR_OK);
        } else if (task->snapshot != NULL) {
            CHECK(scan_found(task->snapshot, &task->query, &limits, pass_over, NULL, &next,
                             &task->found) == ERR_OK);
            snapshot_free(task->snapshot);
        } else {
            free(task);
            return NULL;
        }
        send_task(&from, task);
    }
}

/* ---- The worker ---------------------------------------------------------------------------- */

static struct store *store;
static uint64_t chance;
static int64_t newest_ns[SERIES]; /* Time and value of each series, both the same. */

static void collect(uint32_t most)
{
    while (out > 0) {
        struct task *task = take_task(&from);

        if (task == NULL && out <= most)
            return;
        if (task == NULL) {
            (void)usleep(10);
            continue;
        }
        out--;
        if (task->job != NULL)
            store_seal_done(store, task->job, false);
        else
            store_last_learn(store, &task->query, &task->found);
        last_found_fini(&task->found);
        free(task);
    }
}

static struct task *new_task(void)
{
    struct task *task = calloc(1, sizeof *task);

    CHECK(task != NULL);
    return task;
}

static void hand_over(struct task *task)
{
    send_task(&to, task);
    out++;
}

static void scan(void)
{
    struct task *task = new_task();
    uint32_t first = (uint32_t)seed_below(&chance, SERIES);

    task->query = (struct query){.database = "db",
                                 .table = "cpu",
                                 .field_count = 1,
                                 .fields = {"v"},
                                 .from_ns = INT64_MIN,
                                 .to_ns = INT64_MAX,
                                 .last = true,
                                 .page = {true, 0, first, first + 3}};
    store_last_begin(store, &task->query, &task->found);
    task->snapshot = store_snapshot(store);
    CHECK(task->snapshot != NULL);
    hand_over(task);
}

static void apply(struct buf *entry)
{
    struct seal_job *job;
    enum store_outcome outcome;

    CHECK(store_apply(store, store_applied_index(store) + 1, entry, &outcome, &job) == ERR_OK);
    CHECK(outcome == STORE_APPLIED || outcome == STORE_SEAL);
    buf_unref(entry);
    if (job != NULL) {
        struct task *task = new_task();

        task->job = job;
        hand_over(task);
    }
}

/* Rows of some series; all of them at first, so that their ids are their numbers. */
static void write_rows(int64_t time_ns, bool all)
{
    struct entries_value values[SERIES];
    char hosts[SERIES][16];
    uint32_t count = all ? SERIES : ROWS;
    struct buf *entry;
    bool duplicate;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t number = all ? i : (uint32_t)seed_below(&chance, SERIES);

        (void)snprintf(hosts[i], sizeof hosts[i], "h%02u", number);
        values[i] =
            (struct entries_value){"cpu",     hosts[i],          time_ns, "v",
                                   FIELD_INT, (uint64_t)time_ns, NULL,    all ? 0 : number + 1};
        newest_ns[number] = time_ns;
    }
    entry = entries_block(&(struct entries_from){0}, values, count);
    CHECK(store_admit(store, entry, 1, &duplicate) == ERR_OK);
    apply(entry);
}

static uint32_t ask_all(uint32_t field)
{
    uint32_t known = 0;

    for (uint32_t id = 0; id < SERIES; id++) {
        struct last_value value;
        enum last_answer answer = store_last(store, id, field, &value);

        if (answer == LAST_UNKNOWN && seed_below(&chance, 4) == 0)
            answer = store_last_look(store, id, field, &value);
        if (answer == LAST_UNKNOWN && seed_below(&chance, 4) == 0) {
            CHECK(store_last_read(store, id, 1, (struct slice){"v", 1}) == ERR_OK);
            answer = store_last(store, id, field, &value);
        }
        if (answer == LAST_UNKNOWN)
            continue;
        CHECK(answer == LAST_VALUE);
        CHECK(value.time_ns == newest_ns[id]);
        CHECK(value.bits == (uint64_t)newest_ns[id]);
        known++;
    }
    return known;
}

int main(int argc, char **argv)
{
    unsigned total = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 3000;
    struct mem_disk *disk = mem_disk_new();
    struct store_options options = {.disk = mem_disk_table(disk),
                                    .dir = "data",
                                    .series_max = SERIES,
                                    .head_bytes_max = 1 << 30,
                                    .seal_bytes = 1 << 30,
                                    .producers_max = 16,
                                    .last_bytes = 1 << 16};
    pthread_t thread;
    uint64_t known = 0;
    uint32_t field;

    chance = seed_of_run("last_stress");
    CHECK(ring_init(&to, 64, sizeof(struct task *)) == ERR_OK);
    CHECK(ring_init(&from, 64, sizeof(struct task *)) == ERR_OK);
    CHECK(store_open(&options, &store) == ERR_OK);
    CHECK(pthread_create(&thread, NULL, help, NULL) == 0);
    field = store_last_field(store, (struct slice){"v", 1});
    for (unsigned i = 1; i <= total; i++) {
        write_rows(i, i == 1);
        scan();
        if (i % SEAL_EVERY == 0)
            apply(entries_seal(0, store_applied_index(store)));
        collect((uint32_t)seed_below(&chance, OUT_MAX));
        if (seed_below(&chance, 4) == 0)
            known += ask_all(field);
    }
    collect(0);
    send_task(&to, new_task());
    CHECK(pthread_join(thread, NULL) == 0);
    store_close(store);
    mem_disk_free(disk);
    ring_fini(&to);
    ring_fini(&from);
    CHECK(known > total / 8);
    (void)printf("%u entries, %llu values were known\n", total, (unsigned long long)known);
    return 0;
}
