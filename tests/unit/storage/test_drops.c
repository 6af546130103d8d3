/*
 * What a seal's order drops is gone at once for readers, for writers, and soon from the disk.
 */
#include <criterion/criterion.h>

#include <string.h>

#include "storage/scan.h"
#include "tests/support/replica.h"

#define DAY_NS SEAL_WINDOW_DEFAULT_NS

static struct replica replica;

static void set_up(void)
{
    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
}

static void tear_down(void)
{
    replica_fini(&replica);
}

TestSuite(drops, .init = set_up, .fini = tear_down);

static void write(const char *table, int64_t time_ns)
{
    struct entries_value value = {table, "a", time_ns, "v", FIELD_INT, 1, NULL, 0};

    replica_write(&replica, &(struct entries_from){0}, &value, 1);
}

static enum err admit(const char *table, int64_t time_ns)
{
    struct entries_value value = {table, "a", time_ns, "v", FIELD_INT, 1, NULL, 0};
    struct buf *entry = entries_block(&(struct entries_from){0}, &value, 1);
    bool duplicate;
    enum err err = store_admit(replica.store, entry, 1, &duplicate);

    if (err == ERR_OK)
        store_retract(replica.store);
    buf_unref(entry);
    return err;
}

/* Apply an order that moves up the cutoff of "db", or drops it. The job is the caller's. */
static struct seal_job *order(int64_t cutoff_ns, uint64_t drop)
{
    struct seal_database database = {{"db", 2}, DAY_NS, cutoff_ns, drop};
    struct buf *entry = entries_drop(0, 0, &database, 1);
    enum store_outcome outcome;
    struct seal_job *job;

    replica.log = realloc(replica.log, (replica.log_count + 1) * sizeof(struct buf *));
    replica.log[replica.log_count++] = entry;
    cr_assert_eq(store_apply(replica.store, replica.log_count, entry, &outcome, &job), ERR_OK);
    return job;
}

static void run(struct seal_job *job)
{
    cr_assert_not_null(job);
    cr_assert_eq(seal_run(job), ERR_OK, "%s", err_detail());
    store_seal_done(replica.store, job, false);
}

/* Rows of a table by a scan, and values of all tables by a plain reading: both must agree. */
static void expect(size_t values, uint64_t rows_of_cpu)
{
    struct snapshot *snapshot = store_snapshot(replica.store);
    struct query query = {.database = "db",
                          .table = "cpu",
                          .from_ns = INT64_MIN,
                          .to_ns = INT64_MAX,
                          .agg = QUERY_COUNT};
    struct scan_limits limits = {.memory_bytes = 1 << 20, .result_bytes = 1 << 20};
    struct aggregate *aggregate;
    struct columns columns = {0};
    struct contents contents;
    uint64_t digest, rows;

    cr_assert_eq(contents_read(snapshot, &contents), ERR_OK, "%s", err_detail());
    cr_assert_eq(contents.count, values, "%zu values", contents.count);
    contents_fini(&contents);
    cr_assert_eq(scan_digest(snapshot, &limits, &digest, &rows), ERR_OK, "%s", err_detail());
    cr_assert_eq(rows, values, "%lu rows", (unsigned long)rows);
    cr_assert_eq(aggregate_new(&query, 1 << 20, &aggregate), ERR_OK);
    cr_assert_eq(scan_aggregate(snapshot, &query, &limits, aggregate), ERR_OK, "%s", err_detail());
    cr_assert_eq(aggregate_finish(aggregate, &columns), ERR_OK, "%s", err_detail());
    rows = columns.rows == 0 ? 0 : columns.columns[columns.count - 1].values[0];
    cr_assert_eq(rows, rows_of_cpu, "%lu rows of cpu", (unsigned long)rows);
    columns_fini(&columns);
    aggregate_free(aggregate);
    snapshot_free(snapshot);
}

static struct store_stats stats(void)
{
    struct store_stats now;

    store_stats(replica.store, &now);
    return now;
}

