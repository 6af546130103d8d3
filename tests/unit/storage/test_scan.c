/*
 * Scans against the plain model of tests/support/world.h: any question, any budget, one answer.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/clk.h"
#include "storage/scan.h"
#include "tests/support/replica.h"
#include "tests/support/seed.h"
#include "tests/support/world.h"

enum { MIB = 1 << 20, WORLDS = 8, QUESTIONS = 50 };

static const struct scan_limits ample = {.memory_bytes = 64 * MIB, .result_bytes = 64 * MIB};

static struct query everything(void)
{
    return (struct query){
        .database = "db", .table = "cpu", .from_ns = INT64_MIN, .to_ns = INT64_MAX};
}

static enum err take_lines(void *arg, const struct columns *batch)
{
    lines_of_columns(batch, false, arg);
    return ERR_OK;
}

static void assert_lines(const struct lines *found, const struct lines *expected)
{
    for (size_t i = 0; i < found->count && i < expected->count; i++)
        cr_assert_str_eq(found->lines[i], expected->lines[i],
                         "line %zu:\n  found    %s\n  expected %s", i, found->lines[i],
                         expected->lines[i]);
    cr_assert_eq(found->count, expected->count, "%zu lines, not %zu", found->count,
                 expected->count);
}

/* ---- Questions by chance --------------------------------------------------------------------- */

static struct query random_query(uint64_t *chance)
{
    static const char *const names[] = {"host", "site", "rack"};
    static const char *const values[] = {"h1", "h3", "a", "b", "", "other"};
    static const char *const patterns[] = {"h1.*", "h[0-9]*", "a|b|", "h1?", "", "x", ".+"};
    struct query query = everything();

    query.table = seed_below(chance, 4) == 0 ? "mem" : "cpu";
    for (uint32_t f = 0; f < WORLD_FIELDS; f++) {
        if (seed_below(chance, 3) == 0)
            query.fields[query.field_count++] = world_field_names[f];
    }
    if (seed_below(chance, 3) == 0)
        query.field_count = 0;
    query.where_count = (uint32_t)seed_below(chance, 3);
    for (uint32_t i = 0; i < query.where_count; i++) {
        struct query_match *where = &query.where[i];

        where->name = names[seed_below(chance, 3)];
        where->op = (uint32_t)seed_below(chance, QUERY_OP_END);
        where->value = where->op < QUERY_MATCHES ? values[seed_below(chance, 6)]
                                                 : patterns[seed_below(chance, 7)];
    }
    if (seed_below(chance, 2) == 0)
        query.from_ns = world_time((uint32_t)seed_below(chance, WORLD_TIMES));
    if (seed_below(chance, 2) == 0)
        query.to_ns = world_time((uint32_t)seed_below(chance, WORLD_TIMES));
    if (seed_below(chance, 3) == 0)
        query.limit = 1 + seed_below(chance, 100);
    return query;
}

static struct query random_aggregate(uint64_t *chance)
{
    static const char *const names[] = {"host", "site", "rack"};
    static const int64_t widths[] = {0, 1, 1000, 7000, 1000000};
    struct query query = random_query(chance);
    bool all_types;

    query.agg = 1 + (uint32_t)seed_below(chance, QUERY_AGG_END - 1);
    query.every_ns = widths[seed_below(chance, 5)];
    query.group_count = (uint32_t)seed_below(chance, 4);
    for (uint32_t i = 0; i < query.group_count; i++)
        query.group_by[i] = names[i];
    /* A mean of a string that is asked for by name is an error; that has a test of its own. */
    all_types = query.agg == QUERY_COUNT || query.agg == QUERY_FIRST || query.agg == QUERY_LAST;
    if (!all_types)
        query.field_count = 0;
    return query;
}

/* From so little that it hardly holds a row, with all the blocks that overwrite it, up to
 * everything at once. */
static struct scan_limits random_limits(uint64_t *chance)
{
    struct scan_limits limits = ample;

    limits.memory_bytes = 64000u << seed_below(chance, 6);
    return limits;
}

/* ---- Rows ---------------------------------------------------------------------------------- */

static void assert_rows(const struct world *world, const struct query *query,
                        const struct scan_limits *limits)
{
    struct lines found = {0}, expected = world_rows(world, query);

    cr_assert_eq(scan_rows(&world->snapshot, query, limits, take_lines, &found), ERR_OK, "%s",
                 err_detail());
    assert_lines(&found, &expected);
    lines_free(&found);
    lines_free(&expected);
}

