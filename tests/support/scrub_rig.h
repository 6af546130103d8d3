/*
 * scrub_rig.h - a scrub over one store on a disk in memory, and the other nodes that it asks,
 * played. For one program each: it defines what the scrub calls.
 *
 *     scrub thread --piece--> rig_turn() on the caller's thread --> what the played node's disk has
 */
#ifndef TESTS_SUPPORT_SCRUB_RIG_H
#define TESTS_SUPPORT_SCRUB_RIG_H

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/wire/fetch.h"
#include "node/meta.h"
#include "node/rejoin.h"
#include "node/scrub.h"
#include "node/shard_io.h"
#include "storage/base/check.h"
#include "storage/base/clk.h"
#include "storage/manifest.h"
#include "tests/support/replica.h"

enum { RIG_NODES = 3 };

struct rig {
    struct replica replica;
    struct mem_disk *others[RIG_NODES]; /* Disks of the other nodes; NULL: away. */
    bool says_little;                   /* Answers are a byte short. */
    struct node node;
    struct worker worker;
    struct shard shard;
    struct shard *groups[2];
    struct scrub *scrub;
    struct log *log; /* On the replica's disk; nothing is in it. */
    unsigned pieces, meta_saves;
};
static struct rig rig;

/* ---- What the scrub calls ------------------------------------------------------------------ */

uint64_t worker_now_ms(void)
{
    return clk_now_ns() / 1000000;
}

int uv_async_send(uv_async_t *async)
{
    (void)async;
    return 0;
}

enum err meta_verify(const struct disk *disk, const char *dir)
{
    (void)disk;
    (void)dir;
    return rig.meta_saves == 0 ? err_set(ERR_CORRUPT, "told to") : ERR_OK;
}

void meta_save_again(struct meta *meta)
{
    (void)meta;
    rig.meta_saves++;
}

struct store_options shard_store_options(struct shard *shard, char *dir, size_t size)
{
    (void)shard;
    (void)dir;
    (void)size;
    return rig.replica.options;
}

void shard_adopt(struct shard *shard, struct compact_job *job)
{
    enum err err = compact_adopt(job);

    store_compact_done(shard->store, job, err != ERR_OK);
}

bool rejoin_is_silent(const struct rejoin *rejoin, uint32_t group)
{
    (void)rejoin;
    (void)group;
    return false;
}

void router_free_piece(struct piece_request *request)
{
    buf_unref(request->bytes);
    free(request);
}

/* What the manifest of the played node says of a segment. */
static enum err rig_facts(struct piece_request *request)
{
    uint64_t number = request->piece.number;
    const struct segment_info *found = NULL;
    const struct compaction *made;
    struct bytes bytes = {0};
    struct manifest manifest;

    CHECK(manifest_load(mem_disk_table(rig.others[request->server - 1]), "data", 0, &manifest) ==
          ERR_OK);
    made = compactions_find(&manifest.compactions, number);
    if (made != NULL && made->input_count == 0)
        found = &made->info;
    for (uint32_t i = 0; i < manifest.segment_count; i++)
        if (manifest.segments[i].number == number)
            found = &manifest.segments[i];
    if (found != NULL)
        manifest_put_segment(found, &bytes);
    manifest_fini(&manifest);
    if (found == NULL)
        return err_set(ERR_NOT_FOUND, "no segment %u", (unsigned)number);
    request->bytes = buf_new((uint32_t)bytes.size);
    CHECK(request->bytes != NULL);
    request->bytes->size = (uint32_t)bytes.size;
    memcpy(request->bytes->bytes, bytes.data, bytes.size);
    bytes_fini(&bytes);
    return ERR_OK;
}

static enum err rig_answer(struct piece_request *request)
{
    const struct fetch_piece *piece = &request->piece;
    struct mem_disk *disk = rig.others[request->server - 1];
    struct store_file file = {.kind = (enum store_file_kind)piece->kind, .number = piece->number};
    char name[STORE_FILE_NAME_SIZE], path[64];
    uint8_t *bytes;
    size_t size = 0;

