#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/http_internal.h"
#include "storage/base/check.h"
#include "storage/base/metric.h"

/*
 *          .-----------------------------------------------.
 *          v                                               | answer written, connection kept
 *     READING --request complete--> WAITING --answer--> WRITING
 *      |  ^                                               ^ |
 *      |  '--all of it inflated-- INFLATING --refusal-----' | answer written, connection not kept
 *      |                             ^                      v
 *      '--more than one turn's worth-'                  LINGERING
 *
 *     from everywhere: error, time-out, end of input or of the server ---> CLOSING
 */
static const struct sm_state states[HTTP_STATES] = {
    [HTTP_READING] = {"reading", SM_TO(HTTP_INFLATING) | SM_TO(HTTP_WAITING) | SM_TO(HTTP_WRITING) |
                                     SM_TO(HTTP_CLOSING)},
    [HTTP_INFLATING] = {"inflating",
                        SM_TO(HTTP_READING) | SM_TO(HTTP_WRITING) | SM_TO(HTTP_CLOSING)},
    [HTTP_WAITING] = {"waiting", SM_TO(HTTP_WRITING) | SM_TO(HTTP_CLOSING)},
    [HTTP_WRITING] = {"writing", SM_TO(HTTP_READING) | SM_TO(HTTP_LINGERING) | SM_TO(HTTP_CLOSING)},
    [HTTP_LINGERING] = {"lingering", SM_TO(HTTP_CLOSING)},
    [HTTP_CLOSING] = {"closing", SM_FINAL},
};

static void decide(struct http_conn *conn);

static void move(struct http_conn *conn, enum http_state next)
{
    sm_move(&conn->sm, next);
    conn->since_ms = uv_now(conn->server->loop);
}

/* ---- Bytes in and out: the two places to put another kind of stream ------------------------ */

static void alloc_cb(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct http_conn *conn = handle->data;

    (void)suggested;
    *ret_buf = uv_buf_init(conn->server->room, sizeof conn->server->room);
}

static void read_cb(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf);

static void set_reading(struct http_conn *conn, bool on)
{
    if (on == conn->reading)
        return;
    conn->reading = on;
    if (!on)
        (void)uv_read_stop((uv_stream_t *)&conn->tcp);
    else if (uv_read_start((uv_stream_t *)&conn->tcp, alloc_cb, read_cb) != 0)
        http_conn_close(conn);
}

static void written_cb(uv_write_t *request, int status);

/* Send conn->out; written_cb() follows. */
static void send_out(struct http_conn *conn)
{
    uv_buf_t buf = uv_buf_init((char *)conn->out.data, (unsigned)conn->out.size);

    if (conn->out.failed ||
        uv_write(&conn->write_request, (uv_stream_t *)&conn->tcp, &buf, 1, written_cb) != 0)
        http_conn_close(conn);
}

/* ---- From bytes to decisions --------------------------------------------------------------- */

/* Returns how many bytes were used: all, or up to where the parser was paused. */
static size_t parse(struct http_conn *conn, const char *data, size_t size)
{
    size_t used;
    enum http_errno code;

    if (conn->request.since_ms == 0)
        conn->request.since_ms = uv_now(conn->server->loop);
    used = http_parser_execute(&conn->parser, &http_request_callbacks, data, size);
    code = HTTP_PARSER_ERRNO(&conn->parser);
    if (code != HPE_OK && code != HPE_PAUSED && conn->request.refuse_status == 0)
        http_refuse(conn, HTTP_STATUS_BAD_REQUEST, "this is not HTTP/1.1: %s",
                    http_errno_description(code));
    return used;
}

/* Bytes from the socket. What the parser left, being paused, is kept for later. */
static void take(struct http_conn *conn, const char *data, size_t size)
{
    size_t used = parse(conn, data, size);

    if (used < size && conn->request.refuse_status == 0)
        bytes_put(&conn->input, data + used, size - used);
    decide(conn);
}

/* READING again: with the bytes kept, or with new ones. */
static void resume(struct http_conn *conn)
{
    size_t left = conn->input.size - conn->input_at;

    http_parser_pause(&conn->parser, 0);
    if (left == 0) {
        set_reading(conn, true);
        return;
    }
    conn->input_at += parse(conn, (const char *)conn->input.data + conn->input_at, left);
    if (conn->input_at == conn->input.size) {
        bytes_fini(&conn->input); /* Most connections never need it again. */
        conn->input_at = 0;
    }
    decide(conn);
}