Test(scan, finds_the_rows_of_any_question_with_any_memory)
{
    static struct world world;
    uint64_t chance = seed_of_run("scan rows");

    for (uint32_t w = 0; w < WORLDS; w++) {
        world_make(&world, &chance, (uint32_t)seed_below(&chance, 40));
        for (uint32_t i = 0; i < QUESTIONS; i++) {
            struct query query = random_query(&chance);
            struct scan_limits limits = random_limits(&chance);

            query.last = seed_below(&chance, 3) == 0;
            assert_rows(&world, &query, &limits);
        }
        world_free(&world);
    }
}

/* Turn pages as a client does, with rows of the whole in `found`. */
static void turn_pages(const struct world *world, struct query *query, struct scan_limits *limits,
                       struct lines *found, uint32_t *ret_pages)
{
    int64_t from_ns = query->from_ns;
    struct query_place next;

    query->page = (struct query_page){.on = true, .series_last = UINT32_MAX};
    for (*ret_pages = 0;; ++*ret_pages) {
        cr_assert_eq(scan_page(&world->snapshot, query, limits, take_lines, found, &next), ERR_OK,
                     "%s", err_detail());
        if (next.series == QUERY_PLACE_END && query->page.series_last == UINT32_MAX)
            break;
        if (next.series != QUERY_PLACE_END && next.time_ns != INT64_MIN) {
            query->page.series_first = query->page.series_last = next.series;
            query->from_ns = next.time_ns;
            continue;
        }
        query->page.series_first =
            next.series != QUERY_PLACE_END ? next.series : query->page.series_last + 1;
        query->page.series_last = UINT32_MAX;
        query->from_ns = from_ns;
    }
    query->page = (struct query_page){0};
    query->from_ns = from_ns;
}

Test(scan, pages_have_every_row_once)
{
    static struct world world;
    uint64_t chance = seed_of_run("scan pages");
    uint32_t most = 0;

    for (uint32_t w = 0; w < WORLDS; w++) {
        world_make(&world, &chance, (uint32_t)seed_below(&chance, 40));
        for (uint32_t i = 0; i < QUESTIONS; i++) {
            struct query query = random_query(&chance);
            struct scan_limits limits = random_limits(&chance);
            struct lines found = {0}, expected;
            uint32_t pages;

            query.limit = 0;
            limits.page_bytes = 1 + seed_below(&chance, 2000);
            turn_pages(&world, &query, &limits, &found, &pages);
            most = pages > most ? pages : most;
            expected = world_rows(&world, &query);
            assert_lines(&found, &expected);
            lines_free(&found);
            lines_free(&expected);
        }
        world_free(&world);
    }
    cr_assert_gt(most, 10);
}

Test(scan, has_no_rows_of_what_is_not_there)
{
    static struct world world;
    uint64_t chance = 1;
    struct query query = everything();

    world_make(&world, &chance, 5);
    query.database = "other";
    assert_rows(&world, &query, &ample);
    query = everything();
    query.table = "disk";
    assert_rows(&world, &query, &ample);
    query = everything();
    query.fields[query.field_count++] = "temperature";
    assert_rows(&world, &query, &ample);
    query = everything();
    query.from_ns = query.to_ns = 5;
    assert_rows(&world, &query, &ample);
    world_free(&world);
}

/* ---- Aggregates ---------------------------------------------------------------------------- */

static void assert_aggregate(const struct world *world, const struct query *query,
                             const struct scan_limits *limits)
{
    struct lines found = {0}, expected = world_aggregate(world, query);
    struct columns columns;
    struct aggregate *aggregate;

    cr_assert_eq(aggregate_new(query, 64 * MIB, &aggregate), ERR_OK);
    cr_assert_eq(scan_aggregate(&world->snapshot, query, limits, aggregate), ERR_OK, "%s",
                 err_detail());
    cr_assert_eq(aggregate_finish(aggregate, &columns), ERR_OK, "%s", err_detail());
    lines_of_columns(&columns, true, &found);
    assert_lines(&found, &expected);
    columns_fini(&columns);
    aggregate_free(aggregate);
    lines_free(&found);
    lines_free(&expected);
}

