#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "storage/compactions.h"

static void add(struct compactions *list, uint64_t number, const uint64_t *inputs, uint32_t count)
{
    struct compaction compaction = {.info = {.number = number}, .input_count = count};

    compaction.inputs = malloc((count + 1) * sizeof *inputs);
    if (count > 0)
        memcpy(compaction.inputs, inputs, count * sizeof *inputs);
    cr_assert_eq(compactions_add(list, &compaction), ERR_OK);
}

static struct compactions sample(void)
{
    struct compactions list = {0};

    add(&list, 4, NULL, 0);
    add(&list, 7, (uint64_t[]){6, 2}, 2);
    add(&list, 9, (uint64_t[]){7, 4, 8}, 3);
    return list;
}

Test(compactions, the_next_one_is_the_first_that_has_inputs)
{
    struct compactions list = sample();

    cr_assert_eq(compactions_next(&list)->info.number, 7);
    compactions_remove(&list, 7);
    cr_assert_eq(compactions_next(&list)->info.number, 9);
    compactions_remove(&list, 9);
    compactions_remove(&list, 9); /* It is not there. */
    cr_assert_null(compactions_next(&list));
    cr_assert_not_null(compactions_find(&list, 4));
    cr_assert_null(compactions_find(&list, 9));
    compactions_fini(&list);
}

Test(compactions, all_inputs_are_listed_in_order)
{
    struct compactions list = sample();
    uint64_t *numbers;
    uint32_t count;

    cr_assert_eq(compactions_inputs(&list, &numbers, &count), ERR_OK);
    cr_assert_eq(count, 5);
    for (uint32_t i = 1; i < count; i++)
        cr_assert_lt(numbers[i - 1], numbers[i]);
    cr_assert(compactions_have(numbers, count, 6));
    cr_assert_not(compactions_have(numbers, count, 5));
    cr_assert_not(compactions_have(NULL, 0, 5));
    free(numbers);
    compactions_fini(&list);
}

Test(compactions, parts_of_parts_are_listed_in_order)
{
    struct compactions list = sample();
    uint64_t *numbers;
    uint32_t count;

    cr_assert_eq(compactions_parts(&list, compactions_find(&list, 9), &numbers, &count), ERR_OK);
    cr_assert_eq(count, 5);
    cr_expect_eq(memcmp(numbers, (uint64_t[]){2, 4, 6, 7, 8}, sizeof(uint64_t[5])), 0);
    free(numbers);
    cr_assert_eq(compactions_parts(&list, compactions_find(&list, 7), &numbers, &count), ERR_OK);
    cr_assert_eq(count, 2);
    cr_expect_eq(memcmp(numbers, (uint64_t[]){2, 6}, sizeof(uint64_t[2])), 0);
    free(numbers);
    cr_assert_eq(compactions_parts(&list, compactions_find(&list, 4), &numbers, &count), ERR_OK);
    cr_assert_eq(count, 0);
    free(numbers);
    compactions_fini(&list);
}

Test(compactions, a_copy_has_inputs_of_its_own)
{
    struct compactions list = sample(), copy = {0};

    cr_assert_eq(compactions_copy(&list, &copy), ERR_OK);
    compactions_fini(&list);
    cr_assert_eq(copy.count, 3);
    cr_assert_eq(copy.items[2].inputs[2], 8);
    compactions_fini(&copy);
}
