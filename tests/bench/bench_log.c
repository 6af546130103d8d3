/*
 * How fast the shared log is on a real disk: bench.log [--json FILE] [--dir DIR]
 *
 *   start     opening an empty directory; making one full file; opening a full log again
 *   sync      one record, written and synced, one after the other, without a thread: what the disk
 *             does, with the log's files (O_DIRECT) and through the page cache
 *   writer    through the writer's thread, so many records under way: records/s, MB/s, time from
 *             append to completion
 *
 * Wall clock. DIR (default: ./bench-log.tmp) is made and removed; it takes up to 1.5 GiB.
 */
#include <inttypes.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "replication/log_writer.h"
#include "storage/base/check.h"
#include "storage/base/clk.h"
#include "storage/base/histogram.h"

enum { FILE_BYTES = 64 * 1024 * 1024, SYNCS = 2000, RUN_MS = 2000, SIZE_MAX_HERE = 1024 * 1024 };

static FILE *json;
static const char *separator = "";
static const char *dir = "bench-log.tmp";
static uint8_t random_bytes[SIZE_MAX_HERE];

static void report(const char *set, const char *metric, double value)
{
    if (json == NULL)
        return;
    (void)fprintf(json,
                  "%s\n  {\"bench\": \"log\", \"set\": \"%s\", \"metric\": \"%s\", "
                  "\"value\": %.4f}",
                  separator, set, metric, value);
    separator = ",";
}

static void must(enum err err)
{
    if (err == ERR_OK)
        return;
    (void)fprintf(stderr, "%s: %s\n", err_name(err), err_detail());
    exit(1);
}

/* ---- The directory ------------------------------------------------------------------------- */

static void remove_one(void *arg, const char *name)
{
    char path[4096];

    (void)arg;
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    must(disk_system()->remove(NULL, path));
}

static void remove_dir(void)
{
    const struct disk *disk = disk_system();

    if (disk->list(NULL, dir, remove_one, NULL) == ERR_OK)
        must(disk->remove(NULL, dir));
}

/* The real disk, without O_DIRECT. */
static enum err open_buffered(void *ctx, const char *path, unsigned flags, struct file **ret_file)
{
    return disk_system()->open(ctx, path, flags & ~(unsigned)FILE_DIRECT, ret_file);
}

static enum err ignore(void *arg, const struct log_record *record)
{
    *(uint64_t *)arg += record->payload == NULL ? 0 : record->payload->size;
    return ERR_OK;
}

static struct log *open_log(const struct disk *disk, uint64_t *ret_bytes)
{
    struct log_options options = {.disk = disk,
                                  .dir = dir,
                                  .node = 1,
                                  .cluster = 1,
                                  .groups = 4,
                                  .file_bytes = FILE_BYTES,
                                  .bytes_max = UINT64_C(16) * FILE_BYTES};
    struct log *log;

    *ret_bytes = 0;
    must(log_open(&options, ignore, ret_bytes, &log));
    return log;
}

static struct log_record record_of(uint64_t index, uint32_t size)
{
    struct log_record record = {
        .kind = LOG_ENTRY, .index = index, .term = 1, .payload = buf_new(size)};

    CHECK(record.payload != NULL);
    memcpy(record.payload->bytes, random_bytes, size);
    record.payload->size = size;
    return record;
}

/* ---- Without the thread -------------------------------------------------------------------- */

static void measure_sync(struct log *log, uint32_t size, const char *how)
{
    static struct histogram times;
    struct log_record record = record_of(1, size);
    struct log_record *list[] = {&record};
    char set[64];
    uint64_t start_ns = clk_now_ns();
    double seconds;

    histogram_clear(&times);
    for (int i = 0; i < SYNCS / 10 || (i < SYNCS && clk_now_ns() - start_ns < 1500000000); i++) {
        uint64_t from_ns;

        if (log_lacks_next(log)) /* Measured apart. */
            must(log_prepare(log));
        from_ns = clk_now_ns();
        record.index++;
        must(log_write(log, list, 1));
        must(log_sync(log));
        histogram_record(&times, clk_now_ns() - from_ns);
        log_keep_after(log, 0, record.index);
    }
    buf_unref(record.payload);
    seconds = histogram_mean(&times) * (double)histogram_count(&times) / 1e9;
    (void)snprintf(set, sizeof set, "sync %s %" PRIu32, how, size);
    (void)printf(
        "  %-8s %8" PRIu32 " B   P50 %6.0f us   P99 %6.0f us   max %7.0f us   %7.1f MB/s\n", how,
        size, (double)histogram_percentile(&times, 50) / 1e3,
        (double)histogram_percentile(&times, 99) / 1e3, (double)histogram_max(&times) / 1e3,
        (double)size * (double)histogram_count(&times) / seconds / 1e6);
    report(set, "p50_us", (double)histogram_percentile(&times, 50) / 1e3);
    report(set, "p99_us", (double)histogram_percentile(&times, 99) / 1e3);
    report(set, "mb_per_s", (double)size * (double)histogram_count(&times) / seconds / 1e6);
}

/* ---- Through the writer -------------------------------------------------------------------- */

struct run {
    sem_t woken;
    uint64_t *appended_ns; /* By stream, modulo the window. */
    uint64_t window;
    uint64_t done;
    struct histogram times;
};

static void wake(void *arg, uint32_t port)
{
    struct run *run = arg;

    (void)port;
    (void)sem_post(&run->woken);
}

static void each(void *arg, const struct log_done *done)
{
    struct run *run = arg;

    histogram_record(&run->times, clk_now_ns() - run->appended_ns[done->stream % run->window]);
    run->done = done->stream;
}

