#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/call.h"
#include "client/client.h"
#include "client/result.h"
#include "storage/base/clk.h"

#define MS_NS UINT64_C(1000000)

enum { TIMEOUT_MS = 30000, PAGE_AGAIN_MS = 10000 };

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
    [QUERY_ROWS] = "rows",     [QUERY_SERIES] = "series", [QUERY_LABELS] = "labels",
    [QUERY_VALUES] = "values", [QUERY_TABLES] = "tables", [QUERY_DATABASES] = "databases",
};
static const char *const consistency_names[] = {
    [QUERY_LEADER] = "leader",
    [QUERY_LINEARIZABLE] = "linearizable",
    [QUERY_ANY] = "any",
};

/* ---- The question -------------------------------------------------------------------------- */

static enum err no_such_name(const char *what, const char *name, const char *const *names,
                             uint32_t count)
{
    char list[160] = "";

    for (uint32_t i = 0; i < count; i++) {
        size_t used = strlen(list);

        (void)snprintf(list + used, sizeof list - used, "%s%s", i == 0 ? "" : ", ", names[i]);
    }
    return err_set(ERR_INVALID, "\"%.40s\" is no %s: want %s", name, what, list);
}

static enum err find_name(const char *what, const char *name, const char *const *names,
                          uint32_t count, uint32_t *ret_at)
{
    *ret_at = 0;
    if (!name)
        return ERR_OK;
    while (*ret_at < count && strcmp(names[*ret_at], name) != 0)
        ++*ret_at;
    return *ret_at < count ? ERR_OK : no_such_name(what, name, names, count);
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

    err = find_name("kind of question", from->about, about_names, QUERY_ABOUT_END, &query->about);
    if (err != ERR_OK)
        return err;
    if (query->about < QUERY_TABLES && (!from->table || !*from->table))
        return err_set(ERR_INVALID, "a query needs a table");
    if (from->field_count > QUERY_FIELDS_MAX || from->where_count > QUERY_TAGS_MAX ||
        from->group_count > QUERY_TAGS_MAX)
        return err_set(ERR_LIMIT,
                       "a query of %zu fields, %zu conditions, %zu groups: at most %d, %d and %d "
                       "are allowed",
                       from->field_count, from->where_count, from->group_count, QUERY_FIELDS_MAX,
                       QUERY_TAGS_MAX, QUERY_TAGS_MAX);
    query->table = query->about >= QUERY_TABLES ? "" : from->table;
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
    /* Shards name the same ones: what is left of so many rows may be fewer. */
    if (query->about == QUERY_LABELS || query->about == QUERY_VALUES ||
        query->about == QUERY_TABLES)
        query->limit = 0;
    return err == ERR_OK ? fill_where(from, query) : err;
}

/* ---- The answer (I/O thread) --------------------------------------------------------------- */

static enum err take_end(uint16_t type, const uint8_t *payload, size_t size,
                         struct message_query_end *ret_end)
{
    enum err err;

    if (type != FRAME_QUERY_END)
        return err_set(ERR_INVALID, "QUERY was answered with a frame of type %u", (unsigned)type);
    err = message_get_query_end(payload, size, ret_end);
    if (err != ERR_OK || ret_end->code == ERR_OK)
        return err;
    err = ret_end->code > ERR_END && ret_end->code < ERR_COUNT ? (enum err)ret_end->code
                                                               : ERR_INVALID;
    if (err == ERR_CANCELED) /* Not by us: the node stops. Another one is asked. */
        err = ERR_UNAVAILABLE;
    return err_set(err, "query: %.*s", (int)ret_end->text.size, ret_end->text.data);
}

static enum err on_answer(void *ctx, uint16_t type, const uint8_t *payload, size_t size)
{
    struct millrace_result *result = ctx;
    struct message_query_end end;
    enum err err;

