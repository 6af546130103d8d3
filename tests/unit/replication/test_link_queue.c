/*
 * What waits for a peer: urgent frames pass bulk, large ones leave in pieces, and everything that
 * was put in leaves once, in its order, or is counted as dropped.
 */
#include "replication/link_queue.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "replication/group_message.h"
#include "tests/support/seed.h"

enum { QUEUE_MAX = 4 * 1024 * 1024 };

static struct link_queue queue;
static struct link_batch batch;

static void set_up(void)
{
    link_queue_init(&queue, QUEUE_MAX);
}

static void tear_down(void)
{
    link_batch_done(&batch);
    link_queue_fini(&queue);
}

TestSuite(link_queue, .init = set_up, .fini = tear_down);

static enum err put_frame(uint64_t request, uint32_t size, bool urgent)
{
    struct buf *buf = buf_new(size);
    enum err err;

    for (uint32_t i = 0; i < size; i++)
        buf->bytes[i] = (uint8_t)(request + i);
    buf->size = size;
    err = link_queue_frame(&queue, FRAME_WRITE, request, buf, urgent);
    buf_unref(buf);
    return err;
}

static enum err put_message(uint32_t group, uint64_t term, bool urgent)
{
    return link_queue_message(&queue, group, group_message_new(GROUP_VOTE, term, 0), urgent);
}

/* An append of one entry of that size. */
static enum err put_entry(uint32_t group, uint32_t size)
{
    struct group_message *message = group_message_new(GROUP_APPEND, 1, 1);
    struct group_entry *entry = &message->append.entries[0];

    *entry = (struct group_entry){
        .term = 1, .payload = buf_new(size), .size = size, .type = GROUP_COMMAND};
    memset(entry->payload->bytes, 'e', size);
    entry->payload->size = size;
    return link_queue_message(&queue, group, message, false);
}

static bool take(void)
{
    link_batch_done(&batch);
    return link_queue_take(&queue, &batch);
}

/* The frames of the batch, checked as who gets them does. */
static void expect_frames(const uint64_t *requests, uint32_t count)
{
    unsigned part = 0;

    cr_assert_eq(batch.frame_count, count, "%u frames", batch.frame_count);
    for (uint32_t i = 0; i < count; i++) {
        const struct frame_header *header = &batch.headers[i];
        struct frame_header checked;

        cr_assert_eq(header->request, requests[i], "frame %u is of request %lu", i,
                     (unsigned long)header->request);
        cr_assert_eq(batch.parts[part].base, (char *)(uintptr_t)header);
        cr_assert_eq(frame_check_header(header, &checked), ERR_OK);
        part++;
        if (header->size > 0) {
            cr_assert_eq(batch.parts[part].len, header->size);
            cr_assert_eq(frame_check_payload(&checked, batch.parts[part].base), ERR_OK);
            part++;
        }
    }
    cr_assert_eq(part, batch.part_count);
}

/* ---- Order --------------------------------------------------------------------------------- */

Test(link_queue, urgent_frames_leave_first_and_each_kind_in_its_order)
{
    cr_assert_not(take());
    for (uint64_t i = 1; i <= 3; i++) {
        cr_assert_eq(put_frame(10 * i, 100, false), ERR_OK);
        cr_assert_eq(put_frame(i, 0, true), ERR_OK);
    }
    cr_assert(take());
    expect_frames((uint64_t[]){1, 2, 3, 10, 20, 30}, 6);
    cr_assert_eq(queue.urgent.bytes, 0);
    cr_assert_eq(queue.bulk.bytes, 0);
    cr_assert_not(take());
}

Test(link_queue, what_is_urgent_waits_behind_no_more_than_one_batch)
{
    cr_assert_eq(put_frame(10, 3 * 1024 * 1024, false), ERR_OK);
    cr_assert(take());
    cr_assert_leq(batch.bytes, LINK_BATCH_BYTES + LINK_PIECE_BYTES);
    cr_assert_eq(batch.headers[0].size, LINK_PIECE_BYTES);
    cr_assert_eq(batch.headers[0].flags, FRAME_MORE);
    cr_assert_eq(put_frame(1, 100, true), ERR_OK);
    cr_assert(take());
    cr_assert_eq(batch.headers[0].request, 1);
    cr_assert_eq(batch.headers[1].request, 10);
    while (batch.headers[batch.frame_count - 1].flags == FRAME_MORE)
        cr_assert(take());
    cr_assert_not(take());
}

Test(link_queue, a_batch_has_so_many_frames_and_no_more)
{
    for (uint64_t i = 0; i < LINK_BATCH_FRAMES + 5; i++)
        cr_assert_eq(put_frame(i, 1, true), ERR_OK);
    cr_assert(take());
    cr_assert_eq(batch.frame_count, LINK_BATCH_FRAMES);
    cr_assert(take());
    cr_assert_eq(batch.frame_count, 5);
}

/* ---- Messages ------------------------------------------------------------------------------ */

Test(link_queue, messages_share_a_frame_until_it_leaves_or_is_large)
{
    for (uint64_t i = 0; i < 40; i++)
        cr_assert_eq(put_message((uint32_t)i, i, true), ERR_OK);
    cr_assert_eq(put_frame(7, 1, true), ERR_OK);
    cr_assert_eq(put_message(1, 1, true), ERR_OK); /* Not past the frame between. */
    cr_assert(take());
    cr_assert_eq(batch.frame_count, 3);
    cr_assert_eq(batch.headers[0].type, FRAME_RAFT);
    cr_assert_eq(batch.headers[1].type, FRAME_WRITE);
    cr_assert_eq(put_entry(1, 200 * 1024), ERR_OK);
    cr_assert_eq(put_entry(2, 200 * 1024), ERR_OK);
    cr_assert(take());
    cr_assert_eq(batch.frame_count, 2);
}

