/*
 * The library as a program sees it: opening, types, memory, flushing, lingering, errors.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "client/millrace.h"
#include "tests/support/fake_site.h"

static struct millrace *open_with(struct fake_site *site, struct millrace_options options)
{
    struct millrace *m = NULL;

    options.nodes = fake_site_nodes(site);
    cr_assert_eq(millrace_open(&options, &m), MILLRACE_OK, "%s", millrace_last_error(NULL));
    return m;
}

static uint32_t series_of(struct millrace *m, const char *host)
{
    struct millrace_tag tag = {"host", host};
    uint32_t series;

    cr_assert_eq(millrace_series(m, "cpu", &tag, 1, &series), MILLRACE_OK);
    return series;
}

static enum millrace_code write_row(struct millrace *m, uint32_t series, uint32_t row)
{
    struct millrace_value value = millrace_int("n", row);

    return millrace_write(m, series, row, &value, 1);
}

Test(client, says_which_nodes_it_could_not_reach)
{
    /* Port 1 is never open on loopback. */
    struct millrace_options options = {.nodes = "127.0.0.1:1,127.0.0.1:2"};
    struct millrace *m = NULL;

    cr_assert_eq(millrace_open(&options, &m), MILLRACE_UNAVAILABLE);
    cr_assert_null(m);
    cr_assert_not_null(strstr(millrace_last_error(NULL), "127.0.0.1:1: connect"), "%s",
                       millrace_last_error(NULL));
    cr_assert_not_null(strstr(millrace_last_error(NULL), "127.0.0.1:2: connect"));
}

Test(client, refuses_options_out_of_range)
{
    struct millrace_options options = {.nodes = "127.0.0.1:99999"};
    struct millrace *m = NULL;

    cr_assert_eq(millrace_open(&options, &m), MILLRACE_INVALID);
    options.nodes = ",";
    cr_assert_eq(millrace_open(&options, &m), MILLRACE_INVALID);
    options.nodes = "127.0.0.1:7400";
    options.batch_rows = 65537;
    cr_assert_eq(millrace_open(&options, &m), MILLRACE_INVALID);
    cr_assert_not_null(strstr(millrace_last_error(NULL), "65537"));
    cr_assert_null(m);
}

Test(client, opens_while_one_of_the_nodes_is_down)
{
    struct fake_site *site = fake_site_start(2, 1, NULL);
    struct millrace *m;

    fake_site_set_leader(site, 0, 2);
    fake_site_kill(site, 1);
    m = open_with(site, (struct millrace_options){0});
    cr_assert_eq(write_row(m, series_of(m, "a"), 7), MILLRACE_OK, "%s", millrace_last_error(m));
    cr_assert_eq(millrace_flush(m, 10000), MILLRACE_OK, "%s", millrace_last_error(m));
    cr_assert_eq(fake_site_stored(site, 7), 1);
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}

Test(client, finds_a_node_by_name)
{
    struct fake_site *site = fake_site_start(1, 1, NULL);
    const char *port = strchr(fake_site_nodes(site), ':');
    char nodes[64];
    struct millrace_options options = {.nodes = nodes};
    struct millrace *m = NULL;

    snprintf(nodes, sizeof nodes, "localhost%s", port);
    cr_assert_eq(millrace_open(&options, &m), MILLRACE_OK, "%s", millrace_last_error(NULL));
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}

