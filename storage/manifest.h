/*
 * manifest.h - what of a shard is on disk: segments, catalog, what was dropped, up to which index.
 *
 * The file manifest.mrm is replaced as a whole at the end of every seal and compaction, and then
 * its copy (base/twin.h). What it does not name does not count and is removed when the store is
 * opened.
 *
 *     header: u32 magic "MRM1", u32 crc (of all behind it), u16 version, u16 0, u32 shard
 *     u64 size of the file | sealed index | next segment | chain | rows | points
 *     files of the catalog (catalog_file.h)
 *     u32 segments, then for each: struct segment_info's fields in their order
 *     u32 compactions, then for each: what is known of its segment, cutoff, numbers of its inputs
 *     u32 bytes of marks, marks (marks.h)
 *     u32 bytes of tombstones, tombstones (tombstone.h)
 *     producers (producers.h)
 *
 * ORDER     Segments stand in the order of the log: by last index, then by number. Where two have a
 *           row of one series and time, the later one wins. One that was made of others takes the
 *           place of the last of them, behind all with the same last index.
 * LINE-UP   Whether a replica has made a segment or is still to make it (compactions.h), the
 *           segments that a shard is said to have depend on the log alone: manifest_line_up().
 *
 * Thread    Any, one at a time. Saving and loading block.
 */
#ifndef STORAGE_MANIFEST_H
#define STORAGE_MANIFEST_H

#include "storage/base/bytes.h"
#include "storage/base/file.h"
#include "storage/catalog_file.h"
#include "storage/compactions.h"
#include "storage/database_map.h"
#include "storage/segment.h"

#define MANIFEST_NAME  "manifest.mrm"
#define MANIFEST_MAGIC 0x314d524du /* "MRM1" */

enum {
    MANIFEST_VERSION = 4,
    MANIFEST_SEGMENTS_MAX = 1 << 20,
    MANIFEST_SIZE_MAX = 256 * 1024 * 1024, /* Bytes: bounds what a reader allocates. */
};

struct manifest {
    uint32_t shard;
    uint64_t sealed_index; /* Everything up to this log index is in here. */
    uint64_t next_segment; /* Number of the next one. */
    uint64_t chain;        /* As of sealed_index: store.h. */
    uint64_t rows, points; /* Applied up to sealed_index, duplicates counted each time. */
    struct catalog_files catalog;
    uint32_t segment_count;
    struct segment_info *segments;  /* Owned, in log order. */
    struct compactions compactions; /* Ordered, and not made here yet. */
    struct bytes marks;             /* Owned: marks.h. */
    struct bytes tombstones;        /* Owned: of rows that segments still hold. */
    struct bytes producers;         /* Owned: as producers_encode() makes it. */
};

void manifest_fini(struct manifest *manifest); /* A zeroed struct is valid. */

/** Put in a segment, in its place. ERR_NO_MEMORY, ERR_LIMIT. */
MUST_CHECK enum err manifest_add(struct manifest *manifest, const struct segment_info *info);
/** Take out the segments with these numbers, ascending. */
void manifest_remove(struct manifest *manifest, const uint64_t *numbers, uint32_t count);
/** Everything but producers, marks and tombstones, which stay empty. ERR_NO_MEMORY. */
MUST_CHECK enum err manifest_copy(const struct manifest *from, struct manifest *ret_copy);

/** The order of two segments in the log: negative, 0 or positive. */
int manifest_compare(const struct segment_info *a, const struct segment_info *b);

/** All segments that there are or are to be, in log order, without those that become part of
 * another one. free() the array; it borrows from the manifest. ERR_NO_MEMORY. */
MUST_CHECK enum err manifest_line_up(const struct manifest *manifest,
                                     const struct segment_info ***ret_infos, uint32_t *ret_count);

/** Of a list of tombstones keep those for which some segment may still hold rows that they hide.
 * Both may be the same list. `databases` has those of all segments. ERR_NO_MEMORY. */
MUST_CHECK enum err manifest_keep_tombstones(const struct manifest *manifest,
                                             const struct database_map *databases,
                                             const struct bytes *list, struct bytes *ret_list);

enum { MANIFEST_SEGMENT_SIZE = 13 * 8 + 2 * 4 };

/** One segment's facts, MANIFEST_SEGMENT_SIZE bytes of them. Nothing of it is checked. */
void manifest_put_segment(const struct segment_info *info, struct bytes *out);
struct segment_info manifest_get_segment(struct reader *reader);

void manifest_encode(const struct manifest *manifest, struct bytes *out);
/** From untrusted bytes. ERR_CORRUPT, ERR_VERSION, ERR_NO_MEMORY. */
MUST_CHECK enum err manifest_decode(const void *bytes, size_t size, struct manifest *ret_manifest);

/** That the bytes are a manifest as it was written; manifest_decode() does it, too. ERR_CORRUPT. */
MUST_CHECK enum err manifest_check(const void *bytes, size_t size);

/** Replace DIR/manifest.mrm and its copy. ERR_IO, ERR_DISK_FULL, ERR_NO_MEMORY. */
MUST_CHECK enum err manifest_save(const struct manifest *manifest, const struct disk *disk,
                                  const char *dir);
/** One copy is enough: the other one is mended. ERR_NOT_FOUND: there is none; ERR_CORRUPT names
 * the file; ERR_VERSION, ERR_IO. */
MUST_CHECK enum err manifest_load(const struct disk *disk, const char *dir, uint32_t shard,
                                  struct manifest *ret_manifest);
/** The same, whichever shard it is of. */
MUST_CHECK enum err manifest_load_any(const struct disk *disk, const char *dir,
                                      struct manifest *ret_manifest);
/** Both copies are there and good; ERR_CORRUPT names the one that is not. */
MUST_CHECK enum err manifest_verify(const struct disk *disk, const char *dir);

#endif
