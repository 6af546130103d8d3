/*
 * segment_format.h - sizes and checksums that writer and readers of segments share.
 *
 *     frame   u32 crc | u32 bytes before LZ4 | the columns of the group's chunks, back to back
 *     index   piece of the chunks | piece of field 0 | piece of field 1 | ...
 *     piece   u32 crc | u32, u32, u32 | 48 bytes for each chunk
 *             chunks: size of the frame of runs, size of the frame of times, 0
 *             field:  size of its frame, offset of its frame (u64)
 *
 * A frame without columns is not there, and its size is 0. A crc is over the u64 offset of the
 * frame or piece in the file, then its bytes behind the crc.
 */
#ifndef STORAGE_SEGMENT_FORMAT_H
#define STORAGE_SEGMENT_FORMAT_H

#include <inttypes.h>
#include <stdio.h>

#include "storage/base/crc32c.h"
#include "storage/segment.h"

enum {
    SEGMENT_PATH_SIZE = 4096,
    SEGMENT_FRAME_HEADER = 8,
    SEGMENT_PIECE_HEADER = 16,
    SEGMENT_COLUMNS = 2, /* Columns of a chunk before its fields: runs, times. */
};

static inline uint32_t segment_header_crc(const struct segment_header *header)
{
    return crc32c(0, &header->version, sizeof *header - offsetof(struct segment_header, version));
}

static inline uint32_t segment_footer_crc(const struct segment_footer *footer)
{
    return crc32c(0, &footer->version, sizeof *footer - offsetof(struct segment_footer, version));
}

/** Of a frame or piece of `size` bytes that stands, or will stand, at `offset`. */
static inline uint32_t segment_crc(uint64_t offset, const uint8_t *bytes, size_t size)
{
    return crc32c(crc32c(0, &offset, sizeof offset), bytes + sizeof(uint32_t),
                  size - sizeof(uint32_t));
}

/** Bytes of one piece of the index of a group of `chunks`. */
static inline size_t segment_piece_size(uint32_t chunks)
{
    static_assert(sizeof(struct segment_chunk) == sizeof(struct segment_stats), "one size of both");
    return SEGMENT_PIECE_HEADER + chunks * sizeof(struct segment_chunk);
}

/** Where the piece of column `column` stands in the file: 1 for the chunks, else 2 + field. */
static inline uint64_t segment_piece_offset(const struct segment_group *group, uint32_t column)
{
    return group->index_offset + (uint64_t)(column - 1) * segment_piece_size(group->chunks);
}

#endif
