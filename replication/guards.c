#include "replication/guards.h"

static bool on(const struct group *group, enum guard guard)
{
    return (group->options.guards_off & guard) == 0;
}

/* ---- Messages coming in -------------------------------------------------------------------- */

/* N1 OLDTERM, S0. The core answers an AppendEntries of an older term with `rejected` 0 if its prev
 * was 0, and a last_log_index that nobody set: to a leader that was elected again meanwhile this
 * says "I have everything". Seen: a leader with a false match, and replicas that differ; needs bulk
 * overtaken by votes, which is what our queues do.
 * Rule: do not step; refuse with our term, rejected 1, last 0. */
bool guard_oldterm(const struct group *group, uint64_t term)
{
    return on(group, GUARD_OLDTERM) && term < group->raft.current_term;
}

/* N17 SAMETERM, S0. A leader that gets an AppendEntries of its own term writes into the wrong
 * member of a union. Raft makes it impossible; a lost vote record or a forged message does not.
 * Rule: two leaders of one term are a broken contract: stop the group. */
bool guard_sameterm(const struct group *group, uint64_t term)
{
    return on(group, GUARD_SAMETERM) && group_is_leader(group) && term == group->raft.current_term;
}

/* N4 and N14 PRUNED, S0. The core looks for prev in its list of terms only. If we pruned past it,
 * it refuses for ever (prev > 0: a follower that is stuck), or takes every pruned entry for a
 * missing one and appends them at a wrong index, beyond the array (prev = 0). Seen: segmentation
 * faults in the simulator. A first batch sent twice and a quick seal are enough.
 * Rule: everything up to our snapshot is committed, so it is in the leader's log as it is in ours:
 * begin behind the snapshot. No entry may be left then. */
uint32_t guard_pruned(const struct group *group, struct group_append *append)
{
    const struct raft_trail *trail = &group->raft.trail;
    uint64_t skip;

    if (!on(group, GUARD_PRUNED) || append->prev_index >= trail->snapshot.index ||
        append->prev_index > trail->offset)
        return 0;
    skip = trail->snapshot.index - append->prev_index;
    append->prev_index = trail->snapshot.index;
    append->prev_term = trail->snapshot.term;
    return skip < append->count ? (uint32_t)skip : append->count;
}

/* N3 SPLIT, S0. A follower takes the index of the first new entry of a batch for the index of the
 * RAFT_CHANGE in it. The configuration is never reported committed then, and not rolled back when
 * the entry is cut. Seen in 38 % of simulated clusters with membership changes.
 * Rule: a RAFT_CHANGE is the first entry of its step. */
uint32_t guard_split(const struct group *group, const struct group_append *append, uint32_t at)
{
    if (!on(group, GUARD_SPLIT))
        return append->count;
    for (uint32_t end = at + 1; end < append->count; end++) {
        if (append->entries[end].type == GROUP_CHANGE)
            return end;
    }
    return append->count;
}

/* N16 STACK, S0. A second RAFT_CHANGE appended before the first was reported committed makes the
 * core forget the first: its report is ignored, and a rollback of the second goes back too far.
 * Rule: a leader may only append a configuration once the one before is committed. So when one
 * arrives that fits our log, report the older one first. `append` begins at its entry `at`. */
uint64_t guard_stack(const struct group *group, const struct group_append *append, uint32_t at)
{
    uint64_t uncommitted = group->raft.configuration_uncommitted_index;
    const struct mirror_slot *slot = mirror_at(&group->mirror, uncommitted);

    if (!on(group, GUARD_STACK) || at >= append->count || slot == NULL ||
        append->entries[at].type != GROUP_CHANGE || uncommitted > append->prev_index)
        return 0;
    if (group_term_at(group, append->prev_index) != append->prev_term ||
        mirror_at(&group->mirror, append->prev_index + 1) != NULL || slot->type != GROUP_CHANGE)
        return 0;
    return uncommitted;
}

/* N2 COMMIT, S1. The core sets commit = min(leader's commit, prev + n) without looking at what it
 * had: an old AppendEntries takes the commit index back. Seen in 26 % of simulated clusters.
 * Rule: when the entries end below our commit index, pass our own. */
uint64_t guard_commit(const struct group *group, uint64_t commit, uint64_t last)
{
    uint64_t own = group->raft.commit_index;

    return on(group, GUARD_COMMIT) && last < own && commit > own ? own : commit;
}

