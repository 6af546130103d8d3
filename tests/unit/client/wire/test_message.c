/*
 * Messages: each comes back as it was, and a decoder refuses what is cut short, too long or out of
 * range.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/message.h"

#define SLICE(text)              \
    (struct slice)               \
    {                            \
        (text), sizeof(text) - 1 \
    }

static void assert_slice(struct slice slice, const char *text)
{
    cr_assert_eq(slice.size, strlen(text));
    cr_assert_eq(memcmp(slice.data, text, slice.size), 0);
}

/* ---- One decoder each, results thrown away -------------------------------------------------- */

typedef enum err (*decode_fn)(const void *bytes, size_t size);

static enum err decode_hello(const void *bytes, size_t size)
{
    struct message_hello m;
    return message_get_hello(bytes, size, &m);
}

static enum err decode_hello_ok(const void *bytes, size_t size)
{
    struct message_hello_ok m;
    return message_get_hello_ok(bytes, size, &m);
}

static enum err decode_error(const void *bytes, size_t size)
{
    struct message_error m;
    return message_get_error(bytes, size, &m);
}

static enum err decode_topology(const void *bytes, size_t size)
{
    static struct message_topology m;
    return message_get_topology(bytes, size, &m);
}

static enum err decode_declare(const void *bytes, size_t size)
{
    static struct message_declare m;
    return message_get_declare(bytes, size, &m);
}

static enum err decode_write_ok(const void *bytes, size_t size)
{
    struct message_write_ok m;
    return message_get_write_ok(bytes, size, &m);
}

static enum err decode_query(const void *bytes, size_t size)
{
    struct message_query m;
    enum err err = message_get_query(bytes, size, &m);

    if (err == ERR_OK)
        message_query_fini(&m);
    return err;
}

static enum err decode_query_end(const void *bytes, size_t size)
{
    struct message_query_end m;
    return message_get_query_end(bytes, size, &m);
}

/* Each prefix lies in memory of its own size, so that a sanitizer sees a read past it. */
static void assert_only_whole(decode_fn decode, const struct bytes *bytes)
{
    uint8_t *longer = calloc(1, bytes->size + 1);

    cr_assert_eq(decode(bytes->data, bytes->size), ERR_OK, "%s", err_detail());
    for (size_t size = 0; size < bytes->size; size++) {
        uint8_t *prefix = malloc(size + 1);

        memcpy(prefix + 1, bytes->data, size);
        cr_assert_eq(decode(prefix + 1, size), ERR_INVALID, "%zu of %zu bytes", size, bytes->size);
        free(prefix);
    }
    memcpy(longer, bytes->data, bytes->size);
    cr_assert_eq(decode(longer, bytes->size + 1), ERR_INVALID);
    free(longer);
}

/* ---- Round trips ---------------------------------------------------------------------------- */

static const struct message_hello hello = {.version = PROTOCOL_VERSION,
                                           .role = ROLE_PEER,
                                           .cluster = 0x1122334455667788,
                                           .server = 2,
                                           .worker = 1,
                                           .agent = {"millrace 0.1.0", 14}};

Test(message, brings_hello_back)
{
    struct bytes bytes = {0};
    struct message_hello back;

    message_put_hello(&hello, &bytes);
    cr_assert_eq(message_get_hello(bytes.data, bytes.size, &back), ERR_OK);
    cr_assert_eq(back.role, ROLE_PEER);
    cr_assert_eq(back.cluster, hello.cluster);
    cr_assert_eq(back.server, 2);
    cr_assert_eq(back.worker, 1);
    assert_slice(back.agent, "millrace 0.1.0");
    assert_only_whole(decode_hello, &bytes);
    bytes_fini(&bytes);
}

