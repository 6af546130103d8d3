/*
 * status.h - what this node says of itself: JSON for `millrace status`, text for Prometheus.
 *
 * Any worker may ask; figures of groups come from the board, at most 100 ms old.
 */
#ifndef NODE_STATUS_H
#define NODE_STATUS_H

#include "client/wire/message.h"
#include "node/worker.h"

/** One JSON object: the node, its view of the others, its groups; keys: docs/operations.md. */
void status_json(struct worker *worker, struct bytes *out);
/** Prometheus text: counters of all threads, gauges of the process and of each shard. */
void status_metrics(struct worker *worker, struct bytes *out);
/** Once in a while, worker 0: take the rate of the last second. */
void status_tick(struct worker *worker, uint64_t now_ms);
/** Nodes, and who leads which shard. */
void status_topology(struct worker *worker, struct message_topology *ret_topology);

#endif
