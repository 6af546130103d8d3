/*
 * scan.h - answer a query over one shard's snapshot.
 *
 *    scan_match     the series that the query is about
 *    scan_regions   regions of series and time, halved until what is kept of one fits the memory
 *    scan_decode    the region's blocks, one by one: which rows of them lie in it
 *          |
 *          +-- rows of one ----> scan_stream   a segment has them in order --> scan_batch, as
 *          |   segment                         columns
 *          +-- rows, digest ---> scan_collect  those rows, in memory, by series
 *          |                     scan_merge    in order of time, once each: of two the later one
 *          |                                   wins, field by field --> scan_batch, as columns
 *          +-- last -----------> scan_last     the newest values alone
 *          '-- aggregates -----> scan_tangle   which series need merging; the others go from the
 *                                              decoded columns into the aggregate (aggregate.h)
 *
 * scan_labels answers what series and tags there are, from scan_match alone.
 *
 * Runs in the pool. Memory is bounded by the limits whatever the query asks for; a smaller budget
 * makes it slower, not different.
 */
#ifndef STORAGE_SCAN_H
#define STORAGE_SCAN_H

#include <stdatomic.h>
#include <stdbool.h>

#include "storage/aggregate.h"
#include "storage/base/err.h"
#include "storage/block/columns.h"
#include "storage/block/query.h"
#include "storage/snapshot.h"

struct last_found; /* storage/last_found.h */

struct scan_limits {
    uint64_t memory_bytes; /* For collected rows; blocks being decoded and a batch being built
                                  take a few MiB beside it. */
    uint64_t result_bytes; /* Of all batches of this scan; ERR_LIMIT above it. */
    uint64_t page_bytes;   /* Ends a query's page. */
    uint64_t deadline_ns;  /* Monotonic (clk.h); ERR_TIMEOUT after it. 0: none. */
    /* Set by another thread: ERR_CANCELED. NULL: never. */
    const atomic_bool *cancel; /* Nobody wants the answer of this one any more. */
    const atomic_bool *stop;   /* All have to end. */
};

/** ERR_CANCELED or ERR_TIMEOUT once the scan has to stop. Reads the clock: once a block, not once a
 * row. */
MUST_CHECK enum err scan_check(const struct scan_limits *limits);

/** Takes a batch (up to about 1 MiB), borrowed for the call. Non-OK ends the scan. */
typedef enum err (*scan_batch_cb)(void *arg, const struct columns *batch);

/**
 * Raw rows and `last`: each batch has a time column, the tags that its series have (all of them),
 * and the asked fields. Rows come by series, in time order. Stops at query->limit rows.
 */
MUST_CHECK enum err scan_rows(const struct snapshot *snapshot, const struct query *query,
                              const struct scan_limits *limits, scan_batch_cb batch, void *arg);

/** The same, which also stops when the query's page is full: *ret_next says what comes behind. */
MUST_CHECK enum err scan_page(const struct snapshot *snapshot, const struct query *query,
                              const struct scan_limits *limits, scan_batch_cb batch, void *arg,
                              struct query_place *ret_next);

/** The same of a query for last values; also tells what it found of which series. */
MUST_CHECK enum err scan_found(const struct snapshot *snapshot, const struct query *query,
                               const struct scan_limits *limits, scan_batch_cb batch, void *arg,
                               struct query_place *ret_next, struct last_found *found);

/** Aggregates: adds this shard's part to `into`. */
MUST_CHECK enum err scan_aggregate(const struct snapshot *snapshot, const struct query *query,
                                   const struct scan_limits *limits, struct aggregate *into);

/**
 * A digest of the contents that does not depend on the order of blocks: the sum over all distinct
 * (series key, time, field, bits) of their XXH3. Equal replicas have equal digests.
 */
MUST_CHECK enum err scan_digest(const struct snapshot *snapshot, const struct scan_limits *limits,
                                uint64_t *ret_digest, uint64_t *ret_rows);

#endif
