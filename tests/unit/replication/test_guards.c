/*
 * Guards: each defect of the core is shown with its guard off, and kept away with it on.
 *
 * One server's group stands alone; the test plays its peers. Its log is written beforehand, one
 * character an entry: the term. Entry 1 is the configuration.
 */
#include "rig.h"

#include "replication/configuration.h"

struct solo {
    struct rig *rig;
    struct rig_node *node;
    struct group *group;
    uint64_t server;
};

/* ---- Making a server ----------------------------------------------------------------------- */

static struct buf *configuration_of(uint32_t voters)
{
    static const uint64_t ids[] = {1, 2, 3, 4, 5};
    struct buf *buf;

    cr_assert_eq(configuration_encode(ids, voters, &buf), ERR_OK);
    return buf;
}

static void write_record(struct rig_node *node, struct log_record record)
{
    record.group = 7;
    record.position = node->stream + 1;
    node->records[node->stream++] = record;
    node->durable = node->told = node->stream;
}

static void write_entry(struct rig_node *node, uint64_t index, uint64_t term, uint8_t type,
                        struct buf *payload)
{
    write_record(
        node,
        (struct log_record){
            .kind = LOG_ENTRY, .type = type, .index = index, .term = term, .payload = payload});
}

/* A follower in `term` whose log is a configuration of `voters`, then entries of these terms. */
static struct solo solo_new(uint64_t server, uint64_t term, uint32_t voters, const char *terms,
                            uint64_t guards_off)
{
    struct solo solo = {.rig = rig_new(3, voters, guards_off), .server = server};

    solo.node = &solo.rig->nodes[server];
    solo.rig->trailing = 2;
    write_entry(solo.node, 1, 1, GROUP_CHANGE, configuration_of(voters));
    for (uint64_t i = 0; terms[i] != '\0'; i++)
        write_entry(solo.node, i + 2, (uint64_t)(terms[i] - '0'), GROUP_COMMAND, rig_payload("x"));
    write_record(solo.node, (struct log_record){.kind = LOG_TERM, .term = term});
    rig_start(solo.rig, server);
    solo.group = solo.node->group;
    return solo;
}

static void solo_free(struct solo *solo)
{
    rig_free(solo->rig);
}

static void wait_ms(struct solo *solo, uint64_t ms)
{
    rig_run(solo->rig, ms);
}

/* ---- Playing its peers --------------------------------------------------------------------- */

static void put_entry(struct group_entry *entry, uint64_t term, uint8_t type, struct buf *payload)
{
    *entry =
        (struct group_entry){.term = term, .type = type, .size = payload->size, .payload = payload};
}

/* Entries of these terms; the one at `change_at` is a configuration of two servers. */
static void append(struct solo *solo, uint64_t from, uint64_t term, uint64_t prev_index,
                   uint64_t prev_term, uint64_t commit, const char *terms, int change_at)
{
    uint32_t count = (uint32_t)strlen(terms);
    struct group_message *message = group_message_new(GROUP_APPEND, term, count);

    message->append.prev_index = prev_index;
    message->append.prev_term = prev_term;
    message->append.commit = commit;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t entry_term = (uint64_t)(terms[i] - '0');

        if ((int)i == change_at)
            put_entry(&message->append.entries[i], entry_term, GROUP_CHANGE, configuration_of(2));
        else
            put_entry(&message->append.entries[i], entry_term, GROUP_COMMAND, rig_payload("y"));
    }
    group_receive(solo->group, from, message);
}

static void append_result(struct solo *solo, uint64_t from, uint64_t rejected, uint64_t last)
{
    struct group_message *message =
        group_message_new(GROUP_APPEND_RESULT, rig_state(solo->rig, solo->server).term, 0);

    message->append_result.rejected = rejected;
    message->append_result.last_index = last;
    group_receive(solo->group, from, message);
}

static void vote(struct solo *solo, uint64_t from, uint64_t term, uint64_t last_index,
                 uint64_t last_term, bool pre_vote)
{
    struct group_message *message = group_message_new(GROUP_VOTE, term, 0);

    message->vote =
        (struct group_vote){.last_index = last_index, .last_term = last_term, .pre_vote = pre_vote};
    group_receive(solo->group, from, message);
}

static void vote_result(struct solo *solo, uint64_t from, uint64_t term, bool granted,
                        bool pre_vote)
{
    struct group_message *message = group_message_new(GROUP_VOTE_RESULT, term, 0);

    message->vote_result = (struct group_vote_result){.granted = granted, .pre_vote = pre_vote};
    group_receive(solo->group, from, message);
}

static struct group_message *expect(struct solo *solo, uint64_t to, enum group_message_kind kind)
{
    struct group_message *message = rig_take(solo->rig, to, kind);

    cr_assert_not_null(message, "nothing of kind %d was sent to server %lu", kind,
                       (unsigned long)to);
    return message;
}

/* What the last answer of that kind said: rejected, last index. */
static struct group_append_result answer_to(struct solo *solo, uint64_t to)
{
    struct group_message *message = expect(solo, to, GROUP_APPEND_RESULT);
    struct group_append_result result = message->append_result;

    group_message_free(message);
    return result;
}

static struct group_vote_result vote_answer_to(struct solo *solo, uint64_t to, uint64_t *ret_term)
{
    struct group_message *message = expect(solo, to, GROUP_VOTE_RESULT);
    struct group_vote_result result = message->vote_result;

    *ret_term = message->term;
    group_message_free(message);
    return result;
}

/* Time out, win the pre-vote and the vote with the help of server 2. */
static void win(struct solo *solo)
{
    uint64_t term = rig_state(solo->rig, solo->server).term;

    wait_ms(solo, 2 * ELECTION_MS + 10);
    vote_result(solo, 2, term + 1, true, true);
    wait_ms(solo, 3);
    vote_result(solo, 2, term + 1, true, false);
    cr_assert(rig_state(solo->rig, solo->server).leading);
    wait_ms(solo, 3);
}

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

/* ---- Messages going out -------------------------------------------------------------------- */

Test(guards, gate_holds_a_vote_back_until_it_is_on_disk)
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

Test(guards, chgate_waits_for_the_configuration_itself)
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
Test(guards, hint_skips_the_branch_that_was_given_up)
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

Test(guards, probe_asks_without_entries_until_the_logs_have_met)
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

Test(guards, empties_are_not_sent_with_each_proposal_of_a_full_window)
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

Test(guards, empties_that_ask_for_another_prev_are_news)
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
Test(guards, resend_does_not_queue_again_what_is_queued)
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

Test(guards, overtake_makes_heartbeats_right_whatever_is_queued)
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
Test(guards, behind_finds_the_last_entry_that_both_have)
{
    for (int off = 1; off >= 0; off--) {
        struct solo solo =
            solo_new(1, 1, 3, "111111111111111111111111111111111111111", off ? GUARD_BEHIND : 0);
        struct group_message *message;
        bool asked = false;

        solo.group->options.trailing = 1; /* A follower may hold back no more than 16 entries. */
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
