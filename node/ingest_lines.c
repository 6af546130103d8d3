/*
 * Lines of text into rows. A line whose table or fields nobody has declared yet makes its request
 * pause: the meta group is asked, and the line is parsed again when the types are known.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/message.h"
#include "node/ingest_internal.h"
#include "storage/base/metric.h"

enum { RETRY_S = 1, ASK_AGAIN_MS = 50, ASK_AGAIN_MS_MAX = 1000, DECLARE_GIVE_UP_MS = 10000 };

/* ---- Bad lines ----------------------------------------------------------------------------- */

static void reject_line(struct ingest_request *request, enum err code)
{
    struct ingest_result *result = &request->result;
    struct slice raw = request->parser.raw;

    metric_add(METRIC_INGEST_REJECTED, 1);
    result->rejected++;
    if (result->error_count < INGEST_ERRORS_MAX) {
        struct ingest_error *error = &request->errors[result->error_count++];

        error->line = request->parser.number;
        error->code = code;
        (void)snprintf(error->text, sizeof error->text, "%s", err_detail());
        (void)snprintf(error->original, sizeof error->original, "%.*s",
                       (int)(raw.size < sizeof error->original ? raw.size : sizeof error->original),
                       raw.data);
    }
}

/* ---- Types --------------------------------------------------------------------------------- */

struct ingest_declare {
    struct declare_request request; /* First: freed as one. */
    struct ingest_request *asker;
};

void ingest_fail(struct ingest_request *request, enum err code, const char *text)
{
    request->result.code = code == ERR_NOT_LEADER ? ERR_UNAVAILABLE : code;
    request->result.retry_s = RETRY_S;
    (void)snprintf(request->result.text, sizeof request->result.text, "%s", text);
    request->failed = true;
}

static bool is_transient(enum err code)
{
    return code == ERR_NOT_LEADER || code == ERR_UNAVAILABLE || code == ERR_BUSY ||
           code == ERR_TIMEOUT || code == ERR_CANCELED;
}

static uint32_t ask_after_ms(const struct answer *answer)
{
    if (answer->retry_ms == 0)
        return ASK_AGAIN_MS;
    return answer->retry_ms < ASK_AGAIN_MS_MAX ? answer->retry_ms : ASK_AGAIN_MS_MAX;
}

static void types_decided(struct route *route)
{
    struct ingest_declare *declare = (struct ingest_declare *)route;
    struct ingest_request *request = declare->asker;
    struct ingest *ingest = request->ingest;
    const struct answer *answer = &route->answer;
    uint64_t now_ms = worker_now_ms();
    enum err err;

    request->paused = false;
    if (answer->code == ERR_OK) {
        request->declare_since_ms = 0;
        err = router_learn_types(ingest->worker, &declare->request);
        if (err != ERR_OK)
            ingest_fail(request, err, err_detail());
    } else if (is_transient(answer->code) &&
               now_ms - request->declare_since_ms < DECLARE_GIVE_UP_MS) {
        request->paused = true;
        request->ask_again_ms = now_ms + ask_after_ms(answer);
        request->next = ingest->asking;
        ingest->asking = request;
    } else {
        ingest_fail(request, answer->code, answer->text);
    }
    router_free_declare(&declare->request);
    if (!request->paused && !request->parsing)
        ingest_go_on(request);
}

static enum err ask_types(struct ingest_request *request, const struct memo_table *table,
                          const struct line *line)
{
    struct ingest_declare *declare = calloc(1, sizeof *declare);
    struct message_declare *message = calloc(1, sizeof *message);

    if (declare == NULL || message == NULL) {
        free(declare);
        free(message);
        return err_set(ERR_NO_MEMORY, "asking for types");
    }
    message->table_key = (struct slice){table->key, table->key_size};
    for (uint32_t i = 0; i < line->field_count && message->count < FIELD_COUNT_MAX; i++)
        message->fields[message->count++] = (struct message_declare_field){
            .name = line->fields[i].name, .type = (uint8_t)line->fields[i].type};
    declare->request.route = (struct route){
        .kind = ROUTE_DECLARE, .origin = request->ingest->worker, .done = types_decided};
    declare->asker = request;
    message_put_declare(message, &declare->request.message);
    free(message);
    if (request->declare_since_ms == 0)
        request->declare_since_ms = worker_now_ms();
    request->paused = true;
    router_declare(request->ingest->worker, &declare->request);
    return ERR_OK;
}

/* ERR_END: the types are asked for. */
static enum err check_fields(struct ingest_request *request, struct memo_table *table,
                             const struct line *line)
{
    struct ingest *ingest = request->ingest;

    for (uint32_t i = 0; i < line->field_count; i++) {
        const struct line_field *field = &line->fields[i];
        unsigned type = series_memo_find_field(table, i, field->name);
        enum err err;

        if (type == 0) {
            type = schema_map_find(&ingest->worker->schema,
                                   (struct slice){table->key, table->key_size}, field->name);
            if (type == 0) {
                err = ask_types(request, table, line);
                return err == ERR_OK ? ERR_END : err;
            }
            err =
                series_memo_add_field(&ingest->memo, table, i, field->name, (enum field_type)type);
            if (err != ERR_OK)
                return err;
        }
        if (type != field->type)
            return err_set(ERR_TYPE_CONFLICT,
                           "field type conflict: input field \"%.*s\" on measurement \"%.*s\" is "
                           "type %s, already exists as type %s",
                           (int)field->name.size, field->name.data, (int)line->table.size,
                           line->table.data, field_type_name(field->type), field_type_name(type));
    }
    return ERR_OK;
}

