/*
 * block_arena.h - memory that is given back all at once: what a block builder holds of one block.
 *
 * After a few blocks of the same kind the arena is one chunk that fits, and the way of a row
 * allocates nothing.
 */
#ifndef STORAGE_BLOCK_BLOCK_ARENA_H
#define STORAGE_BLOCK_BLOCK_ARENA_H

#include <stddef.h>

struct block_arena {
    struct block_arena_chunk *chunks; /* Owned: a list, the newest first. */
    size_t used;                      /* Bytes given out. */
    size_t held;                      /* Bytes of all chunks. */
};

enum { BLOCK_ARENA_KEEP_MAX = 4 * 1024 * 1024 }; /* Bytes that a reset keeps at most. */

void block_arena_fini(struct block_arena *arena); /* A zeroed struct is empty and valid. */

/** Take back everything that was given out. */
void block_arena_reset(struct block_arena *arena);

/** Memory until the next reset, aligned for every type; NULL if there is none. */
void *block_arena_take(struct block_arena *arena, size_t size);

/** A larger copy of an array; the old one is lost until the reset. NULL if there is no memory. */
void *block_arena_grow(struct block_arena *arena, const void *old, size_t old_size, size_t size);

#endif
