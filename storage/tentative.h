/*
 * tentative.h - what a leader has admitted and not yet applied: a queue, in the order of the log.
 *
 * An entry that follows another one of its producer must be admitted before that one is applied,
 * so admission looks at the newest sequence in here before it looks at the applied ones.
 *
 *     admit --> | newest ... oldest | --> applied          retract takes back the newest
 *
 * Thread    The worker's.
 */
#ifndef STORAGE_TENTATIVE_H
#define STORAGE_TENTATIVE_H

#include <stdbool.h>

#include "storage/key_index.h"
#include "storage/producers.h"

struct tentative_entry;

struct tentative {
    struct tentative_entry *entries; /* Owned: a ring. */
    uint32_t capacity;               /* A power of two, or 0. */
    uint64_t first, end;             /* Counted since tentative_clear(); taken modulo capacity. */
    struct key_index by_producer;    /* -> place in the ring of the newest one of a producer. */
};

void tentative_fini(struct tentative *tentative); /* A zeroed struct is empty and valid. */

/** The newest sequence of a producer in here, or NULL. Borrowed until the next change. */
const struct producer_state *tentative_find(const struct tentative *tentative, uint64_t producer);

/** Make room: the next tentative_add() cannot fail. ERR_NO_MEMORY. */
MUST_CHECK enum err tentative_reserve(struct tentative *tentative);

/** An entry is admitted. `producer` 0: none. `series` is catalog_total() from before it. */
void tentative_add(struct tentative *tentative, uint64_t producer,
                   const struct producer_state *state, uint32_t series);

/** The oldest one, if there is one, is applied. */
void tentative_applied(struct tentative *tentative);

/** Take back the newest one, if there is one: returns true, and its `series`. */
bool tentative_retract(struct tentative *tentative, uint32_t *ret_series);

/** Forget all of them. */
void tentative_clear(struct tentative *tentative);

#endif
