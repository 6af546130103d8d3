/*
 * The shared log: what is written comes back; files follow each other and are released. Damage,
 * torn tails and faults are in test_log_recovery.c.
 */
#include <criterion/criterion.h>

#include "tests/unit/replication/log_fixture.h"

enum { FILE_BYTES = 64 * 1024 };

Test(log, opens_an_empty_directory_and_stays_empty)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);

    for (int i = 0; i < 3; i++) {
        cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
        cr_assert_eq(fixture->replayed_count, 0);
        fixture_close(fixture);
    }
    fixture_free(fixture);
}

Test(log, replays_what_was_written_in_order)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    fixture_add(fixture, 0, LOG_TERM, 1, 0, 5, 0);
    fixture_add_entry(fixture, 1, 1, 1, 100);
    fixture_add_entry(fixture, 2, 2, 1, 0);
    fixture_add(fixture, 3, LOG_SNAPSHOT, 1, 1, 5, 33);
    cr_assert_eq(fixture_write(fixture, 4), ERR_OK);
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
    fixture_add_entry(fixture, 0, 3, 9, 5000);
    cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
    fixture_close(fixture);

    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    cr_assert_eq(fixture->replayed_count, 5);
    fixture_check(fixture);
    fixture_free(fixture);
}

Test(log, replays_random_records_over_many_files_and_restarts)
{
    uint64_t seed = seed_of_run("log");

    for (int run = 0; run < 20; run++) {
        struct fixture *fixture = fixture_new(FILE_BYTES);

        mem_disk_direct(fixture->disk, true);
        for (int start = 0; start < 6; start++) {
            cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
            fixture_check(fixture);
            cr_assert_eq(fixture->replayed_count, fixture->count);
            for (int group = 0; group < 8; group++) {
                cr_assert_eq(fixture_write_random(fixture, &seed, 30, 4000), ERR_OK);
                if (seed_below(&seed, 2) == 0)
                    cr_assert_eq(fixture_sync(fixture), ERR_OK);
            }
            fixture_close(fixture);
        }
        fixture_free(fixture);
    }
}

Test(log, takes_records_larger_than_its_stage)
{
    struct fixture *fixture = fixture_new(16 * 1024 * 1024);

    mem_disk_direct(fixture->disk, true);
    cr_assert_eq(fixture_open(fixture), ERR_OK);
    fixture_add_entry(fixture, 0, 0, 1, 3 * 1024 * 1024 + 5);
    fixture_add_entry(fixture, 1, 1, 1, 1);
    fixture_add_entry(fixture, 2, 0, 2, 12 * 1024 * 1024 - 72);
    cr_assert_eq(fixture_write(fixture, 3), ERR_OK, "%s", err_detail());
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
    fixture_close(fixture);
    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    cr_assert_eq(fixture->replayed_count, 3);
    fixture_check(fixture);
    fixture_free(fixture);
}

Test(log, refuses_a_record_that_fits_no_file_and_is_failed_from_then_on)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    fixture_add_entry(fixture, 0, 0, 1, FILE_BYTES);
    cr_assert_eq(fixture_write(fixture, 1), ERR_TOO_LARGE);
    cr_assert_eq(fixture_sync(fixture), ERR_TOO_LARGE);
    fixture_free(fixture);
}

/* ---- Files --------------------------------------------------------------------------------- */

/* Write entries of one group until `files` files were begun. Returns the last index. */
static uint64_t fill_files(struct fixture *fixture, uint32_t group, uint64_t index, uint32_t files)
{
    uint32_t first = 0, now = 0;

    while (first == 0 || now < first + files - 1) {
        fixture->count = 0;
        fixture_add_entry(fixture, 0, group, ++index, 8000);
        cr_assert_eq(fixture_write(fixture, 1), ERR_OK, "%s", err_detail());
        cr_assert_eq(fixture_sync(fixture), ERR_OK);
        now = log_position_file(fixture->written[0].record.position);
        if (first == 0)
            first = now;
    }
    return index;
}

