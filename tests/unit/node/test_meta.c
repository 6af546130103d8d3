/*
 * The meta group's state machine: who declares a field first decides its type, on every replica
 * alike, and a saved state is the same state. The group behind it is played: what is proposed is
 * applied when the test says so.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/wire/message.h"
#include "node/meta_internal.h"
#include "node/shard_io.h"
#include "tests/support/seed.h"

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

static void open_meta(void)
{
    if (node.options.node.data_dir[0] == '\0') {
        cr_assert_not_null(mkdtemp(directory));
        (void)snprintf(node.options.node.data_dir, sizeof node.options.node.data_dir, "%s",
                       directory);
    }
    node.options.databases.auto_create = true;
    node.disk = disk_system();
    workers[0].node = workers[1].node = &node;
    cr_assert_eq(meta_open(&shard, &meta), ERR_OK, "%s", err_detail());
    shard.meta = meta;
}

static void remove_files(void)
{
    static const char *const names[] = {"meta.mrc", "meta.mrc.copy"};
    char path[4096];

    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        (void)unlink(path);
    }
    cr_assert_eq(rmdir(directory), 0);
}

static void close_meta(void)
{
    meta_answer_databases(meta, UINT64_MAX); /* As a node that stops does. */
    meta_close(meta);
    remove_files();
    while (proposed_count > 0)
        buf_unref(proposed[--proposed_count]);
}

static void done_cb(struct route *route)
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

