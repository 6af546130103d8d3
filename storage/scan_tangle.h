/*
 * scan_tangle.h - which series of a region are tangled, and when: two runs of rows share some time.
 *
 *     block 1:  |  a a a       c c |      a: straight, each row stands for itself
 *     block 2:  |        a a  b b  |      b: tangled, a later block may overwrite rows
 *     block 3:  |  c c c     b     |      c: straight, though the later rows came first
 *                             '           the span in which anything is tangled: times of two runs
 *
 * Segments and blocks that share no time with any other need no look at all: in a segment, no row
 * stands twice. Of the rest only times are decoded. What is straight, which is nearly everything,
 * can then be aggregated section by section, as it is; only what is tangled has to be
 * collected and merged.
 *
 * Series whose runs come in order of time need no second look. Of the others all runs are noted,
 * sorted and compared. If they do not fit the memory, these series are taken for tangled all the
 * time: that is slow, and changes no result.
 *
 * Thread   The scan's.
 */
#ifndef STORAGE_SCAN_TANGLE_H
#define STORAGE_SCAN_TANGLE_H

#include "storage/scan_decode.h"

/** Both inclusive. */
struct scan_span {
    int64_t from_ns, last_ns;
};

enum { SCAN_SPANS_MAX = 64 };

struct scan_tangle {
    uint64_t budget;    /* Bytes. */
    bool full;          /* The region has too many series for the budget. */
    int64_t *latest_ns; /* Owned: of the rows seen, by slot. */
    bool *seen;         /* Owned: by slot: `latest_ns` is one. */
    bool *tangled;      /* Owned: by slot; until runs are compared: out of order. */
    bool *alone;        /* Owned: by source of the snapshot: it shares no time with others. */
    uint32_t count;     /* Tangled series. */
    struct scan_span spans[SCAN_SPANS_MAX]; /* Ascending and apart: outside, nothing is tangled. */
    uint32_t span_count;
    struct scan_tangle_run *runs; /* While it looks: owned; NULL: none, or more than fit. */
    size_t run_count, run_capacity, run_max;
};

/** Look at a region. The errors of scan_decode_region(). Call scan_tangle_fini() in any case. */
MUST_CHECK enum err scan_tangle_find(struct scan_tangle *tangle, struct scan_decode *decode,
                                     const struct scan_region *region, uint64_t budget);
void scan_tangle_fini(struct scan_tangle *tangle);

#endif
