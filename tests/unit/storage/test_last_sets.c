#include <criterion/criterion.h>

#include <stdio.h>
#include <string.h>

#include "storage/last_sets.h"

static struct last_sets sets;

static void close_sets(void)
{
    last_sets_fini(&sets);
}

TestSuite(last_sets, .fini = close_sets);

static struct slice name(uint32_t number)
{
    static char text[32];

    return (struct slice){text, (size_t)snprintf(text, sizeof text, "question %u", number)};
}

static void put(uint32_t number, uint32_t count)
{
    uint32_t ids[8];

    for (uint32_t i = 0; i < count; i++)
        ids[i] = number + i;
    last_sets_put(&sets, name(number), ids, count, number + 100);
}

static void expect(uint32_t number, uint32_t count)
{
    const struct last_set *set = last_sets_find(&sets, name(number));

    cr_assert_not_null(set, "%u", number);
    cr_assert_eq(set->count, count);
    cr_assert_eq(set->series, number + 100);
    for (uint32_t i = 0; i < count; i++)
        cr_assert_eq(set->ids[i], number + i);
}

Test(last_sets, a_set_is_found_by_its_name_alone)
{
    last_sets_init(&sets, 1 << 20);
    cr_assert_null(last_sets_find(&sets, name(1)));
    put(1, 3);
    put(2, 0);
    expect(1, 3);
    expect(2, 0);
    cr_assert_null(last_sets_find(&sets, name(3)));
}

Test(last_sets, a_set_replaces_the_one_of_its_name)
{
    last_sets_init(&sets, 1 << 20);
    for (uint32_t i = 0; i < 10000; i++)
        put(i % 3, i % 8);
    expect(0, 9999 % 8);
    expect(1, 9997 % 8);
    expect(2, 9998 % 8);
}

Test(last_sets, the_oldest_go_when_the_room_is_used_up)
{
    uint32_t kept = 0;

    last_sets_init(&sets, 1 << 16);
    for (uint32_t i = 0; i < 5000; i++) {
        put(i, 8);
        expect(i, 8);
        cr_assert_leq(sets.bytes, sets.bytes_max);
        if (i % 7 == 0) /* Leaves holes. */
            put(i > 20 ? i - 20 : 0, 1);
    }
    for (uint32_t i = 0; i < 5000; i++)
        kept += last_sets_find(&sets, name(i)) != NULL;
    cr_assert_gt(kept, 100);
    cr_assert_leq(kept, sets.capacity);
    cr_assert_null(last_sets_find(&sets, name(1)));
}

Test(last_sets, without_room_nothing_is_kept)
{
    last_sets_init(&sets, 0);
    put(1, 3);
    cr_assert_null(last_sets_find(&sets, name(1)));
}
