/*
 * cli_site.h - a site of real nodes on this machine, kept in one directory.
 *
 *     DIR/site.json               what `millrace local up` was asked for
 *     DIR/nodeN/millraced.yaml    written at each start
 *     DIR/nodeN/millraced.log     what the node wrote to standard error
 *     DIR/nodeN/pid               process id, and when that process started
 *     DIR/nodeN/data/             the node's data
 *
 * Node N, from 0, has server id N + 1 and listens on loopback: base + 10 N native, + 1 HTTP,
 * + 2 peers, + 3 admin.
 *
 * PIDS    A pid file outlives its process, and the number may be given to another one. So the file
 *         has the process' start time too (field 22 of /proc/PID/stat), and a process is signalled
 *         only if both agree.
 */
#ifndef CLIENT_CLI_SITE_H
#define CLIENT_CLI_SITE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "storage/base/attrs.h"
#include "storage/base/err.h"

enum { CLI_SITE_NODES_MAX = 9, CLI_SITE_PATH_MAX = 1024 };

struct cli_site {
    char dir[CLI_SITE_PATH_MAX];     /* Absolute. */
    char program[CLI_SITE_PATH_MAX]; /* millraced. */
    uint32_t nodes, shards, workers;
    uint16_t base_port;
};

/** Make `dir` absolute and find millraced: $MILLRACED, or beside this program. ERR_NOT_FOUND. */
MUST_CHECK enum err cli_site_init(struct cli_site *site, const char *dir);
/** Write and read DIR/site.json. ERR_NOT_FOUND: there is no site in DIR; ERR_IO, ERR_INVALID. */
MUST_CHECK enum err cli_site_save(const struct cli_site *site);
MUST_CHECK enum err cli_site_load(struct cli_site *site);

/** "127.0.0.1:7400,127.0.0.1:7410,..." */
void cli_site_addresses(const struct cli_site *site, char out[CLI_SITE_PATH_MAX]);

/** Start a node that does not run. ERR_IO, ERR_BUSY: it runs. */
MUST_CHECK enum err cli_site_start(const struct cli_site *site, uint32_t node);
/** The node's process id, 0 if it does not run. */
pid_t cli_site_pid(const struct cli_site *site, uint32_t node);
/** Send a signal. ERR_NOT_FOUND: it does not run. */
MUST_CHECK enum err cli_site_signal(const struct cli_site *site, uint32_t node, int number);
/** Wait until it does not run; false after `timeout_ms`. */
bool cli_site_wait_gone(const struct cli_site *site, uint32_t node, uint32_t timeout_ms);

/** Path of a node's file, such as "millraced.log". */
void cli_site_path(const struct cli_site *site, uint32_t node, const char *name,
                   char out[CLI_SITE_PATH_MAX]);

#endif
