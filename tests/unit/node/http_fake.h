/*
 * http_fake.h - for tests of the HTTP server: an ingest that does as it is told, and a server on a
 * loop that turns when the test says so. Each test is a process of its own and has one of them.
 */
#ifndef TESTS_UNIT_NODE_HTTP_FAKE_H
#define TESTS_UNIT_NODE_HTTP_FAKE_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/http.h"

/* ---- An ingest that does as it is told ----------------------------------------------------- */

struct ingest_request {
    struct ingest *ingest;
    struct ingest_request *next;
    ingest_done_cb done;
    void *ctx;
};

struct ingest {
    struct bytes text; /* Of all requests. */
    char database[1100];
    int64_t time_unit_ns;
    bool all_or_nothing;
    unsigned begun, ended, abandoned, pieces;
    size_t piece_max;
    enum err refuse; /* What begin says. */
    bool hold;       /* Answer later. */
    struct ingest_result result;
    struct ingest_request *due;
};

static inline enum err fake_begin(struct ingest *ingest, const struct ingest_options *options,
                                  ingest_done_cb done, void *ctx,
                                  struct ingest_request **ret_request)
{
    struct ingest_request *request = calloc(1, sizeof *request);

    if (ingest->refuse != ERR_OK) {
        free(request);
        return err_set(ingest->refuse, "told to refuse");
    }
    *request = (struct ingest_request){.ingest = ingest, .done = done, .ctx = ctx};
    (void)snprintf(ingest->database, sizeof ingest->database, "%s", options->database);
    ingest->time_unit_ns = options->time_unit_ns;
    ingest->all_or_nothing = options->all_or_nothing;
    ingest->begun++;
    *ret_request = request;
    return ERR_OK;
}

static inline void fake_text(struct ingest_request *request, const char *text, size_t size,
                             bool last)
{
    struct ingest *ingest = request->ingest;
    struct ingest_request **end = &ingest->due;

    if (size > 0)
        bytes_put(&ingest->text, text, size);
    ingest->pieces += size > 0;
    ingest->piece_max = size > ingest->piece_max ? size : ingest->piece_max;
    if (!last)
        return;
    while (*end != NULL)
        end = &(*end)->next;
    *end = request;
}

static inline void fake_abandon(struct ingest_request *request)
{
    struct ingest_request **at = &request->ingest->due;

    request->ingest->abandoned++;
    while (*at != NULL && *at != request)
        at = &(*at)->next;
    if (*at != NULL)
        *at = request->next;
    free(request);
}

static inline void finish_due(struct ingest *ingest)
{
    while (!ingest->hold && ingest->due != NULL) {
        struct ingest_request *request = ingest->due;

        ingest->due = request->next;
        ingest->ended++;
        request->done(request->ctx, &ingest->result);
        free(request);
    }
}

/* ---- A server ------------------------------------------------------------------------------ */

struct site {
    uv_loop_t loop;
    struct http_server *server;
    struct ingest ingest;
    atomic_uint connections;
    bool ready, closed;
};

static struct site site; /* Each test is a process of its own. */

static inline enum err say_ready(void *ctx, char *why, size_t room)
{
    if (((struct site *)ctx)->ready)
        return ERR_OK;
    (void)snprintf(why, room, "shard 3 has no \"leader\"");
    return ERR_UNAVAILABLE;
}

static inline void say_metrics(void *ctx, struct bytes *out)
{
    (void)ctx;
    bytes_put(out, "millrace_x 1\n", 13);
}

static inline void say_status(void *ctx, struct bytes *json)
{
    (void)ctx;
    bytes_put(json, "{\"node\":1}", 10);
}

static inline struct http_options default_options(void)
{
    return (struct http_options){.host = "127.0.0.1",
                                 .body_bytes = 8 * 1024 * 1024,
                                 .idle_ms = 60000,
                                 .connections_max = 8,
                                 .connections = &site.connections,
                                 .version = "0.1.0"};
}

static inline void start_with(struct http_options options)
{
    struct http_handlers handlers = {.ctx = &site,
                                     .ready = say_ready,
                                     .metrics = say_metrics,
                                     .status = say_status,
                                     .ingest = &site.ingest,
                                     .ingest_begin = fake_begin,
                                     .ingest_text = fake_text,
                                     .ingest_abandon = fake_abandon};

    site.ready = true;
    cr_assert_eq(uv_loop_init(&site.loop), 0);
    cr_assert_eq(http_server_new(&site.loop, &options, &handlers, &site.server), ERR_OK, "%s",
                 err_detail());
}

static inline void start(void)
{
    start_with(default_options());
}

static inline void closed(void *ctx)
{
    ((struct site *)ctx)->closed = true;
}

static inline void turn(void)
{
    (void)uv_run(&site.loop, UV_RUN_NOWAIT);
    finish_due(&site.ingest);
}

/* Everything goes, nothing is left behind. */
static inline void stop(void)
{
    http_server_close(site.server, closed, &site);
    while (uv_run(&site.loop, UV_RUN_DEFAULT) != 0)
        continue;
    cr_assert(site.closed);
    cr_assert_eq(atomic_load(&site.connections), 0);
    cr_assert_eq(uv_loop_close(&site.loop), 0);
    cr_assert_null(site.ingest.due);
    cr_assert_eq(site.ingest.begun, site.ingest.ended + site.ingest.abandoned);
    bytes_fini(&site.ingest.text);
}

/* What came in so far. */
static inline bool text_is(const char *text)
{
    return site.ingest.text.size == strlen(text) &&
           memcmp(site.ingest.text.data, text, strlen(text)) == 0;
}

#endif
