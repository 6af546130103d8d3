/*
 * store_proof.h - a store's proofs, as the worker of its leader sees them: proof.h has the picture.
 *
 * A proof is out as a compaction is, instead of one: neither's inputs go in the meantime.
 *
 * Thread    The worker that owns the shard.
 */
#ifndef STORAGE_STORE_PROOF_H
#define STORAGE_STORE_PROOF_H

#include "storage/proof.h"
#include "storage/store.h"

/**
 * Take out the segments that deletes up to `erase_index` were not compared with yet, of times of
 * their range: proof_run() in any thread, store_proof_done(). NULL: there are none, or a
 * compaction or a proof is out, or a proof failed a short time ago.
 *
 * erase_index  what was deleted up to this log index should be erased
 * Errors       ERR_NO_MEMORY
 */
MUST_CHECK enum err store_proof_begin(struct store *store, uint64_t erase_index,
                                      struct proof_job **ret_job);
/** The job is gone; what it found counts. After an error (`failed` true) the rest is asked
 * later. */
void store_proof_done(struct store *store, struct proof_job *job, bool failed);

/** What the leader should order now: segments found clean that are not known to be so everywhere,
 * into room for SEAL_CLEANS_MAX; how many. ERR_NO_MEMORY. */
MUST_CHECK enum err store_plan_cleans(const struct store *store, struct seal_clean *ret_cleans,
                                      uint32_t *ret_count);

#endif
