/*
 * segment.h - an immutable file of blocks: what a seal makes of the head.
 *
 *     NNNNNNNN.mrs   header (64) | block | block | ... | index: 64 bytes a block | footer (96)
 *
 * BLOCKS    as in block.h, with a directory of ids alone. Rows are sorted by (table number, series
 *           id, time), no two rows have the same series and time, and the blocks follow each other
 *           in that order. They stand back to back: every byte of the file belongs to something.
 * INDEX     stays in memory while the segment is open: what is in each block, and the block's
 *           header checksum, so that a good block at the wrong place is noticed.
 * FOOTER    sums, the index's checksum, and the XXH3-64 of all bytes before the footer: two
 *           replicas' segments are the same if and only if these are.
 * DAMAGE    is ERR_CORRUPT naming file, offset and what to do. Opening checks header, index, footer
 *           and that the sizes add up; each block is checked when it is read.
 *
 * Thread    A writer: one at a time. A segment: any number of readers; it is counted, and the
 *           last holder closes the file.
 */
#ifndef STORAGE_SEGMENT_H
#define STORAGE_SEGMENT_H

#include <assert.h>

#include "storage/base/attrs.h"
#include "storage/base/bytes.h"
#include "storage/base/err.h"
#include "storage/base/file.h"
#include "storage/block/block_reader.h"

#define SEGMENT_MAGIC        0x3153524du /* "MRS1" */
#define SEGMENT_FOOTER_MAGIC 0x3146524du /* "MRF1" */

enum { SEGMENT_VERSION = 1, SEGMENT_BLOCKS_MAX = 1 << 20, SEGMENT_NAME_SIZE = 24 };

struct segment_header {
    uint32_t magic;       /*  0 */
    uint32_t crc;         /*  4: CRC-32C of bytes 8 to 63 */
    uint16_t version;     /*  8 */
    uint16_t zero16;      /* 10 */
    uint32_t shard;       /* 12 */
    uint64_t number;      /* 16: of the segment in its shard, from 1 */
    uint64_t first_index; /* 24: log indexes whose rows it holds */
    uint64_t last_index;  /* 32 */
    uint8_t zero[24];     /* 40 */
};
static_assert(sizeof(struct segment_header) == 64, "stored on disk: the size cannot change");

struct segment_block {
    uint64_t offset;     /*  0: in the file */
    uint32_t size;       /*  8: bytes */
    uint32_t rows;       /* 12 */
    int64_t time_min_ns; /* 16 */
    int64_t time_max_ns; /* 24 */
    uint32_t series_min; /* 32: ids */
    uint32_t series_max; /* 36 */
    uint32_t table_min;  /* 40: table numbers (catalog.h) */
    uint32_t table_max;  /* 44 */
    uint32_t points;     /* 48 */
    uint32_t header_crc; /* 52: the block's own */
    uint64_t zero;       /* 56 */
};
static_assert(sizeof(struct segment_block) == 64, "stored on disk: the size cannot change");

struct segment_footer {
    uint32_t magic;        /*  0 */
    uint32_t crc;          /*  4: CRC-32C of bytes 8 to 95 */
    uint16_t version;      /*  8 */
    uint16_t zero16;       /* 10 */
    uint32_t blocks;       /* 12 */
    uint64_t index_offset; /* 16 */
    uint32_t index_crc;    /* 24 */
    uint32_t zero32;       /* 28 */
    uint64_t number;       /* 32: as in the header */
    uint64_t rows;         /* 40 */
    uint64_t points;       /* 48 */
    int64_t time_min_ns;   /* 56 */
    int64_t time_max_ns;   /* 64 */
    uint64_t hash;         /* 72: XXH3-64 of all bytes before the footer */
    uint64_t size;         /* 80: bytes of the file */
    uint64_t zero;         /* 88 */
};
static_assert(sizeof(struct segment_footer) == 96, "stored on disk: the size cannot change");

/** What a manifest knows of a segment. */
struct segment_info {
    uint64_t number;
    uint64_t first_index, last_index;
    uint64_t size; /* Bytes of the file. */
    uint64_t rows, points;
    int64_t time_min_ns, time_max_ns;
    uint64_t hash;
    uint32_t blocks;
};

/** "NNNNNNNN.mrs". */
void segment_name(uint64_t number, char ret_name[SEGMENT_NAME_SIZE]);

/* ---- Writing ------------------------------------------------------------------------------- */

struct segment_writer;

/** Start DIR/NAME.tmp. `info` gives number and indexes. ERR_IO, ERR_DISK_FULL, ERR_NO_MEMORY. */
MUST_CHECK enum err segment_writer_new(const struct disk *disk, const char *dir, uint32_t shard,
                                       const struct segment_info *info,
                                       struct segment_writer **ret_writer);

/** Append a block, whose header says rows, times, points and sizes. The same errors. */
MUST_CHECK enum err segment_writer_block(struct segment_writer *writer, const void *block,
                                         size_t size, uint32_t table_min, uint32_t table_max);

/** Write index and footer, sync, rename, sync the directory; fills in the rest of `info`. After an
 * error the file may be there under either name. */
MUST_CHECK enum err segment_writer_finish(struct segment_writer *writer,
                                          struct segment_info *ret_info);

void segment_writer_free(struct segment_writer *writer); /* NULL is allowed. */

/* ---- Reading ------------------------------------------------------------------------------- */

struct segment;

/**
 * Open DIR/NAME and check it against what the manifest says. One reference is the caller's.
 *
 * Errors  ERR_CORRUPT, ERR_NOT_FOUND, ERR_VERSION, ERR_IO, ERR_NO_MEMORY
 */
MUST_CHECK enum err segment_open(const struct disk *disk, const char *dir, uint32_t shard,
                                 const struct segment_info *info, struct segment **ret_segment);

/** One more holder. Any thread. */
struct segment *segment_ref(struct segment *segment);
/** One holder less; the last one closes the file. NULL is allowed. Any thread. */
void segment_unref(struct segment *segment);

const struct segment_info *segment_info(const struct segment *segment);
uint32_t segment_blocks(const struct segment *segment);
const struct segment_block *segment_block(const struct segment *segment, uint32_t at);

/**
 * Read the block that stands at `offset` (one of the index) into `room`, and check it wholly.
 *
 * room     its contents are replaced; *ret_view borrows from it
 * Errors   ERR_IO, ERR_CORRUPT, ERR_NO_MEMORY
 */
MUST_CHECK enum err segment_read(struct segment *segment, uint64_t offset, struct bytes *room,
                                 struct block_view *ret_view);

#endif
