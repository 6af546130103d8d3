/*
 * Guards on what goes out: each defect is shown with its guard off, and kept away with it on.
 */
#include "tests/unit/replication/solo.h"

Test(guards_out, gate_holds_a_vote_back_until_it_is_on_disk)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo = solo_new(2, 1, 3, "", off ? GUARD_GATE : 0);
        struct group_message *message;

        solo.node->disk_hangs = true;
        vote(&solo, 1, 2, 1, 1, false);
        wait_ms(&solo, 50);
        message = rig_take(solo.rig, 1, GROUP_VOTE_RESULT);
        cr_assert_eq(message != NULL, off);
        group_message_free(message);
        solo.node->disk_hangs = false;
        wait_ms(&solo, 3);
        message = rig_take(solo.rig, 1, GROUP_VOTE_RESULT);
        cr_assert_eq(message != NULL, !off);
        group_message_free(message);
        solo_free(&solo);
    }
}

Test(guards_out, chgate_waits_for_the_configuration_itself)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo = solo_new(1, 1, 3, "", off ? GUARD_CHGATE : 0);
        struct mirror_slot change = {.type = GROUP_CHANGE, .stream = 9};
        struct mirror_slot command = {.type = GROUP_COMMAND, .stream = 9};

        cr_assert_eq(guard_change_gate(solo.group, &change, 4), off ? 4 : 9);
        cr_assert_eq(guard_change_gate(solo.group, &command, 4), 4);
        solo_free(&solo);
    }
}

/* Our tail is of term 3, the leader's of term 4; 2 to 4 are in common. */
Test(guards_out, hint_skips_the_branch_that_was_given_up)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo = solo_new(2, 4, 3, "222333333", off ? GUARD_HINT : 0);
        struct group_append_result result;

        append(&solo, 1, 4, 9, 4, 1, "", -1);
        result = answer_to(&solo, 1);
        cr_assert_eq(result.rejected, 9);
        cr_assert_eq(result.last_index, off ? 8 : 4);
        append(&solo, 1, 4, 20, 4, 1, "", -1); /* Beyond our log: there is no branch to skip. */
        cr_assert_eq(answer_to(&solo, 1).last_index, 10);
        solo_free(&solo);
    }
}

Test(guards_out, probe_asks_without_entries_until_the_logs_have_met)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo = solo_new(1, 1, 3, "11111", off ? GUARD_PROBE : 0);
        struct group_message *message;

        win(&solo);
        rig_forget_lost(solo.rig);
        append_result(&solo, 2, 6, 5);
        message = expect(&solo, 2, GROUP_APPEND);
        cr_assert_eq(message->append.prev_index, 5);
        cr_assert_eq(message->append.count, off ? 2 : 0);
        group_message_free(message);
        append_result(&solo, 2, 5, 3);
        append_result(&solo, 2, 0, 3);
        do { /* It has 3: the rest goes. */
            message = expect(&solo, 2, GROUP_APPEND);
            if (message->append.count > 0)
                break;
            group_message_free(message);
        } while (true);
        cr_assert_eq(message->append.prev_index, 3);
        group_message_free(message);
        solo_free(&solo);
    }
}

static uint32_t count_empty(struct solo *solo, uint64_t to)
{
    struct group_message *message;
    uint32_t empty = 0;

    while ((message = rig_take(solo->rig, to, GROUP_APPEND)) != NULL) {
        empty += message->append.count == 0;
        group_message_free(message);
    }
    return empty;
}

Test(guards_out, empties_are_not_sent_with_each_proposal_of_a_full_window)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo = solo_new(1, 1, 3, "11", off ? GUARD_EMPTIES : 0);

        win(&solo);
        append_result(&solo, 2, 0, rig_state(solo.rig, 1).last);
        raft_set_max_inflight_entries(&solo.group->raft, 4);
        rig_forget_lost(solo.rig);
        for (int i = 0; i < 24; i++)
            cr_assert_eq(rig_propose(solo.rig, 1, "x"), ERR_OK);
        cr_assert_eq(count_empty(&solo, 2), off ? 20 : 1);
        solo_free(&solo);
    }
}

