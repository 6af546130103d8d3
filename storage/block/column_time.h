/*
 * column_time.h - the times of a section's rows, run by run.
 *
 *     2 | unit 0..3     | first time of each run: integers | differences inside the runs: integers
 *     2 | unit 0..3, +4 | all times: integers
 *
 * Times and differences are divided by 1, 10^3, 10^6 or 10^9 ns, the largest that leaves no rest:
 * clocks that tick in seconds or milliseconds are common, and their zeros cost ten to thirty bits.
 * Differences inside a run are never negative; a run of one row has none. Integers are as in
 * column_int.h. The second form is for long runs: a clock that jitters keeps to a line, from which
 * it is not as far as from the tick before.
 */
#ifndef STORAGE_BLOCK_COLUMN_TIME_H
#define STORAGE_BLOCK_COLUMN_TIME_H

#include "storage/base/bytes.h"

/**
 * Append the times of `runs` runs of counts[i] rows each.
 *
 * scratch   room for as many numbers as there are rows
 */
void column_time_put(const int64_t *times_ns, const uint64_t *counts, uint32_t runs,
                     uint64_t *scratch, struct bytes *out);

/** Read `rows` times, as many as the counts sum up to; scratch has room for `runs` numbers. Sets
 * reader->bad, also if the times of a run descend. */
void column_time_get(struct reader *reader, const uint64_t *counts, uint32_t runs, uint32_t rows,
                     uint64_t *scratch, int64_t *ret_times_ns);

/** Of those, the times of runs `first` to `end` - 1, at their places. The reader stops somewhere
 * behind. */
void column_time_get_some(struct reader *reader, const uint64_t *counts, uint32_t runs,
                          uint32_t rows, uint32_t first, uint32_t end, uint64_t *scratch,
                          int64_t *ret_times_ns);

/** The time of row `row`, which is of run `run`, whose first row is `start`. Its neighbours are not
 * looked at. */
int64_t column_time_get_one(struct reader *reader, uint32_t runs, uint32_t rows, uint32_t run,
                            uint32_t start, uint32_t row);

#endif
