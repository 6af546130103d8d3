/*
 * A shard's replica and who waits at it, over a real store. The group is played: what is
 * proposed is committed, or lost, when the test says so.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/message.h"
#include "node/meta.h"
#include "node/shard_io.h"
#include "tests/support/entries.h"
#include "tests/support/mem_disk.h"

enum { LOG_MAX = 4096, SHARDS = 1 };

/* ---- What the shard calls ------------------------------------------------------------------ */

static bool ready = true;
static enum err propose_says, declare_says;
static bool is_short, answer_at_once = true;
static struct buf *entries[LOG_MAX]; /* Of the log, from index 1; NULL: a barrier. */
static uint64_t last_index, applied;
static struct declare_request *asked;
static unsigned ask_count;

uint64_t worker_now_ms(void)
{
    return 1000;
}

bool log_writer_is_short(const struct log_writer *writer)
{
    (void)writer;
    return is_short;
}

bool group_is_ready(const struct group *group)
{
    (void)group;
    return ready;
}

enum err group_propose(struct group *group, struct buf *const *payloads, uint32_t count,
                       uint64_t *ret_first_index)
{
    (void)group;
    cr_assert_eq(count, 1);
    if (propose_says != ERR_OK)
        return err_set(propose_says, "told to");
    cr_assert_lt(last_index, LOG_MAX);
    entries[last_index++] = buf_ref(payloads[0]);
    *ret_first_index = last_index;
    return ERR_OK;
}

void shard_publish(struct shard *shard)
{
    (void)shard;
}

uint32_t shard_compact_plan(struct shard *of, struct seal_compaction *ret_compactions)
{
    (void)of;
    (void)ret_compactions;
    return 0;
}

uint32_t shard_compact_cleans(struct shard *of, struct seal_clean *ret_cleans)
{
    (void)of;
    (void)ret_cleans;
    return 0;
}

bool shard_compact_is_due(struct shard *of, uint32_t planned)
{
    (void)of;
    return planned > 0;
}

void shard_seal(struct shard *shard, struct seal_job *job)
{
    (void)shard;
    (void)job;
    cr_assert_fail("nothing is sealed here");
}

uint64_t shard_head_bytes_max(const struct shard *shard)
{
    (void)shard;
    return 1 << 30;
}

void shard_fail_reads(struct shard *shard)
{
    (void)shard;
}

void meta_lost(struct meta *meta)
{
    (void)meta;
}

void router_answer(struct worker *worker, struct route *route)
{
    (void)worker;
    route->done(route);
}

void router_fail(struct worker *worker, struct route *route, enum err code, uint32_t retry_ms)
{
    route->answer.code = code;
    route->answer.retry_ms = retry_ms;
    router_answer(worker, route);
}

void router_free_declare(struct declare_request *request)
{
    bytes_fini(&request->message);
    free(request->types);
    free(request);
}

static void decide(struct declare_request *request, enum err code)
{
    request->route.answer.code = code;
    request->route.done(&request->route);
}

void router_declare(struct worker *worker, struct declare_request *request)
{
    (void)worker;
    ask_count++;
    if (answer_at_once) {
        decide(request, declare_says);
        return;
    }
    cr_assert_null(asked, "one question at a time");
    asked = request;
}

/* The site decides as it is asked. */
enum err router_learn_types(struct worker *worker, const struct declare_request *request)
{
    static struct message_declare message;

    cr_assert_eq(message_get_declare(request->message.data, request->message.size, &message),
                 ERR_OK);
    for (uint32_t i = 0; i < message.count; i++)
        cr_assert_eq(schema_map_add(&worker->schema, message.table_key, message.fields[i].name,
                                    message.fields[i].type),
                     ERR_OK);
    return ERR_OK;
}

void worker_teach_cutoff(struct worker *from, struct worker *to, struct slice name, uint32_t shard,
                         int64_t cutoff_ns)
{
    (void)from;
    cr_assert_eq(schema_map_cut(&to->schema, name, shard, SHARDS, cutoff_ns), ERR_OK);
}

