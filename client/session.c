#include "client/session.h"

#include <arpa/inet.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/millrace.h"
#include "storage/base/check.h"

/* Times in ns. A node on a site's network connects in a few ms; a worker that answers no ping for
 * three seconds is worse than another replica. */
#define CONNECT_MAX_NS  UINT64_C(2000000000)
#define SILENCE_MAX_NS  UINT64_C(1000000000)
#define PONG_MAX_NS     UINT64_C(3000000000)
#define REOPEN_FIRST_NS UINT64_C(20000000)
#define REOPEN_MAX_NS   UINT64_C(1000000000)

enum { INPUT_FIRST = 64 * 1024, HELLO_REQUEST = 1, PING_REQUEST = 2 };

/*
 *     CLOSED --open--> RESOLVING --address--> CONNECTING --done--> GREETING --HELLO_OK--> READY
 *       ^                  |                      |                   |                     |
 *       |                  '----------------------+----- error, silence, session_close() ---'
 *       |                                         v
 *       '--------- handles are gone ---------- CLOSING
 *
 * RESOLVING waits for the resolver, CONNECTING for the peer's TCP, GREETING for HELLO_OK, READY for
 * frames, CLOSING for the close callback and for a resolver that could not be stopped.
 */
enum {
    SESSION_CLOSED,
    SESSION_RESOLVING,
    SESSION_CONNECTING,
    SESSION_GREETING,
    SESSION_READY,
    SESSION_CLOSING,
    SESSION_STATES
};

static const struct sm_state session_states[SESSION_STATES] = {
    [SESSION_CLOSED] = {"closed", SM_TO(SESSION_RESOLVING)},
    [SESSION_RESOLVING] = {"resolving", SM_TO(SESSION_CONNECTING) | SM_TO(SESSION_CLOSING)},
    [SESSION_CONNECTING] = {"connecting", SM_TO(SESSION_GREETING) | SM_TO(SESSION_CLOSING)},
    [SESSION_GREETING] = {"greeting", SM_TO(SESSION_READY) | SM_TO(SESSION_CLOSING)},
    [SESSION_READY] = {"ready", SM_TO(SESSION_CLOSING)},
    [SESSION_CLOSING] = {"closing", SM_TO(SESSION_CLOSED)},
};

struct session {
    struct session_address address;
    const struct session_events *events;
    uint64_t server;

    struct sm sm;
    uv_loop_t *loop;
    uv_tcp_t tcp;
    uv_connect_t connect;
    uv_getaddrinfo_t resolver;
    bool resolving; /* The resolver's callback is still to come. */
    bool handle_open;
    uint32_t attempt; /* Counts: a name's addresses are tried in turn. */

    uint8_t *input; /* Owned. */
    size_t input_size, input_capacity;

    uint64_t opened_ns;
    uint64_t heard_ns;  /* Last bytes. */
    uint64_t pinged_ns; /* 0: no ping is under way. */
    uint64_t retry_ns;
    uint32_t failures;
    char why[SESSION_HOST_MAX + ERR_DETAIL_MAX + 16];
};

/* A frame on its way out. */
struct outgoing {
    uv_write_t write;
    struct session *session;
    struct frame_header header;
    struct buf *payload;
};

/* ---- Addresses ----------------------------------------------------------------------------- */

static enum err parse_port(const char *text, size_t size, uint16_t *ret_port)
{
    uint32_t port = 0;

    for (size_t i = 0; i < size && i < 6; i++) {
        if (text[i] < '0' || text[i] > '9')
            return ERR_INVALID;
        port = port * 10 + (uint32_t)(text[i] - '0');
    }
    if (size == 0 || size > 5 || port == 0 || port > UINT16_MAX)
        return ERR_INVALID;
    *ret_port = (uint16_t)port;
    return ERR_OK;
}

enum err session_address_parse(const char *text, size_t size, uint16_t default_port,
                               struct session_address *ret_address)
{
    struct session_address address = {.port = default_port};
    const char *host = text;
    const char *end = text + size;
    const char *host_end = size > 0 && *text == '[' ? memchr(text, ']', size) : NULL;
    const char *colon = host_end ? host_end + 1 : memrchr(text, ':', size);