/* N7 REJ, S1. In its PROBE state the core believes a refusal that was sent before the follower
 * accepted more: next falls to match or below, the window's arithmetic underflows, and the follower
 * gets no entry again.
 * Rule: a refusal at or below the known match is stale: drop it, unless it tells a newer term. A
 * hint below the match is raised to it. */
bool guard_rejection(const struct group *group, uint64_t from, uint64_t term,
                     struct group_append_result *result)
{
    raft_index match;

    if (!on(group, GUARD_REJ) || result->rejected == 0 || !group_is_leader(group) ||
        raft_match_index(&group->raft, from, &match) != 0)
        return false;
    if (result->rejected <= match)
        return term <= group->raft.current_term;
    if (result->last_index < match)
        result->last_index = match;
    return false;
}

/* BEHIND, S1: ours. The core wants to send a snapshot as soon as the entry behind the known match
 * is trimmed, though the follower may have more than it ever acknowledged to this leader; and goes
 * on wanting, since we send none. Seen in the simulator: a server stuck 10 entries behind a log
 * that had them.
 * Rule: while it is like that, ask for the entries that the refusals hint at. One that both have
 * becomes the match, and the core goes on from there. */
uint64_t guard_behind(const struct group *group, const struct group_peer *peer,
                      const struct group_append_result *result)
{
    raft_index match;

    if (!on(group, GUARD_BEHIND) || !peer->behind || result->rejected == 0 ||
        !group_is_leader(group) || raft_match_index(&group->raft, peer->server, &match) != 0 ||
        match >= group->mirror.first || result->last_index <= match)
        return 0;
    return group_term_at(group, result->last_index) != 0 ? result->last_index : 0;
}

/* N6 PREVOTE, S1. The core reads the candidate's fields in whatever state it is. A late pre-vote
 * result raises a follower's term, or a real newer term is overlooked, as a stray byte wants it.
 * Rule: results are for candidates, results of pre-votes for candidates in the pre-vote, and a
 * granted one has to be of the term that we would begin. */
bool guard_vote_result(const struct group *group, uint64_t term,
                       const struct group_vote_result *result)
{
    const struct raft *raft = &group->raft;

    if (!on(group, GUARD_PREVOTE))
        return false;
    if (raft->state != RAFT_CANDIDATE)
        return true;
    if (!result->pre_vote)
        return false;
    return !raft->candidate_state.in_pre_vote ||
           (result->granted && term != raft->current_term + 1);
}

/* Whether the candidate's log is at least as new as ours: Raft's rule 5.4.1. */
static bool log_is_as_new(const struct group *group, const struct group_vote *vote)
{
    uint64_t last = group->mirror.last;
    uint64_t last_term = group_term_at(group, last);

    return vote->last_term > last_term ||
           (vote->last_term == last_term && vote->last_index >= last);
}

/* N9 VOTE, S1. The core votes only if its own configuration calls it a voter, and what is no voter
 * keeps its leader for ever. A server whose promotion has not reached it yet then refuses the vote
 * that a restarted leader cannot do without. Seen: no leader for ever in 26 % of the clusters that
 * grow from one voter to two and crash.
 * Rule: a follower that is no voter answers by Raft's own rules, unless it has heard a leader
 * within the election timeout. */
bool guard_vote(struct group *group, uint64_t from, uint64_t term, const struct group_vote *vote,
                uint64_t *ret_term, uint64_t *ret_vote, bool *ret_granted)
{
    struct raft *raft = &group->raft;
    bool has_leader;

    *ret_term = raft->current_term;
    *ret_vote = raft->voted_for;
    *ret_granted = false;
    if (!on(group, GUARD_VOTE) || raft->state != RAFT_FOLLOWER || raft_role(raft) == RAFT_VOTER)
        return false;

    has_leader = raft->follower_state.current_leader.id != 0 &&
                 group_clock(group) - group->leader_heard_ms < raft->election_timeout;
    if (term < raft->current_term || (has_leader && !vote->disrupt_leader))
        return true;
    if (!vote->pre_vote && term > *ret_term) {
        *ret_term = term;
        *ret_vote = 0;
    }
    *ret_granted =
        (vote->pre_vote || *ret_vote == 0 || *ret_vote == from) && log_is_as_new(group, vote);
    if (*ret_granted && !vote->pre_vote)
        *ret_vote = from;
    return true;
}

