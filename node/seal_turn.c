#include "node/seal_turn.h"

bool seal_turn_is(const struct seal_turn *shards, uint32_t count, uint32_t at, uint64_t seal_bytes)
{
    const struct seal_turn *own = &shards[at];
    uint64_t sum = 0;

    if (own->sealing || own->head_bytes < seal_bytes / 2)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        const struct seal_turn *other = &shards[i];

        if (other->sealing)
            continue;
        sum += other->head_bytes;
        /* Of equal ones the first: leaders on different nodes see the same. */
        if (other->head_bytes > own->head_bytes || (other->head_bytes == own->head_bytes && i < at))
            return false;
    }
    return sum >= seal_bytes * (count + 1) / 2;
}
