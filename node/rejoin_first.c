/*
 * rejoin_first.c - a node whose log is empty: is it new, or has it lost its disk?
 *
 * Only the second has votes and acknowledgements to forget. Who they were given to knows: a node
 * that begins for the first time writes down, before its groups start, from which others it has
 * never heard ("unheard"), and takes one off, durably, before the first message of that one
 * counts. Without that file, all were heard.
 *
 *     others: one has heard of us      all have answered, none has      with us, most are empty
 *                    |                               |                            |
 *              lost: --rejoin                     a first start              a first start
 *
 * Otherwise it waits, and says for whom. Most of the nodes are enough, so that two of three can
 * begin without the third one; before that counts, the links have had time to come up.
 *
 * WITH      Who begins first is asked by those whom it had asked: it was empty when it found them
 *           so, and that has to go on counting. So each start has a random number, and a node
 *           remembers with which ones it began.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/fetch.h"
#include "node/rejoin_internal.h"
#include "node/worker.h"
#include "storage/base/buf.h"
#include "storage/base/crc32c.h"
#include "storage/base/log_line.h"
#include "storage/base/rand.h"

#define UNHEARD_FILE "unheard"

enum {
    LINKS_MS = 150, /* After the start: a node that is there has answered. */
    OFTEN_MS = 20,  /* Between two rounds, for */
    OFTEN_FOR_MS = 5000,
    SELDOM_MS = 300,
    TELL_MS = 60000,
    UNHEARD_SIZE_MAX = 256, /* Bytes: a line for each node, */
    SUM_SIZE = 10,          /* and the checksum. */
    PATH_SIZE = 4096,
};

static_assert(OPTIONS_NODES_MAX <= 64, "a bit for each");

/* ---- Whom this node has never heard ---------------------------------------------------------- */

/* "1\n3\n", and behind that: */
static void put_sum(const char *text, size_t size, char ret_sum[SUM_SIZE + 1])
{
    (void)snprintf(ret_sum, SUM_SIZE + 1, "x%08" PRIx32 "\n", crc32c(0, text, size));
}

/* What is not understood is not believed. */
static uint64_t bits_of(const struct node *node, const char *text, size_t size)
{
    char sum[SUM_SIZE + 1];
    const char *at = text;
    uint64_t bits = 0;

    if (size < SUM_SIZE)
        return 0;
    put_sum(text, size - SUM_SIZE, sum);
    if (strcmp(sum, text + size - SUM_SIZE) != 0)
        return 0;
    while (at < text + size - SUM_SIZE) {
        char *end;
        int place = node_find_server(node, strtoull(at, &end, 10));

        if (place >= 0)
            bits |= UINT64_C(1) << place;
        at = end + 1;
    }
    return bits;
}

enum err rejoin_first_open(struct rejoin *rejoin)
{
    const struct node *node = rejoin->node;
    char path[PATH_SIZE];
    uint8_t *bytes;
    size_t size;
    enum err err;

    do
        rand_entropy(&rejoin->first.start, sizeof rejoin->first.start);
    while (rejoin->first.start == 0);
    (void)snprintf(path, sizeof path, "%s/" UNHEARD_FILE, node->options.node.data_dir);
    err = disk_read_all(node->disk, path, UNHEARD_SIZE_MAX, &bytes, &size);
    if (err == ERR_OK) {
        atomic_store(&rejoin->first.unheard, bits_of(node, (const char *)bytes, size));
        free(bytes);
    } else if (err != ERR_NO_MEMORY) {
        if (err != ERR_NOT_FOUND)
            log_warn("all nodes count as heard: %s", err_detail());
        err = ERR_OK;
    }
    return err;
}

static enum err save_unheard(const struct node *node, uint64_t bits)
{
    const struct disk *disk = node->disk;
    const char *dir = node->options.node.data_dir;
    char text[UNHEARD_SIZE_MAX] = "", path[PATH_SIZE];
    size_t used = 0;
    enum err err;

