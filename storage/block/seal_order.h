/*
 * seal_order.h - the body of an ENTRY_SEAL: what a leader tells all replicas to make of the head.
 *
 *     u64 upto | u32 databases | for each: string name, u64 window, i64 cutoff, u64 drop
 *     string tombstone (tombstone.h): rows to delete; empty: none
 *     u32 compactions | for each: u32 inputs, u64 number of each
 *     unless there are none: u32 clean segments | for each: u64 number, u64 log index
 *
 * A replica knows the log of its shard alone, so whatever else a seal depends on stands in here:
 * how wide the windows of time are that segments of a database cover, from which time on its rows
 * are kept, and that it was dropped. A database that is not listed has the default window, and
 * nothing of it changes. A compaction lists segments that become one, in their order (manifest.h);
 * one that does not fit what the shard has is passed over, everywhere the same. A clean segment is
 * one that deletes up to a log index were found to hide nothing of (proof.h), so that it need not
 * be written anew for them; the same goes for one of those that does not fit.
 */
#ifndef STORAGE_BLOCK_SEAL_ORDER_H
#define STORAGE_BLOCK_SEAL_ORDER_H

#include "storage/base/buf.h"
#include "storage/base/bytes.h"
#include "storage/base/err.h"
#include "storage/base/types.h"

#define SEAL_WINDOW_DEFAULT_NS (INT64_C(86400) * 1000000000)
#define SEAL_WINDOW_MIN_NS     (INT64_C(60) * 1000000000)

enum {
    SEAL_DATABASES_MAX = 4096,
    SEAL_COMPACTIONS_MAX = 16,
    SEAL_INPUTS_MAX = 64,
    SEAL_CLEANS_MAX = 256
};

struct seal_database {
    struct slice name; /* Borrowed. */
    int64_t window_ns; /* Rows of one segment are of one window: SEAL_WINDOW_MIN_NS or more. */
    int64_t cutoff_ns; /* Rows before it are dropped, for ever; INT64_MIN: none. */
    uint64_t drop;     /* Not 0: all rows before the order are dropped. Larger with each drop. */
};

/** Segments that become one; one alone is written anew without what was erased. */
struct seal_compaction {
    uint32_t count;
    uint64_t inputs[SEAL_INPUTS_MAX];
};

/** A segment, and the log index up to which deletes hide nothing of it. */
struct seal_clean {
    uint64_t number, index;
};

/** What a leader orders. All is borrowed. */
struct seal_content {
    const struct seal_database *databases;
    uint32_t database_count;
    struct slice tombstone; /* Its bytes; empty: none. */
    const struct seal_compaction *compactions;
    uint32_t compaction_count; /* At most SEAL_COMPACTIONS_MAX. */
    const struct seal_clean *cleans;
    uint32_t clean_count; /* At most SEAL_CLEANS_MAX. */
};

struct seal_order {
    uint64_t upto; /* Applied by the proposer: at or below the last seal, the order is outdated. */
    uint32_t left; /* Databases that seal_order_next() has not given yet. */
    struct reader reader;
    struct slice tombstone;    /* Its bytes; none if it deletes nothing. */
    uint32_t compactions_left; /* That seal_order_compaction() has not given yet. */
    struct reader compactions;
    uint32_t cleans_left; /* That seal_order_clean() has not given yet. */
    struct reader cleans;
};

/** The whole entry for `shard`. NULL: no memory. */
struct buf *seal_order_entry(uint32_t shard, uint64_t upto, const struct seal_content *content);

/** Check the entry's body wholly; *ret_order borrows from it. ERR_INVALID. */
MUST_CHECK enum err seal_order_read(const struct buf *entry, struct seal_order *ret_order);

/** The next database of an order; false after the last. */
bool seal_order_next(struct seal_order *order, struct seal_database *ret_database);
/** The next compaction of an order; false after the last. */
bool seal_order_compaction(struct seal_order *order, struct seal_compaction *ret_compaction);
/** The next clean segment of an order; false after the last. */
bool seal_order_clean(struct seal_order *order, struct seal_clean *ret_clean);

#endif
