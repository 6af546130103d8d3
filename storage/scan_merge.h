/*
 * scan_merge.h - the pieces of one series, from several blocks, as rows in order of time.
 *
 *     block 1:  |  a  b  c        f  g      |       rows of one time become one row:
 *     block 2:  |           d  e            |  -->  a b c' d e f g
 *     block 3:  |        c'                 |       field by field, the later block wins
 *
 * Where pieces do not overlap in time, which is the rule, rows are handed out as they stand in
 * their chunks. Only what is interleaved is copied, a few hundred rows at a time.
 *
 * Thread   The scan's.
 */
#ifndef STORAGE_SCAN_MERGE_H
#define STORAGE_SCAN_MERGE_H

#include "storage/scan_collect.h"

/** Rows of one series, later than all before, times strictly ascending. Borrowed for the call. */
typedef enum err (*scan_merge_cb)(void *arg, uint32_t id, const struct scan_chunk *chunk,
                                  uint32_t start, uint32_t rows);

struct scan_merge_cursor;

struct scan_merge {
    const struct scan_collect *collect; /* Borrowed. */
    scan_merge_cb take;
    void *arg;
    bool *twice; /* Borrowed: set by slot where a row stands in two pieces. NULL: nobody asks. */
    uint32_t slot, id; /* Of the current series. */

    struct scan_merge_cursor *heap; /* Owned: the pieces that have rows left, earliest first. */
    uint32_t heap_count, heap_capacity;

    struct scan_chunk *gathered; /* Owned: rows that were copied and not taken yet. */
    uint32_t gathered_rows;
    uint32_t field_capacity;
    struct bytes *texts; /* Owned: of gathered's fields. */
    uint32_t *field_of;  /* Owned: column -> field of `gathered`, or SCAN_COLUMN_NONE. */
    uint32_t columns_capacity;
};

void scan_merge_init(struct scan_merge *merge, const struct scan_collect *collect,
                     scan_merge_cb take, void *arg);
void scan_merge_fini(struct scan_merge *merge);

/** Hand out all series that were collected, in order of their ids. Errors: `take`'s; ERR_NO_MEMORY;
 * ERR_CANCELED, ERR_TIMEOUT. */
MUST_CHECK enum err scan_merge_run(struct scan_merge *merge);

#endif
