/*
 * segment_pack.h - rows of one table to packed columns and index entries: a group in the making.
 *
 *     rows --add--> one chunk's arrays --end of chunk--> columns[]: packed bytes, entries
 *
 * Private to segment_writer.c; what the index says of values is also for who checks it.
 */
#ifndef STORAGE_SEGMENT_PACK_H
#define STORAGE_SEGMENT_PACK_H

#include <stdbool.h>

#include "storage/base/bytes.h"
#include "storage/segment_writer.h"

/** A column of the group: 0 is runs, 1 times, 2 + i field i. */
struct segment_pack_column {
    struct bytes frame;   /* Owned: packed chunks, back to back. */
    struct bytes entries; /* Owned: of column 1 segment_chunk, of fields segment_stats. */
    uint64_t *values;     /* Owned, fields only: those present in the chunk, in order of rows. */
    uint64_t *bitmap;     /* Owned: rows that have one. */
    uint32_t count;
    struct bytes text; /* Owned: FIELD_STRING. */
};

struct segment_pack {
    struct segment_table table; /* The fields are borrowed. */
    struct segment_pack_column *columns;
    uint32_t column_capacity;
    uint32_t words;    /* Of a row: segment_row.h */
    bool has_strings;  /* Some field is a FIELD_STRING. */
    uint32_t rows_max; /* Of a chunk: with very many fields fewer than SEGMENT_CHUNK_ROWS. */

    /* The chunk under way. */
    uint32_t rows, runs;
    size_t text; /* Bytes. */
    int64_t times_ns[SEGMENT_CHUNK_ROWS];
    uint64_t ids[SEGMENT_CHUNK_ROWS];    /* Of runs. */
    uint64_t counts[SEGMENT_CHUNK_ROWS]; /* Of runs. */
    uint64_t scratch[SEGMENT_CHUNK_ROWS];

    /* The chunks of the group, ended. */
    struct segment_group group;
    size_t packed; /* Bytes. */
};

/** A zeroed struct is valid. */
void segment_pack_fini(struct segment_pack *pack);

/** Begin a table; there is no chunk and no group under way. ERR_NO_MEMORY. */
MUST_CHECK enum err segment_pack_table(struct segment_pack *pack,
                                       const struct segment_table *table);

/** Add rows of a series, as segment_writer_rows() gets them, to the chunk under way: as many as
 * have room beside the others, at least one if the chunk is empty. ERR_NO_MEMORY. */
MUST_CHECK enum err segment_pack_rows(struct segment_pack *pack, uint32_t id, const uint64_t *rows,
                                      const char *const *texts, uint32_t count,
                                      uint32_t *ret_taken);

/** Pack the chunk under way, which has rows. ERR_NO_MEMORY. */
MUST_CHECK enum err segment_pack_end_chunk(struct segment_pack *pack);

/** Forget the group's chunks. */
void segment_pack_clear(struct segment_pack *pack);

/** What the index says of values: `count` (0 to SEGMENT_CHUNK_ROWS) in the order of rows. `end` is
 * left 0. */
struct segment_stats segment_pack_stats(enum field_type type, const uint64_t *values,
                                        uint32_t count);

#endif
