/*
 * catalog.h - the series of a shard: canonical key <-> id, ids 0, 1, 2, ... in log order.
 *
 *     index  256 small hash tables      slots  id -> where its key stands, and its table
 *            hash -> id                        |
 *                                              v
 *     keys   chunks of 1 MiB that never move:  varint size, key | varint size, key | ...
 *
 *     ids    0 ........................ count ............... total
 *               applied: views see them       tentative: stamped by a leader, not applied yet
 *
 * TABLES     have numbers of their own, 0, 1, 2, ... in the order of their first series.
 * TENTATIVE  A leader adds a key when it stamps an id and confirms it when the entry is applied.
 *            What lies between count and total can be taken back, newest first.
 * GROWTH     One of the 256 tables doubles at a time, so no step takes longer than about a
 *            millisecond, also with millions of series.
 * MEMORY     the keys, 8 bytes a slot, 6 to 11 bytes of index: docs/formats.md has the figures.
 *
 * Thread     The worker's. A view is made there, handed over (which orders the memory), and then
 *            read by any one thread while the worker goes on adding: keys, slots and chunk
 *            directories below the view's counts are never written again.
 */
#ifndef STORAGE_CATALOG_H
#define STORAGE_CATALOG_H

#include "storage/base/attrs.h"
#include "storage/base/err.h"
#include "storage/base/types.h"
#include "storage/block/block.h"

struct catalog;

#define CATALOG_NONE BLOCK_ID_NONE /* No such series; no such table. */

enum {
    CATALOG_CHUNK = 1 << 20,      /* Bytes of a chunk of keys. */
    CATALOG_TABLES_MAX = 1 << 20, /* Tables of a shard. */
};

#define CATALOG_SERIES_MAX 0xfffffffeu

MUST_CHECK enum err catalog_new(struct catalog **ret_catalog);
/** No view may be in use any more. NULL is allowed. */
void catalog_free(struct catalog *catalog);

/** Series applied; ids below it are for ever. */
uint32_t catalog_count(const struct catalog *catalog);
/** Series applied and tentative. */
uint32_t catalog_total(const struct catalog *catalog);
uint32_t catalog_tables(const struct catalog *catalog);
/** Memory, in bytes. */
size_t catalog_bytes(const struct catalog *catalog);

/** The id of a key, tentative ones too, or CATALOG_NONE. `hash` is key_hash() of it. */
uint32_t catalog_find(const struct catalog *catalog, const void *key, size_t size, uint64_t hash);

/**
 * Add a key that catalog_find() does not find: tentative, with the id catalog_total().
 *
 * key      canonical (checked by the caller), copied
 * Errors   ERR_LIMIT: CATALOG_SERIES_MAX or CATALOG_TABLES_MAX; ERR_NO_MEMORY. Nothing is changed.
 */
MUST_CHECK enum err catalog_add(struct catalog *catalog, struct slice key, size_t table_key_size,
                                uint64_t hash);

/** The first tentative key is applied. */
void catalog_confirm(struct catalog *catalog);
/** Take back tentative keys, newest first, until catalog_total() is `total`. */
void catalog_forget(struct catalog *catalog, uint32_t total);

/** The key of an id below catalog_total(). Borrowed: until the catalog is freed, or taken back. */
struct slice catalog_key(const struct catalog *catalog, uint32_t id);
/** The table number of an id below catalog_total(). */
uint32_t catalog_table(const struct catalog *catalog, uint32_t id);
/** The number of a table, or CATALOG_NONE. */
uint32_t catalog_find_table(const struct catalog *catalog, struct slice table_key);

/** Make room in the index for `count` series, before loading them: faster than growing. */
MUST_CHECK enum err catalog_expect(struct catalog *catalog, uint32_t count);

/**
 * Append keys in the stored form (varint size, key, ...), applied at once; `bytes` is at most
 * CATALOG_CHUNK. For loading: the bytes come from a file whose checksum is good, but are checked.
 *
 * Errors   ERR_CORRUPT: not `count` keys, a key without a table, a key twice; ERR_NO_MEMORY;
 *          ERR_LIMIT. The catalog is then good for catalog_free() only.
 */
MUST_CHECK enum err catalog_load(struct catalog *catalog, const void *bytes, size_t size,
                                 uint32_t count);

/**
 * The longest piece in the stored form that starts with id `from` and ends below `to`. `to` is at
 * most a view's count or catalog_count(). Any thread, as a view. Borrowed.
 *
 * ret_next   the id behind the piece: more than `from`
 */
struct slice catalog_stored(const struct catalog *catalog, uint32_t from, uint32_t to,
                            uint32_t *ret_next);

/* ---- Views --------------------------------------------------------------------------------- */

/** The applied series of one moment. Borrows the catalog, which must outlive it. A plain value. */
struct catalog_view {
    const struct catalog *catalog;
    uint32_t count;  /* Ids are 0 to count - 1. */
    uint32_t tables; /* Table numbers are 0 to tables - 1. */
};

/** Worker only. */
struct catalog_view catalog_view(const struct catalog *catalog);

/** The canonical key of an id below view->count. Borrowed from the catalog. */
struct slice catalog_view_key(const struct catalog_view *view, uint32_t id);
/** The table number of an id below view->count: cheap, for filtering. */
uint32_t catalog_view_table(const struct catalog_view *view, uint32_t id);
/** The table key of a table number below view->tables. Borrowed from the catalog. */
struct slice catalog_view_table_key(const struct catalog_view *view, uint32_t table);
/** The number of a table, or CATALOG_NONE. Looks at every table: once a scan, not once a series. */
uint32_t catalog_view_find_table(const struct catalog_view *view, struct slice table_key);

#endif
