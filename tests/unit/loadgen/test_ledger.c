/*
 * The ledger that proves what a site kept: every row is counted once, where it was lost, doubled,
 * or never acknowledged.
 */
#include "loadgen/ledger.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#include "tests/support/seed.h"

static struct ledger ledger;

static void tear_down(void)
{
    ledger_fini(&ledger);
}

TestSuite(ledger, .fini = tear_down);

static struct ledger_count expect(uint64_t acknowledged, uint64_t read, uint64_t lost,
                                  uint64_t unknown)
{
    struct ledger_count count = ledger_count(&ledger);

    cr_assert_eq(count.acknowledged, acknowledged);
    cr_assert_eq(count.read, read);
    cr_assert_eq(count.lost, lost);
    cr_assert_eq(count.unknown, unknown);
    return count;
}

Test(ledger, counts_nothing_where_nothing_is)
{
    expect(0, 0, 0, 0);
    cr_assert_eq(ledger_reserve(&ledger, 0), ERR_OK);
    cr_assert_not(ledger_read(&ledger, 0), "never reserved");
    expect(0, 0, 0, 0);
}

Test(ledger, names_the_first_row_that_was_lost)
{
    static const uint64_t rows[] = {
        3, 63, 64, LEDGER_CHUNK_ROWS - 1, LEDGER_CHUNK_ROWS, 2 * LEDGER_CHUNK_ROWS + 5};

    cr_assert_eq(ledger_reserve(&ledger, 2 * LEDGER_CHUNK_ROWS + 6), ERR_OK);
    for (size_t i = 0; i < 6; i++)
        ledger_acknowledge(&ledger, rows[i]);
    for (size_t i = 0; i < 6; i++) {
        cr_assert_eq(expect(6, i, 6 - i, 0).first_lost, rows[i]);
        cr_assert(ledger_read(&ledger, rows[i]));
    }
    expect(6, 6, 0, 0);
}

Test(ledger, tells_a_row_that_comes_twice)
{
    cr_assert_eq(ledger_reserve(&ledger, 10), ERR_OK);
    ledger_acknowledge(&ledger, 7);
    ledger_acknowledge(&ledger, 7);
    cr_assert(ledger_read(&ledger, 7));
    cr_assert_not(ledger_read(&ledger, 7));
    expect(1, 1, 0, 0);
}

Test(ledger, a_row_whose_answer_was_lost_is_not_lost)
{
    cr_assert_eq(ledger_reserve(&ledger, 10), ERR_OK);
    cr_assert(ledger_read(&ledger, 5));
    ledger_acknowledge(&ledger, 6);
    cr_assert_eq(expect(1, 1, 1, 1).first_lost, 6);
}

Test(ledger, room_grows_and_keeps_what_stands_in_it)
{
    cr_assert_eq(ledger_reserve(&ledger, 1), ERR_OK);
    ledger_acknowledge(&ledger, 0);
    cr_assert_eq(ledger_reserve(&ledger, 3 * (uint64_t)LEDGER_CHUNK_ROWS), ERR_OK);
    cr_assert_eq(ledger_reserve(&ledger, 1), ERR_OK);
    ledger_acknowledge(&ledger, 3 * (uint64_t)LEDGER_CHUNK_ROWS - 1);
    expect(2, 0, 2, 0);
    cr_assert_not(ledger_read(&ledger, 3 * (uint64_t)LEDGER_CHUNK_ROWS));
}

Test(ledger, has_an_end)
{
    uint64_t most = (uint64_t)LEDGER_CHUNK_ROWS * LEDGER_CHUNKS_MAX;

    cr_assert_eq(ledger_reserve(&ledger, most + 1), ERR_LIMIT);
    cr_assert_not(ledger_read(&ledger, most));
    cr_assert_not(ledger_read(&ledger, UINT64_MAX));
    expect(0, 0, 0, 0);
}

/* Against a count by hand. */
Test(ledger, counts_what_a_plain_list_says)
{
    enum { ROWS = 5000 };
    uint64_t chance = seed_of_run("ledger");
    static bool acknowledged[ROWS], read[ROWS];
    struct ledger_count plain = {0};

    cr_assert_eq(ledger_reserve(&ledger, ROWS), ERR_OK);
    for (unsigned i = 0; i < 3 * ROWS; i++) {
        uint64_t row = seed_below(&chance, ROWS);

        if (seed_below(&chance, 2) == 0) {
            ledger_acknowledge(&ledger, row);
            acknowledged[row] = true;
        } else {
            cr_assert_eq(ledger_read(&ledger, row), !read[row]);
            read[row] = true;
        }
    }
    for (unsigned i = 0; i < ROWS; i++) {
        if (plain.lost == 0 && acknowledged[i] && !read[i])
            plain.first_lost = i;
        plain.acknowledged += acknowledged[i];
        plain.read += read[i];
        plain.lost += acknowledged[i] && !read[i];
        plain.unknown += read[i] && !acknowledged[i];
    }
    cr_assert_eq(expect(plain.acknowledged, plain.read, plain.lost, plain.unknown).first_lost,
                 plain.first_lost);
}
