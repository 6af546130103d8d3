/*
 * cli_collect.c - `millrace collect`: sample this machine at fixed times and store the rows.
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "client/cli.h"
#include "client/cli_proc.h"
#include "client/cli_time.h"

static const char usage[] =
    "millrace collect [options]             measure this machine and store what it does\n"
    "\n" CLI_CONNECT_HELP
    "  --every DURATION        time between samples (default: 1s; at least 10ms)\n"
    "  --duration DURATION     end after this (default: never; Ctrl-C ends it well)\n"
    "  --tables NAME[,...]     of cpu, mem, system, diskio, net, pressure (default: all)\n"
    "  --host NAME             value of the tag host (default: this machine's name)\n"
    "  --json                  the summary as JSON on standard output\n"
    "\n"
    "Tables and fields are named as Telegraf names them. While the site cannot be reached, "
    "samples\n"
    "are kept in memory (16 MiB at most), then dropped and counted.\n"
    "\n"
    "Examples\n"
    "  millrace collect --every 100ms --duration 10m\n"
    "  millrace collect --node 10.0.0.1:7400 --tables cpu,mem\n"
    "\n" CLI_EXIT_HELP;

#define EVERY_MIN_NS INT64_C(10000000)
#define SECOND_NS    INT64_C(1000000000)

enum { TEXT_MAX = 256 * 1024, BYTES_MAX = 16 * 1024 * 1024, FLUSH_MS = 30000 };

enum { TABLE_CPU, TABLE_MEM, TABLE_SYSTEM, TABLE_DISKIO, TABLE_NET, TABLE_PRESSURE, TABLES };
static const char *const table_names[TABLES] = {"cpu",    "mem", "system",
                                                "diskio", "net", "pressure"};

struct collector {
    struct millrace *m;
    const char *host;
    unsigned tables; /* A bit for each that is wanted. */
    int64_t time_ns; /* Of the sample. */
    uint64_t samples, dropped;
    bool told; /* A failure was told, and has not passed yet. */
    char *text;
    struct cli_proc_cpus cpus;
};

static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    interrupted = number;
}

/* ---- One sample ---------------------------------------------------------------------------- */

static void write_row(void *ctx, const struct cli_proc_row *row)
{
    struct collector *collector = ctx;
    struct millrace_tag tags[3] = {{"host", collector->host}};
    enum millrace_code code;
    uint32_t series;

    for (size_t i = 0; i < row->tag_count; i++)
        tags[i + 1] = row->tags[i];
    code = millrace_series(collector->m, row->table, tags, row->tag_count + 1, &series);
    if (code == MILLRACE_OK)
        code =
            millrace_write(collector->m, series, collector->time_ns, row->values, row->value_count);
    if (code == MILLRACE_OK) {
        collector->told = false;
        return;
    }
    collector->dropped++;
    if (!collector->told)
        cli_failed("collect", collector->m, code);
    collector->told = true;
}

/* The whole of a small file as text; "" if it cannot be read (not every kernel has each). */
static const char *read_text(struct collector *collector, const char *path)
{
    FILE *file = fopen(path, "re");
    size_t size = 0;

    if (file) {
        size = fread(collector->text, 1, TEXT_MAX - 1, file);
        fclose(file);
    }
    collector->text[size] = '\0';
    return collector->text;
}

static bool wants(const struct collector *collector, unsigned table)
{
    return (collector->tables >> table & 1) != 0;
}

static void sample(struct collector *collector)
{
    static const char *const resources[] = {"cpu", "io", "memory"};
    char path[64], loadavg[256];

    if (wants(collector, TABLE_CPU))
        cli_proc_cpu(read_text(collector, "/proc/stat"), &collector->cpus, write_row, collector);
    if (wants(collector, TABLE_MEM))
        cli_proc_mem(read_text(collector, "/proc/meminfo"), write_row, collector);
    if (wants(collector, TABLE_SYSTEM)) {
        snprintf(loadavg, sizeof loadavg, "%s", read_text(collector, "/proc/loadavg"));
        cli_proc_system(loadavg, read_text(collector, "/proc/uptime"),
                        (int)sysconf(_SC_NPROCESSORS_ONLN), write_row, collector);
    }
    if (wants(collector, TABLE_DISKIO))
        cli_proc_diskio(read_text(collector, "/proc/diskstats"), write_row, collector);
    if (wants(collector, TABLE_NET))
        cli_proc_net(read_text(collector, "/proc/net/dev"), write_row, collector);
    for (size_t i = 0; wants(collector, TABLE_PRESSURE) && i < 3; i++) {
        snprintf(path, sizeof path, "/proc/pressure/%s", resources[i]);
        cli_proc_pressure(read_text(collector, path), resources[i], write_row, collector);
    }
    collector->samples++;
}

/* ---- All of them --------------------------------------------------------------------------- */

/* Sleep until `time_ns` of the wall clock, so that samples fall on round times. */
static void sleep_until(int64_t time_ns)
{
    struct timespec until = {.tv_sec = (time_t)(time_ns / SECOND_NS),
                             .tv_nsec = (long)(time_ns % SECOND_NS)};

    /* A signal ends the sleep early, and the loop then looks at `interrupted`. */
    clock_nanosleep(CLOCK_REALTIME, TIMER_ABSTIME, &until, NULL);
}

