/*
 * scan_batch.h - the rows that leave a scan, as columns of about 1 MiB.
 *
 * A batch has the time, then tags, then fields. It starts with all tags and fields known by then,
 * those of the next thousand series among them; a tag first seen later starts a new batch (so tags
 * stand before fields), a field is appended.
 *
 * Thread   The scan's.
 */
#ifndef STORAGE_SCAN_BATCH_H
#define STORAGE_SCAN_BATCH_H

#include "storage/scan_collect.h"

enum { SCAN_BATCH_BYTES = 1 << 20 }; /* A batch leaves once it holds as much. */

struct scan_batch {
    const struct scan_decode *decode; /* Borrowed. */
    scan_batch_cb take;
    void *arg;
    uint64_t rows_left;      /* Until the query's limit. */
    uint64_t bytes_left;     /* Until the limits' result_bytes. */
    uint64_t page_left;      /* Bytes until the query's page is full. */
    struct query_place next; /* What comes behind a full page. */

    struct columns columns; /* Kept from batch to batch, so that its memory is touched once. */
    size_t size;            /* Bytes of what `columns` holds. */
    bool begun;             /* It has the columns of the batch that is being built. */

    struct block_arena arena; /* Of `tags`. */
    struct key_map tags;      /* Name -> number: tag N is column 1 + N. */
    uint32_t tag_columns;     /* Of `columns`: the first so many tags. */
    uint32_t *field_at;       /* Owned: column of the scan -> column here, or SCAN_COLUMN_NONE. */
    uint32_t field_capacity;

    /* The current series. */
    uint32_t id;
    struct key_parts parts;
    char key[CATALOG_KEY_ROOM]; /* Of `parts`, unless it stands in memory. */
    uint32_t tag_numbers[TAG_COUNT_MAX];
    uint64_t tag_bits[TAG_COUNT_MAX]; /* Where the values stand in `columns`, once they do. */
    bool tags_stand;
};

void scan_batch_init(struct scan_batch *batch, const struct scan_decode *decode, scan_batch_cb take,
                     void *arg);
void scan_batch_fini(struct scan_batch *batch);

/**
 * Add rows of one series. Rows without any value are left out. The arguments are those of
 * scan_merge_cb; `batch` is a struct scan_batch.
 *
 * Errors  ERR_END: the query's limit is reached, or its page is full; ERR_LIMIT: result_bytes, or
 *         too many columns; ERR_NO_MEMORY; those of the callback
 */
MUST_CHECK enum err scan_batch_add(void *batch, uint32_t id, const struct scan_chunk *chunk,
                                   uint32_t start, uint32_t rows);

/** Hand out what is left. */
MUST_CHECK enum err scan_batch_flush(struct scan_batch *batch);

#endif
