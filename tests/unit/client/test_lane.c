/*
 * Batches on their way: whatever nodes and connections do, each row that was acknowledged is
 * stored once, in order, and each row gets exactly one answer.
 */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/millrace.h"
#include "tests/support/fake_site.h"
#include "tests/support/seed.h"

enum { ROWS = 5000, SERIES = 20 };

/* What the acks said, row by row. */
struct ledger {
    _Atomic uint32_t answers[FAKE_ROWS_MAX]; /* How many acks named the row. */
    _Atomic int codes[FAKE_ROWS_MAX];
    _Atomic uint64_t acks;
};
static struct ledger ledger;

static void on_ack(void *ctx, const struct millrace_ack *ack)
{
    struct ledger *book = ctx;

    for (uint32_t i = 0; i < ack->rows; i++) {
        uintptr_t row = (uintptr_t)ack->tags[i];

        book->answers[row]++;
        book->codes[row] = (int)ack->code;
    }
    book->acks++;
}

static struct millrace *open_client(struct fake_site *site, uint32_t timeout_ms)
{
    struct millrace_options options = {
        .nodes = fake_site_nodes(site),
        .batch_rows = 50,
        .linger_ms = 10000, /* Batches are of 50 rows, however slow this machine is. */
        .timeout_ms = timeout_ms,
        .on_ack = on_ack,
        .ctx = &ledger,
    };
    struct millrace *m = NULL;

    cr_assert_eq(millrace_open(&options, &m), MILLRACE_OK, "%s", millrace_last_error(NULL));
    return m;
}

/* Rows `from` to `to`, over all series: row N has the number N. */
static void write_rows(struct millrace *m, uint32_t from, uint32_t to)
{
    for (uint32_t row = from; row < to; row++) {
        char host[16];
        struct millrace_tag tag = {"host", host};
        struct millrace_value values[] = {millrace_int("n", row), millrace_double("x", row * 0.5)};
        uint32_t series;

        snprintf(host, sizeof host, "h%u", (unsigned)(row % SERIES));
        cr_assert_eq(millrace_series(m, "cpu", &tag, 1, &series), MILLRACE_OK);
        millrace_tag_rows(m, (void *)(uintptr_t)row);
        cr_assert_eq(millrace_write(m, series, row, values, 2), MILLRACE_OK, "%s",
                     millrace_last_error(m));
    }
}

static void expect_all_stored_once(struct fake_site *site, uint32_t rows)
{
    struct fake_counts counts = fake_site_counts(site);

    for (uint32_t row = 0; row < rows; row++) {
        cr_assert_eq(ledger.answers[row], 1, "row %u was answered %u times", (unsigned)row,
                     (unsigned)ledger.answers[row]);
        cr_assert_eq(ledger.codes[row], MILLRACE_OK);
        cr_assert_eq(fake_site_stored(site, row), 1, "row %u was stored %u times", (unsigned)row,
                     (unsigned)fake_site_stored(site, row));
    }
    cr_assert(fake_site_in_order(site));
    cr_assert_eq(counts.bad, 0);
}

/* Write ROWS rows to a site with this script; all must be stored once. */
static struct fake_counts
run_script(uint32_t nodes, uint32_t shards,
           enum fake_deed (*on_write)(void *, uint64_t, const struct entry_header *), void *ctx)
{
    struct fake_script script = {.on_write = on_write, .ctx = ctx};
    struct fake_site *site = fake_site_start(nodes, shards, &script);
    struct fake_counts counts;
    struct millrace *m;

    cr_assert_not_null(site);
    m = open_client(site, 20000);
    write_rows(m, 0, ROWS);
    cr_assert_eq(millrace_flush(m, 20000), MILLRACE_OK, "%s", millrace_last_error(m));
    expect_all_stored_once(site, ROWS);
    counts = fake_site_counts(site);
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
    return counts;
}

Test(lane, stores_every_row_once_when_nothing_goes_wrong)
{
    struct fake_counts counts = run_script(1, 4, NULL, NULL);

    cr_assert_eq(counts.duplicates, 0);
    cr_assert_eq(counts.gaps, 0);
    cr_assert_eq(counts.epoch_max, 1);
}

