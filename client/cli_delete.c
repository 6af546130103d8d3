/*
 * cli_delete.c - `millrace delete`: take rows away.
 */
#include <string.h>

#include "client/cli.h"
#include "client/cli_list.h"
#include "client/cli_time.h"

static const char usage[] =
    "millrace delete --table NAME [options] take rows of a table away\n"
    "\n" CLI_CONNECT_HELP "  --table NAME            the table (needed)\n"
    "  --where TAG=VALUE[,...] only series with these tags; TAG!=VALUE: without. All must hold\n"
    "  --from TIME             from this time on (default: the beginning)\n"
    "  --to TIME               before this time (default: the end)\n"
    "  --all                   needed if neither series nor times are named\n"
    "\n"
    "The rows are gone for every query that begins afterwards. Rows that are written later stay,\n"
    "also with the same times. Series stay known.\n"
    "\n"
    "TIME  now, -15m, 2026-01-31, 2026-01-31T12:00:00Z, 1700000000s, 1700000000000ms, ...\n"
    "\n"
    "Examples\n"
    "  millrace delete --table cpu --where host=a --from 2026-01-31 --to 2026-02-01\n"
    "  millrace delete --table trial --all\n"
    "\n" CLI_EXIT_HELP;

enum { OPTION_TABLE = 256, OPTION_WHERE, OPTION_FROM, OPTION_TO, OPTION_ALL };

struct arguments {
    struct millrace_options connect;
    const char *table;
    struct cli_list conditions;
    struct millrace_condition where[CLI_LIST_MAX];
    int64_t from_ns, to_ns, now_ns;
    bool has_from, has_to, all;
};

static int parse_option(struct arguments *arguments, int option)
{
    switch (option) {
    case 'N':
        arguments->connect.nodes = optarg;
        return CLI_OK;
    case 'D':
        arguments->connect.database = optarg;
        return CLI_OK;
    case OPTION_TABLE:
        arguments->table = optarg;
        return CLI_OK;
    case OPTION_WHERE:
        if (!cli_list_add(&arguments->conditions, optarg))
            return cli_usage("delete", "--where %s: want TAG=VALUE with commas between", optarg);
        return CLI_OK;
    case OPTION_FROM:
        arguments->has_from = true;
        return cli_time_option("delete", "from", optarg, arguments->now_ns, &arguments->from_ns);
    case OPTION_TO:
        arguments->has_to = true;
        return cli_time_option("delete", "to", optarg, arguments->now_ns, &arguments->to_ns);
    case OPTION_ALL:
        arguments->all = true;
        return CLI_OK;
    default:
        return CLI_USAGE; /* getopt has said what. */
    }
}

static int check(struct arguments *arguments)
{
    bool narrows = arguments->has_from || arguments->has_to || arguments->conditions.count > 0;

    if (!arguments->table)
        return cli_usage("delete", "--table is needed");
    if (!narrows && !arguments->all)
        return cli_usage("delete", "this takes all rows of \"%s\" away: say so with --all",
                         arguments->table);
    if (narrows && arguments->all)
        return cli_usage("delete", "--all, and --where, --from or --to, exclude each other");
    if (!arguments->has_from)
        arguments->from_ns = arguments->has_to ? INT64_MIN : 0;
    if (!arguments->has_to)
        arguments->to_ns = arguments->has_from ? INT64_MAX : 0;
    for (size_t i = 0; i < arguments->conditions.count; i++) {
        /* The items are pieces of argv. */
        char *item = (char *)(uintptr_t)arguments->conditions.items[i];

        if (!cli_list_condition(item, &arguments->where[i]))
            return cli_usage("delete", "--where %s: want TAG=VALUE or TAG!=VALUE", item);
    }
    return CLI_OK;
}

static int run(const struct arguments *arguments)
{
    struct millrace *m;
    enum millrace_code got;
    int code = cli_open("delete", &arguments->connect, &m);

    if (code != CLI_OK)
        return code;
    got = millrace_delete(m, arguments->table, arguments->where, arguments->conditions.count,
                          arguments->from_ns, arguments->to_ns);
    if (got != MILLRACE_OK)
        code = cli_failed("delete", m, got);
    else
        cli_note_table("delete", m, arguments->connect.database, arguments->table);
    millrace_close(m);
    return code;
}

int cli_delete(int argc, char **argv)
{
    static const struct option options[] = {
        CLI_CONNECT_OPTIONS,
        {"table", required_argument, NULL, OPTION_TABLE},
        {"where", required_argument, NULL, OPTION_WHERE},
        {"from", required_argument, NULL, OPTION_FROM},
        {"to", required_argument, NULL, OPTION_TO},
        {"all", no_argument, NULL, OPTION_ALL},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    static struct arguments arguments;
    int code = CLI_OK, option;

    arguments.now_ns = cli_time_now_ns();
    while (code == CLI_OK && (option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return CLI_OK;
        }
        code = parse_option(&arguments, option);
    }
    if (code == CLI_OK && optind < argc)
        code = cli_usage("delete", "what is \"%s\"?", argv[optind]);
    if (code == CLI_OK)
        code = check(&arguments);
    return code == CLI_OK ? run(&arguments) : code;
}