Test(log, releases_files_that_no_group_needs_and_uses_them_again)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);
    struct log_stats before, after;
    uint64_t last;

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    last = fill_files(fixture, 1, 0, 6);
    cr_assert_eq(log_prepare(fixture->log), ERR_OK);
    log_stats(fixture->log, &before);
    cr_assert_eq(before.files, 7); /* One is ready to be next. */
    cr_assert(mem_disk_exists(fixture->disk, "log/00000001.log"));

    log_keep_after(fixture->log, 1, last);
    cr_assert_eq(log_prepare(fixture->log), ERR_OK);
    cr_assert_not(mem_disk_exists(fixture->disk, "log/00000001.log"));
    cr_assert(mem_disk_exists(fixture->disk, "log/00000001.spare"));

    last = fill_files(fixture, 1, last, 4);
    log_stats(fixture->log, &after);
    cr_assert_eq(after.files, before.files);
    cr_assert_eq(after.bytes, before.bytes);
    fixture_free(fixture);
}

Test(log, keeps_a_file_for_the_one_group_that_needs_it)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);
    uint64_t last;

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    fixture_add_entry(fixture, 0, 2, 7, 10);
    cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    last = fill_files(fixture, 1, 0, 4);
    log_keep_after(fixture->log, 1, last);
    log_keep_after(fixture->log, 2, 6);
    cr_assert_eq(log_prepare(fixture->log), ERR_OK);
    cr_assert(mem_disk_exists(fixture->disk, "log/00000001.log"));
    log_keep_after(fixture->log, 2, 7);
    cr_assert_eq(log_prepare(fixture->log), ERR_OK);
    cr_assert_not(mem_disk_exists(fixture->disk, "log/00000001.log"));
    fixture_free(fixture);
}

/* Not before the states in the next file are on disk, and a record says so that is there too. */
Test(log, keeps_a_file_until_the_next_one_can_stand_for_it)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);
    uint64_t index = 0;

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    fixture_add(fixture, 0, LOG_TERM, 3, 0, 42, 0);
    cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    do {
        fixture->count = 0;
        fixture_add_entry(fixture, 0, 1, ++index, 8000);
        cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    } while (log_position_file(fixture->written[0].record.position) == 1);
    log_keep_after(fixture->log, 1, index);

    cr_assert_eq(log_prepare(fixture->log), ERR_OK);
    cr_assert(mem_disk_exists(fixture->disk, "log/00000001.log"));
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
    cr_assert_eq(log_prepare(fixture->log), ERR_OK);
    cr_assert(mem_disk_exists(fixture->disk, "log/00000001.log"));
    fixture_add_entry(fixture, 0, 1, ++index, 8);
    cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    cr_assert_eq(log_prepare(fixture->log), ERR_OK);
    cr_assert(mem_disk_exists(fixture->disk, "log/00000001.log"));
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
    cr_assert_eq(log_prepare(fixture->log), ERR_OK);
    cr_assert_not(mem_disk_exists(fixture->disk, "log/00000001.log"));
    fixture_free(fixture);
}

Test(log, replays_terms_votes_and_snapshots_whose_files_are_gone)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);
    uint64_t last;
    bool term = false, snapshot = false;

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    fixture_add(fixture, 0, LOG_TERM, 3, 0, 42, 0);
    fixture_add(fixture, 1, LOG_SNAPSHOT, 2, 77, 41, 60);
    cr_assert_eq(fixture_write(fixture, 2), ERR_OK);
    last = fill_files(fixture, 1, 0, 5);
    log_keep_after(fixture->log, 1, last);
    cr_assert_eq(log_prepare(fixture->log), ERR_OK);
    cr_assert_not(mem_disk_exists(fixture->disk, "log/00000001.log"));
    fixture_close(fixture);

    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    for (size_t i = 0; i < fixture->replayed_count; i++) {
        const struct fixture_record *replayed = &fixture->replayed[i];

        if (replayed->record.kind == LOG_TERM && replayed->record.group == 3) {
            cr_assert_eq(replayed->record.term, 42);
            cr_assert_eq(replayed->record.aux, 1 + 42 % 3);
            term = true;
        }
        if (replayed->record.kind == LOG_SNAPSHOT && replayed->record.group == 2) {
            cr_assert_eq(replayed->record.index, 77);
            cr_assert_eq(replayed->record.term, 41);
            cr_assert_eq(replayed->size, 60);
            snapshot = true;
        }
    }
    cr_assert(term);
    cr_assert(snapshot);
    fixture_free(fixture);
}