Test(lane, names_a_series_by_its_id_once_that_is_known)
{
    struct fake_site *site = fake_site_start(1, 4, NULL);
    struct millrace *m = open_client(site, 20000);
    uint64_t fresh_keys;

    write_rows(m, 0, 1000);
    cr_assert_eq(millrace_flush(m, 20000), MILLRACE_OK);
    fresh_keys = fake_site_counts(site).fresh_keys;
    cr_assert_geq(fresh_keys, SERIES);
    write_rows(m, 1000, 2000);
    cr_assert_eq(millrace_flush(m, 20000), MILLRACE_OK);
    cr_assert_eq(fake_site_counts(site).fresh_keys, fresh_keys);
    expect_all_stored_once(site, 2000);
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}

static enum fake_deed close_after_some(void *ctx, uint64_t at, const struct entry_header *header)
{
    (void)ctx;
    (void)header;
    return at % 10 == 3 ? FAKE_STORE_AND_CLOSE : at % 10 == 7 ? FAKE_CLOSE : FAKE_STORE;
}

Test(lane, sends_again_when_the_connection_closes_before_or_after_a_write_was_stored)
{
    struct fake_counts counts = run_script(1, 2, close_after_some, NULL);

    cr_assert_gt(counts.duplicates, 0);
}

static enum fake_deed busy_often(void *ctx, uint64_t at, const struct entry_header *header)
{
    (void)ctx;
    (void)header;
    return at % 7 == 2 ? FAKE_BUSY : FAKE_STORE;
}

Test(lane, comes_back_when_a_node_is_busy_and_keeps_the_order)
{
    struct fake_counts counts = run_script(1, 2, busy_often, NULL);

    cr_assert_gt(counts.gaps, 0, "what was under way behind the refused batch");
    cr_assert_eq(counts.epoch_max, 1, "the numbers stay");
}

static enum fake_deed hold_some(void *ctx, uint64_t at, const struct entry_header *header)
{
    (void)ctx;
    (void)header;
    /* Never two in a row: the answer leaves with the next one's. */
    return at % 4 == 1 && at < 80 ? FAKE_HOLD : FAKE_STORE;
}

Test(lane, takes_answers_in_any_order)
{
    struct fake_counts counts = run_script(1, 1, hold_some, NULL);

    cr_assert_eq(counts.duplicates, 0);
}

static enum fake_deed forget_once(void *ctx, uint64_t at, const struct entry_header *header)
{
    (void)ctx;
    (void)header;
    return at == 30 ? FAKE_FORGET : FAKE_STORE;
}

Test(lane, begins_a_new_epoch_when_the_site_forgot_the_producer)
{
    struct fake_counts counts = run_script(1, 1, forget_once, NULL);

    cr_assert_gt(counts.gaps, 0);
    cr_assert_eq(counts.epoch_max, 2);
}

/* Deeds drawn by chance: all that may happen to a write without losing it for good. */
static enum fake_deed by_chance(void *ctx, uint64_t at, const struct entry_header *header)
{
    static const enum fake_deed deeds[] = {FAKE_STORE_AND_CLOSE, FAKE_CLOSE, FAKE_BUSY};

    (void)at;
    (void)header;
    return seed_below(ctx, 5) == 0 ? deeds[seed_below(ctx, 3)] : FAKE_STORE;
}

Test(lane, loses_and_doubles_nothing_under_any_mix_of_faults)
{
    uint64_t state = seed_of_run("lane");

    run_script(3, 4, by_chance, &state);
}

Test(lane, follows_a_leader_that_moves)
{
    struct fake_site *site = fake_site_start(3, 2, NULL);
    struct millrace *m = open_client(site, 20000);

    for (uint32_t step = 0; step < 10; step++) {
        write_rows(m, step * 500, step * 500 + 500);
        fake_site_set_leader(site, 0, 1 + step % 3);
        fake_site_set_leader(site, 1, 1 + (step + 1) % 3);
    }
    cr_assert_eq(millrace_flush(m, 20000), MILLRACE_OK, "%s", millrace_last_error(m));
    expect_all_stored_once(site, ROWS);
    cr_assert_gt(fake_site_counts(site).strays, 0);
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}

