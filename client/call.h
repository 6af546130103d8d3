/*
 * call.h - a request that a caller waits for: topology aside, everything that is not a batch.
 *
 * The caller makes one on his stack and waits in io_call(). The I/O thread sends it to some node,
 * follows hints, tries another node when a connection closes or the answer is "later", and ends it
 * with an answer or at its deadline.
 *
 * Thread   Filled in by the caller before io_call(), read by him afterwards; in between it is the
 *          I/O thread's, including the callbacks and what `ctx` points to.
 */
#ifndef CLIENT_CALL_H
#define CLIENT_CALL_H

#include "client/io.h"

enum { CALL_ANSWER_MAX = 64 * 1024 * 1024 }; /* Bytes of one answer in several pieces. */

struct call {
    enum frame_type type;
    struct buf *payload; /* Borrowed until it is done; NULL: empty. */
    uint64_t server;     /* The only node to ask, and only once; 0: any, until the deadline. */
    uint64_t timeout_ns;
    /* One whole answer, never an ERROR. ERR_END: that was all; ERR_OK: there is more to come;
     * anything else ends the call. ERR_NOT_LEADER, ERR_UNAVAILABLE, ERR_BUSY: ask again. */
    enum err (*on_answer)(void *ctx, uint16_t type, const uint8_t *payload, size_t size);
    void (*on_restart)(void *ctx); /* Forget the answers so far. NULL: nothing to forget. */
    void *ctx;

    /* The I/O thread's. */
    struct call *next;
    uint64_t deadline_ns;
    uint64_t retry_ns;
    uint32_t attempts;
    uint64_t hint;           /* Ask this server next; 0: any. */
    struct session *session; /* Where it was sent; NULL: not under way. */
    uint64_t request;
    struct bytes pieces; /* Of an answer that came in part. */

    /* Under io.mutex. */
    bool done;
    struct err_note result;
};

/** Take a call over from its caller. */
void call_start(struct io *io, struct call *call);
/** Send it if it can be sent, end it if it is too late. It may be gone afterwards. */
void call_tick(struct io *io, struct call *call);
/** A frame that may be the answer of one of the calls. Unknown requests are ignored. */
MUST_CHECK enum err call_take(struct io *io, struct session *session,
                              const struct frame_header *header, const uint8_t *payload);
/** The connection closed, or could not be made. */
void call_lost(struct io *io, struct session *session);
/** The client is being closed. */
void call_abandon_all(struct io *io);

#endif