/* After each parsing: what next? */
static void decide(struct http_conn *conn)
{
    struct http_request *request = &conn->request;

    if (conn->input.failed || conn->packed.failed) {
        http_conn_close(conn);
    } else if (request->refuse_status != 0) {
        set_reading(conn, false);
        http_write_reset(conn);
        request->keep_alive = false;
        http_route_error(conn, request->refuse_status, NULL, request->refuse_text);
    } else if (request->inflate_more) {
        set_reading(conn, false);
        move(conn, HTTP_INFLATING);
        http_server_inflate(conn->server);
    } else if (request->complete) {
        set_reading(conn, false);
        move(conn, HTTP_WAITING);
        request->route->end(conn);
    } else {
        set_reading(conn, true);
    }
}

void http_conn_inflate(struct http_conn *conn)
{
    const char *in = (const char *)conn->packed.data;
    size_t left = conn->packed.size - conn->packed_at;

    conn->packed_at += http_request_inflate(conn, left > 0 ? in + conn->packed_at : "", left);
    if (conn->request.refuse_status != 0) {
        decide(conn);
    } else if (!conn->request.inflate_more) {
        bytes_fini(&conn->packed);
        conn->packed_at = 0;
        move(conn, HTTP_READING);
        resume(conn);
    }
}

static void read_cb(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct http_conn *conn = stream->data;

    if (size < 0)
        http_conn_close(conn); /* It has ended, or failed. */
    else if (size > 0 && conn->sm.now == HTTP_READING)
        take(conn, buf->base, (size_t)size);
    /* LINGERING: dropped. */
}

/* ---- Answers ------------------------------------------------------------------------------- */

static void put_head(struct http_conn *conn, const struct http_answer *answer)
{
    bool old = conn->parser.http_major < 1 ||
               (conn->parser.http_major == 1 && conn->parser.http_minor == 0);
    char head[512];
    int size = snprintf(head, sizeof head,
                        "HTTP/1.1 %u %s\r\nDate: %s\r\nX-Influxdb-Version: 1.8-millrace%s\r\n%s",
                        answer->status, http_status_str((enum http_status)answer->status),
                        http_server_date(conn->server), conn->server->options.version,
                        !conn->request.keep_alive ? "Connection: close\r\n"
                        : old                     ? "Connection: keep-alive\r\n"
                                                  : "");

    CHECK(size > 0);
    CHECK((size_t)size < sizeof head);
    bytes_put(&conn->out, head, (size_t)size);
    if (answer->headers != NULL)
        bytes_put(&conn->out, answer->headers, strlen(answer->headers));
    if (answer->type != NULL) {
        size = snprintf(head, sizeof head, "Content-Type: %s\r\nContent-Length: %zu\r\n",
                        answer->type, answer->body.size);
        CHECK(size > 0);
        bytes_put(&conn->out, head, (size_t)size);
    }
    bytes_put(&conn->out, "\r\n", 2);
}

void http_answer(struct http_conn *conn, const struct http_answer *answer)
{
    if (conn->server->draining)
        conn->request.keep_alive = false;
    move(conn, HTTP_WRITING);
    bytes_clear(&conn->out);
    put_head(conn, answer);
    if (answer->type != NULL && conn->parser.method != HTTP_HEAD)
        bytes_put(&conn->out, answer->body.data, answer->body.size);
    send_out(conn);
}

static void shutdown_cb(uv_shutdown_t *request, int status)
{
    struct http_conn *conn = request->data;

    if (status != 0)
        http_conn_close(conn);
}

/* The answer is out and the connection is not kept: say so, and hear the sender out. To close at
 * once would reset the connection under data still on its way, and the answer with it. */
static void linger(struct http_conn *conn)
{
    move(conn, HTTP_LINGERING);
    bytes_fini(&conn->input);
    bytes_fini(&conn->packed);
    if (uv_shutdown(&conn->shutdown_request, (uv_stream_t *)&conn->tcp, shutdown_cb) != 0)
        http_conn_close(conn);
    else
        set_reading(conn, true);
}

static void reset_request(struct http_conn *conn)
{
    gzip_free(conn->request.gzip);
    memset(&conn->request, 0, offsetof(struct http_request, refuse_text));
    http_write_reset(conn);
}

static void written_cb(uv_write_t *write_request, int status)
{
    struct http_conn *conn = write_request->data;

    if (conn->sm.now == HTTP_CLOSING)
        return;
    if (conn->out.capacity > HTTP_ROOM)
        bytes_fini(&conn->out);
    if (status != 0) {
        http_conn_close(conn);
    } else if (!conn->request.keep_alive) {
        linger(conn);
    } else {
        reset_request(conn);
        move(conn, HTTP_READING);
        resume(conn);
    }
}

