/*
 * One connection from inside: its state at each point, how long each may last, and what memory it
 * keeps. The clock of its limits is the test's; bytes go over a real socket.
 */
#include "node/http_internal.h"
#include "tests/unit/node/http_client.h"

enum { LARGE = 24 * 1024 * 1024 }; /* More than the buffers of any socket here. */

static const char held_write[] = "POST /write HTTP/1.1\r\nContent-Length: 1\r\n\r\nx";

static void start_slow(void)
{
    struct http_options options = default_options();

    options.idle_ms = 40000;
    start_with(options);
}

TestSuite(http_conn, .init = start_slow, .fini = stop);

/* The connection that was made last. */
static struct http_conn *conn(void)
{
    return site.server->conns;
}

static void turn_until(enum http_state state)
{
    turn();
    TURN_UNTIL(conn() != NULL && conn()->sm.now == state);
}

/* So long after the state began, as the sweeper sees it. */
static void pass(uint64_t ms)
{
    uint64_t since_ms = conn()->since_ms;

    if (conn()->sm.now == HTTP_READING && conn()->request.since_ms != 0)
        since_ms = conn()->request.since_ms;
    http_conn_check_time(conn(), since_ms + ms);
}

static void say_large(void *ctx, struct bytes *out)
{
    (void)ctx;
    memset(bytes_add(out, LARGE), 'm', LARGE);
}

/* ---- How long each state may last ---------------------------------------------------------- */

Test(http_conn, an_idle_one_stays_for_its_time_and_then_goes_without_a_word)
{
    struct client *client = ask("GET /ping HTTP/1.1\r\n\r\n", 204);

    turn_until(HTTP_READING);
    pass(40000);
    cr_assert_eq(conn()->sm.now, HTTP_READING);
    pass(40001);
    cr_assert_null(site.server->conns);
    wait_end(client);
    cr_assert_eq(client->answers, 1);
    hang_up(client);
}

Test(http_conn, headers_have_ten_seconds)
{
    struct client *client = dial();

    say(client, "GET /ping HTTP/1.1\r\n");
    turn_until(HTTP_READING);
    while (conn()->request.since_ms == 0)
        turn();
    pass(10000);
    cr_assert_eq(conn()->sm.now, HTTP_READING);
    pass(10001);
    wait_answers(client, 1);
    cr_assert_eq(client->status[0], 408);
    assert_raw(client, "the request came too slowly");
    hang_up(client);
}

Test(http_conn, a_body_has_a_second_for_each_kilobyte_that_came)
{
    struct client *client = dial();
    char *part = calloc(1, 5 * 1024);

    say(client, "POST /write HTTP/1.1\r\nContent-Length: 100000\r\n\r\n");
    cr_assert(post(client, part, 5 * 1024));
    turn_until(HTTP_READING);
    while (conn()->request.wire_size < 5 * 1024)
        turn();
    pass(15000);
    cr_assert_eq(conn()->sm.now, HTTP_READING);
    pass(15001);
    wait_answers(client, 1);
    cr_assert_eq(client->status[0], 408);
    cr_assert_eq(site.ingest.abandoned, 1);
    hang_up(client);
    free(part);
}

Test(http_conn, the_ingest_has_as_long_as_it_takes)
{
    struct client *client = dial();

    site.ingest.hold = true;
    say(client, held_write);
    turn_until(HTTP_WAITING);
    pass(UINT32_MAX);
    cr_assert_eq(conn()->sm.now, HTTP_WAITING);
    site.ingest.hold = false;
    wait_answers(client, 1);
    cr_assert_eq(client->status[0], 204);
    hang_up(client);
}

Test(http_conn, a_reader_has_a_second_for_each_kilobyte_of_his_answer)
{
    struct client *client = dial();

    site.server->handlers.metrics = say_large;
    say(client, "GET /metrics HTTP/1.1\r\n\r\n");
    turn_until(HTTP_WRITING);
    pass(10000 + LARGE / 1024 * UINT64_C(1000));
    cr_assert_eq(conn()->sm.now, HTTP_WRITING);
    pass(10000 + (LARGE / 1024 + 1) * UINT64_C(1000));
    cr_assert_null(site.server->conns);
    wait_end(client);
    cr_assert_eq(client->answers, 0);
    hang_up(client);
}

