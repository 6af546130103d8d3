/*
 * last_cache.h - the newest values of the series that were asked for, in bounded memory.
 *
 *      id --ids---.     lines of 64 bytes, one a cache line
 *                 +--> | series 17, credit, 2 cells | --> | 2 more cells | --> ...
 *      key --keys-'
 *                       cell: field, type, time, bits; or "there is no value"
 *
 * A cell says what a scan of everything applied so far would say of one field of one series. It is
 * put in after such a scan (store_last.h) and then follows what is applied: last_follow.h. What is
 * not known is not there, so anything may be dropped at any time.
 *
 * COMPLETE  A series whose cells are all the fields that have a value: another field has none.
 * CREDIT    Each question gives a series LAST_CREDIT, each block with rows of it takes 1 away. One
 *           without credit is dropped by its next block, so what nobody asks for costs nothing.
 * ROOM      Lines, keys and texts together are bounded. When they are used up, a series with little
 *           credit goes: a hand goes round the lines and takes credit away on its way.
 * ALL       last_cache_forget() makes all cells unknown at once, by counting up an epoch.
 *
 * Thread    The worker's.
 */
#ifndef STORAGE_LAST_CACHE_H
#define STORAGE_LAST_CACHE_H

#include <stdbool.h>

#include "storage/base/attrs.h"
#include "storage/base/types.h"
#include "storage/block/block.h"
#include "storage/block/block_arena.h"
#include "storage/block/key_map.h"
#include "storage/key_index.h"

enum {
    LAST_CREDIT = 2,        /* To follow a block costs about what a scan does. */
    LAST_CELLS = 2,         /* Of a line. */
    LAST_FIELDS_MAX = 4096, /* Different names of fields. */
    LAST_TEXT_MAX = 256,    /* Bytes of a string. */
};
#define LAST_NO_LINE  KEY_INDEX_NONE
#define LAST_NO_FIELD UINT32_MAX

enum last_answer {
    LAST_UNKNOWN, /* It is not here: ask a scan. */
    LAST_NONE,    /* There is no value. */
    LAST_VALUE,
};

struct last_value {
    int64_t time_ns;
    enum field_type type;
    uint64_t bits;     /* Not of FIELD_STRING. */
    struct slice text; /* FIELD_STRING: borrowed until the next change. */
};

struct last_text; /* A size and so many bytes. */

struct last_line {
    uint32_t id;           /* BLOCK_ID_NONE: it is free, or more cells of another one. */
    uint32_t next;         /* More cells; of a free one: the next free one. */
    struct last_text *key; /* Owned; NULL: not known. */
    uint32_t epoch;
    uint8_t count, credit;
    bool complete;
    uint8_t types[LAST_CELLS];   /* 0: there is no value. */
    uint16_t fields[LAST_CELLS]; /* Numbers of last_cache_field(). */
    int64_t times_ns[LAST_CELLS];
    uint64_t bits[LAST_CELLS]; /* FIELD_STRING: an owned struct last_text. */
};
static_assert(sizeof(struct last_line) == 64, "one cache line");

struct last_cache {
    uint64_t bytes_max;      /* 0: nothing is kept. */
    struct last_line *lines; /* Owned; NULL until the first series comes. */
    uint32_t line_count, begun, first_free, used;
    uint32_t hand; /* A line. */
    uint32_t kept; /* The line that must not go now. */
    uint32_t series;
    uint32_t epoch;
    struct key_index ids, keys; /* Of lines. */
    uint64_t *marked;           /* Owned: a bit for each id that may be here, */
    uint32_t marked_ids;        /* below this. */
    uint64_t text_bytes;
    struct block_arena arena; /* Of `names`. */
    struct key_map names;     /* Of fields. */
};

void last_cache_init(struct last_cache *cache, uint64_t bytes_max);
void last_cache_fini(struct last_cache *cache);
/** Memory, in bytes. */
uint64_t last_cache_bytes(const struct last_cache *cache);

/** The number of a field's name; LAST_NO_FIELD: no cell has it. */
uint32_t last_cache_field(const struct last_cache *cache, struct slice name);
/** The same, and give it one. LAST_NO_FIELD: there are too many, or no memory. */
uint32_t last_cache_add_field(struct last_cache *cache, struct slice name);

/** It may be here: cheap, for those that are not. */
static inline bool last_cache_may_have(const struct last_cache *cache, uint32_t id)
{
    return id < cache->marked_ids && (cache->marked[id / 64] >> id % 64 & 1) != 0;
}

/** Begin to fetch what last_cache_find() will look at. */
void last_cache_prefetch(const struct last_cache *cache, uint32_t id);
/** The line of a series, or LAST_NO_LINE. */
uint32_t last_cache_find(struct last_cache *cache, uint32_t id);
/** The same by its key, if last_cache_name() has told it. */
uint32_t last_cache_find_key(struct last_cache *cache, struct slice key, uint64_t hash);

/** The line of a series, which may be new. LAST_NO_LINE: there is no room, or no memory. */
uint32_t last_cache_add(struct last_cache *cache, uint32_t id);
/** Forget a series. */
void last_cache_drop(struct last_cache *cache, uint32_t line);
/** Forget all. */
void last_cache_forget(struct last_cache *cache);
/** Tell the key of a series; without memory it goes without. */
void last_cache_name(struct last_cache *cache, uint32_t line, struct slice key, uint64_t hash);

/** What is known of a field. */
enum last_answer last_cache_get(const struct last_cache *cache, uint32_t line, uint32_t field,
                                struct last_value *ret_value);
/**
 * A value later in the log than what is known: it stays, unless its time is older. NULL: there is
 * none, unless one is known. False: there was no room for it, or it contradicts; the series was
 * dropped.
 */
bool last_cache_put(struct last_cache *cache, uint32_t line, uint32_t field,
                    const struct last_value *value);

/** Its cells, one after the other: start with {line, 0}; false after the last. */
struct last_cell_at {
    uint32_t line, at;
};
bool last_cache_next(const struct last_cache *cache, struct last_cell_at *at, uint32_t *ret_field,
                     enum last_answer *ret_answer, struct last_value *ret_value);

#endif
