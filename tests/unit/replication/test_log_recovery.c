/*
 * The shared log after power cuts, damage and failing disks: what was synced is there, what is
 * damaged is noticed, and no record ever comes back that was not written.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "storage/base/dry_disk.h"
#include "tests/unit/replication/log_fixture.h"

enum { FILE_BYTES = 64 * 1024 };

static const char *const first_file = "log/00000001.log";

/* A log of `groups` groups, each synced alone; the n-th ends with record ends[n]. */
static struct fixture *small_log(size_t groups, size_t *ends)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);
    uint64_t seed = 99;

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    for (size_t i = 0; i < groups; i++) {
        cr_assert_eq(fixture_write_random(fixture, &seed, 5, 1500), ERR_OK);
        cr_assert_eq(fixture_sync(fixture), ERR_OK);
        ends[i] = fixture->count;
    }
    fixture_close(fixture);
    return fixture;
}

static uint64_t end_of(const struct fixture_record *record)
{
    return log_position_offset(record->record.position) + log_record_bytes(record->size);
}

/* The record that the byte belongs to; count if it is padding. */
static size_t record_at(const struct fixture *fixture, uint64_t offset)
{
    for (size_t i = 0; i < fixture->count; i++) {
        uint64_t from = log_position_offset(fixture->written[i].record.position);
        uint64_t size = sizeof(struct log_record_header) + fixture->written[i].size;

        if (offset >= from && offset < from + size)
            return i;
    }
    return fixture->count;
}

/* Open a copy of the disk on which one byte was changed. */
static enum err open_flipped(struct fixture *fixture, uint64_t offset, uint8_t mask)
{
    struct mem_disk *whole = fixture->disk;
    enum err err;

    fixture->disk = mem_disk_clone(whole);
    fixture->options.disk = mem_disk_table(fixture->disk);
    mem_disk_flip(fixture->disk, first_file, offset, mask);
    err = fixture_open(fixture);
    if (err == ERR_OK)
        fixture_close(fixture);
    cr_assert_eq(mem_disk_open_files(fixture->disk), 0);
    mem_disk_free(fixture->disk);
    fixture->disk = whole;
    fixture->options.disk = mem_disk_table(whole);
    return err;
}

/* ---- Damage -------------------------------------------------------------------------------- */

Test(log_recovery, notices_every_flipped_bit_that_a_later_record_proves_was_synced)
{
    enum { GROUPS = 4 };
    size_t ends[GROUPS];
    struct fixture *fixture = small_log(GROUPS, ends);
    size_t last_group = ends[GROUPS - 2]; /* Its first record. */
    uint64_t used = end_of(&fixture->written[fixture->count - 1]);

    fixture->synced = 0; /* Checked here, record by record. */
    for (uint64_t offset = LOG_ALIGN; offset < used; offset++) {
        size_t damaged = record_at(fixture, offset);
        enum err err = open_flipped(fixture, offset, (uint8_t)(1u << offset % 8));

        if (damaged < last_group) {
            cr_assert_eq(err, ERR_CORRUPT, "offset %zu", (size_t)offset);
            cr_assert_not_null(strstr(err_detail(), "00000001.log"));
            continue;
        }
        cr_assert_eq(err, ERR_OK, "offset %zu: %s", (size_t)offset, err_detail());
        fixture_check(fixture);
        cr_assert_eq(fixture->replayed_count, damaged);
    }
    fixture_free(fixture);
}

Test(log_recovery, notices_every_flipped_bit_of_a_file_header)
{
    size_t ends[2];
    struct fixture *fixture = small_log(2, ends);

    for (uint64_t offset = 0; offset < LOG_ALIGN; offset++)
        cr_assert_eq(open_flipped(fixture, offset, (uint8_t)(1u << offset % 8)), ERR_CORRUPT);
    fixture_free(fixture);
}

/* A check replays the same and changes nothing: leftovers behind a torn tail and an unfinished file
 * stay where they are. */
