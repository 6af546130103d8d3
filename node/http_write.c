#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/wire/line_protocol.h"
#include "node/http_internal.h"
#include "node/json_text.h"

/* ---- Parameters ---------------------------------------------------------------------------- */

static int hex_value(char c)
{
    if ('0' <= c && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return 'a' <= c && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undo %41 and + in place; false if a % is followed by no two hexadecimal digits, or a NUL is in
 * it. */
static bool decode(char *text)
{
    char *out = text;

    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '%') {
            int high = hex_value(at[1]);
            int low = high < 0 ? -1 : hex_value(at[2]);

            if (low < 0 || high * 16 + low == 0)
                return false;
            *out++ = (char)(high * 16 + low);
            at += 2;
        } else {
            *out++ = (char)(*at == '+' ? ' ' : *at);
        }
    }
    *out = '\0';
    return true;
}

/* The value of a parameter of the URL, decoded; "" if it is not there. False if it is damaged. */
static bool find_parameter(const struct http_conn *conn, const char *name,
                           char value[HTTP_URL_MAX + 1])
{
    const char *at = strchr(conn->request.url, '?');
    size_t name_size = strlen(name);

    value[0] = '\0';
    while (at != NULL) {
        size_t size = strcspn(++at, "&#");

        if (size > name_size && at[name_size] == '=' && memcmp(at, name, name_size) == 0) {
            memcpy(value, at + name_size + 1, size - name_size - 1);
            value[size - name_size - 1] = '\0';
            return decode(value);
        }
        at = at[size] == '&' ? at + size : NULL;
    }
    return true;
}

/* 0: none of the dialect's units. */
static int64_t time_unit(enum http_dialect dialect, const char *name)
{
    static const char *const long_names[][2] = {
        {"nanosecond", "ns"}, {"microsecond", "us"}, {"millisecond", "ms"}, {"second", "s"}};

    for (size_t i = 0; dialect == HTTP_V3 && i < sizeof long_names / sizeof *long_names; i++) {
        if (strcmp(name, long_names[i][0]) == 0)
            name = long_names[i][1];
    }
    if (strcmp(name, "\xc2\xb5") == 0) /* The micro sign, as 1.x takes it. */
        name = "us";
    return line_time_unit(name, strlen(name));
}

/* True if it is one; "" is `initial`. */
static bool parse_switch(const char *value, bool initial, bool *ret_value)
{
    *ret_value = value[0] == '\0' ? initial : strcmp(value, "true") == 0;
    return value[0] == '\0' || strcmp(value, "true") == 0 || strcmp(value, "false") == 0;
}

/* db=, bucket=DB/RP or bucket=DB; `default` without. */
static enum err read_database(const struct http_conn *conn, char value[HTTP_URL_MAX + 1])
{
    const char *name = conn->write.dialect == HTTP_V2 ? "bucket" : "db";

    if (!find_parameter(conn, name, value))
        return err_set(ERR_INVALID, "parameter %s: a %% has to be followed by two digits", name);
    if (conn->write.dialect == HTTP_V2)
        value[strcspn(value, "/")] = '\0';
    if (value[0] == '\0')
        (void)snprintf(value, HTTP_URL_MAX + 1, "default");
    if (strlen(value) > NAME_SIZE_MAX)
        return err_set(ERR_INVALID, "parameter %s: a name has at most %d bytes", name,
                       NAME_SIZE_MAX);
    for (const char *at = value; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || *at == 0x7f)
            return err_set(ERR_INVALID, "parameter %s: control characters are no name", name);
    }
    return ERR_OK;
}

static enum err read_precision(const struct http_conn *conn, int64_t *ret_unit_ns)
{
    char value[HTTP_URL_MAX + 1];

    if (!find_parameter(conn, "precision", value))
        value[0] = '?';
    *ret_unit_ns = conn->write.dialect == HTTP_V3 ? LINE_TIME_GUESSED : 1;
    if (value[0] == '\0' || (conn->write.dialect == HTTP_V3 && strcmp(value, "auto") == 0))
        return ERR_OK;
    *ret_unit_ns = time_unit(conn->write.dialect, value);
    if (*ret_unit_ns == 0)
        return err_set(ERR_INVALID, "invalid precision: %s",
                       conn->write.dialect == HTTP_V3
                           ? "use auto, nanosecond, microsecond, millisecond or second"
                           : "use ns, us, ms, s, m or h");
    return ERR_OK;
}

