/*
 * Text becomes rows, whatever way it comes in. The site behind the ingest is played: it decides
 * types, takes blocks and refuses them as the test says.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/message.h"
#include "node/ingest_internal.h"
#include "storage/base/clk.h"
#include "storage/block/block_reader.h"
#include "tests/support/seed.h"

enum { SHARDS = 4, VALUES_MAX = 8192, WAITING_MAX = 64 };

/* ---- The site ------------------------------------------------------------------------------ */

static uint64_t now_ms = 1000;
static struct schema_map decided;
static struct declare_request *asked[WAITING_MAX];
static unsigned asked_count, ask_total;
static bool answer_at_once;
static struct write_request *sent[WAITING_MAX];
static unsigned sent_count;
static enum err refuse;             /* What blocks are answered with. */
static unsigned stored[VALUES_MAX]; /* By the value of field v. */
static unsigned stored_rows;

uint64_t worker_now_ms(void)
{
    return now_ms;
}

void router_free_write(struct write_request *request)
{
    buf_unref(request->entry);
    free(request->ids);
    free(request);
}

void router_free_declare(struct declare_request *request)
{
    bytes_fini(&request->message);
    free(request->types);
    free(request);
}

static struct message_declare declared_by(const struct declare_request *request)
{
    struct message_declare message;

    cr_assert_eq(message_get_declare(request->message.data, request->message.size, &message),
                 ERR_OK);
    return message;
}

enum err router_learn_types(struct worker *worker, const struct declare_request *request)
{
    struct message_declare message = declared_by(request);

    for (uint32_t i = 0; i < message.count; i++)
        cr_assert_eq(schema_map_add(&worker->schema, message.table_key, message.fields[i].name,
                                    request->types[i]),
                     ERR_OK);
    return ERR_OK;
}

static void decide(struct declare_request *request)
{
    struct message_declare message = declared_by(request);

    request->count = message.count;
    request->types = calloc(message.count + 1, 1);
    for (uint32_t i = 0; i < message.count; i++) {
        cr_assert_eq(schema_map_add(&decided, message.table_key, message.fields[i].name,
                                    message.fields[i].type),
                     ERR_OK);
        request->types[i] =
            (uint8_t)schema_map_find(&decided, message.table_key, message.fields[i].name);
    }
    request->route.answer.code = ERR_OK;
    request->route.done(&request->route);
}

void router_declare(struct worker *worker, struct declare_request *request)
{
    (void)worker;
    ask_total++;
    if (answer_at_once) {
        decide(request);
        return;
    }
    cr_assert_lt(asked_count, WAITING_MAX);
    asked[asked_count++] = request;
}

void router_write(struct worker *worker, struct write_request *request)
{
    (void)worker;
    cr_assert_lt(sent_count, WAITING_MAX);
    sent[sent_count++] = request;
}

static void refuse_types(enum err code)
{
    struct declare_request *request = asked[--asked_count];

    request->route.answer.code = code;
    (void)snprintf(request->route.answer.text, sizeof request->route.answer.text, "told to");
    request->route.done(&request->route);
}

/* Field v of all rows of one section is stored. */
static void store_section(struct block *block, uint32_t at)
{
    static uint8_t present[BLOCK_ROWS_MAX];
    static uint64_t values[BLOCK_ROWS_MAX];
    const struct block_section *section = block_section(block, at);
    const char *strings;

    for (uint32_t f = 0; f < section->fields; f++) {
        struct slice name = block_field(block, at, f)->name;

        if (name.size != 1 || name.data[0] != 'v')
            continue;
        cr_assert_eq(block_read_field(block, at, f, present, values, &strings), ERR_OK);
        for (uint32_t row = 0; row < section->rows; row++) {
            if (present[row]) {
                cr_assert_lt(values[row], VALUES_MAX);
                stored[values[row]]++;
            }
        }
    }
    stored_rows += section->rows;
}

static void store_block(const struct buf *entry)
{
    struct block_view view;
    struct block *block;

    cr_assert_eq(block_view(entry->bytes + sizeof(struct entry_header),
                            entry->size - sizeof(struct entry_header), true, &view),
                 ERR_OK);
    if (view.header.rows == 0)
        return;
    cr_assert_eq(block_load(&view, &block), ERR_OK);
    for (uint32_t at = 0; at < block_sections(block); at++)
        store_section(block, at);
    block_free(block);
}

static void answer_block(void)
{
    struct write_request *request = sent[0];

    sent_count--;
    memmove(sent, sent + 1, sent_count * sizeof(struct write_request *));
    if (refuse == ERR_OK)
        store_block(request->entry);
    request->route.answer.code = refuse;
    request->route.done(&request->route);
}

