#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "loadgen/run.h"

struct totals {
    uint64_t rows, points, requests, errors;
};

static struct totals add_up(const struct run *run)
{
    struct totals totals = {0};

    for (uint32_t w = 0; w < run->plan.connections; w++) {
        const struct run_writer *writer = &run->writers[w];

        totals.rows += atomic_load_explicit(&writer->rows, memory_order_relaxed);
        totals.points += atomic_load_explicit(&writer->points, memory_order_relaxed);
        totals.requests += atomic_load_explicit(&writer->requests, memory_order_relaxed);
        for (int c = 0; c < RUN_CODES; c++)
            totals.errors += atomic_load_explicit(&writer->errors[c], memory_order_relaxed);
    }
    return totals;
}

void report_progress(const struct run *run, uint64_t second)
{
    static struct totals before;
    struct totals now = add_up(run);

    fprintf(stderr, "%4" PRIu64 " s  %9.0f points/s  %8.0f rows/s  %6" PRIu64 " requests/s%s",
            second, (double)(now.points - before.points), (double)(now.rows - before.rows),
            now.requests - before.requests, now.errors == before.errors ? "\n" : "");
    if (now.errors != before.errors)
        fprintf(stderr, "  %" PRIu64 " errors\n", now.errors - before.errors);
    before = now;
}

static void merge_latencies(const struct run *run, struct histogram *into)
{
    for (uint32_t w = 0; w < run->plan.connections; w++)
        histogram_merge(into, &run->writers[w].latency);
}

static uint64_t errors_of(const struct run *run, int code)
{
    uint64_t count = 0;

    for (uint32_t w = 0; w < run->plan.connections; w++)
        count += atomic_load_explicit(&run->writers[w].errors[code], memory_order_relaxed);
    return count;
}

static void print_errors(const struct run *run)
{
    for (int c = 0; c < RUN_CODES; c++) {
        if (errors_of(run, c) > 0)
            printf("  errors        %" PRIu64 " x %s\n", errors_of(run, c),
                   millrace_code_name((enum millrace_code)c));
    }
    for (uint32_t w = 0; w < run->plan.connections; w++) {
        if (run->writers[w].text[0] != '\0') {
            printf("  last error    %s\n", run->writers[w].text);
            break;
        }
    }
}

static void print_summary(const struct run *run, const struct run_verdict *verdict,
                          const struct totals *totals, const struct histogram *latency)
{
    const struct plan *plan = &run->plan;
    double seconds = run->wall_s;

    printf("%s, %s, ", plan->http ? "line protocol over HTTP" : "native protocol",
           plan_workload_name(plan->workload));
    if (plan->workload != WORKLOAD_REPLAY)
        printf("%u series, %u fields, ", plan->series, plan->fields);
    printf("batches of %u rows, %u connections, %.1f s\n", plan->batch, plan->connections, seconds);
    printf("  acknowledged  %" PRIu64 " points: %.0f points/s, %.0f rows/s, %.0f requests/s\n",
           totals->points, (double)totals->points / seconds, (double)totals->rows / seconds,
           (double)totals->requests / seconds);
    printf("  latency       P50 %.2f  P99 %.2f  P99.9 %.2f  max %.2f ms%s\n",
           (double)histogram_percentile(latency, 50) / 1e6,
           (double)histogram_percentile(latency, 99) / 1e6,
           (double)histogram_percentile(latency, 99.9) / 1e6, (double)histogram_max(latency) / 1e6,
           plan->rate > 0 ? " (from the time due)" : "");
    printf("  CPU           generator %.2f s, nodes %.2f s\n", (double)run->own_cpu_ms / 1e3,
           (double)run->nodes_cpu_ms / 1e3);
    print_errors(run);
    if (verdict->done)
        printf("  verified      acknowledged %" PRIu64 ", read back %" PRIu64 ", lost %" PRIu64
               ", doubled %" PRIu64 ", invented %" PRIu64 "\n",
               verdict->acknowledged, verdict->read, verdict->lost, verdict->doubled,
               verdict->invented);
    if (verdict->first[0] != '\0')
        printf("  %s\n", verdict->first);
}

static json_t *summary_json(const struct run *run, const struct run_verdict *verdict,
                            const struct totals *totals, const struct histogram *latency)
{
    const struct plan *plan = &run->plan;
    json_t *errors = json_object();
    json_t *root;

    for (int c = 0; c < RUN_CODES; c++) {
        if (errors_of(run, c) > 0)
            (void)json_object_set_new(errors, millrace_code_name((enum millrace_code)c),
                                      json_integer((json_int_t)errors_of(run, c)));
    }
    root = json_pack(
        "{s:s, s:s, s:i, s:i, s:i, s:i, s:f, s:I, s:f, s:f, s:f, s:{s:f, s:f, s:f, s:f}, "
        "s:{s:f, s:f}, s:o}",
        "protocol", plan->http ? "http" : "native", "workload", plan_workload_name(plan->workload),
        "series", (int)plan->series, "fields", (int)plan->fields, "batch", (int)plan->batch,
        "connections", (int)plan->connections, "seconds", run->wall_s, "acknowledged_points",
        (json_int_t)totals->points, "acknowledged_points_per_s",
        (double)totals->points / run->wall_s, "acknowledged_rows_per_s",
        (double)totals->rows / run->wall_s, "requests_per_s",
        (double)totals->requests / run->wall_s, "latency_us", "p50",
        (double)histogram_percentile(latency, 50) / 1e3, "p99",
        (double)histogram_percentile(latency, 99) / 1e3, "p999",
        (double)histogram_percentile(latency, 99.9) / 1e3, "max",
        (double)histogram_max(latency) / 1e3, "cpu_s", "loadgen", (double)run->own_cpu_ms / 1e3,
        "nodes", (double)run->nodes_cpu_ms / 1e3, "errors", errors);
    if (root != NULL && verdict->done)
        (void)json_object_set_new(
            root, "verify",
            json_pack("{s:I, s:I, s:I, s:I, s:I}", "acknowledged",
                      (json_int_t)verdict->acknowledged, "read", (json_int_t)verdict->read, "lost",
                      (json_int_t)verdict->lost, "doubled", (json_int_t)verdict->doubled,
                      "invented", (json_int_t)verdict->invented));
    return root;
}

bool report_summary(const struct run *run, const struct run_verdict *verdict)
{
    static struct histogram latency;
    struct totals totals = add_up(run);
    bool good = true;
    json_t *root;

    merge_latencies(run, &latency);
    print_summary(run, verdict, &totals, &latency);
    if (run->plan.json == NULL)
        return true;
    root = summary_json(run, verdict, &totals, &latency);
    if (strcmp(run->plan.json, "-") == 0)
        good = root != NULL && json_dumpf(root, stdout, JSON_INDENT(2)) == 0 && puts("") >= 0;
    else
        good = root != NULL && json_dump_file(root, run->plan.json, JSON_INDENT(2)) == 0;
    if (!good)
        fprintf(stderr, "millrace-loadgen: %s could not be written\n", run->plan.json);
    json_decref(root);
    return good;
}
