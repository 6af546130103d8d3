#include "replication/group_internal.h"

static uint64_t leader_of(const struct group *group)
{
    const struct raft *raft = &group->raft;

    if (group_is_leader(group))
        return group->options.server;
    return raft->state == RAFT_FOLLOWER ? raft->follower_state.current_leader.id : 0;
}

/* The group's time, without moving its clock. */
static uint64_t since_ms(const struct group *group, uint64_t ms)
{
    uint64_t now_ms = group->io.now_ms(group->io.ctx) + group->ahead_ms;

    return now_ms > ms ? now_ms - ms : 0;
}

static void look_at_peers(const struct group *group, struct group_state *state)
{
    const struct raft_configuration *configuration = &group->raft.configuration;

    for (unsigned i = 0; i < configuration->n && i < GROUP_SERVERS_MAX; i++) {
        uint64_t server = configuration->servers[i].id;
        raft_index match = 0;

        if (group_is_leader(group))
            (void)raft_match_index(&group->raft, server, &match);
        state->peers[i].server = server;
        state->peers[i].match = match;
        state->peers[i].online = server == group->options.server;
        for (uint32_t k = 0; k < group->peer_count; k++) {
            if (group->peers[k].server != server)
                continue;
            state->peers[i].online =
                group->peers[k].heard_ms != 0 &&
                since_ms(group, group->peers[k].heard_ms) < group->options.election_ms;
            state->peers[i].mute = group->peers[k].mute;
            state->peers[i].behind = match < group->peers[k].unread ||
                                     (group->peers[k].behind && match < group->mirror.first);
        }
    }
    state->servers = configuration->n;
}

void group_state(const struct group *group, struct group_state *ret_state)
{
    const struct raft *raft = &group->raft;

    *ret_state = (struct group_state){
        .number = group->options.number,
        .server = group->options.server,
        .leader = leader_of(group),
        .term = raft->current_term,
        .first = group->mirror.first,
        .last = group->mirror.last,
        .commit = group->commit,
        .applied = group->applied,
        .durable = raft->last_stored,
        .snapshot = group->snapshot.index,
        .all_have = group->all_have,
        .cached_bytes = group->mirror.cached_bytes,
        .inflight_bytes = group->uncommitted_bytes,
        .silent_ms = since_ms(group, group->leader_heard_ms),
        .mute = group->mute,
        .lacks = group->lacks_term != 0 && group->lacks_term == raft->current_term,
        .leading = !group->dead && group_is_leader(group),
        .ready = group_is_ready(group),
    };
    look_at_peers(group, ret_state);
}

uint32_t group_number(const struct group *group)
{
    return group->options.number;
}

void *group_ctx(const struct group *group)
{
    return group->io.ctx;
}
