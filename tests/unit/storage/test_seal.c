/*
 * Seals under faults: whatever call fails, whatever a crash leaves, a store opens again to what was
 * committed, and replicas stay the same.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "storage/base/fault.h"
#include "storage/base/types.h"
#include "tests/support/replica.h"
#include "tests/support/seed.h"

enum { VALUES_MAX = 200, FILES_MAX = 512 };

#define DAY_NS SEAL_WINDOW_DEFAULT_NS

static int64_t first_day; /* What was before it is dropped. */

/* Values of a few series, times and fields, so that many coincide. */
static int64_t draw_time(uint64_t *chance)
{
    int64_t day = seed_below(chance, 4) == 0 ? (int64_t)seed_below(chance, 3) : 0;

    return (first_day + day) * DAY_NS + (int64_t)seed_below(chance, 40);
}

static size_t draw_values(uint64_t *chance, struct entries_value *values, char names[][8])
{
    static const char *const tables[] = {"cpu", "other/cpu", "net"};
    static const char *const fields[] = {"a", "b", "c", "d"};
    static const enum field_type types[] = {FIELD_INT, FIELD_FLOAT, FIELD_BOOL, FIELD_STRING};
    size_t count = 1 + seed_below(chance, VALUES_MAX - 1);

    for (size_t i = 0; i < count; i++) {
        size_t field = seed_below(chance, 4);

        (void)snprintf(names[i], sizeof names[i], "h%u", (unsigned)seed_below(chance, 12));
        values[i] = (struct entries_value){.table = tables[seed_below(chance, 3)],
                                           .host = names[i],
                                           .time_ns = draw_time(chance),
                                           .field = fields[field],
                                           .type = types[field],
                                           .bits = seed_below(chance, field == 2 ? 2 : 1000),
                                           .text = names[i]};
    }
    return count;
}

static void write_from(struct replica *replica, uint64_t *chance, const struct entries_from *from)
{
    struct entries_value values[VALUES_MAX];
    char names[VALUES_MAX][8];
    size_t count = draw_values(chance, values, names);

    replica_write(replica, from, values, count);
}

static void write_some(struct replica *replica, uint64_t *chance)
{
    write_from(replica, chance, &(struct entries_from){0});
}

static void append_to_log(struct replica *replica, struct buf *entry)
{
    replica->log = realloc(replica->log, (replica->log_count + 1) * sizeof(struct buf *));
    replica->log[replica->log_count++] = entry;
}

/* Some rows are deleted; the first day of one database or both is over; or one is dropped. */
static struct buf *draw_drop(uint64_t *chance, uint64_t upto)
{
    struct seal_database databases[] = {{{"db", 2}, DAY_NS, INT64_MIN, 0},
                                        {{"other", 5}, DAY_NS / 8, INT64_MIN, 0}};

    if (seed_below(chance, 2) == 0) {
        int64_t first_ns = draw_time(chance);

        return entries_delete(0, upto, seed_below(chance, 2) == 0 ? "cpu" : "other/cpu",
                              seed_below(chance, 2) == 0 ? "h3" : NULL, first_ns,
                              first_ns + (int64_t)seed_below(chance, 20));
    }
    if (seed_below(chance, 3) == 0) {
        databases[seed_below(chance, 2)].drop = upto + 1;
    } else {
        first_day++;
        databases[0].cutoff_ns = first_day * DAY_NS;
        databases[1].cutoff_ns = first_day * DAY_NS;
    }
    return entries_drop(0, upto, databases, 1 + (uint32_t)seed_below(chance, 2));
}

/* A log of `entries` blocks with seals and drops among them. */
static void make_log(struct replica *replica, uint64_t seed, unsigned entries)
{
    uint64_t chance = seed;
    enum store_outcome outcome;

    first_day = 0;
    replica_init(replica);
    cr_assert_eq(replica_open(replica), ERR_OK, "%s", err_detail());
    for (unsigned i = 0; i < entries; i++) {
        write_from(replica, &chance, &(struct entries_from){0, 1 + i % 3, 1, 1 + i / 3});
        if (seed_below(&chance, 4) == 0)
            cr_assert_eq(replica_seal(replica), ERR_OK, "%s", err_detail());
        if (seed_below(&chance, 5) == 0)
            cr_assert_eq(replica_apply(replica, draw_drop(&chance, replica->log_count), &outcome),
                         ERR_OK, "%s", err_detail());
    }
}

