/*
 * The store as its callers see it: admission, apply, seals, reopening.
 */
#include <criterion/criterion.h>

#include "storage/base/types.h"
#include "tests/support/replica.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

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

TestSuite(store, .init = set_up, .fini = tear_down);

static struct entries_value cpu(const char *host, int64_t time_ns, uint64_t bits)
{
    return (struct entries_value){"cpu", host, time_ns, "usage", FIELD_INT, bits, NULL, 0};
}

static struct entries_from producer(uint64_t sequence)
{
    return (struct entries_from){.producer = 7, .epoch = 1, .sequence = sequence};
}

static uint32_t find(const char *table, const char *host)
{
    char key[256];
    size_t size = entries_key(table, host, key);

    return store_find_series(replica.store, key, size, key_hash(key, size));
}

/* Admit, and tell what came of it; the entry is dropped. */
static enum err admit(const struct entries_from *from, const struct entries_value *value,
                      bool *ret_duplicate)
{
    struct buf *entry = entries_block(from, value, 1);
    enum err err = store_admit(replica.store, entry, 1, ret_duplicate);

    buf_unref(entry);
    return err;
}

static enum store_outcome apply(struct buf *entry)
{
    enum store_outcome outcome;

    cr_assert_eq(replica_apply(&replica, entry, &outcome), ERR_OK, "%s", err_detail());
    return outcome;
}

static void expect(const char *line)
{
    struct contents contents;

    cr_assert_eq(replica_read(&replica, &contents), ERR_OK, "%s", err_detail());
    cr_assert(contents_have(&contents, line), "no \"%s\" in %zu lines", line, contents.count);
    contents_fini(&contents);
}

static struct store_stats stats(void)
{
    struct store_stats now;

    store_stats(replica.store, &now);
    return now;
}

/* ---- Apply --------------------------------------------------------------------------------- */

Test(store, gives_ids_in_log_order)
{
    struct entries_value first[] = {cpu("a", 1, 1), cpu("b", 1, 2)};
    struct entries_value second[] = {cpu("c", 1, 1), cpu("a", 2, 2)};

    replica_write(&replica, &(struct entries_from){0}, first, 2);
    replica_write(&replica, &(struct entries_from){0}, second, 2);
    cr_assert_eq(find("cpu", "a"), 0);
    cr_assert_eq(find("cpu", "b"), 1);
    cr_assert_eq(find("cpu", "c"), 2);
    cr_assert_eq(find("cpu", "d"), BLOCK_ID_NONE);
    cr_assert_eq(stats().series, 3);
    cr_assert_eq(stats().rows, 4);
    cr_assert_eq(stats().applied_index, 2);
    expect("db/cpu host=a 00000000000000000002 usage integer 2");
}

Test(store, takes_known_ids)
{
    struct entries_value value = cpu("a", 1, 1);

    replica_write(&replica, &(struct entries_from){0}, &value, 1);
    value = cpu("a", 5, 9);
    value.id = find("cpu", "a") + 1;
    replica_write(&replica, &(struct entries_from){0}, &value, 1);
    cr_assert_eq(stats().series, 1);
    expect("db/cpu host=a 00000000000000000005 usage integer 9");
}

Test(store, answers_a_retry_as_duplicate_and_a_gap_with_sequence)
{
    struct entries_value value = cpu("a", 1, 1);
    bool duplicate = false;

    for (uint64_t sequence = 1; sequence <= 3; sequence++)
        replica_write(&replica, &(struct entries_from){0, 7, 1, sequence}, &value, 1);
    cr_assert_eq(admit(&(struct entries_from){0, 7, 1, 2}, &value, &duplicate), ERR_OK);
    cr_assert(duplicate);
    cr_assert_eq(admit(&(struct entries_from){0, 7, 1, 5}, &value, &duplicate), ERR_SEQUENCE);
    cr_assert_eq(admit(&(struct entries_from){0, 8, 1, 2}, &value, &duplicate), ERR_SEQUENCE);
    cr_assert_eq(admit(&(struct entries_from){0, 7, 1, 0}, &value, &duplicate), ERR_INVALID);
}

