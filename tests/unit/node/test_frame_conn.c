/*
 * A connection that speaks frames, over the loopback interface: the other end is a plain socket of
 * the test, the loop turns when the test says so.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/wire/message.h"
#include "node/frame_conn.h"
#include "node/worker.h"
#include "tests/support/seed.h"

enum { FRAMES_MAX = 4096, TURNS_MAX = 20000 };

uint64_t worker_now_ms(void)
{
    return 1000;
}

/* ---- Both ends ----------------------------------------------------------------------------- */

static uv_loop_t loop;
static uv_tcp_t listener;
static struct frame_conn conn;
static bool accepted, closed;
static const char *closed_why;
static int other = -1; /* The test's end. */

static unsigned frame_count;
static struct frame_header frames[FRAMES_MAX];
static uint64_t payload_sums[FRAMES_MAX];
static bool echo;         /* Each frame is sent back. */
static unsigned close_at; /* The frame that closes the connection; 0: none. */

static uint64_t sum_of(const void *bytes, size_t size)
{
    return key_hash(bytes, size);
}

static void frame_cb(struct frame_conn *of, const struct frame_header *header, struct buf *payload)
{
    cr_assert_lt(frame_count, FRAMES_MAX);
    cr_assert_eq(header->size, payload->size);
    frames[frame_count] = *header;
    payload_sums[frame_count++] = sum_of(payload->bytes, payload->size);
    if (echo)
        frame_conn_send(of, header->type, header->request, payload);
    if (frame_count == close_at)
        frame_conn_close(of, "told to");
}

static void closed_cb(struct frame_conn *of, const char *why)
{
    (void)of;
    cr_assert_not(closed, "closed twice");
    closed = true;
    closed_why = why;
}

static void accept_cb(uv_stream_t *server, int status)
{
    static const struct frame_conn_events events = {.frame = frame_cb, .closed = closed_cb};

    cr_assert_eq(status, 0);
    cr_assert_eq(frame_conn_accept(&conn, server, &events), ERR_OK);
    accepted = true;
}

static void turn(void)
{
    (void)uv_run(&loop, UV_RUN_NOWAIT);
    if (accepted && !closed)
        frame_conn_flush(&conn);
}

