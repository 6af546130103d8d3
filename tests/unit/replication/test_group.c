/*
 * Groups: they elect, replicate, commit, forget nothing that they said was done, and apply each
 * entry once.
 */
#include "tests/unit/replication/rig.h"

Test(group, three_servers_elect_one_leader_and_apply_in_order_everywhere)
{
    struct rig *rig = rig_up(3);
    uint64_t leader = rig_elect(rig);
    char text[16];

    for (int i = 0; i < 100; i++) {
        (void)snprintf(text, sizeof text, "entry %d", i);
        cr_assert_eq(rig_propose(rig, leader, text), ERR_OK, "%s", err_detail());
        rig_run(rig, (uint64_t)(i % 3));
    }
    rig_run(rig, 200);
    for (uint64_t id = 1; id <= 3; id++) {
        struct rig_node *node = &rig->nodes[id];
        uint32_t next = 0;

        for (uint32_t i = 0; i < node->applied_count; i++) {
            cr_assert_eq(node->applied_index[i], i + 1);
            if (node->applied[i][0] == '\0' || next == 100)
                continue;
            (void)snprintf(text, sizeof text, "entry %u", next++);
            cr_assert_str_eq(node->applied[i], text, "server %lu", (unsigned long)id);
        }
        cr_assert_eq(next, 100, "server %lu applied %u", (unsigned long)id, next);
        cr_assert_eq(rig_state(rig, id).leader, leader);
        cr_assert_null(node->fatal);
    }
    rig_free(rig);
}

Test(group, follower_refuses_proposals)
{
    struct rig *rig = rig_up(3);
    uint64_t leader = rig_elect(rig);

    cr_assert_eq(rig_propose(rig, leader % 3 + 1, "no"), ERR_NOT_LEADER);
    rig_free(rig);
}

Test(group, sole_voter_leads_at_once_after_each_start)
{
    struct rig *rig = rig_up(1);
    uint64_t term;

    rig_run(rig, 5);
    cr_assert_eq(rig_leader_of(rig), 1);
    term = rig_state(rig, 1).term;
    cr_assert_eq(rig_propose(rig, 1, "kept"), ERR_OK);
    rig_run(rig, 5);
    cr_assert_eq(rig_applied(rig, 1, "kept"), 1);

    rig_kill(rig, 1);
    rig_start(rig, 1);
    rig_run(rig, 5);
    cr_assert_eq(rig_leader_of(rig), 1);
    cr_assert_gt(rig_state(rig, 1).term, term);
    cr_assert_eq(rig_applied(rig, 1, "kept"), 1, "the log is applied anew");
    rig_free(rig);
}

Test(group, nothing_committed_is_lost_when_all_lose_their_unsynced_tails)
{
    struct rig *rig = rig_up(3);

    for (int round = 0; round < 5; round++) {
        uint64_t leader = rig_elect(rig);
        char text[16];

        (void)snprintf(text, sizeof text, "round %d", round);
        cr_assert_eq(rig_propose(rig, leader, text), ERR_OK);
        while (rig_applied(rig, leader, text) == 0)
            rig_run(rig, 1);
        for (uint64_t id = 1; id <= 3; id++)
            rig_kill(rig, id);
        for (uint64_t id = 1; id <= 3; id++)
            rig_start(rig, id);
    }
    (void)rig_elect(rig);
    rig_run(rig, 500);
    for (uint64_t id = 1; id <= 3; id++) {
        for (int round = 0; round < 5; round++) {
            char text[16];

            (void)snprintf(text, sizeof text, "round %d", round);
            cr_assert_eq(rig_applied(rig, id, text), 1);
        }
    }
    rig_free(rig);
}

Test(group, start_skips_what_the_store_has)
{
    struct rig *rig = rig_up(1);

    rig_run(rig, 5);
    for (int i = 0; i < 10; i++)
        cr_assert_eq(rig_propose(rig, 1, "x"), ERR_OK);
    rig_run(rig, 5);
    rig->nodes[1].sealed = 6; /* Ahead of any LOG_SNAPSHOT. */
    rig_kill(rig, 1);
    rig_start(rig, 1);
    rig_run(rig, 5);
    cr_assert_gt(rig->nodes[1].applied_count, 0);
    cr_assert_eq(rig->nodes[1].applied_index[0], 7);
    rig_free(rig);
}