Test(log_recovery, a_check_on_a_dry_disk_changes_nothing)
{
    size_t ends[3], size;
    struct fixture *fixture = small_log(3, ends);
    uint64_t at = fixture->written[ends[1]].record.position & UINT32_MAX, end = 0;
    struct dry_disk dry;
    struct log_options options = fixture->options;
    uint8_t *before, *after;

    options.disk = dry_disk_init(&dry, options.disk);
    mem_disk_put(fixture->disk, "log/00000002.tmp", "x", 1);
    mem_disk_flip(fixture->disk, first_file, at + 100, 1); /* The last group is torn. */
    before = mem_disk_get(fixture->disk, first_file, &size);
    fixture->replayed_count = 0;
    cr_assert_eq(log_check(&options, fixture_replay, fixture, &end), ERR_OK, "%s", err_detail());
    cr_assert_eq(fixture->replayed_count, ends[1]);
    cr_assert_eq(end, end_of(&fixture->written[ends[1] - 1]) |
                          (fixture->written[0].record.position & ~(uint64_t)UINT32_MAX));
    after = mem_disk_get(fixture->disk, first_file, &size);
    cr_assert_arr_eq(before, after, size);
    cr_assert(mem_disk_exists(fixture->disk, "log/00000002.tmp"));
    cr_assert_eq(mem_disk_open_files(fixture->disk), 0);
    mem_disk_flip(fixture->disk, first_file, LOG_ALIGN + 100, 1); /* And one that was synced. */
    cr_assert_eq(log_check(&options, fixture_replay, fixture, &end), ERR_CORRUPT);
    free(before);
    free(after);
    fixture_free(fixture);
}

/* A file never changes its size and gets its name after it was synced: a short one is damage. */
Test(log_recovery, refuses_every_truncated_file)
{
    size_t ends[2], size;
    struct fixture *fixture = small_log(2, ends);
    uint8_t *bytes = mem_disk_get(fixture->disk, first_file, &size);

    cr_assert_eq(size, FILE_BYTES);
    for (size_t left = 0; left < size; left += left < 100 ? 1 : 97) {
        mem_disk_put(fixture->disk, first_file, bytes, left);
        cr_assert_eq(fixture_open(fixture), ERR_CORRUPT);
    }
    mem_disk_put(fixture->disk, first_file, bytes, size);
    cr_assert_eq(fixture_open(fixture), ERR_OK);
    fixture_check(fixture);
    free(bytes);
    fixture_free(fixture);
}

/* Sectors of one group that vanish: records behind the hole must not close up to those before. */
Test(log_recovery, never_skips_records_whose_sectors_were_lost)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);
    uint8_t *whole, *holed;
    size_t size;

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    for (size_t group = 0; group < 3; group++) {
        for (size_t i = 0; i < 12; i++)
            fixture_add_entry(fixture, i, 1, fixture->count + i + 1, 200);
        cr_assert_eq(fixture_write(fixture, 12), ERR_OK);
    }
    fixture_close(fixture);
    whole = mem_disk_get(fixture->disk, first_file, &size);
    holed = malloc(size);
    cr_assert_not_null(holed);
    for (size_t from = LOG_ALIGN; from < 4 * LOG_ALIGN; from += 512) {
        for (size_t to = from + 512; to <= 4 * LOG_ALIGN; to += 512) {
            memcpy(holed, whole, size);
            memset(holed + from, 0, to - from);
            mem_disk_put(fixture->disk, first_file, holed, size);
            cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
            fixture_check(fixture);
            fixture_close(fixture);
        }
    }
    free(whole);
    free(holed);
    fixture_free(fixture);
}

