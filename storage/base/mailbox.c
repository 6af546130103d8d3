#include "storage/base/mailbox.h"

#include <string.h>

enum err mailbox_init(struct mailbox *mailbox, uint32_t capacity, uint32_t slot_size,
                      mailbox_wake_fn *wake, void *arg)
{
    CHECK(wake != NULL);
    mailbox->wake = wake;
    mailbox->wake_arg = arg;
    atomic_init(&mailbox->rung, false);
    return ring_init(&mailbox->ring, capacity, slot_size);
}

void mailbox_fini(struct mailbox *mailbox)
{
    ring_fini(&mailbox->ring);
}

/* ---- The producer's thread ----------------------------------------------------------------- */

void mailbox_post(struct mailbox *mailbox, uint32_t count)
{
    if (count == 0)
        return;
    ring_publish(&mailbox->ring, count);
    /* Release: pairs with the acquire of mailbox_answer(), which then sees the tail just stored. */
    if (!atomic_exchange_explicit(&mailbox->rung, true, memory_order_release))
        mailbox->wake(mailbox->wake_arg);
}

bool mailbox_put(struct mailbox *mailbox, const void *message)
{
    void *slot;

    if (ring_reserve(&mailbox->ring, 1, &slot) == 0)
        return false;
    memcpy(slot, message, mailbox->ring.slot_size);
    mailbox_post(mailbox, 1);
    return true;
}

/* ---- The consumer's thread ----------------------------------------------------------------- */

void mailbox_answer(struct mailbox *mailbox)
{
    /* Not a store: only by reading the producer's `true` do we see what it published before. */
    (void)atomic_exchange_explicit(&mailbox->rung, false, memory_order_acquire);
}

uint32_t mailbox_drain(struct mailbox *mailbox, uint32_t max,
                       void (*each)(void *arg, const void *message), void *arg)
{
    struct ring *ring = &mailbox->ring;
    const void *messages;
    uint32_t taken = 0;

    mailbox_answer(mailbox);
    while (taken < max) {
        uint32_t count = ring_peek(ring, max - taken, &messages);

        if (count == 0)
            return taken;
        for (uint32_t i = 0; i < count; i++)
            each(arg, (const uint8_t *)messages + (size_t)i * ring->slot_size);
        ring_release(ring, count);
        taken += count;
    }
    if (ring_peek(ring, 1, &messages) > 0)
        mailbox->wake(mailbox->wake_arg);
    return taken;
}
