/*
 * Links of two or three nodes in one loop, over loopback sockets.
 */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/wire/message.h"
#include "replication/group_message.h"
#include "replication/link.h"
#include "replication/raft_wire.h"
#include "tests/support/port.h"

enum { NODES_MAX = 3, CLUSTER = 77, WAIT_MS_MAX = 20000 };

struct node {
    struct site *site;
    uint64_t server;
    uint16_t port;
    uint64_t cluster;
    struct links *links;
    uint32_t up, down; /* Calls. */
    uint32_t messages; /* That came in. */
    uint64_t entry_bytes;
    uint64_t last_term;
    uint32_t frames;
    uint64_t frame_bytes;
    uint64_t last_request;
    uint32_t heartbeats_before_entries;
};

struct site {
    uv_loop_t loop;
    uv_timer_t watchdog;
    struct node nodes[NODES_MAX];
    uint32_t count;
    uint32_t closed;
};

static uint8_t byte_at(size_t at)
{
    return (uint8_t)(at * 7 + (at >> 8) * 3);
}

/* ---- The nodes ----------------------------------------------------------------------------- */

static void message_cb(void *ctx, uint64_t from, uint32_t group, struct group_message *message)
{
    struct node *node = ctx;

    cr_assert_neq(from, node->server);
    cr_assert_eq(group, 5);
    node->messages++;
    node->last_term = message->term;
    if (message->kind == GROUP_APPEND && message->append.count == 0 && node->entry_bytes == 0)
        node->heartbeats_before_entries++;
    for (uint32_t i = 0; message->kind == GROUP_APPEND && i < message->append.count; i++) {
        const struct buf *payload = message->append.entries[i].payload;

        for (size_t at = 0; at < payload->size; at++)
            cr_assert_eq(payload->bytes[at], byte_at(at));
        node->entry_bytes += payload->size;
    }
    group_message_free(message);
}

static void frame_cb(void *ctx, uint64_t from, const struct frame_header *header,
                     struct buf *payload)
{
    struct node *node = ctx;

    cr_assert_neq(from, node->server);
    cr_assert_eq(header->size, payload->size);
    for (size_t at = 0; at < payload->size; at++)
        cr_assert_eq(payload->bytes[at], byte_at(at));
    node->frames++;
    node->frame_bytes += payload->size;
    node->last_request = header->request;
}

static void up_cb(void *ctx, uint64_t server)
{
    (void)server;
    ((struct node *)ctx)->up++;
}

static void down_cb(void *ctx, uint64_t server)
{
    (void)server;
    ((struct node *)ctx)->down++;
}

static void start_node(struct node *node, uint64_t queue_bytes_max)
{
    struct site *site = node->site;
    struct link_options options = {.loop = &site->loop,
                                   .server = node->server,
                                   .cluster = node->cluster,
                                   .queue_bytes_max = queue_bytes_max,
                                   .listen_host = "127.0.0.1",
                                   .listen_port = node->port};
    const struct link_events events = {
        .ctx = node, .message = message_cb, .frame = frame_cb, .up = up_cb, .down = down_cb};

    for (uint32_t i = 0; i < site->count; i++) {
        struct link_peer *peer = &options.peers[options.peer_count];

        if (site->nodes[i].server == node->server)
            continue;
        *peer = (struct link_peer){
            .server = site->nodes[i].server, .port = site->nodes[i].port, .host = "localhost"};
        if (i % 2 == 0)
            (void)snprintf(peer->host, sizeof peer->host, "127.0.0.1");
        options.peer_count++;
    }
    cr_assert_eq(links_new(&options, &events, &node->links), ERR_OK, "%s", err_detail());
}

static void too_long(uv_timer_t *timer)
{
    (void)timer;
    cr_assert_fail("it takes too long");
}

static void site_open(struct site *site, uint32_t count)
{
    *site = (struct site){.count = count};
    cr_assert_eq(uv_loop_init(&site->loop), 0);
    (void)uv_timer_init(&site->loop, &site->watchdog);
    (void)uv_timer_start(&site->watchdog, too_long, WAIT_MS_MAX, 0);
    for (uint32_t i = 0; i < count; i++)
        site->nodes[i] =
            (struct node){.site = site, .server = i + 1, .cluster = CLUSTER, .port = port_hold()};
}

