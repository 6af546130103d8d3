/*
 * Configurations in and out of bytes: what is written comes back, and nothing that the core could
 * stumble over reaches it.
 */
#include "replication/configuration.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "replication/group.h"
#include "tests/support/seed.h"

static struct buf *encode(const uint64_t *voters, uint32_t count)
{
    struct buf *buf = NULL;

    cr_assert_eq(configuration_encode(voters, count, &buf), ERR_OK, "%s", err_detail());
    return buf;
}

Test(configuration, comes_back_with_its_servers_in_their_order)
{
    static const uint64_t voters[] = {7, 1, UINT64_MAX, 300, 2, 9, 8, 65535, 4};
    char address[CONFIGURATION_ADDRESS_MAX];

    for (uint32_t count = 1; count <= GROUP_SERVERS_MAX; count++) {
        struct buf *buf = encode(voters, count);
        struct raft_configuration configuration;

        cr_assert_eq(buf->size % 8, 0);
        cr_assert_eq(configuration_check(buf->bytes, buf->size), ERR_OK, "%s", err_detail());
        cr_assert_eq(configuration_decode(buf, &configuration), ERR_OK, "%s", err_detail());
        cr_assert_eq(configuration.n, count);
        for (uint32_t i = 0; i < count; i++) {
            configuration_address(voters[i], address);
            cr_assert_eq(configuration.servers[i].id, voters[i]);
            cr_assert_str_eq(configuration.servers[i].address, address);
            cr_assert_eq(configuration.servers[i].role, RAFT_VOTER);
        }
        raft_configuration_close(&configuration);
        buf_unref(buf);
    }
}

Test(configuration, an_address_is_the_servers_number)
{
    char address[CONFIGURATION_ADDRESS_MAX];

    configuration_address(UINT64_MAX, address);
    cr_assert_str_eq(address, "18446744073709551615");
    configuration_address(1, address);
    cr_assert_str_eq(address, "1");
}

Test(configuration, nothing_that_is_cut_short_passes)
{
    struct buf *buf = encode((uint64_t[]){1, 2, 300}, 3);

    for (uint32_t size = 0; size < buf->size; size++) {
        uint8_t *cut = malloc(size + 1); /* Of its own memory, so that a look behind is noticed. */

        memcpy(cut, buf->bytes, size);
        cr_assert_eq(configuration_check(cut, size), ERR_INVALID, "%u bytes", size);
        free(cut);
    }
    buf_unref(buf);
}

Test(configuration, says_what_is_wrong)
{
    struct buf *good = encode((uint64_t[]){1, 2}, 2);
    uint8_t bytes[256];
    size_t size = good->size;

#define EXPECT(at, byte, says)                                              \
    do {                                                                    \
        memcpy(bytes, good->bytes, size);                                   \
        bytes[at] = (byte);                                                 \
        cr_assert_eq(configuration_check(bytes, size), ERR_INVALID);        \
        cr_assert_not_null(strstr(err_detail(), says), "%s", err_detail()); \
    } while (0)

    /* u8 1 | u64 2 | u64 1, "1", role | u64 2, "2", role */
    EXPECT(0, 2, "of format 2");
    EXPECT(1, 0, "0 servers, at most 9");
    EXPECT(1, 10, "10 servers, at most 9");
    EXPECT(8, 1, "servers, at most 9");
    EXPECT(9, 0, "server 1 of 2");
    EXPECT(9, 2, "server 1 of 2");    /* Its address is another one's. */
    EXPECT(17, '3', "server 1 of 2"); /* An address that is not its number. */
    EXPECT(18, 'x', "server 1 of 2"); /* One without an end. */
    EXPECT(19, 9, "server 1 of 2");   /* No role. */
    EXPECT(1, 1, "bytes left over");
#undef EXPECT
    memcpy(bytes, good->bytes, size);
    bytes[20] = 1; /* The second one is the first one again. */
    bytes[28] = '1';
    cr_assert_eq(configuration_check(bytes, size), ERR_INVALID);
    cr_assert_not_null(strstr(err_detail(), "server 1 twice"), "%s", err_detail());
    cr_assert_eq(configuration_decode(NULL, &(struct raft_configuration){0}), ERR_INVALID);
    buf_unref(good);
}

/* What passes the check is taken by the core, whatever it was made of. */
Test(configuration, what_passes_is_taken_by_the_core)
{
    uint64_t chance = seed_of_run("configuration");
    struct buf *good = encode((uint64_t[]){1, 2, 3}, 3);
    unsigned passed = 0;

    for (unsigned i = 0; i < 20000; i++) {
        struct buf *buf = buf_new(good->size);
        struct raft_configuration configuration;

        memcpy(buf->bytes, good->bytes, good->size);
        buf->size = good->size;
        for (uint64_t flips = seed_below(&chance, 3); flips > 0; flips--)
            buf->bytes[seed_below(&chance, buf->size)] ^= (uint8_t)(1u << seed_below(&chance, 8));
        if (configuration_check(buf->bytes, buf->size) == ERR_OK) {
            cr_assert_eq(configuration_decode(buf, &configuration), ERR_OK, "%s", err_detail());
            cr_assert_eq(configuration.n, 3);
            raft_configuration_close(&configuration);
            passed++;
        }
        buf_unref(buf);
    }
    cr_assert_gt(passed, 5000, "those without a flip, at least");
    buf_unref(good);
}