/* ---- Messages going out -------------------------------------------------------------------- */

/* N5 PREVOTE, S1. A refused pre-vote repeats the asker's term. Two servers, one with the longer log
 * and one with the higher term, then refuse each other for ever while the third is down.
 * Rule: a refusal tells our real term. */
uint64_t guard_vote_term(const struct group *group, const struct raft_request_vote_result *result)
{
    uint64_t own = group->raft.current_term;

    return on(group, GUARD_PREVOTE) && result->pre_vote && !result->vote_granted &&
                   own > result->term
               ? own
               : result->term;
}

/* N9b CHGATE, S1. A leader's entries may leave before they are durable here. If a RAFT_CHANGE does,
 * and the leader loses it with its unsynced tail, the ones that have it and the one that has not
 * count different majorities: no leader. Seen in the simulator.
 * Rule: an AppendEntries with a RAFT_CHANGE waits for that very entry. */
uint64_t guard_change_gate(const struct group *group, const struct mirror_slot *slot, uint64_t gate)
{
    return on(group, GUARD_CHGATE) && slot->type == GROUP_CHANGE && slot->stream > gate
               ? slot->stream
               : gate;
}

/* GATE, S0: ours by contract. A vote or a term that others have seen and we forget in a crash
 * makes two leaders of one term (seen with the guard off).
 * Rule: a message leaves when the newest term and vote of its time are durable. */
bool guard_gate(const struct group *group, uint64_t gate)
{
    return !on(group, GUARD_GATE) || gate <= group->durable;
}

/* HINT, S2: ours. A follower whose tail is of another branch hints at the entry just before the one
 * it refused, so its leader asks for one entry after the other.
 * Rule: skip all entries of the refused one's term. What is committed is in the leader's log. */
uint64_t guard_hint(const struct group *group, uint64_t rejected, uint64_t hint)
{
    uint64_t term = group_term_at(group, rejected);
    uint64_t at = rejected;

    if (!on(group, GUARD_HINT) || rejected == 0 || term == 0)
        return hint;
    while (at > group->raft.commit_index && group_term_at(group, at) == term)
        at--;
    return at < hint ? at : hint;
}

/* PROBE, S2: ours. While the core looks for the last entry that a follower has in common, each try
 * carries a whole window of entries, read back from the disk if need be, to be refused. Seen in the
 * simulator: a server that did not catch up in 12 s.
 * Rule: after a refusal ask without entries. Where prev is the known match, and so accepted for
 * sure, the entries go along: without them the match would not grow, and the core would stay. */
bool guard_probe(const struct group *group, const struct group_peer *peer,
                 const struct group_append *append)
{
    raft_index match;

    return on(group, GUARD_PROBE) && peer->probing &&
           raft_match_index(&group->raft, peer->server, &match) == 0 && append->prev_index > match;
}

/* EMPTIES, S2. With a full window each SUBMIT makes the core send an empty AppendEntries to each
 * follower, all of them the same.
 * Rule: one in half a heartbeat, unless the commit index or prev in it is news: a follower whose
 * tail has to go is asked for one prev after the other, and must not wait for a heartbeat each. */
bool guard_empties(const struct group *group, const struct group_peer *peer,
                   const struct group_append *append, uint64_t now_ms)
{
    return on(group, GUARD_EMPTIES) && peer->empty_ms != 0 &&
           append->commit == peer->empty_commit && append->prev_index == peer->empty_prev &&
           now_ms - peer->empty_ms < group->options.heartbeat_ms / 2;
}

/* N13 RESEND, S2. A follower that did not answer between two ticks falls back to PROBE, and all
 * that is on the way to it is sent again, each tick. On a slow link the copies pile up in front of
 * the answer.
 * Rule: what still waits in our own queues is not queued again. */
uint32_t guard_resend(const struct group *group, const struct group_peer *peer, bool queued,
                      const struct group_append *append)
{
    uint64_t again;

    if (!on(group, GUARD_RESEND) || !queued || append->prev_index >= peer->sent_last)
        return 0;
    again = peer->sent_last - append->prev_index;
    return again < append->count ? (uint32_t)again : append->count;
}

/* OVERTAKE, S2: ours. Heartbeats go ahead of bulk. One that overtakes entries of its own group and
 * peer says prev = entries that are still on the way: it is refused, and the peer falls to PROBE.
 * Rule: while bulk is queued, say prev = what the peer is known to have. Always right. */
