#include "replication/configuration.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "replication/group.h"
#include "storage/base/bytes.h"

enum { FORMAT = 1, ROLE_MAX = RAFT_SPARE, PADDED_TO = 8 };

void configuration_address(uint64_t server, char address[CONFIGURATION_ADDRESS_MAX])
{
    (void)snprintf(address, CONFIGURATION_ADDRESS_MAX, "%" PRIu64, server);
}

enum err configuration_encode(const uint64_t *voters, uint32_t count, struct buf **ret_buf)
{
    struct raft_configuration configuration;
    struct raft_buffer encoded = {NULL, 0};
    struct buf *buf = NULL;

    raft_configuration_init(&configuration);
    for (uint32_t i = 0; i < count; i++) {
        char address[CONFIGURATION_ADDRESS_MAX];

        configuration_address(voters[i], address);
        if (raft_configuration_add(&configuration, voters[i], address, RAFT_VOTER) != 0)
            goto close;
    }
    if (raft_configuration_encode(&configuration, &encoded) == 0)
        buf = buf_new((uint32_t)encoded.len);
    if (buf != NULL) {
        memcpy(buf->bytes, encoded.base, encoded.len);
        buf->size = (uint32_t)encoded.len;
        *ret_buf = buf;
    }
    raft_free(encoded.base);
close:
    raft_configuration_close(&configuration);
    if (buf == NULL)
        return err_set(ERR_NO_MEMORY, "configuration of %u servers", count);
    return ERR_OK;
}

/* The address has to be the server's number as text, so two servers never share one: the core would
 * refuse that while it starts, and frees the same memory twice then. */
static bool take_address(struct reader *reader, uint64_t server)
{
    char wanted[CONFIGURATION_ADDRESS_MAX];
    const uint8_t *found;
    size_t size;

    configuration_address(server, wanted);
    size = strlen(wanted) + 1;
    found = reader_take(reader, size);
    return found != NULL && memcmp(found, wanted, size) == 0;
}

enum err configuration_check(const void *bytes, size_t size)
{
    struct reader reader = reader_on(bytes, size);
    uint64_t seen[GROUP_SERVERS_MAX];
    uint8_t format = reader_u8(&reader);
    uint64_t count = reader_u64(&reader);

    if (reader.bad || format != FORMAT || size % PADDED_TO != 0)
        return err_set(ERR_INVALID, "configuration: %zu bytes of format %u", size, format);
    if (count < 1 || count > GROUP_SERVERS_MAX)
        return err_set(ERR_INVALID, "configuration: %" PRIu64 " servers, at most %d", count,
                       GROUP_SERVERS_MAX);
    for (uint64_t i = 0; i < count; i++) {
        seen[i] = reader_u64(&reader);
        if (seen[i] == 0 || !take_address(&reader, seen[i]) || reader_u8(&reader) > ROLE_MAX ||
            reader.bad)
            return err_set(ERR_INVALID, "configuration: server %" PRIu64 " of %" PRIu64, i + 1,
                           count);
        for (uint64_t k = 0; k < i; k++) {
            if (seen[k] == seen[i])
                return err_set(ERR_INVALID, "configuration: server %" PRIu64 " twice", seen[i]);
        }
    }
    if (reader_left(&reader) >= PADDED_TO)
        return err_set(ERR_INVALID, "configuration: %zu bytes left over", reader_left(&reader));
    return ERR_OK;
}

enum err configuration_decode(const struct buf *buf, struct raft_configuration *ret_configuration)
{
    struct raft_buffer encoded;
    enum err err;

    if (buf == NULL)
        return err_set(ERR_INVALID, "configuration: no bytes");
    err = configuration_check(buf->bytes, buf->size);
    if (err != ERR_OK)
        return err;
    encoded.base = (void *)(uintptr_t)buf->bytes; /* The core only reads it. */
    encoded.len = buf->size;
    if (raft_configuration_decode(&encoded, ret_configuration) != 0)
        return err_set(ERR_INVALID, "configuration: refused by the core");
    return ERR_OK;
}
