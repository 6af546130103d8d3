/*
 * Whom a node has to hear before a group begins again, and what it writes down.
 */
#include <criterion/criterion.h>

#include "tests/support/rejoin_rig.h"

TestSuite(rejoin, .init = rejoin_rig_init, .fini = rejoin_rig_fini, .timeout = 60);

/* ---- Tests --------------------------------------------------------------------------------- */

Test(rejoin, a_new_disk_begins_with_what_the_leader_has)
{
    struct group_install install;
    uint32_t group;

    start(true);
    cr_assert(rejoin_is_silent(rejoin, 0));
    cr_assert_not(rejoin_install(rejoin, 0, &install));
    wait_restart();
    cr_assert_eq(installed_index, 70);
    cr_assert_eq(rejoin_leader(rejoin, 0), 1);
    stop();

    start(false); /* The next start has it from the disk. */
    cr_assert_not(rejoin_is_silent(rejoin, 0));
    cr_assert(rejoin_install(rejoin, 0, &install));
    cr_assert(install.index == 70 && install.term == 4 && install.configuration_index == 1);
    cr_assert(install.until == 90 && install.until_term == 5);
    cr_assert(rejoin_next(rejoin, &group) && group == 0);
    cr_assert_eq(install.configuration_size, configuration->size);
    cr_assert_eq(memcmp(install.configuration, configuration->bytes, configuration->size), 0);
    cr_assert(mem_disk_exists(memory, "data/" REJOIN_FILE));
    rejoin_done(rejoin, 0);
    while (mem_disk_exists(memory, "data/" REJOIN_FILE ".copy"))
        (void)sched_yield();
    stop();

    start(false);
    cr_assert_not(rejoin_next(rejoin, &group));
    cr_assert_not(rejoin_install(rejoin, 0, &install));
    cr_assert_not(atomic_load(&node.again));
}

Test(rejoin, all_others_have_to_answer_for_votes_that_were_lost)
{
    others[3].away = true;
    start(true);
    wait_said("node 3 has to say which term it is in");
    cr_assert_not(atomic_load(&node.again));
    others[3].away = false;
    others[3].state.silent = true; /* It has forgotten its own. */
    wait_said("it has lost its own log");
    others[3].state.silent = false;
    others[3].state.term = 6; /* Somebody has voted since: who leads in term 5 does not count. */
    wait_said("no node leads in term 6");
    cr_assert_not(atomic_load(&node.again));
    others[3].state.term = 5;
    wait_restart();
    cr_assert_eq(listed, REJOIN_LOST);
}

Test(rejoin, a_group_whose_state_alone_is_lost_hears_its_leader)
{
    others[3].away = true;
    own.term = 5;
    cr_assert_eq(rejoin_open(&node, false, &rejoin), ERR_OK);
    cr_assert_eq(rejoin_lose_state(rejoin, 0), ERR_OK);
    cr_assert(rejoin_is_silent(rejoin, 0));
    cr_assert_eq(rejoin_start(rejoin), ERR_OK);
    wait_restart();
    cr_assert_eq(installed_index, 70);
}

Test(rejoin, a_state_that_our_log_does_not_reach_back_to_is_not_taken)
{
    own.snapshot = 71;
    cr_assert_eq(rejoin_open(&node, false, &rejoin), ERR_OK);
    cr_assert_eq(rejoin_lose_state(rejoin, 0), ERR_OK);
    cr_assert_eq(rejoin_start(rejoin), ERR_OK);
    wait_said("it has to seal first");
    cr_assert_eq(installed_index, 0);
    cr_assert_not(atomic_load(&node.again));
}

Test(rejoin, a_leader_of_a_term_that_is_over_does_not_count)
{
    others[3].away = true;
    own.term = 6; /* In which this node may have voted. */
    cr_assert_eq(rejoin_open(&node, false, &rejoin), ERR_OK);
    cr_assert_eq(rejoin_lose_state(rejoin, 0), ERR_OK);
    cr_assert_eq(rejoin_start(rejoin), ERR_OK);
    wait_said("no node leads in term 6");
    others[1].state.term = 7;
    wait_restart();
}

