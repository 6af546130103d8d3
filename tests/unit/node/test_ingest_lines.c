/*
 * A line of text: what is wrong with it is said with its number, its times are within what the
 * database keeps, and its types are asked for once.
 */
#include "tests/unit/node/ingest_fake.h"

/* ---- Bad lines ----------------------------------------------------------------------------- */

Test(ingest_lines, names_bad_lines_and_stores_the_others)
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

Test(ingest_lines, counts_more_bad_lines_than_it_names)
{
    struct bytes text = {0};

    open_ingest();
    for (unsigned i = 0; i < INGEST_ERRORS_MAX + 8; i++)
        bytes_put(&text, "t,k=a v=\n", 9);
    bytes_put(&text, "t,k=a v=0i 1\n", 14);
    give(begin(false), (char *)text.data, true);
    settle();
    cr_assert_eq(result.rejected, INGEST_ERRORS_MAX + 8);
    cr_assert_eq(result.error_count, INGEST_ERRORS_MAX);
    cr_assert_eq(errors[INGEST_ERRORS_MAX - 1].line, INGEST_ERRORS_MAX);
    cr_assert_eq(result.accepted, 1);
    bytes_fini(&text);
    close_ingest();
}

Test(ingest_lines, shows_the_beginning_of_a_long_line)
{
    char text[1000];

    open_ingest();
    (void)snprintf(text, sizeof text, "t,k=%0500d v=x 1\nt,k=a v=0i 1\n", 0);
    give(begin(false), text, true);
    settle();
    cr_assert_eq(result.error_count, 1);
    cr_assert_eq(strlen(errors[0].original), sizeof errors[0].original - 1);
    cr_assert_eq(strncmp(errors[0].original, text, strlen(errors[0].original)), 0);
    close_ingest();
}

Test(ingest_lines, says_both_types_of_a_field_that_has_another)
{
    open_ingest();
    give(begin(false), "t,k=a v=0i 1\nt,k=a v=\"s\" 2\n", true);
    settle();
    cr_assert_eq(errors[0].code, ERR_TYPE_CONFLICT);
    cr_assert_str_eq(errors[0].text,
                     "field type conflict: input field \"v\" on measurement \"t\" is type string, "
                     "already exists as type integer");
    close_ingest();
}

/* The line before it has waited for types meanwhile. */
Test(ingest_lines, numbers_lines_behind_a_pause_rightly)
{
    struct ingest_request *request;

    open_ingest();
    request = begin(false);
    give(request, "\n# a comment\nt,k=a v=0i 1\nt,k=a v= 2\nu,", false);
    cr_assert_eq(asked_count, 1);
    give(request, "k=a v=1i 3\n\nu,k=a v= 4\n", true);
    settle();
    cr_assert_eq(result.rejected, 2);
    cr_assert_eq(errors[0].line, 4);
    cr_assert_eq(errors[1].line, 7);
    expect_stored(0, 2);
    close_ingest();
}

/* ---- Times ------------------------------------------------------------------------------- */

Test(ingest_lines, refuses_times_too_far_ahead)
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

Test(ingest_lines, refuses_lines_that_the_database_does_not_keep)
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

Test(ingest_lines, refuses_lines_before_the_cutoff_of_their_shard)
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

Test(ingest_lines, says_what_is_kept_and_what_is_allowed)
{
    const struct schema_database hour = {.retention_ns = UINT64_C(3600000000000)};

    node.options.limits.future_ms = 90000;
    open_ingest();
    know(&hour);
    give(begin(false), "t,k=a v=0i 5\nt,k=a v=1i 9223372036854775806\nt,k=a v=0i\n", true);
    settle();
    cr_assert_eq(errors[0].code, ERR_TOO_OLD);
    cr_assert_eq(
        strncmp(errors[0].text, "time 5 ns is beyond the retention of database \"db\": ", 51), 0,
        "%s", errors[0].text);
    cr_assert_eq(errors[1].code, ERR_INVALID);
    cr_assert_str_eq(errors[1].text, "time 9223372036854775806 ns is more than limits.future (90 "
                                     "s) ahead of this node's clock");
    expect_stored(0, 1); /* A line without a time has that of its request. */
    close_ingest();
}

Test(ingest_lines, takes_any_time_where_nothing_limits_it)
{
    open_ingest();
    give(begin(false),
         "t,k=a v=0i -9223372036854775806\nt,k=a v=1i 0\nt,k=a v=2i 9223372036854775806\n", true);
    settle();
    cr_assert_eq(result.rejected, 0, "%s", errors[0].text);
    expect_stored(0, 3);
    close_ingest();
}

/* ---- Types --------------------------------------------------------------------------------- */

Test(ingest_lines, asks_once_for_the_types_of_a_line)
{
    open_ingest();
    give(begin(false), "t,k=a v=0i,w=1,x=t 1\nt,k=b v=1i,x=f,w=2 2\nt v=2i 3\n", true);
    settle();
    cr_assert_eq(ask_total, 1);
    cr_assert_eq(result.accepted, 3);
    close_ingest();
}

