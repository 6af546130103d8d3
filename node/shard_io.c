#include "node/shard_io.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/meta.h"
#include "node/rejoin.h"
#include "node/seal_turn.h"
#include "replication/raft_wire.h"
#include "storage/base/check.h"
#include "storage/base/clk.h"
#include "storage/base/log_line.h"
#include "storage/store_damage.h"

enum {
    BALANCE_AFTER_MS = 3000, /* Lead this long before handing over to the preferred node. */
    LOAD_LINE_MS = 10000,    /* A follower asks for what cannot be read again and again. */
    PRESS_AGAIN_MS = 10000,  /* Between two seals of a shard for the log's sake. */
    SHARDS_MAX = 1024,       /* cluster.shards */
    EXIT_SOFTWARE = 70,      /* EX_SOFTWARE: the group's contract was broken. */
};

/* ---- The group's callbacks ----------------------------------------------------------------- */

static uint64_t io_now(void *ctx)
{
    (void)ctx;
    return worker_now_ms();
}

static uint64_t io_append(void *ctx, struct group *group, const struct log_record *record)
{
    struct shard *shard = ctx;

    (void)group;
    return log_port_append(shard->worker->log, record);
}

static void io_send(void *ctx, struct group *group, uint64_t to, struct group_message *message,
                    bool urgent)
{
    struct shard *shard = ctx;

    (void)group;
    if (shard->worker->phase == WORKER_CLOSING)
        group_message_free(message);
    else
        links_message(shard->worker->links, to, shard->number, message, urgent);
}

static bool io_send_queued(void *ctx, struct group *group, uint64_t to)
{
    struct shard *shard = ctx;

    (void)group;
    return shard->worker->phase != WORKER_CLOSING &&
           links_queued(shard->worker->links, to, shard->number);
}

static enum err io_apply(void *ctx, struct group *group, uint64_t index, uint64_t term,
                         struct buf *payload)
{
    struct shard *shard = ctx;
    uint64_t begin_ns;
    enum err err;

    (void)group;
    (void)term;
    if (shard->meta != NULL)
        return meta_apply(shard->meta, index, payload);
    if (shard->start.serves)
        return shard_apply(shard, index, payload);
    begin_ns = clk_now_ns();
    err = shard_apply(shard, index, payload);
    shard->start.apply_ns += clk_now_ns() - begin_ns;
    return err;
}

static void io_leader(void *ctx, struct group *group, bool leading)
{
    (void)group;
    shard_leader_changed(ctx, leading);
}

static void io_read_done(void *ctx, struct group *group, uint64_t token, bool ok)
{
    (void)group;
    shard_read_done(ctx, token, ok);
}

static void io_fatal(void *ctx, struct group *group, const char *what)
{
    struct shard *shard = ctx;

    (void)group;
    log_error("group=%u stops the node: %s; its log may be damaged: start again, and if this line "
              "comes back leave this node stopped: the others go on without it",
              shard->number, what);
    _exit(EXIT_SOFTWARE);
}

/* An old entry that a follower needs is read back by the pool. */
struct load_task {
    struct pool_job job;
    struct shard *shard;
    uint64_t index, term, position;
    struct buf *payload;
};

static void load_run(struct pool_job *job)
{
    struct load_task *task = CONTAINER_OF(job, struct load_task, job);
    enum err err = log_read(task->shard->worker->node->log, task->position, task->shard->number,
                            task->index, &task->payload);

    if (err != ERR_OK) {
        task->payload = NULL;
        log_every(LOAD_LINE_MS, LOG_WARN, "group=%u entry %" PRIu64 " for a follower: %s",
                  task->shard->number, task->index, err_detail());
    }
}

static void load_done(struct pool_job *job)
{
    struct load_task *task = CONTAINER_OF(job, struct load_task, job);

    group_loaded(task->shard->group, task->index, task->term, task->payload);
    buf_unref(task->payload);
    free(task);
}

