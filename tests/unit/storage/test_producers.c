#include <criterion/criterion.h>

#include "storage/producers.h"
#include "tests/support/seed.h"

static struct producer_state state(uint32_t epoch, uint64_t sequence)
{
    return (struct producer_state){sequence, epoch};
}

static void note(struct producers *producers, uint64_t producer, uint32_t epoch, uint64_t sequence,
                 uint64_t index)
{
    producers_note(producers, producer, &(struct producer_state){sequence, epoch}, index);
}

Test(producers, judges_by_epoch_and_sequence)
{
    const struct producer_state last = state(3, 10);

    cr_assert_eq(producers_judge(&last, 3, 11), PRODUCERS_NEXT);
    cr_assert_eq(producers_judge(&last, 3, 10), PRODUCERS_DUPLICATE);
    cr_assert_eq(producers_judge(&last, 3, 1), PRODUCERS_DUPLICATE);
    cr_assert_eq(producers_judge(&last, 3, 12), PRODUCERS_GAP);
    cr_assert_eq(producers_judge(&last, 3, 0), PRODUCERS_GAP);
    cr_assert_eq(producers_judge(&last, 4, 1), PRODUCERS_NEXT);
    cr_assert_eq(producers_judge(&last, 4, 2), PRODUCERS_GAP);
    cr_assert_eq(producers_judge(&last, 2, 5), PRODUCERS_GAP);
    cr_assert_eq(producers_judge(NULL, 9, 1), PRODUCERS_NEXT);
    cr_assert_eq(producers_judge(NULL, 9, 2), PRODUCERS_GAP);
}

Test(producers, forgets_the_one_that_wrote_longest_ago)
{
    struct producers *producers;

    cr_assert_eq(producers_new(3, &producers), ERR_OK);
    note(producers, 10, 1, 1, 1);
    note(producers, 11, 1, 1, 2);
    note(producers, 12, 1, 1, 3);
    note(producers, 10, 1, 2, 4);
    note(producers, 13, 1, 1, 5); /* 11 wrote longest ago. */
    cr_assert_eq(producers_count(producers), 3);
    cr_assert_null(producers_find(producers, 11));
    cr_assert_eq(producers_find(producers, 10)->sequence, 2);
    cr_assert_not_null(producers_find(producers, 12));
    cr_assert_not_null(producers_find(producers, 13));
    producers_free(producers);
}

Test(producers, come_back_from_their_stored_form_and_go_on_alike)
{
    struct producers *one;
    struct producers *two;
    struct bytes bytes = {0};
    struct bytes again = {0};
    struct reader reader;
    uint64_t chance = seed_of_run("producers");
    uint64_t index = 1;

    cr_assert_eq(producers_new(50, &one), ERR_OK);
    cr_assert_eq(producers_new(50, &two), ERR_OK);
    for (; index < 500; index++)
        note(one, 1 + seed_below(&chance, 80), 1, index, index);
    producers_encode(one, &bytes);
    reader = reader_on(bytes.data, bytes.size);
    cr_assert_eq(producers_decode(two, &reader), ERR_OK, "%s", err_detail());
    cr_assert(reader_done(&reader));
    for (; index < 1000; index++) {
        uint64_t producer = 1 + seed_below(&chance, 80);

        note(one, producer, 2, index, index);
        note(two, producer, 2, index, index);
    }
    bytes_clear(&bytes);
    producers_encode(one, &bytes);
    producers_encode(two, &again);
    cr_assert_eq(bytes.size, again.size);
    cr_assert_arr_eq(bytes.data, again.data, bytes.size);
    bytes_fini(&bytes);
    bytes_fini(&again);
    producers_free(one);
    producers_free(two);
}

Test(producers, refuse_a_stored_form_that_is_not_one)
{
    struct producers *producers;
    struct bytes good = {0};

    cr_assert_eq(producers_new(4, &producers), ERR_OK);
    note(producers, 5, 1, 1, 1);
    note(producers, 6, 1, 1, 2);
    producers_encode(producers, &good);
    producers_free(producers);
    for (size_t cut = 0; cut < good.size; cut++) {
        struct reader reader = reader_on(good.data, cut);

        cr_assert_eq(producers_new(4, &producers), ERR_OK);
        cr_assert_eq(producers_decode(producers, &reader), ERR_CORRUPT, "cut at %zu", cut);
        producers_free(producers);
    }
    good.data[4] = 6; /* The same producer twice. */
    cr_assert_eq(producers_new(4, &producers), ERR_OK);
    cr_assert_eq(
        producers_decode(producers, &(struct reader){good.data, good.data + good.size, false}),
        ERR_CORRUPT);
    producers_free(producers);
    bytes_fini(&good);
}
