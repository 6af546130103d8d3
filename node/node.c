#include "node/node.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "node/compactor.h"
#include "node/meta.h"
#include "node/rejoin.h"
#include "node/scrub.h"
#include "node/shard.h"
#include "node/worker.h"
#include "storage/base/clk.h"
#include "storage/base/log_line.h"

enum { RESERVE_BYTES = 128 * 1024 * 1024, EPOCH_FILE_MAX = 64 };

int node_find_server(const struct node *node, uint64_t server)
{
    for (uint32_t i = 0; i < node->options.cluster.node_count; i++) {
        if (node->options.cluster.nodes[i].id == server)
            return (int)i;
    }
    return -1;
}

enum err node_ready(const struct node *node)
{
    uint32_t group;

    if (atomic_load_explicit(&node->stopping, memory_order_relaxed))
        return err_set(ERR_UNAVAILABLE, "the node stops");
    if (log_writer_is_short(node->writer))
        return err_set(ERR_DISK_FULL, "the log's disk is full");
    if (rejoin_holds(node->rejoin))
        return err_set(ERR_UNAVAILABLE, "the log is empty; other nodes are asked whether this one "
                                        "ran before");
    if (rejoin_next(node->rejoin, &group))
        return err_set(ERR_UNAVAILABLE, "group %u begins again from the other nodes", group);
    for (uint32_t g = 0; g < node->groups; g++) {
        uint64_t leader = /* Acquire: pairs with the release of shard_publish(). */
            atomic_load_explicit(&node->leaders[g], memory_order_acquire);

        if (leader == 0)
            return err_set(ERR_UNAVAILABLE, "group %u has no leader that this node knows", g);
        if (leader == node->server &&
            !atomic_load_explicit(&node->takes_writes[g], memory_order_relaxed))
            return err_set(ERR_UNAVAILABLE, "group %u: this node leads, and applies its log", g);
    }
    return ERR_OK;
}

/* ---- The data directory -------------------------------------------------------------------- */

static enum err lock_directory(struct node *node)
{
    char path[4096];

    (void)snprintf(path, sizeof path, "%s/lock", node->options.node.data_dir);
    node->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (node->lock_fd < 0)
        return err_set(ERR_IO, "%s: %s", path, strerror(errno));
    if (flock(node->lock_fd, LOCK_EX | LOCK_NB) == 0)
        return ERR_OK;
    if (errno != EWOULDBLOCK)
        return err_set(ERR_IO, "%s: locking it: %s", path, strerror(errno));
    return err_set(ERR_BUSY, "%s: another process uses this data directory",
                   node->options.node.data_dir);
}

/* Each start has a higher epoch than the one before, so that the sequences of this node's own
 * blocks (ingest.c) begin anew. Kept in a file, because clocks of edge machines jump; on a full
 * disk the clock has to do. */
static enum err next_epoch(struct node *node)
{
    char path[4096];
    char text[EPOCH_FILE_MAX + 1] = "";
    uint8_t *bytes;
    size_t size;
    unsigned long epoch = 0;
    enum err err;

    (void)snprintf(path, sizeof path, "%s/epoch", node->options.node.data_dir);
    err = disk_read_all(node->disk, path, EPOCH_FILE_MAX, &bytes, &size);
    if (err == ERR_OK) {
        char *end;

        memcpy(text, bytes, size);
        free(bytes);
        epoch = strtoul(text, &end, 10);
        if (end == text || (size_t)(end - text) + (*end == '\n') != size || epoch == 0 ||
            epoch >= UINT32_MAX)
            return err_set(ERR_CORRUPT,
                           "%s: \"%.20s\" is not a count of starts; write a number larger than any "
                           "before into it",
                           path, text);
    } else if (err != ERR_NOT_FOUND) {
        return err;
    }
    node->epoch = (uint32_t)epoch + 1;
    (void)snprintf(text, sizeof text, "%" PRIu32 "\n", node->epoch);
    err = disk_replace(node->disk, node->options.node.data_dir, "epoch", text, strlen(text));
    if (err != ERR_DISK_FULL)
        return err;
    log_warn("start %" PRIu32 " is not written down: %s", node->epoch, err_detail());
    return ERR_OK;
}

/* ---- Starting ------------------------------------------------------------------------------ */

static enum err replay(void *arg, const struct log_record *record)
{
    struct node *node = arg;
    struct shard *shard;

    shard = node->workers[node_owner(node, record->group)].groups[record->group];
    node->replayed.records++;
    node->replayed.bytes += record->payload == NULL ? 0 : record->payload->size;
    return group_replay(shard->group, record);
}