Test(scan, aggregates_any_question_with_any_memory)
{
    static struct world world;
    uint64_t chance = seed_of_run("scan aggregates");

    for (uint32_t w = 0; w < WORLDS; w++) {
        world_make(&world, &chance, (uint32_t)seed_below(&chance, 40));
        for (uint32_t i = 0; i < QUESTIONS; i++) {
            struct query query = random_aggregate(&chance);
            struct scan_limits limits = random_limits(&chance);

            assert_aggregate(&world, &query, &limits);
        }
        world_free(&world);
    }
}

/* Each shard has some of the series: the sum of its conditions is the whole. */
Test(scan, merges_the_parts_of_shards_to_the_answer_of_one)
{
    static struct world world;
    static const struct query_match shards[][2] = {
        {{"host", "h0", true}, {"site", "a", false}},
        {{"host", "h0", true}, {"site", "a", true}},
        {{"host", "h0", false}, {"rack", "", false}},
    };
    uint64_t chance = seed_of_run("scan shards");

    world_make(&world, &chance, 30);
    for (uint32_t i = 0; i < 2 * QUESTIONS; i++) {
        struct query query = random_aggregate(&chance);
        struct aggregate *whole;
        struct lines found = {0}, expected;
        struct columns columns;

        query.where_count = 0;
        expected = world_aggregate(&world, &query);
        cr_assert_eq(aggregate_new(&query, 64 * MIB, &whole), ERR_OK);
        for (uint32_t shard = 0; shard < 3; shard++) {
            struct query part_query = query;
            struct aggregate *part;
            struct bytes bytes = {0};

            part_query.where_count = 2;
            memcpy(part_query.where, shards[(shard + i) % 3], sizeof shards[0]);
            cr_assert_eq(aggregate_new(&part_query, 64 * MIB, &part), ERR_OK);
            cr_assert_eq(scan_aggregate(&world.snapshot, &part_query, &ample, part), ERR_OK);
            aggregate_encode(part, &bytes);
            cr_assert_eq(aggregate_merge(whole, bytes.data, bytes.size), ERR_OK, "%s",
                         err_detail());
            bytes_fini(&bytes);
            aggregate_free(part);
        }
        cr_assert_eq(aggregate_finish(whole, &columns), ERR_OK);
        lines_of_columns(&columns, true, &found);
        assert_lines(&found, &expected);
        columns_fini(&columns);
        aggregate_free(whole);
        lines_free(&found);
        lines_free(&expected);
    }
    world_free(&world);
}

Test(scan, refuses_an_aggregate_that_a_named_field_does_not_have)
{
    static struct world world;
    uint64_t chance = 1;
    struct query query = everything();
    struct aggregate *aggregate;

    world_make(&world, &chance, 10);
    query.agg = QUERY_MEAN;
    query.fields[query.field_count++] = "s";
    cr_assert_eq(aggregate_new(&query, MIB, &aggregate), ERR_OK);
    cr_assert_eq(scan_aggregate(&world.snapshot, &query, &ample, aggregate), ERR_INVALID);
    cr_assert(strstr(err_detail(), "field s is of type string") != NULL, "%s", err_detail());
    aggregate_free(aggregate);
    world_free(&world);
}

/* ---- Limits -------------------------------------------------------------------------------- */

static enum err take_nothing(void *arg, const struct columns *batch)
{
    (void)arg;
    (void)batch;
    return ERR_OK;
}

Test(scan, stops_when_it_is_canceled_and_at_its_deadline)
{
    static struct world world;
    uint64_t chance = 1;
    struct query query = everything();
    struct scan_limits limits = ample;
    atomic_bool cancel = true;

    world_make(&world, &chance, 10);
    limits.cancel = &cancel;
    cr_assert_eq(scan_rows(&world.snapshot, &query, &limits, take_nothing, NULL), ERR_CANCELED);
    atomic_store(&cancel, false);
    cr_assert_eq(scan_rows(&world.snapshot, &query, &limits, take_nothing, NULL), ERR_OK);
    limits.deadline_ns = clk_now_ns() - 1;
    cr_assert_eq(scan_rows(&world.snapshot, &query, &limits, take_nothing, NULL), ERR_TIMEOUT);
    world_free(&world);
}

/* Cancels the scan that hands it a batch. */
static enum err cancel_it(void *arg, const struct columns *batch)
{
    atomic_bool *cancel = arg;

    (void)batch;
    cr_assert(!atomic_load(cancel), "a batch came after it was canceled");
    atomic_store(cancel, true);
    return ERR_OK;
}

