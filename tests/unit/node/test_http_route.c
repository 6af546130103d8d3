/*
 * Paths and methods: which route a request takes, and what the short pages and errors say. Answers
 * end in the test, not in a socket; writes are another file's.
 */
#include <criterion/criterion.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/http_internal.h"

/* ---- What the routes call ------------------------------------------------------------------ */

static unsigned status;
static char type[64], headers[128];
static struct bytes body;
static unsigned answers;

void http_answer(struct http_conn *conn, const struct http_answer *answer)
{
    (void)conn;
    answers++;
    status = answer->status;
    (void)snprintf(type, sizeof type, "%s", answer->type != NULL ? answer->type : "");
    (void)snprintf(headers, sizeof headers, "%s", answer->headers != NULL ? answer->headers : "");
    bytes_clear(&body);
    if (answer->body.size > 0)
        bytes_put(&body, answer->body.data, answer->body.size);
}

void http_write_begin(struct http_conn *conn)
{
    (void)conn;
}

void http_write_body(struct http_conn *conn, const char *text, size_t size)
{
    (void)conn;
    (void)text;
    (void)size;
}

void http_write_end(struct http_conn *conn)
{
    (void)conn;
}

/* ---- A request ----------------------------------------------------------------------------- */

static struct http_server *server;
static struct http_conn *conn;

static enum err say_why_not(void *ctx, char *why, size_t room)
{
    (void)snprintf(why, room, "%s", (const char *)ctx);
    return ERR_UNAVAILABLE;
}

static void say_metrics(void *ctx, struct bytes *out)
{
    (void)ctx;
    bytes_put(out, "a 1\n", 4);
}

static void set_up(void)
{
    static char why[] = "the \"log\" is full";

    server = calloc(1, sizeof *server);
    conn = calloc(1, sizeof *conn);
    server->options.version = "1.2.3";
    server->handlers = (struct http_handlers){
        .ctx = why, .ready = say_why_not, .metrics = say_metrics, .status = say_metrics};
    conn->server = server;
}

static void tear_down(void)
{
    bytes_fini(&body);
    free(conn);
    free(server);
}

TestSuite(http_route, .init = set_up, .fini = tear_down);

static const struct http_route *find(enum http_method method, const char *url)
{
    conn->parser.method = method;
    (void)snprintf(conn->request.url, sizeof conn->request.url, "%s", url);
    return http_route_find(conn);
}

static void go(enum http_method method, const char *url)
{
    const struct http_route *route = find(method, url);

    answers = 0;
    route->end(conn);
    cr_assert_eq(answers, 1, "%s", url);
}

/* The body's member of that name; it has to be JSON. */
static void expect_member(const char *name, const char *value)
{
    json_t *json = json_loadb((const char *)body.data, body.size, 0, NULL);

    cr_assert_not_null(json, "%.*s", (int)body.size, (const char *)body.data);
    cr_assert_str_eq(type, "application/json");
    cr_assert_str_eq(json_string_value(json_object_get(json, name)), value);
    json_decref(json);
}

/* ---- Which ---------------------------------------------------------------------------------- */

Test(http_route, takes_writes_on_the_data_port_alone)
{
    static const char *const paths[] = {"/write", "/api/v2/write", "/api/v3/write_lp"};

    for (size_t i = 0; i < 3; i++) {
        server->options.admin = false;
        cr_assert_eq(find(HTTP_POST, paths[i])->begin, http_write_begin);
        cr_assert_str_eq(find(HTTP_POST, paths[i])->path, paths[i]);
        server->options.admin = true;
        cr_assert_null(find(HTTP_POST, paths[i])->begin);
        go(HTTP_POST, paths[i]);
        cr_assert_eq(status, 404);
    }
}

Test(http_route, a_path_is_the_whole_of_what_stands_before_the_question_mark)
{
    cr_assert_eq(find(HTTP_POST, "/write?db=a?b")->begin, http_write_begin);
    cr_assert_eq(find(HTTP_POST, "/write?")->begin, http_write_begin);
    cr_assert_null(find(HTTP_POST, "/writ")->begin);
    cr_assert_null(find(HTTP_POST, "/writes")->begin);
    cr_assert_null(find(HTTP_POST, "/write/")->begin);
    cr_assert_null(find(HTTP_POST, "//write")->begin);
    cr_assert_null(find(HTTP_POST, "/Write")->begin);
    cr_assert_null(find(HTTP_POST, "")->begin);
    cr_assert_null(find(HTTP_POST, "?/write")->begin);
}

Test(http_route, says_which_methods_a_path_takes)
{
    go(HTTP_GET, "/write?db=a");
    cr_assert_eq(status, 405);
    cr_assert_str_eq(headers, "Allow: POST\r\n");
    expect_member("error", "/write takes POST, not GET");
    go(HTTP_POST, "/metrics");
    cr_assert_str_eq(headers, "Allow: GET, HEAD\r\n");
    expect_member("message", "/metrics takes GET or HEAD, not POST");
    expect_member("code", "method not allowed");
    go(HTTP_SOURCE, "/ping"); /* Its number is over 31: no bit of a set. */
    cr_assert_eq(status, 405);
}

Test(http_route, says_what_is_not_there_without_its_question)
{
    static char url[HTTP_URL_MAX + 1];

    go(HTTP_GET, "/nothing?password=x");
    cr_assert_eq(status, 404);
    expect_member("error", "there is no /nothing here");
    memset(url, 'a', HTTP_URL_MAX); /* Cut, not run over. */
    go(HTTP_GET, url);
    cr_assert_eq(status, 404);
    cr_assert_lt(body.size, 3 * ERR_DETAIL_MAX);
}

/* ---- The pages ----------------------------------------------------------------------------- */

Test(http_route, shows_the_status_on_the_admin_port_alone)
{
    go(HTTP_GET, "/status");
    cr_assert_eq(status, 404);
    server->options.admin = true;
    go(HTTP_GET, "/status");
    cr_assert_eq(status, 200);
    cr_assert_str_eq(type, "application/json");
}

Test(http_route, the_short_pages_are_the_same_on_both_ports)
{
    for (unsigned admin = 0; admin < 2; admin++) {
        server->options.admin = admin == 1;
        go(HTTP_GET, "/ping");
        cr_assert_eq(status, 204);
        cr_assert_eq(body.size, 0);
        go(HTTP_HEAD, "/health");
        cr_assert_eq(status, 200);
        expect_member("version", "1.2.3");
        expect_member("status", "pass");
        go(HTTP_GET, "/ready");
        cr_assert_eq(status, 503);
        cr_assert_str_eq(headers, "Retry-After: 1\r\n");
        expect_member("reason", "the \"log\" is full");
        go(HTTP_GET, "/metrics");
        cr_assert_eq(status, 200);
        cr_assert_eq(body.size, 4);
    }
}

Test(http_route, has_a_name_for_every_status)
{
    static const struct {
        unsigned status;
        const char *code;
    } cases[] = {{400, "invalid"},
                 {404, "not found"},
                 {405, "method not allowed"},
                 {408, "request timeout"},
                 {413, "request too large"},
                 {422, "unprocessable entity"},
                 {429, "too many requests"},
                 {500, "internal error"},
                 {503, "unavailable"},
                 {431, "invalid"}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        http_route_error(conn, cases[i].status, "X: y\r\n", "why \"so\"");
        cr_assert_eq(status, cases[i].status);
        cr_assert_str_eq(headers, "X: y\r\n");
        expect_member("code", cases[i].code);
        expect_member("message", "why \"so\"");
        expect_member("error", "why \"so\"");
    }
}
