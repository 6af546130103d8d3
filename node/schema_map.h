/*
 * schema_map.h - (table, field) -> type: what the whole site has agreed on.
 *
 * The meta group's replica owns the map that counts (meta.h); every worker has a copy to look into
 * on the way of a row. A field's type is decided once and never changes, so a copy that lags only
 * knows less.
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

enum { SCHEMA_FIELDS_MAX = 1 << 20, SCHEMA_DATABASES_MAX = 4096 };

struct schema_field {
    uint64_t hash;
    const char *table_key; /* Owned; the name follows in the same piece of memory. */
    const char *name;
    uint32_t table_key_size;
    uint16_t name_size;
    uint8_t type; /* enum field_type; 0: an empty slot. */
};

struct schema_map {
    struct schema_field *slots; /* Owned: capacity of them, a power of two. */
    uint32_t capacity;
    uint32_t count;
    char **databases; /* Owned, NUL-terminated names. */
    uint32_t database_count;
};

/** A zeroed struct is empty and valid. */
void schema_map_fini(struct schema_map *map);

/** The field's type, 0 if it has none yet. */
unsigned schema_map_find(const struct schema_map *map, struct slice table_key, struct slice field);

/** Add a field that is not there. ERR_LIMIT, ERR_NO_MEMORY. */
MUST_CHECK enum err schema_map_add(struct schema_map *map, struct slice table_key,
                                   struct slice field, enum field_type type);

bool schema_map_has_database(const struct schema_map *map, struct slice name);
/** Fine if it is there. ERR_LIMIT, ERR_NO_MEMORY. */
MUST_CHECK enum err schema_map_add_database(struct schema_map *map, struct slice name);

#endif
