/*
 * cli_db.c - `millrace db`: make, alter, drop and list databases.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli.h"
#include "client/cli_size.h"
#include "client/cli_time.h"

static const char usage[] =
    "millrace db create NAME [options]      make a database\n"
    "millrace db alter NAME [options]       change what it keeps\n"
    "millrace db drop NAME                  erase it and all its rows\n"
    "millrace db list [--json]              databases and what they keep\n"
    "\n"
    "  --node HOST:PORT[,...]    nodes to connect to (default: $MILLRACE_NODE, 127.0.0.1:7400)\n"
    "  --retention DURATION      keep rows so long, by their own times; 0: for ever\n"
    "  --retention-bytes SIZE    keep so much on each node's disk, the newest rows; 0: all\n"
    "  --json                    list: as a JSON array\n"
    "\n"
    "DURATION  12h, 30d, 52w, at least a minute. Rows go in windows: up to a 24th of it later.\n"
    "SIZE      512MiB, 10GiB. Each shard keeps its part of it.\n"
    "\n"
    "Rows that are older than what is kept are refused when they are written. A longer retention\n"
    "does not bring back what has gone. A dropped database refuses writes until it is made again.\n"
    "\n"
    "Examples\n"
    "  millrace db create plant --retention 30d --retention-bytes 10GiB\n"
    "  millrace db alter plant --retention 0\n"
    "  millrace db list\n"
    "\n" CLI_EXIT_HELP;

enum { OPTION_RETENTION = 256, OPTION_BYTES, TEXT_SIZE = 32 };

struct arguments {
    struct millrace_options connect;
    const char *verb, *name;
    uint64_t retention_ns, retention_bytes;
    bool sets_retention, sets_bytes, json;
};

/* ---- Printing ------------------------------------------------------------------------------ */

static void format_duration(uint64_t ns, char out[TEXT_SIZE])
{
    static const struct {
        const char *name;
        uint64_t ns;
    } units[] = {{"d", UINT64_C(86400000000000)},
                 {"h", UINT64_C(3600000000000)},
                 {"m", UINT64_C(60000000000)},
                 {"s", UINT64_C(1000000000)},
                 {"ms", UINT64_C(1000000)},
                 {"us", UINT64_C(1000)},
                 {"ns", UINT64_C(1)}};
    size_t unit = 0;

    while (ns % units[unit].ns != 0)
        unit++;
    snprintf(out, TEXT_SIZE, "%" PRIu64 "%s", ns / units[unit].ns, units[unit].name);
}

static void print_table(const struct millrace_database *databases, size_t count)
{
    char retention[TEXT_SIZE], window[TEXT_SIZE], bytes[CLI_SIZE_SIZE];

    printf("%-24s %12s %16s %8s\n", "database", "retention", "bytes a node", "window");
    for (size_t i = 0; i < count; i++) {
        format_duration(databases[i].retention_ns, retention);
        format_duration(databases[i].window_ns, window);
        cli_size_format(databases[i].retention_bytes, bytes);
        printf("%-24s %12s %16s %8s\n", databases[i].name,
               databases[i].retention_ns ? retention : "for ever",
               databases[i].retention_bytes ? bytes : "no limit", window);
    }
}

static int print_json(const struct millrace_database *databases, size_t count)
{
    json_t *list = json_array();
    char *text;

    for (size_t i = 0; i < count; i++)
        json_array_append_new(list,
                              json_pack("{s:s%, s:I, s:I, s:I}", "name", databases[i].name,
                                        strlen(databases[i].name), "retention_ns",
                                        (json_int_t)databases[i].retention_ns, "retention_bytes",
                                        (json_int_t)databases[i].retention_bytes, "window_ns",
                                        (json_int_t)databases[i].window_ns));
    text = json_dumps(list, JSON_INDENT(2));
    json_decref(list);
    if (!text)
        return cli_error("db", CLI_FAILED, "a name is no UTF-8, and JSON has no other");
    puts(text);
    free(text);
    return CLI_OK;
}

static int compare_names(const void *a, const void *b)
{
    const struct millrace_database *left = a, *right = b;

    return strcmp(left->name, right->name);
}

/* ---- Running ------------------------------------------------------------------------------- */

