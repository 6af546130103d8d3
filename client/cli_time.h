/*
 * cli_time.h - times and durations as people write them.
 *
 * TIME       now, -15m or now-15m (relative), 2026-01-31, 2026-01-31T12:00:00Z,
 *            2026-01-31T12:00:00.5+01:00 (RFC 3339), 1700000000s, 1700000000000ms (Unix, with unit)
 * DURATION   100ms, 15m, 1h30m, 1d: numbers with ns, us, ms, s, m, h, d, w
 */
#ifndef CLIENT_CLI_TIME_H
#define CLIENT_CLI_TIME_H

#include <stdbool.h>
#include <stdint.h>

enum { CLI_TIME_SIZE = 32 };

/** False: `text` is no time, or outside of what 64 bits of ns can say (1677 to 2262). */
bool cli_time_parse(const char *text, int64_t now_ns, int64_t *ret_ns);
/** False: `text` is no positive duration, or longer than 292 years. */
bool cli_time_parse_duration(const char *text, int64_t *ret_ns);
/** RFC 3339 in UTC, with as many digits of a second as it has. */
void cli_time_format(int64_t time_ns, char out[CLI_TIME_SIZE]);
/** CLOCK_REALTIME. */
int64_t cli_time_now_ns(void);

#endif