/* ---- What the test does -------------------------------------------------------------------- */

static _Atomic uint64_t leaders[2] = {1, 1};
static atomic_bool takes_writes[2];
static struct node node = {
    .server = 1, .shards = SHARDS, .groups = 2, .leaders = leaders, .takes_writes = takes_writes};
static struct shard shard = {.number = 1};
static struct shard *groups[2] = {NULL, &shard};
static struct worker worker = {.node = &node, .groups = groups};
static struct mem_disk *disk;

struct request {
    struct write_request write; /* First: found from it. */
    unsigned done;
};

static void open_shard_of(uint32_t producers_max)
{
    struct store_options options = {.dir = "/shard-0",
                                    .series_max = 1000,
                                    .head_bytes_max = 1 << 30,
                                    .seal_bytes = 1 << 30,
                                    .producers_max = producers_max};

    disk = mem_disk_new();
    options.disk = mem_disk_table(disk);
    cr_assert_eq(store_open(&options, &shard.store), ERR_OK, "%s", err_detail());
    shard.worker = &worker;
    shard.parked_end = &shard.parked;
    shard.waiting_end = &shard.waiting;
}

static void open_shard(void)
{
    open_shard_of(64);
}

static void close_shard(void)
{
    cr_assert_null(shard.waiting);
    cr_assert_null(shard.parked);
    for (uint64_t i = 0; i < last_index; i++)
        buf_unref(entries[i]);
    store_close(shard.store);
    schema_map_fini(&worker.schema);
    mem_disk_free(disk);
}

static void done_cb(struct route *route)
{
    struct request *request = (struct request *)route;

    request->done++;
}

static struct buf *make_entry(uint64_t producer, uint64_t sequence, const char *field,
                              enum field_type type)
{
    struct entries_from from = {.producer = producer, .epoch = 1, .sequence = sequence};
    struct entries_value value = {.table = "t",
                                  .host = "a",
                                  .time_ns = (int64_t)sequence,
                                  .field = field,
                                  .type = type,
                                  .bits = 1};

    return entries_block(&from, &value, 1);
}

static struct request *write_entry(struct buf *entry)
{
    struct request *request = calloc(1, sizeof *request);

    request->write.route = (struct route){.origin = &worker, .done = done_cb};
    request->write.entry = entry;
    shard_write(&shard, &request->write);
    return request;
}

static struct request *write_batch(uint64_t producer, uint64_t sequence)
{
    return write_entry(make_entry(producer, sequence, "f", FIELD_FLOAT));
}

/* Commit and apply up to `index`. */
static void apply_to(uint64_t index)
{
    while (applied < index) {
        applied++;
        cr_assert_eq(shard_apply(&shard, applied, entries[applied - 1]), ERR_OK, "%s",
                     err_detail());
    }
}

static void expect_open(const struct request *request)
{
    cr_assert_eq(request->done, 0);
}

static void expect_end(struct request *request, enum err code)
{
    cr_assert_eq(request->done, 1, "it ended %u times", request->done);
    cr_assert_eq(request->write.route.answer.code, code, "it ended with %s: %s",
                 err_name(request->write.route.answer.code), err_detail());
    buf_unref(request->write.entry);
    free(request->write.ids);
    free(request);
}

static void lose_leadership(void)
{
    ready = false;
    shard_leader_changed(&shard, false);
}

/* Entries that are not applied are cut from the log; a barrier is the first of the new term. */
static void lead_again(void)
{
    while (last_index > applied)
        buf_unref(entries[--last_index]);
    entries[last_index++] = NULL;
    apply_to(last_index);
    ready = true;
    shard_leader_changed(&shard, true);
}

/* ---- Writes -------------------------------------------------------------------------------- */

Test(shard, a_write_ends_when_its_entry_is_applied)
{
    struct request *one, *two;

    open_shard();
    one = write_batch(7, 1);
    two = write_batch(7, 2);
    expect_open(one);
    apply_to(1);
    expect_open(two);
    cr_assert_eq(one->write.index, 1);
    cr_assert_eq(one->write.rows, 1);
    cr_assert_eq(one->write.id_count, 1);
    cr_assert_eq(one->write.ids[0], 0);
    expect_end(one, ERR_OK);
    apply_to(2);
    expect_end(two, ERR_OK);
    close_shard();
}

