/*
 * The lane, with a shard's leader that the test plays: it answers when and as it is told. The clock
 * is the test's, too.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "node/lane.h"
#include "node/worker.h"
#include "storage/block/block_reader.h"
#include "storage/producers.h"
#include "tests/support/seed.h"

enum { REQUESTS_MAX = 4096, SENT_MAX = 64, PRODUCER = 77 };

/* ---- What the lane calls ------------------------------------------------------------------- */

static uint64_t now_ms = 1000;
static struct write_request *sent[SENT_MAX]; /* Not answered, in the order in which they came. */
static unsigned sent_count;

uint64_t worker_now_ms(void)
{
    return now_ms;
}

void router_write(struct worker *worker, struct write_request *request)
{
    (void)worker;
    cr_assert_lt(sent_count, SENT_MAX);
    sent[sent_count++] = request;
}

void router_free_write(struct write_request *request)
{
    buf_unref(request->entry);
    free(request->ids);
    free(request);
}

/* ---- What the test does -------------------------------------------------------------------- */

struct ingest_request {
    unsigned settled;
    enum err code;
};

static struct ingest_request
    requests[REQUESTS_MAX]; /* Each has one row, at the time of its place. */
static unsigned request_count;
static struct lane lane;
static uint32_t learnt[16];
static unsigned learnt_count;

static void settled_cb(const struct lane_share *share, const struct answer *answer)
{
    share->request->settled++;
    share->request->code = answer->code;
    cr_assert_eq(share->rows, 1);
}

static void ids_cb(void *ctx, uint32_t shard, const uint64_t *memo_tags, const uint32_t *ids,
                   uint32_t count)
{
    (void)ctx;
    cr_assert_eq(shard, 3);
    for (uint32_t i = 0; i < count; i++) {
        cr_assert_lt(memo_tags[i], sizeof learnt / sizeof *learnt);
        learnt[memo_tags[i]] = ids[i];
    }
    learnt_count += count;
}

static void open_lane(void)
{
    cr_assert_eq(lane_init(&lane, NULL, 3, PRODUCER), ERR_OK);
    lane.settled = settled_cb;
    lane.ids = ids_cb;
}

static enum err try_row(uint64_t tag, uint32_t id)
{
    static const char key[] = "\002db\001t\001k\001v"; /* Two strings, then tags: a series. */
    enum { TABLE_KEY_SIZE = 5 };
    struct ingest_request *request = &requests[request_count];
    char own[sizeof key];
    uint32_t handle;
    enum err err = lane_make_room(&lane);

    if (err != ERR_OK)
        return err;
    memcpy(own, key, sizeof key);
    own[sizeof key - 2] = (char)('a' + tag);
    cr_assert_eq(lane_series(&lane, own, sizeof own - 1, TABLE_KEY_SIZE,
                             key_hash(own, sizeof own - 1), id, tag, &handle),
                 ERR_OK);
    cr_assert_eq(block_builder_row(lane.builder, handle, (int64_t)request_count), ERR_OK);
    cr_assert_eq(block_builder_value(lane.builder, "f", 1, FIELD_INT, request_count), ERR_OK);
    cr_assert_eq(lane_row(&lane, request), ERR_OK);
    request_count++;
    return ERR_OK;
}

static void add_rows(unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        cr_assert_eq(try_row(i % 8, 5 + i % 8), ERR_OK);
}

static struct entry_header header_of(const struct write_request *request)
{
    struct entry_header header;

    cr_assert_eq(entry_check(request->entry->bytes, request->entry->size, &header), ERR_OK);
    cr_assert_eq(header.kind, ENTRY_BLOCK);
    cr_assert_eq(header.shard, 3);
    cr_assert_eq(header.producer, PRODUCER);
    return header;
}

static struct block_view view_of(const struct buf *entry)
{
    struct block_view view;

    cr_assert_eq(block_view(entry->bytes + sizeof(struct entry_header),
                            entry->size - sizeof(struct entry_header), true, &view),
                 ERR_OK);
    return view;
}

/* The oldest but `at` under way is answered. */
static void answer(unsigned at, enum err code)
{
    struct write_request *request = sent[at];

    cr_assert_lt(at, sent_count);
    sent_count--;
    memmove(sent + at, sent + at + 1, (sent_count - at) * sizeof(struct write_request *));
    request->route.answer.code = code;
    request->route.done(&request->route);
}

