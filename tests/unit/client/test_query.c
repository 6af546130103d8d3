/*
 * Queries against a site that misbehaves.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "client/millrace.h"
#include "tests/support/fake_site.h"

static struct millrace *open_client(struct fake_site *site)
{
    struct millrace_options options = {.nodes = fake_site_nodes(site)};
    struct millrace *m = NULL;

    cr_assert_eq(millrace_open(&options, &m), MILLRACE_OK, "%s", millrace_last_error(NULL));
    return m;
}

static void fill(struct columns *columns, int64_t from, int64_t to)
{
    uint32_t time, value;

    cr_assert_eq(columns_column(columns, (struct slice){"time", 4}, COLUMN_TIME, FIELD_INT, &time),
                 ERR_OK);
    cr_assert_eq(columns_column(columns, (struct slice){"v", 1}, COLUMN_FIELD, FIELD_FLOAT, &value),
                 ERR_OK);
    for (int64_t i = from; i < to; i++) {
        double number = (double)i / 2;
        uint64_t bits;

        memcpy(&bits, &number, sizeof bits);
        cr_assert_eq(columns_row(columns), ERR_OK);
        columns_set(columns, time, (uint64_t)i);
        columns_set(columns, value, bits);
    }
}

/* Query 0: a connection that breaks after half of the answer; 1: no leader; then it works. */
static enum err troubled(void *ctx, uint64_t at, struct columns batches[2], uint32_t *ret_count)
{
    (void)ctx;
    *ret_count = at == 0 ? 1 : 2;
    fill(&batches[0], 500, 1000);
    if (at == 0)
        return ERR_END;
    fill(&batches[1], 0, 500);
    return at == 1 ? ERR_UNAVAILABLE : ERR_OK;
}

Test(query, starts_again_when_a_node_breaks_off_and_returns_each_row_once)
{
    struct fake_script script = {.on_query = troubled};
    struct fake_site *site = fake_site_start(2, 1, &script);
    struct millrace *m = open_client(site);
    struct millrace_query query = {.table = "cpu"};
    struct millrace_result *result = NULL;
    struct millrace_value value;

    cr_assert_eq(millrace_query(m, &query, &result), MILLRACE_OK, "%s", millrace_last_error(m));
    cr_assert_eq(millrace_result_rows(result), 1000);
    for (size_t row = 0; row < 1000; row++) {
        cr_assert_eq(millrace_result_get(result, row, 0, &value), 1);
        cr_assert_eq(value.as.i, (int64_t)row);
        cr_assert_eq(millrace_result_get(result, row, 1, &value), 1);
        cr_assert_eq(value.as.f, (double)row / 2);
    }
    millrace_result_free(result);
    cr_assert_eq(fake_site_counts(site).queries, 3);
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}

static enum err no_table(void *ctx, uint64_t at, struct columns batches[2], uint32_t *ret_count)
{
    (void)ctx;
    (void)at;
    (void)batches;
    *ret_count = 0;
    return ERR_NOT_FOUND;
}

Test(query, passes_on_why_a_node_refused)
{
    struct fake_script script = {.on_query = no_table};
    struct fake_site *site = fake_site_start(1, 1, &script);
    struct millrace *m = open_client(site);
    struct millrace_query query = {.table = "nothing"};
    struct millrace_result *result = NULL;

    cr_assert_eq(millrace_query(m, &query, &result), MILLRACE_NOT_FOUND);
    cr_assert_null(result);
    cr_assert_not_null(strstr(millrace_last_error(m), "scripted"), "%s", millrace_last_error(m));
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}

Test(query, refuses_questions_that_make_no_sense_without_asking)
{
    struct fake_site *site = fake_site_start(1, 1, NULL);
    struct millrace *m = open_client(site);
    struct millrace_query queries[] = {{.table = NULL},
                                       {.table = "cpu", .agg = "median"},
                                       {.table = "cpu", .consistency = "eventual"},
                                       {.table = "cpu", .field_count = 257}};
    struct millrace_result *result = NULL;

    for (size_t i = 0; i < 4; i++)
        cr_assert_neq(millrace_query(m, &queries[i], &result), MILLRACE_OK);
    cr_assert_null(result);
    cr_assert_eq(fake_site_counts(site).queries, 0);
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}

Test(query, ends_in_time_when_no_node_is_left)
{
    struct fake_site *site = fake_site_start(1, 1, NULL);
    struct millrace *m = open_client(site);
    struct millrace_query query = {.table = "cpu", .timeout_ms = 200};
    struct millrace_result *result = NULL;

    fake_site_kill(site, 1);
    cr_assert_eq(millrace_query(m, &query, &result), MILLRACE_TIMEOUT);
    cr_assert_not_null(strstr(millrace_last_error(m), "200 ms"), "%s", millrace_last_error(m));
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}