Test(rejoin, what_was_lost_stays_lost_when_the_state_goes_too)
{
    others[3].away = true;
    cr_assert_eq(rejoin_open(&node, true, &rejoin), ERR_OK);
    cr_assert_eq(rejoin_lose_state(rejoin, 0), ERR_OK);
    cr_assert_eq(rejoin_start(rejoin), ERR_OK);
    wait_said("node 3 has to say which term it is in");
    others[3].away = false;
    wait_restart();
    stop();

    /* Ready, and its state is damaged before it was started with that. */
    cr_assert_eq(rejoin_open(&node, false, &rejoin), ERR_OK);
    cr_assert_eq(rejoin_lose_state(rejoin, 0), ERR_OK);
    cr_assert_eq(rejoin_start(rejoin), ERR_OK);
    others[3].away = true;
    wait_said("node 3 has to say which term it is in");
}

Test(rejoin, what_cannot_be_stored_is_tried_again)
{
    install_err = ERR_DISK_FULL;
    start(true);
    wait_said("told to");
    cr_assert_not(atomic_load(&node.again));
    install_err = ERR_OK;
    wait_restart();
}

Test(rejoin, a_state_with_another_hash_is_not_taken)
{
    start(true);
    snapshot.data[snapshot.size - 1] ^= 1;
    wait_restart(); /* As told, it is right. */
    cr_assert_eq(installed_index, 70);
}

/* It would keep the node from starting, again and again. */
Test(rejoin, what_nobody_can_begin_with_is_not_written_down)
{
    others[1].state.last = 0;
    start(true);
    wait_said("until entry 0");
    others[1].state.last = 90;
    others[1].state.term = UINT64_MAX;
    wait_said("of term 18446744073709551615");
    others[1].state.term = 5;
    snapshot.data[8 + 8 + 8 + 4] ^= 1; /* The configuration's version. */
    wait_said("configuration");
    cr_assert_not(atomic_load(&node.again));
    cr_assert_eq(installed_index, 0);
    snapshot.data[8 + 8 + 8 + 4] ^= 1;
    wait_restart();
}

Test(rejoin, a_list_that_cannot_be_written_is_written_later)
{
    start(true);
    mem_disk_fail(memory, MEM_DISK_WRITE, 1, ERR_DISK_FULL, false);
    wait_restart();
    stop();
    start(false);
    cr_assert_not(rejoin_is_silent(rejoin, 0));
}

Test(rejoin, a_damaged_list_says_what_to_do_and_is_not_asked_for_a_new_disk)
{
    struct rejoin *refused = NULL;

    mem_disk_put(memory, "data/" REJOIN_FILE, "damaged", 7);
    cr_assert_eq(rejoin_open(&node, false, &refused), ERR_CORRUPT);
    cr_assert_not_null(strstr(err_detail(), "move data/log away and start with --rejoin"));
    rejoin_free(refused);
    start(true);
    cr_assert(rejoin_is_lost(rejoin, 0));
}

Test(rejoin, only_who_is_behind_begins_again)
{
    start(false);
    others[1].state.first = 91;
    rejoin_behind(rejoin, 0, 90); /* It has all before that. */
    for (uint64_t until_ms = worker_now_ms() + PATIENCE_MS;
         others[3].asked == 0 && worker_now_ms() < until_ms;)
        rejoin_serve(rejoin, &worker);
    cr_assert_eq(others[3].asked, 1);
    cr_assert_not(atomic_load(&node.again));
    rejoin_behind(rejoin, 0, 89);
    wait_restart();
    stop();
    start(false);
    cr_assert(rejoin_is_silent(rejoin, 0));
}

Test(rejoin, a_damaged_log_is_set_aside_and_a_log_is_never_passed_over)
{
    struct rejoin *refused = NULL;

    node.epoch = 7;
    cr_assert_eq(node.disk->make_dir(node.disk->ctx, "data/log"), ERR_OK);
    mem_disk_put(memory, "data/log/00000001.log", "damaged", 7);
    cr_assert_eq(rejoin_open(&node, true, &refused), ERR_INVALID);
    cr_assert_not_null(strstr(err_detail(), "start it without --rejoin"));
    rejoin_free(refused);
    cr_assert_not(mem_disk_exists(memory, "data/" REJOIN_FILE));

    cr_assert_eq(rejoin_open(&node, false, &rejoin), ERR_OK);
    cr_assert_not(rejoin_is_silent(rejoin, 0));
    cr_assert_eq(rejoin_lose_log(rejoin), ERR_OK, "%s", err_detail());
    cr_assert(rejoin_is_silent(rejoin, 0));
    cr_assert(mem_disk_exists(memory, "data/" REJOIN_FILE));
    cr_assert_eq(rejoin_start(rejoin), ERR_OK);
}