Test(message, tells_another_version_from_nonsense)
{
    struct message_hello other = hello, back;
    struct bytes bytes = {0};

    other.version = PROTOCOL_VERSION + 1;
    message_put_hello(&other, &bytes);
    bytes_put_u64(&bytes, 42); /* That version may have more fields. */
    cr_assert_eq(message_get_hello(bytes.data, bytes.size, &back), ERR_VERSION);
    cr_assert_eq(back.version, PROTOCOL_VERSION + 1);
    bytes_fini(&bytes);
}

Test(message, refuses_an_unknown_role)
{
    struct message_hello other = hello;
    struct bytes bytes = {0};

    other.role = 3;
    message_put_hello(&other, &bytes);
    cr_assert_eq(decode_hello(bytes.data, bytes.size), ERR_INVALID);
    bytes_fini(&bytes);
}

Test(message, brings_hello_ok_back)
{
    struct message_hello_ok sent = {.version = PROTOCOL_VERSION,
                                    .cluster = 7,
                                    .server = 3,
                                    .shards = TOPOLOGY_SHARDS_MAX,
                                    .frame_max = FRAME_PAYLOAD_MAX,
                                    .agent = SLICE("millraced")};
    struct message_hello_ok back;
    struct bytes bytes = {0};

    message_put_hello_ok(&sent, &bytes);
    cr_assert_eq(message_get_hello_ok(bytes.data, bytes.size, &back), ERR_OK);
    cr_assert_eq(back.cluster, 7);
    cr_assert_eq(back.server, 3);
    cr_assert_eq(back.shards, TOPOLOGY_SHARDS_MAX);
    cr_assert_eq(back.frame_max, FRAME_PAYLOAD_MAX);
    assert_slice(back.agent, "millraced");
    assert_only_whole(decode_hello_ok, &bytes);

    bytes_clear(&bytes);
    sent.shards = TOPOLOGY_SHARDS_MAX + 1;
    message_put_hello_ok(&sent, &bytes);
    cr_assert_eq(decode_hello_ok(bytes.data, bytes.size), ERR_INVALID);
    bytes_fini(&bytes);
}

Test(message, brings_errors_back)
{
    struct message_error sent = {.code = ERR_NOT_LEADER,
                                 .leader = 2,
                                 .retry_ms = 50,
                                 .cutoff_ns = -9,
                                 .text = SLICE("ask node 2")};
    struct message_error back;
    struct bytes bytes = {0};

    message_put_error(&sent, &bytes);
    cr_assert_eq(message_get_error(bytes.data, bytes.size, &back), ERR_OK);
    cr_assert_eq(back.code, ERR_NOT_LEADER);
    cr_assert_eq(back.leader, 2);
    cr_assert_eq(back.retry_ms, 50);
    cr_assert_eq(back.cutoff_ns, -9);
    assert_slice(back.text, "ask node 2");
    assert_only_whole(decode_error, &bytes);
    bytes_fini(&bytes);
}

Test(message, cuts_long_texts_to_what_the_receiver_takes)
{
    static char text[2 * MESSAGE_TEXT_MAX];
    struct message_error sent = {.code = ERR_LIMIT,
                                 .text = {text, sizeof text},
                                 .id_count = 1,
                                 .ids = (const uint8_t *)"abcd"},
                         back;
    struct bytes bytes = {0};

    memset(text, 'x', sizeof text);
    message_put_error(&sent, &bytes);
    cr_assert_eq(message_get_error(bytes.data, bytes.size, &back), ERR_OK);
    cr_assert_eq(back.text.size, MESSAGE_TEXT_MAX);
    cr_assert_eq(back.id_count, 1);
    cr_assert_eq(memcmp(back.ids, "abcd", 4), 0);
    bytes_fini(&bytes);
}

Test(message, refuses_errors_without_a_known_code)
{
    static const uint32_t codes[] = {ERR_OK, ERR_COUNT, UINT32_MAX};

    for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
        struct message_error sent = {.code = codes[i]};
        struct bytes bytes = {0};

        message_put_error(&sent, &bytes);
        cr_assert_eq(decode_error(bytes.data, bytes.size), ERR_INVALID);
        bytes_fini(&bytes);
    }
}

