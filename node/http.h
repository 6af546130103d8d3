/*
 * http.h - HTTP/1.1 for writers and operators, on a worker's loop.
 *
 * Each worker has one server for the data port (SO_REUSEPORT spreads connections over them);
 * worker 0 has a second one for the admin port.
 *
 *   data     POST /write, /api/v2/write, /api/v3/write_lp    line protocol, plain or gzip
 *            GET  /ping, /health, /ready, /metrics
 *   admin    GET  /ping, /health, /ready, /metrics, /status
 *
 * ONE AT A TIME  A connection has one request under way. While its answer waits, nothing is read:
 *                that is the back-pressure, and pipelined requests are answered in order.
 * BOUNDS         Request line 2 KiB, headers 16 KiB, body body_bytes (also inflated), connections
 *                counted over all servers of the node. Headers have to be there after 10 s, a body
 *                has to come at 1 KiB/s or more; an idle connection is closed after idle_ms.
 * NO ECHO        A refusal may come before the body was read; the connection is then closed after
 *                what the sender had on its way was read and dropped.
 * Thread         The worker's.
 */
#ifndef NODE_HTTP_H
#define NODE_HTTP_H

#include <stdatomic.h>
#include <stdbool.h>
#include <uv.h>

#include "node/ingest.h"
#include "storage/base/bytes.h"

struct http_server;

struct http_options {
    const char *host; /* An IP address. */
    uint16_t port;    /* 0: any, see http_server_port(). */
    bool reuse_port;  /* Other workers listen on it too. */
    bool admin;       /* The admin port's paths instead of the data port's. */
    uint64_t body_bytes;
    uint32_t idle_ms;
    uint32_t connections_max;
    atomic_uint *connections; /* Shared by all that count against it; outlives the server. */
    const char *version;      /* "0.1.0", for /health and headers. Static. */
};

/** What the server asks of the node. */
struct http_handlers {
    void *ctx;
    /* ERR_OK if writes can be acknowledged now; otherwise `why` tells what is missing. */
    enum err (*ready)(void *ctx, char *why, size_t room);
    void (*metrics)(void *ctx, struct bytes *out);
    void (*status)(void *ctx, struct bytes *json); /* Admin port. */
    /* ingest.h; NULL on the admin port. */
    struct ingest *ingest;
    enum err (*ingest_begin)(struct ingest *ingest, const struct ingest_options *options,
                             ingest_done_cb done, void *ctx, struct ingest_request **ret_request);
    void (*ingest_text)(struct ingest_request *request, const char *text, size_t size, bool last);
    void (*ingest_abandon)(struct ingest_request *request);
};

/**
 * Listen. Both structs are copied, what they point to is borrowed.
 *
 * Errors  ERR_IO: the address cannot be bound (says which and why), ERR_INVALID: it is none,
 *         ERR_NO_MEMORY
 */
MUST_CHECK enum err http_server_new(uv_loop_t *loop, const struct http_options *options,
                                    const struct http_handlers *handlers,
                                    struct http_server **ret_server);

/** Take no new connections; close those that are idle, and the others after their answer. */
void http_server_drain(struct http_server *server);

/** Close everything. `closed` is called on the loop once all is gone, the server too. */
void http_server_close(struct http_server *server, void (*closed)(void *ctx), void *ctx);

uint16_t http_server_port(const struct http_server *server);
uint32_t http_server_connections(const struct http_server *server);

#endif