/* What each dialect asks about the way of writing. */
static enum err read_manner(struct http_conn *conn)
{
    char value[HTTP_URL_MAX + 1];
    bool accept_partial = true, no_sync = false;
    bool good;

    if (conn->write.dialect == HTTP_V1) {
        if (!find_parameter(conn, "consistency", value) || strcmp(value, "all") == 0)
            return err_set(ERR_INVALID, "consistency: every write is acknowledged when a majority "
                                        "has it on disk; \"all\" is not offered");
        return ERR_OK;
    }
    if (conn->write.dialect == HTTP_V2)
        return ERR_OK;
    good = find_parameter(conn, "accept_partial", value) &&
           parse_switch(value, true, &accept_partial) && find_parameter(conn, "no_sync", value) &&
           parse_switch(value, false, &no_sync);
    if (!good)
        return err_set(ERR_INVALID, "accept_partial and no_sync are true or false");
    if (no_sync)
        return err_set(ERR_INVALID, "no_sync=true is not offered: a write is acknowledged when a "
                                    "majority has it on disk, never before");
    conn->write.whole = !accept_partial;
    return ERR_OK;
}

/* ---- Taking text in ------------------------------------------------------------------------ */

static void done_cb(void *ctx, const struct ingest_result *result);

static enum err begin(struct http_conn *conn)
{
    const struct http_handlers *handlers = &conn->server->handlers;
    char database[HTTP_URL_MAX + 1];
    struct ingest_options options = {.database = database};
    enum err err = read_database(conn, database);

    if (err == ERR_OK)
        err = read_precision(conn, &options.time_unit_ns);
    if (err == ERR_OK)
        err = read_manner(conn);
    if (err != ERR_OK)
        return err;
    options.all_or_nothing = conn->write.whole;
    return handlers->ingest_begin(handlers->ingest, &options, done_cb, conn, &conn->write.ingest);
}

static void fail(struct http_conn *conn, enum err err)
{
    struct http_server *server = conn->server;

    err_save(&conn->write.failed, err);
    if (conn->write.ingest != NULL)
        server->handlers.ingest_abandon(conn->write.ingest);
    conn->write.ingest = NULL;
    server->collected -= conn->write.text.size;
    bytes_fini(&conn->write.text);
}

static void answer_result(struct http_conn *conn, const struct ingest_result *result);

static void answer_failure(struct http_conn *conn)
{
    struct ingest_result result = {.code = conn->write.failed.code, .retry_s = 1};

    (void)snprintf(result.text, sizeof result.text, "%s", conn->write.failed.detail);
    answer_result(conn, &result);
}

void http_write_begin(struct http_conn *conn)
{
    const char *path = conn->request.route->path;
    enum err err;

    conn->write.dialect = strcmp(path, "/write") == 0          ? HTTP_V1
                          : strcmp(path, "/api/v2/write") == 0 ? HTTP_V2
                                                               : HTTP_V3;
    err = begin(conn);
    if (err != ERR_OK)
        fail(conn, err); /* The body is read and dropped: the connection can be kept. */
}

/* For accept_partial=false: the text in one piece. All connections together may hold two of the
 * largest bodies. */
static void collect(struct http_conn *conn, const char *text, size_t size)
{
    struct http_server *server = conn->server;

    if (server->collected + size > 2 * server->options.body_bytes) {
        fail(conn, err_set(ERR_BUSY, "too much text waits for accept_partial=false"));
        return;
    }
    bytes_put(&conn->write.text, text, size);
    server->collected = server->collected + (conn->write.text.failed ? 0 : size);
    if (conn->write.text.failed)
        fail(conn, err_set(ERR_NO_MEMORY, "no memory for the body"));
}

