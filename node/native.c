#include "node/native.h"

#include <stdlib.h>
#include <string.h>

#include "client/wire/message.h"
#include "node/frame_conn.h"
#include "node/listen.h"
#include "node/peer.h"
#include "node/query.h"
#include "node/scrub.h"
#include "node/status.h"
#include "storage/base/check.h"
#include "storage/base/log_line.h"
#include "storage/base/metric.h"

enum {
    HELLO_MS = 5000,        /* A client that says nothing holds a place. */
    HELLO_BYTES_MAX = 4096, /* Payload of a frame of somebody who has not said HELLO. */
    INFLIGHT_PARTS = 16,    /* One connection's share of the bytes in flight. */
    REQUEST_BYTES = 1024,   /* What a request costs beside its payload. */
    RETRY_FULL_MS = 100,
};

struct native_conn {
    struct frame_conn frames; /* First: found from it. */
    struct native_server *server;
    struct native_conn *next, **at; /* In the server's list. */
    uint64_t since_ms;
    bool greeted;
    uint32_t requests; /* Not answered: the memory stays for them. */
    uint64_t inflight; /* Bytes of writes and declarations not answered. */
    bool gone;         /* The socket is closed. */
    struct native_query *queries;
};

struct native_server {
    struct worker *worker;
    uv_tcp_t listener;
    bool listening;
    bool closing;
    bool accept_later; /* There was no memory for a connection that waits. */
    struct native_conn *conns;
    uint32_t handles; /* Listener and connections not yet freed. */
    void (*closed)(struct worker *worker);
};

/* ---- Life of a connection ------------------------------------------------------------------ */

static void handle_gone(struct native_server *server)
{
    struct worker *worker = server->worker;

    if (--server->handles == 0 && server->closing) {
        void (*closed)(struct worker *) = server->closed;

        free(server);
        worker->native = NULL;
        closed(worker);
    }
}

static void free_if_unused(struct native_conn *conn)
{
    struct native_server *server = conn->server;

    if (!conn->gone || conn->requests > 0)
        return;
    free(conn);
    handle_gone(server);
}

static void abandon_queries(struct native_conn *conn);

static void conn_closed(struct frame_conn *frames, const char *why)
{
    struct native_conn *conn = (struct native_conn *)frames;

    if (why != NULL)
        log_every(1000, LOG_WARN, "native connection closed: %s", why);
    *conn->at = conn->next;
    if (conn->next != NULL)
        conn->next->at = conn->at;
    atomic_fetch_sub(&conn->server->worker->node->connections, 1);
    metric_sub(METRIC_CONN_OPEN, 1);
    conn->gone = true;
    abandon_queries(conn);
    free_if_unused(conn);
}

/* ---- Answers ------------------------------------------------------------------------------- */

static void send_answer(struct native_conn *conn, uint64_t number, const struct answer *answer)
{
    struct bytes bytes = {0};

    peer_encode_answer(answer, &bytes);
    frame_conn_send_bytes(&conn->frames, FRAME_ERROR, number, &bytes);
}

static void refuse(struct native_conn *conn, uint64_t number, enum err code, uint32_t retry_ms)
{
    struct answer answer = {.code = code, .retry_ms = retry_ms};

    memcpy(answer.text, err_detail(), sizeof answer.text);
    send_answer(conn, number, &answer);
}

/* ---- Hello, topology, status --------------------------------------------------------------- */

