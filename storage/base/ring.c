#include "storage/base/ring.h"

#include <stdlib.h>

enum err ring_init(struct ring *ring, uint32_t capacity, uint32_t slot_size)
{
    size_t bytes = (size_t)capacity * slot_size;
    size_t padded = (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;

    CHECK(capacity >= 1);
    CHECK(capacity <= RING_CAPACITY_MAX);
    CHECK((capacity & (capacity - 1)) == 0);
    CHECK(slot_size >= 1);

    *ring = (struct ring){.capacity = capacity, .slot_size = slot_size};
    ring->slots = aligned_alloc(CACHE_LINE, padded);
    if (ring->slots == NULL)
        return err_set(ERR_NO_MEMORY, "ring: %zu bytes", padded);
    return ERR_OK;
}

void ring_fini(struct ring *ring)
{
    free(ring->slots);
    ring->slots = NULL;
}

uint32_t ring_depth(const struct ring *ring)
{
    /* The head first: a tail read after it is never behind it. */
    uint64_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    uint64_t depth = tail - head;

    /* Both may have moved on between the two loads. */
    return depth < ring->capacity ? (uint32_t)depth : ring->capacity;
}
