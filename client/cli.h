/*
 * cli.h - what the commands of the `millrace` program share: exit codes, messages, connecting.
 *
 * A command is one function in cli_NAME.c. It parses its own options, says what is wrong on
 * standard error and returns an exit code. Results go to standard output, and nothing else does.
 */
#ifndef CLIENT_CLI_H
#define CLIENT_CLI_H

#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "client/millrace.h"
#include "storage/base/attrs.h"

enum cli_exit {
    CLI_OK = 0,
    CLI_FAILED = 1,
    CLI_USAGE = 2,
    CLI_UNREACHABLE = 3, /* No node answers, or none that could. */
};

/* argv[0] is the command's name. */
int cli_status(int argc, char **argv);
int cli_write(int argc, char **argv);
int cli_query(int argc, char **argv);
int cli_db(int argc, char **argv);
int cli_delete(int argc, char **argv);
int cli_export(int argc, char **argv);
int cli_import(int argc, char **argv);
int cli_collect(int argc, char **argv);
int cli_local(int argc, char **argv);
int cli_segment(int argc, char **argv);
int cli_fsck(int argc, char **argv);
int cli_scrub(int argc, char **argv);

/** "millrace COMMAND: message" to standard error. Returns `code`. */
int cli_error(const char *command, int code, const char *format, ...) PRINTF_LIKE(3, 4);
/** The same with a hint at --help; returns CLI_USAGE. */
int cli_usage(const char *command, const char *format, ...) PRINTF_LIKE(2, 3);

/** What the program ends with: a wrong option, of which getopt alone has spoken, gets its hint. */
int cli_end(const char *command, int code);

/** The options that every command with a connection has; 'N' and 'D' are their values. */
#define CLI_CONNECT_OPTIONS                 \
    {"node", required_argument, NULL, 'N'}, \
    {                                       \
        "db", required_argument, NULL, 'D'  \
    }
#define CLI_CONNECT_HELP                                                                        \
    "  --node HOST:PORT[,...]  nodes to connect to (default: $MILLRACE_NODE, 127.0.0.1:7400)\n" \
    "  --db NAME               database (default: default)\n"
#define CLI_EXIT_HELP "Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 no node can be reached\n"

/** Connect, or say why not. Returns an exit code. */
int cli_open(const char *command, const struct millrace_options *options, struct millrace **ret);
/** Say on standard error if the database has no such table, and which ones it has: an answer
 * without rows may be a name that was misspelt. NULL: the default database. */
void cli_note_table(const char *command, struct millrace *m, const char *database,
                    const char *table);
/** Say what failed on `m`; returns the exit code that fits. */
int cli_failed(const char *command, const struct millrace *m, enum millrace_code code);

/** The time that option `--name` was given. Returns an exit code, and has said what is wrong. */
int cli_time_option(const char *command, const char *name, const char *text, int64_t now_ns,
                    int64_t *ret_ns);
/** A whole number from min to max. Returns false if it is none. */
bool cli_number(const char *text, uint64_t min, uint64_t max, uint64_t *ret_number);

/** Is this a terminal that wants colours? (NO_COLOR is respected.) */
bool cli_colours(FILE *file);
/** Columns of the terminal, or 80. */
unsigned cli_width(FILE *file);

#endif