static void collect(struct collector *collector, int64_t every_ns, int64_t duration_ns)
{
    int64_t start_ns = cli_time_now_ns();
    int64_t next_ns = start_ns - start_ns % every_ns + every_ns;
    bool progress = cli_colours(stderr);
    struct millrace_counts counts;

    if (wants(collector, TABLE_CPU)) /* What the first sample is compared with. */
        cli_proc_cpu(read_text(collector, "/proc/stat"), &collector->cpus, write_row, collector);
    while (!interrupted && (duration_ns == 0 || next_ns - start_ns <= duration_ns)) {
        sleep_until(next_ns);
        if (interrupted)
            break;
        collector->time_ns = next_ns;
        sample(collector);
        /* After a pause (suspend, a stopped clock) go on at the next round time. */
        next_ns += every_ns;
        if (next_ns < cli_time_now_ns()) {
            int64_t now_ns = cli_time_now_ns();

            next_ns = now_ns - now_ns % every_ns + every_ns;
        }
        if (progress) {
            millrace_counts(collector->m, &counts);
            fprintf(stderr, "\r%" PRIu64 " samples, %" PRIu64 " rows stored, %" PRIu64 " waiting ",
                    collector->samples, counts.rows_acknowledged,
                    counts.rows_written - counts.rows_acknowledged - counts.rows_failed);
        }
    }
    if (progress)
        fputs("\r\033[K", stderr);
}

static int finish(struct collector *collector, bool json)
{
    enum millrace_code flushed = millrace_flush(collector->m, FLUSH_MS);
    struct millrace_counts counts;
    int code = CLI_OK;

    if (flushed != MILLRACE_OK)
        code = cli_failed("collect", collector->m, flushed);
    millrace_counts(collector->m, &counts);
    if (json)
        printf("{\"samples\":%" PRIu64 ",\"rows\":%" PRIu64 ",\"points\":%" PRIu64
               ",\"dropped\":%" PRIu64 "}\n",
               collector->samples, counts.rows_acknowledged, counts.points_acknowledged,
               collector->dropped + counts.rows_failed);
    else
        fprintf(stderr, "%" PRIu64 " samples: %" PRIu64 " rows (%" PRIu64 " points) stored\n",
                collector->samples, counts.rows_acknowledged, counts.points_acknowledged);
    if (collector->dropped > 0)
        code =
            cli_error("collect", CLI_FAILED, "%" PRIu64 " rows were dropped", collector->dropped);
    return code;
}

/* "cpu,mem" */
static bool parse_tables(const char *text, unsigned *ret_tables)
{
    unsigned tables = 0;

    while (*text != '\0') {
        size_t size = strcspn(text, ",");
        unsigned found = TABLES;

        for (unsigned i = 0; i < TABLES; i++) {
            if (strlen(table_names[i]) == size && memcmp(table_names[i], text, size) == 0)
                found = i;
        }
        if (found == TABLES)
            return false;
        tables |= 1u << found;
        text += size + (text[size] == ',');
    }
    *ret_tables = tables;
    return tables != 0;
}

static int run(const struct millrace_options *connect, struct collector *collector,
               int64_t every_ns, int64_t duration_ns, bool json)
{
    struct sigaction action = {.sa_handler = on_signal};
    char name[256] = "localhost";
    int code;

    gethostname(name, sizeof name - 1);
    if (!collector->host)
        collector->host = name;
    collector->text = malloc(TEXT_MAX);
    if (!collector->text)
        return cli_error("collect", CLI_FAILED, "no memory");
    code = cli_open("collect", connect, &collector->m);
    if (code == CLI_OK) {
        sigaction(SIGINT, &action, NULL);
        sigaction(SIGTERM, &action, NULL);
        collect(collector, every_ns, duration_ns);
        code = finish(collector, json);
        millrace_close(collector->m);
    }
    free(collector->text);
    return code;
}

int cli_collect(int argc, char **argv)
{
    static const struct option options[] = {CLI_CONNECT_OPTIONS,
                                            {"every", required_argument, NULL, 'e'},
                                            {"duration", required_argument, NULL, 'd'},
                                            {"tables", required_argument, NULL, 't'},
                                            {"host", required_argument, NULL, 'o'},
                                            {"json", no_argument, NULL, 'j'},
                                            {"help", no_argument, NULL, 'h'},
                                            {0}};
    static struct collector collector = {.tables = (1u << TABLES) - 1};
    struct millrace_options connect = {.bytes_max = BYTES_MAX, .linger_ms = 200, .nonblocking = 1};
    int64_t every_ns = SECOND_NS, duration_ns = 0;
    bool json = false;
    int option;

    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        if (option == 'N')
            connect.nodes = optarg;
        else if (option == 'D')
            connect.database = optarg;
        else if (option == 'o')
            collector.host = optarg;
        else if (option == 'j')
            json = true;
        else if (option == 'h')
            return fputs(usage, stdout) < 0 ? CLI_FAILED : CLI_OK;
        else if (option == 'e' &&
                 (!cli_time_parse_duration(optarg, &every_ns) || every_ns < EVERY_MIN_NS))
            return cli_usage("collect", "--every %s: want a duration of 10ms or more", optarg);
        else if (option == 'd' && !cli_time_parse_duration(optarg, &duration_ns))
            return cli_usage("collect", "--duration %s: want a duration such as 10m", optarg);
        else if (option == 't' && !parse_tables(optarg, &collector.tables))
            return cli_usage("collect",
                             "--tables %s: want some of cpu, mem, system, diskio, net, "
                             "pressure",
                             optarg);
        else if (option == '?')
            return CLI_USAGE;
    }
    if (optind < argc)
        return cli_usage("collect", "what is \"%s\"?", argv[optind]);
    return run(&connect, &collector, every_ns, duration_ns, json);
}
