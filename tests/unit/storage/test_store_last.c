/*
 * Last values from memory are those of a scan, whatever is applied, deleted, sealed, merged or
 * opened again between a question and the next.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/segment_damage.h"
#include "storage/snapshot.h"
#include "storage/store_damage.h"
#include "storage/store_internal.h"
#include "storage/store_last.h"
#include "tests/support/replica.h"
#include "tests/support/seed.h"
#include "tests/support/world.h"

#define DAY_NS SEAL_WINDOW_DEFAULT_NS
enum { TABLES = 3, HOSTS = 5, FIELDS = 3, TIMES = 40 };

static const char *const tables[TABLES] = {"cpu", "mem", "other/cpu"};
static const char *const hosts[HOSTS] = {"a", "b", "c", "d", "e"};
static const char *const fields[FIELDS] = {"f", "i", "s"};
static const enum field_type types[FIELDS] = {FIELD_FLOAT, FIELD_INT, FIELD_STRING};
static const char *const texts[] = {"", "on", "off", "a longer text that says what is the matter"};

static struct replica replica;
static uint64_t chance;

static void set_up(void)
{
    replica_init(&replica);
    replica.options.last_bytes = 1 << 20;
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
}

static void tear_down(void)
{
    replica_fini(&replica);
}

TestSuite(store_last, .init = set_up, .fini = tear_down);

static struct slice slice(const char *string)
{
    return (struct slice){string, strlen(string)};
}

static uint32_t find(const char *table, const char *host)
{
    char key[256];
    size_t size = entries_key(table, host, key);

    return store_find_series(replica.store, key, size, key_hash(key, size));
}

static void write(const char *table, const char *host, int64_t time_ns, uint64_t bits)
{
    struct entries_value value = {table, host, time_ns, "i", FIELD_INT, bits, NULL, 0};

    replica_write(&replica, &(struct entries_from){0}, &value, 1);
}

static void apply(struct buf *entry)
{
    enum store_outcome outcome;

    cr_assert_eq(replica_apply(&replica, entry, &outcome), ERR_OK, "%s", err_detail());
}

static enum last_answer ask(const char *table, const char *host, struct last_value *ret_value)
{
    return store_last(replica.store, find(table, host), store_last_field(replica.store, slice("i")),
                      ret_value);
}

static void learn(const char *table, const char *host, const char *field)
{
    cr_assert_eq(store_last_read(replica.store, find(table, host), 1, slice(field)), ERR_OK, "%s",
                 err_detail());
}

static void expect(const char *table, const char *host, int64_t time_ns, uint64_t bits)
{
    struct last_value value;

    cr_assert_eq(ask(table, host, &value), LAST_VALUE);
    cr_assert_eq(value.time_ns, time_ns);
    cr_assert_eq(value.bits, bits);
}

static uint64_t known_series(void)
{
    struct store_stats stats;

    store_stats(replica.store, &stats);
    return stats.last_series;
}

/* ---- One after the other ------------------------------------------------------------------- */

Test(store_last, what_nobody_asked_for_is_not_known)
{
    struct last_value value;

    write("cpu", "a", 1, 10);
    cr_assert_eq(ask("cpu", "a", &value), LAST_UNKNOWN);
    cr_assert_eq(store_last(replica.store, 7777, 0, &value), LAST_UNKNOWN);
    cr_assert_eq(known_series(), 0);
    cr_assert_eq(store_last_read(replica.store, 7777, 1, slice("i")), ERR_INVALID);
}

Test(store_last, a_value_that_was_read_is_known_and_follows_what_is_applied)
{
    write("cpu", "a", 5, 10);
    learn("cpu", "a", "i");
    expect("cpu", "a", 5, 10);
    write("cpu", "a", 4, 11); /* Late. */
    expect("cpu", "a", 5, 10);
    write("cpu", "a", 5, 12); /* The later of equal times. */
    expect("cpu", "a", 5, 12);
    write("cpu", "b", 9, 13);
    expect("cpu", "a", 5, 12);
    write("cpu", "a", 6, 14);
    expect("cpu", "a", 6, 14);
}

