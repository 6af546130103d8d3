/*
 * section.h - rows of one table in columns, wherever they stand.
 *
 *     head block --> its sections, one a table      unsorted between blocks, rows may repeat
 *     group      --> its chunks                     sorted, rows unique, with an index
 *
 * Scans and merges read sources through this alone: they open a source, go to a section, look at
 * what is known of it, and decode the columns that they need. A group's index is read when it is
 * opened, a field's when it is asked for, a frame once, for all chunks of the group.
 *
 * TRUST    Nothing that was read is believed before it is checked; ERR_CORRUPT says what is wrong.
 * Thread   One at a time for each reader.
 */
#ifndef STORAGE_SECTION_H
#define STORAGE_SECTION_H

#include "storage/block/block_reader.h"
#include "storage/segment_cursor.h"
#include "storage/snapshot.h"

/** What is known of a section before anything of it is decoded. */
struct section {
    struct slice table_key; /* Borrowed from the block or the catalog. */
    uint32_t rows, runs, fields;
    uint32_t series_min, series_max; /* Ids in it, or a range around them. */
    int64_t time_min_ns, time_max_ns;
    bool is_sorted; /* Ids ascend, each stands once, its times ascend strictly; ranges are exact. */
};

struct section_reader {
    const struct catalog_view *series; /* Borrowed, as the source. */
    const struct snapshot_source *source;
    uint32_t count; /* Sections of the open source. */
    uint32_t at;    /* The section that was gone to. */
    struct section section;
    const void *table;            /* Of a group: what its sections have in common. NULL: a block. */
    struct block *block;          /* Owned: of the head. */
    struct block_view view;       /* Of it. */
    struct segment_cursor cursor; /* On the group. */
};

/** A zeroed struct is valid. */
void section_fini(struct section_reader *reader);

/** Open a source in place of the one before. ERR_CORRUPT, ERR_IO, ERR_NO_MEMORY. */
MUST_CHECK enum err section_open(struct section_reader *reader,
                                 const struct snapshot_source *source,
                                 const struct catalog_view *series);

/** Go to a section: reader->section tells of it, and what follows is about it. */
void section_go(struct section_reader *reader, uint32_t at);

/** Name (borrowed until the next open) and type of a field. */
struct segment_field section_field(const struct section_reader *reader, uint32_t field);

/** How many rows have a field. The errors of section_open(), as all that follow. */
MUST_CHECK enum err section_values(struct section_reader *reader, uint32_t field,
                                   uint32_t *ret_values);
/** What the index says of a field; NULL: there is none. What it says of it in the sections behind
 * stands behind. Borrowed until the next open. */
MUST_CHECK enum err section_stats(struct section_reader *reader, uint32_t field,
                                  const struct segment_stats **ret_stats);

/** The runs of rows, in their order: ids of series and numbers of rows; room for section.runs. */
MUST_CHECK enum err section_read_runs(struct section_reader *reader, uint32_t *ids,
                                      uint32_t *counts);
/** Room for section.rows. */
MUST_CHECK enum err section_read_times(struct section_reader *reader, int64_t *times_ns);
/** Of a block only the times of runs `first` to `end` - 1 and the values of those rows, at their
 * places; of a chunk all. */
MUST_CHECK enum err section_read_some_times(struct section_reader *reader, uint32_t first,
                                            uint32_t end, int64_t *times_ns);
MUST_CHECK enum err section_read_some_values(struct section_reader *reader, uint32_t field,
                                             uint32_t first, uint32_t end, uint8_t *present,
                                             uint64_t *values, const char **ret_strings);
/** The packed values of a field that has some: those of column_put_values(). Borrowed until the
 * next open. */
MUST_CHECK enum err section_packed(struct section_reader *reader, uint32_t field,
                                   struct reader *ret_values);
/** As block_read_field(). */
MUST_CHECK enum err section_read_field(struct section_reader *reader, uint32_t field,
                                       uint8_t *present, uint64_t *values,
                                       const char **ret_strings);

#endif