/* ---- The ingest ---------------------------------------------------------------------------- */

static struct node node = {.shards = SHARDS, .worker_count = 1, .server = 1, .cluster = 2};
static struct worker worker = {.node = &node};
static struct ingest *ingest;
static struct ingest_result result; /* Of the request that was done last. */
static struct ingest_error errors[INGEST_ERRORS_MAX];
static unsigned done_count;

static void done_cb(void *ctx, const struct ingest_result *of)
{
    (void)ctx;
    done_count++;
    result = *of;
    memcpy(errors, of->errors, of->error_count * sizeof errors[0]);
}

static void open_ingest(void)
{
    node.options.limits.inflight_bytes = 64 << 20;
    node.options.limits.body_bytes = 1 << 20;
    node.options.limits.line_bytes = 64 << 10;
    cr_assert_eq(ingest_new(&worker, &ingest), ERR_OK);
}

static void close_ingest(void)
{
    cr_assert_eq(asked_count, 0);
    cr_assert_eq(sent_count, 0);
    ingest_free(ingest);
    schema_map_fini(&decided);
    schema_map_fini(&worker.schema);
}

static struct ingest_request *begin(bool all_or_nothing)
{
    struct ingest_options options = {
        .database = "db", .time_unit_ns = 1, .all_or_nothing = all_or_nothing};
    struct ingest_request *request = NULL;

    cr_assert_eq(ingest_begin(ingest, &options, done_cb, NULL, &request), ERR_OK);
    return request;
}

static void give(struct ingest_request *request, const char *text, bool last)
{
    /* Of its own memory, so that a look behind its end is noticed. */
    size_t size = strlen(text);
    char *copy = malloc(size + 1);

    memcpy(copy, text, size);
    ingest_text(request, copy, size, last);
    free(copy);
}

static void turn(void)
{
    now_ms += 10;
    ingest_flush(ingest);
}

/* Until nothing is left to be done. */
static void settle(void)
{
    for (unsigned i = 0; i < 3000 && !ingest_is_idle(ingest); i++) {
        turn();
        while (asked_count > 0)
            decide(asked[--asked_count]);
        while (sent_count > 0)
            answer_block();
    }
    cr_assert(ingest_is_idle(ingest), "requests are still open");
}

static void expect_stored(unsigned first, unsigned count)
{
    for (unsigned i = 0; i < VALUES_MAX; i++)
        cr_assert_eq(stored[i], i >= first && i < first + count, "value %u is stored %u times", i,
                     stored[i]);
}

/* ---- Text ---------------------------------------------------------------------------------- */

Test(ingest, stores_rows_and_counts_them)
{
    open_ingest();
    give(begin(false), "t,k=a v=0i 1\nt,k=b v=1i,w=2.5 2\nt,k=a v=2i,s=\"x\" 3", true);
    cr_assert_eq(done_count, 0, "not from within ingest_text()");
    settle();
    cr_assert_eq(done_count, 1);
    cr_assert_eq(result.code, ERR_OK);
    cr_assert_eq(result.accepted, 3);
    cr_assert_eq(result.rejected, 0);
    expect_stored(0, 3);
    close_ingest();
}

Test(ingest, an_empty_request_is_done_at_once)
{
    open_ingest();
    ingest_text(begin(false), NULL, 0, true);
    ingest_flush(ingest);
    cr_assert_eq(done_count, 1);
    cr_assert_eq(result.code, ERR_OK);
    cr_assert_eq(result.accepted, 0);
    close_ingest();
}

/* Many tables and fields nobody has declared, a bad line now and then. */
static char *make_text(uint64_t *chance, unsigned rows, unsigned *ret_bad)
{
    struct bytes text = {0};
    unsigned bad = 0;
    char line[160];

    for (unsigned i = 0; i < rows; i++) {
        unsigned table = (unsigned)seed_below(chance, 30);

        (void)snprintf(line, sizeof line, "t%u,k=%u,l=%u v=%ui,f%u=1 %u\n", table,
                       (unsigned)seed_below(chance, 50), table, i, (unsigned)seed_below(chance, 20),
                       i + 1);
        bytes_put(&text, line, strlen(line));
        if (seed_below(chance, 40) == 0) {
            const char *wrong = seed_below(chance, 2) == 0 ? "t1,k=1 v= 3\n" : "t1,k=1 v=\"s\" 3\n";

            bytes_put(&text, wrong, strlen(wrong));
            bad++;
        }
    }
    bytes_put_u8(&text, '\0');
    *ret_bad = bad;
    return (char *)text.data;
}

