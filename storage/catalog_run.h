/*
 * catalog_run.h - a part of a shard's series that does not change any more: a mapped file that is
 * its own dictionary, its own keys and its own hash table.
 *
 *     header (128) | values | names, tables, shapes | groups | their places | hash table
 *
 *     series -> group of 64: columns  | shape | 1st tag | 2nd tag | ...    packed ranks, a few bits
 *               shape 3 = table 0, tags (2, 5, 7)      tag 5 = "host", its values: sorted, ranks
 *
 *     hash   -> bucket of about 12 -> tags (8 bits of hash), series      verified by its key
 *
 * NUMBERS   A series is its position in the run, from 0; its id is `first` plus that.
 * ABSENT    A key's tags stand in the order of their names, so the columns of a group are the
 *           first, second, ... tag of each key. Series of other shapes leave them 0.
 * TRUST     The file's checksum is verified before a run is made of it. Whatever it holds all the
 *           same, every function stays inside the bytes, and what does not fit together is not
 *           found. Nothing is allocated that the bytes do not bear out.
 * Thread    Any. Counted: the last catalog_run_unref() unmaps.
 */
#ifndef STORAGE_CATALOG_RUN_H
#define STORAGE_CATALOG_RUN_H

#include <assert.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "storage/base/err.h"
#include "storage/base/file.h"
#include "storage/catalog_values.h"

#define CATALOG_RUN_MAGIC 0x3143524du /* "MRC1" */
#define CATALOG_RUN_NONE  0xffffffffu

enum {
    CATALOG_RUN_VERSION = 3,
    CATALOG_GROUP = 64,      /* Series of a group. */
    CATALOG_BUCKET = 12,     /* Series of a bucket, about. */
    CATALOG_COLUMN_SIZE = 5, /* Of a column's head in a group. */
    CATALOG_RUN_TAGS = TAG_COUNT_MAX,
    CATALOG_RUN_BATCH = 32, /* Keys that are looked for at once: more than a core can fetch. */
};

struct catalog_run_header {
    uint32_t magic;     /*  0 */
    uint32_t crc;       /*  4: CRC-32C of bytes 8 to 127 */
    uint16_t version;   /*  8 */
    uint16_t zero16;    /* 10 */
    uint32_t shard;     /* 12 */
    uint32_t first;     /* 16: id of the first series */
    uint32_t count;     /* 20: series, at least 1 */
    uint64_t size;      /* 24: bytes of the file */
    uint32_t body_crc;  /* 32: CRC-32C of bytes 128 to the end */
    uint32_t names;     /* 36 */
    uint32_t tables;    /* 40 */
    uint32_t shapes;    /* 44 */
    uint32_t buckets;   /* 48 */
    uint32_t zero32;    /* 52 */
    uint64_t words_at;  /* 56: names, tables, shapes */
    uint64_t groups_at; /* 64 */
    uint64_t places_at; /* 72: u64 offset of each group and of the end, from groups_at */
    uint64_t table_at;  /* 80: u32 start of each bucket and the end; the buckets */
    uint8_t zero[40];   /* 88 */
};
static_assert(sizeof(struct catalog_run_header) == 128, "stored on disk: the size cannot change");

struct catalog_run_name {
    struct slice name;
    struct slice coded; /* With its size in front, as in a key. */
    struct catalog_values values;
};

struct catalog_run_table {
    uint32_t number; /* In the shard: catalog.h. */
    uint32_t series; /* Of the run. */
    struct slice key;
};

struct catalog_run_shape {
    uint32_t table; /* In `tables`. */
    uint32_t tags;
    const uint32_t *names; /* In `names`, ascending. */
};

struct label_index; /* storage/label_index.h */

struct catalog_run {
    atomic_uint references;
    const struct disk *disk; /* That mapped the bytes; NULL: they were malloc'ed. */
    const uint8_t *bytes;
    struct catalog_run_header header;
    struct catalog_run_name *names; /* Owned, as the next three; slices borrow from the bytes. */
    struct catalog_run_table *tables;
    struct catalog_run_shape *shapes;
    uint32_t *shape_names;
    const uint8_t *groups, *places, *buckets, *entries;
    uint64_t groups_size;
    struct label_index *postings; /* Owned. */
};

