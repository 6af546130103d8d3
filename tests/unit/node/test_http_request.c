/*
 * The request, as bytes for the parser: what of a header counts, where each limit is, and what of a
 * body is delivered. There is no socket; the route is the test's own.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "node/http_internal.h"

enum { BODY_MAX = 64 * 1024 };

/* ---- A connection without a socket --------------------------------------------------------- */

static uv_loop_t loop;
static struct http_server *server;
static struct http_conn *conn;
static struct bytes body;
static unsigned begun;
static unsigned refuse_at_begin; /* A status; 0: it is taken. */
static unsigned told_to_go_on;

int uv_try_write(uv_stream_t *stream, const uv_buf_t bufs[], unsigned count)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";

    cr_assert_eq(stream, (uv_stream_t *)&conn->tcp);
    cr_assert_eq(count, 1);
    cr_assert_eq(bufs[0].len, strlen(text));
    cr_assert_eq(memcmp(bufs[0].base, text, strlen(text)), 0);
    told_to_go_on++;
    return (int)bufs[0].len;
}

static void take_begin(struct http_conn *of)
{
    begun++;
    if (refuse_at_begin != 0)
        http_refuse(of, refuse_at_begin, "not now");
}

static void take_body(struct http_conn *of, const char *text, size_t size)
{
    cr_assert_eq(of, conn);
    bytes_put(&body, text, size);
}

const struct http_route *http_route_find(const struct http_conn *of)
{
    static const struct http_route route = {"/x", 1u << HTTP_POST, take_begin, take_body, NULL};

    cr_assert_eq(of, conn);
    return &route;
}

static void begin(void)
{
    gzip_free(conn->request.gzip);
    memset(&conn->request, 0, sizeof conn->request);
    http_parser_init(&conn->parser, HTTP_REQUEST);
    conn->parser.data = conn;
    bytes_fini(&conn->packed);
    bytes_clear(&body);
    begun = told_to_go_on = 0;
}

static void set_up(void)
{
    server = calloc(1, sizeof *server);
    conn = calloc(1, sizeof *conn);
    cr_assert_eq(uv_loop_init(&loop), 0);
    server->loop = &loop;
    server->options.body_bytes = BODY_MAX;
    conn->server = server;
    begin();
}

