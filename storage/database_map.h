/*
 * database_map.h - the databases of a shard: table number -> database number -> name.
 *
 * Databases have numbers of their own, 0, 1, 2, ... in the order of their first table (and so of
 * their first series), the same on all replicas. The map is worked out from the catalog and kept
 * nowhere.
 *
 * Thread    One at a time. Memory: 4 bytes a table, and the names.
 */
#ifndef STORAGE_DATABASE_MAP_H
#define STORAGE_DATABASE_MAP_H

#include "storage/catalog.h"

#define DATABASE_NONE UINT32_MAX

struct database_map {
    uint32_t *of_table; /* Owned: database numbers, by table number. */
    uint32_t tables, table_capacity;
    struct slice *names; /* Owned, as the texts. */
    uint32_t count, capacity;
};

void database_map_fini(struct database_map *map); /* A zeroed struct is empty and valid. */

/** Take in the tables that the view has beyond those of the map. ERR_NO_MEMORY, ERR_CORRUPT (a
 * table's key is none). */
MUST_CHECK enum err database_map_extend(struct database_map *map, const struct catalog_view *view);

/** The number of a database, or DATABASE_NONE. */
uint32_t database_map_find(const struct database_map *map, struct slice name);

/** The database's name in a table key; empty if the key is none. Borrows from the key. */
struct slice database_map_name(struct slice table_key);

#endif
