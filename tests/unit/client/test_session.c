/*
 * Addresses as people write them.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "client/session.h"

static enum err parse(const char *text, struct session_address *ret_address)
{
    return session_address_parse(text, strlen(text), 7400, ret_address);
}

Test(session, takes_hosts_with_and_without_ports)
{
    static const struct {
        const char *text, *host;
        uint16_t port;
    } good[] = {
        {"10.0.0.1", "10.0.0.1", 7400}, {"10.0.0.1:7410", "10.0.0.1", 7410},
        {"edge-1:1", "edge-1", 1},      {"[::1]:65535", "::1", 65535},
        {"[fe80::1]", "fe80::1", 7400}, {"::1", "::1", 7400},
    };

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct session_address address;

        cr_assert_eq(parse(good[i].text, &address), ERR_OK, "%s: %s", good[i].text, err_detail());
        cr_assert_str_eq(address.host, good[i].host);
        cr_assert_eq(address.port, good[i].port, "%s", good[i].text);
    }
}

Test(session, refuses_what_is_no_address)
{
    static const char *const bad[] = {"",        ":7400", "host:", "host:0", "host:65536",
                                      "host:7a", "[::1",  "[]:1",  "[::1]x"};
    char longer[SESSION_HOST_MAX + 1];
    struct session_address address;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(parse(bad[i], &address), ERR_INVALID, "\"%s\" was taken", bad[i]);
    memset(longer, 'h', sizeof longer);
    cr_assert_eq(session_address_parse(longer, sizeof longer, 7400, &address), ERR_INVALID);
}