    if (piece->kind == FETCH_KIND_FACTS && disk != NULL)
        return rig_facts(request);
    file.run.count = (uint32_t)piece->number;
    store_file_name(&file, name);
    (void)snprintf(path, sizeof path, "data/%s", name);
    bytes = disk == NULL ? NULL : mem_disk_get(disk, path, &size);
    if (bytes == NULL)
        return err_set(ERR_NOT_FOUND, "no %s", path);
    if (size < piece->offset + piece->length) {
        free(bytes);
        return err_set(ERR_CORRUPT, "%s is short", path);
    }
    request->bytes = buf_new(piece->length);
    CHECK(request->bytes != NULL);
    request->bytes->size = piece->length - rig.says_little;
    memcpy(request->bytes->bytes, bytes + piece->offset, request->bytes->size);
    free(bytes);
    return ERR_OK;
}

void router_piece(struct worker *worker, struct piece_request *request)
{
    enum err err = rig_answer(request);

    (void)worker;
    rig.pieces++;
    request->route.answer.code = err;
    (void)snprintf(request->route.answer.text, sizeof request->route.answer.text, "%s",
                   err == ERR_OK ? "" : err_detail());
    request->route.done(&request->route);
}

/* ---- The rig ------------------------------------------------------------------------------- */

/* As the worker does every tick, and whenever its bell rings. */
static inline void rig_turn(void)
{
    struct timespec pause = {0, 1000000};

    scrub_serve(rig.scrub, &rig.worker);
    (void)scrub_sync(rig.scrub, 0, &rig.shard.store);
    rig.replica.store = rig.shard.store;
    (void)nanosleep(&pause, NULL);
}

static inline enum err rig_replay(void *arg, const struct log_record *record)
{
    (void)arg;
    (void)record;
    return ERR_OK;
}

static inline void rig_open_log(void)
{
    struct log_options options = {.disk = mem_disk_table(rig.replica.disk),
                                  .dir = "log",
                                  .node = 1,
                                  .cluster = 1,
                                  .groups = 2,
                                  .file_bytes = 64 * 1024,
                                  .bytes_max = 1024 * 1024};

    CHECK(log_open(&options, rig_replay, NULL, &rig.log) == ERR_OK);
}

/* The replica is open and as it shall be; every other node has the same files. */
static inline void rig_start(uint32_t nodes)
{
    rig_open_log();
    rig.node = (struct node){.shards = 1,
                             .groups = 2,
                             .worker_count = 1,
                             .server = 1,
                             .disk = mem_disk_table(rig.replica.disk),
                             .workers = &rig.worker,
                             .log = rig.log};
    rig.node.options.cluster.node_count = nodes;
    for (uint32_t i = 0; i < nodes; i++) {
        rig.node.options.cluster.nodes[i].id = i + 1;
        rig.others[i] = i == 0 ? NULL : mem_disk_clone(rig.replica.disk);
    }
    rig.shard = (struct shard){.number = 1, .store = rig.replica.store};
    rig.groups[1] = &rig.shard;
    rig.worker = (struct worker){.node = &rig.node, .groups = rig.groups};
    CHECK(scrub_start(&rig.node, &rig.scrub) == ERR_OK);
}

static inline void rig_stop(void)
{
    scrub_stop(rig.scrub);
    scrub_serve(rig.scrub, &rig.worker); /* What was asked for is answered to nobody. */
    scrub_free(rig.scrub);
    rig.scrub = NULL;
    log_close(rig.log);
    for (uint32_t i = 0; i < RIG_NODES; i++) {
        if (rig.others[i] != NULL)
            mem_disk_free(rig.others[i]);
        rig.others[i] = NULL;
    }
}

/* Ask for a pass, and take turns until it is complete. */
static inline void rig_pass(void)
{
    uint64_t complete = scrub_ask(rig.scrub);
    struct scrub_status status;

    do {
        rig_turn();
        scrub_status(rig.scrub, &status);
    } while (status.passes < complete);
}

static inline void rig_until_mended(void)
{
    while (scrub_count(rig.scrub, 0) > 0)
        rig_turn();
}

#endif
