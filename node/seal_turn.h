/*
 * seal_turn.h - whose turn it is to seal, so that the shards of a node do so one after the other.
 *
 *     heads, if each waits until it is full        if they take turns
 *        /|  /|  all at once: the pool has            /| / | / |   as much in all, evenly spread:
 *       / | / |  four seals to make, then none       / |/  |/  |   the pool has one at a time
 *
 * Shards that get alike fill alike. Their seals then begin together on all nodes, and take the core
 * from those that writers wait for. In turns, the heads of `count` shards are a half full in the
 * mean: seal_bytes * (count + 1) / 2 together, just when the fullest one is. So whenever there is
 * so much, the fullest one is sealed, full or not: shards that are in step fall out of it.
 */
#ifndef NODE_SEAL_TURN_H
#define NODE_SEAL_TURN_H

#include <stdbool.h>
#include <stdint.h>

/** Bytes of a shard's blocks in memory that no seal has begun with. */
struct seal_turn {
    uint64_t head_bytes;
    bool sealing; /* Then they do not count. */
};

/** Whose turn it is of the `count` shards on this node; `count`: nobody's. One that has less than
 * half of `seal_bytes` has none. */
uint32_t seal_turn_of(const struct seal_turn *shards, uint32_t count, uint64_t seal_bytes);

#endif
