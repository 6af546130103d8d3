/*
 * What orders and drops make of a manifest: the stand-in of what is to be made bounds all of its
 * inputs, and nothing of a compaction goes without the rest of it. No file is there.
 */
#include "storage/compact_order.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/buf.h"
#include "tests/support/entries.h"

enum { SEGMENTS = 6 };

static struct manifest manifest;
static struct seal_rule rules[2] = {{.cutoff_ns = INT64_MIN}, {.cutoff_ns = INT64_MIN}};

/* Segments 1 to 5 of database 0, of times 10 to 19, 20 to 29, ...; and 6 of database 1. */
static void set_up(void)
{
    manifest = (struct manifest){.shard = 0, .next_segment = SEGMENTS + 1};
    for (unsigned i = 1; i <= SEGMENTS; i++) {
        struct segment_info info = {.number = i,
                                    .first_index = 10 * i,
                                    .last_index = 10 * i + 9,
                                    .clean_index = 10 * i + 9,
                                    .database = i == SEGMENTS,
                                    .window_first_ns = 0,
                                    .window_last_ns = 999,
                                    .size = 1000,
                                    .rows = 5,
                                    .points = 5,
                                    .time_min_ns = 10 * i,
                                    .time_max_ns = 10 * i + 9,
                                    .bound_ns = 10 * i + 9,
                                    .hash = i,
                                    .groups = 1};

        cr_assert_eq(manifest_add(&manifest, &info), ERR_OK);
    }
}

static void tear_down(void)
{
    manifest_fini(&manifest);
}

TestSuite(compact_order, .init = set_up, .fini = tear_down);

/* An order of up to three at log index `index`, each a list of numbers that ends with 0. */
static void take(uint64_t index, const uint64_t lists[][4], uint32_t count)
{
    struct seal_compaction compactions[3] = {{0}};
    struct seal_order order;
    struct buf *entry;

    for (uint32_t i = 0; i < count; i++)
        while (lists[i][compactions[i].count] != 0) {
            compactions[i].inputs[compactions[i].count] = lists[i][compactions[i].count];
            compactions[i].count++;
        }
    entry = entries_compact(0, index - 1, compactions, count);
    cr_assert_eq(seal_order_read(entry, &order), ERR_OK, "%s", err_detail());
    cr_assert_eq(compact_order_take(&manifest, order, index, rules), ERR_OK, "%s", err_detail());
    buf_unref(entry);
}

static const struct compaction *made(uint64_t number)
{
    return compactions_find(&manifest.compactions, number);
}

/* Drop by the rules; returns how many files went, and writes which. */
static uint32_t drop(uint64_t numbers[SEGMENTS])
{
    uint64_t *dropped = NULL;
    uint32_t count = 0;

    cr_assert_eq(compact_order_drop(&manifest, rules, &dropped, &count), ERR_OK);
    cr_assert_leq(count, SEGMENTS);
    memcpy(numbers, dropped, count * sizeof *numbers);
    free(dropped);
    return count;
}

/* ---- Orders -------------------------------------------------------------------------------- */

Test(compact_order, stands_for_all_that_its_inputs_may_have)
{
    const struct segment_info *info;

    manifest.segments[0].window_first_ns = -5;
    manifest.segments[1].bound_ns = 77; /* It had a row of that time once. */
    manifest.segments[2].window_last_ns = 1500;
    rules[0].cutoff_ns = 12;
    take(200, (const uint64_t[][4]){{1, 2, 3, 0}}, 1);
    cr_assert_eq(manifest.compactions.count, 1);
    cr_assert_eq(manifest.next_segment, 8);
    cr_assert_not_null(made(7));
    info = &made(7)->info;
    cr_assert_eq(info->first_index, 10);
    cr_assert_eq(info->last_index, 39, "it takes the place of the last one");
    cr_assert_eq(info->clean_index, 200);
    cr_assert_eq(info->database, 0);
    cr_assert_eq(info->window_first_ns, -5);
    cr_assert_eq(info->window_last_ns, 1500);
    cr_assert_eq(info->time_min_ns, 10);
    cr_assert_eq(info->bound_ns, 77);
    cr_assert_eq(info->time_max_ns, 77);
    cr_assert_eq(info->size + info->rows + info->points + info->hash + info->groups, 0);
    cr_assert_eq(made(7)->cutoff_ns, 12);
    cr_assert_eq(made(7)->input_count, 3);
    cr_assert_eq(manifest.segment_count, SEGMENTS, "its inputs wait");
}

Test(compact_order, several_of_one_order_count_on_each_other)
{
    take(200, (const uint64_t[][4]){{1, 2, 0}, {3, 4, 0}, {7, 8, 0}}, 3);
    cr_assert_eq(manifest.compactions.count, 3);
    cr_assert_eq(made(9)->info.last_index, 49);
    cr_assert_eq(made(9)->info.first_index, 10);
    cr_assert_eq(made(9)->info.bound_ns, 49);
}

Test(compact_order, passes_over_what_does_not_fit_and_takes_the_rest)
{
    take(200, (const uint64_t[][4]){{1, 3, 0}, {5, 6, 0}, {4, 5, 0}}, 3);
    cr_assert_eq(manifest.compactions.count, 1);
    cr_assert_eq(made(7)->inputs[0], 4, "no number is given to what is passed over");
    take(201, (const uint64_t[][4]){{4, 0}, {99, 0}}, 2);
    cr_assert_eq(manifest.compactions.count, 1);
    cr_assert_eq(manifest.next_segment, 8);
}

