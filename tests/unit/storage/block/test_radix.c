/*
 * The sort: in order, and stable, for every size and every spread of keys.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "storage/block/radix.h"
#include "tests/support/seed.h"

Test(radix, sorts_stably)
{
    enum { COUNT = 3000 };
    uint64_t state = seed_of_run("radix");
    uint64_t *keys = malloc(COUNT * sizeof *keys);
    uint32_t *order = malloc(2 * COUNT * sizeof *order);

    cr_assert(keys != NULL && order != NULL);
    for (int turn = 0; turn < 500; turn++) {
        uint32_t count = (uint32_t)seed_below(&state, turn % 2 == 0 ? 60 : COUNT);
        unsigned shift = (unsigned)seed_below(&state, 64);
        uint64_t base = seed_next(&state);

        for (uint32_t i = 0; i < count; i++) {
            keys[i] = base ^ seed_next(&state) >> shift;
            order[i] = i;
        }
        radix_sort(keys, count, order, order + COUNT);
        for (uint32_t i = 1; i < count; i++) {
            cr_assert_leq(keys[order[i - 1]], keys[order[i]]);
            if (keys[order[i - 1]] == keys[order[i]])
                cr_assert_lt(order[i - 1], order[i]);
        }
    }
    free(keys);
    free(order);
}