static void io_load(void *ctx, struct group *group, uint64_t index, uint64_t term,
                    uint64_t position)
{
    struct shard *shard = ctx;
    struct load_task *task = calloc(1, sizeof *task);

    (void)group;
    if (task == NULL) {
        log_error("group=%u no memory to read an entry back", shard->number);
        abort();
    }
    *task = (struct load_task){.job = {.run = load_run, .done = load_done},
                               .shard = shard,
                               .index = index,
                               .term = term,
                               .position = position};
    worker_pool(shard->worker, &task->job);
}

struct group_io shard_io(struct shard *shard)
{
    return (struct group_io){
        .ctx = shard,
        .now_ms = io_now,
        .append = io_append,
        .send = io_send,
        .send_queued = io_send_queued,
        .apply = io_apply,
        .leader = io_leader,
        .load = io_load,
        .read_done = io_read_done,
        .fatal = io_fatal,
    };
}

/* ---- Start --------------------------------------------------------------------------------- */

/* Where the time of a start went, for operators and tests/bench/bench_start.py. */
static void note_start(struct shard *shard, const struct group_state *state)
{
    struct shard_start *start = &shard->start;
    uint64_t now_ns;

    if (state->leader == 0)
        return;
    now_ns = clk_now_ns();
    if (start->led_ns == 0)
        start->led_ns = now_ns;
    if (state->leading ? !state->ready : state->applied < state->commit)
        return;
    start->serves = true;
    log_info("group=%u serves %" PRIu64 " ms after the log was replayed: a leader after %" PRIu64
             " ms, %" PRIu64 " entries applied in %" PRIu64 " ms",
             shard->number, (now_ns - shard->worker->node->log_read_ns) / (uint64_t)NS_PER_MS,
             (start->led_ns - start->began_ns) / (uint64_t)NS_PER_MS, state->applied - start->from,
             start->apply_ns / (uint64_t)NS_PER_MS);
}

/* ---- Seals --------------------------------------------------------------------------------- */

/* What changes the manifest, one after the other: seals, and segments that were made of others. */
struct seal_task {
    struct pool_job job;
    struct shard *shard;
    struct seal_job *seal; /* One of the two. */
    struct compact_job *compaction;
    enum err err;
    struct err_note note;
    struct seal_task *next;
};

static void seal_in_pool(struct pool_job *job)
{
    struct seal_task *task = CONTAINER_OF(job, struct seal_task, job);

    task->err = task->seal != NULL ? seal_run(task->seal) : compact_adopt(task->compaction);
    if (task->err != ERR_OK)
        err_save(&task->note, task->err);
}

static void seal_done(struct shard *shard, struct seal_task *task)
{
    enum err err;

    if (task->err != ERR_OK && task->err != ERR_CANCELED)
        log_error("shard=%u seal failed, its rows stay in memory and in the log: %s: %s",
                  shard->number - 1, err_name(task->err), task->note.detail);
    store_seal_done(shard->store, task->seal, task->err != ERR_OK);
    shard_suspect(shard, task->err);
    if (task->err == ERR_OK) {
        uint64_t sealed = store_sealed_index(shard->store);

        err = group_sealed(shard->group, sealed);
        if (err != ERR_OK)
            log_warn("group=%u pruning: %s", shard->number, err_detail());
        group_evict(shard->group, sealed);
    }
}

static void seal_finished(struct pool_job *job)
{
    struct seal_task *task = CONTAINER_OF(job, struct seal_task, job);
    struct shard *shard = task->shard;

    shard->seals = task->next;
    if (shard->seals == NULL)
        shard->seals_end = &shard->seals;
    if (task->seal != NULL)
        seal_done(shard, task);
    else
        shard_compact_end(shard, task->compaction,
                          task->err == ERR_OK ? ERR_OK : err_restore(&task->note));
    free(task);
    if (shard->seals != NULL)
        worker_pool(shard->worker, &shard->seals->job);
    group_poke(shard->group);
}