Test(compact_order, one_alone_is_written_anew)
{
    take(200, (const uint64_t[][4]){{6, 0}}, 1);
    cr_assert_eq(made(7)->info.database, 1);
    cr_assert_eq(made(7)->info.time_min_ns, 60);
    cr_assert_eq(made(7)->info.clean_index, 200);
}

/* ---- Clean segments ------------------------------------------------------------------------ */

/* What an order at log index `index` says of clean segments; how many of them are taken over. */
static uint32_t clean(uint64_t index, const struct seal_clean *cleans, uint32_t count)
{
    struct seal_clean taken[SEAL_CLEANS_MAX];
    struct seal_order order;
    uint32_t taken_count = 99;
    struct buf *entry = entries_clean(0, index - 1, cleans, count, NULL, 0);

    cr_assert_eq(seal_order_read(entry, &order), ERR_OK, "%s", err_detail());
    cr_assert_eq(compact_order_clean(&manifest, order, index, taken, &taken_count), ERR_OK, "%s",
                 err_detail());
    buf_unref(entry);
    for (uint32_t i = 0; i < taken_count; i++)
        cr_assert_lt(taken[i].index, index);
    return taken_count;
}

Test(compact_order, a_segment_is_clean_of_what_is_said)
{
    cr_assert_eq(clean(200, (const struct seal_clean[]){{2, 150}, {6, 199}}, 2), 2);
    cr_assert_eq(manifest.segments[0].clean_index, 19);
    cr_assert_eq(manifest.segments[1].clean_index, 150);
    cr_assert_eq(manifest.segments[5].clean_index, 199, "of whatever database");
}

Test(compact_order, what_is_said_of_no_segment_or_out_of_date_is_passed_over)
{
    static const struct seal_clean cleans[] = {{99, 150},           /* Is not there. */
                                               {1, 200},  {2, 201}, /* Not before the order. */
                                               {3, 39},   {4, 2},   /* Less than is known. */
                                               {5, 60}};

    cr_assert_eq(clean(200, cleans, 6), 1);
    for (uint32_t i = 0; i < 4; i++)
        cr_assert_eq(manifest.segments[i].clean_index, 10 * i + 19);
    cr_assert_eq(manifest.segments[4].clean_index, 60);
}

Test(compact_order, of_what_waits_the_segment_to_be_is_clean_and_not_its_inputs)
{
    take(200, (const uint64_t[][4]){{1, 2, 0}, {7, 3, 0}}, 2);
    cr_assert_eq(clean(300, (const struct seal_clean[]){{1, 250}, {3, 250}, {7, 250}, {8, 250}}, 4),
                 1);
    cr_assert_eq(manifest.segments[0].clean_index, 19);
    cr_assert_eq(manifest.segments[2].clean_index, 39);
    cr_assert_eq(made(7)->info.clean_index, 200, "it becomes part of 8");
    cr_assert_eq(made(8)->info.clean_index, 250);
}

/* ---- Drops --------------------------------------------------------------------------------- */

Test(compact_order, a_cutoff_drops_what_has_nothing_behind_it)
{
    uint64_t numbers[SEGMENTS];

    cr_assert_eq(drop(numbers), 0);
    rules[0].cutoff_ns = 29;
    cr_assert_eq(drop(numbers), 1, "29 itself is kept");
    cr_assert_eq(numbers[0], 1);
    rules[0].cutoff_ns = 40;
    cr_assert_eq(drop(numbers), 2);
    cr_assert_eq(numbers[0], 2);
    cr_assert_eq(numbers[1], 3);
    cr_assert_eq(manifest.segment_count, 3);
    rules[0].cutoff_ns = INT64_MAX;
    cr_assert_eq(drop(numbers), 2, "another database is left alone");
    cr_assert_eq(manifest.segments[0].number, 6);
}

Test(compact_order, inputs_go_together_with_all_that_was_to_come_of_them)
{
    uint64_t numbers[SEGMENTS];

    take(200, (const uint64_t[][4]){{1, 2, 0}, {7, 3, 0}}, 2);
    rules[0].cutoff_ns = 39; /* 1 and 2 have nothing behind it; 3, and so 8, has. */
    cr_assert_eq(drop(numbers), 0);
    cr_assert_eq(manifest.compactions.count, 2);
    rules[0].cutoff_ns = 40;
    cr_assert_eq(drop(numbers), 3);
    for (uint64_t i = 0; i < 3; i++)
        cr_assert_eq(numbers[i], i + 1);
    cr_assert_eq(manifest.compactions.count, 0);
    cr_assert_eq(manifest.segment_count, 3);
}

Test(compact_order, a_dropped_database_goes_whatever_its_times)
{
    uint64_t numbers[SEGMENTS];

    take(200, (const uint64_t[][4]){{6, 0}, {1, 2, 0}}, 2);
    rules[1].gone = true;
    cr_assert_eq(drop(numbers), 1);
    cr_assert_eq(numbers[0], 6);
    cr_assert_eq(manifest.compactions.count, 1);
    cr_assert_null(made(7));
    rules[0].gone = true;
    cr_assert_eq(drop(numbers), 5);
    cr_assert_eq(manifest.compactions.count, 0);
    cr_assert_eq(manifest.segment_count, 0);
}
