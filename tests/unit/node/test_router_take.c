/*
 * What another node answers, into the request: all of it, or nothing that the asker could mistake
 * for an answer.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/message.h"
#include "node/router.h"
#include "node/worker.h"
#include "storage/base/buf.h"

enum { QUERY_BYTES = 4000, THERE = 2 };

static struct node node = {.options.limits.query_bytes = QUERY_BYTES};
static struct worker worker = {.node = &node};

static enum err take_some(struct route *route, uint16_t type, const void *bytes, size_t size)
{
    struct buf *payload = buf_new((uint32_t)size); /* Just so large: a reader of more is noticed. */
    enum err err;

    if (size > 0)
        memcpy(payload->bytes, bytes, size);
    payload->size = (uint32_t)size;
    route->peer = THERE;
    err = router_take(&worker, route, type, payload);
    buf_unref(payload);
    return err;
}

/* And an end to the bytes. */
static enum err take(struct route *route, uint16_t type, struct bytes *bytes)
{
    enum err err = take_some(route, type, bytes->data, bytes->size);

    bytes_fini(bytes);
    return err;
}

/* Every beginning of the answer is refused, and so is one that goes on behind its end. */
static void expect_no_part_will_do(struct route *route, uint16_t type, struct bytes *bytes)
{
    bytes_put_u8(bytes, 0);
    for (size_t size = 0; size <= bytes->size; size++)
        if (size != bytes->size - 1)
            cr_assert_eq(take_some(route, type, bytes->data, size), ERR_INVALID, "%zu of %zu bytes",
                         size, bytes->size);
    bytes_fini(bytes);
}

/* ---- Which answer fits --------------------------------------------------------------------- */

Test(router_take, takes_each_answer_for_its_own_question_alone)
{
    static const uint16_t types[] = {
        FRAME_WRITE_OK,   FRAME_DECLARE_OK, FRAME_DATABASE_OK, FRAME_DELETE_OK, FRAME_SHARD_ROWS,
        FRAME_SHARD_PART, FRAME_SHARD_END,  FRAME_FETCH_OK,    FRAME_WRITE,     FRAME_DAMAGED};
    static const enum route_kind fits[] = {ROUTE_WRITE, ROUTE_DECLARE, ROUTE_ORDER, ROUTE_ORDER,
                                           ROUTE_QUERY, ROUTE_QUERY,   ROUTE_QUERY, ROUTE_PIECE};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        for (int kind = ROUTE_WRITE; kind <= ROUTE_PIECE; kind++) {
            /* Nothing of it is touched, so it need not be the whole request. */
            struct route route = {.kind = (enum route_kind)kind};

            if (i < sizeof fits / sizeof *fits && fits[i] == route.kind)
                continue;
            cr_assert_eq(take_some(&route, types[i], "answer", 6), ERR_INVALID);
            cr_assert_not_null(strstr(err_detail(), "node 2 answered with a frame of type"));
        }
}

/* ---- Writes -------------------------------------------------------------------------------- */

static struct message_write_ok write_ok(const uint32_t *ids, uint32_t count)
{
    return (struct message_write_ok){
        .index = 77, .rows = 5, .duplicate = true, .id_count = count, .ids = (const uint8_t *)ids};
}

Test(router_take, a_write_learns_where_it_stands_and_the_ids_of_its_keys)
{
    struct write_request request = {.route.kind = ROUTE_WRITE};
    struct message_write_ok message = write_ok((uint32_t[]){9, 8, 7}, 3);
    struct bytes bytes = {0};

    message_put_write_ok(&message, &bytes);
    cr_assert_eq(take(&request.route, FRAME_WRITE_OK, &bytes), ERR_OK);
    cr_assert(request.index == 77 && request.rows == 5 && request.duplicate);
    cr_assert_eq(request.id_count, 3);
    cr_assert_eq(memcmp(request.ids, ((uint32_t[]){9, 8, 7}), 12), 0);

    message.id_count = 0; /* The same request again: what was learnt before does not stay. */
    message_put_write_ok(&message, &bytes);
    cr_assert_eq(take(&request.route, FRAME_WRITE_OK, &bytes), ERR_OK);
    cr_assert_eq(request.id_count, 0);
    cr_assert_null(request.ids);
}

Test(router_take, a_write_believes_no_part_of_an_answer)
{
    struct write_request request = {.route.kind = ROUTE_WRITE};
    struct message_write_ok message = write_ok((uint32_t[]){9, 8}, 2);
    struct bytes bytes = {0};

    message_put_write_ok(&message, &bytes);
    expect_no_part_will_do(&request.route, FRAME_WRITE_OK, &bytes);
    cr_assert(request.index == 0 && request.rows == 0 && !request.duplicate);
    cr_assert_null(request.ids);
}

/* ---- Errors -------------------------------------------------------------------------------- */

