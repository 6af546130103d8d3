/*
 * meta_fake.h - for tests of the meta group: its state machine in a directory of its own, and the
 * group behind it, played: what is proposed is applied when the test says so. Each test is a
 * process of its own and has one of them.
 */
#ifndef TESTS_UNIT_NODE_META_FAKE_H
#define TESTS_UNIT_NODE_META_FAKE_H

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/wire/message.h"
#include "node/meta_internal.h"
#include "node/shard_io.h"

#define HOUR_NS UINT64_C(3600000000000)

enum { PROPOSED_MAX = 512 };

/* ---- What the meta group calls ------------------------------------------------------------- */

static bool leads = true;
static struct buf *proposed[PROPOSED_MAX];
static uint64_t proposed_count, applied;
static struct pool_job *job; /* In the pool. */
static uint64_t sealed, lessons, database_lessons;
static uint64_t now_ms = 1000;

uint64_t worker_now_ms(void)
{
    return now_ms;
}

void worker_pool(struct worker *worker, struct pool_job *of)
{
    cr_assert_null(job);
    job = of;
    job->worker = worker;
}

void worker_teach(struct worker *from, struct worker *to, struct slice table_key,
                  struct slice field, enum field_type type)
{
    (void)from;
    (void)table_key;
    (void)field;
    (void)type;
    lessons += to->number + 1;
}

void worker_teach_database(struct worker *from, struct worker *to,
                           const struct schema_database *database)
{
    (void)from;
    (void)database;
    database_lessons += to->number + 1;
}

bool shard_can_propose(const struct shard *shard, struct answer *ret_answer)
{
    (void)shard;
    if (!leads)
        *ret_answer = (struct answer){.code = ERR_NOT_LEADER, .leader = 2};
    return leads;
}

enum err shard_propose(struct shard *shard, struct buf *entry, uint64_t *ret_index)
{
    (void)shard;
    cr_assert_lt(proposed_count, PROPOSED_MAX);
    proposed[proposed_count++] = buf_ref(entry);
    *ret_index = proposed_count;
    return ERR_OK;
}

enum err group_sealed(struct group *group, uint64_t index)
{
    (void)group;
    sealed = index;
    return ERR_OK;
}

void group_evict(struct group *group, uint64_t index)
{
    (void)group;
    (void)index;
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

/* ---- What the test does -------------------------------------------------------------------- */

static struct worker workers[2] = {{.number = 0}, {.number = 1}};
static struct node node = {.shards = 1, .worker_count = 2, .workers = workers};
static struct shard shard = {.worker = &workers[0]};
static char directory[] = "/tmp/test_meta.XXXXXX";
static struct meta *meta;
static unsigned done_count;
static enum err last_code;
static uint8_t last_types[8];

static inline void open_meta(void)
{
    if (node.options.node.data_dir[0] == '\0') {
        cr_assert_not_null(mkdtemp(directory));
        (void)snprintf(node.options.node.data_dir, sizeof node.options.node.data_dir, "%s",
                       directory);
    }
    node.options.databases.auto_create = true;
    node.disk = disk_system();
    workers[0].node = workers[1].node = &node;
    cr_assert_eq(meta_open(&shard, false, &meta), ERR_OK, "%s", err_detail());
    shard.meta = meta;
}

static inline void remove_files(void)
{
    static const char *const names[] = {"meta.mrc", "meta.mrc.copy"};
    char path[4096];

    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        (void)unlink(path);
    }
    cr_assert_eq(rmdir(directory), 0);
}

static inline void close_meta(void)
{
    meta_answer_databases(meta, UINT64_MAX); /* As a node that stops does. */
    meta_close(meta);
    remove_files();
    while (proposed_count > 0)
        buf_unref(proposed[--proposed_count]);
}

static inline void done_cb(struct route *route)
{
    struct declare_request *request = (struct declare_request *)route;

    done_count++;
    last_code = route->answer.code;
    for (uint32_t i = 0; last_code == ERR_OK && i < request->count && i < sizeof last_types; i++)
        last_types[i] = request->types[i];
    bytes_fini(&request->message);
    free(request->types);
    free(request);
}

static inline struct declare_request *make_request(struct slice database, const char *fields,
                                                   enum field_type type)
{
    static struct message_declare message;
    struct declare_request *request = calloc(1, sizeof *request);
    char key[256];

    message.table_key =
        (struct slice){key, key_write_table(database, (struct slice){"t", 1}, key, sizeof key)};
    message.count = (uint32_t)strlen(fields);
    for (uint32_t i = 0; i < message.count; i++)
        message.fields[i] =
            (struct message_declare_field){.name = {fields + i, 1}, .type = (uint8_t)type};
    request->route = (struct route){.done = done_cb};
    message_put_declare(&message, &request->message);
    return request;
}

/* Each character of `fields` is a field of table t. */
static inline void declare(const char *database, const char *fields, enum field_type type)
{
    struct slice name = {database, strlen(database)};

    last_code = ERR_END;
    meta_declare(meta, make_request(name, fields, type));
}

static inline void apply_all(void)
{
    while (applied < proposed_count) {
        cr_assert_eq(meta_apply(meta, applied + 1, proposed[applied]), ERR_OK);
        applied++;
    }
}

static inline void expect_type(const char *database, char field, unsigned type)
{
    char key[256];
    struct slice table = {key, key_write_table((struct slice){database, strlen(database)},
                                               (struct slice){"t", 1}, key, sizeof key)};

    cr_assert_eq(schema_map_find(meta_schema(meta), table, (struct slice){&field, 1}), type);
}

/* ---- Databases ----------------------------------------------------------------------------- */

static struct message_database_info last_info;
static size_t info_count;
static char last_text[ERR_DETAIL_MAX];
static uint32_t last_retry_ms;
static unsigned ok_count;

static inline void database_done_cb(struct route *route)
{
    struct order_request *request = (struct order_request *)route;
    struct message_database_info info;
    size_t at = 0;

    done_count++;
    last_code = route->answer.code;
    last_retry_ms = route->answer.retry_ms;
    ok_count += last_code == ERR_OK;
    (void)snprintf(last_text, sizeof last_text, "%s", last_code == ERR_OK ? "" : err_detail());
    for (info_count = 0; last_code == ERR_OK; info_count++) {
        if (message_get_database_info(request->answer.data, request->answer.size, &at, &info) !=
            ERR_OK)
            break;
        last_info = info;
        last_info.name = (struct slice){NULL, info.name.size};
    }
    bytes_fini(&request->message);
    bytes_fini(&request->answer);
    free(request);
}

static inline void database(const struct message_database *message)
{
    struct order_request *request = calloc(1, sizeof *request);

    request->route.done = database_done_cb;
    message_put_database(message, &request->message);
    last_code = ERR_END;
    meta_database(meta, request);
}

static inline void change(enum database_op op, const char *name, uint64_t retention_ns)
{
    database(&(struct message_database){.op = (uint8_t)op,
                                        .name = {name, strlen(name)},
                                        .sets_retention = op <= DATABASE_ALTER,
                                        .retention_ns = retention_ns});
    apply_all();
    meta_answer_databases(meta, now_ms + 1000);
}

#endif
