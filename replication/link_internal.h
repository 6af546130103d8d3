/*
 * link_internal.h - what the files of the links share: for link*.c only.
 *
 *     link.c       the listener, the table of peers, opening and closing
 *     link_out.c   our connection to one peer: connecting, greeting
 *     link_queue.c what waits to be sent on it, and how it is cut into frames
 *     link_in.c    one connection that a peer made
 */
#ifndef REPLICATION_LINK_INTERNAL_H
#define REPLICATION_LINK_INTERNAL_H

#include "client/wire/message.h"
#include "replication/frame_reader.h"
#include "replication/link.h"
#include "replication/link_queue.h"
#include "replication/stream.h"
#include "storage/base/rand.h"
#include "storage/base/sm.h"

enum {
    LINK_READ_BYTES = 256 * 1024, /* One read, shared by all connections of a worker. */
    LINK_INCOMING_MAX = 256,      /* Connections: 8 peers of 32 workers. */
    LINK_HELLO_BYTES_MAX = 4096,  /* Payload of a frame of somebody not yet known. */
    LINK_GREETING_MS_MAX = 5000,  /* From the connection to the end of the greeting. */
    LINK_RETRY_MS_MIN = 20,       /* Between attempts to connect: doubled up to ... */
    LINK_RETRY_MS_MAX = 1000,
};

struct link_out {
    struct links *links;
    struct link_peer peer;
    struct sm state;
    struct stream stream;
    uv_getaddrinfo_t resolve;
    uv_timer_t timer; /* Next attempt, or deadline of this one. */
    uint32_t retry_ms;
    uint32_t attempts; /* Each takes the next of the name's addresses. */
    struct frame_reader reader;
    struct link_queue queue;
    struct link_batch batch; /* The one write under way. */
    bool writing;
    struct stream_write hello_write;
    struct bytes hello; /* Owned: header and payload of HELLO. */
};

struct link_in {
    struct links *links;
    struct stream stream;
    struct frame_reader reader;
    uint64_t server; /* Who it is; 0: has not said. */
    uint64_t deadline_ms;
    struct stream_write write;
    struct bytes answer; /* Owned: HELLO_OK or ERROR. */
    bool leaving;        /* Closed once the answer is written. */
    struct link_in *next;
    struct link_in *previous;
};

struct links {
    struct link_options options;
    struct link_events events;
    struct link_out out[GROUP_SERVERS_MAX];
    struct link_in *incoming;
    uint32_t incoming_count;
    uv_tcp_t listener;
    bool accept_again;    /* There was no memory for a connection that waits. */
    uv_timer_t tick;      /* Closes connections that do not greet. */
    uint8_t *read_buffer; /* Owned. */
    struct rand rand;
    struct link_stats stats;
    uint32_t open; /* Handles that are not closed yet. */
    bool closing;
    void (*closed)(void *ctx);
};

/* ---- link.c -------------------------------------------------------------------------------- */

/** The payload and header of one frame of a greeting, into `out`. */
void links_put_frame(struct bytes *out, uint16_t type, const struct bytes *payload);

/** A handle was closed: the last one ends everything. The links may be gone afterwards. */
void links_handle_closed(struct links *links);

struct link_out *links_find(const struct links *links, uint64_t server);

/* ---- link_out.c ---------------------------------------------------------------------------- */

MUST_CHECK enum err link_out_start(struct link_out *out, struct links *links,
                                   const struct link_peer *peer);
void link_out_close(struct link_out *out);
/** The peer is there: if we wait for the next attempt to connect, do not. */
void link_out_hurry(struct link_out *out);
bool link_out_is_up(const struct link_out *out);
void link_out_flush(struct link_out *out);

/* ---- link_in.c ----------------------------------------------------------------------------- */

void link_in_accept(struct links *links);
void link_in_close(struct link_in *in);
void link_in_check_deadlines(struct links *links);

#endif
