/*
 * What leaders' seals order beside sealing: a time before which rows go, a dropped database, a
 * delete, segments that become one or are clean. And whether rows stay as they were when that is
 * done, and all replicas hold the same rows and the same files in the end.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/block/seal_order.h"
#include "storage/block/tombstone.h"
#include "storage/marks.h"
#include "storage/scan.h"
#include "storage/snapshot.h"
#include "storage/store_compact.h"
#include "storage/store_proof.h"
#include "tests/sim/sim.h"

static struct slice text(const char *string)
{
    return (struct slice){string, strlen(string)};
}

/* No batch that is still to be stored has an earlier row. */
static int64_t oldest_ns(const struct sim *sim, uint32_t number)
{
    uint64_t oldest = sim->now_ms;

    for (uint32_t i = 0; i < SIM_CLIENTS; i++) {
        const struct sim_client *client = &sim->clients[number][i];

        if (client->batch != NULL && client->made_at_ms < oldest)
            oldest = client->made_at_ms;
    }
    return (int64_t)oldest;
}

static void add_tombstone(struct sim *sim, uint32_t number, struct bytes *out)
{
    const struct sim_client *client = &sim->clients[number][sim_rand(sim, SIM_CLIENTS)];
    struct tombstone tombstone = {.first_ns = sim_rand(sim, (uint32_t)sim->now_ms)};
    uint8_t key[64];
    char value[48];

    tombstone.table_key = (struct slice){
        (const char *)key, key_write_table(text(SIM_DATABASE), text(SIM_TABLE), key, sizeof key)};
    tombstone.last_ns = tombstone.first_ns + sim_rand(sim, 1000);
    if (sim_chance(sim, 2, 3)) {
        /* Of one that has few segments' rows, or has none: most are clean of it. */
        (void)snprintf(value, sizeof value, "%" PRIu64 "-%u", client->producer,
                       sim_rand(sim, SIM_SERIES + 1));
        if (sim_chance(sim, 3, 4)) {
            tombstone.first_ns = 0;
            tombstone.last_ns = (int64_t)sim->now_ms;
        }
        tombstone.condition_count = 1;
        tombstone.conditions[0].tag = text("host");
        tombstone.conditions[0].value = text(value);
        tombstone.conditions[0].negate = sim_chance(sim, 1, 4);
    }
    tombstone_put(&tombstone, out);
    sim->counters->deletes++;
}

/* Some of what is known of deletes by now. What is found may be ordered later, or never. */
static void prove(struct sim_replica *replica)
{
    struct store *store = replica->store.real;
    uint64_t upto = sim_chance(replica->node->sim, 3, 4)
                        ? replica->store.index
                        : sim_rand(replica->node->sim, (uint32_t)replica->store.index);
    struct proof_job *job;
    enum err err;

    CHECK(store_proof_begin(store, upto, &job) == ERR_OK);
    if (job == NULL)
        return;
    err = proof_run(job);
    if (err != ERR_OK)
        sim_found(replica->node->sim, replica, err_detail());
    store_proof_done(store, job, err != ERR_OK);
    replica->node->sim->counters->proofs++;
}

struct buf *sim_order_entry(struct sim_replica *replica)
{
    struct sim *sim = replica->node->sim;
    struct seal_database database = {text(SIM_DATABASE), SEAL_WINDOW_DEFAULT_NS, INT64_MIN, 0};
    struct mark mark = store_database_mark(replica->store.real, database.name);
    struct compact_rules rules = {3, 1 << 20, INT64_MAX, UINT64_MAX};
    struct seal_compaction compactions[SEAL_COMPACTIONS_MAX];
    struct seal_clean cleans[SEAL_CLEANS_MAX];
    uint32_t compaction_count = 0, clean_count = 0;
    struct bytes tombstone = {0};
    struct buf *entry;

