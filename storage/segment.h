/*
 * segment.h - an immutable file of sorted rows in packed columns: what a seal makes of the head.
 *
 *     NNNNNNNN.mrs   header (64) | group | group | ... | directory | footer (96)
 *
 *     group    up to 64 chunks of one table:
 *              frame of runs | frame of times | frame of field 0 | ... | index
 *     chunk    up to 1024 rows: the unit of packing, and of what the index knows
 *     frame    one column of all chunks of the group, back to back, in LZ4 if that saves something
 *     index    never compressed: for each chunk its series, times and rows (segment_chunk); for
 *              each field and chunk count, min, max, sum, first, last (segment_stats)
 *     directory  the tables with their fields, then the groups (segment_group)
 *
 * ROWS      are sorted by (table number, series id, time); no two have the same series and time.
 *           Groups and chunks follow each other in that order, so the series of a query are found
 *           by binary search, and the index is the directory of series.
 * CHECKED   Every byte belongs to something with a CRC-32C: header, each frame, each piece of an
 *           index, directory, footer. Frames and index pieces are summed with their offset in the
 *           file, so a good one at a wrong place is noticed.
 * HASH      XXH3-64 over all that does not depend on LZ4: packed columns, indexes, tables. Two
 *           replicas' segments hold the same if and only if these are equal.
 * MEMORY    An open segment keeps its directory: 64 bytes for up to 65536 rows. Indexes and frames
 *           are read when a scan comes to them (segment_cursor.h), each checked then.
 * DAMAGE    is ERR_CORRUPT naming file, offset and what to do. docs/formats.md has the details.
 *
 * Thread    A writer: one at a time. A segment: any number of readers; it is counted, and the
 *           last holder closes the file.
 */
#ifndef STORAGE_SEGMENT_H
#define STORAGE_SEGMENT_H

#include <assert.h>
#include <stdbool.h>

#include "storage/base/attrs.h"
#include "storage/base/err.h"
#include "storage/base/file.h"
#include "storage/base/types.h"
#include "storage/segment_info.h"

#define SEGMENT_MAGIC        0x3153524du /* "MRS1" */
#define SEGMENT_FOOTER_MAGIC 0x3146524du /* "MRF1" */

enum {
    SEGMENT_VERSION = 3,
    SEGMENT_VERSION_OLDEST = 2, /* Read as well: there is no codec 3 in it. */
    SEGMENT_CHUNK_ROWS = 1024,
    SEGMENT_GROUP_CHUNKS = 64,
    SEGMENT_FIELDS_MAX = 65535,           /* Of one table. */
    SEGMENT_FRAME_MAX = 64 * 1024 * 1024, /* Bytes before LZ4: bounds what a reader allocates. */
    SEGMENT_NAME_SIZE = 24,
};

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

struct segment_group {
    uint64_t offset;       /*  0: of its first frame in the file */
    uint64_t index_offset; /*  8 */
    uint32_t table;        /* 16: place in the directory's list of tables */
    uint32_t chunks;       /* 20 */
    uint32_t rows;         /* 24 */
    uint32_t points;       /* 28 */
    uint32_t series_min;   /* 32: ids */
    uint32_t series_max;   /* 36 */
    int64_t time_min_ns;   /* 40 */
    int64_t time_max_ns;   /* 48 */
    uint64_t zero;         /* 56 */
};
static_assert(sizeof(struct segment_group) == 64, "stored on disk: the size cannot change");

struct segment_chunk {
    uint32_t rows;       /*  0 */
    uint32_t runs;       /*  4: series in it */
    uint32_t series_min; /*  8: ids */
    uint32_t series_max; /* 12 */
    int64_t time_min_ns; /* 16 */
    int64_t time_max_ns; /* 24 */
    uint32_t runs_end;   /* 32: where its runs end in the frame of runs; nothing if it is one run */
    uint32_t times_end;  /* 36: the same of times */
    uint32_t points;     /* 40 */
    uint32_t zero;       /* 44 */
};
static_assert(sizeof(struct segment_chunk) == 48, "stored on disk: the size cannot change");

