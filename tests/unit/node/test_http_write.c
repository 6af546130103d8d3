/*
 * Writes over HTTP: parameters, bodies, and what each dialect says of what became of them.
 */
#include <jansson.h>

#include "tests/unit/node/http_client.h"

/* ---- Writes -------------------------------------------------------------------------------- */

Test(http_write, hands_the_body_to_the_ingest_and_answers_204, .init = start, .fini = stop)
{
    struct client *client =
        ask("POST /write?db=mydb HTTP/1.1\r\nContent-Length: 7\r\n\r\nm v=1 5", 204);

    cr_assert(text_is("m v=1 5"));
    cr_assert_str_eq(site.ingest.database, "mydb");
    cr_assert_not(raw_has(client, "Content-Length"));
    assert_raw(client, "X-Influxdb-Version: 1.8-millrace0.1.0\r\n");
    assert_raw(client, " GMT\r\n");
    hang_up(client);
}

Test(http_write, reads_the_parameters_of_each_dialect, .init = start, .fini = stop)
{
    static const struct {
        const char *url, *database;
        int64_t unit;
        bool whole;
    } cases[] = {
        {"/write", "default", 1, false},
        {"/write?db=a", "a", 1, false},
        {"/write?db=a&rp=autogen&u=x&p=y&consistency=quorum", "a", 1, false},
        {"/write?precision=s&db=a", "a", 1000000000, false},
        {"/write?db=a&precision=n", "a", 1, false},
        {"/write?db=a&precision=u", "a", 1000, false},
        {"/write?db=a&precision=%C2%B5", "a", 1000, false},
        {"/write?db=a&precision=ms", "a", 1000000, false},
        {"/write?db=a&precision=h", "a", 3600000000000, false},
        {"/write?db=a%20b%2fc+d%26e&x=y", "a b/c d&e", 1, false},
        {"/write?xdb=z&db=a&db=b", "a", 1, false},
        {"/api/v2/write?org=o&bucket=b&precision=us", "b", 1000, false},
        {"/api/v2/write?bucket=b/autogen", "b", 1, false},
        {"/api/v2/write?bucket=b%2Fautogen", "b", 1, false},
        {"/api/v2/write", "default", 1, false},
        {"/api/v3/write_lp?db=d", "d", 0, false},
        {"/api/v3/write_lp?db=d&precision=auto", "d", 0, false},
        {"/api/v3/write_lp?db=d&precision=nanosecond", "d", 1, false},
        {"/api/v3/write_lp?db=d&precision=second&accept_partial=true&no_sync=false", "d",
         1000000000, false},
        {"/api/v3/write_lp?db=d&accept_partial=false", "d", 0, true},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size;
        char *request = make_post(cases[i].url, "", "m v=1", 5, &size);
        struct client *client = ask(request, 204);

        cr_assert_str_eq(site.ingest.database, cases[i].database, "%s", cases[i].url);
        cr_assert_eq(site.ingest.time_unit_ns, cases[i].unit, "%s", cases[i].url);
        cr_assert_eq(site.ingest.all_or_nothing, cases[i].whole, "%s", cases[i].url);
        free(request);
        hang_up(client);
    }
}

