/*
 * millrace-loadgen: write generated rows as fast as they are acknowledged, or at a rate; then read
 * everything back and compare. plan.c has the options, docs/operations.md an introduction.
 */
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "loadgen/run.h"
#include "storage/base/clk.h"

enum { EXIT_FAULTS = 1, EXIT_UNREACHED = 3, SPIN_NS = 50000 };

/* ---- What writers share -------------------------------------------------------------------- */

void run_error(struct run_writer *writer, enum millrace_code code, const char *text)
{
    int at = (int)code < RUN_CODES ? (int)code : RUN_CODES - 1;

    atomic_fetch_add_explicit(&writer->errors[at], 1, memory_order_relaxed);
    (void)pthread_mutex_lock(&writer->text_lock);
    (void)snprintf(writer->text, sizeof writer->text, "%s", text);
    (void)pthread_mutex_unlock(&writer->text_lock);
}

uint64_t run_due_ns(const struct run_writer *writer, uint64_t row)
{
    const struct run *run = writer->run;

    if (run->plan.rate == 0)
        return 0;
    return run->start_ns +
           (uint64_t)((double)row * 1e9 * run->plan.connections / (double)run->plan.rate);
}

bool run_pace(const struct run_writer *writer, uint64_t row)
{
    const struct run *run = writer->run;
    uint64_t due_ns = run_due_ns(writer, row);
    uint64_t now_ns = clk_now_ns();

    while (now_ns < due_ns && due_ns < run->end_ns &&
           !atomic_load_explicit(&run->stop, memory_order_relaxed)) {
        uint64_t wait_ns = due_ns - now_ns;

        if (wait_ns > SPIN_NS) {
            struct timespec pause = {.tv_sec = 0,
                                     .tv_nsec = wait_ns > 100000000 ? 100000000 : (long)wait_ns};

            (void)nanosleep(&pause, NULL);
        }
        now_ns = clk_now_ns();
    }
    return now_ns < run->end_ns && due_ns < run->end_ns &&
           !atomic_load_explicit(&run->stop, memory_order_relaxed);
}

size_t run_replay(struct run *run, const char **ret_text)
{
    const char *at;
    uint32_t lines = 0;
    size_t size = 0;

    (void)pthread_mutex_lock(&run->replay_lock);
    at = run->replay + run->replay_at;
    while (lines < run->plan.batch && run->replay_at + size < run->replay_size) {
        const char *end = memchr(at + size, '\n', run->replay_size - run->replay_at - size);

        size = end == NULL ? run->replay_size - run->replay_at : (size_t)(end + 1 - at);
        lines++;
    }
    run->replay_at += size;
    (void)pthread_mutex_unlock(&run->replay_lock);
    *ret_text = at;
    return size;
}

/* ---- The run ------------------------------------------------------------------------------- */

static struct run *interrupted; /* For the signal handler. */

static void stop_run(int signal)
{
    (void)signal;
    atomic_store(&interrupted->stop, true);
}

static uint64_t own_cpu_ms(void)
{
    struct rusage usage;

    (void)getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000 +
           (uint64_t)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000;
}

static bool find_nodes(struct run *run)
{
    const json_t *node;
    char *text = NULL;
    json_t *root;
    size_t at;

    if (millrace_status(run->client, 0, &text) != MILLRACE_OK)
        return false;
    root = json_loads(text, 0, NULL);
    free(text);
    json_array_foreach(json_object_get(root, "nodes"), at, node)
    {
        struct run_node *known = &run->nodes[run->node_count];

        if (run->node_count == PLAN_NODES_MAX)
            break;
        (void)snprintf(known->host, sizeof known->host, "%s",
                       json_string_value(json_object_get(node, "host")));
        known->http_port = (uint16_t)json_integer_value(json_object_get(node, "http_port"));
        run->node_count++;
    }
    json_decref(root);
    return run->node_count > 0;
}