Test(store_last, it_is_known_that_there_is_no_value)
{
    struct entries_value text = {"cpu", "a", 5, "s", FIELD_STRING, 0, "on", 0};
    struct last_value value;

    replica_write(&replica, &(struct entries_from){0}, &text, 1);
    learn("cpu", "a", "i");
    cr_assert_eq(ask("cpu", "a", &value), LAST_NONE);
    write("cpu", "a", 5, 1);
    expect("cpu", "a", 5, 1);
}

Test(store_last, what_nobody_asks_for_again_is_dropped_by_blocks)
{
    struct last_value value;

    write("cpu", "a", 0, 0);
    learn("cpu", "a", "i");
    for (int64_t i = 1; i <= LAST_CREDIT; i++)
        write("cpu", "a", i, (uint64_t)i);
    cr_assert_eq(known_series(), 1);
    write("cpu", "a", 100, 100);
    cr_assert_eq(known_series(), 0);
    cr_assert_eq(ask("cpu", "a", &value), LAST_UNKNOWN);
}

Test(store_last, a_question_keeps_a_series_known)
{
    write("cpu", "a", 0, 0);
    learn("cpu", "a", "i");
    for (int64_t i = 1; i <= 10 * LAST_CREDIT; i++) {
        write("cpu", "a", i, (uint64_t)i);
        if (i % LAST_CREDIT == 0)
            expect("cpu", "a", i, (uint64_t)i);
    }
}

Test(store_last, a_delete_and_a_drop_make_all_unknown)
{
    struct seal_database drop = {{"db", 2}, DAY_NS, INT64_MIN, 1};
    struct last_value value;

    write("cpu", "a", 5, 10);
    learn("cpu", "a", "i");
    apply(entries_delete(0, 0, "cpu", "a", 5, 5));
    cr_assert_eq(ask("cpu", "a", &value), LAST_UNKNOWN);
    learn("cpu", "a", "i");
    cr_assert_eq(ask("cpu", "a", &value), LAST_NONE);
    write("cpu", "a", 3, 11);
    expect("cpu", "a", 3, 11);
    apply(entries_drop(0, 0, &drop, 1));
    cr_assert_eq(ask("cpu", "a", &value), LAST_UNKNOWN);
}

Test(store_last, a_cutoff_hides_what_is_older)
{
    struct seal_database cutoff = {{"db", 2}, DAY_NS, DAY_NS, 0};
    struct last_value value;

    write("cpu", "a", 5, 10);
    write("cpu", "b", DAY_NS, 11);
    write("other/cpu", "a", 5, 12);
    learn("cpu", "a", "i");
    learn("cpu", "b", "i");
    learn("other/cpu", "a", "i");
    apply(entries_drop(0, 0, &cutoff, 1));
    cr_assert_eq(ask("cpu", "a", &value), LAST_NONE);
    expect("cpu", "b", DAY_NS, 11);
    expect("other/cpu", "a", 5, 12);
}

Test(store_last, a_key_is_found_again)
{
    uint32_t field = store_last_field(replica.store, slice("i"));
    struct last_value value;
    char key[256];
    size_t size = entries_key("cpu", "a", key);
    struct slice of = {key, size};

    write("cpu", "a", 5, 10);
    cr_assert_eq(store_last_by_key(replica.store, of, key_hash(key, size), field, &value),
                 LAST_UNKNOWN);
    learn("cpu", "a", "i");
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(store_last_by_key(replica.store, of, key_hash(key, size), field, &value),
                     LAST_VALUE);
        cr_assert_eq(value.bits, 10);
    }
    size = entries_key("cpu", "b", key);
    of.size = size;
    cr_assert_eq(store_last_by_key(replica.store, of, key_hash(key, size), field, &value),
                 LAST_UNKNOWN);
}

/* ---- Scans beside it ----------------------------------------------------------------------- */

static struct query last_of(const char *table, const char *host)
{
    struct query query = {.database = strchr(table, '/') == NULL ? "db" : "other",
                          .table = strchr(table, '/') == NULL ? table : strchr(table, '/') + 1,
                          .from_ns = INT64_MIN,
                          .to_ns = INT64_MAX,
                          .last = true};

    if (host != NULL) {
        query.where_count = 1;
        query.where[0] = (struct query_match){"host", host, QUERY_EQUAL};
    }
    return query;
}