static void queue_task(struct shard *shard, struct seal_job *seal, struct compact_job *compaction)
{
    struct seal_task *task = calloc(1, sizeof *task);

    if (task == NULL) {
        log_error("shard=%u no memory for a seal", shard->number - 1);
        abort();
    }
    *task = (struct seal_task){.job = {.run = seal_in_pool, .done = seal_finished},
                               .shard = shard,
                               .seal = seal,
                               .compaction = compaction};
    *shard->seals_end = task;
    shard->seals_end = &task->next;
    if (shard->seals == task)
        worker_pool(shard->worker, &task->job);
}

void shard_seal(struct shard *shard, struct seal_job *job)
{
    queue_task(shard, job, NULL);
}

void shard_adopt(struct shard *shard, struct compact_job *job)
{
    queue_task(shard, NULL, job);
}

/* Propose a seal, if `wanted`, or if something has to be dropped or merged. */
static void propose_seal(struct shard *shard, bool wanted)
{
    bool drops;
    struct buf *entry = shard_seal_order(shard, (struct slice){NULL, 0}, &drops);
    uint64_t index;
    enum err err;

    if (entry == NULL)
        return; /* The next tick tries again. */
    if (wanted || drops) {
        err = shard_propose(shard, entry, &index);
        shard->seal_index = err == ERR_OK ? index : 0;
    }
    buf_unref(entry);
}

/* A shard that writes little keeps old files of the shared log alive: when half of what the log may
 * take was written behind its oldest rows, it seals what little it has. */
static bool holds_the_log(struct shard *shard, const struct store_stats *stats, uint64_t now_ms)
{
    const struct node *node = shard->worker->node;
    uint64_t oldest = group_position(shard->group, stats->sealed_index + 1);
    struct log_stats log;

    if (stats->applied_index == stats->sealed_index || stats->sealing || oldest == 0 ||
        now_ms - shard->pressed_ms < PRESS_AGAIN_MS)
        return false;
    log_stats(node->log, &log);
    if (log_files_between(oldest, log.position) * node->options.log.file_bytes <
        node->options.log.bytes_max / 2)
        return false;
    shard->pressed_ms = now_ms;
    return true;
}

/* The group whose turn it is; 0: none's. What the board knows is as old as each one's last tick. */
static uint32_t seal_turn(struct node *node)
{
    uint32_t count = node->groups - 1;
    struct seal_turn turns[SHARDS_MAX];
    uint32_t at;

    CHECK(count <= SHARDS_MAX);
    uv_mutex_lock(&node->board_lock);
    for (uint32_t i = 0; i < count; i++) {
        const struct store_stats *store = &node->board[i + 1].store;

        turns[i] = (struct seal_turn){store->head_bytes, store->sealing};
    }
    uv_mutex_unlock(&node->board_lock);
    at = seal_turn_of(turns, count, shard_seal_bytes(node));
    return at == count ? 0 : at + 1;
}

static void seal_now_and_then(struct shard *shard, const struct board_group *board, bool its_turn,
                              uint64_t now_ms)
{
    const struct store_stats *stats = &board->store;
    bool wanted =
        store_wants_seal(shard->store, its_turn) || holds_the_log(shard, stats, now_ms) ||
        (!stats->sealing && shard_is_asked(shard, &board->group, stats->sealed_index, now_ms));

    if (wanted || shard_looks_for_drops(shard, now_ms))
        propose_seal(shard, wanted);
}

/* ---- Now and then -------------------------------------------------------------------------- */

static void balance(struct shard *shard, const struct group_state *state, uint64_t now_ms)
{
    struct node *node = shard->worker->node;
    uint64_t preferred =
        node->options.cluster.nodes[shard->number % node->options.cluster.node_count].id;
    enum err err;

    if (preferred == node->server || shard->led_since_ms == 0 ||
        now_ms - shard->led_since_ms < BALANCE_AFTER_MS)
        return;
    if (!shard_may_take_over(shard, state, preferred))
        return;
    shard->led_since_ms = now_ms; /* Not again before BALANCE_AFTER_MS if it fails. */
    err = group_transfer(shard->group, preferred);
    if (err == ERR_OK)
        log_info("group=%u moves to its preferred leader, node %" PRIu64, shard->number, preferred);
}

