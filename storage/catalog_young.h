/*
 * catalog_young.h - the series that came since the last seal: whole keys in memory.
 *
 *     index  256 small hash tables      slots  number -> where its key stands, and its table
 *            hash -> number                    |
 *                                              v
 *     keys   chunks of 1 MiB that never move:  varint size, key | varint size, key | ...
 *
 * GROWTH     One of the 256 tables doubles at a time, so no step takes longer than about a
 *            millisecond.
 * NUMBERS    0, 1, 2, ... in the order of adding: a series' id is this part's first id plus that.
 * MEMORY     the keys, 8 bytes a slot, 9 to 18 bytes of index.
 *
 * Thread     The worker adds, finds and removes. Any thread may ask for key and table of a number
 *            that it got from a view: what stands there is never written again. Counted: the last
 *            catalog_young_unref(), on any thread, frees.
 */
#ifndef STORAGE_CATALOG_YOUNG_H
#define STORAGE_CATALOG_YOUNG_H

#include "storage/base/attrs.h"
#include "storage/base/err.h"
#include "storage/base/types.h"

struct catalog_young;

enum { CATALOG_CHUNK = 1 << 20 }; /* Bytes of a chunk of keys. */

#define CATALOG_YOUNG_NONE 0xffffffffu

MUST_CHECK enum err catalog_young_new(struct catalog_young **ret_young);
struct catalog_young *catalog_young_ref(struct catalog_young *young);
void catalog_young_unref(struct catalog_young *young); /* NULL is allowed. */

uint32_t catalog_young_count(const struct catalog_young *young);
/** Memory, in bytes. */
size_t catalog_young_bytes(const struct catalog_young *young);

/** The number of a key, or CATALOG_YOUNG_NONE. `hash` is key_hash() of it. */
uint32_t catalog_young_find(const struct catalog_young *young, struct slice key, uint64_t hash);

/** Begin to fetch what finding or adding a key will look at. */
void catalog_young_prefetch(const struct catalog_young *young, uint64_t hash);

/** Add a key that is not there, of table number `table`. ERR_LIMIT, ERR_NO_MEMORY: nothing is
 * changed. */
MUST_CHECK enum err catalog_young_add(struct catalog_young *young, struct slice key, uint32_t table,
                                      uint64_t hash);
/** Take back the one added last. */
void catalog_young_remove(struct catalog_young *young);

/** Borrowed until the part is freed, or the key taken back. */
struct slice catalog_young_key(const struct catalog_young *young, uint32_t number);
uint32_t catalog_young_table(const struct catalog_young *young, uint32_t number);

#endif
