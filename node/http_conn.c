#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

/* ---- The request, piece by piece ----------------------------------------------------------- */

static struct http_conn *conn_of(http_parser *parser)
{
    return parser->data;
}

/* What a parser callback returns. */
static int go_on(const struct http_conn *conn)
{
    return conn->request.refuse_status == 0 ? 0 : -1;
}

static int url_cb(http_parser *parser, const char *at, size_t size)
{
    struct http_conn *conn = conn_of(parser);
    struct http_request *request = &conn->request;

    if (size > HTTP_URL_MAX - request->url_size) {
        http_refuse(conn, HTTP_STATUS_URI_TOO_LONG, "the URL has over %d bytes", HTTP_URL_MAX);
        return go_on(conn);
    }
    memcpy(request->url + request->url_size, at, size);
    request->url_size += (uint32_t)size;
    request->url[request->url_size] = '\0';
    request->in_headers = true;
    return 0;
}

/* Append to a text of at most room - 1 bytes; a longer one ends up as "", which no header is. */
static void append_short(char *text, uint8_t *text_size, size_t room, const char *at, size_t size)
{
    if (*text_size >= room)
        return;
    if (size > room - 1 - *text_size) {
        text[0] = '\0';
        *text_size = (uint8_t)room;
        return;
    }
    memcpy(text + *text_size, at, size);
    *text_size = (uint8_t)(*text_size + size);
    text[*text_size] = '\0';
}

/* A header is whole: keep what it means to us. */
static void finish_header(struct http_request *request)
{
    if (strcasecmp(request->field, "Content-Encoding") == 0) {
        request->is_gzip = strcasecmp(request->value, "gzip") == 0;
        request->other_coding = !request->is_gzip && strcasecmp(request->value, "identity") != 0;
    } else if (strcasecmp(request->field, "Transfer-Encoding") == 0) {
        request->other_transfer = strcasecmp(request->value, "chunked") != 0;
    } else if (strcasecmp(request->field, "Expect") == 0) {
        request->expects = strcasecmp(request->value, "100-continue") == 0;
        request->other_expectation = !request->expects;
    }
    request->field[0] = request->value[0] = '\0';
    request->field_size = request->value_size = 0;
    request->in_value = false;
}

static int count_header(struct http_conn *conn, size_t size)
{
    conn->request.header_size += (uint32_t)size;
    if (conn->request.header_size > HTTP_HEADERS_MAX)
        http_refuse(conn, HTTP_STATUS_REQUEST_HEADER_FIELDS_TOO_LARGE,
                    "the headers have over %d bytes", HTTP_HEADERS_MAX);
    return go_on(conn);
}

static int header_field_cb(http_parser *parser, const char *at, size_t size)
{
    struct http_request *request = &conn_of(parser)->request;

    if (request->in_value)
        finish_header(request);
    append_short(request->field, &request->field_size, sizeof request->field, at, size);
    return count_header(conn_of(parser), size);
}

static int header_value_cb(http_parser *parser, const char *at, size_t size)
{
    struct http_request *request = &conn_of(parser)->request;

    request->in_value = true;
    append_short(request->value, &request->value_size, sizeof request->value, at, size);
    return count_header(conn_of(parser), size);
}

/* What can be refused before the body comes. */
static void check_headers(struct http_conn *conn)
{
    struct http_request *request = &conn->request;
    uint64_t max = conn->server->options.body_bytes;
    bool has_length = conn->parser.content_length != UINT64_MAX;

    if (request->other_transfer)
        http_refuse(conn, HTTP_STATUS_NOT_IMPLEMENTED, "Transfer-Encoding: only chunked is taken");
    else if (request->other_coding)
        http_refuse(conn, HTTP_STATUS_UNSUPPORTED_MEDIA_TYPE,
                    "Content-Encoding: only gzip is taken");
    else if (request->other_expectation)
        http_refuse(conn, HTTP_STATUS_EXPECTATION_FAILED, "Expect: only 100-continue is taken");
    else if (has_length && conn->parser.content_length > max)
        http_refuse(conn, HTTP_STATUS_PAYLOAD_TOO_LARGE,
                    "the body has %" PRIu64 " bytes, at most %" PRIu64
                    " are taken (limits.body_bytes): send it in parts",
                    conn->parser.content_length, max);
    else if (request->is_gzip && gzip_new(max, &request->gzip) != ERR_OK)
        http_refuse(conn, HTTP_STATUS_SERVICE_UNAVAILABLE, "%s", err_detail());
}

static int headers_complete_cb(http_parser *parser)
{
    static const char carry_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct http_conn *conn = conn_of(parser);
    struct http_request *request = &conn->request;

    finish_header(request);
    parser->upgrade = 0; /* Some clients offer HTTP/2 this way; we go on as we are. */
    request->in_headers = false;
    request->in_body = true;
    request->keep_alive = http_should_keep_alive(parser) != 0;
    conn->since_ms = uv_now(conn->server->loop);
    check_headers(conn);
    if (request->refuse_status == 0) {
        request->route = http_route_find(conn);
        if (request->route->begin != NULL)
            request->route->begin(conn);
    }
    if (request->refuse_status == 0 && request->expects) {
        /* Nothing else is in the socket's buffer, so it has room; and if not, who expects this
         * does not wait for ever. */
        uv_buf_t buf = uv_buf_init((char *)(uintptr_t)carry_on, sizeof carry_on - 1);

        (void)uv_try_write((uv_stream_t *)&conn->tcp, &buf, 1);
    }
    return go_on(conn);
}