static struct declare_request *make_request(struct slice database, const char *fields,
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
static void declare(const char *database, const char *fields, enum field_type type)
{
    struct slice name = {database, strlen(database)};

    last_code = ERR_END;
    meta_declare(meta, make_request(name, fields, type));
}

static void apply_all(void)
{
    while (applied < proposed_count) {
        cr_assert_eq(meta_apply(meta, applied + 1, proposed[applied]), ERR_OK);
        applied++;
    }
}

static void expect_type(const char *database, char field, unsigned type)
{
    char key[256];
    struct slice table = {key, key_write_table((struct slice){database, strlen(database)},
                                               (struct slice){"t", 1}, key, sizeof key)};

    cr_assert_eq(schema_map_find(meta_schema(meta), table, (struct slice){&field, 1}), type);
}

/* ---- Deciding ------------------------------------------------------------------------------ */

Test(meta, the_first_in_the_log_decides)
{
    open_meta();
    declare("db", "a", FIELD_INT);
    declare("db", "ab", FIELD_FLOAT); /* Asked before the first is decided. */
    cr_assert_eq(done_count, 0);
    apply_all();
    cr_assert_eq(done_count, 2);
    cr_assert_eq(last_types[0], FIELD_INT);
    cr_assert_eq(last_types[1], FIELD_FLOAT);
    cr_assert_eq(lessons, 2 * (1 + 2), "each worker learns each field once");
    declare("db", "ba", FIELD_STRING); /* Known: nothing is proposed. */
    cr_assert_eq(done_count, 3);
    cr_assert_eq(last_types[0], FIELD_FLOAT);
    cr_assert_eq(last_types[1], FIELD_INT);
    cr_assert_eq(proposed_count, 4, "each asked for the database, too");
    cr_assert_eq(database_lessons, 1 + 2, "it was made once");
    expect_type("other", 'a', 0);
    close_meta();
}

Test(meta, who_does_not_lead_answers_what_is_known_and_else_names_the_leader)
{
    open_meta();
    declare("db", "a", FIELD_INT);
    apply_all();
    leads = false;
    declare("db", "a", FIELD_BOOL);
    cr_assert_eq(last_code, ERR_OK);
    declare("db", "b", FIELD_BOOL);
    cr_assert_eq(last_code, ERR_NOT_LEADER);
    cr_assert_eq(proposed_count, 2);
    close_meta();
}

Test(meta, ends_who_waits_when_leadership_goes)
{
    open_meta();
    declare("db", "a", FIELD_INT);
    declare("db", "b", FIELD_INT);
    meta_lost(meta);
    cr_assert_eq(done_count, 2);
    cr_assert_eq(last_code, ERR_UNAVAILABLE);
    apply_all(); /* They may be committed all the same. */
    cr_assert_eq(done_count, 2);
    expect_type("db", 'a', FIELD_INT);
    declare("db", "b", FIELD_FLOAT);
    cr_assert_eq(last_types[0], FIELD_INT);
    close_meta();
}

Test(meta, databases_are_made_only_where_that_is_allowed)
{
    open_meta();
    declare("db", "a", FIELD_INT);
    apply_all();
    node.options.databases.auto_create = false;
    declare("new", "a", FIELD_INT);
    cr_assert_eq(last_code, ERR_NOT_FOUND);
    declare("db", "b", FIELD_INT);
    apply_all();
    cr_assert_eq(last_code, ERR_OK);
    close_meta();
}

/* ---- Databases ----------------------------------------------------------------------------- */

static struct message_database_info last_info;
static size_t info_count;
static char last_text[ERR_DETAIL_MAX];

static void database_done_cb(struct route *route)
{
    struct order_request *request = (struct order_request *)route;
    struct message_database_info info;
    size_t at = 0;

    done_count++;
    last_code = route->answer.code;
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

static void database(const struct message_database *message)
{
    struct order_request *request = calloc(1, sizeof *request);

    request->route.done = database_done_cb;
    message_put_database(message, &request->message);
    last_code = ERR_END;
    meta_database(meta, request);
}

static void change(enum database_op op, const char *name, uint64_t retention_ns)
{
    database(&(struct message_database){.op = (uint8_t)op,
                                        .name = {name, strlen(name)},
                                        .sets_retention = op <= DATABASE_ALTER,
                                        .retention_ns = retention_ns});
    apply_all();
    meta_answer_databases(meta, now_ms + 1000);
}

#define HOUR_NS UINT64_C(3600000000000)

Test(meta, a_database_is_made_altered_dropped_and_made_again)
{
    open_meta();
    change(DATABASE_CREATE, "plant", HOUR_NS);
    cr_assert_eq(last_code, ERR_OK, "%s", last_text);
    cr_assert_eq(info_count, 1);
    cr_assert_eq(last_info.retention_ns, HOUR_NS);
    cr_assert_eq(last_info.window_ns, UINT64_C(120000000000));
    change(DATABASE_CREATE, "plant", 0);
    cr_assert_eq(last_code, ERR_INVALID, "it exists");
    change(DATABASE_ALTER, "plant", 48 * HOUR_NS);
    cr_assert_eq(last_info.window_ns, 2 * HOUR_NS);
    change(DATABASE_DROP, "plant", 0);
    cr_assert_eq(last_code, ERR_OK);
    cr_assert_eq(info_count, 0);
    change(DATABASE_DROP, "plant", 0);
    cr_assert_eq(last_code, ERR_NOT_FOUND);
    change(DATABASE_ALTER, "plant", 0);
    cr_assert_eq(last_code, ERR_NOT_FOUND);
    declare("plant", "a", FIELD_INT);
    cr_assert_eq(last_code, ERR_NOT_FOUND, "a write must not make it again");
    now_ms += 9000;
    change(DATABASE_CREATE, "plant", 0);
    cr_assert_eq(last_code, ERR_UNAVAILABLE, "its rows are still being erased");
    now_ms += 1000;
    change(DATABASE_CREATE, "plant", 0);
    cr_assert_eq(last_code, ERR_OK, "%s", last_text);
    cr_assert_eq(last_info.retention_ns, 0);
    cr_assert_eq(schema_map_database(meta_schema(meta), (struct slice){"plant", 5})->drop, 3);
    cr_assert_eq(database_lessons, 4 * (1 + 2));
    close_meta();
}

Test(meta, a_database_that_a_write_makes_has_the_retention_of_the_settings)
{
    open_meta();
    node.options.databases.retention_ms = 3600000;
    declare("db", "a", FIELD_INT);
    apply_all();
    cr_assert_eq(last_code, ERR_OK);
    cr_assert_eq(schema_map_database(meta_schema(meta), (struct slice){"db", 2})->retention_ns,
                 HOUR_NS);
    database(&(struct message_database){.op = DATABASE_CREATE, .name = {"other", 5}});
    apply_all();
    cr_assert_eq(last_code, ERR_END, "the others have to hear of it first");
    meta_tick(meta, now_ms + 1000);
    cr_assert_eq(last_info.retention_ns, HOUR_NS);
    change(DATABASE_CREATE, "third", 0);
    cr_assert_eq(last_info.retention_ns, 0);
    database(&(struct message_database){.op = DATABASE_LIST});
    cr_assert_eq(info_count, 3);
    close_meta();
}

Test(meta, a_field_of_a_database_that_was_dropped_meanwhile_is_refused)
{
    open_meta();
    declare("db", "a", FIELD_INT);
    apply_all();
    database(&(struct message_database){.op = DATABASE_DROP, .name = {"db", 2}});
    declare("db", "b", FIELD_INT);
    apply_all();
    cr_assert_eq(last_code, ERR_NOT_FOUND);
    close_meta();
}

Test(meta, changes_of_databases_end_when_leadership_goes)
{
    open_meta();
    database(&(struct message_database){.op = DATABASE_CREATE, .name = {"db", 2}});
    cr_assert_eq(last_code, ERR_END);
    meta_lost(meta);
    cr_assert_eq(last_code, ERR_UNAVAILABLE);
    apply_all();
    cr_assert(schema_map_has_database(meta_schema(meta), (struct slice){"db", 2}));
    leads = false;
    change(DATABASE_DROP, "db", 0);
    cr_assert_eq(last_code, ERR_NOT_LEADER);
    close_meta();
}

Test(meta, retentions_that_make_no_sense_are_refused)
{
    open_meta();
    change(DATABASE_CREATE, "db", 1);
    cr_assert_eq(last_code, ERR_INVALID);
    change(DATABASE_CREATE, "db", UINT64_MAX);
    cr_assert_eq(last_code, ERR_INVALID);
    cr_assert_eq(proposed_count, 0);
    close_meta();
}

/* ---- From outside -------------------------------------------------------------------------- */

Test(meta, proposes_nothing_that_makes_no_sense)
{
    static const uint8_t nonsense[] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    struct declare_request *request;

    open_meta();
    meta_declare(meta, make_request((struct slice){"a\0b", 3}, "a", FIELD_INT));
    cr_assert_eq(last_code, ERR_INVALID, "a name with a NUL would be another one each time");
    for (size_t size = 0; size <= sizeof nonsense; size++) {
        request = calloc(1, sizeof *request);
        request->route = (struct route){.done = done_cb};
        bytes_put(&request->message, nonsense, size);
        meta_declare(meta, request);
        cr_assert_eq(last_code, ERR_INVALID);
    }
    cr_assert_eq(proposed_count, 0);
    close_meta();
}

/* ---- Saved --------------------------------------------------------------------------------- */

Test(meta, what_is_saved_is_there_after_a_restart)
{
    open_meta();
    declare("db", "abc", FIELD_INT);
    declare("other", "x", FIELD_STRING);
    apply_all();
    meta_tick(meta, 1000);
    cr_assert_null(job, "not at once: more may come");
    meta_tick(meta, 7000);
    cr_assert_not_null(job);
    job->run(job);
    declare("db", "d", FIELD_BOOL); /* Meanwhile: not in what is saved. */
    apply_all();
    job->done(job);
    job = NULL;
    cr_assert_eq(sealed, 4);
    meta_close(meta);
    open_meta();
    cr_assert_eq(meta_applied(meta), 4);
    expect_type("db", 'c', FIELD_INT);
    expect_type("other", 'x', FIELD_STRING);
    expect_type("db", 'd', 0);
    cr_assert(schema_map_has_database(meta_schema(meta), (struct slice){"other", 5}));
    cr_assert_eq(meta_apply(meta, 5, proposed[4]), ERR_OK); /* The log has the rest. */
    expect_type("db", 'd', FIELD_BOOL);
    close_meta();
}

Test(meta, a_damaged_file_is_not_taken)
{
    uint64_t chance = seed_of_run("meta");
    const struct schema_database gone = {.retention_ns = 1, .drop = 6, .dropped = true};
    struct schema_map map = {0}, other;
    struct bytes bytes = {0};
    uint64_t index;

    for (unsigned i = 0; i < 20; i++) {
        char name[8];

        (void)snprintf(name, sizeof name, "f%u", i);
        cr_assert_eq(schema_map_add(&map, (struct slice){"\002db\001t", 5},
                                    (struct slice){name, strlen(name)}, FIELD_INT),
                     ERR_OK);
    }
    cr_assert_eq(schema_map_add_database(&map, (struct slice){"db", 2}), ERR_OK);
    cr_assert_eq(schema_map_set_database(&map, (struct slice){"gone", 4}, &gone), ERR_OK);
    meta_encode(&map, 7, &bytes);
    cr_assert_eq(meta_decode(bytes.data, bytes.size, &other, &index), ERR_OK);
    cr_assert_eq(index, 7);
    cr_assert_eq(other.count, 20);
    cr_assert_not(schema_map_has_database(&other, (struct slice){"gone", 4}));
    cr_assert_eq(schema_map_database(&other, (struct slice){"gone", 4})->drop, 6);
    schema_map_fini(&other);
    for (size_t size = 0; size < bytes.size; size++)
        cr_assert_eq(meta_decode(bytes.data, size, &other, &index), ERR_CORRUPT);
    for (size_t at = 0; at < bytes.size; at++) {
        uint8_t bit = (uint8_t)(1 << seed_below(&chance, 8));

        bytes.data[at] ^= bit;
        cr_assert_eq(meta_decode(bytes.data, bytes.size, &other, &index), ERR_CORRUPT);
        bytes.data[at] ^= bit;
    }
    bytes_fini(&bytes);
    schema_map_fini(&map);
}

Test(meta, replicas_of_one_log_are_equal)
{
    uint64_t chance = seed_of_run("meta");
    struct bytes one = {0}, two = {0};

    open_meta();
    for (unsigned i = 0; i < 200; i++) {
        char fields[3] = {(char)('a' + seed_below(&chance, 26)),
                          (char)('a' + seed_below(&chance, 26)), '\0'};

        declare(seed_below(&chance, 2) == 0 ? "db" : "other", fields,
                (enum field_type)(1 + seed_below(&chance, 5)));
        if (seed_below(&chance, 20) == 0)
            change((enum database_op)(DATABASE_CREATE + seed_below(&chance, 3)), "db", HOUR_NS);
        if (seed_below(&chance, 4) == 0)
            apply_all();
    }
    apply_all();
    meta_encode(meta_schema(meta), applied, &one);
    meta_close(meta);
    open_meta();
    applied = 0;
    apply_all();
    meta_encode(meta_schema(meta), applied, &two);
    cr_assert_eq(one.size, two.size);
    cr_assert_eq(memcmp(one.data, two.data, one.size), 0);
    bytes_fini(&one);
    bytes_fini(&two);
    close_meta();
}
