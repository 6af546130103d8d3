/*
 * scan_decode.h - go through a snapshot's sections, and find the rows of a region in them.
 *
 *     series  hi |          .---------.
 *                |          | region  |        one step of a scan: some of the matching series,
 *             lo |          '---------'        some of the time
 *                '------------------------- time
 *                          from     last
 *
 * For each section (section.h) that overlaps the region, in log order, the caller may look at what
 * its index says; it gets the runs of rows that lie in the region, and decodes times and fields, if
 * it needs them. Where the index tells the only run of a chunk, nothing is decoded for it. A
 * section is decoded once for each region: the scan makes regions as large as its memory allows.
 *
 * COLUMNS   Fields are numbered over the whole scan: by the query's list, or as they are found.
 *           In a digest, which looks at all tables, (table, name, type) is a column.
 *
 * Thread    The scan's.
 */
#ifndef STORAGE_SCAN_DECODE_H
#define STORAGE_SCAN_DECODE_H

#include <stdbool.h>

#include "storage/base/bytes.h"
#include "storage/block/block_arena.h"
#include "storage/block/key_map.h"
#include "storage/scan.h"
#include "storage/scan_match.h"
#include "storage/section.h"

struct scan_region {
    uint32_t lo, hi;          /* Series: positions lo to hi - 1 in match->ids. */
    int64_t from_ns, last_ns; /* Both inclusive. */
    const bool *only;         /* By slot: those series with only[slot] == want. NULL: all. */
    bool want;
    const bool *pass; /* By source of the snapshot: pass over it. NULL: over none. */
};

/** Rows of one series in the current section, their times strictly ascending. */
struct scan_run {
    uint32_t slot;  /* The series: ids[region.lo + slot]. */
    uint32_t start; /* In the section's rows. */
    uint32_t rows;
    int64_t first_ns, last_ns; /* Times of its first and last row. */
};

struct scan_column {
    struct slice name;    /* Borrowed from the query or the arena. */
    enum field_type type; /* 0: asked for, but not seen yet. */
};

#define SCAN_COLUMN_NONE UINT32_MAX

/** A field of the current section that the query asks for. */
struct scan_field {
    uint32_t field;  /* Of the section. */
    uint32_t column; /* Of the scan; SCAN_COLUMN_NONE until it is seen with a value. */
    enum field_type type;
    uint32_t values;                   /* Rows of the sections that have it; 0: pass over it. */
    const struct segment_stats *stats; /* Borrowed: what the index says. NULL: there is none. Those
                                          of the next sections stand behind it. */
};

struct scan_decode {
    const struct snapshot *snapshot; /* Borrowed, as the next three. */
    const struct query *query;       /* NULL: all tables, all fields. */
    const struct scan_limits *limits;
    const struct scan_match *match;

    struct scan_column *columns; /* Owned. */
    uint32_t column_count, column_capacity;
    struct block_arena arena; /* Of `names`. */
    struct key_map names; /* Column -> its number here; for a NULL query or no list of fields. */
    struct bytes name;    /* Scratch. */

    struct scan_region region;

    /* The current section, for the callback. */
    const struct snapshot_source *source;
    struct section_reader reader;
    uint32_t section_rows;
    uint32_t done; /* Sections that the callback has done with: it may set it to more than 1. */
    uint32_t kept; /* Rows of all runs: after scan_decode_runs(), as what follows. */
    uint32_t run_count;
    struct scan_run *runs; /* Owned, as what follows: BLOCK_ROWS_MAX each, taken once. */
    int64_t *times_ns;     /* Of the runs' rows: after scan_decode_times(). */
    bool has_times;
    uint32_t first_row, end_row; /* All runs are in rows first_row to end_row - 1: others need not
                                    be decoded. */
    uint32_t *ids, *counts;
    uint8_t *present; /* Room for one field, for the callback. */
    uint64_t *bits;
    struct scan_field *asked; /* Owned. `values` and `stats` after scan_decode_fields(). */
    uint32_t asked_count, asked_capacity;
    const void *asked_of; /* The table that they are of; NULL: a block's section. */
};

/** Called once for each section that overlaps the region and has fields that are asked for. */
typedef enum err (*scan_decode_cb)(void *arg, struct scan_decode *decode);

/** `match` is what scan_match_find() found for `query`. ERR_NO_MEMORY. */
MUST_CHECK enum err scan_decode_init(struct scan_decode *decode, const struct snapshot *snapshot,
                                     const struct query *query, const struct scan_limits *limits,
                                     const struct scan_match *match);
void scan_decode_fini(struct scan_decode *decode);

/** The sources overlap in series, time and table: it has to be decoded. */
bool scan_decode_overlaps(const struct scan_decode *decode, const struct scan_region *region,
                          const struct snapshot_source *source);

/**
 * Go through all sections that overlap.
 *
 * Errors  of `section`; ERR_CORRUPT and ERR_IO naming the source; ERR_CANCELED, ERR_TIMEOUT;
 *         ERR_TYPE_CONFLICT; ERR_NO_MEMORY
 */
MUST_CHECK enum err scan_decode_region(struct scan_decode *decode, const struct scan_region *region,
                                       scan_decode_cb section, void *arg);

/** Whether the scan still needs a source that overlaps. */
typedef bool (*scan_decode_needs)(void *arg, const struct scan_decode *decode,
                                  const struct snapshot_source *source);

/** The same, but the source that came last in the log first, and only what is needed. */
MUST_CHECK enum err scan_decode_backwards(struct scan_decode *decode,
                                          const struct scan_region *region, scan_decode_needs needs,
                                          scan_decode_cb section, void *arg);

/** In the callback: the section has an index, and all its rows lie in the region's time. So for
 * series of the region the index may speak in their place. */
bool scan_decode_is_whole(const struct scan_decode *decode);

/** In the callback: find the rows that lie in the region, if any. ERR_CORRUPT, ERR_IO. */
MUST_CHECK enum err scan_decode_runs(struct scan_decode *decode);

/** In the callback: the slot of a series; region.hi - region.lo if it is not in the region. */
uint32_t scan_decode_slot(const struct scan_decode *decode, uint32_t id);

/** The first of `rows` ascending times that is at least `time_ns`; `rows` if there is none. */
uint32_t scan_decode_find_time(const int64_t *times_ns, uint32_t rows, int64_t time_ns);

/** In the callback: decode the times of all runs, if that was not done. ERR_CORRUPT, ERR_IO. */
MUST_CHECK enum err scan_decode_times(struct scan_decode *decode);

/** In the callback: find values and columns of the fields asked for, for so many sections from the
 * current one on; more than 1 if they have an index. ERR_TYPE_CONFLICT, ERR_CORRUPT, ERR_IO,
 * ERR_NO_MEMORY. */
MUST_CHECK enum err scan_decode_fields(struct scan_decode *decode, uint32_t sections);

#endif
