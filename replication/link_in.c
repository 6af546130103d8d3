#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "replication/link_internal.h"
#include "storage/base/clk.h"
#include "storage/base/log_line.h"
#include "storage/base/metric.h"

/*
 * A connection that a peer made: it greets, then we only read. Whoever does not greet in time, or
 * is not of this site, is told so where the protocol allows it, and closed.
 */

/* ---- Leaving ------------------------------------------------------------------------------- */

static void closed(struct stream *stream)
{
    struct link_in *in = CONTAINER_OF(stream, struct link_in, stream);
    struct links *links = in->links;

    frame_reader_fini(&in->reader);
    bytes_fini(&in->answer);
    if (in->next != NULL)
        in->next->previous = in->previous;
    if (in->previous != NULL)
        in->previous->next = in->next;
    else
        links->incoming = in->next;
    links->incoming_count--;
    free(in);
    links_handle_closed(links);
}

void link_in_close(struct link_in *in)
{
    uint64_t server = in->server;

    if (in->stream.closing)
        return;
    stream_close(&in->stream);
    in->server = 0;
    if (server != 0 && !in->links->closing)
        in->links->events.down(in->links->events.ctx, server);
}

static void refuse(struct link_in *in, const char *why)
{
    if (!in->stream.closing && !in->links->closing)
        log_every(1000, LOG_WARN, "peer=%" PRIu64 " connection to us closed: %s", in->server, why);
    link_in_close(in);
}

void link_in_check_deadlines(struct links *links)
{
    uint64_t now_ms = clk_coarse_ms();
    struct link_in *next;

    for (struct link_in *in = links->incoming; in != NULL; in = next) {
        next = in->next;
        if (in->server == 0 && now_ms > in->deadline_ms)
            refuse(in, "it did not greet in time");
    }
}

/* ---- Greeting ------------------------------------------------------------------------------ */

static void answer_done(struct stream_write *write, enum err err)
{
    struct link_in *in = CONTAINER_OF(write, struct link_in, write);

    if (err != ERR_OK || in->leaving)
        link_in_close(in);
}

static void send_answer(struct link_in *in, uint16_t type, const struct bytes *payload)
{
    uv_buf_t part;

    links_put_frame(&in->answer, type, payload);
    part = uv_buf_init((char *)in->answer.data, (unsigned)in->answer.size);
    if (in->answer.failed || stream_write(&in->stream, &in->write, &part, 1, answer_done) != ERR_OK)
        link_in_close(in);
}

/* Tell the other side why, then close. */
static void turn_away(struct link_in *in, enum err err)
{
    const char *why = err_detail();
    struct message_error message = {.code = (uint32_t)err, .text = {why, strlen(why)}};
    struct bytes payload = {0};

    log_every(1000, LOG_WARN, "a peer's greeting is refused: %s", why);
    message_put_error(&message, &payload);
    stream_read(&in->stream, false);
    in->leaving = true;
    send_answer(in, FRAME_ERROR, &payload);
    bytes_fini(&payload);
}

static enum err check_hello(const struct link_in *in, const uint8_t *bytes, uint32_t size,
                            uint64_t *ret_server)
{
    const struct link_options *options = &in->links->options;
    struct message_hello hello;
    enum err err = message_get_hello(bytes, size, &hello);

    if (err != ERR_OK)
        return err;
    if (hello.version != PROTOCOL_VERSION)
        return err_set(ERR_VERSION, "protocol version %" PRIu32 ", this node speaks %d",
                       hello.version, PROTOCOL_VERSION);
    if (hello.role != ROLE_PEER)
        return err_set(ERR_INVALID, "this port is for the nodes of the site");
    if (hello.cluster != options->cluster)
        return err_set(ERR_INVALID, "cluster %016" PRIx64 ", this node is of %016" PRIx64,
                       hello.cluster, options->cluster);
    if (links_find(in->links, hello.server) == NULL)
        return err_set(ERR_INVALID, "node %" PRIu64 " is not in cluster.nodes of node %" PRIu64,
                       hello.server, options->server);
    *ret_server = hello.server;
    return ERR_OK;
}

