#include <criterion/criterion.h>
#include <stdio.h>

#include "storage/key_index.h"
#include "tests/support/seed.h"

enum { KEYS = 2000 };

static char keys[KEYS][16];

static struct slice key_of(const void *owner, uint32_t number)
{
    (void)owner;
    return (struct slice){keys[number], strlen(keys[number])};
}

static uint64_t hash_of(uint32_t number)
{
    return key_hash(keys[number], strlen(keys[number]));
}

static uint32_t find(const struct key_index *index, uint32_t number)
{
    return key_index_find(index, NULL, key_of, key_of(NULL, number), hash_of(number));
}

static void name_keys(void)
{
    for (uint32_t i = 0; i < KEYS; i++)
        (void)snprintf(keys[i], sizeof keys[i], "key-%u", i);
}

Test(key_index, finds_nothing_when_empty)
{
    struct key_index index = {0};

    name_keys();
    cr_assert_eq(find(&index, 0), KEY_INDEX_NONE);
    key_index_fini(&index);
}

Test(key_index, holds_just_what_was_added_and_not_removed)
{
    struct key_index index = {0};
    bool in[KEYS] = {false};
    uint64_t chance = seed_of_run("key_index");

    name_keys();
    for (int turn = 0; turn < 40000; turn++) {
        uint32_t number = (uint32_t)seed_below(&chance, KEYS);

        cr_assert_eq(find(&index, number), in[number] ? number : KEY_INDEX_NONE);
        if (in[number]) {
            key_index_remove(&index, hash_of(number), number);
        } else {
            cr_assert_eq(key_index_reserve(&index, 1), ERR_OK);
            key_index_add(&index, hash_of(number), number);
        }
        in[number] = !in[number];
    }
    for (uint32_t number = 0; number < KEYS; number++)
        cr_assert_eq(find(&index, number), in[number] ? number : KEY_INDEX_NONE);
    cr_assert_leq(index.used, index.capacity / 8 * 7);
    key_index_fini(&index);
}
