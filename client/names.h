/*
 * names.h - what a client has named so far: tables, their fields and types, and series.
 *
 * Everything is remembered for the client's life, so that a row is written by numbers and pointers
 * and its names are compared only once. Fields and tables are few, series may be millions: a
 * series is 48 bytes and its key.
 *
 * Thread   The caller's, under the lock of rows.h. One exception: `id` of a series, which the
 *          thread of io.h stores when the first block with that series is answered.
 */
#ifndef CLIENT_NAMES_H
#define CLIENT_NAMES_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "client/hash_index.h"
#include "storage/base/types.h"

struct field {
    char *name; /* Owned, NUL-terminated. */
    size_t size;
    enum field_type type; /* As the site decided; 0: nobody asked it yet. */
};

struct table {
    uint8_t *key; /* Owned: its table key (types.h). */
    size_t key_size;
    struct slice name;    /* The table's name in it. */
    struct field *fields; /* Owned, in order of first sight. */
    uint32_t field_count, field_capacity;
    uint32_t guess; /* Rows tend to name the same fields in the same order: try this one next. */
    struct hash_index by_name;
};

struct series {
    /* In its shard; BLOCK_ID_NONE until known. Relaxed: it is a number by itself. */
    _Atomic uint32_t id;
    uint32_t shard;
    uint32_t batch; /* The batch of its shard that has it under `place` (rows.c). */
    uint32_t place;
    uint32_t key_size;
    uint32_t table; /* names_table() */
    uint64_t hash;
    const uint8_t *key; /* Borrowed from the names. */
};

struct names;

/** For one database (copied), spread over `shards`. ERR_NO_MEMORY; ERR_INVALID: the name's size. */
MUST_CHECK enum err names_new(struct slice database, uint32_t shards, struct names **ret_names);
void names_free(struct names *names); /* NULL is allowed. */

struct slice names_database(const struct names *names);
uint32_t names_series_count(const struct names *names);

/**
 * The number of a series, new or known. Tags in any order.
 *
 * Errors  ERR_INVALID: an empty name or value, a tag given twice; ERR_LIMIT: too many tags, a name
 *         too long; ERR_NO_MEMORY
 */
MUST_CHECK enum err names_series(struct names *names, struct slice table, const struct tag *tags,
                                 size_t tag_count, uint32_t *ret_series);

/** The series of this number, NULL if there is none. It stays where it is. */
struct series *names_series_at(struct names *names, uint32_t series);

/** The table of this number; the number is from a series. Borrowed until a table is added. */
struct table *names_table(struct names *names, uint32_t table);

/** The table's field of this name, added on first sight without a type; borrowed until one is
 * added. ERR_INVALID: empty; ERR_LIMIT: too long, more than FIELD_COUNT_MAX; ERR_NO_MEMORY. */
MUST_CHECK enum err names_field(struct table *table, const char *name, size_t size,
                                struct field **ret_field);

#endif