/* Our disk is full; others may have room. */
static void leave_to_others(struct shard *shard)
{
    if (group_transfer(shard->group, 0) == ERR_OK)
        log_info("group=%u is handed over, since the disk is full here", shard->number);
}

void shard_publish(struct shard *shard)
{
    struct group_state state;

    group_state(shard->group, &state);
    if (shard->silent)
        state.leader = rejoin_leader(shard->worker->node->rejoin, shard->number);
    else if (!shard->start.serves)
        note_start(shard, &state);
    /* That first, and a release that pairs with the acquire of node_ready(): who sees this node
     * lead must not see what was before. */
    atomic_store_explicit(&shard->worker->node->takes_writes[shard->number], state.ready,
                          memory_order_relaxed);
    atomic_store_explicit(&shard->worker->node->leaders[shard->number], state.leader,
                          memory_order_release);
}

static void put_on_board(struct shard *shard, const struct board_group *board)
{
    struct node *node = shard->worker->node;

    uv_mutex_lock(&node->board_lock);
    node->board[shard->number] = *board;
    uv_mutex_unlock(&node->board_lock);
}

/* If it begins again with another log for certain, nobody needs what stands in this one. */
static void tick_silent(struct shard *shard, struct board_group *board)
{
    board->group.leader = rejoin_leader(shard->worker->node->rejoin, shard->number);
    put_on_board(shard, board);
    if (shard->kept_after == UINT64_MAX || shard->worker->held ||
        rejoin_keeps_log(shard->worker->node->rejoin, shard->number))
        return;
    shard->kept_after = UINT64_MAX;
    log_port_keep_after(shard->worker->log, shard->number, UINT64_MAX);
}

static void tick(struct shard *shard, bool its_turn, uint64_t now_ms)
{
    struct node *node = shard->worker->node;
    struct board_group board = {.at_ms = now_ms};
    uint64_t keep_after = group_keep_after(shard->group), sealed;
    bool may_propose, damaged;

    group_state(shard->group, &board.group);
    shard_rejoin_tick(shard, &board.group, now_ms);
    if (shard->silent) {
        tick_silent(shard, &board);
        return;
    }
    damaged = shard_care(shard, &board.group, now_ms);
    may_propose = board.group.ready && shard->worker->phase == WORKER_RUNNING;
    if (shard->store != NULL)
        store_stats(shard->store, &board.store);
    put_on_board(shard, &board);

    sealed = shard->meta != NULL ? meta_saved(shard->meta) : board.store.sealed_index;
    shard_ask_seal(shard, &board.group, sealed);
    shard_leave_for_log(shard, &board.group, sealed, now_ms);
    if (keep_after > shard->kept_after) {
        shard->kept_after = keep_after;
        log_port_keep_after(shard->worker->log, shard->number, keep_after);
    }
    if (shard->store != NULL)
        shard_compact_tick(shard, now_ms);
    if (shard->meta != NULL) {
        shard_save_for_log(shard, &board.group, now_ms);
        meta_tick(shard->meta, now_ms);
    } else if (may_propose && shard->seal_index == 0) {
        seal_now_and_then(shard, &board, its_turn, now_ms);
    }
    if (may_propose && log_writer_is_short(node->writer))
        leave_to_others(shard);
    else if (may_propose && !damaged)
        balance(shard, &board.group, now_ms);
}

void shard_tick_all(struct worker *worker, uint64_t now_ms)
{
    struct node *node = worker->node;
    uint32_t turn = seal_turn(node);

    for (uint32_t g = worker->number; g < node->groups; g += node->worker_count)
        tick(worker->groups[g], turn == g, now_ms);
}
