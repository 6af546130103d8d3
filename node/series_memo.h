/*
 * series_memo.h - what a worker remembers of the series and tables that it met in text.
 *
 * A line's head (its table and tags as they stood) leads to the canonical key, its hash and shard,
 * and the id that the shard's leader gave; so a line of a known series costs one look-up, and its
 * block carries 4 bytes instead of the key. A table leads to its fields and their types in the
 * order of the last line: the next line finds each field at the place where it expects it.
 *
 * Thread    The worker's.
 * Memory    At most bytes_max; when it is used up everything is forgotten at once, and met again.
 *           Pointers from it are good until the next series_memo_*() call that may add.
 */
#ifndef NODE_SERIES_MEMO_H
#define NODE_SERIES_MEMO_H

#include "storage/base/attrs.h"
#include "storage/base/err.h"
#include "storage/base/types.h"

struct memo_field {
    char *name; /* Owned. */
    uint32_t name_size;
    uint8_t type; /* enum field_type */
};

struct memo_table {
    struct memo_table *next; /* In its list. */
    char *key;               /* Owned: the table key. */
    uint32_t key_size;
    uint32_t field_count;
    uint32_t field_capacity;
    struct memo_field *fields; /* Owned. */
};

struct memo_series {
    uint64_t
        tag; /* Names this series until it is forgotten, and no other ever: series_memo_by_tag(). */
    char *head; /* Owned; the key follows it in the same memory. */
    uint32_t head_size;
    uint32_t key_size;
    uint64_t key_hash;
    struct memo_table *table;
    uint32_t shard;
    uint32_t id;     /* BLOCK_ID_NONE until the leader told. */
    uint32_t handle; /* In the lane's builder, while `round` is the lane's. */
    uint64_t round;
};

struct memo_slot {
    uint64_t hash;   /* Of database and head. */
    uint32_t number; /* 0: empty; otherwise the series' place in the chunks, plus 1. */
};

enum {
    MEMO_CHUNK = 4096,
    MEMO_CHUNKS_MAX = 1024,
    MEMO_TABLE_LISTS = 4096,
    MEMO_FIELDS_MAX = 256, /* Of a table; more are looked up in the schema each time. */
};

struct series_memo {
    struct memo_slot *slots; /* Owned. */
    uint32_t capacity;
    uint32_t count;
    struct memo_series
        *chunks[MEMO_CHUNKS_MAX]; /* Owned: MEMO_CHUNK series each; they never move. */
    struct memo_table *tables[MEMO_TABLE_LISTS]; /* Owned lists, by the key's hash. */
    uint64_t bytes;
    uint64_t bytes_max;
    uint32_t generation; /* Counts how often everything was forgotten. */
};

void series_memo_init(struct series_memo *memo, uint64_t bytes_max);
void series_memo_fini(struct series_memo *memo);

static inline const char *memo_series_key(const struct memo_series *series)
{
    return series->head + series->head_size;
}

/** The series of a database and a line's head; NULL if it is not remembered. */
struct memo_series *series_memo_find(const struct series_memo *memo, struct slice database,
                                     struct slice head);

/** The series with this tag; NULL if it is forgotten. */
struct memo_series *series_memo_by_tag(const struct series_memo *memo, uint64_t tag);

/** Remember one. Checks names and tags against limits. ERR_INVALID, ERR_LIMIT, ERR_NO_MEMORY. */
MUST_CHECK enum err series_memo_add(struct series_memo *memo, struct slice database,
                                    struct slice head, struct slice table, const struct tag *tags,
                                    size_t tag_count, uint32_t shards,
                                    struct memo_series **ret_series);

/** The type of a field; `guess` is its place in the line. 0: not remembered. */
unsigned series_memo_find_field(const struct memo_table *table, uint32_t guess, struct slice field);
/** Remember a field's type, as far as possible at the place `guess`. */
MUST_CHECK enum err series_memo_add_field(struct series_memo *memo, struct memo_table *table,
                                          uint32_t guess, struct slice field, enum field_type type);

#endif
