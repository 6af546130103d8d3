/*
 * query.h - a query of the whole site: ask every shard, put the parts together.
 *
 *    client --query_start()--> router_query() to each shard's leader (or this node's replica)
 *                                  | rows: passed on as they come
 *                                  | partial aggregates: merged, finished at the end
 *    sink.batch, ..., sink.end <---'
 *
 * A shard whose leader is not known or has just moved is asked again until the query's time is up.
 * Rows come by shard and series, each series in time order; limit is any so many of them.
 *
 * Thread    The worker's.
 */
#ifndef NODE_QUERY_H
#define NODE_QUERY_H

#include "client/wire/message.h"
#include "node/worker.h"

struct query_run;

struct query_sink {
    void *ctx;
    void (*batch)(void *ctx, struct buf *columns); /* Encoded columns; ref them to keep them. */
    /* Once, after the last batch; the run is gone then. Borrowed. */
    void (*end)(void *ctx, const struct message_query_end *end);
};

enum { QUERY_RUNS_MAX = 64 }; /* Of one worker at a time. */

/**
 * Begin. Takes over `message` (decoded, with its strings) also on errors. sink.end may be called
 * before this returns ERR_OK; *ret_run is NULL then.
 *
 * Errors  ERR_INVALID: the query makes no sense; ERR_BUSY: QUERY_RUNS_MAX; ERR_NO_MEMORY
 */
MUST_CHECK enum err query_start(struct worker *worker, struct message_query *message,
                                const struct query_sink *sink, struct query_run **ret_run);
/** The asker is gone: the sink is not called any more, and the scans end, here and elsewhere. */
void query_abandon(struct query_run *run);
/** Ask again where it is due, end what is too late. */
void query_tick(struct worker *worker, uint64_t now_ms);

#endif