Test(log_recovery, a_block_that_went_to_another_place_is_not_taken_for_its_own)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);
    uint8_t *bytes;
    size_t size;

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    for (size_t group = 0; group < 4; group++) {
        fixture_add_entry(fixture, 0, 1, group + 1, 1000);
        cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
        cr_assert_eq(fixture_sync(fixture), ERR_OK);
    }
    fixture_close(fixture);
    bytes = mem_disk_get(fixture->disk, first_file, &size);
    memcpy(bytes + 2 * LOG_ALIGN, bytes + 3 * LOG_ALIGN, LOG_ALIGN);
    mem_disk_put(fixture->disk, first_file, bytes, size);
    cr_assert_eq(fixture_open(fixture), ERR_CORRUPT);
    free(bytes);
    fixture_free(fixture);
}

/* Several files, the last of them begun. */
static struct fixture *log_of_files(uint32_t files)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);
    uint64_t seed = 7;

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    do {
        cr_assert_eq(fixture_write_random(fixture, &seed, 4, 4000), ERR_OK);
        cr_assert_eq(fixture_sync(fixture), ERR_OK);
    } while (log_position_file(fixture->written[fixture->count - 1].record.position) < files);
    fixture_close(fixture);
    return fixture;
}

Test(log_recovery, notices_a_missing_file_and_one_of_zeros)
{
    struct fixture *fixture = log_of_files(4);
    const struct disk *disk = mem_disk_table(fixture->disk);
    uint8_t *zeros = calloc(1, FILE_BYTES);
    uint8_t *bytes;
    size_t size;

    cr_assert_not_null(zeros);
    bytes = mem_disk_get(fixture->disk, "log/00000003.log", &size);
    mem_disk_put(fixture->disk, "log/00000003.log", zeros, size);
    cr_assert_eq(fixture_open(fixture), ERR_CORRUPT);
    mem_disk_put(fixture->disk, "log/00000003.log", bytes, LOG_ALIGN);
    cr_assert_eq(fixture_open(fixture), ERR_CORRUPT);
    memcpy(zeros, bytes, LOG_ALIGN);
    mem_disk_put(fixture->disk, "log/00000003.log", zeros, size);
    cr_assert_eq(fixture_open(fixture), ERR_CORRUPT);
    cr_assert_eq(disk->remove(disk->ctx, "log/00000003.log"), ERR_OK);
    cr_assert_eq(fixture_open(fixture), ERR_CORRUPT);
    cr_assert_not_null(strstr(err_detail(), "00000003.log"), "%s", err_detail());
    mem_disk_put(fixture->disk, "log/00000003.log", bytes, size);
    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    fixture_check(fixture);
    free(bytes);
    free(zeros);
    fixture_free(fixture);
}

/* Whatever is lost at the end of a file that is not the last was synced before the next began. */
Test(log_recovery, notices_a_lost_end_of_an_older_file)
{
    struct fixture *fixture = log_of_files(3);
    size_t last = 0, size;
    uint8_t *bytes = mem_disk_get(fixture->disk, first_file, &size);

    while (log_position_file(fixture->written[last + 1].record.position) == 1)
        last++;
    memset(bytes + log_position_offset(fixture->written[last].record.position), 0,
           sizeof(struct log_record_header));
    mem_disk_put(fixture->disk, first_file, bytes, size);
    cr_assert_eq(fixture_open(fixture), ERR_CORRUPT);
    free(bytes);
    fixture_free(fixture);
}

Test(log_recovery, ignores_files_that_are_not_its_own)
{
    size_t ends[2];
    struct fixture *fixture = small_log(2, ends);

    mem_disk_put(fixture->disk, "log/README", "x", 1);
    mem_disk_put(fixture->disk, "log/1.log", "x", 1);
    mem_disk_put(fixture->disk, "log/0000000x.log", "x", 1);
    mem_disk_put(fixture->disk, "log/00000000.log", "x", 1);
    mem_disk_put(fixture->disk, "log/99999999999.log", "x", 1);
    mem_disk_put(fixture->disk, "log/00000002.tmp", "x", 1);
    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    fixture_check(fixture);
    cr_assert_not(mem_disk_exists(fixture->disk, "log/00000002.tmp"));
    cr_assert(mem_disk_exists(fixture->disk, "log/README"));
    fixture_free(fixture);
}