static int list(struct millrace *m, bool as_json)
{
    struct millrace_database *databases;
    size_t count;
    enum millrace_code got = millrace_databases(m, &databases, &count);
    int code = CLI_OK;

    if (got != MILLRACE_OK)
        return cli_failed("db", m, got);
    qsort(databases, count, sizeof *databases, compare_names);
    if (as_json)
        code = print_json(databases, count);
    else
        print_table(databases, count);
    free(databases);
    return code;
}

static int run(const struct arguments *arguments)
{
    const uint64_t *retention_ns = arguments->sets_retention ? &arguments->retention_ns : NULL;
    const uint64_t *bytes = arguments->sets_bytes ? &arguments->retention_bytes : NULL;
    enum millrace_code got = MILLRACE_OK;
    struct millrace *m;
    int code = cli_open("db", &arguments->connect, &m);

    if (code != CLI_OK)
        return code;
    if (strcmp(arguments->verb, "list") == 0)
        code = list(m, arguments->json);
    else if (strcmp(arguments->verb, "create") == 0)
        got = millrace_database_create(m, arguments->name, retention_ns, bytes);
    else if (strcmp(arguments->verb, "alter") == 0)
        got = millrace_database_alter(m, arguments->name, retention_ns, bytes);
    else
        got = millrace_database_drop(m, arguments->name);
    if (got != MILLRACE_OK)
        code = cli_failed("db", m, got);
    millrace_close(m);
    return code;
}

static int parse_option(struct arguments *arguments, int option)
{
    int64_t ns = 0;

    switch (option) {
    case 'N':
        arguments->connect.nodes = optarg;
        return CLI_OK;
    case 'j':
        arguments->json = true;
        return CLI_OK;
    case OPTION_RETENTION:
        if (strcmp(optarg, "0") != 0 && !cli_time_parse_duration(optarg, &ns))
            return cli_usage("db", "--retention %s: want a duration such as 12h or 30d, or 0",
                             optarg);
        arguments->retention_ns = (uint64_t)ns;
        arguments->sets_retention = true;
        return CLI_OK;
    case OPTION_BYTES:
        if (!cli_size_parse(optarg, &arguments->retention_bytes))
            return cli_usage(
                "db", "--retention-bytes %s: want a size such as 512MiB or 10GiB, or 0", optarg);
        arguments->sets_bytes = true;
        return CLI_OK;
    default:
        return CLI_USAGE; /* getopt has said what. */
    }
}

static int check(const struct arguments *arguments)
{
    bool lists = arguments->verb && strcmp(arguments->verb, "list") == 0;
    bool alters = arguments->verb && strcmp(arguments->verb, "alter") == 0;
    bool sets = arguments->sets_retention || arguments->sets_bytes;

    if (!arguments->verb)
        return cli_usage("db", "want create, alter, drop or list");
    if (!lists && !alters && strcmp(arguments->verb, "create") != 0 &&
        strcmp(arguments->verb, "drop") != 0)
        return cli_usage("db", "what is \"%s\"? want create, alter, drop or list", arguments->verb);
    if (!lists && !arguments->name)
        return cli_usage("db", "%s needs the name of a database", arguments->verb);
    if (lists && arguments->name)
        return cli_usage("db", "what is \"%s\"?", arguments->name);
    if (alters && !sets)
        return cli_usage("db", "alter needs --retention or --retention-bytes");
    if (sets && !alters && strcmp(arguments->verb, "create") != 0)
        return cli_usage("db", "%s takes no retention", arguments->verb);
    return CLI_OK;
}

int cli_db(int argc, char **argv)
{
    static const struct option options[] = {
        {"node", required_argument, NULL, 'N'},
        {"retention", required_argument, NULL, OPTION_RETENTION},
        {"retention-bytes", required_argument, NULL, OPTION_BYTES},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct arguments arguments = {0};
    int code = CLI_OK, option;

    while (code == CLI_OK && (option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return CLI_OK;
        }
        code = parse_option(&arguments, option);
    }
    arguments.verb = optind < argc ? argv[optind++] : NULL;
    arguments.name = optind < argc ? argv[optind++] : NULL;
    if (code == CLI_OK && optind < argc)
        code = cli_usage("db", "what is \"%s\"?", argv[optind]);
    if (code == CLI_OK)
        code = check(&arguments);
    return code == CLI_OK ? run(&arguments) : code;
}
