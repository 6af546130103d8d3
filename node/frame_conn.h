/*
 * frame_conn.h - one accepted connection that speaks frames: bytes in, whole frames out, and back.
 *
 *    socket -> [24-byte header | payload straight into its own buf] -> frame()
 *    frame_conn_send() -> queue -> frame_conn_flush() at the end of the turn: one write for all
 *
 * A wrong magic or checksum closes the connection. A payload that is longer than payload_max is
 * answered with ERR_TOO_LARGE and passed over. While more than OUT_BYTES_MAX wait to be sent,
 * nothing is read.
 *
 * Owner     The struct is embedded by its user, who may free it in closed(), not before.
 * Thread    The worker's.
 */
#ifndef NODE_FRAME_CONN_H
#define NODE_FRAME_CONN_H

#include <stdbool.h>
#include <uv.h>

#include "client/wire/frame.h"
#include "storage/base/buf.h"
#include "storage/base/bytes.h"

struct frame_conn;

struct frame_conn_events {
    /* A whole frame, checked. `payload` is borrowed: ref it to keep it. May close `conn`. */
    void (*frame)(struct frame_conn *conn, const struct frame_header *header, struct buf *payload);
    /* Closed by either side, all memory of its own is free. `why` is NULL for a clean end. */
    void (*closed)(struct frame_conn *conn, const char *why);
};

struct frame_out {
    struct frame_header header;
    struct buf *payload; /* Counted; NULL: none. */
};

struct frame_conn {
    uv_tcp_t tcp;
    struct frame_conn_events events;
    uint8_t header[sizeof(struct frame_header)];
    uint32_t header_size; /* Bytes of it that are there. */
    struct frame_header current;
    uint32_t payload_max;  /* Bytes taken; its user may set less than FRAME_PAYLOAD_MAX. */
    uint32_t skip;         /* Bytes of a payload to be passed over. */
    struct buf *payload;   /* Counted; being filled. */
    struct frame_out *out; /* Owned: to be flushed. */
    uint32_t out_count, out_capacity;
    uint64_t out_bytes; /* Queued and under way. */
    uint64_t read_ms;   /* When something last came. */
    bool reading, closing, held;
    const char *why;
};

/** Take the connection that `server` has ready. ERR_IO. On an error closed() is called later. */
MUST_CHECK enum err frame_conn_accept(struct frame_conn *conn, uv_stream_t *server,
                                      const struct frame_conn_events *events);
/** Queue a frame; takes a reference of `payload` (NULL: empty). Nothing is done once closing. */
void frame_conn_send(struct frame_conn *conn, uint16_t type, uint64_t request, struct buf *payload);
/** The same with a copy of the bytes, which are gone afterwards. */
void frame_conn_send_bytes(struct frame_conn *conn, uint16_t type, uint64_t request,
                           struct bytes *bytes);
void frame_conn_flush(struct frame_conn *conn);
/** Stop or go on reading: back-pressure of whoever takes the frames. */
void frame_conn_hold(struct frame_conn *conn, bool hold);
/** `why` is static text or NULL. What is queued is dropped. */
void frame_conn_close(struct frame_conn *conn, const char *why);

#endif
