#include "node/peer.h"

#include <stdlib.h>
#include <string.h>

#include "client/wire/message.h"
#include "node/shard.h"
#include "node/worker.h"
#include "storage/base/buf.h"
#include "storage/base/check.h"

/* ---- Answers ------------------------------------------------------------------------------- */

static void send_bytes(struct worker *worker, uint64_t to, uint16_t type, uint64_t number,
                       struct bytes *bytes, bool urgent)
{
    bool can_send = worker->phase != WORKER_CLOSING && !bytes->failed;
    struct buf *buf = can_send ? buf_new((uint32_t)bytes->size) : NULL;
    enum err err;

    if (buf != NULL) {
        if (bytes->size > 0)
            memcpy(buf->bytes, bytes->data, bytes->size);
        buf->size = (uint32_t)bytes->size;
        err = links_answer(worker->links, to, type, number, buf, urgent);
        (void)err; /* The link is full: the asker's time-out ends its request. */
        buf_unref(buf);
    }
    bytes_fini(bytes);
}

static void put_answer(const struct answer *answer, const uint32_t *ids, uint32_t id_count,
                       struct bytes *out)
{
    struct message_error message = {.code = answer->code,
                                    .leader = answer->leader,
                                    .retry_ms = answer->retry_ms,
                                    .cutoff_ns = answer->cutoff_ns,
                                    .text = {answer->text, strlen(answer->text)},
                                    .id_count = id_count,
                                    .ids = (const uint8_t *)ids};

    message_put_error(&message, out);
}

void peer_encode_answer(const struct answer *answer, struct bytes *out)
{
    put_answer(answer, NULL, 0, out);
}

static void send_error(struct worker *worker, uint64_t to, uint64_t number,
                       const struct answer *answer)
{
    struct bytes bytes = {0};

    peer_encode_answer(answer, &bytes);
    send_bytes(worker, to, FRAME_ERROR, number, &bytes, true);
}

static void refuse(struct worker *worker, uint64_t to, uint64_t number, enum err code)
{
    struct answer answer = {.code = code};

    memcpy(answer.text, err_detail(), sizeof answer.text);
    send_error(worker, to, number, &answer);
}

/* ---- Writes -------------------------------------------------------------------------------- */

/* The route inside tells nothing of the asker, so each request carries him behind itself. */
struct peer_write {
    struct write_request request; /* First: freed as one. */
    uint64_t from, number;
};

static void write_done(struct route *route)
{
    struct peer_write *write = (struct peer_write *)route;
    struct write_request *request = &write->request;

    struct bytes bytes = {0};

    if (route->answer.code != ERR_OK) {
        put_answer(&route->answer, request->ids, request->id_count, &bytes);
        send_bytes(route->origin, write->from, FRAME_ERROR, write->number, &bytes, true);
    } else {
        struct message_write_ok message = {.shard = request->shard,
                                           .index = request->index,
                                           .rows = request->rows,
                                           .duplicate = request->duplicate,
                                           .id_count = request->id_count,
                                           .ids = (const uint8_t *)request->ids};

        message_put_write_ok(&message, &bytes);
        send_bytes(route->origin, write->from, FRAME_WRITE_OK, write->number, &bytes, true);
    }
    router_free_write(request);
}

static void serve_write(struct worker *worker, uint64_t from, uint64_t number, struct buf *payload)
{
    struct entry_header header;
    enum err err = entry_check(payload->bytes, payload->size, &header);
    struct peer_write *write = err == ERR_OK ? calloc(1, sizeof *write) : NULL;

    if (err == ERR_OK && write == NULL)
        err = err_set(ERR_NO_MEMORY, "a write of another node");
    if (err != ERR_OK) {
        refuse(worker, from, number, err);
        return;
    }
    write->from = from;
    write->number = number;
    write->request.route =
        (struct route){.kind = ROUTE_WRITE, .origin = worker, .done = write_done};
    write->request.shard = header.shard;
    write->request.entry = buf_ref(payload);
    write->request.local_only = true;
    router_write(worker, &write->request);
}