static void hello(struct native_conn *conn, const struct frame_header *header,
                  const struct buf *payload)
{
    struct node *node = conn->server->worker->node;
    struct message_hello message;
    struct message_hello_ok answer = {
        .version = PROTOCOL_VERSION,
        .cluster = node->cluster,
        .server = node->server,
        .shards = node->shards,
        .frame_max = FRAME_PAYLOAD_MAX,
        .agent = {"millraced " MILLRACE_VERSION_TEXT,
                  sizeof "millraced " MILLRACE_VERSION_TEXT - 1},
    };
    struct bytes bytes = {0};
    enum err err = message_get_hello(payload->bytes, payload->size, &message);

    if (err == ERR_OK && message.role != ROLE_CLIENT)
        err = err_set(ERR_INVALID, "this port is for clients; peers use cluster.nodes' peer_port");
    if (err == ERR_OK && message.version != PROTOCOL_VERSION)
        err = err_set(ERR_VERSION, "client speaks version %u, this node %d", message.version,
                      (int)PROTOCOL_VERSION);
    if (err != ERR_OK) {
        refuse(conn, header->request, err, 0);
        return;
    }
    conn->greeted = true;
    conn->frames.payload_max = FRAME_PAYLOAD_MAX;
    message_put_hello_ok(&answer, &bytes);
    frame_conn_send_bytes(&conn->frames, FRAME_HELLO_OK, header->request, &bytes);
}

static void topology(struct native_conn *conn, uint64_t number)
{
    struct message_topology *message = malloc(sizeof *message);
    struct bytes bytes = {0};

    if (message == NULL) {
        refuse(conn, number, err_set(ERR_NO_MEMORY, "the topology"), RETRY_FULL_MS);
        return;
    }
    status_topology(conn->server->worker, message);
    message_put_topology(message, &bytes);
    free(message);
    frame_conn_send_bytes(&conn->frames, FRAME_TOPOLOGY_OK, number, &bytes);
}

/* ---- Writes -------------------------------------------------------------------------------- */

struct native_write {
    struct write_request request; /* First: freed as one. */
    struct native_conn *conn;
    uint64_t number;
    uint64_t sequence;
    uint32_t size;
};

static void request_begins(struct native_conn *conn, uint32_t size)
{
    struct node *node = conn->server->worker->node;

    conn->requests++;
    conn->inflight += size;
    atomic_fetch_add(&node->inflight_bytes, size);
    frame_conn_hold(&conn->frames,
                    conn->inflight > node->options.limits.inflight_bytes / INFLIGHT_PARTS);
}

/* The connection may be gone afterwards. */
static void request_ends(struct native_conn *conn, uint32_t size)
{
    struct node *node = conn->server->worker->node;

    conn->requests--;
    conn->inflight -= size;
    atomic_fetch_sub(&node->inflight_bytes, size);
    if (!conn->gone)
        frame_conn_hold(&conn->frames,
                        conn->inflight > node->options.limits.inflight_bytes / INFLIGHT_PARTS);
    free_if_unused(conn);
}

static void write_done(struct route *route)
{
    struct native_write *write = (struct native_write *)route;
    struct native_conn *conn = write->conn;
    struct write_request *request = &write->request;

    uint32_t size = write->size;

    if (!conn->gone && route->answer.code == ERR_OK) {
        struct message_write_ok message = {.shard = request->shard,
                                           .sequence = write->sequence,
                                           .index = request->index,
                                           .rows = request->rows,
                                           .duplicate = request->duplicate,
                                           .id_count = request->id_count,
                                           .ids = (const uint8_t *)request->ids};
        struct bytes bytes = {0};

        metric_add(METRIC_INGEST_ROWS, request->rows);
        message_put_write_ok(&message, &bytes);
        frame_conn_send_bytes(&conn->frames, FRAME_WRITE_OK, write->number, &bytes);
    } else if (!conn->gone) {
        send_answer(conn, write->number, &route->answer);
    }
    router_free_write(request);
    request_ends(conn, size);
}

static void serve_write(struct native_conn *conn, const struct frame_header *header,
                        struct buf *payload)
{
    struct worker *worker = conn->server->worker;
    struct node *node = worker->node;
    struct entry_header entry;
    struct native_write *write = NULL;
    enum err err = entry_check(payload->bytes, payload->size, &entry);

