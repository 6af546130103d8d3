/*
 * What a worker has besides groups: opened with the right settings, in order, until one fails, and
 * each one's end counted once. Servers and ingest are played.
 */
#include <criterion/criterion.h>
#include <stddef.h>
#include <string.h>

#include "node/http.h"
#include "node/ingest_internal.h"
#include "node/native.h"
#include "node/parts.h"
#include "node/query.h"
#include "node/status.h"

enum { SERVERS_MAX = 2 };

static char order[32]; /* A letter for each thing that was done. */
static char fails;     /* What cannot be done. */

static struct node node;
static struct worker worker = {.node = &node};

static enum err did(char what)
{
    size_t at = strlen(order);

    cr_assert_lt(at + 1, sizeof order);
    order[at] = what;
    return fails == what ? err_set(ERR_IO, "%c: told to", what) : ERR_OK;
}

/* ---- What parts.c calls -------------------------------------------------------------------- */

static max_align_t ingest_place, native_place, server_places[SERVERS_MAX];
static struct http_options opened[SERVERS_MAX];
static struct http_handlers handlers[SERVERS_MAX];
static unsigned servers;
static void (*http_ends[SERVERS_MAX])(void *ctx);
static void *http_end_ctx[SERVERS_MAX];
static unsigned closes;
static void (*native_end)(struct worker *worker);

enum err ingest_new(struct worker *of, struct ingest **ret_ingest)
{
    cr_assert_eq(of, &worker);
    *ret_ingest = (struct ingest *)&ingest_place;
    return did('i');
}

enum err native_new(struct worker *of, struct native_server **ret_server)
{
    cr_assert_eq(of->ingest, (struct ingest *)&ingest_place, "rows may come at once");
    *ret_server = (struct native_server *)&native_place;
    return did('n');
}

enum err http_server_new(uv_loop_t *loop, const struct http_options *options,
                         const struct http_handlers *with, struct http_server **ret_server)
{
    cr_assert_eq(loop, &worker.loop);
    cr_assert_lt(servers, SERVERS_MAX);
    opened[servers] = *options;
    handlers[servers] = *with;
    *ret_server = (struct http_server *)&server_places[servers++];
    return did(options->admin ? 'a' : 'h');
}

void http_server_drain(struct http_server *server)
{
    (void)did(server == (struct http_server *)&server_places[0] ? 'D' : 'A');
}

void http_server_close(struct http_server *server, void (*closed)(void *ctx), void *ctx)
{
    (void)did(server == (struct http_server *)&server_places[0] ? 'H' : 'A');
    http_end_ctx[closes] = ctx;
    http_ends[closes++] = closed;
}

void native_stop_listening(struct native_server *server)
{
    cr_assert_eq(server, (struct native_server *)&native_place);
    (void)did('S');
}

void native_close(struct native_server *server, void (*closed)(struct worker *worker))
{
    cr_assert_eq(server, (struct native_server *)&native_place);
    native_end = closed;
    (void)did('N');
}

void native_flush(struct native_server *server)
{
    (void)server;
    (void)did('f');
}

void native_tick(struct native_server *server, uint64_t now_ms)
{
    (void)server;
    cr_assert_eq(now_ms, 77);
    (void)did('t');
}

void ingest_flush(struct ingest *ingest)
{
    cr_assert_eq(ingest, (struct ingest *)&ingest_place);
    (void)did('F');
}

void ingest_free(struct ingest *ingest)
{
    cr_assert_eq(ingest, (struct ingest *)&ingest_place);
    (void)did('I');
}

/* Handed on, and not called in here. */
enum err ingest_begin(struct ingest *ingest, const struct ingest_options *options,
                      ingest_done_cb done, void *ctx, struct ingest_request **ret_request)
{
    (void)ingest;
    (void)options;
    (void)done;
    (void)ctx;
    (void)ret_request;
    return did('?');
}

void ingest_text(struct ingest_request *request, const char *text, size_t size, bool last)
{
    (void)request;
    (void)text;
    (void)size;
    (void)last;
    (void)did('?');
}

void ingest_abandon(struct ingest_request *request)
{
    (void)request;
    (void)did('?');
}

void query_tick(struct worker *of, uint64_t now_ms)
{
    (void)of;
    (void)now_ms;
    (void)did('q');
}

void status_tick(struct worker *of, uint64_t now_ms)
{
    (void)of;
    (void)now_ms;
    (void)did('s');
}

void status_metrics(struct worker *of, struct bytes *out)
{
    cr_assert_eq(of, &worker);
    bytes_put(out, "metrics", 7);
}

void status_json(struct worker *of, struct bytes *out)
{
    cr_assert_eq(of, &worker);
    bytes_put(out, "status", 6);
}

static enum err ready_says;

enum err node_ready(const struct node *of)
{
    cr_assert_eq(of, &node);
    return ready_says == ERR_OK ? ERR_OK : err_set(ready_says, "shard 3 has no leader");
}

/* ---- Opening ------------------------------------------------------------------------------- */

static void set_up(void)
{
    struct options *options = &node.options;

    (void)snprintf(options->listen.host, sizeof options->listen.host, "10.0.0.1");
    (void)snprintf(options->listen.admin_host, sizeof options->listen.admin_host, "127.0.0.1");
    options->listen.http_port = 7401;
    options->listen.admin_port = 7403;
    options->limits.body_bytes = 12345;
    options->limits.idle_ms = 678;
    options->limits.connections = 9;
}

