#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "client/call.h"
#include "client/client.h"
#include "client/result.h"

#define MS_NS UINT64_C(1000000)

enum { TIMEOUT_MS = 30000 };

static const char *const agg_names[QUERY_AGG_END] = {
    [QUERY_RAW] = "none", [QUERY_COUNT] = "count", [QUERY_MIN] = "min",     [QUERY_MAX] = "max",
    [QUERY_SUM] = "sum",  [QUERY_MEAN] = "mean",   [QUERY_FIRST] = "first", [QUERY_LAST] = "last",
};
static const char *const op_names[QUERY_OP_END] = {
    [QUERY_EQUAL] = "=",
    [QUERY_NOT_EQUAL] = "!=",
    [QUERY_MATCHES] = "=~",
    [QUERY_NOT_MATCHES] = "!~",
};
static const char *const about_names[QUERY_ABOUT_END] = {
    [QUERY_ROWS] = "rows",
    [QUERY_SERIES] = "series",
    [QUERY_LABELS] = "labels",
    [QUERY_VALUES] = "values",
};
static const char *const consistency_names[] = {
    [QUERY_LEADER] = "leader",
    [QUERY_LINEARIZABLE] = "linearizable",
    [QUERY_ANY] = "any",
};

/* ---- The question -------------------------------------------------------------------------- */

static enum err find_name(const char *what, const char *name, const char *const *names,
                          uint32_t count, uint32_t *ret_at)
{
    *ret_at = 0;
    if (!name)
        return ERR_OK;
    while (*ret_at < count && strcmp(names[*ret_at], name) != 0)
        ++*ret_at;
    if (*ret_at == count)
        return err_set(ERR_INVALID, "\"%.40s\" is no %s", name, what);
    return ERR_OK;
}

static enum err fill_where(const struct millrace_query *from, struct query *query)
{
    enum err err = ERR_OK;

    for (size_t i = 0; i < from->where_count && err == ERR_OK; i++) {
        struct query_match *match = &query->where[query->where_count++];

        match->name = from->where[i].tag;
        match->value = from->where[i].value;
        err = find_name("operator", from->where[i].op, op_names, QUERY_OP_END, &match->op);
    }
    return err;
}

static enum err fill(const struct millrace_query *from, struct query *query)
{
    bool everything = from->from_ns == 0 && from->to_ns == 0;
    enum err err;

    if (!from->table || !*from->table)
        return err_set(ERR_INVALID, "a query needs a table");
    if (from->field_count > QUERY_FIELDS_MAX || from->where_count > QUERY_TAGS_MAX ||
        from->group_count > QUERY_TAGS_MAX)
        return err_set(ERR_LIMIT,
                       "a query of %zu fields, %zu conditions, %zu groups: at most %d, %d and %d "
                       "are allowed",
                       from->field_count, from->where_count, from->group_count, QUERY_FIELDS_MAX,
                       QUERY_TAGS_MAX, QUERY_TAGS_MAX);
    query->table = from->table;
    query->field_count = (uint32_t)from->field_count;
    for (size_t i = 0; i < from->field_count; i++)
        query->fields[i] = from->fields[i];
    query->group_count = (uint32_t)from->group_count;
    for (size_t i = 0; i < from->group_count; i++)
        query->group_by[i] = from->group_by[i];
    query->from_ns = everything ? INT64_MIN : from->from_ns;
    query->to_ns = everything ? INT64_MAX : from->to_ns;
    query->every_ns = from->every_ns;
    query->last = from->last != 0;
    query->limit = from->limit;
    err = find_name("aggregate", from->agg, agg_names, QUERY_AGG_END, &query->agg);
    if (err == ERR_OK)
        err = find_name("consistency", from->consistency, consistency_names, QUERY_ANY + 1,
                        &query->consistency);
    if (err == ERR_OK)
        err =
            find_name("kind of question", from->about, about_names, QUERY_ABOUT_END, &query->about);
    /* Shards name the same ones: what is left of so many rows may be fewer. */
    if (query->about == QUERY_LABELS || query->about == QUERY_VALUES)
        query->limit = 0;
    return err == ERR_OK ? fill_where(from, query) : err;
}

/* ---- The answer (I/O thread) --------------------------------------------------------------- */

static enum err take_end(struct millrace_result *result, const uint8_t *payload, size_t size)
{
    struct message_query_end end;
    enum err err = message_get_query_end(payload, size, &end);

    if (err != ERR_OK)
        return err;
    if (end.code != ERR_OK)
        return err_set(end.code > ERR_END && end.code < ERR_COUNT ? (enum err)end.code
                                                                  : ERR_INVALID,
                       "query: %.*s", (int)end.text.size, end.text.data);
    if (end.rows != result->columns.rows)
        return err_set(ERR_INVALID, "query: %u rows came, %" PRIu64 " were sent",
                       (unsigned)result->columns.rows, end.rows);
    result->stale_ms = end.stale_ms;
    return ERR_END;
}

static enum err on_answer(void *ctx, uint16_t type, const uint8_t *payload, size_t size)
{
    if (type == FRAME_QUERY_BATCH)
        return result_add(ctx, payload, size);
    if (type == FRAME_QUERY_END)
        return take_end(ctx, payload, size);
    return err_set(ERR_INVALID, "QUERY was answered with a frame of type %u", (unsigned)type);
}

static void on_restart(void *ctx)
{
    result_clear(ctx);
}

/* ---- Both ---------------------------------------------------------------------------------- */

static enum err run(struct millrace *m, const struct query *query, uint32_t timeout_ms,
                    struct millrace_result *result)
{
    struct call call = {
        .type = FRAME_QUERY,
        .timeout_ns = timeout_ms * MS_NS,
        .on_answer = on_answer,
        .on_restart = on_restart,
        .ctx = result,
    };
    struct bytes bytes = {0};
    enum err err;

    message_put_query(query, 0, timeout_ms, &bytes);
    if (bytes.size > MESSAGE_QUERY_MAX)
        err = err_set(ERR_TOO_LARGE, "a query of %zu bytes, at most %d are allowed", bytes.size,
                      MESSAGE_QUERY_MAX);
    else if (!(call.payload = session_payload(&bytes)))
        err = err_set(ERR_NO_MEMORY, "a query of %zu bytes", bytes.size);
    else
        err = io_call(m->io, &call, 1);
    buf_unref(call.payload);
    bytes_fini(&bytes);
    return err;
}

enum millrace_code millrace_query(struct millrace *m, const struct millrace_query *from,
                                  struct millrace_result **ret_result)
{
    struct slice database = names_database(m->names);
    struct query *query = calloc(1, sizeof *query);
    struct millrace_result *result = calloc(1, sizeof *result);
    char *copy = strndup(database.data, database.size);
    enum err err;

    if (!query || !result || !copy) {
        err = err_set(ERR_NO_MEMORY, "a query");
    } else {
        query->database = copy;
        err = fill(from, query);
    }
    if (err == ERR_OK)
        err = run(m, query, from->timeout_ms ? from->timeout_ms : TIMEOUT_MS, result);
    if (err == ERR_OK)
        err = result_order(result, from->fields, from->field_count, from->limit);
    free(copy);
    free(query);
    if (err != ERR_OK) {
        enum millrace_code code = client_fail(m, err);

        millrace_result_free(result);
        return code;
    }
    *ret_result = result;
    return MILLRACE_OK;
}
