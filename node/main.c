/*
 * millraced: the node. Reads its options, runs a node until a signal, and stops it safely.
 *
 * Signals   SIGTERM, SIGINT: safe stop (leadership handed over first). SIGUSR1: stop and start in
 *           the same process (node/rejoin.h sends it). SIGPIPE: ignored.
 * Exit      0 stopped; 1 could not start; 2 wrong options; 70 broken invariant; 74 the log's disk
 *           failed
 */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "node/node.h"
#include "node/options.h"
#include "storage/base/cpu.h"
#include "storage/base/log_line.h"
#include "storage/base/turnstile.h"

enum { EXIT_USAGE = 2, SETS_MAX = 64 };

/* Read by jemalloc: memory that nobody needs goes back to the system also where nobody asks for
 * any. */
extern const char *malloc_conf;
const char *malloc_conf = "background_thread:true,max_background_threads:1";

static const char usage[] =
    "millraced " MILLRACE_VERSION_TEXT ": one node of a Millrace site\n"
    "\n"
    "  millraced --config FILE             run the node that FILE describes\n"
    "  millraced --dev DIR                 one node on loopback with its data in DIR\n"
    "\n"
    "  --set SECTION.KEY=VALUE   override a setting (again and again)\n"
    "  --rejoin                  the disk is new, or its log is gone: begin again from the other "
    "nodes\n"
    "  --check                   check the configuration, run nothing\n"
    "  --print-config            print all settings in force, with unit, range and default\n"
    "  --version, --help\n"
    "\n"
    "Settings: command line > environment (MILLRACE_SECTION_KEY) > file > default.\n"
    "SIGTERM stops the node safely: its shards are led by others before it goes.\n"
    "\n"
    "Examples\n"
    "  millraced --dev /tmp/millrace\n"
    "  millraced --config /etc/millrace/millraced.yaml --check\n"
    "  millraced --config node.yaml --set workers=2 --set listen.http_port=8086\n"
    "\n"
    "Exit codes: 0 stopped, 1 could not start, 2 wrong options, 70 broken invariant, 74 log disk "
    "failed\n";

struct arguments {
    const char *config;
    const char *dev;
    const char *sets[SETS_MAX];
    size_t set_count;
    bool rejoin;
    bool check;
    bool print;
};

static int wrong(const char *what, const char *which)
{
    fprintf(stderr, "millraced: %s%s; millraced --help lists the options\n", what, which);
    return EXIT_USAGE;
}

/* -1: go on; otherwise the exit code. */
static int parse(int argc, char **argv, struct arguments *arguments)
{
    static const struct option options[] = {
        {"config", required_argument, NULL, 'c'},
        {"dev", required_argument, NULL, 'd'},
        {"set", required_argument, NULL, 's'},
        {"check", no_argument, NULL, 'k'},
        {"print-config", no_argument, NULL, 'p'},
        {"version", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {"rejoin", no_argument, NULL, 'r'},
        {NULL, 0, NULL, 0},
    };
    int option;

    while ((option = getopt_long(argc, argv, "c:h", options, NULL)) != -1) {
        switch (option) {
        case 'c':
            arguments->config = optarg;
            break;
        case 'd':
            arguments->dev = optarg;
            break;
        case 's':
            if (arguments->set_count == SETS_MAX)
                return wrong("too many --set", "");
            arguments->sets[arguments->set_count++] = optarg;
            break;
        case 'r':
            arguments->rejoin = true;
            break;
        case 'k':
            arguments->check = true;
            break;
        case 'p':
            arguments->print = true;
            break;
        case 'v':
            puts("millraced " MILLRACE_VERSION_TEXT);
            return 0;
        case 'h':
            fputs(usage, stdout);
            return 0;
        default:
            return EXIT_USAGE; /* getopt has said what. */
        }
    }
    if (optind < argc)
        return wrong("what is this: ", argv[optind]);
    if ((arguments->config == NULL) == (arguments->dev == NULL))
        return wrong("give either --config FILE or --dev DIR", "");
    return -1;
}

/* Tell systemd, if it asked to be told. */
static void notify(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd;

    if (path == NULL || strlen(path) >= sizeof address.sun_path)
        return;
    memcpy(address.sun_path, path, strlen(path));
    if (address.sun_path[0] == '@')
        address.sun_path[0] = '\0';
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (sendto(fd, state, strlen(state), MSG_NOSIGNAL, (const struct sockaddr *)&address,
               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))) < 0)
        log_warn("telling systemd \"%s\": %s", state, strerror(errno));
    (void)close(fd);
}