/* ---- Declarations -------------------------------------------------------------------------- */

struct peer_declare {
    struct declare_request request;
    uint64_t from, number;
};

static void declare_done(struct route *route)
{
    struct peer_declare *declare = (struct peer_declare *)route;
    struct bytes bytes = {0};

    if (route->answer.code != ERR_OK) {
        send_error(route->origin, declare->from, declare->number, &route->answer);
    } else {
        router_encode_types(&declare->request, &bytes);
        send_bytes(route->origin, declare->from, FRAME_DECLARE_OK, declare->number, &bytes, true);
    }
    router_free_declare(&declare->request);
}

static void serve_declare(struct worker *worker, uint64_t from, uint64_t number,
                          struct buf *payload)
{
    struct peer_declare *declare = calloc(1, sizeof *declare);

    if (declare == NULL) {
        refuse(worker, from, number, err_set(ERR_NO_MEMORY, "a declaration of another node"));
        return;
    }
    declare->from = from;
    declare->number = number;
    declare->request.route =
        (struct route){.kind = ROUTE_DECLARE, .origin = worker, .done = declare_done};
    declare->request.local_only = true;
    bytes_put(&declare->request.message, payload->bytes, payload->size);
    router_declare(worker, &declare->request);
}

/* ---- Orders -------------------------------------------------------------------------------- */

struct peer_order {
    struct order_request request;
    uint64_t from, number;
    uint16_t answer;
};

static void order_done(struct route *route)
{
    struct peer_order *order = (struct peer_order *)route;

    if (route->answer.code != ERR_OK) {
        send_error(route->origin, order->from, order->number, &route->answer);
    } else {
        struct bytes bytes = order->request.answer;

        order->request.answer = (struct bytes){0};
        send_bytes(route->origin, order->from, order->answer, order->number, &bytes, true);
    }
    router_free_order(&order->request);
}

static void serve_order(struct worker *worker, uint64_t from, const struct frame_header *header,
                        struct buf *payload)
{
    struct peer_order *order = calloc(1, sizeof *order);
    enum err err = order == NULL
                       ? err_set(ERR_NO_MEMORY, "an order of another node")
                       : router_read_order(header->type, payload, &order->request, &order->answer);

    if (err != ERR_OK) {
        refuse(worker, from, header->request, err);
        if (order != NULL)
            router_free_order(&order->request);
        return;
    }
    order->from = from;
    order->number = header->request;
    order->request.route =
        (struct route){.kind = ROUTE_ORDER, .origin = worker, .done = order_done};
    order->request.local_only = true;
    router_order(worker, &order->request);
}

/* ---- Queries ------------------------------------------------------------------------------- */

struct peer_query {
    struct query_request request;
    struct peer_query *next, **at; /* In the worker's list. */
    uint64_t from, number;
    struct message_query message;
};

static void query_done(struct route *route)
{
    struct peer_query *query = (struct peer_query *)route;
    struct query_request *request = &query->request;
    struct worker *worker = route->origin;
    struct message_query_end end = {.code = route->answer.code,
                                    .rows = request->rows,
                                    .stale_ms = request->stale_ms,
                                    .leader = route->answer.leader,
                                    .text = {route->answer.text, strlen(route->answer.text)},
                                    .next = request->next};
    struct bytes bytes = {0};

    for (uint32_t i = 0;
         i < request->part_count && end.code == ERR_OK && worker->phase != WORKER_CLOSING; i++) {
        enum err err =
            links_answer(worker->links, query->from,
                         request->parts[i].aggregate ? FRAME_SHARD_PART : FRAME_SHARD_ROWS,
                         query->number, request->parts[i].bytes, false);

        if (err != ERR_OK) {
            end.code = err;
            end.text = (struct slice){err_detail(), strlen(err_detail())};
        }
    }
    message_put_query_end(&end, &bytes);
    /* In the same queue as the parts, so it stays behind them. */
    send_bytes(worker, query->from, FRAME_SHARD_END, query->number, &bytes, false);
    *query->at = query->next;
    if (query->next != NULL)
        query->next->at = query->at;
    message_query_fini(&query->message);
    router_free_query(request);
}

