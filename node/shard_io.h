/*
 * shard_io.h - the inner seam of a shard: shard.c decides, shard_io.c connects the group to log,
 * links, store and pool. For these two files and meta.c only.
 */
#ifndef NODE_SHARD_IO_H
#define NODE_SHARD_IO_H

#include "node/shard.h"

/** The group's callbacks, with the shard as their context. */
struct group_io shard_io(struct shard *shard);

/** A committed entry of a shard's group. ERR_BUSY: the head is full, group_poke() comes later. */
MUST_CHECK enum err shard_apply(struct shard *shard, uint64_t index, struct buf *payload);
void shard_leader_changed(struct shard *shard, bool leading);

/** Queue a seal; jobs of one shard run one after the other. */
void shard_seal(struct shard *shard, struct seal_job *job);
/** This shard's part of the node's budget for heads, in bytes. */
uint64_t shard_head_bytes_max(const struct shard *shard);

/** The round that a linearizable read waited for is over. */
void shard_read_done(struct shard *shard, uint64_t token, bool ok);
/** End all that wait for a round. */
void shard_fail_reads(struct shard *shard);

#endif
