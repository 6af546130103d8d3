#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "node/http_internal.h"

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

/* ---- Line and headers ---------------------------------------------------------------------- */

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

size_t http_request_inflate(struct http_conn *conn, const char *in, size_t in_size)
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
    used = http_request_inflate(conn, at, size);
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

const http_parser_settings http_request_callbacks = {
    .on_url = url_cb,
    .on_header_field = header_field_cb,
    .on_header_value = header_value_cb,
    .on_headers_complete = headers_complete_cb,
    .on_body = body_cb,
    .on_message_complete = message_complete_cb,
};