Test(shard, refuses_what_is_no_batch_for_it)
{
    struct entries_from elsewhere = {.shard = 5};
    struct entries_value value = {.table = "t", .host = "a", .field = "f", .type = FIELD_BOOL};
    struct buf *entry;

    open_shard();
    expect_end(write_entry(entries_block(&elsewhere, &value, 1)), ERR_INVALID);
    expect_end(write_entry(entries_seal(0, 1)), ERR_INVALID);
    for (size_t bit = 0; bit < 8 * 64; bit++) {
        entry = make_entry(7, 1, "f", FIELD_FLOAT);
        entry->bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        expect_end(write_entry(entry), ERR_INVALID);
    }
    entry = make_entry(7, 1, "f", FIELD_FLOAT);
    entry->bytes[entry->size - 1] ^= 1;
    expect_end(write_entry(entry), ERR_INVALID);
    cr_assert_eq(last_index, 0);
    close_shard();
}

Test(shard, says_who_leads_or_when_to_come_again)
{
    struct request *request;

    open_shard();
    ready = false;
    atomic_store(&leaders[1], 3);
    request = write_batch(7, 1);
    cr_assert_eq(request->write.route.answer.leader, 3);
    expect_end(request, ERR_NOT_LEADER);
    atomic_store(&leaders[1], 0);
    request = write_batch(7, 1);
    cr_assert_gt(request->write.route.answer.retry_ms, 0);
    expect_end(request, ERR_UNAVAILABLE);
    ready = true;
    is_short = true;
    request = write_batch(7, 1);
    cr_assert_gt(request->write.route.answer.retry_ms, 0);
    expect_end(request, ERR_DISK_FULL);
    is_short = false;
    propose_says = ERR_BUSY;
    expect_end(write_batch(7, 1), ERR_BUSY);
    propose_says = ERR_OK;
    request = write_batch(7, 1); /* Nothing of the others is left behind. */
    apply_to(1);
    expect_end(request, ERR_OK);
    close_shard();
}

Test(shard, ends_all_when_leadership_goes_and_takes_them_again)
{
    struct request *one, *two;

    open_shard();
    one = write_batch(7, 1);
    two = write_batch(7, 2);
    lose_leadership();
    expect_end(one, ERR_UNAVAILABLE);
    expect_end(two, ERR_UNAVAILABLE);
    lead_again();
    expect_end(write_batch(7, 2), ERR_SEQUENCE);
    one = write_batch(7, 1);
    two = write_batch(7, 2);
    apply_to(last_index);
    expect_end(one, ERR_OK);
    expect_end(two, ERR_OK);
    close_shard();
}

/* ---- Sent again ---------------------------------------------------------------------------- */

Test(shard, a_batch_sent_again_ends_with_the_first_and_is_stored_once)
{
    struct request *first, *again;
    struct store_stats stats;

    open_shard();
    first = write_batch(7, 1);
    again = write_batch(7, 1);
    expect_open(again);
    apply_to(1);
    cr_assert(again->write.duplicate);
    cr_assert_eq(again->write.id_count, 1);
    expect_end(first, ERR_OK);
    expect_end(again, ERR_OK);
    expect_end(write_batch(7, 1), ERR_OK); /* At once. */
    store_stats(shard.store, &stats);
    cr_assert_eq(stats.rows, 1);
    close_shard();
}

/* What was proposed before and is cut from the log will never be applied. */
Test(shard, a_batch_sent_again_does_not_wait_for_entries_of_an_earlier_leadership)
{
    struct request *first, *lost[3];

    open_shard();
    first = write_batch(7, 1);
    apply_to(1);
    expect_end(first, ERR_OK);
    for (unsigned i = 0; i < 3; i++)
        lost[i] = write_batch(8, i + 1);
    lose_leadership();
    for (unsigned i = 0; i < 3; i++)
        expect_end(lost[i], ERR_UNAVAILABLE);
    lead_again();
    expect_end(write_batch(7, 1), ERR_OK);
    close_shard();
}

