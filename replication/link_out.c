#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "replication/link_internal.h"
#include "storage/base/check.h"
#include "storage/base/log_line.h"
#include "storage/base/metric.h"

/*
 *     WAITING --timer--> RESOLVING --> CONNECTING --> GREETING --HELLO_OK--> UP
 *        ^   \____________ ^ ___________/ \__________ / ______________________/
 *        |    (numeric)    |              |          |          |      error, end, deadline
 *        '-------- closed -+------ CLOSING <---------+----------'
 *                                     |
 *     links_close(), anywhere ------->'--> CLOSED
 *
 * WAITING for the timer, RESOLVING for a name, CONNECTING for the socket, GREETING for the peer's
 * HELLO_OK (both have a deadline), UP for its end, CLOSING for the socket to be closed.
 */
enum { WAITING, RESOLVING, CONNECTING, GREETING, UP, CLOSING, CLOSED, STATE_COUNT };

static const struct sm_state states[STATE_COUNT] = {
    [WAITING] = {"waiting", SM_TO(RESOLVING) | SM_TO(CONNECTING) | SM_TO(CLOSED)},
    [RESOLVING] = {"resolving", SM_TO(WAITING) | SM_TO(CONNECTING) | SM_TO(CLOSED)},
    [CONNECTING] = {"connecting", SM_TO(GREETING) | SM_TO(CLOSING) | SM_TO(WAITING)},
    [GREETING] = {"greeting", SM_TO(UP) | SM_TO(CLOSING)},
    [UP] = {"up", SM_TO(CLOSING)},
    [CLOSING] = {"closing", SM_TO(WAITING) | SM_TO(CLOSED)},
    [CLOSED] = {"closed", SM_FINAL},
};

static void attempt_cb(uv_timer_t *timer);
static void send_batch(struct link_out *out);

bool link_out_is_up(const struct link_out *out)
{
    return out->state.now == UP;
}

/* ---- Leaving ------------------------------------------------------------------------------- */

static void closed_for_good(struct link_out *out)
{
    sm_move(&out->state, CLOSED);
    link_queue_fini(&out->queue);
    bytes_fini(&out->hello);
    links_handle_closed(out->links);
}

/* Wait, longer each time, and not in step with others. */
static void wait_and_retry(struct link_out *out)
{
    uint32_t wait_ms = out->retry_ms / 2 + (uint32_t)rand_below(&out->links->rand, out->retry_ms);

    sm_move(&out->state, WAITING);
    (void)uv_timer_start(&out->timer, attempt_cb, wait_ms, 0);
    out->retry_ms *= 2;
    if (out->retry_ms > LINK_RETRY_MS_MAX)
        out->retry_ms = LINK_RETRY_MS_MAX;
}

static void leave(struct link_out *out, const char *why)
{
    bool was_up = out->state.now == UP;

    if (out->state.now == CLOSING)
        return;
    (void)uv_timer_stop(&out->timer);
    if (why != NULL && was_up)
        log_warn("peer=%" PRIu64 " %s:%u the link broke: %s", out->peer.server, out->peer.host,
                 out->peer.port, why);
    else if (why != NULL)
        log_every(10000, LOG_WARN, "peer=%" PRIu64 " %s:%u %s: %s", out->peer.server,
                  out->peer.host, out->peer.port, sm_name(&out->state), why);
    sm_move(&out->state, CLOSING);
    stream_close(&out->stream);
    if (was_up) {
        out->links->stats.connected--;
        out->links->stats.dropped += link_queue_clear(&out->queue);
    } /* Else what is queued are answers (links_answer()), for the next attempt. */
    if (was_up && !out->links->closing)
        out->links->events.down(out->links->events.ctx, out->peer.server);
}

static void closed(struct stream *stream)
{
    struct link_out *out = CONTAINER_OF(stream, struct link_out, stream);

    frame_reader_fini(&out->reader);
    if (out->links->closing)
        closed_for_good(out);
    else
        wait_and_retry(out);
}

/* ---- Greeting ------------------------------------------------------------------------------ */

static enum err check_hello_ok(const struct link_out *out, const uint8_t *bytes, uint32_t size)
{
    struct message_hello_ok answer;
    enum err err = message_get_hello_ok(bytes, size, &answer);

    if (err != ERR_OK)
        return err;
    if (answer.cluster != out->links->options.cluster)
        return err_set(ERR_INVALID, "it is of cluster %016" PRIx64 ", this is %016" PRIx64,
                       answer.cluster, out->links->options.cluster);
    if (answer.server != out->peer.server)
        return err_set(ERR_INVALID, "it is node %" PRIu64 ": check cluster.nodes", answer.server);
    return ERR_OK;
}

