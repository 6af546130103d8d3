#include <criterion/criterion.h>
#include <string.h>

#include "storage/block/tombstone.h"

static struct tombstone sample(void)
{
    struct tombstone tombstone = {
        .table_key = {"\005plant\003cpu", 10}, .first_ns = -5, .last_ns = 9, .condition_count = 2};

    tombstone.conditions[0].tag = (struct slice){"host", 4};
    tombstone.conditions[0].value = (struct slice){"a", 1};
    tombstone.conditions[1].tag = (struct slice){"site", 4};
    tombstone.conditions[1].value = (struct slice){"", 0};
    tombstone.conditions[1].negate = true;
    return tombstone;
}

Test(tombstone, comes_back_as_it_was)
{
    struct tombstone sent = sample(), back;
    struct bytes bytes = {0};

    tombstone_put(&sent, &bytes);
    cr_assert_eq(tombstone_get(bytes.data, bytes.size, &back), ERR_OK, "%s", err_detail());
    cr_assert_eq(back.table_key.size, 10);
    cr_assert_eq(back.first_ns, -5);
    cr_assert_eq(back.last_ns, 9);
    cr_assert_eq(back.condition_count, 2);
    cr_assert_eq(memcmp(back.conditions[0].tag.data, "host", 4), 0);
    cr_assert(back.conditions[1].negate);
    for (size_t size = 0; size < bytes.size; size++)
        cr_assert_eq(tombstone_get(bytes.data, size, &back), ERR_INVALID, "%zu bytes", size);
    bytes_put_u8(&bytes, 0);
    cr_assert_eq(tombstone_get(bytes.data, bytes.size, &back), ERR_INVALID);
    bytes_fini(&bytes);
}

Test(tombstone, makes_sense_or_is_refused)
{
    struct tombstone bad[3] = {sample(), sample(), sample()};
    struct tombstone back;
    struct bytes bytes = {0};

    bad[0].table_key.size = 6; /* A database alone. */
    bad[1].last_ns = -6;
    bad[2].table_key = (struct slice){"\000\003cpu", 5};
    for (size_t i = 0; i < 3; i++) {
        bytes_clear(&bytes);
        tombstone_put(&bad[i], &bytes);
        cr_assert_eq(tombstone_get(bytes.data, bytes.size, &back), ERR_INVALID, "%zu", i);
    }
    bytes_fini(&bytes);
}

Test(tombstone, means_series_that_satisfy_all_conditions)
{
    struct tag both[] = {{{"host", 4}, {"a", 1}}, {{"site", 4}, {"x", 1}}};
    struct tag other[] = {{{"host", 4}, {"b", 1}}, {{"site", 4}, {"x", 1}}};
    struct tombstone tombstone = sample();
    struct slice database = {"plant", 5}, table = {"cpu", 3};
    char key[100];

    cr_assert(tombstone_matches(
        &tombstone, (struct slice){key, key_write(database, table, both, 2, key, 100)}));
    cr_assert_not(tombstone_matches(
        &tombstone, (struct slice){key, key_write(database, table, both, 1, key, 100)}));
    cr_assert_not(tombstone_matches(
        &tombstone, (struct slice){key, key_write(database, table, other, 2, key, 100)}));
    tombstone.condition_count = 0;
    cr_assert(tombstone_matches(
        &tombstone, (struct slice){key, key_write(database, table, other, 2, key, 100)}));
}

Test(tombstone, lists_are_checked_wholly)
{
    struct tombstone one = sample(), back;
    struct bytes bytes = {0}, list = {0};
    struct reader reader;
    struct slice slice;

    tombstone_put(&one, &bytes);
    slice = (struct slice){(char *)bytes.data, bytes.size};
    cr_assert_eq(tombstones_check(NULL, 0), ERR_OK);
    tombstones_add(&list, 7, slice);
    tombstones_add(&list, 9, slice);
    cr_assert_eq(tombstones_check(list.data, list.size), ERR_OK, "%s", err_detail());
    cr_assert_eq(tombstones_count(&list), 2);
    for (size_t size = 1; size < list.size; size++)
        if (size != list.size / 2)
            cr_assert_eq(tombstones_check(list.data, size), ERR_CORRUPT, "%zu bytes", size);
    reader = reader_on(list.data, list.size);
    cr_assert(tombstones_next(&reader, &back, NULL));
    cr_assert_eq(back.index, 7);
    cr_assert(tombstones_next(&reader, &back, &slice));
    cr_assert_eq(back.index, 9);
    cr_assert_eq(slice.size, bytes.size);
    cr_assert_not(tombstones_next(&reader, &back, NULL));
    list.data[0] = 10; /* Indexes fall. */
    cr_assert_eq(tombstones_check(list.data, list.size), ERR_CORRUPT);
    bytes_fini(&bytes);
    bytes_fini(&list);
}
