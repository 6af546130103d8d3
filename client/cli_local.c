/*
 * cli_local.c - `millrace local`: bring a site on this machine up and down, kill and start nodes.
 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/cli.h"
#include "client/cli_site.h"
#include "client/cli_time.h"

static const char usage[] =
    "millrace local up      start a site of real nodes on loopback, wait until it takes writes\n"
    "millrace local status  which nodes run, and where they listen\n"
    "millrace local kill N  end node N at once, as a crash would (SIGKILL)\n"
    "millrace local start N start node N again\n"
    "millrace local down    stop all nodes safely (SIGTERM), wait until they are gone\n"
    "\n"
    "  --dir DIR          where the site is kept (default: ./millrace-local)\n"
    "  --nodes N          up: how many, 1 to 9 (default: 3); node 0 is the first\n"
    "  --base-port P      up: node N listens on P + 10 N: native, + 1 HTTP, + 2 peers, + 3 admin\n"
    "                     (default: 7400)\n"
    "  --shards S         up: only when the site is new (default: 4)\n"
    "  --workers W        up: threads of each node (default: 1)\n"
    "  --foreground       up: stay, and stop the nodes on Ctrl-C\n"
    "  --timeout SECONDS  up, start, down: give up after so long (default: 30)\n"
    "  --json             what is so now, as JSON on standard output\n"
    "\n"
    "millraced is taken from $MILLRACED, or from beside this program.\n"
    "\n"
    "Examples\n"
    "  millrace local up --nodes 3 --dir /tmp/site\n"
    "  millrace local kill 1 --dir /tmp/site && millrace status\n"
    "  millrace local start 1 --dir /tmp/site\n"
    "  millrace local down --dir /tmp/site\n"
    "\n" CLI_EXIT_HELP;

enum { LOG_TAIL = 2048, WAIT_MS = 50 };

struct arguments {
    const char *action;
    const char *dir;
    uint64_t nodes, shards, workers, base_port; /* 0: not given. */
    uint64_t timeout_s;
    uint64_t node; /* kill, start. */
    bool foreground, json;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

static int fail(void)
{
    return cli_error("local", CLI_FAILED, "%s", err_detail());
}

static void pause_ms(uint32_t ms)
{
    struct timespec pause = {.tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000};

    nanosleep(&pause, NULL);
}

/* ---- What is so ---------------------------------------------------------------------------- */

static void print_json(const struct cli_site *site, const char *addresses)
{
    json_t *nodes = json_array();
    json_t *json;
    char *text;

    for (uint32_t i = 0; i < site->nodes; i++) {
        int port = site->base_port + 10 * (int)i;
        pid_t pid = cli_site_pid(site, i);

        json_array_append_new(
            nodes, json_pack("{s:i, s:i, s:b, s:i, s:i, s:i, s:i, s:i}", "node", (int)i, "server",
                             (int)i + 1, "running", pid != 0, "pid", (int)pid, "native_port", port,
                             "http_port", port + 1, "peer_port", port + 2, "admin_port", port + 3));
    }
    json = json_pack("{s:s, s:s, s:i, s:o}", "dir", site->dir, "address", addresses, "shards",
                     (int)site->shards, "nodes", nodes);
    text = json_dumps(json, JSON_COMPACT);
    puts(text ? text : "{}");
    free(text);
    json_decref(json);
}

static void print_status(const struct cli_site *site, bool json)
{
    char addresses[CLI_SITE_PATH_MAX];

    cli_site_addresses(site, addresses);
    if (json) {
        print_json(site, addresses);
        return;
    }
    for (uint32_t i = 0; i < site->nodes; i++) {
        unsigned port = site->base_port + 10 * i;
        pid_t pid = cli_site_pid(site, i);

        if (pid)
            printf("node %u  running, pid %-8d native 127.0.0.1:%u  http 127.0.0.1:%u  admin "
                   "127.0.0.1:%u\n",
                   (unsigned)i, (int)pid, port, port + 1, port + 3);
        else
            printf("node %u  stopped\n", (unsigned)i);
    }
    printf("--node %s\n", addresses);
}

/* ---- Is it ready? -------------------------------------------------------------------------- */

