/*
 * cli_status.c - `millrace status`: what the nodes of a site say of themselves, as two tables.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli.h"
#include "client/cli_size.h"

static const char usage[] =
    "millrace status [options]              nodes, shards and leaders of a site\n"
    "\n" CLI_CONNECT_HELP "  --json                  all that the nodes tell, as one JSON object\n"
    "\n"
    "written: bytes that the node has written to files since its start for each\n"
    "byte of entries that came; - while these are so few that headers outweigh them.\n"
    "\n"
    "Exit code 1: a node cannot be reached, or a shard has no leader.\n"
    "\n"
    "Examples\n"
    "  millrace status\n"
    "  millrace status --node 10.0.0.1:7400 --json | jq '.nodes[].server'\n"
    "\n" CLI_EXIT_HELP;

enum { TEXT_SIZE = 32, WRITTEN_POINTS_MIN = 100000 };

static int64_t integer(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static const char *string(const json_t *object, const char *key)
{
    const char *value = json_string_value(json_object_get(object, key));

    return value ? value : "-";
}

/* "5d 3h", "12m 5s" */
static void format_uptime(double seconds, char out[TEXT_SIZE])
{
    uint64_t whole = seconds > 0 && seconds < 1e12 ? (uint64_t)seconds : 0;

    if (whole >= 86400)
        snprintf(out, TEXT_SIZE, "%" PRIu64 "d %" PRIu64 "h", whole / 86400, whole / 3600 % 24);
    else if (whole >= 3600)
        snprintf(out, TEXT_SIZE, "%" PRIu64 "h %" PRIu64 "m", whole / 3600, whole / 60 % 60);
    else
        snprintf(out, TEXT_SIZE, "%" PRIu64 "m %" PRIu64 "s", whole / 60, whole % 60);
}

/* ---- Nodes --------------------------------------------------------------------------------- */

static void print_damaged(const json_t *damaged)
{
    const json_t *file;
    size_t at;

    json_array_foreach(damaged, at, file)
    {
        fputs("      damaged: ", stdout);
        if (integer(file, "shard") >= 0) /* Else it is of the log. */
            printf("shard-%" PRId64 "/", integer(file, "shard"));
        printf("%s, since %.0f s: %s; %s\n", string(file, "file"),
               json_number_value(json_object_get(file, "since_s")), string(file, "damage"),
               string(file, "state"));
    }
}

static void print_rejoining(const json_t *groups)
{
    const json_t *group;
    size_t at;

    json_array_foreach(groups, at, group)
    {
        const char *what = string(group, "what");

        printf("      rejoins: group %" PRId64 " %s%s%s\n", integer(group, "group"),
               string(group, "state"), what[0] != '\0' ? ": " : "", what);
    }
}

static void print_nodes(const json_t *nodes, const json_t *unreachable, bool colours)
{
    size_t at;
    const json_t *node;

    printf("%-5s %-21s %-6s %-9s %10s %8s %10s %14s %12s %9s\n", "node", "native port", "state",
           "uptime", "memory", "leads", "version", "points", "points/s", "written");
    json_array_foreach(nodes, at, node)
    {
        const json_t *others = json_object_get(node, "nodes"), *other;
        const json_t *shards = json_object_get(node, "shards"), *shard;
        bool ready = !json_is_false(json_object_get(node, "ready"));
        char address[128] = "-", uptime[TEXT_SIZE], memory[TEXT_SIZE], written[TEXT_SIZE] = "-";
        size_t i;
        int leads = 0;

        json_array_foreach(others, i, other)
        {
            if (integer(other, "server") == integer(node, "server"))
                snprintf(address, sizeof address, "%s:%d", string(other, "host"),
                         (int)integer(other, "native_port"));
        }
        json_array_foreach(shards, i, shard)
        {
            if (integer(shard, "leader") == integer(node, "server"))
                leads++;
        }
        format_uptime(json_number_value(json_object_get(node, "uptime_s")), uptime);
        cli_size_format((uint64_t)integer(node, "memory_bytes"), memory);
        if (integer(node, "points_total") >= WRITTEN_POINTS_MIN)
            snprintf(written, sizeof written, "%.2fx",
                     json_real_value(json_object_get(node, "write_amplification")));
        printf("%-5" PRId64 " %-21s %s%-6s%s %-9s %10s %8d %10s %14" PRId64 " %12" PRId64 " %9s\n",
               integer(node, "server"), address, colours && !ready ? "\033[33m" : "",
               ready ? "up" : "busy", colours && !ready ? "\033[0m" : "", uptime, memory, leads,
               string(node, "version"), integer(node, "points_total"),
               integer(node, "points_per_s"), written);
        if (!ready)
            printf("      not ready: %s\n", string(node, "ready_detail"));
        print_damaged(json_object_get(node, "damaged"));
        print_rejoining(json_object_get(node, "rejoining"));
    }
    json_array_foreach(unreachable, at, node)
        printf("%-5" PRId64 " %-21s %sdown%s\n", (int64_t)json_integer_value(node), "-",
               colours ? "\033[31m" : "", colours ? "\033[0m" : "");
}

/* ---- Shards -------------------------------------------------------------------------------- */

