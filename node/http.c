#include "node/http.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "node/http_internal.h"
#include "storage/base/check.h"
#include "storage/base/log_line.h"

enum { BACKLOG = 1024 };

/* ---- Time ---------------------------------------------------------------------------------- */

static void sweep_cb(uv_timer_t *timer)
{
    struct http_server *server = timer->data;
    uint64_t now_ms = uv_now(server->loop);

    for (struct http_conn *conn = server->conns, *next; conn != NULL; conn = next) {
        next = conn->next;
        http_conn_check_time(conn, now_ms);
    }
    if (server->accept_later && server->listening)
        http_conn_accept(server);
    if (server->conns == NULL && !server->accept_later)
        (void)uv_timer_stop(timer);
}

/* Often enough for the shortest limit, seldom enough to cost nothing. */
static uint64_t sweep_period_ms(const struct http_server *server)
{
    uint64_t period_ms = server->options.idle_ms / 4;

    return period_ms < 20 ? 20 : period_ms > 1000 ? 1000 : period_ms;
}

static void inflate_cb(uv_idle_t *idle)
{
    struct http_server *server = idle->data;
    bool more = false;

    for (struct http_conn *conn = server->conns, *next; conn != NULL; conn = next) {
        next = conn->next;
        if (conn->sm.now == HTTP_INFLATING)
            http_conn_inflate(conn);
        more = more || conn->sm.now == HTTP_INFLATING;
    }
    if (!more)
        (void)uv_idle_stop(idle);
}

void http_server_inflate(struct http_server *server)
{
    (void)uv_idle_start(&server->inflater, inflate_cb);
}

const char *http_server_date(struct http_server *server)
{
    time_t now = time(NULL);
    struct tm parts;

    if (now != server->date_s && gmtime_r(&now, &parts) != NULL) {
        server->date_s = now;
        (void)strftime(server->date, sizeof server->date, "%a, %d %b %Y %H:%M:%S GMT", &parts);
    }
    return server->date;
}

/* ---- Listening ----------------------------------------------------------------------------- */

static void connection_cb(uv_stream_t *listener, int status)
{
    struct http_server *server = listener->data;

    if (status < 0) {
        log_every(1000, LOG_WARN, "HTTP %s:%u cannot accept: %s", server->options.host,
                  server->options.port, uv_strerror(status));
        return;
    }
    http_conn_accept(server);
    if (!uv_is_active((uv_handle_t *)&server->sweeper))
        (void)uv_timer_start(&server->sweeper, sweep_cb, sweep_period_ms(server),
                             sweep_period_ms(server));
}

static enum err failed(const struct http_options *options, const char *what, int uv_error)
{
    return err_set(ERR_IO, "HTTP: %s %s:%u: %s", what, options->host, options->port,
                   uv_strerror(uv_error));
}

/* A bound socket. libuv has no call for SO_REUSEPORT, so it is made here. */
static enum err bind_socket(const struct http_options *options, int *ret_fd)
{
    struct sockaddr_storage address = {0};
    int option = options->reuse_port ? SO_REUSEPORT : SO_REUSEADDR;
    int on = 1;
    int fd;
    socklen_t size = sizeof(struct sockaddr_in);

    if (uv_ip4_addr(options->host, options->port, (struct sockaddr_in *)&address) != 0) {
        if (uv_ip6_addr(options->host, options->port, (struct sockaddr_in6 *)&address) != 0)
            return err_set(ERR_INVALID, "HTTP: \"%s\" is not an IP address", options->host);
        size = sizeof(struct sockaddr_in6);
    }
    fd = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return failed(options, "make a socket for", -errno);
    if (setsockopt(fd, SOL_SOCKET, option, &on, sizeof on) != 0 ||
        bind(fd, (const struct sockaddr *)&address, size) != 0) {
        enum err err = failed(options, "bind", -errno);

        (void)close(fd);
        return err;
    }
    *ret_fd = fd;
    return ERR_OK;
}

static enum err listen_on(struct http_server *server)
{
    int fd = -1;
    int code;
    enum err err = bind_socket(&server->options, &fd);

    if (err != ERR_OK)
        return err;
    code = uv_tcp_open(&server->listener, fd);
    if (code != 0) {
        (void)close(fd);
        return failed(&server->options, "open", code);
    }
    code = uv_listen((uv_stream_t *)&server->listener, BACKLOG, connection_cb);
    if (code != 0)
        return failed(&server->options, "listen on", code);
    server->listening = true;
    return ERR_OK;
}

/* ---- Life ---------------------------------------------------------------------------------- */

/* Everything that had a handle is gone: so are we. */
static void end_if_last(struct http_server *server)
{
    void (*closed)(void *ctx) = server->closed;
    void *ctx = server->closed_ctx;

    if (server->handles > 0 || server->conn_count > 0)
        return;
    free(server);
    if (closed != NULL)
        closed(ctx);
}

static void handle_closed_cb(uv_handle_t *handle)
{
    struct http_server *server = handle->data;

    server->handles--;
    end_if_last(server);
}

void http_server_forget(struct http_server *server)
{
    CHECK(server->conn_count > 0);
    server->conn_count--;
    if (server->closing)
        end_if_last(server);
}

static void close_handle(uv_handle_t *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, handle_closed_cb);
}

enum err http_server_new(uv_loop_t *loop, const struct http_options *options,
                         const struct http_handlers *handlers, struct http_server **ret_server)
{
    struct http_server *server = calloc(1, sizeof *server);
    enum err err;

    if (server == NULL)
        return err_set(ERR_NO_MEMORY, "HTTP: no memory for a server");
    server->options = *options;
    server->handlers = *handlers;
    server->loop = loop;
    /* These three only fail where memory or descriptors are taken, which they do not. */
    CHECK(uv_tcp_init(loop, &server->listener) == 0);
    CHECK(uv_timer_init(loop, &server->sweeper) == 0);
    CHECK(uv_idle_init(loop, &server->inflater) == 0);
    server->listener.data = server;
    server->sweeper.data = server;
    server->inflater.data = server;
    server->handles = 3;

    err = listen_on(server);
    if (err != ERR_OK) {
        http_server_close(server, NULL, NULL);
        return err;
    }
    *ret_server = server;
    return ERR_OK;
}

void http_server_drain(struct http_server *server)
{
    server->draining = true;
    server->listening = false;
    close_handle((uv_handle_t *)&server->listener);
    for (struct http_conn *conn = server->conns, *next; conn != NULL; conn = next) {
        next = conn->next;
        http_conn_drain(conn);
    }
}

void http_server_close(struct http_server *server, void (*closed)(void *ctx), void *ctx)
{
    server->closing = true;
    server->closed = closed;
    server->closed_ctx = ctx;
    for (struct http_conn *conn = server->conns, *next; conn != NULL; conn = next) {
        next = conn->next;
        http_conn_close(conn);
    }
    close_handle((uv_handle_t *)&server->listener);
    close_handle((uv_handle_t *)&server->sweeper);
    close_handle((uv_handle_t *)&server->inflater);
}

uint16_t http_server_port(const struct http_server *server)
{
    struct sockaddr_storage address = {0};
    int size = sizeof address;

    if (uv_tcp_getsockname(&server->listener, (struct sockaddr *)&address, &size) != 0)
        return 0;
    return ntohs(address.ss_family == AF_INET ? ((const struct sockaddr_in *)&address)->sin_port
                                              : ((const struct sockaddr_in6 *)&address)->sin6_port);
}

uint32_t http_server_connections(const struct http_server *server)
{
    return server->conn_count;
}
