/*
 * The HTTP server on a real loopback socket: bytes, limits, time, paths. What it makes of writes is
 * in test_http_write.c.
 */
#include <jansson.h>

#include "tests/unit/node/http_client.h"

/* ---- Cutting and joining ------------------------------------------------------------------- */

Test(http, understands_the_same_cut_at_any_byte, .init = start, .fini = stop)
{
    struct bytes packed = deflated("m v=3 5\n", 8), all = {0};
    char head[256];
    const char *text = "POST /write?db=a HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nm v=1 5\n"
                       "POST /api/v2/write?bucket=b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                       "8\r\nm v=2 5\n\r\n0\r\n\r\n"
                       "GET /ping HTTP/1.1\r\n\r\n";

    bytes_put(&all, text, strlen(text));
    (void)snprintf(head, sizeof head,
                   "POST /write HTTP/1.1\r\nContent-Encoding: gzip\r\nContent-Length: %zu\r\n\r\n",
                   packed.size);
    bytes_put(&all, head, strlen(head));
    bytes_put(&all, packed.data, packed.size);
    for (size_t cut = 0; cut <= all.size; cut++) {
        struct client *client = dial();

        bytes_clear(&site.ingest.text);
        cr_assert(post(client, all.data, cut));
        turn();
        cr_assert(post(client, all.data + cut, all.size - cut));
        wait_answers(client, 4);
        cr_assert_eq(client->answers, 4, "cut at %zu", cut);
        for (unsigned i = 0; i < 4; i++)
            cr_assert_eq(client->status[i], 204, "cut at %zu: answer %u", cut, i);
        cr_assert(text_is("m v=1 5\nm v=2 5\nm v=3 5\n"), "cut at %zu", cut);
        hang_up(client);
    }
    bytes_fini(&packed);
    bytes_fini(&all);
}

Test(http, answers_pipelined_requests_in_their_order, .init = start, .fini = stop)
{
    static const char *const requests[] = {
        "POST /write HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", "GET /ping HTTP/1.1\r\n\r\n",
        "GET /nothing HTTP/1.1\r\n\r\n", "GET /health HTTP/1.1\r\n\r\n",
        "POST /ping HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"};
    static const unsigned expected[] = {204, 204, 404, 200, 405};
    struct client *client = dial();
    struct bytes all = {0};

    for (unsigned i = 0; i < 50; i++)
        bytes_put(&all, requests[i % 5], strlen(requests[i % 5]));
    cr_assert(post(client, all.data, all.size));
    wait_answers(client, 50);
    for (unsigned i = 0; i < 50; i++)
        cr_assert_eq(client->status[i], expected[i % 5], "answer %u", i);
    bytes_fini(&all);
    hang_up(client);
}

Test(http, reads_nothing_while_an_answer_waits, .init = start, .fini = stop)
{
    const char *request = "POST /write HTTP/1.1\r\nContent-Length: 1\r\n\r\nx";
    struct client *client = dial();
    size_t limit = 64 * 1024 * 1024, accepted = 0;
    char *flood = calloc(1, 1024 * 1024);
    ssize_t sent = 0;

    site.ingest.hold = true;
    say(client, request);
    TURN_UNTIL(site.ingest.begun == 1);
    for (int idle = 0; idle < 20 && accepted<limit; idle = sent> 0 ? 0 : idle + 1) {
        sent = send(client->fd, flood, 1024 * 1024, MSG_NOSIGNAL);
        accepted += sent > 0 ? (size_t)sent : 0;
        turn();
    }
    cr_assert_lt(accepted, limit, "the server keeps reading");
    cr_assert_eq(site.ingest.begun, 1);
    site.ingest.hold = false;
    wait_answers(client, 1);
    cr_assert_eq(client->status[0], 204);
    free(flood);
    hang_up(client);
}

/* ---- gzip ---------------------------------------------------------------------------------- */

static struct client *post_gzip(const char *url, const struct bytes *packed, unsigned status)
{
    size_t size;
    char *request = make_post(url, "Content-Encoding: gzip\r\n", packed->data, packed->size, &size);
    struct client *client = dial();

