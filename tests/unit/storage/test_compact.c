/*
 * Compactions: what is read stays the same, what was erased leaves the files, and every replica
 * comes to the same files, whenever it makes them and wherever it fails.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/fault.h"
#include "storage/store_compact.h"
#include "storage/store_proof.h"
#include "tests/support/replica.h"
#include "tests/support/seed.h"

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

TestSuite(compact, .init = set_up, .fini = tear_down);

static void write(const char *table, const char *host, int64_t time_ns, uint64_t bits)
{
    struct entries_value value = {table, host, time_ns, "v", FIELD_INT, bits, NULL, 0};

    replica_write(&replica, &(struct entries_from){0}, &value, 1);
}

static void apply(struct buf *entry)
{
    enum store_outcome outcome;

    cr_assert_eq(replica_apply(&replica, entry, &outcome), ERR_OK, "%s", err_detail());
}

static void seal(void)
{
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
}

static void order(const uint64_t *inputs, uint32_t count)
{
    struct seal_compaction compaction = {.count = count};

    memcpy(compaction.inputs, inputs, count * sizeof *inputs);
    apply(entries_compact(0, 0, &compaction, 1));
}

static void compact(void)
{
    cr_assert_eq(replica_compact(&replica), ERR_OK, "%s", err_detail());
}

static struct store_stats stats(void)
{
    struct store_stats now;

    store_stats(replica.store, &now);
    return now;
}

static bool exists(uint64_t number)
{
    char name[SEGMENT_NAME_SIZE], path[64];

    segment_name(number, name);
    (void)snprintf(path, sizeof path, "data/%s", name);
    return mem_disk_exists(replica.disk, path);
}

struct listed {
    uint32_t segments, temporary;
};

static void list_name(void *arg, const char *name)
{
    struct listed *listed = arg;

    listed->segments += strstr(name, ".mrs") != NULL && strstr(name, ".tmp") == NULL;
    listed->temporary += strstr(name, ".tmp") != NULL;
}

/* No file lies there that no manifest names. */
static void expect_no_orphans(struct replica *of)
{
    struct listed listed = {0};
    struct store_stats now;

    store_stats(of->store, &now);
    cr_assert_eq(of->options.disk->list(of->disk, "data", list_name, &listed), ERR_OK);
    cr_assert_eq(listed.segments, now.segments, "%u files, %lu segments", listed.segments,
                 (unsigned long)now.segments);
    cr_assert_eq(listed.temporary, 0);
}

static void expect(const struct contents *before)
{
    struct contents now;

    cr_assert_eq(replica_read(&replica, &now), ERR_OK, "%s", err_detail());
    cr_assert(contents_equal(&now, before), "%zu values, not %zu", now.count, before->count);
    contents_fini(&now);
}

/* ---- What becomes of segments -------------------------------------------------------------- */

/* Segments 1 to 3 of "db" with one row twice and one in 1 alone, and 4 of another database. */
static void write_sample(void)
{
    write("cpu", "a", 5, 1);
    write("cpu", "b", 5, 10);
    seal();
    write("cpu", "a", 5, 2);
    seal();
    write("cpu", "a", 7, 3);
    seal();
    write("other/cpu", "a", 6, 4);
    seal();
    cr_assert_eq(stats().segments, 4);
}

