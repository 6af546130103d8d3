/*
 * scan_match.h - which series a query is about.
 */
#ifndef STORAGE_SCAN_MATCH_H
#define STORAGE_SCAN_MATCH_H

#include "storage/base/attrs.h"
#include "storage/base/err.h"
#include "storage/block/query.h"
#include "storage/catalog.h"
#include "storage/scan.h"

struct scan_match {
    uint32_t *ids; /* Owned: ascending. 4 bytes a series, beside the scan's budget. */
    uint32_t count;
    uint32_t table; /* Number of the query's table; CATALOG_NONE: there is none, or all of them. */
};

/**
 * All series of the query's table whose tags satisfy all its conditions; a tag that a series does
 * not have counts as "". A query for a page matches the series of that page alone. A NULL query
 * matches every series of every table.
 *
 * Errors  ERR_NO_MEMORY; ERR_CANCELED, ERR_TIMEOUT (limits)
 * Thread  the scan's
 */
MUST_CHECK enum err scan_match_find(const struct catalog_view *view, const struct query *query,
                                    const struct scan_limits *limits, struct scan_match *ret_match);
void scan_match_fini(struct scan_match *match);

/** The value of a tag; "" if the series does not have it. */
struct slice scan_match_tag(const struct key_parts *parts, const char *name);

#endif
