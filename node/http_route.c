#include <stdio.h>
#include <string.h>

#include "node/http_internal.h"
#include "node/json_text.h"
#include "storage/base/metric.h"

static const char json_type[] = "application/json";

/* ---- Errors -------------------------------------------------------------------------------- */

const char *http_route_code(unsigned status)
{
    switch (status) {
    case HTTP_STATUS_NOT_FOUND:
        return "not found";
    case HTTP_STATUS_METHOD_NOT_ALLOWED:
        return "method not allowed";
    case HTTP_STATUS_REQUEST_TIMEOUT:
        return "request timeout";
    case HTTP_STATUS_PAYLOAD_TOO_LARGE:
        return "request too large";
    case HTTP_STATUS_UNPROCESSABLE_ENTITY:
        return "unprocessable entity";
    case HTTP_STATUS_TOO_MANY_REQUESTS:
        return "too many requests";
    case HTTP_STATUS_SERVICE_UNAVAILABLE:
        return "unavailable";
    case HTTP_STATUS_INTERNAL_SERVER_ERROR:
        return "internal error";
    default:
        return "invalid";
    }
}

static void put(struct bytes *out, const char *text)
{
    bytes_put(out, text, strlen(text));
}

static void put_string(struct bytes *out, const char *text)
{
    json_text_put(out, (struct slice){text, strlen(text)});
}

/* Readers of the 1.x dialect look at "error", those of 2.x at "code" and "message". */
void http_route_error(struct http_conn *conn, unsigned status, const char *headers,
                      const char *text)
{
    struct bytes body = {0};

    put(&body, "{\"code\":");
    put_string(&body, http_route_code(status));
    put(&body, ",\"message\":");
    put_string(&body, text);
    put(&body, ",\"error\":");
    put_string(&body, text);
    put(&body, "}\n");
    http_answer(conn, &(struct http_answer){.status = status,
                                            .type = json_type,
                                            .headers = headers,
                                            .body = {(const char *)body.data, body.size}});
    bytes_fini(&body);
}

/* ---- The short pages ----------------------------------------------------------------------- */

static void answer_json(struct http_conn *conn, unsigned status, const char *headers,
                        struct bytes *body)
{
    put(body, "\n");
    http_answer(conn, &(struct http_answer){.status = status,
                                            .type = json_type,
                                            .headers = headers,
                                            .body = {(const char *)body->data, body->size}});
    bytes_fini(body);
}

static void ping(struct http_conn *conn)
{
    http_answer(conn, &(struct http_answer){.status = HTTP_STATUS_NO_CONTENT});
}

/* The process is alive and its loop turns: that is all this says. */
static void health(struct http_conn *conn)
{
    struct bytes body = {0};

    put(&body, "{\"name\":\"millrace\",\"status\":\"pass\",\"message\":\"alive\",\"checks\":[],"
               "\"version\":");
    put_string(&body, conn->server->options.version);
    put(&body, "}");
    answer_json(conn, HTTP_STATUS_OK, NULL, &body);
}

/* A write sent now can be acknowledged. */
static void ready(struct http_conn *conn)
{
    const struct http_handlers *handlers = &conn->server->handlers;
    struct bytes body = {0};
    char why[ERR_DETAIL_MAX] = "";

    if (handlers->ready(handlers->ctx, why, sizeof why) == ERR_OK) {
        put(&body, "{\"status\":\"ready\"}");
        answer_json(conn, HTTP_STATUS_OK, NULL, &body);
        return;
    }
    put(&body, "{\"status\":\"not ready\",\"reason\":");
    put_string(&body, why);
    put(&body, "}");
    answer_json(conn, HTTP_STATUS_SERVICE_UNAVAILABLE, "Retry-After: 1\r\n", &body);
}

static void metrics(struct http_conn *conn)
{
    const struct http_handlers *handlers = &conn->server->handlers;
    struct bytes body = {0};

    handlers->metrics(handlers->ctx, &body);
    http_answer(conn, &(struct http_answer){.status = HTTP_STATUS_OK,
                                            .type = "text/plain; version=0.0.4; charset=utf-8",
                                            .body = {(const char *)body.data, body.size}});
    bytes_fini(&body);
}

static void status(struct http_conn *conn)
{
    const struct http_handlers *handlers = &conn->server->handlers;
    struct bytes body = {0};

    handlers->status(handlers->ctx, &body);
    answer_json(conn, HTTP_STATUS_OK, NULL, &body);
}

static void not_found(struct http_conn *conn)
{
    char text[ERR_DETAIL_MAX];

    (void)snprintf(text, sizeof text, "there is no %.*s here", (int)strcspn(conn->request.url, "?"),
                   conn->request.url);
    http_route_error(conn, HTTP_STATUS_NOT_FOUND, NULL, text);
}

/* ---- The table ----------------------------------------------------------------------------- */

#define METHOD(method) (1u << HTTP_##method)

static const struct http_route data_routes[] = {
    {"/write", METHOD(POST), http_write_begin, http_write_body, http_write_end},
    {"/api/v2/write", METHOD(POST), http_write_begin, http_write_body, http_write_end},
    {"/api/v3/write_lp", METHOD(POST), http_write_begin, http_write_body, http_write_end},
    {"/ping", METHOD(GET) | METHOD(HEAD), NULL, NULL, ping},
    {"/health", METHOD(GET) | METHOD(HEAD), NULL, NULL, health},
    {"/ready", METHOD(GET) | METHOD(HEAD), NULL, NULL, ready},
    {"/metrics", METHOD(GET) | METHOD(HEAD), NULL, NULL, metrics},
    {NULL, 0, NULL, NULL, NULL},
};

static const struct http_route admin_routes[] = {
    {"/ping", METHOD(GET) | METHOD(HEAD), NULL, NULL, ping},
    {"/health", METHOD(GET) | METHOD(HEAD), NULL, NULL, health},
    {"/ready", METHOD(GET) | METHOD(HEAD), NULL, NULL, ready},
    {"/metrics", METHOD(GET) | METHOD(HEAD), NULL, NULL, metrics},
    {"/status", METHOD(GET) | METHOD(HEAD), NULL, NULL, status},
    {NULL, 0, NULL, NULL, NULL},
};

static const struct http_route *find_path(const struct http_conn *conn)
{
    const struct http_route *route = conn->server->options.admin ? admin_routes : data_routes;
    size_t size = strcspn(conn->request.url, "?");

    while (route->path != NULL &&
           (strlen(route->path) != size || memcmp(route->path, conn->request.url, size) != 0))
        route++;
    return route->path != NULL ? route : NULL;
}

static void wrong_method(struct http_conn *conn)
{
    const struct http_route *route = find_path(conn);
    bool post = (route->methods & METHOD(POST)) != 0;
    char text[ERR_DETAIL_MAX];

    (void)snprintf(text, sizeof text, "%s takes %s, not %s", route->path,
                   post ? "POST" : "GET or HEAD",
                   http_method_str((enum http_method)conn->parser.method));
    http_route_error(conn, HTTP_STATUS_METHOD_NOT_ALLOWED,
                     post ? "Allow: POST\r\n" : "Allow: GET, HEAD\r\n", text);
}

const struct http_route *http_route_find(const struct http_conn *conn)
{
    static const struct http_route none = {"", 0, NULL, NULL, not_found};
    static const struct http_route other = {"", 0, NULL, NULL, wrong_method};
    const struct http_route *route = find_path(conn);

    if (route == NULL)
        return &none;
    return conn->parser.method < 32 && (route->methods >> conn->parser.method & 1) != 0 ? route
                                                                                        : &other;
}