/* Does each shard have a leader, as its own node says? */
static bool has_all_leaders(const json_t *nodes)
{
    const json_t *shards = json_object_get(json_array_get(nodes, 0), "shards");
    size_t count = json_array_size(shards), led = 0, at, i;
    const json_t *node, *shard;

    json_array_foreach(nodes, at, node)
    {
        json_int_t server = json_integer_value(json_object_get(node, "server"));

        json_array_foreach(json_object_get(node, "shards"), i, shard)
        {
            if (json_integer_value(json_object_get(shard, "leader")) == server)
                led++;
        }
    }
    return count > 0 && led >= count;
}

/* All `want` nodes answer and are ready, and all shards are led. */
static bool is_ready(const struct cli_site *site, uint32_t want)
{
    char addresses[CLI_SITE_PATH_MAX];
    struct millrace_options options = {.nodes = addresses, .timeout_ms = 1000};
    bool ready = false;
    struct millrace *m;
    char *text;

    cli_site_addresses(site, addresses);
    if (millrace_open(&options, &m) != MILLRACE_OK)
        return false;
    if (millrace_status(m, 1, &text) == MILLRACE_OK) {
        json_t *status = json_loads(text, 0, NULL);
        const json_t *nodes = json_object_get(status, "nodes"), *node;
        size_t at;

        ready = json_array_size(nodes) >= want && has_all_leaders(nodes);
        json_array_foreach(nodes, at, node)
        {
            if (json_is_false(json_object_get(node, "ready")))
                ready = false;
        }
        json_decref(status);
        free(text);
    }
    millrace_close(m);
    return ready;
}

static void show_log_tail(const struct cli_site *site, uint32_t node)
{
    char path[CLI_SITE_PATH_MAX], text[LOG_TAIL + 1];
    size_t size = 0;
    FILE *file;

    cli_site_path(site, node, "millraced.log", path);
    file = fopen(path, "re");
    if (file) {
        if (fseek(file, -LOG_TAIL, SEEK_END) != 0)
            rewind(file);
        size = fread(text, 1, LOG_TAIL, file);
        fclose(file);
    }
    text[size] = '\0';
    fprintf(stderr, "--- the end of %s\n%s", path, text);
}

/* Wait until the `running` nodes are ready. A node that ends meanwhile is shown with its log. */
static int wait_ready(const struct cli_site *site, const bool running[CLI_SITE_NODES_MAX],
                      uint64_t timeout_s)
{
    int64_t start_ns = cli_time_now_ns();
    uint64_t waited_s = 0;
    uint32_t want = 0;
    bool progress = cli_colours(stderr);

    for (uint32_t i = 0; i < site->nodes; i++)
        want += running[i];
    while (!is_ready(site, want)) {
        for (uint32_t i = 0; i < site->nodes; i++) {
            if (running[i] && cli_site_pid(site, i) == 0) {
                show_log_tail(site, i);
                return cli_error("local", CLI_FAILED, "node %u ended", (unsigned)i);
            }
        }
        if (interrupted)
            return cli_error("local", CLI_FAILED, "interrupted; the nodes go on");
        waited_s = (uint64_t)(cli_time_now_ns() - start_ns) / 1000000000;
        if (waited_s >= timeout_s) {
            for (uint32_t i = 0; i < site->nodes; i++)
                show_log_tail(site, i);
            return cli_error("local", CLI_FAILED,
                             "not all shards have a leader after %" PRIu64 " s; the nodes go on",
                             timeout_s);
        }
        if (progress)
            fprintf(stderr, "\rwaiting for leaders, %" PRIu64 " s", waited_s);
        pause_ms(WAIT_MS);
    }
    if (progress)
        fputs("\r\033[K", stderr);
    return CLI_OK;
}

/* ---- Actions ------------------------------------------------------------------------------- */