/* One worker's groups: opening a store reads its catalogs. */
struct opening {
    struct worker *worker;
    uv_thread_t thread;
    bool running;
    struct err_note how;
};

static void open_some(void *arg)
{
    struct opening *opening = arg;
    struct worker *worker = opening->worker;
    const struct node *node = worker->node;
    enum err err = ERR_OK;

    for (uint32_t g = worker->number; g < node->groups && err == ERR_OK; g += node->worker_count)
        err = shard_new(worker, g, &worker->groups[g]);
    err_save(&opening->how, err);
}

static enum err open_groups(struct node *node)
{
    struct opening *openings = calloc(node->worker_count, sizeof *openings);
    enum err err = openings == NULL ? err_set(ERR_NO_MEMORY, "%u groups", node->groups) : ERR_OK;

    for (uint32_t i = 0; i < node->worker_count && err == ERR_OK; i++) {
        openings[i].worker = &node->workers[i];
        openings[i].running = uv_thread_create(&openings[i].thread, open_some, &openings[i]) == 0;
        if (!openings[i].running)
            open_some(&openings[i]);
    }
    for (uint32_t i = 0; openings != NULL && i < node->worker_count; i++) {
        if (openings[i].running)
            (void)uv_thread_join(&openings[i].thread);
        if (err == ERR_OK && openings[i].how.code != ERR_OK)
            err = err_restore(&openings[i].how);
    }
    free(openings);
    if (err == ERR_OK)
        node->meta = node->workers[0].groups[0]->meta;
    return err;
}

static void wake_worker(void *arg, uint32_t port)
{
    struct node *node = arg;

    (void)uv_async_send(&node->workers[port].bell);
}

static void close_groups(struct node *node)
{
    for (uint32_t g = 0; g < node->groups; g++) {
        struct shard **shard = &node->workers[node_owner(node, g)].groups[g];

        shard_free(*shard);
        *shard = NULL;
    }
}

/* Read the log into the groups. */
static enum err read_log(struct node *node)
{
    char dir[4096];
    struct log_options options = {
        .disk = node->disk,
        .dir = dir,
        .node = node->server,
        .cluster = node->cluster,
        .groups = node->groups,
        .file_bytes = node->options.log.file_bytes,
        .bytes_max = node->options.log.bytes_max,
        .reserve_bytes = RESERVE_BYTES,
        .read_ahead = true,
    };

    (void)snprintf(dir, sizeof dir, "%s/log", node->options.node.data_dir);
    return log_open(&options, replay, node, &node->log);
}

/* What another node can give back must not keep this one from starting. */
static enum err read_log_or_rejoin(struct node *node)
{
    enum err err = read_log(node);

    if (err == ERR_IO && node->options.cluster.node_count > 1)
        return err_wrap(err,
                        "if the rest of the disk is well, move %s/log away and start with "
                        "--rejoin",
                        node->options.node.data_dir);
    if (err != ERR_CORRUPT || node->options.cluster.node_count == 1)
        return err;
    log_error("%s", err_detail());
    err = rejoin_lose_log(node->rejoin);
    if (err != ERR_OK)
        return err;
    close_groups(node); /* They know a part of it. */
    memset(&node->replayed, 0, sizeof node->replayed);
    err = open_groups(node);
    return err == ERR_OK ? read_log(node) : err;
}

static enum err open_log(struct node *node)
{
    uint64_t begin_ns = clk_now_ns();
    struct log_stats stats;
    enum err err = read_log_or_rejoin(node);

    if (err != ERR_OK)
        return err;
    node->log_read_ns = clk_now_ns();
    log_stats(node->log, &stats);
    log_info("stores opened in %" PRIu64 " ms; log replayed: %" PRIu64 " records, %" PRIu64
             " bytes in %" PRIu64 " files, in %" PRIu64 " ms",
             (begin_ns - node->start_ns) / (uint64_t)NS_PER_MS, node->replayed.records,
             node->replayed.bytes, stats.files,
             (node->log_read_ns - begin_ns) / (uint64_t)NS_PER_MS);
    return log_writer_start(node->log, node->worker_count, wake_worker, node, &node->writer);
}