static const struct scan_limits limits = {.memory_bytes = 1 << 20, .result_bytes = 1 << 20};

static enum err add_lines(void *arg, const struct columns *batch)
{
    lines_of_columns(batch, false, arg);
    return ERR_OK;
}

/* A scan that is under way. */
struct beside {
    struct query query;
    struct last_found found;
    struct snapshot *snapshot; /* NULL: there is none. */
};

static void begin(struct beside *beside, const struct query *query)
{
    *beside = (struct beside){.query = *query};
    store_last_begin(replica.store, query, &beside->found);
    beside->snapshot = store_snapshot(replica.store);
    cr_assert_not_null(beside->snapshot);
}

static void end(struct beside *beside)
{
    struct lines lines = {0};
    struct query_place next;
    enum err err = scan_found(beside->snapshot, &beside->query, &limits, add_lines, &lines, &next,
                              &beside->found);

    cr_assert_eq(err, ERR_OK, "%s", err_detail());
    snapshot_free(beside->snapshot);
    store_last_learn(replica.store, &beside->query, &beside->found);
    last_found_fini(&beside->found);
    lines_free(&lines);
    *beside = (struct beside){0};
}

static bool is_answered(const struct query *query)
{
    struct lines lines = {0};
    bool known;

    cr_assert_eq(store_last_query(replica.store, query, &limits, add_lines, &lines, &known), ERR_OK,
                 "%s", err_detail());
    lines_free(&lines);
    return known;
}

Test(store_last, what_a_scan_found_is_not_taken_in_if_its_series_got_rows_meanwhile)
{
    struct query a = last_of("cpu", "a"), b = last_of("cpu", "b");
    struct beside of_a, of_b;

    write("cpu", "a", 1, 1);
    write("cpu", "b", 1, 1);
    begin(&of_a, &a);
    begin(&of_b, &b);
    write("cpu", "a", 2, 2);
    end(&of_a);
    end(&of_b);
    cr_assert(!is_answered(&a));
    cr_assert(is_answered(&b));
}

Test(store_last, what_a_scan_found_is_not_taken_in_if_its_blocks_are_sealed_or_rows_deleted)
{
    struct query query = last_of("cpu", "a");
    struct beside beside;

    write("cpu", "a", 1, 1);
    begin(&beside, &query);
    write("cpu", "a", 2, 2);
    cr_assert_eq(replica_seal(&replica), ERR_OK);
    end(&beside);
    cr_assert(!is_answered(&query));
    begin(&beside, &query);
    apply(entries_delete(0, 0, "cpu", "a", 0, 5));
    end(&beside);
    cr_assert(!is_answered(&query));
    begin(&beside, &query);
    end(&beside);
    cr_assert(is_answered(&query));
}

Test(store_last, a_new_series_that_belongs_to_a_question_is_in_its_answer)
{
    struct query one = last_of("cpu", "a"), all = last_of("cpu", NULL);
    struct beside beside;

    write("cpu", "a", 1, 1);
    begin(&beside, &one);
    end(&beside);
    begin(&beside, &all);
    end(&beside);
    cr_assert(is_answered(&one));
    cr_assert(is_answered(&all));
    write("cpu", "b", 1, 1);
    cr_assert(is_answered(&one));
    cr_assert(!is_answered(&all));
}

Test(store_last, a_field_that_is_new_is_in_the_answer_to_a_question_for_all)
{
    struct entries_value value = {"cpu", "a", 9, "new", FIELD_INT, 7, NULL, 0};
    struct query query = last_of("cpu", "a");
    struct lines lines = {0};
    struct beside beside;
    bool known;

    write("cpu", "a", 5, 1);
    begin(&beside, &query);
    end(&beside);
    replica_write(&replica, &(struct entries_from){0}, &value, 1);
    cr_assert_eq(store_last_query(replica.store, &query, &limits, add_lines, &lines, &known),
                 ERR_OK);
    cr_assert(known);
    cr_assert_eq(lines.count, 1);
    cr_assert_str_eq(lines.lines[0], "time=9 host=a i:integer=1 new:integer=7");
    lines_free(&lines);
}

