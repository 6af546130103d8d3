#include "node/router.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/message.h"
#include "node/meta.h"
#include "node/peer.h"
#include "node/shard.h"
#include "storage/base/buf.h"
#include "storage/base/check.h"
#include "storage/base/log_line.h"

enum {
    SLOTS_MAX = 1 << 16, /* Requests of one worker under way at other nodes. */
    EXPIRES_MS = 10000,
    RETRY_MS = 50,
    QUERY_GRACE_MS = 2000, /* The shard's own time-out comes first. */
};

/* ---- Requests ------------------------------------------------------------------------------ */

void router_free_write(struct write_request *request)
{
    buf_unref(request->entry);
    free(request->ids);
    free(request);
}

void router_free_declare(struct declare_request *request)
{
    bytes_fini(&request->message);
    free(request->types);
    free(request);
}

enum err router_read_order(uint16_t frame, const struct buf *payload, struct order_request *request,
                           uint16_t *ret_answer)
{
    struct message_delete message;
    enum err err;

    *ret_answer = frame == FRAME_DELETE ? FRAME_DELETE_OK : FRAME_DATABASE_OK;
    bytes_put(&request->message, payload->bytes, payload->size);
    if (frame != FRAME_DELETE)
        return ERR_OK;
    err = message_get_delete(payload->bytes, payload->size, &message);
    if (err == ERR_OK)
        request->group = message.shard + 1;
    return err == ERR_OK && request->group == 0 ? err_set(ERR_INVALID, "no such shard") : err;
}

void router_free_order(struct order_request *request)
{
    bytes_fini(&request->message);
    bytes_fini(&request->answer);
    free(request);
}

void router_free_query(struct query_request *request)
{
    for (uint32_t i = 0; i < request->part_count; i++)
        buf_unref(request->parts[i].bytes);
    free(request->parts);
    free(request);
}

void router_free_piece(struct piece_request *request)
{
    buf_unref(request->bytes);
    free(request);
}

void router_encode_types(const struct declare_request *request, struct bytes *out)
{
    struct message_declare *message = calloc(1, sizeof *message);
    enum err err = message == NULL
                       ? err_set(ERR_NO_MEMORY, "a declaration")
                       : message_get_declare(request->message.data, request->message.size, message);

    /* Its bytes were decoded when the types were decided. */
    for (uint32_t i = 0; err == ERR_OK && i < message->count && i < request->count; i++)
        message->fields[i].type = request->types[i];
    if (err == ERR_OK)
        message_put_declare(message, out);
    else
        out->failed = true;
    free(message);
}

enum err router_learn_types(struct worker *worker, const struct declare_request *request)
{
    struct message_declare *message = calloc(1, sizeof *message);
    enum err err = message == NULL
                       ? err_set(ERR_NO_MEMORY, "types")
                       : message_get_declare(request->message.data, request->message.size, message);

    if (err == ERR_OK && message->count != request->count)
        err = err_set(ERR_UNAVAILABLE, "%u fields were asked for, %u types came", message->count,
                      request->count);
    for (uint32_t i = 0; err == ERR_OK && i < message->count; i++)
        err = schema_map_add(&worker->schema, message->table_key, message->fields[i].name,
                             (enum field_type)request->types[i]);
    free(message);
    return err;
}

static void answered(struct worker *worker, void *arg)
{
    struct route *route = arg;

    worker->requests--;
    route->done(route);
}

void router_answer(struct worker *worker, struct route *route)
{
    worker_call(worker, route->origin, answered, route);
}

void router_fail(struct worker *worker, struct route *route, enum err code, uint32_t retry_ms)
{
    route->answer.code = code;
    route->answer.retry_ms = retry_ms;
    (void)snprintf(route->answer.text, sizeof route->answer.text, "%s", err_detail());
    router_answer(worker, route);
}

/* ---- Requests at other nodes --------------------------------------------------------------- */

/* worker (8) | slot (24) | generation (32) */
static uint64_t request_number(const struct worker *worker, uint32_t slot, uint32_t generation)
{
    return (uint64_t)worker->number << 56 | (uint64_t)slot << 32 | generation;
}

static enum err take_slot(struct worker *worker, struct route *route, uint64_t *ret_number)
{
    struct router *router = &worker->router;
    struct router_slot *slot;

    if (router->free == router->count) {
        uint32_t count = router->count == 0 ? 64 : router->count * 2;
        /* Answers to what this node asked before its last start are not taken for others. */
        uint32_t generation = worker->node->epoch * 0x9e3779b1u;
        struct router_slot *slots;

        if (count > SLOTS_MAX)
            return err_set(ERR_BUSY, "%u requests wait for other nodes", router->count);
        slots = realloc(router->slots, count * sizeof *slots);
        if (slots == NULL)
            return err_set(ERR_NO_MEMORY, "%u requests to other nodes", count);
        for (uint32_t i = router->count; i < count; i++)
            slots[i] = (struct router_slot){.generation = generation, .next_free = i + 1};
        router->slots = slots;
        router->count = count;
    }
    slot = &router->slots[router->free];
    *ret_number = request_number(worker, router->free, slot->generation);
    router->free = slot->next_free;
    slot->route = route;
    return ERR_OK;
}

