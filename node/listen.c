#include "node/listen.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 511 };

static enum err bind_socket(int fd, const struct sockaddr_storage *address, const char *host,
                            uint16_t port)
{
    socklen_t size =
        address->ss_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    int on = 1;

    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0 ||
        bind(fd, (const struct sockaddr *)address, size) != 0)
        return err_set(ERR_IO, "listen on %s:%u: %s", host, port, strerror(errno));
    return ERR_OK;
}

enum err listen_shared(uv_tcp_t *tcp, const char *host, uint16_t port, uv_connection_cb accepted)
{
    struct sockaddr_storage address = {0};
    enum err err;
    int status;
    int fd;

    if (uv_ip4_addr(host, port, (struct sockaddr_in *)&address) != 0 &&
        uv_ip6_addr(host, port, (struct sockaddr_in6 *)&address) != 0)
        return err_set(ERR_INVALID, "listen on \"%s\": not an IP address", host);
    fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_set(ERR_IO, "listen on %s:%u: %s", host, port, strerror(errno));
    err = bind_socket(fd, &address, host, port);
    if (err != ERR_OK) {
        (void)close(fd);
        return err;
    }
    status = uv_tcp_open(tcp, fd); /* The handle owns the descriptor from here on. */
    if (status != 0) {
        (void)close(fd);
        return err_set(ERR_IO, "listen on %s:%u: %s", host, port, uv_strerror(status));
    }
    status = uv_listen((uv_stream_t *)tcp, BACKLOG, accepted);
    if (status != 0)
        return err_set(ERR_IO, "listen on %s:%u: %s", host, port, uv_strerror(status));
    return ERR_OK;
}