static void closed_cb(void *ctx)
{
    struct node *node = ctx;

    node->links = NULL;
    node->site->closed++;
}

static void stop_node(struct node *node)
{
    links_close(node->links, closed_cb);
    while (node->links != NULL)
        (void)uv_run(&node->site->loop, UV_RUN_ONCE);
}

static void site_close(struct site *site)
{
    for (uint32_t i = 0; i < site->count; i++) {
        if (site->nodes[i].links != NULL)
            stop_node(&site->nodes[i]);
    }
    uv_close((uv_handle_t *)&site->watchdog, NULL);
    (void)uv_run(&site->loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&site->loop), 0);
}

static void turn(struct site *site)
{
    for (uint32_t i = 0; i < site->count; i++) {
        if (site->nodes[i].links != NULL)
            links_flush(site->nodes[i].links);
    }
    (void)uv_run(&site->loop, UV_RUN_ONCE);
}

static void wait_until_up(struct site *site)
{
    for (uint32_t i = 0; i < site->count; i++) {
        struct link_stats stats = {0};

        while (stats.connected < site->count - 1) {
            turn(site);
            links_stats(site->nodes[i].links, &stats);
        }
    }
}

/* ---- Messages ------------------------------------------------------------------------------ */

static struct buf *payload_of(uint32_t size)
{
    struct buf *payload = buf_new(size);

    cr_assert_not_null(payload);
    for (uint32_t i = 0; i < size; i++)
        payload->bytes[i] = byte_at(i);
    payload->size = size;
    return payload;
}

static struct group_message *append_of(uint64_t term, uint32_t count, uint32_t size)
{
    struct group_message *message = group_message_new(GROUP_APPEND, term, count);

    cr_assert_not_null(message);
    message->append.prev_index = 10;
    message->append.prev_term = 1;
    message->append.commit = 10;
    message->append.count = count;
    for (uint32_t i = 0; i < count; i++)
        message->append.entries[i] = (struct group_entry){
            .term = term, .type = GROUP_COMMAND, .size = size, .payload = payload_of(size)};
    return message;
}

Test(link, three_nodes_greet_and_pass_messages)
{
    struct site site;

    site_open(&site, 3);
    for (uint32_t i = 0; i < 3; i++)
        start_node(&site.nodes[i], 1 << 24);
    wait_until_up(&site);
    for (uint32_t i = 0; i < 3; i++) {
        cr_assert_eq(site.nodes[i].up, 2);
        for (uint64_t to = 1; to <= 3; to++) {
            if (to != site.nodes[i].server)
                links_message(site.nodes[i].links, to, 5, append_of(9, 0, 0), true);
        }
    }
    for (uint32_t i = 0; i < 3; i++) {
        while (site.nodes[i].messages < 2)
            turn(&site);
        cr_assert_eq(site.nodes[i].last_term, 9);
        cr_assert_eq(site.nodes[i].down, 0);
    }
    site_close(&site);
}

Test(link, messages_of_one_turn_leave_in_one_frame)
{
    struct site site;
    struct link_stats before, after;

    site_open(&site, 2);
    start_node(&site.nodes[0], 1 << 24);
    start_node(&site.nodes[1], 1 << 24);
    wait_until_up(&site);
    links_stats(site.nodes[0].links, &before);
    for (int i = 0; i < 100; i++)
        links_message(site.nodes[0].links, 2, 5, append_of(3, 1, 50), false);
    cr_assert(links_queued(site.nodes[0].links, 2, 5));
    cr_assert_not(links_queued(site.nodes[0].links, 2, 4));
    while (site.nodes[1].messages < 100)
        turn(&site);
    links_stats(site.nodes[0].links, &after);
    cr_assert_eq(after.frames_out - before.frames_out, 1);
    cr_assert_not(links_queued(site.nodes[0].links, 2, 5));
    cr_assert_eq(site.nodes[1].entry_bytes, 100 * 50);
    site_close(&site);
}

