/*
 * A check of a shard's folder finds what a start would refuse or a scan would stumble over, and
 * changes nothing.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/dry_disk.h"
#include "storage/manifest.h"
#include "storage/shard_check.h"
#include "tests/support/replica.h"
#include "tests/support/seed.h"

enum {
    REPORTS_MAX = 8,
    ROWS = 40,
    CHANGES = MEM_DISK_WRITE | MEM_DISK_SYNC | MEM_DISK_TRUNCATE | MEM_DISK_RENAME |
              MEM_DISK_REMOVE | MEM_DISK_MAKE_DIR | MEM_DISK_SYNC_DIR
};

struct reports {
    char text[REPORTS_MAX][512];
    size_t count, notes;
};

static void note(void *arg, const struct damage *damage)
{
    struct reports *reports = arg;

    if (reports->count < REPORTS_MAX)
        (void)snprintf(reports->text[reports->count], sizeof reports->text[0], "%s: %s",
                       damage->path, damage->what);
    reports->count++;
    reports->notes += damage->harmless;
}

/* Two seals, closed. */
static void make(struct replica *replica)
{
    replica_init(replica);
    cr_assert_eq(replica_open(replica), ERR_OK, "%s", err_detail());
    for (unsigned seal = 0; seal < 2; seal++) {
        struct entries_value values[ROWS];
        char hosts[ROWS][16];

        for (unsigned i = 0; i < ROWS; i++) {
            (void)snprintf(hosts[i], sizeof hosts[i], "h%u", seal * 10 + i % 20);
            values[i] = (struct entries_value){.table = i % 2 ? "cpu" : "mem",
                                               .host = hosts[i],
                                               .time_ns = (int64_t)i * 1000,
                                               .field = "v",
                                               .type = FIELD_INT,
                                               .bits = i};
        }
        replica_write(replica, &(struct entries_from){0, 1, 1, seal + 1}, values, ROWS);
        cr_assert_eq(replica_seal(replica), ERR_OK, "%s", err_detail());
    }
    replica_close(replica);
}

static struct shard_check check(struct replica *replica, struct reports *ret_reports)
{
    uint64_t changes = mem_disk_calls(replica->disk, CHANGES);
    struct damage_sink sink = {.report = note, .arg = ret_reports};
    struct shard_check found = {0};
    struct dry_disk dry;

    *ret_reports = (struct reports){0};
    cr_assert_eq(shard_check_run(dry_disk_init(&dry, mem_disk_table(replica->disk)), "data", 0,
                                 &sink, &found),
                 ERR_OK, "%s", err_detail());
    cr_assert_eq(mem_disk_calls(replica->disk, CHANGES), changes, "it changed something");
    cr_assert_eq(mem_disk_open_files(replica->disk), 0);
    cr_assert_eq(sink.count + sink.notes, ret_reports->count);
    cr_assert_eq(sink.notes, ret_reports->notes);
    return found;
}

Test(shard_check, finds_nothing_in_a_good_one)
{
    struct replica replica;
    struct reports reports;
    struct shard_check found;

    make(&replica);
    found = check(&replica, &reports);
    cr_assert_eq(reports.count, 0, "%s", reports.text[0]);
    cr_assert(found.has_manifest);
    cr_assert_eq(found.segments, 2);
    cr_assert_eq(found.rows, 2 * ROWS);
    cr_assert_eq(found.points, 2 * ROWS);
    cr_assert_eq(found.sealed_index, 4);
    replica_fini(&replica);
}

struct names {
    char names[16][64];
    size_t count;
};

static void add_name(void *arg, const char *name)
{
    struct names *names = arg;

    (void)snprintf(names->names[names->count++], sizeof names->names[0], "data/%s", name);
}

Test(shard_check, finds_a_flipped_bit_and_a_missing_file_of_every_kind)
{
    uint64_t chance = seed_of_run("shard_check");
    const struct disk *disk;
    struct names names = {0};
    struct replica replica;
    struct reports reports;

    make(&replica);
    disk = mem_disk_table(replica.disk);
    cr_assert_eq(disk->list(disk->ctx, "data", add_name, &names), ERR_OK);
    cr_assert(names.count >= 4);
    for (size_t i = 0; i < names.count; i++) {
        const char *name = names.names[i];
        size_t size = 0;
        uint8_t *bytes = mem_disk_get(replica.disk, name, &size);

        for (unsigned round = 0; round < 50; round++) {
            uint64_t at = seed_below(&chance, size);
            uint8_t mask = (uint8_t)(1 << seed_below(&chance, 8));

            mem_disk_flip(replica.disk, name, at, mask);
            (void)check(&replica, &reports);
            cr_assert(reports.count > reports.notes, "byte %u of %s", (unsigned)at, name);
            cr_assert_eq(strncmp(reports.text[0], name, strlen(name)), 0, "%s: %s", name,
                         reports.text[0]);
            mem_disk_flip(replica.disk, name, at, mask);
        }
        cr_assert_eq(disk->remove(disk->ctx, name), ERR_OK);
        (void)check(&replica, &reports);
        cr_assert(reports.count > reports.notes, "%s is missing", name);
        cr_assert_eq(strncmp(reports.text[0], name, strlen(name)), 0, "%s: %s", name,
                     reports.text[0]);
        mem_disk_put(replica.disk, name, bytes, size);
        free(bytes);
    }
    replica_fini(&replica);
}

Test(shard_check, finds_a_segment_of_another_database)
{
    struct manifest manifest;
    struct replica replica;
    struct reports reports;

    make(&replica);
    cr_assert_eq(manifest_load(mem_disk_table(replica.disk), "data", 0, &manifest), ERR_OK);
    manifest.segments[1].database = 1;
    cr_assert_eq(manifest_save(&manifest, mem_disk_table(replica.disk), "data"), ERR_OK);
    manifest_fini(&manifest);
    (void)check(&replica, &reports);
    cr_assert_eq(reports.count, 1);
    cr_assert_not_null(strstr(reports.text[0], "not of database 1"), "%s", reports.text[0]);
    replica_fini(&replica);
}

Test(shard_check, names_what_a_seal_has_left_over)
{
    struct replica replica;
    struct reports reports;

    make(&replica);
    mem_disk_put(replica.disk, "data/00000003.mrs", "x", 1);
    mem_disk_put(replica.disk, "data/00000004.mrs.tmp", "x", 1);
    mem_disk_put(replica.disk, "data/notes.txt", "x", 1);
    (void)check(&replica, &reports);
    cr_assert_eq(reports.count, 2);
    cr_assert_eq(reports.notes, 2);
    replica_fini(&replica);
}

Test(shard_check, an_empty_folder_is_one_that_nothing_was_sealed_in)
{
    struct replica replica;
    struct reports reports;

    replica_init(&replica);
    cr_assert_eq(mem_disk_table(replica.disk)->make_dir(mem_disk_table(replica.disk)->ctx, "data"),
                 ERR_OK);
    cr_assert(!check(&replica, &reports).has_manifest);
    cr_assert_eq(reports.count, 0);
    replica_fini(&replica);
}
