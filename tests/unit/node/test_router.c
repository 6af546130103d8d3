/*
 * Requests at other nodes: every one ends once, on whatever comes back or does not. Links, shards
 * and other workers are played.
 */
#include "tests/support/seed.h"
#include "tests/unit/node/router_fake.h"

enum { REQUESTS_MAX = 1 << 17 };

/* ---- What the router calls ----------------------------------------------------------------- */

static enum err link_says;
static uint64_t numbers[REQUESTS_MAX]; /* Of the frames that were sent. */
static unsigned frame_count, served_count;
static uint64_t frame_to;
static uint16_t frame_type;

enum err links_frame(struct links *links, uint64_t to, uint16_t type, uint64_t request,
                     struct buf *payload, bool urgent)
{
    (void)links;
    (void)payload;
    (void)urgent;
    if (link_says != ERR_OK)
        return err_set(link_says, "told to");
    frame_to = to;
    frame_type = type;
    numbers[frame_count++] = request;
    return ERR_OK;
}

void shard_query(struct shard *shard, struct query_request *request)
{
    (void)shard;
    answer_here(&request->route);
}

void peer_serve(struct worker *of, uint64_t from, const struct frame_header *header,
                struct buf *payload)
{
    (void)of;
    (void)from;
    (void)header;
    (void)payload;
    served_count++;
}

/* ---- What the test does -------------------------------------------------------------------- */

static unsigned done_count;
static struct answer last;

static void open_router(void)
{
    node.options.limits.query_bytes = 1000;
    node.options.limits.query_time_ms = 5000;
    for (unsigned i = 0; i <= SHARDS; i++)
        atomic_store(&leaders[i], THERE);
}

static void close_router(void)
{
    cr_assert_eq(worker.requests, 0);
    router_fini(&worker.router);
}

static void write_done(struct route *route)
{
    done_count++;
    last = route->answer;
    router_free_write((struct write_request *)route);
}

static void ask_write(uint32_t shard)
{
    struct write_request *request = calloc(1, sizeof *request);

    request->route = (struct route){.kind = ROUTE_WRITE, .origin = &worker, .done = write_done};
    request->shard = shard;
    request->entry = buf_new(64);
    router_write(&worker, request);
}

/* A frame comes; `bytes` are gone afterwards. */
static void answer(uint64_t from, uint16_t type, uint64_t number, struct bytes *bytes)
{
    struct frame_header header = {.type = type, .request = number, .size = (uint32_t)bytes->size};
    struct buf *buf = buf_with(bytes);

    router_frame(&worker, from, &header, buf);
    buf_unref(buf);
    bytes_fini(bytes);
}

static void answer_write(uint64_t from, uint64_t number)
{
    struct bytes bytes = {0};

    message_put_write_ok(&(struct message_write_ok){.rows = 1}, &bytes);
    answer(from, FRAME_WRITE_OK, number, &bytes);
}

/* ---- Where to ------------------------------------------------------------------------------ */

Test(router, sends_to_the_leader_and_keeps_what_is_led_here)
{
    open_router();
    ask_write(0);
    cr_assert_eq(frame_to, THERE);
    cr_assert_eq(frame_type, FRAME_WRITE);
    atomic_store(&leaders[2], HERE);
    ask_write(1);
    cr_assert_eq(local_count, 1);
    atomic_store(&leaders[2], 0); /* Nobody knows: our own replica says so. */
    ask_write(1);
    cr_assert_eq(local_count, 2);
    ask_write(SHARDS);
    cr_assert_eq(last.code, ERR_INVALID);
    cr_assert_eq(done_count, 3);
    answer_write(THERE, numbers[0]);
    cr_assert_eq(done_count, 4);
    close_router();
}

Test(router, hands_requests_of_other_nodes_on)
{
    struct bytes none = {0};

    open_router();
    answer(THERE, FRAME_WRITE, 5, &none);
    answer(THERE, FRAME_DECLARE, 5, &none);
    answer(THERE, FRAME_SHARD_QUERY, 5, &none);
    answer(THERE, FRAME_CANCEL, 5, &none);
    cr_assert_eq(served_count, 4);
    answer(THERE, 999, 5, &none);
    cr_assert_eq(served_count, 4);
    close_router();
}

/* ---- Answers ------------------------------------------------------------------------------- */

