/*
 * guards.h - private to replication/: the fence between libraft 0.22.1 and our data.
 *
 * The core has defects that lose, fork or hang a group. None is fixed in a release, all can be kept
 * away from outside, between the messages and raft_step(). Each guard here is one rule, with the
 * defect that it answers and how that was seen; tests/unit/replication/test_guards.c reproduces
 * each one, docs/testing.md tells what the simulator finds with one switched off.
 *
 * Switching off is for tests alone: group_options.guards_off, bits of enum guard.
 *
 *     S0  data lost, forked, or memory overwritten      S1  stuck for ever      S2  slow
 *
 * NO CODE HERE, because nothing in the product can come upon them: N10 (a configuration refused in
 * the middle of a SUBMIT leaves entries behind), SHRINK1 and SELF (which changes of membership a
 * leader may propose): this version proposes none; when it does, a RAFT_CHANGE goes alone, one
 * server at a time, and never takes the leader itself away. N12 (the core's capacity threshold
 * makes a leader without heartbeats): we leave the threshold 0. INST (a repeated InstallSnapshot
 * leaks): no InstallSnapshot reaches the core.
 */
#ifndef REPLICATION_GUARDS_H
#define REPLICATION_GUARDS_H

#include "replication/group_internal.h"

/* Name, and its bit in guards_off. */
#define GUARD_TABLE(X) \
    X(OLDTERM, 0)      \
    X(SAMETERM, 1)     \
    X(PRUNED, 2)       \
    X(SOLE, 3)         \
    X(SPLIT, 4)        \
    X(STACK, 5)        \
    X(OWNTERM, 6)      \
    X(COMMIT, 7)       \
    X(REJ, 8)          \
    X(PREVOTE, 9)      \
    X(VOTE, 10)        \
    X(CHGATE, 11)      \
    X(GATE, 12)        \
    X(STALE, 13)       \
    X(SNAPSTALE, 14)   \
    X(TICK, 15)        \
    X(DISRUPT, 16)     \
    X(EMPTIES, 17)     \
    X(RESEND, 18)      \
    X(OVERTAKE, 19)    \
    X(BEHIND, 20)      \
    X(PROBE, 21)       \
    X(HINT, 22)        \
    X(MUTE, 23)

#define GUARD_BIT(name, bit) GUARD_##name = 1u << (bit),
enum guard { GUARD_TABLE(GUARD_BIT) };

/* ---- Messages coming in -------------------------------------------------------------------- */

/** OLDTERM: this AppendEntries is of an older term, and is to be answered here, by a refusal. */
bool guard_oldterm(const struct group *group, uint64_t term);
/** SAMETERM: another leader in the term that we lead: the group has to stop. */
bool guard_sameterm(const struct group *group, uint64_t term);
/** PRUNED: lift an AppendEntries that begins in front of our log. Returns how many of its entries
 * to skip. */
uint32_t guard_pruned(const struct group *group, struct group_append *append);
/** SPLIT: the end of the entries that may go into one step, beginning at `at`. */
uint32_t guard_split(const struct group *group, const struct group_append *append, uint32_t at);
/** STACK: the configuration entry that has to be reported before the entry at `at` goes in; 0. */
uint64_t guard_stack(const struct group *group, const struct group_append *append, uint32_t at);
/** COMMIT: the commit index to pass on with entries up to `last`. */
uint64_t guard_commit(const struct group *group, uint64_t commit, uint64_t last);
/** REJ: drop this result; or its hint was raised. */
bool guard_rejection(const struct group *group, uint64_t from, uint64_t term,
                     struct group_append_result *result);
/** BEHIND: after this refusal, the prev to ask that peer for ourselves; 0: leave it to the core. */
uint64_t guard_behind(const struct group *group, const struct group_peer *peer,
                      const struct group_append_result *result);
/** PREVOTE: drop this vote result. */
bool guard_vote_result(const struct group *group, uint64_t term,
                       const struct group_vote_result *result);
/** VOTE: answered here; *ret_term and *ret_vote are what to write if they differ from the core's.
 */
bool guard_vote(struct group *group, uint64_t from, uint64_t term, const struct group_vote *vote,
                uint64_t *ret_term, uint64_t *ret_vote, bool *ret_granted);

/* ---- Messages going out -------------------------------------------------------------------- */

/** PREVOTE: the term to write into a vote result of ours. */
uint64_t guard_vote_term(const struct group *group, const struct raft_request_vote_result *result);
/** CHGATE: what an AppendEntries with this entry has to wait for. */
uint64_t guard_change_gate(const struct group *group, const struct mirror_slot *slot,
                           uint64_t gate);
/** GATE: a message may leave. */
bool guard_gate(const struct group *group, uint64_t gate);
/** HINT: where the leader should look next, after our refusal with this hint. */
uint64_t guard_hint(const struct group *group, uint64_t rejected, uint64_t hint);
/** PROBE: send these entries only once the peer is known to have what stands before them. */
bool guard_probe(const struct group *group, const struct group_peer *peer,
                 const struct group_append *append);
/** EMPTIES: drop this empty AppendEntries. */
bool guard_empties(const struct group *group, const struct group_peer *peer,
                   const struct group_append *append, uint64_t now_ms);
/** RESEND: how many of the entries are still queued towards that peer. */
uint32_t guard_resend(const struct group *group, const struct group_peer *peer, bool queued,
                      const struct group_append *append);
/** OVERTAKE: this heartbeat has to be made anew. */
bool guard_overtake(const struct group *group, bool queued);

/* ---- Start, disk, time --------------------------------------------------------------------- */

/** MUTE: after an install that is durable, neither vote nor campaign yet. */
bool guard_mute(const struct group *group);
/** SOLE: start in a new term. */
bool guard_sole(const struct group *group, const struct raft_configuration *configuration);
/** OWNTERM: an entry of the term that we lead is committed. */
bool guard_ownterm(const struct group *group);
/** OWNTERM: a new leader has to propose a barrier of its own. */
bool guard_needs_barrier(const struct group *group);
/** STALE: the last entry that is durable here. */
uint64_t guard_stored(const struct group *group);
/** SNAPSTALE: a snapshot at `index` is of no use any more. */
bool guard_snapshot_stale(const struct group *group, uint64_t index);
/** TICK: when to send the next RAFT_TIMEOUT. */
uint64_t guard_deadline(const struct group *group, uint64_t deadline_ms);
/** DISRUPT: before a RAFT_TIMEOUT. */
void guard_candidate(struct group *group);

#endif
