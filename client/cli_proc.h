/*
 * cli_proc.h - what Linux tells of a machine in /proc, as rows with the tables and field names that
 * Telegraf uses, so that dashboards made for it fit.
 *
 *     cpu       cpu=cpu0.., cpu-total   usage_user, usage_system, usage_idle, ... in percent
 *     mem                               total, available, used, used_percent, ... in bytes
 *     system                            load1, load5, load15, n_cpus, uptime
 *     diskio    name                    reads, writes, read_bytes, write_bytes, io_time, ...
 *     net       interface               bytes_recv, bytes_sent, packets_recv, err_in, ...
 *     pressure  resource, type          avg10, avg60, avg300, total
 *
 * All rows also have the tag host. Parsers take text, so that they can be tested, and leave out
 * what they do not understand: another kernel has other lines.
 */
#ifndef CLIENT_CLI_PROC_H
#define CLIENT_CLI_PROC_H

#include <stddef.h>
#include <stdint.h>

#include "client/millrace.h"

enum { CLI_PROC_CPUS_MAX = 1024, CLI_PROC_TIMES = 10, CLI_PROC_FIELDS_MAX = 32 };

/* One row. Strings are borrowed during the call. */
struct cli_proc_row {
    const char *table;
    struct millrace_tag tags[2]; /* Without host. */
    size_t tag_count;
    struct millrace_value values[CLI_PROC_FIELDS_MAX];
    size_t value_count;
};

typedef void (*cli_proc_row_cb)(void *ctx, const struct cli_proc_row *row);

/* The counters of the sample before: usage is what has changed since. Zeroed at the start. */
struct cli_proc_cpus {
    uint64_t times[CLI_PROC_CPUS_MAX + 1][CLI_PROC_TIMES]; /* [0]: all together. */
    int known[CLI_PROC_CPUS_MAX + 1];
};

/** /proc/stat; the first sample gives no rows. */
void cli_proc_cpu(const char *text, struct cli_proc_cpus *cpus, cli_proc_row_cb emit, void *ctx);
/** /proc/meminfo */
void cli_proc_mem(const char *text, cli_proc_row_cb emit, void *ctx);
/** /proc/loadavg and /proc/uptime */
void cli_proc_system(const char *loadavg, const char *uptime, int cpus, cli_proc_row_cb emit,
                     void *ctx);
/** /proc/diskstats, without loop and ram devices and those that were never used */
void cli_proc_diskio(const char *text, cli_proc_row_cb emit, void *ctx);
/** /proc/net/dev */
void cli_proc_net(const char *text, cli_proc_row_cb emit, void *ctx);
/** /proc/pressure/RESOURCE */
void cli_proc_pressure(const char *text, const char *resource, cli_proc_row_cb emit, void *ctx);

#endif
