/*
 * last_where.h - in which block of the head a series has its newest rows.
 *
 *     head:   | block | block | block | block | block |     blocks from `first` on are noted:
 *     id 7:                     ^ 3                         none behind block 3 has rows of it
 *
 * Four bytes a series, by its id, written while blocks are applied. So a series that the head does
 * not have costs no search, and one that it has, one directory. Only while somebody asks: after
 * LAST_WHERE_BLOCKS blocks without a question nothing is noted any more, and with the next question
 * it begins anew, with the blocks that come then. Of older blocks the directories tell.
 *
 * Thread    The worker's.
 */
#ifndef STORAGE_LAST_WHERE_H
#define STORAGE_LAST_WHERE_H

#include "storage/block/block_reader.h"
#include "storage/head.h"

enum { LAST_WHERE_BLOCKS = 4096 };

/** A zeroed struct is valid: nothing is noted. */
struct last_where {
    uint32_t *blocks; /* Owned: by id, counted from `first`, from 1; 0: none of them. */
    uint32_t capacity;
    uint32_t left;  /* Blocks that will be noted without another question. */
    uint64_t first; /* The head's `added` when it began. */
};

void last_where_fini(struct last_where *where);
uint64_t last_where_bytes(const struct last_where *where);

/** The block was added to the head, as its newest one. */
void last_where_note(struct last_where *where, const struct head *head,
                     const struct block_view *view);

/** Somebody asks: of the head's blocks only the first `*` may have rows of the series. */
uint32_t last_where_find(struct last_where *where, const struct head *head, uint32_t id);

#endif
