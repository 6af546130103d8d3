/*
 * log_line.h - one line to standard error for what an operator should know.
 *
 *     2026-11-22T22:28:00.123Z warn shard=3 peer=2 is 4096 entries behind
 *     '---- UTC, ms ---------' level '- key=value first, then words '
 *
 *   error  something is lost or refused, a person has to act: say what to do
 *   warn   it works, but not as it should
 *   info   seldom and worth knowing a year later: start, stop, leader changes
 *   debug  to follow one case; off unless asked for
 *
 * One line is one write(2), so lines of several threads never mix. Control characters, which may
 * come from outside with a name or a message, are written as '?': a line stays one line.
 * The supervisor (systemd, a container) keeps, rotates and ships the lines.
 *
 * Thread   Any. A write may block if nobody reads standard error: never once a request; use
 *          log_every() where a peer or a client decides how often.
 */
#ifndef STORAGE_BASE_LOG_LINE_H
#define STORAGE_BASE_LOG_LINE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "storage/base/attrs.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG, LOG_LEVEL_COUNT };

enum { LOG_LINE_MAX = 1024 }; /* Bytes of a line with its newline; longer ones are cut. */

/* printf-like. The arguments are not evaluated if the level is off. */
#define log_error(...) LOG_LINE(LOG_ERROR, __VA_ARGS__)
#define log_warn(...)  LOG_LINE(LOG_WARN, __VA_ARGS__)
#define log_info(...)  LOG_LINE(LOG_INFO, __VA_ARGS__)
#define log_debug(...) LOG_LINE(LOG_DEBUG, __VA_ARGS__)

/** At most one line in interval_ms from this place in the code; tells how many were left out. */
#define log_every(interval_ms, level, ...)                                             \
    do {                                                                               \
        static struct log_line_limit log_limit;                                        \
        if (log_line_on(level) && log_line_allowed(&log_limit, interval_ms))           \
            log_line_write_counted(level, log_line_left_out(&log_limit), __VA_ARGS__); \
    } while (0)

#define LOG_LINE(level, ...)                    \
    do {                                        \
        if (log_line_on(level))                 \
            log_line_write(level, __VA_ARGS__); \
    } while (0)

/** Lines less important than `level` are not written. LOG_INFO at start. */
void log_line_set_level(enum log_level level);
bool log_line_on(enum log_level level);

/** "error", "warn", "info", "debug". */
const char *log_line_level_name(enum log_level level);

/** The level of that name. False, and *ret_level untouched, if there is none. */
bool log_line_parse_level(const char *name, enum log_level *ret_level);

/** Write the line, whatever the level in force. Never fails: nobody could be told. */
void log_line_write(enum log_level level, const char *format, ...) PRINTF_LIKE(2, 3);

/** The same, with "(and N more)" at the end if left_out is not 0. */
void log_line_write_counted(enum log_level level, uint32_t left_out, const char *format, ...)
    PRINTF_LIKE(3, 4);

/** What log_every() keeps of each place. Zeroed is valid. */
struct log_line_limit {
    _Atomic uint64_t open_at_ms; /* On clk_coarse_ms(); the next line may be written then. */
    _Atomic uint32_t left_out;
};

/** True if this place may write now; else counts the line as left out. */
bool log_line_allowed(struct log_line_limit *limit, uint32_t interval_ms);

/** Lines left out since the last call. */
uint32_t log_line_left_out(struct log_line_limit *limit);

#endif