Test(log_recovery, ends_with_the_error_of_the_replay)
{
    size_t ends[3];
    struct fixture *fixture = small_log(3, ends);

    fixture->replay_fails_at = 2;
    cr_assert_eq(fixture_open(fixture), ERR_NO_MEMORY);
    fixture->replay_fails_at = 0;
    cr_assert_eq(fixture_open(fixture), ERR_OK);
    fixture_check(fixture);
    fixture_free(fixture);
}

/* ---- Power cuts and failing disks ---------------------------------------------------------- */

/* Some files' worth of work, with releases. Stops at the first error and returns it. */
static enum err work(struct fixture *fixture, uint64_t *seed, int groups)
{
    for (int i = 0; i < groups; i++) {
        enum err err = fixture_write_random(fixture, seed, 6, 3000);

        if (err != ERR_OK)
            return err;
        if (seed_below(seed, 3) != 0 && (err = fixture_sync(fixture)) != ERR_OK)
            return err;
        if (seed_below(seed, 8) == 0 && (err = log_prepare(fixture->log)) != ERR_OK)
            return err;
    }
    return ERR_OK;
}

/* Start, work and stop with the n-th disk call failing, then once more without. False: there are
 * not so many calls. */
static bool survives_failure(uint64_t n, bool stays, enum mem_disk_crash crash)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);
    uint64_t seed = 1234, later = n, before = mem_disk_calls(fixture->disk, MEM_DISK_ANY);
    bool reached;
    enum err err;

    mem_disk_fail(fixture->disk, MEM_DISK_ANY, n, ERR_IO, stays);
    err = fixture_open(fixture);
    if (err == ERR_OK)
        err = work(fixture, &seed, 40);
    reached = mem_disk_calls(fixture->disk, MEM_DISK_ANY) - before >= n;
    if (err != ERR_OK) {
        cr_assert(err == ERR_IO || (stays && err == ERR_CORRUPT), "call %zu: %s", (size_t)n,
                  err_name(err));
        cr_assert_neq(err_detail()[0], '\0');
    }
    if (fixture->log != NULL)
        fixture_close(fixture);
    mem_disk_crash(fixture->disk, crash, n);

    for (int start = 0; start < 2; start++) {
        cr_assert_eq(fixture_open(fixture), ERR_OK, "call %zu: %s", (size_t)n, err_detail());
        fixture_check(fixture);
        fixture_settle(fixture);
        cr_assert_eq(work(fixture, &later, 5), ERR_OK);
        fixture_close(fixture);
    }
    fixture_free(fixture);
    return reached;
}

Test(log_recovery, keeps_what_was_synced_whichever_disk_call_failed)
{
    uint64_t n = 1;

    while (survives_failure(n, false, MEM_DISK_PROCESS))
        n++;
    cr_assert_gt(n, 100);
}

/* A sector that cannot be read is damage as wrong bytes are: others have what stood there. A disk
 * that reads nothing at all, or that reads at the second try, is not. */
Test(log_recovery, takes_a_place_that_cannot_be_read_for_damage)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);
    uint64_t seed = 77, headers;
    struct log_stats stats;

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    cr_assert_eq(work(fixture, &seed, 40), ERR_OK);
    log_stats(fixture->log, &stats);
    headers = stats.files;
    fixture_close(fixture);
    mem_disk_fail(fixture->disk, MEM_DISK_READ, 1, ERR_IO, true);
    cr_assert_eq(fixture_open(fixture), ERR_IO);
    mem_disk_fail(fixture->disk, MEM_DISK_READ, headers + 2, ERR_IO, true);
    cr_assert_eq(fixture_open(fixture), ERR_CORRUPT);
    cr_assert_not_null(strstr(err_detail(), "cannot be read"), "%s", err_detail());
    mem_disk_fail(fixture->disk, MEM_DISK_READ, headers + 2, ERR_IO, false);
    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    fixture_check(fixture);
    fixture_close(fixture);
    fixture_free(fixture);
}