    (void)post(client, request, size);
    wait_answers(client, 1);
    cr_assert_eq(client->answers, 1);
    cr_assert_eq(client->status[0], status, "%u", client->status[0]);
    free(request);
    return client;
}

Test(http, inflates_more_than_a_turn_takes_and_goes_on_behind_it, .init = start, .fini = stop)
{
    size_t text_size = 8 * 1024 * 1024;
    char *text = malloc(text_size);
    struct bytes packed;
    struct client *client;

    memset(text, 'z', text_size);
    packed = deflated(text, text_size);
    cr_assert_lt(packed.size, 16384, "it comes in one read");
    client = post_gzip("/write", &packed, 204);
    cr_assert_eq(site.ingest.text.size, text_size);
    cr_assert_eq(memcmp(site.ingest.text.data, text, text_size), 0);
    cr_assert_leq(site.ingest.piece_max, 256 * 1024);
    say(client, "GET /health HTTP/1.1\r\n\r\n");
    wait_answers(client, 2);
    cr_assert_eq(client->status[1], 200);
    hang_up(client);
    bytes_fini(&packed);
    free(text);
}

Test(http, takes_gzip_in_chunks_with_a_request_behind_it, .init = start, .fini = stop)
{
    size_t text_size = 3 * 1024 * 1024;
    char *text = calloc(1, text_size);
    struct bytes packed = deflated(text, text_size), all = {0};
    struct client *client = dial();
    char head[128];

    (void)snprintf(head, sizeof head,
                   "POST /write HTTP/1.1\r\nContent-Encoding: gzip\r\n"
                   "Transfer-Encoding: chunked\r\n\r\n%zx\r\n",
                   packed.size);
    bytes_put(&all, head, strlen(head));
    bytes_put(&all, packed.data, packed.size);
    bytes_put(&all, "\r\n0\r\n\r\nGET /ping HTTP/1.1\r\n\r\n", 29);
    cr_assert(post(client, all.data, all.size));
    wait_answers(client, 2);
    cr_assert_eq(client->status[0], 204);
    cr_assert_eq(client->status[1], 204);
    cr_assert_eq(site.ingest.text.size, text_size);
    hang_up(client);
    bytes_fini(&packed);
    bytes_fini(&all);
    free(text);
}

Test(http, stops_a_bomb, .init = start, .fini = stop)
{
    size_t text_size = 64 * 1024 * 1024;
    char *text = calloc(1, text_size);
    struct bytes packed = deflated(text, text_size);
    struct client *client = post_gzip("/write", &packed, 413);

    assert_raw(client, "inflates to over 8388608 bytes");
    assert_raw(client, "Connection: close\r\n");
    wait_end(client);
    cr_assert_leq(site.ingest.text.size, 8 * 1024 * 1024);
    cr_assert_eq(site.ingest.abandoned, 1);
    hang_up(client);
    bytes_fini(&packed);
    free(text);
}

Test(http, refuses_damaged_gzip, .init = start, .fini = stop)
{
    struct bytes packed = deflated("m v=1 5\n", 8);

    packed.size -= 3;
    hang_up(post_gzip("/write", &packed, 400));
    packed.data[0] ^= 1;
    hang_up(post_gzip("/write", &packed, 400));
    packed.size = 0;
    hang_up(post_gzip("/write", &packed, 400));
    cr_assert_eq(site.ingest.ended, 0);
    cr_assert_eq(site.ingest.abandoned, 3);
    bytes_fini(&packed);
}

/* ---- Refusals ------------------------------------------------------------------------------ */

