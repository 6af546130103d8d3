/*
 * Groups that begin again with another server's state: their old entries are void, they catch up,
 * and do not vote before they have again all that they may have promised.
 */
#include "tests/unit/replication/solo.h"

enum { INDEX = 20, UNTIL = 23, UNTIL_TERM = 5 };

static struct group_install install_of(const struct buf *configuration)
{
    return (struct group_install){
        .index = INDEX,
        .term = 4,
        .configuration_index = 1,
        .configuration = configuration->bytes,
        .configuration_size = configuration->size,
        .until = UNTIL,
        .until_term = UNTIL_TERM,
    };
}

/* Server 2, with nothing but this install. `disk_hangs`: it is not on disk yet. */
static struct solo solo_installed(const struct group_install *install, uint64_t guards_off,
                                  bool disk_hangs)
{
    struct solo solo = {.rig = rig_new(3, 3, guards_off), .server = 2};

    solo.node = &solo.rig->nodes[2];
    solo.node->install = install;
    solo.node->sealed = install->index;
    solo.node->disk_hangs = disk_hangs;
    rig_start(solo.rig, 2);
    solo.group = solo.node->group;
    wait_ms(&solo, 3);
    return solo;
}

static void timeout_now(struct solo *solo, uint64_t term)
{
    struct group_message *message = group_message_new(GROUP_TIMEOUT_NOW, term, 0);
    struct group_state state = rig_state(solo->rig, solo->server);

    message->timeout_now = (struct group_timeout_now){.last_index = state.last, .last_term = 4};
    group_receive(solo->group, 1, message);
}

/* Whether server 2 answers when server 3 asks for its vote in `term`. */
static bool votes(struct solo *solo, uint64_t term)
{
    struct group_message *answer;
    bool granted;

    rig_forget_lost(solo->rig);
    vote(solo, 3, term, 1000, term - 1, false);
    wait_ms(solo, 3);
    answer = rig_take(solo->rig, 3, GROUP_VOTE_RESULT);
    granted = answer != NULL && answer->vote_result.granted;
    group_message_free(answer);
    return granted;
}

/* ---- Records ------------------------------------------------------------------------------- */

Test(group_install, writes_the_term_with_our_own_vote_then_the_snapshot)
{
    struct buf *configuration = configuration_of(3);
    struct group_install install = install_of(configuration);
    struct solo solo = solo_installed(&install, 0, false);
    const struct log_record *records = solo.node->records;
    struct group_state state = rig_state(solo.rig, 2);

    cr_assert_eq(solo.node->stream, 2);
    cr_assert_eq(records[0].kind, LOG_TERM);
    cr_assert_eq(records[0].term, UNTIL_TERM);
    cr_assert_eq(records[0].aux, 2);
    cr_assert_eq(records[1].kind, LOG_INSTALL);
    cr_assert_eq(records[1].index, INDEX);
    cr_assert_eq(records[1].term, 4);
    cr_assert_eq(records[1].aux, 1);
    cr_assert_eq(records[1].payload->size, configuration->size);
    cr_assert_eq(state.term, UNTIL_TERM);
    cr_assert_eq(state.last, INDEX);
    cr_assert_eq(state.applied, INDEX);
    cr_assert_eq(state.servers, 3);
    cr_assert(state.mute);
    buf_unref(configuration);
    solo_free(&solo);
}

Test(group_install, makes_void_what_the_log_had)
{
    struct buf *configuration = configuration_of(3);
    struct group_install install = install_of(configuration);
    struct solo solo = solo_new(2, 2, 3, "1122", 0);

    rig_kill(solo.rig, 2);
    solo.node->install = &install;
    solo.node->sealed = INDEX;
    for (int start = 0; start < 2; start++) { /* The second time from the log alone. */
        struct group_state state;

        rig_start(solo.rig, 2);
        solo.group = solo.node->group;
        wait_ms(&solo, 3);
        state = rig_state(solo.rig, 2);
        cr_assert_eq(state.last, INDEX);
        cr_assert_geq(state.first, INDEX);
        cr_assert_eq(state.term, UNTIL_TERM);
        solo.node->install = NULL;
        rig_kill(solo.rig, 2);
    }
    buf_unref(configuration);
    solo_free(&solo);
}