Test(log_recovery, keeps_what_was_synced_if_the_power_goes_at_any_disk_call)
{
    uint64_t n = 1;

    while (survives_failure(n, true, MEM_DISK_POWER))
        n++;
    for (n = 1; survives_failure(n, true, MEM_DISK_TORN); n++)
        continue;
    cr_assert_gt(n, 100);
}

Test(log_recovery, keeps_what_was_synced_over_many_torn_power_cuts)
{
    uint64_t seed = seed_of_run("log_recovery");

    for (int run = 0; run < 60; run++) {
        struct fixture *fixture = fixture_new(FILE_BYTES);

        for (int cut = 0; cut < 12; cut++) {
            cr_assert_eq(fixture_open(fixture), ERR_OK, "run %d, cut %d: %s", run, cut,
                         err_detail());
            fixture_check(fixture);
            fixture_settle(fixture);
            cr_assert_eq(work(fixture, &seed, (int)seed_below(&seed, 12)), ERR_OK);
            mem_disk_crash(fixture->disk, MEM_DISK_TORN, seed_next(&seed));
            fixture_close(fixture);
        }
        fixture_free(fixture);
    }
}

/* A recovery that is itself cut short must not make a torn tail look like corruption, or more. */
Test(log_recovery, can_be_interrupted_at_any_disk_call)
{
    uint64_t seed = seed_of_run("log_recovery");

    for (int run = 0; run < 40; run++) {
        struct fixture *fixture = fixture_new(FILE_BYTES);
        uint64_t n = 1;
        enum err err;

        cr_assert_eq(fixture_open(fixture), ERR_OK);
        cr_assert_eq(work(fixture, &seed, 10), ERR_OK);
        mem_disk_crash(fixture->disk, MEM_DISK_TORN, seed_next(&seed));
        fixture_close(fixture);
        do {
            mem_disk_fail(fixture->disk, MEM_DISK_ANY, n++, ERR_IO, true);
            err = fixture_open(fixture);
            if (err == ERR_OK)
                fixture_close(fixture);
            mem_disk_crash(fixture->disk, MEM_DISK_TORN, seed_next(&seed));
        } while (err != ERR_OK);
        fixture_check(fixture);
        fixture_free(fixture);
    }
}

/* The process died, the machine did not: what the next start replayed is durable from then on. */
Test(log_recovery, syncs_what_it_replays)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    fixture_add_entry(fixture, 0, 1, 1, 100);
    cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    fixture_close(fixture);
    cr_assert_eq(fixture_open(fixture), ERR_OK);
    cr_assert_eq(fixture->replayed_count, 1);
    mem_disk_crash(fixture->disk, MEM_DISK_POWER, 1);
    fixture_close(fixture);
    cr_assert_eq(fixture_open(fixture), ERR_OK);
    cr_assert_eq(fixture->replayed_count, 1);
    fixture_free(fixture);
}

/* Three groups, the second of which was lost. A new one of its size ends where the third starts. */
Test(log_recovery, an_old_record_behind_a_torn_tail_does_not_come_back_to_life)
{
    struct fixture *fixture = fixture_new(FILE_BYTES);
    uint8_t *bytes;
    size_t size;

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    for (size_t i = 1; i <= 3; i++) {
        fixture_add_entry(fixture, 0, 1, i, 500);
        cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    }
    fixture_close(fixture);
    bytes = mem_disk_get(fixture->disk, first_file, &size);
    memset(bytes + 2 * LOG_ALIGN, 0, LOG_ALIGN);
    mem_disk_put(fixture->disk, first_file, bytes, size);
    free(bytes);

    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    cr_assert_eq(fixture->replayed_count, 1);
    fixture_settle(fixture);
    fixture_add_entry(fixture, 0, 1, 2, 500);
    cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
    fixture_close(fixture);
    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    cr_assert_eq(fixture->replayed_count, 2);
    fixture_free(fixture);
}

