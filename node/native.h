/*
 * native.h - the native protocol's server: one listener a worker, requests in, answers out.
 *
 *    HELLO first; then PING, TOPOLOGY, DECLARE, DATABASE, DELETE, WRITE, QUERY, CANCEL, STATUS
 *
 * A request is answered when it is done, in any order. A connection with more than
 * limits.inflight_bytes / 16 of unanswered writes is not read from until some are answered.
 *
 * Thread    The worker's.
 */
#ifndef NODE_NATIVE_H
#define NODE_NATIVE_H

#include "node/worker.h"

struct native_server;

/** Listen. ERR_IO names address and reason. */
MUST_CHECK enum err native_new(struct worker *worker, struct native_server **ret_server);
/** End of a turn: send what was queued. */
void native_flush(struct native_server *server);
/** Close those that never said HELLO. */
void native_tick(struct native_server *server, uint64_t now_ms);
void native_stop_listening(struct native_server *server);
/** Close all; closed() once memory is free. */
void native_close(struct native_server *server, void (*closed)(struct worker *worker));

#endif
