/*
 * What a shard does about damaged files: tells the scrub what readers met, refuses what needs them,
 * lets others lead, and gives pieces of its own files to other nodes.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/fetch.h"
#include "node/scrub.h"
#include "node/shard_io.h"
#include "storage/base/log_line.h"
#include "storage/manifest.h"

static_assert((int)MANIFEST_SEGMENT_SIZE == (int)FETCH_FACTS_SIZE,
              "facts are sent as they are kept");

enum {
    TELL_MS = 500,         /* Others are told so often what is damaged here, */
    HEARD_MS = 2000,       /* and believe it so long. */
    LEAVE_AFTER_MS = 250,  /* A small file is mended before others have elected anybody. */
    LEAVE_AGAIN_MS = 1000, /* A transfer takes an election's time at most. */
    LAG_MAX = 64,          /* Entries that who takes over may lack. */
    PATH_SIZE = 4096,
};

/* ---- Here ---------------------------------------------------------------------------------- */

void shard_suspect(struct shard *shard, enum err err)
{
    if (err == ERR_CORRUPT || err == ERR_IO)
        scrub_suspect(shard->worker->node->scrub, shard->number - 1);
}

/* What readers have flagged since the last tick. */
static void report(struct shard *shard)
{
    struct store_file file;
    uint32_t at = 0;

    while (store_next_damaged(shard->store, &at, &file))
        scrub_report(shard->worker->node->scrub, shard->number - 1, &file,
                     "a reader met wrong bytes, or it could not be opened");
}

bool shard_may_take_over(const struct shard *shard, const struct group_state *state,
                         uint64_t server)
{
    const struct node *node = shard->worker->node;

    for (uint32_t i = 0; i < state->servers; i++)
        if (state->peers[i].server == server && server != state->server)
            return state->peers[i].online && !state->peers[i].mute &&
                   state->peers[i].match + LAG_MAX >= state->last &&
                   !shard_is_damaged_at(node, server, shard->number) &&
                   !shard_asks_seal(node, server, shard->number);
    return false;
}

static uint64_t find_healthy(const struct shard *shard, const struct group_state *state)
{
    for (uint32_t i = 0; i < state->servers; i++)
        if (shard_may_take_over(shard, state, state->peers[i].server))
            return state->peers[i].server;
    return 0;
}

void shard_leave(struct shard *shard, const struct group_state *state, uint64_t now_ms)
{
    uint64_t server = find_healthy(shard, state);

    if (server == 0 || now_ms - shard->left_ms < LEAVE_AGAIN_MS)
        return;
    shard->left_ms = now_ms;
    if (group_transfer(shard->group, server) == ERR_OK)
        log_info("group=%u is handed over to node %" PRIu64 ", since files are damaged here",
                 shard->number, server);
}

bool shard_care(struct shard *shard, const struct group_state *state, uint64_t now_ms)
{
    struct scrub *scrub = shard->worker->node->scrub;

    if (shard->store == NULL)
        return false;
    report(shard);
    if (scrub_sync(scrub, shard->number - 1, &shard->store))
        shard_teach_cutoffs(shard, NULL);
    if (scrub_count(scrub, shard->number - 1) == 0 && !store_is_blind(shard->store)) {
        if (shard->damaged_ms != 0)
            group_poke(shard->group); /* It may have waited for its catalog. */
        shard->damaged_ms = 0;
        return false;
    }
    if (shard->damaged_ms == 0)
        shard->damaged_ms = now_ms;
    if (state->leading && now_ms - shard->damaged_ms >= LEAVE_AFTER_MS)
        shard_leave(shard, state, now_ms);
    return true;
}

/* ---- At others ----------------------------------------------------------------------------- */

static _Atomic uint64_t *heard(const struct node *node, uint64_t server, uint32_t group)
{
    int at = node_find_server(node, server);

    return at < 0 ? NULL : &node->damage_heard[(size_t)at * node->groups + group];
}