Test(router, every_request_ends_once_whatever_comes)
{
    enum { COUNT = 5000 };
    uint64_t chance = seed_of_run("router");
    unsigned ended = 0;

    open_router();
    for (unsigned i = 0; i < COUNT || ended < frame_count; i++) {
        uint64_t number;

        if (i < COUNT)
            ask_write(0);
        for (unsigned tries = 0; tries < 3; tries++) {
            number = numbers[seed_below(&chance, frame_count)];
            switch (seed_below(&chance, 4)) {
            case 0: /* From somebody who was not asked. */
                answer_write(THERE + 1, number);
                break;
            case 1: /* A number that nobody gave. */
                answer_write(THERE, number ^ (UINT64_C(1) << seed_below(&chance, 64)));
                break;
            default: /* Perhaps a second time. */
                answer_write(THERE, number);
            }
        }
        ended = done_count;
        if (i > COUNT && worker.requests < 20)
            router_peer_down(&worker, THERE);
    }
    cr_assert_eq(done_count, COUNT);
    cr_assert_leq(worker.router.count, 2 * COUNT);
    close_router();
}

Test(router, an_answer_that_cannot_be_read_leaves_open_what_happened)
{
    struct bytes bytes = {0};

    open_router();
    ask_write(0);
    bytes_put_u8(&bytes, 1);
    answer(THERE, FRAME_WRITE_OK, numbers[0], &bytes);
    cr_assert_eq(last.code, ERR_UNAVAILABLE);
    ask_write(0);
    answer(THERE, FRAME_DECLARE_OK, numbers[1], &bytes);
    cr_assert_eq(last.code, ERR_UNAVAILABLE);
    ask_write(0);
    answer(THERE, FRAME_ERROR, numbers[2], &bytes);
    cr_assert_eq(last.code, ERR_UNAVAILABLE);
    cr_assert_eq(done_count, 3);
    close_router();
}

Test(router, passes_on_an_error_with_its_leader_and_time)
{
    struct message_error message = {
        .code = ERR_NOT_LEADER, .leader = 3, .retry_ms = 70, .text = {"moved", 5}};
    struct bytes bytes = {0};

    open_router();
    ask_write(0);
    message_put_error(&message, &bytes);
    answer(THERE, FRAME_ERROR, numbers[0], &bytes);
    cr_assert_eq(last.code, ERR_NOT_LEADER);
    cr_assert_eq(last.leader, 3);
    cr_assert_eq(last.retry_ms, 70);
    cr_assert_str_eq(last.text, "moved");
    ask_write(0);
    message.code = 4711; /* Of a newer version, or of nobody. */
    message_put_error(&message, &bytes);
    answer(THERE, FRAME_ERROR, numbers[1], &bytes);
    cr_assert_neq(last.code, ERR_OK);
    close_router();
}

/* ---- No answers ---------------------------------------------------------------------------- */

Test(router, a_broken_link_ends_what_waits_for_it_alone)
{
    open_router();
    ask_write(0);
    atomic_store(&leaders[2], THERE + 1);
    ask_write(1);
    router_peer_down(&worker, THERE);
    cr_assert_eq(done_count, 1);
    cr_assert_eq(last.code, ERR_UNAVAILABLE);
    answer_write(THERE, numbers[0]);
    cr_assert_eq(done_count, 1);
    router_close(&worker);
    cr_assert_eq(done_count, 2);
    cr_assert_eq(last.code, ERR_CANCELED);
    close_router();
}

Test(router, ends_what_has_waited_too_long)
{
    open_router();
    ask_write(0);
    now_ms += 9000;
    ask_write(0);
    router_tick(&worker, now_ms);
    cr_assert_eq(done_count, 0);
    now_ms += 1000;
    router_tick(&worker, now_ms);
    cr_assert_eq(done_count, 1);
    cr_assert_eq(last.code, ERR_TIMEOUT);
    answer_write(THERE, numbers[1]);
    cr_assert_eq(last.code, ERR_OK);
    close_router();
}

Test(router, does_not_wait_for_somebody_who_leads_no_more)
{
    open_router();
    ask_write(0);
    ask_write(1);
    atomic_store(&leaders[1], 0); /* Nobody knows yet. */
    router_tick(&worker, now_ms);
    cr_assert_eq(done_count, 0);
    atomic_store(&leaders[1], THERE + 1);
    router_tick(&worker, now_ms);
    cr_assert_eq(done_count, 1);
    cr_assert_eq(last.code, ERR_UNAVAILABLE);
    router_peer_down(&worker, THERE);
    close_router();
}

