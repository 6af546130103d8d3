#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/store_compact.h"
#include "tests/sim/sim.h"

/* Small, so that a run seals many times. */
enum {
    SEAL_BYTES = 4096,
    HEAD_BYTES_MAX = 64 * 1024,
    PRODUCERS_MAX = 64,
    SERIES_MAX = 10000,
    COMPACT_MEMORY = 1 << 20
};

static uint64_t mix(uint64_t hash, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;

    for (size_t i = 0; i < size; i++)
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 29;
}

/* Tell the group what the store holds durably; it writes it down, and trims. */
static void tell_sealed(struct sim_replica *replica)
{
    struct sim_store *store = &replica->store;

    store->told_index = store->sealed_index;
    if (group_sealed(replica->group, store->sealed_index) != ERR_OK)
        sim_found(replica->node->sim, replica, err_detail());
    group_evict(replica->group, store->sealed_index);
}

/* ---- The product's store ------------------------------------------------------------------- */

static void look(struct sim_replica *replica)
{
    struct sim_store *store = &replica->store;
    struct store_stats stats;

    store_stats(store->real, &stats);
    store->index = stats.applied_index;
    store->hash = stats.chain + 1; /* 0 is for nobody. */
    store->sealed_index = stats.sealed_index;
}

static bool open_real(struct sim_replica *replica)
{
    char dir[32];
    struct store_options options = {
        .disk = mem_disk_table(replica->node->disk),
        .dir = dir,
        .shard = replica->number,
        .series_max = SERIES_MAX,
        .head_bytes_max = HEAD_BYTES_MAX,
        .seal_bytes = SEAL_BYTES,
        .producers_max = PRODUCERS_MAX,
        .compact_memory = COMPACT_MEMORY,
    };

    (void)snprintf(dir, sizeof dir, "/shard-%u", replica->number);
    replica->store = (struct sim_store){0};
    if (store_open(&options, &replica->store.real) != ERR_OK) {
        char what[SIM_FINDING_MAX];

        (void)snprintf(what, sizeof what, "store_open: %s", err_detail());
        sim_found(replica->node->sim, replica, what);
        return false;
    }
    look(replica);
    return true;
}

static enum err apply_real(struct sim_replica *replica, uint64_t index, struct buf *payload)
{
    struct sim *sim = replica->node->sim;
    struct seal_job *seal = NULL;
    enum store_outcome outcome;
    enum err err = store_apply(replica->store.real, index, payload, &outcome, &seal);
    struct sim_job **end = &replica->store.jobs;

    if (err != ERR_OK)
        return err;
    if (outcome == STORE_REFUSED) {
        sim_found(sim, replica, err_detail());
        return ERR_CORRUPT;
    }
    if (seal != NULL) {
        while (*end != NULL)
            end = &(*end)->next;
        *end = calloc(1, sizeof **end);
        CHECK(*end != NULL);
        **end = (struct sim_job){.job = seal, .at_ms = sim->now_ms + 1 + sim_rand(sim, 200)};
    }
    look(replica);
    sim_client_applied(replica, index, outcome);
    return ERR_OK;
}

static void end_job(struct sim_replica *replica, bool failed)
{
    struct sim_job *job = replica->store.jobs;

    replica->store.jobs = job->next;
    store_seal_done(replica->store.real, job->job, failed);
    free(job);
}

/* As the leader's node does. */
static void propose_seal(struct sim_replica *replica)
{
    struct buf *entry = sim_order_entry(replica);
    uint64_t index;

    if (group_propose(replica->group, &entry, 1, &index) == ERR_OK)
        replica->store.sealing_at_ms = replica->node->sim->now_ms + 500; /* Not again soon. */
    buf_unref(entry);
}

/* Whatever is sealed, erased, merged or said to be clean: readers see what they saw before. */
static void expect_rows(struct sim_replica *replica, uint64_t digest)
{
    if (sim_order_digest(replica) != digest)
        sim_found(replica->node->sim, replica, "ROWS: others are read than before");
}

/* It is made at once, and taken in some time later: seals and orders may come between. */
static void compact(struct sim_replica *replica)
{
    struct sim *sim = replica->node->sim;
    struct sim_store *store = &replica->store;
    enum err err = ERR_OK;

    if (store->compaction == NULL) {
        if (!store_wants_compaction(store->real) || !sim_chance(sim, 1, 50))
            return;
        err = store_compact_begin(store->real, &store->compaction);
        if (err == ERR_OK)
            err = compact_run(store->compaction);
        store->compact_at_ms = sim->now_ms + 1 + sim_rand(sim, 500);
    } else if (store->compact_at_ms <= sim->now_ms) {
        uint64_t before = sim_order_digest(replica);

        store_compact_ready(store->real, store->compaction);
        err = compact_adopt(store->compaction);
        store_compact_done(store->real, store->compaction, err != ERR_OK);
        store->compaction = NULL;
        expect_rows(replica, before);
    }
    if (err != ERR_OK)
        sim_found(sim, replica, err_detail());
}

