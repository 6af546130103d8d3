/*
 * aggregate.h - partial aggregates: by group of tag values, window and field; merged over shards.
 *
 *    shard 0: scan --> aggregate --encode--.
 *    shard 1: scan --> aggregate --encode--+--merge--> aggregate --finish--> columns
 *
 * Integer sums are exact (128 bits inside); a sum that does not fit 64 bits at the end becomes a
 * float column. Float sums are added in (series, time) order inside a shard. Min and max skip NaN.
 * count, min and max, first and last keep the field's type except count (unsigned) and mean
 * (float). Strings: count, first, last. Booleans: count, min, max, first, last.
 */
#ifndef STORAGE_AGGREGATE_H
#define STORAGE_AGGREGATE_H

#include "storage/base/attrs.h"
#include "storage/base/bytes.h"
#include "storage/base/err.h"
#include "storage/block/columns.h"
#include "storage/block/query.h"

struct aggregate;

/** For query->agg, every_ns and group_by. `memory_max` bytes of groups; ERR_LIMIT above. */
MUST_CHECK enum err aggregate_new(const struct query *query, uint64_t memory_max,
                                  struct aggregate **ret_aggregate);
void aggregate_free(struct aggregate *aggregate);

/** The group of a series with these values of the group_by tags (in their order; empty: absent). */
MUST_CHECK enum err aggregate_group(struct aggregate *aggregate, const struct slice *tag_values,
                                    uint32_t *ret_group);
/** Add one value. `text` is the string's bytes for FIELD_STRING (bits: offset, size as in
 * columns.h). */
MUST_CHECK enum err aggregate_add(struct aggregate *aggregate, uint32_t group, struct slice field,
                                  enum field_type type, int64_t time_ns, uint64_t bits,
                                  const char *text);

void aggregate_encode(const struct aggregate *aggregate, struct bytes *out);
/** Add an encoded one, from untrusted bytes. ERR_INVALID, ERR_LIMIT, ERR_NO_MEMORY. */
MUST_CHECK enum err aggregate_merge(struct aggregate *aggregate, const void *bytes, size_t size);

/** The result: time (window start; absent column if one window), group tags, fields; sorted by
 * tags, then time; at most query->limit rows. */
MUST_CHECK enum err aggregate_finish(struct aggregate *aggregate, struct columns *ret_columns);

#endif
