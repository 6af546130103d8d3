/*
 * Rows as a function of their number: no two have the same time, each names its writer and number,
 * and what a series is called leads back to it and to no other.
 */
#include "loadgen/workload.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { SERIES = 103, WRITERS = 4, START_NS = 1000 };

static const enum plan_workload kinds[] = {WORKLOAD_RANDOM, WORKLOAD_ROWS, WORKLOAD_TSBS};

static struct workload make(enum plan_workload kind)
{
    struct plan plan = {
        .workload = kind, .series = SERIES, .fields = 10, .connections = WRITERS, .seed = 7};
    struct workload workload;

    workload_init(&workload, &plan, START_NS);
    return workload;
}

Test(workload, a_time_names_the_writer_and_the_row)
{
    struct workload workload = make(WORKLOAD_ROWS);
    uint32_t writer;
    uint64_t row;

    for (int64_t at = START_NS; at < START_NS + 1000; at++) {
        cr_assert(workload_locate(&workload, at, &writer, &row));
        cr_assert_lt(writer, WRITERS);
        cr_assert_eq(workload_time(&workload, writer, row), at);
    }
    cr_assert_not(workload_locate(&workload, START_NS - 1, &writer, &row));
    cr_assert_not(workload_locate(&workload, INT64_MIN, &writer, &row));
    cr_assert(workload_locate(&workload, INT64_MAX, &writer, &row));
}

Test(workload, a_writer_writes_its_own_series_alone_and_all_of_them)
{
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct workload workload = make(kinds[k]);
        unsigned seen[SERIES] = {0};

        for (uint32_t writer = 0; writer < WRITERS; writer++) {
            for (uint64_t row = 0; row < 2000; row++) {
                uint32_t series = workload_row_series(&workload, writer, row);

                cr_assert_lt(series, SERIES);
                cr_assert_eq(series % WRITERS, writer);
                seen[series]++;
            }
        }
        for (unsigned i = 0; i < SERIES; i++)
            cr_assert_gt(seen[i], 0, "kind %u: series %u has no rows", kinds[k], i);
    }
}

Test(workload, a_tag_leads_back_to_its_series)
{
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct workload workload = make(kinds[k]);
        struct workload_tag tags[WORKLOAD_TAGS_MAX];

        for (uint32_t series = 0; series < SERIES; series++) {
            uint32_t count = workload_tags(&workload, series, tags), found = 0;

            for (uint32_t i = 0; i < count; i++) {
                if (i > 0)
                    cr_assert_lt(strcmp(tags[i - 1].name, tags[i].name), 0, "in order of name");
                if (strcmp(tags[i].name, workload_series_tag(&workload)) != 0)
                    continue;
                found++;
                cr_assert_eq(workload_series_of(&workload, tags[i].value), series);
            }
            cr_assert_eq(found, 1);
        }
    }
}

/* What nobody has written is not taken for something that somebody has. */
Test(workload, a_tag_that_was_not_written_is_of_no_series)
{
    static const char *const strange[] = {
        "",    "d",   "5",  "e5",  "d5 ",  "d 5",    "d+5",  "d-1",
        "d05", "d5x", "D5", "dd5", "d103", "host_5", "d0x5", "d18446744073709551621"};
    struct workload workload = make(WORKLOAD_ROWS);

    for (size_t i = 0; i < sizeof strange / sizeof *strange; i++)
        cr_assert_eq(workload_series_of(&workload, strange[i]), -1, "\"%s\"", strange[i]);
    cr_assert_eq(workload_series_of(&workload, "d0"), 0);
    cr_assert_eq(workload_series_of(&workload, "d102"), 102);
}

Test(workload, values_follow_from_seed_series_row_and_field)
{
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct workload workload = make(kinds[k]), other = make(kinds[k]);
        unsigned changed[4] = {0};

        other.seed++;
        for (uint32_t i = 0; i < 200; i++) {
            int64_t value = workload_value(&workload, 5, i, 2);

            cr_assert_eq(workload_value(&workload, 5, i, 2), value);
            changed[0] += workload_value(&other, 5, i, 2) != value;
            changed[1] += workload_value(&workload, 6, i, 2) != value;
            changed[2] += workload_value(&workload, 5, i + 1, 2) != value;
            changed[3] += workload_value(&workload, 5, i, 3) != value;
            if (workload_is_integer(&workload)) {
                cr_assert_geq(value, 0);
                cr_assert_lt(value, 100, "a share of a core");
            }
        }
        for (unsigned i = 0; i < 4; i++)
            cr_assert_gt(changed[i], 100, "kind %u, %u", kinds[k], i);
    }
}

Test(workload, fields_have_names_of_their_own)
{
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        struct workload workload = make(kinds[k]);
        const char *names[10];
        char rooms[10][16];

        for (uint32_t i = 0; i < 10; i++)
            names[i] = workload_field(&workload, i, rooms[i]);
        for (uint32_t i = 0; i < 10; i++)
            for (uint32_t j = 0; j < i; j++)
                cr_assert_str_neq(names[i], names[j]);
    }
}