static void free_slot(struct router *router, uint32_t at)
{
    struct router_slot *slot = &router->slots[at];

    slot->route = NULL;
    slot->generation++;
    slot->next_free = router->free;
    router->free = at;
}

static struct route *find_route(struct router *router, uint64_t number, uint32_t *ret_slot)
{
    uint32_t at = (uint32_t)(number >> 32) & 0xffffff;

    if (at >= router->count || router->slots[at].route == NULL ||
        router->slots[at].generation != (uint32_t)number)
        return NULL;
    *ret_slot = at;
    return router->slots[at].route;
}

/* Send a request to another node; takes over the caller's reference of `payload`. */
static void ask_peer(struct worker *worker, struct route *route, uint64_t server, uint16_t type,
                     struct buf *payload, uint32_t expires_ms, bool urgent)
{
    uint64_t number = 0;
    uint32_t slot;
    enum err err = payload == NULL ? err_set(ERR_NO_MEMORY, "a request to node %" PRIu64, server)
                                   : take_slot(worker, route, &number);

    if (err == ERR_OK) {
        route->peer = server;
        route->number = number;
        route->expires_ms = worker_now_ms() + expires_ms;
        err = links_frame(worker->links, server, type, number, payload, urgent);
        if (err != ERR_OK && find_route(&worker->router, number, &slot) == route)
            free_slot(&worker->router, slot);
    }
    buf_unref(payload);
    if (err != ERR_OK)
        router_fail(worker, route, err, RETRY_MS);
}

void router_fini(struct router *router)
{
    free(router->slots);
    *router = (struct router){0};
}

static void end_route(struct worker *worker, uint32_t slot, enum err code)
{
    struct route *route = worker->router.slots[slot].route;

    free_slot(&worker->router, slot);
    router_fail(worker, route, code, RETRY_MS);
}

void router_peer_down(struct worker *worker, uint64_t server)
{
    for (uint32_t i = 0; i < worker->router.count; i++) {
        if (worker->router.slots[i].route != NULL && worker->router.slots[i].route->peer == server)
            end_route(worker, i,
                      err_set(ERR_UNAVAILABLE, "the link to node %" PRIu64 " broke", server));
    }
}

void router_close(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->router.count; i++) {
        if (worker->router.slots[i].route != NULL)
            end_route(worker, i, err_set(ERR_CANCELED, "the node stops"));
    }
}

/* Whose leader the request is for; false: for the node that was asked, whoever leads. */
static bool is_for_leader(const struct route *route, uint32_t *ret_group)
{
    switch (route->kind) {
    case ROUTE_WRITE:
        *ret_group = ((const struct write_request *)route)->shard + 1;
        return true;
    case ROUTE_DECLARE:
        *ret_group = 0;
        return true;
    case ROUTE_ORDER:
        *ret_group = ((const struct order_request *)route)->group;
        return true;
    case ROUTE_QUERY:
        *ret_group = ((const struct query_request *)route)->shard + 1;
        return ((const struct query_request *)route)->at == 0;
    case ROUTE_PIECE:
        break;
    }
    return false;
}

/* Another one leads than the one that was asked, who may hang: no use in waiting. */
static bool leader_moved(const struct worker *worker, const struct route *route)
{
    uint32_t group;
    uint64_t leader;

    if (!is_for_leader(route, &group))
        return false;
    leader = atomic_load_explicit(&worker->node->leaders[group], memory_order_relaxed);
    return leader != 0 && leader != route->peer;
}

/* Who was asked a query need not go on with it. */
static void take_back(struct worker *worker, const struct route *route)
{
    struct buf *nothing = buf_new(0);
    enum err err;

    if (nothing == NULL)
        return;
    err = links_frame(worker->links, route->peer, FRAME_CANCEL, route->number, nothing, true);
    (void)err; /* It goes on there to its time-out, or with the link. */
    buf_unref(nothing);
}

static void leave_for_new_leader(struct worker *worker, uint32_t slot)
{
    const struct route *route = worker->router.slots[slot].route;

    if (route->kind == ROUTE_QUERY)
        take_back(worker, route);
    end_route(worker, slot,
              err_set(ERR_UNAVAILABLE, "node %" PRIu64 " does not lead any more", route->peer));
}