TestSuite(parts, .init = set_up);

static void open_all(void)
{
    cr_assert_eq(parts_open(&worker), ERR_OK, "%s", err_detail());
}

static void expect_order(const char *expected)
{
    cr_assert_str_eq(order, expected);
    memset(order, 0, sizeof order);
}

Test(parts, the_first_worker_alone_has_the_admin_port)
{
    open_all();
    expect_order("inha");
    cr_assert_not_null(worker.admin);
    memset(order, 0, sizeof order);
    servers = 0;
    worker = (struct worker){.node = &node, .number = 1};
    open_all();
    expect_order("inh");
    cr_assert_null(worker.admin);
}

Test(parts, each_server_has_its_own_address_and_what_the_other_must_not_have)
{
    open_all();
    cr_assert_str_eq(opened[0].host, "10.0.0.1");
    cr_assert(opened[0].port == 7401 && opened[0].reuse_port && !opened[0].admin);
    cr_assert_eq(handlers[0].ingest, worker.ingest);
    /* On two processes of one machine it must not be shared: each would see half. */
    cr_assert_str_eq(opened[1].host, "127.0.0.1");
    cr_assert(opened[1].port == 7403 && !opened[1].reuse_port && opened[1].admin);
    cr_assert_null(handlers[1].ingest, "rows are for the data port");
    for (unsigned i = 0; i < 2; i++) {
        cr_assert(opened[i].body_bytes == 12345 && opened[i].idle_ms == 678);
        cr_assert_eq(opened[i].connections_max, 9);
        cr_assert_eq(opened[i].connections, &node.connections, "one limit for all");
        cr_assert_str_neq(opened[i].version, "");
    }
}

Test(parts, what_cannot_be_opened_ends_it_and_is_said)
{
    static const char all[] = "inha";

    for (size_t i = 0; all[i] != '\0'; i++) {
        char done[sizeof all] = "";

        memset(order, 0, sizeof order);
        servers = 0;
        worker = (struct worker){.node = &node};
        fails = all[i];
        cr_assert_eq(parts_open(&worker), ERR_IO);
        cr_assert_eq(err_detail()[0], all[i]);
        memcpy(done, all, i + 1);
        cr_assert_str_eq(order, done);
    }
}

/* ---- What the servers ask ------------------------------------------------------------------ */

Test(parts, says_why_the_node_is_not_ready_in_the_room_there_is)
{
    char why[64] = "as it was", small[8];

    open_all();
    cr_assert_eq(handlers[0].ready(handlers[0].ctx, why, sizeof why), ERR_OK);
    cr_assert_str_eq(why, "as it was");
    ready_says = ERR_UNAVAILABLE;
    cr_assert_eq(handlers[1].ready(handlers[1].ctx, why, sizeof why), ERR_UNAVAILABLE);
    cr_assert_str_eq(why, "shard 3 has no leader");
    cr_assert_eq(handlers[0].ready(handlers[0].ctx, small, sizeof small), ERR_UNAVAILABLE);
    cr_assert_str_eq(small, "shard 3");
}

Test(parts, metrics_and_status_are_not_mixed_up)
{
    struct bytes out = {0};

    open_all();
    for (unsigned i = 0; i < 2; i++) {
        handlers[i].metrics(handlers[i].ctx, &out);
        handlers[i].status(handlers[i].ctx, &out);
    }
    cr_assert_eq(out.size, 2 * 13);
    cr_assert_eq(memcmp(out.data, "metricsstatusmetricsstatus", out.size), 0);
    bytes_fini(&out);
}

/* ---- Running and stopping ------------------------------------------------------------------ */

/* What came in leaves before answers are written: they may be there at once. */
Test(parts, rows_leave_before_answers)
{
    open_all();
    expect_order("inha");
    parts_flush(&worker);
    expect_order("Ff");
    parts_tick(&worker, 77);
    expect_order("qst");
}

/* While the node stops, somebody wants to see how far it is. */
Test(parts, takes_no_more_but_questions_about_itself)
{
    open_all();
    expect_order("inha");
    parts_stop_taking(&worker);
    expect_order("SD");
}

static void count_end(struct worker *of)
{
    cr_assert_eq(of, &worker);
    of->closing--;
}

Test(parts, waits_for_the_end_of_each_that_was_opened)
{
    for (uint32_t number = 0; number < 2; number++) {
        memset(order, 0, sizeof order);
        servers = closes = 0;
        worker = (struct worker){.node = &node, .number = number, .closing = 1};
        open_all();
        parts_close(&worker, count_end);
        cr_assert_eq(worker.closing, 1 + 3 - number);
        cr_assert_str_eq(order, number == 0 ? "inhaNHA" : "inhNH");
        for (unsigned i = closes; i-- > 0;)
            http_ends[i](http_end_ctx[i]);
        native_end(&worker);
        cr_assert_eq(worker.closing, 1);
    }
}

Test(parts, frees_ingest_if_there_is_one)
{
    parts_fini(&worker);
    expect_order("");
    open_all();
    parts_fini(&worker);
    expect_order("inhaI");
}
