#include "loadgen/plan.h"

#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_USAGE = 2 };

static const char usage[] =
    "millrace-loadgen " MILLRACE_VERSION_TEXT ": load a Millrace site, and prove what it kept\n"
    "\n"
    "  --nodes HOST:PORT,...       native ports of the nodes       [MILLRACE_NODE, "
    "127.0.0.1:7400]\n"
    "  --db NAME                   database                        [default]\n"
    "  --protocol native|http      blocks by libmillrace, or line protocol over HTTP    [native]\n"
    "  --workload random|rows|tsbs|replay FILE                     [rows]\n"
    "        random   rows of series in random order\n"
    "        rows     every series in turn, like devices that report at an interval\n"
    "        tsbs     as the cpu-only case of the Time Series Benchmark Suite: 10 tags, 10 "
    "integers\n"
    "        replay   the lines of FILE, once (no --verify)\n"
    "  --series N                  series of all connections       [100000]\n"
    "  --fields N                  fields of a row                 [10]\n"
    "  --batch N                   rows of a request               [10000]\n"
    "  --connections N             each writes its own series      [2]\n"
    "  --rate N                    rows/s in all; 0: as fast as acknowledged    [0]\n"
    "  --duration SECONDS                                          [10]\n"
    "  --seed N                    same seed, same series and values    [1]\n"
    "  --verify                    read everything back; name what is missing, doubled or "
    "invented\n"
    "  --json FILE                 write the summary as JSON (- for standard output)\n"
    "  --quiet                     no line each second\n"
    "  --help, --version\n"
    "\n"
    "Latency is from the first row of a request to its answer; with --rate from the time at which "
    "the\n"
    "row was due. --verify takes rows of other writers in the same seconds for doubled ones.\n"
    "\n"
    "Examples\n"
    "  millrace-loadgen --duration 5 --verify\n"
    "  millrace-loadgen --protocol http --workload tsbs --connections 4\n"
    "  millrace-loadgen --rate 50000 --batch 100 --json result.json\n"
    "\n"
    "Exit codes: 0 good, 1 rows are missing, doubled or invented, or nothing was acknowledged,\n"
    "            2 wrong options, 3 no node was reached\n";

const char *plan_workload_name(enum plan_workload workload)
{
    static const char *const names[] = {"random", "rows", "tsbs", "replay"};

    return names[workload];
}

static int wrong(const char *option, const char *value, const char *allowed)
{
    fprintf(stderr, "millrace-loadgen: --%s %s: %s; --help lists the options\n", option, value,
            allowed);
    return EXIT_USAGE;
}

static bool number(const char *text, uint64_t min, uint64_t max, uint64_t *ret_number)
{
    unsigned long long value;
    char *end;

    errno = 0;
    value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || text[0] == '-' || value < min || value > max)
        return false;
    *ret_number = value;
    return true;
}

static bool number32(const char *text, uint32_t min, uint32_t max, uint32_t *ret_number)
{
    uint64_t value;

    if (!number(text, min, max, &value))
        return false;
    *ret_number = (uint32_t)value;
    return true;
}

static bool workload(const char *text, enum plan_workload *ret_workload)
{
    for (int i = WORKLOAD_RANDOM; i <= WORKLOAD_REPLAY; i++) {
        if (strcmp(text, plan_workload_name((enum plan_workload)i)) == 0) {
            *ret_workload = (enum plan_workload)i;
            return true;
        }
    }
    return false;
}

static bool seconds(const char *text, double *ret_seconds)
{
    char *end;
    double value = strtod(text, &end);

    if (end == text || *end != '\0' || !(value > 0) || value > 86400)
        return false;
    *ret_seconds = value;
    return true;
}