Test(router_take, an_error_comes_with_all_that_helps_to_ask_again)
{
    struct write_request request = {.route.kind = ROUTE_WRITE};
    struct message_error message = {.code = ERR_TOO_OLD,
                                    .leader = 3,
                                    .retry_ms = 70,
                                    .cutoff_ns = -12,
                                    .text = {"before what is kept", 19},
                                    .id_count = 1,
                                    .ids = (const uint8_t *)(uint32_t[]){4}};
    struct bytes bytes = {0};

    message_put_error(&message, &bytes);
    cr_assert_eq(take(&request.route, FRAME_ERROR, &bytes), ERR_OK);
    cr_assert_eq(request.route.answer.code, ERR_TOO_OLD);
    cr_assert(request.route.answer.leader == 3 && request.route.answer.retry_ms == 70);
    cr_assert_eq(request.route.answer.cutoff_ns, -12);
    cr_assert_str_eq(request.route.answer.text, "before what is kept");
    cr_assert(request.id_count == 1 && request.ids[0] == 4);
    free(request.ids);
}

/* Behind a shorter request there is no room for ids. */
Test(router_take, ids_in_an_error_are_a_writes_alone)
{
    struct {
        struct route route;
        uint8_t behind[sizeof(struct write_request) - sizeof(struct route)];
    } request = {.route.kind = ROUTE_PIECE};
    struct message_error message = {.code = ERR_LIMIT,
                                    .text = {"no", 2},
                                    .id_count = 1,
                                    .ids = (const uint8_t *)(uint32_t[]){4}};
    struct bytes bytes = {0};

    memset(request.behind, 0xa5, sizeof request.behind);
    message_put_error(&message, &bytes);
    cr_assert_eq(take(&request.route, FRAME_ERROR, &bytes), ERR_OK);
    cr_assert_eq(request.route.answer.code, ERR_LIMIT);
    for (size_t i = 0; i < sizeof request.behind; i++)
        cr_assert_eq(request.behind[i], 0xa5);
}

Test(router_take, an_error_that_is_none_or_unknown_is_not_taken_for_success)
{
    static const uint32_t codes[] = {ERR_OK, ERR_COUNT, 4711, UINT32_MAX};
    struct route route = {.kind = ROUTE_PIECE};

    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        struct message_error message = {.code = ERR_BUSY, .text = {"text", 4}};
        struct bytes bytes = {0};

        message_put_error(&message, &bytes);
        memcpy(bytes.data, &codes[i], sizeof codes[i]); /* It stands first. */
        cr_assert_eq(take(&route, FRAME_ERROR, &bytes), ERR_INVALID, "code %u", codes[i]);
    }
    for (uint32_t code = ERR_OK + 1; code < ERR_COUNT; code++) {
        struct message_error message = {.code = code, .text = {"text", 4}};
        struct bytes bytes = {0};

        message_put_error(&message, &bytes);
        cr_assert_eq(take(&route, FRAME_ERROR, &bytes), ERR_OK);
        cr_assert_eq(route.answer.code, code);
    }
}

Test(router_take, no_part_of_an_error_will_do)
{
    struct route route = {.kind = ROUTE_ORDER};
    struct message_error message = {.code = ERR_BUSY, .leader = 1, .text = {"text", 4}};
    struct bytes bytes = {0};

    message_put_error(&message, &bytes);
    expect_no_part_will_do(&route, FRAME_ERROR, &bytes);
    cr_assert_eq(route.answer.leader, 0);
}

Test(router_take, a_text_that_is_too_long_is_cut)
{
    struct route route = {.kind = ROUTE_PIECE};
    char text[2 * ERR_DETAIL_MAX];
    struct message_error message = {.code = ERR_IO, .text = {text, ERR_DETAIL_MAX}};
    struct bytes bytes = {0};

    memset(text, 'x', sizeof text);
    message_put_error(&message, &bytes);
    cr_assert_eq(take(&route, FRAME_ERROR, &bytes), ERR_OK);
    cr_assert_eq(strlen(route.answer.text), ERR_DETAIL_MAX - 1);
}

/* ---- Declarations and orders --------------------------------------------------------------- */

Test(router_take, a_declaration_learns_a_type_for_each_field_or_nothing)
{
    struct declare_request request = {.route.kind = ROUTE_DECLARE};
    struct message_declare message = {.table_key = {"\002db\001t", 5},
                                      .count = 2,
                                      .fields = {{{"a", 1}, FIELD_BOOL}, {{"b", 1}, FIELD_STRING}}};
    struct bytes bytes = {0};

    message_put_declare(&message, &bytes);
    expect_no_part_will_do(&request.route, FRAME_DECLARE_OK, &bytes);
    cr_assert_eq(request.count, 0);
    cr_assert_null(request.types);
    message_put_declare(&message, &bytes);
    cr_assert_eq(take(&request.route, FRAME_DECLARE_OK, &bytes), ERR_OK);
    cr_assert_eq(request.count, 2);
    cr_assert(request.types[0] == FIELD_BOOL && request.types[1] == FIELD_STRING);
    free(request.types);
}

