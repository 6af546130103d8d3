/*
 * parts.h - what a worker has besides groups and links: ingest, native connections, HTTP servers.
 * One place that opens, flushes and closes them in order.
 */
#ifndef NODE_PARTS_H
#define NODE_PARTS_H

#include "node/worker.h"

MUST_CHECK enum err parts_open(struct worker *worker);
/** End of a turn: blocks that are due leave. */
void parts_flush(struct worker *worker);
void parts_tick(struct worker *worker, uint64_t now_ms);
/** Stop listening; what is under way goes on. */
void parts_stop_taking(struct worker *worker);
/** Close everything. worker->closing counts those with open handles; `closed` comes for each. */
void parts_close(struct worker *worker, void (*closed)(struct worker *worker));

/** Free what has no handles. After the thread has ended. */
void parts_fini(struct worker *worker);

#endif
