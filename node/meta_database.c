/*
 * Databases in the meta group: checked by the leader, decided by the log, told to every worker of
 * every node.
 *
 *    NONE --create--> THERE --alter--> THERE --drop--> DROPPED --create, some time later--> THERE
 *
 * A dropped one keeps its place, so that writes under its name are refused and do not make it anew.
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "client/wire/message.h"
#include "node/meta_internal.h"
#include "node/shard_io.h"
#include "storage/base/check.h"

/* After a drop, before one of that name is made again: every shard's leader has heard of the drop
 * by then, and none erases rows of the new one with those of the old. */
enum { SETTLE_MS = 10000 };

/* The other nodes apply a decision with the leader's next heartbeat. Who asked for it is told
 * later, so that he finds it done at whichever node he goes to next. */
enum { SPREAD_MS = 200 };

#define NAME(slice) (int)(slice).size, (slice).data

/* ---- Checking ------------------------------------------------------------------------------ */

static enum err check_limits(const struct message_database *message)
{
    if (message->sets_retention && message->retention_ns != 0 &&
        (message->retention_ns < SCHEMA_RETENTION_MIN_NS ||
         message->retention_ns > SCHEMA_RETENTION_MAX_NS))
        return err_set(ERR_INVALID,
                       "database \"%.*s\": a retention of %" PRIu64
                       " ns; allowed are one minute to 100 years, and 0 for ever",
                       NAME(message->name), message->retention_ns);
    return ERR_OK;
}

/* Whether the operation can be done on what is there: asked before it is proposed, for the answer,
 * and when it is applied, for the decision. */
static enum err check_state(const struct meta *meta, const struct message_database *message)
{
    const struct schema_database *known = schema_map_database(&meta->map, message->name);

    if (message->op == DATABASE_CREATE && known != NULL && !known->dropped)
        return err_set(ERR_INVALID, "database \"%.*s\" exists; millrace db alter changes it",
                       NAME(message->name));
    if (message->op != DATABASE_CREATE && (known == NULL || known->dropped))
        return err_set(ERR_NOT_FOUND, "there is no database \"%.*s\"%s", NAME(message->name),
                       known == NULL ? "" : ": it was dropped");
    return ERR_OK;
}

static enum err check_settled(const struct meta *meta, const struct message_database *message)
{
    const struct schema_database *known = schema_map_database(&meta->map, message->name);
    uint64_t now_ms = worker_now_ms();

    if (message->op == DATABASE_CREATE && known != NULL && known->dropped &&
        now_ms - known->dropped_ms < SETTLE_MS)
        return err_set(ERR_UNAVAILABLE,
                       "database \"%.*s\" was dropped a moment ago, and its rows are being erased: "
                       "make it again in %" PRIu64 " s",
                       NAME(message->name),
                       (SETTLE_MS - (now_ms - known->dropped_ms) + 999) / 1000);
    return ERR_OK;
}

/* ---- Answers ------------------------------------------------------------------------------- */

static void put_info(const struct schema_database *database, struct bytes *out)
{
    struct message_database_info info = {
        .name = {database->name, strlen(database->name)},
        .retention_ns = database->retention_ns,
        .retention_bytes = database->retention_bytes,
        .series_max = database->series_max,
        .window_ns = (uint64_t)schema_map_window_ns(database->retention_ns),
    };

    message_put_database_info(&info, out);
}

static void answer(struct meta *meta, struct order_request *request, enum err err)
{
    if (err == ERR_OK && request->answer.failed)
        err = err_set(ERR_NO_MEMORY, "a list of databases");
    if (err != ERR_OK) {
        router_fail(meta->shard->worker, &request->route, err,
                    err == ERR_BUSY || err == ERR_UNAVAILABLE ? META_RETRY_MS : 0);
        return;
    }
    request->route.answer.code = ERR_OK;
    router_answer(meta->shard->worker, &request->route);
}

static void answer_list(struct meta *meta, struct order_request *request)
{
    for (uint32_t i = 0; i < meta->map.database_count; i++)
        if (!meta->map.databases[i].dropped)
            put_info(&meta->map.databases[i], &request->answer);
    answer(meta, request, ERR_OK);
}

static void take_first(struct order_request **first, struct order_request ***end)
{
    *first = (*first)->next;
    if (*first == NULL)
        *end = first;
}

void meta_answer_databases(struct meta *meta, uint64_t now_ms)
{
    while (meta->decided != NULL && meta->decided->due_ms <= now_ms) {
        struct order_request *request = meta->decided;

        take_first(&meta->decided, &meta->decided_end);
        answer(meta, request, ERR_OK);
    }
}

