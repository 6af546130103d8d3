/*
 * ingest_internal.h - the ingest as the worker that owns it sees it: made, flushed, freed.
 */
#ifndef NODE_INGEST_INTERNAL_H
#define NODE_INGEST_INTERNAL_H

#include "client/wire/line_protocol.h"
#include "node/ingest.h"
#include "node/lane.h"
#include "node/series_memo.h"
#include "node/worker.h"

struct ingest {
    struct worker *worker;
    struct lane *lanes; /* Owned: one for each shard. */
    uint32_t lane_count;
    uint32_t requests; /* Begun and not done. */
    struct series_memo memo;
    struct ingest_request *finished, **finished_end; /* `done` is due. */
    struct ingest_request *asking;                   /* Ask for types again at their time. */
    uint64_t carried;                                /* Bytes of text kept by requests. */
    struct line line;                                /* Too large for the stack. */
};

MUST_CHECK enum err ingest_new(struct worker *worker, struct ingest **ret_ingest);
/** No request may be under way at another worker or node. */
void ingest_free(struct ingest *ingest);
/** No request is under way. */
bool ingest_is_idle(const struct ingest *ingest);
/** End of a turn: answers and blocks that are due. */
void ingest_flush(struct ingest *ingest);

#endif