    if (err == ERR_OK && atomic_load(&node->inflight_bytes) > node->options.limits.inflight_bytes)
        err = err_set(ERR_BUSY, "%llu bytes of writes wait already (limits.inflight_bytes)",
                      (unsigned long long)atomic_load(&node->inflight_bytes));
    if (err == ERR_OK) {
        write = calloc(1, sizeof *write);
        if (write == NULL)
            err = err_set(ERR_NO_MEMORY, "a write request");
    }
    if (err != ERR_OK) {
        refuse(conn, header->request, err, err == ERR_INVALID ? 0 : RETRY_FULL_MS);
        return;
    }
    *write = (struct native_write){.conn = conn,
                                   .number = header->request,
                                   .sequence = entry.sequence,
                                   .size = payload->size + REQUEST_BYTES};
    write->request.route =
        (struct route){.kind = ROUTE_WRITE, .origin = worker, .done = write_done};
    write->request.shard = entry.shard;
    write->request.entry = buf_ref(payload);
    write->request.local_only = true; /* Clients find the leader themselves. */
    request_begins(conn, write->size);
    router_write(worker, &write->request);
}

/* ---- Declarations -------------------------------------------------------------------------- */

struct native_declare {
    struct declare_request request;
    struct native_conn *conn;
    uint64_t number;
    uint32_t size;
};

static void declare_done(struct route *route)
{
    struct native_declare *declare = (struct native_declare *)route;
    struct native_conn *conn = declare->conn;
    uint32_t size = declare->size;

    if (!conn->gone && route->answer.code == ERR_OK) {
        struct bytes bytes = {0};

        router_encode_types(&declare->request, &bytes);
        frame_conn_send_bytes(&conn->frames, FRAME_DECLARE_OK, declare->number, &bytes);
    } else if (!conn->gone) {
        send_answer(conn, declare->number, &route->answer);
    }
    router_free_declare(&declare->request);
    request_ends(conn, size);
}

static void serve_declare(struct native_conn *conn, const struct frame_header *header,
                          const struct buf *payload)
{
    struct native_declare *declare = calloc(1, sizeof *declare);

    if (declare == NULL) {
        refuse(conn, header->request, err_set(ERR_NO_MEMORY, "a declaration"), RETRY_FULL_MS);
        return;
    }
    declare->conn = conn;
    declare->number = header->request;
    declare->request.route =
        (struct route){.kind = ROUTE_DECLARE, .origin = conn->server->worker, .done = declare_done};
    declare->size = payload->size + REQUEST_BYTES;
    bytes_put(&declare->request.message, payload->bytes, payload->size);
    request_begins(conn, declare->size);
    router_declare(conn->server->worker, &declare->request);
}

/* ---- Orders -------------------------------------------------------------------------------- */

struct native_order {
    struct order_request request;
    struct native_conn *conn;
    uint64_t number;
    uint32_t size;
    uint16_t answer;
};

static void order_done(struct route *route)
{
    struct native_order *order = (struct native_order *)route;
    struct native_conn *conn = order->conn;
    uint32_t size = order->size;

    if (!conn->gone && route->answer.code == ERR_OK) {
        struct bytes bytes = order->request.answer;

        order->request.answer = (struct bytes){0};
        frame_conn_send_bytes(&conn->frames, order->answer, order->number, &bytes);
    } else if (!conn->gone) {
        send_answer(conn, order->number, &route->answer);
    }
    router_free_order(&order->request);
    request_ends(conn, size);
}

static void serve_order(struct native_conn *conn, const struct frame_header *header,
                        const struct buf *payload)
{
    struct native_order *order = calloc(1, sizeof *order);
    enum err err = order == NULL
                       ? err_set(ERR_NO_MEMORY, "an order")
                       : router_read_order(header->type, payload, &order->request, &order->answer);

    if (err != ERR_OK) {
        refuse(conn, header->request, err, err == ERR_NO_MEMORY ? RETRY_FULL_MS : 0);
        if (order != NULL)
            router_free_order(&order->request);
        return;
    }
    order->conn = conn;
    order->number = header->request;
    order->request.route =
        (struct route){.kind = ROUTE_ORDER, .origin = conn->server->worker, .done = order_done};
    order->size = payload->size + REQUEST_BYTES;
    request_begins(conn, order->size);
    router_order(conn->server->worker, &order->request);
}

