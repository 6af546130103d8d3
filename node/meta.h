/*
 * meta.h - the meta group's state machine: databases, and the type of every field of the site.
 *
 *    any worker --router_declare()--> worker 0 of the meta leader --ENTRY_SCHEMA--> all nodes
 *                                          |                                         |
 *                                          '<---- types decided <---- applied <------'
 *                                                                        '--mail--> the copies
 *
 * ENTRY_SCHEMA's body is a message_declare: at apply, fields that are new get the type that it
 * names, others keep theirs. The first in the log decides. Its table's database is made, too.
 * ENTRY_DATABASE's body is a message_database: one is made, altered or dropped.
 *
 * SAVED    `meta.mrc` in the data directory, twice (base/twin.h): everything up to an index,
 *          replaced as a whole in the pool some seconds after a change, so the log may forget the
 *          entries.
 * Thread   Worker 0's; meta_open() on the main thread before it runs.
 */
#ifndef NODE_META_H
#define NODE_META_H

#include "node/router.h"
#include "node/schema_map.h"
#include "storage/base/buf.h"
#include "storage/base/file.h"

struct meta;
struct node;
struct shard;

/** Read what was saved; `absent`: nothing, since the state comes from another node. ERR_CORRUPT,
 * ERR_IO, ERR_NO_MEMORY. */
MUST_CHECK enum err meta_open(struct shard *shard, bool absent, struct meta **ret_meta);
void meta_close(struct meta *meta);
/** The log index that the saved state covers, then the last one applied. */
uint64_t meta_applied(const struct meta *meta);
/** The log index that what is saved covers. Worker 0. */
uint64_t meta_saved(const struct meta *meta);
/** What is known; worker 0 may look while it runs, others before they start. */
const struct schema_map *meta_schema(const struct meta *meta);

/** Decide types, as the leader; otherwise ERR_NOT_LEADER. route.done() follows in any case. */
void meta_declare(struct meta *meta, struct declare_request *request);
/** Make, alter, drop or list databases, as the leader; otherwise ERR_NOT_LEADER. The same. */
void meta_database(struct meta *meta, struct order_request *request);
MUST_CHECK enum err meta_apply(struct meta *meta, uint64_t index, struct buf *payload);
/** Leadership is lost: end who waits. */
void meta_lost(struct meta *meta);
/** Save now and then. */
void meta_tick(struct meta *meta, uint64_t now_ms);

/** What was saved is there, twice. For a scrub; any thread. ERR_CORRUPT; ERR_NOT_FOUND: it was
 * never saved; ERR_IO. */
MUST_CHECK enum err meta_verify(const struct disk *disk, const char *dir);
/** It is not: save what there is now. Any thread. */
void meta_save_again(struct meta *meta);

/** Save another node's state up to a log index, for the next start. Any thread, while no group is
 * started with what is there. ERR_CORRUPT, ERR_INVALID: of another index; ERR_IO, ERR_DISK_FULL,
 * ERR_NO_MEMORY. */
MUST_CHECK enum err meta_install(const struct node *node, struct slice state, uint64_t index);

/** Whether bytes are what was saved, whole. ERR_CORRUPT. */
MUST_CHECK enum err meta_check(const void *bytes, size_t size);
/** Encode and decode what is saved, for tests and the fuzzer. ERR_CORRUPT. */
void meta_encode(const struct schema_map *map, uint64_t applied, struct bytes *out);
MUST_CHECK enum err meta_decode(const void *bytes, size_t size, struct schema_map *ret_map,
                                uint64_t *ret_applied);

#endif