static void tear_down(void)
{
    gzip_free(conn->request.gzip);
    bytes_fini(&conn->packed);
    bytes_fini(&body);
    free(conn);
    free(server);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

TestSuite(http_request, .init = set_up, .fini = tear_down);

/* Returns how much of it the parser took. */
static size_t give(const void *bytes, size_t size)
{
    return http_parser_execute(&conn->parser, &http_request_callbacks, bytes, size);
}

static void give_text(const char *text)
{
    (void)give(text, strlen(text));
}

static void expect_refusal(unsigned status, const char *text)
{
    cr_assert_eq(conn->request.refuse_status, status, "%u %s", conn->request.refuse_status,
                 conn->request.refuse_text);
    cr_assert_str_eq(conn->request.refuse_text, text);
    cr_assert_neq(HTTP_PARSER_ERRNO(&conn->parser), HPE_OK, "the parser goes on");
}

/* ---- Headers ------------------------------------------------------------------------------- */

/* "POST /x", one header more, a body of 3 bytes. */
static unsigned refused_for(const char *header)
{
    begin();
    give_text("POST /x HTTP/1.1\r\nHost: a\r\n");
    give_text(header);
    give_text("\r\nContent-Length: 3\r\n\r\nabc");
    cr_assert_eq(conn->request.complete, conn->request.refuse_status == 0, "%s", header);
    return conn->request.refuse_status;
}

Test(http_request, knows_a_header_by_its_whole_name_and_value)
{
    static const struct {
        const char *header;
        unsigned status;
    } cases[] = {
        {"Content-Encoding: identity", 0},
        {"CONTENT-ENCODING: Identity", 0},
        {"Content-Encoding: br", 415},
        {"Content-Encoding:", 415},
        {"Content-Encoding: gzip, gzip", 415},
        {"Content-Encoding: identity-and-much-more-that-is-no-coding", 415},
        {"Content-Encodin: br", 0},
        {"Content-Encoding2: br", 0},
        {"Content-Encoding-And-What-Is-Too-Long-For-Us: br", 0},
        {"Expect: 100-Continue", 0},
        {"Expect: 100-continue-and-more-than-a-value-of-ours-has", 417},
        {"Expected: wonders", 0},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        cr_assert_eq(refused_for(cases[i].header), cases[i].status, "%s: %u", cases[i].header,
                     conn->request.refuse_status);
}

Test(http_request, the_last_of_a_header_given_twice_counts)
{
    cr_assert_eq(refused_for("Content-Encoding: br\r\nContent-Encoding: identity"), 0);
    cr_assert_eq(refused_for("Content-Encoding: identity\r\nContent-Encoding: br"), 415);
}

Test(http_request, reads_the_same_byte_by_byte)
{
    static const char text[] = "POST /x?a=b HTTP/1.1\r\nExpect: 100-continue\r\n"
                               "Connection: close\r\nContent-Length: 3\r\n\r\nabc";

    for (size_t i = 0; i < sizeof text - 1; i++)
        cr_assert_eq(give(text + i, 1), 1, "byte %zu", i);
    cr_assert_str_eq(conn->request.url, "/x?a=b");
    cr_assert(conn->request.expects);
    cr_assert_not(conn->request.keep_alive);
    cr_assert(conn->request.complete);
    cr_assert_eq(begun, 1);
    cr_assert_eq(body.size, 3);
    cr_assert_eq(conn->request.wire_size, 3);
}

/* ---- Limits -------------------------------------------------------------------------------- */

Test(http_request, takes_a_url_up_to_its_limit)
{
    char url[HTTP_URL_MAX + 2];

    for (size_t over = 0; over < 2; over++) {
        memset(url, 'a', sizeof url);
        url[0] = '/';
        url[HTTP_URL_MAX + over] = '\0';
        begin();
        give_text("POST ");
        (void)give(url, 1000); /* In pieces: the sum counts. */
        give_text(url + 1000);
        give_text(" HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
        if (over == 0)
            cr_assert_str_eq(conn->request.url, url);
        else
            expect_refusal(414, "the URL has over 2048 bytes");
        cr_assert_eq(begun, over == 0);
    }
}

Test(http_request, takes_headers_up_to_their_limit)
{
    static char value[HTTP_HEADERS_MAX];

    for (size_t over = 0; over < 2; over++) {
        memset(value, 'v', sizeof value);
        /* X, and Content-Length: 0. */
        value[HTTP_HEADERS_MAX - 1 - strlen("Content-Length") - 1 + over] = '\0';
        begin();
        give_text("POST /x HTTP/1.1\r\nX: ");
        give_text(value);
        give_text("\r\nContent-Length: 0\r\n\r\n");
        if (over == 0)
            cr_assert(conn->request.complete);
        else
            expect_refusal(431, "the headers have over 16384 bytes");
    }
}

Test(http_request, refuses_a_body_that_is_said_to_be_too_long_before_it_comes)
{
    char head[128];

    (void)snprintf(head, sizeof head, "POST /x HTTP/1.1\r\nContent-Length: %d\r\n\r\n",
                   BODY_MAX + 1);
    give_text(head);
    expect_refusal(413, "the body has 65537 bytes, at most 65536 are taken (limits.body_bytes): "
                        "send it in parts");
    cr_assert_eq(begun, 0);
}

Test(http_request, delivers_a_body_of_unknown_length_up_to_the_limit)
{
    char *text = calloc(1, BODY_MAX);

    for (unsigned over = 0; over < 2; over++) {
        begin();
        give_text("POST /x HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n");
        cr_assert_eq(give(text, BODY_MAX), BODY_MAX);
        give_text("\r\n");
        if (over == 0) {
            give_text("0\r\n\r\n");
            cr_assert(conn->request.complete);
        } else {
            give_text("1\r\nx");
            expect_refusal(413, "the body has over 65536 bytes (limits.body_bytes): send it in "
                                "parts");
        }
        cr_assert_eq(body.size, BODY_MAX, "what is over the limit is delivered");
    }
    free(text);
}

/* ---- Refusals ------------------------------------------------------------------------------ */

Test(http_request, the_first_reason_to_refuse_counts)
{
    http_refuse(conn, 413, "%s", "first");
    http_refuse(conn, 400, "second");
    cr_assert_eq(conn->request.refuse_status, 413);
    cr_assert_str_eq(conn->request.refuse_text, "first");
}

Test(http_request, nothing_of_a_body_is_delivered_behind_a_refusal)
{
    refuse_at_begin = 429;
    give_text("POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc");
    expect_refusal(429, "not now");
    cr_assert_eq(body.size, 0);
    cr_assert_not(conn->request.complete);
}

Test(http_request, who_asks_whether_to_go_on_is_told_once_and_not_if_he_is_refused)
{
    static const char head[] = "POST /x HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n";

    give_text(head);
    cr_assert_eq(told_to_go_on, 0);
    give_text("\r\n");
    cr_assert_eq(told_to_go_on, 1);
    give_text("abc");
    cr_assert_eq(told_to_go_on, 1);
    begin();
    refuse_at_begin = 503;
    give_text(head);
    give_text("\r\n");
    cr_assert_eq(told_to_go_on, 0);
}

/* ---- gzip ---------------------------------------------------------------------------------- */

static size_t deflate_zeros(uint8_t *out, size_t room, size_t size)
{
    z_stream stream = {0};
    uint8_t *zeros = calloc(1, size);

    cr_assert_eq(deflateInit2(&stream, 9, Z_DEFLATED, 16 + 15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = zeros;
    stream.avail_in = (uInt)size;
    stream.next_out = out;
    stream.avail_out = (uInt)room;
    cr_assert_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    (void)deflateEnd(&stream);
    free(zeros);
    return room - stream.avail_out;
}

static void give_gzip_head(size_t size)
{
    char head[128];

    (void)snprintf(head, sizeof head,
                   "POST /x HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n",
                   size);
    give_text(head);
}

/* The rest waits in conn->packed, and the parser with it. */
Test(http_request, inflates_a_turns_worth_and_then_the_rest)
{
    enum { TEXT = 3 * HTTP_TURN_MAX + 5 };
    uint8_t packed[32 * 1024];
    size_t size = deflate_zeros(packed, sizeof packed, TEXT), at = 0;
    unsigned turns = 1;

    server->options.body_bytes = TEXT;
    give_gzip_head(size);
    (void)give(packed, size);
    cr_assert_eq(HTTP_PARSER_ERRNO(&conn->parser), HPE_PAUSED);
    cr_assert_eq(conn->request.wire_size, size);
    while (conn->request.inflate_more) {
        cr_assert_leq(body.size, turns * (size_t)HTTP_TURN_MAX);
        at += http_request_inflate(conn, (const char *)conn->packed.data + at,
                                   conn->packed.size - at);
        turns++;
    }
    cr_assert_eq(conn->request.refuse_status, 0, "%s", conn->request.refuse_text);
    cr_assert_eq(at, conn->packed.size);
    cr_assert_eq(body.size, TEXT);
    cr_assert_eq(turns, 4);
}

Test(http_request, counts_what_a_body_inflates_to)
{
    uint8_t packed[4096];
    size_t size = deflate_zeros(packed, sizeof packed, BODY_MAX + 1);

    cr_assert_lt(size, BODY_MAX);
    give_gzip_head(size);
    (void)give(packed, size);
    cr_assert_eq(conn->request.refuse_status, 413, "%s", conn->request.refuse_text);
    cr_assert_leq(body.size, BODY_MAX);
}

Test(http_request, a_gzip_body_that_ends_too_early_is_refused)
{
    uint8_t packed[4096];
    size_t size = deflate_zeros(packed, sizeof packed, 1000);

    give_gzip_head(size - 1);
    (void)give(packed, size - 1);
    cr_assert_eq(conn->request.refuse_status, 400, "%u", conn->request.refuse_status);
    begin();
    give_gzip_head(0);
    cr_assert_eq(conn->request.refuse_status, 400, "nothing is no gzip");
}