Test(client, gives_one_number_to_one_series)
{
    struct fake_site *site = fake_site_start(1, 4, NULL);
    struct millrace *m = open_with(site, (struct millrace_options){0});
    struct millrace_tag tags[] = {{"host", "a"}, {"cpu", "0"}};
    struct millrace_tag turned[] = {{"cpu", "0"}, {"host", "a"}};
    struct millrace_tag empty[] = {{"host", ""}};
    struct millrace_tag twice[] = {{"host", "a"}, {"host", "b"}};
    uint32_t first, second, other;

    cr_assert_eq(millrace_series(m, "cpu", tags, 2, &first), MILLRACE_OK);
    cr_assert_eq(millrace_series(m, "cpu", turned, 2, &second), MILLRACE_OK);
    cr_assert_eq(millrace_series(m, "mem", turned, 2, &other), MILLRACE_OK);
    cr_assert_eq(first, second);
    cr_assert_neq(first, other);
    cr_assert_eq(millrace_series(m, "cpu", empty, 1, &other), MILLRACE_INVALID);
    cr_assert_not_null(strstr(millrace_last_error(m), "host"));
    cr_assert_eq(millrace_series(m, "cpu", twice, 2, &other), MILLRACE_INVALID);
    cr_assert_eq(millrace_series(m, "", NULL, 0, &other), MILLRACE_INVALID);
    cr_assert_eq(write_row(m, 12345, 1), MILLRACE_INVALID);
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}

Test(client, refuses_a_value_of_another_type_than_the_site_decided)
{
    struct fake_site *site = fake_site_start(1, 1, NULL);
    struct millrace *m = open_with(site, (struct millrace_options){0});
    struct millrace_value text = millrace_string("n", "seven");
    struct millrace_value row[] = {millrace_int("n", 3), millrace_double("level", 1)};
    uint32_t series = series_of(m, "a");

    fake_site_decide(site, "level", FIELD_INT);
    cr_assert_eq(write_row(m, series, 1), MILLRACE_OK);
    cr_assert_eq(millrace_write(m, series, 2, &text, 1), MILLRACE_TYPE_CONFLICT);
    cr_assert_not_null(strstr(millrace_last_error(m), "integer"), "%s", millrace_last_error(m));
    cr_assert_not_null(strstr(millrace_last_error(m), "string"));
    cr_assert_eq(millrace_write(m, series, 3, row, 2), MILLRACE_TYPE_CONFLICT,
                 "the site had decided otherwise before");
    cr_assert_not_null(strstr(millrace_last_error(m), "float"));
    cr_assert_eq(millrace_flush(m, 10000), MILLRACE_OK);
    cr_assert_eq(fake_site_stored(site, 1), 1);
    cr_assert_eq(fake_site_stored(site, 3), 0, "a refused row leaves nothing behind");
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}

Test(client, declares_a_field_once)
{
    struct fake_site *site = fake_site_start(1, 1, NULL);
    struct millrace *m = open_with(site, (struct millrace_options){0});
    uint32_t series = series_of(m, "a");

    for (uint32_t row = 0; row < 1000; row++)
        cr_assert_eq(write_row(m, series, row), MILLRACE_OK);
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    cr_assert_eq(fake_site_counts(site).declares, 1);
    fake_site_stop(site);
}

Test(client, lets_a_small_batch_go_without_a_flush)
{
    struct fake_site *site = fake_site_start(1, 4, NULL);
    struct millrace *m = open_with(site, (struct millrace_options){.linger_ms = 2});
    struct millrace_counts counts = {0};

    for (uint32_t row = 0; row < 10; row++)
        cr_assert_eq(write_row(m, series_of(m, row % 2 ? "a" : "b"), row), MILLRACE_OK);
    for (int tries = 0; tries < 5000 && counts.rows_acknowledged < 10; tries++) {
        usleep(1000);
        millrace_counts(m, &counts);
    }
    cr_assert_eq(counts.rows_acknowledged, 10);
    cr_assert_eq(counts.rows_written, 10);
    cr_assert_eq(counts.points_acknowledged, 10);
    cr_assert_eq(counts.bytes_pending, 0);
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}

/* ---- Memory -------------------------------------------------------------------------------- */

static enum fake_deed busy_while(void *ctx, uint64_t at, const struct entry_header *header)
{
    _Atomic bool *shut = ctx;

    (void)at;
    (void)header;
    return *shut ? FAKE_BUSY : FAKE_STORE;
}