    if (type == FRAME_QUERY_BATCH)
        return result_add(result, payload, size);
    err = take_end(type, payload, size, &end);
    if (err != ERR_OK)
        return err;
    if (end.rows != result->columns.rows)
        return err_set(ERR_INVALID, "query: %u rows came, %" PRIu64 " were sent",
                       (unsigned)result->columns.rows, end.rows);
    result->stale_ms = end.stale_ms;
    return ERR_END;
}

static void on_restart(void *ctx)
{
    result_clear(ctx);
}

/* ---- Both ---------------------------------------------------------------------------------- */

/* Who takes the answer. */
struct taker {
    enum err (*take)(void *ctx, uint16_t type, const uint8_t *payload, size_t size);
    void (*restart)(void *ctx);
    void *ctx;
};

static enum err ask(struct millrace *m, const struct query *query, uint32_t timeout_ms,
                    const struct taker *taker)
{
    struct call call = {
        .type = FRAME_QUERY,
        .timeout_ns = timeout_ms * MS_NS,
        .on_answer = taker->take,
        .on_restart = taker->restart,
        .ctx = taker->ctx,
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

/* Whoever was asked may hang, or wait for one who does: what is not answered in `again_ms` (0: it
 * is waited for) is asked again, of the next node, and given twice as long. */
static enum err run(struct millrace *m, const struct query *query, uint32_t timeout_ms,
                    uint32_t again_ms, const struct taker *taker)
{
    uint64_t end_ns = clk_now_ns() + timeout_ms * MS_NS, now_ns;
    uint64_t patience_ms = again_ms == 0 ? timeout_ms : again_ms;
    uint32_t asked = 0;
    enum err err;

    for (;; patience_ms *= 2) {
        uint64_t left_ms;

        now_ns = clk_now_ns();
        left_ms = now_ns < end_ns ? (end_ns - now_ns + MS_NS - 1) / MS_NS : 0;
        if (left_ms == 0 && asked > 0)
            break;
        taker->restart(taker->ctx);
        err = ask(m, query, (uint32_t)(patience_ms < left_ms ? patience_ms : left_ms), taker);
        asked++;
        if (err != ERR_TIMEOUT || again_ms == 0)
            return err;
    }
    return asked == 1 ? err : err_wrap(err, "asked %u times in %u ms", asked, timeout_ms);
}

/* A query on the heap, with its database's name behind it. */
static enum err make(struct millrace *m, const struct millrace_query *from,
                     struct query **ret_query)
{
    struct slice database = names_database(m->names);
    struct query *query = calloc(1, sizeof *query + database.size + 1);
    enum err err;

    if (!query)
        return err_set(ERR_NO_MEMORY, "a query");
    memcpy(query + 1, database.data, database.size);
    query->database = (const char *)(query + 1);
    err = fill(from, query);
    if (err == ERR_OK)
        *ret_query = query;
    else
        free(query);
    return err;
}

static uint32_t timeout_of(const struct millrace_query *from)
{
    return from->timeout_ms ? from->timeout_ms : TIMEOUT_MS;
}

enum millrace_code millrace_query(struct millrace *m, const struct millrace_query *from,
                                  struct millrace_result **ret_result)
{
    struct query *query = NULL;
    struct millrace_result *result = calloc(1, sizeof *result);
    enum err err = result ? make(m, from, &query) : err_set(ERR_NO_MEMORY, "a result");

    if (err == ERR_OK)
        err = run(m, query, timeout_of(from), from->again_ms,
                  &(struct taker){on_answer, on_restart, result});
    if (err == ERR_OK)
        err = result_order(result, from->fields, from->field_count, from->limit);
    free(query);
    if (err != ERR_OK) {
        enum millrace_code code = client_fail(m, err);

        millrace_result_free(result);
        return code;
    }
    *ret_result = result;
    return MILLRACE_OK;
}

/* ---- Page by page -------------------------------------------------------------------------- */

/* To the shard's next page. False: there is none. */
static bool turn_page(struct query *query, int64_t from_ns, struct query_place next)
{
    struct query_page *page = &query->page;

    if (next.series != QUERY_PLACE_END && next.time_ns != INT64_MIN) {
        /* The rest of one series by itself: what came before it need not be read again. */
        page->series_first = page->series_last = next.series;
        query->from_ns = next.time_ns;
        return true;
    }
    if (next.series == QUERY_PLACE_END && page->series_last == UINT32_MAX)
        return false;
    page->series_first = next.series != QUERY_PLACE_END ? next.series : page->series_last + 1;
    page->series_last = UINT32_MAX;
    query->from_ns = from_ns;
    return true;
}

/* A page as it came: batches, each with its size before it. They are not put together: what one
 * has in columns may be nothing to another. */
struct page {
    struct bytes batches;
    uint64_t rows;
    struct query_place next;
};

static enum err on_page(void *ctx, uint16_t type, const uint8_t *payload, size_t size)
{
    struct page *page = ctx;
    struct message_query_end end;
    enum err err;

    if (type == FRAME_QUERY_BATCH) {
        bytes_put_u32(&page->batches, (uint32_t)size);
        bytes_put(&page->batches, payload, size);
        return page->batches.failed ? err_set(ERR_NO_MEMORY, "a page of rows") : ERR_OK;
    }
    err = take_end(type, payload, size, &end);
    if (err == ERR_OK) {
        page->rows = end.rows;
        page->next = end.next;
        err = ERR_END;
    }
    return err;
}

static void forget_page(void *ctx)
{
    struct page *page = ctx;

    bytes_clear(&page->batches);
}

static enum err hand_out(const struct millrace_query *from, const struct page *page,
                         millrace_part_cb on_part, void *ctx)
{
    const uint8_t *at = page->batches.data, *end = at + page->batches.size;
    uint64_t rows = 0;
    enum err err = ERR_OK;

    while (at < end && err == ERR_OK) {
        struct millrace_result part = {0};
        uint32_t size;

        memcpy(&size, at, sizeof size);
        at += sizeof size;
        err = result_add(&part, at, size);
        if (err == ERR_OK)
            err = result_keep(&part, from->fields, from->field_count);
        rows += part.row_count;
        if (err == ERR_OK && on_part(ctx, &part) != 0)
            err = err_set(ERR_CANCELED, "who takes the rows wants no more");
        at += size;
        result_fini(&part);
    }
    if (err == ERR_OK && rows != page->rows)
        err = err_set(ERR_INVALID, "query: %" PRIu64 " rows came, %" PRIu64 " were sent", rows,
                      page->rows);
    return err;
}

static enum err scan_shard(struct millrace *m, const struct millrace_query *from,
                           struct query *query, millrace_part_cb on_part, void *ctx)
{
    int64_t from_ns = query->from_ns;
    struct page page = {0};
    enum err err;

    do {
        err = run(m, query, timeout_of(from), from->again_ms ? from->again_ms : PAGE_AGAIN_MS,
                  &(struct taker){on_page, forget_page, &page});
        if (err == ERR_OK)
            err = hand_out(from, &page, on_part, ctx);
    } while (err == ERR_OK && turn_page(query, from_ns, page.next));
    query->from_ns = from_ns;
    bytes_fini(&page.batches);
    return err;
}

enum millrace_code millrace_scan(struct millrace *m, const struct millrace_query *from,
                                 millrace_part_cb on_part, void *ctx)
{
    struct query *query = NULL;
    uint32_t shards = io_shards(m->io);
    enum err err = make(m, from, &query);

    for (uint32_t shard = 0; shard < shards && err == ERR_OK; shard++) {
        query->page = (struct query_page){.on = true, .shard = shard, .series_last = UINT32_MAX};
        err = scan_shard(m, from, query, on_part, ctx);
    }
    free(query);
    return err == ERR_OK ? MILLRACE_OK : client_fail(m, err);
}