Test(store, begins_anew_with_a_higher_epoch_and_refuses_one_that_is_over)
{
    struct entries_value value = cpu("a", 1, 1);
    bool duplicate = false;

    replica_write(&replica, &(struct entries_from){0, 7, 1, 1}, &value, 1);
    cr_assert_eq(admit(&(struct entries_from){0, 7, 2, 2}, &value, &duplicate), ERR_SEQUENCE);
    replica_write(&replica, &(struct entries_from){0, 7, 2, 1}, &value, 1);
    cr_assert_eq(admit(&(struct entries_from){0, 7, 1, 2}, &value, &duplicate), ERR_SEQUENCE);
    cr_assert_eq(admit(&(struct entries_from){0, 7, 1, 1}, &value, &duplicate), ERR_SEQUENCE);
}

Test(store, decides_on_duplicates_and_gaps_at_apply_too)
{
    struct entries_value value = cpu("a", 1, 1);
    const uint32_t id = 0;
    struct buf *first = entries_block(&(struct entries_from){0, 7, 1, 1}, &value, 1);
    struct buf *third = entries_block(&(struct entries_from){0, 7, 1, 3}, &value, 1);

    entries_stamp(first, &id);
    entries_stamp(third, &id);
    cr_assert_eq(apply(first), STORE_APPLIED);
    cr_assert_eq(apply(buf_ref(first)), STORE_DUPLICATE);
    cr_assert_eq(apply(third), STORE_GAP);
    cr_assert_eq(stats().head_blocks, 1);
    cr_assert_eq(stats().rows, 1);
    cr_assert_eq(stats().applied_index, 3);
}

Test(store, registers_series_even_if_the_rows_are_refused_for_a_gap)
{
    struct entries_value value = cpu("a", 1, 1);
    const uint32_t id = 0;
    struct buf *gap = entries_block(&(struct entries_from){0, 7, 1, 3}, &value, 1);

    entries_stamp(gap, &id);
    cr_assert_eq(apply(gap), STORE_GAP);
    cr_assert_eq(find("cpu", "a"), 0);
}

Test(store, registers_series_without_rows)
{
    struct entries_value value = {"cpu", "a", 0, NULL, 0, 0, NULL, 0};

    replica_write(&replica, &(struct entries_from){0}, &value, 1);
    cr_assert_eq(find("cpu", "a"), 0);
    cr_assert_eq(stats().rows, 0);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    cr_assert_eq(stats().segments, 0);
    cr_assert_eq(stats().sealed_index, 2);
}

Test(store, refuses_ids_that_contradict_the_catalog)
{
    struct entries_value a = cpu("a", 1, 1);
    struct entries_value b = cpu("b", 1, 1);
    const uint32_t ids[] = {0, 1, 2};
    struct buf *entry;

    replica_write(&replica, &(struct entries_from){0}, &a, 1);
    entry = entries_block(&(struct entries_from){0}, &b, 1); /* b is not 0: that is a. */
    entries_stamp(entry, &ids[0]);
    cr_assert_eq(apply(entry), STORE_REFUSED);
    cr_assert_neq(strstr(err_detail(), "series id 0"), NULL, "%s", err_detail());
    entry = entries_block(&(struct entries_from){0}, &b, 1); /* 1 would be next, not 2. */
    entries_stamp(entry, &ids[2]);
    cr_assert_eq(apply(entry), STORE_REFUSED);
    entry = entries_block(&(struct entries_from){0}, &a, 1); /* a is 0. */
    entries_stamp(entry, &ids[1]);
    cr_assert_eq(apply(entry), STORE_REFUSED);
    b.id = 2; /* Nobody has id 1 yet. */
    cr_assert_eq(apply(entries_block(&(struct entries_from){0}, &b, 1)), STORE_REFUSED);
    b.id = 0; /* Not stamped at all. */
    cr_assert_eq(apply(entries_block(&(struct entries_from){0}, &b, 1)), STORE_REFUSED);
    cr_assert_eq(apply(entries_block(&(struct entries_from){.shard = 4}, &b, 1)), STORE_REFUSED);
    cr_assert_eq(stats().series, 1);
    cr_assert_eq(stats().rows, 1);
    replica_write(&replica, &(struct entries_from){0}, &b, 1);
    cr_assert_eq(find("cpu", "b"), 1);
}

