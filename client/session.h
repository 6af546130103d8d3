/*
 * session.h - one connection to one node: it connects, greets, and carries frames both ways.
 *
 * A session belongs to one address for the client's life. It is opened whenever somebody needs it
 * and may be; after a failure it waits a little longer each time. What was asked over it and not
 * answered is the business of those who asked: they hear on_closed and ask again.
 *
 *     session_open()  -> resolve, connect, HELLO, HELLO_OK ->  on_ready
 *     session_send()  -> ...                               ->  on_frame, once for each answer
 *     any failure, silence, session_close()                ->  on_closed
 *
 * Thread   The I/O thread's.
 */
#ifndef CLIENT_SESSION_H
#define CLIENT_SESSION_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "client/wire/frame.h"
#include "client/wire/message.h"
#include "storage/base/buf.h"
#include "storage/base/bytes.h"
#include "storage/base/sm.h"

enum { SESSION_HOST_MAX = 256 };

struct session_address {
    char host[SESSION_HOST_MAX];
    uint16_t port;
};

struct session;

/* Called from the loop, never from within a call of this header. */
struct session_events {
    /* HELLO_OK came. ERR_*: do not use this node (the reason is the error's detail). */
    enum err (*on_ready)(void *ctx, struct session *session, const struct message_hello_ok *hello);
    /* An answer; the payload is borrowed during the call. ERR_*: nonsense, close the connection. */
    enum err (*on_frame)(void *ctx, struct session *session, const struct frame_header *header,
                         const uint8_t *payload);
    void (*on_closed)(void *ctx, struct session *session);
    void *ctx;
};

/** One "HOST", "HOST:PORT" or "[V6]:PORT" of `size` bytes. ERR_INVALID says what is wrong. */
MUST_CHECK enum err session_address_parse(const char *text, size_t size, uint16_t default_port,
                                          struct session_address *ret_address);

/** `events` is borrowed for the session's life. NULL if there is no memory. */
struct session *session_new(uv_loop_t *loop, const struct session_address *address,
                            const struct session_events *events);
/** Its state is closed. */
void session_free(struct session *session);

/** Start to connect, if it is closed and its time has come. */
void session_open(struct session *session, uint64_t now_ns);
/** Ends now; on_closed follows. `why` is kept for session_why(). */
void session_close(struct session *session, const char *why);

bool session_is_ready(const struct session *session);
bool session_is_closed(const struct session *session);
/** Server id: told by the node, or set by session_expect(); 0 = not known yet. */
uint64_t session_server(const struct session *session);
void session_expect(struct session *session, uint64_t server);
const struct session_address *session_address(const struct session *session);
/** Why it closed last, with the address; "" if it never did. */
const char *session_why(const struct session *session);
/** Failures to connect in a row. */
uint32_t session_failures(const struct session *session);

/** A message as a payload to send: copied. NULL if there is, or was, no memory. */
struct buf *session_payload(const struct bytes *bytes);
/** Send a frame; the session is ready. `payload` is kept (one more reference) until it is out;
 * NULL: none. ERR_NO_MEMORY: nothing was sent. */
MUST_CHECK enum err session_send(struct session *session, enum frame_type type, uint64_t request,
                                 struct buf *payload);

/** Closes a session that does not get on, pings one that is silent. Call it every few ms. */
void session_tick(struct session *session, uint64_t now_ns);

#endif