/* An install counts whatever its index: what stood before it is void, an older snapshot too. */
Test(log, replays_an_install_and_what_its_state_says_once_it_is_gone)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);
    uint64_t last;
    int found = 0;

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    fixture_add_entry(fixture, 0, 2, 8, 100);
    fixture_add(fixture, 1, LOG_SNAPSHOT, 2, 77, 41, 60);
    fixture_add(fixture, 2, LOG_INSTALL, 2, 70, 42, 50);
    cr_assert_eq(fixture_write(fixture, 3), ERR_OK);
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
    fixture_close(fixture);
    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    fixture_check(fixture);
    last = fill_files(fixture, 1, 0, 5);
    log_keep_after(fixture->log, 1, last);
    log_keep_after(fixture->log, 2, 70);
    cr_assert_eq(log_prepare(fixture->log), ERR_OK);
    cr_assert_not(mem_disk_exists(fixture->disk, "log/00000001.log"));
    fixture_close(fixture);

    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    for (size_t i = 0; i < fixture->replayed_count; i++) {
        const struct fixture_record *replayed = &fixture->replayed[i];

        if (replayed->record.group != 2)
            continue;
        found++;
        cr_assert_eq(replayed->record.kind, LOG_SNAPSHOT);
        cr_assert_eq(replayed->record.index, 70);
        cr_assert_eq(replayed->record.term, 42);
        cr_assert_eq(replayed->size, 50);
    }
    cr_assert_eq(found, 1);
    fixture_free(fixture);
}

Test(log, over_its_limit_drops_what_the_store_holds_though_a_follower_lacks_it)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);
    struct log_stats stats;
    uint64_t last;

    fixture->options.bytes_max = 3 * FILE_BYTES;
    cr_assert_eq(fixture_open(fixture), ERR_OK);
    last = fill_files(fixture, 1, 0, 6);
    cr_assert_eq(log_prepare(fixture->log), ERR_OK);
    log_stats(fixture->log, &stats);
    cr_assert_eq(stats.files, 7); /* Nobody else has these entries: they stay. */

    fixture->count = 0;
    fixture_add(fixture, 0, LOG_SNAPSHOT, 1, last, 1, 10);
    cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    cr_assert_eq(log_prepare(fixture->log), ERR_OK);
    log_stats(fixture->log, &stats);
    cr_assert_eq(stats.files, 7); /* Not synced: it does not count yet. */
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
    cr_assert_eq(log_prepare(fixture->log), ERR_OK);
    log_stats(fixture->log, &stats);
    cr_assert_eq(stats.bytes, 3 * FILE_BYTES);
    fixture_free(fixture);
}

Test(log, takes_a_new_file_size_at_the_next_start)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);
    uint64_t last;

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    last = fill_files(fixture, 1, 0, 4);
    log_keep_after(fixture->log, 1, last);
    cr_assert_eq(log_prepare(fixture->log), ERR_OK);
    fixture_close(fixture);

    fixture->options.file_bytes = 2 * FILE_BYTES;
    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    last = fill_files(fixture, 1, last, 5);
    fixture_close(fixture);
    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    cr_assert_eq(fixture->replayed[fixture->replayed_count - 1].record.index, last);
    fixture_free(fixture);
}

Test(log, says_that_the_disk_is_short_but_still_writes)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    mem_disk_limit(fixture->disk, 2 * FILE_BYTES + FILE_BYTES / 2);
    cr_assert_eq(log_prepare(fixture->log), ERR_OK);
    (void)fill_files(fixture, 1, 0, 2);
    cr_assert_eq(log_prepare(fixture->log), ERR_DISK_FULL);
    fixture_add(fixture, 0, LOG_TERM, 1, 0, 9, 0);
    cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
    mem_disk_limit(fixture->disk, 0);
    cr_assert_eq(log_prepare(fixture->log), ERR_OK);
    fixture_free(fixture);
}

