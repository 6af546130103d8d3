/*
 * millrace-sim - run clusters of the product's Raft groups through simulated faults.
 *
 * Each seed is a run of 20 simulated seconds: 8 of faults, 12 of calm, after which everything has
 * to be in place. Seeds are spread over processes, so that one that dies is a finding like any
 * other.
 */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "replication/guards.h"
#include "storage/base/check.h"
#include "storage/base/log_line.h"
#include "tests/sim/sim.h"

enum { JOBS_MAX = 64, KINDS_MAX = 32, SHOWN_MAX = 3 };

/* One process' part, in memory that outlives it. */
struct job {
    uint64_t next, end; /* The seed that it runs, or would run next; steps by the number of jobs. */
    struct sim_counters counters;
    uint64_t findings;
    uint32_t kinds;
    struct {
        char what[SIM_FINDING_MAX];
        uint64_t count;
    } kind[KINDS_MAX];
    pid_t pid;
};

static struct sim_options options;
static uint64_t first = 1, count = 200;
static uint32_t job_count = 2;
static const char *guards_off_names = "";

/* ---- Options ------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint64_t bit;
} guard_names[] = {
#define GUARD_NAME(name, bit) {#name, UINT64_C(1) << (bit)},
    GUARD_TABLE(GUARD_NAME)};
enum { GUARD_COUNT = sizeof guard_names / sizeof guard_names[0] };

static void usage(FILE *out)
{
    (void)fprintf(
        out, "usage: millrace-sim [--seeds FROM COUNT] [--jobs N] [--store] [--hot] [--rejoin]\n"
             "                    [--leader-alone] [--verbose] [--guards-off NAME,...]\n\n"
             "Runs COUNT seeds from FROM on (default 1 200). Exits with 1 if there was a\n"
             "finding, and prints the command that repeats it.\n\n"
             "  --store         the product's store and clients that send again, instead of\n"
             "                  a running hash\n"
             "  --hot           more crashes, more load\n"
             "  --rejoin        nodes lose their logs, or fall behind, and begin again\n"
             "  --leader-alone  and ask only who leads, not all voters: a fault\n"
             "  --guards-off    leave guards of replication/guards.h out:\n               ");
    for (int i = 0; i < GUARD_COUNT; i++)
        (void)fprintf(out, " %s%s", guard_names[i].name, i % 8 == 7 ? "\n               " : "");
    (void)fprintf(out, "\n\nExample: millrace-sim --seeds 1 2000 --guards-off COMMIT\n");
}

static bool parse_number(const char *text, uint64_t *ret_number)
{
    char *end;

    if (text == NULL || *text < '0' || *text > '9')
        return false;
    *ret_number = strtoull(text, &end, 10);
    return *end == '\0';
}

static bool parse_guards(const char *names)
{
    char text[512];
    char *rest = NULL;

    (void)snprintf(text, sizeof text, "%s", names);
    for (char *name = strtok_r(text, ",", &rest); name != NULL; name = strtok_r(NULL, ",", &rest)) {
        int i = 0;

        while (i < GUARD_COUNT && strcmp(guard_names[i].name, name) != 0)
            i++;
        if (i == GUARD_COUNT)
            return false;
        options.guards_off |= guard_names[i].bit;
    }
    guards_off_names = names;
    return true;
}

static bool parse(int argc, char **argv)
{
    static const struct option longs[] = {{"seeds", required_argument, NULL, 's'},
                                          {"jobs", required_argument, NULL, 'j'},
                                          {"store", no_argument, NULL, 'S'},
                                          {"hot", no_argument, NULL, 'h'},
                                          {"rejoin", no_argument, NULL, 'r'},
                                          {"leader-alone", no_argument, NULL, 'a'},
                                          {"guards-off", required_argument, NULL, 'g'},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {"help", no_argument, NULL, '?'},
                                          {NULL, 0, NULL, 0}};
    uint64_t jobs = job_count;
    bool good = true;

    for (int option; good && (option = getopt_long(argc, argv, "", longs, NULL)) != -1;) {
        switch (option) {
        case 's':
            good =
                parse_number(optarg, &first) && optind < argc && parse_number(argv[optind], &count);
            optind++;
            break;
        case 'j':
            good = parse_number(optarg, &jobs) && jobs >= 1 && jobs <= JOBS_MAX;
            job_count = (uint32_t)jobs;
            break;
        case 'h':
            options.hot = true;
            break;
        case 'S':
            options.store = true;
            break;
        case 'r':
            options.rejoin = true;
            break;
        case 'a':
            options.rejoin = options.leader_alone = true;
            break;
        case 'g':
            good = parse_guards(optarg);
            break;
        case 'v':
            options.verbose = true;
            break;
        default:
            good = false;
        }
    }
    return good && optind == argc;
}

/* ---- Running ------------------------------------------------------------------------------- */

