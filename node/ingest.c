/*
 * A request is parsed as its text comes, line by line, on the worker. A line whose table or fields
 * nobody has declared yet makes it pause: what follows is kept, the meta group is asked, and the
 * line is parsed again when the types are known.
 *
 *    OPEN --unknown field--> PAUSED --types known--> OPEN --last text--> ENDED --all settled--> done
 */
#include "node/ingest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/line_protocol.h"
#include "client/wire/message.h"
#include "node/ingest_internal.h"
#include "storage/base/check.h"
#include "storage/base/clk.h"
#include "storage/base/metric.h"

enum {
    RETRY_S = 1,
    BODIES_AHEAD = 2,
    ASK_AGAIN_MS = 50,
    ASK_AGAIN_MS_MAX = 1000,
    DECLARE_GIVE_UP_MS = 10000,
    MEMO_BYTES = 128 * 1024 * 1024, /* Of all workers together. */
};

struct ingest_request {
    struct ingest *ingest;
    struct ingest_request *next; /* In the list of finished ones, or of those that ask again. */
    ingest_done_cb done;         /* NULL: abandoned. */
    void *ctx;
    struct slice database; /* Points into `database_name`. */
    bool all_or_nothing;
    bool checking;    /* all_or_nothing, first pass: nothing is stored. */
    bool ended;       /* The last text came. */
    bool failed;      /* For good: what is not parsed is dropped. */
    bool paused;      /* A line waits for types. */
    bool parsing;     /* parse() is on the stack. */
    bool finished;    /* In the list of those whose `done` is due. */
    uint32_t pending; /* Shares in blocks that are not settled. */
    uint32_t lines;   /* Newlines before the text to be parsed next. */
    int64_t now_ns;
    uint64_t ask_again_ms, declare_since_ms;
    struct line_parser parser;
    struct bytes carry; /* Text not parsed yet. */
    struct ingest_result result;
    struct ingest_error errors[INGEST_ERRORS_MAX];
    char database_name[NAME_SIZE_MAX];
};

/* ---- The worker's ingest ------------------------------------------------------------------- */

static void finish_if_settled(struct ingest_request *request);
static void share_settled(const struct lane_share *share, const struct answer *answer);
static void learn_ids(void *ctx, uint32_t shard, const uint64_t *memo_tags, const uint32_t *ids,
                      uint32_t count);

enum err ingest_new(struct worker *worker, struct ingest **ret_ingest)
{
    struct node *node = worker->node;
    struct ingest *ingest = calloc(1, sizeof *ingest);
    /* The clock, too: a data directory that was copied back counts its starts anew. */
    uint64_t identity[5] = {node->cluster, node->server, worker->number, node->epoch,
                            (uint64_t)clk_wall_ns()};
    enum err err = ERR_OK;

    if (ingest != NULL)
        ingest->lanes = calloc(node->shards, sizeof *ingest->lanes);
    if (ingest == NULL || ingest->lanes == NULL) {
        free(ingest);
        return err_set(ERR_NO_MEMORY, "ingest for %u shards", node->shards);
    }
    ingest->worker = worker;
    ingest->finished_end = &ingest->finished;
    series_memo_init(&ingest->memo, MEMO_BYTES / node->worker_count);
    for (uint32_t i = 0; i < node->shards && err == ERR_OK; i++) {
        /* One producer for each start of each worker: never 0, which means none. */
        err = lane_init(&ingest->lanes[i], worker, i, key_hash(identity, sizeof identity) | 1);
        ingest->lanes[i].settled = share_settled;
        ingest->lanes[i].ids = learn_ids;
        ingest->lanes[i].ctx = ingest;
        ingest->lane_count = i + 1;
    }
    if (err != ERR_OK) {
        ingest_free(ingest);
        return err;
    }
    *ret_ingest = ingest;
    return ERR_OK;
}

static void free_request(struct ingest_request *request)
{
    line_parser_fini(&request->parser);
    bytes_fini(&request->carry);
    free(request);
}

/* What is left of requests nobody waits for any more. */
static void end_asking(struct ingest *ingest)
{
    while (ingest->asking != NULL) {
        struct ingest_request *request = ingest->asking;

        ingest->asking = request->next;
        request->paused = false;
        request->failed = true;
        request->ended = true;
        finish_if_settled(request);
    }
}

void ingest_free(struct ingest *ingest)
{
    end_asking(ingest);
    for (uint32_t i = 0; i < ingest->lane_count; i++)
        lane_fini(&ingest->lanes[i]);
    while (ingest->finished != NULL) {
        struct ingest_request *request = ingest->finished;

        ingest->finished = request->next;
        free_request(request);
    }
    series_memo_fini(&ingest->memo);
    free(ingest->lanes);
    free(ingest);
}

