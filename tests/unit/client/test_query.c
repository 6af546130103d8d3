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

/* ---- Pages --------------------------------------------------------------------------------- */

/* What the site answers and sees: shard 0 ends its first page in series 5, shard 1 has one page. */
struct book {
    struct query asked[8];
    uint64_t pages;
};

static enum err one_row(void *ctx, uint64_t at, struct columns batches[2], uint32_t *ret_count)
{
    (void)ctx;
    *ret_count = 1;
    fill(&batches[0], (int64_t)at * 10, (int64_t)at * 10 + 10);
    return at == 2 ? ERR_UNAVAILABLE : ERR_OK; /* Half an answer, then another leader. */
}

static struct query_place next_page(void *ctx, uint64_t at, const struct query *query)
{
    struct book *book = ctx;

    book->asked[at] = *query;
    book->pages = at + 1;
    if (at == 0)
        return (struct query_place){5, 77};
    if (at == 3)
        return (struct query_place){8, INT64_MIN};
    return (struct query_place){QUERY_PLACE_END, 0};
}

static int count_rows(void *ctx, const struct millrace_result *part)
{
    uint64_t *rows = ctx;
    struct millrace_value value;

    for (size_t row = 0; row < millrace_result_rows(part); row++) {
        cr_assert_eq(millrace_result_get(part, row, 0, &value), 1);
        cr_assert_neq(value.as.i / 10, 2, "a part of an answer that did not end");
    }
    *rows += millrace_result_rows(part);
    return *rows >= 1000;
}

static void assert_page(const struct query *query, uint32_t shard, uint32_t first, uint32_t last,
                        int64_t from_ns)
{
    cr_assert(query->page.on);
    cr_assert_eq(query->page.shard, shard);
    cr_assert_eq(query->page.series_first, first);
    cr_assert_eq(query->page.series_last, last);
    cr_assert_eq(query->from_ns, from_ns);
}

Test(query, turns_pages_and_hands_out_each_row_once)
{
    static struct book book;
    struct fake_script script = {.on_query = one_row, .on_page = next_page, .ctx = &book};
    struct fake_site *site = fake_site_start(2, 2, &script);
    struct millrace *m = open_client(site);
    struct millrace_query query = {.table = "cpu", .from_ns = 3, .to_ns = 500};
    uint64_t rows = 0;

    cr_assert_eq(millrace_scan(m, &query, count_rows, &rows), MILLRACE_OK, "%s",
                 millrace_last_error(m));
    cr_assert_eq(book.pages, 6);
    cr_assert_eq(rows, 50);
    assert_page(&book.asked[0], 0, 0, UINT32_MAX, 3);
    assert_page(&book.asked[1], 0, 5, 5, 77); /* The rest of the series ... */
    assert_page(&book.asked[2], 0, 6, UINT32_MAX, 3);
    assert_page(&book.asked[3], 0, 6, UINT32_MAX, 3); /* ... again ... */
    assert_page(&book.asked[4], 0, 8, UINT32_MAX, 3);
    assert_page(&book.asked[5], 1, 0, UINT32_MAX, 3);
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}

/* Half of the first page, then nothing more; the second one is a node's own time-out. */
static enum err hangs(void *ctx, uint64_t at, struct columns batches[2], uint32_t *ret_count)
{
    (void)ctx;
    *ret_count = 1;
    fill(&batches[0], (int64_t)at * 10, (int64_t)at * 10 + 10);
    return at == 0   ? (enum err)FAKE_SILENCE
           : at == 2 ? ERR_TIMEOUT
           : at == 3 ? ERR_CANCELED
                     : ERR_OK;
}

static struct query_place two_pages(void *ctx, uint64_t at, const struct query *query)
{
    struct book *book = ctx;

    book->asked[at] = *query;
    book->pages = at + 1;
    return at == 1 ? (struct query_place){5, 77} : (struct query_place){QUERY_PLACE_END, 0};
}

static int add_rows(void *ctx, const struct millrace_result *part)
{
    *(uint64_t *)ctx += millrace_result_rows(part);
    return 0;
}

Test(query, a_scan_goes_on_where_it_was_when_a_node_hangs)
{
    static struct book book;
    struct fake_script script = {.on_query = hangs, .on_page = two_pages, .ctx = &book};
    struct fake_site *site = fake_site_start(2, 1, &script);
    struct millrace *m = open_client(site);
    struct millrace_query query = {
        .table = "cpu", .from_ns = 3, .to_ns = 500, .timeout_ms = 60000, .again_ms = 1000};
    uint64_t rows = 0;

    cr_assert_eq(millrace_scan(m, &query, add_rows, &rows), MILLRACE_OK, "%s",
                 millrace_last_error(m));
    cr_assert_eq(rows, 30); /* Of the pages that came to their end: 1, 4 and 5. */
    cr_assert_eq(book.pages, 6);
    assert_page(&book.asked[0], 0, 0, UINT32_MAX, 3);
    assert_page(&book.asked[1], 0, 0, UINT32_MAX, 3);
    for (uint32_t i = 2; i <= 4; i++)
        assert_page(&book.asked[i], 0, 5, 5, 77);
    assert_page(&book.asked[5], 0, 6, UINT32_MAX, 3);
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}

static enum err silent(void *ctx, uint64_t at, struct columns batches[2], uint32_t *ret_count)
{
    (void)ctx;
    (void)at;
    (void)batches;
    *ret_count = 0;
    return (enum err)FAKE_SILENCE;
}

Test(query, asks_again_only_if_it_may_and_not_for_ever)
{
    struct fake_script script = {.on_query = silent};
    struct fake_site *site = fake_site_start(1, 1, &script);
    struct millrace *m = open_client(site);
    struct millrace_query query = {.table = "cpu", .timeout_ms = 2000};
    struct millrace_result *result;
    uint64_t rows = 0;

    cr_assert_eq(millrace_query(m, &query, &result), MILLRACE_TIMEOUT);
    cr_assert_eq(fake_site_counts(site).queries, 1);
    query.again_ms = 50; /* 50, 100, 200, 400, 800, and what is left: 450. */
    cr_assert_eq(millrace_scan(m, &query, add_rows, &rows), MILLRACE_TIMEOUT);
    cr_assert_geq(fake_site_counts(site).queries, 2);
    cr_assert_leq(fake_site_counts(site).queries, 8);
    cr_assert_not_null(strstr(millrace_last_error(m), "times in 2000 ms"), "%s",
                       millrace_last_error(m));
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}

Test(query, a_scan_ends_when_its_taker_says_so)
{
    struct fake_script script = {.on_query = one_row};
    struct fake_site *site = fake_site_start(1, 4, &script);
    struct millrace *m = open_client(site);
    struct millrace_query query = {.table = "cpu"};
    uint64_t rows = 990;

    cr_assert_eq(millrace_scan(m, &query, count_rows, &rows), MILLRACE_CANCELED);
    cr_assert_eq(fake_site_counts(site).queries, 1);
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}