/** One group of series, as columns: the first one says their shapes. */
struct catalog_group {
    uint32_t columns; /* Of tags. */
    uint32_t base[1 + CATALOG_RUN_TAGS];
    uint8_t width[1 + CATALOG_RUN_TAGS];
    const uint8_t *packed[1 + CATALOG_RUN_TAGS];
};

/** Shape and ranks of one series. */
struct catalog_codes {
    const struct catalog_run_shape *shape;
    uint32_t ranks[CATALOG_RUN_TAGS];
};

/**
 * Make a run of the bytes of a whole file. It takes them over, also when it fails: `disk` unmaps
 * them in the end; NULL: free().
 *
 * Errors   ERR_CORRUPT, ERR_VERSION: say what, not which file; ERR_NO_MEMORY
 */
MUST_CHECK enum err catalog_run_open(const uint8_t *bytes, uint64_t size, uint32_t shard,
                                     const struct disk *disk, struct catalog_run **ret_run);
struct catalog_run *catalog_run_ref(struct catalog_run *run);
void catalog_run_unref(struct catalog_run *run); /* NULL is allowed. */

/** Check a header alone: magic, sum, version, shard, size. ERR_CORRUPT, ERR_VERSION. */
MUST_CHECK enum err catalog_run_check(const struct catalog_run_header *header, uint64_t size,
                                      uint32_t shard);

/** Its sums over the bytes as they are now: before they go into another file. ERR_CORRUPT. */
MUST_CHECK enum err catalog_run_verify(const struct catalog_run *run);

/** The series of a key, or CATALOG_RUN_NONE. `hash` is key_hash() of it. */
uint32_t catalog_run_find(const struct catalog_run *run, struct slice key, uint64_t hash);
/** The same for up to CATALOG_RUN_BATCH keys: what several need is fetched at the same time. Those
 * whose `series` is not CATALOG_RUN_NONE already are passed over. */
void catalog_run_find_batch(const struct catalog_run *run, const struct slice *keys,
                            const uint64_t *hashes, uint32_t count, uint32_t *series);
/** Whether a series has this key. Any number may be asked for. */
bool catalog_run_has(const struct catalog_run *run, uint32_t at, struct slice key);
/** Write the key of a series. Returns its size; 0 if the bytes are wrong. Room: KEY_SIZE_MAX. */
size_t catalog_run_key(const struct catalog_run *run, uint32_t at, char *room);
/** The same of one whose codes are known. */
size_t catalog_run_key_of(const struct catalog_run *run, const struct catalog_codes *codes,
                          char *room);
/** The number of its table in the shard; CATALOG_RUN_NONE if the bytes are wrong. */
uint32_t catalog_run_table(const struct catalog_run *run, uint32_t at);
/** False if the bytes are wrong; else every rank is that of a value. */
bool catalog_run_codes(const struct catalog_run *run, uint32_t at, struct catalog_codes *ret_codes);
/** Group `at` of the run. False if the bytes are wrong. */
bool catalog_run_group(const struct catalog_run *run, uint32_t at, struct catalog_group *ret_group);

/** Position of a bucket's hash: what the leader and the builder have to agree on. */
static inline uint32_t catalog_run_bucket(uint64_t hash, uint32_t buckets)
{
    return (uint32_t)(((hash & 0xffffffffu) * buckets) >> 32);
}

/** The hash's high bits choose the shard and its low half the bucket: the tag is from between. */
static inline uint8_t catalog_run_tag(uint64_t hash)
{
    return (uint8_t)(hash >> 32);
}

/** Value `at` (below CATALOG_GROUP) of a column. */
static inline uint32_t catalog_group_value(const struct catalog_group *group, uint32_t column,
                                           uint32_t at)
{
    uint32_t bit = at * group->width[column];
    uint64_t word;

    __builtin_memcpy(&word, group->packed[column] + bit / 8, sizeof word);
    word = word >> bit % 8 & ((UINT64_C(1) << group->width[column]) - 1);
    return group->base[column] + (uint32_t)word;
}

#endif
