/*
 * The library's two threads under a site that breaks off, refuses and delays by chance, while rows
 * linger, memory runs out and queries are asked in between. Every row must be stored once, and
 * ThreadSanitizer must stay silent.
 *
 *     client_stress [ROWS]
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "client/millrace.h"
#include "tests/support/fake_site.h"
#include "tests/support/seed.h"

enum { ROWS = 60000, SERIES = 50, CLIENTS = 3 };

static enum fake_deed by_chance(void *ctx, uint64_t at, const struct entry_header *header)
{
    static const enum fake_deed deeds[] = {FAKE_STORE_AND_CLOSE, FAKE_CLOSE, FAKE_BUSY};

    (void)at;
    (void)header;
    return seed_below(ctx, 12) == 0 ? deeds[seed_below(ctx, 3)] : FAKE_STORE;
}

static int fail(const struct millrace *m, const char *what)
{
    fprintf(stderr, "%s: %s\n", what, millrace_last_error(m));
    return 1;
}

static int write_rows(struct millrace *m, uint32_t from, uint32_t to)
{
    struct millrace_query query = {.table = "cpu"};
    struct millrace_result *result;

    for (uint32_t row = from; row < to; row++) {
        char host[16];
        struct millrace_tag tag = {"host", host};
        struct millrace_value values[] = {millrace_int("n", row), millrace_double("x", row)};
        uint32_t series;

        snprintf(host, sizeof host, "h%u", (unsigned)(row % SERIES));
        if (millrace_series(m, "cpu", &tag, 1, &series) != MILLRACE_OK ||
            millrace_write(m, series, row, values, 2) != MILLRACE_OK)
            return fail(m, "write");
        if (row % 4096 == 17) {
            if (millrace_query(m, &query, &result) != MILLRACE_OK)
                return fail(m, "query");
            millrace_result_free(result);
        }
    }
    return 0;
}

/* One client after the other: each is a producer that the site has not seen. */
static int run_client(struct fake_site *site, uint32_t from, uint32_t to)
{
    struct millrace_options options = {
        .nodes = fake_site_nodes(site),
        .bytes_max = 128 * 1024,
        .batch_rows = 200,
        .linger_ms = 1,
        .timeout_ms = 120000,
    };
    struct millrace *m;
    int failed;

    if (millrace_open(&options, &m) != MILLRACE_OK)
        return fail(NULL, "open");
    failed = write_rows(m, from, to);
    if (millrace_close(m) != MILLRACE_OK)
        failed = 1;
    return failed;
}

int main(int argc, char **argv)
{
    uint64_t state = seed_of_run("client_stress");
    uint32_t rows = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : ROWS;
    struct fake_script script = {.on_write = by_chance, .ctx = &state};
    struct fake_site *site = fake_site_start(3, 4, &script);
    struct fake_counts counts;
    int failed = 0;

    if (!site || rows > FAKE_ROWS_MAX)
        return 1;
    for (uint32_t i = 0; i < CLIENTS && !failed; i++)
        failed = run_client(site, rows / CLIENTS * i, rows / CLIENTS * (i + 1));
    for (uint32_t row = 0; row < rows / CLIENTS * CLIENTS && !failed; row++) {
        if (fake_site_stored(site, row) != 1) {
            fprintf(stderr, "row %u was stored %u times\n", (unsigned)row,
                    (unsigned)fake_site_stored(site, row));
            failed = 1;
        }
    }
    counts = fake_site_counts(site);
    if (counts.bad != 0 || !fake_site_in_order(site))
        failed = 1;
    fprintf(stderr,
            "%" PRIu64 " entries stored, %" PRIu64 " duplicates, %" PRIu64 " gaps, %" PRIu64
            " unreadable\n",
            counts.stored, counts.duplicates, counts.gaps, counts.bad);
    fake_site_stop(site);
    return failed;
}