static void turn_real(struct sim_replica *replica)
{
    struct sim *sim = replica->node->sim;
    struct sim_store *store = &replica->store;

    if (store->jobs != NULL && store->jobs->at_ms <= sim->now_ms) {
        uint64_t before = sim_order_digest(replica);

        if (seal_run(store->jobs->job) != ERR_OK) {
            sim_found(sim, replica, err_detail());
            return;
        }
        end_job(replica, false);
        expect_rows(replica, before);
        look(replica);
        sim->counters->seals++;
    }
    compact(replica);
    if (store->told_index < store->sealed_index && sim_chance(sim, 1, 10))
        tell_sealed(replica);
    if (store->sealing_at_ms <= sim->now_ms && group_is_ready(replica->group) &&
        (store_wants_seal(store->real, false) || (!sim->quiet && sim_chance(sim, 1, 5000))))
        propose_seal(replica);
}

/* ---- A running hash ------------------------------------------------------------------------ */

static void open_plain(struct sim_replica *replica)
{
    struct sim_store *store = &replica->store;

    *store = (struct sim_store){.index = store->sealed_index,
                                .hash = store->sealed_hash,
                                .sealed_index = store->sealed_index,
                                .sealed_hash = store->sealed_hash};
}

static void apply_plain(struct sim_replica *replica, uint64_t index, uint64_t term,
                        const struct buf *payload)
{
    struct sim_store *store = &replica->store;
    uint64_t head[3] = {index, term, payload != NULL};

    store->index = index;
    store->hash = mix(store->hash, head, sizeof head);
    if (payload != NULL)
        store->hash = mix(store->hash, payload->bytes, payload->size < 64 ? payload->size : 64);
}

/* The manifest is durable before the log hears of it, and the node may die in between. */
static void turn_plain(struct sim_replica *replica)
{
    struct sim *sim = replica->node->sim;
    struct sim_store *store = &replica->store;

    if (store->sealing_at_ms == 0 && store->index >= store->sealed_index + sim->seal_every) {
        store->sealing_at_ms = sim->now_ms + 1 + sim_rand(sim, 100);
        store->sealing_index = store->index;
        store->sealing_hash = store->hash;
    }
    if (store->sealing_at_ms != 0 && store->sealing_at_ms <= sim->now_ms) {
        store->sealing_at_ms = 0;
        store->sealed_index = store->sealing_index;
        store->sealed_hash = store->sealing_hash;
        sim->counters->seals++;
    }
    if (store->told_index < store->sealed_index && sim_chance(sim, 1, 10))
        tell_sealed(replica);
}

/* ---- Either -------------------------------------------------------------------------------- */

bool sim_store_open(struct sim_replica *replica)
{
    if (replica->node->sim->options.store)
        return open_real(replica);
    open_plain(replica);
    return true;
}

void sim_store_close(struct sim_replica *replica)
{
    if (!replica->node->sim->options.store)
        return;
    while (replica->store.jobs != NULL)
        end_job(replica, true);
    if (replica->store.compaction != NULL)
        store_compact_done(replica->store.real, replica->store.compaction, true);
    replica->store.compaction = NULL;
    if (replica->store.real != NULL)
        store_close(replica->store.real);
    replica->store.real = NULL;
    sim_client_lost(replica);
}

enum err sim_store_apply(struct sim_replica *replica, uint64_t index, uint64_t term,
                         struct buf *payload)
{
    if (replica->node->sim->options.store)
        return apply_real(replica, index, payload);
    apply_plain(replica, index, term, payload);
    return ERR_OK;
}

void sim_store_turn(struct sim_replica *replica)
{
    struct sim *sim = replica->node->sim;
    struct sim_store *store = &replica->store;

    if (store->busy_until_ms != 0 && store->busy_until_ms <= sim->now_ms) {
        store->busy_until_ms = 0;
        group_poke(replica->group);
    }
    if (!sim->calm && sim_chance(sim, sim->p_busy, 10000))
        store->busy_until_ms = sim->now_ms + 1 + sim_rand(sim, 300);
    if (sim->options.store)
        turn_real(replica);
    else
        turn_plain(replica);
}

void sim_store_die(struct sim_replica *replica)
{
    struct sim *sim = replica->node->sim;

    if (replica->store.compaction != NULL && sim_chance(sim, 1, 2)) {
        struct compact_job *job = replica->store.compaction;

        replica->store.compaction = NULL;
        store_compact_ready(replica->store.real, job);
        mem_disk_fail(replica->node->disk, MEM_DISK_ANY, 1 + sim_rand(sim, 20), ERR_IO, true);
        store_compact_done(replica->store.real, job, compact_adopt(job) != ERR_OK);
        return;
    }
    if (replica->store.jobs == NULL || sim_chance(sim, 1, 2))
        return;
    mem_disk_fail(replica->node->disk, MEM_DISK_ANY, 1 + sim_rand(sim, 60), ERR_IO, true);
    end_job(replica, seal_run(replica->store.jobs->job) != ERR_OK);
}
