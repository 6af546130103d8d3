/*
 * When a node with an empty log is a new one, and what it remembers of others for them to know.
 */
#include <criterion/criterion.h>

#include "tests/support/rejoin_rig.h"

TestSuite(rejoin_first, .init = rejoin_rig_init, .fini = rejoin_rig_fini, .timeout = 60);

static void hold(void)
{
    cr_assert_eq(rejoin_open(&node, false, &rejoin), ERR_OK);
    rejoin_hold(rejoin);
    cr_assert(rejoin_holds(rejoin));
    cr_assert(rejoin_is_lost(rejoin, 0), "nobody may count on it yet");
    cr_assert_eq(rejoin_start(rejoin), ERR_OK);
}

static void wait_begun(void)
{
    uint64_t until_ms = worker_now_ms() + PATIENCE_MS;

    while (rejoin_holds(rejoin)) {
        cr_assert_lt(worker_now_ms(), until_ms);
        rejoin_serve(rejoin, &worker);
        (void)sched_yield();
    }
    cr_assert_not(atomic_load(&node.again));
    cr_assert_not(rejoin_is_lost(rejoin, 0));
}

static void assert_unheard(const char *expected)
{
    uint8_t *bytes;
    size_t size;

    cr_assert_eq(disk_read_all(node.disk, "data/unheard", 100, &bytes, &size), ERR_OK);
    cr_assert_eq(strncmp((const char *)bytes, expected, strlen(expected)), 0, "%s", bytes);
    cr_assert_eq(bytes[strlen(expected)], 'x');
    free(bytes);
}

Test(rejoin_first, one_that_nobody_has_heard_of_begins_at_once)
{
    hold();
    wait_begun();
    assert_unheard("1\n3\n");
    cr_assert_not(rejoin_known(rejoin, 1, 11).knows);
    cr_assert_not(rejoin_known(rejoin, 1, 11).begins, "that one was not empty");
}

Test(rejoin_first, one_that_another_one_has_heard_of_has_lost_its_log)
{
    uint32_t group;

    others[3].known.knows = true;
    others[1].known.begins = true;
    hold();
    wait_restart();
    stop();
    start(false);
    cr_assert(rejoin_next(rejoin, &group));
    cr_assert(rejoin_is_lost(rejoin, 0));
    cr_assert_not(mem_disk_exists(memory, "data/unheard"));
}

Test(rejoin_first, most_may_begin_without_the_others)
{
    others[3].away = true;
    others[1].known.begins = true;
    hold();
    cr_assert(rejoin_known(rejoin, 3, 33).begins);
    cr_assert_not(rejoin_known(rejoin, 3, 33).knows);
    wait_begun();
    cr_assert(rejoin_known(rejoin, 1, 11).begins, "it asks later than it was asked");
    cr_assert_not(rejoin_known(rejoin, 1, 12).begins, "another start, another disk");
    cr_assert_not(rejoin_known(rejoin, 3, 33).begins);
    cr_assert_not(rejoin_known(rejoin, 3, 0).begins);
}

Test(rejoin_first, waits_for_who_may_know_and_says_so)
{
    others[3].away = true; /* And the other one has run for long. */
    hold();
    wait_said("has to be said by node 3");
    cr_assert_eq(listed, REJOIN_NOT);
    others[3].away = false;
    wait_begun();
}

Test(rejoin_first, does_not_begin_before_that_is_written_down)
{
    cr_assert_eq(rejoin_open(&node, false, &rejoin), ERR_OK);
    mem_disk_fail(memory, MEM_DISK_ANY, 1, ERR_DISK_FULL, true);
    rejoin_hold(rejoin);
    cr_assert_eq(rejoin_start(rejoin), ERR_OK);
    wait_said("unheard");
    cr_assert(rejoin_holds(rejoin));
    mem_disk_fail(memory, MEM_DISK_ANY, 0, ERR_OK, false);
    wait_begun();
}

Test(rejoin_first, who_is_heard_is_known_for_ever)
{
    hold();
    wait_begun();
    mem_disk_fail(memory, MEM_DISK_ANY, 1, ERR_DISK_FULL, true);
    cr_assert_not(rejoin_hear(rejoin, 3), "it would not be known after a crash");
    cr_assert_not(rejoin_known(rejoin, 3, 33).knows);
    mem_disk_fail(memory, MEM_DISK_ANY, 0, ERR_OK, false);
    cr_assert(rejoin_hear(rejoin, 3));
    assert_unheard("1\n");
    cr_assert(rejoin_known(rejoin, 3, 33).knows);
    stop();
    start(false);
    cr_assert(rejoin_known(rejoin, 3, 34).knows);
    cr_assert_not(rejoin_known(rejoin, 1, 12).knows);
    cr_assert(rejoin_hear(rejoin, 1));
    cr_assert(rejoin_hear(rejoin, 9), "none of this site");
    cr_assert_not(mem_disk_exists(memory, "data/unheard"));
    stop();
    start(false);
    cr_assert(rejoin_known(rejoin, 1, 12).knows && rejoin_known(rejoin, 3, 34).knows);
}

/* Older versions did not write it, and what is not understood must not be believed. */
Test(rejoin_first, without_a_good_file_all_were_heard)
{
    uint8_t *bytes;
    size_t size;

    hold();
    wait_begun();
    stop();
    cr_assert_eq(disk_read_all(node.disk, "data/unheard", 100, &bytes, &size), ERR_OK);
    for (size_t i = 0; i <= size; i++) {
        if (i > 0)
            bytes[i - 1] ^= 1;
        mem_disk_put(memory, "data/unheard", bytes, i == 0 ? size - 1 : size);
        start(false);
        cr_assert(rejoin_known(rejoin, 1, 11).knows, "byte %zu", i);
        cr_assert(rejoin_known(rejoin, 3, 33).knows, "byte %zu", i);
        stop();
        if (i > 0)
            bytes[i - 1] ^= 1;
    }
    mem_disk_put(memory, "data/unheard", bytes, size);
    free(bytes);
    start(false);
    cr_assert_not(rejoin_known(rejoin, 1, 11).knows);
}