static void learn_ids(void *ctx, uint32_t shard, const uint64_t *memo_tags, const uint32_t *ids,
                      uint32_t count)
{
    struct ingest *ingest = ctx;

    for (uint32_t i = 0; i < count; i++) {
        struct memo_series *series = series_memo_by_tag(&ingest->memo, memo_tags[i]);

        if (series != NULL && series->shard == shard)
            series->id = ids[i];
    }
}

/* ---- Limits -------------------------------------------------------------------------------- */

static uint64_t bytes_held(const struct ingest *ingest)
{
    uint64_t bytes = ingest->carried;

    for (uint32_t i = 0; i < ingest->lane_count; i++)
        bytes += lane_bytes(&ingest->lanes[i]);
    return bytes;
}

static uint64_t bytes_allowed(const struct ingest *ingest)
{
    const struct node *node = ingest->worker->node;

    return node->options.limits.inflight_bytes / node->worker_count;
}

/* A request that was let in may go on: the largest body fits even where the limit is small. */
static uint64_t bytes_most(const struct ingest *ingest)
{
    return bytes_allowed(ingest) + BODIES_AHEAD * ingest->worker->node->options.limits.body_bytes;
}

static enum err too_many_bytes(const struct ingest *ingest)
{
    return err_set(ERR_BUSY, "%llu bytes of rows wait already (limits.inflight_bytes)",
                   (unsigned long long)bytes_held(ingest));
}

/* ---- Ending -------------------------------------------------------------------------------- */

static void finish_if_settled(struct ingest_request *request)
{
    struct ingest *ingest = request->ingest;

    if (!request->ended || request->paused || request->pending > 0 || request->finished)
        return;
    request->finished = true;
    request->next = NULL;
    *ingest->finished_end = request;
    ingest->finished_end = &request->next;
}

static void share_settled(const struct lane_share *share, const struct answer *answer)
{
    struct ingest_request *request = share->request;
    struct ingest_result *result = &request->result;

    CHECK(request->pending > 0);
    request->pending--;
    if (answer->code == ERR_OK) {
        result->accepted += share->rows;
        metric_add(METRIC_INGEST_ROWS, share->rows);
    } else if (result->code == ERR_OK) {
        result->code = answer->code == ERR_NOT_LEADER ? ERR_UNAVAILABLE : answer->code;
        result->retry_s = answer->retry_ms == 0 ? 0 : (answer->retry_ms + 999) / 1000;
        (void)snprintf(result->text, sizeof result->text,
                       "%.150s; what other shards took is stored, sending all of it again is safe",
                       answer->text);
    }
    finish_if_settled(request);
}

static void run_finished(struct ingest *ingest)
{
    while (ingest->finished != NULL) {
        struct ingest_request *request = ingest->finished;

        ingest->finished = request->next;
        if (ingest->finished == NULL)
            ingest->finished_end = &ingest->finished;
        request->result.errors = request->errors;
        ingest->requests--;
        if (request->done != NULL)
            request->done(request->ctx, &request->result);
        free_request(request);
    }
}

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

static void go_on(struct ingest_request *request);

static void fail_request(struct ingest_request *request, enum err code, const char *text)
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
            fail_request(request, err, err_detail());
    } else if (is_transient(answer->code) &&
               now_ms - request->declare_since_ms < DECLARE_GIVE_UP_MS) {
        request->paused = true;
        request->ask_again_ms =
            now_ms + (answer->retry_ms > 0 && answer->retry_ms < ASK_AGAIN_MS_MAX ? answer->retry_ms
                                                                                  : ASK_AGAIN_MS);
        request->next = ingest->asking;
        ingest->asking = request;
    } else {
        fail_request(request, answer->code, answer->text);
    }
    router_free_declare(&declare->request);
    if (!request->paused && !request->parsing)
        go_on(request);
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
    enum err err = lane_check_series(lane, series->id);

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
        err = check_fields(request, series->table, line);
    if (err != ERR_OK || request->checking)
        return err;
    return put_row(&ingest->lanes[series->shard], request, series, line, time_ns);
}

/* Parse what lines there are in [text, text + size); returns how much was used up. */
static size_t parse(struct ingest_request *request, const char *text, size_t size)
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
            fail_request(request, err, err_detail()); /* Not the line's fault. */
        } else if (err != ERR_OK) {
            reject_line(request, err);
        }
    }
    request->parsing = false;
    request->lines = parser->lines;
    return request->failed ? size : (size_t)(parser->at - text);
}

/* ---- Text ---------------------------------------------------------------------------------- */

static void drop_carry(struct ingest_request *request, size_t size)
{
    request->ingest->carried -= size;
    request->carry.size -= size;
    if (request->carry.size > 0)
        memmove(request->carry.data, request->carry.data + size, request->carry.size);
}