bool shard_is_damaged_at(const struct node *node, uint64_t server, uint32_t group)
{
    _Atomic uint64_t *at = heard(node, server, group);
    uint64_t said_ms = at == NULL ? 0 : atomic_load_explicit(at, memory_order_relaxed);

    return said_ms != 0 && worker_now_ms() - said_ms < HEARD_MS;
}

bool shard_is_damaged_everywhere(const struct node *node, uint32_t group)
{
    for (uint32_t i = 0; i < node->options.cluster.node_count; i++) {
        uint64_t server = node->options.cluster.nodes[i].id;

        if (server == node->server ? scrub_count(node->scrub, group - 1) == 0
                                   : !shard_is_damaged_at(node, server, group))
            return false;
    }
    return true;
}

void shard_hear_damage(struct node *node, uint64_t server, const struct buf *payload)
{
    struct fetch_damaged *damaged = malloc(sizeof *damaged);
    uint64_t now_ms = worker_now_ms();
    uint32_t next = 0, next_ask = 0;

    if (damaged == NULL || fetch_get_damaged(payload->bytes, payload->size, damaged) != ERR_OK ||
        heard(node, server, 0) == NULL) {
        free(damaged);
        return; /* It says so again. */
    }
    for (uint32_t i = 0; i < node->shards; i++) {
        bool is = next < damaged->count && damaged->shards[next] == i;

        next += is;
        atomic_store_explicit(heard(node, server, i + 1), is ? now_ms : 0, memory_order_relaxed);
    }
    for (uint32_t i = 0; i < node->groups; i++) {
        bool asks = next_ask < damaged->ask_count && damaged->asks[next_ask].group == i;

        shard_hear_ask(node, server, i, asks ? damaged->asks[next_ask].index : 0, now_ms);
        next_ask += asks;
    }
    free(damaged);
}

void shard_tell_damage(struct worker *worker, uint64_t now_ms)
{
    struct node *node = worker->node;
    struct fetch_damaged *damaged;
    struct bytes bytes = {0};
    struct buf *buf;

    if (worker->number != 0 || now_ms - worker->told_ms < TELL_MS)
        return;
    damaged = calloc(1, sizeof *damaged);
    for (uint32_t i = 0; damaged != NULL && i < node->shards; i++)
        if (scrub_count(node->scrub, i) > 0)
            damaged->shards[damaged->count++] = i;
    for (uint32_t i = 0; damaged != NULL && i < node->groups; i++) {
        uint64_t index = shard_own_ask(node, i);

        if (index != 0)
            damaged->asks[damaged->ask_count++] = (struct fetch_ask){i, index};
    }
    if (damaged == NULL || (damaged->count + damaged->ask_count == 0 && !worker->told_damage)) {
        free(damaged);
        return;
    }
    worker->told_ms = now_ms;
    worker->told_damage =
        damaged->count + damaged->ask_count > 0; /* That all is well is said once. */
    fetch_put_damaged(damaged, &bytes);
    free(damaged);
    buf = bytes.failed ? NULL : buf_new((uint32_t)bytes.size);
    if (buf != NULL) {
        memcpy(buf->bytes, bytes.data, bytes.size);
        buf->size = (uint32_t)bytes.size;
    }
    for (uint32_t i = 0; buf != NULL && i < node->options.cluster.node_count; i++) {
        uint64_t server = node->options.cluster.nodes[i].id;

        if (server != node->server) /* Who is away is told when he is back. */
            (void)(links_frame(worker->links, server, FRAME_DAMAGED, 0, buf, true) == ERR_OK);
    }
    buf_unref(buf);
    bytes_fini(&bytes);
}

/* ---- For others ---------------------------------------------------------------------------- */

struct piece_task {
    struct pool_job job;
    struct shard *shard;
    struct piece_request *request;
    char path[PATH_SIZE];
    enum err err;
    struct err_note note;
};

