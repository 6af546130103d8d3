/*
 * scan_databases.h - what a shard has of each database: a row with the tag "database" and the
 * unsigned fields
 *
 *     series      known, with rows or without
 *     rows        stored, in memory and on the disk; what was overwritten or deleted counts until
 *                 its segment goes
 *     head_rows   those of them that are in memory (and in the log) alone
 *     segments, bytes         files of this replica
 *     time_min, time_max      integers: of the rows, ns; absent without any
 *
 * Shards say a row each: who gathers them adds up.
 *
 * Thread   The scan's.
 */
#ifndef STORAGE_SCAN_DATABASES_H
#define STORAGE_SCAN_DATABASES_H

#include "storage/scan.h"

/** Errors  ERR_CORRUPT, ERR_NO_MEMORY, ERR_CANCELED, ERR_TIMEOUT; those of `batch` */
MUST_CHECK enum err scan_databases(const struct snapshot *snapshot,
                                   const struct scan_limits *limits, scan_batch_cb batch,
                                   void *arg);

#endif
