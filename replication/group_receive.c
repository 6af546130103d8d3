#include <inttypes.h>

#include "replication/configuration.h"
#include "replication/guards.h"
#include "replication/outbox.h"
#include "replication/raft_wire.h"
#include "storage/base/log_line.h"

/* What the core writes into messages of its own, and looks at in those of others. */
enum { VERSION_VOTE = 2, VERSION_RESULT = 2, FEATURES = 1, CAPACITY = 0xffff };
/* So many refusals in a row, over two heartbeats, are not one that was late. */
enum { FORGOT_REFUSALS = 3 };

/* ---- Answers of our own -------------------------------------------------------------------- */

static void refuse_append(struct group *group, uint64_t to)
{
    struct group_message *answer =
        group_message_new(GROUP_APPEND_RESULT, group->raft.current_term, 0);

    if (answer == NULL)
        return;
    answer->append_result = (struct group_append_result){.rejected = 1, .mute = group->mute};
    outbox_add(group, to, answer);
}

static void answer_vote(struct group *group, uint64_t to, uint64_t asked_term,
                        const struct group_vote *vote, bool granted)
{
    uint64_t own = group->raft.current_term;
    uint64_t term = vote->pre_vote && (granted || asked_term > own) ? asked_term : own;
    struct group_message *answer = group_message_new(GROUP_VOTE_RESULT, term, 0);

    if (answer == NULL)
        return;
    answer->vote_result =
        (struct group_vote_result){.granted = granted, .pre_vote = vote->pre_vote};
    outbox_add(group, to, answer);
}

/* The vote of a server that the core does not let vote. Returns false if the core should see it. */
static bool vote_without_core(struct group *group, uint64_t from, uint64_t asked_term,
                              const struct group_vote *vote)
{
    struct raft *raft = &group->raft;
    uint64_t term, voted_for;
    bool granted;

    if (!guard_vote(group, from, asked_term, vote, &term, &voted_for, &granted))
        return false;
    if (term != raft->current_term)
        raft->follower_state.match = 0;
    if (term != raft->current_term || voted_for != raft->voted_for) {
        raft->current_term = term;
        raft->voted_for = voted_for;
        group_write_term(group, term, voted_for);
    }
    answer_vote(group, from, asked_term, vote, granted);
    return true;
}

/* ---- AppendEntries ------------------------------------------------------------------------- */

/* Feed the entries [at, end) of the message; prev stands right in front of them. */
static int step_append(struct group *group, struct raft_message *core,
                       const struct group_append *append, uint32_t at, uint32_t end)
{
    struct raft_event event = {.type = RAFT_RECEIVE};
    uint32_t count = end - at;

    core->append_entries.prev_log_index = append->prev_index;
    core->append_entries.prev_log_term = append->prev_term;
    core->append_entries.leader_commit =
        guard_commit(group, append->commit, append->prev_index + count);
    core->append_entries.n_entries = count;
    core->append_entries.entries = NULL;
    if (count > 0) {
        struct raft_entry *entries = group_entries(group, count);
        void *token = raft_malloc(1); /* Stands for the batch: freed by the core or by us. */

        if (entries == NULL || token == NULL) {
            raft_free(token);
            return RAFT_NOMEM; /* Nothing happened: as good as lost on the way. */
        }
        for (uint32_t i = 0; i < count; i++) {
            const struct group_entry *entry = &append->entries[at + i];

            entries[i] = (struct raft_entry){
                .term = entry->term,
                .type = (enum raft_entry_type)entry->type,
                .buf = {entry->payload->bytes, entry->size},
                .batch = token,
            };
        }
        core->append_entries.entries = entries;
    }
    event.receive.message = core;
    return group_step(group, &event);
}

static void step_appends(struct group *group, struct raft_message *core,
                         struct group_message *message)
{
    struct group_append *append = &message->append;
    uint32_t at, end;

    group->leader_heard_ms = group_clock(group);
    if (append->all_have > group->all_have)
        group->all_have = append->all_have;
    core->type = RAFT_APPEND_ENTRIES;
    core->append_entries.term = message->term;
    at = guard_pruned(group, append);
    do {
        uint64_t report = guard_stack(group, append, at);

        if (report != 0)
            group_report_configuration(group, report);
        end = guard_split(group, append, at);
        if (step_append(group, core, append, at, end) != 0 || group->dead || end == at)
            return;
        append->prev_index += end - at;
        append->prev_term = append->entries[end - 1].term;
        at = end;
        /* Refused: so would be the rest. */
    } while (at < append->count && group_term_at(group, append->prev_index) == append->prev_term);
}

static void receive_append(struct group *group, struct raft_message *core,
                           struct group_message *message)
{
    const struct group_append *append = &message->append;

    step_appends(group, core, message);
    /* It fits, and brought something, or there is nothing to bring: that leader can serve us. */
    if (append->prev_index > 0 && (append->count > 0 || append->prev_index >= append->commit) &&
        group_term_at(group, append->prev_index) == append->prev_term)
        group->lacks_term = 0;
}

/* ---- Any message --------------------------------------------------------------------------- */

/* A server that says again and again that it has less than it once acknowledged to us has lost it:
 * its log was damaged or its disk is new. The core never sends such entries again, since what a
 * server has acknowledged it has; a leader that does not know of it does. */