/* Another replica with the same log, not open, on an empty disk. */
static void share_log(const struct replica *from, struct replica *ret_replica)
{
    replica_init(ret_replica);
    for (size_t i = 0; i < from->log_count; i++)
        append_to_log(ret_replica, from->log[i] == NULL ? NULL : buf_ref(from->log[i]));
}

static void expect_same_contents(struct replica *a, struct replica *b)
{
    struct contents left, right;

    cr_assert_eq(replica_read(a, &left), ERR_OK, "%s", err_detail());
    cr_assert_eq(replica_read(b, &right), ERR_OK, "%s", err_detail());
    cr_assert(contents_equal(&left, &right), "%zu and %zu values", left.count, right.count);
    contents_fini(&left);
    contents_fini(&right);
}

static void expect_same_state(struct replica *a, struct replica *b)
{
    struct store_stats left, right;

    store_stats(a->store, &left);
    store_stats(b->store, &right);
    cr_assert_eq(left.chain, right.chain);
    cr_assert_eq(left.series, right.series);
    cr_assert_eq(left.rows, right.rows);
    cr_assert_eq(left.points, right.points);
    cr_assert_eq(left.applied_index, right.applied_index);
    expect_same_contents(a, b);
}

struct names {
    char names[FILES_MAX][32];
    size_t count;
};

static void add_name(void *arg, const char *name)
{
    struct names *names = arg;

    cr_assert_lt(names->count, FILES_MAX);
    (void)snprintf(names->names[names->count++], sizeof names->names[0], "%s", name);
}

static void list_files(struct replica *replica, struct names *ret_names)
{
    const struct disk *disk = replica->options.disk;

    ret_names->count = 0;
    cr_assert_eq(disk->list(disk->ctx, "data", add_name, ret_names), ERR_OK);
}

static void expect_same_file(struct replica *a, struct replica *b, const char *name)
{
    size_t left_size = 0;
    size_t right_size = 1;
    uint8_t *left, *right;
    char path[64];

    (void)snprintf(path, sizeof path, "data/%s", name);
    left = mem_disk_get(a->disk, path, &left_size);
    right = mem_disk_get(b->disk, path, &right_size);
    cr_assert_not_null(left);
    cr_assert_not_null(right, "%s is missing", path);
    cr_assert_eq(left_size, right_size, "%s", path);
    cr_assert_arr_eq(left, right, left_size, "%s", path);
    free(left);
    free(right);
}

/* The segments of the one are those of the other, which may have more. */
static void expect_segments_of(struct replica *a, struct replica *b)
{
    static struct names names;

    list_files(a, &names);
    for (size_t i = 0; i < names.count; i++)
        if (strstr(names.names[i], ".mrs") != NULL)
            expect_same_file(a, b, names.names[i]);
}

/* The manifest and the catalog, too; and nothing besides. */
static void expect_same_files(struct replica *a, struct replica *b)
{
    static struct names names, others;

    list_files(a, &names);
    list_files(b, &others);
    cr_assert_eq(names.count, others.count, "%zu and %zu files", names.count, others.count);
    for (size_t i = 0; i < names.count; i++)
        expect_same_file(a, b, names.names[i]);
}

/* ---- The same everywhere ------------------------------------------------------------------- */

/* The jobs of a replica whose pool is slow: run in order, some time later. */
struct slow_pool {
    struct seal_job *jobs[64];
    size_t first, end;
};