static void become_up(struct link_out *out)
{
    struct links *links = out->links;

    (void)uv_timer_stop(&out->timer);
    sm_move(&out->state, UP);
    out->retry_ms = LINK_RETRY_MS_MIN;
    links->stats.connected++;
    links->events.up(links->events.ctx, out->peer.server);
}

static enum err refusal(const uint8_t *bytes, uint32_t size)
{
    struct message_error message;
    enum err err = message_get_error(bytes, size, &message);

    return err != ERR_OK ? err
                         : err_set(ERR_UNAVAILABLE, "it refuses: %.*s", (int)message.text.size,
                                   message.text.data);
}

static enum err frame(void *arg, const struct frame_header *header, const uint8_t *bytes,
                      struct buf *payload)
{
    struct link_out *out = arg;
    enum err err;

    (void)payload;
    if (header->type == FRAME_ERROR && out->state.now == GREETING)
        return refusal(bytes, header->size);
    if (header->type != FRAME_HELLO_OK || out->state.now != GREETING)
        return err_set(ERR_INVALID, "a frame of type %u where none is expected",
                       (unsigned)header->type);
    err = check_hello_ok(out, bytes, header->size);
    if (err == ERR_OK)
        become_up(out);
    return err;
}

static void room(struct stream *stream, uint8_t **ret_room, size_t *ret_size)
{
    struct link_out *out = CONTAINER_OF(stream, struct link_out, stream);

    *ret_room = out->links->read_buffer;
    *ret_size = LINK_READ_BYTES;
}

static void read_bytes(struct stream *stream, const uint8_t *bytes, size_t size)
{
    struct link_out *out = CONTAINER_OF(stream, struct link_out, stream);

    if (frame_reader_feed(&out->reader, bytes, size, frame, out) != ERR_OK)
        leave(out, err_detail());
}

static void end(struct stream *stream, enum err err)
{
    (void)err;
    leave(CONTAINER_OF(stream, struct link_out, stream), err_detail());
}

static void hello_done(struct stream_write *write, enum err err)
{
    struct link_out *out = CONTAINER_OF(write, struct link_out, hello_write);

    if (err != ERR_OK && err != ERR_CANCELED)
        leave(out, err_detail());
}

static void connected(struct stream *stream, enum err err)
{
    struct link_out *out = CONTAINER_OF(stream, struct link_out, stream);
    uv_buf_t part = uv_buf_init((char *)out->hello.data, (unsigned)out->hello.size);

    if (err == ERR_OK)
        err = stream_write(&out->stream, &out->hello_write, &part, 1, hello_done);
    if (err != ERR_OK) {
        leave(out, err_detail());
        return;
    }
    sm_move(&out->state, GREETING);
    stream_read(stream, true);
}

/* ---- Connecting ---------------------------------------------------------------------------- */

static void deadline_cb(uv_timer_t *timer)
{
    struct link_out *out = timer->data;

    leave(out, "no answer in time");
}

static void connect_to(struct link_out *out, const struct sockaddr *address)
{
    static const struct stream_events events = {
        .room = room, .read = read_bytes, .end = end, .closed = closed};

    sm_move(&out->state, CONNECTING);
    if (stream_init(&out->stream, out->links->options.loop, &events) != ERR_OK) {
        wait_and_retry(out);
        return;
    }
    out->reader = (struct frame_reader){.payload_max = LINK_HELLO_BYTES_MAX};
    (void)uv_timer_start(&out->timer, deadline_cb, LINK_GREETING_MS_MAX, 0);
    if (stream_connect(&out->stream, address, connected) != ERR_OK)
        leave(out, err_detail());
}

/* A name may have several addresses, of which the peer listens on one: "localhost" is ::1 and
 * 127.0.0.1. Take them in turn. */
static const struct sockaddr *next_address(struct link_out *out, const struct addrinfo *addresses)
{
    const struct addrinfo *address = addresses;
    uint32_t count = 0;

    for (const struct addrinfo *at = addresses; at != NULL; at = at->ai_next)
        count++;
    for (uint32_t skip = out->attempts++ % count; skip > 0; skip--)
        address = address->ai_next;
    return address->ai_addr;
}