void router_tick(struct worker *worker, uint64_t now_ms)
{
    for (uint32_t i = 0; i < worker->router.count; i++) {
        struct route *route = worker->router.slots[i].route;

        if (route != NULL && leader_moved(worker, route))
            leave_for_new_leader(worker, i);
        else if (route != NULL && route->expires_ms <= now_ms)
            end_route(worker, i,
                      err_set(ERR_TIMEOUT, "node %" PRIu64 " did not answer in time", route->peer));
    }
}

/* ---- Where to ------------------------------------------------------------------------------ */

static void run_write(struct worker *worker, void *arg)
{
    struct write_request *request = arg;

    shard_write(worker->groups[request->shard + 1], request);
}

static void run_query(struct worker *worker, void *arg)
{
    struct query_request *request = arg;

    shard_query(worker->groups[request->shard + 1], request);
}

static uint32_t piece_group(const struct piece_request *request)
{
    return request->piece.shard == FETCH_META ? 0 : request->piece.shard + 1;
}

static void run_piece(struct worker *worker, void *arg)
{
    struct piece_request *request = arg;

    shard_piece(worker->groups[piece_group(request)], request);
}

static void run_declare(struct worker *worker, void *arg)
{
    meta_declare(worker->node->meta, arg);
}

static void run_order(struct worker *worker, void *arg)
{
    struct order_request *request = arg;

    if (request->group == 0)
        meta_database(worker->node->meta, request);
    else
        shard_delete(worker->groups[request->group], request);
}

/* A request begins. False: the worker closes, the request has ended already. */
static bool begin(struct worker *worker, struct route *route)
{
    worker->requests++;
    if (worker->phase != WORKER_CLOSING)
        return true;
    router_fail(worker, route, err_set(ERR_CANCELED, "the node stops"), 0);
    return false;
}

/* The node to ask, or 0 when it is this one (its worker then says whether it may). */
static uint64_t elsewhere(const struct worker *worker, uint32_t group)
{
    uint64_t leader = atomic_load_explicit(&worker->node->leaders[group], memory_order_relaxed);

    return leader == worker->node->server ? 0 : leader;
}

static struct worker *owner(struct worker *worker, uint32_t group)
{
    return &worker->node->workers[node_owner(worker->node, group)];
}

static struct buf *buf_of(const struct bytes *bytes)
{
    struct buf *buf =
        bytes->failed || bytes->size > FRAME_PAYLOAD_MAX ? NULL : buf_new((uint32_t)bytes->size);

    if (buf != NULL) {
        if (bytes->size > 0)
            memcpy(buf->bytes, bytes->data, bytes->size);
        buf->size = (uint32_t)bytes->size;
    }
    return buf;
}

void router_write(struct worker *worker, struct write_request *request)
{
    uint64_t server;

    if (!begin(worker, &request->route))
        return;
    if (request->shard >= worker->node->shards) {
        router_fail(worker, &request->route,
                    err_set(ERR_INVALID, "shard %u: this site has %u", request->shard,
                            worker->node->shards),
                    0);
        return;
    }
    server = request->local_only ? 0 : elsewhere(worker, request->shard + 1);
    if (server == 0)
        worker_call(worker, owner(worker, request->shard + 1), run_write, request);
    else
        ask_peer(worker, &request->route, server, FRAME_WRITE, buf_ref(request->entry), EXPIRES_MS,
                 false);
}

void router_declare(struct worker *worker, struct declare_request *request)
{
    uint64_t server = elsewhere(worker, 0);

    if (!begin(worker, &request->route))
        return;
    if (request->message.failed)
        router_fail(worker, &request->route, err_set(ERR_NO_MEMORY, "a declaration"), RETRY_MS);
    else if (server == 0 || request->local_only)
        worker_call(worker, owner(worker, 0), run_declare, request);
    else
        ask_peer(worker, &request->route, server, FRAME_DECLARE, buf_of(&request->message),
                 EXPIRES_MS, true);
}

void router_order(struct worker *worker, struct order_request *request)
{
    bool exists = request->group < worker->node->groups;
    uint64_t server = exists ? elsewhere(worker, request->group) : 0;

    if (!begin(worker, &request->route))
        return;
    if (!exists)
        router_fail(worker, &request->route,
                    err_set(ERR_INVALID, "shard %u: this site has %u", request->group - 1,
                            worker->node->shards),
                    0);
    else if (request->message.failed)
        router_fail(worker, &request->route, err_set(ERR_NO_MEMORY, "an order"), RETRY_MS);
    else if (server == 0 || request->local_only)
        worker_call(worker, owner(worker, request->group), run_order, request);
    else
        ask_peer(worker, &request->route, server,
                 request->group == 0 ? FRAME_DATABASE : FRAME_DELETE, buf_of(&request->message),
                 EXPIRES_MS, true);
}

