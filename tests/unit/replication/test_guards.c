/*
 * Guards on what comes in, and on start, disk and time: each defect of the core is shown with its
 * guard off, and kept away with it on.
 */
#include "tests/unit/replication/solo.h"

/* ---- Messages coming in -------------------------------------------------------------------- */

Test(guards, oldterm_refuses_what_the_core_would_take_for_an_acknowledgement)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo = solo_new(2, 5, 3, "", off ? GUARD_OLDTERM : 0);
        struct group_append_result result;

        append(&solo, 1, 4, 0, 0, 0, "", -1);
        result = answer_to(&solo, 1);
        cr_assert_eq(result.rejected == 0, off);
        if (!off)
            cr_assert_eq(result.last_index, 0);
        solo_free(&solo);
    }
}

Test(guards, sameterm_stops_a_group_with_two_leaders_of_one_term)
{
    struct solo solo = solo_new(1, 1, 3, "", 0);

    win(&solo);
    append(&solo, 2, rig_state(solo.rig, 1).term, 1, 1, 1, "", -1);
    cr_assert_not_null(solo.node->fatal);
    cr_assert_not_null(strstr(solo.node->fatal, "two leaders"));
    solo_free(&solo);
}

/* A follower that has committed and sealed entries up to 8, and kept 7 and 8. */
static struct solo pruned_follower(uint64_t guards_off)
{
    struct solo solo = solo_new(2, 1, 3, "1111111", guards_off);

    append(&solo, 1, 1, 8, 1, 8, "", -1);
    solo.group->all_have = 7; /* As the leader says. */
    wait_ms(&solo, 3);
    cr_assert_eq(group_sealed(solo.group, 8), ERR_OK);
    wait_ms(&solo, 3);
    cr_assert_eq(rig_state(solo.rig, 2).first, 7);
    rig_forget_lost(solo.rig);
    return solo;
}

Test(guards, pruned_follower_takes_entries_from_before_its_log)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo = pruned_follower(off ? GUARD_PRUNED : 0);

        append(&solo, 1, 1, 4, 1, 8, "11111", -1);
        wait_ms(&solo, 3);
        if (off) {
            cr_assert_eq(answer_to(&solo, 1).rejected, 4, "refused, for ever");
        } else {
            struct group_append_result result = answer_to(&solo, 1);

            cr_assert_eq(result.rejected, 0);
            cr_assert_eq(result.last_index, 9);
            cr_assert_eq(rig_state(solo.rig, 2).last, 9);
        }
        solo_free(&solo);
    }
}

Test(guards, pruned_follower_takes_the_first_batch_again)
{
    struct solo solo = pruned_follower(0);

    append(&solo, 1, 1, 0, 0, 8, "11111111", -1);
    wait_ms(&solo, 3);
    cr_assert_eq(answer_to(&solo, 1).last_index, 8);
    cr_assert_eq(rig_state(solo.rig, 2).last, 8);
    cr_assert_null(solo.node->fatal);
    solo_free(&solo);
}

/* With that guard off the core runs off the end of the array, so ask the bare core. */
Test(guards, pruned_core_appends_at_a_wrong_index)
{
    struct solo solo = pruned_follower(0);
    struct raft_entry entries[16];
    struct raft_message message = {
        .type = RAFT_APPEND_ENTRIES, .server_id = 1, .server_address = "1"};
    struct raft_event event = {.type = RAFT_RECEIVE, .time = solo.rig->now_ms};
    struct raft_update update = {0};
    void *token = raft_malloc(1);

    memset(entries, 0, sizeof entries);
    for (int i = 0; i < 8; i++)
        entries[i] = (struct raft_entry){.term = 1, .type = RAFT_COMMAND, .batch = token};
    message.append_entries.term = 1;
    message.append_entries.leader_commit = 8;
    message.append_entries.entries = entries;
    message.append_entries.n_entries = 8;
    event.receive.message = &message;
    cr_assert_eq(raft_step(&solo.group->raft, &event, &update), 0);
    cr_assert_gt(update.entries.n, 8, "more entries than were given: %u", update.entries.n);
    raft_free(token);
    solo_free(&solo);
}

Test(guards, split_finds_the_configuration_behind_other_entries)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo = solo_new(2, 1, 3, "1", off ? GUARD_SPLIT : 0);

        append(&solo, 1, 1, 2, 1, 1, "111", 2);
        cr_assert_eq(solo.group->raft.configuration_uncommitted_index, off ? 3 : 5);
        cr_assert_eq(rig_state(solo.rig, 2).last, 5);
        solo_free(&solo);
    }
}

