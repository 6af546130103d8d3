/*
 * The ports that tests hold: nobody gets one twice, and a server may listen there and go again.
 */
#include "tests/support/port.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <sys/socket.h>
#include <unistd.h>

static int open_socket(uint16_t port, int (*use)(int, const struct sockaddr *, socklen_t))
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int on = 1;

    cr_assert_geq(fd, 0);
    cr_assert_eq(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), 0);
    if (use(fd, (struct sockaddr *)&address, sizeof address) == 0)
        return fd;
    (void)close(fd);
    return -1;
}

/* Of that many free ports that nobody holds, two are the same in 19 of 20 runs. */
Test(port, is_another_one_each_time)
{
    enum { PORTS = 300 };
    static bool seen[UINT16_MAX + 1];

    for (unsigned i = 0; i < PORTS; i++) {
        uint16_t port = port_hold();

        cr_assert_not(seen[port], "port %u twice", port);
        seen[port] = true;
    }
}

Test(port, takes_connections_while_somebody_listens)
{
    uint16_t port = port_hold();

    for (unsigned round = 0; round < 3; round++) {
        int listener, client;

        cr_assert_eq(open_socket(port, connect), -1, "nobody listens");
        listener = open_socket(port, bind);
        cr_assert_geq(listener, 0);
        cr_assert_eq(listen(listener, 1), 0);
        client = open_socket(port, connect);
        cr_assert_geq(client, 0);
        (void)close(client);
        (void)close(listener);
    }
}
