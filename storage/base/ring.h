/*
 * ring.h - a bounded queue from exactly one thread to exactly one other, without locks.
 *
 * Two threads that talk have one ring each way. What crosses is a descriptor of a batch, by value,
 * never single points: the producer writes straight into free slots and publishes many with one
 * store.
 *
 *                head                      tail
 *                 |                         |
 *      ... free   v  filled, not yet read   v   free ...
 *     [    ][    ][ p ][ p ][ p ][ p ][ p ][    ][    ]
 *                 ^ the consumer reads      ^ the producer writes
 *
 * COUNTERS   head and tail count slots since ring_init(); they never wrap in practice (64 bits)
 *            and are reduced by the mask only to index the array. So full is tail - head ==
 *            capacity, empty is tail == head, and no slot is given up to tell them apart.
 *
 * ORDERING   Two pairs of a release store and an acquire load, nothing else:
 *              A  ring_publish() stores tail, ring_peek() loads it: the slots were filled before.
 *              B  ring_release() stores head, ring_reserve() loads it: the slots were read before.
 *
 * CACHE      Each side owns one cache line: its counter and its last sight of the other one's.
 *            The other side's line is fetched only when that last sight is not good enough.
 *
 * FULL       ring_reserve() grants less than was asked for, possibly nothing. It never waits and
 *            never drops: the caller stops reading from its sockets (see node/conn.c).
 *
 * WAKING     is not done here. storage/base/mailbox.h pairs a ring with the doorbell that wakes a
 * loop.
 */
#ifndef STORAGE_BASE_RING_H
#define STORAGE_BASE_RING_H

#include <assert.h>
#include <stdalign.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/base/attrs.h"
#include "storage/base/check.h"
#include "storage/base/err.h"

enum { RING_CAPACITY_MAX = 1 << 30 };

struct ring {
    /* Both threads: set by ring_init(), then only read. */
    alignas(CACHE_LINE) uint8_t *slots; /* Owned: capacity * slot_size bytes. */
    uint32_t capacity;                  /* Slots, a power of two. */
    uint32_t slot_size;                 /* Bytes. */

    /* Producer's line. */
    alignas(CACHE_LINE) _Atomic uint64_t tail; /* Slots published. The consumer reads it. */
    uint64_t head_seen;                        /* At most head. Producer only. */
    uint32_t granted;                          /* By the last reserve, for checks. */

    /* Consumer's line. */
    alignas(CACHE_LINE) _Atomic uint64_t head; /* Slots released. The producer reads it. */
    uint64_t tail_seen;                        /* At most tail. Consumer only. */
    uint32_t offered;                          /* By the last peek, for checks. */
};
static_assert(offsetof(struct ring, head) - offsetof(struct ring, tail) >= CACHE_LINE,
              "the two threads would write to one cache line");
static_assert(sizeof(struct ring) % CACHE_LINE == 0, "a neighbour would share the last line");

/**
 * Make an empty ring. Memory for the slots is taken here and never again.
 *
 * capacity   slots: a power of two, 1 to RING_CAPACITY_MAX
 * slot_size  bytes of one element; the array is CACHE_LINE aligned, elements follow each other
 * Owner      the caller owns `ring` (aligned as its type asks) and calls ring_fini()
 * Thread     before either thread uses the ring
 * Errors     ERR_NO_MEMORY
 */
MUST_CHECK enum err ring_init(struct ring *ring, uint32_t capacity, uint32_t slot_size);

/** Free the slots; unread elements are forgotten. After both threads have stopped using it. */
void ring_fini(struct ring *ring);

/** Filled slots, roughly: both sides may be moving. For metrics. Any thread. */
uint32_t ring_depth(const struct ring *ring);

/* ---- The producer's thread ----------------------------------------------------------------- */

/**
 * Ask for up to `want` free slots in a row, and get a pointer to the first.
 *
 * Returns how many were granted: 0 if the ring is full, fewer than asked for if it is nearly full
 * or the array ends here (ask again for the rest). Borrowed until ring_publish().
 */
static inline uint32_t ring_reserve(struct ring *ring, uint32_t want, void **ret_slots)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed); /* Our own. */
    uint32_t at = (uint32_t)tail & (ring->capacity - 1);
    uint32_t to_array_end = ring->capacity - at;
    uint32_t count = want < to_array_end ? want : to_array_end;
    uint64_t room = ring->capacity - (tail - ring->head_seen);

    if (room < count) {
        /* Pair B: what we are about to overwrite has been read. */
        ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
        room = ring->capacity - (tail - ring->head_seen);
        if (room < count)
            count = (uint32_t)room;
    }

    ring->granted = count;
    *ret_slots = ring->slots + (size_t)at * ring->slot_size;
    return count;
}

/** Hand the first `count` of the slots last granted, all filled, to the consumer. */
static inline void ring_publish(struct ring *ring, uint32_t count)
{
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed); /* Our own. */

    CHECK(count <= ring->granted);
    ring->granted = 0;
    atomic_store_explicit(&ring->tail, tail + count, memory_order_release); /* Pair A. */
}

/* ---- The consumer's thread ----------------------------------------------------------------- */

/**
 * Look at up to `want` filled slots in a row, oldest first, without taking them out.
 *
 * Returns how many there are: 0 if the ring is empty, fewer than asked for if it is nearly empty
 * or the array ends here (look again for the rest). Borrowed until ring_release().
 */
static inline uint32_t ring_peek(struct ring *ring, uint32_t want, const void **ret_slots)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed); /* Our own. */
    uint32_t at = (uint32_t)head & (ring->capacity - 1);
    uint32_t to_array_end = ring->capacity - at;
    uint32_t count = want < to_array_end ? want : to_array_end;
    uint64_t ready = ring->tail_seen - head;

    if (ready < count) {
        /* Pair A: what we are about to read has been filled. */
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        ready = ring->tail_seen - head;
        if (ready < count)
            count = (uint32_t)ready;
    }

    ring->offered = count;
    *ret_slots = ring->slots + (size_t)at * ring->slot_size;
    return count;
}

/** Give the first `count` of the slots last looked at back to the producer. */
static inline void ring_release(struct ring *ring, uint32_t count)
{
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_relaxed); /* Our own. */

    CHECK(count <= ring->offered);
    ring->offered = 0;
    atomic_store_explicit(&ring->head, head + count, memory_order_release); /* Pair B. */
}

#endif
