#include <criterion/criterion.h>

#include "storage/tentative.h"
#include "tests/support/seed.h"

static void add(struct tentative *tentative, uint64_t producer, uint64_t sequence)
{
    cr_assert_eq(tentative_reserve(tentative), ERR_OK);
    tentative_add(tentative, producer, &(struct producer_state){sequence, 1}, (uint32_t)sequence);
}

Test(tentative, knows_the_newest_of_each_producer)
{
    struct tentative tentative = {0};
    uint32_t series = 0;

    cr_assert_null(tentative_find(&tentative, 7));
    add(&tentative, 7, 1);
    add(&tentative, 8, 1);
    add(&tentative, 0, 0);
    add(&tentative, 7, 2);
    cr_assert_eq(tentative_find(&tentative, 7)->sequence, 2);
    cr_assert(tentative_retract(&tentative, &series));
    cr_assert_eq(series, 2);
    cr_assert_eq(tentative_find(&tentative, 7)->sequence, 1);
    tentative_applied(&tentative);
    cr_assert_null(tentative_find(&tentative, 7));
    cr_assert_eq(tentative_find(&tentative, 8)->sequence, 1);
    tentative_clear(&tentative);
    cr_assert_null(tentative_find(&tentative, 8));
    cr_assert_not(tentative_retract(&tentative, &series));
    tentative_applied(&tentative); /* Of another leader: nothing to do. */
    tentative_fini(&tentative);
}

Test(tentative, behaves_as_a_plain_list)
{
    enum { PRODUCERS = 9, LENGTH = 3000 };
    static struct {
        uint64_t producer, sequence;
    } list[LENGTH];
    struct tentative tentative = {0};
    uint64_t chance = seed_of_run("tentative");
    size_t first = 0;
    size_t end = 0;
    uint32_t series;

    while (end < LENGTH) {
        switch (seed_below(&chance, 5)) {
        case 0:
            tentative_applied(&tentative);
            first += first < end;
            break;
        case 1:
            cr_assert_eq(tentative_retract(&tentative, &series), first < end);
            end -= first < end;
            break;
        default:
            list[end].producer = seed_below(&chance, PRODUCERS);
            list[end].sequence = seed_next(&chance) % 1000 + 1;
            add(&tentative, list[end].producer, list[end].sequence);
            end++;
        }
        for (uint64_t producer = 1; producer < PRODUCERS; producer++) {
            const struct producer_state *found = tentative_find(&tentative, producer);
            size_t at = end;

            while (at > first && list[at - 1].producer != producer)
                at--;
            cr_assert_eq(found != NULL, at > first);
            if (found != NULL)
                cr_assert_eq(found->sequence, list[at - 1].sequence);
        }
    }
    tentative_fini(&tentative);
}
