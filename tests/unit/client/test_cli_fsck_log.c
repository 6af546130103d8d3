/*
 * The log of a data directory, checked: what it has of each group, and where it is damaged.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "client/cli_fsck.h"
#include "replication/log.h"
#include "replication/log_format.h"
#include "storage/base/dry_disk.h"
#include "tests/support/mem_disk.h"

#define FIRST "log/00000001.log"

static char seen[512];

static void note(void *arg, const struct damage *damage)
{
    (void)arg;
    (void)snprintf(seen, sizeof seen, "%s|%lld|%s", damage->path, (long long)damage->offset,
                   damage->what);
}

static enum err no_replay(void *arg, const struct log_record *record)
{
    (void)arg, (void)record;
    return ERR_OK;
}

static void write_one(struct log *log, struct log_record record)
{
    struct log_record *list[] = {&record};

    if (record.kind == LOG_ENTRY) {
        record.payload = buf_new(100);
        record.payload->size = 100;
        memset(record.payload->bytes, 'x', 100);
    }
    cr_assert_eq(log_write(log, list, 1), ERR_OK, "%s", err_detail());
    cr_assert_eq(log_sync(log), ERR_OK);
    buf_unref(record.payload);
}

static struct mem_disk *make(void)
{
    struct mem_disk *disk = mem_disk_new();
    struct log_options options = {.disk = mem_disk_table(disk),
                                  .dir = "log",
                                  .node = 3,
                                  .cluster = 99,
                                  .groups = 3,
                                  .file_bytes = LOG_FILE_BYTES_MIN,
                                  .bytes_max = 1 << 20};
    struct log *log;

    cr_assert_eq(log_open(&options, no_replay, NULL, &log), ERR_OK, "%s", err_detail());
    for (uint64_t index = 1; index <= 9; index++)
        write_one(log, (struct log_record){
                           .group = 2, .kind = LOG_ENTRY, .type = 1, .index = index, .term = 1});
    write_one(log, (struct log_record){.group = 2, .kind = LOG_SNAPSHOT, .index = 6, .term = 1});
    write_one(log,
              (struct log_record){.group = 0, .kind = LOG_ENTRY, .type = 1, .index = 1, .term = 1});
    log_close(log);
    return disk;
}

static struct cli_fsck_log check(struct mem_disk *disk, uint64_t faults)
{
    struct damage_sink sink = {.report = note};
    struct cli_fsck_log log = {0};
    struct dry_disk dry;

    cr_assert_eq(
        cli_fsck_log_check(dry_disk_init(&dry, mem_disk_table(disk)), "log", 8, &sink, &log),
        ERR_OK);
    cr_assert_eq(sink.count, faults, "%s", seen);
    cr_assert_eq(mem_disk_open_files(disk), 0);
    return log;
}

Test(cli_fsck_log, tells_what_the_log_has_of_each_group)
{
    struct mem_disk *disk = make();
    struct cli_fsck_log log = check(disk, 0);

    cr_assert(log.good);
    cr_assert_eq(log.node, 3);
    cr_assert_eq(log.cluster, 99);
    cr_assert_eq(log.group_count, 3);
    cr_assert_eq(log.groups[2].snapshot, 6);
    cr_assert_eq(log.groups[2].last, 9);
    cr_assert_eq(log.groups[1].last, 0);
    cr_assert_eq(log.groups[0].last, 1);
    cli_fsck_log_fini(&log);
    mem_disk_free(disk);
}

Test(cli_fsck_log, counts_from_an_install_on)
{
    struct mem_disk *disk = make();
    struct log_options options = {.disk = mem_disk_table(disk),
                                  .dir = "log",
                                  .node = 3,
                                  .cluster = 99,
                                  .groups = 3,
                                  .file_bytes = LOG_FILE_BYTES_MIN,
                                  .bytes_max = 1 << 20};
    struct cli_fsck_log log;
    struct log *written;

    cr_assert_eq(log_open(&options, no_replay, NULL, &written), ERR_OK, "%s", err_detail());
    write_one(written, (struct log_record){.group = 2, .kind = LOG_INSTALL, .index = 7, .term = 1});
    log_close(written);
    log = check(disk, 0);
    cr_assert_eq(log.groups[2].snapshot, 7);
    cr_assert_eq(log.groups[2].last, 7, "entries 8 and 9 are void");
    cli_fsck_log_fini(&log);
    mem_disk_free(disk);
}

Test(cli_fsck_log, names_file_and_offset_of_damage)
{
    struct mem_disk *disk = make();
    struct cli_fsck_log log;

    mem_disk_flip(disk, FIRST, 3 * LOG_ALIGN + 90, 1);
    log = check(disk, 1);
    cr_assert_not(log.good);
    cr_assert_eq(strncmp(seen, FIRST "|", strlen(FIRST) + 1), 0, "%s", seen);
    cr_assert_eq(strstr(seen, "|-1|"), NULL, "%s", seen);
    cli_fsck_log_fini(&log);
    mem_disk_flip(disk, FIRST, 3 * LOG_ALIGN + 90, 1);
    mem_disk_flip(disk, FIRST, 20, 1);
    log = check(disk, 1);
    cr_assert_not_null(strstr(seen, "no file in it has a good header"), "%s", seen);
    cli_fsck_log_fini(&log);
    mem_disk_free(disk);
}

Test(cli_fsck_log, a_log_that_is_not_there_is_a_fault)
{
    struct mem_disk *disk = mem_disk_new();
    struct cli_fsck_log log = check(disk, 1);

    cr_assert_str_eq(seen, "log|-1|missing, or there is no file in it");
    cli_fsck_log_fini(&log);
    mem_disk_free(disk);
}