/* ---- Time ---------------------------------------------------------------------------------- */

/* How long the present state may last, in ms; UINT64_MAX: as long as it takes. */
static uint64_t time_allowed(const struct http_conn *conn)
{
    uint64_t idle_ms = conn->server->options.idle_ms;
    uint64_t grace_ms = idle_ms < HTTP_GRACE_MS ? idle_ms : HTTP_GRACE_MS;

    switch ((enum http_state)conn->sm.now) {
    case HTTP_READING:
        if (conn->request.in_body)
            return grace_ms + conn->request.wire_size * 1000 / HTTP_RATE_MIN;
        return conn->request.since_ms != 0 ? grace_ms : idle_ms;
    case HTTP_WRITING:
        return grace_ms + (uint64_t)conn->out.size * 1000 / HTTP_RATE_MIN;
    case HTTP_LINGERING:
        return idle_ms < HTTP_LINGER_MS ? idle_ms : HTTP_LINGER_MS;
    default:
        return UINT64_MAX;
    }
}

void http_conn_check_time(struct http_conn *conn, uint64_t now_ms)
{
    uint64_t since_ms = conn->since_ms;

    if (conn->sm.now == HTTP_READING && conn->request.since_ms != 0)
        since_ms = conn->request.since_ms;
    if (now_ms - since_ms <= time_allowed(conn))
        return;
    if (conn->sm.now != HTTP_READING || conn->request.since_ms == 0) {
        http_conn_close(conn);
        return;
    }
    http_refuse(conn, HTTP_STATUS_REQUEST_TIMEOUT, "the request came too slowly");
    decide(conn);
}

void http_conn_drain(struct http_conn *conn)
{
    if (conn->sm.now == HTTP_READING && conn->request.since_ms == 0)
        http_conn_close(conn);
}

/* ---- Life ---------------------------------------------------------------------------------- */

static void closed_cb(uv_handle_t *handle)
{
    struct http_conn *conn = handle->data;
    struct http_server *server = conn->server;

    bytes_fini(&conn->input);
    bytes_fini(&conn->packed);
    bytes_fini(&conn->out);
    free(conn);
    (void)atomic_fetch_sub_explicit(server->options.connections, 1, memory_order_relaxed);
    metric_sub(METRIC_CONN_OPEN, 1);
    http_server_forget(server);
}

void http_conn_close(struct http_conn *conn)
{
    if (conn->sm.now == HTTP_CLOSING)
        return;
    reset_request(conn);
    *conn->link = conn->next;
    if (conn->next != NULL)
        conn->next->link = conn->link;
    move(conn, HTTP_CLOSING);
    uv_close((uv_handle_t *)&conn->tcp, closed_cb);
}

static void refuse_connection(struct http_conn *conn)
{
    static const char text[] =
        "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n"
        "Retry-After: 1\r\nContent-Type: application/json\r\n"
        "Content-Length: 37\r\n\r\n{\"error\":\"too many open connections\"}";
    uv_buf_t buf = uv_buf_init((char *)(uintptr_t)text, sizeof text - 1);

    (void)uv_try_write((uv_stream_t *)&conn->tcp, &buf, 1);
    http_conn_close(conn);
}

void http_conn_accept(struct http_server *server)
{
    struct http_conn *conn = calloc(1, sizeof *conn);
    unsigned max = server->options.connections_max;
    unsigned open;

    if (server->options.admin)
        max += HTTP_ADMIN_EXTRA;
    server->accept_later = conn == NULL;
    if (conn == NULL)
        return;
    CHECK(uv_tcp_init(server->loop, &conn->tcp) == 0);
    conn->server = server;
    conn->tcp.data = conn;
    conn->write_request.data = conn;
    conn->shutdown_request.data = conn;
    sm_init(&conn->sm, states, HTTP_STATES, HTTP_READING);
    conn->since_ms = uv_now(server->loop);
    http_parser_init(&conn->parser, HTTP_REQUEST);
    conn->parser.data = conn;
    conn->link = &server->conns;
    conn->next = server->conns;
    if (conn->next != NULL)
        conn->next->link = &conn->next;
    server->conns = conn;
    server->conn_count++;
    open = atomic_fetch_add_explicit(server->options.connections, 1, memory_order_relaxed);
    metric_add(METRIC_CONN_OPEN, 1);

    if (uv_accept((uv_stream_t *)&server->listener, (uv_stream_t *)&conn->tcp) != 0)
        http_conn_close(conn);
    else if (open >= max)
        refuse_connection(conn);
    else {
        (void)uv_tcp_nodelay(&conn->tcp, 1);
        set_reading(conn, true);
    }
}