static void run_one(struct replica *replica, struct slow_pool *pool, bool fail)
{
    struct seal_job *job = pool->jobs[pool->first++];
    enum err err;

    if (fail)
        mem_disk_fail(replica->disk, MEM_DISK_ANY, 3, ERR_DISK_FULL, true);
    err = seal_run(job);
    mem_disk_fail(replica->disk, 0, 0, ERR_IO, false);
    cr_assert(fail || err == ERR_OK, "%s", err_detail());
    store_seal_done(replica->store, job, err != ERR_OK);
}

Test(seal, makes_the_same_files_whenever_it_runs)
{
    uint64_t seed = seed_of_run("seal");
    uint64_t chance = seed;
    struct replica prompt, slow;
    struct slow_pool pool = {0};

    make_log(&prompt, seed, 40);
    share_log(&prompt, &slow);
    cr_assert_eq(store_open(&slow.options, &slow.store), ERR_OK);
    for (uint64_t index = 1; index <= slow.log_count; index++) {
        enum store_outcome outcome;
        struct seal_job *job;

        cr_assert_eq(store_apply(slow.store, index, slow.log[index - 1], &outcome, &job), ERR_OK);
        if (job != NULL)
            pool.jobs[pool.end++] = job;
        if (pool.first < pool.end && seed_below(&chance, 5) == 0)
            run_one(&slow, &pool, seed_below(&chance, 3) == 0);
        if (index % 7 == 0)
            expect_same_contents(&slow, &slow); /* Reading meanwhile does no harm. */
    }
    while (pool.first < pool.end)
        run_one(&slow, &pool, false);
    /* An order with nothing new makes up for the last one, should it have failed. */
    cr_assert_eq(replica_seal(&prompt), ERR_OK, "%s", err_detail());
    cr_assert_eq(replica_seal(&slow), ERR_OK, "%s", err_detail());
    expect_same_state(&prompt, &slow);
    expect_same_files(&prompt, &slow);
    replica_fini(&prompt);
    replica_fini(&slow);
}

Test(seal, makes_the_same_files_after_restarts)
{
    uint64_t seed = seed_of_run("seal");
    uint64_t chance = seed;
    struct replica steady, restless;

    make_log(&steady, seed, 30);
    share_log(&steady, &restless);
    for (size_t upto = 0; upto <= steady.log_count; upto += 1 + seed_below(&chance, 9)) {
        restless.log_count = upto;
        cr_assert_eq(replica_open(&restless), ERR_OK, "%s", err_detail());
        replica_close(&restless);
        mem_disk_crash(restless.disk, MEM_DISK_POWER, 0);
    }
    restless.log_count = steady.log_count;
    cr_assert_eq(replica_open(&restless), ERR_OK, "%s", err_detail());
    expect_same_state(&steady, &restless);
    expect_same_files(&steady, &restless);
    replica_fini(&steady);
    replica_fini(&restless);
}

/* ---- Faults -------------------------------------------------------------------------------- */

static void expect_whole(struct replica *reference, struct replica *replica, const char *what,
                         uint64_t nth)
{
    cr_assert_eq(mem_disk_open_files(replica->disk), 0, "%s %lu", what, (unsigned long)nth);
    cr_assert_eq(replica_open(replica), ERR_OK, "%s %lu: %s", what, (unsigned long)nth,
                 err_detail());
    expect_same_state(reference, replica);
    expect_same_files(reference, replica);
}

/* Replay the log with the nth call failing, crash, and open again: for every n. */
static void fail_every_call(enum err code, bool stays, enum mem_disk_crash how)
{
    uint64_t seed = seed_of_run("seal");
    struct replica reference;
    uint64_t calls;

    make_log(&reference, seed, 5);
    if (store_sealed_index(reference.store) < reference.log_count)
        cr_assert_eq(replica_seal(&reference), ERR_OK, "%s", err_detail());
    calls = mem_disk_calls(reference.disk, MEM_DISK_ANY);
    for (uint64_t nth = 1; nth <= calls; nth++) {
        struct replica replica;
        enum err err;

        share_log(&reference, &replica);
        mem_disk_fail(replica.disk, MEM_DISK_ANY, nth, code, stays);
        err = replica_open(&replica);
        cr_assert(err == ERR_OK || err == code, "call %lu: %s", (unsigned long)nth, err_detail());
        replica_close(&replica);
        mem_disk_crash(replica.disk, how, seed + nth);
        expect_whole(&reference, &replica, "call", nth);
        replica_fini(&replica);
    }
    replica_fini(&reference);
}

