/*
 * lane.h - rows of one worker for one shard: collected, cut into blocks, sent until answered.
 *
 *    rows -> builder --cut--> block (sequence n) --router_write()--> leader of the shard
 *               ^                 |                                      |
 *               |                 '<------ sent again, in order <--------' refused for now
 *               '-- natural batching: what is there when nothing is under way; 512 rows when
 *                   something is; at most 64 Ki rows or LANE_CUT_BYTES
 *
 * EXACTLY ONCE   The lane is a producer. A block gets its number when it is first sent, and the two
 *                stay together as long as anybody may still apply them:
 *                - Refused for now: the lane waits until all that is under way is answered, then
 *                  sends what is not done again, in order.
 *                - Refused for good: its requests are told, and an empty block takes its number.
 *                - Its requests have waited for LANE_GIVE_UP_MS: they are told that it may or may
 *                  not be stored. Once it was sent, the block itself goes on being sent: numbers
 *                  behind it count on it. At most LANE_WINDOW blocks of a lane are in this state.
 *                - The shard knows nothing of what came before it (so many other producers wrote
 *                  that it forgot this one): all go on with new numbers in a higher epoch.
 * FULL DISK      ERR_DISK_FULL is passed on at once, and rows are refused with it until a block has
 *                got through.
 * Thread         The worker's.
 */
#ifndef NODE_LANE_H
#define NODE_LANE_H

#include "node/router.h"
#include "storage/block/block_builder.h"

struct ingest_request;
struct lane;
struct lane_block;

enum {
    LANE_ROWS_SMALL = 512, /* Worth a block of its own while others are under way. */
    LANE_WINDOW = 4,       /* Blocks under way. */
    LANE_CUT_BYTES = 4 * 1024 * 1024,
    LANE_GIVE_UP_MS = 10000,
};

/** Rows that one request has in a block. */
struct lane_share {
    struct ingest_request *request;
    uint32_t rows;
};

/** A share is settled: the rows are stored, or not (`answer->code`). */
typedef void (*lane_settled_cb)(const struct lane_share *share, const struct answer *answer);
/** The leader gave ids to series of a block, named by what lane_series() was given as memo_tag. */
typedef void (*lane_ids_cb)(void *ctx, uint32_t shard, const uint64_t *memo_tags,
                            const uint32_t *ids, uint32_t count);

struct lane {
    struct worker *worker;
    uint32_t shard;
    uint64_t producer;
    uint32_t epoch;
    uint64_t sequence; /* The next number to give. */
    uint64_t round;    /* Counts blocks: what a memo's handle is good for. */
    struct block_builder *builder;
    struct lane_share *shares; /* Owned: of the rows in the builder. */
    uint32_t share_count, share_capacity;
    uint64_t since_ms; /* When the builder's first row came. */
    uint64_t *tags;    /* Owned: memo tags of the builder's series, by handle. */
    uint32_t tag_count, tag_capacity;
    struct lane_block *blocks, **blocks_end; /* Cut and not done, in the order of their rows. */
    uint32_t under_way;
    bool waiting; /* Something was refused: send nothing before all is answered, and retry_at_ms. */
    uint64_t retry_at_ms;
    struct answer last_refusal;
    bool full; /* The last refusal was ERR_DISK_FULL, and nothing got through since. */
    uint64_t no_new_until_ms; /* The shard takes no new series before. */
    char no_new_text[ERR_DETAIL_MAX];
    uint64_t bytes; /* Of the blocks. */
    lane_settled_cb settled;
    lane_ids_cb ids;
    void *ctx;
};

MUST_CHECK enum err lane_init(struct lane *lane, struct worker *worker, uint32_t shard,
                              uint64_t producer);
/** Settles what is left with ERR_CANCELED. Nothing may be under way. */
void lane_fini(struct lane *lane);

/** ERR_LIMIT: the shard takes no new series, or none of this database, and this one (`id`
 * BLOCK_ID_NONE) may be one. */
MUST_CHECK enum err lane_check_series(const struct lane *lane, struct slice database, uint32_t id);
/** The handle of a series for the following rows. `memo_tag` comes back with its id. */
MUST_CHECK enum err lane_series(struct lane *lane, const void *key, size_t key_size,
                                size_t table_key_size, uint64_t key_hash, uint32_t id,
                                uint64_t memo_tag, uint32_t *ret_handle);
/** Before a row: cut the block if it is full. Handles of an earlier round are void then.
 * ERR_DISK_FULL: no rows now. ERR_NO_MEMORY. */
MUST_CHECK enum err lane_make_room(struct lane *lane);
/** Cut the block now: the builder's own limits are reached. As lane_make_room(). */
MUST_CHECK enum err lane_cut(struct lane *lane);
/** The row begun in the builder belongs to `request`. ERR_NO_MEMORY. */
MUST_CHECK enum err lane_row(struct lane *lane, struct ingest_request *request);
/** End of a turn: cut and send what is due. */
void lane_flush(struct lane *lane, uint64_t now_ms);
/** Bytes in the builder and in blocks. */
uint64_t lane_bytes(const struct lane *lane);

#endif
