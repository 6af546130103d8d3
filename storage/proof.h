/*
 * proof.h - whether deletes hide rows of segments, so that only those are written anew.
 *
 *      a delete is due to be erased: some segments have times of its range
 *                 |
 *      store_proof_begin(): those, held, and the deletes                  (the leader's worker)
 *                 |
 *      proof_run(): chunk by chunk, the keys of its series                (the compactor's thread)
 *                 |
 *      store_proof_done() --hit---> the plan has it written anew          (worker, store_proof.h)
 *                 '--------clean--> the next order says so: all replicas raise its clean index
 *
 * HIT       A chunk has a series that the delete is about, and times of its range. That no row is
 *           both would take decoding them: such a segment is written anew for nothing.
 * CLEAN     No chunk does. It is a fact about the bytes of the segment, which are the same
 *           everywhere and never change, and about deletes that are committed: it stays true
 *           whoever leads when it is ordered, and however late.
 * DAMAGE    Proves nothing: the segment is blamed, and asked again when it was mended.
 * COST      The index of the chunks and the frame of their series are read, of groups with times of
 *           the range; then a key a series and chunk. PROOF_GROUPS a run at most, so that merges
 *           do not wait long. MEMORY is that of one group's index and frame (segment_cursor.h).
 */
#ifndef STORAGE_PROOF_H
#define STORAGE_PROOF_H

#include <stdatomic.h>

#include "storage/block/seal_order.h"
#include "storage/block/tombstone.h"
#include "storage/catalog.h"
#include "storage/segment.h"

enum {
    PROOF_SEGMENTS = SEAL_CLEANS_MAX, /* Of one job: one order can have them all. */
    PROOF_GROUPS = 1024,              /* After so many no other segment is begun with. */
};

struct proof_item {
    struct segment *segment; /* Counted. */
    uint64_t after;          /* Deletes up to this log index are known already. */
    bool asked, hit;         /* What came of it. */
};

struct proof_job {
    uint32_t shard;
    const atomic_bool *cancel;
    uint64_t upto; /* Deletes up to this log index. */
    struct proof_item items[PROOF_SEGMENTS];
    uint32_t count;
    struct catalog_view series; /* Owned. */
    struct bytes tombstones;    /* Owned. */
};

/** Any thread. What was asked before an error counts. ERR_CANCELED, ERR_NO_MEMORY; ERR_CORRUPT and
 * ERR_IO name the segment. */
MUST_CHECK enum err proof_run(struct proof_job *job);

void proof_job_free(struct proof_job *job); /* NULL is allowed. */

#endif
