/*
 * scan.h - answer a query over one shard's snapshot.
 *
 * Runs in the pool. Finds the series that match, then goes through them in slices small enough for
 * the memory budget: for each slice, all blocks that overlap in series and time are decoded and the
 * matching rows collected by series; rows of one series and time become one (later source wins,
 * field by field). Raw rows leave as columns, aggregates go into an aggregate (aggregate.h).
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

struct scan_limits {
    uint64_t memory_bytes;     /* For rows being collected and results being built. */
    uint64_t result_bytes;     /* Of all batches of this scan; ERR_LIMIT above it. */
    uint64_t deadline_ns;      /* Monotonic (clk.h); ERR_TIMEOUT after it. 0: none. */
    const atomic_bool *cancel; /* Set by another thread: ERR_CANCELED. NULL: never. */
};

/** Takes a batch (up to about 1 MiB); the callee takes over the contents. Non-OK ends the scan. */
typedef enum err (*scan_batch_cb)(void *arg, struct columns *batch);

/**
 * Raw rows and `last`: each batch has a time column, the tags that its series have (all of them),
 * and the asked fields. Rows come by series, in time order. Stops at query->limit rows.
 */
MUST_CHECK enum err scan_rows(const struct snapshot *snapshot, const struct query *query,
                              const struct scan_limits *limits, scan_batch_cb batch, void *arg);

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
