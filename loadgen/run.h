/*
 * run.h - one run: the writers, what they count, and what all of them share.
 *
 *    main --starts--> writer threads --rows--> nodes
 *      |                 | counters (one writer each), ledger, latencies
 *      '--each second----'  report.c      at the end: verify.c
 *
 * Thread    `plan`, `workload` and the times are set before the writers start. A writer's counters
 *           are written by its own thread or, in acknowledgements, by its client's thread; both add
 *           with atomics, main reads.
 */
#ifndef LOADGEN_RUN_H
#define LOADGEN_RUN_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "client/millrace.h"
#include "loadgen/ledger.h"
#include "loadgen/plan.h"
#include "loadgen/workload.h"
#include "storage/base/histogram.h"

enum { RUN_CODES = 32, RUN_TEXT_MAX = 256 };

struct run;

struct run_writer {
    struct run *run;
    uint32_t number;
    pthread_t thread;
    bool started;
    uint64_t sent;                           /* Rows, once the thread has ended. */
    _Atomic uint64_t rows, points, requests; /* Acknowledged. */
    _Atomic uint64_t errors[RUN_CODES];      /* Requests by enum millrace_code; others last. */
    struct histogram latency;                /* Nanoseconds. */
    struct ledger ledger;
    pthread_mutex_t text_lock;
    char text[RUN_TEXT_MAX]; /* The last error. */
};

struct run_node {
    char host[64];
    uint16_t http_port;
};

struct run {
    struct plan plan;
    struct workload workload;
    struct millrace *client; /* For status and reading back. Main thread. */
    struct run_node nodes[PLAN_NODES_MAX];
    uint32_t node_count;
    uint64_t start_ns, end_ns; /* Monotonic. */
    double wall_s;
    atomic_bool stop;
    atomic_uint ended; /* Writers that have nothing left to write. */
    struct run_writer *writers;
    pthread_mutex_t replay_lock; /* The file to be replayed, and how far it is. */
    const char *replay;
    size_t replay_size, replay_at;
    uint64_t nodes_cpu_ms, own_cpu_ms; /* Used during the run. */
    uint64_t rows_before;              /* Applied by all shards before it. */
};

/* What reading back has found, in rows. */
struct run_verdict {
    bool done;
    uint64_t acknowledged, read, lost, doubled, invented, unknown;
    char first[RUN_TEXT_MAX]; /* The first fault, for people. */
};

/** The threads' mains. */
void *native_writer(void *writer);
void *http_writer(void *writer);

/** Count an error of a request and keep its text. Any thread. */
void run_error(struct run_writer *writer, enum millrace_code code, const char *text);
/** Wait until row `row` of this writer is due. False when the run is over. */
bool run_pace(const struct run_writer *writer, uint64_t row);
/** When row `row` was due, monotonic ns; 0 without a rate. */
uint64_t run_due_ns(const struct run_writer *writer, uint64_t row);
/** The next lines of the file to be replayed; 0 at its end. */
size_t run_replay(struct run *run, const char **ret_text);

/** Read everything back. False if that failed (verdict->first says why). */
bool verify_run(struct run *run, struct run_verdict *ret_verdict);
/** Rows that all shards have applied, and CPU time of all nodes, from the site's status. */
bool verify_status(struct run *run, uint64_t *ret_rows, uint64_t *ret_cpu_ms);

/** One line about the last second. */
void report_progress(const struct run *run, uint64_t second);
/** The summary for people, and the JSON if it was asked for. False if that could not be written. */
bool report_summary(const struct run *run, const struct run_verdict *verdict);

#endif