Test(router_take, an_order_gets_the_answer_as_it_came)
{
    struct order_request request = {.route.kind = ROUTE_ORDER};

    cr_assert_eq(take_some(&request.route, FRAME_DATABASE_OK, "ab\0cd", 5), ERR_OK);
    cr_assert_eq(request.answer.size, 5);
    cr_assert_eq(memcmp(request.answer.data, "ab\0cd", 5), 0);
    bytes_fini(&request.answer);
    cr_assert_eq(take_some(&request.route, FRAME_DELETE_OK, "", 0), ERR_OK);
    cr_assert_eq(request.answer.size, 0);
    bytes_fini(&request.answer);
}

/* ---- Pieces -------------------------------------------------------------------------------- */

Test(router_take, a_piece_is_kept_longer_than_the_frame_it_came_in)
{
    struct piece_request request = {.route.kind = ROUTE_PIECE};

    cr_assert_eq(take_some(&request.route, FRAME_FETCH_OK, "piece", 5), ERR_OK);
    cr_assert_eq(atomic_load(&request.bytes->refs), 1);
    cr_assert_eq(memcmp(request.bytes->bytes, "piece", request.bytes->size), 0);
    buf_unref(request.bytes);
}

/* ---- Queries ------------------------------------------------------------------------------- */

static struct query_request *new_query(void)
{
    struct query_request *request = calloc(1, sizeof *request);

    request->route.kind = ROUTE_QUERY;
    return request;
}

static void free_query(struct query_request *request)
{
    for (uint32_t i = 0; i < request->part_count; i++)
        buf_unref(request->parts[i].bytes);
    free(request->parts);
    free(request);
}

Test(router_take, a_query_keeps_its_parts_in_order_until_the_end)
{
    struct query_request *request = new_query();
    struct message_query_end end = {.rows = 12,
                                    .stale_ms = 3,
                                    .code = ERR_NOT_LEADER,
                                    .leader = 3,
                                    .text = {"moved", 5},
                                    .next = {6, -7}};
    struct bytes bytes = {0};

    cr_assert_eq(take_some(&request->route, FRAME_SHARD_ROWS, "one", 3), ERR_END);
    cr_assert_eq(take_some(&request->route, FRAME_SHARD_PART, "three", 5), ERR_END);
    message_put_query_end(&end, &bytes);
    cr_assert_eq(take(&request->route, FRAME_SHARD_END, &bytes), ERR_OK);
    cr_assert_eq(request->part_count, 2);
    cr_assert(!request->parts[0].aggregate && request->parts[1].aggregate);
    cr_assert_eq(request->parts[0].bytes->size, 3);
    cr_assert_eq(memcmp(request->parts[1].bytes->bytes, "three", 5), 0);
    cr_assert(request->rows == 12 && request->stale_ms == 3);
    cr_assert(request->next.series == 6 && request->next.time_ns == -7);
    cr_assert(request->route.answer.code == ERR_NOT_LEADER && request->route.answer.leader == 3);
    cr_assert_gt(request->route.answer.retry_ms, 0);
    cr_assert_str_eq(request->route.answer.text, "moved");
    free_query(request);
}

Test(router_take, no_part_of_an_end_is_one)
{
    struct query_request *request = new_query();
    struct message_query_end end = {.rows = 12, .text = {"moved", 5}};
    struct bytes bytes = {0};

    message_put_query_end(&end, &bytes);
    expect_no_part_will_do(&request->route, FRAME_SHARD_END, &bytes);
    cr_assert_eq(request->rows, 0);
    end.code = ERR_COUNT;
    message_put_query_end(&end, &bytes);
    cr_assert_eq(take(&request->route, FRAME_SHARD_END, &bytes), ERR_INVALID);
    free_query(request);
}

Test(router_take, an_answer_takes_no_more_memory_than_a_query_may)
{
    static const uint8_t zeros[QUERY_BYTES];
    struct query_request *request = new_query();

    cr_assert_eq(take_some(&request->route, FRAME_SHARD_ROWS, zeros, QUERY_BYTES / 2), ERR_END);
    cr_assert_eq(take_some(&request->route, FRAME_SHARD_ROWS, zeros, QUERY_BYTES / 2), ERR_LIMIT);
    cr_assert_not_null(strstr(err_detail(), "limits.query_bytes, 4000"));
    cr_assert_eq(request->part_count, 1);
    free_query(request);
}

/* One without bytes takes memory too. */
Test(router_take, there_is_an_end_to_parts_with_nothing_in_them)
{
    struct query_request *request = new_query();
    enum err err = ERR_END;

    for (unsigned i = 0; i < QUERY_BYTES && err == ERR_END; i++)
        err = take_some(&request->route, FRAME_SHARD_PART, "", 0);
    cr_assert_eq(err, ERR_LIMIT);
    cr_assert_lt(request->part_count, 100);
    free_query(request);
}