/* Long strings make many batches of one segment, or of one head block. */
Test(scan, stops_between_two_batches)
{
    enum { ROWS = 100, TEXT = 40000 };
    static struct entries_value values[ROWS];
    static char text[TEXT + 1];
    struct query query = everything();
    struct scan_limits limits = ample;
    atomic_bool cancel = false;
    struct replica replica;

    memset(text, 'x', TEXT);
    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    for (uint32_t i = 0; i < ROWS; i++)
        values[i] = (struct entries_value){.table = "cpu",
                                           .host = "a",
                                           .time_ns = i,
                                           .field = "s",
                                           .type = FIELD_STRING,
                                           .text = text};
    replica_write(&replica, &(struct entries_from){0}, values, ROWS);
    limits.cancel = &cancel;
    for (uint32_t sealed = 0; sealed < 2; sealed++) {
        struct snapshot *snapshot = store_snapshot(replica.store);

        atomic_store(&cancel, false);
        cr_assert_eq(scan_rows(snapshot, &query, &limits, cancel_it, &cancel), ERR_CANCELED);
        snapshot_free(snapshot);
        cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    }
    replica_fini(&replica);
}

Test(scan, says_so_when_result_or_memory_have_no_room)
{
    static struct world world;
    uint64_t chance = 1;
    struct query query = everything();
    struct scan_limits limits = ample;

    world_make(&world, &chance, 30);
    limits.result_bytes = 1000;
    cr_assert_eq(scan_rows(&world.snapshot, &query, &limits, take_nothing, NULL), ERR_LIMIT);
    cr_assert(strstr(err_detail(), "1000 bytes") != NULL, "%s", err_detail());
    limits = ample;
    limits.memory_bytes = 10;
    cr_assert_eq(scan_rows(&world.snapshot, &query, &limits, take_nothing, NULL), ERR_LIMIT);
    query.last = true;
    cr_assert_eq(scan_rows(&world.snapshot, &query, &limits, take_nothing, NULL), ERR_LIMIT);
    world_free(&world);
}

static enum err refuse(void *arg, const struct columns *batch)
{
    (void)batch;
    (*(int *)arg)++;
    return err_set(ERR_UNAVAILABLE, "the asker is gone");
}

Test(scan, ends_with_the_error_of_who_takes_the_batches)
{
    static struct world world;
    uint64_t chance = 1;
    struct query query = everything();
    int calls = 0;

    world_make(&world, &chance, 10);
    cr_assert_eq(scan_rows(&world.snapshot, &query, &ample, refuse, &calls), ERR_UNAVAILABLE);
    cr_assert_eq(calls, 1);
    world_free(&world);
}

Test(scan, names_the_source_that_is_damaged)
{
    static struct world world;
    uint64_t chance = 1;
    struct query query = everything();
    struct buf *entry;

    world_make(&world, &chance, 3);
    /* The body of a head block is not summed again: damage it so that it cannot be decoded. */
    entry = world.snapshot.sources[1].entry;
    memset(entry->bytes + entry->size - world.snapshot.sources[1].size / 2, 0xff,
           world.snapshot.sources[1].size / 2);
    cr_assert_eq(scan_rows(&world.snapshot, &query, &ample, take_nothing, NULL), ERR_CORRUPT);
    cr_assert(strstr(err_detail(), "number 1 of the snapshot") != NULL, "%s", err_detail());
    world_free(&world);
}

/* ---- Digests, and a real store --------------------------------------------------------------- */

static uint64_t digest_of(const struct snapshot *snapshot, const struct scan_limits *limits,
                          uint64_t *ret_rows)
{
    uint64_t digest = 0;

    cr_assert_eq(scan_digest(snapshot, limits, &digest, ret_rows), ERR_OK, "%s", err_detail());
    return digest;
}

Test(scan, digests_contents_whatever_the_memory)
{
    static struct world world;
    uint64_t chance = seed_of_run("scan digest"), rows, first;

    world_make(&world, &chance, 30);
    first = digest_of(&world.snapshot, &ample, &rows);
    for (uint32_t i = 0; i < 20; i++) {
        struct scan_limits limits = random_limits(&chance);
        uint64_t rows_again;

        cr_assert_eq(digest_of(&world.snapshot, &limits, &rows_again), first);
        cr_assert_eq(rows_again, rows);
    }
    /* Without its last block the contents are others. */
    world.snapshot.source_count--;
    cr_assert_neq(digest_of(&world.snapshot, &ample, &rows), first);
    world.snapshot.source_count++;
    world_free(&world);
}

