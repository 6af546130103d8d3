/*
 * Making, opening and starting a shard.
 */
#include <stdio.h>
#include <stdlib.h>

#include "node/meta.h"
#include "node/rejoin.h"
#include "node/shard_io.h"
#include "storage/base/clk.h"
#include "storage/base/log_line.h"
#include "storage/store_damage.h"

enum { SEAL_PARTS = 4 }; /* A seal begins early enough for its shard to go on meanwhile. */

uint64_t shard_head_bytes_max(const struct shard *shard)
{
    const struct node *node = shard->worker->node;

    return node->options.storage.head_bytes_max / node->shards;
}

static uint64_t min_bytes(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

uint64_t shard_seal_bytes(const struct node *node)
{
    return min_bytes(node->options.storage.seal_bytes,
                     node->options.storage.head_bytes_max / node->shards / SEAL_PARTS);
}

/* A shard's part of what its database may have. */
static uint64_t database_series_max(void *ctx, struct slice name)
{
    const struct shard *shard = ctx;
    const struct schema_database *database = schema_map_database(&shard->worker->schema, name);
    uint64_t shards = shard->worker->node->shards;

    return database == NULL ? 0 : (database->series_max + shards - 1) / shards;
}

struct store_options shard_store_options(struct shard *shard, char *dir, size_t size)
{
    struct node *node = shard->worker->node;
    uint32_t number = shard->number - 1;

    (void)snprintf(dir, size, "%s/shard-%u", node->options.node.data_dir, number);
    return (struct store_options){
        .disk = node->disk,
        .dir = dir,
        .shard = number,
        .series_max = node->options.storage.series_max,
        .database_series_max = database_series_max,
        .database_ctx = shard,
        .head_bytes_max = shard_head_bytes_max(shard),
        .seal_bytes = shard_seal_bytes(node),
        .producers_max = node->options.storage.producers_max,
        .compact_memory = node->options.storage.compact_memory,
        .last_bytes = node->options.storage.last_bytes / node->shards,
        .cancel = &node->stopping,
    };
}

/* Its state is damaged for good, here: another node has it. */
static enum err lose_state(struct shard *shard)
{
    shard->silent = true;
    return rejoin_lose_state(shard->worker->node->rejoin, shard->number);
}

static enum err open_meta(struct shard *shard)
{
    bool absent = shard->silent && !rejoin_keeps_log(shard->worker->node->rejoin, 0);
    enum err err = meta_open(shard, absent, &shard->meta);

    if (err != ERR_CORRUPT || shard->worker->node->options.cluster.node_count == 1)
        return err;
    log_error("group=0 begins again from other nodes: %s", err_detail());
    err = lose_state(shard);
    return err == ERR_OK ? meta_open(shard, true, &shard->meta) : err;
}

static enum err open_state(struct shard *shard)
{
    struct node *node = shard->worker->node;
    char dir[4096];
    struct store_options options;
    struct err_note note;
    enum err err;

    shard->silent = rejoin_is_silent(node->rejoin, shard->number);
    if (shard->number == 0)
        return open_meta(shard);
    options = shard_store_options(shard, dir, sizeof dir);
    if (shard->silent)
        return store_open_absent(&options, &shard->store);
    err = store_open(&options, &shard->store);
    if ((err != ERR_CORRUPT && err != ERR_IO) || node->options.cluster.node_count == 1)
        return err;
    /* What another node can give back must not keep this one from starting. */
    err_save(&note, err);
    log_error("shard=%u waits for other nodes to mend it: %s", shard->number - 1, note.detail);
    if (store_open_waiting(&options, &shard->store) == ERR_OK)
        return ERR_OK;
    err = lose_state(shard); /* Its manifest is gone, too. */
    return err == ERR_OK ? store_open_absent(&options, &shard->store) : err;
}

enum err shard_new(struct worker *worker, uint32_t number, struct shard **ret_shard)
{
    struct node *node = worker->node;
    struct shard *shard = calloc(1, sizeof *shard);
    struct group_options options = {
        .number = number,
        .server = node->server,
        .seed = clk_now_ns() ^ (node->server << 32) ^ number,
        .election_ms = node->options.raft.election_ms,
        .heartbeat_ms = node->options.raft.heartbeat_ms,
        .voter_count = node->options.cluster.node_count,
        .inflight_bytes_max = node->options.limits.inflight_bytes,
    };
    struct group_io io;
    enum err err;

    if (shard == NULL)
        return err_set(ERR_NO_MEMORY, "group %u", number);
    shard->worker = worker;
    shard->number = number;
    shard->parked_end = &shard->parked;
    shard->waiting_end = &shard->waiting;
    shard->seals_end = &shard->seals;
    shard->deletes_end = &shard->deletes;
    for (uint32_t i = 0; i < options.voter_count; i++)
        options.voters[i] = node->options.cluster.nodes[i].id;
    err = open_state(shard);
    if (err == ERR_OK) {
        io = shard_io(shard);
        err = group_new(&options, &io, &shard->group);
    }
    if (err != ERR_OK) {
        shard_free(shard);
        return err;
    }
    *ret_shard = shard;
    return ERR_OK;
}

void shard_free(struct shard *shard)
{
    if (shard->group != NULL)
        group_free(shard->group);
    if (shard->store != NULL)
        store_close(shard->store);
    if (shard->meta != NULL)
        meta_close(shard->meta);
    bytes_fini(&shard->offer.bytes);
    free(shard);
}

enum err shard_start(struct shard *shard)
{
    uint64_t applied =
        shard->meta != NULL ? meta_applied(shard->meta) : store_applied_index(shard->store);

    if (shard->silent)
        return ERR_OK;
    if (shard->store != NULL)
        shard_teach_cutoffs(shard, NULL);
    shard->start.began_ns = clk_now_ns();
    shard->start.from = applied;
    return shard_begin(shard, applied);
}