static void note_forgotten(struct group *group, uint64_t from, uint64_t term,
                           const struct group_append_result *result)
{
    struct group_peer *peer = group_peer(group, from);
    raft_index match;

    if (peer != NULL)
        peer->mute = result->mute;
    if (peer == NULL || !group_is_leader(group) || term != group->raft.current_term ||
        raft_match_index(&group->raft, from, &match) != 0)
        return;
    if (result->rejected == 0 || result->last_index >= match)
        peer->forgot = 0; /* One that came late is followed by others. */
    else if (peer->forgot++ == 0)
        peer->forgot_ms = group_clock(group);
}

static void hand_over_to_forget(struct group *group, struct group_peer *peer)
{
    if (peer->forgot < FORGOT_REFUSALS || !group_is_leader(group) ||
        group_clock(group) - peer->forgot_ms < (uint64_t)2 * group->options.heartbeat_ms)
        return;
    peer->forgot = 0;
    log_info("group=%u server %" PRIu64 " has lost entries that it had: another one has to lead",
             group->options.number, peer->server);
    group_hand_over(group, peer->server);
}

/* Keep track of where the peer's log and ours part. */
static void note_result(struct group *group, uint64_t from,
                        const struct group_append_result *result)
{
    struct group_peer *peer = group_peer(group, from);
    raft_index match;
    uint64_t prev;

    if (peer == NULL || !group_is_leader(group) ||
        raft_match_index(&group->raft, from, &match) != 0)
        return;
    if (result->rejected != 0)
        peer->probing = true;
    else if (result->last_index > match)
        peer->probing = false;
    prev = guard_behind(group, peer, result);
    if (prev != 0)
        outbox_probe(group, from, prev);
}

/* Fill in the core's form of a message without entries. False: not for the core. */
static bool to_core(struct group *group, uint64_t from, struct group_message *message,
                    struct raft_message *core)
{
    switch (message->kind) {
    case GROUP_APPEND_RESULT:
        note_forgotten(group, from, message->term, &message->append_result);
        if (guard_rejection(group, from, message->term, &message->append_result))
            return false;
        note_result(group, from, &message->append_result);
        core->type = RAFT_APPEND_ENTRIES_RESULT;
        core->append_entries_result = (struct raft_append_entries_result){
            .version = VERSION_RESULT,
            .term = message->term,
            .rejected = message->append_result.rejected,
            .last_log_index = message->append_result.last_index,
            .features = FEATURES,
            .capacity = CAPACITY,
        };
        return true;
    case GROUP_VOTE:
        if (vote_without_core(group, from, message->term, &message->vote))
            return false;
        core->type = RAFT_REQUEST_VOTE;
        core->request_vote = (struct raft_request_vote){
            .version = VERSION_VOTE,
            .term = message->term,
            .candidate_id = from,
            .last_log_index = message->vote.last_index,
            .last_log_term = message->vote.last_term,
            .disrupt_leader = message->vote.disrupt_leader,
            .pre_vote = message->vote.pre_vote,
        };
        return true;
    case GROUP_VOTE_RESULT:
        if (guard_vote_result(group, message->term, &message->vote_result))
            return false;
        core->type = RAFT_REQUEST_VOTE_RESULT;
        core->request_vote_result = (struct raft_request_vote_result){
            .version = VERSION_RESULT,
            .term = message->term,
            .vote_granted = message->vote_result.granted,
            .pre_vote = message->vote_result.pre_vote,
            .features = FEATURES,
            .capacity = CAPACITY,
        };
        return true;
    case GROUP_TIMEOUT_NOW:
        core->type = RAFT_TIMEOUT_NOW;
        core->timeout_now = (struct raft_timeout_now){
            .term = message->term,
            .last_log_index = message->timeout_now.last_index,
            .last_log_term = message->timeout_now.last_term,
        };
        return true;
    default:
        return false;
    }
}

static void receive(struct group *group, uint64_t from, struct group_message *message)
{
    char address[CONFIGURATION_ADDRESS_MAX];
    struct raft_message core = {.server_id = from, .server_address = address};
    struct raft_event event = {.type = RAFT_RECEIVE};

    if (group->mute && (message->kind == GROUP_VOTE || message->kind == GROUP_TIMEOUT_NOW))
        return;
    configuration_address(from, address);
    if (message->kind == GROUP_PING) {
        group_read_ping(group, from, message);
    } else if (message->kind == GROUP_PONG) {
        group_read_pong(group, from, message);
    } else if (message->kind == GROUP_BEHIND) {
        group_hear_behind(group, from, message->term);
    } else if (message->kind == GROUP_APPEND) {
        if (guard_oldterm(group, message->term))
            refuse_append(group, from);
        else if (guard_sameterm(group, message->term))
            group_fail(group, "two leaders in one term");
        else
            receive_append(group, &core, message);
    } else if (to_core(group, from, message, &core)) {
        event.receive.message = &core;
        (void)group_step(group, &event);
    }
}

void group_receive(struct group *group, uint64_t from, struct group_message *message)
{
    struct group_peer *peer;

    if (!group->dead && group->started && from != 0 && from != group->options.server) {
        peer = group_peer(group, from);
        if (peer != NULL)
            peer->heard_ms = group_clock(group);
        receive(group, from, message);
        if (peer != NULL)
            hand_over_to_forget(group, peer);
        group_settle(group);
    }
    group_message_free(message);
}