/* The shard remembers one producer: another one pushes it out while its batch is on the way. */
Test(shard, a_batch_sent_again_is_not_acknowledged_if_the_first_was_not_stored)
{
    struct request *requests[4];

    open_shard_of(1);
    requests[0] = write_batch(7, 1);
    apply_to(1);
    requests[1] = write_batch(8, 1);
    requests[2] = write_batch(7, 2);
    requests[3] = write_batch(7, 2);
    apply_to(last_index);
    expect_end(requests[0], ERR_OK);
    expect_end(requests[1], ERR_OK);
    expect_end(requests[2], ERR_SEQUENCE);
    expect_end(requests[3], ERR_SEQUENCE);
    close_shard();
}

/* ---- Types --------------------------------------------------------------------------------- */

static void answer_types(enum err code)
{
    struct declare_request *request = asked;

    cr_assert_not_null(request);
    asked = NULL;
    decide(request, code);
}

Test(shard, batches_wait_in_order_for_the_types_of_the_first)
{
    struct request *one, *two;

    open_shard();
    answer_at_once = false;
    one = write_batch(7, 1);
    two = write_entry(make_entry(7, 2, "g", FIELD_INT));
    cr_assert_eq(last_index, 0);
    answer_types(ERR_OK);
    cr_assert_eq(last_index, 1);
    answer_types(ERR_OK);
    apply_to(last_index);
    expect_end(one, ERR_OK);
    expect_end(two, ERR_OK);
    cr_assert_eq(ask_count, 2);
    close_shard();
}

Test(shard, a_batch_whose_fields_have_other_types_is_refused)
{
    struct request *one;

    open_shard();
    one = write_batch(7, 1);
    expect_end(write_entry(make_entry(8, 1, "f", FIELD_INT)), ERR_TYPE_CONFLICT);
    apply_to(1);
    expect_end(one, ERR_OK);
    close_shard();
}

Test(shard, a_question_without_an_answer_ends_the_batch_that_asked_alone)
{
    struct request *one, *two;

    open_shard();
    answer_at_once = false;
    one = write_batch(7, 1);
    two = write_batch(8, 1);
    answer_types(ERR_NOT_LEADER);
    cr_assert_gt(one->write.route.answer.retry_ms, 0);
    expect_end(one, ERR_UNAVAILABLE);
    expect_open(two);
    answer_types(ERR_OK);
    apply_to(1);
    expect_end(two, ERR_OK);
    one = write_entry(make_entry(7, 1, "g", FIELD_INT));
    answer_types(ERR_NOT_FOUND);
    expect_end(one, ERR_NOT_FOUND);
    close_shard();
}

Test(shard, the_batch_that_asked_ends_with_its_answer_when_leadership_goes)
{
    struct request *one, *two;

    open_shard();
    answer_at_once = false;
    one = write_batch(7, 1);
    two = write_batch(7, 2);
    lose_leadership();
    expect_open(one);
    expect_end(two, ERR_UNAVAILABLE);
    answer_types(ERR_OK);
    expect_end(one, ERR_UNAVAILABLE);
    close_shard();
}

/* Answers that come at once must not stack up. */
Test(shard, many_batches_that_wait_end_one_after_the_other)
{
    enum { COUNT = 20000 };
    struct request **requests = calloc(COUNT, sizeof(struct request *));

    open_shard();
    answer_at_once = false;
    for (unsigned i = 0; i < COUNT; i++)
        requests[i] = write_batch(i + 1, 1);
    answer_at_once = true;
    declare_says = ERR_UNAVAILABLE;
    answer_types(ERR_UNAVAILABLE);
    for (unsigned i = 0; i < COUNT; i++)
        expect_end(requests[i], ERR_UNAVAILABLE);
    cr_assert_eq(ask_count, COUNT);
    free(requests);
    close_shard();
}
