#include "node/frame_conn.h"

#include <stdlib.h>
#include <string.h>

#include "client/wire/message.h"
#include "node/worker.h"

enum {
    SCRATCH_SIZE = 128 * 1024,
    DIRECT_SIZE = 16 * 1024, /* A larger rest of a payload is read without a copy. */
    OUT_BYTES_MAX = 8 * 1024 * 1024,
    KEEPALIVE_S = 60,
};

/* libuv asks for room and reads at once, so one piece of memory serves all of a thread's
 * connections. */
static _Thread_local char scratch[SCRATCH_SIZE];

/* ---- Reading ------------------------------------------------------------------------------- */

static uint32_t payload_left(const struct frame_conn *conn)
{
    return conn->payload == NULL ? 0 : conn->current.size - conn->payload->size;
}

static void alloc_cb(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_buf)
{
    struct frame_conn *conn = handle->data;

    (void)suggested;
    if (payload_left(conn) >= DIRECT_SIZE)
        *ret_buf =
            uv_buf_init((char *)conn->payload->bytes + conn->payload->size, payload_left(conn));
    else
        *ret_buf = uv_buf_init(scratch, sizeof scratch);
}

static void deliver(struct frame_conn *conn)
{
    struct buf *payload = conn->payload;

    conn->payload = NULL;
    conn->header_size = 0;
    if (frame_check_payload(&conn->current, payload->bytes) != ERR_OK)
        frame_conn_close(conn, "a frame with a wrong checksum");
    else
        conn->events.frame(conn, &conn->current, payload);
    buf_unref(payload);
}

/* The asker is told, and the connection goes on behind the payload. */
static void refuse_payload(struct frame_conn *conn, const struct frame_header *header)
{
    struct message_error message = {.code = ERR_TOO_LARGE};
    struct bytes bytes = {0};

    (void)err_set(ERR_TOO_LARGE, "a frame of type %u with %u bytes; at most %u are taken here",
                  header->type, header->size, conn->payload_max);
    message.text = (struct slice){err_detail(), strlen(err_detail())};
    message_put_error(&message, &bytes);
    conn->skip = header->size;
    conn->header_size = 0;
    frame_conn_send_bytes(conn, FRAME_ERROR, header->request, &bytes);
}

static void begin_payload(struct frame_conn *conn)
{
    struct frame_header *header = &conn->current;
    enum err err = frame_check_header(conn->header, header);

    if (err == ERR_TOO_LARGE)
        memcpy(header, conn->header, sizeof *header);
    else if (err != ERR_OK)
        frame_conn_close(conn, "bytes that are no frame");
    if (conn->closing)
        return;
    if (header->size > conn->payload_max) {
        refuse_payload(conn, header);
        return;
    }
    conn->payload = buf_new(header->size);
    if (conn->payload == NULL)
        frame_conn_close(conn, "no memory for a frame");
}

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void take_bytes(struct frame_conn *conn, const char *bytes, size_t size)
{
    while (!conn->closing) {
        size_t part;

        if (conn->payload == NULL && size == 0)
            return;
        if (conn->skip > 0) {
            part = min_size(conn->skip, size);
            conn->skip -= (uint32_t)part;
        } else if (conn->payload == NULL) {
            part = min_size(sizeof conn->header - conn->header_size, size);
            memcpy(conn->header + conn->header_size, bytes, part);
            conn->header_size += (uint32_t)part;
            if (conn->header_size == sizeof conn->header)
                begin_payload(conn);
        } else {
            part = min_size(payload_left(conn), size);
            memcpy(conn->payload->bytes + conn->payload->size, bytes, part);
            conn->payload->size += (uint32_t)part;
            if (payload_left(conn) > 0)
                return;
            deliver(conn);
        }
        bytes += part;
        size -= part;
    }
}

static void read_cb(uv_stream_t *stream, ssize_t size, const uv_buf_t *buf)
{
    struct frame_conn *conn = stream->data;

    if (size < 0) {
        frame_conn_close(conn, size == UV_EOF ? NULL : uv_strerror((int)size));
        return;
    }
    conn->read_ms = worker_now_ms();
    if (size == 0)
        return;
    if (buf->base == scratch) {
        take_bytes(conn, buf->base, (size_t)size);
        return;
    }
    conn->payload->size += (uint32_t)size;
    if (payload_left(conn) == 0)
        deliver(conn);
}

static void update_reading(struct frame_conn *conn)
{
    bool want = !conn->held && !conn->closing && conn->out_bytes < OUT_BYTES_MAX;

    if (want == conn->reading)
        return;
    conn->reading = want;
    if (want)
        (void)uv_read_start((uv_stream_t *)&conn->tcp, alloc_cb, read_cb);
    else
        (void)uv_read_stop((uv_stream_t *)&conn->tcp);
}

void frame_conn_hold(struct frame_conn *conn, bool hold)
{
    conn->held = hold;
    update_reading(conn);
}