Test(link, urgent_messages_pass_large_entries_in_pieces)
{
    struct site site;

    site_open(&site, 2);
    start_node(&site.nodes[0], 1 << 26);
    start_node(&site.nodes[1], 1 << 26);
    wait_until_up(&site);
    links_message(site.nodes[0].links, 2, 5, append_of(3, 1, ENTRY_SIZE_MAX), false);
    links_flush(site.nodes[0].links); /* The first pieces are on their way now. */
    links_message(site.nodes[0].links, 2, 5, append_of(3, 0, 0), true);
    while (site.nodes[1].entry_bytes < ENTRY_SIZE_MAX)
        turn(&site);
    cr_assert_eq(site.nodes[1].heartbeats_before_entries, 1);
    site_close(&site);
}

Test(link, other_frames_arrive_whole_with_their_request)
{
    struct site site;
    const uint32_t sizes[] = {0, 1, 1000, 300000, 5000000};
    struct buf *payload;

    site_open(&site, 2);
    start_node(&site.nodes[0], 1 << 26);
    start_node(&site.nodes[1], 1 << 26);
    wait_until_up(&site);
    for (uint32_t i = 0; i < 5; i++) {
        payload = payload_of(sizes[i]);
        cr_assert_eq(links_frame(site.nodes[1].links, 1, FRAME_SHARD_ROWS, 40 + i, payload, false),
                     ERR_OK);
        buf_unref(payload);
    }
    while (site.nodes[0].frames < 5)
        turn(&site);
    cr_assert_eq(site.nodes[0].frame_bytes, 5301001);
    cr_assert_eq(site.nodes[0].last_request, 44);
    site_close(&site);
}

Test(link, queues_are_bounded_and_say_so)
{
    struct site site;
    struct link_stats stats;
    struct buf *payload = payload_of(1000);
    uint32_t taken = 0;

    site_open(&site, 2);
    start_node(&site.nodes[0], 20000);
    start_node(&site.nodes[1], 20000);
    cr_assert_eq(links_frame(site.nodes[0].links, 2, FRAME_PING, 1, payload, true),
                 ERR_UNAVAILABLE);
    wait_until_up(&site);
    while (links_frame(site.nodes[0].links, 2, FRAME_PING, 1, payload, true) == ERR_OK)
        taken++;
    cr_assert_leq(taken, 20);
    cr_assert_geq(taken, 10);
    for (int i = 0; i < 100; i++)
        links_message(site.nodes[0].links, 2, 5, append_of(1, 1, 1000), false);
    links_stats(site.nodes[0].links, &stats);
    cr_assert_gt(stats.dropped, 50);
    while (site.nodes[1].frames < taken || site.nodes[1].messages < 100 - stats.dropped)
        turn(&site);
    cr_assert_eq(links_frame(site.nodes[0].links, 2, FRAME_PING, 1, payload, true), ERR_OK);
    buf_unref(payload);
    site_close(&site);
}

Test(link, connects_again_after_a_peer_was_away_and_says_that_it_was)
{
    struct site site;

    site_open(&site, 2);
    start_node(&site.nodes[0], 1 << 24);
    start_node(&site.nodes[1], 1 << 24);
    wait_until_up(&site);
    for (int round = 1; round <= 3; round++) {
        uint32_t messages = site.nodes[1].messages;

        stop_node(&site.nodes[1]);
        while (links_is_up(site.nodes[0].links, 2))
            turn(&site);
        cr_assert_geq(site.nodes[0].down, (uint32_t)round);
        links_message(site.nodes[0].links, 2, 5, append_of(1, 1, 1000), false); /* Dropped. */
        start_node(&site.nodes[1], 1 << 24);
        wait_until_up(&site);
        cr_assert_eq(site.nodes[1].messages, messages);
        links_message(site.nodes[0].links, 2, 5, append_of(1, 0, 0), true);
        while (site.nodes[1].messages == messages)
            turn(&site);
    }
    site_close(&site);
}

