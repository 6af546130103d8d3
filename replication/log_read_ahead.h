/*
 * log_read_ahead.h - the windows of the log's files, read by a thread of their own while recovery
 * looks at those before: a disk that is read past the page cache does nothing between two reads.
 *
 *     files     | 1 MiB | 1 MiB | ... |  | 1 MiB | 1 MiB | ...       in order, to their ends
 *     ring              [ looked at ][ read ][ read ][ being read ]
 *
 * It only hints. A window that is not there (recovery stepped back, the disk could not read it,
 * there is no memory or no thread) is read by whoever wants it, who meets the disk's errors, too.
 *
 * Thread   Recovery's. The reader uses disk->read() alone, which any thread may.
 */
#ifndef REPLICATION_LOG_READ_AHEAD_H
#define REPLICATION_LOG_READ_AHEAD_H

#include "replication/log_internal.h"

struct log_read_ahead;

/** Begin with the first of the log's files. They stay open, and none is added, until the stop.
 * NULL: there is no memory, or no thread. */
struct log_read_ahead *log_read_ahead_start(const struct log *log);

/**
 * The window of `part` from `at` on, a multiple of LOG_WINDOW_BYTES: as many bytes, or up to the
 * file's end. Waits if it is on the way; lets go of all before it.
 *
 * Returns  borrowed until the next call; NULL: read it yourself
 */
const uint8_t *log_read_ahead_take(struct log_read_ahead *ahead, const struct log_part *part,
                                   uint64_t at);

/** NULL is allowed. */
void log_read_ahead_stop(struct log_read_ahead *ahead);

#endif