/* Blocked here, before any thread is made, so that sigwait() alone sees them. */
static void take_signals(sigset_t *ret_signals)
{
    (void)sigemptyset(ret_signals);
    (void)sigaddset(ret_signals, SIGTERM);
    (void)sigaddset(ret_signals, SIGINT);
    (void)sigaddset(ret_signals, SIGUSR1);
    (void)pthread_sigmask(SIG_BLOCK, ret_signals, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
}

/* From a start to a stop. *ret_again: it is to start again. */
static int run_once(const struct options *options, bool rejoin, const sigset_t *signals,
                    bool *ret_again)
{
    static struct node *node; /* Static: a failed start leaves it for the process' end. */
    int got = 0;
    enum err err = node_start(options, rejoin, &node);

    if (err != ERR_OK) {
        log_error("millraced " MILLRACE_VERSION_TEXT " does not start: %s: %s", err_name(err),
                  err_detail());
        return EXIT_FAILURE;
    }
    log_info(
        "millraced " MILLRACE_VERSION_TEXT " runs: node %llu of \"%s\", %u shards, %u workers, "
        "native %s:%u, http %u, peers %u, admin %u, %s instructions",
        (unsigned long long)node->server, options->cluster.id, node->shards, node->worker_count,
        options->listen.host, options->listen.native_port, options->listen.http_port,
        options->listen.peer_port, options->listen.admin_port, cpu_level_name(cpu_level()));
    notify("READY=1");
    do
        (void)sigwait(signals, &got);
    while (got == SIGUSR1 && !atomic_load(&node->again));
    *ret_again = got == SIGUSR1;
    log_info("stops%s%s", *ret_again ? " to start again" : " on ",
             *ret_again ? "" : strsignal(got));
    if (!*ret_again)
        notify("STOPPING=1");
    node_stop(node);
    log_info("stopped");
    return EXIT_SUCCESS;
}

static int run(const struct options *options, bool rejoin)
{
    char threads[16];
    sigset_t signals;
    bool again;
    int code;

    take_signals(&signals);
    /* One more for when a long job steps aside. */
    (void)snprintf(threads, sizeof threads, "%u", options->pool_threads + 1);
    turnstile_open(options->pool_threads);
    (void)setenv("UV_THREADPOOL_SIZE", threads, 1);
    do {
        again = false;
        code = run_once(options, rejoin, &signals, &again);
        rejoin = false;
    } while (again);
    return code;
}

int main(int argc, char **argv)
{
    static struct options options;
    struct arguments arguments = {0};
    int code = parse(argc, argv, &arguments);
    enum err err;

    if (code >= 0)
        return code;
    err = options_load(&options, arguments.config, arguments.dev, arguments.sets,
                       arguments.set_count);
    if (err != ERR_OK) {
        fprintf(stderr, "millraced: %s\n", err_detail());
        return EXIT_USAGE;
    }
    if (arguments.print)
        return options_print(&options, stdout) == ERR_OK ? EXIT_SUCCESS : EXIT_FAILURE;
    if (arguments.check) {
        puts("the configuration is good");
        return EXIT_SUCCESS;
    }
    log_line_set_level(options.log_level);
    return run(&options, arguments.rejoin);
}
