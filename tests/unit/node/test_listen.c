/*
 * A listening socket that workers share.
 */
#include "node/listen.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

Test(listen, names_the_address_that_it_cannot_have)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    uint16_t port;
    int taken = socket(AF_INET, SOCK_STREAM, 0);
    uv_loop_t loop;
    uv_tcp_t first, second;

    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(uv_tcp_init(&loop, &first), 0);
    cr_assert_eq(uv_tcp_init(&loop, &second), 0);
    cr_assert_eq(bind(taken, (struct sockaddr *)&address, size), 0);
    cr_assert_eq(getsockname(taken, (struct sockaddr *)&address, &size), 0);
    port = ntohs(address.sin_port);
    cr_assert_eq(listen_shared(&first, "localhost", port, NULL), ERR_INVALID);
    cr_assert_eq(listen_shared(&first, "127.0.0.1", port, NULL), ERR_IO);
    cr_assert_not_null(strstr(err_detail(), "127.0.0.1:"), "%s", err_detail());
    (void)close(taken);
    cr_assert_eq(listen_shared(&first, "127.0.0.1", port, NULL), ERR_OK, "%s", err_detail());
    cr_assert_eq(listen_shared(&second, "127.0.0.1", port, NULL), ERR_OK, "%s", err_detail());
    uv_close((uv_handle_t *)&first, NULL);
    uv_close((uv_handle_t *)&second, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
}
