/*
 * Linearizable reads. A leader may be one no longer and not know it, so before a read is served a
 * majority has to say that it still follows, in answer to a question asked after the read came in.
 * No clock is trusted, nothing is written.
 *
 *     group_read() --> waits for the next round --> PING to the voters --PONG of a majority-->
 *                                               --> applied up to the read's commit index --> done
 *
 * One round runs at a time; reads that come in meanwhile share the next one.
 */
#include <inttypes.h>

#include "replication/guards.h"
#include "replication/outbox.h"
#include "replication/raft_wire.h"

static struct group_read *read_at(struct group *group, uint32_t place)
{
    return &group->reads[(group->read_first + place) % GROUP_READS_MAX];
}

static bool is_acked(struct group *group, uint64_t server)
{
    const struct group_peer *peer = group_peer(group, server);

    return peer != NULL && (group->read_acks >> (peer - group->peers) & 1) != 0;
}

static bool majority_acked(struct group *group)
{
    const struct raft_configuration *configuration = &group->raft.configuration;
    uint32_t voters = 0, acks = 0;

    for (unsigned i = 0; i < configuration->n; i++) {
        const struct raft_server *server = &configuration->servers[i];

        if (server->role != RAFT_VOTER)
            continue;
        voters++;
        acks += server->id == group->options.server || is_acked(group, server->id);
    }
    return acks > voters / 2;
}

static void send(struct group *group, uint64_t to, enum group_message_kind kind, uint64_t term,
                 uint64_t round)
{
    struct group_message *message = group_message_new(kind, term, 0);

    if (message == NULL)
        return; /* As good as lost on the way. */
    message->round = round;
    outbox_add(group, to, message);
}

static void ping(struct group *group)
{
    const struct raft_configuration *configuration = &group->raft.configuration;

    for (unsigned i = 0; i < configuration->n; i++) {
        const struct raft_server *server = &configuration->servers[i];

        if (server->role == RAFT_VOTER && server->id != group->options.server &&
            !is_acked(group, server->id))
            send(group, server->id, GROUP_PING, group->raft.current_term, group->read_round);
    }
    outbox_flush(group);
}

/* The answer stands for the moment at which it was asked: a follower whose term is ours then has
 * not helped to elect anybody later. */
void group_read_ping(struct group *group, uint64_t from, const struct group_message *message)
{
    if (message->term != group->raft.current_term || group_is_leader(group))
        return;
    send(group, from, GROUP_PONG, message->term, message->round);
    outbox_flush(group);
}

void group_read_pong(struct group *group, uint64_t from, const struct group_message *message)
{
    struct group_peer *peer = group_peer(group, from);

    if (peer == NULL || !group_is_leader(group) || message->term != group->raft.current_term ||
        message->round != group->read_round || !group->read_running)
        return;
    group->read_acks |= UINT64_C(1) << (peer - group->peers);
    group_read_settle(group);
}

void group_read_repeat(struct group *group)
{
    if (group->read_running && group_is_leader(group))
        ping(group);
}

enum err group_read(struct group *group, uint64_t token)
{
    if (group->dead || !group_is_leader(group))
        return err_set(ERR_NOT_LEADER, "group %u: led by another server", group->options.number);
    if (!guard_ownterm(group))
        return err_set(ERR_BUSY, "group %u: the new leader does not know yet what is committed",
                       group->options.number);
    if (group->read_count == GROUP_READS_MAX)
        return err_set(ERR_BUSY, "group %u: %d reads are waiting", group->options.number,
                       GROUP_READS_MAX);
    group->read_count++;
    *read_at(group, group->read_count - 1) = (struct group_read){
        .token = token,
        .commit = group->raft.commit_index,
        .round = group->read_round + 1,
    };
    group_read_settle(group);
    return ERR_OK;
}

static void take_first(struct group *group, bool ok)
{
    uint64_t token = read_at(group, 0)->token;

    group->read_first = (group->read_first + 1) % GROUP_READS_MAX;
    group->read_count--;
    group->io.read_done(group->io.ctx, group, token, ok);
}

void group_read_fail(struct group *group)
{
    group->read_running = false;
    for (uint32_t left = group->read_count; left > 0; left--)
        take_first(group, false);
}

void group_read_settle(struct group *group)
{
    if (!group_is_leader(group))
        return;
    if (group->read_running && majority_acked(group))
        group->read_running = false;

    /* A round is over: those of it may go, as soon as what they have to see is applied. */
    while (group->read_count > 0) {
        const struct group_read *first = read_at(group, 0);

        if (first->round > group->read_round) {
            if (group->read_running)
                return;
            group->read_round++;
            group->read_acks = 0;
            group->read_running = true;
            ping(group);
            if (majority_acked(group)) /* A sole voter. */
                group->read_running = false;
        }
        if ((group->read_running && first->round == group->read_round) ||
            first->commit > group->applied)
            return;
        take_first(group, true);
    }
}
