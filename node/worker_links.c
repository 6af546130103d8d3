/*
 * A worker's links: what other nodes send goes to the group, or the router, that it is for.
 */
#include <stdio.h>
#include <stdlib.h>

#include "node/peer.h"
#include "node/rejoin.h"
#include "node/shard.h"
#include "node/worker.h"
#include "replication/raft_wire.h"
#include "storage/base/log_line.h"

/* What is left of a full disk is for terms, votes and what we have taken already: entries are
 * dropped, and the leader sends them again until there is space. Its heartbeats bring none. */
static bool has_room_for(const struct worker *worker, const struct group_message *message)
{
    return !group_message_needs_room(message) || !log_writer_is_short(worker->node->writer);
}

struct message_mail {
    uint64_t from;
    uint32_t group;
    struct group_message *message;
};

static void run_message(struct worker *worker, void *arg)
{
    struct message_mail *mail = arg;

    if (worker->phase == WORKER_CLOSING)
        group_message_free(mail->message);
    else
        group_receive(worker->groups[mail->group]->group, mail->from, mail->message);
    free(mail);
}

static void link_message(void *ctx, uint64_t from, uint32_t group, struct group_message *message)
{
    struct worker *worker = ctx;
    struct message_mail *mail;

    if (group >= worker->node->groups) {
        log_warn("node %llu sent a message for group %u of %u", (unsigned long long)from, group,
                 worker->node->groups);
        group_message_free(message);
        return;
    }
    if (!has_room_for(worker, message) || !rejoin_hear(worker->node->rejoin, from)) {
        group_message_free(message);
        return;
    }
    if (worker->groups[group] != NULL) {
        group_receive(worker->groups[group]->group, from, message);
        return;
    }
    mail = malloc(sizeof *mail);
    if (mail == NULL) {
        group_message_free(message); /* Raft sends it again. */
        return;
    }
    *mail = (struct message_mail){from, group, message};
    worker_call(worker, &worker->node->workers[node_owner(worker->node, group)], run_message, mail);
}

static void link_frame(void *ctx, uint64_t from, const struct frame_header *header,
                       struct buf *payload)
{
    router_frame(ctx, from, header, payload);
}

static void link_up(void *ctx, uint64_t server)
{
    struct worker *worker = ctx;

    if (worker->number == 0)
        log_info("link to node %llu stands", (unsigned long long)server);
}

static void link_down(void *ctx, uint64_t server)
{
    struct worker *worker = ctx;

    if (worker->phase == WORKER_CLOSING)
        return;
    router_peer_down(worker, server);
    peer_down(worker, server);
    for (uint32_t g = worker->number; g < worker->node->groups; g += worker->node->worker_count)
        group_peer_lost(worker->groups[g]->group, server);
}

enum err worker_open_links(struct worker *worker)
{
    const struct options *options = &worker->node->options;
    struct link_options links = {
        .loop = &worker->loop,
        .server = worker->node->server,
        .cluster = worker->node->cluster,
        .worker = worker->number,
        .queue_bytes_max = options->limits.inflight_bytes,
        .listen_port = options->listen.peer_port,
    };
    struct link_events events = {.ctx = worker,
                                 .message = link_message,
                                 .frame = link_frame,
                                 .up = link_up,
                                 .down = link_down};

    (void)snprintf(links.listen_host, sizeof links.listen_host, "%s", options->listen.host);
    for (uint32_t i = 0; i < options->cluster.node_count; i++) {
        const struct options_node *other = &options->cluster.nodes[i];
        struct link_peer *peer;

        if (other->id == worker->node->server)
            continue;
        peer = &links.peers[links.peer_count++];
        peer->server = other->id;
        peer->port = other->peer_port;
        (void)snprintf(peer->host, sizeof peer->host, "%s", other->host);
    }
    return links_new(&links, &events, &worker->links);
}
