/*
 * Aggregates of blocks that overtook each other, with rows that were sent again: against the last
 * value of each row.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/scan.h"
#include "storage/scan_tangle.h"
#include "tests/support/replica.h"
#include "tests/support/seed.h"

enum { MIB = 1 << 20, HOSTS = 4, BATCHES = 300, ROWS = 30, EVERY = 500, TIMES = BATCHES * ROWS };

static const char *const hosts[HOSTS] = {"a", "b", "c", "d"};

/* What was written last, by host and time. */
struct model {
    uint64_t values[HOSTS][TIMES];
};

static void set_row(struct model *model, uint32_t host, uint32_t time, uint64_t value,
                    struct entries_value *ret_value)
{
    model->values[host][time] = value;
    *ret_value = (struct entries_value){.table = "cpu",
                                        .host = hosts[host],
                                        .time_ns = time,
                                        .field = "i",
                                        .type = FIELD_INT,
                                        .bits = value};
}

/* One batch: the rows of `batch`, and with `again` one of some batch that may be there already. */
static void write_batch(struct replica *replica, struct model *model, uint32_t batch, bool again,
                        uint64_t *chance)
{
    struct entries_value values[HOSTS * ROWS + 1];
    size_t count = 0;

    for (uint32_t host = 0; host < HOSTS; host++)
        for (uint32_t i = 0; i < ROWS; i++)
            set_row(model, host, batch * ROWS + i, 1 + seed_below(chance, 100), &values[count++]);
    if (again)
        set_row(model, (uint32_t)seed_below(chance, HOSTS),
                (uint32_t)seed_below(chance, (batch + 1) * ROWS), 1 + seed_below(chance, 100),
                &values[count++]);
    replica_write(replica, &(struct entries_from){0}, values, count);
}

/* `again_in`: one batch in so many sends a row again; 0: none does. */
static void write_all(struct replica *replica, struct model *model, uint64_t *chance,
                      uint64_t again_in)
{
    uint32_t order[BATCHES];

    for (uint32_t i = 0; i < BATCHES; i++)
        order[i] = i;
    for (uint32_t i = 0; i + 1 < BATCHES; i++) { /* Some wait for up to four others. */
        uint32_t with = i + (uint32_t)seed_below(chance, 5), moved = order[i];

        if (with < BATCHES) {
            order[i] = order[with];
            order[with] = moved;
        }
    }
    for (uint32_t i = 0; i < BATCHES; i++) {
        write_batch(replica, model, order[i], again_in > 0 && seed_below(chance, again_in) == 0,
                    chance);
        if (seed_below(chance, 60) == 0)
            cr_assert_eq(replica_seal(replica), ERR_OK, "%s", err_detail());
    }
}

static int64_t expected_sum(const struct model *model, int64_t from, int64_t to)
{
    uint64_t sum = 0;

    for (uint32_t host = 0; host < HOSTS; host++)
        for (int64_t time = from; time < to; time++)
            sum += model->values[host][time];
    return (int64_t)sum;
}

static void assert_sums(struct store *store, const struct model *model, int64_t from, int64_t to,
                        uint64_t memory_bytes)
{
    const struct scan_limits limits = {.memory_bytes = memory_bytes, .result_bytes = 64 * MIB};
    const struct query query = {.database = "db",
                                .table = "cpu",
                                .agg = QUERY_SUM,
                                .every_ns = EVERY,
                                .from_ns = from,
                                .to_ns = to};
    struct snapshot *snapshot = store_snapshot(store);
    struct aggregate *aggregate;
    struct columns columns;

    cr_assert_eq(aggregate_new(&query, 64 * MIB, &aggregate), ERR_OK);
    cr_assert_eq(scan_aggregate(snapshot, &query, &limits, aggregate), ERR_OK, "%s", err_detail());
    cr_assert_eq(aggregate_finish(aggregate, &columns), ERR_OK, "%s", err_detail());
    cr_assert_eq(columns.count, 2);
    for (uint32_t i = 0; i < columns.rows; i++) {
        int64_t begin = (int64_t)columns.columns[0].values[i], end = begin + EVERY;
        int64_t sum = expected_sum(model, begin > from ? begin : from, end < to ? end : to);

        cr_assert_eq((int64_t)columns.columns[1].values[i], sum,
                     "window %" PRId64 " of [%" PRId64 ", %" PRId64 "), memory %" PRIu64, begin,
                     from, to, memory_bytes);
    }
    cr_assert_eq(columns.rows, (to + EVERY - 1) / EVERY - from / EVERY);
    columns_fini(&columns);
    aggregate_free(aggregate);
    snapshot_free(snapshot);
}

Test(scan_tangle, sums_are_of_the_last_values)
{
    static const uint64_t again_in[] = {0, 1, 4, 50};
    static struct model model;
    uint64_t chance = seed_of_run("scan tangle");

    for (size_t i = 0; i < sizeof again_in / sizeof *again_in; i++) {
        struct replica replica;

        replica_init(&replica);
        cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
        write_all(&replica, &model, &chance, again_in[i]);
        for (uint32_t k = 0; k < 20; k++) {
            int64_t from = (int64_t)seed_below(&chance, TIMES);
            int64_t to = from + 1 + (int64_t)seed_below(&chance, (uint64_t)(TIMES - from));

            assert_sums(replica.store, &model, from, to, 100000u << seed_below(&chance, 10));
        }
        assert_sums(replica.store, &model, 0, TIMES, 64 * MIB);
        replica_fini(&replica);
    }
}

