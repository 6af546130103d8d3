/*
 * cli_query.c - `millrace query`: options into a query, its result onto the screen.
 */
#include <stdlib.h>
#include <string.h>

#include "client/cli.h"
#include "client/cli_list.h"
#include "client/cli_plot.h"
#include "client/cli_print.h"
#include "client/cli_time.h"

static const char usage[] =
    "millrace query --table NAME [options]  rows, aggregates or newest values of a table\n"
    "\n" CLI_CONNECT_HELP "  --table NAME            the table (needed)\n"
    "  --field NAME[,...]      only these fields; may be repeated (default: all)\n"
    "  --where TAG=VALUE[,...] only series with these tags; TAG!=VALUE: without; TAG=~PATTERN and\n"
    "                          TAG!~PATTERN: a PCRE2 pattern for the whole value. All must hold;\n"
    "                          a comma or backslash in a value is written \\, \\\\\n"
    "  --from TIME             from this time on (default: the beginning)\n"
    "  --to TIME               before this time (default: the end)\n"
    "  --agg NAME              none, count, min, max, sum, mean, first, last (default: none)\n"
    "  --every DURATION        aggregates: one value for each such window\n"
    "  --group-by TAG[,...]    aggregates: one result for each combination of these tags\n"
    "  --last                  only the newest value of each series\n"
    "  --series                which series there are, without rows\n"
    "  --labels                which tags they have\n"
    "  --values TAG            which values they have of this tag\n"
    "  --limit ROWS            at most so many\n"
    "  --consistency NAME      leader, linearizable, any (default: leader)\n"
    "  --timeout SECONDS       default: 30\n"
    "  --format NAME           table, csv, json, plot (default: table)\n"
    "  --json                  as --format json\n"
    "  --width N, --height N   plot: columns of the screen, lines of a panel\n"
    "\n"
    "TIME      now, -15m, 2026-01-31, 2026-01-31T12:00:00Z, 1700000000s, 1700000000000ms, ...\n"
    "DURATION  100ms, 1m, 1h30m, 1d\n"
    "\n"
    "Examples\n"
    "  millrace query --table cpu --last\n"
    "  millrace query --table cpu --field usage_user --where 'host=a,cpu!=cpu-total' --from -1h\n"
    "  millrace query --table cpu --agg mean --every 1m --group-by host --from -1d --format csv\n"
    "  millrace query --table cpu --values host --where 'dc=~eu-.*'\n"
    "  millrace query --table mem --field used_percent --from -15m --format plot\n"
    "\n" CLI_EXIT_HELP;

enum { WIDTH_MIN = 40, WIDTH_MAX = 1000, HEIGHT_MIN = 2, HEIGHT_MAX = 100 };

struct arguments {
    struct millrace_options connect;
    struct millrace_query query;
    struct cli_list fields, groups, conditions;
    struct millrace_condition where[CLI_LIST_MAX];
    const char *format;
    unsigned width, height;
    int64_t now_ns;
};

enum {
    OPTION_TABLE = 256,
    OPTION_FIELD,
    OPTION_WHERE,
    OPTION_FROM,
    OPTION_TO,
    OPTION_AGG,
    OPTION_EVERY,
    OPTION_GROUP,
    OPTION_LAST,
    OPTION_SERIES,
    OPTION_LABELS,
    OPTION_VALUES,
    OPTION_LIMIT,
    OPTION_CONSISTENCY,
    OPTION_TIMEOUT,
    OPTION_FORMAT,
    OPTION_WIDTH,
    OPTION_HEIGHT,
};

/* ---- Options ------------------------------------------------------------------------------- */

static int parse_number(const char *name, const char *text, uint64_t min, uint64_t max,
                        uint64_t *ret_number)
{
    if (!cli_number(text, min, max, ret_number))
        return cli_usage("query", "--%s %s: want a number from %llu to %llu", name, text,
                         (unsigned long long)min, (unsigned long long)max);
    return CLI_OK;
}

