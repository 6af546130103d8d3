/*
 * cli_main.c - the `millrace` program: finds the command and runs it.
 */
#include <string.h>

#include "client/cli.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
    {"status", cli_status, "nodes, shards and leaders of a site"},
    {"write", cli_write, "store line protocol from files or standard input"},
    {"query", cli_query, "ask for rows, aggregates or newest values; draw them"},
    {"export", cli_export, "print the rows of a database, to keep or to move them"},
    {"import", cli_import, "store what export printed"},
    {"db", cli_db, "make, alter, drop and list databases; how long rows are kept"},
    {"delete", cli_delete, "take rows of a table away"},
    {"collect", cli_collect, "measure this machine and store what it does"},
    {"local", cli_local, "run a whole site on this machine, for trials and tests"},
    {"segment", cli_segment, "look into segment files: info, cat, verify, salvage"},
    {"scrub", cli_scrub, "have all nodes verify and mend their files now"},
    {"fsck", cli_fsck, "verify a stopped node's data directory"},
};

static void help(FILE *out)
{
    fprintf(out, "millrace %s: the command line of the Millrace time-series cluster\n\n",
            millrace_version());
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        fprintf(out, "  millrace %-8s  %s\n", commands[i].name, commands[i].summary);
    fputs("\n"
          "  millrace COMMAND --help   its options and examples\n"
          "  millrace --version\n"
          "\n"
          "Examples\n"
          "  millrace local up --nodes 3 --dir /tmp/site\n"
          "  echo 'cpu,host=a usage_user=1.5' | millrace write -\n"
          "  millrace query --table cpu --from -15m --agg mean --every 1m --format plot\n"
          "\n" CLI_EXIT_HELP,
          out);
}

/* Run argv[0] with its own arguments; -1: there is no such command. */
static int run(int argc, char **argv)
{
    static char name[32];

    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (strcmp(argv[0], commands[i].name) == 0) {
            /* What getopt puts in front of its messages. */
            snprintf(name, sizeof name, "millrace %s", commands[i].name);
            argv[0] = name;
            return cli_end(commands[i].name, commands[i].run(argc, argv));
        }
    }
    return -1;
}

int main(int argc, char **argv)
{
    static char wants_help[] = "--help";
    int code;

    if (argc < 2) {
        help(stderr);
        return CLI_USAGE;
    }
    if (strcmp(argv[1], "help") == 0 && argc > 2) { /* As in "millrace help query". */
        char *swapped[] = {argv[2], wants_help, NULL};

        code = run(2, swapped);
    } else if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
               strcmp(argv[1], "help") == 0) {
        help(stdout);
        return CLI_OK;
    } else if (strcmp(argv[1], "--version") == 0) {
        printf("millrace %s\n", millrace_version());
        return CLI_OK;
    } else {
        code = run(argc - 1, argv + 1);
    }
    if (code >= 0)
        return code;
    fprintf(stderr, "millrace: there is no command \"%s\"; see millrace --help\n",
            argv[strcmp(argv[1], "help") == 0 ? 2 : 1]);
    return CLI_USAGE;
}
