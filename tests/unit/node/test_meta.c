/*
 * The meta group's state machine: who declares a field first decides its type, on every replica
 * alike, and a saved state is the same state. What it has of databases is in test_meta_database.c.
 */
#include "storage/base/crc32c.h"
#include "storage/base/twin.h"
#include "tests/support/seed.h"
#include "tests/unit/node/meta_fake.h"

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

/* What a later program has written is not damaged: the message leaves it to the operator. */
Test(meta, a_file_of_another_version_is_named)
{
    struct bytes bytes = {0};
    uint32_t crc;

    open_meta();
    meta_close(meta);
    meta_encode(&(struct schema_map){0}, 7, &bytes);
    bytes.data[8]++;
    crc = crc32c(0, bytes.data + 8, bytes.size - 8);
    memcpy(bytes.data + 4, &crc, sizeof crc);
    cr_assert_eq(twin_save(node.disk, directory, "meta.mrc", bytes.data, bytes.size), ERR_OK);
    bytes_fini(&bytes);
    cr_assert_eq(meta_open(&shard, false, &meta), ERR_VERSION);
    cr_assert_not_null(strstr(err_detail(), "/meta.mrc: written in version 3"), "%s", err_detail());
    remove_files();
}

Test(meta, saves_again_when_what_was_saved_is_damaged)
{
    open_meta();
    meta_tick(meta, now_ms);
    cr_assert_null(job, "nothing has changed");
    meta_save_again(meta);
    meta_tick(meta, now_ms);
    cr_assert_not_null(job);
    job->run(job);
    job->done(job);
    job = NULL;
    meta_tick(meta, now_ms);
    cr_assert_null(job, "once");
    close_meta();
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

Test(meta, the_state_of_another_node_is_there_after_a_start)
{
    struct bytes state = {0};
    struct schema_map map = {0};
    struct slice bytes;

    open_meta();
    declare("db", "a", FIELD_FLOAT);
    apply_all();
    cr_assert_eq(
        schema_map_add(&map, (struct slice){"\002db\001t", 5}, (struct slice){"b", 1}, FIELD_INT),
        ERR_OK);
    meta_encode(&map, 70, &state);
    schema_map_fini(&map);
    bytes = (struct slice){(const char *)state.data, state.size};
    cr_assert_eq(meta_install(&node, bytes, 71), ERR_INVALID); /* It is of another index. */
    bytes.size--;
    cr_assert_eq(meta_install(&node, bytes, 70), ERR_CORRUPT);
    bytes.size++;
    cr_assert_eq(meta_install(&node, bytes, 70), ERR_OK, "%s", err_detail());
    bytes_fini(&state);

    meta_close(meta);
    cr_assert_eq(meta_open(&shard, true, &meta), ERR_OK); /* It comes from another node. */
    cr_assert_eq(meta_applied(meta), 0);
    cr_assert_eq(meta_schema(meta)->count, 0);
    meta_close(meta);
    cr_assert_eq(meta_open(&shard, false, &meta), ERR_OK);
    cr_assert_eq(meta_applied(meta), 70);
    cr_assert_eq(meta_saved(meta), 70);
    cr_assert_eq(schema_map_find(meta_schema(meta), (struct slice){"\002db\001t", 5},
                                 (struct slice){"b", 1}),
                 FIELD_INT);
    cr_assert_eq(meta_schema(meta)->count, 1);
    close_meta();
}
