#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "storage/marks.h"
#include "tests/support/seed.h"

static struct slice text(const char *string)
{
    return (struct slice){string, strlen(string)};
}

static void put(struct bytes *list, const char *name, int64_t cutoff_ns)
{
    struct mark mark = {text(name), cutoff_ns, 3, 4};

    cr_assert_eq(marks_put(list, &mark), ERR_OK, "%s", err_detail());
}

Test(marks, a_database_without_one_has_lost_nothing)
{
    struct bytes list = {0};
    struct mark mark = marks_find(&list, text("db"));

    cr_assert_eq(mark.cutoff_ns, INT64_MIN);
    cr_assert_eq(mark.drop, 0);
    cr_assert_eq(mark.erased_index, 0);
    cr_assert_eq(marks_cutoff_max(&list), INT64_MIN);
    cr_assert_eq(marks_check(NULL, 0), ERR_OK);
    put(&list, "da", 1);
    put(&list, "dbc", 1);
    cr_assert_eq(marks_find(&list, text("db")).cutoff_ns, INT64_MIN);
    bytes_fini(&list);
}

Test(marks, come_out_as_last_put_in_whatever_the_order)
{
    uint64_t chance = seed_of_run("marks");
    int64_t expected[50];
    struct bytes list = {0}, other = {0};
    char name[8];

    for (unsigned i = 0; i < 50; i++)
        expected[i] = INT64_MIN;
    for (unsigned turn = 0; turn < 300; turn++) {
        unsigned at = (unsigned)seed_below(&chance, 50);

        expected[at] = (int64_t)seed_below(&chance, 1000) - 500;
        (void)snprintf(name, sizeof name, "%u", at);
        put(&list, name, expected[at]);
        cr_assert_eq(marks_check(list.data, list.size), ERR_OK, "%s", err_detail());
    }
    for (unsigned i = 50; i-- > 0;) {
        (void)snprintf(name, sizeof name, "%u", i);
        cr_assert_eq(marks_find(&list, text(name)).cutoff_ns, expected[i]);
        if (expected[i] != INT64_MIN)
            put(&other, name, expected[i]);
    }
    cr_assert_eq(list.size, other.size); /* The same marks are the same bytes. */
    cr_assert_arr_eq(list.data, other.data, list.size);
    bytes_fini(&list);
    bytes_fini(&other);
}

Test(marks, bytes_that_are_no_list_are_noticed)
{
    struct bytes list = {0}, swapped = {0};

    put(&list, "a", 1);
    put(&list, "b", 2);
    cr_assert_eq(marks_cutoff_max(&list), 2);
    for (size_t cut = 1; cut < list.size; cut++)
        if (cut != list.size / 2)
            cr_assert_eq(marks_check(list.data, cut), ERR_CORRUPT, "cut at %zu", cut);
    bytes_put(&swapped, list.data + list.size / 2, list.size / 2);
    bytes_put(&swapped, list.data, list.size / 2);
    cr_assert_eq(marks_check(swapped.data, swapped.size), ERR_CORRUPT);
    list.data[0] = 0; /* An empty name. */
    cr_assert_eq(marks_check(list.data, list.size), ERR_CORRUPT);
    bytes_fini(&list);
    bytes_fini(&swapped);
}

Test(marks, are_bounded)
{
    struct bytes list = {0};
    struct mark mark = {.cutoff_ns = 1};
    char name[16];
    size_t size;

    for (unsigned i = 0; i < MARKS_MAX; i++) { /* As marks_put() would, in less time. */
        (void)snprintf(name, sizeof name, "%06u", i);
        bytes_put_string(&list, name, 6);
        bytes_put_u64(&list, 1);
        bytes_put_u64(&list, 0);
        bytes_put_u64(&list, 0);
    }
    size = list.size;
    mark.database = text("one more");
    cr_assert_eq(marks_put(&list, &mark), ERR_LIMIT);
    mark.database = text("000007");
    cr_assert_eq(marks_put(&list, &mark), ERR_OK);
    cr_assert_eq(list.size, size);
    bytes_fini(&list);
}
