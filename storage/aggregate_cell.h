/*
 * aggregate_cell.h - one number in the making: the aggregate of one group, window and field.
 *
 *     runs of rows --------add-----> cells --bits--> values of the result
 *     bytes of a peer --get, combine-->'  '--put--> bytes for the asker
 *
 * Combining is commutative and associative, also for sums of floats (aggregate_sum.h), so it does
 * not matter how rows were cut into runs, slices and shards. Where two series of a group have their
 * first (or last) value at the same time, the larger bits or bytes win, for the same reason.
 *
 * Thread   Any; nothing is shared.
 */
#ifndef STORAGE_AGGREGATE_CELL_H
#define STORAGE_AGGREGATE_CELL_H

#include <stdbool.h>

#include "storage/aggregate_sum.h"
#include "storage/base/bytes.h"
#include "storage/base/err.h"
#include "storage/base/types.h"
#include "storage/block/query.h"

struct lanes_run;       /* storage/block/lanes.h */
struct column_int_sums; /* storage/block/column_int.h */

struct aggregate_cell {
    uint64_t count; /* Values; 0: an empty cell, all zeros. */
    union {
        int64_t time_ns;             /* QUERY_FIRST, QUERY_LAST: of the value. */
        struct aggregate_bins *bins; /* QUERY_SUM, QUERY_MEAN of floats: what is not decimal. Owned
                                        in an aggregate's cell. */
    };
    union {
        int128 sum;        /* QUERY_SUM, QUERY_MEAN: of integers; of floats the decimals */
        uint64_t bits;     /* QUERY_MIN, QUERY_MAX, QUERY_FIRST, QUERY_LAST */
        struct slice text; /* QUERY_FIRST, QUERY_LAST of strings: owned in an aggregate's cell,
                              borrowed in one that comes from a frame. */
    } as;
};

/** There is such an aggregate of such values: no mean of strings, for instance. */
bool aggregate_cell_takes(enum query_agg agg, enum field_type type);

/** The type of the aggregate. A sum of integers is FIELD_FLOAT once one of them is not `exact`. */
enum field_type aggregate_cell_type(enum query_agg agg, enum field_type type, bool exact);

/** A sum of integers fits the field's own type. True for everything else. */
bool aggregate_cell_is_exact(enum query_agg agg, enum field_type type,
                             const struct aggregate_cell *cell);

/** The aggregate's bits, of the type that aggregate_cell_type() says. Not for strings. */
uint64_t aggregate_cell_bits(enum query_agg agg, enum field_type type, bool exact,
                             const struct aggregate_cell *cell);

/** QUERY_MIN or QUERY_MAX of `count` (1 or more) values, not strings. NaN only if all are. */
uint64_t aggregate_cell_extreme(enum query_agg agg, enum field_type type, const uint64_t *bits,
                                uint32_t count);
/** The sum of integers. */
int128 aggregate_cell_sum(enum field_type type, const uint64_t *bits, uint32_t count);

/** Rows of a column that go into one cell. */
struct aggregate_run {
    uint32_t start;
    uint32_t rows; /* At least 1. First and last: their times ascend. */
    uint32_t cell;
};

/** A column in the form of block_read_field(). */
struct aggregate_column {
    const int64_t *times_ns;
    const uint8_t *present; /* NULL: all are. */
    const uint64_t *bits;   /* 0 where absent. */
    const char *text;       /* Strings: what offsets refer to. */
};

/**
 * Add runs to cells. Texts are copied; *memory goes up and down with what the cells own.
 *
 * Errors  ERR_NO_MEMORY
 */
MUST_CHECK enum err aggregate_cell_add(enum query_agg agg, enum field_type type,
                                       struct aggregate_cell *cells,
                                       const struct aggregate_run *runs, uint32_t run_count,
                                       const struct aggregate_column *column, uint64_t *memory);

/** Add to the cell of each run of a chunk the sum of its values, times `unit`. QUERY_SUM and
 * QUERY_MEAN. */
void aggregate_cell_add_sums(struct aggregate_cell *cells, const struct lanes_run *runs,
                             uint32_t run_count, int64_t unit, const struct column_int_sums *sums);
/** The same of minima and maxima: `bits`. */
void aggregate_cell_add_extremes(enum query_agg agg, enum field_type type,
                                 struct aggregate_cell *cells, const struct lanes_run *runs,
                                 uint32_t run_count, const uint64_t *bits);

/**
 * Add `from` to `into`, as aggregate_cell_add() does with runs.
 *
 * Errors  ERR_NO_MEMORY; ERR_INVALID: a count or sum overflows (only made-up cells can)
 */
MUST_CHECK enum err aggregate_cell_combine(enum query_agg agg, enum field_type type,
                                           struct aggregate_cell *into,
                                           const struct aggregate_cell *from, uint64_t *memory);

/** Free what an aggregate's cell owns. */
void aggregate_cell_fini(enum query_agg agg, enum field_type type, struct aggregate_cell *cell);

void aggregate_cell_put(enum query_agg agg, enum field_type type, const struct aggregate_cell *cell,
                        struct bytes *out);
/** From untrusted bytes; borrows texts, and `room` if it has bins. Nonsense sets reader->bad. */
void aggregate_cell_get(enum query_agg agg, enum field_type type, struct reader *reader,
                        struct aggregate_bins *room, struct aggregate_cell *ret_cell);

#endif