Test(router, a_link_that_takes_nothing_is_told_at_once)
{
    open_router();
    link_says = ERR_UNAVAILABLE;
    for (unsigned i = 0; i < 1000; i++)
        ask_write(0);
    cr_assert_eq(done_count, 1000);
    cr_assert_eq(last.code, ERR_UNAVAILABLE);
    cr_assert_leq(worker.router.count, 64, "slots are not given back");
    close_router();
}

Test(router, has_an_end_to_requests_under_way)
{
    open_router();
    for (unsigned i = 0; i < REQUESTS_MAX && done_count == 0; i++)
        ask_write(0);
    cr_assert_eq(last.code, ERR_BUSY);
    cr_assert_eq(frame_count, 1 << 16);
    router_peer_down(&worker, THERE);
    cr_assert_eq(done_count, frame_count + 1);
    close_router();
}

Test(router, takes_nothing_when_the_worker_closes)
{
    open_router();
    worker.phase = WORKER_CLOSING;
    ask_write(0);
    cr_assert_eq(last.code, ERR_CANCELED);
    close_router();
}

/* ---- Queries and declarations -------------------------------------------------------------- */

static unsigned parts_seen;

static void query_done(struct route *route)
{
    struct query_request *request = (struct query_request *)route;

    done_count++;
    last = route->answer;
    parts_seen = request->part_count;
    router_free_query(request);
}

static struct query_request *new_query(void)
{
    static const struct query query = {.database = "db", .table = "t"};
    struct query_request *request = calloc(1, sizeof *request);

    request->route = (struct route){.kind = ROUTE_QUERY, .origin = &worker, .done = query_done};
    request->query = &query;
    return request;
}

static struct query_request *ask_query(void)
{
    struct query_request *request = new_query();

    router_query(&worker, request);
    return request;
}

static void answer_rows(uint64_t number, size_t size)
{
    struct bytes bytes = {0};

    cr_assert_not_null(memset(bytes_add(&bytes, size), 'x', size));
    answer(THERE, FRAME_SHARD_ROWS, number, &bytes);
}

Test(router, collects_the_parts_of_a_query_up_to_its_end)
{
    struct message_query_end end = {.rows = 7};
    struct bytes bytes = {0};

    open_router();
    ask_query();
    answer_rows(numbers[0], 300);
    answer_rows(numbers[0], 300);
    cr_assert_eq(done_count, 0);
    message_put_query_end(&end, &bytes);
    answer(THERE, FRAME_SHARD_END, numbers[0], &bytes);
    cr_assert_eq(done_count, 1);
    cr_assert_eq(last.code, ERR_OK);
    cr_assert_eq(parts_seen, 2);
    close_router();
}

/* It ends here at once, there when the frame comes; what is on its way from there is for nobody. */
Test(router, a_query_that_nobody_waits_for_is_taken_back_where_it_runs)
{
    struct query_request *request;

    open_router();
    request = ask_query();
    (void)ask_query();
    answer_rows(numbers[0], 300);
    router_cancel(&worker, request);
    cr_assert_eq(done_count, 1);
    cr_assert_eq(last.code, ERR_CANCELED);
    cr_assert_eq(frame_type, FRAME_CANCEL);
    cr_assert_eq(frame_to, THERE);
    cr_assert_eq(frame_count, 3);
    cr_assert_eq(numbers[2], numbers[0]);
    answer_rows(numbers[0], 300);
    cr_assert_eq(done_count, 1);

    link_says = ERR_BUSY; /* Nobody there is told: it ends all the same. */
    request = (struct query_request *)worker.router.slots[(numbers[1] >> 32) & 0xffffff].route;
    router_cancel(&worker, request);
    cr_assert_eq(done_count, 2);
    cr_assert_eq(last.code, ERR_CANCELED);
    close_router();
}

Test(router, a_query_whose_answer_is_too_large_ends_with_that)
{
    open_router();
    ask_query();
    answer_rows(numbers[0], 600);
    answer_rows(numbers[0], 600);
    cr_assert_eq(done_count, 1);
    cr_assert_eq(last.code, ERR_LIMIT);
    answer_rows(numbers[0], 600); /* The rest of it is dropped. */
    cr_assert_eq(done_count, 1);
    close_router();
}

