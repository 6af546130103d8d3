/*
 * Databases in the meta group: what the leader refuses, what the log decides whoever leads, and
 * when who asked is told.
 */
#include "tests/unit/node/meta_fake.h"

#define MINUTE_NS UINT64_C(60000000000)

static const struct schema_database *known(const char *name)
{
    return schema_map_database(meta_schema(meta), (struct slice){name, strlen(name)});
}

/* ---- From making to dropping --------------------------------------------------------------- */

Test(meta_database, a_database_is_made_altered_dropped_and_made_again)
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

Test(meta_database, a_database_that_a_write_makes_has_the_retention_of_the_settings)
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

Test(meta_database, changes_of_databases_end_when_leadership_goes)
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

Test(meta_database, retentions_that_make_no_sense_are_refused)
{
    open_meta();
    change(DATABASE_CREATE, "db", 1);
    cr_assert_eq(last_code, ERR_INVALID);
    change(DATABASE_CREATE, "db", UINT64_MAX);
    cr_assert_eq(last_code, ERR_INVALID);
    cr_assert_eq(proposed_count, 0);
    close_meta();
}

Test(meta_database, the_limits_of_a_retention_are_allowed_themselves)
{
    static const uint64_t good[] = {0, MINUTE_NS, 36500 * 24 * HOUR_NS};
    static const uint64_t bad[] = {1, MINUTE_NS - 1, 36500 * 24 * HOUR_NS + 1};
    char name[8];

    open_meta();
    for (unsigned i = 0; i < 3; i++) {
        (void)snprintf(name, sizeof name, "db%u", i);
        change(DATABASE_CREATE, name, good[i]);
        cr_assert_eq(last_code, ERR_OK, "%s", last_text);
        cr_assert_eq(known(name)->retention_ns, good[i]);
        change(DATABASE_ALTER, name, bad[i]);
        cr_assert_eq(last_code, ERR_INVALID);
        cr_assert_not_null(strstr(last_text, "allowed are one minute to 100 years, and 0 for ever"),
                           "%s", last_text);
        cr_assert_eq(known(name)->retention_ns, good[i]);
    }
    close_meta();
}

Test(meta_database, a_change_leaves_what_it_does_not_name)
{
    open_meta();
    database(&(struct message_database){.op = DATABASE_CREATE,
                                        .name = {"db", 2},
                                        .sets_retention = true,
                                        .sets_bytes = true,
                                        .sets_series = true,
                                        .retention_ns = HOUR_NS,
                                        .retention_bytes = 5,
                                        .series_max = 7});
    apply_all();
    database(&(struct message_database){.op = DATABASE_ALTER,
                                        .name = {"db", 2},
                                        .sets_bytes = true,
                                        .retention_ns = 3,
                                        .retention_bytes = 6,
                                        .series_max = 3});
    apply_all();
    cr_assert_eq(known("db")->retention_ns, HOUR_NS);
    cr_assert_eq(known("db")->retention_bytes, 6);
    cr_assert_eq(known("db")->series_max, 7);
    database(&(struct message_database){
        .op = DATABASE_ALTER, .name = {"db", 2}, .sets_series = true, .series_max = 0});
    apply_all();
    cr_assert_eq(known("db")->series_max, 0);
    cr_assert_eq(known("db")->retention_bytes, 6);
    meta_answer_databases(meta, UINT64_MAX);
    cr_assert_eq(done_count, 3);
    close_meta();
}

/* One made anew has nothing of the one that was dropped. */
Test(meta_database, one_that_is_made_again_begins_anew)
{
    open_meta();
    database(&(struct message_database){.op = DATABASE_CREATE,
                                        .name = {"db", 2},
                                        .sets_bytes = true,
                                        .sets_series = true,
                                        .retention_bytes = 5,
                                        .series_max = 7});
    apply_all();
    change(DATABASE_DROP, "db", 0);
    cr_assert(known("db")->dropped);
    cr_assert_eq(known("db")->drop, 2);
    cr_assert_eq(known("db")->dropped_ms, now_ms);
    now_ms += 10000;
    change(DATABASE_CREATE, "db", 0);
    cr_assert_not(known("db")->dropped);
    cr_assert_eq(known("db")->drop, 2, "whoever has not erased its rows yet still has to");
    cr_assert_eq(known("db")->retention_bytes, 0);
    cr_assert_eq(known("db")->series_max, 0);
    close_meta();
}

Test(meta_database, says_when_a_dropped_name_can_be_had_again)
{
    open_meta();
    change(DATABASE_CREATE, "db", 0);
    change(DATABASE_DROP, "db", 0);
    now_ms += 1;
    change(DATABASE_CREATE, "db", 0);
    cr_assert_eq(last_code, ERR_UNAVAILABLE);
    cr_assert_not_null(strstr(last_text, "make it again in 10 s"), "%s", last_text);
    cr_assert_eq(last_retry_ms, META_RETRY_MS);
    now_ms += 9998;
    change(DATABASE_CREATE, "db", 0);
    cr_assert_not_null(strstr(last_text, "make it again in 1 s"), "%s", last_text);
    change(DATABASE_ALTER, "db", 0);
    cr_assert_eq(last_code, ERR_NOT_FOUND);
    cr_assert_not_null(strstr(last_text, "there is no database \"db\": it was dropped"), "%s",
                       last_text);
    cr_assert_eq(last_retry_ms, 0);
    change(DATABASE_DROP, "other", 0);
    cr_assert_str_eq(last_text, "there is no database \"other\"");
    close_meta();
}