static void reopen(void)
{
    replica_close(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
}

/* ---- Cutoffs ------------------------------------------------------------------------------- */

Test(drops, a_seal_makes_a_segment_of_each_window_of_each_database)
{
    write("cpu", 0);
    write("cpu", DAY_NS);
    write("mem", DAY_NS + 1);
    write("other/cpu", DAY_NS);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    cr_assert_eq(stats().segments, 3);
    expect(4, 2);
}

Test(drops, rows_before_the_cutoff_are_gone_at_once_and_then_from_the_disk)
{
    struct seal_job *job;

    write("cpu", 0);
    write("cpu", 5);
    write("cpu", DAY_NS);
    write("other/cpu", 0);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    write("cpu", 1);
    write("cpu", DAY_NS + 7);
    cr_assert_eq(stats().segments, 3);
    expect(6, 5);
    job = order(5, 0); /* Amid the first segment. */
    expect(4, 3);
    run(job);
    expect(4, 3);
    cr_assert_eq(stats().segments, 4);
    cr_assert_eq(stats().segment_rows, 5); /* The head's old row was not taken along. */
    run(order(DAY_NS, 0));
    cr_assert_eq(stats().segments, 3);
    expect(3, 2);
    cr_assert_not(mem_disk_exists(replica.disk, "data/00000001.mrs"));
    reopen();
    cr_assert_eq(stats().segments, 3);
    expect(3, 2);
}

Test(drops, late_rows_are_refused_by_name_and_time)
{
    write("cpu", DAY_NS);
    write("other/cpu", 0);
    run(order(DAY_NS, 0));
    cr_assert_eq(admit("cpu", DAY_NS), ERR_OK);
    cr_assert_eq(admit("cpu", DAY_NS - 1), ERR_TOO_OLD);
    cr_assert_neq(strstr(err_detail(), "\"db\""), NULL, "%s", err_detail());
    cr_assert_eq(store_refused_before(replica.store), DAY_NS);
    cr_assert_eq(admit("new table", DAY_NS - 1), ERR_TOO_OLD);
    cr_assert_eq(admit("other/cpu", -5), ERR_OK);
    reopen();
    cr_assert_eq(admit("cpu", DAY_NS - 1), ERR_TOO_OLD);
}

Test(drops, rows_that_were_on_their_way_are_not_seen_and_not_kept)
{
    struct entries_value value = {"cpu", "a", 3, "v", FIELD_INT, 1, NULL, 1};
    enum store_outcome outcome;

    write("cpu", DAY_NS);
    run(order(DAY_NS, 0));
    cr_assert_eq(
        replica_apply(&replica, entries_block(&(struct entries_from){0}, &value, 1), &outcome),
        ERR_OK);
    cr_assert_eq(outcome, STORE_APPLIED);
    expect(1, 1);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    cr_assert_eq(stats().segment_rows, 1);
    cr_assert_not(mem_disk_exists(replica.disk, "data/00000002.mrs.tmp"));
}

Test(drops, a_cutoff_never_moves_back)
{
    write("cpu", 0);
    write("cpu", DAY_NS);
    run(order(DAY_NS, 0));
    cr_assert_null(order(DAY_NS - 1, 0));
    cr_assert_null(order(DAY_NS, 0));
    expect(1, 1);
}

Test(drops, who_reads_a_dropped_segment_reads_on)
{
    struct snapshot *snapshot;
    struct contents contents;

    write("cpu", 0);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    snapshot = store_snapshot(replica.store);
    run(order(DAY_NS, 0));
    cr_assert_eq(stats().segments, 0);
    cr_assert_eq(contents_read(snapshot, &contents), ERR_OK, "%s", err_detail());
    cr_assert_eq(contents.count, 1);
    contents_fini(&contents);
    snapshot_free(snapshot);
}

/* ---- Databases ----------------------------------------------------------------------------- */

Test(drops, a_dropped_database_is_gone_and_others_stay)
{
    struct seal_job *job;

    write("cpu", 0);
    write("other/cpu", 0);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    write("mem", 0);
    write("other/cpu", 1);
    job = order(INT64_MIN, 1);
    expect(2, 0);
    run(job);
    expect(2, 0);
    cr_assert_eq(stats().segments, 2);
    cr_assert_eq(stats().segment_rows, 2);
    reopen();
    expect(2, 0);
}

Test(drops, a_database_that_is_made_again_begins_anew)
{
    struct seal_job *first, *second;

    write("cpu", 0);
    run(order(DAY_NS, 0));
    write("cpu", DAY_NS);
    first = order(INT64_MIN, 8);
    write("cpu", 3); /* The cutoff was that of the old one. */
    expect(1, 1);
    cr_assert_null(order(INT64_MIN, 8)); /* The same drop is no news. */
    second = order(INT64_MIN, 9);
    expect(0, 0);
    write("cpu", 4);
    run(first);
    expect(1, 1);
    run(second);
    expect(1, 1);
    reopen();
    expect(1, 1);
}

/* ---- Deletes ------------------------------------------------------------------------------- */

static void delete (const char *table, const char *host, int64_t first_ns, int64_t last_ns)
{
    enum store_outcome outcome;

    cr_assert_eq(
        replica_apply(&replica, entries_delete(0, 0, table, host, first_ns, last_ns), &outcome),
        ERR_OK, "%s", err_detail());
}

static void put_of(const char *host, int64_t time_ns)
{
    struct entries_value value = {"cpu", host, time_ns, "v", FIELD_INT, 1, NULL, 0};

    replica_write(&replica, &(struct entries_from){0}, &value, 1);
}

Test(drops, deleted_rows_are_gone_and_what_is_written_later_stays)
{
    for (int64_t time_ns = 0; time_ns < 10; time_ns++)
        put_of("a", time_ns);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    for (int64_t time_ns = 10; time_ns < 20; time_ns++)
        put_of(time_ns % 2 == 0 ? "a" : "b", time_ns);
    delete ("cpu", NULL, 8, 11); /* Of a segment and of the head. */
    expect(16, 16);
    delete ("cpu", "b", INT64_MIN, 15);
    expect(14, 14);
    put_of("b", 11);
    put_of("a", 8);
    expect(16, 16);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    expect(16, 16);
    reopen();
    expect(16, 16);
    delete ("cpu", NULL, INT64_MIN, INT64_MAX);
    expect(0, 0);
    delete ("mem", NULL, INT64_MIN, INT64_MAX);
    put_of("a", 5);
    expect(1, 1);
}

static int64_t ask(enum query_agg agg)
{
    struct snapshot *snapshot = store_snapshot(replica.store);
    struct query query = {
        .database = "db", .table = "cpu", .from_ns = INT64_MIN, .to_ns = INT64_MAX, .agg = agg};
    struct scan_limits limits = {.memory_bytes = 1 << 20, .result_bytes = 1 << 20};
    struct aggregate *aggregate;
    struct columns columns = {0};
    int64_t answer;

    cr_assert_eq(aggregate_new(&query, 1 << 20, &aggregate), ERR_OK);
    cr_assert_eq(scan_aggregate(snapshot, &query, &limits, aggregate), ERR_OK, "%s", err_detail());
    cr_assert_eq(aggregate_finish(aggregate, &columns), ERR_OK, "%s", err_detail());
    cr_assert_eq(columns.rows, 1);
    answer = (int64_t)columns.columns[columns.count - 1].values[0];
    columns_fini(&columns);
    aggregate_free(aggregate);
    snapshot_free(snapshot);
    return answer;
}

/* Whole chunks are answered from an index, which knows nothing of deletes. */
Test(drops, aggregates_count_nothing_that_was_deleted)
{
    enum { ROWS = 5000 };
    struct entries_value *values = calloc(ROWS, sizeof *values);

    for (int64_t i = 0; i < ROWS; i++)
        values[i] = (struct entries_value){"cpu", "a", i, "v", FIELD_INT, (uint64_t)i, NULL, 0};
    replica_write(&replica, &(struct entries_from){0}, values, ROWS);
    free(values);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    cr_assert_eq(ask(QUERY_SUM), ROWS * (ROWS - 1) / 2);
    delete ("cpu", "a", 0, 9);
    delete ("cpu", "a", 2000, 2000);
    delete ("cpu", "b", 0, ROWS);
    delete ("cpu", NULL, ROWS - 1, INT64_MAX);
    cr_assert_eq(ask(QUERY_COUNT), ROWS - 12);
    cr_assert_eq(ask(QUERY_SUM), ROWS * (ROWS - 1) / 2 - 45 - 2000 - (ROWS - 1));
    cr_assert_eq(ask(QUERY_MIN), 10);
    cr_assert_eq(ask(QUERY_MAX), ROWS - 2);
    cr_assert_eq(ask(QUERY_FIRST), 10);
    cr_assert_eq(ask(QUERY_LAST), ROWS - 2);
    delete ("cpu", NULL, 10, ROWS - 3);
    cr_assert_eq(ask(QUERY_SUM), ROWS - 2);
}

Test(drops, tombstones_go_with_the_segments_that_they_are_for)
{
    put_of("a", 1);
    put_of("a", DAY_NS);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    delete ("cpu", NULL, 1, 1);
    delete ("cpu", NULL, 5, 7); /* No segment has such rows. */
    delete ("other/cpu", NULL, 1, 1);
    cr_assert_eq(stats().tombstones, 1);
    reopen();
    cr_assert_eq(stats().tombstones, 1);
    expect(1, 1);
    run(order(DAY_NS, 0));
    cr_assert_eq(stats().tombstones, 0);
    expect(1, 1);
}

Test(drops, a_delete_is_seen_before_its_seal_has_run)
{
    struct buf *entry = entries_delete(0, 0, "cpu", NULL, 1, 1);
    enum store_outcome outcome;
    struct seal_job *job;

    put_of("a", 1);
    put_of("a", 2);
    replica.log = realloc(replica.log, (replica.log_count + 1) * sizeof(struct buf *));
    replica.log[replica.log_count++] = entry;
    cr_assert_eq(store_apply(replica.store, replica.log_count, entry, &outcome, &job), ERR_OK);
    expect(1, 1);
    put_of("a", 1);
    expect(2, 2);
    run(job);
    expect(2, 2);
    cr_assert_eq(stats().tombstones, 0); /* The seal has left them out. */
}

Test(drops, orders_that_make_no_sense_are_refused)
{
    struct buf *entry = entries_seal(0, 1);
    enum store_outcome outcome;

    entry->bytes[sizeof(struct entry_header) + 8] = 1; /* A database that is not there. */
    cr_assert_eq(replica_apply(&replica, entry, &outcome), ERR_OK);
    cr_assert_eq(outcome, STORE_REFUSED);
}
