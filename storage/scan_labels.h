/*
 * scan_labels.h - what series, labels and values of a label a shard has: questions that look at
 * no row.
 *
 *     QUERY_SERIES   a row for each matching series: its tags
 *     QUERY_LABELS   a row for each label of them: tag "label"
 *     QUERY_VALUES   a row for each value that they have of the label query->fields[0]: that tag
 *     QUERY_TABLES   a row for each table of the database: tag "table"
 *
 * Without conditions the last two are read off the lists that a run has anyway. Shards may say the
 * same: who gathers their answers shows each row once.
 *
 * Thread   The scan's.
 */
#ifndef STORAGE_SCAN_LABELS_H
#define STORAGE_SCAN_LABELS_H

#include "storage/scan.h"

/**
 * Batches have tag columns alone. Times of the query do not count.
 *
 * Errors  ERR_LIMIT: labels or values over limits->memory_bytes, or over result_bytes; ERR_CORRUPT,
 *         ERR_NO_MEMORY, ERR_CANCELED, ERR_TIMEOUT; those of `batch`
 */
MUST_CHECK enum err scan_labels(const struct snapshot *snapshot, const struct query *query,
                                const struct scan_limits *limits, scan_batch_cb batch, void *arg);

#endif
