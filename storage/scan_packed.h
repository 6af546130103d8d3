/*
 * scan_packed.h - aggregate a field of a section from its packed values, where that is exact.
 *
 *     packed chunks  |  1024 values  |  1024 values  | ...
 *     runs           | cell 7  |   cell 8      | cell 9 ...     few: about one a chunk
 *
 * Sums, minima and maxima of decimals and integers come from the integers that they are packed as
 * (column_aggregate.h): no float is made. Sums are differences of running sums, so that short runs
 * cost little; of a chunk with other floats they come from its values. A minimum unpacks a chunk
 * once for each run, so with many short runs decoding is faster.
 *
 * Thread   The scan's.
 */
#ifndef STORAGE_SCAN_PACKED_H
#define STORAGE_SCAN_PACKED_H

#include "storage/aggregate.h"
#include "storage/section.h"

/**
 * Add a field that all rows of the section have to the runs of `into`, if it can be done so.
 *
 * agg       enum query_agg
 * at        the field in the section
 * field     the same in the aggregate
 * ret_done  false: nothing was added, the values have to be decoded
 * Errors    ERR_CORRUPT, ERR_IO, ERR_NO_MEMORY, ERR_LIMIT
 */
MUST_CHECK enum err scan_packed_add(struct aggregate *into, struct section_reader *reader,
                                    uint32_t agg, uint32_t at, uint32_t field, bool *ret_done);

#endif
