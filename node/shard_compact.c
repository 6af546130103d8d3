/*
 * A shard's compactions: what its leader orders, by its clock, and how every replica comes to make
 * what was ordered: merged by the compactor's thread, taken in by the pool, between seals. That
 * thread also finds out for the leader which segments have rows that were deleted.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "node/compactor.h"
#include "node/shard_io.h"
#include "storage/base/clk.h"
#include "storage/base/log_line.h"
#include "storage/store_damage.h"
#include "storage/store_proof.h"

enum {
    FANOUT = 8,           /* ADR 0018 has what 4 and 8 come to. */
    QUIET_MS = 60 * 1000, /* What was not written to for so long is not written to any more. */
    PROVE_MS = 1000,      /* Between two looks for segments that deletes are due for. */
    ALONE_MS = 10 * 1000, /* After this a compaction does not wait for a seal any more. */
};

/* ---- A task of the compactor's thread ------------------------------------------------------- */

struct shard_task {
    struct compact_task task;
    struct shard *shard;
    struct proof_job *proof; /* One of the two. */
    struct compact_job *merge;
    uint64_t took_ms;
    enum err err;
    struct err_note note;
};

static void run_in_thread(struct compact_task *compact_task)
{
    struct shard_task *task = CONTAINER_OF(compact_task, struct shard_task, task);
    uint64_t start_ms = worker_now_ms();

    task->err = task->proof != NULL ? proof_run(task->proof) : compact_run(task->merge);
    if (task->err != ERR_OK)
        err_save(&task->note, task->err);
    task->took_ms = worker_now_ms() - start_ms;
}

/* NULL: no memory, the next tick tries again. */
static struct shard_task *new_task(struct shard *shard, void (*done)(struct compact_task *task))
{
    struct shard_task *task = calloc(1, sizeof *task);

    if (task != NULL) {
        task->task = (struct compact_task){shard->worker, run_in_thread, done, NULL};
        task->shard = shard;
    }
    return task;
}

/* ---- Proving ------------------------------------------------------------------------------- */

static void say_found(const struct shard *shard, const struct shard_task *task)
{
    const struct proof_job *job = task->proof;
    uint32_t asked = 0, hit = 0;

    for (uint32_t i = 0; i < job->count; i++) {
        asked += job->items[i].asked;
        hit += job->items[i].hit;
    }
    log_info("shard=%u deletes up to log index %" PRIu64 " may hide rows of %u of %u segments: "
             "found in %" PRIu64 " ms",
             shard->number - 1, job->upto, hit, asked, task->took_ms);
}

static void proof_done(struct compact_task *compact_task)
{
    struct shard_task *task = CONTAINER_OF(compact_task, struct shard_task, task);
    struct shard *shard = task->shard;
    enum err err = task->err == ERR_OK ? ERR_OK : err_restore(&task->note);

    say_found(shard, task);
    if (err != ERR_OK && err != ERR_CANCELED)
        log_warn("shard=%u what was deleted is looked for again in %d s: %s: %s", shard->number - 1,
                 COMPACT_RETRY_S, err_name(err), err_detail());
    shard_suspect(shard, err);
    store_proof_done(shard->store, task->proof, err != ERR_OK);
    free(task);
}

/* Short: 100 ms later merges have their turn. */
static void prove(struct shard *shard)
{
    struct shard_task *task = new_task(shard, proof_done);

    if (task == NULL)
        return;
    if (store_proof_begin(shard->store, shard->erase.index, &task->proof) != ERR_OK ||
        task->proof == NULL) {
        free(task);
        return;
    }
    compactor_queue(shard->worker->node->compactor, &task->task);
}

/* ---- Making -------------------------------------------------------------------------------- */

