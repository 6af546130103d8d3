/*
 * segment_cursor.h - read one group of a segment: its index first, and of its frames those that
 * are asked for.
 *
 *     open(group) --> chunks --> stats of a field --> frame of a column --> its part of a chunk
 *                     index      index                LZ4                   packed
 *
 * What was read is kept until the next group is opened, checked against its checksum and against
 * the index and the directory above it. No more is allocated than the file has bytes for, times the
 * most that LZ4 can make of them, and never more than SEGMENT_FRAME_MAX.
 *
 * Thread   One at a time for each cursor; many cursors may be on one segment.
 */
#ifndef STORAGE_SEGMENT_CURSOR_H
#define STORAGE_SEGMENT_CURSOR_H

#include <stdbool.h>

#include "storage/base/bytes.h"
#include "storage/block/column_newest.h"
#include "storage/segment.h"

/** A column of the open group: 0 is runs, 1 times, 2 + i field i. */
struct segment_cursor_column {
    bool has_stats, has_frame;
    uint64_t offset; /* Of its frame, */
    uint32_t size;   /* and bytes there. */
    uint32_t raw_size;
    const uint8_t *raw;  /* The frame without LZ4: borrowed from one of the next two. */
    struct bytes stored; /* Owned. */
    struct bytes room;   /* Owned. */
    struct segment_stats stats[SEGMENT_GROUP_CHUNKS]; /* Fields only. */
};

struct segment_cursor {
    const struct segment *segment; /* Borrowed until fini or the next open; NULL: none. */
    const struct segment_group *group;
    const struct segment_table *table;
    struct segment_chunk chunks[SEGMENT_GROUP_CHUNKS];
    struct segment_cursor_column **columns; /* Owned, each made when first used. */
    uint32_t column_capacity;
    struct bytes piece; /* Scratch. */
    uint64_t numbers[2 * SEGMENT_CHUNK_ROWS];
};

/** A zeroed struct is valid. */
void segment_cursor_fini(struct segment_cursor *cursor);

/** What it holds beside itself, in bytes. */
size_t segment_cursor_bytes(const struct segment_cursor *cursor);

/** Forget what was there and read the chunks' part of a group's index. ERR_CORRUPT, ERR_IO,
 * ERR_NO_MEMORY, as all that follow. */
MUST_CHECK enum err segment_cursor_open(struct segment_cursor *cursor,
                                        const struct segment *segment, uint32_t group);

/** Read all of the open group: every piece of its index and every frame, checked. */
MUST_CHECK enum err segment_cursor_load(struct segment_cursor *cursor);

/** What the index says of a field in a chunk. Borrowed until the next open. */
MUST_CHECK enum err segment_cursor_stats(struct segment_cursor *cursor, uint32_t chunk,
                                         uint32_t field, const struct segment_stats **ret_stats);

/** Ids, ascending, and rows of a chunk's runs: room for chunk->runs. */
MUST_CHECK enum err segment_cursor_runs(struct segment_cursor *cursor, uint32_t chunk,
                                        uint32_t *ids, uint32_t *counts);
/** Times of a chunk: room for chunk->rows. */
MUST_CHECK enum err segment_cursor_times(struct segment_cursor *cursor, uint32_t chunk,
                                         int64_t *times_ns);
/** The newest value that a series has of a field in a chunk. COLUMN_NEWEST_ELSE: strings. */
MUST_CHECK enum err segment_cursor_newest(struct segment_cursor *cursor, uint32_t chunk,
                                          uint32_t field, uint32_t id,
                                          enum column_newest *ret_found,
                                          struct column_newest_value *ret_value);
/** The packed values of a field of a chunk that has some, as column_put_values() wrote them.
 * Borrowed until the next open. */
MUST_CHECK enum err segment_cursor_packed(struct segment_cursor *cursor, uint32_t chunk,
                                          uint32_t field, struct reader *ret_values);
/** A field of a chunk, in the form of block_read_field(); *ret_strings is borrowed until the next
 * open. */
MUST_CHECK enum err segment_cursor_field(struct segment_cursor *cursor, uint32_t chunk,
                                         uint32_t field, uint8_t *present, uint64_t *values,
                                         const char **ret_strings);

#endif