/* ---- What is found ------------------------------------------------------------------------- */

static void write_rows(struct replica *replica, const char *host, int64_t from, int64_t step,
                       uint32_t rows)
{
    struct entries_value values[ROWS];

    for (uint32_t i = 0; i < rows; i++)
        values[i] = (struct entries_value){.table = "cpu",
                                           .host = host,
                                           .time_ns = from + step * i,
                                           .field = "i",
                                           .type = FIELD_INT,
                                           .bits = 1};
    replica_write(replica, &(struct entries_from){0}, values, rows);
}

static void find(struct store *store, uint64_t budget, struct scan_tangle *ret_tangle)
{
    const struct scan_limits limits = {.memory_bytes = 64 * MIB, .result_bytes = 64 * MIB};
    const struct query query = {
        .database = "db", .table = "cpu", .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    struct snapshot *snapshot = store_snapshot(store);
    struct scan_region region = {.from_ns = 0, .last_ns = 1000000};
    struct scan_match match;
    struct scan_decode decode;

    cr_assert_eq(scan_match_find(snapshot->series, &query, &limits, &match), ERR_OK);
    region.hi = match.count;
    cr_assert_eq(scan_decode_init(&decode, snapshot, &query, &limits, &match), ERR_OK);
    cr_assert_eq(scan_tangle_find(ret_tangle, &decode, &region, budget), ERR_OK, "%s",
                 err_detail());
    scan_decode_fini(&decode);
    scan_match_fini(&match);
    snapshot_free(snapshot);
}

Test(scan_tangle, tells_series_and_spans_whose_runs_share_time)
{
    struct replica replica;
    struct scan_tangle tangle;

    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    write_rows(&replica, "straight", 0, 10, 10);
    write_rows(&replica, "straight", 200, 10, 10);
    write_rows(&replica, "straight", 100, 10, 10); /* Came last, belongs between. */
    find(replica.store, 64 * MIB, &tangle);
    cr_expect_eq(tangle.count, 0);
    cr_expect_eq(tangle.span_count, 0);
    scan_tangle_fini(&tangle);

    write_rows(&replica, "tangled", 100, 10, 10);
    write_rows(&replica, "tangled", 500, 10, 10);
    write_rows(&replica, "tangled", 190, 1, 5); /* Begins where the first ends. */
    write_rows(&replica, "tangled", 505, 1, 2); /* Lies inside. */
    find(replica.store, 64 * MIB, &tangle);
    cr_expect_eq(tangle.count, 1);
    cr_expect(!tangle.tangled[0] && tangle.tangled[1]);
    cr_assert_eq(tangle.span_count, 2);
    cr_expect_eq(tangle.spans[0].from_ns, 190);
    cr_expect_eq(tangle.spans[0].last_ns, 190);
    cr_expect_eq(tangle.spans[1].from_ns, 505);
    cr_expect_eq(tangle.spans[1].last_ns, 506);
    scan_tangle_fini(&tangle);
    replica_fini(&replica);
}

Test(scan_tangle, takes_what_it_has_no_memory_to_compare_for_tangled)
{
    struct replica replica;
    struct scan_tangle tangle;

    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    write_rows(&replica, "a", 100, 10, 10);
    write_rows(&replica, "a", 0, 10, 10);
    find(replica.store, 60, &tangle); /* One run. */
    cr_expect(!tangle.full);
    cr_expect_eq(tangle.count, 1);
    cr_assert_eq(tangle.span_count, 1);
    cr_expect_eq(tangle.spans[0].from_ns, 0);
    cr_expect_eq(tangle.spans[0].last_ns, 1000000);
    scan_tangle_fini(&tangle);
    find(replica.store, 4, &tangle);
    cr_expect(tangle.full);
    scan_tangle_fini(&tangle);
    replica_fini(&replica);
}

Test(scan_tangle, joins_spans_when_they_are_too_many)
{
    enum { CROSSINGS = 5 * SCAN_SPANS_MAX };
    struct replica replica;
    struct scan_tangle tangle;

    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    for (int64_t i = 0; i < CROSSINGS; i++) {
        write_rows(&replica, "a", i * 1000, 10, 10);
        write_rows(&replica, "a", i * 1000 + 45, 10, 10);
    }
    find(replica.store, 64 * MIB, &tangle);
    cr_assert_gt(tangle.span_count, 0);
    cr_assert_leq(tangle.span_count, SCAN_SPANS_MAX);
    cr_expect_eq(tangle.spans[0].from_ns, 45);
    for (uint32_t i = 1; i < tangle.span_count; i++)
        cr_expect_gt(tangle.spans[i].from_ns, tangle.spans[i - 1].last_ns);
    for (int64_t i = 0; i < CROSSINGS; i++) {
        uint32_t at = 0;

        while (at + 1 < tangle.span_count && tangle.spans[at].last_ns < i * 1000 + 45)
            at++;
        cr_expect(tangle.spans[at].from_ns <= i * 1000 + 45 &&
                      tangle.spans[at].last_ns >= i * 1000 + 90,
                  "crossing %" PRId64, i);
    }
    scan_tangle_fini(&tangle);
    replica_fini(&replica);
}