void http_write_body(struct http_conn *conn, const char *text, size_t size)
{
    if (conn->write.ingest == NULL)
        return;
    if (conn->write.whole)
        collect(conn, text, size);
    else
        conn->server->handlers.ingest_text(conn->write.ingest, text, size, false);
}

void http_write_end(struct http_conn *conn)
{
    struct http_write *write = &conn->write;

    if (write->ingest == NULL) {
        answer_failure(conn);
        return;
    }
    conn->server->handlers.ingest_text(write->ingest,
                                       write->text.size > 0 ? (const char *)write->text.data : "",
                                       write->text.size, true);
    conn->server->collected -= write->text.size;
    bytes_fini(&write->text);
}

static void done_cb(void *ctx, const struct ingest_result *result)
{
    struct http_conn *conn = ctx;

    conn->write.ingest = NULL;
    answer_result(conn, result);
}

void http_write_reset(struct http_conn *conn)
{
    if (conn->write.ingest != NULL)
        conn->server->handlers.ingest_abandon(conn->write.ingest);
    conn->server->collected -= conn->write.text.size;
    bytes_fini(&conn->write.text);
    conn->write = (struct http_write){0};
}

/* ---- Answers ------------------------------------------------------------------------------- */

/* No line is malformed: what they say contradicts the schema, passes a limit or is too old. */
static bool all_semantic(const struct ingest_result *result)
{
    for (uint32_t i = 0; i < result->error_count; i++) {
        enum err code = result->errors[i].code;

        if (code != ERR_TYPE_CONFLICT && code != ERR_LIMIT && code != ERR_TOO_OLD)
            return false;
    }
    return result->error_count > 0;
}

/* Never 400 for what may pass, never 5xx for what will not: senders drop the one, and repeat the
 * other for ever. */
static unsigned status_of(const struct ingest_result *result)
{
    switch (result->code) {
    case ERR_OK:
        if (result->rejected == 0)
            return HTTP_STATUS_NO_CONTENT;
        return result->accepted == 0 && all_semantic(result) ? HTTP_STATUS_UNPROCESSABLE_ENTITY
                                                             : HTTP_STATUS_BAD_REQUEST;
    case ERR_INVALID:
        return all_semantic(result) ? HTTP_STATUS_UNPROCESSABLE_ENTITY : HTTP_STATUS_BAD_REQUEST;
    case ERR_TYPE_CONFLICT:
    case ERR_LIMIT:
    case ERR_TOO_OLD:
        return HTTP_STATUS_UNPROCESSABLE_ENTITY;
    case ERR_NOT_FOUND:
        return HTTP_STATUS_NOT_FOUND;
    case ERR_TOO_LARGE:
        return HTTP_STATUS_PAYLOAD_TOO_LARGE;
    case ERR_BUSY:
        return HTTP_STATUS_TOO_MANY_REQUESTS;
    case ERR_UNAVAILABLE:
    case ERR_NOT_LEADER:
    case ERR_TIMEOUT:
    case ERR_CANCELED:
    case ERR_DISK_FULL:
    case ERR_NO_MEMORY:
    case ERR_IO:
        return HTTP_STATUS_SERVICE_UNAVAILABLE;
    default:
        return HTTP_STATUS_INTERNAL_SERVER_ERROR;
    }
}

static void put(struct bytes *out, const char *text)
{
    bytes_put(out, text, strlen(text));
}

static void put_string(struct bytes *out, const char *text)
{
    json_text_put(out, (struct slice){text, strlen(text)});
}

static void put_number(struct bytes *out, const char *name, uint64_t number)
{
    char text[64];

    (void)snprintf(text, sizeof text, ",\"%s\":%" PRIu64, name, number);
    put(out, text);
}

enum { MESSAGE_MAX = 1024 };