static void make_topology(struct message_topology *topology)
{
    memset(topology, 0, sizeof *topology);
    topology->nodes = 3;
    for (unsigned i = 0; i < 3; i++) {
        topology->node[i].server = i + 1;
        memcpy(topology->node[i].host, "10.0.0.1", 9);
        topology->node[i].native_port = (uint16_t)(7400 + 10 * i);
        topology->node[i].http_port = (uint16_t)(7401 + 10 * i);
        topology->node[i].up = i != 1;
    }
    topology->shards = 8;
    for (unsigned i = 0; i < 8; i++)
        topology->leader[i] = i % 4; /* Server 0: nobody known. */
}

Test(message, brings_the_topology_back)
{
    static struct message_topology sent, back;
    struct bytes bytes = {0};

    make_topology(&sent);
    message_put_topology(&sent, &bytes);
    cr_assert_eq(message_get_topology(bytes.data, bytes.size, &back), ERR_OK);
    cr_assert_eq(memcmp(&sent, &back, sizeof sent), 0);
    assert_only_whole(decode_topology, &bytes);
    bytes_fini(&bytes);
}

Test(message, refuses_a_topology_beyond_its_arrays)
{
    static struct message_topology sent;
    struct bytes bytes = {0};
    uint32_t many = TOPOLOGY_NODES_MAX + 1;

    make_topology(&sent);
    message_put_topology(&sent, &bytes);
    memcpy(bytes.data, &many, sizeof many);
    cr_assert_eq(decode_topology(bytes.data, bytes.size), ERR_INVALID);

    bytes_clear(&bytes);
    bytes_put_u32(&bytes, 0);
    bytes_put_u32(&bytes, TOPOLOGY_SHARDS_MAX + 1);
    for (unsigned i = 0; i <= TOPOLOGY_SHARDS_MAX; i++)
        bytes_put_u64(&bytes, 1);
    cr_assert_eq(decode_topology(bytes.data, bytes.size), ERR_INVALID);
    bytes_fini(&bytes);
}

Test(message, refuses_hosts_that_do_not_fit_or_hold_a_nul)
{
    static const struct slice hosts[] = {
        {"0123456789012345678901234567890123456789012345678901234567890123", 64}, {"a\0b", 3}};

    for (size_t i = 0; i < 2; i++) {
        struct bytes bytes = {0};

        bytes_put_u32(&bytes, 1);
        bytes_put_u64(&bytes, 1);
        bytes_put_string(&bytes, hosts[i].data, hosts[i].size);
        bytes_put_u16(&bytes, 7400);
        bytes_put_u16(&bytes, 7401);
        bytes_put_u8(&bytes, 1);
        bytes_put_u32(&bytes, 0);
        cr_assert_eq(decode_topology(bytes.data, bytes.size), ERR_INVALID);
        bytes_fini(&bytes);
    }
}

static void make_declare(struct message_declare *declare)
{
    declare->table_key = SLICE("\5plant\3cpu");
    declare->count = 2;
    declare->fields[0] = (struct message_declare_field){SLICE("user"), FIELD_FLOAT};
    declare->fields[1] = (struct message_declare_field){SLICE("note"), FIELD_STRING};
}

Test(message, brings_declarations_back)
{
    static struct message_declare sent, back;
    struct bytes bytes = {0};

    make_declare(&sent);
    message_put_declare(&sent, &bytes);
    cr_assert_eq(message_get_declare(bytes.data, bytes.size, &back), ERR_OK);
    cr_assert_eq(back.count, 2);
    assert_slice(back.table_key, "\5plant\3cpu");
    assert_slice(back.fields[0].name, "user");
    cr_assert_eq(back.fields[0].type, FIELD_FLOAT);
    assert_slice(back.fields[1].name, "note");
    cr_assert_eq(back.fields[1].type, FIELD_STRING);
    assert_only_whole(decode_declare, &bytes);
    bytes_fini(&bytes);
}