static void write_some(struct replica *replica, uint64_t *chance)
{
    static const char *const hosts[] = {"a", "b", "c", "d"};
    static const char *const tables[] = {"cpu", "mem"};
    static const char *const fields[] = {"user", "system"};
    struct entries_value values[50];

    for (uint32_t i = 0; i < 50; i++)
        values[i] = (struct entries_value){.table = tables[seed_below(chance, 2)],
                                           .host = hosts[seed_below(chance, 4)],
                                           .time_ns = (int64_t)seed_below(chance, 200),
                                           .field = fields[seed_below(chance, 2)],
                                           .type = FIELD_INT,
                                           .bits = seed_below(chance, 1000)};
    replica_write(replica, &(struct entries_from){0}, values, 50);
}

/* What a scan says of all of a table. */
static struct lines lines_of_store(struct store *store, const char *table)
{
    struct snapshot *snapshot = store_snapshot(store);
    struct query query = everything();
    struct lines lines = {0};

    query.table = table;
    cr_assert_neq(snapshot, NULL);
    cr_assert_eq(scan_rows(snapshot, &query, &ample, take_lines, &lines), ERR_OK, "%s",
                 err_detail());
    snapshot_free(snapshot);
    return lines;
}

static uint64_t digest_of_store(struct store *store)
{
    struct snapshot *snapshot = store_snapshot(store);
    uint64_t rows, digest = digest_of(snapshot, &ample, &rows);

    snapshot_free(snapshot);
    return digest;
}

Test(scan, says_the_same_before_and_after_a_seal)
{
    uint64_t chance = seed_of_run("scan seal");
    struct replica replica;

    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    for (uint32_t round = 0; round < 5; round++) {
        struct lines cpu, mem, cpu_sealed, mem_sealed;
        uint64_t digest;

        for (uint32_t i = 0; i < 10; i++)
            write_some(&replica, &chance);
        cpu = lines_of_store(replica.store, "cpu");
        mem = lines_of_store(replica.store, "mem");
        digest = digest_of_store(replica.store);
        cr_assert_gt(cpu.count, 0);
        cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
        cpu_sealed = lines_of_store(replica.store, "cpu");
        mem_sealed = lines_of_store(replica.store, "mem");
        assert_lines(&cpu_sealed, &cpu);
        assert_lines(&mem_sealed, &mem);
        cr_assert_eq(digest_of_store(replica.store), digest);
        lines_free(&cpu);
        lines_free(&mem);
        lines_free(&cpu_sealed);
        lines_free(&mem_sealed);
    }
    replica_fini(&replica);
}

/* ---- Head and segments ---------------------------------------------------------------------- */

/* Rows of few hosts, so that some series fill chunks of their own: mostly in order of time, some of
 * them late, some twice. */
static void write_history(struct replica *replica, uint64_t *chance, int64_t *now)
{
    static const char *const hosts[] = {"a", "b", "c", "d", "e", "f"};
    static const char *const texts[] = {"on", "off", ""};
    enum { ROWS = 700, VALUES = 4 * ROWS };
    struct entries_value *values = calloc(VALUES, sizeof *values);
    uint32_t many = (uint32_t)seed_below(chance, 6), late = (uint32_t)seed_below(chance, 4);
    size_t count = 0;

    for (uint32_t i = 0; i < ROWS; i++) {
        const char *host = hosts[seed_below(chance, 4) != 0 ? many : seed_below(chance, 6)];
        int64_t time_ns = late == 0 && seed_below(chance, 9) == 0
                              ? (int64_t)seed_below(chance, (uint64_t)*now + 1)
                              : (*now += 1 + (int64_t)seed_below(chance, 3));
        double value = (double)seed_below(chance, 10000) / 100;

        if (seed_below(chance, 40) == 0)
            value = seed_below(chance, 2) == 0 ? (double)NAN : 1.0 / (double)(i + 3);
        values[count] = (struct entries_value){
            .table = "cpu", .host = host, .time_ns = time_ns, .field = "f", .type = FIELD_FLOAT};
        memcpy(&values[count++].bits, &value, sizeof value);
        values[count++] = (struct entries_value){"cpu",
                                                 host,
                                                 time_ns,
                                                 "i",
                                                 FIELD_INT,
                                                 seed_below(chance, 9) == 0 && many == 1
                                                     ? seed_next(chance)
                                                     : seed_below(chance, 100) - 50,
                                                 NULL,
                                                 0};
        if (seed_below(chance, 3) == 0)
            values[count++] = (struct entries_value){
                "cpu", host, time_ns, "s", FIELD_STRING, 0, texts[seed_below(chance, 3)], 0};
        if (many > 2)
            values[count++] =
                (struct entries_value){"cpu", host, time_ns, "u", FIELD_UINT, i, NULL, 0};
    }
    replica_write(replica, &(struct entries_from){0}, values, count);
    free(values);
}