static void resolved_cb(uv_getaddrinfo_t *resolve, int status, struct addrinfo *addresses)
{
    struct link_out *out = resolve->data;

    if (out->links->closing) {
        closed_for_good(out);
    } else if (status != 0) {
        log_every(10000, LOG_WARN, "peer=%" PRIu64 " name %s: %s", out->peer.server, out->peer.host,
                  uv_strerror(status));
        wait_and_retry(out);
    } else {
        connect_to(out, next_address(out, addresses));
    }
    uv_freeaddrinfo(addresses);
}

static void attempt_cb(uv_timer_t *timer)
{
    struct link_out *out = timer->data;
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct sockaddr_storage address;
    char port[8];

    if (uv_ip4_addr(out->peer.host, out->peer.port, (struct sockaddr_in *)&address) == 0 ||
        uv_ip6_addr(out->peer.host, out->peer.port, (struct sockaddr_in6 *)&address) == 0) {
        connect_to(out, (struct sockaddr *)&address);
        return;
    }
    sm_move(&out->state, RESOLVING);
    (void)snprintf(port, sizeof port, "%u", out->peer.port);
    out->resolve.data = out;
    if (uv_getaddrinfo(out->links->options.loop, &out->resolve, resolved_cb, out->peer.host, port,
                       &hints) != 0)
        wait_and_retry(out);
}

/* ---- Sending ------------------------------------------------------------------------------- */

static void batch_done(struct stream_write *write, enum err err)
{
    struct link_out *out = CONTAINER_OF(write, struct link_out, batch.write);

    link_batch_done(&out->batch);
    out->writing = false;
    if (err == ERR_OK)
        send_batch(out);
    else if (err != ERR_CANCELED)
        leave(out, err_detail());
}

static void send_batch(struct link_out *out)
{
    struct link_stats *stats = &out->links->stats;
    struct link_batch *batch = &out->batch;

    if (out->writing || out->state.now != UP || !link_queue_take(&out->queue, batch))
        return;
    if (stream_write(&out->stream, &batch->write, batch->parts, batch->part_count, batch_done) !=
        ERR_OK) {
        link_batch_done(batch);
        leave(out, err_detail());
        return;
    }
    out->writing = true;
    stats->bytes_out += batch->bytes;
    metric_add(METRIC_LINK_SENT, batch->bytes);
    stats->frames_out += batch->frame_count;
}

void link_out_flush(struct link_out *out)
{
    send_batch(out);
}

/* ---- Starting and stopping ----------------------------------------------------------------- */

static enum err make_hello(struct link_out *out)
{
    const struct link_options *options = &out->links->options;
    const struct message_hello hello = {.version = PROTOCOL_VERSION,
                                        .role = ROLE_PEER,
                                        .cluster = options->cluster,
                                        .server = options->server,
                                        .worker = options->worker,
                                        .agent = {"millrace", 8}};
    struct bytes payload = {0};

    message_put_hello(&hello, &payload);
    links_put_frame(&out->hello, FRAME_HELLO, &payload);
    bytes_fini(&payload);
    return out->hello.failed ? err_set(ERR_NO_MEMORY, "link: greeting") : ERR_OK;
}

enum err link_out_start(struct link_out *out, struct links *links, const struct link_peer *peer)
{
    enum err err;

    *out = (struct link_out){.links = links, .peer = *peer, .retry_ms = LINK_RETRY_MS_MIN};
    err = make_hello(out);
    if (err != ERR_OK) {
        bytes_fini(&out->hello);
        return err;
    }
    sm_init(&out->state, states, STATE_COUNT, WAITING);
    link_queue_init(&out->queue, links->options.queue_bytes_max);
    (void)uv_timer_init(links->options.loop, &out->timer);
    out->timer.data = out;
    (void)uv_timer_start(&out->timer, attempt_cb, 0, 0);
    links->open += 2; /* The timer, and the connection in whatever state. */
    return ERR_OK;
}

void link_out_hurry(struct link_out *out)
{
    if (out->state.now == WAITING && !out->links->closing)
        (void)uv_timer_start(&out->timer, attempt_cb, 0, 0);
}

static void timer_closed_cb(uv_handle_t *handle)
{
    struct link_out *out = handle->data;

    links_handle_closed(out->links);
}

void link_out_close(struct link_out *out)
{
    uint32_t state = out->state.now;

    if (state == WAITING)
        closed_for_good(out);
    else if (state == RESOLVING)
        (void)uv_cancel((uv_req_t *)&out->resolve); /* Its callback comes in any case. */
    else
        leave(out, NULL);
    uv_close((uv_handle_t *)&out->timer, timer_closed_cb);
}