Test(message, refuses_declarations_out_of_range)
{
    static struct message_declare sent;
    struct bytes bytes = {0};
    static const char *const keys[] = {"", "\5plant", "\5plant\3cpu\1a\1b", "\0\3cpu", "\5plant\0"};
    static const size_t sizes[] = {0, 6, 14, 5, 7};

    for (size_t i = 0; i < 5; i++) {
        make_declare(&sent);
        sent.table_key = (struct slice){keys[i], sizes[i]};
        bytes_clear(&bytes);
        message_put_declare(&sent, &bytes);
        cr_assert_eq(decode_declare(bytes.data, bytes.size), ERR_INVALID, "key %zu", i);
    }

    make_declare(&sent);
    sent.fields[1].type = FIELD_TYPE_END;
    bytes_clear(&bytes);
    message_put_declare(&sent, &bytes);
    cr_assert_eq(decode_declare(bytes.data, bytes.size), ERR_INVALID);

    make_declare(&sent);
    sent.fields[1].name.size = 0;
    bytes_clear(&bytes);
    message_put_declare(&sent, &bytes);
    cr_assert_eq(decode_declare(bytes.data, bytes.size), ERR_INVALID);
    bytes_fini(&bytes);
}

Test(message, brings_write_answers_back)
{
    uint32_t ids[3] = {7, 8, 0xfffffffe}, id;
    struct message_write_ok sent = {.shard = 5,
                                    .sequence = 12,
                                    .index = 345,
                                    .rows = 4096,
                                    .duplicate = true,
                                    .id_count = 3,
                                    .ids = (const uint8_t *)ids};
    struct message_write_ok back;
    struct bytes bytes = {0};

    message_put_write_ok(&sent, &bytes);
    cr_assert_eq(message_get_write_ok(bytes.data, bytes.size, &back), ERR_OK);
    cr_assert_eq(back.shard, 5);
    cr_assert_eq(back.sequence, 12);
    cr_assert_eq(back.index, 345);
    cr_assert_eq(back.rows, 4096);
    cr_assert(back.duplicate);
    cr_assert_eq(back.id_count, 3);
    memcpy(&id, back.ids + 8, sizeof id);
    cr_assert_eq(id, 0xfffffffe);
    assert_only_whole(decode_write_ok, &bytes);
    bytes_fini(&bytes);
}

/* A message whose last four bytes count its ids, with another count there and room for one. */
static void expect_count(decode_fn decode, struct bytes *bytes, uint32_t count, bool has_room)
{
    memcpy(bytes->data + bytes->size - sizeof count, &count, sizeof count);
    if (has_room)
        bytes_put_u32(bytes, 7);
    cr_assert_eq(decode(bytes->data, bytes->size), has_room && count == 1 ? ERR_OK : ERR_INVALID,
                 "%u ids", count);
    bytes_clear(bytes);
}

/* More than there are, and so many that their bytes are none, or few, in 32 bits. */
Test(message, takes_no_more_ids_than_there_are_bytes_for)
{
    static const uint32_t counts[] = {1, 1u << 30, (1u << 30) + 1, 3u << 30, UINT32_MAX};
    const struct message_write_ok ok = {.shard = 5};
    const struct message_error error = {.code = ERR_LIMIT};

    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct bytes bytes = {0};

        for (int there = 0; there < 2; there++) {
            message_put_write_ok(&ok, &bytes);
            expect_count(decode_write_ok, &bytes, counts[i], there == 1);
            message_put_error(&error, &bytes);
            expect_count(decode_error, &bytes, counts[i], there == 1);
        }
        bytes_fini(&bytes);
    }
}