Test(client, says_busy_when_its_memory_is_used_up_and_goes_on_later)
{
    _Atomic bool shut = true;
    struct fake_script script = {.on_write = busy_while, .ctx = &shut};
    struct fake_site *site = fake_site_start(1, 2, &script);
    struct millrace *m = open_with(
        site,
        (struct millrace_options){.bytes_max = 256 * 1024, .batch_rows = 100, .nonblocking = 1});
    struct millrace_counts counts;
    uint32_t series = series_of(m, "a");
    uint32_t row = 0;

    while (write_row(m, series, row) == MILLRACE_OK) {
        row++;
        cr_assert_lt(row, FAKE_ROWS_MAX);
    }
    cr_assert_not_null(strstr(millrace_last_error(m), "wait"), "%s", millrace_last_error(m));
    millrace_counts(m, &counts);
    cr_assert_leq(counts.bytes_pending, 256 * 1024);
    shut = false;
    cr_assert_eq(millrace_flush(m, 20000), MILLRACE_OK, "%s", millrace_last_error(m));
    cr_assert_eq(write_row(m, series, row), MILLRACE_OK);
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    for (uint32_t i = 0; i <= row; i++)
        cr_assert_eq(fake_site_stored(site, i), 1);
    fake_site_stop(site);
}

static void *open_up_soon(void *arg)
{
    _Atomic bool *shut = arg;

    usleep(200000);
    *shut = false;
    return NULL;
}

Test(client, waits_for_room_and_stays_within_its_memory)
{
    enum { ROWS = 20000, BYTES_MAX = 64 * 1024 };
    _Atomic bool shut = true;
    struct fake_script script = {.on_write = busy_while, .ctx = &shut};
    struct fake_site *site = fake_site_start(1, 1, &script);
    struct millrace *m =
        open_with(site, (struct millrace_options){.bytes_max = BYTES_MAX, .batch_rows = 100});
    struct millrace_counts counts;
    uint32_t series = series_of(m, "a");
    bool waited = false;
    pthread_t opener;

    cr_assert_eq(pthread_create(&opener, NULL, open_up_soon, &shut), 0);
    for (uint32_t row = 0; row < ROWS; row++) {
        waited |= !shut;
        cr_assert_eq(write_row(m, series, row), MILLRACE_OK, "%s", millrace_last_error(m));
        millrace_counts(m, &counts);
        cr_assert_leq(counts.bytes_pending, BYTES_MAX);
    }
    cr_assert(waited, "not all rows fit");
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    pthread_join(opener, NULL);
    for (uint32_t row = 0; row < ROWS; row++)
        cr_assert_eq(fake_site_stored(site, row), 1);
    fake_site_stop(site);
}

/* ---- The host program ---------------------------------------------------------------------- */

Test(client, leaves_the_programs_signals_alone)
{
    struct fake_site *site = fake_site_start(1, 1, NULL);
    struct sigaction before[NSIG], after;
    sigset_t mask_before, mask_after;
    struct millrace *m;

    for (int i = 1; i < NSIG; i++)
        sigaction(i, NULL, &before[i]);
    sigprocmask(SIG_SETMASK, NULL, &mask_before);
    m = open_with(site, (struct millrace_options){0});
    cr_assert_eq(write_row(m, series_of(m, "a"), 1), MILLRACE_OK);
    cr_assert_eq(millrace_flush(m, 10000), MILLRACE_OK);
    for (int i = 1; i < NSIG; i++) {
        if (sigaction(i, NULL, &after) == 0)
            cr_assert_eq(before[i].sa_handler, after.sa_handler, "signal %d", i);
    }
    sigprocmask(SIG_SETMASK, NULL, &mask_after);
    for (int i = 1; i < NSIG; i++)
        cr_assert_eq(sigismember(&mask_before, i), sigismember(&mask_after, i));
    cr_assert_eq(millrace_close(m), MILLRACE_OK);
    fake_site_stop(site);
}

Test(client, keeps_the_codes_names_and_version)
{
    cr_assert_str_eq(millrace_code_name(MILLRACE_OK), "ok");
    cr_assert_str_eq(millrace_code_name(MILLRACE_NOT_LEADER), "not leader");
    cr_assert_str_eq(millrace_code_name(MILLRACE_VERSION), "version");
    cr_assert_eq(strspn(millrace_version(), "0123456789."), strlen(millrace_version()));
}
