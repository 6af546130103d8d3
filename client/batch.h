/*
 * batch.h - one encoded block of rows of one shard, from the moment it is full until the caller
 * was told what became of it.
 *
 * Made by rows.c on the thread that filled it, then owned by the I/O thread.
 */
#ifndef CLIENT_BATCH_H
#define CLIENT_BATCH_H

#include <stdbool.h>
#include <stdint.h>

#include "client/names.h"
#include "storage/base/buf.h"
#include "storage/base/err.h"
#include "storage/block/entry.h"

struct batch {
    struct batch *next;
    struct buf *entry; /* One reference: an entry header, not stamped yet, then the block. NULL: it
                          could not be encoded, `failed` says why. */
    struct err_note failed;
    uint32_t shard;
    uint32_t rows, points;
    uint64_t first_ns;     /* When its first row came. */
    size_t bytes;          /* Of memory: what counts against bytes_max. */
    void **tags;           /* Owned: one a row, or NULL. */
    int64_t *times_ns;     /* Owned: of the rows, in the same order; NULL without tags. */
    struct series **fresh; /* Owned: the series of the block's fresh keys, in its order. */
    uint32_t fresh_count;

    /* The I/O thread's (lane.c). */
    uint64_t deadline_ns;
    uint64_t sequence; /* 0: it was never sent. */
    uint64_t request;  /* The frame it is in now; 0: none. */
    bool told;         /* The caller was told that it timed out; it goes on without him. */
};

void batch_free(struct batch *batch); /* NULL is allowed. */

/**
 * Write the entry header into the headroom. A socket may still hold the bytes with an older
 * header: then the entry is copied first. ERR_NO_MEMORY.
 */
MUST_CHECK enum err batch_stamp(struct batch *batch, uint64_t producer, uint32_t epoch);

/**
 * Take the rows before `cutoff_ns` out of a batch: *ret_old has them, without an entry, to be told
 * what became of them; the batch has the others, in an entry that is not stamped. ERR_END: one of
 * the two would be empty; ERR_NO_MEMORY, ERR_CORRUPT: the batch is as it was.
 */
MUST_CHECK enum err batch_split(struct batch *batch, int64_t cutoff_ns, struct batch **ret_old);

/** A queue of batches, first in first out. A zeroed struct is empty. */
struct batch_list {
    struct batch *first, *last;
    uint32_t count;
};

void batch_list_add(struct batch_list *list, struct batch *batch);
struct batch *batch_list_take(struct batch_list *list); /* The first; NULL if there is none. */
void batch_list_remove(struct batch_list *list, struct batch *batch);

#endif