Test(rejoin, a_node_that_is_alone_has_nobody_to_ask)
{
    struct rejoin *refused = NULL;

    node.options.cluster.node_count = 1;
    cr_assert_eq(rejoin_open(&node, true, &refused), ERR_INVALID);
    rejoin_free(refused);
    start(false);
}

/* Its vote may be what the others lack to have a leader. */
Test(rejoin, who_is_behind_goes_on_when_it_is_not_or_nobody_leads)
{
    start(false);
    own.last = 80;
    node.board[0].group.last = 80; /* It is asked about with the others once more. */
    others[1].state.first = 91;
    rejoin_behind(rejoin, 0, 80);
    wait_restart();
    rejoin_behind(rejoin, 0, 80); /* The node has not stopped yet. */
    for (unsigned i = 0; i < 1000; i++)
        rejoin_serve(rejoin, &worker);
    stop();
    others[1].state.first = 60; /* Another leader, which has them. */
    start(false);
    cr_assert(rejoin_is_silent(rejoin, 0));
    cr_assert_not(rejoin_is_lost(rejoin, 0));
    cr_assert(rejoin_keeps_log(rejoin, 0));
    wait_restart();
    cr_assert_eq(installed_index, 0);
    stop();
    start(false);
    cr_assert_not(rejoin_is_silent(rejoin, 0));

    others[1].state.first = 91;
    rejoin_behind(rejoin, 0, 80);
    wait_restart();
    stop();
    others[1].state.leads = false;
    start(false);
    wait_said("no node leads");
    cr_assert_not(atomic_load(&node.again));
    clock_ahead_ms = 11000;
    wait_restart();
    stop();
    start(false);
    cr_assert_not(rejoin_is_silent(rejoin, 0));
}

Test(rejoin, who_was_mute_and_is_behind_does_not_go_on_without_a_leader)
{
    start(true);
    wait_restart();
    stop();
    start(false); /* Ready, and mute. */
    others[1].state.first = 91;
    rejoin_behind(rejoin, 0, 80);
    wait_restart();
    stop();
    others[1].state.leads = false;
    others[1].state.snapshot_size = 0;
    start(false);
    cr_assert(rejoin_is_silent(rejoin, 0));
    cr_assert_not(rejoin_keeps_log(rejoin, 0));
    wait_said("no node leads");
    clock_ahead_ms = 11000;
    for (unsigned before = others[1].asked; others[1].asked < before + 2;)
        rejoin_serve(rejoin, &worker);
    cr_assert_not(atomic_load(&node.again));
    others[1].state.leads = true;
    wait_restart();
}

/* What is on the disk then is the other state, with which the old log does not go. */
Test(rejoin, who_has_another_state_on_its_disk_does_not_go_on_with_its_log)
{
    struct group_install install;

    start(false);
    own.last = 80;
    others[1].state.first = 91;
    rejoin_behind(rejoin, 0, 80);
    wait_restart();
    stop();
    slow_round = true;
    first_then = 60;
    start(false);
    wait_restart();
    stop();
    start(false);
    cr_assert(rejoin_install(rejoin, 0, &install));
    cr_assert_eq(install.index, 70);
    rejoin_done(rejoin, 0);
    while (mem_disk_exists(memory, "data/" REJOIN_FILE ".copy"))
        (void)sched_yield();
    stop();

    /* The same by a crash in between. */
    others[1].state.first = 91;
    start(false);
    rejoin_behind(rejoin, 0, 80);
    wait_restart();
    stop();
    own_sealed = 85;
    others[1].state.first = 60;
    installed_index = 0;
    start(false);
    cr_assert(rejoin_keeps_log(rejoin, 0));
    wait_restart();
    cr_assert_eq(installed_index, 70);
}