Test(ingest_lines, asks_again_when_nobody_could_tell_and_gives_up_in_the_end)
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

Test(ingest_lines, tells_why_there_are_no_types)
{
    open_ingest();
    give(begin(false), "t,k=a v=0i 1\n", true);
    refuse_types(ERR_NOT_FOUND);
    turn();
    cr_assert_eq(result.code, ERR_NOT_FOUND);
    cr_assert_str_eq(result.text, "told to");
    close_ingest();
}

Test(ingest_lines, asks_for_a_field_that_comes_later_alone)
{
    open_ingest();
    give(begin(false), "t,k=a v=0i 1\nt,k=a v=1i,w=1 2\nt,k=b w=2,v=2i 3\n", true);
    settle();
    cr_assert_eq(ask_total, 2);
    cr_assert_eq(result.accepted, 3);
    close_ingest();
}

Test(ingest_lines, asks_again_when_it_was_told_to)
{
    static const struct {
        uint32_t told_ms, waits_ms;
    } cases[] = {{0, 50}, {200, 200}, {999, 999}, {1000, 1000}, {60000, 1000}};

    open_ingest();
    give(begin(false), "t,k=a v=0i 1\n", true);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint64_t from_ms = now_ms;

        refuse_retry_ms = cases[i].told_ms;
        refuse_types(ERR_BUSY);
        now_ms = from_ms + cases[i].waits_ms - 1;
        ingest_flush(ingest);
        cr_assert_eq(asked_count, 0, "told %u", cases[i].told_ms);
        now_ms++;
        ingest_flush(ingest);
        cr_assert_eq(asked_count, 1, "told %u", cases[i].told_ms);
    }
    settle();
    cr_assert_eq(result.accepted, 1);
    close_ingest();
}

Test(ingest_lines, a_leader_that_stays_away_is_no_error_of_the_sender)
{
    open_ingest();
    give(begin(false), "t,k=a v=0i 1\n", true);
    now_ms += 10000;
    refuse_types(ERR_NOT_LEADER);
    settle();
    cr_assert_eq(result.code, ERR_UNAVAILABLE);
    cr_assert_eq(result.retry_s, 1);
    cr_assert_eq(result.rejected, 0);
    close_ingest();
}

Test(ingest_lines, types_that_cannot_be_learnt_end_the_request)
{
    open_ingest();
    give(begin(false), "t,k=a v=0i 1\nt,k=a v=1i 2\n", true);
    learn_says = ERR_LIMIT;
    settle();
    cr_assert_eq(done_count, 1);
    cr_assert_eq(result.code, ERR_LIMIT);
    cr_assert_str_eq(result.text, "cannot learn");
    cr_assert_eq(result.accepted, 0);
    cr_assert_eq(ask_total, 1);
    close_ingest();
}

/* What one request waits for does not hold others back. */
Test(ingest_lines, a_pause_is_of_one_request_alone)
{
    struct ingest_request *waiting;

    open_ingest();
    give(begin(false), "t,k=a v=0i 1\n", true);
    settle();
    waiting = begin(false);
    give(waiting, "new,k=a v=9i 1\n", true);
    give(begin(false), "t,k=a v=1i 2\n", true);
    turn();
    while (sent_count > 0)
        answer_block();
    turn();
    cr_assert_eq(done_count, 2);
    expect_stored(0, 2);
    ingest_abandon(waiting);
    settle();
    close_ingest();
}

/* ---- Blocks ------------------------------------------------------------------------------ */

/* A block has 1024 tables at most, and a table of it 1024 fields. */
Test(ingest_lines, more_tables_and_fields_than_a_block_holds_go_into_several)
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

/* As many fields as a table may have, and one more. */
Test(ingest_lines, a_line_has_so_many_fields_and_no_more)
{
    struct bytes text = {0};
    char field[32];

    open_ingest();
    for (unsigned over = 0; over < 2; over++) {
        bytes_put(&text, "wide v=", 7);
        (void)snprintf(field, sizeof field, "%ui", over);
        bytes_put(&text, field, strlen(field));
        for (unsigned i = 1; i < FIELD_COUNT_MAX + over; i++) {
            (void)snprintf(field, sizeof field, ",f%u=%u", i, i);
            bytes_put(&text, field, strlen(field));
        }
        bytes_put(&text, " 1\n", 3);
    }
    bytes_put_u8(&text, '\0');
    give(begin(false), (char *)text.data, true);
    settle();
    cr_assert_eq(result.accepted, 1);
    cr_assert_eq(result.rejected, 1);
    cr_assert_eq(errors[0].code, ERR_LIMIT);
    cr_assert_eq(errors[0].line, 2);
    cr_assert_eq(ask_total, 1);
    expect_stored(0, 1);
    bytes_fini(&text);
    close_ingest();
}