/* As above, but of the third group only the sector with its header reached the disk. The others
 * were written by a longer entry of the next life, torn in its turn: it lacks that sector. */
Test(log_recovery, a_torn_record_that_a_newer_one_made_whole_does_not_come_back_to_life)
{
    enum { SECTOR = 512, STATE = 24 /* The second group is as long as the state in its place. */ };
    struct fixture *fixture = fixture_new(FILE_BYTES);
    uint8_t header[SECTOR];
    uint8_t *bytes;
    size_t size;

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    fixture_add(fixture, 0, LOG_TERM, 1, 0, 5, 0);
    cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    cr_assert_eq(fixture_sync(fixture), ERR_OK);
    fixture_add_entry(fixture, 0, 1, 1, STATE);
    cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    fixture_add_entry(fixture, 0, 1, 2, 1500);
    cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    fixture_close(fixture);
    bytes = mem_disk_get(fixture->disk, first_file, &size);
    memcpy(header, bytes + 3 * LOG_ALIGN, SECTOR);
    memset(bytes + 2 * LOG_ALIGN, 0, size - 2 * LOG_ALIGN);
    memcpy(bytes + 3 * LOG_ALIGN, header, SECTOR);
    mem_disk_put(fixture->disk, first_file, bytes, size);
    free(bytes);

    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    cr_assert_eq(fixture->replayed_count, 1);
    fixture_settle(fixture);
    fixture_add_entry(fixture, 0, 1, 2, 1600);
    cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    fixture_close(fixture);
    bytes = mem_disk_get(fixture->disk, first_file, &size);
    memcpy(bytes + 3 * LOG_ALIGN, header, SECTOR);
    mem_disk_put(fixture->disk, first_file, bytes, size);
    free(bytes);
    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    cr_assert_eq(fixture->replayed_count, 1);
    fixture_free(fixture);
}

/* ---- Releases and power cuts together ------------------------------------------------------ */

/* What each group must know at the end, and from which record on its entries must be there. */
static void check_released(const struct fixture *fixture, const uint64_t keep[FIXTURE_GROUPS])
{
    size_t at = 0, first, end;

    /* The entries replayed are some of those written, without holes, up to the last synced. */
    while (at < fixture->replayed_count && fixture->replayed[at].record.kind != LOG_ENTRY)
        at++;
    for (first = 0; first < fixture->count && at < fixture->replayed_count; first++) {
        if (fixture_same(&fixture->written[first], &fixture->replayed[at]))
            break;
    }
    if (at == fixture->replayed_count)
        first = fixture->synced;
    for (end = first; end < fixture->count; end++) {
        if (fixture->written[end].record.kind != LOG_ENTRY)
            continue;
        while (at < fixture->replayed_count && fixture->replayed[at].record.kind != LOG_ENTRY)
            at++;
        if (at == fixture->replayed_count)
            break;
        cr_assert(fixture_same(&fixture->written[end], &fixture->replayed[at]));
        at++;
    }
    while (at < fixture->replayed_count && fixture->replayed[at].record.kind != LOG_ENTRY)
        at++;
    cr_assert_eq(at, fixture->replayed_count);
    for (size_t i = 0; i < fixture->count; i++) {
        const struct log_record *record = &fixture->written[i].record;

        if (record->kind != LOG_ENTRY || record->index <= keep[record->group])
            continue;
        cr_assert(i >= first, "entry %zu is gone, the first is %zu", i, first);
        cr_assert(i < end || i >= fixture->synced, "entry %zu was synced", i);
    }
}