Test(guards_out, empties_that_ask_for_another_prev_are_news)
{
    struct solo solo = solo_new(1, 1, 3, "", 0);
    struct group_peer peer = {.empty_ms = 1000, .empty_prev = 5, .empty_commit = 3};
    struct group_append append = {.prev_index = 5, .commit = 3};

    cr_assert(guard_empties(solo.group, &peer, &append, 1001));
    cr_assert_not(guard_empties(solo.group, &peer, &append, 1000 + HEARTBEAT_MS));
    append.prev_index = 4;
    cr_assert_not(guard_empties(solo.group, &peer, &append, 1001));
    append = (struct group_append){.prev_index = 5, .commit = 4};
    cr_assert_not(guard_empties(solo.group, &peer, &append, 1001));
    solo_free(&solo);
}

/* Server 3 does not answer; what was proposed meanwhile is still in our queue towards it. */
Test(guards_out, resend_does_not_queue_again_what_is_queued)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo = solo_new(1, 1, 3, "11", off ? GUARD_RESEND : 0);
        struct group_message *message;
        uint32_t entries = 0;

        win(&solo);
        append_result(&solo, 2, 0, rig_state(solo.rig, 1).last);
        append_result(&solo, 3, 0, rig_state(solo.rig, 1).last);
        wait_ms(&solo, 3);
        rig_forget_lost(solo.rig);
        solo.node->bulk_queued = true;
        for (int i = 0; i < 3; i++)
            cr_assert_eq(rig_propose(solo.rig, 1, "x"), ERR_OK);
        for (int i = 0; i < 8; i++) {
            append_result(&solo, 2, 0, rig_state(solo.rig, 1).last);
            wait_ms(&solo, HEARTBEAT_MS);
        }
        while ((message = rig_take(solo.rig, 3, GROUP_APPEND)) != NULL) {
            entries += message->append.count;
            group_message_free(message);
        }
        cr_assert_eq(entries > 3, off, "%u entries", entries);
        cr_assert_geq(entries, 3);
        solo_free(&solo);
    }
}

Test(guards_out, overtake_makes_heartbeats_right_whatever_is_queued)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo = solo_new(1, 1, 3, "11", off ? GUARD_OVERTAKE : 0);
        struct group_message *message;
        uint64_t match;

        win(&solo);
        match = rig_state(solo.rig, 1).last;
        append_result(&solo, 2, 0, match);
        cr_assert_eq(rig_propose(solo.rig, 1, "queued"), ERR_OK);
        solo.node->bulk_queued = true;
        rig_forget_lost(solo.rig);
        for (int i = 0; i < 4; i++) { /* It answers, but has not got the entry yet. */
            append_result(&solo, 2, 0, match);
            wait_ms(&solo, HEARTBEAT_MS / 2);
        }
        message = expect(&solo, 2, GROUP_APPEND);
        cr_assert(solo.rig->taken_urgent);
        cr_assert_eq(message->append.count, 0);
        cr_assert_eq(message->append.prev_index, off ? match + 1 : match);
        group_message_free(message);
        solo_free(&solo);
    }
}

/* Server 3 has entries up to 30, but told only of 5; our log begins behind that. */
Test(guards_out, behind_finds_the_last_entry_that_both_have)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo =
            solo_new(1, 1, 3, "111111111111111111111111111111111111111", off ? GUARD_BEHIND : 0);
        struct group_message *message;
        bool asked = false;

        solo.group->options.lag_max = 16;
        win(&solo);
        append_result(&solo, 3, 0, 5);
        append_result(&solo, 2, 0, rig_state(solo.rig, 1).last);
        wait_ms(&solo, 3);
        cr_assert_eq(group_sealed(solo.group, 38), ERR_OK);
        wait_ms(&solo, 3);
        cr_assert_eq(rig_state(solo.rig, 1).first, 23);
        for (int i = 0; i < 12; i++) {
            append_result(&solo, 2, 0, rig_state(solo.rig, 1).last);
            append_result(&solo, 3, 38, 30);
            wait_ms(&solo, HEARTBEAT_MS);
        }
        while ((message = rig_take(solo.rig, 3, GROUP_APPEND)) != NULL) {
            asked |= message->append.prev_index == 30 && message->append.count == 0;
            group_message_free(message);
        }
        cr_assert_eq(asked, !off);
        solo_free(&solo);
    }
}