Test(group, start_refuses_a_store_that_is_ahead_of_the_log)
{
    struct rig *rig = rig_up(1);
    struct rig_node *node = &rig->nodes[1];
    struct group_options options = {.number = 7,
                                    .server = 1,
                                    .election_ms = 100,
                                    .heartbeat_ms = 10,
                                    .voters = {1},
                                    .voter_count = 1};
    struct group_io io = {.ctx = node, .now_ms = rig_now, .append = rig_append};
    struct group *group;

    cr_assert_eq(group_new(&options, &io, &group), ERR_OK);
    cr_assert_eq(group_start(group, 5), ERR_CORRUPT);
    cr_assert_not_null(strstr(err_detail(), "store"));
    group_free(group);
    rig_free(rig);
}

Test(group, apply_that_is_busy_goes_on_after_a_poke)
{
    struct rig *rig = rig_up(3);
    uint64_t leader = rig_elect(rig);

    rig->nodes[leader].refuse_apply = true;
    cr_assert_eq(rig_propose(rig, leader, "late"), ERR_OK);
    rig_run(rig, 100);
    cr_assert_eq(rig_applied(rig, leader, "late"), 0);
    rig->nodes[leader].refuse_apply = false;
    group_poke(rig->nodes[leader].group);
    cr_assert_eq(rig_applied(rig, leader, "late"), 1);
    rig_free(rig);
}

Test(group, applies_a_long_log_in_turns)
{
    struct rig *rig = rig_up(1);
    uint32_t applied;

    rig_run(rig, 5);
    for (int i = 0; i < 1000; i++)
        cr_assert_eq(rig_propose(rig, 1, "x"), ERR_OK);
    rig_sync(&rig->nodes[1], rig->nodes[1].stream);
    applied = rig->nodes[1].applied_count;
    cr_assert_lt(applied, 1000);
    cr_assert_eq(group_deadline(rig->nodes[1].group), 0);
    while (group_deadline(rig->nodes[1].group) == 0) {
        group_tick(rig->nodes[1].group);
        cr_assert_gt(rig->nodes[1].applied_count, applied, "each turn gets on");
        applied = rig->nodes[1].applied_count;
    }
    cr_assert_eq(rig_applied(rig, 1, "x"), 1000);
    rig_free(rig);
}

Test(group, proposals_above_the_budget_are_put_off_until_commit)
{
    struct rig *rig = rig_new(3, 3, 0);
    uint64_t leader;

    rig->inflight_max = 100;
    for (uint64_t id = 1; id <= 3; id++)
        rig_start(rig, id);
    leader = rig_elect(rig);
    cr_assert_eq(rig_propose(rig, leader, "twenty bytes of text"), ERR_OK);
    for (int i = 0; i < 4; i++)
        cr_assert_eq(rig_propose(rig, leader, "twenty bytes of text"), ERR_OK);
    cr_assert_eq(rig_state(rig, leader).inflight_bytes, 100);
    cr_assert_eq(rig_propose(rig, leader, "x"), ERR_BUSY);
    rig_run(rig, 50);
    cr_assert_eq(rig_state(rig, leader).inflight_bytes, 0);
    cr_assert_eq(rig_propose(rig, leader, "x"), ERR_OK);
    rig_free(rig);
}

Test(group, hangs_of_one_disk_do_not_stop_the_others)
{
    struct rig *rig = rig_up(3);
    uint64_t leader = rig_elect(rig);

    rig->nodes[leader].disk_hangs = true; /* The leader's own: the followers are a majority. */
    cr_assert_eq(rig_propose(rig, leader, "without me"), ERR_OK);
    rig_run(rig, 100);
    cr_assert_eq(rig_applied(rig, leader % 3 + 1, "without me"), 1);
    cr_assert_eq(rig_applied(rig, leader, "without me"), 0, "applied before it is durable here");
    rig->nodes[leader].disk_hangs = false;
    rig_run(rig, 10);
    cr_assert_eq(rig_applied(rig, leader, "without me"), 1);
    rig_free(rig);
}

Test(group, lost_process_of_the_leader_is_replaced_within_a_few_round_trips)
{
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct rig *rig = rig_up(3);
        uint64_t leader, start;

        rig_run(rig, seed);
        leader = rig_elect(rig);
        rig_run(rig, 200);
        rig_kill(rig, leader);
        rig_run(rig, 1);
        for (uint64_t id = 1; id <= 3; id++) {
            if (id != leader)
                group_peer_lost(rig->nodes[id].group, leader);
        }
        start = rig->now_ms;
        cr_assert_neq(rig_elect(rig), leader);
        cr_assert_leq(rig->now_ms - start, 40, "%lu ms", (unsigned long)(rig->now_ms - start));
        rig_free(rig);
    }
}