Test(store_last, that_no_series_is_asked_for_is_known_too)
{
    struct query query = last_of("cpu", "z");
    struct beside beside;

    write("cpu", "a", 1, 1);
    begin(&beside, &query);
    end(&beside);
    cr_assert(is_answered(&query));
}

Test(store_last, without_room_nothing_is_known_and_nothing_is_wrong)
{
    struct last_value value;

    replica_close(&replica);
    replica.options.last_bytes = 4096;
    cr_assert_eq(replica_open(&replica), ERR_OK);
    for (int i = 0; i < 500; i++) {
        char host[16];

        (void)snprintf(host, sizeof host, "h%d", i);
        write("cpu", host, i, (uint64_t)i);
        learn("cpu", host, "i");
        if (ask("cpu", host, &value) != LAST_UNKNOWN)
            expect("cpu", host, i, (uint64_t)i);
    }
    cr_assert_gt(known_series(), 10);
    cr_assert_lt(known_series(), 64);
    replica_close(&replica);
    replica.options.last_bytes = 0;
    cr_assert_eq(replica_open(&replica), ERR_OK);
    learn("cpu", "h1", "i");
    cr_assert_eq(known_series(), 0);
}

/* ---- Without a scan ------------------------------------------------------------------------ */

static enum last_answer look(const char *table, const char *host, const char *field,
                             struct last_value *ret_value)
{
    return store_last_look(replica.store, find(table, host),
                           store_last_field(replica.store, slice(field)), ret_value);
}

static bool seek(const char *table, const char *host, const char *field)
{
    return store_last_seek(replica.store, find(table, host),
                           store_last_field(replica.store, slice(field)));
}

Test(store_last, what_the_head_has_is_found_at_once_and_what_segments_have_on_the_disk)
{
    struct last_value value;

    write("cpu", "a", 5, 10);
    write("cpu", "b", 6, 11);
    write("cpu", "a", 4, 12); /* Late. */
    cr_assert_eq(look("cpu", "a", "i", &value), LAST_VALUE);
    cr_assert_eq(value.time_ns, 5);
    cr_assert_eq(value.bits, 10);
    expect("cpu", "a", 5, 10); /* It is known from now on. */
    cr_assert_eq(look("cpu", "a", "none", &value), LAST_NONE);
    cr_assert_eq(replica_seal(&replica), ERR_OK);
    cr_assert_eq(look("cpu", "b", "i", &value), LAST_UNKNOWN);
    cr_assert(seek("cpu", "b", "i"));
    expect("cpu", "b", 6, 11);
    write("cpu", "b", 3, 13); /* Older than the segment's: the head alone does not tell. */
    replica_close(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK);
    cr_assert_eq(look("cpu", "b", "i", &value), LAST_UNKNOWN);
    cr_assert(seek("cpu", "b", "i"));
    expect("cpu", "b", 6, 11);
    write("cpu", "a", 6, 14); /* As new as the newest of the segment: the later one counts. */
    cr_assert_eq(look("cpu", "a", "i", &value), LAST_VALUE);
    cr_assert_eq(value.bits, 14);
}

/* Blocks with rows of "a" and "c", so that "b" might be in them by its id. */
static void write_around(int64_t from, uint32_t blocks)
{
    for (uint32_t i = 0; i < blocks; i++) {
        int64_t time_ns = from + i;
        struct entries_value values[] = {{"cpu", "a", time_ns, "i", FIELD_INT, 1, NULL, 0},
                                         {"cpu", "c", time_ns, "i", FIELD_INT, 1, NULL, 0}};

        replica_write(&replica, &(struct entries_from){0}, values, 2);
    }
}