Test(http_conn, a_sender_who_was_refused_is_heard_out_for_a_while)
{
    struct client *client = dial();
    char *flood = calloc(1, 1024 * 1024);

    say(client, "POST /write HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n");
    turn_until(HTTP_LINGERING);
    for (int i = 0; i < 4; i++) /* Read, and dropped. */
        cr_assert(post(client, flood, 1024 * 1024));
    cr_assert_eq(conn()->sm.now, HTTP_LINGERING);
    cr_assert_eq(conn()->input.size, 0);
    cr_assert_eq(site.ingest.begun, 0);
    pass(HTTP_LINGER_MS);
    cr_assert_eq(conn()->sm.now, HTTP_LINGERING);
    pass(HTTP_LINGER_MS + 1);
    cr_assert_null(site.server->conns);
    turn();
    cr_assert_eq(atomic_load(&site.connections), 0);
    hang_up(client);
    free(flood);
}

/* ---- Memory -------------------------------------------------------------------------------- */

Test(http_conn, keeps_no_memory_between_requests)
{
    struct client *client = dial();

    site.server->handlers.metrics = say_large;
    say(client,
        "GET /metrics HTTP/1.1\r\n\r\nGET /ping HTTP/1.1\r\n\r\nGET /ping HTTP/1.1\r\n\r\n");
    turn_until(HTTP_WRITING);
    cr_assert_gt(conn()->input.size, 0, "two requests wait");
    cr_assert_not(conn()->reading);
    wait_answers(client, 3);
    turn_until(HTTP_READING);
    cr_assert_null(conn()->input.data);
    cr_assert_null(conn()->packed.data);
    cr_assert_leq(conn()->out.capacity, HTTP_ROOM);
    cr_assert_eq(client->body.size, LARGE);
    hang_up(client);
}

/* ---- Ends ---------------------------------------------------------------------------------- */

Test(http_conn, one_leaves_the_others_alone)
{
    struct client *clients[3];
    struct http_conn *middle;

    for (unsigned i = 0; i < 3; i++)
        clients[i] = ask("GET /ping HTTP/1.1\r\n\r\n", 204);
    cr_assert_eq(http_server_connections(site.server), 3);
    middle = conn()->next;
    http_conn_close(middle);
    http_conn_close(middle); /* It is closing already. */
    wait_end(clients[1]);
    cr_assert_eq(http_server_connections(site.server), 2);
    cr_assert_eq(atomic_load(&site.connections), 2);
    for (unsigned i = 0; i < 3; i += 2) {
        say(clients[i], "GET /health HTTP/1.1\r\n\r\n");
        wait_answers(clients[i], 2);
        cr_assert_eq(clients[i]->status[1], 200);
    }
    for (unsigned i = 0; i < 3; i++)
        hang_up(clients[i]);
}

Test(http_conn, is_closed_under_an_answer_that_nobody_takes)
{
    struct client *client = dial();

    site.server->handlers.metrics = say_large;
    say(client, "GET /metrics HTTP/1.1\r\n\r\n");
    turn_until(HTTP_WRITING);
    http_conn_close(conn());
    wait_end(client);
    cr_assert_eq(client->answers, 0);
    cr_assert_eq(http_server_connections(site.server), 0);
    hang_up(client);
}

Test(http_conn, a_reader_who_leaves_takes_his_connection_with_him)
{
    struct client *client = dial();

    site.server->handlers.metrics = say_large;
    say(client, "GET /metrics HTTP/1.1\r\n\r\n");
    turn_until(HTTP_WRITING);
    hang_up(client);
    while (http_server_connections(site.server) > 0)
        turn();
    cr_assert_eq(atomic_load(&site.connections), 0);
}
