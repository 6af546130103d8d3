/*
 * peer.h - carry out what another node asks of this one: writes, declarations, queries of a shard.
 *
 * Each request becomes one of ours with the worker that received it as its origin; the answer goes
 * back on that worker's own connection to the asker. A request that this node cannot carry out
 * because it does not lead is answered with ERR_NOT_LEADER, never passed on again.
 */
#ifndef NODE_PEER_H
#define NODE_PEER_H

#include "client/wire/frame.h"
#include "storage/base/bytes.h"

struct buf;
struct worker;

/** FRAME_WRITE, FRAME_DECLARE, FRAME_SHARD_QUERY, FRAME_FETCH, ... `payload` is borrowed. */
void peer_serve(struct worker *worker, uint64_t from, const struct frame_header *header,
                struct buf *payload);

/** The link to that server broke: nobody there waits for what it has asked. */
void peer_down(struct worker *worker, uint64_t server);

/** An answer's error as the payload of a FRAME_ERROR; also for clients (native.c). */
struct answer;
void peer_encode_answer(const struct answer *answer, struct bytes *out);

#endif
