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
    "millrace db list [--json]              databases, what they keep and what is in them\n"
    "\n"
    "  --node HOST:PORT[,...]    nodes to connect to (default: $MILLRACE_NODE, 127.0.0.1:7400)\n"
    "  --retention DURATION      keep rows so long, by their own times; 0: for ever\n"
    "  --retention-bytes SIZE    keep so much on each node's disk, the newest rows; 0: all\n"
    "  --series-max N            refuse new series above so many; 0: no limit\n"
    "  --json                    list: as a JSON array\n"
    "\n"
    "DURATION  12h, 30d, 52w, at least a minute. Rows go in windows: up to a 24th of it later.\n"
    "SIZE      512MiB, 10GiB. Each shard keeps its part of it, and takes its part of N.\n"
    "\n"
    "Rows that are older than what is kept are refused when they are written. A longer retention\n"
    "does not bring back what has gone. A dropped database refuses writes until it is made again.\n"
    "\n"
    "A list counts series, rows as they are stored (what was overwritten or deleted counts until "
    "its\n"
    "segment goes) and bytes of segments, each shard once: so much is on each node.\n"
    "\n"
    "Examples\n"
    "  millrace db create plant --retention 30d --retention-bytes 10GiB\n"
    "  millrace db alter plant --retention 0 --series-max 2000000\n"
    "  millrace db list\n"
    "\n" CLI_EXIT_HELP;

#define SECOND INT64_C(1000000000)

enum { OPTION_RETENTION = 256, OPTION_BYTES, OPTION_SERIES, TEXT_SIZE = 32, CONTENTS_MS = 10000 };