Test(group, peer_lost_does_no_harm_while_the_leader_lives)
{
    struct rig *rig = rig_up(3);
    uint64_t leader = rig_elect(rig);
    uint64_t term = rig_state(rig, leader).term;

    rig_run(rig, 100);
    group_peer_lost(rig->nodes[leader % 3 + 1].group, leader); /* One of two, wrongly. */
    rig_run(rig, 1000);
    cr_assert_eq(rig_state(rig, leader).term, term);
    cr_assert_eq(rig_leader_of(rig), leader);
    rig_free(rig);
}

Test(group, transfer_moves_leadership_and_holds_proposals_back)
{
    struct rig *rig = rig_up(3);
    uint64_t leader = rig_elect(rig);
    uint64_t to = leader % 3 + 1;

    rig_run(rig, 100);
    cr_assert_eq(rig_propose(rig, leader, "before"), ERR_OK);
    cr_assert_eq(group_transfer(rig->nodes[leader].group, to), ERR_OK, "%s", err_detail());
    cr_assert_eq(rig_propose(rig, leader, "meanwhile"), ERR_BUSY);
    cr_assert_eq(group_transfer(rig->nodes[leader].group, to), ERR_BUSY);
    rig_run(rig, 50);
    cr_assert_eq(rig_leader_of(rig), to);
    cr_assert_eq(rig_propose(rig, to, "after"), ERR_OK);
    rig_run(rig, 100);
    cr_assert_eq(rig_applied(rig, leader, "before"), 1);
    cr_assert_eq(rig_applied(rig, leader, "after"), 1);
    cr_assert_eq(rig_applied(rig, leader, "meanwhile"), 0);
    rig_free(rig);
}

Test(group, transfer_to_a_server_that_is_gone_ends_and_proposals_go_on)
{
    struct rig *rig = rig_up(3);
    uint64_t leader = rig_elect(rig);
    uint64_t to = leader % 3 + 1;

    rig_kill(rig, to);
    cr_assert_eq(rig_propose(rig, leader, "it lacks this"), ERR_OK);
    cr_assert_eq(group_transfer(rig->nodes[leader].group, to), ERR_OK);
    rig_run(rig, ELECTION_MS + HEARTBEAT_MS);
    cr_assert_eq(rig_leader_of(rig), leader);
    cr_assert_eq(rig_propose(rig, leader, "on"), ERR_OK);
    rig_free(rig);
}

Test(group, reads_wait_for_a_majority_and_for_apply)
{
    struct rig *rig = rig_up(3);
    uint64_t leader = rig_elect(rig);
    struct rig_node *node = &rig->nodes[leader];

    cr_assert_eq(group_read(node->group, 1), ERR_OK);
    cr_assert_eq(group_read(node->group, 2), ERR_OK);
    cr_assert_eq(node->reads, 0);
    rig_run(rig, 2);
    cr_assert_eq(node->reads, 1, "the first round is answered, %u", node->reads);
    rig_run(rig, 2);
    cr_assert_eq(node->reads, 2);
    cr_assert(node->read_ok[0] && node->read_ok[1]);

    node->refuse_apply = true;
    cr_assert_eq(rig_propose(rig, leader, "seen by the read"), ERR_OK);
    rig_run(rig, 10);
    cr_assert_eq(group_read(node->group, 3), ERR_OK);
    rig_run(rig, 10);
    cr_assert_eq(node->reads, 2, "what it has to see is not applied");
    node->refuse_apply = false;
    group_poke(node->group);
    cr_assert_eq(node->reads, 3);
    cr_assert_eq(group_read(rig->nodes[leader % 3 + 1].group, 4), ERR_NOT_LEADER);
    rig_free(rig);
}

Test(group, read_on_a_leader_that_was_replaced_fails)
{
    struct rig *rig = rig_up(3);
    uint64_t leader = rig_elect(rig);
    struct rig_node *node = &rig->nodes[leader];

    for (uint64_t id = 1; id <= 3; id++)
        rig->cut[leader][id] = rig->cut[id][leader] = true;
    cr_assert_eq(group_read(node->group, 9), ERR_OK, "it does not know yet");
    rig_run(rig, 2000);
    cr_assert_eq(node->reads, 1);
    cr_assert_eq(node->read_token[0], 9);
    cr_assert_not(node->read_ok[0]);
    rig_free(rig);
}

