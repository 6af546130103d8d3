/*
 * scan_collect.h - the rows of one region in memory, by series, each series in order of time.
 *
 *     blocks --scan_decode--> chunks  the kept rows of one section: times, then fields
 *                             pieces  (series, chunk, rows): times strictly ascending
 *                               |
 *                  pieces of a series, in log order --scan_merge--> its rows, once each
 *
 * Memory is counted: when the budget is used up, collecting stops with `full` set, and the caller
 * starts again with a smaller region.
 *
 * Thread   The scan's.
 */
#ifndef STORAGE_SCAN_COLLECT_H
#define STORAGE_SCAN_COLLECT_H

#include "storage/scan_decode.h"

/** One field of a chunk's rows, in the form of block_read_field(). */
struct scan_values {
    uint32_t column; /* Of scan_decode. */
    uint8_t *present;
    uint64_t *bits;
    char *text; /* Owned; NULL if and only if the field does not hold strings. */
};

/** One allocation: the struct, then times, bits and presence. */
struct scan_chunk {
    uint32_t rows;
    uint32_t field_count;
    int64_t *times_ns;
    struct scan_values fields[];
};

struct scan_piece {
    uint32_t slot;
    uint32_t chunk;
    uint32_t start;
    uint32_t rows;
};

struct scan_collect {
    struct scan_decode *decode; /* Borrowed. */
    uint64_t budget;            /* Bytes. */
    bool times_only;            /* Chunks have no fields. */
    uint64_t used;
    uint64_t rows; /* Collected. */
    bool full;     /* The budget did not suffice: not all rows are here. */

    struct scan_chunk **chunks; /* Owned, with what they point to. */
    uint32_t chunk_count, chunk_capacity;
    struct scan_piece *pieces; /* Owned: in log order. */
    uint32_t piece_count, piece_capacity;

    uint32_t *order;  /* Owned: numbers of pieces, by slot, then in log order. */
    uint32_t *starts; /* Owned: where each slot's begin in `order`; one more at the end. */
};

void scan_collect_init(struct scan_collect *collect, struct scan_decode *decode, uint64_t budget);
void scan_collect_fini(struct scan_collect *collect);

/** Forget what was there, and collect a region. The errors of scan_decode_region(). */
MUST_CHECK enum err scan_collect_region(struct scan_collect *collect,
                                        const struct scan_region *region);

/** A chunk for so many rows of so many fields; *ret_size is what it takes. NULL: no memory. */
struct scan_chunk *scan_collect_new_chunk(uint32_t rows, uint32_t field_count, size_t *ret_size);
void scan_collect_free_chunk(struct scan_chunk *chunk);

#endif