/* ---- Queries ------------------------------------------------------------------------------- */

struct native_query {
    struct native_query *next;
    struct native_conn *conn;
    uint64_t number;
    struct query_run *run;
    bool ended;
};

static void query_batch(void *ctx, struct buf *columns)
{
    struct native_query *query = ctx;

    frame_conn_send(&query->conn->frames, FRAME_QUERY_BATCH, query->number, columns);
}

static void unlink_query(struct native_query *query)
{
    struct native_query **at = &query->conn->queries;

    while (*at != query)
        at = &(*at)->next;
    *at = query->next;
}

static void query_end(void *ctx, const struct message_query_end *end)
{
    struct native_query *query = ctx;
    struct bytes bytes = {0};

    message_put_query_end(end, &bytes);
    frame_conn_send_bytes(&query->conn->frames, FRAME_QUERY_END, query->number, &bytes);
    unlink_query(query);
    free(query);
}

static void abandon_queries(struct native_conn *conn)
{
    while (conn->queries != NULL) {
        struct native_query *query = conn->queries;

        conn->queries = query->next;
        query_abandon(query->run);
        free(query);
    }
}

static void serve_query(struct native_conn *conn, const struct frame_header *header,
                        const struct buf *payload)
{
    struct native_query *query = calloc(1, sizeof *query);
    struct query_sink sink = {.ctx = query, .batch = query_batch, .end = query_end};
    struct message_query message;
    struct query_run *run = NULL;
    enum err err = query == NULL ? err_set(ERR_NO_MEMORY, "a query")
                                 : message_get_query(payload->bytes, payload->size, &message);

    if (err != ERR_OK) {
        free(query);
        refuse(conn, header->request, err, 0);
        return;
    }
    query->conn = conn;
    query->number = header->request;
    query->next = conn->queries;
    conn->queries = query;
    err = query_start(conn->server->worker, &message, &sink, &run);
    if (err != ERR_OK) {
        unlink_query(query);
        free(query);
        refuse(conn, header->request, err, err == ERR_BUSY ? RETRY_FULL_MS : 0);
        return;
    }
    if (run != NULL) /* Otherwise it has ended, and query_end() has freed `query`. */
        query->run = run;
}

static void cancel(struct native_conn *conn, uint64_t number)
{
    for (struct native_query *query = conn->queries; query != NULL; query = query->next) {
        if (query->number != number)
            continue;
        unlink_query(query);
        query_abandon(query->run);
        refuse(conn, number, err_set(ERR_CANCELED, "canceled"), 0);
        free(query);
        return;
    }
}

/* ---- Frames -------------------------------------------------------------------------------- */

static void conn_frame(struct frame_conn *frames, const struct frame_header *header,
                       struct buf *payload)
{
    struct native_conn *conn = (struct native_conn *)frames;
    struct bytes bytes = {0};

    if (!conn->greeted && header->type != FRAME_HELLO) {
        frame_conn_close(frames, "no HELLO at the start");
        return;
    }
    switch (header->type) {
    case FRAME_HELLO:
        hello(conn, header, payload);
        break;
    case FRAME_PING:
        frame_conn_send(frames, FRAME_PONG, header->request, payload);
        break;
    case FRAME_TOPOLOGY:
        topology(conn, header->request);
        break;
    case FRAME_DECLARE:
        serve_declare(conn, header, payload);
        break;
    case FRAME_DATABASE:
    case FRAME_DELETE:
        serve_order(conn, header, payload);
        break;
    case FRAME_WRITE:
        serve_write(conn, header, payload);
        break;
    case FRAME_QUERY:
        serve_query(conn, header, payload);
        break;
    case FRAME_CANCEL:
        cancel(conn, header->request);
        break;
    case FRAME_STATUS:
        status_json(conn->server->worker, &bytes);
        frame_conn_send_bytes(&conn->frames, FRAME_STATUS_OK, header->request, &bytes);
        break;
    case FRAME_SCRUB:
        bytes_put_u64(&bytes, scrub_ask(conn->server->worker->node->scrub));
        frame_conn_send_bytes(&conn->frames, FRAME_SCRUB_OK, header->request, &bytes);
        break;
    default:
        refuse(conn, header->request,
               err_set(ERR_INVALID, "frames of type %u are not for this port", header->type), 0);
    }
}