static void give_in_pieces(uint64_t *chance, struct ingest_request *request, const char *text)
{
    size_t size = strlen(text);

    while (size > 0) {
        size_t part = (size_t)seed_below(chance, seed_below(chance, 8) == 0 ? 5000 : 100) + 1;
        char *copy;

        part = part < size ? part : size;
        copy = malloc(part);
        memcpy(copy, text, part);
        ingest_text(request, copy, part, part == size && seed_below(chance, 2) == 0);
        if (part == size) /* Said once more if it was said: the end may come alone. */
            ingest_text(request, NULL, 0, true);
        free(copy);
        text += part;
        size -= part;
        if (seed_below(chance, 3) == 0)
            turn();
        if (asked_count > 0 && seed_below(chance, 3) == 0) {
            if (seed_below(chance, 4) == 0)
                refuse_types(ERR_UNAVAILABLE);
            else
                decide(asked[--asked_count]);
        }
        if (sent_count > 0 && seed_below(chance, 3) == 0)
            answer_block();
    }
}

Test(ingest, text_in_any_pieces_gives_the_same_rows)
{
    uint64_t chance = seed_of_run("ingest");

    open_ingest();
    give(begin(false), "t1,k=a v=0i 1", true); /* So that a string in it is wrong. */
    settle();
    for (unsigned round = 0; round < 6; round++) {
        unsigned bad;
        char *text = make_text(&chance, 1000, &bad);
        bool together = seed_below(&chance, 2) == 0;

        answer_at_once = round % 3 == 2;
        memset(stored, 0, sizeof stored);
        if (together) {
            struct ingest_request *request = begin(true);

            give(request, text, true);
            settle();
            cr_assert_eq(result.code, bad == 0 ? ERR_OK : ERR_INVALID);
            expect_stored(0, bad == 0 ? 1000 : 0);
        } else {
            give_in_pieces(&chance, begin(false), text);
            settle();
            cr_assert_eq(result.code, ERR_OK);
            cr_assert_eq(result.accepted, 1000);
            expect_stored(0, 1000);
        }
        cr_assert_eq(result.rejected, bad);
        free(text);
    }
    close_ingest();
}

Test(ingest, requests_side_by_side_do_not_mix)
{
    struct ingest_request *one, *two;

    open_ingest();
    one = begin(false);
    two = begin(false);
    give(one, "t,k=a v=0i 1\nt,k=a v=", false);
    give(two, "t,k=a v=1i 2\nu,k=a v=1", false);
    turn();
    give(one, "2i 3\n", true);
    give(two, "x 4\n", true);
    settle();
    cr_assert_eq(done_count, 2);
    expect_stored(0, 3);
    close_ingest();
}

/* ---- What is wrong ------------------------------------------------------------------------- */

Test(ingest, names_bad_lines_and_stores_the_others)
{
    open_ingest();
    give(begin(false), "t,k=a v=0i 1\nt,k=a v= 2\n\n# nothing\nt,k=a v=1.5 3\nt,k=b v=1i 4\n",
         true);
    settle();
    cr_assert_eq(result.code, ERR_OK);
    cr_assert_eq(result.accepted, 2);
    cr_assert_eq(result.rejected, 2);
    cr_assert_eq(errors[0].line, 2);
    cr_assert_eq(errors[0].code, ERR_INVALID);
    cr_assert_eq(errors[1].line, 5);
    cr_assert_eq(errors[1].code, ERR_TYPE_CONFLICT);
    cr_assert_not_null(strstr(errors[1].text, "float"));
    cr_assert_not_null(strstr(errors[1].text, "integer"));
    cr_assert_str_eq(errors[1].original, "t,k=a v=1.5 3");
    expect_stored(0, 2);
    close_ingest();
}

Test(ingest, all_or_nothing_stores_nothing_of_a_text_with_a_bad_line)
{
    open_ingest();
    give(begin(true), "t,k=a v=0i 1\nt,k=a v=true 2\nt,k=a v=1i 3", true);
    settle();
    cr_assert_eq(result.code, ERR_INVALID);
    cr_assert_eq(result.accepted, 0);
    cr_assert_eq(result.rejected, 1);
    cr_assert_eq(errors[0].line, 2);
    expect_stored(0, 0);
    give(begin(true), "t,k=a v=0i 1\nt,k=a v=1i 3", true);
    settle();
    cr_assert_eq(result.code, ERR_OK);
    expect_stored(0, 2);
    close_ingest();
}

