/*
 * http_client.h - for tests of the HTTP server: a client on the same thread. The server's loop
 * turns whenever the client waits.
 */
#ifndef TESTS_UNIT_NODE_HTTP_CLIENT_H
#define TESTS_UNIT_NODE_HTTP_CLIENT_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <http_parser.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "storage/base/clk.h"
#include "tests/unit/node/http_fake.h"

enum { WAIT_MS = 20000 }; /* Longer than any machine is busy: only for tests that fail. */

/* Turns until something is so. */
#define TURN_UNTIL(condition)                                                  \
    do {                                                                       \
        uint64_t until_ms = clk_coarse_ms() + WAIT_MS;                         \
                                                                               \
        while (!(condition)) {                                                 \
            turn();                                                            \
            cr_assert_lt(clk_coarse_ms(), until_ms, "still not: " #condition); \
        }                                                                      \
    } while (0)

/* ---- A client ------------------------------------------------------------------------------ */

enum { ANSWERS_MAX = 64 };

struct client {
    int fd;
    http_parser parser;
    struct bytes raw, body; /* Of all answers. */
    unsigned answers;
    unsigned status[ANSWERS_MAX]; /* 100 Continue is one, too. */
    bool head;                    /* Answers have no body. */
    bool ended;
};

static inline int answer_body_cb(http_parser *parser, const char *at, size_t size)
{
    bytes_put(&((struct client *)parser->data)->body, at, size);
    return 0;
}

static inline int answer_headers_cb(http_parser *parser)
{
    return ((struct client *)parser->data)->head;
}

static inline int answer_complete_cb(http_parser *parser)
{
    struct client *client = parser->data;

    cr_assert_lt(client->answers, ANSWERS_MAX);
    client->status[client->answers++] = parser->status_code;
    return 0;
}

static inline struct client *dial(void)
{
    struct client *client = calloc(1, sizeof *client);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_server_port(site.server)),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};

    client->fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(client->fd, (struct sockaddr *)&address, sizeof address), 0, "%s",
                 strerror(errno));
    cr_assert_eq(fcntl(client->fd, F_SETFL, O_NONBLOCK), 0);
    http_parser_init(&client->parser, HTTP_RESPONSE);
    client->parser.data = client;
    return client;
}

static inline void hang_up(struct client *client)
{
    (void)close(client->fd);
    bytes_fini(&client->raw);
    bytes_fini(&client->body);
    free(client);
}

static inline void receive(struct client *client)
{
    static const http_parser_settings callbacks = {.on_headers_complete = answer_headers_cb,
                                                   .on_body = answer_body_cb,
                                                   .on_message_complete = answer_complete_cb};
    char room[16384];
    ssize_t size = recv(client->fd, room, sizeof room, 0);

    if (size == 0 || (size < 0 && errno != EAGAIN)) {
        client->ended = true;
    } else if (size > 0) {
        bytes_put(&client->raw, room, (size_t)size);
        cr_assert_eq(http_parser_execute(&client->parser, &callbacks, room, (size_t)size),
                     (size_t)size, "an answer is not HTTP: %.*s", (int)size, room);
    }
}

/* Until there are so many answers, or none can follow. */
static inline void wait_answers(struct client *client, unsigned answers)
{
    uint64_t until_ms = clk_coarse_ms() + WAIT_MS;

    while (client->answers < answers && !client->ended) {
        turn();
        receive(client);
        cr_assert_lt(clk_coarse_ms(), until_ms, "%u of %u answers: %.*s", client->answers, answers,
                     (int)client->raw.size, (const char *)client->raw.data);
    }
}

static inline void wait_end(struct client *client)
{
    wait_answers(client, UINT32_MAX);
}

/* All of it, while the loop turns; false if the server closed before. */
static inline bool post(struct client *client, const void *data, size_t size)
{
    uint64_t until_ms = clk_coarse_ms() + WAIT_MS;
    const char *at = data;

    while (size > 0) {
        ssize_t sent = send(client->fd, at, size, MSG_NOSIGNAL);

        if (sent < 0 && errno != EAGAIN)
            return false;
        at += sent > 0 ? sent : 0;
        size -= sent > 0 ? (size_t)sent : 0;
        turn();
        receive(client);
        cr_assert_lt(clk_coarse_ms(), until_ms, "%zu bytes do not leave", size);
    }
    return true;
}

static inline void say(struct client *client, const char *text)
{
    cr_assert(post(client, text, strlen(text)));
}

static inline bool raw_has(const struct client *client, const char *text)
{
    return client->raw.size > 0 &&
           memmem(client->raw.data, client->raw.size, text, strlen(text)) != NULL;
}

static inline void assert_raw(const struct client *client, const char *text)
{
    cr_assert(raw_has(client, text), "no \"%s\" in: %.*s", text, (int)client->raw.size,
              (const char *)client->raw.data);
}

/* One request, its answers up to the end of the connection. The caller hangs up. */
static inline struct client *ask(const char *request, unsigned status)
{
    struct client *client = dial();

    client->head = strncmp(request, "HEAD", 4) == 0;
    say(client, request);
    wait_answers(client, 1);
    cr_assert_eq(client->answers, 1, "%s: closed without an answer", request);
    cr_assert_eq(client->status[0], status, "%s: %u", request, client->status[0]);
    return client;
}

/* "POST url", length, body. */
static inline char *make_post(const char *url, const char *headers, const void *body, size_t size,
                              size_t *ret_size)
{
    struct bytes out = {0};
    char head[4096];

    (void)snprintf(head, sizeof head, "POST %s HTTP/1.1\r\n%sContent-Length: %zu\r\n\r\n", url,
                   headers, size);
    bytes_put(&out, head, strlen(head));
    if (size > 0)
        bytes_put(&out, body, size);
    *ret_size = out.size;
    bytes_put_u8(&out, 0);
    return (char *)out.data;
}

static inline struct bytes deflated(const void *data, size_t size)
{
    struct bytes out = {0};
    z_stream stream = {0};
    size_t bound;

    cr_assert_eq(deflateInit2(&stream, 6, Z_DEFLATED, 16 + 15, 8, Z_DEFAULT_STRATEGY), Z_OK);
    bound = deflateBound(&stream, size);
    stream.next_out = bytes_add(&out, bound);
    stream.avail_out = (uInt)bound;
    stream.next_in = (Bytef *)(uintptr_t)data;
    stream.avail_in = (uInt)size;
    cr_assert_eq(deflate(&stream, Z_FINISH), Z_STREAM_END);
    out.size -= stream.avail_out;
    (void)deflateEnd(&stream);
    return out;
}

#endif
