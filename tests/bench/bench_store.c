/*
 * What a shard's storage costs: bench.store [--json]
 *
 *   wide      1000 series, rows of 10 two-decimal floats, blocks of 10000 rows: admission, apply,
 *             seal (which copies by slices: about 90 MB decoded)
 *   narrow    100000 series, rows of one float, blocks of 10000 rows
 *
 * In a folder of $TMPDIR (or /tmp) that is removed at the end, with real syncs. One thread; times
 * are of its CPU.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "storage/base/check.h"
#include "storage/base/clk.h"
#include "storage/block/block_builder.h"
#include "storage/block/seal_order.h"
#include "storage/store.h"

enum { SERIES = 1000000, BLOCK_ROWS = 10000, BLOCKS = 100 };

static bool json;
static char dir[4096];

/* The CPU's time of this thread: other work on the machine does not count, waiting for the disk
 * neither. */
static uint64_t cpu_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * (uint64_t)NS_PER_S + (uint64_t)now.tv_nsec;
}

static void must(enum err err)
{
    if (err == ERR_OK)
        return;
    (void)fprintf(stderr, "bench.store: %s: %s\n", err_name(err), err_detail());
    exit(1);
}

static void report(const char *name, const char *what, double value, const char *unit)
{
    if (json)
        (void)printf("{\"bench\": \"store\", \"case\": \"%s\", \"what\": \"%s\", \"value\": %.3f, "
                     "\"unit\": \"%s\"}\n",
                     name, what, value, unit);
    else
        (void)printf("%-8s %-14s %10.2f %s\n", name, what, value, unit);
}

static size_t make_key(uint32_t number, char *ret_key, size_t room)
{
    char host[32];
    char site[32];
    struct tag tags[] = {{{"host", 4}, {host, 0}}, {{"site", 4}, {site, 0}}};

    tags[0].value.size = (size_t)snprintf(host, sizeof host, "device-%08u", number);
    tags[1].value.size = (size_t)snprintf(site, sizeof site, "site-%04u", number % 5000);
    return key_write((struct slice){"factory", 7}, (struct slice){"sensors", 7}, tags, 2, ret_key,
                     room);
}

/* ---- Store --------------------------------------------------------------------------------- */

static uint64_t chance = 1;

static uint64_t random_float(void)
{
    double value;
    uint64_t bits;

    chance = chance * 6364136223846793005u + 1442695040888963407u;
    value = (double)((chance >> 33) % 10000) / 100.0;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static struct buf *make_entry(struct block_builder *builder, uint32_t block, uint32_t series,
                              uint32_t fields, const struct store *store)
{
    struct entry_header header = {.kind = ENTRY_BLOCK};
    struct buf *entry;
    char key[256];
    char name[16];

    for (uint32_t row = 0; row < BLOCK_ROWS; row++) {
        uint64_t number = (uint64_t)block * BLOCK_ROWS + row;
        size_t size = make_key((uint32_t)(number % series), key, sizeof key);
        uint64_t hash = key_hash(key, size);
        uint32_t handle;

        must(block_builder_series(builder, key, size, 16, hash,
                                  store_find_series(store, key, size, hash), &handle));
        must(block_builder_row(builder, handle,
                               (int64_t)(number / series) * NS_PER_S + (int64_t)number));
        for (uint32_t f = 0; f < fields; f++) {
            int name_size = snprintf(name, sizeof name, "field_%u", f);

            must(
                block_builder_value(builder, name, (size_t)name_size, FIELD_FLOAT, random_float()));
        }
    }
    must(block_builder_finish(builder, sizeof header, &entry, NULL));
    header.size = entry->size;
    entry_stamp(&header);
    memcpy(entry->bytes, &header, sizeof header);
    return entry;
}

static void seal(struct store *store, const char *name, double rows, double values)
{
    struct buf *entry =
        seal_order_entry(0, store_applied_index(store), NULL, 0, (struct slice){NULL, 0});
    enum store_outcome outcome;
    struct seal_job *job;
    struct store_stats stats;
    uint64_t start;

    CHECK(entry != NULL);
    must(store_apply(store, store_applied_index(store) + 1, entry, &outcome, &job));
    start = cpu_ns();
    must(seal_run(job));
    report(name, "seal", (double)(cpu_ns() - start) / rows, "ns a row");
    report(name, "seal", (double)(cpu_ns() - start) / values, "ns a value");
    store_seal_done(store, job, false);
    store_stats(store, &stats);
    report(name, "segment", (double)stats.segment_bytes / values, "bytes a value");
    buf_unref(entry);
}

static void bench_store(const char *name, uint32_t series, uint32_t fields)
{
    struct store_options options = {.disk = disk_system(),
                                    .dir = dir,
                                    .series_max = SERIES,
                                    .head_bytes_max = UINT64_MAX,
                                    .seal_bytes = UINT64_MAX,
                                    .producers_max = 16};
    double rows = (double)BLOCKS * BLOCK_ROWS;
    struct block_builder *builder;
    struct store *store;
    struct store_stats stats;
    uint64_t admit_ns = 0, apply_ns = 0, start;

    must(block_builder_new(&builder));
    must(store_open(&options, &store));
    for (uint32_t i = 0; i < BLOCKS; i++) {
        struct buf *entry = make_entry(builder, i, series, fields, store);
        enum store_outcome outcome;
        struct seal_job *job;
        bool duplicate;

        start = cpu_ns();
        must(store_admit(store, entry, 1, &duplicate));
        admit_ns += cpu_ns() - start;
        start = cpu_ns();
        must(store_apply(store, store_applied_index(store) + 1, entry, &outcome, &job));
        apply_ns += cpu_ns() - start;
        CHECK(outcome == STORE_APPLIED);
        buf_unref(entry);
    }
    store_stats(store, &stats);
    report(name, "admit", (double)admit_ns / rows, "ns a row");
    report(name, "apply", (double)apply_ns / rows, "ns a row");
    report(name, "head", (double)stats.head_bytes / rows / fields, "bytes a value");
    seal(store, name, rows, rows * fields);
    store_close(store);
    block_builder_free(builder);
}

/* ---- Folders ------------------------------------------------------------------------------- */

static void remove_file(void *arg, const char *name)
{
    char path[8192];

    (void)arg;
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    (void)(remove(path) == 0);
}

static void begin_dir(const char *name)
{
    const char *above = getenv("TMPDIR");

    (void)snprintf(dir, sizeof dir, "%s/bench-%s-XXXXXX", above == NULL ? "/tmp" : above, name);
    if (mkdtemp(dir) == NULL) {
        perror(dir);
        exit(1);
    }
}

static void end_dir(void)
{
    must(disk_system()->list(disk_system()->ctx, dir, remove_file, NULL));
    (void)remove(dir);
}

int main(int argc, char **argv)
{
    json = argc > 1 && strcmp(argv[1], "--json") == 0;
    begin_dir("wide");
    bench_store("wide", 1000, 10);
    end_dir();
    begin_dir("narrow");
    bench_store("narrow", 100000, 1);
    end_dir();
    return 0;
}