static void expect_sent(unsigned at, uint32_t epoch, uint64_t sequence)
{
    struct entry_header header;

    cr_assert_lt(at, sent_count, "only %u are under way", sent_count);
    header = header_of(sent[at]);
    cr_assert_eq(header.epoch, epoch);
    cr_assert_eq(header.sequence, sequence, "number %u, not %u", (unsigned)header.sequence,
                 (unsigned)sequence);
}

static void flush_later(uint64_t ms)
{
    now_ms += ms;
    lane_flush(&lane, now_ms);
}

static void expect_told(unsigned request, enum err code)
{
    cr_assert_eq(requests[request].settled, 1, "request %u was told %u times", request,
                 requests[request].settled);
    cr_assert_eq(requests[request].code, code, "request %u was told %s", request,
                 err_name(requests[request].code));
}

/* ---- Sending ------------------------------------------------------------------------------- */

Test(lane, batches_what_comes_while_a_block_is_under_way)
{
    open_lane();
    add_rows(1);
    flush_later(0);
    expect_sent(0, 1, 1);
    add_rows(3);
    flush_later(0);
    cr_assert_eq(sent_count, 1); /* Too little for a block beside another. */
    answer(0, ERR_OK);
    expect_told(0, ERR_OK);
    flush_later(0);
    expect_sent(0, 1, 2);
    cr_assert_eq(view_of(sent[0]->entry).header.rows, 3);
    add_rows(LANE_ROWS_SMALL);
    flush_later(0);
    expect_sent(1, 1, 3);
    answer(1, ERR_OK);
    answer(0, ERR_OK);
    expect_told(3, ERR_OK);
    expect_told(3 + LANE_ROWS_SMALL, ERR_OK);
    lane_fini(&lane);
}

static void fill_window(void)
{
    for (unsigned i = 0; i < LANE_WINDOW; i++) {
        add_rows(LANE_ROWS_SMALL);
        flush_later(0);
    }
    cr_assert_eq(sent_count, LANE_WINDOW);
}

Test(lane, sends_no_more_than_its_window)
{
    open_lane();
    fill_window();
    add_rows(LANE_ROWS_SMALL);
    flush_later(0);
    cr_assert_eq(sent_count, LANE_WINDOW);
    while (sent_count > 0)
        answer(0, ERR_OK);
    flush_later(0);
    expect_sent(0, 1, LANE_WINDOW + 1);
    answer(0, ERR_OK);
    lane_fini(&lane);
}

Test(lane, tells_the_ids_of_new_series)
{
    open_lane();
    cr_assert_eq(try_row(2, BLOCK_ID_NONE), ERR_OK);
    cr_assert_eq(try_row(1, 40), ERR_OK);
    cr_assert_eq(try_row(3, BLOCK_ID_NONE), ERR_OK);
    flush_later(0);
    cr_assert_eq(view_of(sent[0]->entry).header.fresh, 2);
    sent[0]->ids = malloc(2 * sizeof(uint32_t));
    sent[0]->ids[0] = 100;
    sent[0]->ids[1] = 101;
    sent[0]->id_count = 2;
    answer(0, ERR_OK);
    cr_assert_eq(learnt_count, 2);
    cr_assert_eq(learnt[2] + learnt[3], 201);
    lane_fini(&lane);
}

/* ---- Refusals ------------------------------------------------------------------------------ */

Test(lane, sends_again_in_order_what_was_refused_for_now)
{
    struct buf *first;

    open_lane();
    fill_window();
    first = buf_ref(sent[0]->entry);
    answer(0, ERR_BUSY);
    flush_later(100);
    cr_assert_eq(sent_count, LANE_WINDOW - 1); /* Not before all are answered. */
    while (sent_count > 0)
        answer(0, ERR_SEQUENCE);
    flush_later(100);
    for (unsigned i = 0; i < LANE_WINDOW; i++)
        expect_sent(i, 1, i + 1);
    cr_assert_neq(sent[0]->entry, first, "a group may still hold the bytes that were sent first");
    cr_assert_eq(memcmp(sent[0]->entry->bytes, first->bytes, first->size), 0);
    buf_unref(first);
    while (sent_count > 0)
        answer(0, ERR_OK);
    for (unsigned i = 0; i < request_count; i++)
        expect_told(i, ERR_OK);
    lane_fini(&lane);
}

