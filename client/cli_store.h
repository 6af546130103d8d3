/*
 * cli_store.h - what `millrace write` and `millrace import` share: files into rows into the site.
 *
 * Rows leave while the rest is being read, so memory is bounded: by the longest record, the rows
 * under way (bytes_max) and a name for each series. A batch that got no answer is sent again by the
 * library and stored once. Bad records are named with file and line and left out; what the site
 * refuses is counted by reason. When the site cannot be reached for as long as the timeout, reading
 * ends.
 */
#ifndef CLIENT_CLI_STORE_H
#define CLIENT_CLI_STORE_H

#include "client/cli_row.h"
#include "client/millrace.h"

struct cli_store_options {
    const char *command; /* For messages. */
    struct millrace_options connect;
    enum cli_row_format format;
    const char *table; /* CSV. */
    int64_t unit_ns;   /* Line protocol: of times. */
    bool json;         /* The summary, on standard output. */
    bool progress;     /* On standard error, if it is a terminal. */
};

/** Store the files; "-" and none at all are standard input. Returns an exit code. */
int cli_store(const struct cli_store_options *options, char **names, int count);

#endif
