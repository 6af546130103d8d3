/*
 * outbox.h - private to replication/: what a group sends, and when it may leave.
 *
 *     core --> outbox (gate: term and vote durable?) --> whole? --> io.send
 *                                                          | entries were evicted
 *                                                          '--> waiting, for each peer --io.load-->
 *
 * In order for each (group, peer): AppendEntries with entries never overtake each other. Heartbeats
 * do not overtake them either: while entries are queued, a heartbeat is made anew that is right
 * whatever is queued (prev = what the peer is known to have).
 */
#ifndef REPLICATION_OUTBOX_H
#define REPLICATION_OUTBOX_H

#include "replication/group_internal.h"

enum { OUTBOX_PIECE_MAX = 256 * 1024 }; /* Bytes of entries in a message, unless a single one. */

/** A message of the core, in pieces. Filled from the mirror now, sent by outbox_flush(). */
void outbox_add_raft(struct group *group, const struct raft_message *message);
/** As leader, an AppendEntries without entries that asks for the entry `prev` of our log. */
void outbox_probe(struct group *group, uint64_t to, uint64_t prev);
/** A message of our own; takes it over. */
void outbox_add(struct group *group, uint64_t to, struct group_message *message);
/** Send what may leave. */
void outbox_flush(struct group *group);
/** An entry was read back; payload NULL: the log has it no more. */
void outbox_loaded(struct group *group, uint64_t index, uint64_t term, struct buf *payload);
/** Another term: what waits for entries is of no use. */
void outbox_reset(struct group *group);
void outbox_fini(struct group *group);

#endif
