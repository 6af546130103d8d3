#include <criterion/criterion.h>

#include "node/seal_turn.h"

enum { SHARDS = 4, FULL = 1000 };

Test(seal_turn, is_that_of_the_fullest_when_there_is_much_in_all)
{
    struct seal_turn shards[SHARDS] = {{500, false}, {900, false}, {700, false}, {399, false}};

    cr_assert_eq(seal_turn_of(shards, SHARDS, FULL), SHARDS);
    shards[3].head_bytes++;
    cr_assert_eq(seal_turn_of(shards, SHARDS, FULL), 1);
    shards[1].sealing = true; /* What it has is on the way out. */
    cr_assert_eq(seal_turn_of(shards, SHARDS, FULL), SHARDS);
}

Test(seal_turn, is_that_of_one_of_equal_ones)
{
    struct seal_turn shards[SHARDS] = {{700, false}, {700, false}, {700, false}, {700, false}};

    cr_assert_eq(seal_turn_of(shards, SHARDS, FULL), 0);
}

Test(seal_turn, is_nobodys_with_little)
{
    struct seal_turn one = {999, false}, many[10];

    cr_assert_eq(seal_turn_of(&one, 1, FULL), 1);
    one.head_bytes++;
    cr_assert_eq(seal_turn_of(&one, 1, FULL), 0);
    one.sealing = true;
    cr_assert_eq(seal_turn_of(&one, 1, FULL), 1);
    cr_assert_eq(seal_turn_of(NULL, 0, FULL), 0);
    for (uint32_t i = 0; i < 10; i++)
        many[i] = (struct seal_turn){499, false};
    cr_assert_eq(seal_turn_of(many, 10, FULL), 10);
}

/* All begin together, get alike, and a seal takes a while. */
Test(seal_turn, gets_shards_out_of_step)
{
    struct seal_turn shards[SHARDS] = {{0}};
    uint32_t left[SHARDS] = {0}; /* Steps until its seal is done. */
    uint32_t at_once = 0, seals = 0;
    uint64_t smallest = UINT64_MAX;

    for (uint32_t step = 0; step < 10000; step++) {
        uint32_t sealing = 0, turn;

        for (uint32_t i = 0; i < SHARDS; i++) {
            shards[i].head_bytes += 10;
            left[i] -= left[i] > 0;
            shards[i].sealing = left[i] > 0;
        }
        turn = seal_turn_of(shards, SHARDS, FULL);
        for (uint32_t i = 0; i < SHARDS; i++) {
            if (shards[i].head_bytes < FULL && turn != i)
                continue;
            if (step > 2000 && shards[i].head_bytes < smallest)
                smallest = shards[i].head_bytes;
            shards[i] = (struct seal_turn){0, true};
            left[i] = 20; /* Of the 100 that a shard takes to fill. */
            seals++;
        }
        for (uint32_t i = 0; i < SHARDS; i++)
            sealing += shards[i].sealing;
        if (step > 2000 && sealing > at_once)
            at_once = sealing;
    }
    cr_assert_eq(at_once, 1);
    cr_assert_geq(smallest, FULL * 3 / 4);
    cr_assert_leq(seals, SHARDS * 10000 / 75);
}