    if (bits == 0) {
        (void)snprintf(path, sizeof path, "%s/" UNHEARD_FILE, dir);
        err = disk->remove(disk->ctx, path);
        return err == ERR_OK ? disk->sync_dir(disk->ctx, dir) : err;
    }
    for (uint32_t i = 0; i < node->options.cluster.node_count; i++)
        if ((bits >> i & 1) != 0)
            used += (size_t)snprintf(text + used, sizeof text - used, "%" PRIu64 "\n",
                                     node->options.cluster.nodes[i].id);
    put_sum(text, used, text + used);
    return disk_replace(disk, dir, UNHEARD_FILE, text, used + SUM_SIZE);
}

static bool is_unheard(const struct rejoin *rejoin, int at)
{
    return at >= 0 && (atomic_load(&rejoin->first.unheard) >> at & 1) != 0;
}

/* Once for each other node, in the life of a disk: the worker waits for that. */
bool rejoin_hear(struct rejoin *rejoin, uint64_t server)
{
    int at;
    enum err err = ERR_OK;

    if (atomic_load_explicit(&rejoin->first.unheard, memory_order_relaxed) == 0)
        return true;
    at = node_find_server(rejoin->node, server);
    if (!is_unheard(rejoin, at))
        return true;
    (void)pthread_mutex_lock(&rejoin->lock);
    if (is_unheard(rejoin, at)) {
        uint64_t bits = atomic_load(&rejoin->first.unheard) & ~(UINT64_C(1) << at);

        err = save_unheard(rejoin->node, bits);
        if (err == ERR_OK)
            atomic_store(&rejoin->first.unheard, bits);
    }
    (void)pthread_mutex_unlock(&rejoin->lock);
    if (err != ERR_OK)
        log_every(TELL_MS, LOG_ERROR,
                  "what node %" PRIu64 " says does not count before it is written down that it was "
                  "heard: %s",
                  server, err_detail());
    return err == ERR_OK;
}

struct fetch_known rejoin_known(struct rejoin *rejoin, uint64_t server, uint64_t start)
{
    int at = node_find_server(rejoin->node, server);
    struct fetch_known known = {.start = rejoin->first.start};

    (void)pthread_mutex_lock(&rejoin->lock);
    known.begins =
        rejoin_holds(rejoin) || (at >= 0 && start != 0 && rejoin->first.with[at] == start);
    known.knows = !rejoin_holds(rejoin) && !is_unheard(rejoin, at);
    (void)pthread_mutex_unlock(&rejoin->lock);
    return known;
}

/* ---- Asking ---------------------------------------------------------------------------------- */

void rejoin_hold(struct rejoin *rejoin)
{
    atomic_store(&rejoin->first.holds, true);
    rejoin->first.begin_ms = worker_now_ms();
    (void)snprintf(rejoin->first.what, sizeof rejoin->first.what, "the log is empty");
}

bool rejoin_holds(const struct rejoin *rejoin)
{
    return atomic_load(&rejoin->first.holds);
}

static enum err ask(struct rejoin *rejoin, uint64_t server, struct fetch_known *ret_known)
{
    const struct fetch_piece piece = {.shard = FETCH_META,
                                      .kind = FETCH_KIND_KNOWN,
                                      .number = rejoin->first.start,
                                      .size = FETCH_KNOWN_SIZE,
                                      .length = FETCH_KNOWN_SIZE};
    struct buf *bytes = NULL;
    enum err err = fetcher_piece(&rejoin->fetcher, server, &piece, 0, &bytes);

    if (err == ERR_OK)
        err = fetch_get_known(bytes->bytes, bytes->size, ret_known);
    buf_unref(bytes);
    return err;
}

/* What one round has found out. */
struct census {
    uint64_t with[OPTIONS_NODES_MAX]; /* Starts of those that are empty as well. */
    uint32_t silent, empty;           /* Numbers of nodes: without an answer; empty, we included. */
    uint64_t known_by;                /* A node that has heard of us; 0: none. */
    char missing[64];
};

