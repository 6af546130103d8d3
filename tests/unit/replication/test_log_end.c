/*
 * The word that an orderly stop leaves of the log's end: what it saves, what it proves, and that
 * it is gone before it could be wrong.
 */
#include <criterion/criterion.h>

#include "tests/unit/replication/log_fixture.h"

enum { FILE_BYTES = 64 * 1024 };

static const char *const first_file = "log/00000001.log";
static const char *const end_file = "log/end.mre";

static void write_and_sync(struct fixture *fixture, uint64_t *seed)
{
    cr_assert_eq(fixture_write_random(fixture, seed, 5, 1500), ERR_OK);
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
}

static void finish(struct fixture *fixture)
{
    cr_assert_eq(log_finish(fixture->log), ERR_OK, "%s", err_detail());
    fixture->synced = fixture->count;
    fixture_close(fixture);
}

/* A log of some groups, finished or not. */
static struct fixture *stopped(bool finished, uint64_t file_bytes)
{
    struct fixture *fixture = fixture_new(file_bytes);
    uint64_t seed = 77;

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    for (int i = 0; i < 4; i++)
        write_and_sync(fixture, &seed);
    cr_assert_eq(log_prepare(fixture->log), ERR_OK);
    if (finished)
        finish(fixture);
    else
        fixture_close(fixture);
    return fixture;
}

static uint64_t reads_of_a_start(bool finished)
{
    struct fixture *fixture = stopped(finished, 4 * 1024 * 1024);
    uint64_t before = mem_disk_calls(fixture->disk, MEM_DISK_READ);
    uint64_t reads;

    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    reads = mem_disk_calls(fixture->disk, MEM_DISK_READ) - before;
    fixture_check(fixture);
    cr_assert_eq(fixture->replayed_count, fixture->count);
    fixture_free(fixture);
    return reads;
}

/* Two headers, the word, the first file of 1 MiB in one read; not the second one, of 4 MiB. */
Test(log_end, what_stands_behind_it_is_not_read)
{
    cr_assert_eq(reads_of_a_start(true), 4);
    cr_assert_geq(reads_of_a_start(false), 3 + 4);
}

Test(log_end, is_gone_for_good_once_the_log_is_open)
{
    struct fixture *fixture = stopped(true, FILE_BYTES);

    cr_assert(mem_disk_exists(fixture->disk, end_file));
    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    mem_disk_crash(fixture->disk, MEM_DISK_POWER, 1);
    cr_assert_not(mem_disk_exists(fixture->disk, end_file));
    fixture_close(fixture);
    fixture_free(fixture);
}

/* Without the word the last record could be torn: nothing behind it says that it was there. */
Test(log_end, proves_that_the_last_record_was_there)
{
    for (int finished = 0; finished < 2; finished++) {
        struct fixture *fixture = stopped(finished != 0, FILE_BYTES);
        const struct log_record *last = &fixture->written[fixture->count - 1].record;

        mem_disk_flip(fixture->disk, first_file, log_position_offset(last->position) + 8, 1);
        if (finished == 0) {
            cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
            cr_assert_eq(fixture->replayed_count, fixture->count - 1);
        } else {
            cr_assert_eq(fixture_open(fixture), ERR_CORRUPT);
            cr_assert_not_null(strstr(err_detail(), "the last stop says"), "%s", err_detail());
            cr_assert(mem_disk_exists(fixture->disk, end_file));
        }
        fixture_free(fixture);
    }
}

/* A word that is damaged, or of another log, says nothing; and what it could have proved, nobody
 * does. */
Test(log_end, counts_only_if_it_is_whole_and_of_this_node)
{
    struct log_end end;
    size_t size;
    struct fixture *fixture = stopped(true, FILE_BYTES);
    uint8_t *bytes = mem_disk_get(fixture->disk, end_file, &size);
    uint8_t other[sizeof end];

    cr_assert_eq(log_end_get(bytes, size, &end), ERR_OK);
    for (size_t i = 0; i < 4; i++) {
        struct log_end wrong = end;

        wrong.position += 8;
        wrong.node += i == 0;
        wrong.cluster += i == 1;
        log_end_put(&wrong, other);
        other[20] ^= i == 2;
        mem_disk_put(fixture->disk, end_file, other, i == 3 ? size - 1 : size);
        cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
        cr_assert_eq(fixture->replayed_count, fixture->count);
        cr_assert_not(mem_disk_exists(fixture->disk, end_file));
        fixture_close(fixture);
    }
    free(bytes);
    fixture_free(fixture);
}

/* Written at one stop, removed at the next start, but the removal was lost with the power; then the
 * log has gone on. */
Test(log_end, an_old_one_is_no_proof_against_what_came_later)
{
    struct fixture *fixture = stopped(true, FILE_BYTES);
    uint64_t seed = 5;
    size_t size;
    uint8_t *bytes = mem_disk_get(fixture->disk, end_file, &size);

    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    write_and_sync(fixture, &seed);
    fixture_close(fixture);
    mem_disk_put(fixture->disk, end_file, bytes, size);
    free(bytes);
    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    fixture_check(fixture);
    cr_assert_eq(fixture->replayed_count, fixture->count);
    fixture_free(fixture);
}

Test(log_end, a_stop_that_cannot_write_it_says_so_and_loses_nothing)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);
    uint64_t seed = 6;

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    write_and_sync(fixture, &seed);
    mem_disk_fail(fixture->disk, MEM_DISK_RENAME, 1, ERR_DISK_FULL, false);
    cr_assert_eq(log_finish(fixture->log), ERR_DISK_FULL);
    cr_assert_neq(err_detail()[0], '\0');
    fixture_close(fixture);
    cr_assert_not(mem_disk_exists(fixture->disk, end_file));
    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    fixture_check(fixture);
    fixture_free(fixture);
}

/* Stops and starts, orderly and not, each disk call of them failing once, torn power cuts between:
 * what was synced is there, and no start takes for damage what is none. */
Test(log_end, survives_power_cuts_at_any_disk_call)
{
    uint64_t seed = seed_of_run("log_end");

    for (int run = 0; run < 30; run++) {
        struct fixture *fixture = fixture_new(FILE_BYTES);

        for (int round = 0; round < 12; round++) {
            uint64_t nth = seed_below(&seed, 2) == 0 ? 0 : 1 + seed_below(&seed, 30);

            cr_assert_eq(fixture_open(fixture), ERR_OK, "run %d, round %d: %s", run, round,
                         err_detail());
            fixture_check(fixture);
            fixture_settle(fixture);
            for (uint64_t i = seed_below(&seed, 8); i > 0; i--)
                write_and_sync(fixture, &seed);
            mem_disk_fail(fixture->disk, MEM_DISK_ANY, nth, ERR_IO, true);
            if (seed_below(&seed, 3) != 0 && log_finish(fixture->log) == ERR_OK)
                fixture->synced = fixture->count;
            fixture_close(fixture);
            if (fixture_open(fixture) == ERR_OK) {
                fixture_check(fixture);
                if (fixture_write_random(fixture, &seed, 5, 1500) == ERR_OK &&
                    log_sync(fixture->log) == ERR_OK)
                    fixture->synced = fixture->count;
                fixture_close(fixture);
            }
            mem_disk_crash(fixture->disk, MEM_DISK_TORN, seed_next(&seed));
        }
        fixture_free(fixture);
    }
}