Test(log, keeps_its_reserve)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);

    fixture->options.reserve_bytes = 10 * FILE_BYTES;
    cr_assert_eq(fixture_open(fixture), ERR_OK);
    mem_disk_limit(fixture->disk, 11 * FILE_BYTES);
    cr_assert_eq(log_prepare(fixture->log), ERR_DISK_FULL);
    cr_assert_not(log_lacks_next(fixture->log));
    mem_disk_limit(fixture->disk, 12 * FILE_BYTES);
    cr_assert_eq(log_prepare(fixture->log), ERR_OK);
    fixture_free(fixture);
}

/* ---- Reading back -------------------------------------------------------------------------- */

Test(log, reads_an_entry_back_at_its_position)
{
    struct fixture *fixture = fixture_new(1024 * 1024);
    uint64_t seed = seed_of_run("log");

    mem_disk_direct(fixture->disk, true);
    cr_assert_eq(fixture_open(fixture), ERR_OK);
    for (int i = 0; i < 40; i++)
        cr_assert_eq(fixture_write_random(fixture, &seed, 10, 100000), ERR_OK);
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
    for (size_t i = 0; i < fixture->count; i++) {
        const struct log_record *record = &fixture->written[i].record;
        struct buf *payload = NULL;

        if (record->kind != LOG_ENTRY)
            continue;
        cr_assert_eq(
            log_read(fixture->log, record->position, record->group, record->index, &payload),
            ERR_OK, "%s", err_detail());
        cr_assert_eq(payload->size, fixture->written[i].size);
        for (uint32_t at = 0; at < payload->size; at++)
            cr_assert_eq(payload->bytes[at], fixture_byte(record, at));
        buf_unref(payload);
    }
    fixture_free(fixture);
}

Test(log, reads_nothing_but_the_entry_asked_for)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);
    struct buf *payload;
    uint64_t position, last;

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    fixture_add_entry(fixture, 0, 1, 5, 100);
    cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
    position = fixture->written[0].record.position;
    cr_assert_eq(log_read(fixture->log, position, 2, 5, &payload), ERR_CORRUPT);
    cr_assert_eq(log_read(fixture->log, position, 1, 4, &payload), ERR_CORRUPT);
    cr_assert_eq(log_read(fixture->log, position + 8, 1, 5, &payload), ERR_CORRUPT);
    cr_assert_eq(log_read(fixture->log, log_position(1, FILE_BYTES), 1, 5, &payload), ERR_CORRUPT);
    cr_assert_eq(log_read(fixture->log, log_position(99, 4096), 1, 5, &payload), ERR_NOT_FOUND);
    mem_disk_flip(fixture->disk, "log/00000001.log", log_position_offset(position) + 90, 1);
    cr_assert_eq(log_read(fixture->log, position, 1, 5, &payload), ERR_CORRUPT);

    last = fill_files(fixture, 1, 5, 4);
    log_keep_after(fixture->log, 1, last);
    cr_assert_eq(log_prepare(fixture->log), ERR_OK);
    cr_assert_eq(log_read(fixture->log, position, 1, 5, &payload), ERR_NOT_FOUND);
    fixture_free(fixture);
}

/* ---- Whose log it is ----------------------------------------------------------------------- */

Test(log, refuses_the_log_of_another_node_or_cluster)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    fixture_close(fixture);
    fixture->options.node++;
    cr_assert_eq(fixture_open(fixture), ERR_INVALID);
    fixture->options.node--;
    fixture->options.cluster++;
    cr_assert_eq(fixture_open(fixture), ERR_INVALID);
    fixture->options.cluster--;
    cr_assert_eq(fixture_open(fixture), ERR_OK);
    fixture_free(fixture);
}

Test(log, refuses_records_of_groups_that_are_not_configured)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    fixture_add_entry(fixture, 0, 3, 1, 10);
    cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
    fixture_close(fixture);
    fixture->options.groups = 3;
    cr_assert_eq(fixture_open(fixture), ERR_INVALID);
    fixture_free(fixture);
}

Test(log, refuses_bad_file_sizes)
{
    const uint64_t sizes[] = {0, 4096, FILE_BYTES + 1, UINT64_C(2) << 30};

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct fixture *fixture = fixture_new(sizes[i]);

        cr_assert_eq(fixture_open(fixture), ERR_INVALID);
        fixture_free(fixture);
    }
}
