/*
 * catalog_file.h - the catalog on disk: catalog.mrc, to which every seal appends its new keys.
 *
 *     header (64) | chunk | chunk | ...        chunk: header (32), keys in the stored form
 *
 * The manifest says how many bytes and series count: what stands behind them was written by a seal
 * that did not come to its end, and is cut off when the store is opened. Chunks say their own
 * place, so that a good chunk at the wrong place is noticed.
 *
 * Thread   Any, one at a time; it blocks on the disk.
 */
#ifndef STORAGE_CATALOG_FILE_H
#define STORAGE_CATALOG_FILE_H

#include <assert.h>

#include "storage/base/file.h"
#include "storage/catalog.h"

#define CATALOG_FILE_NAME   "catalog.mrc"
#define CATALOG_FILE_MAGIC  0x3143524du /* "MRC1" */
#define CATALOG_CHUNK_MAGIC 0x314b524du /* "MRK1" */

enum { CATALOG_FILE_VERSION = 1 };

struct catalog_file_header {
    uint32_t magic;   /*  0 */
    uint32_t crc;     /*  4: CRC-32C of bytes 8 to 63 */
    uint16_t version; /*  8 */
    uint16_t zero16;  /* 10 */
    uint32_t shard;   /* 12 */
    uint8_t zero[48]; /* 16 */
};
static_assert(sizeof(struct catalog_file_header) == 64, "stored on disk: the size cannot change");

struct catalog_chunk_header {
    uint32_t magic;    /*  0 */
    uint32_t crc;      /*  4: CRC-32C of bytes 8 to 31 and of the keys */
    uint32_t size;     /*  8: bytes of keys, at most CATALOG_CHUNK */
    uint32_t count;    /* 12: keys */
    uint32_t first_id; /* 16: the first key's id; the others follow */
    uint32_t shard;    /* 20 */
    uint64_t offset;   /* 24: of this header in the file */
};
static_assert(sizeof(struct catalog_chunk_header) == 32, "stored on disk: the size cannot change");

/**
 * Append the keys of ids `from` to `to` - 1 at offset `size`, and sync. `size` 0: make the file
 * anew. to is at most view->count.
 *
 * Returns  *ret_size: bytes of the file that count now
 * Errors   ERR_IO, ERR_DISK_FULL, ...: what stood before is as good as it was
 */
MUST_CHECK enum err catalog_file_append(const struct disk *disk, const char *dir, uint32_t shard,
                                        uint64_t size, const struct catalog_view *view,
                                        uint32_t from, uint32_t to, uint64_t *ret_size);

/**
 * Load `count` series from the first `size` bytes into an empty catalog; cut what is behind.
 *
 * Errors  ERR_CORRUPT names file and offset; ERR_VERSION, ERR_IO, ERR_NO_MEMORY
 */
MUST_CHECK enum err catalog_file_load(const struct disk *disk, const char *dir, uint32_t shard,
                                      uint64_t size, uint32_t count, struct catalog *catalog);

#endif
