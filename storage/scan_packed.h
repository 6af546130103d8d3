/*
 * scan_packed.h - aggregate a field of a section from its packed values, where that is exact.
 *
 *     packed chunks  |  1024 values  |  1024 values  | ...
 *     runs           | cell 7  |   cell 8      | cell 9 ...
 *     cut to chunks  |    7    |  8  |    8    |   9 ...         once, for all fields
 *
 * Sums, minima and maxima of decimals and integers come from the integers that they are packed as
 * (column_aggregate.h). Sums are differences of running sums, whatever the length of runs. Of few
 * long runs minima are found while unpacking, of many short ones from windows over the integers;
 * floats are made of the results alone. Of a chunk with other floats its values are added.
 *
 * Thread   The scan's.
 */
#ifndef STORAGE_SCAN_PACKED_H
#define STORAGE_SCAN_PACKED_H

#include "storage/aggregate.h"
#include "storage/block/block.h"
#include "storage/block/column_int.h"
#include "storage/section.h"

enum { SCAN_PACKED_CHUNKS = (BLOCK_ROWS_MAX + COLUMN_CHUNK - 1) / COLUMN_CHUNK };

/** The runs of a section, cut to chunks. */
struct scan_packed {
    struct lanes_run *runs; /* Owned: room for those of any section, taken once. */
    uint32_t run_count;
    uint32_t ends[SCAN_PACKED_CHUNKS]; /* Of each chunk: the end of its runs. */
    uint32_t rows;                     /* Of the section. */
};

/** Zeros are a valid one that has no section. */
void scan_packed_fini(struct scan_packed *packed);

/** Take the runs of `into`, which are of a section of `rows` rows. ERR_NO_MEMORY. */
MUST_CHECK enum err scan_packed_begin(struct scan_packed *packed, const struct aggregate *into,
                                      uint32_t rows);

/**
 * Add a field that all rows of the section have to `into`, if it can be done so.
 *
 * agg       enum query_agg
 * at        the field in the section
 * field     the same in the aggregate
 * ret_done  false: nothing was added, the values have to be decoded
 * Errors    ERR_CORRUPT, ERR_IO, ERR_NO_MEMORY, ERR_LIMIT
 */
MUST_CHECK enum err scan_packed_add(struct scan_packed *packed, struct aggregate *into,
                                    struct section_reader *reader, uint32_t agg, uint32_t at,
                                    uint32_t field, bool *ret_done);

#endif