static void serve_query(struct worker *worker, uint64_t from, uint64_t number, struct buf *payload)
{
    struct peer_query *query = calloc(1, sizeof *query);
    enum err err = query == NULL
                       ? err_set(ERR_NO_MEMORY, "a query of another node")
                       : message_get_query(payload->bytes, payload->size, &query->message);

    if (err == ERR_OK && query->message.shard >= worker->node->shards) {
        err = err_set(ERR_INVALID, "shard %u: this site has %u", query->message.shard,
                      worker->node->shards);
        message_query_fini(&query->message);
    }
    if (err != ERR_OK) {
        refuse(worker, from, number, err);
        free(query);
        return;
    }
    query->from = from;
    query->number = number;
    query->request.route =
        (struct route){.kind = ROUTE_QUERY, .origin = worker, .done = query_done};
    query->request.shard = query->message.shard;
    query->request.query = &query->message.query;
    query->request.timeout_ms = query->message.timeout_ms;
    query->request.here = true;
    query->request.local = query->message.query.consistency == QUERY_ANY;
    query->next = worker->peer_queries;
    query->at = &worker->peer_queries;
    if (query->next != NULL)
        query->next->at = &query->next;
    worker->peer_queries = query;
    router_query(worker, &query->request);
}

/* It is here: only the pool may hold it, so it does not end, and leave the list, under us. */
static void cancel_queries(struct worker *worker, uint64_t from, bool all, uint64_t number)
{
    for (struct peer_query *query = worker->peer_queries; query != NULL; query = query->next) {
        if (query->from == from && (all || query->number == number))
            router_cancel(worker, &query->request);
    }
}

void peer_down(struct worker *worker, uint64_t server)
{
    cancel_queries(worker, server, true, 0);
}

/* ---- Files --------------------------------------------------------------------------------- */

struct peer_piece {
    struct piece_request request; /* First: freed as one. */
    uint64_t number;
};

static void piece_done(struct route *route)
{
    struct peer_piece *piece = (struct peer_piece *)route;
    struct worker *worker = route->origin;
    enum err err;

    if (route->answer.code != ERR_OK) {
        send_error(worker, piece->request.from, piece->number, &route->answer);
    } else if (worker->phase != WORKER_CLOSING) {
        err = links_answer(worker->links, piece->request.from, FRAME_FETCH_OK, piece->number,
                           piece->request.bytes, false);
        (void)err; /* As in send_bytes(). */
    }
    router_free_piece(&piece->request);
}

static void serve_fetch(struct worker *worker, uint64_t from, uint64_t number, struct buf *payload)
{
    struct peer_piece *piece = calloc(1, sizeof *piece);
    enum err err = piece == NULL
                       ? err_set(ERR_NO_MEMORY, "a piece of a file")
                       : fetch_get_piece(payload->bytes, payload->size, &piece->request.piece);

    if (err != ERR_OK) {
        refuse(worker, from, number, err);
        free(piece);
        return;
    }
    piece->request.from = from;
    piece->number = number;
    piece->request.route =
        (struct route){.kind = ROUTE_PIECE, .origin = worker, .done = piece_done};
    router_piece(worker, &piece->request);
}

void peer_serve(struct worker *worker, uint64_t from, const struct frame_header *header,
                struct buf *payload)
{
    if (header->type == FRAME_WRITE)
        serve_write(worker, from, header->request, payload);
    else if (header->type == FRAME_DECLARE)
        serve_declare(worker, from, header->request, payload);
    else if (header->type == FRAME_DATABASE || header->type == FRAME_DELETE)
        serve_order(worker, from, header, payload);
    else if (header->type == FRAME_CANCEL)
        cancel_queries(worker, from, false, header->request);
    else if (header->type == FRAME_FETCH)
        serve_fetch(worker, from, header->request, payload);
    else if (header->type == FRAME_DAMAGED)
        shard_hear_damage(worker->node, from, payload);
    else
        serve_query(worker, from, header->request, payload);
}