/* The one sentence of 1.x and 2.x. */
static void make_message(enum http_dialect dialect, const struct ingest_result *result, char *out)
{
    const struct ingest_error *first = result->error_count > 0 ? &result->errors[0] : NULL;

    if (first == NULL || (result->code != ERR_OK && result->code != ERR_INVALID))
        (void)snprintf(out, MESSAGE_MAX, "%s", result->text);
    else if (dialect == HTTP_V2)
        (void)snprintf(out, MESSAGE_MAX,
                       "failed to parse line protocol: errors encountered on line(s): error "
                       "parsing line %" PRIu32 " (1-based): %s",
                       first->line, first->text);
    else if (first->code == ERR_INVALID)
        (void)snprintf(out, MESSAGE_MAX, "%sunable to parse '%s': %s dropped=%" PRIu64,
                       result->accepted > 0 ? "partial write: " : "", first->original, first->text,
                       result->rejected);
    else
        (void)snprintf(out, MESSAGE_MAX, "partial write: %s dropped=%" PRIu64, first->text,
                       result->rejected);
}

static void put_line(struct bytes *out, const struct ingest_error *error)
{
    put(out, "{\"original_line\":");
    put_string(out, error->original);
    put_number(out, "line_number", error->line);
    put(out, ",\"error_message\":");
    put_string(out, error->text);
    put(out, "}");
}

/* An array, or with accept_partial=false the first one alone. */
static void put_lines(struct bytes *out, const char *name, const struct ingest_result *result,
                      bool alone)
{
    uint32_t count = alone ? 1 : result->error_count;

    put(out, ",\"");
    put(out, name);
    put(out, alone ? "\":" : "\":[");
    for (uint32_t i = 0; i < count; i++) {
        put(out, i > 0 ? "," : "");
        put_line(out, &result->errors[i]);
    }
    put(out, alone ? "" : "]");
}

static void put_body(const struct http_write *write, unsigned status, const char *message,
                     const struct ingest_result *result, struct bytes *out)
{
    bool lines = result->error_count > 0;

    if (write->dialect == HTTP_V3) {
        put(out, "{\"error\":");
        put_string(out, !lines         ? message
                        : write->whole ? "parsing failed for write_lp endpoint"
                                       : "partial write of line protocol occurred");
        if (lines)
            put_lines(out, "data", result, write->whole);
    } else if (write->dialect == HTTP_V2) {
        put(out, "{\"code\":");
        put_string(out, http_route_code(status));
        put(out, ",\"message\":");
        put_string(out, message);
        if (lines)
            put_number(out, "line", result->errors[0].line);
    } else {
        put(out, "{\"error\":");
        put_string(out, message);
    }
    if (lines && write->dialect != HTTP_V3)
        put_lines(out, "lines", result, false);
    put_number(out, "accepted", result->accepted);
    put_number(out, "rejected", result->rejected);
    put(out, "}\n");
}

/* Retry-After, and the message as one line of ASCII. */
static void make_headers(unsigned status, const struct ingest_result *result, const char *message,
                         char *out, size_t room)
{
    char text[ERR_DETAIL_MAX];
    bool transient =
        status == HTTP_STATUS_TOO_MANY_REQUESTS || status == HTTP_STATUS_SERVICE_UNAVAILABLE;
    char retry[40] = "";

    (void)snprintf(text, sizeof text, "%.*s", (int)sizeof text - 1, message);
    for (char *at = text; *at != '\0'; at++)
        *at = 0x20 <= *at && *at < 0x7f ? *at : '?';
    if (transient)
        (void)snprintf(retry, sizeof retry, "Retry-After: %" PRIu32 "\r\n",
                       result->retry_s > 0 ? result->retry_s : 1);
    (void)snprintf(out, room, "%sX-Influxdb-Error: %s\r\n", retry, text);
}

static void answer_result(struct http_conn *conn, const struct ingest_result *result)
{
    unsigned status = status_of(result);
    char message[MESSAGE_MAX], headers[ERR_DETAIL_MAX + 80];
    struct bytes body = {0};

    if (status == HTTP_STATUS_NO_CONTENT) {
        http_answer(conn, &(struct http_answer){.status = status});
        return;
    }
    make_message(conn->write.dialect, result, message);
    make_headers(status, result, message, headers, sizeof headers);
    put_body(&conn->write, status, message, result, &body);
    http_answer(conn, &(struct http_answer){.status = status,
                                            .type = "application/json",
                                            .headers = headers,
                                            .body = {(const char *)body.data, body.size}});
    bytes_fini(&body);
}
