/*
 * Text becomes rows, whatever way it comes in, and every request ends once. What becomes of a line
 * is in test_ingest_lines.c.
 */
#include "tests/support/seed.h"
#include "tests/unit/node/ingest_fake.h"

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
