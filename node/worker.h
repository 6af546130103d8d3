/*
 * worker.h - one thread, one libuv loop, and everything that lives on it.
 *
 *    turn of the loop:   timers -> sockets, bell -> prepare: worker_turn()
 *                                    |                 |
 *          rings of the other workers, log             flush: blocks of ingest, log port, links
 *          completions, pool results
 *
 * All that a turn produced leaves together at its end: that is the natural batching of the log,
 * the links and the ingest.
 *
 * MAIL   Work for another worker is a function and its argument, passed through the SPSC mailbox
 *        from this worker to that one. The argument's memory is handed over with it. A full ring
 *        spills into a list of the sender, moved on at each turn; what spills is bounded by the
 *        budgets of those who post (bytes in flight, queries).
 * Thread Each function is for the worker's own thread, unless it says otherwise.
 */
#ifndef NODE_WORKER_H
#define NODE_WORKER_H

#include <uv.h>

#include "node/ingest.h"
#include "node/node.h"
#include "node/router.h"
#include "node/schema_map.h"
#include "replication/link.h"
#include "storage/base/mailbox.h"

struct native_server;
struct peer_query;
struct query_run;
struct http_server;
struct shard;
struct worker;

typedef void (*mail_run)(struct worker *worker, void *arg);

struct mail {
    mail_run run;
    void *arg;
};

struct mail_spill; /* Mail that found its ring full. */

enum worker_phase { WORKER_RUNNING, WORKER_HANDING_OVER, WORKER_CLOSING };

struct worker {
    struct node *node;
    uint32_t number;
    enum worker_phase phase;
    uv_thread_t thread;
    uv_loop_t loop;
    uv_async_t bell; /* Rung by other workers, the log writer and the pool. */
    uv_prepare_t prepare;
    uv_timer_t group_timer; /* The nearest deadline of our groups. */
    uv_timer_t slow_timer;  /* Every 100 ms: board, balance, seals, time-outs. */
    uv_timer_t stop_timer;
    uv_async_t stop_bell; /* Rung by node_stop(). */
    bool running;         /* The thread is there. */
    bool held;            /* Its groups wait for rejoin_holds() to end. */
    uv_sem_t begun;       /* Posted by the thread: begun_how says how worker_wait() ends. */
    struct err_note begun_how;
    uint64_t turns;
    uint64_t phase_since_ms;
    uint64_t armed_ms; /* What group_timer waits for. */
    uint64_t durable;  /* Of our stream of the log. */
    struct log_port *log;
    struct links *links;
    struct shard **groups;    /* Those that we own: node->groups entries, NULL for others'. */
    struct mailbox *in;       /* One from each worker. */
    struct mail_spill *spill; /* One list for each worker. */
    struct schema_map schema; /* A copy of the site's. */
    struct router router;
    struct ingest *ingest;
    struct query_run *queries; /* Under way. */
    uint32_t query_count;
    struct native_server *native;
    struct http_server *http;
    struct http_server *admin;            /* Worker 0 only. */
    uint32_t closing;                     /* Parts that still have handles open. */
    uint32_t pool_jobs;                   /* Under way in the pool, or the compactor, for us. */
    struct scan_task *scans, **scans_end; /* Wait for their turn in the pool (shard_query.c). */
    uint32_t scans_running;
    struct peer_query *peer_queries; /* That other nodes have asked, and we have not answered. */
    uint64_t told_ms;                /* Worker 0: others were told what is damaged here, */
    bool told_damage;                /* and that something was. */
    uint32_t requests;               /* Ours that are not answered (router.h). */
    bool counted_idle;               /* In node->workers_idle. */
};

/** Before the thread runs: mailboxes and empty parts. */
MUST_CHECK enum err worker_init(struct worker *worker, struct node *node, uint32_t number);
/** Open links, copy the schema that group 0 has: worker 0, which starts that group, comes first.
 * Main thread, before any worker runs. */
MUST_CHECK enum err worker_open(struct worker *worker);
/** Start the thread, which starts the other groups and then listens. */
MUST_CHECK enum err worker_start(struct worker *worker);
/** Until it listens. After an error the process has to end. Main thread. */
MUST_CHECK enum err worker_wait(struct worker *worker);
/** Ask the worker to hand over its leaderships and end. Any thread; then worker_join(). */
void worker_stop(struct worker *worker);
void worker_join(struct worker *worker);
/** All workers have ended: take in what mail is on its way, so that nothing is lost with it. */
void worker_empty_mail(struct worker *worker);
void worker_fini(struct worker *worker);

/** Listen for peers and connect to them; for worker_start(). */
MUST_CHECK enum err worker_open_links(struct worker *worker);

/** Run `run(to, arg)` on the worker `to`: at once if that is `from`, else by mail. */
void worker_call(struct worker *from, struct worker *to, mail_run run, void *arg);

/** A job for the pool: `run` there, then `done` here. Owned by whoever embeds it. */
struct pool_job {
    uv_work_t work;
    struct worker *worker;
    void (*run)(struct pool_job *job);
    void (*done)(struct pool_job *job);
};
void worker_pool(struct worker *worker, struct pool_job *job);

/** Milliseconds on the monotonic clock. */
uint64_t worker_now_ms(void);

/** A field was decided: into this worker's copy. */
void worker_learn(struct worker *worker, struct slice table_key, struct slice field,
                  enum field_type type);
/** The same for another worker, from `from`'s thread. */
void worker_teach(struct worker *from, struct worker *to, struct slice table_key,
                  struct slice field, enum field_type type);
/** A database was made, altered or dropped: into the other worker's copy. */
void worker_teach_database(struct worker *from, struct worker *to,
                           const struct schema_database *database);
/** Rows of the database before that time are refused by a shard: the same. */
void worker_teach_cutoff(struct worker *from, struct worker *to, struct slice name, uint32_t shard,
                         int64_t cutoff_ns);

#endif
