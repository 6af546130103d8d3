/*
 * What a scrub does with the log while it is written: every bit on disk is checked, and a damaged
 * file takes nothing more and goes away.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

#include "tests/unit/replication/log_fixture.h"

enum { FILE_BYTES = 64 * 1024 };

static enum err verify(struct fixture *fixture, uint32_t number)
{
    return log_verify(fixture->log, fixture->options.disk, number);
}

static void verify_all(struct fixture *fixture)
{
    uint32_t first, current;

    log_range(fixture->log, &first, &current);
    for (uint32_t number = first; number <= current; number++)
        cr_assert_eq(verify(fixture, number), ERR_OK, "%s", err_detail());
    cr_assert_eq(verify(fixture, first - 1), ERR_NOT_FOUND);
}

/* Three files and a part of the fourth. */
static struct fixture *some_files(uint64_t *seed)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);
    uint32_t first, current = 0;

    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    while (current < 4) {
        cr_assert_eq(fixture_write_random(fixture, seed, 20, 2000), ERR_OK, "%s", err_detail());
        log_range(fixture->log, &first, &current);
    }
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
    return fixture;
}

Test(log_verify, finds_nothing_in_sound_files)
{
    uint64_t seed = seed_of_run("log verify sound");

    for (int run = 0; run < 10; run++) {
        struct fixture *fixture = some_files(&seed);

        verify_all(fixture);
        fixture_close(fixture);
        cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
        verify_all(fixture);
        /* What is not yet synced is nobody's business. */
        cr_assert_eq(fixture_write_random(fixture, &seed, 20, 2000), ERR_OK);
        verify_all(fixture);
        fixture_free(fixture);
    }
}

Test(log_verify, finds_every_flipped_bit)
{
    uint64_t seed = seed_of_run("log verify flips");
    struct fixture *fixture = some_files(&seed);
    struct log_stats stats;

    log_stats(fixture->log, &stats);
    for (uint32_t number = 1; number <= 4; number++) {
        uint64_t last = LOG_ALIGN;
        char path[64];

        (void)snprintf(path, sizeof path, "log/%08" PRIu32 ".log", number);
        for (uint64_t offset = 0; offset < FILE_BYTES; offset += 1 + seed_below(&seed, 61)) {
            uint8_t mask = (uint8_t)(1u << seed_below(&seed, 8));
            enum err err;

            mem_disk_flip(fixture->disk, path, offset, mask);
            err = verify(fixture, number);
            if (err != ERR_OK)
                last = offset;
            /* Only behind the end a flip is none. */
            cr_assert(err == ERR_CORRUPT || (err == ERR_OK && offset > last), "%s, offset %" PRIu64,
                      path, offset);
            mem_disk_flip(fixture->disk, path, offset, mask);
        }
        cr_assert_eq(verify(fixture, number), ERR_OK);
        if (number == log_position_file(stats.position))
            cr_assert_geq(last + 61, log_position_offset(stats.position));
        else
            cr_assert_geq(last, FILE_BYTES - 2 * LOG_ALIGN);
    }
    fixture_free(fixture);
}

/* A file that is damaged while it is written takes no further record, and is removed, not kept as a
 * spare, as soon as nobody needs it. */
Test(log_verify, gets_rid_of_a_condemned_file)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);
    uint32_t first, current;
    struct log_stats stats;
    uint64_t index;

    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    for (uint32_t group = 0; group < FIXTURE_GROUPS; group++)
        fixture_add_entry(fixture, group, group, 10 + group, 100);
    cr_assert_eq(fixture_write(fixture, FIXTURE_GROUPS), ERR_OK);
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
    cr_assert_not(log_last_index(fixture->log, 2, 1, &index), "it is still written");

    log_condemn(fixture->log, 1);
    fixture_add_entry(fixture, 0, 2, 12, 100);
    cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    log_range(fixture->log, &first, &current);
    cr_assert_eq(current, 1, "there is no other one yet");
    cr_assert_eq(log_prepare(fixture->log), ERR_OK);
    fixture_add_entry(fixture, 0, 2, 13, 100);
    cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    fixture_add_entry(fixture, 0, 2, 14, 100);
    cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
    fixture_add_entry(fixture, 0, 2, 15, 100);
    cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
    log_range(fixture->log, &first, &current);
    cr_assert_eq(first, 1);
    cr_assert_eq(current, 2, "the next one is not condemned");
    cr_assert(log_last_index(fixture->log, 2, 1, &index));
    cr_assert_eq(index, 12);
    cr_assert_not(log_last_index(fixture->log, 2, 2, &index));

    for (uint32_t group = 0; group < FIXTURE_GROUPS; group++) {
        cr_assert_eq(log_prepare(fixture->log), ERR_OK);
        log_range(fixture->log, &first, &current);
        cr_assert_eq(first, 1, "group %" PRIu32 " needs it", group);
        log_keep_after(fixture->log, group, 10 + group);
    }
    cr_assert_eq(log_prepare(fixture->log), ERR_OK);
    log_range(fixture->log, &first, &current);
    cr_assert_eq(first, 2);
    log_stats(fixture->log, &stats);
    cr_assert_eq(stats.files, 2, "the current one and the next");
    cr_assert_eq(verify(fixture, 1), ERR_NOT_FOUND);
    log_condemn(fixture->log, 1); /* It is gone: nothing happens. */
    fixture_free(fixture);
}