Test(store, stops_at_an_entry_that_is_damaged)
{
    struct entries_value value = cpu("a", 1, 1);
    struct buf *entry = entries_block(&(struct entries_from){0}, &value, 1);
    enum store_outcome outcome;
    struct seal_job *job;

    entry->bytes[entry->size - 1] ^= 1;
    cr_assert_eq(store_apply(replica.store, 1, entry, &outcome, &job), ERR_CORRUPT);
    cr_assert_neq(strstr(err_detail(), "log index 1"), NULL, "%s", err_detail());
    cr_assert_eq(stats().applied_index, 0);
    buf_unref(entry);
}

Test(store, moves_only_the_index_for_what_is_not_a_command)
{
    cr_assert_eq(apply(NULL), STORE_NOTHING);
    cr_assert_eq(stats().applied_index, 1);
    cr_assert_eq(stats().chain, 0);
}

/* ---- Admission ----------------------------------------------------------------------------- */

Test(store, admits_entries_that_follow_those_in_flight)
{
    struct entries_value a = cpu("a", 1, 1);
    struct entries_value b = cpu("b", 1, 2);
    struct buf *first = entries_block(&(struct entries_from){0, 7, 1, 1}, &a, 1);
    struct buf *second = entries_block(&(struct entries_from){0, 7, 1, 2}, &b, 1);
    bool duplicate = true;

    cr_assert_eq(store_admit(replica.store, first, 1, &duplicate), ERR_OK);
    cr_assert_not(duplicate);
    cr_assert_eq(find("cpu", "a"), BLOCK_ID_NONE); /* Tentative: nobody may know it. */
    cr_assert_eq(store_admit(replica.store, second, 1, &duplicate), ERR_OK);
    cr_assert_not(duplicate);
    cr_assert_eq(admit(&(struct entries_from){0, 7, 1, 2}, &a, &duplicate), ERR_OK);
    cr_assert(duplicate);
    cr_assert_eq(apply(first), STORE_APPLIED);
    cr_assert_eq(apply(second), STORE_APPLIED);
    cr_assert_eq(find("cpu", "b"), 1);
}

Test(store, takes_back_the_entry_that_was_not_proposed)
{
    struct entries_value a = cpu("a", 1, 1);
    struct entries_value b = cpu("b", 1, 2);
    struct entries_value c = cpu("c", 1, 3);
    struct buf *first = entries_block(&(struct entries_from){0, 7, 1, 1}, &a, 1);
    struct buf *third = entries_block(&(struct entries_from){0, 7, 1, 2}, &c, 1);
    bool duplicate = true;

    cr_assert_eq(store_admit(replica.store, first, 1, &duplicate), ERR_OK);
    cr_assert_eq(admit(&(struct entries_from){0, 7, 1, 2}, &b, &duplicate), ERR_OK);
    store_retract(replica.store);
    cr_assert_eq(store_admit(replica.store, third, 1, &duplicate), ERR_OK);
    cr_assert_not(duplicate);
    cr_assert_eq(apply(first), STORE_APPLIED);
    cr_assert_eq(apply(third), STORE_APPLIED);
    cr_assert_eq(find("cpu", "c"), 1);
    cr_assert_eq(find("cpu", "b"), BLOCK_ID_NONE);
}