static struct query make_query(void)
{
    return (struct query){.database = "plant",
                          .table = "cpu",
                          .fields = {"user", "system"},
                          .field_count = 2,
                          .where = {{"host", "a", QUERY_EQUAL}, {"rack", "", QUERY_NOT_EQUAL}},
                          .where_count = 2,
                          .group_by = {"site"},
                          .group_count = 1,
                          .from_ns = -5,
                          .to_ns = INT64_MAX,
                          .every_ns = 60,
                          .agg = QUERY_MEAN,
                          .limit = 1000,
                          .consistency = QUERY_ANY};
}

Test(message, brings_queries_back)
{
    struct query sent = make_query();
    struct message_query back;
    struct bytes bytes = {0};

    message_put_query(&sent, 6, 30000, &bytes);
    cr_assert_eq(message_get_query(bytes.data, bytes.size, &back), ERR_OK, "%s", err_detail());
    memset(bytes.data, 0xaa, bytes.size); /* Nothing is borrowed. */
    cr_assert_eq(back.shard, 6);
    cr_assert_eq(back.timeout_ms, 30000);
    cr_assert_str_eq(back.query.database, "plant");
    cr_assert_str_eq(back.query.table, "cpu");
    cr_assert_eq(back.query.field_count, 2);
    cr_assert_str_eq(back.query.fields[1], "system");
    cr_assert_eq(back.query.where_count, 2);
    cr_assert_str_eq(back.query.where[1].name, "rack");
    cr_assert_str_eq(back.query.where[1].value, "");
    cr_assert_eq(back.query.where[0].op, QUERY_EQUAL);
    cr_assert_eq(back.query.where[1].op, QUERY_NOT_EQUAL);
    cr_assert_str_eq(back.query.group_by[0], "site");
    cr_assert_eq(back.query.from_ns, -5);
    cr_assert_eq(back.query.to_ns, INT64_MAX);
    cr_assert_eq(back.query.every_ns, 60);
    cr_assert_eq(back.query.agg, QUERY_MEAN);
    cr_assert(!back.query.last);
    cr_assert_eq(back.query.limit, 1000);
    cr_assert_eq(back.query.consistency, QUERY_ANY);
    cr_assert(!back.query.page.on);
    message_query_fini(&back);
    bytes_fini(&bytes);
}

Test(message, brings_questions_for_pages_back)
{
    struct query sent = {.database = "plant",
                         .table = "cpu",
                         .page = {.on = true, .shard = 3, .series_first = 7, .series_last = 9}};
    struct message_query back;
    struct bytes bytes = {0};

    message_put_query(&sent, 0, 0, &bytes);
    cr_assert_eq(message_get_query(bytes.data, bytes.size, &back), ERR_OK, "%s", err_detail());
    cr_assert(back.query.page.on);
    cr_assert_eq(back.query.page.shard, 3);
    cr_assert_eq(back.query.page.series_first, 7);
    cr_assert_eq(back.query.page.series_last, 9);
    message_query_fini(&back);
    bytes_fini(&bytes);
}

Test(message, reads_whole_queries_only)
{
    struct query sent = make_query();
    struct bytes bytes = {0};

    message_put_query(&sent, 6, 30000, &bytes);
    assert_only_whole(decode_query, &bytes);
    bytes_fini(&bytes);
}

static void assert_query_refused(const struct query *query, const char *why)
{
    struct bytes bytes = {0};

    message_put_query(query, 0, 0, &bytes);
    cr_assert_eq(decode_query(bytes.data, bytes.size), ERR_INVALID, "%s", why);
    bytes_fini(&bytes);
}