/* Who led may hang: then it would not answer until the query's time is up. */
Test(router, a_query_is_taken_back_from_somebody_who_leads_no_more)
{
    struct query_request *request;

    open_router();
    (void)ask_query();
    answer_rows(numbers[0], 300);
    atomic_store(&leaders[1], 0); /* Nobody knows yet. */
    router_tick(&worker, now_ms);
    cr_assert_eq(done_count, 0);
    atomic_store(&leaders[1], HERE);
    router_tick(&worker, now_ms);
    cr_assert_eq(done_count, 1);
    cr_assert_eq(last.code, ERR_UNAVAILABLE);
    cr_assert_eq(frame_type, FRAME_CANCEL);
    cr_assert_eq(frame_to, THERE);
    cr_assert_eq(numbers[1], numbers[0]);

    /* Any replica will do: this one was asked for its own sake. */
    request = new_query();
    request->at = THERE;
    router_query(&worker, request);
    router_tick(&worker, now_ms);
    cr_assert_eq(done_count, 1);
    router_peer_down(&worker, THERE);
    cr_assert_eq(done_count, 2);
    close_router();
}

static enum err learnt;

static void declare_done(struct route *route)
{
    struct declare_request *request = (struct declare_request *)route;

    done_count++;
    last = route->answer;
    if (last.code == ERR_OK)
        learnt = router_learn_types(&worker, request);
    router_free_declare(request);
}

static struct message_declare declaration(uint32_t count)
{
    struct message_declare message = {.table_key = {"\002db\001t", 5}, .count = count};

    for (uint32_t i = 0; i < count; i++)
        message.fields[i] =
            (struct message_declare_field){.name = {&"abcdef"[i], 1}, .type = FIELD_INT};
    return message;
}

static void ask_types(void)
{
    struct declare_request *request = calloc(1, sizeof *request);
    struct message_declare message = declaration(2);

    request->route = (struct route){.kind = ROUTE_DECLARE, .origin = &worker, .done = declare_done};
    message_put_declare(&message, &request->message);
    router_declare(&worker, request);
}

Test(router, learns_types_that_fit_the_question)
{
    struct message_declare message = declaration(2);
    struct slice table = message.table_key;
    struct bytes bytes = {0};

    open_router();
    ask_types();
    message.fields[1].type = FIELD_STRING;
    message_put_declare(&message, &bytes);
    answer(THERE, FRAME_DECLARE_OK, numbers[0], &bytes);
    cr_assert_eq(learnt, ERR_OK);
    cr_assert_eq(schema_map_find(&worker.schema, table, (struct slice){"a", 1}), FIELD_INT);
    cr_assert_eq(schema_map_find(&worker.schema, table, (struct slice){"b", 1}), FIELD_STRING);
    ask_types();
    message = declaration(1); /* One of two. */
    message_put_declare(&message, &bytes);
    answer(THERE, FRAME_DECLARE_OK, numbers[1], &bytes);
    cr_assert_eq(learnt, ERR_UNAVAILABLE);
    cr_assert_eq(done_count, 2);
    schema_map_fini(&worker.schema);
    close_router();
}

/* ---- Databases ----------------------------------------------------------------------------- */

static size_t answer_size;

static void database_done(struct route *route)
{
    struct order_request *request = (struct order_request *)route;

    done_count++;
    last = route->answer;
    answer_size = request->answer.size;
    router_free_order(request);
}

static void ask_databases(void)
{
    struct message_database message = {.op = DATABASE_LIST, .name = {"", 0}};
    struct order_request *request = calloc(1, sizeof *request);

    request->route = (struct route){.kind = ROUTE_ORDER, .origin = &worker, .done = database_done};
    message_put_database(&message, &request->message);
    router_order(&worker, request);
}

Test(router, asks_the_meta_groups_leader_about_databases)
{
    struct bytes bytes = {0};

    open_router();
    ask_databases();
    cr_assert_eq(frame_to, THERE);
    cr_assert_eq(frame_type, FRAME_DATABASE);
    message_put_database_info(&(struct message_database_info){{"db", 2}, 1, 2, 4, 3}, &bytes);
    answer(THERE, FRAME_DATABASE_OK, numbers[0], &bytes);
    cr_assert_eq(last.code, ERR_OK);
    cr_assert_eq(answer_size, 3 + 4 * 8);
    ask_databases();
    atomic_store(&leaders[0], HERE);
    router_tick(&worker, worker_now_ms()); /* The leader moved: nobody knows what it did. */
    cr_assert_eq(last.code, ERR_UNAVAILABLE);
    ask_databases();
    cr_assert_eq(local_count, 1);
    cr_assert_eq(done_count, 3);
    close_router();
}