/* all_or_nothing, first pass: ERR_END while it waits for types, ERR_INVALID if a line is bad. */
static enum err check_all(struct ingest_request *request)
{
    (void)parse(request, (const char *)request->carry.data, request->carry.size);
    request->lines = 0;
    if (request->failed)
        return ERR_INVALID;
    if (request->paused) {
        /* The pass begins anew once the types are known. */
        request->result.rejected = 0;
        request->result.error_count = 0;
        return ERR_END;
    }
    request->checking = false;
    if (request->result.rejected == 0)
        return ERR_OK;
    request->result.code = ERR_INVALID;
    (void)snprintf(request->result.text, sizeof request->result.text,
                   "%llu bad lines, nothing was stored",
                   (unsigned long long)request->result.rejected);
    return ERR_INVALID;
}

/* Parse what was kept, as far as it goes. */
static void go_on(struct ingest_request *request)
{
    if (request->all_or_nothing && !request->ended)
        return;
    if (request->checking && !request->failed) {
        enum err err = check_all(request);

        if (err == ERR_END)
            return;
        if (err != ERR_OK)
            drop_carry(request, request->carry.size);
    }
    if (request->failed)
        drop_carry(request, request->carry.size);
    else if (request->carry.size > 0)
        drop_carry(request, parse(request, (const char *)request->carry.data, request->carry.size));
    finish_if_settled(request);
}

enum err ingest_begin(struct ingest *ingest, const struct ingest_options *options,
                      ingest_done_cb done, void *ctx, struct ingest_request **ret_request)
{
    struct node *node = ingest->worker->node;
    size_t name_size = strlen(options->database);
    struct ingest_request *request;

    if (name_size == 0 || name_size > NAME_SIZE_MAX)
        return err_set(ERR_INVALID, "a database's name of %zu bytes; allowed are 1 to %d",
                       name_size, (int)NAME_SIZE_MAX);
    if (ingest->worker->phase != WORKER_RUNNING)
        return err_set(ERR_UNAVAILABLE, "the node stops");
    if (bytes_held(ingest) > bytes_allowed(ingest)) {
        metric_add(METRIC_INGEST_REFUSED, 1);
        return too_many_bytes(ingest);
    }
    request = calloc(1, sizeof *request);
    if (request == NULL)
        return err_set(ERR_NO_MEMORY, "a write request");
    request->ingest = ingest;
    request->done = done;
    request->ctx = ctx;
    request->all_or_nothing = options->all_or_nothing;
    request->checking = options->all_or_nothing;
    request->now_ns = clk_wall_ns();
    memcpy(request->database_name, options->database, name_size);
    request->database = (struct slice){request->database_name, name_size};
    line_parser_init(&request->parser, options->time_unit_ns);
    request->parser.size_max = node->options.limits.line_bytes;
    ingest->requests++;
    *ret_request = request;
    return ERR_OK;
}

void ingest_text(struct ingest_request *request, const char *text, size_t size, bool last)
{
    request->ended = request->ended || last;
    if (request->failed) {
        finish_if_settled(request);
        return; /* It failed while its text still came. */
    }
    /* Those that have begun may pass the limit, but not without end. */
    if (size > 0 && bytes_held(request->ingest) > bytes_most(request->ingest)) {
        fail_request(request, too_many_bytes(request->ingest), err_detail());
        if (!request->paused)
            go_on(request);
        return;
    }
    if (request->carry.size == 0 && !request->paused && !request->all_or_nothing) {
        /* The common way: parse in place, keep only the line that is cut. */
        size_t used = size > 0 || last ? parse(request, text, size) : 0;

        text += used;
        size -= used;
        if (size == 0) {
            finish_if_settled(request);
            return;
        }
    }
    bytes_put(&request->carry, text, size);
    if (request->carry.failed) {
        fail_request(request, ERR_NO_MEMORY, "no memory for the rest of the text");
        request->carry.failed = false;
    } else {
        request->ingest->carried += size;
    }
    if (!request->paused && (last || request->carry.size > size))
        go_on(request);
}

void ingest_abandon(struct ingest_request *request)
{
    request->done = NULL;
    request->ended = true;
    request->failed = true;
    if (!request->paused && !request->finished)
        go_on(request);
}

bool ingest_is_idle(const struct ingest *ingest)
{
    return ingest->requests == 0;
}

/* ---- End of a turn ------------------------------------------------------------------------- */

/* Requests whose question could not be carried out a moment ago. */
static void ask_again(struct ingest *ingest, uint64_t now_ms)
{
    struct ingest_request **at = &ingest->asking;

    while (*at != NULL) {
        struct ingest_request *request = *at;

        if (request->ask_again_ms > now_ms) {
            at = &request->next;
            continue;
        }
        *at = request->next;
        request->paused = false;
        go_on(request); /* Meets the same line, and asks. */
    }
}

void ingest_flush(struct ingest *ingest)
{
    uint64_t now_ms = worker_now_ms();

    ask_again(ingest, now_ms);
    do {
        run_finished(ingest); /* May begin new requests, whose rows leave below. */
        for (uint32_t i = 0; i < ingest->lane_count; i++)
            lane_flush(&ingest->lanes[i], now_ms);
    } while (ingest->finished != NULL);
}
