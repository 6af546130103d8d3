/*
 * compactor.h - one thread a node that makes segments of others, one at a time, and finds out
 * before which of them have rows that were deleted (storage/proof.h).
 *
 *     worker --compactor_queue()--> tasks, first come first served --> run
 *        ^                                                              |
 *        '---- compactor_collect(), at its bell: done() <-- finished <--'
 *
 * A merge may take minutes, so it has no place in the pool, where seals wait; and a thread that was
 * made less important cannot be made more so again, so it is a thread of its own: it runs when
 * nobody else wants the core (nice 10), and the disk (the lowest of the best-effort classes).
 *
 * Thread    Each function says which.
 */
#ifndef NODE_COMPACTOR_H
#define NODE_COMPACTOR_H

#include "node/worker.h"
#include "storage/base/err.h"

struct compactor;

/** Owned by whoever embeds it, until done(). */
struct compact_task {
    struct worker *worker;
    void (*run)(struct compact_task *task);  /* On the compactor's thread. */
    void (*done)(struct compact_task *task); /* On the worker. */
    struct compact_task *next;
};

/** Main thread, before the workers run. ERR_NO_MEMORY, ERR_UNAVAILABLE. */
MUST_CHECK enum err compactor_start(struct node *node, struct compactor **ret_compactor);
/** Main thread, when the workers have ended: nothing is queued any more. */
void compactor_stop(struct compactor *compactor);

/** Queue a task. The task's worker, which waits for it before it ends. */
void compactor_queue(struct compactor *compactor, struct compact_task *task);
/** End those of the worker's tasks that have run. The worker, when its bell was rung. */
void compactor_collect(struct compactor *compactor, struct worker *worker);

#endif