Test(seal, survives_a_power_cut_at_every_call)
{
    fail_every_call(ERR_IO, true, MEM_DISK_POWER);
}

Test(seal, survives_a_torn_power_cut_at_every_call)
{
    for (int turn = 0; turn < 2; turn++)
        fail_every_call(ERR_IO, true, MEM_DISK_TORN);
}

Test(seal, survives_the_death_of_the_process_at_every_call)
{
    fail_every_call(ERR_IO, true, MEM_DISK_PROCESS);
}

Test(seal, survives_one_failed_call)
{
    fail_every_call(ERR_DISK_FULL, false, MEM_DISK_POWER);
}

Test(seal, goes_on_in_the_same_process_after_any_failed_call)
{
    uint64_t seed = seed_of_run("seal");
    struct replica reference;
    uint64_t before, calls;

    make_log(&reference, seed, 5);
    write_some(&reference, &seed);
    before = mem_disk_calls(reference.disk, MEM_DISK_ANY);
    cr_assert_eq(replica_seal(&reference), ERR_OK, "%s", err_detail());
    calls = mem_disk_calls(reference.disk, MEM_DISK_ANY) - before;
    cr_assert_gt(calls, 10);
    for (uint64_t nth = 1; nth <= calls; nth++) {
        struct replica replica;
        enum store_outcome outcome;
        uint64_t chance = seed;
        struct buf *seal;
        struct seal_job *job;
        enum err err;

        share_log(&reference, &replica);
        seal = replica.log[--replica.log_count];
        cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
        mem_disk_fail(replica.disk, MEM_DISK_ANY, nth, ERR_DISK_FULL, false);
        err = replica_apply(&replica, seal, &outcome);
        cr_assert(err == ERR_OK || err == ERR_DISK_FULL, "call %lu: %s", (unsigned long)nth,
                  err_detail());
        expect_same_state(&reference, &replica);
        /* What failed is made up for before the next one. */
        write_some(&replica, &chance);
        cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
        expect_segments_of(&reference, &replica);
        cr_assert_eq(store_sealed_index(replica.store), replica.log_count);
        cr_assert_eq(store_apply(replica.store, replica.log_count + 1, NULL, &outcome, &job),
                     ERR_OK);
        cr_assert_null(job);
        replica_fini(&replica);
    }
    replica_fini(&reference);
}

Test(seal, tries_again_what_failed_when_asked_with_nothing_new)
{
    struct entries_value value = {"cpu", "a", 1, "usage", FIELD_INT, 1, NULL, 0};
    struct store_stats stats;
    struct replica replica;

    replica_init(&replica);
    cr_assert_eq(replica_open(&replica), ERR_OK);
    replica_write(&replica, &(struct entries_from){0}, &value, 1);
    mem_disk_fail(replica.disk, MEM_DISK_SYNC, 1, ERR_IO, false);
    cr_assert_eq(replica_seal(&replica), ERR_IO);
    cr_assert_not(store_wants_seal(replica.store, true)); /* Not at once. */
    store_stats(replica.store, &stats);
    cr_assert_not(stats.sealing);
    cr_assert_eq(stats.head_blocks, 1);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    store_stats(replica.store, &stats);
    cr_assert_eq(stats.head_blocks, 0);
    cr_assert_eq(stats.sealed_index, 2); /* As of the first order. */
    replica_fini(&replica);
}

