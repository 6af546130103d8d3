/*
 * tombstone.h - which rows a delete takes away: of one table, some series, some time.
 *
 *     string table key | i64 first | i64 last | u32 conditions
 *     for each: string tag, string value, u8 negate
 *
 * The same bytes are a DELETE frame's, stand in the order that a leader makes of it
 * (seal_order.h), and in a manifest until no segment holds such rows.
 */
#ifndef STORAGE_BLOCK_TOMBSTONE_H
#define STORAGE_BLOCK_TOMBSTONE_H

#include <stdbool.h>

#include "storage/base/attrs.h"
#include "storage/base/bytes.h"
#include "storage/base/err.h"
#include "storage/base/types.h"

enum {
    TOMBSTONE_CONDITIONS_MAX = 32,
    TOMBSTONE_SIZE_MAX = 128 * 1024, /* Bytes: all names at their limits fit. */
    TOMBSTONES_MAX = 256,            /* That a shard's leader takes before some are cleared away. */
};

struct tombstone {
    struct slice table_key;
    int64_t first_ns, last_ns; /* Both inclusive. */
    uint32_t condition_count;  /* All must hold; a series without the tag has the value "". */
    struct {
        struct slice tag, value;
        bool negate;
    } conditions[TOMBSTONE_CONDITIONS_MAX];
    uint64_t index; /* Of the order in the log: rows that stand before it. Not in the bytes. */
};

void tombstone_put(const struct tombstone *tombstone, struct bytes *out);
/** From untrusted bytes, which the result borrows; `index` is 0. ERR_INVALID. */
MUST_CHECK enum err tombstone_get(const void *bytes, size_t size, struct tombstone *ret);

/** Whether a series of the table is meant, by its canonical key. */
bool tombstone_matches(const struct tombstone *tombstone, struct slice series_key);

/* ---- Lists: for each, ascending: u64 index, string tombstone ------------------------------- */

void tombstones_add(struct bytes *list, uint64_t index, struct slice tombstone);
/** The next one; false at the end. ret_bytes: the tombstone alone; may be NULL, as ret_tombstone.
 * `list` was checked. */
bool tombstones_next(struct reader *list, struct tombstone *ret_tombstone, struct slice *ret_bytes);
uint32_t tombstones_count(const struct bytes *list);
/** Those with an index up to `upto`, in an array that borrows from the list: free() it.
 * ERR_NO_MEMORY. */
MUST_CHECK enum err tombstones_parse(const struct bytes *list, uint64_t upto,
                                     struct tombstone **ret_tombstones, uint32_t *ret_count);
/** Whether bytes from a disk are such a list. ERR_CORRUPT. */
MUST_CHECK enum err tombstones_check(const void *bytes, size_t size);

#endif
