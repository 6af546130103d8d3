/*
 * mailbox.h - a ring with a doorbell: how one thread gives another work and wakes it if it sleeps.
 *
 * The ring carries the messages (ring.h: one producer, one consumer, descriptors by value). The
 * doorbell is the receiver's own way of waking up, given as a function: uv_async_send() for a
 * worker's loop, a condition variable for the log writer. It costs a system call and up to 25 us,
 * so it is rung once for all messages that the receiver has not come for yet:
 *
 *     producer                                   consumer
 *     fill slots, publish (tail)                 woken by the bell
 *     rung: false -> true    rings the bell      rung: true -> false    mailbox_answer()
 *     rung: true  -> true    does not            look at the ring until it is empty
 *                                                sleep
 *
 * NO WAKE-UP IS LOST   because both sides change `rung` by an exchange, and all exchanges of one
 *     variable have one order. Take a post and the consumer's answers around it:
 *       - an answer comes later in that order, before any sleep: its acquire sees this post's
 *         release, or that of a later one, and so the new tail. The message is taken.
 *       - the last answer came earlier: the exchange of the first post after it read `false`, and
 *         rang. That ring makes the consumer answer once more, which is the case above.
 *     A plain store and load with a fence between would do as well; ThreadSanitizer cannot see
 *     fences, and the exchange is paid once a batch.
 *
 * RULES    The consumer answers first and looks at the ring after that, never the other way round.
 *          It comes at least once after every ring; a ring without a message is normal.
 *
 * FULL     mailbox_put() and ring_reserve() refuse. Nobody waits here; see ring.h.
 */
#ifndef STORAGE_BASE_MAILBOX_H
#define STORAGE_BASE_MAILBOX_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "storage/base/attrs.h"
#include "storage/base/err.h"
#include "storage/base/ring.h"

/**
 * Make the consumer come to mailbox_answer() soon, at least once after this call. Called on the
 * producer's thread, and by mailbox_drain() on the consumer's own. Must not fail.
 */
typedef void mailbox_wake_fn(void *arg);

struct mailbox {
    struct ring
        ring; /* ring_reserve(), ring_peek() and ring_release() are called on it directly. */

    /* Both threads: set by mailbox_init(), then only read. */
    alignas(CACHE_LINE) mailbox_wake_fn *wake;
    void *wake_arg;

    /* Both threads. */
    alignas(CACHE_LINE) _Atomic bool rung; /* Since the consumer answered last. */
};

/**
 * Make an empty mailbox. The first post rings.
 *
 * capacity   messages: a power of two
 * slot_size  bytes of one message
 * wake       may be called until the producer has stopped posting; `arg` is borrowed so long
 * Owner      the caller owns `mailbox` (aligned as its type asks) and calls mailbox_fini()
 * Errors     ERR_NO_MEMORY
 */
MUST_CHECK enum err mailbox_init(struct mailbox *mailbox, uint32_t capacity, uint32_t slot_size,
                                 mailbox_wake_fn *wake, void *arg);

/** Free the slots; messages in it are forgotten. After both threads have stopped using it. */
void mailbox_fini(struct mailbox *mailbox);

/* ---- The producer's thread ----------------------------------------------------------------- */

/** Send one message of slot_size bytes, copied. False if there is no room: nothing was sent. */
MUST_CHECK bool mailbox_put(struct mailbox *mailbox, const void *message);

/** Send the first `count` slots of the last ring_reserve(), all filled, in one go. */
void mailbox_post(struct mailbox *mailbox, uint32_t count);

/* ---- The consumer's thread ----------------------------------------------------------------- */

/** From now on a post rings again. Then ring_peek() and ring_release() until the ring is empty. */
void mailbox_answer(struct mailbox *mailbox);

/**
 * Answer, then call `each` for up to `max` messages, oldest first. If more are left, ring for
 * oneself, so that a loop gets to its sockets in between. Returns how many were taken.
 *
 * each  `message` is borrowed during the call, which may post to other mailboxes
 */
uint32_t mailbox_drain(struct mailbox *mailbox, uint32_t max,
                       void (*each)(void *arg, const void *message), void *arg);

#endif
