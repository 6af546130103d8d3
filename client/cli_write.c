/*
 * cli_write.c - `millrace write`: line protocol from files or a pipe.
 */
#include <string.h>

#include "client/cli.h"
#include "client/cli_store.h"
#include "client/wire/line_protocol.h"

static const char usage[] =
    "millrace write [options] [FILE|-]...   store line protocol (standard input without a FILE)\n"
    "\n" CLI_CONNECT_HELP
    "  --precision UNIT        of times in the text: ns, us, ms, s, m, h (default: ns)\n"
    "  --timeout SECONDS       give up after so long without an answer (default: 30)\n"
    "  --json                  the summary as JSON on standard output\n"
    "\n"
    "A line is TABLE[,TAG=VALUE...] FIELD=VALUE[,FIELD=VALUE...] [TIME]; without a time it gets "
    "this\n"
    "moment's. All that was stored is on the disks of a majority when the command ends. Bad lines\n"
    "are named and left out, the others are stored, and the exit code is 1.\n"
    "\n"
    "Examples\n"
    "  echo 'cpu,host=a usage_user=1.5,usage_system=0.3' | millrace write\n"
    "  millrace write --db plant --precision s readings.lp\n"
    "\n" CLI_EXIT_HELP;

int cli_write(int argc, char **argv)
{
    static const struct option names[] = {CLI_CONNECT_OPTIONS,
                                          {"precision", required_argument, NULL, 'p'},
                                          {"timeout", required_argument, NULL, 't'},
                                          {"json", no_argument, NULL, 'j'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    struct cli_store_options options = {
        .command = "write", .connect = {.timeout_ms = 30000}, .format = CLI_ROW_LINE, .unit_ns = 1};
    uint64_t timeout_s;
    int option;

    while ((option = getopt_long(argc, argv, "h", names, NULL)) != -1) {
        switch (option) {
        case 'N':
            options.connect.nodes = optarg;
            break;
        case 'D':
            options.connect.database = optarg;
            break;
        case 'p':
            options.unit_ns = line_time_unit(optarg, strlen(optarg));
            if (options.unit_ns == 0)
                return cli_usage("write", "--precision %s: want ns, us, ms, s, m or h", optarg);
            break;
        case 't':
            if (!cli_number(optarg, 1, 3600, &timeout_s))
                return cli_usage("write", "--timeout %s: want 1 to 3600 seconds", optarg);
            options.connect.timeout_ms = (uint32_t)timeout_s * 1000;
            break;
        case 'j':
            options.json = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return CLI_OK;
        default:
            return CLI_USAGE;
        }
    }
    return cli_store(&options, argv + optind, argc - optind);
}
