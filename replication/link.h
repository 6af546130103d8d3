/*
 * link.h - one worker's connections to the other nodes of the site.
 *
 * Each worker keeps one outgoing connection to each peer, and sends on it only; what peers send
 * comes in on the connections that they made, which any worker's listener may accept. So a frame
 * may arrive at a worker that does not own its group: the node hands it on (node/shard.c).
 *
 *    queue "urgent": votes, results, heartbeats, acks ----.
 *                                                         +--> frames --> socket
 *    queue "bulk": entries, in pieces of at most 256 KiB -'    (urgent first, between pieces)
 *
 * All raft messages queued in one turn of the loop leave in one RAFT frame a queue. A peer's queues
 * are bounded in bytes: above the bound raft messages are dropped (Raft sends again), requests are
 * refused with ERR_BUSY. What is queued when a connection breaks is dropped. Reading and writing of
 * bytes goes through struct stream (stream.h), where TLS will slip in.
 */
#ifndef REPLICATION_LINK_H
#define REPLICATION_LINK_H

#include <uv.h>

#include "client/wire/frame.h"
#include "replication/group.h"

struct links;

struct link_peer {
    uint64_t server;
    char host[64]; /* Name or address, IPv4 or IPv6. Resolved anew at each attempt. */
    uint16_t port;
};

struct link_options {
    uv_loop_t *loop;
    uint64_t server; /* Own id. */
    uint64_t cluster;
    uint32_t worker; /* Own worker's number. */
    struct link_peer peers[GROUP_SERVERS_MAX];
    uint32_t peer_count;
    uint64_t queue_bytes_max; /* For each peer and queue; one frame may be larger. */
    char listen_host[64];
    uint16_t listen_port; /* Bound with SO_REUSEPORT by every worker. */
};

/* All called on the worker's loop. */
struct link_events {
    void *ctx;
    /* A raft message; takes it over. */
    void (*message)(void *ctx, uint64_t from, uint32_t group, struct group_message *message);
    /* Any other frame; `payload` is counted: ref it to keep it. */
    void (*frame)(void *ctx, uint64_t from, const struct frame_header *header, struct buf *payload);
    void (*up)(void *ctx, uint64_t server); /* Our outgoing connection stands. */
    /* It, or the peer's connection to us, was closed. Not called for links_close(). */
    void (*down)(void *ctx, uint64_t server);
};

/**
 * Listen, and start to connect to all peers, for ever: 20 ms to 1 s after each failure. A peer of
 * another cluster or id is not talked to. SIGPIPE is ignored from now on, by the whole process.
 *
 * Errors  ERR_IO: the address cannot be listened on. ERR_NO_MEMORY. After an error the loop still
 *         has to run once for the memory to be freed.
 */
MUST_CHECK enum err links_new(const struct link_options *options, const struct link_events *events,
                              struct links **ret_links);
/** Close everything; `closed` is called once all handles are gone. Nothing else is called. */
void links_close(struct links *links, void (*closed)(void *ctx));

/** Queue; takes the message over. Sent by links_flush(). */
void links_message(struct links *links, uint64_t to, uint32_t group, struct group_message *message,
                   bool urgent);
/** Queue one frame whose payload is `payload` (takes a reference). ERR_UNAVAILABLE: not connected.
 * ERR_BUSY. */
MUST_CHECK enum err links_frame(struct links *links, uint64_t to, uint16_t type, uint64_t request,
                                struct buf *payload, bool urgent);
/** The same, to somebody who has just asked over a connection of his: if ours is not there yet, it
 * is being made, and the answer waits for it. ERR_UNAVAILABLE: no such node. */
MUST_CHECK enum err links_answer(struct links *links, uint64_t to, uint16_t type, uint64_t request,
                                 struct buf *payload, bool urgent);
/** Bulk messages of that group are still queued towards that peer. */
bool links_queued(const struct links *links, uint64_t to, uint32_t group);
bool links_is_up(const struct links *links, uint64_t to);
/** End of a turn of the loop: write what was queued. */
void links_flush(struct links *links);

struct link_stats {
    uint64_t bytes_in, bytes_out, frames_in, frames_out;
    uint64_t dropped;   /* Messages and frames that were queued, or should have been. */
    uint64_t connected; /* Outgoing connections that stand. */
};
void links_stats(const struct links *links, struct link_stats *ret_stats);

#endif
