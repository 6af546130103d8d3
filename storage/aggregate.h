/*
 * aggregate.h - partial aggregates: by group of tag values, window and field; merged over shards.
 *
 *    shard 0: scan --> aggregate --encode--.
 *    shard 1: scan --> aggregate --encode--+--merge--> aggregate --finish--> columns
 *
 *    group (tag values) x window (its start) = row;  row x field = cell (aggregate_cell.h)
 *
 * TYPES    count is unsigned, mean is float, the others keep the field's type. Strings: count,
 *          first, last. Booleans: count, min, max, first, last. A field of another type has no such
 *          aggregate: an error if the query names it, left out if the query means all fields.
 * SUMS     are exact until the end, where they are rounded once: the same to the bit whatever the
 *          order of rows, blocks, shards and replicas. If a sum of integers does not fit 64 bits,
 *          the column becomes float. Floats: aggregate_sum.h.
 * NAN      min and max skip NaN, unless there is nothing else. Sums and means do not.
 * WINDOWS  start at multiples of every_ns, also before 1970: -1 belongs to the window [-every, 0).
 *
 * Thread   One at a time for each struct aggregate.
 */
#ifndef STORAGE_AGGREGATE_H
#define STORAGE_AGGREGATE_H

#include "storage/aggregate_cell.h"
#include "storage/base/attrs.h"
#include "storage/base/bytes.h"
#include "storage/base/err.h"
#include "storage/block/columns.h"
#include "storage/block/query.h"

struct aggregate;

/**
 * For query->agg (not QUERY_RAW), every_ns, group_by, fields and limit.
 *
 * query       borrowed until aggregate_free()
 * memory_max  bytes of groups, windows and cells; ERR_LIMIT above, naming what to make smaller
 * Errors      ERR_INVALID: agg or every_ns is out of range; ERR_NO_MEMORY
 */
MUST_CHECK enum err aggregate_new(const struct query *query, uint64_t memory_max,
                                  struct aggregate **ret_aggregate);
void aggregate_free(struct aggregate *aggregate); /* NULL is allowed. */

/** The group of a series with these values of the group_by tags (in their order; empty: absent).
 * ERR_LIMIT, ERR_NO_MEMORY. */
MUST_CHECK enum err aggregate_group(struct aggregate *aggregate, const struct slice *tag_values,
                                    uint32_t *ret_group);

#define AGGREGATE_SKIP UINT32_MAX /* A field that this aggregate leaves out. */

/**
 * The number of a field, or AGGREGATE_SKIP.
 *
 * Errors  ERR_TYPE_CONFLICT: it came with another type before; ERR_INVALID: the query names it, but
 *         there is no such aggregate of its type; ERR_LIMIT, ERR_NO_MEMORY
 */
MUST_CHECK enum err aggregate_field(struct aggregate *aggregate, struct slice name,
                                    enum field_type type, uint32_t *ret_field);

/* Adding: aggregate_begin() with the times of a table of rows; aggregate_rows() for each series in
 * it; then aggregate_values() for each field. Column by column is how blocks are stored, and it is
 * several times faster than row by row. */

/** `times_ns` is borrowed until the last aggregate_values(). */
void aggregate_begin(struct aggregate *aggregate, const int64_t *times_ns);
/** Rows of one series, `start` to start + rows - 1: their times ascend. A time that stands twice
 * counts twice. ERR_LIMIT, ERR_NO_MEMORY. */
MUST_CHECK enum err aggregate_rows(struct aggregate *aggregate, uint32_t group, uint32_t start,
                                   uint32_t rows);
/**
 * One field of the rows, in the form of block_read_field().
 *
 * field    from aggregate_field(), not AGGREGATE_SKIP
 * present  NULL: all values are; bits are 0 where absent
 * text     strings: what offsets refer to
 * Errors   ERR_LIMIT, ERR_NO_MEMORY; a part of the values may be in then
 */
MUST_CHECK enum err aggregate_values(struct aggregate *aggregate, uint32_t field,
                                     const uint8_t *present, const uint64_t *bits,
                                     const char *text);

/**
 * Add what is known of many values without looking at them: those of `field` in rows of one group,
 * whose times all lie in the window of `time_ns`.
 *
 * part     borrowed; of the aggregate's kind and the field's type
 * Errors   ERR_LIMIT, ERR_NO_MEMORY
 */
MUST_CHECK enum err aggregate_part(struct aggregate *aggregate, uint32_t group, int64_t time_ns,
                                   uint32_t field, const struct aggregate_cell *part);
/** Whether two times lie in one window, and all between them; either may be the earlier one. */
bool aggregate_one_window(const struct aggregate *aggregate, int64_t time_ns, int64_t other_ns);

/** The runs that aggregate_rows() made since aggregate_begin(), in the order of their rows.
 * Borrowed until the next call. */
const struct aggregate_run *aggregate_runs(const struct aggregate *aggregate, uint32_t *ret_count);

/* What is known of chunks of packed values of a field; `into` of their runs is the cell of one of
 * aggregate_runs(). Errors: ERR_LIMIT, ERR_NO_MEMORY. */

/** Sums of runs, divided by 10^form. For sums and means; form is 0 for integers. */
MUST_CHECK enum err aggregate_add_sums(struct aggregate *aggregate, uint32_t field, unsigned form,
                                       const struct lanes_run *runs, uint32_t run_count,
                                       const struct column_int_sums *sums);
/** The minimum or maximum of each run. Not for strings. */
MUST_CHECK enum err aggregate_add_extremes(struct aggregate *aggregate, uint32_t field,
                                           const struct lanes_run *runs, uint32_t run_count,
                                           const uint64_t *bits);
/** The values of the chunk, all present and not strings, as aggregate_values(). Not for first and
 * last. */
MUST_CHECK enum err aggregate_add_values(struct aggregate *aggregate, uint32_t field,
                                         const struct lanes_run *runs, uint32_t run_count,
                                         const uint64_t *bits);

/** Append the whole aggregate. */
void aggregate_encode(const struct aggregate *aggregate, struct bytes *out);
/**
 * Add an encoded one, from untrusted bytes. After an error a part of it may be in.
 *
 * Errors  ERR_INVALID: damaged, or of another question; ERR_TYPE_CONFLICT, ERR_LIMIT, ERR_NO_MEMORY
 */
MUST_CHECK enum err aggregate_merge(struct aggregate *aggregate, const void *bytes, size_t size);

/** The result: time (window start; absent column if one window), group tags, fields (in the query's
 * order, else by name); sorted by tags, then time; at most query->limit rows. */
MUST_CHECK enum err aggregate_finish(struct aggregate *aggregate, struct columns *ret_columns);

#endif