/* The shard as its leader sees it; NULL if no node leads it. A leader that was cut off may not know
 * yet that there is another: the one of the highest term is right. */
static const json_t *find_led(const json_t *nodes, int64_t number)
{
    const json_t *found = NULL;
    size_t at, i;
    const json_t *node, *shard;

    json_array_foreach(nodes, at, node)
    {
        const json_t *shards = json_object_get(node, "shards");

        json_array_foreach(shards, i, shard)
        {
            if (integer(shard, "shard") == number &&
                integer(shard, "leader") == integer(node, "server") &&
                (!found || integer(shard, "term") > integer(found, "term")))
                found = shard;
        }
    }
    return found;
}

/* "1 2 (-17) 3 (away)": replicas, and how many entries they are behind. */
static void format_replicas(const json_t *shard, char *out, size_t room)
{
    const json_t *replicas = json_object_get(shard, "replicas"), *replica;
    size_t at, used = 0;

    *out = '\0';
    json_array_foreach(replicas, at, replica)
    {
        char lag[32] = "";
        int size;

        if (json_is_false(json_object_get(replica, "online")))
            snprintf(lag, sizeof lag, " (away)");
        else if (integer(replica, "lag") > 0)
            snprintf(lag, sizeof lag, " (-%" PRId64 ")", integer(replica, "lag"));
        size = snprintf(out + used, room - used, "%s%" PRId64 "%s", at ? " " : "",
                        integer(replica, "server"), lag);
        if (size < 0 || (size_t)size >= room - used)
            return;
        used += (size_t)size;
    }
}

static void print_shards(const json_t *nodes, bool colours)
{
    const json_t *shards = json_object_get(json_array_get(nodes, 0), "shards"), *shard;
    size_t at;

    printf("\n%-5s %6s %6s %12s %12s %14s %12s %9s %12s  %s\n", "shard", "leader", "term",
           "committed", "series", "points", "in memory", "segments", "on disk", "replicas");
    json_array_foreach(shards, at, shard)
    {
        const json_t *led = find_led(nodes, integer(shard, "shard"));
        char head[TEXT_SIZE], disk[TEXT_SIZE], replicas[160];

        if (!led) {
            printf("%-5" PRId64 " %s%6s%s\n", integer(shard, "shard"), colours ? "\033[31m" : "",
                   "none", colours ? "\033[0m" : "");
            continue;
        }
        cli_size_format((uint64_t)integer(led, "head_bytes"), head);
        cli_size_format((uint64_t)integer(led, "segment_bytes"), disk);
        format_replicas(led, replicas, sizeof replicas);
        printf("%-5" PRId64 " %6" PRId64 " %6" PRId64 " %12" PRId64 " %12" PRId64 " %14" PRId64
               " %12s %9" PRId64 " %12s  %s\n",
               integer(led, "shard"), integer(led, "leader"), integer(led, "term"),
               integer(led, "commit"), integer(led, "series"), integer(led, "points"), head,
               integer(led, "segments"), disk, replicas);
    }
}

static bool is_healthy(const json_t *nodes, const json_t *unreachable)
{
    const json_t *shards = json_object_get(json_array_get(nodes, 0), "shards"), *shard;
    bool healthy = json_array_size(unreachable) == 0;
    size_t at;

    json_array_foreach(shards, at, shard)
    {
        if (!find_led(nodes, integer(shard, "shard")))
            healthy = false;
    }
    return healthy;
}

static int print_site(const char *text, bool as_json)
{
    json_t *site = json_loads(text, 0, NULL);
    const json_t *nodes = json_object_get(site, "nodes");
    const json_t *unreachable = json_object_get(site, "unreachable");
    bool colours = cli_colours(stdout);
    int code;

    if (!site)
        return cli_error("status", CLI_FAILED, "the answer is no JSON");
    code = is_healthy(nodes, unreachable) ? CLI_OK : CLI_FAILED;
    if (as_json) {
        puts(text);
    } else {
        printf("cluster %s, %zu nodes\n\n", string(json_array_get(nodes, 0), "cluster"),
               json_array_size(nodes) + json_array_size(unreachable));
        print_nodes(nodes, unreachable, colours);
        print_shards(nodes, colours);
    }
    json_decref(site);
    return code;
}

int cli_status(int argc, char **argv)
{
    static const struct option options[] = {CLI_CONNECT_OPTIONS,
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct millrace_options connect = {.timeout_ms = 5000};
    bool json = false;
    enum millrace_code result;
    struct millrace *m;
    char *text;
    int code, option;

    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case 'N':
            connect.nodes = optarg;
            break;
        case 'D':
            connect.database = optarg;
            break;
        case 'j':
            json = true;
            break;
        case 'h':
            fputs(usage, stdout);
            return CLI_OK;
        default:
            return CLI_USAGE;
        }
    }
    if (optind < argc)
        return cli_usage("status", "what is \"%s\"?", argv[optind]);
    code = cli_open("status", &connect, &m);
    if (code != CLI_OK)
        return code;
    result = millrace_status(m, 1, &text);
    if (result != MILLRACE_OK) {
        code = cli_failed("status", m, result);
    } else {
        code = print_site(text, json);
        free(text);
    }
    millrace_close(m);
    return code;
}
