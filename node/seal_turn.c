#include "node/seal_turn.h"

uint32_t seal_turn_of(const struct seal_turn *shards, uint32_t count, uint64_t seal_bytes)
{
    uint32_t fullest = count;
    uint64_t sum = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (shards[i].sealing)
            continue;
        sum += shards[i].head_bytes;
        /* Of equal ones the first: leaders on different nodes see the same. */
        if (fullest == count || shards[i].head_bytes > shards[fullest].head_bytes)
            fullest = i;
    }
    if (fullest == count || shards[fullest].head_bytes < seal_bytes / 2 ||
        sum < seal_bytes * (count + 1) / 2)
        return count;
    return fullest;
}