/* ---- Its body ------------------------------------------------------------------------------ */

static void deliver(struct http_conn *conn, const char *text, size_t size)
{
    struct http_request *request = &conn->request;

    request->body_size += size;
    if (request->body_size > conn->server->options.body_bytes)
        http_refuse(conn, HTTP_STATUS_PAYLOAD_TOO_LARGE,
                    "the body has over %" PRIu64 " bytes (limits.body_bytes): send it in parts",
                    conn->server->options.body_bytes);
    else if (request->route->body != NULL)
        request->route->body(conn, text, size);
}

static void refuse_gzip(struct http_conn *conn, enum err err)
{
    unsigned status = err == ERR_TOO_LARGE   ? HTTP_STATUS_PAYLOAD_TOO_LARGE
                      : err == ERR_NO_MEMORY ? HTTP_STATUS_SERVICE_UNAVAILABLE
                                             : HTTP_STATUS_BAD_REQUEST;

    http_refuse(conn, status, "%s", err_detail());
}

/* Inflate and deliver, at most a turn's worth. Returns how many bytes of `in` were used;
 * request.inflate_more: there is more to come without further input. */
static size_t inflate_some(struct http_conn *conn, const char *in, size_t in_size)
{
    struct http_request *request = &conn->request;
    char *room = conn->server->inflated;
    size_t used_total = 0, out_total = 0;

    request->inflate_more = true;
    while (request->inflate_more && out_total < HTTP_TURN_MAX && request->refuse_status == 0) {
        size_t used = 0, size = 0;
        enum err err = gzip_step(request->gzip, in + used_total, in_size - used_total, room,
                                 HTTP_ROOM, &used, &size);

        if (err != ERR_OK) {
            refuse_gzip(conn, err);
            break;
        }
        used_total += used;
        out_total += size;
        if (size > 0)
            deliver(conn, room, size);
        request->inflate_more = used_total < in_size || size == HTTP_ROOM;
    }
    return used_total;
}

static int body_cb(http_parser *parser, const char *at, size_t size)
{
    struct http_conn *conn = conn_of(parser);
    size_t used;

    conn->request.wire_size += size;
    if (conn->request.gzip == NULL) {
        deliver(conn, at, size);
        return go_on(conn);
    }
    used = inflate_some(conn, at, size);
    if (conn->request.refuse_status == 0 && conn->request.inflate_more) {
        bytes_put(&conn->packed, at + used, size - used);
        http_parser_pause(parser, 1);
    }
    return go_on(conn);
}

static int message_complete_cb(http_parser *parser)
{
    struct http_conn *conn = conn_of(parser);
    enum err err = conn->request.gzip != NULL ? gzip_end(conn->request.gzip) : ERR_OK;

    if (err != ERR_OK)
        refuse_gzip(conn, err);
    conn->request.complete = true;
    http_parser_pause(parser, 1); /* The next request waits until this one is answered. */
    return go_on(conn);
}

/* ---- From bytes to decisions --------------------------------------------------------------- */

static const http_parser_settings callbacks = {
    .on_url = url_cb,
    .on_header_field = header_field_cb,
    .on_header_value = header_value_cb,
    .on_headers_complete = headers_complete_cb,
    .on_body = body_cb,
    .on_message_complete = message_complete_cb,
};

/* Returns how many bytes were used: all, or up to where the parser was paused. */
static size_t parse(struct http_conn *conn, const char *data, size_t size)
{
    size_t used;
    enum http_errno code;

    if (conn->request.since_ms == 0)
        conn->request.since_ms = uv_now(conn->server->loop);
    used = http_parser_execute(&conn->parser, &callbacks, data, size);
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

    conn->packed_at += inflate_some(conn, left > 0 ? in + conn->packed_at : "", left);
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

void http_refuse(struct http_conn *conn, unsigned status, const char *format, ...)
{
    struct http_request *request = &conn->request;
    va_list args;

    if (request->refuse_status != 0)
        return; /* The first reason counts. */
    request->refuse_status = (uint16_t)status;
    va_start(args, format);
    (void)vsnprintf(request->refuse_text, sizeof request->refuse_text, format, args);
    va_end(args);
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

/* How long the present state may last, in ms since conn->since_ms; UINT64_MAX: as long as it takes. */
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
    unsigned open;

    if (conn == NULL)
        return; /* It stays in the backlog; the next event tries again. */
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
    else if (open >= server->options.connections_max)
        refuse_connection(conn);
    else {
        (void)uv_tcp_nodelay(&conn->tcp, 1);
        set_reading(conn, true);
    }
}