Test(store_last, where_a_series_is_in_a_long_head_is_known_once_somebody_asks, .timeout = 60)
{
    enum { MANY = 300 };
    struct last_value value;

    write("cpu", "a", 1, 1);
    write("cpu", "b", 2, 2);
    write_around(10, MANY);
    cr_assert_eq(look("cpu", "b", "i", &value), LAST_UNKNOWN); /* Too many directories. */
    write_around(1000, MANY);
    cr_assert_eq(look("cpu", "b", "i", &value), LAST_UNKNOWN); /* It is before what is noted. */
    write("cpu", "b", 5000, 3);
    write_around(6000, MANY);
    cr_assert_eq(look("cpu", "b", "i", &value), LAST_VALUE);
    cr_assert_eq(value.time_ns, 5000);
    write_around(7000, LAST_WHERE_BLOCKS + MANY); /* Nobody asks: nothing is noted any more. */
    cr_assert_eq(replica.store->last_where.left, 0);
    cr_assert_eq(last_where_bytes(&replica.store->last_where), 0);
    cr_assert_eq(replica_seal(&replica), ERR_OK);
    cr_assert(seek("cpu", "b", "i"));
    expect("cpu", "b", 5000, 3);
}

Test(store_last, a_damaged_segment_is_for_a_scan_unless_the_head_is_newer)
{
    struct last_value value;

    write("cpu", "a", 5, 10);
    write("cpu", "b", 5, 11);
    cr_assert_eq(replica_seal(&replica), ERR_OK);
    segment_blame(replica.store->segments[0]);
    cr_assert(!seek("cpu", "a", "i"));
    write("cpu", "a", 6, 12);
    cr_assert_eq(look("cpu", "a", "i", &value), LAST_VALUE);
    cr_assert_eq(value.bits, 12);
}

Test(store_last, a_question_of_a_known_set_is_answered_from_the_head)
{
    struct query query = last_of("cpu", "a");
    struct beside beside;

    query.field_count = 1;
    query.fields[0] = "i";
    write("cpu", "a", 1, 1);
    begin(&beside, &query);
    end(&beside);
    for (int64_t i = 2; i < 2 + 2 * LAST_CREDIT; i++) /* Dropped by its blocks. */
        write("cpu", "a", i, (uint64_t)i);
    cr_assert_eq(known_series(), 0);
    cr_assert(is_answered(&query));
    expect("cpu", "a", 1 + 2 * LAST_CREDIT, 1 + 2 * LAST_CREDIT);
}

Test(store_last, what_a_delete_may_hide_is_for_a_scan)
{
    struct last_value value;

    write("cpu", "a", 5, 10);
    write("mem", "a", 5, 11);
    cr_assert_eq(replica_seal(&replica), ERR_OK);
    apply(entries_delete(0, 0, "cpu", "b", 0, 9));
    cr_assert(!seek("cpu", "a", "i"));
    cr_assert(seek("mem", "a", "i"));
    write("cpu", "a", 7, 12); /* Behind the delete. */
    cr_assert_eq(look("cpu", "a", "i", &value), LAST_VALUE);
    cr_assert_eq(value.bits, 12);
}

/* Rows of all series over many chunks and more than one group; field "f" is rare, "i" is not. */
static void write_many(uint32_t series, int64_t from, int64_t end)
{
    enum { BATCH = 1000 };
    static struct entries_value values[2 * BATCH];
    static char many_hosts[BATCH][8];
    uint32_t count = 0;

    for (int64_t time = from; time < end; time++) {
        for (uint32_t s = 0; s < series; s++) {
            (void)snprintf(many_hosts[s], sizeof many_hosts[s], "m%u", s);
            values[count++] = (struct entries_value){
                "cpu", many_hosts[s], time, "i", FIELD_INT, (uint64_t)time * 1000 + s, NULL, 0};
            if (seed_below(&chance, 400) == 0)
                values[count++] = (struct entries_value){"cpu",       many_hosts[s],      time, "f",
                                                         FIELD_FLOAT, seed_next(&chance), NULL, 0};
        }
        if (count + 2 * series > 2 * BATCH || time + 1 == end) {
            replica_write(&replica, &(struct entries_from){0}, values, count);
            count = 0;
        }
    }
}