Test(group, sole_voter_serves_reads_at_once)
{
    struct rig *rig = rig_up(1);

    rig_run(rig, 10);
    cr_assert_eq(group_read(rig->nodes[1].group, 5), ERR_OK);
    cr_assert_eq(rig->nodes[1].reads, 1);
    cr_assert(rig->nodes[1].read_ok[0]);
    rig_free(rig);
}

static void seal_all(struct rig *rig)
{
    for (uint64_t id = 1; id <= 3; id++) {
        struct rig_node *node = &rig->nodes[id];

        if (node->group == NULL)
            continue;
        node->sealed = rig_state(rig, id).applied;
        cr_assert_eq(group_sealed(node->group, node->sealed), ERR_OK, "%s", err_detail());
        rig_run(rig, 5);
    }
}

/* The first seal trims all, for everybody has it; the second one must not take away the term that
 * stands before the entry which one server lacks. */
Test(group, a_second_seal_keeps_the_term_before_what_somebody_lacks)
{
    struct rig *rig = rig_up(3);
    uint64_t leader = rig_elect(rig), away = leader % 3 + 1, last;

    rig_run(rig, 100);
    cr_assert_eq(rig_propose(rig, leader, "for all"), ERR_OK);
    rig_run(rig, 500);
    last = rig_state(rig, leader).applied;
    cr_assert_eq(rig_state(rig, away).applied, last);
    seal_all(rig);
    cr_assert_eq(rig_state(rig, leader).first, last);
    cr_assert_eq(group_keep_after(rig->nodes[leader].group), last, "no file is held for a term");
    rig_kill(rig, away);
    cr_assert_eq(rig_propose(rig, leader, "for two"), ERR_OK);
    rig_run(rig, 100);
    seal_all(rig);
    rig_start(rig, away);
    rig_run(rig, 500);
    cr_assert_eq(rig_applied(rig, away, "for two"), 1);
    rig_free(rig);
}

/* The same where the first seal was before a restart, and the entry at it is gone from the log. */
Test(group, a_seal_after_a_restart_keeps_the_term_before_what_somebody_lacks)
{
    struct rig *rig = rig_up(3);
    uint64_t leader = rig_elect(rig), away = leader % 3 + 1;

    rig_run(rig, 100);
    cr_assert_eq(rig_propose(rig, leader, "for all"), ERR_OK);
    rig_run(rig, 500);
    seal_all(rig);
    for (uint64_t id = 1; id <= 3; id++) {
        rig_release(rig, id);
        rig_kill(rig, id);
    }
    for (uint64_t id = 1; id <= 3; id++) {
        if (id != away)
            rig_start(rig, id);
    }
    leader = rig_elect(rig);
    cr_assert_eq(rig_propose(rig, leader, "for two"), ERR_OK);
    rig_run(rig, 100);
    seal_all(rig);
    rig_start(rig, away);
    rig_run(rig, 500);
    cr_assert_eq(rig_applied(rig, away, "for two"), 1);
    rig_free(rig);
}

Test(group, seal_trims_the_log_and_an_evicted_tail_is_read_back)
{
    struct rig *rig = rig_up(3);
    uint64_t leader = rig_elect(rig);
    uint64_t away = leader % 3 + 1, last_of_away = 0;
    char text[16];

    rig_run(rig, 100);
    for (int i = 0; i < 150; i++) {
        (void)snprintf(text, sizeof text, "entry %d", i);
        if (i == 100) {
            last_of_away = rig_state(rig, away).last;
            rig_kill(rig, away);
        }
        cr_assert_eq(rig_propose(rig, leader, text), ERR_OK);
        rig_run(rig, 2);
    }
    for (uint64_t id = 1; id <= 3; id++) {
        struct rig_node *node = &rig->nodes[id];
        struct group_state state;

        if (node->group == NULL)
            continue;
        state = rig_state(rig, id);
        cr_assert_eq(group_sealed(node->group, state.applied), ERR_OK, "%s", err_detail());
        cr_assert_eq(group_sealed(node->group, state.applied + 1), ERR_INVALID);
        rig_run(rig, 5);
        node->sealed = state.applied;
        group_evict(node->group, state.applied);
        cr_assert_eq(rig_state(rig, id).first, last_of_away, "its term, and what follows");
        cr_assert_eq(group_keep_after(node->group), last_of_away - 1);
        cr_assert_leq(rig_state(rig, id).cached_bytes, 48, "only a configuration may be left");
    }

    rig_start(rig, away);
    rig_run(rig, 500);
    cr_assert_gt(rig->nodes[leader].loads, 40);
    for (int i = 0; i < 150; i++) {
        (void)snprintf(text, sizeof text, "entry %d", i);
        cr_assert_eq(rig_applied(rig, away, text), 1, "%s", text);
    }

    rig_kill(rig, leader); /* And from a log that begins in the middle. */
    rig_start(rig, leader);
    rig_run(rig, 1000);
    cr_assert_eq(rig_state(rig, leader).applied, rig_state(rig, away).applied);
    rig_free(rig);
}

