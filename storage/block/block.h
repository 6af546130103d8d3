/*
 * block.h - the block: up to 64 Ki rows of one shard, columnar, LZ4-compressed, checksummed.
 *
 * Encoded once, by block_builder.h; read by block_reader.h. The same bytes go through socket, log,
 * follower, head, and (with a directory of ids only) stand in segment files.
 *
 *     header (64) | directory | body
 *
 * All integers little-endian. docs/formats.md is the specification.
 *
 * DIRECTORY  Ids of the series that the sender knows, ascending, packed in groups of 32, so that
 *            each can be read alone: u8 width; u32 first id of each group; for each id `width` bits
 *            (pack.h), what it is above its group's. None of it if there are no such series. Then
 *            for each key that the sender does not know a u32 slot (0xffffffff until the leader
 *            stamps an id); then those keys: varint size, bytes. A *place* is a position in this
 *            list: 0 to known + fresh - 1. Two places may turn out to be one series (a key became
 *            known meanwhile): readers map places to ids and must not rely on ids being distinct
 *            or ascending.
 *
 * BODY       LZ4 block of `body_raw_size` bytes, or those bytes as they are if `body_size` ==
 *            `body_raw_size`. For each table: a section of
 *              table key, run count, row count, field count,
 *              runs (place, rows of it), times, then each field: name, type, presence, column.
 *            Rows are sorted by (table key, place, time); rows of one place and time are kept in
 *            the order in which they were added (the later wins).
 *            A column starts with its codec number, so new codecs need no new block version.
 *
 * CHECKSUMS  header_crc covers header bytes 8 to 63 (and so the other two sums), directory_crc the
 *            directory, body_crc the stored body. The leader renews the first two when it stamps
 *            ids; body_crc, made by the sender, travels untouched to the disk.
 */
#ifndef STORAGE_BLOCK_BLOCK_H
#define STORAGE_BLOCK_BLOCK_H

#include <assert.h>
#include <stdint.h>

#include "storage/base/crc32c.h"
#include "storage/base/types.h"

#define BLOCK_MAGIC 0x3142524du /* "MRB1" */

enum {
    BLOCK_VERSION = 2,
    BLOCK_ROWS_MAX = 65536,
    BLOCK_SERIES_MAX = 65536, /* Ids and keys of one directory. */
    BLOCK_TABLES_MAX = 1024,
    BLOCK_ID_GROUP = 32,                   /* Known ids with one base. */
    BLOCK_BODY_RAW_MAX = 64 * 1024 * 1024, /* Bytes: bounds what a reader allocates. */
};

#define BLOCK_ID_NONE 0xffffffffu /* A series without an id yet. */

struct block_header {
    uint32_t magic;          /*  0 */
    uint32_t header_crc;     /*  4 */
    uint16_t version;        /*  8 */
    uint16_t tables;         /* 10: sections; 0 when the block only registers series */
    uint32_t rows;           /* 12 */
    int64_t time_min_ns;     /* 16: of all rows; 0 and 0 when there are none */
    int64_t time_max_ns;     /* 24 */
    uint32_t known;          /* 32: ids in the directory */
    uint32_t fresh;          /* 36: keys in the directory */
    uint32_t directory_size; /* 40: bytes */
    uint32_t directory_crc;  /* 44 */
    uint32_t body_size;      /* 48: bytes as stored */
    uint32_t body_raw_size;  /* 52: bytes before LZ4 */
    uint32_t body_crc;       /* 56 */
    uint32_t points;         /* 60: field values of all rows */
};
static_assert(sizeof(struct block_header) == 64, "stored on disk: the size cannot change");

/** What header_crc has to be. */
static inline uint32_t block_header_crc(const struct block_header *header)
{
    return crc32c(0, (const uint8_t *)header + 8, sizeof *header - 8);
}

#endif