Test(lane, finds_the_new_leader_when_the_old_one_dies)
{
    struct fake_site *site = fake_site_start(3, 2, NULL);
    struct millrace *m = open_client(site, 20000);

    write_rows(m, 0, 1000);
    cr_assert_eq(millrace_flush(m, 20000), MILLRACE_OK);
    fake_site_kill(site, 1);
    write_rows(m, 1000, 2000);
    fake_site_set_leader(site, 0, 2);
    fake_site_set_leader(site, 1, 3);
    cr_assert_eq(millrace_flush(m, 20000), MILLRACE_OK, "%s", millrace_last_error(m));
    expect_all_stored_once(site, 2000);
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}

static enum fake_deed leader_falls_silent(void *ctx, uint64_t at, const struct entry_header *header)
{
    (void)ctx;
    (void)header;
    return at >= 5 && at < 13 ? FAKE_IGNORE : FAKE_STORE;
}

Test(lane, asks_for_another_leader_when_the_one_it_knows_answers_pings_alone)
{
    struct fake_script script = {.on_write = leader_falls_silent};
    struct fake_site *site = fake_site_start(2, 1, &script);
    struct millrace *m = open_client(site, 20000);

    write_rows(m, 0, 2000);
    usleep(300000);
    fake_site_set_leader(site, 0, 2);
    cr_assert_eq(millrace_flush(m, 20000), MILLRACE_OK, "%s", millrace_last_error(m));
    expect_all_stored_once(site, 2000);
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}

static enum fake_deed refuse_some(void *ctx, uint64_t at, const struct entry_header *header)
{
    (void)ctx;
    (void)header;
    return at == 5 || at == 40 ? FAKE_REFUSE : FAKE_STORE;
}

Test(lane, reports_a_refused_batch_and_stores_the_others_once)
{
    struct fake_script script = {.on_write = refuse_some};
    struct fake_site *site = fake_site_start(1, 1, &script);
    struct millrace *m = open_client(site, 20000);
    uint32_t refused = 0;

    write_rows(m, 0, ROWS);
    cr_assert_eq(millrace_flush(m, 20000), MILLRACE_INVALID);
    cr_assert_not_null(strstr(millrace_last_error(m), "refused by the script"), "%s",
                       millrace_last_error(m));
    for (uint32_t row = 0; row < ROWS; row++) {
        bool ok = ledger.codes[row] == MILLRACE_OK;

        cr_assert_eq(ledger.answers[row], 1);
        cr_assert_eq(fake_site_stored(site, row), ok ? 1 : 0);
        refused += ok ? 0 : 1;
    }
    cr_assert_eq(refused, 100, "two batches of 50 rows");
    cr_assert_eq(fake_site_counts(site).epoch_max, 3);
    cr_assert_eq(millrace_flush(m, 1000), MILLRACE_OK, "the failure was reported once");
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}

static enum fake_deed keep_young(void *ctx, uint64_t at, const struct entry_header *header)
{
    (void)ctx;
    (void)header;
    return at % 11 == 10 ? FAKE_BUSY : FAKE_TOO_OLD;
}

/* Row N has a time that has nothing to do with N, so each batch has old rows and young ones. */
static int64_t scattered_time(uint32_t row)
{
    return (int64_t)row * 7919 % ROWS;
}

static void write_scattered(struct millrace *m, uint32_t from, uint32_t to)
{
    for (uint32_t row = from; row < to; row++) {
        char host[16];
        struct millrace_tag tag = {"host", host};
        struct millrace_value values[] = {millrace_int("n", row), millrace_string("s", "x"),
                                          millrace_double("x", row * 0.5)};
        uint32_t series;

        snprintf(host, sizeof host, "h%u", (unsigned)(row % 97 + row / 200));
        cr_assert_eq(millrace_series(m, "cpu", &tag, 1, &series), MILLRACE_OK);
        millrace_tag_rows(m, (void *)(uintptr_t)row);
        cr_assert_eq(millrace_write(m, series, scattered_time(row), values, 1 + row % 3),
                     MILLRACE_OK, "%s", millrace_last_error(m));
    }
}