static int stop_all(const struct cli_site *site, uint64_t timeout_s)
{
    int code = CLI_OK;

    for (uint32_t i = 0; i < site->nodes; i++) {
        if (cli_site_pid(site, i) != 0 && cli_site_signal(site, i, SIGTERM) != ERR_OK)
            code = fail();
    }
    for (uint32_t i = 0; i < site->nodes; i++) {
        if (!cli_site_wait_gone(site, i, (uint32_t)timeout_s * 1000))
            code = cli_error("local", CLI_FAILED,
                             "node %u (pid %d) still runs after %" PRIu64
                             " s; millrace local kill %u ends it",
                             (unsigned)i, (int)cli_site_pid(site, i), timeout_s, (unsigned)i);
    }
    return code;
}

static int stay(const struct cli_site *site, uint64_t timeout_s)
{
    fprintf(stderr, "the nodes run; Ctrl-C stops them\n");
    while (!interrupted) {
        for (uint32_t i = 0; i < site->nodes; i++)
            (void)cli_site_pid(site, i); /* Takes the remains of those that ended. */
        pause_ms(WAIT_MS * 4);
    }
    return stop_all(site, timeout_s);
}

/* What was asked for now, what the directory says, and defaults. */
static int settle(struct cli_site *site, const struct arguments *arguments)
{
    enum err err = cli_site_load(site);

    if (err == ERR_NOT_FOUND) {
        site->nodes = arguments->nodes ? (uint32_t)arguments->nodes : 3;
        site->shards = arguments->shards ? (uint32_t)arguments->shards : 4;
        site->base_port = arguments->base_port ? (uint16_t)arguments->base_port : 7400;
        site->workers = 1;
    } else if (err != ERR_OK) {
        return fail();
    } else if ((arguments->nodes && arguments->nodes != site->nodes) ||
               (arguments->shards && arguments->shards != site->shards) ||
               (arguments->base_port && arguments->base_port != site->base_port)) {
        return cli_error("local", CLI_FAILED,
                         "the site in %s has %u nodes, %u shards and base port %u: remove the "
                         "directory for another one",
                         site->dir, (unsigned)site->nodes, (unsigned)site->shards,
                         (unsigned)site->base_port);
    }
    if (arguments->workers)
        site->workers = (uint32_t)arguments->workers;
    if (site->base_port + 10 * site->nodes > UINT16_MAX)
        return cli_error("local", CLI_USAGE, "--base-port %u leaves no room for %u nodes",
                         (unsigned)site->base_port, (unsigned)site->nodes);
    return cli_site_save(site) == ERR_OK ? CLI_OK : fail();
}

static int up(struct cli_site *site, const struct arguments *arguments)
{
    bool running[CLI_SITE_NODES_MAX] = {false};
    int code = settle(site, arguments);

    for (uint32_t i = 0; code == CLI_OK && i < site->nodes; i++) {
        enum err err = cli_site_start(site, i);

        running[i] = true;
        if (err != ERR_OK && err != ERR_BUSY)
            code = fail();
    }
    if (code == CLI_OK)
        code = wait_ready(site, running, arguments->timeout_s);
    if (code != CLI_OK)
        return code;
    if (!arguments->json)
        printf("%u nodes are up, all %u shards have a leader\n", (unsigned)site->nodes,
               (unsigned)site->shards);
    print_status(site, arguments->json);
    fflush(stdout);
    return arguments->foreground ? stay(site, arguments->timeout_s) : CLI_OK;
}

static int start_one(const struct cli_site *site, const struct arguments *arguments)
{
    bool running[CLI_SITE_NODES_MAX] = {false};
    int code;

    if (cli_site_start(site, (uint32_t)arguments->node) != ERR_OK)
        return fail();
    for (uint32_t i = 0; i < site->nodes; i++)
        running[i] = cli_site_pid(site, i) != 0;
    running[arguments->node] = true;
    code = wait_ready(site, running, arguments->timeout_s);
    if (code == CLI_OK)
        print_status(site, arguments->json);
    return code;
}

static int kill_one(const struct cli_site *site, const struct arguments *arguments)
{
    if (cli_site_signal(site, (uint32_t)arguments->node, SIGKILL) != ERR_OK)
        return fail();
    if (!cli_site_wait_gone(site, (uint32_t)arguments->node, 10000))
        return cli_error("local", CLI_FAILED, "node %u still runs", (unsigned)arguments->node);
    print_status(site, arguments->json);
    return CLI_OK;
}

