/*
 * shard_io.h - the inner seam of a shard: shard.c decides, shard_open.c makes and starts it,
 * shard_io.c connects the group to log, links, store and pool, shard_retention.c says what goes,
 * shard_compact.c what is merged, shard_damage.c and shard_log.c what to do about damage,
 * shard_rejoin.c how to begin again. For these files and meta.c only.
 */
#ifndef NODE_SHARD_IO_H
#define NODE_SHARD_IO_H

#include "node/shard.h"
#include "storage/store_compact.h"

/** The group's callbacks, with the shard as their context. */
struct group_io shard_io(struct shard *shard);

/** A committed entry of a shard's group. ERR_BUSY: the head is full, group_poke() comes later. */
MUST_CHECK enum err shard_apply(struct shard *shard, uint64_t index, struct buf *payload);
void shard_leader_changed(struct shard *shard, bool leading);

/** Every tick: what is damaged, what was mended. True: something is damaged, so others had better
 * lead. */
bool shard_care(struct shard *shard, const struct group_state *state, uint64_t now_ms);
/** That server is up to date, may lead, and has not said that it has damage. */
bool shard_may_take_over(const struct shard *shard, const struct group_state *state,
                         uint64_t server);
/** Hand over, if somebody may take over; at most once a second. */
void shard_leave(struct shard *shard, const struct group_state *state, uint64_t now_ms);

/** Every tick: how far the group has to be sealed for the sake of this node's log. `sealed`: how
 * far it is. */
void shard_ask_seal(struct shard *shard, const struct group_state *state, uint64_t sealed);
/** Up to which index this node asks for it; 0: it does not. */
uint64_t shard_own_ask(const struct node *node, uint32_t group);
/** A node asks for it, or (0) does not. */
void shard_hear_ask(struct node *node, uint64_t server, uint32_t group, uint64_t index,
                    uint64_t now_ms);
/** That node has said so a short time ago. */
bool shard_asks_seal(const struct node *node, uint64_t server, uint32_t group);
/** Some node asks for it, of an index that the log may have, and it is not done; at most once a
 * second. */
bool shard_is_asked(struct shard *shard, const struct group_state *state, uint64_t sealed,
                    uint64_t now_ms);
/** Every tick of the meta group, which each node saves for itself. */
void shard_save_for_log(struct shard *shard, const struct group_state *state, uint64_t now_ms);
/** As the leader of a group: let another one lead that can give others what they lack. */
void shard_leave_for_log(struct shard *shard, const struct group_state *state, uint64_t sealed,
                         uint64_t now_ms);

/** A question of a node that begins again, after a group's state. */
void shard_tell(struct shard *shard, struct piece_request *request);
/** Every tick: whether this one has to begin again, or has done so. */
void shard_rejoin_tick(struct shard *shard, const struct group_state *state, uint64_t now_ms);
/** Start the group, with what was fetched if it begins again. As group_start(). */
MUST_CHECK enum err shard_begin(struct shard *shard, uint64_t applied);

/** A reader has failed with that error: if it was damage, look for it. */
void shard_suspect(struct shard *shard, enum err err);

/** How a shard's store is opened; its folder's name is written into `dir`. Any thread. */
struct store_options shard_store_options(struct shard *shard, char *dir, size_t size);

/** Queue a seal; jobs of one shard run one after the other. */
void shard_seal(struct shard *shard, struct seal_job *job);
/** Queue what was made, to be taken in between seals; shard_compact_end() follows. */
void shard_adopt(struct shard *shard, struct compact_job *job);

/** Every 100 ms: make what was ordered. */
void shard_compact_tick(struct shard *shard, uint64_t now_ms);
/** The store has it, or (not ERR_OK) is to ask for it again; the error's detail is this
 * thread's. */
void shard_compact_end(struct shard *shard, struct compact_job *job, enum err err);
/** As the leader: what an order of this moment should have merged, into room for
 * SEAL_COMPACTIONS_MAX; how many. */
uint32_t shard_compact_plan(struct shard *shard, struct seal_compaction *ret_compactions);
/** As the leader: what an order of this moment should say of clean segments, into room for
 * SEAL_CLEANS_MAX; how many. */
uint32_t shard_compact_cleans(struct shard *shard, struct seal_clean *ret_cleans);
/** So much of both is worth an order of its own. */
bool shard_compact_is_due(struct shard *shard, uint32_t planned);
/** This shard's part of the node's budget for heads, in bytes. */
uint64_t shard_head_bytes_max(const struct shard *shard);
/** Bytes of a head that a shard seals at. */
uint64_t shard_seal_bytes(const struct node *node);

/** A seal that is ordered now, with what it says of databases, and (unless it is empty) with a
 * tombstone's bytes; NULL: no memory. *ret_drops: it drops
 * something, and should be ordered for that alone. */
struct buf *shard_seal_order(struct shard *shard, struct slice tombstone, bool *ret_drops);
/** It is time to ask whether something has to be dropped. */
bool shard_looks_for_drops(struct shard *shard, uint64_t now_ms);
/** The leader may take rows of this table: its database was not dropped, and no drop of it is yet
 * to be ordered here. ERR_NOT_FOUND, ERR_BUSY. */
MUST_CHECK enum err shard_check_database(const struct shard *shard, struct slice table_key);
/** Answer the deletes up to that index: with ERR_OK they are applied. */
void shard_end_deletes(struct shard *shard, uint64_t index, enum err err);
/** Tell all workers from which time on rows are taken: what an applied seal says, or (NULL) all
 * that the store knows. */
void shard_teach_cutoffs(struct shard *shard, const struct buf *seal);

/** The round that a linearizable read waited for is over. */
void shard_read_done(struct shard *shard, uint64_t token, bool ok);
/** End all that wait for a round. */
void shard_fail_reads(struct shard *shard);

#endif