void meta_lose_databases(struct meta *meta)
{
    meta_answer_databases(meta, UINT64_MAX);
    while (meta->databases != NULL) {
        struct order_request *request = meta->databases;

        meta->databases = request->next;
        answer(meta, request,
               err_set(ERR_UNAVAILABLE,
                       "the meta group's leader changed: the change may be done or "
                       "not; look at millrace db list"));
    }
    meta->databases_end = &meta->databases;
}

/* ---- Proposing ----------------------------------------------------------------------------- */

static enum err propose(struct meta *meta, struct message_database *message, uint64_t *ret_index)
{
    const struct options *options = &meta->shard->worker->node->options;
    struct bytes bytes = {0};
    enum err err;

    if (message->op == DATABASE_CREATE && !message->sets_retention)
        message->retention_ns = options->databases.retention_ms * UINT64_C(1000000);
    if (message->op == DATABASE_CREATE && !message->sets_bytes)
        message->retention_bytes = 0;
    if (message->op == DATABASE_CREATE && !message->sets_series)
        message->series_max = 0;
    message_put_database(message, &bytes);
    err = meta_propose(meta, ENTRY_DATABASE, &bytes, ret_index);
    bytes_fini(&bytes);
    return err;
}

enum err meta_create_default(struct meta *meta, struct slice name)
{
    struct message_database message = {.op = DATABASE_CREATE, .name = name};
    uint64_t index;

    return propose(meta, &message, &index);
}

void meta_database(struct meta *meta, struct order_request *request)
{
    struct message_database message;
    enum err err = message_get_database(request->message.data, request->message.size, &message);

    if (err == ERR_OK)
        err = check_limits(&message);
    if (err == ERR_OK && !shard_can_propose(meta->shard, &request->route.answer)) {
        router_answer(meta->shard->worker, &request->route);
        return;
    }
    if (err == ERR_OK && message.op == DATABASE_LIST) {
        answer_list(meta, request);
        return;
    }
    if (err == ERR_OK)
        err = check_state(meta, &message);
    if (err == ERR_OK)
        err = check_settled(meta, &message);
    if (err == ERR_OK)
        err = propose(meta, &message, &request->wait_index);
    if (err != ERR_OK) {
        answer(meta, request, err);
        return;
    }
    request->next = NULL;
    *meta->databases_end = request;
    meta->databases_end = &request->next;
}

/* ---- Applying ------------------------------------------------------------------------------ */

static enum err change(struct meta *meta, uint64_t index, const struct message_database *message)
{
    const struct schema_database *known = schema_map_database(&meta->map, message->name);
    struct schema_database database = known == NULL ? (struct schema_database){0} : *known;
    bool creates = message->op == DATABASE_CREATE;

    if (creates || message->sets_retention)
        database.retention_ns = message->retention_ns;
    if (creates || message->sets_bytes)
        database.retention_bytes = message->retention_bytes;
    if (creates || message->sets_series)
        database.series_max = message->series_max;
    database.dropped = message->op == DATABASE_DROP;
    if (database.dropped) {
        database.drop = index;
        database.dropped_ms = worker_now_ms();
    }
    return schema_map_set_database(&meta->map, message->name, &database);
}

/* ERR_INVALID, ERR_NOT_FOUND, ERR_LIMIT: it is not done, on every replica alike. */
static enum err apply(struct meta *meta, uint64_t index, const struct message_database *message)
{
    struct worker *worker = meta->shard->worker;
    enum err err = check_state(meta, message);

    if (err == ERR_OK)
        err = change(meta, index, message);
    if (err == ERR_OK) {
        const struct schema_database *now = schema_map_database(&meta->map, message->name);

        for (uint32_t i = 0; i < worker->node->worker_count; i++)
            worker_teach_database(worker, &worker->node->workers[i], now);
    }
    return err;
}

enum err meta_apply_database(struct meta *meta, uint64_t index, const void *body, size_t size)
{
    struct order_request *request = meta->databases;
    struct message_database message;
    enum err err = message_get_database(body, size, &message);

    if (err != ERR_OK)
        return err;
    err = apply(meta, index, &message);
    if (err == ERR_NO_MEMORY)
        return err;
    if (request == NULL || request->wait_index != index)
        return ERR_OK; /* Nobody here waits for it. */
    take_first(&meta->databases, &meta->databases_end);
    if (err != ERR_OK) {
        answer(meta, request, err);
        return ERR_OK;
    }
    if (message.op != DATABASE_DROP)
        put_info(schema_map_database(&meta->map, message.name), &request->answer);
    request->due_ms = worker_now_ms() + SPREAD_MS;
    request->next = NULL;
    *meta->decided_end = request;
    meta->decided_end = &request->next;
    return ERR_OK;
}
