/*
 * stream.h - one TCP connection between nodes as bytes in and bytes out.
 *
 * The one place of replication/ that reads and writes sockets, so encryption has one place to slip
 * in. It owns no buffers: the user says where the next bytes go (a shared buffer, or the very
 * memory that a large payload is being assembled in), and keeps what it writes until told.
 *
 *     stream_connect() or stream_accept() --> stream_read(true) --> room(), read(), ... end()
 *                                             stream_write() --> done()
 *     stream_close() --> done() of all writes under way (ERR_CANCELED) --> closed(): memory may go
 *
 * Sockets get TCP_NODELAY (a group of frames is one write), and give up on a silent other side
 * after about 5 seconds, data or not.
 *
 * Thread    The loop's. Callbacks may call stream_close(), nothing is called after closed().
 */
#ifndef REPLICATION_STREAM_H
#define REPLICATION_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "storage/base/attrs.h"
#include "storage/base/err.h"

struct stream;
struct stream_write;

struct stream_events {
    /* Where the next bytes go: at least one, valid until read() is called with it. */
    void (*room)(struct stream *stream, uint8_t **ret_room, size_t *ret_size);
    /* `bytes` is what room() returned. */
    void (*read)(struct stream *stream, const uint8_t *bytes, size_t size);
    /* Nothing more will come: ERR_END, or ERR_IO with a detail. Close it. */
    void (*end)(struct stream *stream, enum err err);
    void (*closed)(struct stream *stream);
};

struct stream {
    uv_tcp_t tcp;
    uv_connect_t connect;
    const struct stream_events *events; /* Borrowed. */
    void (*connected)(struct stream *stream, enum err err);
    uint64_t queued_bytes; /* Handed over and not yet taken by the kernel. */
    bool closing;
};

struct stream_write {
    uv_write_t request;
    size_t size;
    void (*done)(struct stream_write *write, enum err err);
};

/** Prepare; from now on it has to be closed. ERR_NO_MEMORY: it has not. */
MUST_CHECK enum err stream_init(struct stream *stream, uv_loop_t *loop,
                                const struct stream_events *events);

/** Take the next connection of a listener. After an error: close. */
MUST_CHECK enum err stream_accept(struct stream *stream, uv_stream_t *listener);

/** Connect; connected() follows unless this fails. After an error, either way: close. */
MUST_CHECK enum err stream_connect(struct stream *stream, const struct sockaddr *address,
                                   void (*connected)(struct stream *stream, enum err err));

/** Start or stop reading. */
void stream_read(struct stream *stream, bool on);

/**
 * Write the parts, in order. `write` and what the parts point to are borrowed until done(), which
 * is called in a later turn; the array of parts is not.
 *
 * Errors  ERR_IO: done() will not be called. Close it.
 */
MUST_CHECK enum err stream_write(struct stream *stream, struct stream_write *write,
                                 const uv_buf_t *parts, unsigned count,
                                 void (*done)(struct stream_write *write, enum err err));

/** Close now; what is not sent is lost. May be called again. */
void stream_close(struct stream *stream);

#endif
