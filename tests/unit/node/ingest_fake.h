/*
 * ingest_fake.h - for tests of the ingest: the site behind it, played: it decides types, takes
 * blocks and refuses them as the test says. Each test is a process of its own and has one of them.
 */
#ifndef TESTS_UNIT_NODE_INGEST_FAKE_H
#define TESTS_UNIT_NODE_INGEST_FAKE_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/message.h"
#include "node/ingest_internal.h"
#include "storage/base/clk.h"
#include "storage/block/block_reader.h"

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

static inline struct message_declare declared_by(const struct declare_request *request)
{
    struct message_declare message;

    cr_assert_eq(message_get_declare(request->message.data, request->message.size, &message),
                 ERR_OK);
    return message;
}

static enum err learn_says; /* Instead of learning. */

enum err router_learn_types(struct worker *worker, const struct declare_request *request)
{
    struct message_declare message = declared_by(request);

    if (learn_says != ERR_OK)
        return err_set(learn_says, "cannot learn");
    for (uint32_t i = 0; i < message.count; i++)
        cr_assert_eq(schema_map_add(&worker->schema, message.table_key, message.fields[i].name,
                                    request->types[i]),
                     ERR_OK);
    return ERR_OK;
}

static inline void decide(struct declare_request *request)
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

static uint32_t refuse_retry_ms;

static inline void refuse_types(enum err code)
{
    struct declare_request *request = asked[--asked_count];

    request->route.answer.code = code;
    request->route.answer.retry_ms = refuse_retry_ms;
    (void)snprintf(request->route.answer.text, sizeof request->route.answer.text, "told to");
    request->route.done(&request->route);
}

/* Field v of all rows of one section is stored. */
static inline void store_section(struct block *block, uint32_t at)
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

static inline void store_block(const struct buf *entry)
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

static inline void answer_block(void)
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

static inline void done_cb(void *ctx, const struct ingest_result *of)
{
    (void)ctx;
    done_count++;
    result = *of;
    memcpy(errors, of->errors, of->error_count * sizeof errors[0]);
}

static inline void open_ingest(void)
{
    node.options.limits.inflight_bytes = 64 << 20;
    node.options.limits.body_bytes = 1 << 20;
    node.options.limits.line_bytes = 64 << 10;
    cr_assert_eq(ingest_new(&worker, &ingest), ERR_OK);
}

static inline void close_ingest(void)
{
    cr_assert_eq(asked_count, 0);
    cr_assert_eq(sent_count, 0);
    ingest_free(ingest);
    schema_map_fini(&decided);
    schema_map_fini(&worker.schema);
}

static inline struct ingest_request *begin(bool all_or_nothing)
{
    struct ingest_options options = {
        .database = "db", .time_unit_ns = 1, .all_or_nothing = all_or_nothing};
    struct ingest_request *request = NULL;

    cr_assert_eq(ingest_begin(ingest, &options, done_cb, NULL, &request), ERR_OK);
    return request;
}

static inline void give(struct ingest_request *request, const char *text, bool last)
{
    /* Of its own memory, so that a look behind its end is noticed. */
    size_t size = strlen(text);
    char *copy = malloc(size + 1);

    memcpy(copy, text, size);
    ingest_text(request, copy, size, last);
    free(copy);
}

static inline void turn(void)
{
    now_ms += 10;
    ingest_flush(ingest);
}

/* Until nothing is left to be done. */
static inline void settle(void)
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

static inline void expect_stored(unsigned first, unsigned count)
{
    for (unsigned i = 0; i < VALUES_MAX; i++)
        cr_assert_eq(stored[i], i >= first && i < first + count, "value %u is stored %u times", i,
                     stored[i]);
}

static inline void know(const struct schema_database *database)
{
    cr_assert_eq(schema_map_set_database(&worker.schema, (struct slice){"db", 2}, database),
                 ERR_OK);
}

#endif