Test(seal, can_be_failed_between_its_steps)
{
    static const char *const faults[] = {"seal.segment:fail:1", "seal.catalog:fail:1",
                                         "seal.manifest:fail:1"};
    struct entries_value value = {"cpu", "a", 1, "usage", FIELD_INT, 1, NULL, 0};

    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        struct replica replica;

        replica_init(&replica);
        cr_assert_eq(replica_open(&replica), ERR_OK);
        replica_write(&replica, &(struct entries_from){0}, &value, 1);
        cr_assert_eq(fault_arm(faults[i]), ERR_OK);
        cr_assert_eq(replica_seal(&replica), ERR_IO);
        cr_assert_eq(fault_arm(""), ERR_OK);
        replica_close(&replica);
        cr_assert(mem_disk_exists(replica.disk, "data/00000001.mrs"));
        replica.log_count = 1;
        cr_assert_eq(replica_open(&replica), ERR_OK, "%s", err_detail());
        cr_assert_not(mem_disk_exists(replica.disk, "data/00000001.mrs"));
        cr_assert_not(mem_disk_exists(replica.disk, "data/00000001.mrc"));
        replica.log_count = 2;
        replica_fini(&replica);
    }
}

Test(seal, says_when_the_disk_is_full_and_goes_on_when_it_is_not)
{
    struct replica replica;
    uint64_t seed = seed_of_run("seal");

    make_log(&replica, seed, 3);
    mem_disk_limit(replica.disk, 1);
    write_some(&replica, &seed);
    cr_assert_eq(replica_seal(&replica), ERR_DISK_FULL);
    mem_disk_limit(replica.disk, 0);
    cr_assert_eq(replica_seal(&replica), ERR_OK, "%s", err_detail());
    replica_fini(&replica);
}

/* ---- Damage -------------------------------------------------------------------------------- */

/* A disk with two segments and a catalog, closed, and what it holds. */
static void make_damaged(struct replica *replica, struct contents *ret_contents)
{
    struct entries_value values[] = {
        {"cpu", "a", 1, "usage", FIELD_INT, 1, NULL, 0},
        {"cpu", "b", 2, "usage", FIELD_INT, 2, NULL, 0},
        {"mem", "a", 1, "note", FIELD_STRING, 0, "some text", 0},
    };

    replica_init(replica);
    cr_assert_eq(replica_open(replica), ERR_OK);
    for (uint64_t turn = 1; turn <= 2; turn++) {
        values[0].time_ns += 10;
        values[1].host = turn == 1 ? "b" : "c";
        replica_write(replica, &(struct entries_from){0, 7, 1, turn}, values, 3);
        cr_assert_eq(replica_seal(replica), ERR_OK, "%s", err_detail());
    }
    cr_assert_eq(replica_read(replica, ret_contents), ERR_OK);
    replica_close(replica);
    for (size_t i = 0; i < replica->log_count; i++)
        buf_unref(replica->log[i]);
    replica->log_count = 0; /* Nothing can be replayed: all has to come from the disk. */
}

/* Open and read: refused with a message that names the file, or all that was there. */
static bool refused(struct replica *replica, const char *path, const struct contents *good)
{
    struct contents contents;
    enum err err = store_open(&replica->options, &replica->store);

    if (err == ERR_OK)
        err = replica_read(replica, &contents);
    else
        replica->store = NULL;
    if (err == ERR_OK) {
        bool same = contents_equal(&contents, good);

        cr_assert(same, "%s: wrong data", path);
        contents_fini(&contents);
    } else {
        cr_assert(err == ERR_CORRUPT || err == ERR_VERSION, "%s: %s", path, err_detail());
        cr_assert_neq(strstr(err_detail(), path), NULL, "%s: %s", path, err_detail());
    }
    replica_close(replica);
    cr_assert_eq(mem_disk_open_files(replica->disk), 0);
    return err != ERR_OK;
}

/* So that nothing mends the manifest; twin.h has its tests. */
static void drop_copy(struct replica *replica)
{
    (void)(replica->options.disk->remove(replica->disk, "data/manifest.mrm.copy") == ERR_OK);
}

static const char *const files[] = {"data/manifest.mrm", "data/00000004.mrc", "data/00000001.mrs",
                                    "data/00000002.mrs"};