static const char *rejoin_name(void)
{
    if (options.leader_alone)
        return " --leader-alone";
    return options.rejoin ? " --rejoin" : "";
}

static void note_finding(struct job *job, uint64_t seed, const char *what)
{
    uint32_t i = 0;

    job->findings++;
    while (i < job->kinds && strcmp(job->kind[i].what, what) != 0)
        i++;
    if (i == KINDS_MAX)
        return;
    if (i == job->kinds)
        (void)snprintf(job->kind[job->kinds++].what, SIM_FINDING_MAX, "%s", what);
    if (job->kind[i].count++ < SHOWN_MAX) {
        (void)printf("seed %" PRIu64 ": %s\n  again: millrace-sim --seeds %" PRIu64
                     " 1 --verbose%s%s%s%s%s\n",
                     seed, what, seed, options.store ? " --store" : "", options.hot ? " --hot" : "",
                     rejoin_name(), *guards_off_names ? " --guards-off " : "", guards_off_names);
        (void)fflush(stdout);
    }
}

static _Noreturn void run_job(struct job *job)
{
    while (job->next < job->end) {
        char finding[SIM_FINDING_MAX];
        uint64_t seed = job->next;

        sim_run(seed, &options, &job->counters, finding);
        if (finding[0] != '\0')
            note_finding(job, seed, finding);
        job->next += job_count;
    }
    exit(0);
}

static void start_job(struct job *job)
{
    pid_t pid;

    (void)fflush(NULL);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        run_job(job);
    job->pid = pid; /* By the parent alone: the memory is shared. */
}

/* A seed that kills its process is a finding; the process goes on behind it. */
static void wait_for_jobs(struct job *jobs)
{
    uint32_t running = job_count;

    while (running > 0) {
        int status;
        pid_t pid = wait(&status);

        CHECK(pid > 0);
        for (uint32_t i = 0; i < job_count; i++) {
            char what[SIM_FINDING_MAX];

            if (jobs[i].pid != pid)
                continue;
            if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
                running--;
                break;
            }
            if (WIFSIGNALED(status))
                (void)snprintf(what, sizeof what, "died of signal %d", WTERMSIG(status));
            else
                (void)snprintf(what, sizeof what, "ended with code %d", WEXITSTATUS(status));
            note_finding(&jobs[i], jobs[i].next, what);
            jobs[i].next += job_count;
            start_job(&jobs[i]);
        }
    }
}

/* ---- Report -------------------------------------------------------------------------------- */

static void add_job(struct job *all, const struct job *job)
{
#define ADD(name) all->counters.name += job->counters.name;
    SIM_COUNTERS(ADD)
    all->findings += job->findings;
    for (uint32_t i = 0; i < job->kinds; i++) {
        uint32_t k = 0;

        while (k < all->kinds && strcmp(all->kind[k].what, job->kind[i].what) != 0)
            k++;
        if (k == KINDS_MAX)
            continue;
        if (k == all->kinds)
            all->kind[all->kinds++] = job->kind[i];
        else
            all->kind[k].count += job->kind[i].count;
    }
}

static void report(const struct job *all)
{
    (void)printf("seeds %" PRIu64 " to %" PRIu64 "%s%s%s%s%s: %" PRIu64 " findings\n ", first,
                 first + count - 1, options.store ? ", store" : "", options.hot ? ", hot" : "",
                 rejoin_name(), *guards_off_names ? ", without " : "", guards_off_names,
                 all->findings);
#define SHOW(name) (void)printf(" %s=%" PRIu64, #name, all->counters.name);
    SIM_COUNTERS(SHOW)
    (void)printf("\n");
    for (uint32_t i = 0; i < all->kinds; i++)
        (void)printf("  %6" PRIu64 " x %s\n", all->kind[i].count, all->kind[i].what);
}

int main(int argc, char **argv)
{
    struct job *jobs, all = {0};

    if (!parse(argc, argv)) {
        usage(stderr);
        return 64;
    }
    log_line_set_level(options.verbose ? LOG_INFO : LOG_ERROR);
    jobs = mmap(NULL, job_count * sizeof *jobs, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
                -1, 0);
    CHECK(jobs != MAP_FAILED);
    for (uint32_t i = 0; i < job_count; i++) {
        jobs[i].next = first + i;
        jobs[i].end = first + count;
        start_job(&jobs[i]);
    }
    wait_for_jobs(jobs);
    for (uint32_t i = 0; i < job_count; i++)
        add_job(&all, &jobs[i]);
    report(&all);
    return all.findings != 0;
}