Test(http_write, refuses_bad_parameters_and_says_which, .init = start, .fini = stop)
{
    static const char *const cases[][2] = {
        {"/write?db=a&precision=sec", "invalid precision: use ns, us, ms, s, m or h"},
        {"/write?db=a&precision=%zz", "invalid precision"},
        {"/write?db=%", "parameter db: a % has to be followed by two digits"},
        {"/write?db=%4", "parameter db: a % has"},
        {"/write?db=%00", "parameter db: a % has"},
        {"/write?db=a%0ab", "parameter db: control characters"},
        {"/write?db=a&consistency=all", "consistency: every write is acknowledged when a majority"},
        {"/api/v2/write?bucket=%f", "parameter bucket: a %"},
        {"/api/v3/write_lp?db=d&no_sync=true", "no_sync=true is not offered"},
        {"/api/v3/write_lp?db=d&accept_partial=maybe", "accept_partial and no_sync are true or"},
        {"/api/v3/write_lp?db=d&precision=year", "invalid precision: use auto, nanosecond"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        size_t size;
        char *request = make_post(cases[i][0], "", "m v=1", 5, &size);
        struct client *client = ask(request, 400);

        assert_raw(client, cases[i][1]);
        assert_raw(client, "X-Influxdb-Error: ");
        free(request);
        hang_up(client);
    }
    cr_assert_eq(site.ingest.begun, 0);
}

Test(http_write, takes_chunks, .init = start, .fini = stop)
{
    struct client *client = ask("POST /write HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                                "5\r\nm v=1\r\n3;x=y\r\n 5\n\r\n0\r\nTrailer: x\r\n\r\n",
                                204);

    cr_assert(text_is("m v=1 5\n"));
    hang_up(client);
}

Test(http_write, takes_a_body_larger_than_any_buffer, .init = start, .fini = stop)
{
    size_t size, body_size = 7 * 1024 * 1024;
    char *body = malloc(body_size), *request;
    struct client *client = dial();

    for (size_t i = 0; i < body_size; i++)
        body[i] = (char)('a' + i * 31 % 26);
    request = make_post("/write", "", body, body_size, &size);
    cr_assert(post(client, request, size));
    wait_answers(client, 1);
    cr_assert_eq(client->status[0], 204);
    cr_assert_eq(site.ingest.text.size, body_size);
    cr_assert_eq(memcmp(site.ingest.text.data, body, body_size), 0);
    cr_assert_leq(site.ingest.piece_max, 256 * 1024);
    free(body);
    free(request);
    hang_up(client);
}

Test(http_write, gives_an_all_or_nothing_text_in_one_piece, .init = start, .fini = stop)
{
    size_t size, body_size = 1024 * 1024;
    char *body = malloc(body_size), *request;
    struct client *client = dial();

    memset(body, 'x', body_size);
    request = make_post("/api/v3/write_lp?accept_partial=false", "", body, body_size, &size);
    cr_assert(post(client, request, size));
    wait_answers(client, 1);
    cr_assert_eq(client->status[0], 204);
    cr_assert_eq(site.ingest.pieces, 1);
    cr_assert_eq(site.ingest.piece_max, body_size);
    free(body);
    free(request);
    hang_up(client);
}

/* ---- What the ingest says ------------------------------------------------------------------ */

static struct ingest_error two_errors[2] = {
    {.line = 2,
     .code = ERR_INVALID,
     .text = "field \"v\": \"x\" is not a number",
     .original = "m v=x"},
    {.line = 5,
     .code = ERR_TYPE_CONFLICT,
     .text = "field type conflict: field \"t\" is a float",
     .original = "m t=\"\xff"},
};

static void assert_answer(const char *url, unsigned status, const char *const *parts, size_t count)
{
    size_t size;
    char *request = make_post(url, "", "m v=1", 5, &size);
    struct client *client = ask(request, status);
    json_t *json = json_loadb((const char *)client->body.data, client->body.size, 0, NULL);

    cr_assert_not_null(json, "no JSON: %.*s", (int)client->body.size,
                       (const char *)client->body.data);
    json_decref(json);
    for (size_t i = 0; i < count; i++)
        assert_raw(client, parts[i]);
    say(client, "GET /ping HTTP/1.1\r\n\r\n"); /* The connection goes on. */
    wait_answers(client, 2);
    cr_assert_eq(client->status[1], 204);
    free(request);
    hang_up(client);
}

#define ASSERT_ANSWER(url, status, ...)                                  \
    do {                                                                 \
        const char *const parts[] = {__VA_ARGS__};                       \
        assert_answer(url, status, parts, sizeof parts / sizeof *parts); \
    } while (0)

Test(http_write, names_bad_lines_in_the_words_of_each_dialect, .init = start, .fini = stop)
{
    site.ingest.result = (struct ingest_result){
        .code = ERR_OK, .accepted = 3, .rejected = 2, .error_count = 2, .errors = two_errors};
    ASSERT_ANSWER(
        "/write", 400,
        "{\"error\":\"partial write: unable to parse 'm v=x': field \\\"v\\\": \\\"x\\\" is "
        "not a number dropped=2\"",
        "\"accepted\":3,\"rejected\":2}", "\"line_number\":5",
        "X-Influxdb-Error: partial write: unable to parse");
    ASSERT_ANSWER("/api/v2/write", 400,
                  "{\"code\":\"invalid\",\"message\":\"failed to parse line protocol: errors "
                  "encountered on line(s): error parsing line 2 (1-based): field",
                  ",\"line\":2,", "\"accepted\":3,\"rejected\":2}");
    ASSERT_ANSWER("/api/v3/write_lp", 400,
                  "{\"error\":\"partial write of line protocol occurred\",\"data\":[{"
                  "\"original_line\":\"m v=x\",\"line_number\":2,\"error_message\":\"field",
                  "\"original_line\":\"m t=\\\"\xef\xbf\xbd\"", "\"accepted\":3");
    site.ingest.result.code = ERR_INVALID;
    site.ingest.result.accepted = 0;
    ASSERT_ANSWER("/api/v3/write_lp?accept_partial=false", 400,
                  "{\"error\":\"parsing failed for write_lp endpoint\",\"data\":{"
                  "\"original_line\":\"m v=x\",\"line_number\":2",
                  "\"accepted\":0,\"rejected\":2}");
}

Test(http_write, says_422_when_the_meaning_and_not_the_form_is_refused, .init = start, .fini = stop)
{
    site.ingest.result = (struct ingest_result){
        .code = ERR_OK, .rejected = 1, .error_count = 1, .errors = two_errors + 1};
    ASSERT_ANSWER("/write", 422,
                  "{\"error\":\"partial write: field type conflict: field \\\"t\\\" is a float "
                  "dropped=1\"");
    ASSERT_ANSWER("/api/v2/write", 422, "\"code\":\"unprocessable entity\"");
    site.ingest.result.accepted = 1;
    ASSERT_ANSWER("/write", 400, "\"accepted\":1,\"rejected\":1}");
}

Test(http_write, tells_senders_to_come_back_from_what_may_pass, .init = start, .fini = stop)
{
    static const struct {
        enum err code;
        unsigned status;
        bool transient;
    } cases[] = {
        {ERR_BUSY, 429, true},           {ERR_UNAVAILABLE, 503, true}, {ERR_TIMEOUT, 503, true},
        {ERR_DISK_FULL, 503, true},      {ERR_NOT_LEADER, 503, true},  {ERR_CANCELED, 503, true},
        {ERR_NO_MEMORY, 503, true},      {ERR_NOT_FOUND, 404, false},  {ERR_TOO_LARGE, 413, false},
        {ERR_TYPE_CONFLICT, 422, false}, {ERR_LIMIT, 422, false},      {ERR_INVALID, 400, false},
        {ERR_CORRUPT, 500, false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        site.ingest.result =
            (struct ingest_result){.code = cases[i].code, .text = "because\r\nX: y", .retry_s = 7};
        ASSERT_ANSWER("/write", cases[i].status, "{\"error\":\"because\\u000d\\nX: y\"",
                      "X-Influxdb-Error: because??X: y\r\n",
                      cases[i].transient ? "Retry-After: 7\r\n" : "HTTP/1.1 ");
        site.ingest.result = (struct ingest_result){0};
        site.ingest.refuse = cases[i].code;
        ASSERT_ANSWER("/api/v2/write", cases[i].status, "\"message\":\"told to refuse\"",
                      cases[i].transient ? "Retry-After: 1\r\n" : "HTTP/1.1 ");
        site.ingest.refuse = ERR_OK;
    }
}