Test(lane, waits_as_long_as_it_is_told_but_not_for_ever)
{
    open_lane();
    add_rows(1);
    flush_later(0);
    sent[0]->route.answer.retry_ms = 300;
    answer(0, ERR_BUSY);
    flush_later(299);
    cr_assert_eq(sent_count, 0);
    flush_later(1);
    sent[0]->route.answer.retry_ms = UINT32_MAX;
    answer(0, ERR_BUSY);
    flush_later(5000);
    expect_sent(0, 1, 1);
    answer(0, ERR_OK);
    expect_told(0, ERR_OK);
    lane_fini(&lane);
}

Test(lane, an_empty_block_takes_the_number_of_one_refused_for_good)
{
    open_lane();
    fill_window();
    answer(1, ERR_TYPE_CONFLICT);
    expect_told(LANE_ROWS_SMALL, ERR_TYPE_CONFLICT);
    answer(0, ERR_TIMEOUT);
    while (sent_count > 0)
        answer(0, ERR_SEQUENCE);
    flush_later(100);
    for (unsigned i = 0; i < LANE_WINDOW; i++) {
        expect_sent(i, 1, i + 1);
        cr_assert_eq(view_of(sent[i]->entry).header.rows, i == 1 ? 0 : LANE_ROWS_SMALL);
    }
    while (sent_count > 0)
        answer(0, ERR_OK);
    expect_told(0, ERR_OK);
    expect_told(LANE_ROWS_SMALL, ERR_TYPE_CONFLICT);
    expect_told(2 * LANE_ROWS_SMALL, ERR_OK);
    lane_fini(&lane);
}

Test(lane, what_comes_before_a_block_that_is_done_is_done)
{
    open_lane();
    fill_window();
    answer(0, ERR_UNAVAILABLE);
    answer(0, ERR_TIMEOUT);
    answer(0, ERR_OK); /* The third. */
    answer(0, ERR_CANCELED);
    cr_assert_eq(requests[0].settled, 0);
    flush_later(100);
    expect_told(0, ERR_OK);
    expect_told(LANE_ROWS_SMALL, ERR_OK);
    cr_assert_eq(sent_count, 1);
    expect_sent(0, 1, 4);
    answer(0, ERR_OK);
    lane_fini(&lane);
}

Test(lane, tells_requests_after_a_time_and_goes_on_with_what_it_sent)
{
    open_lane();
    fill_window();
    add_rows(2 * LANE_ROWS_SMALL); /* Never sent. */
    answer(0, ERR_UNAVAILABLE);
    while (sent_count > 0)
        answer(0, ERR_TIMEOUT);
    flush_later(LANE_GIVE_UP_MS + 1);
    for (unsigned i = 0; i < request_count; i++) {
        cr_assert_eq(requests[i].settled, 1);
        cr_assert_neq(requests[i].code, ERR_OK);
    }
    cr_assert_eq(sent_count, LANE_WINDOW);
    add_rows(1);
    while (sent_count > 0)
        answer(0, ERR_OK);
    flush_later(0);
    cr_assert_eq(sent_count, 1);
    expect_sent(0, 1, LANE_WINDOW + 1);
    cr_assert_eq(view_of(sent[0]->entry).header.rows, 1);
    answer(0, ERR_OK);
    expect_told(request_count - 1, ERR_OK);
    lane_fini(&lane);
}

Test(lane, tells_requests_after_a_time_that_nobody_answered)
{
    open_lane();
    add_rows(1);
    flush_later(0);
    add_rows(1);
    flush_later(LANE_GIVE_UP_MS + 1);
    expect_told(0, ERR_TIMEOUT);
    expect_told(1, ERR_TIMEOUT);
    answer(0, ERR_OK); /* Too late, and told once only. */
    expect_told(0, ERR_TIMEOUT);
    lane_fini(&lane);
}

Test(lane, begins_an_epoch_where_the_shard_has_forgotten_it)
{
    open_lane();
    add_rows(1);
    flush_later(0);
    answer(0, ERR_OK);
    add_rows(1);
    flush_later(0);
    expect_sent(0, 1, 2);
    answer(0, ERR_SEQUENCE);
    add_rows(1);
    flush_later(100);
    expect_sent(0, 2, 1);
    expect_sent(1, 2, 2);
    answer(0, ERR_OK);
    answer(0, ERR_OK);
    expect_told(1, ERR_OK);
    expect_told(2, ERR_OK);
    lane_fini(&lane);
}

