/*
 * io.h - the client's own thread: its loop, its sessions, and what it knows about the site.
 *
 *      caller's thread                            I/O thread
 *      ---------------                            ----------
 *      rows.c --batch-->  io_submit() --.         lane.c  a shard's batches until answered
 *      query, declare --> io_call() ----+-bell--> call.c  a request that the caller waits for
 *                                       |         session.c  one connection for each node
 *      flush, close  <--- changed ------'
 *
 * LOCK       `mutex` covers what both threads touch and is held for a few instructions at a time.
 *            rows.c takes it (io_submit) while it holds its own lock, never the other way round.
 * TIME       One timer, which runs while there is something to wait for: rows that linger, batches
 *            and calls under way. An idle client makes no system calls.
 * SIGNALS    The thread blocks all of them: the program's handlers run on the program's threads,
 *            and a write to a closed socket (SIGPIPE) is an error code here and nothing else.
 */
#ifndef CLIENT_IO_H
#define CLIENT_IO_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "client/batch.h"
#include "client/millrace.h"
#include "client/session.h"
#include "storage/base/thread.h"

struct call;
struct lane;
struct rows;

enum { IO_SEEDS_MAX = 16, IO_SESSIONS_MAX = IO_SEEDS_MAX + 2 * TOPOLOGY_NODES_MAX };

struct io_options {
    struct session_address seeds[IO_SEEDS_MAX];
    uint32_t seed_count;
    uint32_t inflight;
    uint64_t linger_ns;
    uint64_t timeout_ns;
    void (*on_ack)(void *ctx, const struct millrace_ack *ack);
    void *ctx;
};

/* Written by the I/O thread (rows_written by the caller's), read by any: relaxed. */
struct io_counts {
    _Atomic uint64_t rows_written, rows_acknowledged, rows_failed, points_acknowledged, batches,
        retries, reconnects, bytes_sent;
    _Atomic size_t bytes_pending; /* Of batches not answered yet. */
};

struct io {
    struct io_options options; /* Set at the start. */
    uint64_t producer;
    struct io_counts counts;

    pthread_mutex_t mutex;
    pthread_cond_t changed;
    /* Under the mutex. */
    struct batch_list submitted;
    struct call *called;
    struct rows *rows;                /* Borrowed; NULL before io_linger(). */
    uint64_t batches_in, batches_out; /* Submitted, answered. */
    struct err_note failed;           /* The first batch since the last flush that failed. */
    bool stop;
    bool in_rows;    /* The I/O thread is in rows_linger(). */
    bool hopeless;   /* No node could be reached, again and again, since the start. */
    uint32_t shards; /* 0: no node has told us yet. */
    struct message_topology topology;

    /* The I/O thread's. */
    struct thread thread;
    uv_loop_t loop;
    uv_async_t doorbell;
    uv_timer_t tick;
    uint64_t now_ns; /* Of the callback that runs. */
    struct session_events events;
    struct session *sessions[IO_SESSIONS_MAX]; /* Owned. */
    uint32_t session_count;
    struct lane *lanes; /* Owned: one a shard. */
    struct call *calls;
    uint64_t requests; /* The last number given to a request. */
    uint64_t asked_ns; /* When the topology was asked for last. */
    uint32_t turn;     /* Asks the nodes in turn. */
    uint64_t cluster;  /* As the first node told. */
    uint64_t random;
};

/* ---- Any thread (callers') ----------------------------------------------------------------- */

/** Start the thread and wait until a node told its shards. ERR_UNAVAILABLE: which nodes failed how,
 * or there may be no more threads; ERR_NO_MEMORY. */
MUST_CHECK enum err io_start(const struct io_options *options, uint64_t wait_ns,
                             struct io **ret_io);
/** Stop the thread. Batches still under way are answered as given up, on the I/O thread. */
void io_stop(struct io *io);

/** Shards of the site: known from the start, never changes. */
uint32_t io_shards(struct io *io);

/** A copy of the last topology. */
void io_topology(struct io *io, struct message_topology *ret_topology);

/** From now on rows_linger() is called for `rows`; NULL: no more. Returns when the thread cannot be
 * in it any longer. */
void io_linger(struct io *io, struct rows *rows);
/** Wake the thread: there are rows that linger. */
void io_wake(struct io *io);

/** Hand over a batch. */
void io_submit(struct io *io, struct batch *batch);
/** Hand over a call and wait until it is done; returns its code and sets the detail. */
MUST_CHECK enum err io_call(struct io *io, struct call *calls, uint32_t count);
/** Wait until all batches submitted so far are answered. ERR_TIMEOUT, or the first failure of a
 * batch since the last time. */
MUST_CHECK enum err io_flush(struct io *io, uint64_t wait_ns);
/** Wait until the batches under way have less than `bytes`. ERR_TIMEOUT. */
MUST_CHECK enum err io_wait_room(struct io *io, size_t bytes, uint64_t wait_ns);

/* ---- The I/O thread (lane.c, call.c) -------------------------------------------------------- */

/** Tell the caller what became of a batch (once), and count it. It stays the caller's of this. */
void io_answer(struct io *io, struct batch *batch, enum err code, const char *text);
/** The same of rows that were taken out of a batch which goes on without them; frees it. */
void io_answer_part(struct io *io, struct batch *part, enum err code, const char *text);
/** How long to wait before attempt number `attempts`, 1, 2, ...: doubles, with jitter. */
uint64_t io_backoff_ns(struct io *io, uint32_t attempts, uint32_t at_least_ms);
/** May a request that failed with this be sent again as it is? */
bool io_is_transient(const struct message_error *error);

#endif