Test(guards, stack_rolls_back_to_the_configuration_before)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo = solo_new(2, 1, 3, "1", off ? GUARD_STACK : 0);

        append(&solo, 1, 1, 2, 1, 1, "1", 0); /* Two servers. */
        append(&solo, 1, 1, 3, 1, 1, "1", 0); /* The leader only may if 3 is committed. */
        wait_ms(&solo, 3);
        cr_assert_eq(solo.group->raft.configuration.n, 2);
        append(&solo, 3, 2, 3, 1, 3, "2", -1); /* 4 is cut. */
        wait_ms(&solo, 3);
        cr_assert_eq(solo.group->raft.configuration.n, off ? 3 : 2);
        solo_free(&solo);
    }
}

Test(guards, commit_does_not_go_back_with_an_old_message)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo = solo_new(2, 1, 3, "1111111", off ? GUARD_COMMIT : 0);

        append(&solo, 1, 1, 8, 1, 6, "", -1);
        cr_assert_eq(rig_state(solo.rig, 2).commit, 6);
        append(&solo, 1, 1, 3, 1, 7, "", -1);
        cr_assert_eq(solo.group->raft.commit_index, off ? 3 : 6);
        cr_assert_eq(solo.node->fatal != NULL, off);
        solo_free(&solo);
    }
}

/* Server 3 is silent for a tick, so it is probed again; then its refusal of long ago arrives. */
Test(guards, rej_ignores_a_refusal_below_the_match)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo = solo_new(1, 1, 3, "1111111111", off ? GUARD_REJ : 0);
        struct group_message *message;
        uint64_t next;

        win(&solo);
        append_result(&solo, 3, 0, 8);
        for (int i = 0; i < 6; i++) {
            append_result(&solo, 2, 0, 11);
            wait_ms(&solo, HEARTBEAT_MS);
        }
        append_result(&solo, 3, 8, 4);
        rig_forget_lost(solo.rig);
        append_result(&solo, 2, 0, 11);
        wait_ms(&solo, HEARTBEAT_MS + 10);
        message = expect(&solo, 3, GROUP_APPEND);
        next = message->append.prev_index + 1;
        cr_assert_eq(next <= 8, off, "next is %lu, the match is 8", (unsigned long)next);
        group_message_free(message);
        solo_free(&solo);
    }
}

Test(guards, prevote_refusal_tells_the_real_term)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo = solo_new(2, 9, 3, "55", off ? GUARD_PREVOTE : 0);
        uint64_t term;

        vote(&solo, 1, 6, 2, 5, true); /* A shorter log, of a server in term 5. */
        cr_assert_not(vote_answer_to(&solo, 1, &term).granted);
        cr_assert_eq(term, off ? 6 : 9);
        solo_free(&solo);
    }
}

Test(guards, prevote_results_are_for_those_who_asked)
{
    struct solo solo = solo_new(1, 5, 3, "555", 0);
    struct group_vote_result granted = {.granted = true, .pre_vote = true};
    struct group_vote_result refused = {.granted = false, .pre_vote = true};
    struct group_vote_result real = {.granted = true, .pre_vote = false};

    cr_assert(guard_vote_result(solo.group, 6, &granted), "a follower did not ask");
    wait_ms(&solo, 2 * ELECTION_MS + 10);
    cr_assert_not(guard_vote_result(solo.group, 6, &granted));
    cr_assert(guard_vote_result(solo.group, 5, &granted), "it would be for term 6");
    cr_assert_not(guard_vote_result(solo.group, 9, &refused));
    vote_result(&solo, 2, 6, true, true);
    cr_assert(guard_vote_result(solo.group, 7, &granted), "the pre-vote is over");
    cr_assert_not(guard_vote_result(solo.group, 6, &real));
    solo_free(&solo);
}

Test(guards, vote_of_a_server_that_does_not_know_of_its_promotion_counts)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo = solo_new(2, 3, 1, "33", off ? GUARD_VOTE : 0);
        uint64_t term, records = solo.node->stream;

        vote(&solo, 1, 4, 3, 3, false);
        wait_ms(&solo, 3);
        cr_assert_eq(vote_answer_to(&solo, 1, &term).granted, !off);
        cr_assert_eq(term, 4);
        cr_assert_eq(solo.node->records[records].kind, LOG_TERM);
        cr_assert_eq(solo.node->records[records].aux, off ? 0 : 1, "whom it voted for");
        if (!off) { /* Once a term. */
            vote(&solo, 3, 4, 3, 3, false);
            wait_ms(&solo, 3);
            cr_assert_not(vote_answer_to(&solo, 3, &term).granted);
        }
        solo_free(&solo);
    }
}

/* ---- Start, disk, time --------------------------------------------------------------------- */

Test(guards, sole_voter_starts_in_a_new_term)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo = solo_new(1, 3, 1, "33", off ? GUARD_SOLE : 0);

        cr_assert(rig_state(solo.rig, 1).leading);
        cr_assert_eq(rig_state(solo.rig, 1).term, off ? 3 : 4);
        solo_free(&solo);
    }
}

