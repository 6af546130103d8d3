/*
 * Threads that come, count and go, while another adds up all the time: what the reader sees never
 * goes back, and in the end nothing is missing. The same for a histogram that is merged from while
 * its owner records. ThreadSanitizer must stay silent.
 */
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "storage/base/check.h"
#include "storage/base/histogram.h"
#include "storage/base/metric.h"

enum { COUNTERS = 3, ROUNDS = 20, OPENED = 5 };

static uint64_t total = 100000; /* Of each thread. */
static struct histogram recorded[COUNTERS];
static atomic_bool done;

static void *count(void *arg)
{
    struct histogram *own = arg;

    for (uint64_t i = 0; i < total; i++) {
        metric_add(METRIC_INGEST_ROWS, 1);
        metric_time(METRIC_TIME_SYNC, i);
        if (own != NULL)
            histogram_record(own, i);
    }
    metric_add(METRIC_CONN_OPEN, OPENED);
    metric_sub(METRIC_CONN_OPEN, OPENED - 1);
    return NULL;
}

static void *add_up(void *unused)
{
    static struct histogram merged;
    struct bytes text = {0};
    uint64_t rows = 0;
    uint64_t syncs = 0;

    (void)unused;
    while (!atomic_load(&done)) {
        uint64_t rows_now = metric_sum(METRIC_INGEST_ROWS);
        uint64_t syncs_now = metric_timer_count(METRIC_TIME_SYNC);

        CHECK(rows_now >= rows);
        CHECK(syncs_now >= syncs);
        rows = rows_now;
        syncs = syncs_now;
        histogram_clear(&merged);
        for (int i = 0; i < COUNTERS; i++)
            histogram_merge(&merged, &recorded[i]);
        CHECK(histogram_percentile(&merged, 100) < total);
        bytes_clear(&text);
        metric_write_prometheus(&text);
        CHECK(!text.failed);
    }
    bytes_fini(&text);
    return NULL;
}

int main(int argc, char **argv)
{
    pthread_t reader;
    pthread_t counters[COUNTERS];
    const uint64_t threads = (uint64_t)COUNTERS * ROUNDS;

    if (argc > 1)
        total = strtoull(argv[1], NULL, 10);
    if (pthread_create(&reader, NULL, add_up, NULL) != 0)
        return 1;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < COUNTERS; i++) {
            void *own = round == 0 ? &recorded[i] : NULL;

            if (pthread_create(&counters[i], NULL, count, own) != 0)
                return 1;
        }
        for (int i = 0; i < COUNTERS; i++)
            (void)pthread_join(counters[i], NULL);
    }
    atomic_store(&done, true);
    (void)pthread_join(reader, NULL);

    CHECK(metric_sum(METRIC_INGEST_ROWS) == threads * total);
    CHECK(metric_timer_count(METRIC_TIME_SYNC) == threads * total);
    CHECK(metric_sum(METRIC_CONN_OPEN) == threads);
    CHECK(histogram_count(&recorded[0]) == total);
    printf("%" PRIu64 " threads counted to %" PRIu64 "\n", threads, total);
    return 0;
}