static int take(struct plan *plan, int option, const char *value)
{
    switch (option) {
    case 'n':
        plan->nodes = value;
        return -1;
    case 'D':
        plan->database = value;
        return -1;
    case 'p':
        plan->http = strcmp(value, "http") == 0;
        return plan->http || strcmp(value, "native") == 0
                   ? -1
                   : wrong("protocol", value, "native or http");
    case 'w':
        return workload(value, &plan->workload)
                   ? -1
                   : wrong("workload", value, "random, rows, tsbs or replay FILE");
    case 's':
        return number32(value, 1, 100000000, &plan->series)
                   ? -1
                   : wrong("series", value, "1 to 100000000");
    case 'f':
        return number32(value, 1, PLAN_FIELDS_MAX, &plan->fields)
                   ? -1
                   : wrong("fields", value, "1 to 256");
    case 'b':
        return number32(value, 1, 1000000, &plan->batch) ? -1
                                                         : wrong("batch", value, "1 to 1000000");
    case 'c':
        return number32(value, 1, PLAN_CONNECTIONS_MAX, &plan->connections)
                   ? -1
                   : wrong("connections", value, "1 to 256");
    case 'r':
        return number(value, 0, 1000000000, &plan->rate) ? -1
                                                         : wrong("rate", value, "0 to 1000000000");
    case 'd':
        return seconds(value, &plan->duration_s) ? -1
                                                 : wrong("duration", value, "above 0, to 86400");
    case 'S':
        return number(value, 0, UINT64_MAX, &plan->seed) ? -1
                                                         : wrong("seed", value, "a whole number");
    default:
        return EXIT_USAGE;
    }
}

static const struct option options[] = {
    {"nodes", required_argument, NULL, 'n'},
    {"node", required_argument, NULL, 'n'},
    {"db", required_argument, NULL, 'D'},
    {"protocol", required_argument, NULL, 'p'},
    {"workload", required_argument, NULL, 'w'},
    {"series", required_argument, NULL, 's'},
    {"fields", required_argument, NULL, 'f'},
    {"batch", required_argument, NULL, 'b'},
    {"connections", required_argument, NULL, 'c'},
    {"rate", required_argument, NULL, 'r'},
    {"duration", required_argument, NULL, 'd'},
    {"seed", required_argument, NULL, 'S'},
    {"verify", no_argument, NULL, 'V'},
    {"json", required_argument, NULL, 'j'},
    {"quiet", no_argument, NULL, 'q'},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'v'},
    {NULL, 0, NULL, 0},
};

static int finish(struct plan *plan, int argc, char **argv)
{
    if (plan->workload == WORKLOAD_REPLAY && optind < argc)
        plan->replay = argv[optind++];
    if (plan->workload == WORKLOAD_REPLAY && plan->replay == NULL)
        return wrong("workload", "replay", "needs the name of a file");
    if (plan->workload == WORKLOAD_REPLAY && plan->verify)
        return wrong("verify", "", "goes with workloads that are generated, not with replay");
    if (optind < argc)
        return wrong("", argv[optind], "is not an option");
    if (plan->workload == WORKLOAD_TSBS)
        plan->fields = 10;
    if (plan->series < plan->connections)
        plan->series = plan->connections;
    return -1;
}

int plan_parse(int argc, char **argv, struct plan *ret_plan)
{
    struct plan plan = {.nodes = getenv("MILLRACE_NODE"),
                        .database = "default",
                        .workload = WORKLOAD_ROWS,
                        .series = 100000,
                        .fields = 10,
                        .batch = 10000,
                        .connections = 2,
                        .duration_s = 10,
                        .seed = 1};
    int option, code;

    if (plan.nodes == NULL || plan.nodes[0] == '\0')
        plan.nodes = "127.0.0.1:7400";
    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case 'V':
            plan.verify = true;
            break;
        case 'q':
            plan.quiet = true;
            break;
        case 'j':
            plan.json = optarg;
            break;
        case 'h':
            fputs(usage, stdout);
            return 0;
        case 'v':
            puts("millrace-loadgen " MILLRACE_VERSION_TEXT);
            return 0;
        default:
            code = take(&plan, option, optarg);
            if (code >= 0)
                return code;
        }
    }
    code = finish(&plan, argc, argv);
    if (code < 0)
        *ret_plan = plan;
    return code;
}
