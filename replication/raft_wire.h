/*
 * raft_wire.h - Raft messages as bytes: the payload of a RAFT frame (client/wire/frame.h).
 *
 *     u32 group | u8 kind | u8 flags | u16 0 | u64 term | body, by kind:
 *
 *     1 append         u64 prev index, u64 prev term, u64 commit, u32 count,
 *                      count times: u64 term, u32 size, u8 type, bytes
 *     2 append result  u64 rejected, u64 last index
 *     3 vote           u64 last index, u64 last term       flags: 1 pre-vote, 2 disrupt the leader
 *     4 vote result                                        flags: 1 pre-vote, 4 granted
 *     5 timeout now    u64 last index, u64 last term
 *     6 ping, 7 pong   u64 round
 *     8 behind
 *
 * Little-endian; a frame holds any number of messages. Who sent it is what the link says, never the
 * message. Everything is checked on the way in, before the core sees it: known kinds and flags,
 * terms from 1 and none above the message's, entries' terms that do not fall, types, a first entry
 * exactly where prev is 0, configurations, sizes before memory is taken. Entries are read into bufs
 * of their own.
 *
 * Thread    Any, on its own messages.
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
/** It brings entries, which are to be written, or leadership, which brings more. */
bool group_message_needs_room(const struct group_message *message);

#endif
