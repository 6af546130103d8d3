/*
 * column_newest.h - the newest value of one field of one series, without decoding its neighbours.
 *
 *     runs --> which rows are the series' --> presence: the last one that has the field
 *                                               |
 *                                     times: its time     values: its number
 *
 * Rows of a run ascend in time, so its last row is its newest. Of each column at most one chunk is
 * unpacked (of the numbers of rows, those before it), and of most chunks one number alone. For
 * sections of blocks and chunks of segments, which have the same columns.
 *
 * TRUST     As column.h: whatever the bytes hold, nothing behind their end is touched.
 */
#ifndef STORAGE_BLOCK_COLUMN_NEWEST_H
#define STORAGE_BLOCK_COLUMN_NEWEST_H

#include "storage/block/column.h"

enum column_newest {
    COLUMN_NEWEST_NONE, /* The series has no row here, or none with the field. */
    COLUMN_NEWEST_FOUND,
    COLUMN_NEWEST_ELSE, /* Strings, and bytes that contradict themselves: decode it all. */
};

struct column_rows {
    struct reader runs, times; /* Borrowed bytes, as the columns stand there. */
    uint32_t run_count, rows;
};

/** A run: rows first to end - 1. */
struct column_run {
    uint32_t run, first, end;
};

struct column_newest_value {
    int64_t time_ns;
    uint64_t bits;
};

/** The run of a series, by its number in the runs' column; there are `numbers` of those. */
enum column_newest column_newest_run(const struct column_rows *rows, uint32_t number,
                                     uint32_t numbers, struct column_run *ret_run);

/** The newest value of a field in a run: `presence` and `values` (from their codec on) are the
 * field's. */
enum column_newest column_newest_of(const struct column_rows *rows, const struct column_run *run,
                                    const struct column_presence *presence, enum field_type type,
                                    struct reader values, struct column_newest_value *ret_value);

#endif