/* ---- Lines --------------------------------------------------------------------------------- */

static enum err find_series(struct ingest_request *request, const struct line *line,
                            struct memo_series **ret_series)
{
    struct series_memo *memo = &request->ingest->memo;
    struct memo_series *series = series_memo_find(memo, request->database, line->head);

    if (series != NULL) {
        *ret_series = series;
        return ERR_OK;
    }
    return series_memo_add(memo, request->database, line->head, line->table, line->tags,
                           line->tag_count, request->ingest->worker->node->shards, ret_series);
}

static enum err add_row(struct lane *lane, struct memo_series *series, const struct line *line,
                        int64_t time_ns)
{
    enum err err = ERR_OK;

    if (series->round != lane->round) {
        err = lane_series(lane, memo_series_key(series), series->key_size, series->table->key_size,
                          series->key_hash, series->id, series->tag, &series->handle);
        if (err == ERR_OK)
            series->round = lane->round;
    }
    if (err == ERR_OK)
        err = block_builder_row(lane->builder, series->handle, time_ns);
    if (err != ERR_OK)
        return err;
    for (uint32_t i = 0; i < line->field_count && err == ERR_OK; i++) {
        const struct line_field *field = &line->fields[i];

        err = field->type == FIELD_STRING
                  ? block_builder_string(lane->builder, field->name.data, field->name.size,
                                         field->text.data, field->text.size)
                  : block_builder_value(lane->builder, field->name.data, field->name.size,
                                        field->type, field->bits);
    }
    if (err != ERR_OK)
        block_builder_undo_row(lane->builder);
    return err;
}

static enum err put_row(struct lane *lane, struct ingest_request *request,
                        struct memo_series *series, const struct line *line, int64_t time_ns)
{
    uint32_t shares;
    enum err err = lane_check_series(lane, request->database, series->id);

    if (err == ERR_OK)
        err = lane_make_room(lane);
    if (err != ERR_OK)
        return err;
    err = add_row(lane, series, line, time_ns);
    if (err == ERR_LIMIT) { /* Of this block's tables, series or fields: the next one has room. */
        err = lane_cut(lane);
        if (err == ERR_OK)
            err = add_row(lane, series, line, time_ns);
    }
    if (err != ERR_OK)
        return err;
    shares = lane->share_count;
    err = lane_row(lane, request);
    if (err != ERR_OK)
        block_builder_undo_row(lane->builder);
    else if (lane->share_count > shares)
        request->pending++;
    return err;
}

/* Rows that the database does not keep would be gone before anybody sees them. */
static enum err check_age(const struct ingest_request *request, uint32_t shard, int64_t time_ns)
{
    const struct schema_map *schema = &request->ingest->worker->schema;
    int64_t oldest_ns = request->oldest_ns;

    if (request->database_at != UINT32_MAX) {
        const int64_t *cutoffs_ns = schema->databases[request->database_at].cutoffs_ns;

        if (cutoffs_ns != NULL && cutoffs_ns[shard] > oldest_ns)
            oldest_ns = cutoffs_ns[shard];
    }
    if (time_ns < oldest_ns)
        return err_set(
            ERR_TOO_OLD,
            "time %lld ns is beyond the retention of database \"%.*s\": rows before %lld "
            "ns are not kept",
            (long long)time_ns, (int)request->database.size, request->database.data,
            (long long)oldest_ns);
    return ERR_OK;
}

/* ERR_END: the line waits for types. */
static enum err take_line(struct ingest_request *request, const struct line *line)
{
    struct ingest *ingest = request->ingest;
    int64_t time_ns = line->has_time ? line->time_ns : request->now_ns;
    uint32_t future_ms = ingest->worker->node->options.limits.future_ms;
    struct memo_series *series;
    enum err err;

    if (future_ms != 0 && time_ns > request->now_ns &&
        (uint64_t)time_ns - (uint64_t)request->now_ns > (uint64_t)future_ms * 1000000)
        return err_set(ERR_INVALID,
                       "time %lld ns is more than limits.future (%u s) ahead of this node's clock",
                       (long long)time_ns, future_ms / 1000);
    err = find_series(request, line, &series);
    if (err == ERR_OK)
        err = check_age(request, series->shard, time_ns);
    if (err == ERR_OK)
        err = check_fields(request, series->table, line);
    if (err != ERR_OK || request->checking)
        return err;
    return put_row(&ingest->lanes[series->shard], request, series, line, time_ns);
}

size_t ingest_parse(struct ingest_request *request, const char *text, size_t size)
{
    struct line_parser *parser = &request->parser;
    struct line *line = &request->ingest->line;
    const char *end = text + size;

    request->parsing = true;
    line_parser_feed(parser, text, size, request->lines);
    parser->more = !request->ended;
    while (!request->failed) {
        enum err err = line_parser_next(parser, line);

        if (err == ERR_END)
            break;
        if (err == ERR_OK)
            err = take_line(request, line);
        if (err == ERR_END) {
            /* It asked for types. Again from this line: now if they were here already, or later. */
            const char *again = parser->raw.data;

            line_parser_feed(parser, again, (size_t)(end - again), parser->number - 1);
            parser->more = !request->ended;
            if (request->paused)
                break;
        } else if (err == ERR_NO_MEMORY || err == ERR_DISK_FULL) {
            ingest_fail(request, err, err_detail()); /* Not the line's fault. */
        } else if (err != ERR_OK) {
            reject_line(request, err);
        }
    }
    request->parsing = false;
    request->lines = parser->lines;
    return request->failed ? size : (size_t)(parser->at - text);
}
