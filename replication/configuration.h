/*
 * configuration.h - the core's configurations (who takes part in a group) in and out of bytes.
 *
 *     u8 1 | u64 count | count times: u64 server, address NUL, u8 role | zeros to a multiple of 8
 *
 * The encoding is the core's own, since it decodes what stands in entries by itself. But its
 * decoder does not look at the size, so nothing that comes from a peer or a disk may reach it
 * unless configuration_check() has seen it.
 */
#ifndef REPLICATION_CONFIGURATION_H
#define REPLICATION_CONFIGURATION_H

#include <raft.h>

#include "storage/base/buf.h"
#include "storage/base/err.h"

enum { CONFIGURATION_ADDRESS_MAX = 24 }; /* Bytes with the NUL: the server's number as text. */

/** The text that the core takes for an address. */
void configuration_address(uint64_t server, char address[CONFIGURATION_ADDRESS_MAX]);

/** The bytes of a configuration of these voters, in this order. ERR_NO_MEMORY. */
MUST_CHECK enum err configuration_encode(const uint64_t *voters, uint32_t count,
                                         struct buf **ret_buf);

/** Whether these bytes are a configuration of 1 to GROUP_SERVERS_MAX servers. ERR_INVALID. */
MUST_CHECK enum err configuration_check(const void *bytes, size_t size);

/** Decode bytes that were checked; the caller owns it (raft_configuration_close(), or an event that
 * takes it over). ERR_INVALID, ERR_NO_MEMORY. */
MUST_CHECK enum err configuration_decode(const struct buf *buf,
                                         struct raft_configuration *ret_configuration);

#endif
