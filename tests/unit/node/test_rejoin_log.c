/*
 * A log that is damaged, or should not be there: looked for, set aside, removed. On a disk in
 * memory, and, where a directory goes, on a real one.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "node/rejoin_internal.h"
#include "tests/support/mem_disk.h"

static struct mem_disk *memory;
static struct node node;

static void set_up(void)
{
    memory = mem_disk_new();
    node.disk = mem_disk_table(memory);
    node.epoch = 12;
    node.options.cluster.node_count = 3;
    (void)snprintf(node.options.node.data_dir, sizeof node.options.node.data_dir, "data");
    cr_assert_eq(node.disk->make_dir(node.disk->ctx, "data"), ERR_OK);
    cr_assert_eq(node.disk->sync_dir(node.disk->ctx, "."), ERR_OK);
}

static void tear_down(void)
{
    mem_disk_free(memory);
}

TestSuite(rejoin_log, .init = set_up, .fini = tear_down);

static void make_log(void)
{
    cr_assert_eq(node.disk->make_dir(node.disk->ctx, "data/log"), ERR_OK);
    cr_assert_eq(node.disk->sync_dir(node.disk->ctx, "data"), ERR_OK);
    mem_disk_put(memory, "data/log/00000001.log", "damaged", 7);
}

/* ---- Looking ------------------------------------------------------------------------------- */

Test(rejoin_log, what_is_no_log_is_none)
{
    static const char *const others[] = {"data/log/00000001.log.tmp", "data/log/log",
                                         "data/log/.og", "data/log/00000001.mrs"};

    cr_assert_eq(rejoin_check_no_log(&node), ERR_OK, "%s", err_detail());
    cr_assert_eq(node.disk->make_dir(node.disk->ctx, "data/log"), ERR_OK);
    cr_assert_eq(rejoin_check_no_log(&node), ERR_OK, "%s", err_detail());
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        mem_disk_put(memory, others[i], "x", 1);
    cr_assert_eq(rejoin_check_no_log(&node), ERR_OK, "%s", err_detail());
    mem_disk_put(memory, "data/log/7.log", "", 0); /* It need not have anything in it. */
    cr_assert_eq(rejoin_check_no_log(&node), ERR_INVALID);
    cr_assert_not_null(strstr(err_detail(), "data/log has a log"));
}

/* To go on would be to forget what stands in a log that could not be looked at. */
Test(rejoin_log, a_disk_that_does_not_tell_has_not_said_that_there_is_none)
{
    make_log();
    mem_disk_fail(memory, MEM_DISK_LIST, 1, ERR_IO, true);
    cr_assert_eq(rejoin_check_no_log(&node), ERR_IO);
    mem_disk_fail(memory, MEM_DISK_LIST, 0, ERR_OK, false);
    cr_assert_eq(rejoin_check_no_log(&node), ERR_INVALID);
}

Test(rejoin_log, without_other_nodes_there_is_no_beginning_again)
{
    node.options.cluster.node_count = 1;
    cr_assert_eq(rejoin_check_no_log(&node), ERR_INVALID);
    cr_assert_not_null(strstr(err_detail(), "no other node"));
    make_log(); /* That is said first: it is what there is to be lost. */
    cr_assert_eq(rejoin_check_no_log(&node), ERR_INVALID);
    cr_assert_not_null(strstr(err_detail(), "has a log"));
}

/* ---- A real disk ---------------------------------------------------------------------------- */

static char real[] = "/tmp/millrace-rejoin-log-XXXXXX";

static void put_real(const char *path)
{
    char full[128];
    FILE *file;

    (void)snprintf(full, sizeof full, "%s/%s", real, path);
    file = fopen(full, "w");
    cr_assert_not_null(file, "%s", full);
    (void)fclose(file);
}

static void make_real(const char *dir)
{
    char full[128];

    (void)snprintf(full, sizeof full, "%s/%s", real, dir);
    cr_assert_eq(disk_system()->make_dir(disk_system()->ctx, full), ERR_OK);
}

static bool exists_real(const char *path)
{
    char full[128];

    (void)snprintf(full, sizeof full, "%s/%s", real, path);
    return access(full, F_OK) == 0;
}

static void remove_real(const char *path)
{
    char full[128];

    (void)snprintf(full, sizeof full, "%s/%s", real, path);
    cr_assert_eq(remove(full), 0, "%s", full);
}

static void use_real(void)
{
    cr_assert_not_null(mkdtemp(real));
    node.disk = disk_system();
    (void)snprintf(node.options.node.data_dir, sizeof node.options.node.data_dir, "%s", real);
}