    if (sim_chance(sim, 1, 4)) {
        int64_t first_ns = mark.cutoff_ns == INT64_MIN ? 0 : mark.cutoff_ns;
        int64_t oldest = oldest_ns(sim, replica->number);

        if (oldest > first_ns)
            database.cutoff_ns = first_ns + 1 + sim_rand(sim, (uint32_t)(oldest - first_ns));
        sim->counters->cutoffs++;
    } else if (sim_chance(sim, 1, 8)) {
        database.drop = mark.drop + 1;
        sim->counters->drops++;
    }
    if (sim_chance(sim, 1, 3))
        add_tombstone(sim, replica->number, &tombstone);
    if (sim_chance(sim, 1, 2))
        prove(replica);
    if (sim_chance(sim, 1, 3))
        CHECK(store_plan_compactions(replica->store.real, &rules, compactions, &compaction_count) ==
              ERR_OK);
    if (sim_chance(sim, 1, 2))
        CHECK(store_plan_cleans(replica->store.real, cleans, &clean_count) == ERR_OK);
    sim->counters->compactions += compaction_count;
    sim->counters->cleans += clean_count;
    entry = seal_order_entry(replica->number, replica->store.index,
                             &(struct seal_content){&database,
                                                    1,
                                                    {(const char *)tombstone.data, tombstone.size},
                                                    compactions,
                                                    compaction_count,
                                                    cleans,
                                                    clean_count});
    CHECK(entry != NULL && !tombstone.failed);
    bytes_fini(&tombstone);
    return entry;
}

/* ---- Rows and files ------------------------------------------------------------------------ */

uint64_t sim_order_digest(struct sim_replica *replica)
{
    struct snapshot *snapshot = store_snapshot(replica->store.real);
    struct scan_limits limits = {.memory_bytes = 1 << 20, .result_bytes = 1 << 20};
    uint64_t digest = 0, rows;

    CHECK(snapshot != NULL);
    if (scan_digest(snapshot, &limits, &digest, &rows) != ERR_OK)
        sim_found(replica->node->sim, replica, err_detail());
    snapshot_free(snapshot);
    return digest;
}

struct names {
    char names[256][48];
    uint32_t count;
};

static void add_name(void *arg, const char *name)
{
    struct names *names = arg;

    CHECK(names->count < 256 && strlen(name) < 48);
    memcpy(names->names[names->count++], name, strlen(name) + 1);
}

static void list_files(struct sim_replica *replica, struct names *ret_names)
{
    const struct disk *disk = mem_disk_table(replica->node->disk);
    char dir[32];

    *ret_names = (struct names){.count = 0};
    (void)snprintf(dir, sizeof dir, "/shard-%u", replica->number);
    CHECK(disk->list(disk->ctx, dir, add_name, ret_names) == ERR_OK);
}

static bool same_file(struct sim_replica *a, struct sim_replica *b, const char *name)
{
    char path[96];
    size_t a_size = 0, b_size = 0;
    uint8_t *a_bytes, *b_bytes;
    bool same;

    (void)snprintf(path, sizeof path, "/shard-%u/%s", a->number, name);
    a_bytes = mem_disk_get(a->node->disk, path, &a_size);
    b_bytes = mem_disk_get(b->node->disk, path, &b_size);
    same = a_bytes != NULL && b_bytes != NULL && a_size == b_size &&
           memcmp(a_bytes, b_bytes, a_size) == 0;
    free(a_bytes);
    free(b_bytes);
    return same;
}

static void compare_files(struct sim_replica *replica, struct sim_replica *leading)
{
    struct names *names = calloc(2, sizeof *names);

    CHECK(names != NULL);
    list_files(replica, &names[0]);
    list_files(leading, &names[1]);
    if (names[0].count != names[1].count)
        sim_found(replica->node->sim, replica, "FILES: replicas have different ones");
    for (uint32_t i = 0; i < names[0].count && replica->node->sim->finding[0] == '\0'; i++) {
        char what[SIM_FINDING_MAX];

        (void)snprintf(what, sizeof what, "FILES: %s differs", names[0].names[i]);
        if (!same_file(replica, leading, names[0].names[i]))
            sim_found(replica->node->sim, replica, what);
    }
    replica->node->sim->counters->files += names[0].count;
    free(names);
}

static bool waits_for_compactions(const struct sim_replica *replica)
{
    struct store_stats stats;

    store_stats(replica->store.real, &stats);
    return stats.compactions > 0;
}

void sim_order_compare(struct sim_replica *replica, struct sim_replica *leading)
{
    if (sim_order_digest(replica) != sim_order_digest(leading))
        sim_found(replica->node->sim, replica, "DIVERGENCE: replicas have different rows");
    else if (replica->store.jobs == NULL && leading->store.jobs == NULL &&
             replica->store.sealed_index == leading->store.sealed_index &&
             !waits_for_compactions(replica) && !waits_for_compactions(leading))
        compare_files(replica, leading);
}