static void connect_both(void)
{
    struct pollfd pause = {.fd = -1};
    struct sockaddr_in address;
    int size = sizeof address;

    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(uv_tcp_init(&loop, &listener), 0);
    cr_assert_eq(uv_ip4_addr("127.0.0.1", 0, &address), 0);
    cr_assert_eq(uv_tcp_bind(&listener, (struct sockaddr *)&address, 0), 0);
    cr_assert_eq(uv_listen((uv_stream_t *)&listener, 1, accept_cb), 0);
    cr_assert_eq(uv_tcp_getsockname(&listener, (struct sockaddr *)&address, &size), 0);
    other = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(other, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(fcntl(other, F_SETFL, O_NONBLOCK), 0);
    for (unsigned i = 0; i < TURNS_MAX && !accepted; i++) {
        turn();
        if (i > 100)
            (void)poll(&pause, 1, 1);
    }
    cr_assert(accepted);
}

static void disconnect_both(void)
{
    frame_conn_close(&conn, NULL);
    uv_close((uv_handle_t *)&listener, NULL);
    (void)close(other);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert(closed);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

/* Send all of it, turning the loop where the socket takes no more. */
static void put(const void *bytes, size_t size)
{
    const char *at = bytes;

    for (unsigned i = 0; size > 0; i++) {
        ssize_t sent = send(other, at, size, MSG_NOSIGNAL);

        cr_assert_lt(i, 10000000);
        if (sent > 0) {
            at += sent;
            size -= (size_t)sent;
        }
        turn();
    }
}

/* Wait for so many bytes. */
static void get(void *bytes, size_t size)
{
    char *at = bytes;

    while (size > 0) {
        struct pollfd ready = {.fd = other, .events = POLLIN};
        ssize_t got;

        turn();
        (void)poll(&ready, 1, 1);
        got = recv(other, at, size, 0);
        cr_assert_neq(got, 0, "the connection was closed");
        if (got > 0) {
            at += got;
            size -= (size_t)got;
        }
    }
}

static void turn_until_closed(void)
{
    struct pollfd pause = {.fd = -1};

    for (unsigned i = 0; i < TURNS_MAX && !closed; i++) {
        turn();
        if (i > 100)
            (void)poll(&pause, 1, 1);
    }
    cr_assert(closed, "it is still open");
}

static void turn_until_frames(unsigned count)
{
    struct pollfd pause = {.fd = -1};

    for (unsigned i = 0; i < TURNS_MAX && frame_count < count; i++) {
        turn();
        if (i > 100)
            (void)poll(&pause, 1, 1);
    }
    cr_assert_eq(frame_count, count);
}

static uint8_t *random_bytes(uint64_t *chance, size_t size)
{
    uint8_t *bytes = malloc(size + 1);

    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)seed_next(chance);
    return bytes;
}

static void append_frame(struct bytes *stream, uint16_t type, uint64_t request, const void *payload,
                         size_t size)
{
    struct frame_header header = {.type = type, .request = request};

    frame_seal(&header, payload, size);
    bytes_put(stream, &header, sizeof header);
    bytes_put(stream, payload, size);
}

/* ---- Reading ------------------------------------------------------------------------------- */

Test(frame_conn, finds_frames_however_they_are_cut)
{
    enum { COUNT = 300 };
    uint64_t chance = seed_of_run("frame_conn");
    uint64_t sums[COUNT];
    struct bytes stream = {0};

    connect_both();
    for (unsigned i = 0; i < COUNT; i++) {
        /* Small ones share a read, large ones are read in place. */
        size_t size = (size_t)seed_below(&chance, seed_below(&chance, 10) == 0 ? 200000 : 200);
        uint8_t *payload = random_bytes(&chance, size);

        sums[i] = sum_of(payload, size);
        append_frame(&stream, FRAME_PING, i, payload, size);
        free(payload);
    }
    for (size_t at = 0; at < stream.size;) {
        size_t part = (size_t)seed_below(&chance, seed_below(&chance, 2) == 0 ? 40 : 100000) + 1;

        part = part < stream.size - at ? part : stream.size - at;
        put(stream.data + at, part);
        at += part;
    }
    turn_until_frames(COUNT);
    for (unsigned i = 0; i < COUNT; i++) {
        cr_assert_eq(frames[i].request, i);
        cr_assert_eq(payload_sums[i], sums[i], "payload %u differs", i);
    }
    bytes_fini(&stream);
    disconnect_both();
}

Test(frame_conn, closes_on_bytes_that_are_no_frame)
{
    struct bytes stream = {0};

    connect_both();
    append_frame(&stream, FRAME_PING, 1, "fine", 4);
    bytes_put(&stream, "GET / HTTP/1.1\r\n\r\n, and so on", 30);
    put(stream.data, stream.size);
    turn_until_closed();
    cr_assert_eq(frame_count, 1);
    cr_assert_not_null(closed_why);
    bytes_fini(&stream);
    disconnect_both();
}

Test(frame_conn, notices_every_flipped_bit)
{
    struct bytes stream = {0};

    append_frame(&stream, FRAME_PING, 1, "payload", 7);
    for (size_t bit = 0; bit < 8 * stream.size; bit++) {
        /* A size that says more makes it wait for the rest: no harm is done. */
        bool grows = 8 * 8 <= bit && bit < 8 * 12 && (stream.data[bit / 8] >> bit % 8 & 1) == 0;

        if (grows)
            continue;
        stream.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        accepted = closed = false;
        connect_both();
        put(stream.data, stream.size);
        turn_until_closed();
        cr_assert_eq(frame_count, 0, "bit %zu", bit);
        disconnect_both();
        stream.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    bytes_fini(&stream);
}

static void expect_too_large(uint64_t request)
{
    struct message_error message;
    struct frame_header header;
    uint8_t payload[1024];

    get(&header, sizeof header);
    cr_assert_eq(header.type, FRAME_ERROR);
    cr_assert_eq(header.request, request);
    cr_assert_leq(header.size, sizeof payload);
    get(payload, header.size);
    cr_assert_eq(message_get_error(payload, header.size, &message), ERR_OK);
    cr_assert_eq(message.code, ERR_TOO_LARGE);
}

Test(frame_conn, answers_and_passes_over_what_is_too_large)
{
    struct frame_header header = {.magic = FRAME_MAGIC, .type = FRAME_WRITE};
    struct bytes stream = {0};
    uint8_t *payload = calloc(1, FRAME_PAYLOAD_MAX + 1);

    connect_both();
    header.size = FRAME_PAYLOAD_MAX + 1;
    header.request = 5;
    put(&header, sizeof header);
    expect_too_large(5);
    put(payload, FRAME_PAYLOAD_MAX + 1);
    conn.payload_max = 100; /* As for somebody who has not greeted. */
    append_frame(&stream, FRAME_WRITE, 6, payload, 101);
    append_frame(&stream, FRAME_PING, 7, payload, 100);
    put(stream.data, stream.size);
    expect_too_large(6);
    turn_until_frames(1);
    cr_assert_eq(frames[0].request, 7);
    free(payload);
    bytes_fini(&stream);
    disconnect_both();
}

Test(frame_conn, a_frame_may_close_the_connection_it_came_on)
{
    struct bytes stream = {0};

    connect_both();
    close_at = 2;
    for (unsigned i = 0; i < 10; i++)
        append_frame(&stream, FRAME_PING, i, "x", 1);
    put(stream.data, stream.size);
    turn_until_closed();
    cr_assert_eq(frame_count, 2);
    cr_assert_str_eq(closed_why, "told to");
    bytes_fini(&stream);
    disconnect_both();
}

Test(frame_conn, an_end_between_or_within_frames_closes_it)
{
    struct bytes stream = {0};

    append_frame(&stream, FRAME_PING, 1, "payload", 7);
    for (size_t size = 0; size <= stream.size; size++) {
        frame_count = 0;
        accepted = closed = false;
        connect_both();
        put(stream.data, size);
        cr_assert_eq(shutdown(other, SHUT_WR), 0);
        turn_until_closed();
        cr_assert_eq(frame_count, size == stream.size);
        disconnect_both();
    }
    bytes_fini(&stream);
}

Test(frame_conn, reads_nothing_while_it_is_held)
{
    struct bytes stream = {0};

    connect_both();
    append_frame(&stream, FRAME_PING, 1, "payload", 7);
    frame_conn_hold(&conn, true);
    put(stream.data, stream.size);
    for (unsigned i = 0; i < 100; i++)
        turn();
    cr_assert_eq(frame_count, 0);
    frame_conn_hold(&conn, false);
    turn_until_frames(1);
    bytes_fini(&stream);
    disconnect_both();
}

/* ---- Writing ------------------------------------------------------------------------------- */

Test(frame_conn, sends_what_was_queued_in_its_order)
{
    enum { COUNT = 200 };
    uint64_t chance = seed_of_run("frame_conn");

    connect_both();
    for (unsigned i = 0; i < COUNT; i++) {
        size_t size = (size_t)seed_below(&chance, i % 20 == 0 ? 300000 : 100);
        uint8_t *bytes = random_bytes(&chance, size);
        struct buf *payload = size == 0 ? NULL : buf_new((uint32_t)size);

        if (payload != NULL) {
            memcpy(payload->bytes, bytes, size);
            payload->size = (uint32_t)size;
        }
        payload_sums[i] = sum_of(bytes, size);
        frame_conn_send(&conn, FRAME_PONG, i, payload);
        buf_unref(payload);
        free(bytes);
    }
    for (unsigned i = 0; i < COUNT; i++) {
        struct frame_header header, checked;
        uint8_t *payload;

        get(&header, sizeof header);
        cr_assert_eq(frame_check_header(&header, &checked), ERR_OK);
        cr_assert_eq(header.request, i);
        payload = malloc(header.size + 1);
        get(payload, header.size);
        cr_assert_eq(frame_check_payload(&header, payload), ERR_OK);
        cr_assert_eq(sum_of(payload, header.size), payload_sums[i]);
        free(payload);
    }
    cr_assert_eq(conn.out_bytes, 0);
    disconnect_both();
}

/* Somebody who sends and never reads: what waits for him is bounded. */
Test(frame_conn, stops_to_read_when_answers_are_not_fetched)
{
    enum { SIZE = 64 * 1024, COUNT = 1000 };
    struct bytes stream = {0};
    uint8_t *payload = calloc(1, SIZE);
    unsigned sent = 0;

    connect_both();
    echo = true;
    append_frame(&stream, FRAME_PING, 1, payload, SIZE);
    for (size_t at = 0; sent < COUNT;) {
        ssize_t part = send(other, stream.data + at, stream.size - at, MSG_NOSIGNAL);

        if (part < 0 && frame_count > 0 && !conn.reading)
            break;
        at += part > 0 ? (size_t)part : 0;
        sent += at == stream.size;
        at %= stream.size;
        turn();
    }
    cr_assert_lt(sent, COUNT, "it read on and on");
    cr_assert_leq(conn.out_bytes, 9u << 20);
    free(payload);
    bytes_fini(&stream);
    disconnect_both();
}

Test(frame_conn, forgets_what_was_queued_when_it_closes)
{
    struct buf *payload = buf_new(1000);

    payload->size = 1000;
    memset(payload->bytes, 0, 1000);
    connect_both();
    for (unsigned i = 0; i < 10; i++)
        frame_conn_send(&conn, FRAME_PONG, i, payload);
    frame_conn_close(&conn, NULL);
    frame_conn_send(&conn, FRAME_PONG, 10, payload);
    disconnect_both();
    cr_assert_eq(atomic_load(&payload->refs), 1);
    buf_unref(payload);
}
