/*
 * schema_map.h - (table, field) -> type, and databases: what the whole site has agreed on.
 *
 * The meta group's replica owns the map that counts (meta.h); every worker has a copy to look into
 * on the way of a row. A field's type is decided once and never changes, so a copy that lags only
 * knows less. A database that was dropped stays, marked so: its name is refused until it is made
 * again.
 *
 * Thread    One.
 * Memory    About 40 bytes a field, and the names. schema_map_add()
 *           refuses above SCHEMA_FIELDS_MAX, so a site's schema cannot eat a node's memory.
 */
#ifndef NODE_SCHEMA_MAP_H
#define NODE_SCHEMA_MAP_H

#include <stdbool.h>

#include "storage/base/attrs.h"
#include "storage/base/err.h"
#include "storage/base/types.h"

/* Where a thousand years say that somebody mistook the unit. */
#define SCHEMA_RETENTION_MAX_NS (UINT64_C(36500) * 86400 * 1000000000)
#define SCHEMA_RETENTION_MIN_NS (UINT64_C(60) * 1000000000)

enum { SCHEMA_FIELDS_MAX = 1 << 20, SCHEMA_DATABASES_MAX = 4096 };

struct schema_field {
    uint64_t hash;
    const char *table_key; /* Owned; the name follows in the same piece of memory. */
    const char *name;
    uint32_t table_key_size;
    uint16_t name_size;
    uint8_t type; /* enum field_type; 0: an empty slot. */
};

struct schema_database {
    char *name;               /* Owned, NUL-terminated. */
    uint64_t retention_ns;    /* Rows are kept so long; 0: for ever. */
    uint64_t retention_bytes; /* Segments of all shards, on one node; 0: no limit. */
    uint64_t series_max;      /* Of all shards together; 0: no limit. */
    uint64_t drop;            /* Log index of its last drop, in the meta group; 0: none. */
    bool dropped;             /* And not made again since. */
    /* Of this process alone: */
    uint64_t dropped_ms; /* When it heard of that (worker_now_ms()). */
    int64_t *cutoffs_ns; /* Owned, by shard: rows before it are refused there. NULL: not known. */
};

struct schema_map {
    struct schema_field *slots; /* Owned: capacity of them, a power of two. */
    uint32_t capacity;
    uint32_t count;
    struct schema_database *databases; /* Owned. They keep their places. */
    uint32_t database_count;
    uint32_t dropped_count;
    uint64_t drop_max; /* Of all databases. */
};

/** A zeroed struct is empty and valid. */
void schema_map_fini(struct schema_map *map);

/** The field's type, 0 if it has none yet. */
unsigned schema_map_find(const struct schema_map *map, struct slice table_key, struct slice field);

/** Add a field that is not there. ERR_LIMIT, ERR_NO_MEMORY. */
MUST_CHECK enum err schema_map_add(struct schema_map *map, struct slice table_key,
                                   struct slice field, enum field_type type);

/* ---- Databases ----------------------------------------------------------------------------- */

/** The database, dropped or not; NULL: there never was one. Borrowed until the next one is set. */
const struct schema_database *schema_map_database(const struct schema_map *map, struct slice name);
/** It is there, and not dropped. */
bool schema_map_has_database(const struct schema_map *map, struct slice name);

/** Add a database, or replace what was known of it; `database` gives all but name and cutoffs,
 * which a drop forgets. ERR_LIMIT: SCHEMA_DATABASES_MAX (dropped ones count); ERR_NO_MEMORY. */
MUST_CHECK enum err schema_map_set_database(struct schema_map *map, struct slice name,
                                            const struct schema_database *database);
/** As a database without retention. Fine if it is there, or was dropped. The same errors. */
MUST_CHECK enum err schema_map_add_database(struct schema_map *map, struct slice name);

/** Rows of the database before that time are refused in that shard, of `shards`. One that is not
 * known is added. ERR_LIMIT, ERR_NO_MEMORY. */
MUST_CHECK enum err schema_map_cut(struct schema_map *map, struct slice name, uint32_t shard,
                                   uint32_t shards, int64_t cutoff_ns);

/** The window of time that a segment covers (seal_order.h): about a 24th of the retention. */
int64_t schema_map_window_ns(uint64_t retention_ns);

#endif
