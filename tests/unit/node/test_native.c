/*
 * The native port over the loopback interface: what a client may send, what becomes of it, and what
 * is left when it goes. The client is a plain socket; router, queries and status are played.
 */
#include "node/native.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/wire/message.h"
#include "node/peer.h"
#include "node/query.h"
#include "node/scrub.h"
#include "node/status.h"
#include "storage/base/buf.h"
#include "tests/support/entries.h"
#include "tests/support/port.h"

enum { TURNS_MAX = 100000, TURN_US = 50, HELD_MAX = 64, HELLO_LATE_MS = 6000, HELLO_MAX = 4096 };

/* ---- What native.c calls ------------------------------------------------------------------- */

struct query_run {
    struct query_sink sink;
    bool abandoned;
};

static uint64_t now_ms = 1000;
static struct write_request *writes[HELD_MAX]; /* Taken in, not answered. */
static unsigned write_count, run_count, abandoned_count;
static struct query_run runs[HELD_MAX];
static enum err query_says;

uint64_t worker_now_ms(void)
{
    return now_ms;
}

void router_write(struct worker *worker, struct write_request *request)
{
    (void)worker;
    cr_assert(request->local_only);
    writes[write_count++ % HELD_MAX] = request;
}

void router_free_write(struct write_request *request)
{
    buf_unref(request->entry);
    free(request);
}

void router_declare(struct worker *worker, struct declare_request *request)
{
    (void)worker;
    request->route.answer.code = ERR_UNAVAILABLE;
    request->route.answer.retry_ms = 7;
    request->route.done(&request->route);
}

void router_encode_types(const struct declare_request *request, struct bytes *out)
{
    bytes_put(out, request->message.data, request->message.size);
}

void router_free_declare(struct declare_request *request)
{
    bytes_fini(&request->message);
    free(request);
}

enum err router_read_order(uint16_t frame, const struct buf *payload, struct order_request *request,
                           uint16_t *ret_answer)
{
    (void)request;
    *ret_answer = frame == FRAME_DELETE ? FRAME_DELETE_OK : FRAME_DATABASE_OK;
    return payload->size == 0 ? err_set(ERR_INVALID, "an empty order") : ERR_OK;
}

void router_order(struct worker *worker, struct order_request *request)
{
    (void)worker;
    bytes_put_u32(&request->answer, 5);
    request->route.done(&request->route);
}

void router_free_order(struct order_request *request)
{
    bytes_fini(&request->answer);
    free(request);
}

enum err query_start(struct worker *worker, struct message_query *message,
                     const struct query_sink *sink, struct query_run **ret_run)
{
    (void)worker;
    message_query_fini(message);
    if (query_says != ERR_OK)
        return err_set(query_says, "told to");
    runs[run_count] = (struct query_run){.sink = *sink};
    *ret_run = &runs[run_count++];
    return ERR_OK;
}

void query_abandon(struct query_run *run)
{
    cr_assert_not(run->abandoned);
    run->abandoned = true;
    abandoned_count++;
}

void status_json(struct worker *worker, struct bytes *out)
{
    (void)worker;
    bytes_put(out, "{}", 2);
}

void status_topology(struct worker *worker, struct message_topology *ret_topology)
{
    (void)worker;
    memset(ret_topology, 0, sizeof *ret_topology);
}

uint64_t scrub_ask(struct scrub *scrub)
{
    (void)scrub;
    return 3;
}

void peer_encode_answer(const struct answer *answer, struct bytes *out)
{
    struct message_error message = {.code = answer->code,
                                    .retry_ms = answer->retry_ms,
                                    .text = {answer->text, strlen(answer->text)}};

    message_put_error(&message, out);
}

/* ---- Both ends ----------------------------------------------------------------------------- */

static struct node node = {.server = 1, .shards = 2};
static struct worker worker = {.node = &node};
static bool server_closed;
static int client = -1;

static void server_closed_cb(struct worker *of)
{
    cr_assert_eq(of, &worker);
    server_closed = true;
}

/* The kernel needs some time, too, to bring what was sent. */
static void turn(void)
{
    (void)uv_run(&worker.loop, UV_RUN_NOWAIT);
    if (worker.native != NULL)
        native_flush(worker.native);
    (void)usleep(TURN_US);
}

/* What is sent leaves at once. Otherwise it waits for the server to acknowledge what was before it,
 * which does so when it likes, and requests that were sent one by one come in all together. */
