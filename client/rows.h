/*
 * rows.h - rows in, batches out: one block builder for each shard.
 *
 *     rows_add() --row--> builder of its shard --batch_rows, linger, bytes_max, flush--> on_batch
 *
 * A builder is emptied on the caller's thread when it is full, so encoding happens where the rows
 * come from, and on the I/O thread when its oldest row has waited for `linger_ns`. One lock covers
 * the builders; it is nearly always free (the I/O thread only tries it).
 */
#ifndef CLIENT_ROWS_H
#define CLIENT_ROWS_H

#include "client/batch.h"
#include "client/names.h"
#include "client/wire/line_protocol.h"

struct rows;

struct rows_options {
    uint32_t shards;
    uint32_t batch_rows; /* 1 to BLOCK_ROWS_MAX */
    uint64_t linger_ns;
    size_t bytes_max; /* Of rows not yet encoded: when they take more, all builders are emptied. */
    bool keep_tags;   /* Fill in batch.tags. */
    /* Takes a batch over, in the order in which they were cut for each shard. Either thread; the
     * lock is held. */
    void (*on_batch)(void *ctx, struct batch *batch);
    /* There are rows now where there were none: rows_linger() has work again. */
    void (*on_rows)(void *ctx);
    void *ctx;
};

MUST_CHECK enum err rows_new(const struct rows_options *options, struct rows **ret_rows);
void rows_free(struct rows *rows); /* Forgets rows that were not cut. NULL is allowed. */

/**
 * Add one row. Fields have their decided types (names.h). Caller's thread.
 *
 * Errors  ERR_LIMIT, ERR_NO_MEMORY: the row was not taken
 */
MUST_CHECK enum err rows_add(struct rows *rows, struct series *series, size_t table_key_size,
                             int64_t time_ns, const struct line_field *fields, size_t count,
                             void *tag);

/** Cut what there is. ERR_NO_MEMORY: some rows stay for the next time. Caller's thread. */
MUST_CHECK enum err rows_cut_all(struct rows *rows);

/** Cut what has waited long enough at `now_ns`. Returns false when no rows are left (or it would
 * have to wait for the lock: then true). I/O thread. */
bool rows_linger(struct rows *rows, uint64_t now_ns);

#endif
