/*
 * meta_internal.h - the meta group's state, and what its two halves share: meta.c has types, the
 * file and the group's side, meta_database.c has databases.
 */
#ifndef NODE_META_INTERNAL_H
#define NODE_META_INTERNAL_H

#include <stdatomic.h>

#include "node/meta.h"
#include "storage/block/entry.h"

enum { META_RETRY_MS = 50 };

struct meta {
    struct shard *shard;
    struct schema_map map;
    uint64_t applied;
    uint64_t saved;
    uint64_t changed_ms; /* 0: nothing to save. */
    bool saving;
    atomic_bool again;                                /* What is on the disk is damaged. */
    struct declare_request *waiting, **waiting_end;   /* By wait_index. */
    struct order_request *databases, **databases_end; /* Likewise. */
    struct order_request *decided, **decided_end;     /* To be answered, by due_ms. */
};

/** Propose an entry with this body. */
MUST_CHECK enum err meta_propose(struct meta *meta, enum entry_kind kind, const struct bytes *body,
                                 uint64_t *ret_index);

/** Propose that a database is made with the retention of the settings. */
MUST_CHECK enum err meta_create_default(struct meta *meta, struct slice name);
/** An ENTRY_DATABASE: change the map, tell the workers, answer who waits for it. */
MUST_CHECK enum err meta_apply_database(struct meta *meta, uint64_t index, const void *body,
                                        size_t size);
/** Answer what was decided some time ago; all that was, if `now_ms` is UINT64_MAX. */
void meta_answer_databases(struct meta *meta, uint64_t now_ms);
/** Leadership is lost. */
void meta_lose_databases(struct meta *meta);

#endif