Test(ingest, refuses_times_too_far_ahead)
{
    char text[100];

    node.options.limits.future_ms = 60000;
    open_ingest();
    (void)snprintf(text, sizeof text, "t,k=a v=0i %lld\nt,k=a v=1i %lld\n",
                   (long long)clk_wall_ns(), (long long)clk_wall_ns() + 120 * NS_PER_S);
    give(begin(false), text, true);
    settle();
    cr_assert_eq(result.rejected, 1);
    cr_assert_eq(errors[0].line, 2);
    expect_stored(0, 1);
    close_ingest();
}

static void know(const struct schema_database *database)
{
    cr_assert_eq(schema_map_set_database(&worker.schema, (struct slice){"db", 2}, database),
                 ERR_OK);
}

Test(ingest, refuses_lines_that_the_database_does_not_keep)
{
    const struct schema_database hour = {.retention_ns = UINT64_C(3600000000000)};
    long long now_ns = clk_wall_ns();
    char text[200];

    open_ingest();
    know(&hour);
    (void)snprintf(text, sizeof text, "t,k=a v=0i %lld\nt,k=a v=9i %lld\nt,k=a v=1i\n",
                   now_ns - 3500 * NS_PER_S, now_ns - 3700 * NS_PER_S);
    give(begin(false), text, true);
    settle();
    cr_assert_eq(result.code, ERR_OK);
    cr_assert_eq(result.rejected, 1);
    cr_assert_eq(errors[0].line, 2);
    cr_assert_eq(errors[0].code, ERR_TOO_OLD);
    cr_assert_not_null(strstr(errors[0].text, "\"db\""));
    expect_stored(0, 2);
    close_ingest();
}

Test(ingest, refuses_lines_before_the_cutoff_of_their_shard)
{
    const struct schema_database plain = {0};

    open_ingest();
    know(&plain);
    give(begin(false), "t,k=a v=0i 100\n", true);
    settle();
    for (uint32_t shard = 0; shard < SHARDS; shard++)
        cr_assert_eq(schema_map_cut(&worker.schema, (struct slice){"db", 2}, shard, SHARDS, 100),
                     ERR_OK);
    give(begin(false), "t,k=a v=1i 100\nt,k=a v=9i 99\nt,k=b v=2i 101\n", true);
    settle();
    cr_assert_eq(result.rejected, 1);
    cr_assert_eq(errors[0].line, 2);
    expect_stored(0, 3);
    close_ingest();
}

Test(ingest, refuses_a_database_that_was_dropped_until_it_is_made_again)
{
    const struct schema_database dropped = {.drop = 4, .dropped = true};
    const struct schema_database again = {.drop = 4};
    struct ingest_options options = {.database = "db", .time_unit_ns = 1};
    struct ingest_request *request;

    open_ingest();
    know(&dropped);
    cr_assert_eq(ingest_begin(ingest, &options, done_cb, NULL, &request), ERR_NOT_FOUND);
    know(&again);
    give(begin(false), "t,k=a v=0i 1\n", true);
    settle();
    expect_stored(0, 1);
    close_ingest();
}

/* A block has 1024 tables at most, and a table of it 1024 fields. */
Test(ingest, more_tables_and_fields_than_a_block_holds_go_into_several)
{
    struct bytes text = {0};
    char line[64];

    answer_at_once = true;
    open_ingest();
    for (unsigned i = 0; i < 5000; i++) {
        (void)snprintf(line, sizeof line, "t%u,k=a v=%ui %u\n", i, i, i + 1);
        bytes_put(&text, line, strlen(line));
    }
    for (unsigned i = 5000; i < 8000; i++) {
        (void)snprintf(line, sizeof line, "t0,k=a v=%ui,f%u=1 %u\n", i, i, i + 1);
        bytes_put(&text, line, strlen(line));
    }
    bytes_put_u8(&text, '\0');
    give(begin(false), (char *)text.data, true);
    settle();
    cr_assert_eq(result.rejected, 0, "line %u: %s", errors[0].line, errors[0].text);
    expect_stored(0, 8000);
    bytes_fini(&text);
    close_ingest();
}

/* ---- Types --------------------------------------------------------------------------------- */

Test(ingest, asks_once_for_the_types_of_a_line)
{
    open_ingest();
    give(begin(false), "t,k=a v=0i,w=1,x=t 1\nt,k=b v=1i,x=f,w=2 2\nt v=2i 3\n", true);
    settle();
    cr_assert_eq(ask_total, 1);
    cr_assert_eq(result.accepted, 3);
    close_ingest();
}

