/*
 * ingest.h - line protocol text into rows, rows into blocks, blocks to the leaders of their shards.
 *
 * One for each worker. Rows of all requests of a worker that go to one shard share one block, cut
 * by natural batching: what is there when the last block of that shard was answered, or 512 rows
 * when several may be under way, at most 64 Ki rows.
 *
 *     request --text--> line parser --rows--> builder of each shard --block--> router (router.h)
 *        ^                                                                       |
 *        '---------------- done, once every block with a row of it is answered <-'
 *
 * Thread   The worker's.
 */
#ifndef NODE_INGEST_H
#define NODE_INGEST_H

#include <stdbool.h>

#include "storage/base/err.h"
#include "storage/base/types.h"

struct ingest;
struct ingest_request;

enum { INGEST_ERRORS_MAX = 32 }; /* Bad lines that an answer names; the rest is counted. */

struct ingest_error {
    uint32_t line; /* From 1. */
    enum err code; /* ERR_INVALID, ERR_TYPE_CONFLICT, ERR_LIMIT, ... */
    char text[ERR_DETAIL_MAX];
    char original[128]; /* The line as it stood, cut. */
};

struct ingest_result {
    enum err
        code; /* ERR_OK: every good line is stored. Otherwise why not, for all or some shards. */
    char text[ERR_DETAIL_MAX];
    uint32_t retry_s;  /* For Retry-After, if the error may pass; 0: nothing was said. */
    uint64_t accepted; /* Rows stored. */
    uint64_t rejected; /* Bad lines. */
    uint32_t error_count;
    struct ingest_error *errors; /* The first error_count of them; borrowed during the callback. */
};

/** Called once for each request, not from within ingest_begin() or ingest_text(). The request is
 * gone then. */
typedef void (*ingest_done_cb)(void *ctx, const struct ingest_result *result);

struct ingest_options {
    const char *database; /* Copied. */
    int64_t time_unit_ns; /* Of the text's times. */
    bool all_or_nothing;  /* A bad line refuses the request: nothing of it is stored. Whole text in
                             one call. */
};

/** ERR_BUSY: too many bytes in flight, come back later (429); ERR_NOT_FOUND: no such database and
 * auto_create is off; ERR_NO_MEMORY; ERR_UNAVAILABLE. */
MUST_CHECK enum err ingest_begin(struct ingest *ingest, const struct ingest_options *options,
                                 ingest_done_cb done, void *ctx,
                                 struct ingest_request **ret_request);
/** Text in pieces of any size, cut anywhere; `last` ends the request. */
void ingest_text(struct ingest_request *request, const char *text, size_t size, bool last);
/** The asker is gone: `done` will not be called. What was handed on goes on. */
void ingest_abandon(struct ingest_request *request);

#endif