/* Each series' newest value, sought and as a scan says. */
static void check_many(uint32_t series, uint32_t least)
{
    uint32_t found = 0;

    for (uint32_t n = 0; n < 2 * series; n++) {
        const char *field = n % 2 == 0 ? "i" : "f";
        struct query query = last_of("cpu", NULL);
        struct snapshot *snapshot = store_snapshot(replica.store);
        struct lines lines = {0};
        struct last_value value;
        char host[8], want[100] = "";
        uint32_t id;

        (void)snprintf(host, sizeof host, "m%u", n / 2);
        id = find("cpu", host);
        query.where_count = query.field_count = 1;
        query.where[0] = (struct query_match){"host", host, QUERY_EQUAL};
        query.fields[0] = field;
        cr_assert_eq(scan_rows(snapshot, &query, &limits, add_lines, &lines), ERR_OK, "%s",
                     err_detail());
        snapshot_free(snapshot);
        if (seek("cpu", host, field)) {
            uint32_t number = store_last_field(replica.store, slice(field));

            found++;
            if (store_last(replica.store, id, number, &value) == LAST_VALUE)
                (void)snprintf(want, sizeof want, "time=%" PRId64 " host=%s %s:%s=", value.time_ns,
                               host, field, field_type_name(value.type));
            cr_assert_eq(lines.count, want[0] != 0, "%s %s", host, field);
            cr_assert(lines.count == 0 || strncmp(lines.lines[0], want, strlen(want)) == 0,
                      "%s, not %s", want, lines.count > 0 ? lines.lines[0] : "");
            if (lines.count > 0 && value.type == FIELD_INT)
                cr_assert_eq(value.bits, (uint64_t)value.time_ns * 1000 + n / 2);
        }
        lines_free(&lines);
    }
    (void)fprintf(stderr, "%u of %u were found without a scan\n", found, 2 * series);
    cr_assert_geq(found, least);
}

Test(store_last, a_value_is_found_in_many_chunks_and_groups, .timeout = 100)
{
    chance = seed_of_run("store_last_many");
    replica.options.last_bytes = 4 << 20;
    replica_close(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK);
    write_many(3, 0, 30000); /* A series goes over chunks and groups. */
    check_many(3, 3);
    cr_assert_eq(replica_seal(&replica), ERR_OK);
    check_many(3, 3);
    write_many(500, 30000, 30040); /* Many series in a chunk. */
    check_many(500, 500);
    cr_assert_eq(replica_seal(&replica), ERR_OK);
    check_many(500, 800);
    write_many(250, 29000, 29010); /* Late. */
    check_many(500, 600);
}

/* ---- Everything in any order --------------------------------------------------------------- */

static struct entries_value random_value(uint64_t times_from)
{
    static const uint64_t floats[] = {0, 0x8000000000000000, 0x7ff8000000000001, 0xfff8000000000000,
                                      0x3ff0000000000000};
    uint32_t field = (uint32_t)seed_below(&chance, FIELDS);
    struct entries_value value = {
        .table = tables[seed_below(&chance, TABLES)],
        .host = hosts[seed_below(&chance, HOSTS)],
        .time_ns = (int64_t)(times_from + seed_below(&chance, TIMES)),
        .field = fields[field],
        .type = types[field],
        .bits = types[field] == FIELD_FLOAT ? floats[seed_below(&chance, 5)] : seed_next(&chance)};

    if (types[field] == FIELD_STRING)
        value.text = texts[seed_below(&chance, 4)];
    if (seed_below(&chance, 2) == 0) {
        uint32_t id = find(value.table, value.host);

        value.id = id == BLOCK_ID_NONE ? 0 : id + 1;
    }
    return value;
}

/* As a leader would write them, but for its checks: rows before a cutoff come in, too. */
static void write_random(uint64_t times_from)
{
    struct entries_value values[24];
    size_t count = 1 + seed_below(&chance, 24);
    struct buf *entry;
    bool duplicate;

    for (size_t i = 0; i < count; i++)
        values[i] = random_value(times_from);
    entry = entries_block(&(struct entries_from){0}, values, count);
    if (store_admit(replica.store, entry, 1, &duplicate) == ERR_OK)
        apply(entry);
    else
        buf_unref(entry);
}

/* Two or more segments that follow each other become one. */
static void compact_some(void)
{
    struct seal_compaction compaction = {.count = 0};
    uint32_t database = (uint32_t)seed_below(&chance, 2);
    struct store_file *files = NULL;
    uint32_t count;

    cr_assert_eq(store_files(replica.store, &files, &count), ERR_OK);
    for (uint32_t i = 0; i < count && compaction.count < 5; i++) {
        if (files[i].kind == STORE_FILE_SEGMENT && files[i].segment.database == database)
            compaction.inputs[compaction.count++] = files[i].number;
    }
    free(files);
    if (compaction.count > 0)
        apply(entries_compact(0, 0, &compaction, 1));
    cr_assert_eq(replica_compact(&replica), ERR_OK, "%s", err_detail());
}