bool guard_overtake(const struct group *group, bool queued)
{
    return on(group, GUARD_OVERTAKE) && queued;
}

/* ---- Start, disk, time --------------------------------------------------------------------- */

/* MUTE, S0: ours. A server that lost its log forgot what it acknowledged. With its vote, a
 * candidate that lacks what was committed thanks to it wins (seen: acknowledged entries lost).
 * Rule: after an install it neither votes nor campaigns until its log has again all that it can
 * have promised (group_install.c). All entries here came from leaders of until_term and later, so
 * the last one's place, or its term, says how far their log is ours. */
bool guard_mute(const struct group *group)
{
    uint64_t stored = group->raft.last_stored;

    return on(group, GUARD_MUTE) && stored < group->until &&
           group_term_at(group, stored) <= group->until_term;
}

/* N8 SOLE, S0. A sole voter elects itself at START, in the stored term: it uses (index, term) of
 * entries again that it sent to a stand-by and then lost with its unsynced tail. Seen: 43 of 6000
 * simulated clusters forked.
 * Rule: when we are the only voter, write a new term first and start with it. */
bool guard_sole(const struct group *group, const struct raft_configuration *configuration)
{
    uint32_t voters = 0, self = 0;

    for (unsigned i = 0; i < configuration->n; i++) {
        if (configuration->servers[i].role != RAFT_VOTER)
            continue;
        voters++;
        self += configuration->servers[i].id == group->options.server;
    }
    return on(group, GUARD_SOLE) && voters == 1 && self == 1;
}

/* N11 OWNTERM, S0. The core proposes its barrier only if something is uncommitted. A leader without
 * a committed entry of its own term does not know what is committed: it may not serve a read index,
 * nor change the membership (seen: replicas that differ).
 * Rules: propose a barrier if the last entry is of another term; serve reads once it is committed.
 */
bool guard_needs_barrier(const struct group *group)
{
    return on(group, GUARD_OWNTERM) &&
           group_term_at(group, group->mirror.last) != group->raft.current_term;
}

bool guard_ownterm(const struct group *group)
{
    return !on(group, GUARD_OWNTERM) ||
           group_term_at(group, group->raft.commit_index) == group->raft.current_term;
}

/* STALE, S0: ours by contract. The core believes every PERSISTED_ENTRIES. The completion of a write
 * that was cut and written anew since would acknowledge entries that are not on the disk.
 * Rule: an entry is stored when its newest write is durable. */
uint64_t guard_stored(const struct group *group)
{
    uint64_t stored = group->raft.last_stored;
    const struct mirror_slot *slot;

    if (!on(group, GUARD_STALE))
        return group->written_index > stored && group->written_index <= group->mirror.last
                   ? group->written_index
                   : stored;
    while ((slot = mirror_at(&group->mirror, stored + 1)) != NULL && slot->stream <= group->durable)
        stored++;
    return stored;
}

/* SNAPSTALE, S0: ours by contract. A RAFT_SNAPSHOT at or below the one that the core has makes it
 * forget that one's term.
 * Rule: drop it. */
bool guard_snapshot_stale(const struct group *group, uint64_t index)
{
    return on(group, GUARD_SNAPSTALE) && index <= group->raft.trail.snapshot.index;
}

/* N15 TICK, S1. A voter that became a spare keeps its last_send: the core's next timeout stays in
 * the past, the loop spins, and each spin is a tick that triggers N13.
 * Rule: a leader ticks once a heartbeat. */
uint64_t guard_deadline(const struct group *group, uint64_t deadline_ms)
{
    uint64_t earliest = group->ticked_ms + group->raft.heartbeat_timeout;

    return on(group, GUARD_TICK) && group_is_leader(group) && deadline_ms < earliest ? earliest
                                                                                     : deadline_ms;
}

/* N18 DISRUPT, S1. A candidate never goes back to the pre-vote, and after a TimeoutNow disrupts
 * leaders in all later rounds: a transferee that does not win deposes the leader again and again.
 * Seen in 1 of 20,000 simulated clusters.
 * Rule: each round of an election begins politely. */
void guard_candidate(struct group *group)
{
    if (!on(group, GUARD_DISRUPT) || group->raft.state != RAFT_CANDIDATE)
        return;
    group->raft.candidate_state.disrupt_leader = false;
    group->raft.candidate_state.in_pre_vote = group->raft.pre_vote;
}
