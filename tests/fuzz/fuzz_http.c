/*
 * HTTP from anybody, over a real socket, into the server with an ingest that takes everything. The
 * input is requests; its first byte says in how many pieces they are sent. The server has to
 * answer or to close, and to be gone without a trace at the end.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "node/http.h"
#include "storage/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- An ingest that takes everything ------------------------------------------------------- */

struct ingest_request {
    ingest_done_cb done;
    void *ctx;
    bool ended;
};

static struct ingest_request *under_way; /* One connection has one at most. */
static volatile char sink;

static enum err take_begin(struct ingest *ingest, const struct ingest_options *options,
                           ingest_done_cb done, void *ctx, struct ingest_request **ret_request)
{
    (void)ingest;
    CHECK(under_way == NULL);
    CHECK(strlen(options->database) > 0);
    under_way = calloc(1, sizeof *under_way);
    CHECK(under_way != NULL);
    *under_way = (struct ingest_request){.done = done, .ctx = ctx};
    *ret_request = under_way;
    return ERR_OK;
}

static void take_text(struct ingest_request *request, const char *text, size_t size, bool last)
{
    CHECK(request == under_way);
    CHECK(!request->ended);
    request->ended = last;
    for (size_t i = 0; i < size; i++)
        sink = text[i];
}

static void take_abandon(struct ingest_request *request)
{
    CHECK(request == under_way);
    free(request);
    under_way = NULL;
}

static void finish(void)
{
    static const struct ingest_result result = {.code = ERR_OK};
    struct ingest_request *request = under_way;

    if (request == NULL || !request->ended)
        return;
    under_way = NULL;
    request->done(request->ctx, &result);
    free(request);
}

/* ---- A server and a client ----------------------------------------------------------------- */

static uv_loop_t loop;
static struct http_server *server;
static atomic_uint connections;

static enum err ready(void *ctx, char *why, size_t room)
{
    (void)ctx;
    why[room - 1] = '\0';
    return ERR_OK;
}

static void page(void *ctx, struct bytes *out)
{
    (void)ctx;
    bytes_put(out, "{}", 2);
}

static void start(void)
{
    struct http_options options = {.host = "127.0.0.1",
                                   .body_bytes = 65536,
                                   .idle_ms = 1000,
                                   .connections_max = 4,
                                   .connections = &connections,
                                   .version = "0"};
    struct http_handlers handlers = {.ready = ready,
                                     .metrics = page,
                                     .status = page,
                                     .ingest_begin = take_begin,
                                     .ingest_text = take_text,
                                     .ingest_abandon = take_abandon};

    CHECK(uv_loop_init(&loop) == 0);
    CHECK(http_server_new(&loop, &options, &handlers, &server) == ERR_OK);
}

static int dial(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(http_server_port(server)),
                                  .sin_addr = {htonl(INADDR_LOOPBACK)}};
    struct linger reset = {.l_onoff = 1}; /* No port waits for late packets. */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool connected;

    CHECK(fd >= 0);
    CHECK(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset) == 0);
    do { /* libFuzzer's timer interrupts it now and then. */
        connected =
            connect(fd, (const struct sockaddr *)&address, sizeof address) == 0 || errno == EISCONN;
    } while (!connected && (errno == EINTR || errno == EALREADY));
    CHECK(connected);
    CHECK(fcntl(fd, F_SETFL, O_NONBLOCK) == 0);
    return fd;
}

static void turn(int fd)
{
    char room[4096];

    for (int i = 0; i < 4; i++) {
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        finish();
    }
    while (recv(fd, room, sizeof room, 0) > 0)
        continue;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t pieces, at = 1;
    int fd;

    if (size < 2)
        return 0;
    if (server == NULL)
        start();
    pieces = data[0] % 8 + (size_t)1;
    fd = dial();
    while (at < size) {
        size_t piece = (size - at + pieces - 1) / pieces;
        ssize_t sent = send(fd, data + at, piece, MSG_NOSIGNAL);

        if (sent < 0)
            break;
        at += (size_t)sent;
        pieces = pieces > 1 ? pieces - 1 : 1;
        turn(fd);
    }
    turn(fd);
    (void)close(fd);
    for (int i = 0; i < 100 && atomic_load(&connections) > 0; i++) {
        (void)uv_run(&loop, UV_RUN_NOWAIT);
        finish();
    }
    CHECK(atomic_load(&connections) == 0);
    CHECK(under_way == NULL);
    return 0;
}