/* ERR_CANCELED: the node stops. */
static enum err ask_all(struct rejoin *rejoin, struct census *ret_census)
{
    const struct options *options = &rejoin->node->options;
    struct census census = {.empty = 1};

    for (uint32_t i = 0; i < options->cluster.node_count; i++) {
        uint64_t server = options->cluster.nodes[i].id;
        struct fetch_known known;
        size_t used = strlen(census.missing);
        enum err err;

        if (server == rejoin->node->server)
            continue;
        err = ask(rejoin, server, &known);
        if (err == ERR_CANCELED)
            return err;
        if (err != ERR_OK) {
            census.silent++;
            (void)snprintf(census.missing + used, sizeof census.missing - used, " %" PRIu64,
                           server);
        } else if (known.knows) {
            census.known_by = server;
        } else if (known.begins) {
            census.with[i] = known.start;
            census.empty++;
        }
    }
    *ret_census = census;
    return ERR_OK;
}

/* The groups may start, once it is written down that nobody was heard. */
static enum err begin(struct rejoin *rejoin, const struct census *census)
{
    struct node *node = rejoin->node;
    uint64_t all = (UINT64_C(1) << node->options.cluster.node_count) - 1;
    uint64_t others = all & ~(UINT64_C(1) << node_find_server(node, node->server));
    enum err err;

    (void)pthread_mutex_lock(&rejoin->lock);
    err = save_unheard(node, others);
    if (err == ERR_OK) {
        memcpy(rejoin->first.with, census->with, sizeof rejoin->first.with);
        atomic_store(&rejoin->first.unheard, others);
        atomic_store(&rejoin->first.holds, false);
    }
    (void)pthread_mutex_unlock(&rejoin->lock);
    if (err != ERR_OK)
        return err;
    log_info("this node begins for the first time: no other one has heard of it, and %" PRIu32
             " of %" PRIu32 " have empty logs",
             census->empty, node->options.cluster.node_count);
    for (uint32_t i = 0; i < node->worker_count; i++)
        (void)uv_async_send(&node->workers[i].bell);
    return ERR_OK;
}

static bool is_first(const struct rejoin *rejoin, const struct census *census)
{
    return census->silent == 0 || (census->empty > rejoin->node->options.cluster.node_count / 2 &&
                                   worker_now_ms() - rejoin->first.begin_ms >= LINKS_MS);
}

static void wait(struct rejoin *rejoin)
{
    uint64_t waited_ms = worker_now_ms() - rejoin->first.begin_ms;

    if (waited_ms > LINKS_MS)
        log_every(TELL_MS, LOG_WARN, "no group starts yet: %s", err_detail());
    (void)pthread_mutex_lock(&rejoin->lock);
    (void)snprintf(rejoin->first.what, sizeof rejoin->first.what, "%s", err_detail());
    (void)pthread_mutex_unlock(&rejoin->lock);
    rejoin_sleep(rejoin, waited_ms < OFTEN_FOR_MS ? OFTEN_MS : SELDOM_MS);
}

bool rejoin_first_ask(struct rejoin *rejoin)
{
    struct census census;

    while (!rejoin_is_stopping(rejoin)) {
        enum err err = ask_all(rejoin, &census);

        if (err == ERR_CANCELED)
            return false;
        if (census.known_by != 0) {
            log_warn("node %" PRIu64 " has heard of this node before, whose log is empty: all its "
                     "groups begin again from the other nodes",
                     census.known_by);
            return true;
        }
        if (is_first(rejoin, &census))
            err = begin(rejoin, &census);
        else
            err =
                err_set(ERR_UNAVAILABLE,
                        "the log is empty: whether this node ran before has to be said by node%s, "
                        "or by as many as make a majority if theirs are empty, too",
                        census.missing);
        if (err == ERR_OK)
            return false;
        wait(rejoin);
    }
    return false;
}
