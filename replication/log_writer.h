/*
 * log_writer.h - the thread that writes the shared log, and what each worker sees of it.
 *
 *    worker 0 --list of records--> ring --.                     .--> ring --positions--> worker 0
 *    worker 1 --list of records--> ring --+--> one write, one --+--> ring --positions--> worker 1
 *                                              sync for all
 *                                              |
 *                    a second thread, niced, makes the next file and releases old ones
 *
 * Natural batching: while one write is under way the workers' lists grow; the next write takes
 * them all, up to about 1 MiB, behind which a disk writes no faster. STREAM: a worker's records
 * are numbered 1, 2, ... in the order of its appends; a completion says "all up to N are durable"
 * and gives each record's position in the log.
 *
 * An I/O error of the log ends the process: one clear line, exit code 74 (EX_IOERR). Nothing was
 * acknowledged after it. A disk that is filling up is noticed before: log_writer_is_short().
 */
#ifndef REPLICATION_LOG_WRITER_H
#define REPLICATION_LOG_WRITER_H

#include "replication/log.h"

struct log_writer;
struct log_port; /* One worker's end. */

/**
 * The log now belongs to the writer's threads, until log_writer_stop(); "any thread" calls of log.h
 * stay allowed. It is not closed by them.
 *
 * wake  called on the writer's thread when port `port` has completions: must make that worker call
 *       log_port_collect() soon (uv_async_send)
 */
MUST_CHECK enum err log_writer_start(struct log *log, uint32_t ports,
                                     void (*wake)(void *arg, uint32_t port), void *arg,
                                     struct log_writer **ret_writer);
/** Write what is queued, sync, end the threads. The workers have ended; the ports are gone
 * afterwards. */
void log_writer_stop(struct log_writer *writer);

/** The disk is short of space: take in nothing new (ERR_DISK_FULL). Terms, votes and what is under
 * way still find room. Becomes false by itself within a second of space being freed. Any thread. */
bool log_writer_is_short(const struct log_writer *writer);

struct log_port *log_writer_port(struct log_writer *writer, uint32_t port);

/* ---- The worker's thread ------------------------------------------------------------------- */

/** Queue a record (copied; takes over its payload reference). Returns its stream number. Ends the
 * process if there is no memory for it. */
uint64_t log_port_append(struct log_port *port, const struct log_record *record);
/** End of a turn of the loop: hand what was queued to the writer. */
void log_port_flush(struct log_port *port);
/** log_keep_after(); the niced thread releases files within a second. */
void log_port_keep_after(struct log_port *port, uint32_t group, uint64_t index);

struct log_done {
    uint64_t stream; /* Its number. */
    uint32_t group;
    uint8_t kind;
    uint64_t index;
    uint64_t position;
};
/** Take completions: calls `each` for every record that became durable, in stream order, and
 * returns the number up to which all are durable. `each` may append. */
uint64_t log_port_collect(struct log_port *port,
                          void (*each)(void *arg, const struct log_done *done), void *arg);
/** Bytes queued and not yet durable. */
uint64_t log_port_pending(const struct log_port *port);

#endif
