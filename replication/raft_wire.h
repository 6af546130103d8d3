/*
 * raft_wire.h - Raft messages as bytes: the payload of a RAFT frame (client/wire/frame.h).
 *
 * Everything is checked on the way in, as docs/protocol.md says, before the core sees it: terms,
 * counts, types, configurations, sizes. Entries are read into bufs of their own.
 */
#ifndef REPLICATION_RAFT_WIRE_H
#define REPLICATION_RAFT_WIRE_H

#include "replication/group.h"
#include "storage/base/bytes.h"

/** Append the message (group number included). Its entries are copied in. */
void raft_wire_put(const struct group_message *message, uint32_t group, struct bytes *out);
/** The bytes that raft_wire_put() will write, for limits. */
size_t raft_wire_size(const struct group_message *message);
/** Read the next message of a frame. ERR_END at its end; ERR_INVALID; ERR_NO_MEMORY. */
MUST_CHECK enum err raft_wire_get(struct reader *reader, uint32_t *ret_group,
                                  struct group_message **ret_message);
void group_message_free(struct group_message *message);

#endif
