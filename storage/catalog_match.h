/*
 * catalog_match.h - which series of a run satisfy conditions on their tags.
 *
 *     condition  --> which ranks of the label's values: one, or those that a pattern matches
 *     group      --> its columns lie outside of them: passed over; else compared, 64 at a time
 *
 * Values are looked at once each, not once a series, and series as packed numbers: about a
 * nanosecond a series and condition, less where groups can be passed over.
 *
 * Thread   The scan's.
 */
#ifndef STORAGE_CATALOG_MATCH_H
#define STORAGE_CATALOG_MATCH_H

#include "storage/catalog_run.h"
#include "storage/label_match.h"
#include "storage/scan.h"

/**
 * For each group of the run: a bit for each of its series that is of the table and satisfies
 * conditions `first` to `first` + `count` - 1; a tag that a series does not have counts as "".
 *
 * table      its number in the shard
 * ret_masks  room for a word a group
 * Errors     ERR_LIMIT: a pattern; ERR_CORRUPT: the run's bytes are wrong; ERR_NO_MEMORY,
 *            ERR_CANCELED, ERR_TIMEOUT
 */
MUST_CHECK enum err catalog_match(const struct catalog_run *run, uint32_t table,
                                  struct label_match *match, uint32_t first, uint32_t count,
                                  const struct scan_limits *limits, uint64_t *ret_masks);

#endif
