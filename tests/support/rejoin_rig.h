/*
 * rejoin_rig.h - a node whose meta group begins again, on a disk in memory, and the other nodes
 * that it asks, played on the caller's thread. For one program each: it defines what rejoin calls.
 *
 *     rejoin's thread --question--> wait_said(), wait_restart() on the caller's --> others[]
 */
#ifndef TESTS_SUPPORT_REJOIN_RIG_H
#define TESTS_SUPPORT_REJOIN_RIG_H

#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/fetch.h"
#include "node/meta.h"
#include "node/rejoin.h"
#include "node/shard.h"
#include "replication/configuration.h"
#include "storage/base/check.h"
#include "storage/base/clk.h"
#include "tests/support/mem_disk.h"

enum { NODES = 3, OWN = 2, PATIENCE_MS = 20000 };

/* ---- The other nodes ----------------------------------------------------------------------- */

static struct other {
    bool away;
    struct fetch_state state;
    struct fetch_known known;
    unsigned asked;
} others[NODES + 1]; /* By server. */

static struct node node;
static struct worker worker = {.node = &node};
static char meta_place;
static struct shard shard = {.worker = &worker, .meta = (struct meta *)&meta_place};
static struct shard *groups[1] = {&shard};
static struct mem_disk *memory;
static struct rejoin *rejoin;
static struct group_state own;
static struct bytes snapshot;
static struct buf *configuration; /* In it. */
static bool slow_round;           /* The next one takes so long that another follows, and sees: */
static uint64_t first_then;
static _Atomic uint64_t installed_index;
static _Atomic int install_err; /* enum err */

static _Atomic uint64_t clock_ahead_ms;

uint64_t worker_now_ms(void)
{
    return clk_now_ns() / 1000000 + clock_ahead_ms;
}

int uv_async_send(uv_async_t *async)
{
    (void)async;
    return 0;
}

int node_find_server(const struct node *of, uint64_t server)
{
    (void)of;
    return server >= 1 && server <= NODES ? (int)server - 1 : -1;
}

void group_state(const struct group *group, struct group_state *ret_state)
{
    (void)group;
    *ret_state = own;
}

enum err meta_install(const struct node *of, struct slice state, uint64_t index)
{
    (void)of;
    CHECK(state.size == 5);
    if (install_err != ERR_OK)
        return err_set((enum err)install_err, "told to");
    installed_index = index;
    return ERR_OK;
}

static uint64_t own_sealed;

uint64_t meta_applied(const struct meta *meta)
{
    (void)meta;
    return own_sealed;
}

void router_free_piece(struct piece_request *request)
{
    buf_unref(request->bytes);
    free(request);
}

static enum err answer(struct piece_request *request, const void *bytes, size_t size)
{
    request->bytes = buf_new((uint32_t)size);
    CHECK(request->bytes != NULL);
    memcpy(request->bytes->bytes, bytes, size);
    request->bytes->size = (uint32_t)size;
    return ERR_OK;
}

static enum err play(struct piece_request *request)
{
    const struct fetch_piece *piece = &request->piece;
    struct other *other = &others[request->server];
    struct bytes bytes = {0};

    CHECK(piece->shard == FETCH_META);
    other->asked++;
    if (other->away)
        return err_set(ERR_UNAVAILABLE, "node %u is not connected", (unsigned)request->server);
    if (piece->kind == FETCH_KIND_SNAPSHOT && slow_round) {
        clock_ahead_ms += 6000;
        slow_round = false;
        others[1].state.first = first_then;
    }
    if (piece->kind == FETCH_KIND_KNOWN) {
        fetch_put_known(&other->known, &bytes);
        (void)answer(request, bytes.data, bytes.size);
        bytes_fini(&bytes);
        return ERR_OK;
    }
    if (piece->kind == FETCH_KIND_SNAPSHOT)
        return answer(request, snapshot.data + piece->offset, piece->length);
    CHECK(piece->kind == FETCH_KIND_STATE);
    if (other->state.leads) {
        other->state.snapshot_size = snapshot.size;
        other->state.snapshot_hash = key_hash(snapshot.data, snapshot.size);
    }
    fetch_put_state(&other->state, &bytes);
    (void)answer(request, bytes.data, bytes.size);
    bytes_fini(&bytes);
    return ERR_OK;
}