Test(store, forgets_what_was_in_flight_when_leadership_is_lost)
{
    struct entries_value a = cpu("a", 1, 1);
    struct entries_value b = cpu("b", 1, 2);
    bool duplicate = true;

    cr_assert_eq(admit(&(struct entries_from){0, 7, 1, 1}, &a, &duplicate), ERR_OK);
    cr_assert_eq(admit(&(struct entries_from){0, 7, 1, 2}, &b, &duplicate), ERR_OK);
    store_forget_tentative(replica.store);
    replica_write(&replica, &(struct entries_from){0, 7, 1, 1}, &b, 1);
    cr_assert_eq(find("cpu", "b"), 0);
    cr_assert_eq(find("cpu", "a"), BLOCK_ID_NONE);
}

Test(store, follows_another_leaders_ids_over_its_own_stale_ones)
{
    struct entries_value a = cpu("a", 1, 1);
    struct entries_value b = cpu("b", 1, 2);
    const uint32_t id = 0;
    struct buf *theirs = entries_block(&(struct entries_from){0}, &b, 1);
    bool duplicate = true;

    cr_assert_eq(admit(&(struct entries_from){0}, &a, &duplicate), ERR_OK);
    entries_stamp(theirs, &id);
    cr_assert_eq(apply(theirs), STORE_APPLIED);
    cr_assert_eq(find("cpu", "b"), 0);
    cr_assert_eq(find("cpu", "a"), BLOCK_ID_NONE);
}

Test(store, refuses_what_is_not_for_this_shard_or_not_known_here)
{
    struct entries_value value = cpu("a", 1, 1);
    struct entries_value known = cpu("a", 1, 1);
    bool duplicate;
    struct buf *entry;
    unsigned refused = 0;

    known.id = 1;
    cr_assert_eq(admit(&(struct entries_from){.shard = 1}, &value, &duplicate), ERR_INVALID);
    cr_assert_eq(admit(&(struct entries_from){0}, &known, &duplicate), ERR_INVALID);
    for (char host = 'a'; host <= 'z'; host++) { /* Of two shards, some belong to the other. */
        const char name[] = {host, '\0'};

        value = cpu(name, 1, 1);
        entry = entries_block(&(struct entries_from){0}, &value, 1);
        refused += store_admit(replica.store, entry, 2, &duplicate) == ERR_INVALID;
        buf_unref(entry);
    }
    cr_assert_gt(refused, 3);
    cr_assert_lt(refused, 23);
    entry = entries_seal(0, 1);
    cr_assert_eq(store_admit(replica.store, entry, 1, &duplicate), ERR_INVALID);
    buf_unref(entry);
}

Test(store, refuses_an_id_of_another_table)
{
    struct entries_value cpu_a = cpu("a", 1, 1);
    struct entries_value mem_a = {"mem", "a", 1, "free", FIELD_INT, 1, NULL, 0};
    bool duplicate;

    replica_write(&replica, &(struct entries_from){0}, &cpu_a, 1);
    mem_a.id = find("cpu", "a") + 1;
    cr_assert_eq(admit(&(struct entries_from){0}, &mem_a, &duplicate), ERR_INVALID);
    cr_assert_neq(strstr(err_detail(), "not of that table"), NULL, "%s", err_detail());
    cr_assert_eq(stats().series, 1);
}

Test(store, refuses_every_flipped_bit_of_an_entry)
{
    struct entries_value values[] = {cpu("a", 1, 1), cpu("b", 2, 2)};
    struct buf *entry = entries_block(&(struct entries_from){0}, values, 2);
    bool duplicate;

    for (uint32_t bit = 0; bit < entry->size * 8; bit++) {
        struct buf *damaged = entries_copy(entry);

        damaged->bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        cr_assert_eq(store_admit(replica.store, damaged, 1, &duplicate), ERR_INVALID, "bit %u",
                     bit);
        buf_unref(damaged);
    }
    cr_assert_eq(store_admit(replica.store, entry, 1, &duplicate), ERR_OK);
    buf_unref(entry);
}

