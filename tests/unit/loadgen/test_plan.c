/*
 * Options of the load generator: what a run is without them, what each may be, and that nothing is
 * taken that cannot be done.
 */
#include "loadgen/plan.h"

#include <criterion/criterion.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum { ARGUMENTS_MAX = 16, USAGE = 2 };

static struct plan plan;

static void set_up(void)
{
    (void)unsetenv("MILLRACE_NODE");
}

TestSuite(plan, .init = set_up);

/* `line` is words with spaces between; returns what plan_parse() does. */
static int parse(const char *line)
{
    static char copy[512];
    char *arguments[ARGUMENTS_MAX + 1] = {(char *)(uintptr_t) "millrace-loadgen"};
    int count = 1;

    cr_assert_lt(strlen(line), sizeof copy);
    (void)snprintf(copy, sizeof copy, "%s", line);
    for (char *word = copy; *word != '\0';) {
        size_t size = strcspn(word, " ");

        arguments[count++] = word;
        word += size;
        if (*word != '\0')
            *word++ = '\0';
    }
    cr_assert_leq(count, ARGUMENTS_MAX);
    arguments[count] = NULL;
    optind = 0; /* From the start again. */
    memset(&plan, 0x55, sizeof plan);
    return plan_parse(count, arguments, &plan);
}

Test(plan, needs_no_options)
{
    cr_assert_eq(parse(""), -1);
    cr_assert_str_eq(plan.nodes, "127.0.0.1:7400");
    cr_assert_str_eq(plan.database, "default");
    cr_assert_eq(plan.workload, WORKLOAD_ROWS);
    cr_assert_eq(plan.series, 100000);
    cr_assert_eq(plan.fields, 10);
    cr_assert_eq(plan.batch, 10000);
    cr_assert_eq(plan.connections, 2);
    cr_assert_eq(plan.rate, 0);
    cr_assert_eq(plan.seed, 1);
    cr_assert_not(plan.http || plan.verify || plan.quiet);
    cr_assert_null(plan.json);
}

Test(plan, takes_the_nodes_from_the_environment_unless_they_are_given)
{
    (void)setenv("MILLRACE_NODE", "a:1,b:2", 1);
    cr_assert_eq(parse(""), -1);
    cr_assert_str_eq(plan.nodes, "a:1,b:2");
    cr_assert_eq(parse("--nodes c:3"), -1);
    cr_assert_str_eq(plan.nodes, "c:3");
    (void)setenv("MILLRACE_NODE", "", 1);
    cr_assert_eq(parse(""), -1);
    cr_assert_str_eq(plan.nodes, "127.0.0.1:7400");
}

Test(plan, takes_what_is_allowed_up_to_its_limits)
{
    static const char *const good[] = {"--series 1 --connections 1",
                                       "--series 100000000",
                                       "--fields 1",
                                       "--fields 256",
                                       "--batch 1",
                                       "--batch 1000000",
                                       "--connections 256",
                                       "--rate 1000000000",
                                       "--duration 0.001",
                                       "--duration 86400",
                                       "--seed 18446744073709551615",
                                       "--protocol http",
                                       "--protocol native",
                                       "--workload random",
                                       "--workload tsbs",
                                       "--json -",
                                       "--verify --quiet"};
    static const char *const bad[] = {"--series 0",
                                      "--series 100000001",
                                      "--series x",
                                      "--series 1k",
                                      "--series -1",
                                      "--fields 257",
                                      "--fields 0",
                                      "--batch 0",
                                      "--batch 1000001",
                                      "--connections 257",
                                      "--connections 0",
                                      "--rate 1000000001",
                                      "--rate -1",
                                      "--duration 0",
                                      "--duration -1",
                                      "--duration nan",
                                      "--duration inf",
                                      "--duration 86401",
                                      "--duration 1s",
                                      "--seed -1",
                                      "--seed 18446744073709551616",
                                      "--protocol tcp",
                                      "--workload rowss",
                                      "--what",
                                      "word",
                                      "--workload replay",
                                      "--workload replay f --verify",
                                      "--workload replay f g",
                                      "--series"};

    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        cr_assert_eq(parse(good[i]), -1, "%s", good[i]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_assert_eq(parse(bad[i]), USAGE, "%s", bad[i]);
}

Test(plan, a_refusal_leaves_the_plan_alone)
{
    struct plan before;

    memset(&before, 0x55, sizeof before);
    cr_assert_eq(parse("--series 5 --fields 0"), USAGE);
    cr_assert_eq(memcmp(&plan, &before, sizeof plan), 0);
    cr_assert_eq(parse("--help"), 0);
    cr_assert_eq(parse("--version"), 0);
}

Test(plan, every_connection_has_a_series_and_tsbs_its_ten_fields)
{
    cr_assert_eq(parse("--series 3 --connections 8"), -1);
    cr_assert_eq(plan.series, 8);
    cr_assert_eq(parse("--workload tsbs --fields 3"), -1);
    cr_assert_eq(plan.fields, 10);
    cr_assert_eq(parse("--workload replay lines.txt"), -1);
    cr_assert_str_eq(plan.replay, "lines.txt");
}

Test(plan, workloads_are_called_what_they_are_asked_for_by)
{
    for (int i = WORKLOAD_RANDOM; i <= WORKLOAD_TSBS; i++) {
        char line[64];

        (void)snprintf(line, sizeof line, "--workload %s",
                       plan_workload_name((enum plan_workload)i));
        cr_assert_eq(parse(line), -1);
        cr_assert_eq(plan.workload, (enum plan_workload)i);
    }
}