/* The leader tells what all have, so the one that leads next can still serve who was away. */
Test(group, followers_keep_what_a_server_lacks)
{
    struct rig *rig = rig_new(3, 3, 0);
    uint64_t leader, away;

    rig->lag_max = 128;
    for (uint64_t id = 1; id <= 3; id++)
        rig_start(rig, id);
    leader = rig_elect(rig);
    away = leader % 3 + 1;
    rig_run(rig, 100);
    rig_kill(rig, away);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(rig_propose(rig, leader, "x"), ERR_OK);
        rig_run(rig, 2);
    }
    rig_run(rig, 100);
    for (uint64_t id = 1; id <= 3; id++) {
        struct rig_node *node = &rig->nodes[id];

        if (id == away)
            continue;
        cr_assert_eq(group_sealed(node->group, rig_state(rig, id).applied), ERR_OK);
        rig_run(rig, 5);
        node->sealed = rig_state(rig, id).applied;
        group_evict(node->group, node->sealed);
    }
    rig_kill(rig, leader);
    rig_start(rig, away);
    rig_run(rig, 2000);
    cr_assert_eq(rig_applied(rig, away, "x"), 100);
    rig_free(rig);
}

static bool is_behind(struct rig *rig, uint64_t leader, uint64_t server)
{
    struct group_state state = rig_state(rig, leader);
    bool behind = false;

    for (uint32_t i = 0; i < state.servers; i++)
        behind |= state.peers[i].server == server && state.peers[i].behind;
    return behind;
}

Test(group, follower_that_needs_trimmed_entries_is_shown_as_behind)
{
    struct rig *rig = rig_new(3, 3, 0);
    uint64_t leader, away;

    for (uint64_t id = 1; id <= 3; id++)
        rig_start(rig, id);
    leader = rig_elect(rig);
    away = leader % 3 + 1;
    rig_run(rig, 100);
    rig_kill(rig, away);
    for (int i = 0; i < 200; i++) {
        cr_assert_eq(rig_propose(rig, leader, "x"), ERR_OK);
        rig_run(rig, 2);
    }
    cr_assert_eq(group_sealed(rig->nodes[leader].group, rig_state(rig, leader).applied), ERR_OK);
    rig_run(rig, 5);
    rig_start(rig, away);
    rig_run(rig, 1000);
    cr_assert_eq(rig_leader_of(rig), leader);
    cr_assert(is_behind(rig, leader, away));
    cr_assert(rig_state(rig, away).lacks, "its leader told it");
    cr_assert_null(rig->nodes[leader].fatal);
    cr_assert_null(rig->nodes[away].fatal);
    rig_free(rig);
}

Test(group, entry_that_cannot_be_read_back_is_shown_and_does_no_harm)
{
    struct rig *rig = rig_up(3);
    uint64_t leader = rig_elect(rig);
    uint64_t away = leader % 3 + 1;

    rig_run(rig, 100);
    rig_kill(rig, away);
    for (int i = 0; i < 30; i++)
        cr_assert_eq(rig_propose(rig, leader, "x"), ERR_OK);
    rig_run(rig, 50);
    group_evict(rig->nodes[leader].group, rig_state(rig, leader).applied);
    rig->nodes[leader].loads_fail = true;
    rig_start(rig, away);
    rig_run(rig, 300);
    cr_assert_eq(rig_leader_of(rig), leader);
    cr_assert_eq(rig_applied(rig, away, "x"), 0);
    cr_assert(is_behind(rig, leader, away));
    cr_assert(rig_state(rig, away).lacks);
    rig->nodes[leader].loads_fail = false;
    rig_run(rig, 300);
    cr_assert_eq(rig_applied(rig, away, "x"), 30);
    cr_assert_not(is_behind(rig, leader, away));
    cr_assert_not(rig_state(rig, away).lacks);
    rig_free(rig);
}