static void step(uint64_t *times_from, uint64_t *drops)
{
    struct seal_database database = {{"db", 2}, DAY_NS, INT64_MIN, 0};
    uint64_t what = seed_below(&chance, 100);

    if (seed_below(&chance, 2) == 0)
        database.name = (struct slice){"other", 5};
    if (what < 70) {
        *times_from += seed_below(&chance, 4);
        write_random(*times_from);
    } else if (what < 82) {
        cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    } else if (what < 86) {
        apply(entries_delete(0, 0, tables[seed_below(&chance, TABLES)],
                             seed_below(&chance, 3) == 0 ? NULL : hosts[seed_below(&chance, HOSTS)],
                             0, (int64_t)(*times_from + seed_below(&chance, TIMES))));
    } else if (what < 88) {
        database.drop = ++*drops;
        apply(entries_drop(0, 0, &database, 1));
    } else if (what < 92) {
        database.cutoff_ns = (int64_t)(*times_from + seed_below(&chance, TIMES / 2));
        apply(entries_drop(0, 0, &database, 1));
    } else {
        compact_some();
    }
}

/* The newest line of the contents that begins with "db/cpu host=a ", of that field; NULL: none. */
static const char *newest(const struct contents *contents, const char *table, const char *host,
                          const char *field, int64_t *ret_time_ns)
{
    const char *found = NULL;
    char start[64];
    int size = snprintf(start, sizeof start, "%s%s host=%s ", strchr(table, '/') ? "" : "db/",
                        table, host);

    for (size_t i = 0; i < contents->count; i++) {
        char name[8];
        int64_t time_ns;
        int used = 0;

        if (strncmp(contents->lines[i], start, (size_t)size) != 0 ||
            sscanf(contents->lines[i] + size, "%" SCNd64 " %7s %n", &time_ns, name, &used) != 2 ||
            strcmp(name, field) != 0 || (found != NULL && time_ns <= *ret_time_ns))
            continue;
        found = contents->lines[i] + size + used;
        *ret_time_ns = time_ns;
    }
    return found;
}

static uint64_t looked, sought; /* What was found without a scan. */

/* What is known already; or also what the head has; or also what segments have. */
static enum last_answer ask_somehow(uint32_t id, uint32_t field, struct last_value *ret_value)
{
    enum last_answer answer = store_last(replica.store, id, field, ret_value);
    uint64_t how = seed_below(&chance, 4);

    if (answer != LAST_UNKNOWN || how < 2)
        return answer;
    if (how == 2) {
        answer = store_last_look(replica.store, id, field, ret_value);
        looked += answer != LAST_UNKNOWN;
        return answer;
    }
    if (!store_last_seek(replica.store, id, field))
        return LAST_UNKNOWN;
    sought++;
    return store_last(replica.store, id, field, ret_value);
}

static bool check_one(const struct contents *contents, const char *table, const char *host,
                      uint32_t at)
{
    uint32_t field = store_last_field(replica.store, slice(fields[at]));
    struct last_value value;
    enum last_answer answer = ask_somehow(find(table, host), field, &value);
    int64_t time_ns = 0;
    const char *want = newest(contents, table, host, fields[at], &time_ns);
    char text[400];

    if (answer == LAST_UNKNOWN)
        return false;
    cr_assert_eq(answer == LAST_VALUE, want != NULL, "%s %s %s: %s", table, host, fields[at], want);
    if (want == NULL)
        return true;
    cr_assert_eq(value.time_ns, time_ns, "%s %s %s: %ld, not %ld", table, host, fields[at],
                 (long)value.time_ns, (long)time_ns);
    cr_assert_eq(value.type, types[at]);
    if (value.type == FIELD_STRING)
        (void)snprintf(text, sizeof text, "string %.*s", (int)value.text.size, value.text.data);
    else
        (void)snprintf(text, sizeof text, "%s %" PRIx64, field_type_name(value.type), value.bits);
    cr_assert_str_eq(text, want);
    return true;
}

