/*
 * router_take.c - what another node answers, into the request that it was asked with.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/message.h"
#include "node/router.h"
#include "node/worker.h"
#include "storage/base/buf.h"

enum { RETRY_MS = 50 };

/* Without memory the sender goes on with keys: longer, and right. */
static void take_ids(struct write_request *request, const uint8_t *ids, uint32_t count)
{
    free(request->ids);
    request->id_count = 0;
    request->ids = count == 0 ? NULL : malloc(count * sizeof *request->ids);
    if (request->ids == NULL)
        return;
    request->id_count = count;
    memcpy(request->ids, ids, count * sizeof *request->ids);
}

static enum err take_write_ok(struct write_request *request, const struct buf *payload)
{
    struct message_write_ok message;
    enum err err = message_get_write_ok(payload->bytes, payload->size, &message);

    if (err != ERR_OK)
        return err;
    request->duplicate = message.duplicate;
    request->index = message.index;
    request->rows = message.rows;
    take_ids(request, message.ids, message.id_count);
    return ERR_OK;
}

static enum err take_declare_ok(struct declare_request *request, const struct buf *payload)
{
    struct message_declare *message = calloc(1, sizeof *message);
    enum err err = message == NULL ? err_set(ERR_NO_MEMORY, "a declaration's answer")
                                   : message_get_declare(payload->bytes, payload->size, message);

    if (err == ERR_OK) {
        request->count = message->count;
        request->types = calloc(message->count + 1u, 1);
        if (request->types == NULL)
            err = err_set(ERR_NO_MEMORY, "a declaration's answer");
    }
    for (uint32_t i = 0; err == ERR_OK && i < message->count; i++)
        request->types[i] = message->fields[i].type;
    free(message);
    return err;
}

static enum err take_order_ok(struct order_request *request, const struct buf *payload)
{
    bytes_put(&request->answer, payload->bytes, payload->size);
    return request->answer.failed ? err_set(ERR_NO_MEMORY, "an order's answer") : ERR_OK;
}

/* ERR_END: more is to come. */
static enum err take_query_part(struct worker *worker, struct query_request *request, uint16_t type,
                                struct buf *payload)
{
    /* What holds them counts: parts may be small, or have nothing in them. */
    uint64_t bytes = request->bytes + sizeof *request->parts + sizeof *payload + payload->size;
    struct query_part *parts;
    struct message_query_end end;
    enum err err;

    if (type == FRAME_SHARD_END) {
        err = message_get_query_end(payload->bytes, payload->size, &end);
        if (err != ERR_OK)
            return err;
        request->rows = end.rows;
        request->next = end.next;
        request->stale_ms = end.stale_ms;
        request->route.answer.code = (enum err)end.code;
        request->route.answer.leader = end.leader;
        request->route.answer.retry_ms = RETRY_MS;
        (void)snprintf(request->route.answer.text, sizeof request->route.answer.text, "%.*s",
                       (int)end.text.size, end.text.data);
        return ERR_OK;
    }
    if (bytes > worker->node->options.limits.query_bytes)
        return err_set(ERR_LIMIT, "the answer is larger than limits.query_bytes, %" PRIu64,
                       worker->node->options.limits.query_bytes);
    parts = realloc(request->parts, (request->part_count + 1) * sizeof *parts);
    if (parts == NULL)
        return err_set(ERR_NO_MEMORY, "a query's answer");
    request->parts = parts;
    request->parts[request->part_count++] =
        (struct query_part){buf_ref(payload), type == FRAME_SHARD_PART};
    request->bytes = bytes;
    return ERR_END;
}

static enum err take_piece(struct piece_request *request, struct buf *payload)
{
    request->bytes = buf_ref(payload);
    return ERR_OK;
}

static enum err take_error(struct route *route, const struct buf *payload)
{
    struct message_error message;
    enum err err = message_get_error(payload->bytes, payload->size, &message);

    if (err != ERR_OK)
        return err;
    route->answer.code = (enum err)message.code;
    route->answer.leader = message.leader;
    route->answer.retry_ms = message.retry_ms;
    route->answer.cutoff_ns = message.cutoff_ns;
    (void)snprintf(route->answer.text, sizeof route->answer.text, "%.*s", (int)message.text.size,
                   message.text.data);
    if (route->kind == ROUTE_WRITE)
        take_ids((struct write_request *)route, message.ids, message.id_count);
    return ERR_OK;
}

enum err router_take(struct worker *worker, struct route *route, uint16_t type, struct buf *payload)
{
    enum err err;

    if (type == FRAME_ERROR)
        err = take_error(route, payload);
    else if (type == FRAME_WRITE_OK && route->kind == ROUTE_WRITE)
        err = take_write_ok((struct write_request *)route, payload);
    else if (type == FRAME_DECLARE_OK && route->kind == ROUTE_DECLARE)
        err = take_declare_ok((struct declare_request *)route, payload);
    else if ((type == FRAME_DATABASE_OK || type == FRAME_DELETE_OK) && route->kind == ROUTE_ORDER)
        err = take_order_ok((struct order_request *)route, payload);
    else if (type >= FRAME_SHARD_ROWS && type <= FRAME_SHARD_END && route->kind == ROUTE_QUERY)
        err = take_query_part(worker, (struct query_request *)route, type, payload);
    else if (type == FRAME_FETCH_OK && route->kind == ROUTE_PIECE)
        err = take_piece((struct piece_request *)route, payload);
    else
        err = err_set(ERR_INVALID, "node %" PRIu64 " answered with a frame of type %u", route->peer,
                      type);
    return err;
}