Test(seal, never_shows_wrong_data_for_a_flipped_bit)
{
    struct replica replica;
    struct contents good;

    make_damaged(&replica, &good);
    drop_copy(&replica);
    for (size_t f = 0; f < 4; f++) {
        size_t size = 0;
        uint8_t *bytes = mem_disk_get(replica.disk, files[f], &size);

        cr_assert_not_null(bytes);
        for (size_t bit = 0; bit < size * 8; bit++) {
            mem_disk_flip(replica.disk, files[f], bit / 8, (uint8_t)(1u << bit % 8));
            cr_assert(refused(&replica, files[f], &good), "%s bit %zu", files[f], bit);
            mem_disk_flip(replica.disk, files[f], bit / 8, (uint8_t)(1u << bit % 8));
        }
        free(bytes);
    }
    cr_assert_not(refused(&replica, "", &good));
    contents_fini(&good);
    replica_fini(&replica);
}

Test(seal, refuses_every_cut_of_every_file)
{
    struct replica replica;
    struct contents good;

    make_damaged(&replica, &good);
    drop_copy(&replica);
    for (size_t f = 0; f < 4; f++) {
        size_t size = 0;
        uint8_t *bytes = mem_disk_get(replica.disk, files[f], &size);

        for (size_t cut = 0; cut < size; cut++) {
            mem_disk_put(replica.disk, files[f], bytes, cut);
            cr_assert(refused(&replica, files[f], &good), "%s cut at %zu", files[f], cut);
        }
        mem_disk_put(replica.disk, files[f], bytes, size);
        free(bytes);
    }
    cr_assert_not(refused(&replica, "", &good));
    contents_fini(&good);
    replica_fini(&replica);
}

Test(seal, refuses_a_missing_file_and_says_what_to_do)
{
    struct replica replica;
    struct contents good;

    make_damaged(&replica, &good);
    drop_copy(&replica);
    for (size_t f = 0; f < 4; f++) {
        size_t size = 0;
        uint8_t *bytes = mem_disk_get(replica.disk, files[f], &size);

        cr_assert_eq(replica.options.disk->remove(replica.disk, files[f]), ERR_OK);
        cr_assert(refused(&replica, files[f], &good), "%s missing", files[f]);
        /* Without a segment a shard goes on. */
        cr_assert(f >= 2 || strstr(err_detail(), "docs/operations.md") != NULL, "%s", err_detail());
        mem_disk_put(replica.disk, files[f], bytes, size);
        free(bytes);
    }
    contents_fini(&good);
    replica_fini(&replica);
}

Test(seal, refuses_the_files_of_another_shard_or_segment)
{
    struct replica replica;
    struct contents good;
    uint8_t *bytes;
    size_t size = 0;

    make_damaged(&replica, &good);
    replica.options.shard = 1;
    cr_assert(refused(&replica, "data/manifest.mrm", &good));
    replica.options.shard = 0;
    bytes = mem_disk_get(replica.disk, files[2], &size);
    mem_disk_put(replica.disk, files[3], bytes, size);
    cr_assert(refused(&replica, files[3], &good));
    free(bytes);
    contents_fini(&good);
    replica_fini(&replica);
}

Test(seal, removes_leftovers_and_nothing_else)
{
    struct replica replica;
    struct contents good;

    make_damaged(&replica, &good);
    mem_disk_put(replica.disk, "data/00000009.mrs", "x", 1);
    mem_disk_put(replica.disk, "data/00000003.mrs.tmp", "x", 1);
    mem_disk_put(replica.disk, "data/notes.txt", "x", 1);
    cr_assert_not(refused(&replica, "", &good));
    cr_assert_not(mem_disk_exists(replica.disk, "data/00000009.mrs"));
    cr_assert_not(mem_disk_exists(replica.disk, "data/00000003.mrs.tmp"));
    cr_assert(mem_disk_exists(replica.disk, "data/notes.txt"));
    contents_fini(&good);
    replica_fini(&replica);
}
