#include "storage/block/block_arena.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum {
    ALIGN = 16,
    CHUNK_MIN = 16 * 1024,
    CHUNK_MAX = 1024 * 1024, /* Beyond this, chunks no longer double. */
};

struct block_arena_chunk {
    struct block_arena_chunk *next;
    size_t size; /* Bytes behind this header. */
    size_t used;
    size_t pad;
};
static_assert(sizeof(struct block_arena_chunk) % ALIGN == 0, "what follows it is aligned");

static void free_chunks(struct block_arena *arena)
{
    while (arena->chunks != NULL) {
        struct block_arena_chunk *next = arena->chunks->next;

        free(arena->chunks);
        arena->chunks = next;
    }
    arena->held = 0;
}

void block_arena_fini(struct block_arena *arena)
{
    free_chunks(arena);
    arena->used = 0;
}

static struct block_arena_chunk *add_chunk(struct block_arena *arena, size_t size)
{
    struct block_arena_chunk *chunk = malloc(sizeof *chunk + size);

    if (chunk == NULL)
        return NULL;
    *chunk = (struct block_arena_chunk){.next = arena->chunks, .size = size};
    arena->chunks = chunk;
    arena->held += size;
    return chunk;
}

void block_arena_reset(struct block_arena *arena)
{
    size_t held = arena->held;

    arena->used = 0;
    if (arena->chunks == NULL)
        return;
    if (arena->chunks->next == NULL && held <= BLOCK_ARENA_KEEP_MAX) {
        arena->chunks->used = 0;
        return;
    }
    /* One chunk of the size of all: next time there is one. None is fine as well. */
    free_chunks(arena);
    if (held <= BLOCK_ARENA_KEEP_MAX)
        (void)add_chunk(arena, held);
}

void *block_arena_take(struct block_arena *arena, size_t size)
{
    struct block_arena_chunk *chunk = arena->chunks;
    size_t need = (size + ALIGN - 1) / ALIGN * ALIGN;

    if (need < size)
        return NULL;
    if (chunk == NULL || need > chunk->size - chunk->used) {
        size_t next = arena->held < CHUNK_MIN ? CHUNK_MIN : arena->held;

        next = next > CHUNK_MAX ? CHUNK_MAX : next;
        chunk = add_chunk(arena, next < need ? need : next);
        if (chunk == NULL)
            return NULL;
    }
    chunk->used += need;
    arena->used += need;
    return (uint8_t *)(chunk + 1) + chunk->used - need;
}

void *block_arena_grow(struct block_arena *arena, const void *old, size_t old_size, size_t size)
{
    void *grown = block_arena_take(arena, size);

    if (grown != NULL && old_size > 0)
        memcpy(grown, old, old_size);
    return grown;
}