static struct lines aggregate_of_store(struct store *store, const struct query *query,
                                       const struct scan_limits *limits)
{
    struct snapshot *snapshot = store_snapshot(store);
    struct lines lines = {0};
    struct aggregate *aggregate;
    struct columns columns;

    cr_assert_eq(aggregate_new(query, 64 * MIB, &aggregate), ERR_OK);
    cr_assert_eq(scan_aggregate(snapshot, query, limits, aggregate), ERR_OK, "%s", err_detail());
    cr_assert_eq(aggregate_finish(aggregate, &columns), ERR_OK, "%s", err_detail());
    lines_of_columns(&columns, true, &lines);
    columns_fini(&columns);
    aggregate_free(aggregate);
    snapshot_free(snapshot);
    return lines;
}

static struct query random_history_query(uint64_t *chance, int64_t now)
{
    static const int64_t widths[] = {0, 10, 100, 1000, 10000, 100000};
    static const char *const fields[] = {"f", "i", "u"};
    static const char *const hosts[] = {"a", "d", "none"};
    struct query query = everything();

    query.agg = 1 + (uint32_t)seed_below(chance, QUERY_AGG_END - 1);
    query.every_ns = widths[seed_below(chance, 6)];
    if (seed_below(chance, 2) == 0)
        query.group_by[query.group_count++] = "host";
    if (seed_below(chance, 2) == 0)
        query.fields[query.field_count++] = fields[seed_below(chance, 3)];
    if (seed_below(chance, 4) == 0)
        query.where[query.where_count++] =
            (struct query_match){"host", hosts[seed_below(chance, 3)], seed_below(chance, 2) == 0};
    if (seed_below(chance, 3) == 0)
        query.from_ns = (int64_t)seed_below(chance, (uint64_t)now);
    if (seed_below(chance, 3) == 0)
        query.to_ns = (int64_t)seed_below(chance, (uint64_t)now);
    return query;
}

/* The one replica seals now and then, the other never: what an index says, what is decoded, and how
 * rows are cut into chunks makes no difference, to the last bit of a sum. */
Test(scan, says_the_same_of_head_and_segments_to_the_bit)
{
    uint64_t chance = seed_of_run("scan head and segments");
    uint64_t twin = chance;
    struct replica sealed, head;
    int64_t now = 0, twin_now = 0;

    replica_init(&sealed);
    replica_init(&head);
    cr_assert_eq(replica_open(&sealed), ERR_OK, "%s", err_detail());
    cr_assert_eq(replica_open(&head), ERR_OK, "%s", err_detail());
    for (uint32_t i = 0; i < 30; i++) {
        write_history(&sealed, &chance, &now);
        write_history(&head, &twin, &twin_now);
        if (i % 9 == 7)
            cr_assert_eq(replica_seal(&sealed), ERR_OK, "%s", err_detail());
    }
    for (uint32_t i = 0; i < 150; i++) {
        struct query query = random_history_query(&chance, now);
        struct scan_limits limits = random_limits(&chance);
        struct lines found, expected;

        limits.memory_bytes *= 8;
        expected = aggregate_of_store(head.store, &query, &ample);
        found = aggregate_of_store(sealed.store, &query, &limits);
        assert_lines(&found, &expected);
        lines_free(&found);
        lines_free(&expected);
    }
    cr_assert_eq(digest_of_store(sealed.store), digest_of_store(head.store));
    replica_fini(&sealed);
    replica_fini(&head);
}

/* Chunks of series stand one behind the other: the first of the next one may be of an earlier
 * window than the last of the one before. */