void router_query(struct worker *worker, struct query_request *request)
{
    uint64_t server = request->at != 0                  ? request->at
                      : request->local || request->here ? 0
                                                        : elsewhere(worker, request->shard + 1);
    uint32_t limit_ms = worker->node->options.limits.query_time_ms;
    struct bytes bytes = {0};

    if (!begin(worker, &request->route))
        return;
    if (server == 0) {
        worker_call(worker, owner(worker, request->shard + 1), run_query, request);
        return;
    }
    message_put_query(request->query, request->shard, request->timeout_ms, &bytes);
    ask_peer(worker, &request->route, server, FRAME_SHARD_QUERY, buf_of(&bytes),
             (request->timeout_ms == 0 || request->timeout_ms > limit_ms ? limit_ms
                                                                         : request->timeout_ms) +
                 QUERY_GRACE_MS,
             true);
    bytes_fini(&bytes);
}

void router_cancel(struct worker *worker, struct query_request *request)
{
    struct route *route = &request->route;
    uint32_t slot;

    atomic_store_explicit(&request->canceled, true, memory_order_relaxed);
    if (route->peer == 0 || find_route(&worker->router, route->number, &slot) != route)
        return; /* A worker of this node has it, and looks. */
    take_back(worker, route);
    end_route(worker, slot, err_set(ERR_CANCELED, "nobody waits for the answer"));
}

void router_piece(struct worker *worker, struct piece_request *request)
{
    struct bytes bytes = {0};

    if (!begin(worker, &request->route))
        return;
    if (piece_group(request) >= worker->node->groups) {
        router_fail(worker, &request->route,
                    err_set(ERR_INVALID, "shard %u: this site has %u", request->piece.shard,
                            worker->node->shards),
                    0);
    } else if (request->server == 0) {
        worker_call(worker, owner(worker, piece_group(request)), run_piece, request);
    } else {
        fetch_put_piece(&request->piece, &bytes);
        ask_peer(worker, &request->route, request->server, FRAME_FETCH, buf_of(&bytes),
                 request->timeout_ms, false);
        bytes_fini(&bytes);
    }
}

/* ---- Frames ------------------------------------------------------------------------------- */

static void take_answer(struct worker *worker, uint64_t from, const struct frame_header *header,
                        struct buf *payload)
{
    uint32_t slot = 0;
    struct route *route = find_route(&worker->router, header->request, &slot);
    enum err err;

    if (route == NULL || route->peer != from)
        return; /* It came after its time-out. */
    route->answer.code = ERR_OK;
    err = router_take(worker, route, header->type, payload);
    if (err == ERR_END)
        return;
    free_slot(&worker->router, slot);
    if (err == ERR_OK)
        router_answer(worker, route);
    else if (err == ERR_INVALID) /* Of the answer: nobody knows what became of the request. */
        router_fail(worker, route, ERR_UNAVAILABLE, RETRY_MS);
    else
        router_fail(worker, route, err, RETRY_MS);
}

struct frame_mail {
    uint64_t from;
    struct frame_header header;
    struct buf *payload;
};

static void run_frame(struct worker *worker, void *arg)
{
    struct frame_mail *mail = arg;

    take_answer(worker, mail->from, &mail->header, mail->payload);
    buf_unref(mail->payload);
    free(mail);
}

static void pass_answer(struct worker *worker, uint64_t from, const struct frame_header *header,
                        struct buf *payload)
{
    uint32_t number = (uint32_t)(header->request >> 56);
    struct frame_mail *mail;

    if (number == worker->number) {
        take_answer(worker, from, header, payload);
        return;
    }
    if (number >= worker->node->worker_count)
        return;
    mail = malloc(sizeof *mail);
    if (mail == NULL)
        return; /* Its time-out ends it. */
    *mail = (struct frame_mail){from, *header, buf_ref(payload)};
    worker_call(worker, &worker->node->workers[number], run_frame, mail);
}

void router_frame(struct worker *worker, uint64_t from, const struct frame_header *header,
                  struct buf *payload)
{
    switch (header->type) {
    case FRAME_WRITE:
    case FRAME_DECLARE:
    case FRAME_DATABASE:
    case FRAME_DELETE:
    case FRAME_SHARD_QUERY:
    case FRAME_CANCEL:
    case FRAME_FETCH:
    case FRAME_DAMAGED:
        peer_serve(worker, from, header, payload);
        break;
    case FRAME_ERROR:
    case FRAME_WRITE_OK:
    case FRAME_DECLARE_OK:
    case FRAME_DATABASE_OK:
    case FRAME_DELETE_OK:
    case FRAME_SHARD_ROWS:
    case FRAME_SHARD_PART:
    case FRAME_SHARD_END:
    case FRAME_FETCH_OK:
        pass_answer(worker, from, header, payload);
        break;
    default:
        log_warn("node %" PRIu64 " sent a frame of type %u, which nobody here knows", from,
                 header->type);
    }
}
