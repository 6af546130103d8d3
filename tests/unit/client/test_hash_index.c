/*
 * The index offers every number that was added under a hash, and no other.
 */
#include <criterion/criterion.h>

#include "client/hash_index.h"
#include "tests/support/seed.h"

Test(hash_index, finds_nothing_when_empty)
{
    struct hash_index index = {0};
    struct hash_cursor at = hash_index_find(&index, 7);
    uint32_t number;

    cr_assert_not(hash_index_next(&index, &at, &number));
    hash_index_fini(&index);
}

Test(hash_index, offers_all_numbers_of_one_hash)
{
    struct hash_index index = {0};
    struct hash_cursor at;
    uint32_t number, seen = 0;

    for (uint32_t i = 0; i < 100; i++)
        cr_assert_eq(hash_index_add(&index, i % 2 ? UINT64_C(1) << 40 : 0, i), ERR_OK);
    at = hash_index_find(&index, UINT64_C(1) << 40);
    while (hash_index_next(&index, &at, &number)) {
        cr_assert_eq(number % 2, 1);
        seen++;
    }
    cr_assert_eq(seen, 50);
    hash_index_fini(&index);
}

Test(hash_index, keeps_what_was_added_while_it_grows)
{
    uint64_t state = seed_of_run("hash_index");
    uint64_t start = state;
    struct hash_index index = {0};

    for (uint32_t i = 0; i < 20000; i++)
        cr_assert_eq(hash_index_add(&index, seed_next(&state), i), ERR_OK);
    state = start;
    for (uint32_t i = 0; i < 20000; i++) {
        struct hash_cursor at = hash_index_find(&index, seed_next(&state));
        uint32_t number = UINT32_MAX;

        while (number != i)
            cr_assert(hash_index_next(&index, &at, &number), "number %u is lost", (unsigned)i);
    }
    cr_assert_eq(index.count, 20000);
    hash_index_fini(&index);
}