static void greet(struct link_in *in, const struct frame_header *header, const uint8_t *bytes)
{
    const struct message_hello_ok answer = {.version = PROTOCOL_VERSION,
                                            .cluster = in->links->options.cluster,
                                            .server = in->links->options.server,
                                            .frame_max = FRAME_PAYLOAD_MAX,
                                            .agent = {"millrace", 8}};
    struct bytes payload = {0};
    enum err err = header->type == FRAME_HELLO
                       ? check_hello(in, bytes, header->size, &in->server)
                       : err_set(ERR_INVALID, "its first frame has type %u", header->type);

    if (err != ERR_OK) {
        turn_away(in, err);
        return;
    }
    link_out_hurry(links_find(in->links, in->server));
    in->reader.payload_max = FRAME_PAYLOAD_MAX;
    message_put_hello_ok(&answer, &payload);
    send_answer(in, FRAME_HELLO_OK, &payload);
    bytes_fini(&payload);
}

/* ---- Reading ------------------------------------------------------------------------------- */

static enum err raft_messages(struct link_in *in, const uint8_t *bytes, uint32_t size)
{
    struct links *links = in->links;
    struct reader reader = reader_on(bytes, size);

    while (!in->stream.closing) {
        struct group_message *message = NULL;
        uint32_t group = 0;
        enum err err = raft_wire_get(&reader, &group, &message);

        if (err != ERR_OK)
            return err == ERR_END ? ERR_OK : err;
        links->events.message(links->events.ctx, in->server, group, message);
    }
    return ERR_OK;
}

static enum err other_frame(struct link_in *in, const struct frame_header *header,
                            const uint8_t *bytes, struct buf *payload)
{
    struct links *links = in->links;
    struct buf *copy = NULL;

    if (payload == NULL) {
        payload = copy = buf_new(header->size);
        if (copy == NULL)
            return err_set(ERR_NO_MEMORY, "frame of %" PRIu32 " bytes", header->size);
        if (header->size > 0)
            memcpy(copy->bytes, bytes, header->size);
        copy->size = header->size;
    }
    links->events.frame(links->events.ctx, in->server, header, payload);
    buf_unref(copy);
    return ERR_OK;
}

static enum err frame(void *arg, const struct frame_header *header, const uint8_t *bytes,
                      struct buf *payload)
{
    struct link_in *in = arg;

    if (in->stream.closing || in->leaving)
        return ERR_OK;
    in->links->stats.frames_in++;
    if (in->server == 0) {
        greet(in, header, bytes);
        return ERR_OK;
    }
    if (header->type == FRAME_RAFT)
        return raft_messages(in, bytes, header->size);
    if (header->type == FRAME_HELLO)
        return err_set(ERR_INVALID, "it greets twice");
    return other_frame(in, header, bytes, payload);
}

static void room(struct stream *stream, uint8_t **ret_room, size_t *ret_size)
{
    struct link_in *in = CONTAINER_OF(stream, struct link_in, stream);

    if (frame_reader_room(&in->reader, ret_room, ret_size))
        return;
    *ret_room = in->links->read_buffer;
    *ret_size = LINK_READ_BYTES;
}

static void read_bytes(struct stream *stream, const uint8_t *bytes, size_t size)
{
    struct link_in *in = CONTAINER_OF(stream, struct link_in, stream);

    in->links->stats.bytes_in += size;
    metric_add(METRIC_LINK_RECEIVED, size);
    if (frame_reader_feed(&in->reader, bytes, size, frame, in) != ERR_OK)
        refuse(in, err_detail());
}

static void end(struct stream *stream, enum err err)
{
    struct link_in *in = CONTAINER_OF(stream, struct link_in, stream);

    if (err == ERR_END)
        link_in_close(in);
    else
        refuse(in, err_detail());
}

void link_in_accept(struct links *links)
{
    static const struct stream_events events = {
        .room = room, .read = read_bytes, .end = end, .closed = closed};
    struct link_in *in = calloc(1, sizeof *in);
    enum err err;

    if (in == NULL || stream_init(&in->stream, links->options.loop, &events) != ERR_OK) {
        free(in);
        links->accept_again = true; /* libuv waits for us before it looks at the next one. */
        return;
    }
    links->accept_again = false;
    in->links = links;
    in->reader.payload_max = LINK_HELLO_BYTES_MAX;
    in->deadline_ms = clk_coarse_ms() + LINK_GREETING_MS_MAX;
    in->next = links->incoming;
    if (in->next != NULL)
        in->next->previous = in;
    links->incoming = in;
    links->incoming_count++;
    links->open++;

    err = stream_accept(&in->stream, (uv_stream_t *)&links->listener);
    if (err == ERR_OK && links->incoming_count > LINK_INCOMING_MAX)
        err = err_set(ERR_LIMIT, "there are %d connections already", LINK_INCOMING_MAX);
    if (err == ERR_OK)
        stream_read(&in->stream, true);
    else
        refuse(in, err_detail());
}