Test(lane, keeps_its_number_while_it_may_be_stored_under_it)
{
    open_lane();
    add_rows(1);
    flush_later(0);
    answer(0, ERR_OK);
    add_rows(1);
    flush_later(0);
    answer(0, ERR_TIMEOUT);
    flush_later(100);
    answer(0, ERR_SEQUENCE); /* Of one that was deposed and does not know yet. */
    flush_later(100);
    expect_sent(0, 1, 2);
    answer(0, ERR_OK);
    expect_told(1, ERR_OK);
    lane_fini(&lane);
}

Test(lane, a_full_disk_is_told_at_once_and_refuses_rows_until_it_has_room)
{
    open_lane();
    fill_window();
    add_rows(10);
    answer(0, ERR_DISK_FULL);
    for (unsigned i = 0; i < request_count; i++)
        expect_told(i, ERR_DISK_FULL);
    cr_assert_eq(try_row(0, 5), ERR_DISK_FULL);
    while (sent_count > 0)
        answer(0, ERR_SEQUENCE);
    flush_later(2000);
    cr_assert_eq(sent_count, LANE_WINDOW);
    answer(0, ERR_OK);
    cr_assert_eq(try_row(0, 5), ERR_OK);
    while (sent_count > 0)
        answer(0, ERR_OK);
    flush_later(0);
    answer(0, ERR_OK);
    expect_told(request_count - 1, ERR_OK);
    lane_fini(&lane);
}

Test(lane, where_no_new_series_fits_the_others_are_to_come_again)
{
    struct slice any = {"any", 3};

    open_lane();
    cr_assert_eq(try_row(0, 5), ERR_OK);
    cr_assert_eq(try_row(1, BLOCK_ID_NONE), ERR_OK);
    cr_assert_eq(lane_check_series(&lane, any, BLOCK_ID_NONE), ERR_OK);
    flush_later(0);
    sent[0]->id_count = 1; /* It was there all the same. */
    sent[0]->ids = malloc(sizeof *sent[0]->ids);
    sent[0]->ids[0] = 77;
    answer(0, ERR_LIMIT);
    expect_told(0, ERR_UNAVAILABLE);
    cr_assert_eq(learnt[1], 77);
    cr_assert_eq(lane_check_series(&lane, any, BLOCK_ID_NONE), ERR_LIMIT);
    cr_assert_eq(lane_check_series(&lane, any, 5), ERR_OK);
    flush_later(100);
    cr_assert_eq(view_of(sent[0]->entry).header.rows, 0);
    answer(0, ERR_OK);
    flush_later(60000);
    cr_assert_eq(lane_check_series(&lane, any, BLOCK_ID_NONE), ERR_OK);
    lane_fini(&lane);
}

Test(lane, where_one_database_is_full_others_get_new_series)
{
    struct slice full = {"full", 4}, longer = {"fuller", 6};

    open_lane();
    cr_assert_eq(try_row(0, BLOCK_ID_NONE), ERR_OK);
    flush_later(0);
    (void)snprintf(sent[0]->route.answer.text, ERR_DETAIL_MAX, "%sfull\" takes no new series",
                   STORE_LIMIT_OF);
    answer(0, ERR_LIMIT);
    cr_assert_eq(lane_check_series(&lane, full, BLOCK_ID_NONE), ERR_LIMIT);
    cr_assert_eq(lane_check_series(&lane, full, 5), ERR_OK);
    cr_assert_eq(lane_check_series(&lane, longer, BLOCK_ID_NONE), ERR_OK);
    flush_later(100);
    answer(0, ERR_OK);
    lane_fini(&lane);
}

Test(lane, where_a_row_is_too_old_the_others_are_to_come_again)
{
    open_lane();
    cr_assert_eq(try_row(0, 5), ERR_OK);
    flush_later(0);
    answer(0, ERR_TOO_OLD);
    expect_told(0, ERR_UNAVAILABLE);
    flush_later(100);
    answer(0, ERR_OK); /* An empty block takes its number. */
    lane_fini(&lane);
}

Test(lane, settles_what_is_left_when_it_ends)
{
    open_lane();
    fill_window();
    add_rows(5);
    while (sent_count > 0)
        answer(0, ERR_BUSY);
    lane_fini(&lane);
    for (unsigned i = 0; i < request_count; i++)
        expect_told(i, ERR_CANCELED);
}

/* ---- A shard that does what shards do ------------------------------------------------------ */