struct arguments {
    struct millrace_options connect;
    const char *verb, *name;
    uint64_t retention_ns, retention_bytes, series_max;
    bool sets_retention, sets_bytes, sets_series, json;
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

/* What all shards together have of a database. */
struct contents {
    uint64_t series, rows, head_rows, segments, bytes;
    int64_t time_min_ns, time_max_ns; /* With rows. */
};

static void print_contents(const struct contents *contents)
{
    char bytes[CLI_SIZE_SIZE], first[CLI_TIME_SIZE] = "-", last[CLI_TIME_SIZE] = "-";

    cli_size_format(contents->bytes, bytes);
    if (contents->rows > 0) {
        cli_time_format(contents->time_min_ns / SECOND * SECOND, first);
        cli_time_format(contents->time_max_ns / SECOND * SECOND, last);
    }
    printf(" %12" PRIu64 " %14" PRIu64 " %10s  %-20s  %s", contents->series, contents->rows, bytes,
           first, last);
}

static void print_table(const struct millrace_database *databases, size_t count,
                        const struct contents *contents)
{
    char retention[TEXT_SIZE], window[TEXT_SIZE], limit[CLI_SIZE_SIZE], series[TEXT_SIZE];
    uint64_t head_rows = 0;

    printf("%-24s %10s %12s %12s %8s", "database", "retention", "bytes a node", "series max",
           "window");
    if (contents)
        printf(" %12s %14s %10s  %-20s  %s", "series", "rows", "on disk", "oldest", "newest");
    puts("");
    for (size_t i = 0; i < count; i++) {
        format_duration(databases[i].retention_ns, retention);
        format_duration(databases[i].window_ns, window);
        cli_size_format(databases[i].retention_bytes, limit);
        (void)snprintf(series, sizeof series, "%" PRIu64, databases[i].series_max);
        printf("%-24s %10s %12s %12s %8s", databases[i].name,
               databases[i].retention_ns ? retention : "for ever",
               databases[i].retention_bytes ? limit : "no limit",
               databases[i].series_max ? series : "no limit", window);
        if (contents) {
            print_contents(&contents[i]);
            head_rows += contents[i].head_rows;
        }
        puts("");
    }
    if (head_rows > 0)
        printf("(%" PRIu64 " of the rows are in memory and in the log, not in segments yet)\n",
               head_rows);
}

static json_t *json_of(const struct millrace_database *database, const struct contents *contents)
{
    json_t *object =
        json_pack("{s:s%, s:I, s:I, s:I, s:I}", "name", database->name, strlen(database->name),
                  "retention_ns", (json_int_t)database->retention_ns, "retention_bytes",
                  (json_int_t)database->retention_bytes, "series_max",
                  (json_int_t)database->series_max, "window_ns", (json_int_t)database->window_ns);

    if (!object || !contents)
        return object;
    (void)json_object_set_new(object, "series", json_integer((json_int_t)contents->series));
    (void)json_object_set_new(object, "rows", json_integer((json_int_t)contents->rows));
    (void)json_object_set_new(object, "head_rows", json_integer((json_int_t)contents->head_rows));
    (void)json_object_set_new(object, "segments", json_integer((json_int_t)contents->segments));
    (void)json_object_set_new(object, "bytes", json_integer((json_int_t)contents->bytes));
    if (contents->rows > 0) {
        (void)json_object_set_new(object, "time_min_ns", json_integer(contents->time_min_ns));
        (void)json_object_set_new(object, "time_max_ns", json_integer(contents->time_max_ns));
    }
    return object;
}

static int print_json(const struct millrace_database *databases, size_t count,
                      const struct contents *contents)
{
    json_t *list = json_array();
    char *text;

    for (size_t i = 0; i < count; i++)
        (void)json_array_append_new(list, json_of(&databases[i], contents ? &contents[i] : NULL));
    text = json_array_size(list) == count ? json_dumps(list, JSON_INDENT(2)) : NULL;
    json_decref(list);
    if (!text)
        return cli_error("db", CLI_FAILED, "a name is no UTF-8, and JSON has no other");
    puts(text);
    free(text);
    return CLI_OK;
}

/* ---- What is in them ----------------------------------------------------------------------- */

static void add_field(struct contents *contents, bool first, const char *name,
                      const struct millrace_value *value)
{
    if (strcmp(name, "series") == 0)
        contents->series += value->as.u;
    else if (strcmp(name, "rows") == 0)
        contents->rows += value->as.u;
    else if (strcmp(name, "head_rows") == 0)
        contents->head_rows += value->as.u;
    else if (strcmp(name, "segments") == 0)
        contents->segments += value->as.u;
    else if (strcmp(name, "bytes") == 0)
        contents->bytes += value->as.u;
    else if (strcmp(name, "time_min") == 0 && (first || value->as.i < contents->time_min_ns))
        contents->time_min_ns = value->as.i;
    else if (strcmp(name, "time_max") == 0 && (first || value->as.i > contents->time_max_ns))
        contents->time_max_ns = value->as.i;
}

static void add_row(const struct millrace_result *result, size_t row, struct contents *contents)
{
    bool first = contents->rows == 0;
    struct millrace_value value;

    for (size_t column = 0; column < millrace_result_columns(result); column++)
        if (millrace_result_kind(result, column) == MILLRACE_FIELD &&
            millrace_result_get(result, row, column, &value))
            add_field(contents, first, millrace_result_name(result, column), &value);
}

static bool is_named(const struct millrace_value *value, const char *name)
{
    return strlen(name) == value->as.s.size &&
           memcmp(name, value->as.s.data, value->as.s.size) == 0;
}

/* Of each database what its shards say, summed; NULL: they do not, and why was said. free() it. */
static struct contents *ask_contents(struct millrace *m, const struct millrace_database *databases,
                                     size_t count)
{
    struct contents *contents = calloc(count + 1, sizeof *contents);
    struct millrace_query query = {.about = "databases", .timeout_ms = CONTENTS_MS};
    struct millrace_result *result;
    struct millrace_value name;
    enum millrace_code got = contents ? millrace_query(m, &query, &result) : MILLRACE_NO_MEMORY;

    if (got != MILLRACE_OK) {
        cli_error("db", 0, "what is in them cannot be told: %s", millrace_last_error(m));
        free(contents);
        return NULL;
    }
    for (size_t row = 0; row < millrace_result_rows(result); row++)
        for (size_t i = 0; i < count && millrace_result_get(result, row, 0, &name); i++)
            if (is_named(&name, databases[i].name))
                add_row(result, row, &contents[i]);
    millrace_result_free(result);
    return contents;
}

/* ---- Running ------------------------------------------------------------------------------- */

static int compare_names(const void *a, const void *b)
{
    const struct millrace_database *left = a, *right = b;

    return strcmp(left->name, right->name);
}

static int list(struct millrace *m, bool as_json)
{
    struct millrace_database *databases;
    struct contents *contents;
    size_t count;
    enum millrace_code got = millrace_databases(m, &databases, &count);
    int code = CLI_OK;

    if (got != MILLRACE_OK)
        return cli_failed("db", m, got);
    qsort(databases, count, sizeof *databases, compare_names);
    contents = ask_contents(m, databases, count);
    if (as_json)
        code = print_json(databases, count, contents);
    else
        print_table(databases, count, contents);
    free(contents);
    free(databases);
    return code;
}

static int run(const struct arguments *arguments)
{
    const uint64_t *retention_ns = arguments->sets_retention ? &arguments->retention_ns : NULL;
    const uint64_t *bytes = arguments->sets_bytes ? &arguments->retention_bytes : NULL;
    const uint64_t *series = arguments->sets_series ? &arguments->series_max : NULL;
    enum millrace_code got = MILLRACE_OK;
    struct millrace *m;
    int code = cli_open("db", &arguments->connect, &m);

    if (code != CLI_OK)
        return code;
    if (strcmp(arguments->verb, "list") == 0)
        code = list(m, arguments->json);
    else if (strcmp(arguments->verb, "create") == 0)
        got = millrace_database_create(m, arguments->name, retention_ns, bytes, series);
    else if (strcmp(arguments->verb, "alter") == 0)
        got = millrace_database_alter(m, arguments->name, retention_ns, bytes, series);
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
    char *end;

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
    case OPTION_SERIES:
        arguments->series_max = strtoull(optarg, &end, 10);
        if (optarg[0] < '0' || optarg[0] > '9' || *end != '\0')
            return cli_usage("db", "--series-max %s: want a number, or 0", optarg);
        arguments->sets_series = true;
        return CLI_OK;
    default:
        return CLI_USAGE; /* getopt has said what. */
    }
}

static int check(const struct arguments *arguments)
{
    bool lists = arguments->verb && strcmp(arguments->verb, "list") == 0;
    bool alters = arguments->verb && strcmp(arguments->verb, "alter") == 0;
    bool sets = arguments->sets_retention || arguments->sets_bytes || arguments->sets_series;

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
        return cli_usage("db", "alter needs --retention, --retention-bytes or --series-max");
    if (sets && !alters && strcmp(arguments->verb, "create") != 0)
        return cli_usage("db", "%s takes no such limits", arguments->verb);
    return CLI_OK;
}

int cli_db(int argc, char **argv)
{
    static const struct option options[] = {
        {"node", required_argument, NULL, 'N'},
        {"retention", required_argument, NULL, OPTION_RETENTION},
        {"retention-bytes", required_argument, NULL, OPTION_BYTES},
        {"series-max", required_argument, NULL, OPTION_SERIES},
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