Test(group_install, goes_on_behind_entries_that_came_since)
{
    struct buf *configuration = configuration_of(3);
    struct group_install install = install_of(configuration);
    struct solo solo = solo_installed(&install, 0, false);

    append(&solo, 1, 5, INDEX, 4, INDEX, "55", -1);
    wait_ms(&solo, 3);
    cr_assert_eq(answer_to(&solo, 1).last_index, INDEX + 2);
    rig_kill(solo.rig, 2); /* `install` is called for again: it was done. */
    rig_start(solo.rig, 2);
    solo.group = solo.node->group;
    wait_ms(&solo, 3);
    cr_assert_eq(rig_state(solo.rig, 2).last, INDEX + 2);
    cr_assert(group_is_mute(solo.group));
    append(&solo, 1, 5, INDEX + 2, 5, INDEX, "5", -1);
    wait_ms(&solo, 3);
    cr_assert_not(group_is_mute(solo.group), "entry %d is durable", UNTIL);

    rig_kill(solo.rig, 2);
    rig_start(solo.rig, 2);
    cr_assert_not(group_is_mute(solo.node->group), "and was before the start");
    buf_unref(configuration);
    solo_free(&solo);
}

/* The power went between its two records. */
Test(group_install, is_made_again_if_only_the_term_was_durable)
{
    struct buf *configuration = configuration_of(3);
    struct group_install install = install_of(configuration);
    struct solo solo = solo_installed(&install, 0, true);

    cr_assert_eq(solo.node->stream, 2);
    solo.node->durable = 1;
    rig_kill(solo.rig, 2);
    solo.node->disk_hangs = false;
    rig_start(solo.rig, 2);
    solo.group = solo.node->group;
    wait_ms(&solo, 3);
    cr_assert_eq(rig_state(solo.rig, 2).last, INDEX);
    cr_assert_eq(rig_state(solo.rig, 2).term, UNTIL_TERM);
    buf_unref(configuration);
    solo_free(&solo);
}

static enum err try_install(struct rig *rig, uint64_t own_term, const struct group_install *install)
{
    struct group_options options = {.number = 7,
                                    .server = 1,
                                    .election_ms = 100,
                                    .heartbeat_ms = 10,
                                    .voters = {1, 2, 3},
                                    .voter_count = 3};
    struct group_io io = {.ctx = &rig->nodes[1], .now_ms = rig_now, .append = rig_append};
    struct log_record term = {.kind = LOG_TERM, .term = own_term};
    struct group *group;
    enum err err;

    cr_assert_eq(group_new(&options, &io, &group), ERR_OK);
    if (own_term > 0)
        cr_assert_eq(group_replay(group, &term), ERR_OK);
    err = group_install(group, install);
    group_free(group);
    return err;
}