    if (host_end) {
        host++;
    } else {
        /* More than one colon without brackets is a bare IPv6 address. */
        if (colon && memchr(text, ':', (size_t)(colon - text)))
            colon = NULL;
        host_end = colon ? colon : end;
    }
    if (size > 0 && *text == '[' && host == text)
        host_end = host; /* Never closed. */
    if (host_end == host || (size_t)(host_end - host) >= sizeof address.host)
        return err_set(ERR_INVALID, "node '%.*s': want HOST:PORT", (int)size, text);
    if (colon && colon != end &&
        (*colon != ':' ||
         parse_port(colon + 1, (size_t)(end - colon - 1), &address.port) != ERR_OK))
        return err_set(ERR_INVALID, "node '%.*s': the port is a number from 1 to 65535", (int)size,
                       text);
    memcpy(address.host, host, (size_t)(host_end - host));
    *ret_address = address;
    return ERR_OK;
}

/* ---- Life ---------------------------------------------------------------------------------- */

struct session *session_new(uv_loop_t *loop, const struct session_address *address,
                            const struct session_events *events)
{
    struct session *session = calloc(1, sizeof *session);

    if (!session)
        return NULL;
    session->address = *address;
    session->events = events;
    session->loop = loop;
    sm_init(&session->sm, session_states, SESSION_STATES, SESSION_CLOSED);
    return session;
}

void session_free(struct session *session)
{
    CHECK(session->sm.now == SESSION_CLOSED);
    free(session->input);
    free(session);
}

bool session_is_ready(const struct session *session)
{
    return session->sm.now == SESSION_READY;
}

bool session_is_closed(const struct session *session)
{
    return session->sm.now == SESSION_CLOSED;
}

uint64_t session_server(const struct session *session)
{
    return session->server;
}

void session_expect(struct session *session, uint64_t server)
{
    session->server = server;
}

const struct session_address *session_address(const struct session *session)
{
    return &session->address;
}

const char *session_why(const struct session *session)
{
    return session->why;
}

uint32_t session_failures(const struct session *session)
{
    return session->failures;
}

/* ---- Closing ------------------------------------------------------------------------------- */

static void finish_close(struct session *session)
{
    uint64_t delay_ns = REOPEN_FIRST_NS;

    if (session->resolving || session->handle_open)
        return;
    for (uint32_t i = 1; i < session->failures && delay_ns < REOPEN_MAX_NS; i++)
        delay_ns *= 2;
    session->retry_ns = uv_hrtime() + (session->failures ? delay_ns : 0);
    free(session->input); /* It may have grown to a big answer's size. */
    session->input = NULL;
    session->input_size = session->input_capacity = 0;
    sm_move(&session->sm, SESSION_CLOSED);
    session->events->on_closed(session->events->ctx, session);
}

static void session_close_cb(uv_handle_t *handle)
{
    struct session *session = handle->data;

    session->handle_open = false;
    finish_close(session);
}

void session_close(struct session *session, const char *why)
{
    if (session->sm.now == SESSION_CLOSED || session->sm.now == SESSION_CLOSING)
        return;
    snprintf(session->why, sizeof session->why, "%s:%u: %s", session->address.host,
             (unsigned)session->address.port, why);
    session->failures++; /* Until the next HELLO_OK. */
    sm_move(&session->sm, SESSION_CLOSING);
    if (session->resolving)
        uv_cancel((uv_req_t *)&session->resolver); /* Its callback comes in any case. */
    if (session->handle_open)
        uv_close((uv_handle_t *)&session->tcp, session_close_cb);
}

static void close_uv(struct session *session, const char *what, int status)
{
    char why[128];

    snprintf(why, sizeof why, "%s: %s", what, uv_strerror(status));
    session_close(session, why);
}

/* ---- Sending ------------------------------------------------------------------------------- */

static void session_write_cb(uv_write_t *write, int status)
{
    struct outgoing *out = write->data;
    struct session *session = out->session;

    buf_unref(out->payload);
    free(out);
    if (status < 0 && status != UV_ECANCELED)
        close_uv(session, "send", status);
}

static enum err send_frame(struct session *session, enum frame_type type, uint64_t request,
                           struct buf *payload)
{
    struct outgoing *out = calloc(1, sizeof *out);
    size_t size = payload ? payload->size : 0;
    uv_buf_t bufs[2];
    int status;

    if (!out)
        return err_set(ERR_NO_MEMORY, "a frame to send");
    out->session = session;
    out->write.data = out;
    out->payload = payload ? buf_ref(payload) : NULL;
    out->header.type = (uint16_t)type;
    out->header.request = request;
    frame_seal(&out->header, payload ? payload->bytes : NULL, size);
    bufs[0] = uv_buf_init((char *)&out->header, sizeof out->header);
    if (payload)
        bufs[1] = uv_buf_init((char *)payload->bytes, (unsigned)size);
    status = uv_write(&out->write, (uv_stream_t *)&session->tcp, bufs, payload ? 2 : 1,
                      session_write_cb);
    if (status < 0) {
        /* The callback will not come, and whoever sent hears of it by on_closed. */
        buf_unref(out->payload);
        free(out);
        close_uv(session, "send", status);
    }
    return ERR_OK;
}

