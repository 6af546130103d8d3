#include "replication/link.h"

#include <errno.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "replication/link_internal.h"
#include "storage/base/check.h"

enum { BACKLOG = 128, TICK_MS = 1000 };

/* ---- Peers --------------------------------------------------------------------------------- */

struct link_out *links_find(const struct links *links, uint64_t server)
{
    for (uint32_t i = 0; i < links->options.peer_count; i++) {
        if (links->out[i].peer.server == server)
            return (struct link_out *)&links->out[i];
    }
    return NULL;
}

void links_put_frame(struct bytes *out, uint16_t type, const struct bytes *payload)
{
    struct frame_header header = {.type = type};

    if (payload->failed) {
        out->failed = true;
        return;
    }
    frame_seal(&header, payload->data, payload->size);
    bytes_put(out, &header, sizeof header);
    bytes_put(out, payload->data, payload->size);
}

void links_message(struct links *links, uint64_t to, uint32_t group, struct group_message *message,
                   bool urgent)
{
    struct link_out *out = links_find(links, to);

    if (out == NULL || !link_out_is_up(out)) {
        links->stats.dropped++;
        group_message_free(message);
    } else if (link_queue_message(&out->queue, group, message, urgent) != ERR_OK) {
        links->stats.dropped++; /* Raft sends again. */
    }
}

enum err links_frame(struct links *links, uint64_t to, uint16_t type, uint64_t request,
                     struct buf *payload, bool urgent)
{
    struct link_out *out = links_find(links, to);

    if (out == NULL || !link_out_is_up(out))
        return err_set(ERR_UNAVAILABLE, "node %llu is not connected", (unsigned long long)to);
    return link_queue_frame(&out->queue, type, request, payload, urgent);
}

enum err links_answer(struct links *links, uint64_t to, uint16_t type, uint64_t request,
                      struct buf *payload, bool urgent)
{
    struct link_out *out = links_find(links, to);

    if (out == NULL)
        return err_set(ERR_UNAVAILABLE, "node %llu is not known", (unsigned long long)to);
    return link_queue_frame(&out->queue, type, request, payload, urgent);
}

bool links_queued(const struct links *links, uint64_t to, uint32_t group)
{
    const struct link_out *out = links_find(links, to);

    return out != NULL && link_queue_holds(&out->queue, group);
}

bool links_is_up(const struct links *links, uint64_t to)
{
    const struct link_out *out = links_find(links, to);

    return out != NULL && link_out_is_up(out);
}

void links_flush(struct links *links)
{
    for (uint32_t i = 0; i < links->options.peer_count; i++)
        link_out_flush(&links->out[i]);
}

void links_stats(const struct links *links, struct link_stats *ret_stats)
{
    *ret_stats = links->stats;
}

/* ---- The listener -------------------------------------------------------------------------- */

static enum err failed(const struct link_options *options, const char *what, const char *why)
{
    return err_set(ERR_IO, "%s %s port %u for peers: %s", what, options->listen_host,
                   options->listen_port, why);
}

/* A socket of our own for each worker: the kernel spreads the connections. */
static enum err bind_socket(const struct link_options *options, int *ret_fd)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *addresses = NULL;
    char port[8];
    const int on = 1;
    int fd, status;

    (void)snprintf(port, sizeof port, "%u", options->listen_port);
    status = getaddrinfo(options->listen_host[0] == '\0' ? NULL : options->listen_host, port,
                         &hints, &addresses);
    if (status != 0)
        return failed(options, "resolve", gai_strerror(status));
    fd = socket(addresses->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    status = fd;
    if (status >= 0)
        status = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (status >= 0)
        status = setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (status >= 0)
        status = bind(fd, addresses->ai_addr, addresses->ai_addrlen);
    if (status < 0) {
        enum err err = failed(options, "bind", strerror(errno));

        if (fd >= 0)
            (void)close(fd);
        freeaddrinfo(addresses);
        return err;
    }
    freeaddrinfo(addresses);
    *ret_fd = fd;
    return ERR_OK;
}

static void listen_cb(uv_stream_t *listener, int status)
{
    struct links *links = listener->data;

    if (status == 0 && !links->closing)
        link_in_accept(links);
}

static void handle_closed_cb(uv_handle_t *handle)
{
    links_handle_closed(handle->data);
}

static enum err start_listening(struct links *links)
{
    const struct link_options *options = &links->options;
    int fd = -1, status;
    enum err err = bind_socket(options, &fd);

    if (err != ERR_OK)
        return err;
    (void)uv_tcp_init(options->loop, &links->listener);
    links->listener.data = links;
    links->open++;
    status = uv_tcp_open(&links->listener, fd);
    if (status != 0) {
        (void)close(fd);
        return failed(options, "open", uv_strerror(status));
    }
    status = uv_listen((uv_stream_t *)&links->listener, BACKLOG, listen_cb);
    return status == 0 ? ERR_OK : failed(options, "listen on", uv_strerror(status));
}

/* ---- Opening and closing ------------------------------------------------------------------- */

static void tick_cb(uv_timer_t *timer)
{
    struct links *links = timer->data;

    if (links->accept_again)
        link_in_accept(links);
    link_in_check_deadlines(links);
}

void links_handle_closed(struct links *links)
{
    CHECK(links->open > 0);
    if (--links->open > 0 || !links->closing)
        return;
    if (links->closed != NULL)
        links->closed(links->events.ctx);
    free(links->read_buffer);
    free(links);
}

void links_close(struct links *links, void (*closed)(void *ctx))
{
    struct link_in *next;

    links->closing = true;
    links->closed = closed;
    uv_close((uv_handle_t *)&links->tick, handle_closed_cb);
    if (links->listener.data != NULL)
        uv_close((uv_handle_t *)&links->listener, handle_closed_cb);
    for (struct link_in *in = links->incoming; in != NULL; in = next) {
        next = in->next;
        link_in_close(in);
    }
    for (uint32_t i = 0; i < links->options.peer_count; i++)
        link_out_close(&links->out[i]);
}

enum err links_new(const struct link_options *options, const struct link_events *events,
                   struct links **ret_links)
{
    struct links *links = calloc(1, sizeof *links);
    enum err err;

    CHECK(options->peer_count <= GROUP_SERVERS_MAX);
    /* libuv writes with plain write(): a peer that dies must not take us with it. */
    (void)signal(SIGPIPE, SIG_IGN);

    if (links == NULL || (links->read_buffer = malloc(LINK_READ_BYTES)) == NULL) {
        free(links);
        return err_set(ERR_NO_MEMORY, "links: %d bytes", LINK_READ_BYTES);
    }
    links->options = *options;
    links->events = *events;
    links->options.peer_count = 0; /* As many as are started. */
    rand_init(&links->rand, options->server * 1000003 + options->worker);
    (void)uv_timer_init(options->loop, &links->tick);
    links->tick.data = links;
    (void)uv_timer_start(&links->tick, tick_cb, TICK_MS, TICK_MS);
    links->open = 1;

    err = start_listening(links);
    for (uint32_t i = 0; i < options->peer_count && err == ERR_OK; i++) {
        err = link_out_start(&links->out[i], links, &options->peers[i]);
        if (err == ERR_OK)
            links->options.peer_count++;
    }
    if (err != ERR_OK) {
        links_close(links, NULL); /* Memory goes when the loop has closed the handles. */
        return err;
    }
    *ret_links = links;
    return ERR_OK;
}