static int parse_list(const char *name, char *text, struct cli_list *list)
{
    if (!cli_list_add(list, text))
        return cli_usage("query", "--%s %s: want names with commas between them", name, text);
    return CLI_OK;
}

static int parse_option(struct arguments *arguments, int option, const char *name)
{
    struct millrace_query *query = &arguments->query;
    uint64_t number = 0;
    int code = CLI_OK;

    switch (option) {
    case 'N':
        arguments->connect.nodes = optarg;
        break;
    case 'D':
        arguments->connect.database = optarg;
        break;
    case 'j':
        arguments->format = "json";
        break;
    case OPTION_TABLE:
        query->table = optarg;
        break;
    case OPTION_FIELD:
        return parse_list(name, optarg, &arguments->fields);
    case OPTION_WHERE:
        return parse_list(name, optarg, &arguments->conditions);
    case OPTION_GROUP:
        return parse_list(name, optarg, &arguments->groups);
    case OPTION_FROM:
        return cli_time_option("query", name, optarg, arguments->now_ns, &query->from_ns);
    case OPTION_TO:
        return cli_time_option("query", name, optarg, arguments->now_ns, &query->to_ns);
    case OPTION_AGG:
        query->agg = optarg;
        break;
    case OPTION_EVERY:
        if (!cli_time_parse_duration(optarg, &query->every_ns))
            return cli_usage("query", "--every %s: want a duration such as 10s or 1m", optarg);
        break;
    case OPTION_LAST:
        query->last = 1;
        break;
    case OPTION_VALUES:
        query->about = name;
        return parse_list(name, optarg, &arguments->fields);
    case OPTION_SERIES:
    case OPTION_LABELS:
        query->about = name;
        break;
    case OPTION_LIMIT:
        return parse_number(name, optarg, 1, UINT64_MAX, &query->limit);
    case OPTION_CONSISTENCY:
        query->consistency = optarg;
        break;
    case OPTION_TIMEOUT:
        code = parse_number(name, optarg, 1, 3600, &number);
        query->timeout_ms = (uint32_t)number * 1000;
        break;
    case OPTION_FORMAT:
        arguments->format = optarg;
        break;
    case OPTION_WIDTH:
        code = parse_number(name, optarg, WIDTH_MIN, WIDTH_MAX, &number);
        arguments->width = (unsigned)number;
        break;
    case OPTION_HEIGHT:
        code = parse_number(name, optarg, HEIGHT_MIN, HEIGHT_MAX, &number);
        arguments->height = (unsigned)number;
        break;
    default:
        return CLI_USAGE; /* getopt has said what. */
    }
    return code;
}

static int check(struct arguments *arguments, bool has_from, bool has_to)
{
    struct millrace_query *query = &arguments->query;

    if (!query->table)
        return cli_usage("query", "--table is needed");
    if (strcmp(arguments->format, "table") != 0 && strcmp(arguments->format, "csv") != 0 &&
        strcmp(arguments->format, "json") != 0 && strcmp(arguments->format, "plot") != 0)
        return cli_usage("query", "--format %s: want table, csv, json or plot", arguments->format);
    if (query->every_ns > 0 && !query->agg)
        return cli_usage("query", "--every needs --agg");
    if (arguments->groups.count > 0 && !query->agg)
        return cli_usage("query", "--group-by needs --agg");
    if (query->last && query->agg)
        return cli_usage("query", "--last and --agg exclude each other");
    if (!has_to && has_from)
        query->to_ns = INT64_MAX;
    if (!has_from && has_to)
        query->from_ns = INT64_MIN;
    if ((has_from || has_to) && query->from_ns >= query->to_ns)
        return cli_usage("query", "--from is not before --to");
    query->fields = arguments->fields.items;
    query->field_count = arguments->fields.count;
    query->group_by = arguments->groups.items;
    query->group_count = arguments->groups.count;
    query->where = arguments->where;
    query->where_count = arguments->conditions.count;
    for (size_t i = 0; i < query->where_count; i++) {
        /* The items are pieces of argv. */
        if (!cli_list_condition((char *)(uintptr_t)arguments->conditions.items[i],
                                &arguments->where[i]))
            return cli_usage("query",
                             "--where %s: want TAG=VALUE, TAG!=VALUE, TAG=~PATTERN or TAG!~PATTERN",
                             arguments->conditions.items[i]);
    }
    return CLI_OK;
}

