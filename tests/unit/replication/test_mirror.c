/*
 * The log mirror: a window of slots that moves, is cut, and lets go of what can be read back.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "replication/mirror.h"
#include "tests/support/seed.h"

enum { KEPT = 3 };

static void push(struct mirror *mirror, uint64_t term, uint8_t type, uint64_t position)
{
    struct mirror_slot slot = {.term = term, .type = type, .position = position, .size = 10};

    slot.payload = buf_new(10);
    slot.payload->size = 10;
    cr_assert_eq(mirror_push(mirror, &slot), ERR_OK);
}

Test(mirror, finds_each_entry_after_it_has_grown_and_moved)
{
    struct mirror mirror;

    mirror_init(&mirror, 100);
    for (uint64_t i = 0; i < 1000; i++) {
        push(&mirror, i, 1, 1);
        if (i % 3 == 0)
            mirror_drop(&mirror, 100 + i / 2);
    }
    cr_assert_eq(mirror.last, 1099);
    cr_assert_null(mirror_at(&mirror, mirror.first - 1));
    cr_assert_null(mirror_at(&mirror, mirror.last + 1));
    for (uint64_t index = mirror.first; index <= mirror.last; index++)
        cr_assert_eq(mirror_at(&mirror, index)->term, index - 100);
    cr_assert_eq(mirror.cached_bytes, mirror_count(&mirror) * 10);
    mirror_fini(&mirror);
}

Test(mirror, evicts_what_is_in_the_log_and_not_of_the_kept_type)
{
    struct mirror mirror;

    mirror_init(&mirror, 1);
    push(&mirror, 1, KEPT, 4096);
    push(&mirror, 1, 1, 8192);
    push(&mirror, 1, 1, 0); /* Not written yet. */
    push(&mirror, 1, 1, 0);
    mirror_evict(&mirror, 4, KEPT);
    cr_assert_not_null(mirror_at(&mirror, 1)->payload);
    cr_assert_null(mirror_at(&mirror, 2)->payload);
    cr_assert_not_null(mirror_at(&mirror, 3)->payload);
    cr_assert_eq(mirror.cached_bytes, 30);
    mirror_at(&mirror, 3)->position = 9000;
    mirror_evict(&mirror, 4, KEPT);
    cr_assert_null(mirror_at(&mirror, 3)->payload);
    cr_assert_not_null(mirror_at(&mirror, 4)->payload);
    mirror_fini(&mirror);
}

Test(mirror, evicts_again_what_took_the_place_of_evicted_entries)
{
    struct mirror mirror;

    mirror_init(&mirror, 1);
    push(&mirror, 1, 1, 1);
    push(&mirror, 1, 1, 2);
    mirror_evict(&mirror, 2, KEPT);
    mirror_cut(&mirror, 2);
    push(&mirror, 2, 1, 3);
    cr_assert_eq(mirror.cached_bytes, 10);
    mirror_evict(&mirror, 2, KEPT);
    cr_assert_eq(mirror.cached_bytes, 0);
    mirror_fini(&mirror);
}

Test(mirror, takes_one_in_front_of_an_empty_or_a_full_window)
{
    for (uint64_t count = 0; count <= 128; count += 64) {
        const struct mirror_slot slot = {.term = 7, .type = 2};
        struct mirror mirror;

        mirror_init(&mirror, 100);
        for (uint64_t i = 0; i < count; i++)
            push(&mirror, 8 + i, 1, 1);
        cr_assert_eq(mirror_put_first(&mirror, &slot), ERR_OK);
        cr_assert_eq(mirror.first, 99);
        cr_assert_eq(mirror_at(&mirror, 99)->term, 7);
        push(&mirror, 8 + count, 1, 1);
        for (uint64_t i = 0; i <= count; i++)
            cr_assert_eq(mirror_at(&mirror, 100 + i)->term, 8 + i);
        cr_assert_null(mirror_at(&mirror, 98));
        mirror_evict(&mirror, 100 + count, KEPT);
        cr_assert_eq(mirror.cached_bytes, 0, "what has no position does not hold it up");
        mirror_drop(&mirror, 99);
        cr_assert_eq(mirror.first, 100);
        cr_assert_eq(mirror_at(&mirror, 100)->term, 8);
        mirror_fini(&mirror);
    }
}

/* Against the plainest model: an array of terms. */
Test(mirror, does_as_a_model_does_in_any_order_of_calls)
{
    uint64_t seed = seed_of_run("mirror");
    uint64_t terms[4096], first = 1, last = 0, bytes = 0;
    bool cached[4096];
    struct mirror mirror;

    mirror_init(&mirror, 1);
    for (int step = 0; step < 20000 && last < 4000; step++) {
        uint64_t at = first + seed_below(&seed, last + 2 - first);

        switch (seed_below(&seed, 8)) {
        case 0:
            mirror_cut(&mirror, at);
            for (; last >= at && last >= first; last--)
                bytes -= cached[last] ? 10 : 0;
            break;
        case 1:
            at = first + seed_below(&seed, 4);
            mirror_drop(&mirror, at);
            for (; first <= at && first <= last; first++)
                bytes -= cached[first] ? 10 : 0;
            break;
        case 2:
            mirror_evict(&mirror, at, KEPT);
            for (uint64_t i = first; i <= at && i <= last; i++) {
                bytes -= cached[i] ? 10 : 0;
                cached[i] = false;
            }
            break;
        default:
            terms[++last] = (uint64_t)step;
            cached[last] = true;
            bytes += 10;
            push(&mirror, (uint64_t)step, 1, 1);
        }
        cr_assert_eq(mirror.first, first);
        cr_assert_eq(mirror.last, last);
        cr_assert_eq(mirror.cached_bytes, bytes, "step %d", step);
        if (last >= first)
            cr_assert_eq(mirror_at(&mirror, last)->term, terms[last]);
    }
    mirror_fini(&mirror);
}
