#include "node/parts.h"

#include <stdio.h>

#include "node/http.h"
#include "node/ingest_internal.h"
#include "node/native.h"
#include "node/query.h"
#include "node/status.h"

/* ---- What the HTTP servers ask ------------------------------------------------------------- */

static enum err http_ready(void *ctx, char *why, size_t room)
{
    struct worker *worker = ctx;
    enum err err = node_ready(worker->node);

    if (err != ERR_OK)
        (void)snprintf(why, room, "%s", err_detail());
    return err;
}

static void http_metrics(void *ctx, struct bytes *out)
{
    status_metrics(ctx, out);
}

static void http_status(void *ctx, struct bytes *json)
{
    status_json(ctx, json);
}

static enum err open_http(struct worker *worker, bool admin, struct http_server **ret_server)
{
    const struct options *options = &worker->node->options;
    struct http_options http = {
        .host = admin ? options->listen.admin_host : options->listen.host,
        .port = admin ? options->listen.admin_port : options->listen.http_port,
        .reuse_port = !admin,
        .admin = admin,
        .body_bytes = options->limits.body_bytes,
        .idle_ms = options->limits.idle_ms,
        .connections_max = options->limits.connections,
        .connections = &worker->node->connections,
        .version = MILLRACE_VERSION_TEXT,
    };
    struct http_handlers handlers = {
        .ctx = worker,
        .ready = http_ready,
        .metrics = http_metrics,
        .status = http_status,
        .ingest = admin ? NULL : worker->ingest,
        .ingest_begin = ingest_begin,
        .ingest_text = ingest_text,
        .ingest_abandon = ingest_abandon,
    };

    return http_server_new(&worker->loop, &http, &handlers, ret_server);
}

/* ---- Open, flush, close -------------------------------------------------------------------- */

enum err parts_open(struct worker *worker)
{
    enum err err = ingest_new(worker, &worker->ingest);

    if (err == ERR_OK)
        err = native_new(worker, &worker->native);
    if (err == ERR_OK)
        err = open_http(worker, false, &worker->http);
    if (err == ERR_OK && worker->number == 0)
        err = open_http(worker, true, &worker->admin);
    return err;
}

void parts_flush(struct worker *worker)
{
    ingest_flush(worker->ingest);
    native_flush(worker->native);
}

void parts_tick(struct worker *worker, uint64_t now_ms)
{
    query_tick(worker, now_ms);
    status_tick(worker, now_ms);
    if (worker->native != NULL)
        native_tick(worker->native, now_ms);
}

void parts_stop_taking(struct worker *worker)
{
    native_stop_listening(worker->native);
    http_server_drain(worker->http);
}

static void http_closed(void *ctx)
{
    struct worker *worker = ctx;

    worker->closing--;
}

void parts_close(struct worker *worker, void (*closed)(struct worker *worker))
{
    worker->closing++;
    native_close(worker->native, closed);
    worker->closing++;
    http_server_close(worker->http, http_closed, worker);
    if (worker->admin != NULL) {
        worker->closing++;
        http_server_close(worker->admin, http_closed, worker);
    }
}

void parts_fini(struct worker *worker)
{
    if (worker->ingest != NULL)
        ingest_free(worker->ingest);
}