static enum err allocate(struct node *node)
{
    node->workers =
        aligned_alloc(CACHE_LINE, ((node->worker_count * sizeof *node->workers) + CACHE_LINE - 1) /
                                      CACHE_LINE * CACHE_LINE);
    node->leaders = calloc(node->groups, sizeof *node->leaders);
    node->takes_writes = calloc(node->groups, sizeof *node->takes_writes);
    node->board = calloc(node->groups, sizeof *node->board);
    node->damage_heard =
        calloc((size_t)node->options.cluster.node_count * node->groups, sizeof *node->damage_heard);
    node->seal_asks =
        calloc((size_t)node->options.cluster.node_count * node->groups, sizeof *node->seal_asks);
    if (node->workers == NULL || node->leaders == NULL || node->takes_writes == NULL ||
        node->board == NULL || node->damage_heard == NULL || node->seal_asks == NULL)
        return err_set(ERR_NO_MEMORY, "%u groups", node->groups);
    memset(node->workers, 0, node->worker_count * sizeof *node->workers);
    return ERR_OK;
}

static enum err init_workers(struct node *node)
{
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < node->worker_count && err == ERR_OK; i++)
        err = worker_init(&node->workers[i], node, i);
    return err;
}

/* A log without a record is that of a new node, or of one that has lost its disk. */
static void hold_groups(struct node *node)
{
    rejoin_hold(node->rejoin);
    for (uint32_t i = 0; i < node->worker_count; i++)
        node->workers[i].held = true;
    for (uint32_t g = 0; g < node->groups; g++)
        node->workers[node_owner(node, g)].groups[g]->silent = true;
}

/* What is on the disk, into stores and groups. */
static enum err open_all(struct node *node, bool rejoin)
{
    uint32_t group;
    enum err err = rejoin_open(node, rejoin, &node->rejoin);

    if (err == ERR_OK)
        err = init_workers(node);
    if (err == ERR_OK)
        err = open_groups(node);
    if (err == ERR_OK)
        err = open_log(node);
    if (err == ERR_OK && node->replayed.records == 0 && node->options.cluster.node_count > 1 &&
        !rejoin_next(node->rejoin, &group))
        hold_groups(node);
    return err;
}

enum err node_start(const struct options *options, bool rejoin, struct node **ret_node)
{
    struct node *node = calloc(1, sizeof *node);
    enum err err;

    if (node == NULL)
        return err_set(ERR_NO_MEMORY, "the node");
    *ret_node = node; /* On an error the process ends; what was opened ends with it. */
    node->options = *options;
    node->disk = disk_system();
    node->start_ns = clk_now_ns();
    node->server = options->node.id;
    node->cluster = key_hash(options->cluster.id, strlen(options->cluster.id));
    node->shards = options->cluster.shards;
    node->groups = node->shards + 1;
    node->worker_count = options->workers < node->groups ? options->workers : node->groups;
    (void)uv_mutex_init(&node->board_lock);

    err = node->disk->make_dir(node->disk->ctx, options->node.data_dir);
    if (err == ERR_OK)
        err = lock_directory(node);
    if (err == ERR_OK)
        err = next_epoch(node);
    if (err == ERR_OK)
        err = allocate(node);
    if (err == ERR_OK)
        err = open_all(node, rejoin);
    if (err == ERR_OK)
        err = rejoin_start(node->rejoin);
    if (err == ERR_OK)
        err = compactor_start(node, &node->compactor);
    /* None runs before all are open: each copies the schema that the first one's group owns. */
    for (uint32_t i = 0; i < node->worker_count && err == ERR_OK; i++)
        err = worker_open(&node->workers[i]);
    if (err == ERR_OK)
        err = scrub_start(node, &node->scrub);
    for (uint32_t i = 0; i < node->worker_count && err == ERR_OK; i++)
        err = worker_start(&node->workers[i]);
    for (uint32_t i = 0; i < node->worker_count && err == ERR_OK; i++)
        err = worker_wait(&node->workers[i]);
    return err;
}

void node_stop(struct node *node)
{
    atomic_store(&node->stopping, true);
    scrub_stop(node->scrub);
    rejoin_stop(node->rejoin);
    for (uint32_t i = 0; i < node->worker_count; i++)
        worker_stop(&node->workers[i]);
    for (uint32_t i = 0; i < node->worker_count; i++)
        worker_join(&node->workers[i]);
    for (uint32_t i = 0; i < node->worker_count; i++)
        worker_empty_mail(&node->workers[i]);
    compactor_stop(node->compactor);
    scrub_free(node->scrub);
    rejoin_free(node->rejoin);
    log_writer_stop(node->writer);
    for (uint32_t i = 0; i < node->worker_count; i++)
        worker_fini(&node->workers[i]);
    if (log_finish(node->log) != ERR_OK)
        log_warn("the next start has to look for the log's end: %s", err_detail());
    log_close(node->log);
    (void)close(node->lock_fd);
    uv_mutex_destroy(&node->board_lock);
    free(node->workers);
    free(node->leaders);
    free(node->takes_writes);
    free(node->board);
    free(node->damage_heard);
    free(node->seal_asks);
    free(node);
}