/* ---- What the log decides ------------------------------------------------------------------ */

Test(meta_database, of_two_that_make_the_same_the_first_in_the_log_does)
{
    open_meta();
    for (uint64_t i = 0; i < 2; i++)
        database(&(struct message_database){.op = DATABASE_CREATE,
                                            .name = {"db", 2},
                                            .sets_retention = true,
                                            .retention_ns = (i + 1) * HOUR_NS});
    cr_assert_eq(proposed_count, 2);
    cr_assert_eq(done_count, 0);
    apply_all();
    cr_assert_eq(done_count, 1, "the second is told at once");
    cr_assert_eq(last_code, ERR_INVALID);
    cr_assert_not_null(strstr(last_text, "database \"db\" exists; millrace db alter changes it"));
    meta_answer_databases(meta, UINT64_MAX);
    cr_assert_eq(done_count, 2);
    cr_assert_eq(last_code, ERR_OK);
    cr_assert_eq(known("db")->retention_ns, HOUR_NS);
    cr_assert_eq(database_lessons, 1 + 2, "each worker learns it once");
    close_meta();
}

Test(meta_database, there_is_an_end_to_them_on_every_replica_alike)
{
    char name[16];

    open_meta();
    for (unsigned i = 0; i < SCHEMA_DATABASES_MAX; i++) {
        (void)snprintf(name, sizeof name, "db%u", i);
        cr_assert_eq(schema_map_add_database(&meta->map, (struct slice){name, strlen(name)}),
                     ERR_OK);
    }
    change(DATABASE_CREATE, "more", 0);
    cr_assert_eq(last_code, ERR_LIMIT, "%s", last_text);
    cr_assert_eq(meta_applied(meta), 1, "the entry is applied: it has done nothing");
    cr_assert_null(known("more"));
    cr_assert_eq(database_lessons, 0);
    close_meta();
}

Test(meta_database, an_entry_that_cannot_be_read_stops_the_replica)
{
    static const uint8_t nonsense[] = {9, 9, 9};
    struct bytes body = {0};
    uint64_t index;

    open_meta();
    bytes_put(&body, nonsense, sizeof nonsense);
    cr_assert_eq(meta_propose(meta, ENTRY_DATABASE, &body, &index), ERR_OK);
    bytes_fini(&body);
    cr_assert_neq(meta_apply(meta, 1, proposed[0]), ERR_OK);
    cr_assert_not_null(strstr(err_detail(), "meta group: entry 1"), "%s", err_detail());
    cr_assert_eq(meta_applied(meta), 0);
    close_meta();
}

/* ---- When it is told ----------------------------------------------------------------------- */

Test(meta_database, who_asked_is_told_when_the_others_had_time_to_hear_of_it)
{
    uint64_t first_ms = now_ms;

    open_meta();
    database(&(struct message_database){.op = DATABASE_CREATE, .name = {"a", 1}});
    apply_all();
    now_ms += 50;
    database(&(struct message_database){.op = DATABASE_CREATE, .name = {"b", 1}});
    apply_all();
    meta_answer_databases(meta, first_ms + 199);
    cr_assert_eq(done_count, 0);
    meta_answer_databases(meta, first_ms + 200);
    cr_assert_eq(done_count, 1);
    meta_answer_databases(meta, first_ms + 249);
    cr_assert_eq(done_count, 1);
    meta_answer_databases(meta, first_ms + 250);
    cr_assert_eq(done_count, 2);
    close_meta();
}

/* It is done, whoever leads now. */
Test(meta_database, what_was_decided_is_told_even_if_leadership_goes_before)
{
    open_meta();
    database(&(struct message_database){.op = DATABASE_CREATE, .name = {"a", 1}});
    apply_all();
    database(&(struct message_database){.op = DATABASE_CREATE, .name = {"b", 1}});
    meta_lost(meta);
    cr_assert_eq(done_count, 2);
    cr_assert_eq(ok_count, 1);
    cr_assert_eq(last_code, ERR_UNAVAILABLE);
    cr_assert_not_null(strstr(last_text, "may be done or not; look at millrace db list"), "%s",
                       last_text);
    apply_all();
    cr_assert_eq(done_count, 2);
    close_meta();
}

Test(meta_database, a_list_has_those_that_are_there)
{
    open_meta();
    database(&(struct message_database){.op = DATABASE_LIST});
    cr_assert_eq(last_code, ERR_OK);
    cr_assert_eq(info_count, 0);
    change(DATABASE_CREATE, "a", HOUR_NS);
    change(DATABASE_CREATE, "b", 2 * HOUR_NS);
    change(DATABASE_DROP, "b", 0);
    database(&(struct message_database){.op = DATABASE_LIST});
    cr_assert_eq(info_count, 1);
    cr_assert_eq(last_info.retention_ns, HOUR_NS);
    leads = false; /* What it knows may be old. */
    database(&(struct message_database){.op = DATABASE_LIST});
    cr_assert_eq(last_code, ERR_NOT_LEADER);
    close_meta();
}