static void measure_writer(struct log *log, uint32_t size, uint64_t window)
{
    static struct run run;
    struct log_writer *writer;
    struct log_port *port;
    uint64_t index = 1, start_ns, spent_ns;
    double rate;
    char set[64];

    run = (struct run){.window = window};
    run.appended_ns = calloc(window, sizeof *run.appended_ns);
    CHECK(run.appended_ns != NULL);
    CHECK(sem_init(&run.woken, 0, 0) == 0);
    must(log_writer_start(log, 1, wake, &run, &writer));
    port = log_writer_port(writer, 0);
    start_ns = clk_now_ns();
    do {
        while (index - 1 - run.done < window) {
            struct log_record record = record_of(index, size);

            run.appended_ns[index % window] = clk_now_ns();
            CHECK(log_port_append(port, &record) == index);
            index++;
        }
        log_port_flush(port);
        (void)sem_wait(&run.woken);
        (void)log_port_collect(port, each, &run);
        log_port_keep_after(port, 0, run.done);
        spent_ns = clk_now_ns() - start_ns;
    } while (spent_ns < RUN_MS * UINT64_C(1000000));
    log_writer_stop(writer);
    free(run.appended_ns);

    rate = (double)run.done * 1e9 / (double)spent_ns;
    (void)printf("  %8" PRIu32 " B x %5" PRIu64 "   %9.0f records/s   %7.1f MB/s   P50 %6.0f us   "
                 "P99 %6.0f us\n",
                 size, window, rate, rate * size / 1e6,
                 (double)histogram_percentile(&run.times, 50) / 1e3,
                 (double)histogram_percentile(&run.times, 99) / 1e3);
    (void)snprintf(set, sizeof set, "writer %" PRIu32 " x %" PRIu64, size, window);
    report(set, "records_per_s", rate);
    report(set, "mb_per_s", rate * size / 1e6);
    report(set, "p50_us", (double)histogram_percentile(&run.times, 50) / 1e3);
    report(set, "p99_us", (double)histogram_percentile(&run.times, 99) / 1e3);
}

/* ---- Starting ------------------------------------------------------------------------------ */

static double ms_since(uint64_t start_ns)
{
    return (double)(clk_now_ns() - start_ns) / 1e6;
}

static double cpu_ms(void)
{
    struct timespec spent;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
    return (double)spent.tv_sec * 1e3 + (double)spent.tv_nsec / 1e6;
}

static void measure_start(void)
{
    uint64_t bytes, start_ns = clk_now_ns();
    struct log *log = open_log(disk_system(), &bytes);
    double empty_ms = ms_since(start_ns), file_ms, again_ms, again_cpu_ms;
    struct log_record record = record_of(1, 64 * 1024);
    struct log_record *list[] = {&record};

    start_ns = clk_now_ns();
    must(log_prepare(log));
    file_ms = ms_since(start_ns);
    for (int i = 0; i < 4096; i++) {
        record.index++;
        must(log_write(log, list, 1));
    }
    must(log_sync(log));
    buf_unref(record.payload);
    log_close(log);

    start_ns = clk_now_ns();
    again_cpu_ms = cpu_ms();
    log = open_log(disk_system(), &bytes);
    again_ms = ms_since(start_ns);
    again_cpu_ms = cpu_ms() - again_cpu_ms;
    log_close(log);
    (void)printf(
        "start\n  empty directory %.1f ms   a file of %d MiB %.1f ms   %.0f MB again %.1f ms, "
        "%.1f of them CPU (%.0f MB/s)\n",
        empty_ms, FILE_BYTES >> 20, file_ms, (double)bytes / 1e6, again_ms, again_cpu_ms,
        (double)bytes / again_ms / 1e3);
    report("start", "empty_ms", empty_ms);
    report("start", "file_ms", file_ms);
    report("start", "recovery_cpu_mb_per_s", (double)bytes / again_cpu_ms / 1e3);
    report("start", "recovery_mb_per_s", (double)bytes / again_ms / 1e3);
}

int main(int argc, char **argv)
{
    static const uint32_t sizes[] = {100, 4000, 64 * 1024, SIZE_MAX_HERE};
    static const struct {
        uint32_t size;
        uint64_t window;
    } runs[] = {{4000, 1}, {4000, 16}, {4000, 256}, {64 * 1024, 1}, {64 * 1024, 64}, {100, 4096}};
    struct disk buffered = *disk_system();
    struct log_stats stats;
    struct log *log;
    uint64_t bytes, state = 1;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--json") == 0)
            json = fopen(argv[i + 1], "w");
        else if (strcmp(argv[i], "--dir") == 0)
            dir = argv[i + 1];
    }
    if (json != NULL)
        (void)fputs("[", json);
    for (size_t i = 0; i < sizeof random_bytes; i++)
        random_bytes[i] = (uint8_t)((state = state * 6364136223846793005u + 1) >> 56);

    remove_dir();
    measure_start();
    remove_dir();
    log = open_log(disk_system(), &bytes);
    log_stats(log, &stats);
    (void)printf("sync, one record at a time%s\n", stats.direct ? "" : " (no O_DIRECT here)");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        measure_sync(log, sizes[i], "direct");
    log_close(log);
    remove_dir();
    buffered.open = open_buffered;
    log = open_log(&buffered, &bytes);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
        measure_sync(log, sizes[i], "buffered");
    log_close(log);
    remove_dir();
    log = open_log(disk_system(), &bytes);
    (void)printf("writer\n");
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++)
        measure_writer(log, runs[i].size, runs[i].window);
    log_close(log);
    remove_dir();

    if (json != NULL) {
        (void)fputs("\n]\n", json);
        (void)fclose(json);
    }
    return 0;
}