Test(http, refuses_what_is_no_request_and_closes, .init = start, .fini = stop)
{
    static const struct {
        const char *text;
        unsigned status;
    } cases[] = {
        {"\x16\x03\x01\x02", 400}, /* TLS */
        {"hello\r\n\r\n", 400},
        {"GET /ping HTTP/9x\r\n\r\n", 400},
        {"GET /ping HTTP/1.1\r\nbad header\r\n\r\n", 400},
        {"POST /write HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400},
        {"POST /write HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400},
        {"POST /write HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
        {"POST /write HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
        {"POST /write HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
        {"POST /write HTTP/1.1\r\nContent-Encoding: br\r\nContent-Length: 1\r\n\r\nx", 415},
        {"POST /write HTTP/1.1\r\nExpect: wonders\r\nContent-Length: 1\r\n\r\nx", 417},
        {"POST /write HTTP/1.1\r\nContent-Length: 8388609\r\n\r\n", 413},
        {"POST /write HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", 400},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client *client = ask(cases[i].text, cases[i].status);
        json_t *json = json_loadb((const char *)client->body.data, client->body.size, 0, NULL);

        assert_raw(client, "Connection: close\r\n");
        cr_assert_not_null(json, "%s", cases[i].text);
        json_decref(json);
        wait_end(client);
        cr_assert_eq(client->answers, 1);
        hang_up(client);
    }
}

Test(http, refuses_lines_and_headers_without_end, .init = start, .fini = stop)
{
    char *flood = malloc(32 * 1024);
    struct client *client = dial();

    memset(flood, 'a', 32 * 1024);
    say(client, "GET /");
    cr_assert(post(client, flood, 2100));
    wait_answers(client, 1);
    cr_assert_eq(client->status[0], 414);
    hang_up(client);

    client = dial();
    say(client, "GET /ping HTTP/1.1\r\nX: ");
    (void)post(client, flood, 17 * 1024);
    wait_answers(client, 1);
    cr_assert_eq(client->status[0], 431);
    hang_up(client);
    free(flood);
}

Test(http, says_413_to_a_sender_that_does_not_stop, .init = start, .fini = stop)
{
    struct client *client = dial();
    char *flood = calloc(1, 1024 * 1024);

    say(client, "POST /write HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1000000\r\n");
    for (int i = 0; i < 16; i++)
        (void)post(client, flood, 1024 * 1024);
    wait_answers(client, 1);
    cr_assert_eq(client->answers, 1);
    cr_assert_eq(client->status[0], 413);
    assert_raw(client, "\"code\":\"request too large\"");
    cr_assert_eq(site.ingest.abandoned, 1);
    free(flood);
    hang_up(client);
}

Test(http, lets_a_sender_continue_that_expects_to_be_told, .init = start, .fini = stop)
{
    struct client *client = dial();

    say(client, "POST /write HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
    wait_answers(client, 1);
    cr_assert_eq(client->status[0], 100);
    say(client, "m v=1");
    wait_answers(client, 2);
    cr_assert_eq(client->status[1], 204);
    hang_up(client);

    client = ask("POST /write HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 99999999\r\n\r\n",
                 413);
    hang_up(client);
}

Test(http, knows_its_paths_and_their_methods, .init = start, .fini = stop)
{
    static const struct {
        const char *request;
        unsigned status;
        const char *has;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", 404,
         "{\"code\":\"not found\",\"message\":\"there is no / here\""},
        {"GET /pings HTTP/1.1\r\n\r\n", 404, "there is no /pings here"},
        {"GET /a\"b?c HTTP/1.1\r\n\r\n", 404, "there is no /a\\\"b here"},
        {"GET /status HTTP/1.1\r\n\r\n", 404, "there is no /status here"},
        {"GET /write HTTP/1.1\r\n\r\n", 405, "Allow: POST\r\n"},
        {"DELETE /ping HTTP/1.1\r\n\r\n", 405, "Allow: GET, HEAD\r\n"},
        {"SOURCE /ping HTTP/1.1\r\n\r\n", 405, "/ping takes GET or HEAD, not SOURCE"},
        {"GET /ping?verbose=true HTTP/1.1\r\n\r\n", 204, ""},
        {"HEAD /ping HTTP/1.1\r\n\r\n", 204, ""},
        {"GET /health HTTP/1.1\r\n\r\n", 200, "\"status\":\"pass\""},
        {"GET /ready HTTP/1.1\r\n\r\n", 200, "{\"status\":\"ready\"}"},
        {"GET /metrics HTTP/1.1\r\n\r\n", 200, "Content-Type: text/plain; version=0.0.4"},
        {"GET /metrics HTTP/1.1\r\n\r\n", 200, "\r\n\r\nmillrace_x 1\n"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client *client = ask(cases[i].request, cases[i].status);

        assert_raw(client, cases[i].has);
        assert_raw(client, "HTTP/1.1 ");
        cr_assert_not(raw_has(client, "Connection: close"));
        hang_up(client);
    }
}

Test(http, is_not_ready_when_the_node_is_not, .init = start, .fini = stop)
{
    struct client *client;

    site.ready = false;
    client = ask("GET /ready HTTP/1.1\r\n\r\n", 503);
    assert_raw(client, "\"reason\":\"shard 3 has no \\\"leader\\\"\"");
    assert_raw(client, "Retry-After: 1\r\n");
    hang_up(client);
    hang_up(ask("GET /health HTTP/1.1\r\n\r\n", 200));
}

Test(http, sends_no_body_to_head, .init = start, .fini = stop)
{
    struct client *client = ask("HEAD /health HTTP/1.1\r\n\r\n", 200);

    assert_raw(client, "Content-Length: ");
    cr_assert_eq(memcmp(client->raw.data + client->raw.size - 4, "\r\n\r\n", 4), 0);
    say(client, "HEAD /ping HTTP/1.1\r\n\r\n");
    wait_answers(client, 2);
    cr_assert_eq(client->status[1], 204);
    hang_up(client);
}

static void start_admin(void)
{
    struct http_options options = default_options();

    options.admin = true;
    start_with(options);
}

Test(http, shows_the_status_and_takes_no_writes_on_the_admin_port, .init = start_admin,
     .fini = stop)
{
    struct client *client = ask("GET /status HTTP/1.1\r\n\r\n", 200);

    assert_raw(client, "\r\n\r\n{\"node\":1}");
    hang_up(client);
    hang_up(ask("POST /write HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", 404));
    hang_up(ask("GET /metrics HTTP/1.1\r\n\r\n", 200));
}

/* ---- Keeping and closing connections ------------------------------------------------------- */

Test(http, keeps_a_connection_as_the_version_and_the_sender_say, .init = start, .fini = stop)
{
    static const struct {
        const char *request;
        bool kept;
    } cases[] = {
        {"GET /ping HTTP/1.1\r\n\r\n", true},
        {"GET /ping HTTP/1.1\r\nConnection: close\r\n\r\n", false},
        {"GET /ping HTTP/1.0\r\n\r\n", false},
        {"GET /ping HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true},
        {"GET /ping HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n", true},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client *client = ask(cases[i].request, 204);

        cr_assert_eq(raw_has(client, "Connection: close\r\n"), !cases[i].kept, "case %zu", i);
        if (cases[i].kept) {
            say(client, "GET /health HTTP/1.1\r\n\r\n");
            wait_answers(client, 2);
            cr_assert_eq(client->status[1], 200, "case %zu", i);
        } else {
            wait_end(client);
        }
        hang_up(client);
    }
}

Test(http, abandons_the_write_of_a_sender_that_leaves, .init = start, .fini = stop)
{
    struct client *client = dial();

    say(client, "POST /write HTTP/1.1\r\nContent-Length: 100\r\n\r\nm v=1");
    TURN_UNTIL(site.ingest.begun == 1);
    hang_up(client);
    TURN_UNTIL(atomic_load(&site.connections) == 0);
    cr_assert_eq(site.ingest.abandoned, 1);
}

Test(http, closes_with_writes_and_bodies_under_way, .init = start, .fini = stop)
{
    struct client *waiting = dial(), *sending = dial();

    site.ingest.hold = true;
    say(waiting, "POST /write HTTP/1.1\r\nContent-Length: 1\r\n\r\nx");
    say(sending, "POST /api/v3/write_lp?accept_partial=false HTTP/1.1\r\n"
                 "Content-Length: 100\r\n\r\nx");
    TURN_UNTIL(site.ingest.begun == 2);
    hang_up(waiting);
    hang_up(sending);
    /* stop() sees that both are abandoned and all memory is free. */
}

static void start_for_two(void)
{
    struct http_options options = default_options();

    options.connections_max = 2;
    start_with(options);
}

Test(http, refuses_connections_above_the_limit, .init = start_for_two, .fini = stop)
{
    struct client *one = ask("GET /ping HTTP/1.1\r\n\r\n", 204);
    struct client *two = ask("GET /ping HTTP/1.1\r\n\r\n", 204);
    struct client *three = dial();

    wait_end(three);
    cr_assert_eq(three->answers, 1);
    cr_assert_eq(three->status[0], 503);
    assert_raw(three, "too many open connections");
    hang_up(one);
    hang_up(two);
    hang_up(three);
    TURN_UNTIL(atomic_load(&site.connections) == 0);
    hang_up(ask("GET /ping HTTP/1.1\r\n\r\n", 204));
}

static void start_full_admin(void)
{
    struct http_options options = default_options();

    options.admin = true;
    options.connections_max = 1;
    start_with(options);
}

Test(http, keeps_the_admin_port_open_when_clients_took_all_connections, .init = start_full_admin,
     .fini = stop)
{
    struct client *one = ask("GET /ping HTTP/1.1\r\n\r\n", 204);
    struct client *two = ask("GET /status HTTP/1.1\r\n\r\n", 200);

    hang_up(one);
    hang_up(two);
}

/* As long as a busy machine may keep a client from what it does. */
static void start_impatient(void)
{
    struct http_options options = default_options();

    options.idle_ms = 1000;
    start_with(options);
}

Test(http, closes_an_idle_connection_silently, .init = start_impatient, .fini = stop)
{
    struct client *client = ask("GET /ping HTTP/1.1\r\n\r\n", 204);

    wait_end(client);
    cr_assert_eq(client->answers, 1);
    hang_up(client);
}

Test(http, gives_up_on_senders_that_are_too_slow, .init = start_impatient, .fini = stop)
{
    static const char *const starts[] = {"GET", "GET /ping HTTP/1.1\r\nX-A: b\r\n",
                                         "POST /write HTTP/1.1\r\nContent-Length: 100\r\n\r\nx"};

    struct client *clients[sizeof starts / sizeof *starts];

    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        clients[i] = dial();
        say(clients[i], starts[i]);
    }
    for (size_t i = 0; i < sizeof starts / sizeof *starts; i++) {
        wait_answers(clients[i], 1);
        cr_assert_eq(clients[i]->answers, 1, "%s", starts[i]);
        cr_assert_eq(clients[i]->status[0], 408, "%s", starts[i]);
        wait_end(clients[i]);
        hang_up(clients[i]);
    }
    cr_assert_eq(site.ingest.abandoned, 1);
}

Test(http, drains, .init = start, .fini = stop)
{
    struct client *idle = ask("GET /ping HTTP/1.1\r\n\r\n", 204);
    struct client *busy = dial();

    site.ingest.hold = true;
    say(busy, "POST /write HTTP/1.1\r\nContent-Length: 1\r\n\r\nx");
    TURN_UNTIL(site.ingest.due != NULL);
    http_server_drain(site.server);
    wait_end(idle);
    site.ingest.hold = false;
    wait_end(busy);
    cr_assert_eq(busy->status[0], 204);
    assert_raw(busy, "Connection: close\r\n");
    hang_up(idle);
    hang_up(busy);
}

Test(http, says_why_it_cannot_listen, .init = start, .fini = stop)
{
    struct http_options options = default_options();
    struct http_handlers handlers = {0};
    struct http_server *server;

    options.port = http_server_port(site.server);
    cr_assert_eq(http_server_new(&site.loop, &options, &handlers, &server), ERR_IO);
    cr_assert_not_null(strstr(err_detail(), "HTTP: bind 127.0.0.1:"), "%s", err_detail());
    options.host = "localhost";
    cr_assert_eq(http_server_new(&site.loop, &options, &handlers, &server), ERR_INVALID);
    turn();
}

Test(http, listens_beside_another_worker)
{
    struct http_options options = default_options();
    struct http_handlers handlers = {0};
    struct http_server *other;

    options.reuse_port = true;
    start_with(options);
    options.port = http_server_port(site.server);
    cr_assert_eq(http_server_new(&site.loop, &options, &handlers, &other), ERR_OK, "%s",
                 err_detail());
    http_server_close(other, NULL, NULL);
    stop();
}
