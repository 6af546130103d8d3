/*
 * catalog.h - the series of a shard: canonical key <-> id, ids 0, 1, 2, ... in log order.
 *
 *     | run (mapped file) | run | run | young (memory), being sealed | young          |
 *     0 ................................................................ count .. total
 *                         applied: views see them                          tentative
 *
 * PARTS      A seal turns the young part into a run, a file of its own (catalog_run.h), and merges
 *            it with runs before it that are not much larger, so there are few (catalog_file.h).
 *            Keys in runs are coded in a few bytes: they are written out when they are asked for.
 * TABLES     have numbers of their own, 0, 1, 2, ... in the order of their first series.
 * TENTATIVE  A leader adds a key when it stamps an id and confirms it when the entry is applied.
 *            What lies between count and total can be taken back, newest first.
 * MEMORY     docs/formats.md has the figures.
 *
 * Thread     The worker's. A view is made there, handed over (which orders the memory), and then
 *            read by any one thread while the worker goes on adding: what lies below the view's
 *            counts is never written again, and the view holds the parts.
 */
#ifndef STORAGE_CATALOG_H
#define STORAGE_CATALOG_H

#include <stdbool.h>

#include "storage/base/attrs.h"
#include "storage/base/err.h"
#include "storage/base/types.h"
#include "storage/block/block.h"

struct catalog;
struct catalog_run;
struct catalog_young;

#define CATALOG_NONE BLOCK_ID_NONE /* No such series; no such table. */

enum {
    CATALOG_TABLES_MAX = 1 << 20,         /* Tables of a shard. */
    CATALOG_KEY_ROOM = KEY_SIZE_MAX + 16, /* Bytes that asking for a key may need. */
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
/** Memory, in bytes, without what is mapped. */
size_t catalog_bytes(const struct catalog *catalog);

/** The id of a key, tentative ones too, or CATALOG_NONE. `hash` is key_hash() of it. */
uint32_t catalog_find(const struct catalog *catalog, const void *key, size_t size, uint64_t hash);

enum { CATALOG_BATCH = 32 };

/** The same for up to CATALOG_BATCH keys at once, which is several times faster: the memory that
 * they stand in is fetched for all of them at the same time. */
void catalog_find_batch(const struct catalog *catalog, const struct slice *keys,
                        const uint64_t *hashes, uint32_t count, uint32_t *ret_ids);

/** The same, if it is one of those that were added since the last seal. */
uint32_t catalog_find_new(const struct catalog *catalog, struct slice key, uint64_t hash);

/** Whether series `id` has this key: cheap if it is new. Any id may be asked for. */
bool catalog_has(const struct catalog *catalog, uint32_t id, struct slice key);

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

/** The table number of an id below catalog_total(). */
uint32_t catalog_table(const struct catalog *catalog, uint32_t id);
/** The number of a table, or CATALOG_NONE. */
uint32_t catalog_find_table(const struct catalog *catalog, struct slice table_key);
/** Series of a database, tentative ones too. */
uint32_t catalog_database_series(const struct catalog *catalog, struct slice name);

/* ---- Views --------------------------------------------------------------------------------- */

struct catalog_part {
    uint32_t first; /* Its first id; it ends where the next one begins, or with the view. */
    struct catalog_run *run;
    struct catalog_young *young; /* If it is not a run. */
};

struct catalog_parts; /* Some of them, counted. */

/** The applied series of one moment. Borrows the catalog, which must outlive it; counts its parts:
 * catalog_view_fini(). */
struct catalog_view {
    const struct catalog *catalog;
    struct catalog_parts *parts;
    uint32_t count;  /* Ids are 0 to count - 1. */
    uint32_t tables; /* Table numbers are 0 to tables - 1. */
};

/** Worker only. */
struct catalog_view catalog_view(const struct catalog *catalog);
/** Any thread. A zeroed view is valid, and so is one that is fini. */
void catalog_view_fini(struct catalog_view *view);

/** The canonical key of an id below view->count, borrowed from the view or written into `room`, of
 * CATALOG_KEY_ROOM bytes. Size 0: the bytes of its file are wrong. */
struct slice catalog_view_key(const struct catalog_view *view, uint32_t id, char *room);
/** The table number of an id below view->count: cheap, for filtering. */
uint32_t catalog_view_table(const struct catalog_view *view, uint32_t id);
/** The table key of a table number below view->tables. Borrowed from the catalog. */
struct slice catalog_view_table_key(const struct catalog_view *view, uint32_t table);
/** The number of a table, or CATALOG_NONE. Looks at every table: once a scan, not once a series. */
uint32_t catalog_view_find_table(const struct catalog_view *view, struct slice table_key);

/** Its parts, in the order of their ids. Borrowed. */
const struct catalog_part *catalog_view_parts(const struct catalog_view *view, uint32_t *ret_count);

/* ---- Seals --------------------------------------------------------------------------------- */

/** A view for a seal: what is applied from now on comes into a part of its own. ERR_NO_MEMORY. */
MUST_CHECK enum err catalog_freeze(struct catalog *catalog, struct catalog_view *ret_view);

/** A run takes the place of the parts that it holds; counted. ERR_NO_MEMORY: they stay, and do. */
MUST_CHECK enum err catalog_adopt(struct catalog *catalog, struct catalog_run *run);

/** The next run of a catalog that holds nothing else, at start; counted. ERR_CORRUPT: it does not
 * follow the one before; ERR_LIMIT, ERR_NO_MEMORY. */
MUST_CHECK enum err catalog_load(struct catalog *catalog, struct catalog_run *run);

#endif
