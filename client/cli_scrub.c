/*
 * cli_scrub.c - `millrace scrub`: have every node verify its files now, and wait for it.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/cli.h"
#include "client/cli_size.h"

static const char usage[] =
    "millrace scrub [options]               verify all files of all nodes, now\n"
    "\n" CLI_CONNECT_HELP "  --no-wait               only begin\n"
    "\n"
    "Every node reads its segments, catalogs and manifests from the disk and compares checksums "
    "and\n"
    "hashes. What is damaged is fetched from another node, and answered by others meanwhile. The\n"
    "command ends when all nodes are through and nothing is damaged any more.\n"
    "\n"
    "Exit code 1: a file is still damaged after 30 s, or a node cannot be reached.\n"
    "\n"
    "Examples\n"
    "  millrace scrub\n"
    "  millrace scrub --node 10.0.0.1:7400 --no-wait\n"
    "\n" CLI_EXIT_HELP;

enum { POLL_MS = 100, MEND_POLLS_MAX = 300, TEXT_SIZE = 32 };

static int64_t integer(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static void sleep_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};

    (void)nanosleep(&time, NULL);
}

/* What the site says of that node; NULL: it cannot be reached. */
static const json_t *node_of(const json_t *site, int64_t server)
{
    const json_t *nodes = json_object_get(site, "nodes"), *node;
    size_t at;

    json_array_foreach(nodes, at, node)
    {
        if (integer(node, "server") == server)
            return node;
    }
    return NULL;
}

struct progress {
    bool complete; /* All that can be reached are through. */
    size_t damaged, away;
};

static struct progress look(const json_t *begun, const json_t *site)
{
    struct progress progress = {.complete = true};
    const json_t *ask;
    size_t at;

    json_array_foreach(begun, at, ask)
    {
        const json_t *node = node_of(site, integer(ask, "server"));
        const json_t *scrub = json_object_get(node, "scrub");

        if (!node || integer(ask, "complete_at") == 0) {
            progress.away++;
            continue;
        }
        if (integer(scrub, "passes") < integer(ask, "complete_at"))
            progress.complete = false;
        progress.damaged += json_array_size(json_object_get(node, "damaged"));
    }
    return progress;
}

static void print_node(int64_t server, const json_t *node)
{
    const json_t *scrub = json_object_get(node, "scrub");
    const json_t *damaged = json_object_get(node, "damaged"), *file;
    char bytes[TEXT_SIZE];
    size_t at;

    if (!node) {
        printf("node %-5" PRId64 " cannot be reached\n", server);
        return;
    }
    cli_size_format((uint64_t)integer(scrub, "bytes"), bytes);
    printf("node %-5" PRId64 " %6" PRId64 " files %10s; since its start %" PRId64
           " were damaged, %" PRId64 " mended\n",
           server, integer(scrub, "files"), bytes, integer(scrub, "found"),
           integer(scrub, "mended"));
    json_array_foreach(damaged, at, file)
    {
        fputs("  damaged: ", stdout);
        if (integer(file, "shard") >= 0) /* Else it is of the log. */
            printf("shard-%" PRId64 "/", integer(file, "shard"));
        printf("%s: %s; %s\n", json_string_value(json_object_get(file, "file")),
               json_string_value(json_object_get(file, "damage")),
               json_string_value(json_object_get(file, "state")));
    }
}

static int print_all(const json_t *begun, const json_t *site)
{
    struct progress progress = look(begun, site);
    const json_t *ask;
    size_t at;

    json_array_foreach(begun, at, ask)
        print_node(integer(ask, "server"), node_of(site, integer(ask, "server")));
    return progress.damaged + progress.away > 0 ? CLI_FAILED : CLI_OK;
}

/* Until all are through, and then for a while until all is mended. */
static int wait_for(struct millrace *m, const json_t *begun)
{
    unsigned polls = 0;

    for (;;) {
        char *text = NULL;
        enum millrace_code got = millrace_status(m, 1, &text);
        json_t *site = got == MILLRACE_OK ? json_loads(text, 0, NULL) : NULL;
        struct progress progress;
        int code;

        free(text);
        if (got != MILLRACE_OK)
            return cli_failed("scrub", m, got);
        progress = look(begun, site);
        if (progress.complete && (progress.damaged == 0 || ++polls > MEND_POLLS_MAX)) {
            code = print_all(begun, site);
            json_decref(site);
            return code;
        }
        json_decref(site);
        sleep_ms(POLL_MS);
    }
}

static int run(const struct millrace_options *connect, bool wait)
{
    enum millrace_code got;
    struct millrace *m;
    char *text = NULL;
    int code = cli_open("scrub", connect, &m);

    if (code != CLI_OK)
        return code;
    got = millrace_scrub(m, &text);
    if (got != MILLRACE_OK) {
        code = cli_failed("scrub", m, got);
    } else if (wait) {
        json_t *begun = json_loads(text, 0, NULL);

        code = wait_for(m, begun);
        json_decref(begun);
    }
    free(text);
    millrace_close(m);
    return code;
}

int cli_scrub(int argc, char **argv)
{
    static const struct option options[] = {CLI_CONNECT_OPTIONS,
                                            {"no-wait", no_argument, NULL, 'w'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    struct millrace_options connect = {.timeout_ms = 5000};
    bool wait = true;
    int option;

    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case 'N':
            connect.nodes = optarg;
            break;
        case 'D':
            connect.database = optarg;
            break;
        case 'w':
            wait = false;
            break;
        case 'h':
            fputs(usage, stdout);
            return CLI_OK;
        default:
            return CLI_USAGE;
        }
    }
    if (optind < argc)
        return cli_usage("scrub", "what is \"%s\"?", argv[optind]);
    return run(&connect, wait);
}
