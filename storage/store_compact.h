/*
 * store_compact.h - a store's compactions, seen from its worker: storage/compact.h has the picture.
 *
 * Thread    The worker that owns the shard.
 */
#ifndef STORAGE_STORE_COMPACT_H
#define STORAGE_STORE_COMPACT_H

#include "storage/block/seal_order.h"
#include "storage/compact.h"
#include "storage/compact_plan.h"
#include "storage/store.h"

/** One was ordered and is not made yet, none is out, and if one failed, that was some time ago. */
bool store_wants_compaction(const struct store *store);
/** Take the next one out: compact_run() in any thread, store_compact_ready(), compact_adopt() in
 * the pool while no seal of the store is there, store_compact_done(). ERR_NO_MEMORY. */
MUST_CHECK enum err store_compact_begin(struct store *store, struct compact_job **ret_job);
/** As store_compact_begin(), of one that other nodes have made; `segment` NULL: it has no rows.
 * What is left is compact_adopt() and store_compact_done(). Takes over the segment, on an error
 * too. ERR_BUSY: one is out, or a seal; ERR_NOT_FOUND: it was not ordered, or is made;
 * ERR_INVALID: what was fetched is not what was ordered; ERR_NO_MEMORY. */
MUST_CHECK enum err store_compact_fetched(struct store *store, uint64_t number,
                                          struct segment *segment, struct compact_job **ret_job);
/** Its inputs were dropped meanwhile, files and all, or a seal that is out may have done so: what
 * seems to be damaged in them says nothing. */
bool store_compact_is_stale(const struct store *store, const struct compact_job *job);
void store_compact_ready(struct store *store, struct compact_job *job);
/** The job is gone. After an error (`failed` true) it is wanted again later. */
void store_compact_done(struct store *store, struct compact_job *job, bool failed);

/**
 * What the leader should order now: nothing, while something is ordered and not made here.
 *
 * What proof_run() found rows in that are to be erased is written anew (store_proof.h).
 *
 * ret_compactions  room for SEAL_COMPACTIONS_MAX
 * Errors           ERR_NO_MEMORY
 */
MUST_CHECK enum err store_plan_compactions(const struct store *store,
                                           const struct compact_rules *rules,
                                           struct seal_compaction *ret_compactions,
                                           uint32_t *ret_count);

#endif