static bool map_replay(struct run *run)
{
    int fd = open(run->plan.replay, O_RDONLY | O_CLOEXEC);
    struct stat stat;
    void *bytes = MAP_FAILED;

    if (fd >= 0 && fstat(fd, &stat) == 0 && stat.st_size > 0)
        bytes = mmap(NULL, (size_t)stat.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (fd >= 0)
        (void)close(fd);
    if (bytes == MAP_FAILED) {
        fprintf(stderr, "millrace-loadgen: %s cannot be read, or is empty\n", run->plan.replay);
        return false;
    }
    run->replay = bytes;
    run->replay_size = (size_t)stat.st_size;
    return true;
}

static void *run_writer_main(void *arg)
{
    struct run_writer *writer = arg;

    if (writer->run->plan.http)
        (void)http_writer(writer);
    else
        (void)native_writer(writer);
    atomic_fetch_add(&writer->run->ended, 1);
    return NULL;
}

/* The time is over, somebody interrupts, or a replayed file has come to its end. */
static bool is_over(struct run *run)
{
    return clk_now_ns() >= run->end_ns || atomic_load(&run->stop) ||
           atomic_load(&run->ended) == run->plan.connections;
}

static void run_writers(struct run *run)
{
    uint64_t second = 0;

    run->start_ns = clk_now_ns();
    run->end_ns = run->start_ns + (uint64_t)(run->plan.duration_s * 1e9);
    for (uint32_t w = 0; w < run->plan.connections; w++)
        run->writers[w].started =
            pthread_create(&run->writers[w].thread, NULL, run_writer_main, &run->writers[w]) == 0;
    while (!is_over(run)) {
        uint64_t next_ns = run->start_ns + (second + 1) * 1000000000;
        struct timespec pause = {.tv_nsec = 20000000};

        while (clk_now_ns() < next_ns && !is_over(run))
            (void)nanosleep(&pause, NULL);
        second++;
        if (!run->plan.quiet)
            report_progress(run, second);
    }
    for (uint32_t w = 0; w < run->plan.connections; w++) {
        if (run->writers[w].started)
            (void)pthread_join(run->writers[w].thread, NULL);
    }
    /* Until the last answer: what was under way at the end counts, and so does its time. */
    run->wall_s = (double)(clk_now_ns() - run->start_ns) / 1e9;
}

static int run_plan(struct run *run)
{
    struct run_verdict verdict = {0};
    uint64_t cpu_before = 0, cpu_after = 0, rows = 0;
    uint64_t own_before = own_cpu_ms();
    uint64_t acknowledged = 0;
    bool good = true;

    if (!verify_status(run, &run->rows_before, &cpu_before)) {
        fprintf(stderr, "millrace-loadgen: status: %s\n", millrace_last_error(run->client));
        return EXIT_UNREACHED;
    }
    workload_init(&run->workload, &run->plan, clk_wall_ns());
    run_writers(run);
    run->own_cpu_ms = own_cpu_ms() - own_before;
    if (verify_status(run, &rows, &cpu_after) && cpu_after > cpu_before)
        run->nodes_cpu_ms = cpu_after - cpu_before;
    if (run->plan.verify)
        good = verify_run(run, &verdict);
    if (!report_summary(run, &verdict))
        good = false;
    for (uint32_t w = 0; w < run->plan.connections; w++)
        acknowledged += atomic_load(&run->writers[w].rows);
    if (acknowledged == 0)
        fprintf(stderr, "millrace-loadgen: nothing was acknowledged\n");
    return good && acknowledged > 0 && verdict.lost == 0 && verdict.doubled == 0 &&
                   verdict.invented == 0
               ? EXIT_SUCCESS
               : EXIT_FAULTS;
}

int main(int argc, char **argv)
{
    static struct run run;
    struct millrace_options options;
    int code = plan_parse(argc, argv, &run.plan);

    if (code >= 0)
        return code;
    options = (struct millrace_options){.nodes = run.plan.nodes, .database = run.plan.database};
    if (millrace_open(&options, &run.client) != MILLRACE_OK) {
        fprintf(stderr, "millrace-loadgen: %s\n", millrace_last_error(NULL));
        return EXIT_UNREACHED;
    }
    run.writers = calloc(run.plan.connections, sizeof *run.writers);
    if (run.writers == NULL || !find_nodes(&run) || (run.plan.replay != NULL && !map_replay(&run)))
        return EXIT_UNREACHED;
    for (uint32_t w = 0; w < run.plan.connections; w++) {
        run.writers[w].run = &run;
        run.writers[w].number = w;
        (void)pthread_mutex_init(&run.writers[w].text_lock, NULL);
    }
    (void)pthread_mutex_init(&run.replay_lock, NULL);
    interrupted = &run;
    (void)signal(SIGINT, stop_run);
    (void)signal(SIGTERM, stop_run);
    code = run_plan(&run);
    for (uint32_t w = 0; w < run.plan.connections; w++)
        ledger_fini(&run.writers[w].ledger);
    free(run.writers);
    (void)millrace_close(run.client);
    return code;
}