/* ---- Setting aside ------------------------------------------------------------------------- */

Test(rejoin_log, is_set_aside_whole_and_beside_earlier_ones)
{
    use_real();
    for (node.epoch = 12; node.epoch < 14; node.epoch++) { /* Damaged again, after a start. */
        make_real("log");
        put_real("log/00000001.log");
        cr_assert_eq(rejoin_set_log_aside(&node), ERR_OK, "%s", err_detail());
        cr_assert_not(exists_real("log"));
        cr_assert_eq(rejoin_check_no_log(&node), ERR_OK);
    }
    cr_assert(exists_real("log.damaged-12/00000001.log"));
    cr_assert(exists_real("log.damaged-13/00000001.log"));
    rejoin_remove_logs(&node);
    cr_assert_eq(rmdir(real), 0);
}

Test(rejoin_log, what_is_not_set_aside_for_certain_is_said)
{
    make_log();
    mem_disk_fail(memory, MEM_DISK_RENAME, 1, ERR_IO, false);
    cr_assert_eq(rejoin_set_log_aside(&node), ERR_IO);
    cr_assert(mem_disk_exists(memory, "data/log/00000001.log"));
    mem_disk_fail(memory, MEM_DISK_SYNC_DIR, 1, ERR_IO, false);
    cr_assert_eq(rejoin_set_log_aside(&node), ERR_IO);
}

/* ---- Removing ------------------------------------------------------------------------------ */

Test(rejoin_log, removes_what_was_set_aside_and_nothing_else)
{
    static const char *const stay[] = {"log",      "log/00000001.log", "shard-0",
                                       "meta.mrc", "log.damage",       "my-log.damaged-1"};

    use_real();
    make_real("log");
    make_real("shard-0");
    for (size_t i = 0; i < sizeof stay / sizeof *stay; i++)
        if (!exists_real(stay[i]))
            put_real(stay[i]);
    make_real("log.damaged-1");
    make_real("log.damaged-12");
    put_real("log.damaged-12/00000001.log");
    put_real("log.damaged-12/00000002.log");
    put_real("log.damaged-12/.hidden");
    rejoin_remove_logs(&node);
    cr_assert_not(exists_real("log.damaged-1"));
    cr_assert_not(exists_real("log.damaged-12"));
    for (size_t i = 0; i < sizeof stay / sizeof *stay; i++) {
        char full[128];

        cr_assert(exists_real(stay[i]), "%s", stay[i]);
        (void)snprintf(full, sizeof full, "%s/%s", real, stay[i]);
        (void)remove(full);
    }
    rejoin_remove_logs(&node);     /* There is none. */
    cr_assert(exists_real("log")); /* It was not empty when it was to go. */
    (void)snprintf(node.options.node.data_dir, sizeof node.options.node.data_dir, "%s/log", real);
    cr_assert_eq(rmdir(node.options.node.data_dir), 0);
    cr_assert_eq(rmdir(real), 0);
}

/* An operator may have put something there: it stays, and so does the node. */
Test(rejoin_log, goes_on_when_one_cannot_be_removed)
{
    use_real();
    make_real("log.damaged-1");
    make_real("log.damaged-1/mine");
    put_real("log.damaged-1/mine/note");
    rejoin_remove_logs(&node);
    cr_assert(exists_real("log.damaged-1/mine/note"));
    remove_real("log.damaged-1/mine/note");
    rejoin_remove_logs(&node);
    cr_assert_not(exists_real("log.damaged-1"));
    cr_assert_eq(rmdir(real), 0);
}

Test(rejoin_log, an_error_while_removing_loses_nothing_else)
{
    cr_assert_eq(node.disk->make_dir(node.disk->ctx, "data/log.damaged-1"), ERR_OK);
    mem_disk_put(memory, "data/log.damaged-1/a", "a", 1);
    mem_disk_put(memory, "data/log.damaged-1/b", "b", 1);
    make_log();
    for (uint64_t nth = 1; nth <= 4; nth++) { /* Lists of both, and both files. */
        mem_disk_fail(memory, MEM_DISK_LIST | MEM_DISK_REMOVE, nth, ERR_IO, false);
        rejoin_remove_logs(&node);
        mem_disk_fail(memory, MEM_DISK_LIST | MEM_DISK_REMOVE, 0, ERR_OK, false);
        cr_assert(mem_disk_exists(memory, "data/log/00000001.log"));
        cr_assert_eq(mem_disk_exists(memory, "data/log.damaged-1/a") &&
                         mem_disk_exists(memory, "data/log.damaged-1/b"),
                     nth < 4, "call %u", (unsigned)nth);
    }
}
