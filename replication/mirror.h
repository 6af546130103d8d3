/*
 * mirror.h - what a group knows of each entry of its log: a window of slots, oldest first.
 *
 *       first                      evicted                             last
 *         | in the log files only     |  payload in memory as well       |
 *         '--- a lagging follower's --'--- not in a segment yet ---------'
 *
 * The log itself is in the files of log.h. A slot says where (once its record was written), when it
 * will be durable (the stream number of its newest write) and, until it is evicted, holds the
 * bytes. Not thread-safe: belongs to its group.
 */
#ifndef REPLICATION_MIRROR_H
#define REPLICATION_MIRROR_H

#include "storage/base/buf.h"
#include "storage/base/err.h"

struct mirror_slot {
    uint64_t term;
    uint64_t stream;     /* Of its last write; 0: was in the log when the process started. */
    uint64_t position;   /* In the log; 0: not written yet. */
    struct buf *payload; /* Counted. NULL: evicted. */
    uint32_t size;       /* Bytes of the payload. */
    uint8_t type;        /* Raft's entry type. */
};

struct mirror {
    struct mirror_slot *slots; /* Owned; entry `index` is at index & (capacity - 1). */
    uint64_t capacity;         /* 0, or a power of two. */
    uint64_t first;            /* Index of the oldest slot; last + 1 when there is none. */
    uint64_t last;             /* Index of the newest slot. */
    uint64_t evicted;          /* Nothing at or below it is left to evict. */
    uint64_t cached_bytes;     /* Of all payloads held. */
};

/** Empty, the next entry being `first`. */
void mirror_init(struct mirror *mirror, uint64_t first);
void mirror_fini(struct mirror *mirror);

/** The slot of `index`, or NULL. Borrowed until the next push. */
struct mirror_slot *mirror_at(const struct mirror *mirror, uint64_t index);
static inline uint64_t mirror_count(const struct mirror *mirror)
{
    return mirror->last + 1 - mirror->first;
}
/** Add the entry behind the last. Takes over slot->payload, on failure too. ERR_NO_MEMORY. */
MUST_CHECK enum err mirror_push(struct mirror *mirror, const struct mirror_slot *slot);
/** Add one in front of the first, without a payload and evicted. ERR_NO_MEMORY. */
MUST_CHECK enum err mirror_put_first(struct mirror *mirror, const struct mirror_slot *slot);
/** Forget `from` and all behind it. */
void mirror_cut(struct mirror *mirror, uint64_t from);
/** Forget all up to `through`. */
void mirror_drop(struct mirror *mirror, uint64_t through);
/** Let go of the payloads up to `through` that can be read back, except of type `kept`. */
void mirror_evict(struct mirror *mirror, uint64_t through, uint8_t kept);

#endif
