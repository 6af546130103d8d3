/*
 * What other nodes ask: carried out by this one's shards, answered on the link, and let go of when
 * they take it back or are gone. Links and shards are played.
 */
#include "tests/unit/node/router_fake.h"

enum { HELD_MAX = 8 };

/* ---- What peer.c and the router call ------------------------------------------------------- */

static struct query_request *held[HELD_MAX]; /* Queries that the shards have not answered. */
static unsigned held_count;
static uint64_t frame_to, frame_number;
static uint16_t frame_types[16];
static unsigned frame_count;
static struct message_query_end end;

enum err links_answer(struct links *links, uint64_t to, uint16_t type, uint64_t request,
                      struct buf *payload, bool urgent)
{
    (void)links;
    (void)urgent;
    frame_to = to;
    frame_number = request;
    frame_types[frame_count++ % 16] = type;
    if (type == FRAME_SHARD_END)
        cr_assert_eq(message_get_query_end(payload->bytes, payload->size, &end), ERR_OK);
    return ERR_OK;
}

enum err links_frame(struct links *links, uint64_t to, uint16_t type, uint64_t request,
                     struct buf *payload, bool urgent)
{
    (void)links;
    (void)to;
    (void)type;
    (void)request;
    (void)payload;
    (void)urgent;
    return ERR_UNAVAILABLE; /* Nothing is passed on to other nodes. */
}

void shard_query(struct shard *shard, struct query_request *request)
{
    (void)shard;
    held[held_count++] = request;
}

void shard_hear_damage(struct node *of, uint64_t server, const struct buf *payload)
{
    (void)of;
    (void)server;
    (void)payload;
}

/* ---- What the test does -------------------------------------------------------------------- */

static void come(uint64_t from, uint16_t type, uint64_t number, struct bytes *bytes)
{
    struct frame_header header = {.type = type, .request = number, .size = (uint32_t)bytes->size};
    struct buf *buf = buf_with(bytes);

    peer_serve(&worker, from, &header, buf);
    buf_unref(buf);
    bytes_fini(bytes);
}

static void ask(uint64_t from, uint64_t number, uint32_t shard)
{
    const struct query query = {
        .database = "db", .table = "t", .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    struct bytes bytes = {0};

    message_put_query(&query, shard, 100, &bytes);
    come(from, FRAME_SHARD_QUERY, number, &bytes);
}

static void take_back(uint64_t from, uint64_t number)
{
    struct bytes none = {0};

    come(from, FRAME_CANCEL, number, &none);
}

static void shard_answers(unsigned at)
{
    held[at]->rows = 7;
    if (atomic_load(&held[at]->canceled))
        router_fail(&worker, &held[at]->route, err_set(ERR_CANCELED, "canceled"), 0);
    else
        router_answer(&worker, &held[at]->route);
}

Test(peer, a_query_is_answered_to_who_asked)
{
    ask(THERE, 5, 0);
    ask(ELSEWHERE, 5, 1);
    cr_assert_eq(held_count, 2);
    cr_assert(held[0]->here); /* Never passed on again. */
    shard_answers(0);
    cr_assert_eq(frame_to, THERE);
    cr_assert_eq(frame_number, 5);
    cr_assert_eq(frame_types[0], FRAME_SHARD_END);
    cr_assert_eq(end.code, ERR_OK);
    cr_assert_eq(end.rows, 7);
    shard_answers(1);
    cr_assert_eq(frame_to, ELSEWHERE);
    cr_assert_null(worker.peer_queries);
    cr_assert_eq(worker.requests, 0);
}

Test(peer, a_query_of_a_shard_that_is_not_there_is_refused)
{
    ask(THERE, 5, SHARDS);
    cr_assert_eq(held_count, 0);
    cr_assert_eq(frame_types[0], FRAME_ERROR);
    cr_assert_null(worker.peer_queries);
}

Test(peer, takes_back_the_query_with_that_number_of_that_node_alone)
{
    ask(THERE, 5, 0);
    ask(THERE, 6, 0);
    ask(ELSEWHERE, 5, 0);
    take_back(THERE, 4);
    take_back(THERE, 5);
    cr_assert(atomic_load(&held[0]->canceled));
    cr_assert_not(atomic_load(&held[1]->canceled));
    cr_assert_not(atomic_load(&held[2]->canceled));
    shard_answers(0);
    cr_assert_eq(end.code, ERR_CANCELED);
    take_back(THERE, 5); /* It is gone: nothing happens. */
    shard_answers(1);
    shard_answers(2);
    cr_assert_null(worker.peer_queries);
}

Test(peer, a_node_that_is_gone_waits_for_nothing)
{
    ask(THERE, 5, 0);
    ask(ELSEWHERE, 5, 0);
    ask(THERE, 6, 1);
    peer_down(&worker, THERE);
    cr_assert(atomic_load(&held[0]->canceled));
    cr_assert_not(atomic_load(&held[1]->canceled));
    cr_assert(atomic_load(&held[2]->canceled));
    for (unsigned i = 0; i < 3; i++)
        shard_answers(i);
    cr_assert_null(worker.peer_queries);
    cr_assert_eq(worker.requests, 0);
}