/* ---- Listening ----------------------------------------------------------------------------- */

static void listener_closed(uv_handle_t *handle)
{
    handle_gone(handle->data);
}

static void accept_one(struct native_server *server)
{
    static const struct frame_conn_events events = {.frame = conn_frame, .closed = conn_closed};
    struct node *node = server->worker->node;
    struct native_conn *conn = calloc(1, sizeof *conn);
    enum err err;

    server->accept_later = conn == NULL;
    if (conn == NULL)
        return; /* It waits, and all behind it: native_tick() tries again. */
    conn->server = server;
    conn->since_ms = worker_now_ms();
    conn->next = server->conns;
    conn->at = &server->conns;
    if (conn->next != NULL)
        conn->next->at = &conn->next;
    server->conns = conn;
    server->handles++;
    metric_add(METRIC_CONN_OPEN, 1);
    err = frame_conn_accept(&conn->frames, (uv_stream_t *)&server->listener, &events);
    conn->frames.payload_max = HELLO_BYTES_MAX;
    if (atomic_fetch_add(&node->connections, 1) >= node->options.limits.connections &&
        err == ERR_OK)
        frame_conn_close(&conn->frames, "limits.connections is reached");
}

static void accept_cb(uv_stream_t *listener, int status)
{
    if (status == 0)
        accept_one(listener->data);
    else
        log_every(1000, LOG_WARN, "native port: a connection was not accepted: %s",
                  uv_strerror(status));
}

enum err native_new(struct worker *worker, struct native_server **ret_server)
{
    const struct options *options = &worker->node->options;
    struct native_server *server = calloc(1, sizeof *server);
    enum err err;

    if (server == NULL)
        return err_set(ERR_NO_MEMORY, "the native port");
    server->worker = worker;
    (void)uv_tcp_init(&worker->loop, &server->listener);
    server->listener.data = server;
    server->handles = 1;
    server->listening = true;
    *ret_server = server;
    err = listen_shared(&server->listener, options->listen.host, options->listen.native_port,
                        accept_cb);
    return err == ERR_OK ? ERR_OK : err_wrap(err, "native port");
}

void native_flush(struct native_server *server)
{
    struct native_conn *next;

    for (struct native_conn *conn = server->conns; conn != NULL; conn = next) {
        next = conn->next;
        frame_conn_flush(&conn->frames);
    }
}

void native_tick(struct native_server *server, uint64_t now_ms)
{
    if (server->accept_later && server->listening)
        accept_one(server);
    for (struct native_conn *conn = server->conns; conn != NULL; conn = conn->next) {
        if (!conn->greeted && now_ms - conn->since_ms > HELLO_MS)
            frame_conn_close(&conn->frames, "no HELLO in time");
    }
}

void native_stop_listening(struct native_server *server)
{
    if (server->listening)
        uv_close((uv_handle_t *)&server->listener, listener_closed);
    server->listening = false;
}

void native_close(struct native_server *server, void (*closed)(struct worker *worker))
{
    server->closing = true;
    server->closed = closed;
    server->handles++; /* Held while the list is walked. */
    native_stop_listening(server);
    for (struct native_conn *conn = server->conns; conn != NULL; conn = conn->next) {
        frame_conn_flush(&conn->frames);
        frame_conn_close(&conn->frames, NULL);
    }
    handle_gone(server);
}
