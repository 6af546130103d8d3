/*
 * link_queue.h - what waits to be sent to one peer, and how it becomes frames.
 *
 *     urgent  [ RAFT: 5 messages ][ WRITE_OK ] ----.
 *                                                   +--> batch: headers, parts --> one write
 *     bulk    [ RAFT: 40 entries ][ 3 MiB entry ] -'     pieces of at most 256 KiB
 *
 * Raft messages join the frame at the tail of their queue until it is 256 KiB large or is being
 * sent. A batch takes all urgent frames first, then bulk up to about 1 MiB in all: what is urgent
 * waits behind no more than that.
 *
 * Thread    The worker's.
 */
#ifndef REPLICATION_LINK_QUEUE_H
#define REPLICATION_LINK_QUEUE_H

#include <stdbool.h>
#include <uv.h>

#include "client/wire/frame.h"
#include "replication/raft_wire.h"
#include "replication/stream.h"
#include "storage/base/buf.h"
#include "storage/base/bytes.h"

enum {
    LINK_PIECE_BYTES = 256 * 1024,
    LINK_BATCH_BYTES = 1024 * 1024,
    LINK_BATCH_FRAMES = 128,
};

struct link_item;

struct link_list {
    struct link_item *head;
    struct link_item *tail;
    uint64_t bytes;
};

struct link_queue {
    uint64_t bytes_max; /* Of each list. */
    struct link_list urgent;
    struct link_list bulk;
    uint32_t *group_items; /* Owned: bulk items that hold messages of the group. */
    uint32_t group_count;
};

/** One write: its frames' headers, and what has to live until it is done. */
struct link_batch {
    struct stream_write write;
    struct frame_header headers[LINK_BATCH_FRAMES];
    uv_buf_t parts[2 * LINK_BATCH_FRAMES];
    unsigned part_count;
    uint32_t frame_count;
    uint64_t bytes;
    struct link_item *sent; /* Owned: items whose last byte is in here. */
};

void link_queue_init(struct link_queue *queue, uint64_t bytes_max);
void link_queue_fini(struct link_queue *queue);

/** Queue a message; takes it over. ERR_BUSY: over the bound, the message is gone. ERR_NO_MEMORY. */
MUST_CHECK enum err link_queue_message(struct link_queue *queue, uint32_t group,
                                       struct group_message *message, bool urgent);
/** Queue a frame; takes a reference. ERR_BUSY, ERR_NO_MEMORY. */
MUST_CHECK enum err link_queue_frame(struct link_queue *queue, uint16_t type, uint64_t request,
                                     struct buf *payload, bool urgent);

/** Bulk messages of that group are in here. */
bool link_queue_holds(const struct link_queue *queue, uint32_t group);

/** Fill a batch from the queue. False: there is nothing. */
bool link_queue_take(struct link_queue *queue, struct link_batch *batch);

/** Free what the batch held. */
void link_batch_done(struct link_batch *batch);

/** Forget everything (the connection broke). Returns how many frames and messages that were. */
uint64_t link_queue_clear(struct link_queue *queue);

#endif
