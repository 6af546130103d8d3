/*
 * segment_proof.h - what is known of the deletes that a segment was written before.
 *
 *     clean index    proof index      erase index       (of the log)
 *     ----'---------------'------------------'------>
 *     hide nothing    asked here        not due yet
 *
 * CLEAN     Deletes up to this log index hide nothing of the segment, as the manifest says. A file
 *           is clean up to the order that it was made by; a later order may say more of it
 *           (proof.h), and then it goes up while readers have the segment open. To them both
 *           numbers are true: between them there is no delete that they would notice.
 * PROOF     What this node has found and nobody has ordered: it is forgotten with the segment, and
 *           asked again then.
 */
#ifndef STORAGE_SEGMENT_PROOF_H
#define STORAGE_SEGMENT_PROOF_H

#include "storage/segment.h"

struct segment_proof {
    uint64_t index; /* Deletes up to it were compared with the segment; 0: none. */
    bool hit;       /* Some of them hide rows, or may do so. */
};

/** That of its info, or more by now. Any thread. */
uint64_t segment_clean_index(const struct segment *segment);
/** The worker that owns the shard. */
void segment_set_clean_index(struct segment *segment, uint64_t index);

/** The worker that owns the shard, as the next one. */
struct segment_proof segment_proof(const struct segment *segment);
void segment_set_proof(struct segment *segment, struct segment_proof proof);

#endif
