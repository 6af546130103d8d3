/*
 * Counters of several threads: nothing counted is lost, not even with the thread that counted it.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "storage/base/metric.h"

static void *count_rows(void *n)
{
    for (int i = 0; i < 1000; i++)
        metric_add(METRIC_INGEST_ROWS, *(const uint64_t *)n);
    return NULL;
}

Test(metric, sums_over_threads_that_run_and_threads_that_ended)
{
    uint64_t before = metric_sum(METRIC_INGEST_ROWS);
    uint64_t n = 7;

    for (int round = 0; round < 3 * METRIC_THREADS_MAX; round += 4) {
        pthread_t threads[4];

        for (int i = 0; i < 4; i++)
            cr_assert_eq(pthread_create(&threads[i], NULL, count_rows, &n), 0);
        for (int i = 0; i < 4; i++)
            cr_assert_eq(pthread_join(threads[i], NULL), 0);
    }
    metric_add(METRIC_INGEST_ROWS, 1);
    cr_assert_eq(metric_sum(METRIC_INGEST_ROWS) - before, 3 * METRIC_THREADS_MAX * 7000 + 1);
}

static void *close_two(void *unused)
{
    metric_sub(METRIC_CONN_OPEN, 2);
    return unused;
}

static const char *text_of(struct bytes *out)
{
    bytes_clear(out);
    metric_write_prometheus(out);
    bytes_put_u8(out, 0);
    cr_assert(!out->failed);
    return (const char *)out->data;
}

Test(metric, a_gauge_may_go_down_in_another_thread)
{
    struct bytes out = {0};
    pthread_t thread;

    metric_add(METRIC_CONN_OPEN, 5);
    cr_assert_eq(pthread_create(&thread, NULL, close_two, NULL), 0);
    cr_assert_eq(pthread_join(thread, NULL), 0);
    cr_assert_eq(metric_sum(METRIC_CONN_OPEN), 3);
    metric_sub(METRIC_CONN_OPEN, 4);
    cr_assert_not_null(strstr(text_of(&out), "\nmillrace_conn_open -1\n"));
    bytes_fini(&out);
}

Test(metric, writes_what_prometheus_reads)
{
    struct bytes out = {0};
    const char *text;

    metric_add(METRIC_LOG_SYNCS, 42);
    metric_time(METRIC_TIME_SYNC, 50000);       /* Exactly a bound: belongs to it. */
    metric_time(METRIC_TIME_SYNC, 50001);       /* The next bucket. */
    metric_time(METRIC_TIME_SYNC, 60000000000); /* Beyond the last bound. */
    text = text_of(&out);
    cr_assert_not_null(strstr(text, "# HELP millrace_log_syncs_total Syncs of the shared log.\n"
                                    "# TYPE millrace_log_syncs_total counter\n"
                                    "millrace_log_syncs_total 42\n"));
    cr_assert_not_null(strstr(text, "# TYPE millrace_log_sync_seconds histogram\n"
                                    "millrace_log_sync_seconds_bucket{le=\"5e-05\"} 1\n"
                                    "millrace_log_sync_seconds_bucket{le=\"0.0001\"} 2\n"));
    cr_assert_not_null(strstr(text, "millrace_log_sync_seconds_bucket{le=\"10\"} 2\n"
                                    "millrace_log_sync_seconds_bucket{le=\"+Inf\"} 3\n"
                                    "millrace_log_sync_seconds_sum 60.000100001\n"
                                    "millrace_log_sync_seconds_count 3\n"));
    cr_assert_eq(metric_timer_count(METRIC_TIME_SYNC), 3);
    bytes_fini(&out);
}

Test(metric, names_follow_the_house_and_say_their_unit)
{
    struct bytes out = {0};
    char kind[16];
    char name[128];

    for (const char *at = text_of(&out); (at = strstr(at, "# TYPE ")) != NULL; at++) {
        cr_assert_eq(sscanf(at, "# TYPE %127s %15s", name, kind), 2);
        cr_assert_eq(strncmp(name, "millrace_", 9), 0, "%s", name);
        if (strcmp(kind, "counter") == 0)
            cr_assert_str_eq(name + strlen(name) - 6, "_total");
        if (strcmp(kind, "histogram") == 0)
            cr_assert_str_eq(name + strlen(name) - 8, "_seconds");
    }
    bytes_fini(&out);
}