Test(message, refuses_queries_that_make_no_sense)
{
    struct query query = make_query();

    query.agg = QUERY_AGG_END;
    assert_query_refused(&query, "an unknown aggregate");
    query = make_query();
    query.agg = QUERY_RAW;
    assert_query_refused(&query, "windows of raw rows");
    query = make_query();
    query.last = true;
    assert_query_refused(&query, "the last value of an aggregate");
    query = make_query();
    query.every_ns = -1;
    assert_query_refused(&query, "a negative width");
    query = make_query();
    query.consistency = QUERY_ANY + 1;
    assert_query_refused(&query, "an unknown consistency");
    query = make_query();
    query.database = "";
    assert_query_refused(&query, "no database");
    query = make_query();
    query.where[0].name = "";
    assert_query_refused(&query, "a condition on no tag");
    query = make_query();
    query.table = "";
    assert_query_refused(&query, "rows of no table");
    query = (struct query){.database = "d", .table = "t", .about = QUERY_TABLES};
    assert_query_refused(&query, "the tables of a table");
    query = make_query();
    query.page.on = true;
    assert_query_refused(&query, "a page of an aggregate");
    query = (struct query){.database = "d", .table = "t", .limit = 1, .page = {.on = true}};
    assert_query_refused(&query, "a page with a limit");
}

Test(message, takes_a_query_with_all_names_at_their_limits)
{
    static char name[NAME_SIZE_MAX + 1];
    static struct query query;
    struct message_query back;
    struct bytes bytes = {0};

    memset(name, 'n', NAME_SIZE_MAX);
    query = (struct query){.database = name, .table = name, .agg = QUERY_COUNT};
    query.field_count = QUERY_FIELDS_MAX;
    query.where_count = query.group_count = QUERY_TAGS_MAX;
    for (int i = 0; i < QUERY_FIELDS_MAX; i++)
        query.fields[i] = name;
    for (int i = 0; i < QUERY_TAGS_MAX; i++) {
        query.where[i] = (struct query_match){name, name, QUERY_EQUAL};
        query.group_by[i] = name;
    }
    message_put_query(&query, 0, 0, &bytes);
    cr_assert_eq(message_get_query(bytes.data, bytes.size, &back), ERR_OK, "%s", err_detail());
    cr_assert_str_eq(back.query.fields[QUERY_FIELDS_MAX - 1], name);
    cr_assert_str_eq(back.query.group_by[QUERY_TAGS_MAX - 1], name);
    message_query_fini(&back);
    bytes_fini(&bytes);
}

Test(message, refuses_a_query_frame_over_its_limit)
{
    uint8_t *bytes = calloc(1, MESSAGE_QUERY_MAX + 1);

    cr_assert_eq(decode_query(bytes, MESSAGE_QUERY_MAX + 1), ERR_TOO_LARGE);
    free(bytes);
}

Test(message, brings_ends_of_queries_back)
{
    struct message_query_end sent = {.code = ERR_TIMEOUT,
                                     .rows = 1ull << 40,
                                     .stale_ms = 250,
                                     .leader = 3,
                                     .text = SLICE("after 30 s"),
                                     .next = {5, -7}};
    struct message_query_end back;
    struct bytes bytes = {0};

    message_put_query_end(&sent, &bytes);
    cr_assert_eq(message_get_query_end(bytes.data, bytes.size, &back), ERR_OK);
    cr_assert_eq(back.code, ERR_TIMEOUT);
    cr_assert_eq(back.rows, 1ull << 40);
    cr_assert_eq(back.stale_ms, 250);
    cr_assert_eq(back.leader, 3);
    assert_slice(back.text, "after 30 s");
    cr_assert_eq(back.next.series, 5);
    cr_assert_eq(back.next.time_ns, -7);
    assert_only_whole(decode_query_end, &bytes);

    bytes_clear(&bytes);
    sent.code = ERR_COUNT;
    message_put_query_end(&sent, &bytes);
    cr_assert_eq(decode_query_end(bytes.data, bytes.size), ERR_INVALID);
    bytes_fini(&bytes);
}

/* ---- DATABASE ------------------------------------------------------------------------------ */

static enum err decode_database(const void *bytes, size_t size)
{
    struct message_database m;

