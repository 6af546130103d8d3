#include "replication/stream.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include "storage/base/check.h"

enum { SILENCE_MS_MAX = 5000 };

static enum err failed(const char *what, int status)
{
    return err_set(status == UV_ECANCELED ? ERR_CANCELED : ERR_IO, "%s: %s", what,
                   uv_strerror(status));
}

static struct stream *stream_of(void *handle)
{
    return ((uv_handle_t *)handle)->data;
}

enum err stream_init(struct stream *stream, uv_loop_t *loop, const struct stream_events *events)
{
    int status = uv_tcp_init(loop, &stream->tcp);

    if (status != 0)
        return err_set(ERR_NO_MEMORY, "socket: %s", uv_strerror(status));
    stream->tcp.data = stream;
    stream->events = events;
    stream->connected = NULL;
    stream->queued_bytes = 0;
    stream->closing = false;
    return ERR_OK;
}

/* A connection to a host that vanished would stand for ever if we only read from it, and for
 * 15 minutes if we write: keepalive probes are the first's data, the time-out is for both. */
static enum err set_options(struct stream *stream)
{
    const unsigned silence_ms = SILENCE_MS_MAX;
    uv_os_fd_t fd;
    int status;

    if ((status = uv_tcp_nodelay(&stream->tcp, 1)) != 0 ||
        (status = uv_tcp_keepalive(&stream->tcp, 1, SILENCE_MS_MAX / 1000)) != 0 ||
        (status = uv_fileno((uv_handle_t *)&stream->tcp, &fd)) != 0)
        return failed("socket options", status);
    /* Not there on every kernel: then the keepalive alone has to do. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &silence_ms, sizeof silence_ms);
    return ERR_OK;
}

enum err stream_accept(struct stream *stream, uv_stream_t *listener)
{
    int status = uv_accept(listener, (uv_stream_t *)&stream->tcp);

    return status == 0 ? set_options(stream) : failed("accept", status);
}

static void connect_cb(uv_connect_t *connect, int status)
{
    struct stream *stream = CONTAINER_OF(connect, struct stream, connect);
    enum err err = status == 0 ? set_options(stream) : failed("connect", status);

    if (!stream->closing)
        stream->connected(stream, err);
}

enum err stream_connect(struct stream *stream, const struct sockaddr *address,
                        void (*connected)(struct stream *stream, enum err err))
{
    int status;

    stream->connected = connected;
    status = uv_tcp_connect(&stream->connect, &stream->tcp, address, connect_cb);
    return status == 0 ? ERR_OK : failed("connect", status);
}

/* ---- Reading ------------------------------------------------------------------------------- */

static void alloc_cb(uv_handle_t *handle, size_t suggested, uv_buf_t *ret_room)
{
    struct stream *stream = stream_of(handle);
    uint8_t *room = NULL;
    size_t size = 0;

    (void)suggested;
    stream->events->room(stream, &room, &size);
    CHECK(size > 0);
    *ret_room = uv_buf_init((char *)room, (unsigned)size);
}

static void read_cb(uv_stream_t *handle, ssize_t size, const uv_buf_t *room)
{
    struct stream *stream = stream_of(handle);

    if (stream->closing || size == 0) /* 0: nothing there after all. */
        return;
    if (size > 0) {
        stream->events->read(stream, (const uint8_t *)room->base, (size_t)size);
        return;
    }
    (void)uv_read_stop(handle);
    if (size == UV_EOF)
        stream->events->end(stream, err_set(ERR_END, "closed by the other side"));
    else
        stream->events->end(stream, failed("read", (int)size));
}

void stream_read(struct stream *stream, bool on)
{
    if (stream->closing)
        return;
    /* Fails only for handles that are no open streams. */
    if (on)
        CHECK(uv_read_start((uv_stream_t *)&stream->tcp, alloc_cb, read_cb) == 0);
    else
        CHECK(uv_read_stop((uv_stream_t *)&stream->tcp) == 0);
}

/* ---- Writing ------------------------------------------------------------------------------- */

static void write_cb(uv_write_t *request, int status)
{
    struct stream_write *write = CONTAINER_OF(request, struct stream_write, request);
    struct stream *stream = stream_of(request->handle);

    stream->queued_bytes -= write->size;
    write->done(write, status == 0 ? ERR_OK : failed("write", status));
}

enum err stream_write(struct stream *stream, struct stream_write *write, const uv_buf_t *parts,
                      unsigned count, void (*done)(struct stream_write *write, enum err err))
{
    int status;

    write->done = done;
    write->size = 0;
    for (unsigned i = 0; i < count; i++)
        write->size += parts[i].len;
    status = stream->closing
                 ? UV_ECANCELED
                 : uv_write(&write->request, (uv_stream_t *)&stream->tcp, parts, count, write_cb);
    if (status != 0)
        return failed("write", status);
    stream->queued_bytes += write->size;
    return ERR_OK;
}

/* ---- Closing ------------------------------------------------------------------------------- */

static void close_cb(uv_handle_t *handle)
{
    struct stream *stream = stream_of(handle);

    CHECK(stream->queued_bytes == 0);
    stream->events->closed(stream);
}

void stream_close(struct stream *stream)
{
    if (stream->closing)
        return;
    stream->closing = true;
    uv_close((uv_handle_t *)&stream->tcp, close_cb);
}