Test(guards, ownterm_proposes_a_barrier_and_puts_reads_off_until_it_is_committed)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo = solo_new(1, 1, 3, "", off ? GUARD_OWNTERM : 0);
        uint64_t last;

        win(&solo);
        last = rig_state(solo.rig, 1).last;
        cr_assert_eq(last, off ? 1 : 2, "everything was committed: the core saw no need");
        cr_assert_eq(group_read(solo.group, 1), off ? ERR_OK : ERR_BUSY);
        if (!off) {
            append_result(&solo, 2, 0, last);
            wait_ms(&solo, 3);
            cr_assert_eq(group_read(solo.group, 2), ERR_OK);
        }
        solo_free(&solo);
    }
}

/* Entries 2 and 3 are on their way to the disk when others take their place. */
Test(guards, stale_completion_of_a_cut_write_acknowledges_nothing)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo = solo_new(2, 1, 3, "", off ? GUARD_STALE : 0);
        uint64_t before;

        solo.node->disk_hangs = true;
        append(&solo, 1, 1, 1, 1, 1, "11", -1);
        before = solo.node->stream;
        append(&solo, 3, 2, 1, 1, 1, "22", -1);
        cr_assert_gt(solo.node->stream, before);
        rig_sync(solo.node, before);
        cr_assert_eq(rig_state(solo.rig, 2).durable, off ? 3 : 1);
        rig_sync(solo.node, solo.node->stream);
        cr_assert_eq(rig_state(solo.rig, 2).durable, 3);
        solo_free(&solo);
    }
}

Test(guards, snapstale_does_not_take_the_snapshot_back)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo = solo_new(2, 1, 3, "1111111", off ? GUARD_SNAPSTALE : 0);

        append(&solo, 1, 1, 8, 1, 8, "", -1);
        wait_ms(&solo, 3);
        cr_assert_eq(group_sealed(solo.group, 8), ERR_OK);
        wait_ms(&solo, 3);
        cr_assert_eq(group_sealed(solo.group, 7), ERR_OK);
        wait_ms(&solo, 3);
        cr_assert_eq(solo.group->raft.trail.snapshot.index, off ? 7 : 8);
        solo_free(&solo);
    }
}

Test(guards, mute_keeps_the_vote_of_a_server_that_forgot_what_it_acknowledged)
{
    for (int off = 1; off >= 0; off--) {
        struct buf *configuration = configuration_of(3);
        struct group_install install = {.index = 5,
                                        .term = 1,
                                        .configuration_index = 1,
                                        .configuration = configuration->bytes,
                                        .configuration_size = configuration->size,
                                        .until = 6,
                                        .until_term = 1};
        struct solo solo = {.rig = rig_new(3, 3, off ? GUARD_MUTE : 0), .server = 2};
        struct group_message *answer;

        solo.node = &solo.rig->nodes[2];
        solo.node->install = &install;
        solo.node->sealed = 5;
        rig_start(solo.rig, 2);
        solo.group = solo.node->group;
        wait_ms(&solo, 3);
        vote(&solo, 3, 2, 5, 1, false); /* Server 3 lacks entry 6, which we had. */
        wait_ms(&solo, 3);
        answer = rig_take(solo.rig, 3, GROUP_VOTE_RESULT);
        cr_assert_eq(answer != NULL && answer->vote_result.granted, off);
        group_message_free(answer);
        buf_unref(configuration);
        solo_free(&solo);
    }
}

Test(guards, tick_of_a_leader_comes_once_a_heartbeat)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo = solo_new(1, 1, 3, "", off ? GUARD_TICK : 0);

        win(&solo);
        wait_ms(&solo, HEARTBEAT_MS);
        cr_assert_eq(guard_deadline(solo.group, 5), off ? 5 : solo.group->ticked_ms + HEARTBEAT_MS);
        solo_free(&solo);
    }
}

Test(guards, disrupt_ends_with_the_round_that_the_leader_asked_for)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo = solo_new(1, 5, 3, "555", off ? GUARD_DISRUPT : 0);
        struct group_message *message = group_message_new(GROUP_TIMEOUT_NOW, 5, 0);

        append(&solo, 3, 5, 4, 5, 1, "", -1);
        message->timeout_now.last_index = 4;
        message->timeout_now.last_term = 5;
        group_receive(solo.group, 3, message);
        wait_ms(&solo, 3);
        message = expect(&solo, 2, GROUP_VOTE);
        cr_assert(message->vote.disrupt_leader && !message->vote.pre_vote);
        group_message_free(message);
        wait_ms(&solo, 2 * ELECTION_MS + 10); /* It does not win. */
        message = expect(&solo, 2, GROUP_VOTE);
        cr_assert_eq(message->vote.disrupt_leader, off);
        cr_assert_eq(message->vote.pre_vote, !off);
        group_message_free(message);
        solo_free(&solo);
    }
}
