#include <inttypes.h>

#include "replication/guards.h"
#include "replication/outbox.h"

/* After the loss of the leader's process, in parts of the election timeout, which is a multiple of
 * the links' delay: the voters take turns that far apart, so that the first one's votes are in
 * before the next one asks, and ask again, since a peer that has not noticed the loss yet refuses.
 */
enum { LOST_TURNS = 10, LOST_AGAIN = 4, LOST_TRIES = 4, LOST_WRITES_MS = 2 };

/* ---- The leader's process is gone ---------------------------------------------------------- */

/* Our turn among the voters that are left, another one first in each group. */
static uint64_t turn_ms(const struct group *group, uint64_t lost)
{
    const struct raft_configuration *configuration = &group->raft.configuration;
    uint64_t before = 0, left = 0;

    for (unsigned i = 0; i < configuration->n; i++) {
        const struct raft_server *server = &configuration->servers[i];

        if (server->role != RAFT_VOTER || server->id == lost)
            continue;
        left++;
        before += server->id < group->options.server;
    }
    return (before + group->options.number) % (left > 0 ? left : 1) *
           (group->options.election_ms / LOST_TURNS);
}

/* A follower does not vote while it has a leader: forget it, as the core itself would. */
static void forget_leader(struct raft *raft)
{
    raft_free(raft->follower_state.current_leader.address);
    raft->follower_state.current_leader.address = NULL;
    raft->follower_state.current_leader.id = 0;
}

void group_peer_lost(struct group *group, uint64_t server)
{
    struct raft *raft = &group->raft;

    if (group->dead || !group->started || group->mute || raft->state != RAFT_FOLLOWER ||
        server == 0 || raft->follower_state.current_leader.id != server)
        return;
    forget_leader(raft);
    if (raft_role(raft) != RAFT_VOTER)
        return;
    group->lost_at_ms = group_clock(group) + turn_ms(group, server);
    group->lost_term = raft->current_term;
    group->lost_tries = LOST_TRIES;
}

/* Let the core's election timer expire now, by moving this group's clock on to it. */
static void time_out_now(struct group *group)
{
    struct raft_event event = {.type = RAFT_TIMEOUT};
    uint64_t now_ms = group_clock(group);
    uint64_t timeout_ms = raft_timeout(&group->raft);

    if (timeout_ms > now_ms)
        group->ahead_ms += timeout_ms - now_ms;
    guard_candidate(group);
    (void)group_step(group, &event);
}

static void ask_for_votes(struct group *group)
{
    const struct raft *raft = &group->raft;
    bool leaderless = raft->state == RAFT_FOLLOWER && raft->follower_state.current_leader.id == 0;
    bool asking = raft->state == RAFT_CANDIDATE && raft->candidate_state.in_pre_vote;

    if (raft->current_term != group->lost_term || (!leaderless && !asking) ||
        group->lost_tries == 0) {
        group->lost_at_ms = 0; /* Somebody leads, or asks for votes of a new term. */
        return;
    }
    if (raft->last_stored < group->mirror.last) {
        /* With writes under way the core would not campaign, and begin its wait anew. */
        group->lost_at_ms = group_clock(group) + LOST_WRITES_MS;
        return;
    }
    group->lost_tries--;
    time_out_now(group);
    group->lost_at_ms = group_clock(group) + group->options.election_ms / LOST_AGAIN;
}

/* Two that ask at once take the votes from each other: let that one try first. */
void group_yield(struct group *group)
{
    if (group->lost_at_ms != 0)
        group->lost_at_ms = group_clock(group) + group->options.election_ms / LOST_AGAIN;
}

/* ---- Deadlines ----------------------------------------------------------------------------- */

static uint64_t next_ms(const struct group *group)
{
    uint64_t next = group->mute ? UINT64_MAX : group->timeout_ms;

    if (group->lost_at_ms != 0 && group->lost_at_ms < next)
        next = group->lost_at_ms;
    if (group->transfer_to != 0 && group->transfer_until_ms < next)
        next = group->transfer_until_ms;
    return next;
}

