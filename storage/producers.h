/*
 * producers.h - who wrote last what: (producer -> epoch, sequence), so that a retry is not applied
 * twice.
 *
 * RULES     of entry.h: the first sequence in an epoch is 1, the next one is the last plus 1.
 * BOUNDED   to `max` producers. One more pushes out the one whose last applied entry is the oldest
 *           in the log, on every replica the same. A producer that was pushed out has to begin a
 *           new epoch.
 * STORED    oldest first: u32 count, then for each u64 producer, u32 epoch, u64 sequence, u64 log
 *           index.
 *
 * Thread    The worker's.
 */
#ifndef STORAGE_PRODUCERS_H
#define STORAGE_PRODUCERS_H

#include "storage/base/attrs.h"
#include "storage/base/bytes.h"
#include "storage/base/err.h"

enum { PRODUCERS_MAX = 1 << 20 };

struct producers;

/** The newest of a producer. */
struct producer_state {
    uint64_t sequence;
    uint32_t epoch;
};

enum producers_verdict {
    PRODUCERS_NEXT,      /* Its turn. */
    PRODUCERS_DUPLICATE, /* Applied before. */
    PRODUCERS_GAP,       /* One before it is missing, its epoch is over, or it is forgotten. */
};

/** What (epoch, sequence) is to a producer whose newest is `last` (NULL: unknown). */
enum producers_verdict producers_judge(const struct producer_state *last, uint32_t epoch,
                                       uint64_t sequence);

/** `max` 1 to PRODUCERS_MAX. Takes all memory now. */
MUST_CHECK enum err producers_new(uint32_t max, struct producers **ret_producers);
void producers_free(struct producers *producers); /* NULL is allowed. */

uint32_t producers_count(const struct producers *producers);

/** The newest of a producer, or NULL. Borrowed until producers_note(). */
const struct producer_state *producers_find(const struct producers *producers, uint64_t producer);

/** The entry at `index`, higher than all before, was applied. */
void producers_note(struct producers *producers, uint64_t producer,
                    const struct producer_state *state, uint64_t index);

void producers_encode(const struct producers *producers, struct bytes *out);
/** Into an empty one. More than fit: the oldest are left out. ERR_CORRUPT. */
MUST_CHECK enum err producers_decode(struct producers *producers, struct reader *reader);

#endif