static enum err read_piece(struct piece_task *task)
{
    const struct disk *disk = task->shard->worker->node->disk;
    const struct fetch_piece *piece = &task->request->piece;
    struct file *file;
    struct buf *bytes = buf_new(piece->length);
    enum err err;

    if (bytes == NULL)
        return err_set(ERR_NO_MEMORY, "a piece of a file");
    err = disk->open(disk->ctx, task->path, FILE_READ, &file);
    if (err == ERR_OK) {
        err = disk->read(file, piece->offset, bytes->bytes, piece->length);
        disk->close(file);
    }
    if (err != ERR_OK) {
        buf_unref(bytes);
        return err == ERR_END ? err_set(ERR_CORRUPT, "%s", err_detail()) : err;
    }
    bytes->size = piece->length;
    task->request->bytes = bytes;
    return ERR_OK;
}

static void piece_in_pool(struct pool_job *job)
{
    struct piece_task *task = CONTAINER_OF(job, struct piece_task, job);

    task->err = read_piece(task);
    if (task->err != ERR_OK)
        err_save(&task->note, task->err);
}

static void piece_done(struct pool_job *job)
{
    struct piece_task *task = CONTAINER_OF(job, struct piece_task, job);
    struct worker *worker = task->shard->worker;

    if (task->err == ERR_OK)
        router_answer(worker, &task->request->route);
    else
        router_fail(worker, &task->request->route, err_restore(&task->note), 0);
    free(task);
}

static enum err read_facts(struct store *store, struct piece_request *request)
{
    struct segment_info info;
    struct bytes bytes = {0};
    enum err err = store_facts(store, request->piece.number, &info);

    if (err != ERR_OK)
        return err;
    manifest_put_segment(&info, &bytes);
    request->bytes = bytes.failed ? NULL : buf_new(FETCH_FACTS_SIZE);
    if (request->bytes != NULL) {
        memcpy(request->bytes->bytes, bytes.data, FETCH_FACTS_SIZE);
        request->bytes->size = FETCH_FACTS_SIZE;
    }
    bytes_fini(&bytes);
    return request->bytes != NULL ? ERR_OK : err_set(ERR_NO_MEMORY, "what is known of a segment");
}

static void answer_facts(struct shard *shard, struct piece_request *request)
{
    enum err err = read_facts(shard->store, request);

    if (err == ERR_OK)
        router_answer(shard->worker, &request->route);
    else
        router_fail(shard->worker, &request->route, err, 0);
}

void shard_piece(struct shard *shard, struct piece_request *request)
{
    const struct fetch_piece *piece = &request->piece;
    struct store_file file = {.kind = (enum store_file_kind)piece->kind,
                              .number = piece->number,
                              .size = piece->size,
                              .hash = piece->hash};
    char name[STORE_FILE_NAME_SIZE];
    struct piece_task *task;

    if (piece->kind >= FETCH_KIND_STATE) {
        shard_tell(shard, request);
        return;
    }
    if (piece->kind == FETCH_KIND_FACTS) {
        answer_facts(shard, request);
        return;
    }
    if (file.kind == STORE_FILE_CATALOG) /* Its name is all that is asked of the run. */
        file.run.count = (uint32_t)piece->number;
    store_file_name(&file, name);
    if (!store_has_file(shard->store, &file)) {
        router_fail(shard->worker, &request->route,
                    err_set(ERR_NOT_FOUND, "shard %u has no %s with hash %016" PRIx64, piece->shard,
                            name, piece->hash),
                    0);
        return;
    }
    task = calloc(1, sizeof *task);
    if (task == NULL) {
        router_fail(shard->worker, &request->route, err_set(ERR_NO_MEMORY, "a piece of %s", name),
                    0);
        return;
    }
    task->job = (struct pool_job){.run = piece_in_pool, .done = piece_done};
    task->shard = shard;
    task->request = request;
    (void)snprintf(task->path, sizeof task->path, "%s/%s", store_dir(shard->store), name);
    worker_pool(shard->worker, &task->job);
}