/* ---- Running ------------------------------------------------------------------------------- */

static void print(const struct arguments *arguments, const struct millrace_result *result)
{
    struct cli_plot_options plot = {
        .width = arguments->width ? arguments->width : cli_width(stdout),
        .height = arguments->height ? arguments->height : 8,
        .colours = cli_colours(stdout),
        .table = arguments->query.table,
    };

    if (plot.width < WIDTH_MIN)
        plot.width = WIDTH_MIN;
    if (strcmp(arguments->format, "csv") == 0)
        cli_print_csv(stdout, result);
    else if (strcmp(arguments->format, "json") == 0)
        cli_print_json(stdout, result);
    else if (strcmp(arguments->format, "plot") == 0)
        cli_plot(stdout, result, &plot);
    else
        cli_print_table(stdout, result, plot.colours);
}

static int run(const struct arguments *arguments)
{
    struct millrace_result *result;
    struct millrace *m;
    enum millrace_code got;
    int code = cli_open("query", &arguments->connect, &m);

    if (code != CLI_OK)
        return code;
    got = millrace_query(m, &arguments->query, &result);
    if (got == MILLRACE_OK) {
        print(arguments, result);
        if (millrace_result_rows(result) == 0)
            cli_note_table("query", m, arguments->connect.database, arguments->query.table);
        if (millrace_result_stale_ms(result) > 0)
            cli_error("query", 0, "the answer may be up to %llu ms old",
                      (unsigned long long)millrace_result_stale_ms(result));
        millrace_result_free(result);
        if (fflush(stdout) != 0)
            code = cli_error("query", CLI_FAILED, "standard output cannot be written");
    } else {
        code = cli_failed("query", m, got);
    }
    millrace_close(m);
    return code;
}

int cli_query(int argc, char **argv)
{
    static const struct option options[] = {
        CLI_CONNECT_OPTIONS,
        {"table", required_argument, NULL, OPTION_TABLE},
        {"field", required_argument, NULL, OPTION_FIELD},
        {"where", required_argument, NULL, OPTION_WHERE},
        {"from", required_argument, NULL, OPTION_FROM},
        {"to", required_argument, NULL, OPTION_TO},
        {"agg", required_argument, NULL, OPTION_AGG},
        {"every", required_argument, NULL, OPTION_EVERY},
        {"group-by", required_argument, NULL, OPTION_GROUP},
        {"last", no_argument, NULL, OPTION_LAST},
        {"series", no_argument, NULL, OPTION_SERIES},
        {"labels", no_argument, NULL, OPTION_LABELS},
        {"values", required_argument, NULL, OPTION_VALUES},
        {"limit", required_argument, NULL, OPTION_LIMIT},
        {"consistency", required_argument, NULL, OPTION_CONSISTENCY},
        {"timeout", required_argument, NULL, OPTION_TIMEOUT},
        {"format", required_argument, NULL, OPTION_FORMAT},
        {"width", required_argument, NULL, OPTION_WIDTH},
        {"height", required_argument, NULL, OPTION_HEIGHT},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    static struct arguments arguments = {.format = "table"};
    bool has_from = false, has_to = false;
    int code = CLI_OK, option, at;

    arguments.now_ns = cli_time_now_ns();
    while (code == CLI_OK && (option = getopt_long(argc, argv, "h", options, &at)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return CLI_OK;
        }
        has_from |= option == OPTION_FROM;
        has_to |= option == OPTION_TO;
        code = parse_option(&arguments, option, option >= OPTION_TABLE ? options[at].name : "");
    }
    if (code == CLI_OK && optind < argc)
        code = cli_usage("query", "what is \"%s\"?", argv[optind]);
    if (code == CLI_OK)
        code = check(&arguments, has_from, has_to);
    return code == CLI_OK ? run(&arguments) : code;
}
