/*
 * types.h - the data model's small words, shared by every layer: value types and canonical keys.
 *
 * TABLE KEY   varint size, database; varint size, table. Names are bytes, compared as bytes.
 * SERIES KEY  the table key, then for each tag in ascending order of name:
 *             varint size, name; varint size, value. So a series key starts with its table key,
 *             needs no escapes, and two equal series have equal bytes.
 * SHARD       XXH3-64 of the series key, scaled: shard = (high 32 bits * shards) >> 32.
 *             Group 0 is the meta group (schema, databases); shard S is group S + 1.
 */
#ifndef STORAGE_BASE_TYPES_H
#define STORAGE_BASE_TYPES_H

#include <stddef.h>
#include <stdint.h>

/* The numbers are stored and sent: append only. */
enum field_type {
    FIELD_FLOAT = 1, /* float64, as its bit pattern */
    FIELD_INT = 2,   /* int64 */
    FIELD_UINT = 3,  /* uint64 */
    FIELD_BOOL = 4,  /* 0 or 1 */
    FIELD_STRING = 5,
    FIELD_TYPE_END
};

/** "float", "integer", "unsigned", "boolean", "string"; "unknown" for anything else. Static. */
const char *field_type_name(unsigned type);

struct slice {
    const char *data; /* Borrowed; not NUL-terminated. */
    size_t size;
};

enum {
    KEY_SIZE_MAX = 16 * 1024, /* Bytes of a series key. */
    NAME_SIZE_MAX = 1024,     /* Bytes of a database, table, tag or field name, or a tag value. */
    TAG_COUNT_MAX = 64,
    FIELD_COUNT_MAX = 1024, /* Fields of one table in one block. */
};

/** XXH3-64 of the key's bytes. */
uint64_t key_hash(const void *key, size_t size);

/** The shard, 0 to shards - 1, of a key with this hash. */
static inline uint32_t key_shard(uint64_t hash, uint32_t shards)
{
    return (uint32_t)(((hash >> 32) * shards) >> 32);
}

struct tag {
    struct slice name;
    struct slice value;
};

/**
 * Write the canonical key; tags in any order, sorted here.
 *
 * Returns the size; 0 if `room` is too small (give KEY_SIZE_MAX: what does not fit there is not
 * allowed), or two tags have one name. tag_count at most TAG_COUNT_MAX.
 */
size_t key_write(struct slice database, struct slice table, const struct tag *tags,
                 size_t tag_count, void *out, size_t room);

/** Write a table key. Returns its size, 0 if `room` is too small. */
size_t key_write_table(struct slice database, struct slice table, void *out, size_t room);

/** How many of a canonical key's first bytes are its table key. */
size_t key_table_size(const void *key, size_t size);

/** The pieces of a canonical key, borrowed from it. */
struct key_parts {
    struct slice database;
    struct slice table;
    size_t table_key_size; /* The key's first bytes that are its table key. */
    size_t tag_count;
    struct tag tags[TAG_COUNT_MAX];
};

/**
 * Take a key apart, checking it wholly: sorted tags, sizes in their shortest spelling and within
 * the limits, no bytes left over. Returns 0, or -1 with *ret_parts undefined.
 */
int key_parse(const void *key, size_t size, struct key_parts *ret_parts);

#endif