Test(ingest, asks_again_when_nobody_could_tell_and_gives_up_in_the_end)
{
    open_ingest();
    give(begin(false), "t,k=a v=0i 1\n", true);
    refuse_types(ERR_UNAVAILABLE);
    turn();
    cr_assert_eq(asked_count, 0);
    now_ms += 100;
    turn();
    refuse_types(ERR_NOT_LEADER);
    now_ms += 60000;
    turn();
    refuse_types(ERR_TIMEOUT);
    turn();
    cr_assert_eq(done_count, 1);
    cr_assert_eq(result.code, ERR_TIMEOUT);
    cr_assert_gt(result.retry_s, 0);
    expect_stored(0, 0);
    close_ingest();
}

Test(ingest, tells_why_there_are_no_types)
{
    open_ingest();
    give(begin(false), "t,k=a v=0i 1\n", true);
    refuse_types(ERR_NOT_FOUND);
    turn();
    cr_assert_eq(result.code, ERR_NOT_FOUND);
    cr_assert_str_eq(result.text, "told to");
    close_ingest();
}

/* ---- Abandoned ----------------------------------------------------------------------------- */

Test(ingest, an_abandoned_request_is_never_told)
{
    struct ingest_request *request;

    open_ingest();
    request = begin(false); /* It waits for types. */
    give(request, "t,k=a v=0i 1\nt,k=a v=1i 2\nt,k=", false);
    cr_assert_eq(asked_count, 1);
    ingest_abandon(request);
    decide(asked[--asked_count]);
    request = begin(false); /* Its question is to be asked again. */
    give(request, "u,k=a v=2i 1\n", true);
    refuse_types(ERR_BUSY);
    ingest_abandon(request);
    request = begin(false); /* Its rows are under way. */
    give(request, "t,k=a v=3i 1\n", true);
    turn();
    cr_assert_eq(sent_count, 1);
    ingest_abandon(request);
    request = begin(false); /* It is done, but not told. */
    give(request, "# nothing\n", true);
    ingest_abandon(request);
    ingest_abandon(begin(true));
    now_ms += 1000;
    settle();
    cr_assert_eq(done_count, 0);
    expect_stored(3, 1);
    close_ingest();
}

Test(ingest, ends_with_requests_whose_question_was_to_be_asked_again)
{
    open_ingest();
    give(begin(false), "t,k=a v=0i 1\n", true);
    refuse_types(ERR_BUSY);
    close_ingest();
    cr_assert_eq(done_count, 0);
}

/* ---- Refusals of the site ------------------------------------------------------------------ */

Test(ingest, passes_on_what_the_shards_say)
{
    open_ingest();
    give(begin(false), "t,k=a v=0i 1\n", true);
    decide(asked[--asked_count]);
    turn();
    refuse = ERR_DISK_FULL;
    answer_block();
    turn();
    cr_assert_eq(done_count, 1);
    cr_assert_eq(result.code, ERR_DISK_FULL);
    cr_assert_eq(result.accepted, 0);
    give(begin(false), "t,k=a v=1i 1\n", true);
    turn();
    cr_assert_eq(done_count, 2, "the shard's disk is known to be full");
    cr_assert_eq(result.code, ERR_DISK_FULL);
    cr_assert_eq(result.rejected, 0);
    refuse = ERR_OK;
    now_ms += 5000;
    turn();
    answer_block();
    give(begin(false), "t,k=a v=1i 1\n", true);
    settle();
    cr_assert_eq(result.code, ERR_OK);
    cr_assert_eq(stored[1], 1);
    close_ingest();
}

Test(ingest, refuses_requests_when_too_many_bytes_wait)
{
    struct ingest_options options = {.database = "db", .time_unit_ns = 1};
    struct ingest_request *waiting, *request;
    char *text = malloc(300001);

    memset(text, '#', 300000);
    text[300000] = '\0';
    open_ingest();
    node.options.limits.inflight_bytes = 1 << 20;
    node.options.limits.body_bytes = 64 << 10;
    waiting = begin(false);
    give(waiting, "t,k=a v=0i 1\n", false); /* What follows is kept. */
    for (unsigned i = 0; i < 3; i++)
        give(waiting, text, false);
    cr_assert_eq(ingest_begin(ingest, &options, done_cb, NULL, &request), ERR_OK);
    ingest_abandon(request);
    give(waiting, text, false);
    cr_assert_eq(ingest_begin(ingest, &options, done_cb, NULL, &request), ERR_BUSY);
    give(waiting, text, false);
    give(waiting, text, true); /* No end of it: refused, too. */
    settle();
    cr_assert_eq(result.code, ERR_BUSY);
    cr_assert_eq(ingest_begin(ingest, &options, done_cb, NULL, &request), ERR_OK);
    ingest_abandon(request);
    settle();
    free(text);
    close_ingest();
}