Test(lane, leaves_rows_behind_that_are_too_old_and_stores_the_others_once)
{
    struct fake_script script = {.on_write = keep_young};
    struct fake_site *site = fake_site_start(2, 2, &script);
    struct millrace *m = open_client(site, 20000);
    struct millrace_counts counts;
    uint32_t refused = 0;

    fake_site_keep_from(site, ROWS / 4);
    write_scattered(m, 0, ROWS);
    cr_assert_eq(millrace_flush(m, 20000), MILLRACE_TOO_OLD);
    cr_assert_not_null(strstr(millrace_last_error(m), "before what is kept"), "%s",
                       millrace_last_error(m));
    for (uint32_t row = 0; row < ROWS; row++) {
        bool old = scattered_time(row) < ROWS / 4;

        cr_assert_eq(ledger.answers[row], 1, "row %u", (unsigned)row);
        cr_assert_eq(ledger.codes[row], old ? MILLRACE_TOO_OLD : MILLRACE_OK, "row %u",
                     (unsigned)row);
        cr_assert_eq(fake_site_stored(site, row), old ? 0 : 1, "row %u", (unsigned)row);
        refused += old;
    }
    millrace_counts(m, &counts);
    cr_assert_eq(counts.rows_failed, refused);
    cr_assert_eq(counts.rows_acknowledged, ROWS - refused);
    cr_assert_eq(counts.bytes_pending, 0);
    cr_assert_eq(fake_site_counts(site).bad, 0);

    fake_site_keep_from(site, INT64_MAX); /* None is left. */
    write_scattered(m, 0, 50);
    cr_assert_eq(millrace_flush(m, 20000), MILLRACE_TOO_OLD);
    cr_assert_eq(ledger.answers[49], 2);
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}

/* Nothing is answered while the flag stands. */
static enum fake_deed silent_while(void *ctx, uint64_t at, const struct entry_header *header)
{
    _Atomic bool *silent = ctx;

    (void)at;
    (void)header;
    return *silent ? FAKE_STORE_SILENTLY : FAKE_STORE;
}

Test(lane, gives_up_after_the_timeout_and_still_stores_nothing_twice)
{
    _Atomic bool silent = true;
    struct fake_script script = {.on_write = silent_while, .ctx = &silent};
    struct fake_site *site = fake_site_start(1, 1, &script);
    struct millrace *m = open_client(site, 3000); /* Enough to connect again on a busy machine. */
    uint32_t given_up = 0, unsent = 0;

    write_rows(m, 0, 1000); /* 20 batches: 8 under way, 12 wait. */
    cr_assert_neq(millrace_flush(m, 20000), MILLRACE_OK);
    for (uint32_t row = 0; row < 1000; row++) {
        cr_assert_eq(ledger.answers[row], 1);
        given_up += ledger.codes[row] == MILLRACE_TIMEOUT;
        unsent += ledger.codes[row] == MILLRACE_UNAVAILABLE;
        cr_assert(ledger.codes[row] != MILLRACE_UNAVAILABLE || fake_site_stored(site, row) == 0);
    }
    cr_assert_eq(given_up, 400);
    cr_assert_eq(unsent, 600);

    /* The connection breaks, the site answers again: numbers go on where they were. */
    silent = false;
    fake_site_kill(site, 1);
    fake_site_revive(site, 1);
    write_rows(m, 1000, 2000);
    cr_assert_eq(millrace_flush(m, 20000), MILLRACE_OK, "%s", millrace_last_error(m));
    for (uint32_t row = 0; row < 2000; row++)
        cr_assert_eq(fake_site_stored(site, row), row < 400 || row >= 1000 ? 1 : 0);
    cr_assert_eq(fake_site_counts(site).epoch_max, 1);
    cr_assert_gt(fake_site_counts(site).duplicates, 0);
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}

Test(lane, answers_everything_when_the_client_is_closed)
{
    _Atomic bool silent = true;
    struct fake_script script = {.on_write = silent_while, .ctx = &silent};
    struct fake_site *site = fake_site_start(1, 2, &script);
    struct millrace *m = open_client(site, 2000);

    write_rows(m, 0, 2000);
    cr_assert_neq(millrace_close(m), MILLRACE_OK);
    for (uint32_t row = 0; row < 2000; row++)
        cr_assert_eq(ledger.answers[row], 1, "row %u", (unsigned)row);
    fake_site_stop(site);
}