Test(group_install, refuses_what_cannot_be_right)
{
    struct buf *configuration = configuration_of(3), *alone = configuration_of(1);
    struct rig *rig = rig_new(3, 3, 0);

#define REFUSED(own_term, change)                                                           \
    do {                                                                                    \
        struct group_install install = install_of(configuration);                           \
        change;                                                                             \
        cr_assert_eq(try_install(rig, own_term, &install), ERR_INVALID, "%s", #change);     \
        cr_assert_eq(rig->nodes[1].stream, 0, "%s: something was written before", #change); \
    } while (0)

    REFUSED(0, install.index = 0);
    REFUSED(0, install.term = 0);
    REFUSED(0, install.until = 0);
    REFUSED(0, install.until_term = 0);
    REFUSED(0, install.configuration_index = 0);
    REFUSED(0, install.configuration_index = INDEX + 1);
    REFUSED(0, install.configuration_size--);
    REFUSED(0, (install.configuration = alone->bytes, install.configuration_size = alone->size));
    REFUSED(UNTIL_TERM + 1, (void)0);
#undef REFUSED
    {
        struct group_install install = install_of(configuration);

        cr_assert_eq(try_install(rig, UNTIL_TERM, &install), ERR_OK, "%s", err_detail());
    }
    buf_unref(alone);
    buf_unref(configuration);
    rig_free(rig);
}

/* ---- Mute ---------------------------------------------------------------------------------- */

Test(group_install, mute_group_neither_votes_nor_stands_for_election)
{
    struct buf *configuration = configuration_of(3);
    struct group_install install = install_of(configuration);
    struct solo solo = solo_installed(&install, 0, false);

    append(&solo, 1, 5, INDEX, 4, INDEX, "5", -1);
    wait_ms(&solo, 3);
    cr_assert_not(votes(&solo, 6));
    vote(&solo, 3, 7, 1000, 6, true);
    wait_ms(&solo, 3);
    timeout_now(&solo, 5);
    group_peer_lost(solo.group, 1);
    rig_forget_lost(solo.rig);
    cr_assert_eq(group_deadline(solo.group), UINT64_MAX);
    for (int i = 0; i < 100; i++) {
        wait_ms(&solo, ELECTION_MS / 10);
        group_tick(solo.group);
    }
    cr_assert_eq(solo.rig->lost_count, 0, "it said something");
    cr_assert_eq(rig_state(solo.rig, 2).term, UNTIL_TERM);
    cr_assert(group_is_mute(solo.group));
    buf_unref(configuration);
    solo_free(&solo);
}

Test(group_install, mute_group_takes_and_acknowledges_entries)
{
    struct buf *configuration = configuration_of(3);
    struct group_install install = install_of(configuration);
    struct solo solo = solo_installed(&install, 0, false);

    append(&solo, 1, 5, INDEX, 4, INDEX + 1, "45", -1);
    wait_ms(&solo, 3);
    cr_assert_eq(answer_to(&solo, 1).last_index, INDEX + 2);
    cr_assert_eq(rig_state(solo.rig, 2).applied, INDEX + 1);
    cr_assert_eq(solo.node->applied_index[0], INDEX + 1);
    append(&solo, 3, 4, INDEX + 2, 4, INDEX + 1, "4", -1);
    cr_assert_neq(answer_to(&solo, 3).rejected, 0, "of a leader before until_term");
    buf_unref(configuration);
    solo_free(&solo);
}

Test(group_install, ends_to_be_mute_with_the_entry_that_is_durable)
{
    struct buf *configuration = configuration_of(3);
    struct group_install install = install_of(configuration);
    struct solo solo = solo_installed(&install, 0, false);

    append(&solo, 1, 5, INDEX, 4, INDEX, "55", -1);
    wait_ms(&solo, 3);
    cr_assert(group_is_mute(solo.group));
    solo.node->disk_hangs = true;
    append(&solo, 1, 5, INDEX + 2, 5, INDEX, "5", -1);
    wait_ms(&solo, 3);
    cr_assert(group_is_mute(solo.group), "written, but not durable");
    solo.node->disk_hangs = false;
    wait_ms(&solo, 3);
    cr_assert_not(group_is_mute(solo.group));
    wait_ms(&solo, 2 * ELECTION_MS); /* Its leader is gone. */
    cr_assert(votes(&solo, 9));
    buf_unref(configuration);
    solo_free(&solo);
}

Test(group_install, ends_to_be_mute_with_an_entry_of_a_later_term)
{
    struct buf *configuration = configuration_of(3);
    struct group_install install = install_of(configuration);
    struct solo solo = solo_installed(&install, 0, false);

    append(&solo, 3, 8, INDEX, 4, INDEX, "5", -1);
    wait_ms(&solo, 3);
    cr_assert(group_is_mute(solo.group), "the entry is of the old term");
    append(&solo, 3, 8, INDEX + 1, 5, INDEX, "8", -1);
    wait_ms(&solo, 3);
    cr_assert_not(group_is_mute(solo.group));
    buf_unref(configuration);
    solo_free(&solo);
}

Test(group_install, with_all_in_the_snapshot_is_mute_until_its_records_are_durable)
{
    for (int later = 0; later < 2; later++) {
        struct buf *configuration = configuration_of(3);
        struct group_install install = install_of(configuration);
        struct solo solo;

        if (later) /* The state is of a leader that came after the asking. */
            install.term = UNTIL_TERM + 2;
        else
            install.until = INDEX;
        solo = solo_installed(&install, 0, true);
        cr_assert(group_is_mute(solo.group));
        cr_assert_not(votes(&solo, 9));
        solo.node->disk_hangs = false;
        wait_ms(&solo, 3);
        cr_assert_not(group_is_mute(solo.group));
        cr_assert_eq(rig_state(solo.rig, 2).term, later ? UNTIL_TERM + 2 : UNTIL_TERM);
        cr_assert_not(votes(&solo, later ? UNTIL_TERM + 2 : UNTIL_TERM), "our vote is our own");
        cr_assert(votes(&solo, 9));
        buf_unref(configuration);
        solo_free(&solo);
    }
}

/* ---- A cluster ----------------------------------------------------------------------------- */

static void propose_some(struct rig *rig, uint64_t leader, int count, const char *text)
{
    for (int i = 0; i < count; i++) {
        cr_assert_eq(rig_propose(rig, leader, text), ERR_OK, "%s", err_detail());
        rig_run(rig, 2);
    }
}

static void lose_log(struct rig *rig, uint64_t server)
{
    struct rig_node *node = &rig->nodes[server];

    rig_kill(rig, server);
    while (node->stream > 0)
        buf_unref(node->records[--node->stream].payload);
    node->durable = node->told = 0;
}

/* The leader has seen the lost server acknowledge entries behind the snapshot that it gets, and
 * will never send them again. */
Test(group_install, who_counts_on_what_was_lost_lets_another_one_lead)
{
    struct rig *rig = rig_up(3);
    uint64_t leader = rig_elect(rig), lost = leader % 3 + 1, next;
    struct group_install install;
    struct group_state state;
    struct buf *configuration;

    propose_some(rig, leader, 5, "before");
    rig_run(rig, 200);
    state = rig_state(rig, leader);
    propose_some(rig, leader, 20, "acknowledged");
    rig_run(rig, 200);
    lose_log(rig, lost);
    cr_assert_eq(group_snapshot_at(rig->nodes[leader].group, state.applied, &install.term,
                                   &install.configuration_index, &configuration),
                 ERR_OK, "%s", err_detail());
    install.index = state.applied;
    install.until = rig_state(rig, leader).last;
    install.until_term = rig_state(rig, leader).term;
    install.configuration = configuration->bytes;
    install.configuration_size = configuration->size;
    rig->nodes[lost].install = &install;
    rig->nodes[lost].sealed = install.index;
    rig_start(rig, lost);
    rig_run(rig, 1000);
    cr_assert_not(group_is_mute(rig->nodes[lost].group));
    cr_assert_eq(rig_applied(rig, lost, "acknowledged"), 20);
    next = rig_elect(rig);
    cr_assert_neq(next, leader);
    cr_assert_eq(rig_state(rig, next).term, install.until_term + 1, "handed over once");
    buf_unref(configuration);
    rig_free(rig);
}

/* It begins with a seal of the leader's, and lacks 20 entries that follow. The configuration is for
 * the caller to let go of. */
static struct buf *lose_and_begin_again(struct rig *rig, uint64_t leader, uint64_t lost,
                                        uint64_t until_more, struct group_install *install)
{
    struct group_state state;
    struct buf *configuration;

    propose_some(rig, leader, 30, "before");
    rig_run(rig, 200);
    state = rig_state(rig, leader);
    cr_assert_eq(group_sealed(rig->nodes[leader].group, state.applied), ERR_OK);
    rig_run(rig, 5);
    lose_log(rig, lost);
    propose_some(rig, leader, 20, "meanwhile");

    *install = (struct group_install){.index = state.applied,
                                      .until = rig_state(rig, leader).last + until_more,
                                      .until_term = rig_state(rig, leader).term};
    cr_assert_eq(group_snapshot_at(rig->nodes[leader].group, install->index, &install->term,
                                   &install->configuration_index, &configuration),
                 ERR_OK, "%s", err_detail());
    install->configuration = configuration->bytes;
    install->configuration_size = configuration->size;
    rig->nodes[lost].install = install;
    rig->nodes[lost].sealed = install->index;
    rig_start(rig, lost);
    cr_assert(group_is_mute(rig->nodes[lost].group));
    rig_run(rig, 300);
    return configuration;
}

Test(group_install, who_is_mute_is_not_asked_to_lead)
{
    struct rig *rig = rig_up(3);
    uint64_t leader = rig_elect(rig), lost = leader == 1 ? 2 : 1, other = 6 - leader - lost;
    struct group_install install;
    struct buf *configuration = lose_and_begin_again(rig, leader, lost, 1000, &install);
    struct group_state state = rig_state(rig, leader);

    cr_assert(group_is_mute(rig->nodes[lost].group));
    for (uint32_t i = 0; i < state.servers; i++)
        cr_assert_eq(state.peers[i].mute, state.peers[i].server == lost);
    cr_assert_eq(group_transfer(rig->nodes[leader].group, 0), ERR_OK, "%s", err_detail());
    rig_run(rig, 50);
    cr_assert_eq(rig_leader_of(rig), other);
    buf_unref(configuration);
    rig_free(rig);
}

Test(group_install, brings_a_server_that_lost_its_log_back_into_its_group)
{
    struct rig *rig = rig_up(3);
    uint64_t leader = rig_elect(rig), lost = leader % 3 + 1, other = lost % 3 + 1;
    struct group_install install;
    struct buf *configuration = lose_and_begin_again(rig, leader, lost, 0, &install);

    cr_assert_not(group_is_mute(rig->nodes[lost].group));
    cr_assert_eq(rig_applied(rig, lost, "before"), 0, "the store has them");
    cr_assert_eq(rig_applied(rig, lost, "meanwhile"), 20);

    rig_kill(rig, leader); /* Its vote counts again. */
    leader = rig_elect(rig);
    cr_assert(leader == lost || leader == other);
    propose_some(rig, leader, 1, "after");
    rig_run(rig, 200);
    cr_assert_eq(rig_applied(rig, lost, "after"), 1);
    buf_unref(configuration);
    rig_free(rig);
}

Test(group_install, snapshot_at_knows_what_the_log_still_tells)
{
    struct solo solo = solo_new(1, 3, 3, "1122333", 0);
    struct buf *configuration = NULL;
    uint64_t term = 0, index = 0;

    cr_assert_eq(group_snapshot_at(solo.group, 5, &term, &index, &configuration), ERR_OK);
    cr_assert_eq(term, 2);
    cr_assert_eq(index, 1);
    cr_assert_not_null(configuration);
    buf_unref(configuration);
    cr_assert_eq(group_snapshot_at(solo.group, 0, &term, &index, &configuration), ERR_NOT_FOUND);
    cr_assert_eq(group_snapshot_at(solo.group, 9, &term, &index, &configuration), ERR_NOT_FOUND);

    append(&solo, 2, 3, 8, 3, 8, "", -1);
    solo.group->all_have = 8;
    cr_assert_eq(group_sealed(solo.group, 8), ERR_OK);
    wait_ms(&solo, 3);
    cr_assert_eq(group_snapshot_at(solo.group, 5, &term, &index, &configuration), ERR_NOT_FOUND);
    cr_assert_not_null(strstr(err_detail(), "any more"));
    cr_assert_eq(group_snapshot_at(solo.group, 8, &term, &index, &configuration), ERR_OK);
    cr_assert_eq(term, 3);
    cr_assert_eq(index, 1);
    buf_unref(configuration);
    solo_free(&solo);
}

/* ---- Silent -------------------------------------------------------------------------------- */

Test(group_install, group_that_is_not_started_takes_and_says_nothing)
{
    struct rig *rig = rig_new(3, 3, 0);
    struct rig_node *node = &rig->nodes[2];
    struct solo solo = {.rig = rig, .node = node, .server = 2};
    struct buf *payload = rig_payload("no");
    struct group_state state;
    uint64_t index;

    node->silent = true;
    write_entry(node, 1, 1, GROUP_CHANGE, configuration_of(3));
    write_entry(node, 2, 1, GROUP_COMMAND, rig_payload("x"));
    write_record(node, (struct log_record){.kind = LOG_TERM, .term = 3, .aux = 1});
    rig_start(rig, 2);
    solo.group = node->group;

    append(&solo, 1, 9, 2, 1, 2, "9", -1);
    vote(&solo, 3, 9, 50, 8, false);
    timeout_now(&solo, 3);
    cr_assert_eq(group_deadline(solo.group), UINT64_MAX);
    group_tick(solo.group);
    group_written(solo.group, 2, 1, 1);
    group_durable(solo.group, 100);
    group_peer_lost(solo.group, 1);
    group_poke(solo.group);
    group_loaded(solo.group, 2, 1, NULL);
    group_evict(solo.group, 2);
    cr_assert_eq(group_sealed(solo.group, 2), ERR_OK);
    cr_assert_eq(group_propose(solo.group, &payload, 1, &index), ERR_NOT_LEADER);
    cr_assert_eq(group_transfer(solo.group, 1), ERR_NOT_LEADER);
    cr_assert_eq(group_read(solo.group, 7), ERR_NOT_LEADER);
    cr_assert_not(group_is_ready(solo.group));
    cr_assert_not(group_is_mute(solo.group));
    cr_assert_eq(group_keep_after(solo.group), 0, "the log may be needed");
    cr_assert_eq(group_position(solo.group, 2), 2);
    state = rig_state(rig, 2);
    cr_assert_eq(state.term, 3);
    cr_assert_eq(state.last, 2);
    cr_assert_eq(state.leader, 0);
    cr_assert_not(state.leading || state.ready || state.mute || state.lacks);
    wait_ms(&solo, 10 * ELECTION_MS);
    cr_assert_eq(rig->lost_count, 0);
    cr_assert_eq(node->stream, 3);
    cr_assert_eq(node->reads, 0);
    cr_assert_null(node->fatal);
    buf_unref(payload);
    rig_free(rig);
}

/* ---- Behind -------------------------------------------------------------------------------- */

static void tell_behind(struct solo *solo, uint64_t from, uint64_t term)
{
    group_receive(solo->group, from, group_message_new(GROUP_BEHIND, term, 0));
}

Test(group_install, follower_believes_its_own_leader_that_it_lacks_entries)
{
    struct solo solo = solo_new(2, 1, 3, "11", 0);

    tell_behind(&solo, 1, 1);
    cr_assert_not(rig_state(solo.rig, 2).lacks, "it has no leader");
    append(&solo, 1, 4, 50, 4, 3, "", -1);
    tell_behind(&solo, 3, 4);
    tell_behind(&solo, 1, 3);
    cr_assert_not(rig_state(solo.rig, 2).lacks);
    tell_behind(&solo, 1, 4);
    cr_assert(rig_state(solo.rig, 2).lacks);
    append(&solo, 1, 4, 0, 0, 3, "", -1);
    append(&solo, 1, 4, 60, 4, 3, "", -1);
    append(&solo, 1, 4, 3, 1, 60, "", -1);
    cr_assert(rig_state(solo.rig, 2).lacks, "none says that it is served");
    append(&solo, 1, 4, 3, 1, 3, "4", -1);
    cr_assert_not(rig_state(solo.rig, 2).lacks);

    tell_behind(&solo, 1, 4);
    append(&solo, 3, 6, 70, 6, 3, "", -1);
    cr_assert_not(rig_state(solo.rig, 2).lacks, "another leader has not said so");
    solo_free(&solo);
}

/* Begun again once more, it would count on a term that its log does not have. */
Test(group_install, is_not_behind_before_its_own_term_is_durable)
{
    struct buf *configuration = configuration_of(3);
    struct group_install install = install_of(configuration);
    struct solo solo = solo_installed(&install, 0, true);

    append(&solo, 1, UNTIL_TERM, 50, 4, INDEX, "", -1);
    tell_behind(&solo, 1, UNTIL_TERM);
    cr_assert_not(rig_state(solo.rig, 2).lacks);
    solo.node->disk_hangs = false;
    wait_ms(&solo, 3);
    tell_behind(&solo, 1, UNTIL_TERM);
    cr_assert(rig_state(solo.rig, 2).lacks);
    buf_unref(configuration);
    solo_free(&solo);
}