Test(compact, several_become_one_and_nothing_else_changes)
{
    struct contents before;

    write_sample();
    cr_assert_eq(replica_read(&replica, &before), ERR_OK);
    order((uint64_t[]){1, 2, 3}, 3);
    cr_assert_eq(stats().compactions, 1);
    cr_assert_eq(stats().segments, 4); /* Whoever reads meanwhile reads the inputs. */
    expect(&before);
    compact();
    cr_assert_eq(stats().compactions, 0);
    cr_assert_eq(stats().segments, 2);
    cr_assert_eq(stats().segment_rows, 4); /* The row that was there twice, once. */
    cr_assert_not(exists(1));
    cr_assert(exists(5));
    expect(&before);
    expect_no_orphans(&replica);
    replica_close(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    expect(&before);
    contents_fini(&before);
}

Test(compact, who_reads_an_input_reads_on)
{
    struct snapshot *snapshot;
    struct contents before, now;

    write_sample();
    cr_assert_eq(replica_read(&replica, &before), ERR_OK);
    snapshot = store_snapshot(replica.store);
    order((uint64_t[]){1, 2, 3}, 3);
    compact();
    cr_assert_eq(contents_read(snapshot, &now), ERR_OK, "%s", err_detail());
    cr_assert(contents_equal(&now, &before));
    contents_fini(&now);
    snapshot_free(snapshot);
    contents_fini(&before);
}

Test(compact, orders_that_do_not_fit_are_passed_over)
{
    write_sample();
    order((uint64_t[]){1, 9}, 2);    /* Not there. */
    order((uint64_t[]){2, 1}, 2);    /* Not in their order. */
    order((uint64_t[]){1, 1}, 2);    /* Twice. */
    order((uint64_t[]){1, 3}, 2);    /* Something is between them. */
    order((uint64_t[]){2, 3, 4}, 3); /* Of two databases. */
    cr_assert_eq(stats().compactions, 0);
    order((uint64_t[]){1, 2}, 2);
    order((uint64_t[]){2, 3}, 2); /* 2 will be part of 5. */
    cr_assert_eq(stats().compactions, 1);
    order((uint64_t[]){5, 3}, 2); /* 5 is still to be made. */
    cr_assert_eq(stats().compactions, 2);
    compact();
    cr_assert_eq(stats().segments, 2);
    cr_assert(exists(6));
    expect_no_orphans(&replica);
}

Test(compact, segments_of_other_times_may_stand_between)
{
    struct contents before;

    write("cpu", "a", 1, 1);
    seal();
    write("cpu", "a", DAY_NS, 2);
    seal();
    write("cpu", "a", 1, 3);
    seal();
    cr_assert_eq(replica_read(&replica, &before), ERR_OK);
    order((uint64_t[]){1, 3}, 2);
    compact();
    cr_assert_eq(stats().segments, 2);
    expect(&before);
    contents_fini(&before);
}

/* What comes of 1 and 2 has the last index of 2, as 3 has, and would stand behind it. */
Test(compact, nothing_moves_behind_newer_rows_of_the_same_seal)
{
    write("cpu", "a", DAY_NS, 1);
    seal();
    write("cpu", "a", 0, 2);
    write("cpu", "a", DAY_NS, 3);
    seal();
    cr_assert_eq(stats().segments, 3);
    order((uint64_t[]){1, 2}, 2);
    cr_assert_eq(stats().compactions, 0);
    order((uint64_t[]){1, 2, 3}, 3);
    cr_assert_eq(stats().compactions, 1);
}

/* ---- What is erased ------------------------------------------------------------------------ */

Test(compact, deleted_rows_leave_the_files_and_their_tombstones_go)
{
    struct contents before;

    write_sample();
    apply(entries_delete(0, 0, "cpu", "a", 5, 5));
    cr_assert_eq(stats().tombstones, 1);
    cr_assert_eq(replica_read(&replica, &before), ERR_OK);
    order((uint64_t[]){1, 2, 3}, 3);
    compact();
    cr_assert_eq(stats().segment_rows, 3);
    cr_assert_eq(stats().tombstones, 0);
    expect(&before);
    contents_fini(&before);
}

Test(compact, a_delete_behind_the_order_hides_rows_of_what_comes_of_it)
{
    struct contents before;

    write_sample();
    order((uint64_t[]){1, 2, 3}, 3);
    apply(entries_delete(0, 0, "cpu", "a", 5, 5));
    cr_assert_eq(replica_read(&replica, &before), ERR_OK);
    compact();
    cr_assert_eq(stats().segment_rows, 4); /* Of the order's moment, as everywhere. */
    cr_assert_eq(stats().tombstones, 1);
    expect(&before);
    order((uint64_t[]){5}, 1);
    compact();
    cr_assert_eq(stats().segment_rows, 3);
    cr_assert_eq(stats().tombstones, 0);
    expect(&before);
    contents_fini(&before);
}

Test(compact, a_delete_does_not_touch_rows_that_were_written_behind_it)
{
    struct contents before;

    write_sample();
    apply(entries_delete(0, 0, "cpu", NULL, 0, 100));
    write("cpu", "a", 5, 77);
    seal();
    cr_assert_eq(replica_read(&replica, &before), ERR_OK);
    order((uint64_t[]){1, 2, 3, 5}, 4);
    compact();
    cr_assert_eq(stats().segment_rows, 2);
    expect(&before);
    contents_fini(&before);
}

Test(compact, rows_in_the_head_are_erased_when_it_is_sealed)
{
    write("cpu", "a", 5, 1);
    write("cpu", "b", 5, 1);
    apply(entries_delete(0, 0, "cpu", "a", 0, 100));
    cr_assert_eq(stats().segment_rows, 1);
    cr_assert_eq(stats().tombstones, 0);
}

static void cut(int64_t cutoff_ns, uint64_t drop)
{
    struct seal_database database = {{"db", 2}, DAY_NS, cutoff_ns, drop};

    apply(entries_drop(0, 0, &database, 1));
}

Test(compact, what_turns_out_to_be_empty_has_no_file)
{
    write_sample();
    apply(entries_delete(0, 0, "cpu", NULL, 0, 100));
    order((uint64_t[]){1, 2, 3}, 3);
    compact();
    cr_assert_eq(stats().segments, 1);
    cr_assert_eq(stats().compactions, 0);
    cr_assert_eq(stats().tombstones, 0);
    expect_no_orphans(&replica);
    replica_close(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
    write("cpu", "a", 5, 77);
    seal();
    order((uint64_t[]){5, 6}, 2); /* The empty one goes with what it is merged with. */
    compact();
    cr_assert_eq(stats().segments, 2);
    cr_assert(exists(7));
    cut(DAY_NS, 0);
    cr_assert_eq(stats().segments, 1);
}

Test(compact, a_cutoff_of_the_order_is_kept_to)
{
    struct contents before;

    write_sample();
    write("cpu", "a", DAY_NS, 1);
    cut(6, 0); /* Segments 1 and 2 go, and the head becomes 5. */
    cr_assert_eq(stats().segments, 3);
    cr_assert_eq(replica_read(&replica, &before), ERR_OK);
    order((uint64_t[]){3}, 1);
    compact();
    expect(&before);
    contents_fini(&before);
    expect_no_orphans(&replica);
}

Test(compact, a_drop_takes_inputs_together_or_not_at_all)
{
    write_sample();
    order((uint64_t[]){1, 2, 3}, 3);
    cut(6, 0); /* 1 and 2 have nothing behind it, 3 has. */
    cr_assert_eq(stats().segments, 4);
    cr_assert_eq(stats().compactions, 1);
    cut(8, 0);
    cr_assert_eq(stats().segments, 1);
    cr_assert_eq(stats().compactions, 0);
    expect_no_orphans(&replica);
}

/* Others may not have made it yet, and know of its inputs alone. */
Test(compact, a_cutoff_drops_by_what_the_inputs_had)
{
    write_sample();
    apply(entries_delete(0, 0, "cpu", "a", 7, 7));
    order((uint64_t[]){1, 2, 3}, 3);
    compact();
    cut(7, 0); /* Its last row has time 5, an input's had 7. */
    cr_assert_eq(stats().segments, 2);
    cut(8, 0);
    cr_assert_eq(stats().segments, 1);
}

Test(compact, what_was_dropped_while_it_was_made_is_thrown_away)
{
    struct compact_job *job;

    write_sample();
    order((uint64_t[]){1, 2, 3}, 3);
    cr_assert_eq(store_compact_begin(replica.store, &job), ERR_OK);
    cr_assert_eq(compact_run(job), ERR_OK, "%s", err_detail());
    cut(INT64_MIN, 1);
    store_compact_ready(replica.store, job);
    cr_assert_eq(compact_adopt(job), ERR_OK, "%s", err_detail());
    store_compact_done(replica.store, job, false);
    cr_assert_eq(stats().segments, 1);
    expect_no_orphans(&replica);
}

Test(compact, what_was_dropped_before_it_was_made_is_no_damage)
{
    struct compact_job *job;

    write_sample();
    order((uint64_t[]){1, 2, 3}, 3);
    cr_assert_eq(store_compact_begin(replica.store, &job), ERR_OK);
    cr_assert_not(store_compact_is_stale(replica.store, job));
    cut(INT64_MIN, 1);
    cr_assert_eq(compact_run(job), ERR_CORRUPT); /* The files are gone. */
    cr_assert(store_compact_is_stale(replica.store, job));
    store_compact_done(replica.store, job, true);
    cr_assert_eq(stats().segments, 1);
    expect_no_orphans(&replica);
}

/* ---- Failures ------------------------------------------------------------------------------ */

static const char *const places[] = {"compact.merge", "compact.segment", "compact.manifest",
                                     "compact.remove"};

Test(compact, a_failure_anywhere_leaves_what_was_or_what_is_to_be)
{
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char spec[64];
        struct contents before;
        enum err err;

        tear_down();
        set_up();
        write_sample();
        cr_assert_eq(replica_read(&replica, &before), ERR_OK);
        order((uint64_t[]){1, 2, 3}, 3);
        (void)snprintf(spec, sizeof spec, "%s:fail:1", places[i]);
        cr_assert_eq(fault_arm(spec), ERR_OK);
        err = replica_compact(&replica);
        cr_assert_eq(fault_arm(""), ERR_OK);
        cr_assert_eq(err, i < 3 ? ERR_IO : ERR_OK, "%s", places[i]);
        expect(&before);
        if (i % 2 == 0)
            compact(); /* Once more without a start between. */
        replica_close(&replica);
        mem_disk_crash(replica.disk, MEM_DISK_POWER, 0);
        cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
        expect(&before);
        expect_no_orphans(&replica);
        compact();
        cr_assert_eq(stats().segments, 2);
        cr_assert(exists(5));
        expect(&before);
        expect_no_orphans(&replica);
        contents_fini(&before);
    }
}

Test(compact, any_call_of_the_disk_may_fail)
{
    for (uint64_t nth = 1, failed = 1; failed > 0; nth++) {
        struct contents before;
        enum err err;

        tear_down();
        set_up();
        write_sample();
        apply(entries_delete(0, 0, "cpu", "a", 5, 5));
        cr_assert_eq(replica_read(&replica, &before), ERR_OK);
        order((uint64_t[]){1, 2, 3}, 3);
        mem_disk_fail(replica.disk,
                      MEM_DISK_OPEN | MEM_DISK_READ | MEM_DISK_WRITE | MEM_DISK_SYNC |
                          MEM_DISK_RENAME | MEM_DISK_SYNC_DIR,
                      nth, ERR_IO, nth % 2 == 0);
        err = replica_compact(&replica);
        mem_disk_fail(replica.disk, 0, 0, ERR_OK, false);
        failed = err != ERR_OK;
        expect(&before);
        replica_close(&replica);
        mem_disk_crash(replica.disk, MEM_DISK_TORN, nth);
        cr_assert_eq(replica_open(&replica), ERR_OK, "call %lu: %s", (unsigned long)nth,
                     err_detail());
        expect(&before);
        expect_no_orphans(&replica);
        compact();
        cr_assert_eq(stats().segments, 2);
        expect(&before);
        contents_fini(&before);
    }
}

Test(compact, a_disk_without_room_for_it_is_left_alone)
{
    struct contents before;

    write_sample();
    cr_assert_eq(replica_read(&replica, &before), ERR_OK);
    order((uint64_t[]){1, 2, 3}, 3);
    mem_disk_limit(replica.disk, 200 << 20);
    cr_assert_eq(replica_compact(&replica), ERR_DISK_FULL);
    expect(&before);
    mem_disk_limit(replica.disk, 0);
    compact();
    cr_assert_eq(stats().segments, 2);
    expect(&before);
    contents_fini(&before);
}

/* ---- Random -------------------------------------------------------------------------------- */

enum { EAGER, LATE, PLAIN, REPLICAS }; /* The plain one is never told of compactions. */

struct site {
    struct replica replicas[REPLICAS];
    uint64_t seed;
    int64_t cutoff_ns;
    uint64_t drop;
    uint64_t cleans; /* That were ordered. */
};

static void apply_all(struct site *site, struct buf *entry, struct buf *plain)
{
    for (int i = 0; i < REPLICAS; i++) {
        struct buf *own = i == EAGER ? entry : entries_copy(i == PLAIN ? plain : entry);
        enum store_outcome outcome;

        cr_assert_eq(replica_apply(&site->replicas[i], own, &outcome), ERR_OK, "%s", err_detail());
    }
}

static void write_some(struct site *site)
{
    static const char *const tables[] = {"cpu", "mem", "other/cpu"};
    static const char *const hosts[] = {"a", "b", "c"};
    static const char *const fields[] = {"v", "w"};
    struct entries_value values[8];
    size_t count = 1 + seed_below(&site->seed, 8);
    struct buf *entry;
    bool duplicate;
    enum err err;

    for (size_t i = 0; i < count; i++)
        values[i] = (struct entries_value){tables[seed_below(&site->seed, 3)],
                                           hosts[seed_below(&site->seed, 3)],
                                           (int64_t)seed_below(&site->seed, 4) * DAY_NS +
                                               (int64_t)seed_below(&site->seed, 6),
                                           fields[seed_below(&site->seed, 2)],
                                           FIELD_INT,
                                           seed_next(&site->seed),
                                           NULL,
                                           0};
    entry = entries_block(&(struct entries_from){0}, values, count);
    err = store_admit(site->replicas[EAGER].store, entry, 1, &duplicate);
    if (err == ERR_OK) {
        apply_all(site, entry, entry);
        return;
    }
    cr_assert_eq(err, ERR_TOO_OLD, "%s", err_detail());
    buf_unref(entry);
}

static void seal_all(struct site *site)
{
    struct buf *entry = entries_seal(0, site->replicas[EAGER].log_count);

    apply_all(site, entry, entry);
}

static void delete_some(struct site *site)
{
    static const char *const hosts[] = {"a", "b", NULL};
    int64_t first_ns =
        (int64_t)seed_below(&site->seed, 4) * DAY_NS + (int64_t)seed_below(&site->seed, 6);
    struct buf *entry = entries_delete(0, 0, seed_below(&site->seed, 3) == 0 ? "other/cpu" : "cpu",
                                       hosts[seed_below(&site->seed, 3)], first_ns,
                                       first_ns + (seed_below(&site->seed, 2) == 0 ? 2 : DAY_NS));

    apply_all(site, entry, entry);
}

static void drop_some(struct site *site)
{
    struct seal_database database = {{"db", 2}, DAY_NS, INT64_MIN, 0};
    struct buf *entry;

    if (seed_below(&site->seed, 4) == 0)
        database.drop = ++site->drop;
    else
        database.cutoff_ns =
            (int64_t)seed_below(&site->seed, 4) * DAY_NS + (int64_t)seed_below(&site->seed, 6);
    if (seed_below(&site->seed, 4) != 0)
        return; /* Seldom, or little is left. */
    entry = entries_drop(0, 0, &database, 1);
    apply_all(site, entry, entry);
}

/* What a leader would order, or anything. */
static void compact_some(struct site *site)
{
    struct replica *leader = &site->replicas[seed_below(&site->seed, 2)];
    struct compact_rules rules = {2 + (uint32_t)seed_below(&site->seed, 2), 1 << 20, INT64_MAX,
                                  UINT64_MAX};
    struct seal_compaction compactions[SEAL_COMPACTIONS_MAX];
    struct seal_clean cleans[SEAL_CLEANS_MAX];
    uint32_t count = 0, clean_count = 0;

    if (seed_below(&site->seed, 3) > 0) {
        cr_assert_eq(replica_prove(leader, seed_below(&site->seed, leader->log_count + 1)), ERR_OK,
                     "%s", err_detail());
        cr_assert_eq(store_plan_compactions(leader->store, &rules, compactions, &count), ERR_OK);
        cr_assert_eq(store_plan_cleans(leader->store, cleans, &clean_count), ERR_OK);
        site->cleans += clean_count;
    } else {
        uint64_t number = seed_below(&site->seed, leader->log_count + 1);

        count = 1;
        compactions[0].count = 1 + (uint32_t)seed_below(&site->seed, 4);
        for (uint32_t i = 0; i < compactions[0].count; i++)
            compactions[0].inputs[i] = number += 1 + seed_below(&site->seed, 3);
    }
    if (count + clean_count > 0) {
        struct buf *plain = entries_seal(0, leader->log_count);

        apply_all(site, entries_clean(0, 0, cleans, clean_count, compactions, count), plain);
        buf_unref(plain);
    }
}

static void restart(struct site *site, int which)
{
    struct replica *own = &site->replicas[which];

    replica_close(own);
    mem_disk_crash(own->disk, seed_below(&site->seed, 2) == 0 ? MEM_DISK_POWER : MEM_DISK_TORN,
                   site->seed);
    cr_assert_eq(replica_open(own), ERR_OK, "%s", err_detail());
    expect_no_orphans(own);
}

static void expect_equal_contents(struct site *site)
{
    struct contents contents[REPLICAS];

    for (int i = 0; i < REPLICAS; i++)
        cr_assert_eq(replica_read(&site->replicas[i], &contents[i]), ERR_OK, "%s", err_detail());
    for (int i = 0; i < PLAIN; i++)
        cr_assert(contents_equal(&contents[i], &contents[PLAIN]), "replica %d: %zu, not %zu", i,
                  contents[i].count, contents[PLAIN].count);
    for (int i = 0; i < REPLICAS; i++)
        contents_fini(&contents[i]);
}

static void compare_file(void *arg, const char *name)
{
    struct site *site = arg;
    uint8_t *bytes[2];
    size_t sizes[2] = {0, 0};
    char path[64];

    (void)snprintf(path, sizeof path, "data/%s", name);
    for (int i = 0; i < 2; i++)
        bytes[i] = mem_disk_get(site->replicas[i].disk, path, &sizes[i]);
    cr_assert_not_null(bytes[1], "%s is not there", name);
    cr_assert_eq(sizes[0], sizes[1], "%s", name);
    cr_assert_arr_eq(bytes[0], bytes[1], sizes[0], "%s", name);
    free(bytes[0]);
    free(bytes[1]);
}

static void expect_equal_files(struct site *site)
{
    struct replica *eager = &site->replicas[EAGER];

    for (int i = 0; i < PLAIN; i++) {
        cr_assert_eq(replica_compact(&site->replicas[i]), ERR_OK, "%s", err_detail());
        expect_no_orphans(&site->replicas[i]);
    }
    cr_assert_eq(eager->options.disk->list(eager->disk, "data", compare_file, site), ERR_OK);
}

static void step(struct site *site)
{
    uint64_t dice = seed_below(&site->seed, 100);

    if (dice < 50)
        write_some(site);
    else if (dice < 65)
        seal_all(site);
    else if (dice < 70)
        delete_some(site);
    else if (dice < 74)
        drop_some(site);
    else if (dice < 85)
        compact_some(site);
    else if (dice < 94)
        cr_assert_eq(replica_compact(&site->replicas[EAGER]), ERR_OK, "%s", err_detail());
    else if (dice < 96)
        cr_assert_eq(replica_compact(&site->replicas[LATE]), ERR_OK, "%s", err_detail());
    else
        restart(site, (int)seed_below(&site->seed, 2));
}

Test(compact, replicas_agree_whenever_they_make_what_was_ordered, .timeout = 110)
{
    enum { ROUNDS = 40, STEPS = 150 };
    struct site site = {.seed = seed_of_run("compact")};

    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < REPLICAS; i++) {
            replica_init(&site.replicas[i]);
            cr_assert_eq(replica_open(&site.replicas[i]), ERR_OK, "%s", err_detail());
        }
        site.drop = 0;
        for (int i = 0; i < STEPS; i++)
            step(&site);
        expect_equal_contents(&site);
        expect_equal_files(&site);
        expect_equal_contents(&site);
        for (int i = 0; i < REPLICAS; i++)
            replica_fini(&site.replicas[i]);
    }
    /* 125 expected, standard deviation 29. */
    cr_assert_gt(site.cleans, ROUNDS / 4, "%lu segments were said to be clean",
                 (unsigned long)site.cleans);
}