static struct producer_state last;
static unsigned stored[REQUESTS_MAX];
static struct buf *stale[SENT_MAX]; /* Sent once, and still on the way somewhere. */
static unsigned stale_count;

static bool is_bad(const struct buf *entry, int64_t *times, uint32_t *ret_rows)
{
    struct block_view view = view_of(entry);
    struct block *block;
    bool bad = false;

    *ret_rows = view.header.rows;
    if (view.header.rows == 0)
        return false;
    cr_assert_eq(block_load(&view, &block), ERR_OK);
    cr_assert_eq(block_read_times(block, 0, times), ERR_OK);
    for (uint32_t i = 0; i < view.header.rows; i++)
        bad = bad || times[i] % 97 == 13;
    block_free(block);
    return bad;
}

/* What a leader that has applied everything says, and does. */
static enum err deliver(const struct buf *entry)
{
    static int64_t times[BLOCK_ROWS_MAX];
    struct entry_header header;
    uint32_t rows;

    cr_assert_eq(entry_check(entry->bytes, entry->size, &header), ERR_OK);
    if (is_bad(entry, times, &rows))
        return ERR_TYPE_CONFLICT;
    switch (producers_judge(last.epoch == 0 ? NULL : &last, header.epoch, header.sequence)) {
    case PRODUCERS_GAP:
        return ERR_SEQUENCE;
    case PRODUCERS_DUPLICATE:
        return ERR_OK;
    case PRODUCERS_NEXT:
        break;
    }
    last = (struct producer_state){header.sequence, header.epoch};
    for (uint32_t i = 0; i < rows; i++)
        stored[times[i]]++;
    return ERR_OK;
}

/* Something happens to one block that is under way, mostly to the oldest. */
static void one_event(uint64_t *chance)
{
    unsigned at = seed_below(chance, 4) == 0 ? (unsigned)seed_below(chance, sent_count) : 0;
    struct buf *entry = sent[at]->entry;

    switch (seed_below(chance, 8)) {
    case 0: /* Lost on its way there. */
        answer(at, ERR_TIMEOUT);
        break;
    case 1: /* Lost on its way back. */
        (void)deliver(entry);
        answer(at, seed_below(chance, 2) == 0 ? ERR_UNAVAILABLE : ERR_TIMEOUT);
        break;
    case 2: /* Held up: it may come after others. */
        if (stale_count < SENT_MAX)
            stale[stale_count++] = buf_ref(entry);
        answer(at, ERR_TIMEOUT);
        break;
    case 3:
        answer(at, seed_below(chance, 2) == 0 ? ERR_BUSY : ERR_NOT_LEADER);
        break;
    default:
        answer(at, deliver(entry));
    }
}

static void stale_event(uint64_t *chance)
{
    unsigned at = (unsigned)seed_below(chance, stale_count);

    (void)deliver(stale[at]);
    buf_unref(stale[at]);
    stale[at] = stale[--stale_count];
}

Test(lane, nothing_is_lost_or_stored_twice_whatever_happens_on_the_way)
{
    uint64_t chance = seed_of_run("lane");

    open_lane();
    while (request_count < REQUESTS_MAX - 64) {
        unsigned rows = (unsigned)seed_below(&chance, 3) * 20;

        for (unsigned i = 0; i < rows && try_row(i % 8, 5) == ERR_OK; i++)
            continue;
        flush_later(seed_below(&chance, 30) == 0 ? 4000 : seed_below(&chance, 50));
        if (sent_count > 0)
            one_event(&chance);
        if (stale_count > 0 && seed_below(&chance, 8) == 0)
            stale_event(&chance);
    }
    for (unsigned i = 0; i < 100; i++) {
        flush_later(3000);
        while (sent_count > 0)
            answer(0, deliver(sent[0]->entry));
    }
    cr_assert_null(lane.blocks);
    while (stale_count > 0)
        stale_event(&chance);
    for (unsigned i = 0; i < request_count; i++) {
        cr_assert_eq(requests[i].settled, 1, "request %u was told %u times", i,
                     requests[i].settled);
        cr_assert_leq(stored[i], 1, "row %u is stored twice", i);
        if (requests[i].code == ERR_OK)
            cr_assert_eq(stored[i], 1, "row %u was acknowledged and is lost", i);
        else if (requests[i].code == ERR_TYPE_CONFLICT)
            cr_assert_eq(stored[i], 0, "row %u was refused and is stored", i);
    }
    lane_fini(&lane);
}