/* Just after its start a node may ask over its own connection before ours to it stands. */
Test(link, answers_wait_for_a_link_that_is_being_made)
{
    struct site site;
    struct buf *payload = payload_of(1000);

    site_open(&site, 2);
    start_node(&site.nodes[0], 1 << 24);
    start_node(&site.nodes[1], 1 << 24);
    wait_until_up(&site);
    stop_node(&site.nodes[1]);
    while (links_is_up(site.nodes[0].links, 2))
        turn(&site);
    cr_assert_eq(links_answer(site.nodes[0].links, 2, FRAME_SHARD_END, 6, payload, true), ERR_OK);
    for (int i = 0; i < 20; i++) /* Attempts that fail. */
        turn(&site);
    start_node(&site.nodes[1], 1 << 24);
    cr_assert_eq(links_frame(site.nodes[0].links, 2, FRAME_SHARD_END, 7, payload, true),
                 ERR_UNAVAILABLE);
    cr_assert_eq(links_answer(site.nodes[0].links, 2, FRAME_SHARD_END, 8, payload, true), ERR_OK);
    cr_assert_eq(links_answer(site.nodes[0].links, 9, FRAME_SHARD_END, 9, payload, true),
                 ERR_UNAVAILABLE);
    while (site.nodes[1].frames < 2)
        turn(&site);
    cr_assert_eq(site.nodes[1].last_request, 8);
    cr_assert_eq(site.nodes[1].frame_bytes, 2000);
    buf_unref(payload);
    site_close(&site);
}

Test(link, drops_what_was_queued_for_a_peer_that_died)
{
    struct site site;

    site_open(&site, 2);
    start_node(&site.nodes[0], 1 << 26);
    start_node(&site.nodes[1], 1 << 26);
    wait_until_up(&site);
    for (int i = 0; i < 3; i++)
        links_message(site.nodes[0].links, 2, 5, append_of(3, 1, ENTRY_SIZE_MAX), false);
    links_flush(site.nodes[0].links);
    stop_node(&site.nodes[1]);
    while (links_is_up(site.nodes[0].links, 2) || links_queued(site.nodes[0].links, 2, 5))
        turn(&site);
    site_close(&site);
}

/* ---- Strangers ----------------------------------------------------------------------------- */

Test(link, nodes_of_two_clusters_do_not_mix)
{
    struct site site;

    site_open(&site, 2);
    site.nodes[1].cluster++;
    start_node(&site.nodes[0], 1 << 24);
    start_node(&site.nodes[1], 1 << 24);
    for (int i = 0; i < 25; i++) {
        turn(&site);
        cr_assert_not(links_is_up(site.nodes[0].links, 2));
        cr_assert_not(links_is_up(site.nodes[1].links, 1));
    }
    site_close(&site);
}

Test(link, a_node_under_another_id_is_refused)
{
    struct site site;

    site_open(&site, 2);
    start_node(&site.nodes[0], 1 << 24);
    site.nodes[1].server = 9; /* Node 1 expects 2. */
    start_node(&site.nodes[1], 1 << 24);
    for (int i = 0; i < 25; i++) {
        turn(&site);
        cr_assert_eq(site.nodes[0].up, 0);
        cr_assert_eq(site.nodes[1].up, 0);
    }
    site_close(&site);
}