Test(scan, keeps_windows_apart_whose_chunks_are_neighbours)
{
    enum { ROWS = 2000, EVERY = 10000 };
    static const char *const hosts[] = {"a", "b"};
    static const int64_t begins[] = {EVERY, 0};
    struct entries_value *values = calloc((size_t)2 * ROWS, sizeof *values);
    struct query query = everything();
    struct replica replica;
    struct lines lines;

    for (uint32_t i = 0; i < 2 * ROWS; i++)
        values[i] = (struct entries_value){.table = "cpu",
                                           .host = hosts[i / ROWS],
                                           .time_ns = begins[i / ROWS] + i % ROWS,
                                           .field = "i",
                                           .type = FIELD_INT,
                                           .bits = 1};
    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    replica_write(&replica, &(struct entries_from){0}, values, (size_t)2 * ROWS);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    query.agg = QUERY_COUNT;
    query.every_ns = EVERY;
    lines = aggregate_of_store(replica.store, &query, &ample);
    cr_assert_eq(lines.count, 2);
    cr_expect_str_eq(lines.lines[0], "time=0 i:unsigned=7d0");
    cr_expect_str_eq(lines.lines[1], "time=10000 i:unsigned=7d0");
    lines_free(&lines);
    replica_fini(&replica);
    free(values);
}

static struct lines rows_of_store(struct store *store, const struct query *query,
                                  const struct scan_limits *limits)
{
    struct snapshot *snapshot = store_snapshot(store);
    struct lines lines = {0};

    cr_assert_eq(scan_rows(snapshot, query, limits, take_lines, &lines), ERR_OK, "%s",
                 err_detail());
    snapshot_free(snapshot);
    return lines;
}

static void assert_same_rows(struct store *sealed, struct store *head, uint64_t *chance,
                             int64_t now)
{
    for (uint32_t i = 0; i < 50; i++) {
        struct query query = random_history_query(chance, now);
        struct scan_limits limits = random_limits(chance);
        struct lines found, expected;

        query.agg = QUERY_RAW;
        query.every_ns = 0;
        query.group_count = 0;
        query.last = seed_below(chance, 5) == 0;
        if (seed_below(chance, 3) == 0)
            query.limit = 1 + seed_below(chance, 3000);
        limits.memory_bytes *= 8;
        expected = rows_of_store(head, &query, &ample);
        found = rows_of_store(sealed, &query, &limits);
        assert_lines(&found, &expected);
        lines_free(&found);
        lines_free(&expected);
    }
}

/* Rows of one segment are decoded straight into batches, those of a head and several segments are
 * collected and merged: the order and the rows are the same. */
Test(scan, streams_a_segment_to_the_rows_that_a_merge_gives)
{
    uint64_t chance = seed_of_run("scan stream");
    uint64_t twin = chance;
    struct replica sealed, head;
    int64_t now = 0, twin_now = 0;

    replica_init(&sealed);
    replica_init(&head);
    cr_assert_eq(replica_open(&sealed), ERR_OK, "%s", err_detail());
    cr_assert_eq(replica_open(&head), ERR_OK, "%s", err_detail());
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < 8; i++) {
            write_history(&sealed, &chance, &now);
            write_history(&head, &twin, &twin_now);
        }
        cr_assert_eq(replica_seal(&sealed), ERR_OK, "%s", err_detail());
        assert_same_rows(sealed.store, head.store, &chance, now);
        twin = chance;
    }
    replica_fini(&sealed);
    replica_fini(&head);
}

Test(scan, names_the_segment_that_is_damaged)
{
    enum { HEADER = 64, DIRECTORY_MAX = 400 };
    uint64_t chance = 1, digest, rows;
    size_t size = 0;
    struct replica replica;
    struct snapshot *snapshot;
    uint8_t *bytes;

    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    write_some(&replica, &chance);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    bytes = mem_disk_get(replica.disk, "data/00000001.mrs", &size);
    snapshot = store_snapshot(replica.store);
    cr_assert_gt(size, HEADER + DIRECTORY_MAX);
    for (size_t at = HEADER; at < size - DIRECTORY_MAX; at++) {
        mem_disk_flip(replica.disk, "data/00000001.mrs", at, 0x10);
        cr_assert_eq(scan_digest(snapshot, &ample, &digest, &rows), ERR_CORRUPT, "byte %zu", at);
        cr_assert(strstr(err_detail(), "00000001.mrs") != NULL, "%s", err_detail());
        mem_disk_flip(replica.disk, "data/00000001.mrs", at, 0x10);
    }
    cr_assert_eq(scan_digest(snapshot, &ample, &digest, &rows), ERR_OK);
    free(bytes);
    snapshot_free(snapshot);
    replica_fini(&replica);
}
