/*
 * block_newest.h - the newest value of one field of one series in a block of the head.
 *
 *     block_newest_open() --> block_newest(): directory --> section --> column_newest.h
 *
 * Nothing is taken from the heap but room for a body in LZ4, which is kept from call to call: what
 * is asked for twice in a row, of the same block, is decompressed once. Blocks are those that were
 * applied and stayed in memory: their sums are not checked again.
 *
 * Thread   One at a time.
 */
#ifndef STORAGE_BLOCK_BLOCK_NEWEST_H
#define STORAGE_BLOCK_BLOCK_NEWEST_H

#include "storage/block/block_reader.h"
#include "storage/block/column_newest.h"

enum { BLOCK_NEWEST_RAW_MAX = 256 * 1024 }; /* Bytes of a body in LZ4: about 100 us. */

struct block_newest {
    struct block_view view;
    const uint8_t *body;
    uint8_t *room;   /* Owned, BLOCK_NEWEST_RAW_MAX bytes: taken at first need. */
    uint64_t number; /* Of the block whose body stands there. */
};

struct block_newest_value {
    enum field_type type;
    struct column_newest_value value;
};

/** A zeroed struct is valid. */
void block_newest_fini(struct block_newest *newest);

/** Go to a block, whose number, not 0, no other one has while this lives. The view's bytes are
 * borrowed until the next one. False: its body is too large, or there is no memory. */
bool block_newest_open(struct block_newest *newest, uint64_t number, const struct block_view *view);

/** The newest value of a series' field in the block. `table_key` is the series'; without bytes: the
 * block has one table. */
enum column_newest block_newest(const struct block_newest *newest, struct slice table_key,
                                uint32_t id, struct slice field,
                                struct block_newest_value *ret_value);

#endif