static int connect_raw(uint16_t port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    cr_assert_geq(fd, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

/* Send the bytes; turn the loop until the other side has closed. Returns bytes it answered. */
static size_t send_and_wait_for_close(struct site *site, const void *bytes, size_t size)
{
    int fd = connect_raw(site->nodes[0].port);
    size_t answered = 0;

    cr_assert_eq(send(fd, bytes, size, MSG_NOSIGNAL), (ssize_t)size);
    for (;;) {
        uint8_t answer[512];
        ssize_t got = recv(fd, answer, sizeof answer, MSG_DONTWAIT);

        if (got == 0 || (got < 0 && errno == ECONNRESET))
            break;
        if (got > 0)
            answered += (size_t)got;
        (void)uv_run(&site->loop, UV_RUN_NOWAIT);
    }
    (void)close(fd);
    return answered;
}

static void put_frame(struct bytes *out, uint16_t type, const struct bytes *payload)
{
    struct frame_header header = {.type = type};

    frame_seal(&header, payload->data, payload->size);
    bytes_put(out, &header, sizeof header);
    bytes_put(out, payload->data, payload->size);
}

static void put_hello(struct bytes *out, uint8_t role, uint64_t cluster, uint64_t server)
{
    const struct message_hello hello = {.version = PROTOCOL_VERSION,
                                        .role = role,
                                        .cluster = cluster,
                                        .server = server,
                                        .agent = {"test", 4}};
    struct bytes payload = {0};

    message_put_hello(&hello, &payload);
    put_frame(out, FRAME_HELLO, &payload);
    bytes_fini(&payload);
}

Test(link, garbage_and_strangers_are_closed_and_the_rest_goes_on)
{
    struct site site;
    struct bytes bytes = {0}, empty = {0};
    uint8_t garbage[1000];

    site_open(&site, 2);
    start_node(&site.nodes[0], 1 << 24);
    start_node(&site.nodes[1], 1 << 24);
    wait_until_up(&site);
    for (size_t i = 0; i < sizeof garbage; i++)
        garbage[i] = (uint8_t)(i * 31 + 5);
    cr_assert_eq(send_and_wait_for_close(&site, garbage, sizeof garbage), 0);

    /* Refused with a reason: another role, cluster, an unknown server, no greeting at all. */
    put_hello(&bytes, ROLE_CLIENT, CLUSTER, 2);
    cr_assert_gt(send_and_wait_for_close(&site, bytes.data, bytes.size), 24);
    bytes_clear(&bytes);
    put_hello(&bytes, ROLE_PEER, CLUSTER + 1, 2);
    cr_assert_gt(send_and_wait_for_close(&site, bytes.data, bytes.size), 24);
    bytes_clear(&bytes);
    put_hello(&bytes, ROLE_PEER, CLUSTER, 8);
    cr_assert_gt(send_and_wait_for_close(&site, bytes.data, bytes.size), 24);
    bytes_clear(&bytes);
    put_frame(&bytes, FRAME_PING, &empty);
    cr_assert_gt(send_and_wait_for_close(&site, bytes.data, bytes.size), 24);

    /* A peer's greeting, then no Raft message, or a second greeting. */
    bytes_clear(&bytes);
    put_hello(&bytes, ROLE_PEER, CLUSTER, 2);
    put_frame(&bytes, FRAME_RAFT, &(struct bytes){.data = garbage, .size = sizeof garbage});
    (void)send_and_wait_for_close(&site, bytes.data, bytes.size);
    bytes_clear(&bytes);
    put_hello(&bytes, ROLE_PEER, CLUSTER, 2);
    put_hello(&bytes, ROLE_PEER, CLUSTER, 2);
    (void)send_and_wait_for_close(&site, bytes.data, bytes.size);

    cr_assert(links_is_up(site.nodes[0].links, 2));
    links_message(site.nodes[1].links, 1, 5, append_of(4, 0, 0), true);
    while (site.nodes[0].messages == 0)
        turn(&site);
    cr_assert_eq(site.nodes[0].messages, 1);
    bytes_fini(&bytes);
    site_close(&site);
}

Test(link, a_large_frame_before_the_greeting_is_refused_by_its_header)
{
    struct site site;
    struct bytes bytes = {0};
    uint8_t *zeros = calloc(1, 1 << 20);

    cr_assert_not_null(zeros);
    site_open(&site, 2);
    start_node(&site.nodes[0], 1 << 24);
    put_frame(&bytes, FRAME_HELLO, &(struct bytes){.data = zeros, .size = 1 << 20});
    cr_assert_eq(send_and_wait_for_close(&site, bytes.data, sizeof(struct frame_header)), 0);
    bytes_fini(&bytes);
    free(zeros);
    site_close(&site);
}

Test(link, says_which_address_cannot_be_listened_on)
{
    struct site site;
    struct links *links = NULL;
    struct link_options options = {.server = 1, .listen_host = "192.0.2.1", .listen_port = 1};
    const struct link_events events = {0};

    site_open(&site, 1);
    options.loop = &site.loop;
    cr_assert_eq(links_new(&options, &events, &links), ERR_IO);
    cr_assert_not_null(strstr(err_detail(), "192.0.2.1"), "%s", err_detail());
    (void)uv_run(&site.loop, UV_RUN_NOWAIT);
    site_close(&site);
}