static void merge_done(struct compact_task *compact_task)
{
    struct shard_task *task = CONTAINER_OF(compact_task, struct shard_task, task);
    struct shard *shard = task->shard;

    if (task->err == ERR_OK) {
        log_info("shard=%u segment=%" PRIu64 " made of %u others: %" PRIu64 " rows, %" PRIu64
                 " bytes, in %" PRIu64 " ms",
                 shard->number - 1, task->merge->number, task->merge->input_count,
                 task->merge->info.rows, task->merge->info.size, task->took_ms);
        store_compact_ready(shard->store, task->merge);
        shard_adopt(shard, task->merge);
    } else {
        shard_compact_end(shard, task->merge, err_restore(&task->note));
    }
    free(task);
}

void shard_compact_end(struct shard *shard, struct compact_job *job, enum err err)
{
    if (err == ERR_CORRUPT && store_compact_is_stale(shard->store, job))
        err = ERR_CANCELED; /* What is damaged indeed is met again. */
    if (err != ERR_OK && err != ERR_CANCELED && !shard->compact_failed)
        log_warn("shard=%u compaction failed, what it was to merge stays, and it is tried again "
                 "every %d s: %s: %s",
                 shard->number - 1, COMPACT_RETRY_S, err_name(err), err_detail());
    if (err != ERR_CANCELED)
        shard->compact_failed = err != ERR_OK;
    shard_suspect(shard, err);
    store_compact_done(shard->store, job, err != ERR_OK);
}

static void begin(struct shard *shard)
{
    struct shard_task *task = new_task(shard, merge_done);

    if (task == NULL)
        return;
    if (store_compact_begin(shard->store, &task->merge) != ERR_OK) {
        free(task);
        return;
    }
    compactor_queue(shard->worker->node->compactor, &task->task);
}

static void age(struct shard_aged *aged, uint64_t index, uint64_t now_ms, uint64_t after_ms)
{
    if (aged->since_ms != 0 && now_ms - aged->since_ms < after_ms)
        return;
    aged->index = aged->next;
    aged->next = index;
    aged->since_ms = now_ms;
}

void shard_compact_tick(struct shard *shard, uint64_t now_ms)
{
    uint64_t index = store_applied_index(shard->store);

    age(&shard->quiet, index, now_ms, QUIET_MS);
    age(&shard->erase, index, now_ms, shard->worker->node->options.storage.erase_after_ms);
    if (shard->worker->phase != WORKER_RUNNING || store_is_blind(shard->store))
        return;
    if (shard->led_since_ms != 0 && now_ms - shard->proved_ms >= PROVE_MS) {
        shard->proved_ms = now_ms;
        prove(shard);
    }
    if (store_wants_compaction(shard->store))
        begin(shard);
}

/* ---- Ordering ------------------------------------------------------------------------------ */

uint32_t shard_compact_plan(struct shard *shard, struct seal_compaction *ret_compactions)
{
    struct compact_rules rules = {
        .fanout = FANOUT,
        .bytes_max = shard->worker->node->options.storage.segment_bytes_max,
        .now_ns = clk_wall_ns(),
        .quiet_index = shard->quiet.index,
    };
    uint32_t count = 0;

    if (store_plan_compactions(shard->store, &rules, ret_compactions, &count) != ERR_OK)
        return 0; /* Without memory: the next look. */
    return count;
}

uint32_t shard_compact_cleans(struct shard *shard, struct seal_clean *ret_cleans)
{
    uint32_t count = 0;

    if (store_plan_cleans(shard->store, ret_cleans, &count) != ERR_OK)
        return 0; /* Without memory: the next look. */
    return count;
}

bool shard_compact_is_due(struct shard *shard, uint32_t planned)
{
    uint64_t now_ms = worker_now_ms();
    struct store_stats stats;

    if (planned == 0) {
        shard->compact_wanted_ms = 0;
        return false;
    }
    if (shard->compact_wanted_ms == 0)
        shard->compact_wanted_ms = now_ms;
    store_stats(shard->store, &stats);
    return stats.head_rows == 0 || now_ms - shard->compact_wanted_ms >= ALONE_MS;
}