void router_piece(struct worker *of, struct piece_request *request)
{
    enum err err = play(request);

    (void)of;
    request->route.answer.code = err;
    (void)snprintf(request->route.answer.text, sizeof request->route.answer.text, "%s",
                   err == ERR_OK ? "" : err_detail());
    request->route.done(&request->route);
}

/* ---- The node ------------------------------------------------------------------------------ */

static inline void rejoin_rig_init(void)
{
    static const uint64_t voters[NODES] = {1, 2, 3};
    struct fetch_snapshot of = {
        .index = 70, .term = 4, .configuration_index = 1, .state = {"state", 5}};
    sigset_t signals;

    (void)sigemptyset(&signals); /* It asks itself to begin anew by one: as main.c does. */
    (void)sigaddset(&signals, SIGUSR1);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    memory = mem_disk_new();
    node.disk = mem_disk_table(memory);
    CHECK(node.disk->make_dir(node.disk->ctx, "data") == ERR_OK);
    (void)snprintf(node.options.node.data_dir, sizeof node.options.node.data_dir, "data");
    node.server = OWN;
    node.groups = 1;
    node.worker_count = 1;
    node.workers = &worker;
    worker.groups = groups;
    node.options.cluster.node_count = NODES;
    for (unsigned i = 0; i < NODES; i++)
        node.options.cluster.nodes[i].id = i + 1;
    (void)uv_mutex_init(&node.board_lock);
    node.board = calloc(1, sizeof *node.board);
    CHECK(configuration_encode(voters, NODES, &configuration) == ERR_OK);
    of.configuration = (struct slice){(const char *)configuration->bytes, configuration->size};
    fetch_put_snapshot(&of, &snapshot);
    others[1].state = (struct fetch_state){.term = 5, .first = 60, .last = 90, .leads = true};
    others[3].state = (struct fetch_state){.term = 5, .first = 60, .last = 88};
    others[1].known.start = 11;
    others[3].known.start = 33;
}

static inline void rejoin_rig_fini(void)
{
    rejoin_stop(rejoin);
    rejoin_free(rejoin);
    bytes_fini(&snapshot);
    buf_unref(configuration);
    free(node.board);
    uv_mutex_destroy(&node.board_lock);
    mem_disk_free(memory);
}

static inline void start(bool fresh)
{
    CHECK(rejoin_open(&node, fresh, &rejoin) == ERR_OK);
    CHECK(rejoin_start(rejoin) == ERR_OK);
}

static inline void stop(void)
{
    rejoin_stop(rejoin);
    rejoin_free(rejoin);
    rejoin = NULL;
    atomic_store(&node.again, false);
}

static char said[ERR_DETAIL_MAX];
static enum rejoin_state listed;

static inline void note(void *arg, uint32_t group, enum rejoin_state state, const char *what)
{
    (void)arg;
    CHECK(group == 0);
    listed = state;
    (void)snprintf(said, sizeof said, "%s", what);
}

/* Carry out what the thread asks for until it has said this. */
static inline void wait_said(const char *what)
{
    uint64_t until_ms = worker_now_ms() + PATIENCE_MS;

    do {
        CHECK(worker_now_ms() < until_ms);
        rejoin_serve(rejoin, &worker);
        rejoin_each(rejoin, note, NULL);
        (void)sched_yield();
    } while (strstr(said, what) == NULL);
}

static inline void wait_restart(void)
{
    uint64_t until_ms = worker_now_ms() + PATIENCE_MS;

    while (!atomic_load(&node.again)) {
        CHECK(worker_now_ms() < until_ms);
        rejoin_serve(rejoin, &worker);
        (void)sched_yield();
    }
}

#endif