static int run(struct cli_site *site, const struct arguments *arguments)
{
    bool one = strcmp(arguments->action, "kill") == 0 || strcmp(arguments->action, "start") == 0;
    int code;

    if (strcmp(arguments->action, "up") == 0)
        return up(site, arguments);
    if (cli_site_load(site) != ERR_OK)
        return fail();
    if (one && arguments->node >= site->nodes)
        return cli_usage("local", "there is no node %" PRIu64 ": the site has 0 to %u",
                         arguments->node, (unsigned)site->nodes - 1);
    if (strcmp(arguments->action, "kill") == 0)
        return kill_one(site, arguments);
    if (strcmp(arguments->action, "start") == 0)
        return start_one(site, arguments);
    if (strcmp(arguments->action, "down") == 0) {
        code = stop_all(site, arguments->timeout_s);
        print_status(site, arguments->json);
        return code;
    }
    print_status(site, arguments->json);
    return CLI_OK;
}

/* ---- Options ------------------------------------------------------------------------------- */

/* What stands behind the options: an action, and a node for two of them. */
static int parse_action(int argc, char **argv, struct arguments *arguments)
{
    static const char *const actions[] = {"up", "down", "status", "kill", "start"};
    bool known = false;

    if (optind >= argc)
        return cli_usage("local", "want up, down, status, kill N or start N");
    arguments->action = argv[optind++];
    for (size_t i = 0; i < sizeof actions / sizeof *actions; i++)
        known |= strcmp(arguments->action, actions[i]) == 0;
    if (!known)
        return cli_usage("local", "\"%s\": want up, down, status, kill N or start N",
                         arguments->action);
    if (strcmp(arguments->action, "kill") == 0 || strcmp(arguments->action, "start") == 0) {
        if (optind >= argc || !cli_number(argv[optind], 0, CLI_SITE_NODES_MAX, &arguments->node))
            return cli_usage("local", "%s wants the number of a node, from 0", arguments->action);
        optind++;
    }
    if (optind < argc)
        return cli_usage("local", "what is \"%s\"?", argv[optind]);
    return CLI_OK;
}

int cli_local(int argc, char **argv)
{
    static const struct option options[] = {
        {"dir", required_argument, NULL, 'd'},
        {"nodes", required_argument, NULL, 'n'},
        {"base-port", required_argument, NULL, 'p'},
        {"shards", required_argument, NULL, 's'},
        {"workers", required_argument, NULL, 'w'},
        {"timeout", required_argument, NULL, 't'},
        {"foreground", no_argument, NULL, 'f'},
        {"json", no_argument, NULL, 'j'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    struct sigaction action = {.sa_handler = on_signal};
    struct arguments arguments = {.dir = "millrace-local", .timeout_s = 30};
    struct cli_site site = {0};
    int option, at, code;
    bool good = true;

    while ((option = getopt_long(argc, argv, "h", options, &at)) != -1) {
        if (option == 'd')
            arguments.dir = optarg;
        else if (option == 'n')
            good = cli_number(optarg, 1, CLI_SITE_NODES_MAX, &arguments.nodes);
        else if (option == 'p')
            good = cli_number(optarg, 1024, UINT16_MAX, &arguments.base_port);
        else if (option == 's')
            good = cli_number(optarg, 1, 1024, &arguments.shards);
        else if (option == 'w')
            good = cli_number(optarg, 1, 64, &arguments.workers);
        else if (option == 't')
            good = cli_number(optarg, 1, 3600, &arguments.timeout_s);
        else if (option == 'f')
            arguments.foreground = true;
        else if (option == 'j')
            arguments.json = true;
        else if (option == 'h')
            return fputs(usage, stdout) < 0 ? CLI_FAILED : CLI_OK;
        else
            return CLI_USAGE;
        if (!good)
            return cli_usage("local", "--%s %s: out of range", options[at].name, optarg);
    }
    code = parse_action(argc, argv, &arguments);
    if (code != CLI_OK)
        return code;
    if (cli_site_init(&site, arguments.dir) != ERR_OK)
        return fail();
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    return run(&site, &arguments);
}