uint64_t group_deadline(const struct group *group)
{
    uint64_t next = next_ms(group);

    if (group->dead || !group->started)
        return UINT64_MAX;
    if (group->apply_more)
        return 0;
    if (next == UINT64_MAX)
        return UINT64_MAX;
    return next > group->ahead_ms ? next - group->ahead_ms : 0;
}

void group_tick(struct group *group)
{
    struct raft_event event = {.type = RAFT_TIMEOUT};

    if (group->dead || !group->started)
        return;
    if (group->lost_at_ms != 0 && group_clock(group) >= group->lost_at_ms)
        ask_for_votes(group);
    /* A follower's timeout is good for nothing but a candidacy. */
    if (!group->mute && group_clock(group) >= group->timeout_ms) {
        guard_candidate(group);
        (void)group_step(group, &event);
        group_read_repeat(group);
    }
    group_settle(group);
}

/* ---- Leadership handed over ---------------------------------------------------------------- */

void group_end_transfer(struct group *group)
{
    group->transfer_to = 0;
    group->transfer_sent = false;
}

/* The voter that has most of our log, was heard lately and may lead; 0: none. */
static uint64_t best_target(struct group *group, uint64_t except)
{
    const struct raft_configuration *configuration = &group->raft.configuration;
    uint64_t now_ms = group_clock(group), best = 0, best_match = 0;

    for (unsigned i = 0; i < configuration->n; i++) {
        const struct raft_server *server = &configuration->servers[i];
        const struct group_peer *peer;
        raft_index match = 0;

        if (server->id == group->options.server || server->id == except ||
            server->role != RAFT_VOTER)
            continue;
        peer = group_peer(group, server->id);
        if (peer == NULL || peer->mute || peer->heard_ms == 0 ||
            now_ms >= peer->heard_ms + group->options.election_ms)
            continue;
        (void)raft_match_index(&group->raft, server->id, &match);
        if (best == 0 || match > best_match) {
            best = server->id;
            best_match = match;
        }
    }
    return best;
}

static bool is_other_voter(const struct group *group, uint64_t server)
{
    const struct raft_configuration *configuration = &group->raft.configuration;

    for (unsigned i = 0; i < configuration->n; i++) {
        if (configuration->servers[i].id == server)
            return configuration->servers[i].role == RAFT_VOTER && server != group->options.server;
    }
    return false;
}

enum err group_transfer(struct group *group, uint64_t to)
{
    if (group->dead || !group_is_leader(group))
        return err_set(ERR_NOT_LEADER, "group %u: led by another server", group->options.number);
    if (group->transfer_to != 0)
        return err_set(ERR_BUSY, "group %u: leadership goes to server %" PRIu64 " already",
                       group->options.number, group->transfer_to);
    if (to == 0)
        to = best_target(group, 0);
    if (to == 0)
        return err_set(ERR_BUSY, "group %u: no other voter answers that may lead",
                       group->options.number);
    if (!is_other_voter(group, to))
        return err_set(ERR_INVALID, "group %u: server %" PRIu64 " is no other voter",
                       group->options.number, to);
    group->transfer_to = to;
    group->transfer_sent = false;
    group->transfer_until_ms = group_clock(group) + group->options.election_ms;
    group_settle(group);
    return ERR_OK;
}

void group_hand_over(struct group *group, uint64_t except)
{
    uint64_t to = best_target(group, except);
    enum err err = to == 0 ? ERR_BUSY : group_transfer(group, to);

    (void)err; /* Nobody is there, or it is under way: whoever needs it comes again. */
}

/* A TimeoutNow to a server that lacks something is ignored, and not sent again: wait until the
 * target has everything. Nothing is proposed meanwhile. */
void group_push_transfer(struct group *group)
{
    struct raft_event event = {.type = RAFT_TRANSFER};
    raft_index match;

    if (group->transfer_to == 0)
        return;
    if (group_clock(group) >= group->transfer_until_ms ||
        (group->transfer_sent && raft_transferee(&group->raft) == 0)) {
        group_end_transfer(group);
        return;
    }
    if (group->transfer_sent || raft_match_index(&group->raft, group->transfer_to, &match) != 0 ||
        match != group->mirror.last)
        return;
    group->transfer_sent = true;
    event.transfer.server_id = group->transfer_to;
    if (group_step(group, &event) != 0)
        group_end_transfer(group);
}
