/*
 * fetch.h - what nodes say to each other about damaged files: pieces of good ones, and who has
 * damage; and what a node is told that begins a shard again from another one's state.
 *
 *     FETCH      u32 shard | u8 kind | u64 number, size, hash | u64 offset | u32 length
 *     FETCH_OK   the bytes; of kind 4: u64 term, first, last, snapshot size, snapshot hash
 *                | u8 leads | u8 silent | 6 zeros; of kind 6: u64 start | u8 knows | u8 begins
 *                | 6 zeros
 *     DAMAGED    u32 count | u32 shard, ascending, for each
 *                u32 count | u32 group, ascending, u64 log index, for each
 *
 * A file is named by all that makes it what it is, so an answer is of that very file or none.
 * docs/protocol.md is the specification.
 *
 * Errors     ERR_INVALID, naming the field. Thread: any.
 */
#ifndef CLIENT_WIRE_FETCH_H
#define CLIENT_WIRE_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "client/wire/frame.h"
#include "storage/base/bytes.h"
#include "storage/base/types.h"

enum {
    FETCH_PIECE_MAX = 256 * 1024, /* Bytes of one answer. */
    FETCH_SHARDS_MAX = 1024,      /* Of a DAMAGED. */
    FETCH_KIND_SEGMENT = 1,       /* number: of the segment; hash: of its contents */
    FETCH_KIND_CATALOG = 2,       /* number: series at its end; hash: its header's checksum */
    /* number: of a segment; size and length: FETCH_FACTS_SIZE; hash: 0. What its manifest says of
     * it; rows 0: it has no file. */
    FETCH_KIND_FACTS = 3,
    FETCH_FACTS_SIZE = 112,
    /* What the node's group knows; number: 1 if it is to get a snapshot ready; size and length:
     * FETCH_STATE_SIZE; hash: 0. */
    FETCH_KIND_STATE = 4,
    FETCH_STATE_SIZE = 48,
    FETCH_KIND_SNAPSHOT = 5, /* size and hash: as the state told; number: 0 */
    /* Of the meta group: whether it has heard of the asker before; number: the asker's start; size
     * and length: FETCH_KNOWN_SIZE; hash: 0. */
    FETCH_KIND_KNOWN = 6,
    FETCH_KNOWN_SIZE = 16,
    FETCH_CONFIGURATION_MAX = 64 * 1024, /* Bytes of one in a snapshot. */
};

/* In place of a shard: the meta group. Of it there are states and snapshots alone. */
#define FETCH_META UINT32_MAX

struct fetch_piece {
    uint32_t shard;
    uint8_t kind;
    uint64_t number, size, hash;
    uint64_t offset; /* Inside the file, with all of `length`, which is 1 to FETCH_PIECE_MAX. */
    uint32_t length;
};
void fetch_put_piece(const struct fetch_piece *piece, struct bytes *out);
MUST_CHECK enum err fetch_get_piece(const void *bytes, size_t size, struct fetch_piece *ret);

/** What a group on a node says of itself. */
struct fetch_state {
    uint64_t term;
    uint64_t first, last;                  /* Entries that it can give to others. */
    uint64_t snapshot_size, snapshot_hash; /* Ready to be fetched for some seconds; 0: none is. */
    bool leads;
    bool silent; /* It has lost its log, and does not know any more what it has promised. */
};
void fetch_put_state(const struct fetch_state *state, struct bytes *out);
MUST_CHECK enum err fetch_get_state(const void *bytes, size_t size, struct fetch_state *ret);

/** What a node says to one whose log is empty. */
struct fetch_known {
    uint64_t start; /* Its own, a random number. */
    bool knows;     /* It may count on what the asker has promised before. */
    bool begins;    /* Its own log is empty, or was when it took the asker's for the same. */
};
void fetch_put_known(const struct fetch_known *known, struct bytes *out);
MUST_CHECK enum err fetch_get_known(const void *bytes, size_t size, struct fetch_known *ret);

/** What a group on a node holds durably, up to a log index: u64 index, term, configuration index |
 * u32 size of the configuration | configuration | state. The slices are borrowed. */
struct fetch_snapshot {
    uint64_t index, term; /* Not 0. */
    uint64_t configuration_index;
    struct slice configuration; /* As in the log. */
    struct slice state;         /* A shard's manifest, or what the meta group saves. */
};
void fetch_put_snapshot(const struct fetch_snapshot *snapshot, struct bytes *out);
MUST_CHECK enum err fetch_get_snapshot(const void *bytes, size_t size, struct fetch_snapshot *ret);

/** A group whose entries up to that index stand in a damaged file of the sender's log. */
struct fetch_ask {
    uint32_t group; /* At most FETCH_SHARDS_MAX. */
    uint64_t index; /* Not 0. */
};

/** Shards of which the sender has damaged files, and groups that it asks to have sealed. */
struct fetch_damaged {
    uint32_t count;
    uint32_t shards[FETCH_SHARDS_MAX];
    uint32_t ask_count;
    struct fetch_ask asks[FETCH_SHARDS_MAX + 1];
};
void fetch_put_damaged(const struct fetch_damaged *damaged, struct bytes *out);
MUST_CHECK enum err fetch_get_damaged(const void *bytes, size_t size, struct fetch_damaged *ret);

#endif