Test(store, keeps_to_its_limits)
{
    struct entries_value value = cpu("a", 1, 1);
    bool duplicate;

    replica_close(&replica);
    replica.options.series_max = 1;
    replica.options.head_bytes_max = 400;
    cr_assert_eq(replica_open(&replica), ERR_OK);
    replica_write(&replica, &(struct entries_from){0}, &value, 1);
    value = cpu("b", 1, 1);
    cr_assert_eq(admit(&(struct entries_from){0}, &value, &duplicate), ERR_LIMIT);
    cr_assert_not_null(strstr(err_detail(), "storage.series_max, 1; the label \"host\" has"), "%s",
                       err_detail());
    value = cpu("a", 2, 1);
    for (int i = 0; i < 10 && stats().head_bytes < 400; i++)
        replica_write(&replica, &(struct entries_from){0}, &value, 1);
    cr_assert_eq(admit(&(struct entries_from){0}, &value, &duplicate), ERR_BUSY);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    cr_assert_eq(admit(&(struct entries_from){0}, &value, &duplicate), ERR_OK);
}

static uint64_t two_of(void *ctx, struct slice database)
{
    const char *limited = ctx;

    return database.size == strlen(limited) && memcmp(database.data, limited, database.size) == 0
               ? 2
               : 0;
}

Test(store, keeps_each_database_to_its_series)
{
    struct entries_value values[] = {cpu("a", 1, 1), cpu("b", 1, 1)}, more = cpu("c", 1, 1);
    char limited[] = "db";
    bool duplicate;

    replica_close(&replica);
    replica.options.database_series_max = two_of;
    replica.options.database_ctx = limited;
    cr_assert_eq(replica_open(&replica), ERR_OK);
    replica_write(&replica, &(struct entries_from){0}, values, 2);
    cr_assert_eq(admit(&(struct entries_from){0}, &more, &duplicate), ERR_LIMIT);
    cr_assert(strncmp(err_detail(), STORE_LIMIT_OF, strlen(STORE_LIMIT_OF)) == 0);
    cr_assert_not_null(strstr(err_detail(), "\"db\" takes no new series: shard 0 has its part of "
                                            "--series-max, 2; the label \"host\" has"),
                       "%s", err_detail());
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    replica_close(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK);
    cr_assert_eq(admit(&(struct entries_from){0}, &more, &duplicate), ERR_LIMIT);
    replica_write(&replica, &(struct entries_from){0}, values, 2); /* They are there. */
    limited[0] = 'x';                                              /* Another one's limit. */
    cr_assert_eq(admit(&(struct entries_from){0}, &more, &duplicate), ERR_OK);
}

Test(store, refuses_times_too_far_ahead)
{
    struct entries_value value = cpu("a", INT64_MAX, 1);
    bool duplicate;

    replica_close(&replica);
    replica.options.future_ns_max = 3600 * INT64_C(1000000000);
    cr_assert_eq(replica_open(&replica), ERR_OK);
    cr_assert_eq(admit(&(struct entries_from){0}, &value, &duplicate), ERR_INVALID);
    value = cpu("a", 1, 1);
    cr_assert_eq(admit(&(struct entries_from){0}, &value, &duplicate), ERR_OK);
}

Test(store, tells_the_ids_of_an_applied_or_repeated_entry)
{
    struct entries_value values[] = {cpu("a", 1, 1), cpu("b", 2, 2)};
    struct buf *retry = entries_block(&(struct entries_from){0, 7, 1, 1}, values, 2);
    struct block_view view = block_view_again(retry->bytes + sizeof(struct entry_header),
                                              retry->size - sizeof(struct entry_header));
    uint32_t ids[3] = {9, 9, 9};

    store_fresh_ids(replica.store, &view, ids);
    cr_assert_eq(ids[0], BLOCK_ID_NONE);
    cr_assert_eq(ids[1], BLOCK_ID_NONE);
    replica_write(&replica, &(struct entries_from){0, 7, 1, 1}, values, 2);
    store_fresh_ids(replica.store, &view, ids);
    cr_assert_eq(ids[0], 0);
    cr_assert_eq(ids[1], 1);
    cr_assert_eq(ids[2], 9);
    buf_unref(retry);
}