    return message_get_database(bytes, size, &m);
}

static const struct message_database alter = {.op = DATABASE_ALTER,
                                              .sets_retention = true,
                                              .retention_ns = 86400000000000,
                                              .retention_bytes = 7,
                                              .sets_series = true,
                                              .series_max = 8,
                                              .name = {"plant", 5}};

Test(message, database_comes_back_as_it_was)
{
    struct message_database back;
    struct bytes bytes = {0};

    message_put_database(&alter, &bytes);
    cr_assert_eq(message_get_database(bytes.data, bytes.size, &back), ERR_OK, "%s", err_detail());
    cr_assert_eq(back.op, DATABASE_ALTER);
    cr_assert(back.sets_retention);
    cr_assert_not(back.sets_bytes);
    cr_assert_eq(back.retention_ns, 86400000000000);
    cr_assert_eq(back.retention_bytes, 7);
    cr_assert(back.sets_series);
    cr_assert_eq(back.series_max, 8);
    assert_slice(back.name, "plant");
    assert_only_whole(decode_database, &bytes);
    bytes_fini(&bytes);
}

Test(message, database_needs_an_operation_and_the_name_that_it_is_about)
{
    const struct message_database bad[] = {{.op = 0, .name = {"a", 1}},
                                           {.op = 5, .name = {"a", 1}},
                                           {.op = DATABASE_DROP, .name = {"", 0}},
                                           {.op = DATABASE_LIST, .name = {"a", 1}},
                                           {.op = DATABASE_CREATE, .name = {"a\0b", 3}}};
    struct bytes bytes = {0};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        bytes_clear(&bytes);
        message_put_database(&bad[i], &bytes);
        cr_assert_eq(decode_database(bytes.data, bytes.size), ERR_INVALID, "%zu", i);
    }
    bytes_fini(&bytes);
}

Test(message, databases_come_back_in_their_order)
{
    const struct message_database_info infos[] = {{{"a", 1}, 1, 2, 4, 3},
                                                  {{"plant", 5}, 0, 0, 0, 9}};
    struct message_database_info back;
    struct bytes bytes = {0};
    size_t at = 0;

    cr_assert_eq(message_get_database_info("", 0, &at, &back), ERR_END);
    for (size_t i = 0; i < 2; i++)
        message_put_database_info(&infos[i], &bytes);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(message_get_database_info(bytes.data, bytes.size, &at, &back), ERR_OK);
        cr_assert_eq(back.name.size, infos[i].name.size);
        cr_assert_eq(back.retention_ns, infos[i].retention_ns);
        cr_assert_eq(back.retention_bytes, infos[i].retention_bytes);
        cr_assert_eq(back.series_max, infos[i].series_max);
        cr_assert_eq(back.window_ns, infos[i].window_ns);
    }
    cr_assert_eq(message_get_database_info(bytes.data, bytes.size, &at, &back), ERR_END);
    at = 0;
    cr_assert_eq(message_get_database_info(bytes.data, 20, &at, &back), ERR_INVALID);
    bytes_fini(&bytes);
}

static enum err decode_delete(const void *bytes, size_t size)
{
    struct message_delete m;

    return message_get_delete(bytes, size, &m);
}

/* No conditions: all series of the table. */
#define TOMBSTONE          \
    "\012\005plant\003cpu" \
    "\1\0\0\0\0\0\0\0"     \
    "\2\0\0\0\0\0\0\0"     \
    "\0\0\0\0"

Test(message, delete_comes_back_as_it_was)
{
    struct message_delete sent = {7, {TOMBSTONE, sizeof TOMBSTONE - 1}}, back;
    struct bytes bytes = {0};

    message_put_delete(&sent, &bytes);
    cr_assert_eq(message_get_delete(bytes.data, bytes.size, &back), ERR_OK, "%s", err_detail());
    cr_assert_eq(back.shard, 7);
    cr_assert_eq(back.tombstone.size, sent.tombstone.size);
    assert_only_whole(decode_delete, &bytes);
    bytes_fini(&bytes);
}

