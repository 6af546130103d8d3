/*
 * node.h - the process: what all its workers share, and the order of starting and stopping.
 *
 *    start   data directory locked -> stores opened -> log replayed into the groups -> log writer
 *            -> compactor -> links, group 0 -> workers: each starts its groups, which apply what
 *            the log has, then listens
 *    stop    no new work -> leadership handed over -> connections closed -> workers end -> log
 *            written out -> stores closed
 *
 * Everything here is set before the workers start and then only read, but for the atomics and
 * what the board's lock guards.
 */
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

#include "node/options.h"
#include "replication/group.h"
#include "replication/log_writer.h"
#include "storage/base/bytes.h"
#include "storage/base/file.h"
#include "storage/store.h"

struct compactor;
struct worker;
struct meta;
struct rejoin;
struct scrub;

enum { NODE_GROUPS_MAX = 1025, NODE_WORKERS_MAX = 64 };

/** What one group's owner tells everybody, some times a second. */
struct board_group {
    struct group_state group;
    struct store_stats store; /* Zero for group 0. */
    uint64_t at_ms;           /* When: worker_now_ms(). */
};

/** What a node says of a group: its rows up to that index have to be sealed for the sake of a
 * damaged log (shard_log.c). */
struct seal_ask {
    _Atomic uint64_t index; /* 0: nothing. */
    _Atomic uint64_t heard_ms;
};

struct node {
    struct options options;
    const struct disk *disk;
    int lock_fd; /* Held while we use the data directory. */
    uint64_t server;
    uint64_t cluster; /* Hash of the cluster's name. */
    uint32_t shards;
    uint32_t groups;                /* shards + 1: the meta group is 0 */
    uint32_t epoch;                 /* Of this start: higher than that of the one before. */
    uint64_t start_ns, log_read_ns; /* The second: the log was replayed. */
    struct {
        uint64_t records, bytes;
    } replayed; /* Of the log, at start. */
    struct log *log;
    struct log_writer *writer;
    struct compactor *compactor;
    struct meta *meta; /* Worker 0's. */
    uint32_t worker_count;
    struct worker *workers;
    _Atomic uint64_t *leaders; /* For each group: server id as far as we know; 0: none. */
    atomic_bool *takes_writes; /* For each group: led here, and all of its log is applied. */
    _Atomic uint64_t inflight_bytes;
    atomic_uint connections; /* Native and HTTP together, against limits.connections. */
    atomic_bool stopping;
    atomic_bool closing;           /* Stopping, and time is up for queries that still run. */
    atomic_uint workers_idle;      /* Stopping: those that wait for nothing any more. */
    _Atomic uint64_t points_per_s; /* Applied during the last second; worker 0 writes it. */
    struct scrub *scrub;
    struct rejoin *rejoin;
    atomic_bool again;              /* Stop, and start in the same process: groups rejoin. */
    struct seal_ask *seal_asks;     /* By node and group; this one's own as well. */
    _Atomic uint64_t *damage_heard; /* By node and group: when it said that files are damaged. */
    uv_mutex_t board_lock;
    struct board_group *board; /* For each group. */
};

/** Open everything, replay the log and run the workers. After an error the process has to end:
 * what was opened ends with it. `rejoin`: the disk is new, all groups begin again from the other
 * nodes. */
MUST_CHECK enum err node_start(const struct options *options, bool rejoin, struct node **ret_node);

/** Hand leadership over, finish what is under way, end all threads, free. Not on a worker. */
void node_stop(struct node *node);

/** The worker that owns a group. */
static inline uint32_t node_owner(const struct node *node, uint32_t group)
{
    return group % node->worker_count;
}

/**
 * Every shard has a leader that we know, and this node's log takes writes. ERR_UNAVAILABLE says
 * why not.
 */
MUST_CHECK enum err node_ready(const struct node *node);

/** The position in options.nodes of a server; -1 if there is none. */
int node_find_server(const struct node *node, uint64_t server);

#endif
