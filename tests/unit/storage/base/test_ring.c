/*
 * The ring, one thread at a time: counting, wrapping, refusing. tests/stress/ring_stress.c runs
 * the two threads against each other under ThreadSanitizer.
 */
#include <criterion/criterion.h>

#include "storage/base/ring.h"

/* Push the numbers first, first + 1, ... one by one; returns how many fitted. */
static uint32_t push(struct ring *ring, uint64_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        void *slot;

        if (ring_reserve(ring, 1, &slot) == 0)
            return i;
        *(uint64_t *)slot = first + i;
        ring_publish(ring, 1);
    }
    return count;
}

static uint32_t pop(struct ring *ring, uint64_t first, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        const void *slot;

        if (ring_peek(ring, 1, &slot) == 0)
            return i;
        cr_assert_eq(*(const uint64_t *)slot, first + i);
        ring_release(ring, 1);
    }
    return count;
}

Test(ring, uses_every_slot_then_refuses)
{
    struct ring ring;

    cr_assert_eq(ring_init(&ring, 8, sizeof(uint64_t)), ERR_OK);
    cr_assert_eq(push(&ring, 0, 9), 8);
    cr_assert_eq(ring_depth(&ring), 8);
    cr_assert_eq(pop(&ring, 0, 9), 8);
    cr_assert_eq(ring_depth(&ring), 0);
    ring_fini(&ring);
}

Test(ring, keeps_order_around_the_end_of_the_array)
{
    struct ring ring;

    cr_assert_eq(ring_init(&ring, 8, sizeof(uint64_t)), ERR_OK);
    for (uint64_t turn = 0; turn < 1000; turn++) {
        cr_assert_eq(push(&ring, turn * 5, 5), 5);
        cr_assert_eq(pop(&ring, turn * 5, 5), 5);
    }
    ring_fini(&ring);
}

Test(ring, grants_a_row_up_to_the_end_of_the_array_then_the_rest)
{
    struct ring ring;
    void *slots;

    cr_assert_eq(ring_init(&ring, 8, sizeof(uint64_t)), ERR_OK);
    cr_assert_eq(push(&ring, 0, 6), 6);
    cr_assert_eq(pop(&ring, 0, 6), 6);
    cr_assert_eq(ring_reserve(&ring, 5, &slots), 2);
    ring_publish(&ring, 2);
    cr_assert_eq(ring_reserve(&ring, 3, &slots), 3);
    cr_assert_eq(slots, ring.slots);
    ring_publish(&ring, 3);
    cr_assert_eq(ring_depth(&ring), 5);
    ring_fini(&ring);
}

Test(ring, hides_slots_until_they_are_published)
{
    struct ring ring;
    const void *seen;
    void *slots;

    cr_assert_eq(ring_init(&ring, 4, sizeof(uint64_t)), ERR_OK);
    cr_assert_eq(ring_reserve(&ring, 3, &slots), 3);
    cr_assert_eq(ring_peek(&ring, 4, &seen), 0);
    ring_publish(&ring, 2);
    cr_assert_eq(ring_peek(&ring, 4, &seen), 2);
    ring_fini(&ring);
}
