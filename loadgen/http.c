/* Rows as line protocol over HTTP/1.1: one request at a time on each connection, kept alive. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "client/wire/line_protocol.h"
#include "loadgen/run.h"
#include "storage/base/bytes.h"
#include "storage/base/clk.h"

enum { ANSWER_MAX = 64 * 1024, TIMEOUT_S = 20, RECONNECT_US = 50000 };

struct http {
    struct run_writer *writer;
    int fd; /* -1: not connected. */
    uint32_t node;
    struct bytes body;
    char **heads; /* Owned: table and tags of our own series, made on first use. */
    char names[PLAN_FIELDS_MAX][20];
    uint32_t name_sizes[PLAN_FIELDS_MAX];
    char answer[ANSWER_MAX];
};

/* ---- The connection ------------------------------------------------------------------------ */

static int connect_to(const struct addrinfo *address)
{
    struct timeval timeout = {.tv_sec = TIMEOUT_S};
    int on = 1;
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -1;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    if (connect(fd, address->ai_addr, address->ai_addrlen) != 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static int open_socket(const struct run_node *node)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found;
    char port[8];
    int fd = -1;

    (void)snprintf(port, sizeof port, "%u", node->http_port);
    if (getaddrinfo(node->host, port, &hints, &found) != 0)
        return -1;
    for (const struct addrinfo *at = found; at != NULL && fd < 0; at = at->ai_next)
        fd = connect_to(at);
    freeaddrinfo(found);
    return fd;
}

static void disconnect(struct http *http)
{
    if (http->fd >= 0)
        (void)close(http->fd);
    http->fd = -1;
    http->node = (http->node + 1) % http->writer->run->node_count;
}

static bool send_all(int fd, const void *bytes, size_t size)
{
    const char *at = bytes;

    while (size > 0) {
        ssize_t sent = send(fd, at, size, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return false;
        at += sent;
        size -= (size_t)sent;
    }
    return true;
}

/* Read one answer whole; its status, or -1. The body is at *ret_body, NUL-terminated. */
static int read_answer(struct http *http, const char **ret_body)
{
    size_t have = 0;

    for (;;) {
        ssize_t got = recv(http->fd, http->answer + have, ANSWER_MAX - 1 - have, 0);
        const char *end, *length;
        unsigned long body_size = 0;

        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return -1;
        have += (size_t)got;
        http->answer[have] = '\0';
        end = strstr(http->answer, "\r\n\r\n");
        if (end == NULL) {
            if (have == ANSWER_MAX - 1)
                return -1;
            continue;
        }
        length = strcasestr(http->answer, "content-length:");
        if (length != NULL && length < end)
            body_size = strtoul(length + strlen("content-length:"), NULL, 10);
        *ret_body = end + 4;
        if (have < (size_t)(end + 4 - http->answer) + body_size) {
            if (have == ANSWER_MAX - 1)
                return -1;
            continue;
        }
        return strncmp(http->answer, "HTTP/1.1 ", 9) == 0 ? (int)strtoul(http->answer + 9, NULL, 10)
                                                          : -1;
    }
}

static enum millrace_code code_of(int status)
{
    switch (status) {
    case 429:
        return MILLRACE_BUSY;
    case 503:
        return MILLRACE_UNAVAILABLE;
    case 413:
        return MILLRACE_TOO_LARGE;
    case 404:
        return MILLRACE_NOT_FOUND;
    case 422:
        return MILLRACE_LIMIT;
    default:
        return MILLRACE_INVALID;
    }
}

/* Post the body. Its rows are acknowledged (true), or nobody knows. */
static bool post(struct http *http)
{
    struct run_writer *writer = http->writer;
    const char *body = "";
    char head[512], text[RUN_TEXT_MAX];
    int size, status;

    if (http->fd < 0)
        http->fd = open_socket(&writer->run->nodes[http->node]);
    if (http->fd < 0) {
        run_error(writer, MILLRACE_IO, strerror(errno));
        disconnect(http);
        (void)usleep(RECONNECT_US);
        return false;
    }
    size =
        snprintf(head, sizeof head,
                 "POST /write?db=%s&precision=ns HTTP/1.1\r\nHost: %s\r\n"
                 "User-Agent: millrace-loadgen\r\nContent-Length: %zu\r\n\r\n",
                 writer->run->plan.database, writer->run->nodes[http->node].host, http->body.size);
    if (size < 0 || !send_all(http->fd, head, (size_t)size) ||
        !send_all(http->fd, http->body.data, http->body.size) ||
        (status = read_answer(http, &body)) < 0) {
        run_error(writer, MILLRACE_IO, "the connection broke before the answer came");
        disconnect(http);
        return false;
    }
    if (status >= 200 && status < 300)
        return true;
    (void)snprintf(text, sizeof text, "HTTP %d: %.200s", status, body);
    run_error(writer, code_of(status), text);
    if (status == 429 || status == 503)
        (void)usleep(RECONNECT_US);
    return false;
}

/* ---- The text ------------------------------------------------------------------------------ */

static const char *head_of(struct http *http, uint32_t series)
{
    const struct workload *workload = &http->writer->run->workload;
    char **known = &http->heads[series / workload->writers];
    struct workload_tag tags[WORKLOAD_TAGS_MAX];
    struct bytes text = {0};
    uint32_t count;

    if (*known != NULL)
        return *known;
    count = workload_tags(workload, series, tags);
    bytes_put(&text, workload_table(workload), strlen(workload_table(workload)));
    for (uint32_t i = 0; i < count; i++) {
        bytes_put_u8(&text, ',');
        bytes_put(&text, tags[i].name, strlen(tags[i].name));
        bytes_put_u8(&text, '=');
        bytes_put(&text, tags[i].value, strlen(tags[i].value));
    }
    bytes_put_u8(&text, '\0');
    if (text.failed)
        return "";
    *known = (char *)text.data; /* Owned by the list from here on. */
    return *known;
}

static uint8_t *put_digits(uint8_t *out, uint64_t value)
{
    char digits[20];
    int count = 0;

    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    while (count > 0)
        *out++ = (uint8_t)digits[--count];
    return out;
}

static uint8_t *put_value(uint8_t *out, int64_t value, bool integer)
{
    if (value < 0) {
        *out++ = '-';
        value = -value;
    }
    if (integer) {
        out = put_digits(out, (uint64_t)value);
        *out++ = 'i';
        return out;
    }
    out = put_digits(out, (uint64_t)value / 100);
    *out++ = '.';
    *out++ = (uint8_t)('0' + value % 100 / 10);
    *out++ = (uint8_t)('0' + value % 10);
    return out;
}

static void put_row(struct http *http, uint64_t row)
{
    struct run_writer *writer = http->writer;
    const struct workload *workload = &writer->run->workload;
    uint32_t series = workload_row_series(workload, writer->number, row);
    const char *head = head_of(http, series);
    size_t head_size = strlen(head);
    uint8_t *start = bytes_add(&http->body, head_size + 32 + workload->fields * 48u);
    uint8_t *out = start;

    if (start == NULL)
        return;
    memcpy(out, head, head_size);
    out += head_size;
    for (uint32_t f = 0; f < workload->fields; f++) {
        *out++ = f == 0 ? ' ' : ',';
        memcpy(out, http->names[f], http->name_sizes[f]);
        out += http->name_sizes[f];
        *out++ = '=';
        out =
            put_value(out, workload_value(workload, series, row, f), workload_is_integer(workload));
    }
    *out++ = ' ';
    out = put_digits(out, (uint64_t)workload_time(workload, writer->number, row));
    *out++ = '\n';
    http->body.size = (size_t)(out - http->body.data);
}

/* ---- The loop ------------------------------------------------------------------------------ */

static void count(struct http *http, uint64_t first, uint32_t rows, uint64_t points,
                  uint64_t since_ns)
{
    struct run_writer *writer = http->writer;

    atomic_fetch_add_explicit(&writer->rows, rows, memory_order_relaxed);
    atomic_fetch_add_explicit(&writer->points, points, memory_order_relaxed);
    atomic_fetch_add_explicit(&writer->requests, 1, memory_order_relaxed);
    histogram_record(&writer->latency, clk_now_ns() - since_ns);
    for (uint64_t row = first; writer->run->plan.verify && row < first + rows; row++)
        ledger_acknowledge(&writer->ledger, row);
}

static void generate(struct http *http)
{
    struct run_writer *writer = http->writer;
    const struct plan *plan = &writer->run->plan;
    uint64_t row = 0;

    while (run_pace(writer, row + plan->batch - 1)) {
        uint64_t due_ns = run_due_ns(writer, row);
        uint64_t since_ns;

        bytes_clear(&http->body);
        for (uint32_t i = 0; i < plan->batch; i++)
            put_row(http, row + i);
        if (plan->verify && ledger_reserve(&writer->ledger, row + plan->batch) != ERR_OK)
            http->body.failed = true;
        if (http->body.failed) {
            run_error(writer, MILLRACE_NO_MEMORY, "no memory for a request or its ledger");
            break;
        }
        since_ns = clk_now_ns();
        if (post(http))
            count(http, row, plan->batch, (uint64_t)plan->batch * plan->fields,
                  due_ns != 0 && due_ns < since_ns ? due_ns : since_ns);
        row += plan->batch;
    }
    writer->sent = row;
}

/* What is in a text: good rows and their fields. */
static void count_lines(const char *text, size_t size, uint32_t *ret_rows, uint64_t *ret_points)
{
    static _Thread_local struct line line; /* Too large for the stack. */
    struct line_parser parser;
    enum err err;

    *ret_rows = 0;
    *ret_points = 0;
    line_parser_init(&parser, 1);
    line_parser_feed(&parser, text, size, 0);
    while ((err = line_parser_next(&parser, &line)) != ERR_END) {
        if (err != ERR_OK)
            continue;
        (*ret_rows)++;
        *ret_points += line.field_count;
    }
    line_parser_fini(&parser);
}

static void replay(struct http *http)
{
    struct run_writer *writer = http->writer;
    const char *text;
    uint32_t rows;
    uint64_t points;
    size_t size;

    while (run_pace(writer, 0) && (size = run_replay(writer->run, &text)) > 0) {
        uint64_t since_ns;

        count_lines(text, size, &rows, &points);
        bytes_clear(&http->body);
        bytes_put(&http->body, text, size);
        since_ns = clk_now_ns();
        if (post(http))
            count(http, 0, rows, points, since_ns);
        writer->sent += rows;
    }
}

void *http_writer(void *arg)
{
    struct run_writer *writer = arg;
    const struct plan *plan = &writer->run->plan;
    uint32_t own = plan->series / plan->connections + 1;
    struct http *http = calloc(1, sizeof *http);

    if (http != NULL)
        http->heads = calloc(own, sizeof *http->heads);
    if (http == NULL || http->heads == NULL) {
        free(http);
        run_error(writer, MILLRACE_NO_MEMORY, "no memory for a writer");
        return NULL;
    }
    http->writer = writer;
    http->fd = -1;
    http->node = writer->number % writer->run->node_count;
    for (uint32_t f = 0; f < plan->fields; f++) {
        const char *name = workload_field(&writer->run->workload, f, http->names[f]);

        if (name != http->names[f])
            (void)snprintf(http->names[f], sizeof http->names[f], "%s", name);
        http->name_sizes[f] = (uint32_t)strlen(http->names[f]);
    }
    if (plan->workload == WORKLOAD_REPLAY)
        replay(http);
    else
        generate(http);
    if (http->fd >= 0)
        (void)close(http->fd);
    for (uint32_t i = 0; i < own; i++)
        free(http->heads[i]);
    free(http->heads);
    bytes_fini(&http->body);
    free(http);
    return NULL;
}
