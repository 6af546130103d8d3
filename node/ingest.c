/*
 * A request from its first text to its answer. Its lines are parsed as they come (ingest_lines.c);
 * one whose types nobody has declared yet makes it pause, and what follows is kept.
 *
 *    OPEN --unknown field--> PAUSED --types known--> OPEN --last text--> ENDED
 *                                                               --all settled--> done
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
    BODIES_AHEAD = 2,
    MEMO_BYTES = 128 * 1024 * 1024, /* Of all workers together. */
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
        metric_time(METRIC_TIME_WRITE, clk_now_ns() - request->began_ns);
        if (request->done != NULL)
            request->done(request->ctx, &request->result);
        free_request(request);
    }
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
    (void)ingest_parse(request, (const char *)request->carry.data, request->carry.size);
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

void ingest_go_on(struct ingest_request *request)
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
        drop_carry(request,
                   ingest_parse(request, (const char *)request->carry.data, request->carry.size));
    finish_if_settled(request);
}

/* What the worker knows of the request's database. ERR_NOT_FOUND: it was dropped. */
static enum err find_database(struct ingest_request *request)
{
    const struct schema_map *schema = &request->ingest->worker->schema;
    const struct schema_database *database = schema_map_database(schema, request->database);

    request->oldest_ns = INT64_MIN;
    request->database_at = UINT32_MAX;
    if (database == NULL)
        return ERR_OK; /* Its first line makes it, or is told that it cannot. */
    if (database->dropped)
        return err_set(ERR_NOT_FOUND,
                       "database \"%s\" was dropped; make it again: millrace db create",
                       database->name);
    request->database_at = (uint32_t)(database - schema->databases);
    if (database->retention_ns > 0)
        request->oldest_ns = request->now_ns - (int64_t)database->retention_ns;
    return ERR_OK;
}

enum err ingest_begin(struct ingest *ingest, const struct ingest_options *options,
                      ingest_done_cb done, void *ctx, struct ingest_request **ret_request)
{
    struct node *node = ingest->worker->node;
    size_t name_size = strlen(options->database);
    struct ingest_request *request;
    enum err err;

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
    request->began_ns = clk_now_ns();
    memcpy(request->database_name, options->database, name_size);
    request->database = (struct slice){request->database_name, name_size};
    err = find_database(request);
    if (err != ERR_OK) {
        free(request);
        return err;
    }
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
        ingest_fail(request, too_many_bytes(request->ingest), err_detail());
        if (!request->paused)
            ingest_go_on(request);
        return;
    }
    if (request->carry.size == 0 && !request->paused && !request->all_or_nothing) {
        /* The common way: parse in place, keep only the line that is cut. */
        size_t used = size > 0 || last ? ingest_parse(request, text, size) : 0;

        text += used;
        size -= used;
        if (size == 0) {
            finish_if_settled(request);
            return;
        }
    }
    bytes_put(&request->carry, text, size);
    if (request->carry.failed) {
        ingest_fail(request, ERR_NO_MEMORY, "no memory for the rest of the text");
        request->carry.failed = false;
    } else {
        request->ingest->carried += size;
    }
    if (!request->paused && (last || request->carry.size > size))
        ingest_go_on(request);
}

void ingest_abandon(struct ingest_request *request)
{
    request->done = NULL;
    request->ended = true;
    request->failed = true;
    if (!request->paused && !request->finished)
        ingest_go_on(request);
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
        ingest_go_on(request); /* Meets the same line, and asks. */
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
