/*
 * store_internal.h - what a store holds. Private to store*.c.
 */
#ifndef STORAGE_STORE_INTERNAL_H
#define STORAGE_STORE_INTERNAL_H

#include "storage/block/block_newest.h"
#include "storage/block/query.h"
#include "storage/catalog.h"
#include "storage/compactions.h"
#include "storage/database_map.h"
#include "storage/head.h"
#include "storage/last_follow.h"
#include "storage/last_groups.h"
#include "storage/last_sets.h"
#include "storage/last_where.h"
#include "storage/marks.h"
#include "storage/producers.h"
#include "storage/seal.h"
#include "storage/store.h"
#include "storage/tentative.h"

enum {
    /* Constant blocks compress to nearly nothing, so a head is bounded by its rows as well: a seal
     * is asked for at the first number, admissions are refused at the second. */
    STORE_SEAL_ROWS = 32 * 1024 * 1024,
    STORE_HEAD_ROWS_MAX = 2 * STORE_SEAL_ROWS,
};

struct store {
    struct store_options options; /* dir is owned. */
    char *dir;
    struct sealer sealer; /* While a job is out, its alone. */
    bool waiting, blind;  /* Without a catalog, with a damaged one: store_damage.h. */

    struct catalog *catalog;
    struct producers *producers;
    struct tentative tentative;
    struct head head;
    struct segment **segments; /* Owned, each counted; in log order: manifest.h. */
    uint32_t segment_count;
    struct compactions compactions; /* Of the manifest: ordered, and not made yet. */
    struct database_map databases;  /* Of the applied series. */
    struct bytes marks;             /* As of applied_index: marks.h. */
    int64_t cutoff_max_ns;          /* Of all of them. */
    int64_t refused_before_ns;      /* store_refused_before() */
    struct bytes tombstones;        /* Of deletes: tombstone.h. */

    uint64_t applied_index;
    uint64_t sealed_index;
    uint64_t frozen_index; /* Of the last ENTRY_SEAL that froze something. */
    uint64_t chain, rows, points;

    struct seal_job *seals;    /* Ordered and not sealed, newest first, linked by `before`. */
    uint32_t seals_out;        /* Handed out, not done. */
    uint64_t seal_retry_ns;    /* After a failed one: not before (clk.h). */
    bool compacting;           /* A compaction is out. */
    uint64_t compact_retry_ns; /* As seal_retry_ns. */

    struct last_cache last; /* Of last values, as the next two: store_last.h. */
    struct last_follow last_follow;
    struct last_sets last_sets;
    struct last_where last_where; /* What store_last_look.c reads with, as the next two. */
    struct block_newest last_block;
    struct last_groups last_groups;
};

/** Some fresh keys of a block. */
struct store_keys {
    struct slice keys[CATALOG_BATCH];
    uint64_t hashes[CATALOG_BATCH];
    uint32_t ids[CATALOG_BATCH]; /* As store_find_keys() finds them. */
    uint32_t count;
};

/** The next ones, from `*at` on; none at the end. */
void store_next_keys(const struct block_view *view, size_t *at, struct store_keys *ret_keys);
/** Their hashes, and their ids: BLOCK_ID_NONE for those that the catalog does not have. */
void store_find_keys(const struct store *store, struct store_keys *keys);
/** Of the tombstones up to a log index keep those of the list. */
void store_keep_tombstones(struct store *store, uint64_t index, const struct bytes *list);

/** Look for the newest value of a field of a series, without a scan: in the head, and on the disk
 * if need be. It is known then, if there is room. False: it takes a scan. */
bool store_last_seek(struct store *store, uint32_t id, uint32_t field);
/** Its database does not keep rows of that time any more. */
bool store_last_is_gone(const struct store *store, uint32_t id, int64_t time_ns);

struct last_found;
/** Remember which series the query is about. */
void store_last_put_set(struct store *store, const struct query *query,
                        const struct last_found *found);

/** What is gone of a section's rows, by its table key. */
static inline struct mark store_mark(const struct store *store, struct slice table_key)
{
    return marks_find(&store->marks, database_map_name(table_key));
}

/** Nothing in the segment is there any more. */
bool store_is_gone(const struct store *store, const struct segment_info *info);

/** The state of a producer that admission goes by (tentative) or that apply goes by. */
static inline const struct producer_state *store_producer(const struct store *store,
                                                          uint64_t producer, bool tentative)
{
    const struct producer_state *state =
        tentative ? tentative_find(&store->tentative, producer) : NULL;

    return state != NULL ? state : producers_find(store->producers, producer);
}

#endif