enum {
    SEGMENT_SUM_DECIMAL_MAX = 12, /* sum_form 0 to 12: the sum is `sum` / 10^form, exactly. */
    SEGMENT_SUM_NONE = 255,       /* The sum has to be made of the values. */
};

/** One field in one chunk. Without values all is 0 but `end`, and sum_form is SEGMENT_SUM_NONE. */
struct segment_stats {
    uint16_t count;   /*  0: values */
    uint8_t sum_form; /*  2: integers 0, unless the sum does not fit; floats: aggregate_sum.h */
    uint8_t zero;     /*  3 */
    uint32_t end;     /*  4: where its column ends in the field's frame */
    uint64_t min;     /*  8: bits; 0 for strings, as the next four. NaN only if all are. */
    uint64_t max;     /* 16 */
    int64_t sum;      /* 24 */
    uint64_t first;   /* 32: bits of the first row that has the field */
    uint64_t last;    /* 40 */
};
static_assert(sizeof(struct segment_stats) == 48, "stored on disk: the size cannot change");

struct segment_footer {
    uint32_t magic;            /*  0 */
    uint32_t crc;              /*  4: CRC-32C of bytes 8 to 95 */
    uint16_t version;          /*  8 */
    uint16_t zero16;           /* 10 */
    uint32_t groups;           /* 12 */
    uint64_t directory_offset; /* 16 */
    uint32_t directory_crc;    /* 24 */
    uint32_t tables;           /* 28 */
    uint64_t number;           /* 32: as in the header */
    uint64_t rows;             /* 40 */
    uint64_t points;           /* 48 */
    int64_t time_min_ns;       /* 56 */
    int64_t time_max_ns;       /* 64 */
    uint64_t hash;             /* 72: of the contents */
    uint64_t size;             /* 80: bytes of the file */
    uint64_t zero;             /* 88 */
};
static_assert(sizeof(struct segment_footer) == 96, "stored on disk: the size cannot change");

/** A field of a table: the same name with another type is another one. */
struct segment_field {
    struct slice name;
    enum field_type type;
};

struct segment_table {
    uint32_t number; /* catalog.h */
    uint32_t field_count;
    const struct segment_field *fields;
};

/** "NNNNNNNN.mrs". */
void segment_name(uint64_t number, char ret_name[SEGMENT_NAME_SIZE]);

struct segment;

/**
 * Open DIR/NAME and check header, footer and directory against what the manifest says. One
 * reference is the caller's.
 *
 * Errors  ERR_CORRUPT, ERR_NOT_FOUND, ERR_VERSION, ERR_IO, ERR_NO_MEMORY
 */
MUST_CHECK enum err segment_open(const struct disk *disk, const char *dir, uint32_t shard,
                                 const struct segment_info *info, struct segment **ret_segment);

/**
 * Open a file of any name by what it says of itself: for tools, without a manifest.
 *
 * salvage    open it also if only checksums of header, footer or directory are wrong; what they
 *            lead to has its own
 * ret_shard  of which it is part, as the header says
 * Errors     as segment_open(); ERR_NOT_FOUND
 */
MUST_CHECK enum err segment_open_alone(const struct disk *disk, const char *path, bool salvage,
                                       uint32_t *ret_shard, struct segment **ret_segment);

/** The same file opened once more, to read it once: what was not in the page cache does not stay
 * there. Any thread. The errors of segment_open(). */
MUST_CHECK enum err segment_open_again(const struct segment *segment, struct segment **ret_segment);

/** One more holder. Any thread. */
struct segment *segment_ref(struct segment *segment);
/** One holder less; the last one closes the file. NULL is allowed. Any thread. */
void segment_unref(struct segment *segment);

const struct segment_info *segment_info(const struct segment *segment);
uint32_t segment_groups(const struct segment *segment);
const struct segment_group *segment_group(const struct segment *segment, uint32_t at);
/** The table of a group. Borrowed from the segment. */
const struct segment_table *segment_table(const struct segment *segment, uint32_t group);

/** All of `size` bytes of the file. ERR_CORRUPT: it became shorter; ERR_IO. Any thread. */
MUST_CHECK enum err segment_read(const struct segment *segment, uint64_t offset, void *ret_bytes,
                                 size_t size);
/** The file's path, for messages. */
const char *segment_path(const struct segment *segment);

#endif