static int connect_one(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(node.options.listen.native_port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int on = 1;

    cr_assert_eq(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static void open_port(void)
{
    (void)snprintf(node.options.listen.host, sizeof node.options.listen.host, "127.0.0.1");
    node.options.listen.native_port = port_hold();
    node.options.limits.connections = 2;
    node.options.limits.inflight_bytes = (uint64_t)1 << 20;
    cr_assert_eq(uv_loop_init(&worker.loop), 0);
    cr_assert_eq(native_new(&worker, &worker.native), ERR_OK, "%s", err_detail());
    client = connect_one();
}

static void close_port(void)
{
    (void)close(client);
    native_close(worker.native, server_closed_cb);
    for (unsigned i = 0; i < TURNS_MAX && !server_closed; i++)
        turn();
    cr_assert(server_closed);
    cr_assert_eq(atomic_load(&node.connections), 0);
    cr_assert_eq(atomic_load(&node.inflight_bytes), 0);
    cr_assert_eq(uv_loop_close(&worker.loop), 0);
}

static void put(const void *bytes, size_t size)
{
    const char *at = bytes;

    for (unsigned i = 0; size > 0 && i < TURNS_MAX; i++) {
        ssize_t sent = send(client, at, size, MSG_NOSIGNAL);

        if (sent > 0) {
            at += sent;
            size -= (size_t)sent;
        }
        turn();
    }
    cr_assert_eq(size, 0);
}

static void ask(uint16_t type, uint64_t number, const void *payload, size_t size)
{
    struct frame_header header = {.type = type, .request = number};

    frame_seal(&header, payload, size);
    put(&header, sizeof header);
    if (size > 0)
        put(payload, size);
}

/* So many bytes. False: the connection has closed. */
static bool get(void *bytes, size_t size)
{
    char *at = bytes;

    for (unsigned i = 0; size > 0 && i < TURNS_MAX; i++) {
        ssize_t got = recv(client, at, size, 0);

        if (got == 0 || (got < 0 && errno != EAGAIN))
            return false;
        if (got > 0) {
            at += got;
            size -= (size_t)got;
        }
        turn();
    }
    cr_assert_eq(size, 0, "nothing comes");
    return true;
}

static uint8_t answer_bytes[HELLO_MAX];

/* The next answer, which has that type and number; its payload is in answer_bytes. */
static size_t expect(uint16_t type, uint64_t number)
{
    struct frame_header header;

    cr_assert(get(&header, sizeof header), "closed");
    cr_assert_leq(header.size, sizeof answer_bytes);
    cr_assert(get(answer_bytes, header.size));
    cr_assert_eq(frame_check_payload(&header, answer_bytes), ERR_OK);
    cr_assert_eq(header.type, type, "type %u", header.type);
    cr_assert_eq(header.request, number);
    return header.size;
}

static void expect_error(uint64_t number, enum err code)
{
    struct message_error error;
    size_t size = expect(FRAME_ERROR, number);

    cr_assert_eq(message_get_error(answer_bytes, size, &error), ERR_OK);
    cr_assert_eq(error.code, code, "%.*s", (int)error.text.size, error.text.data);
}

static void expect_end(void)
{
    char byte;

    cr_assert_not(get(&byte, 1), "it goes on");
}

static void say_hello(uint32_t version, uint8_t role)
{
    struct message_hello hello = {.version = version, .role = role, .agent = {"test", 4}};
    struct bytes bytes = {0};

    message_put_hello(&hello, &bytes);
    ask(FRAME_HELLO, 1, bytes.data, bytes.size);
    bytes_fini(&bytes);
}

static void open_greeted(void)
{
    open_port();
    say_hello(PROTOCOL_VERSION, ROLE_CLIENT);
    (void)expect(FRAME_HELLO_OK, 1);
}

/* ---- Greeting ------------------------------------------------------------------------------ */

Test(native, takes_nothing_before_a_hello)
{
    open_port();
    ask(FRAME_PING, 5, NULL, 0);
    expect_end();
    close_port();
}

Test(native, a_stranger_may_not_send_much)
{
    static const uint8_t zeros[HELLO_MAX + 1];

    open_port();
    ask(FRAME_HELLO, 5, zeros, sizeof zeros);
    expect_error(5, ERR_TOO_LARGE);
    say_hello(PROTOCOL_VERSION, ROLE_CLIENT); /* It goes on behind it. */
    (void)expect(FRAME_HELLO_OK, 1);
    ask(FRAME_PING, 6, zeros, sizeof zeros - 1);
    cr_assert_eq(expect(FRAME_PONG, 6), sizeof zeros - 1);
    close_port();
}

Test(native, says_why_a_hello_is_not_taken)
{
    open_port();
    say_hello(PROTOCOL_VERSION, ROLE_PEER);
    expect_error(1, ERR_INVALID);
    ask(FRAME_HELLO, 2, "x", 1);
    expect_error(2, ERR_INVALID);
    ask(FRAME_PING, 3, NULL, 0);
    expect_end();
    close_port();
}

Test(native, waits_for_a_hello_for_some_seconds)
{
    open_greeted();
    (void)connect_one();
    for (unsigned i = 0; i < TURNS_MAX && atomic_load(&node.connections) < 2; i++)
        turn();
    cr_assert_eq(atomic_load(&node.connections), 2);
    now_ms += HELLO_LATE_MS;
    native_tick(worker.native, now_ms);
    for (unsigned i = 0; i < TURNS_MAX && atomic_load(&node.connections) > 1; i++)
        turn();
    cr_assert_eq(atomic_load(&node.connections), 1);
    ask(FRAME_PING, 3, NULL, 0); /* Who has said it stays. */
    (void)expect(FRAME_PONG, 3);
    close_port();
}

Test(native, has_an_end_to_connections)
{
    int second, third;
    char byte;
    ssize_t got = -1;

    open_greeted();
    second = connect_one();
    third = connect_one();
    for (unsigned i = 0; i < TURNS_MAX && got < 0; i++) {
        turn();
        got = recv(third, &byte, 1, 0);
    }
    cr_assert_eq(got, 0);
    cr_assert_eq(recv(second, &byte, 1, 0), -1);
    (void)close(second);
    (void)close(third);
    close_port();
}

/* ---- Requests ------------------------------------------------------------------------------ */

Test(native, answers_each_request_under_its_number)
{
    open_greeted();
    ask(FRAME_STATUS, 10, NULL, 0);
    cr_assert_eq(expect(FRAME_STATUS_OK, 10), 2);
    ask(FRAME_TOPOLOGY, 11, NULL, 0);
    (void)expect(FRAME_TOPOLOGY_OK, 11);
    ask(FRAME_SCRUB, 12, NULL, 0);
    cr_assert_eq(expect(FRAME_SCRUB_OK, 12), 8);
    ask(FRAME_DATABASE, 13, "x", 1);
    cr_assert_eq(expect(FRAME_DATABASE_OK, 13), 4);
    ask(FRAME_DELETE, 14, NULL, 0);
    expect_error(14, ERR_INVALID);
    ask(FRAME_DECLARE, 15, "x", 1);
    expect_error(15, ERR_UNAVAILABLE);
    ask(FRAME_SHARD_QUERY, 16, NULL, 0); /* For peers alone. */
    expect_error(16, ERR_INVALID);
    ask(999, 17, NULL, 0);
    expect_error(17, ERR_INVALID);
    close_port();
}

Test(native, closes_on_bytes_that_are_no_frame)
{
    uint8_t bytes[64] = {0};

    open_greeted();
    put(bytes, sizeof bytes);
    expect_end();
    close_port();
}

/* ---- Writes -------------------------------------------------------------------------------- */

static void ask_write(uint64_t number, uint64_t sequence)
{
    const struct entries_value value = {
        .table = "t", .host = "a", .time_ns = 1, .field = "f", .type = FIELD_INT, .bits = 1};
    struct buf *entry = entries_block(
        &(struct entries_from){.shard = 1, .producer = 9, .epoch = 1, .sequence = sequence}, &value,
        1);

    ask(FRAME_WRITE, number, entry->bytes, entry->size);
    buf_unref(entry);
}

static void wait_for_writes(unsigned count)
{
    for (unsigned i = 0; i < TURNS_MAX && write_count < count; i++)
        turn();
    cr_assert_eq(write_count, count);
}

static void answer_write(unsigned at, enum err code)
{
    writes[at]->route.answer.code = code;
    writes[at]->rows = 1;
    writes[at]->route.done(&writes[at]->route);
}

Test(native, answers_writes_in_the_order_in_which_they_end)
{
    struct message_write_ok ok;

    open_greeted();
    ask(FRAME_WRITE, 5, "no entry", 8);
    expect_error(5, ERR_INVALID);
    ask_write(6, 1);
    ask_write(7, 2);
    wait_for_writes(2);
    cr_assert_eq(writes[0]->shard, 1);
    answer_write(1, ERR_OK);
    cr_assert_eq(message_get_write_ok(answer_bytes, expect(FRAME_WRITE_OK, 7), &ok), ERR_OK);
    cr_assert_eq(ok.sequence, 2);
    cr_assert_eq(ok.rows, 1);
    answer_write(0, ERR_BUSY);
    expect_error(6, ERR_BUSY);
    close_port();
}

/* What is not answered of one connection: a sixteenth; of all: limits.inflight_bytes. */
Test(native, reads_on_only_when_enough_is_answered)
{
    enum { SENT = 8, LIMIT = 3000 };
    unsigned taken = 0;

    open_greeted();
    node.options.limits.inflight_bytes = 16 * LIMIT;
    for (unsigned i = 0; i < SENT; i++) {
        bool reads = atomic_load(&node.inflight_bytes) <= LIMIT;

        ask_write(100 + i, i + 1);
        if (reads)
            wait_for_writes(++taken); /* One read takes all that is there: let it be one write. */
    }
    for (unsigned i = 0; i < 50; i++)
        turn();
    cr_assert_eq(write_count, taken);
    cr_assert_gt(atomic_load(&node.inflight_bytes), LIMIT);
    cr_assert_lt(taken, SENT);
    for (unsigned i = 0; i < SENT; i++) {
        answer_write(i, ERR_OK);
        (void)expect(FRAME_WRITE_OK, 100 + i);
        wait_for_writes(SENT); /* What was left comes in one piece. */
    }
    node.options.limits.inflight_bytes = 10;
    atomic_fetch_add(&node.inflight_bytes, 11); /* Of others. */
    ask_write(200, 100);
    expect_error(200, ERR_BUSY);
    cr_assert_eq(write_count, SENT);
    atomic_fetch_sub(&node.inflight_bytes, 11);
    close_port();
}

Test(native, keeps_what_a_write_needs_until_it_has_ended)
{
    open_greeted();
    ask_write(6, 1);
    wait_for_writes(1);
    (void)close(client);
    for (unsigned i = 0; i < TURNS_MAX && atomic_load(&node.connections) > 0; i++)
        turn();
    cr_assert_eq(atomic_load(&node.connections), 0);
    cr_assert_gt(atomic_load(&node.inflight_bytes), 0);
    answer_write(0, ERR_OK);
    cr_assert_eq(atomic_load(&node.inflight_bytes), 0);
    client = connect_one();
    close_port();
}

/* ---- Queries ------------------------------------------------------------------------------- */

static void ask_query(uint64_t number)
{
    const struct query query = {
        .database = "db", .table = "t", .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    struct bytes bytes = {0};

    message_put_query(&query, 0, 100, &bytes);
    ask(FRAME_QUERY, number, bytes.data, bytes.size);
    bytes_fini(&bytes);
}

static void wait_for_runs(unsigned count)
{
    for (unsigned i = 0; i < TURNS_MAX && run_count < count; i++)
        turn();
    cr_assert_eq(run_count, count);
}

Test(native, passes_on_what_a_query_brings_and_takes_one_back)
{
    const struct message_query_end end = {.code = ERR_OK};
    struct buf *batch = buf_new(3);

    memcpy(batch->bytes, "abc", 3);
    batch->size = 3;
    open_greeted();
    ask(FRAME_QUERY, 4, "x", 1);
    expect_error(4, ERR_INVALID);
    query_says = ERR_BUSY;
    ask_query(5);
    expect_error(5, ERR_BUSY);
    query_says = ERR_OK;
    ask_query(6);
    ask_query(7);
    wait_for_runs(2);
    runs[1].sink.batch(runs[1].sink.ctx, batch);
    cr_assert_eq(expect(FRAME_QUERY_BATCH, 7), 3);
    runs[1].sink.end(runs[1].sink.ctx, &end);
    (void)expect(FRAME_QUERY_END, 7);
    ask(FRAME_CANCEL, 7, NULL, 0); /* It has ended: nothing comes of it. */
    ask(FRAME_CANCEL, 6, NULL, 0);
    expect_error(6, ERR_CANCELED);
    cr_assert(runs[0].abandoned);
    cr_assert_not(runs[1].abandoned);
    buf_unref(batch);
    close_port();
}

Test(native, abandons_the_queries_of_a_client_that_is_gone)
{
    open_greeted();
    for (unsigned i = 0; i < 10; i++)
        ask_query(i);
    wait_for_runs(10);
    (void)close(client);
    for (unsigned i = 0; i < TURNS_MAX && abandoned_count < 10; i++)
        turn();
    cr_assert_eq(abandoned_count, 10);
    client = connect_one();
    close_port();
}