/* ---- Bytes that never change ----------------------------------------------------------------- */

/* One frame behind the other. */
static void put_frame(enum frame_type type, struct bytes *payload, struct bytes *frames)
{
    struct frame_header header = {.type = (uint16_t)type, .request = (uint64_t)type + 100};

    frame_seal(&header, payload->data, payload->size);
    bytes_put(frames, &header, sizeof header);
    bytes_put(frames, payload->data, payload->size);
    bytes_clear(payload);
}

static void put_samples(struct bytes *frames)
{
    static struct message_topology topology;
    static struct message_declare declare;
    struct message_hello_ok hello_ok = {PROTOCOL_VERSION, 7, 3, 8, FRAME_PAYLOAD_MAX, {"n", 1}};
    struct message_error error = {
        ERR_NOT_LEADER, 2, 50, -3, SLICE("ask node 2"), 1, (const uint8_t *)"\1\2\3\4"};
    struct message_write_ok write_ok = {5, 12, 345, 4096, true, 1, (const uint8_t *)"\1\2\3\4"};
    struct message_query_end end = {ERR_TIMEOUT, 5, 250, 3, SLICE("after 30 s"), {9, -1}};
    struct message_database_info info = {SLICE("plant"), 1, 2, 4, 3};
    struct query query = make_query();
    struct bytes payload = {0};

    make_topology(&topology);
    make_declare(&declare);
    message_put_hello(&hello, &payload);
    put_frame(FRAME_HELLO, &payload, frames);
    message_put_hello_ok(&hello_ok, &payload);
    put_frame(FRAME_HELLO_OK, &payload, frames);
    message_put_error(&error, &payload);
    put_frame(FRAME_ERROR, &payload, frames);
    put_frame(FRAME_PING, &payload, frames);
    message_put_topology(&topology, &payload);
    put_frame(FRAME_TOPOLOGY_OK, &payload, frames);
    message_put_declare(&declare, &payload);
    put_frame(FRAME_DECLARE, &payload, frames);
    message_put_write_ok(&write_ok, &payload);
    put_frame(FRAME_WRITE_OK, &payload, frames);
    message_put_query(&query, 6, 30000, &payload);
    put_frame(FRAME_SHARD_QUERY, &payload, frames);
    message_put_query_end(&end, &payload);
    put_frame(FRAME_QUERY_END, &payload, frames);
    message_put_database(&alter, &payload);
    put_frame(FRAME_DATABASE, &payload, frames);
    message_put_database_info(&info, &payload);
    put_frame(FRAME_DATABASE_OK, &payload, frames);
    message_put_delete(&(struct message_delete){7, {TOMBSTONE, sizeof TOMBSTONE - 1}}, &payload);
    put_frame(FRAME_DELETE, &payload, frames);
    bytes_fini(&payload);
}

/* GOLDEN_WRITE=1 makes the file anew: only when the version changes. */
Test(message, bytes_are_those_of_version_1)
{
    static uint8_t golden[4096];
    struct bytes frames = {0};
    size_t size;
    FILE *file;

    put_samples(&frames);
    if (getenv("GOLDEN_WRITE") != NULL) {
        file = fopen(GOLDEN_DIR "/frames_v1.bin", "wb");
        cr_assert_not_null(file);
        cr_assert_eq(fwrite(frames.data, 1, frames.size, file), frames.size);
        cr_assert_eq(fclose(file), 0);
    }
    file = fopen(GOLDEN_DIR "/frames_v1.bin", "rb");
    cr_assert_not_null(file);
    size = fread(golden, 1, sizeof golden, file);
    (void)fclose(file);
    cr_assert_eq(size, frames.size);
    cr_assert_eq(memcmp(golden, frames.data, size), 0);
    bytes_fini(&frames);
}