enum err session_send(struct session *session, enum frame_type type, uint64_t request,
                      struct buf *payload)
{
    CHECK(session->sm.now == SESSION_READY);
    return send_frame(session, type, request, payload);
}

struct buf *session_payload(const struct bytes *bytes)
{
    struct buf *payload = bytes->failed ? NULL : buf_new((uint32_t)bytes->size);

    if (payload && bytes->size > 0)
        memcpy(payload->bytes, bytes->data, bytes->size);
    if (payload)
        payload->size = (uint32_t)bytes->size;
    return payload;
}

static enum err send_hello(struct session *session)
{
    char agent[64];
    struct message_hello hello = {.version = PROTOCOL_VERSION, .role = ROLE_CLIENT};
    struct bytes bytes = {0};
    struct buf *payload;
    enum err err = ERR_NO_MEMORY;

    snprintf(agent, sizeof agent, "libmillrace %s", millrace_version());
    hello.agent = (struct slice){agent, strlen(agent)};
    message_put_hello(&hello, &bytes);
    payload = session_payload(&bytes);
    bytes_fini(&bytes);
    if (payload)
        err = send_frame(session, FRAME_HELLO, HELLO_REQUEST, payload);
    buf_unref(payload);
    return err;
}

/* ---- Receiving ----------------------------------------------------------------------------- */

static enum err take_greeting(struct session *session, const struct frame_header *header,
                              const uint8_t *payload)
{
    struct message_hello_ok hello;
    struct message_error error;
    enum err err;

    if (header->type == FRAME_ERROR && message_get_error(payload, header->size, &error) == ERR_OK)
        return err_set(ERR_UNAVAILABLE, "refused: %.*s", (int)error.text.size, error.text.data);
    if (header->type != FRAME_HELLO_OK)
        return err_set(ERR_INVALID, "answered HELLO with a frame of type %u",
                       (unsigned)header->type);
    err = message_get_hello_ok(payload, header->size, &hello);
    if (err != ERR_OK)
        return err;
    if (hello.version != PROTOCOL_VERSION)
        return err_set(ERR_VERSION, "speaks protocol version %u, this client speaks %d",
                       (unsigned)hello.version, PROTOCOL_VERSION);
    session->server = hello.server;
    session->failures = 0;
    sm_move(&session->sm, SESSION_READY);
    return session->events->on_ready(session->events->ctx, session, &hello);
}

static enum err take_frame(struct session *session, const struct frame_header *header,
                           const uint8_t *payload)
{
    if (session->sm.now == SESSION_GREETING)
        return take_greeting(session, header, payload);
    if (header->type == FRAME_PONG)
        return ERR_OK;
    return session->events->on_frame(session->events->ctx, session, header, payload);
}

/* Hand out all whole frames of the input; an incomplete one stays. */
static enum err take_input(struct session *session)
{
    struct frame_header header;
    size_t at = 0;
    enum err err = ERR_OK;

    while (session->input_size - at >= sizeof header && err == ERR_OK &&
           session->sm.now != SESSION_CLOSING) {
        const uint8_t *frame = session->input + at;

        err = frame_check_header(frame, &header);
        if (err != ERR_OK || session->input_size - at < sizeof header + header.size)
            break;
        err = frame_check_payload(&header, frame + sizeof header);
        if (err == ERR_OK)
            err = take_frame(session, &header, frame + sizeof header);
        at += sizeof header + header.size;
    }
    session->input_size -= at;
    if (at > 0)
        memmove(session->input, session->input + at, session->input_size);
    return err;
}

/* Room for the frame that is coming in, or for some small ones. */
static void session_alloc_cb(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct session *session = handle->data;
    struct frame_header header;
    size_t want = INPUT_FIRST;

    (void)suggested;
    *buf = uv_buf_init(NULL, 0); /* libuv then reports UV_ENOBUFS. */
    if (session->input_size >= sizeof header &&
        frame_check_header(session->input, &header) == ERR_OK && sizeof header + header.size > want)
        want = sizeof header + header.size;
    if (want <= session->input_size)
        want = session->input_size + INPUT_FIRST;
    if (want > session->input_capacity) {
        uint8_t *bigger = realloc(session->input, want);

        if (!bigger)
            return;
        session->input = bigger;
        session->input_capacity = want;
    }
    *buf = uv_buf_init((char *)session->input + session->input_size,
                       (unsigned)(session->input_capacity - session->input_size));
}

