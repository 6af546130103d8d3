/*
 * scan_regions.h - a scan, cut into regions of series and time that fit its memory.
 *
 *     series |  .-------.---.---.      Halved until it fits: first by time (each block is decoded
 *            |  |       |   |   |      about once) or first by series (rows come by series, then
 *            |  '-------'---'---'      by time). Regions are worked on in that order.
 *            '------------------- time
 *
 * Thread   The scan's.
 */
#ifndef STORAGE_SCAN_REGIONS_H
#define STORAGE_SCAN_REGIONS_H

#include "storage/scan_merge.h"

struct scan_regions {
    const struct query *query; /* NULL: a digest. */
    const struct scan_limits *limits;
    struct scan_match match;
    struct scan_decode decode;
    struct scan_collect collect;
    double
        row_size; /* Bytes of a collected row: a guess, then what was seen; 0: nothing is kept. */
};

enum scan_order {
    SCAN_BY_TIME,      /* Time is halved, then series. */
    SCAN_BY_SERIES,    /* Series are halved, then time. */
    SCAN_WHOLE_SERIES, /* Series alone are halved. */
};

enum scan_fit {
    SCAN_FITS,            /* The region is done. */
    SCAN_TOO_MANY_ROWS,   /* Nothing was handed out: halve it. */
    SCAN_TOO_MANY_SERIES, /* The same, but fewer series are needed. */
};

/** Work on one region. Errors end the scan. */
typedef enum err (*scan_regions_cb)(void *arg, const struct scan_region *region,
                                    enum scan_fit *ret_fit);

/** Find the series. `query` is NULL for a digest; all pointers are borrowed. ERR_NO_MEMORY,
 * ERR_CANCELED, ERR_TIMEOUT. */
MUST_CHECK enum err scan_regions_init(struct scan_regions *regions, const struct snapshot *snapshot,
                                      const struct query *query, const struct scan_limits *limits);
void scan_regions_fini(struct scan_regions *regions);

/** Call `work` for all that the query asks for. Its errors; ERR_LIMIT: no region is small enough.
 */
MUST_CHECK enum err scan_regions_run(struct scan_regions *regions, enum scan_order order,
                                     scan_regions_cb work, void *arg);

/** The same for what lies in one region. */
MUST_CHECK enum err scan_regions_run_part(struct scan_regions *regions,
                                          const struct scan_region *part, enum scan_order order,
                                          scan_regions_cb work, void *arg);

/** Collect the rows of one region and hand them out by series. */
MUST_CHECK enum err scan_regions_collect(struct scan_regions *regions,
                                         const struct scan_region *region, scan_merge_cb take,
                                         void *arg, enum scan_fit *ret_fit);

/** Set twice[slot], by slot of the region, where a series has a row that stands in two places. */
MUST_CHECK enum err scan_regions_find_twice(struct scan_regions *regions,
                                            const struct scan_region *region, bool *twice,
                                            enum scan_fit *ret_fit);

#endif