static void check_states(const struct fixture *fixture, size_t synced)
{
    for (uint32_t group = 0; group < FIXTURE_GROUPS; group++) {
        uint64_t term = 0, snapshot = 0, replayed_term = 0, replayed_snapshot = 0;

        for (size_t i = 0; i < synced; i++) {
            const struct log_record *record = &fixture->written[i].record;

            if (record->group == group && record->kind == LOG_TERM)
                term = record->term;
            if (record->group == group && record->kind == LOG_SNAPSHOT)
                snapshot = record->index;
        }
        for (size_t i = 0; i < fixture->replayed_count; i++) {
            const struct log_record *record = &fixture->replayed[i].record;

            if (record->group == group && record->kind == LOG_TERM)
                replayed_term = record->term;
            if (record->group == group && record->kind == LOG_SNAPSHOT)
                replayed_snapshot = record->index;
        }
        cr_assert_geq(replayed_term, term); /* Both only grow in these tests. */
        cr_assert_geq(replayed_snapshot, snapshot);
    }
}

/* The power went while a new file was begun: of its states only the first was written. */
Test(log_recovery, completes_the_states_of_a_file_that_was_torn_at_its_start)
{
    const size_t second_state = LOG_ALIGN + log_record_bytes(sizeof(struct log_state_payload));
    struct fixture *fixture = fixture_new(FILE_BYTES);
    uint64_t index = 0, terms = 0;
    uint8_t *bytes;
    size_t size;

    cr_assert_eq(fixture_open(fixture), ERR_OK);
    fixture_add(fixture, 0, LOG_TERM, 0, 0, 11, 0);
    fixture_add(fixture, 1, LOG_TERM, 1, 0, 12, 0);
    cr_assert_eq(fixture_write(fixture, 2), ERR_OK);
    do {
        fixture_add_entry(fixture, 0, 1, ++index, 8000);
        cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
    } while (log_position_file(fixture->written[fixture->count - 1].record.position) == 1);
    fixture_close(fixture);
    bytes = mem_disk_get(fixture->disk, "log/00000002.log", &size);
    memset(bytes + second_state, 0, size - second_state);
    mem_disk_put(fixture->disk, "log/00000002.log", bytes, size);
    free(bytes);

    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    for (int i = 0; i < 2; i++) {
        fixture_add_entry(fixture, 0, 1, index + 1, 8);
        cr_assert_eq(fixture_write(fixture, 1), ERR_OK);
        cr_assert_eq(fixture_sync(fixture), ERR_OK);
    }
    log_keep_after(fixture->log, 1, index);
    cr_assert_eq(log_prepare(fixture->log), ERR_OK);
    cr_assert_not(mem_disk_exists(fixture->disk, first_file));
    fixture_close(fixture);
    cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
    for (size_t i = 0; i < fixture->replayed_count; i++) {
        if (fixture->replayed[i].record.kind == LOG_TERM)
            terms += fixture->replayed[i].record.term;
    }
    cr_assert_eq(terms, 23);
    fixture_free(fixture);
}

Test(log_recovery, keeps_states_and_needed_entries_over_releases_and_power_cuts)
{
    uint64_t seed = seed_of_run("log_recovery");

    for (int run = 0; run < 60; run++) {
        struct fixture *fixture = fixture_new(FILE_BYTES);
        uint64_t keep[FIXTURE_GROUPS] = {0};

        /* In one life each, as what was lost by a cut would stay in the list. */
        cr_assert_eq(fixture_open(fixture), ERR_OK);
        for (int i = 0; i < 30; i++) {
            cr_assert_eq(work(fixture, &seed, 4), ERR_OK);
            for (uint32_t group = 0; group < FIXTURE_GROUPS; group++) {
                keep[group] = fixture->count - fixture->count / 8;
                log_keep_after(fixture->log, group, keep[group]);
            }
            if (seed_below(&seed, 2) == 0)
                cr_assert_eq(log_prepare(fixture->log), ERR_OK);
        }
        mem_disk_crash(fixture->disk, MEM_DISK_TORN, seed_next(&seed));
        fixture_close(fixture);
        for (int start = 0; start < 3; start++) {
            cr_assert_eq(fixture_open(fixture), ERR_OK, "%s", err_detail());
            check_released(fixture, keep);
            check_states(fixture, fixture->synced);
            cr_assert_eq(log_prepare(fixture->log), ERR_OK);
            fixture_close(fixture);
        }
        fixture_free(fixture);
    }
}