/* ---- Seals --------------------------------------------------------------------------------- */

Test(store, seals_and_reopens_to_the_same_contents)
{
    struct entries_value first[] = {
        cpu("a", 3, 1),
        cpu("b", 1, 2),
        {"mem", "a", 5, "free", FIELD_FLOAT, 0x3ff0000000000000, NULL, 0},
        {"mem", "a", 5, "note", FIELD_STRING, 0, "good", 0},
        {"mem", "a", 5, "on", FIELD_BOOL, 1, NULL, 0},
    };
    struct entries_value second[] = {cpu("a", 2, 4), cpu("c", 9, 5)};
    struct entries_from from = producer(1);
    struct contents before, after;
    struct store_stats was;
    bool duplicate = false;

    replica_write(&replica, &from, first, COUNT(first));
    replica_write(&replica, &(struct entries_from){0}, second, COUNT(second));
    cr_assert_eq(replica_read(&replica, &before), ERR_OK, "%s", err_detail());
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    was = stats();
    cr_assert_eq(was.segments, 1);
    cr_assert_eq(was.head_blocks, 0);
    cr_assert_eq(was.head_bytes, 0);
    cr_assert_eq(was.segment_rows, 5);
    cr_assert_eq(was.sealed_index, 3);
    for (int turn = 0; turn < 2; turn++) {
        cr_assert_eq(replica_read(&replica, &after), ERR_OK, "%s", err_detail());
        cr_assert(contents_equal(&before, &after));
        contents_fini(&after);
        replica_close(&replica);
        cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    }
    cr_assert_eq(stats().series, was.series);
    cr_assert_eq(stats().chain, was.chain);
    cr_assert_eq(stats().rows, was.rows);
    cr_assert_eq(stats().points, was.points);
    cr_assert_eq(store_applied_index(replica.store), 3);
    cr_assert_eq(admit(&from, &first[0], &duplicate), ERR_OK);
    cr_assert(duplicate); /* Producers are in the manifest. */
    contents_fini(&before);
}

Test(store, joins_rows_of_one_time_field_by_field_the_later_winning)
{
    struct entries_value first[] = {
        {"cpu", "a", 7, "idle", FIELD_INT, 1, NULL, 0},
        {"cpu", "a", 7, "user", FIELD_INT, 2, NULL, 0},
    };
    struct entries_value second[] = {
        {"cpu", "a", 7, "user", FIELD_INT, 3, NULL, 0},
        {"cpu", "a", 7, "wait", FIELD_INT, 4, NULL, 0},
        {"cpu", "a", 6, "wait", FIELD_INT, 5, NULL, 0},
    };

    replica_write(&replica, &(struct entries_from){0}, first, COUNT(first));
    replica_write(&replica, &(struct entries_from){0}, second, COUNT(second));
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    cr_assert_eq(stats().segment_rows, 2);
    expect("db/cpu host=a 00000000000000000007 idle integer 1");
    expect("db/cpu host=a 00000000000000000007 user integer 3");
    expect("db/cpu host=a 00000000000000000007 wait integer 4");
    expect("db/cpu host=a 00000000000000000006 wait integer 5");
}

Test(store, lets_a_later_segment_and_the_head_win)
{
    for (uint64_t turn = 1; turn <= 3; turn++) {
        struct entries_value value = cpu("a", 7, turn);

        replica_write(&replica, &(struct entries_from){0}, &value, 1);
        if (turn < 3)
            cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    }
    cr_assert_eq(stats().segments, 2);
    expect("db/cpu host=a 00000000000000000007 usage integer 3");
}

Test(store, ignores_a_seal_that_is_out_of_date_or_empty)
{
    struct entries_value value = cpu("a", 7, 1);

    cr_assert_eq(apply(entries_seal(0, 0)), STORE_NOTHING);
    replica_write(&replica, &(struct entries_from){0}, &value, 1);
    cr_assert_eq(apply(entries_seal(0, 2)), STORE_SEAL);
    replica_write(&replica, &(struct entries_from){0}, &value, 1);
    cr_assert_eq(apply(entries_seal(0, 3)), STORE_NOTHING); /* The last one was at index 3. */
    cr_assert_eq(stats().head_blocks, 1);
    cr_assert_eq(stats().segments, 1);
}