static void session_read_cb(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct session *session = stream->data;
    enum err err;

    (void)buf;
    if (size == 0 || session->sm.now == SESSION_CLOSING)
        return;
    if (size < 0) {
        close_uv(session, size == UV_EOF ? "the node closed the connection" : "receive", (int)size);
        return;
    }
    session->heard_ns = uv_hrtime();
    session->pinged_ns = 0;
    session->input_size += (size_t)size;
    err = take_input(session);
    if (err != ERR_OK)
        session_close(session, err_detail());
}

/* ---- Opening ------------------------------------------------------------------------------- */

static void session_connect_cb(uv_connect_t *connect, int status)
{
    struct session *session = connect->data;

    if (session->sm.now == SESSION_CLOSING)
        return;
    if (status < 0) {
        close_uv(session, "connect", status);
        return;
    }
    uv_tcp_nodelay(&session->tcp, 1);
    sm_move(&session->sm, SESSION_GREETING);
    status = uv_read_start((uv_stream_t *)&session->tcp, session_alloc_cb, session_read_cb);
    if (status < 0)
        close_uv(session, "receive", status);
    else if (send_hello(session) != ERR_OK)
        session_close(session, "no memory to greet it");
}

static void connect_to(struct session *session, const struct sockaddr *address)
{
    int status;

    session->connect.data = session;
    sm_move(&session->sm, SESSION_CONNECTING);
    status = uv_tcp_connect(&session->connect, &session->tcp, address, session_connect_cb);
    if (status < 0)
        close_uv(session, "connect", status);
}

static void session_resolve_cb(uv_getaddrinfo_t *resolver, int status, struct addrinfo *found)
{
    struct session *session = resolver->data;
    const struct addrinfo *address = found;
    uint32_t count = 0;

    session->resolving = false;
    if (session->sm.now == SESSION_CLOSING) {
        finish_close(session);
    } else if (status < 0) {
        close_uv(session, "look up the name", status);
    } else {
        for (const struct addrinfo *at = found; at; at = at->ai_next)
            count++;
        /* "localhost" may be ::1 first where the node listens on 127.0.0.1 alone. */
        for (uint32_t skip = session->attempt++ % count; skip > 0; skip--)
            address = address->ai_next;
        connect_to(session, address->ai_addr);
    }
    uv_freeaddrinfo(found);
}

static void resolve(struct session *session)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG};
    char port[8];
    int status;

    snprintf(port, sizeof port, "%u", (unsigned)session->address.port);
    session->resolver.data = session;
    status = uv_getaddrinfo(session->loop, &session->resolver, session_resolve_cb,
                            session->address.host, port, &hints);
    if (status < 0)
        close_uv(session, "look up the name", status);
    else
        session->resolving = true;
}

void session_open(struct session *session, uint64_t now_ns)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } numeric;

    if (session->sm.now != SESSION_CLOSED || now_ns < session->retry_ns)
        return;
    if (uv_tcp_init(session->loop, &session->tcp) != 0)
        return; /* It stays closed; whoever needs it calls again. */
    session->handle_open = true;
    session->tcp.data = session;
    session->opened_ns = session->heard_ns = now_ns;
    session->pinged_ns = 0;
    sm_move(&session->sm, SESSION_RESOLVING);
    if (uv_ip4_addr(session->address.host, session->address.port, &numeric.v4) == 0 ||
        uv_ip6_addr(session->address.host, session->address.port, &numeric.v6) == 0)
        connect_to(session, &numeric.any);
    else
        resolve(session);
}

/* ---- Time ---------------------------------------------------------------------------------- */

void session_tick(struct session *session, uint64_t now_ns)
{
    switch (session->sm.now) {
    case SESSION_RESOLVING:
    case SESSION_CONNECTING:
    case SESSION_GREETING:
        if (now_ns - session->opened_ns > CONNECT_MAX_NS)
            session_close(session, "no answer within 2 s");
        break;
    case SESSION_READY:
        if (session->pinged_ns == 0) {
            if (now_ns - session->heard_ns > SILENCE_MAX_NS &&
                send_frame(session, FRAME_PING, PING_REQUEST, NULL) == ERR_OK)
                session->pinged_ns = now_ns;
        } else if (now_ns - session->pinged_ns > PONG_MAX_NS) {
            session_close(session, "no answer to a ping for 3 s");
        }
        break;
    default:
        break;
    }
}