enum err frame_conn_accept(struct frame_conn *conn, uv_stream_t *server,
                           const struct frame_conn_events *events)
{
    int status;

    *conn = (struct frame_conn){
        .events = *events, .read_ms = worker_now_ms(), .payload_max = FRAME_PAYLOAD_MAX};
    (void)uv_tcp_init(server->loop, &conn->tcp);
    conn->tcp.data = conn;
    status = uv_accept(server, (uv_stream_t *)&conn->tcp);
    if (status != 0) {
        frame_conn_close(conn, "could not be accepted");
        return err_set(ERR_IO, "accept: %s", uv_strerror(status));
    }
    (void)uv_tcp_nodelay(&conn->tcp, 1);
    (void)uv_tcp_keepalive(&conn->tcp, 1, KEEPALIVE_S); /* Who vanished gives his place back. */
    update_reading(conn);
    return ERR_OK;
}

/* ---- Closing ------------------------------------------------------------------------------- */

static void drop_out(struct frame_out *out, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        buf_unref(out[i].payload);
    free(out);
}

static void close_cb(uv_handle_t *handle)
{
    struct frame_conn *conn = handle->data;

    drop_out(conn->out, conn->out_count);
    buf_unref(conn->payload);
    conn->out = NULL;
    conn->payload = NULL;
    conn->events.closed(conn, conn->why);
}

void frame_conn_close(struct frame_conn *conn, const char *why)
{
    if (conn->closing)
        return;
    conn->closing = true;
    conn->why = why;
    uv_close((uv_handle_t *)&conn->tcp, close_cb);
}

/* ---- Writing ------------------------------------------------------------------------------- */

struct frame_write {
    uv_write_t write;
    struct frame_conn *conn;
    struct frame_out *out; /* Owned: the frames of this write. */
    uint32_t count;
    uint64_t bytes;
};

void frame_conn_send(struct frame_conn *conn, uint16_t type, uint64_t request, struct buf *payload)
{
    struct frame_out *frame;

    if (conn->closing)
        return;
    if (conn->out_count == conn->out_capacity) {
        uint32_t capacity = conn->out_capacity == 0 ? 16 : conn->out_capacity * 2;
        struct frame_out *out = realloc(conn->out, capacity * sizeof *out);

        if (out == NULL) {
            frame_conn_close(conn, "no memory for an answer");
            return;
        }
        conn->out = out;
        conn->out_capacity = capacity;
    }
    frame = &conn->out[conn->out_count++];
    frame->header = (struct frame_header){.type = type, .request = request};
    frame->payload = payload == NULL ? NULL : buf_ref(payload);
    frame_seal(&frame->header, payload == NULL ? NULL : payload->bytes,
               payload == NULL ? 0 : payload->size);
    conn->out_bytes += sizeof frame->header + frame->header.size;
}

void frame_conn_send_bytes(struct frame_conn *conn, uint16_t type, uint64_t request,
                           struct bytes *bytes)
{
    struct buf *buf =
        bytes->failed || bytes->size > FRAME_PAYLOAD_MAX ? NULL : buf_new((uint32_t)bytes->size);

    if (buf == NULL) {
        frame_conn_close(conn, "no memory for an answer");
    } else {
        if (bytes->size > 0)
            memcpy(buf->bytes, bytes->data, bytes->size);
        buf->size = (uint32_t)bytes->size;
        frame_conn_send(conn, type, request, buf);
        buf_unref(buf);
    }
    bytes_fini(bytes);
}

static void written_cb(uv_write_t *request, int status)
{
    struct frame_write *write = CONTAINER_OF(request, struct frame_write, write);
    struct frame_conn *conn = write->conn;

    conn->out_bytes -= write->bytes;
    drop_out(write->out, write->count);
    free(write);
    if (status != 0)
        frame_conn_close(conn, status == UV_ECANCELED ? NULL : uv_strerror(status));
    else
        update_reading(conn);
}

void frame_conn_flush(struct frame_conn *conn)
{
    struct frame_write *write;
    uv_buf_t *bufs;
    uint32_t used = 0;

    if (conn->closing || conn->out_count == 0)
        return;
    write = calloc(1, sizeof *write);
    bufs = malloc(conn->out_count * 2 * sizeof *bufs);
    if (write == NULL || bufs == NULL) {
        free(write);
        free(bufs);
        frame_conn_close(conn, "no memory for an answer");
        return;
    }
    *write = (struct frame_write){.conn = conn, .out = conn->out, .count = conn->out_count};
    for (uint32_t i = 0; i < conn->out_count; i++) {
        struct frame_out *frame = &conn->out[i];

        bufs[used++] = uv_buf_init((char *)&frame->header, sizeof frame->header);
        if (frame->header.size > 0)
            bufs[used++] = uv_buf_init((char *)frame->payload->bytes, frame->header.size);
        write->bytes += sizeof frame->header + frame->header.size;
    }
    conn->out = NULL;
    conn->out_count = 0;
    conn->out_capacity = 0;
    /* libuv copies the list of bufs and writes at once what the socket takes. */
    if (uv_write(&write->write, (uv_stream_t *)&conn->tcp, bufs, used, written_cb) != 0) {
        conn->out_bytes -= write->bytes;
        drop_out(write->out, write->count);
        free(write);
        frame_conn_close(conn, "the socket takes nothing any more");
    } else {
        update_reading(conn);
    }
    free(bufs);
}