Test(store, asks_for_a_seal_when_the_head_is_big_enough)
{
    struct entries_value value = cpu("a", 7, 1);

    replica_close(&replica);
    replica.options.seal_bytes = 300;
    cr_assert_eq(replica_open(&replica), ERR_OK);
    cr_assert_not(store_wants_seal(replica.store, false));
    cr_assert_not(store_wants_seal(replica.store, true));
    while (stats().head_bytes < 150)
        replica_write(&replica, &(struct entries_from){0}, &value, 1);
    cr_assert(store_wants_seal(replica.store, true));
    cr_assert_not(store_wants_seal(replica.store, false));
    while (stats().head_bytes < 300)
        replica_write(&replica, &(struct entries_from){0}, &value, 1);
    cr_assert(store_wants_seal(replica.store, false));
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    cr_assert_not(store_wants_seal(replica.store, false));
}

Test(store, goes_on_taking_entries_while_a_seal_runs)
{
    struct entries_value a = cpu("a", 1, 1);
    struct entries_value b = cpu("b", 2, 2);
    struct seal_job *first = NULL;
    struct seal_job *second = NULL;
    struct buf *seals[2];
    enum store_outcome outcome;

    replica_write(&replica, &(struct entries_from){0}, &a, 1);
    seals[0] = entries_seal(0, 1);
    cr_assert_eq(store_apply(replica.store, 2, seals[0], &outcome, &first), ERR_OK);
    cr_assert(stats().sealing);
    cr_assert_not(store_wants_seal(replica.store, false));
    replica.log_count = 0; /* Indexes are given by hand from here on. */
    buf_unref(replica.log[0]);
    b.id = 0;
    {
        struct buf *entry = entries_block(&(struct entries_from){0}, &b, 1);
        const uint32_t id = 1;
        struct seal_job *none;

        entries_stamp(entry, &id);
        cr_assert_eq(store_apply(replica.store, 3, entry, &outcome, &none), ERR_OK);
        cr_assert_eq(outcome, STORE_APPLIED);
        buf_unref(entry);
    }
    seals[1] = entries_seal(0, 3);
    cr_assert_eq(store_apply(replica.store, 4, seals[1], &outcome, &second), ERR_OK);
    cr_assert_eq(outcome, STORE_SEAL);
    expect("db/cpu host=b 00000000000000000002 usage integer 2");
    cr_assert_eq(seal_run(first), ERR_OK, "%s", err_detail());
    store_seal_done(replica.store, first, false);
    cr_assert_eq(store_sealed_index(replica.store), 2);
    cr_assert_eq(seal_run(second), ERR_OK, "%s", err_detail());
    store_seal_done(replica.store, second, false);
    cr_assert_eq(store_sealed_index(replica.store), 4);
    cr_assert_eq(stats().segments, 2);
    expect("db/cpu host=a 00000000000000000001 usage integer 1");
    expect("db/cpu host=b 00000000000000000002 usage integer 2");
    buf_unref(seals[0]);
    buf_unref(seals[1]);
}

Test(store, keeps_a_snapshot_good_while_the_head_is_sealed_away)
{
    struct entries_value value = cpu("a", 1, 1);
    struct snapshot *snapshot;
    struct contents contents;

    replica_write(&replica, &(struct entries_from){0}, &value, 1);
    snapshot = store_snapshot(replica.store);
    cr_assert_not_null(snapshot);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    value = cpu("b", 2, 2);
    replica_write(&replica, &(struct entries_from){0}, &value, 1);
    cr_assert_eq(contents_read(snapshot, &contents), ERR_OK);
    cr_assert_eq(contents.count, 1);
    cr_assert_eq(snapshot->series->count, 1);
    contents_fini(&contents);
    snapshot_free(snapshot);
}