static struct query random_query(uint64_t times_from)
{
    struct query query =
        last_of(tables[seed_below(&chance, TABLES)],
                seed_below(&chance, 4) == 0 ? NULL : hosts[seed_below(&chance, HOSTS)]);

    for (uint32_t i = 0; i < FIELDS && seed_below(&chance, 2) == 0; i++)
        if (seed_below(&chance, 2) == 0)
            query.fields[query.field_count++] = fields[i];
    if (seed_below(&chance, 4) == 0)
        query.from_ns = (int64_t)(times_from + seed_below(&chance, TIMES));
    if (seed_below(&chance, 6) == 0)
        query.to_ns = (int64_t)(times_from + TIMES + seed_below(&chance, 4));
    if (query.to_ns <= query.from_ns)
        query.to_ns = INT64_MAX;
    if (seed_below(&chance, 8) == 0)
        query.limit = 1 + seed_below(&chance, HOSTS);
    return query;
}

/* What is known of a query is what a scan says. */
static bool check_query(const struct query *query)
{
    struct lines known_lines = {0}, lines = {0};
    struct snapshot *snapshot = store_snapshot(replica.store);
    bool known;

    cr_assert_eq(store_last_query(replica.store, query, &limits, add_lines, &known_lines, &known),
                 ERR_OK, "%s", err_detail());
    cr_assert_eq(scan_rows(snapshot, query, &limits, add_lines, &lines), ERR_OK, "%s",
                 err_detail());
    if (known) {
        cr_assert_eq(known_lines.count, lines.count, "%zu rows, not %zu", known_lines.count,
                     lines.count);
        for (size_t i = 0; i < lines.count; i++)
            cr_assert_str_eq(known_lines.lines[i], lines.lines[i]);
    }
    snapshot_free(snapshot);
    lines_free(&known_lines);
    lines_free(&lines);
    return known;
}

Test(store_last, what_is_known_is_always_what_a_scan_says)
{
    enum { STEPS = 3000, BESIDE = 3 };
    struct beside beside[BESIDE] = {{.snapshot = NULL}};
    uint64_t times_from = 1000, drops = 0, known = 0, answered = 0;

    chance = seed_of_run("store_last");
    for (int i = 0; i < STEPS; i++) {
        struct contents contents;

        for (int b = 0; b < BESIDE; b++) {
            struct query query = random_query(times_from);

            if (beside[b].snapshot == NULL)
                begin(&beside[b], &query);
            else if (seed_below(&chance, 3) == 0)
                end(&beside[b]);
        }
        for (int b = 0; b < BESIDE; b++) /* No snapshot may outlive the store. */
            if (beside[b].snapshot != NULL && seed_below(&chance, 100) < 20)
                end(&beside[b]);
        if (seed_below(&chance, 50) == 0) {
            for (int b = 0; b < BESIDE; b++)
                if (beside[b].snapshot != NULL)
                    end(&beside[b]);
            replica_close(&replica);
            cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
        } else {
            step(&times_from, &drops);
        }
        cr_assert_eq(replica_read(&replica, &contents), ERR_OK, "%s", err_detail());
        for (uint32_t n = 0; n < TABLES * HOSTS * FIELDS; n++)
            if (seed_below(&chance, 3) == 0)
                known += check_one(&contents, tables[n % TABLES], hosts[n / TABLES % HOSTS],
                                   n / TABLES / HOSTS);
        contents_fini(&contents);
        for (int n = 0; n < 4; n++) {
            struct query query = random_query(times_from);

            answered += check_query(&query);
        }
    }
    for (int b = 0; b < BESIDE; b++)
        if (beside[b].snapshot != NULL)
            end(&beside[b]);
    (void)fprintf(stderr, "%lu values and %lu queries were known, %lu in the head, %lu sought\n",
                  (unsigned long)known, (unsigned long)answered, (unsigned long)looked,
                  (unsigned long)sought);
    cr_assert_gt(looked, STEPS / 20);
    cr_assert_gt(sought, STEPS / 10);
    cr_assert_gt(known, STEPS);
    cr_assert_gt(answered, STEPS / 4);
}
