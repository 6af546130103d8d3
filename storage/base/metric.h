/*
 * metric.h - what this process has counted, for GET /metrics.
 *
 * Each thread adds to a block of its own, so counting is a plain load, add and store (1 ns; a
 * shared counter costs 20 to 40 ns). Who reads adds the blocks up.
 *
 *     thread 1   [ rows | syncs | ... | timers ]  --.
 *     thread 2   [ rows | syncs | ... | timers ]  --+-- metric_sum(), metric_write_prometheus()
 *     ended      [ rows | syncs | ... | timers ]  --'   kept, and continued by the next new thread
 *
 * A new number is one row of a table below: identifier, kind, name, help. Names are
 * millrace_<subsystem>_<what or unit>, counters with _total at the end, times with _seconds.
 *
 * Thread    Any; a block is taken at the first count and given back at the thread's end.
 */
#ifndef STORAGE_BASE_METRIC_H
#define STORAGE_BASE_METRIC_H

#include <stdint.h>

#include "storage/base/bytes.h"

/* counter: only grows. gauge: goes up by metric_add() and down by metric_sub(). */
#define METRIC_TABLE(X)                                                                           \
    X(METRIC_LOG_WRITES, counter, "millrace_log_writes_total", "Writes to the shared log")        \
    X(METRIC_LOG_SYNCS, counter, "millrace_log_syncs_total", "Syncs of the shared log")           \
    X(METRIC_LOG_BYTES, counter, "millrace_log_bytes_total", "Bytes written to the shared log")   \
    X(METRIC_LINK_SENT, counter, "millrace_link_sent_bytes_total", "Bytes sent to peers")         \
    X(METRIC_LINK_RECEIVED, counter, "millrace_link_received_bytes_total",                        \
      "Bytes received from peers")                                                                \
    X(METRIC_RAFT_ELECTIONS, counter, "millrace_raft_elections_total",                            \
      "Times that a shard of this node became leader")                                            \
    X(METRIC_INGEST_ROWS, counter, "millrace_ingest_rows_total", "Rows acknowledged")             \
    X(METRIC_INGEST_REJECTED, counter, "millrace_ingest_rejected_rows_total",                     \
      "Rows refused for what is in them")                                                         \
    X(METRIC_INGEST_REFUSED, counter, "millrace_ingest_refused_requests_total",                   \
      "Write requests told to come back later")                                                   \
    X(METRIC_SEGMENT_SEALED, counter, "millrace_segment_sealed_total", "Segments made of a head") \
    X(METRIC_SEGMENT_DROPPED, counter, "millrace_segment_dropped_total",                          \
      "Segments dropped for their age, their bytes, or with their database")                      \
    X(METRIC_SCRUB_FILES, counter, "millrace_scrub_files_total", "Files verified")                \
    X(METRIC_SCRUB_BYTES, counter, "millrace_scrub_bytes_total", "Bytes read to verify files")    \
    X(METRIC_SCRUB_PASSES, counter, "millrace_scrub_passes_total",                                \
      "Times that all files were verified")                                                       \
    X(METRIC_DAMAGE_FOUND, counter, "millrace_damage_found_total", "Damaged files found")         \
    X(METRIC_DAMAGE_MENDED, counter, "millrace_damage_mended_total", "Damaged files mended")      \
    X(METRIC_SEGMENT_COMPACTED, counter, "millrace_segment_compacted_total",                      \
      "Segments that became part of another one")                                                 \
    X(METRIC_SEGMENT_SPARED, counter, "millrace_segment_spared_total",                            \
      "Times that a segment was left as it is, since deletes hide nothing of it")                 \
    X(METRIC_LOGGED, counter, "millrace_storage_logged_bytes_total",                              \
      "Bytes of entries that came to be logged, as they came")                                    \
    X(METRIC_WRITTEN_SEALED, counter, "millrace_storage_sealed_bytes_total",                      \
      "Bytes of segments made of a head")                                                         \
    X(METRIC_WRITTEN_COMPACTED, counter, "millrace_storage_compacted_bytes_total",                \
      "Bytes of segments made of others")                                                         \
    X(METRIC_WRITTEN_CATALOG, counter, "millrace_storage_catalog_bytes_total",                    \
      "Bytes of catalogs of series")                                                              \
    X(METRIC_WRITTEN_MANIFEST, counter, "millrace_storage_manifest_bytes_total",                  \
      "Bytes of manifests")                                                                       \
    X(METRIC_LAST_KNOWN, counter, "millrace_query_last_known_total",                              \
      "A shard's parts of queries for last values that needed no scan")                           \
    X(METRIC_QUERY_CANCELED, counter, "millrace_query_canceled_total",                            \
      "Queries whose asker left, or took them back")                                              \
    X(METRIC_SCAN_ENDED, counter, "millrace_scan_ended_total",                                    \
      "Scans of one shard for a query, that ended in any way")                                    \
    X(METRIC_SCAN_CANCELED, counter, "millrace_scan_canceled_total",                              \
      "Scans that ended early, since nobody waited for them any more")                            \
    X(METRIC_SCAN_OPEN, gauge, "millrace_scan_open", "Scans in the pool, or waiting for it")      \
    X(METRIC_CONN_OPEN, gauge, "millrace_conn_open", "Open client connections")

/* Durations, given in nanoseconds, counted in buckets from 50 us to 10 s. */
#define METRIC_TIMER_TABLE(X)                                                                      \
    X(METRIC_TIME_COMMIT, "millrace_commit_seconds",                                               \
      "From a leader's proposal until it is on disk at a majority and applied")                    \
    X(METRIC_TIME_SYNC, "millrace_log_sync_seconds", "One sync of the shared log")                 \
    X(METRIC_TIME_WRITE, "millrace_write_seconds", "One text of rows over HTTP, until its answer") \
    X(METRIC_TIME_QUERY, "millrace_query_seconds", "One query, until its last row")

#define METRIC_ID(id, kind, name, help) id,
enum metric { METRIC_TABLE(METRIC_ID) METRIC_COUNT };

#define METRIC_TIMER_ID(id, name, help) id,
enum metric_timer { METRIC_TIMER_TABLE(METRIC_TIMER_ID) METRIC_TIMER_COUNT };

enum { METRIC_THREADS_MAX = 256 }; /* At one time. */

/** Count `n` more. */
void metric_add(enum metric metric, uint64_t n);

/** Take `n` off a gauge, which another thread may have counted. */
void metric_sub(enum metric metric, uint64_t n);

/** Count one duration. */
void metric_time(enum metric_timer timer, uint64_t duration_ns);

/** The sum over all threads, those that ended as well. */
uint64_t metric_sum(enum metric metric);

/** How many durations were counted, by all threads. */
uint64_t metric_timer_count(enum metric_timer timer);

/** Append all of them in Prometheus' text format. */
void metric_write_prometheus(struct bytes *out);

#endif