Test(link_queue, nothing_joins_a_frame_whose_first_piece_has_left)
{
    cr_assert_eq(put_entry(1, 3 * 1024 * 1024), ERR_OK);
    cr_assert(take());
    cr_assert_eq(put_entry(2, 10), ERR_OK);
    for (unsigned last = 0; last == 0;) {
        cr_assert(take());
        for (uint32_t i = 0; i < batch.frame_count; i++)
            last += batch.headers[i].flags != FRAME_MORE;
    }
    cr_assert_eq(batch.headers[batch.frame_count - 1].type, FRAME_RAFT);
    cr_assert_lt(batch.headers[batch.frame_count - 1].size, 1024, "the second one by itself");
    cr_assert_not(take());
}

Test(link_queue, knows_whose_bulk_is_in_it)
{
    cr_assert_not(link_queue_holds(&queue, 1000));
    cr_assert_eq(put_message(3, 1, true), ERR_OK);
    cr_assert_not(link_queue_holds(&queue, 3), "what is urgent does not count");
    cr_assert_eq(put_entry(3, 10), ERR_OK);
    cr_assert_eq(put_entry(3, 10), ERR_OK);
    cr_assert_eq(put_entry(1000, 2 * 1024 * 1024), ERR_OK);
    cr_assert(link_queue_holds(&queue, 3));
    cr_assert(link_queue_holds(&queue, 1000));
    cr_assert_not(link_queue_holds(&queue, 999));
    cr_assert(take());
    cr_assert_not(link_queue_holds(&queue, 3));
    cr_assert(link_queue_holds(&queue, 1000), "some of it is still here");
    while (take())
        continue;
    cr_assert_not(link_queue_holds(&queue, 1000));
}

/* ---- Bounds -------------------------------------------------------------------------------- */

Test(link_queue, each_list_has_its_bound)
{
    cr_assert_eq(put_frame(1, QUEUE_MAX / 2, false), ERR_OK);
    cr_assert_eq(put_frame(2, QUEUE_MAX / 2, false), ERR_BUSY);
    cr_assert_not_null(strstr(err_detail(), "bytes are queued"), "%s", err_detail());
    cr_assert_eq(put_entry(1, QUEUE_MAX / 2), ERR_BUSY);
    cr_assert_not(link_queue_holds(&queue, 1));
    cr_assert_eq(put_frame(3, QUEUE_MAX / 2, true), ERR_OK, "urgent ones have their own");
    while (take())
        continue;
    cr_assert_eq(put_frame(2, QUEUE_MAX / 2, false), ERR_OK);
}

Test(link_queue, one_that_is_larger_than_the_bound_gets_through_alone)
{
    link_queue_fini(&queue);
    link_queue_init(&queue, 1000);
    cr_assert_eq(put_frame(1, 5000, false), ERR_OK);
    cr_assert_eq(put_frame(2, 1, false), ERR_BUSY);
    cr_assert(take());
    cr_assert_eq(put_frame(2, 1, false), ERR_OK);
}

/* Their memory is not in their payloads. */
Test(link_queue, small_frames_have_an_end_too)
{
    uint64_t count = 0;

    link_queue_fini(&queue);
    link_queue_init(&queue, 100000);
    while (put_frame(count, 0, true) == ERR_OK)
        count++;
    cr_assert_leq(count, 1000);
    cr_assert_geq(count, 100);
}

Test(link_queue, counts_what_it_forgets)
{
    for (uint32_t i = 0; i < 5; i++)
        cr_assert_eq(put_message(i, i, true), ERR_OK);
    cr_assert_eq(put_entry(1, 3 * 1024 * 1024), ERR_OK);
    cr_assert_eq(put_frame(1, 10, false), ERR_OK);
    cr_assert(take()); /* The urgent ones, and some of the entry. */
    cr_assert_eq(link_queue_clear(&queue), 2);
    cr_assert_not(link_queue_holds(&queue, 1));
    cr_assert_eq(queue.bulk.bytes, 0);
    cr_assert_eq(link_queue_clear(&queue), 0);
    cr_assert_not(take());
    cr_assert_eq(put_frame(2, 10, false), ERR_OK);
    cr_assert(take());
}

/* ---- All of it ----------------------------------------------------------------------------- */

Test(link_queue, every_byte_leaves_once_whatever_comes_between)
{
    uint64_t chance = seed_of_run("link_queue");
    uint64_t put_bytes[2] = {0, 0}, taken_bytes[2] = {0, 0};

    for (unsigned i = 0; i < 3000; i++) {
        uint32_t size = (uint32_t)seed_below(&chance, seed_below(&chance, 10) == 0 ? 900000 : 300);
        bool urgent = seed_below(&chance, 2) == 0;

        if (put_frame(urgent, size, urgent) == ERR_OK)
            put_bytes[urgent] += size;
        if (seed_below(&chance, 3) > 0 || !take())
            continue;
        for (uint32_t f = 0; f < batch.frame_count; f++)
            taken_bytes[batch.headers[f].request] += batch.headers[f].size;
    }
    while (take())
        for (uint32_t f = 0; f < batch.frame_count; f++)
            taken_bytes[batch.headers[f].request] += batch.headers[f].size;
    cr_assert_eq(taken_bytes[0], put_bytes[0]);
    cr_assert_eq(taken_bytes[1], put_bytes[1]);
    cr_assert_eq(queue.urgent.bytes + queue.bulk.bytes, 0);
}
