/*
 * What 10.8 million series cost a node: bench.catalog [SERIES] [--case NAME] [--json FILE]
 *
 *   random    each device registers its ten sensors, devices in random order; four shards by hash
 *   ordered   the same in order
 *   one       the same as random, in one shard
 *   unique    one series a device: a value that no other has
 *
 * Keys are those of a plant: database, table, tags site, line, device and sensor, about 80 bytes.
 * They are admitted as a leader does (hash, look up, add), applied, and sealed whenever a shard has
 * SEAL_SERIES new ones. Files are in a folder of $TMPDIR (or /tmp) that is removed at the end.
 * Times are of this thread's CPU, but for starts, which are by the clock.
 */
#include <inttypes.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "storage/base/check.h"
#include "storage/base/clk.h"
#include "storage/base/rand.h"
#include "storage/catalog_build.h"
#include "storage/catalog_file.h"
#include "storage/scan_labels.h"
#include "storage/scan_match.h"
#include "tests/bench/meter.h"

enum { SHARDS = 4, SENSORS = 10, SEAL_SERIES = 500000, LOOKUPS = 1000000, TAIL = 200000 };

struct shard {
    struct catalog *catalog;
    struct catalog_files files;
    struct catalog_run *runs[CATALOG_FILES_MAX];
    char dir[4096];
    char texts[CATALOG_BATCH][256]; /* Keys that are to be registered. */
    struct slice keys[CATALOG_BATCH];
    uint64_t hashes[CATALOG_BATCH];
    uint32_t pending;
};

static struct shard shards[SHARDS];
static uint32_t shard_count;
static uint32_t series_count = 10800000;
static const char *dir;

/* Bytes of this process in memory: of its own, and of mapped files. */
static uint64_t resident(const char *what)
{
    char line[256];
    uint64_t kib = 0;
    FILE *file = fopen("/proc/self/status", "r");

    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, what, strlen(what)) == 0)
            kib = strtoull(line + strlen(what), NULL, 10);
    (void)fclose(file);
    return kib * 1024;
}

/* ---- Keys ---------------------------------------------------------------------------------- */

enum order { RANDOM, ORDERED, UNIQUE };

static const char *const sensors[SENSORS] = {"temperature", "pressure", "vibration", "current",
                                             "voltage",     "speed",    "torque",    "humidity",
                                             "level",       "flow"};

static size_t make_key(enum order order, uint32_t number, char *ret_key)
{
    uint32_t sensor = number % SENSORS, devices = series_count / SENSORS + 1;
    uint32_t device = number / SENSORS;
    char site[24], line[24], name[32];
    struct tag tags[4] = {{{"site", 4}, {site, 0}},
                          {{"line", 4}, {line, 0}},
                          {{"device", 6}, {name, 0}},
                          {{"sensor", 6}, {sensors[sensor], strlen(sensors[sensor])}}};

    if (order == RANDOM) /* A prime that is larger than all devices: each once. */
        device = (uint32_t)(device * UINT64_C(1000000007) % devices);
    if (order == UNIQUE)
        device = number;
    tags[0].value.size = (size_t)snprintf(site, sizeof site, "plant-%03u", device % 400);
    tags[1].value.size = (size_t)snprintf(line, sizeof line, "line-%02u", device % 23);
    tags[2].value.size = (size_t)snprintf(name, sizeof name, "press-%08u", device);
    return key_write((struct slice){"factory", 7}, (struct slice){"measurements", 12}, tags, 4,
                     ret_key, 256);
}

/* ---- What the worker and a seal do --------------------------------------------------------- */

/* Keys that came together. */
static void add_pending(struct shard *shard)
{
    uint32_t ids[CATALOG_BATCH];

    catalog_find_batch(shard->catalog, shard->keys, shard->hashes, shard->pending, ids);
    for (uint32_t i = 0; i < shard->pending; i++) {
        struct slice key = shard->keys[i];
        struct key_parts parts;

        if (ids[i] != CATALOG_NONE ||
            catalog_find_new(shard->catalog, key, shard->hashes[i]) != CATALOG_NONE)
            continue;
        CHECK(key_parse(key.data, key.size, &parts) == 0);
        meter_must(catalog_add(shard->catalog, key, parts.table_key_size, shard->hashes[i]));
        /* Applying looks whether it is there. */
        CHECK(catalog_has(shard->catalog, catalog_count(shard->catalog), key));
        catalog_confirm(shard->catalog);
    }
    shard->pending = 0;
}

static void add(struct shard *shard, struct slice key, uint64_t hash)
{
    char *copy = shard->texts[shard->pending];

    memcpy(copy, key.data, key.size);
    shard->keys[shard->pending] = (struct slice){copy, key.size};
    shard->hashes[shard->pending] = hash;
    if (++shard->pending == CATALOG_BATCH)
        add_pending(shard);
}

static void seal(struct shard *shard)
{
    struct catalog_files before = shard->files;
    struct catalog_run *run = NULL;
    struct catalog_view view;

    if (catalog_count(shard->catalog) == catalog_files_series(&shard->files))
        return;
    meter_must(catalog_freeze(shard->catalog, &view));
    meter_must(catalog_file_write(disk_system(), shard->dir, 0, &view, &shard->files, shard->runs,
                                  NULL, &run));
    catalog_view_fini(&view);
    for (uint32_t i = shard->files.count - 1; i < before.count; i++) {
        char name[CATALOG_FILE_NAME_SIZE], path[8192];

        catalog_run_unref(shard->runs[i]);
        shard->runs[i] = NULL;
        catalog_file_name(&before.files[i], name);
        (void)snprintf(path, sizeof path, "%s/%s", shard->dir, name);
        (void)(remove(path) == 0);
    }
    shard->runs[shard->files.count - 1] = run;
    meter_must(catalog_adopt(shard->catalog, run));
}

static void begin(uint32_t count)
{
    memset(shards, 0, sizeof shards);
    shard_count = count;
    for (uint32_t i = 0; i < count; i++) {
        (void)snprintf(shards[i].dir, sizeof shards[i].dir, "%s/%u", dir, i);
        meter_must(disk_system()->make_dir(NULL, shards[i].dir));
        meter_must(catalog_new(&shards[i].catalog));
    }
}

static void close_all(void)
{
    for (uint32_t i = 0; i < shard_count; i++) {
        catalog_free(shards[i].catalog);
        for (uint32_t r = 0; r < CATALOG_FILES_MAX; r++) {
            catalog_run_unref(shards[i].runs[r]);
            shards[i].runs[r] = NULL;
        }
    }
    (void)malloc_trim(0);
}

static void open_all(void)
{
    for (uint32_t i = 0; i < shard_count; i++) {
        meter_must(catalog_new(&shards[i].catalog));
        for (uint32_t r = 0; r < shards[i].files.count; r++) {
            meter_must(catalog_file_open(disk_system(), shards[i].dir, 0, &shards[i].files.files[r],
                                         &shards[i].runs[r]));
            meter_must(catalog_load(shards[i].catalog, shards[i].runs[r]));
        }
    }
}

static void remove_all(void)
{
    for (uint32_t i = 0; i < shard_count; i++) {
        for (uint32_t r = 0; r < shards[i].files.count; r++) {
            char name[CATALOG_FILE_NAME_SIZE], path[8192];

            catalog_file_name(&shards[i].files.files[r], name);
            (void)snprintf(path, sizeof path, "%s/%s", shards[i].dir, name);
            (void)remove(path);
        }
        (void)remove(shards[i].dir);
    }
}

/* ---- What is measured ---------------------------------------------------------------------- */

static void fill(const char *name, enum order order)
{
    uint64_t text = 0, seal_ns = 0, longest_ns = 0, seals = 0, files = 0, start = meter_cpu_ns();
    uint64_t keys_ns;
    char key[256];

    for (uint32_t i = 0; i < series_count; i++)
        text += make_key(order, i, key);
    keys_ns = meter_cpu_ns() - start;
    start = meter_cpu_ns();
    for (uint32_t i = 0; i < series_count; i++) {
        size_t size = make_key(order, i, key);
        uint64_t hash = key_hash(key, size);
        struct shard *shard = &shards[key_shard(hash, shard_count)];
        uint64_t before;

        add(shard, (struct slice){key, size}, hash);
        if (catalog_count(shard->catalog) - catalog_files_series(&shard->files) < SEAL_SERIES)
            continue;
        before = meter_cpu_ns();
        seal(shard);
        seal_ns += meter_cpu_ns() - before;
        longest_ns = meter_cpu_ns() - before > longest_ns ? meter_cpu_ns() - before : longest_ns;
        seals++;
    }
    start = meter_cpu_ns() - start - seal_ns - keys_ns;
    for (uint32_t i = 0; i < shard_count; i++) {
        add_pending(&shards[i]);
        seal(&shards[i]);
    }
    meter_report(name, "key", (double)text / series_count, "bytes a series");
    meter_report(name, "registration", series_count / ((double)start / 1e9) / 1e6,
                 "M series/s a core");
    meter_report(name, "checkpoints", (double)seal_ns / 1e6, "ms in all");
    meter_report(name, "checkpoints", (double)seals, "");
    meter_report(name, "longest checkpoint", (double)longest_ns / 1e6, "ms");
    meter_report(name, "checkpoints", (double)seal_ns / series_count, "ns a series");
    for (uint32_t i = 0; i < shard_count; i++)
        for (uint32_t r = 0; r < shards[i].files.count; r++)
            files += shards[i].files.files[r].size;
    meter_report(name, "disk", (double)files / series_count, "bytes a series");
    meter_report(name, "disk of text", 100.0 * (double)files / (double)text, "%");
}

static void look_up_batch(const struct slice *keys, const uint64_t *hashes)
{
    uint32_t ids[CATALOG_BATCH];

    if (shard_count > 1)
        return;
    catalog_find_batch(shards[0].catalog, keys, hashes, CATALOG_BATCH, ids);
    for (uint32_t i = 0; i < CATALOG_BATCH; i++)
        CHECK(ids[i] != CATALOG_NONE);
}

/* Pass 0 costs the keys, pass 1 the keys and one lookup each, pass 2 the keys and lookups of
 * batches (in one shard). */
static void look_up(const char *name, enum order order, const char *what)
{
    uint64_t spent[3];
    static char keys[CATALOG_BATCH][256];
    struct slice slices[CATALOG_BATCH];
    uint64_t hashes[CATALOG_BATCH];

    for (int pass = 0; pass < 3; pass++) {
        uint64_t chance = (uint64_t)pass + 7, start = meter_cpu_ns();

        for (uint32_t i = 0; i < LOOKUPS; i++) {
            uint32_t at = i % CATALOG_BATCH;
            uint32_t number =
                (uint32_t)((chance = chance * 6364136223846793005u + 1442695040888963407u) >> 33) %
                series_count;
            size_t size = make_key(order, number, keys[at]);

            slices[at] = (struct slice){keys[at], size};
            hashes[at] = key_hash(keys[at], size);
            if (pass == 1)
                CHECK(catalog_find(shards[key_shard(hashes[at], shard_count)].catalog, keys[at],
                                   size, hashes[at]) != CATALOG_NONE);
            if (pass == 2 && at == CATALOG_BATCH - 1)
                look_up_batch(slices, hashes);
        }
        spent[pass] = meter_cpu_ns() - start - (pass > 0 ? spent[0] : 0);
    }
    meter_report(name, what, (double)spent[1] / LOOKUPS, "ns");
    if (shard_count == 1)
        meter_report(name, "lookup, of a batch", (double)spent[2] / LOOKUPS, "ns");
}

static void match(const char *name, const char *what, struct query_match first,
                  const struct query_match *second)
{
    struct query query = {.database = "factory", .table = "measurements", .where_count = 1};
    struct scan_limits limits = {0};
    uint64_t found = 0, best = UINT64_MAX;
    char text[64];

    query.where[0] = first;
    if (second != NULL)
        query.where[query.where_count++] = *second;
    for (int turn = 0; turn < 3; turn++) {
        uint64_t start = meter_cpu_ns();

        found = 0;
        for (uint32_t i = 0; i < shard_count; i++) {
            struct catalog_view view = catalog_view(shards[i].catalog);
            struct scan_match match;

            meter_must(scan_match_find(&view, &query, &limits, &match));
            found += match.count;
            scan_match_fini(&match);
            catalog_view_fini(&view);
        }
        best = meter_cpu_ns() - start < best ? meter_cpu_ns() - start : best;
    }
    (void)snprintf(text, sizeof text, "%s: %" PRIu64, what, found);
    meter_report(name, text, (double)best / 1e6, "ms");
}

static void match_all(const char *name)
{
    struct query_match sensor = {"sensor", "pressure", QUERY_EQUAL};
    struct query_match line = {"line", "line-0[1-3]", QUERY_MATCHES};

    match(name, "device=", (struct query_match){"device", "press-00123456", QUERY_EQUAL}, NULL);
    match(name, "site=, sensor=", (struct query_match){"site", "plant-017", QUERY_EQUAL}, &sensor);
    match(name, "site=, line=~", (struct query_match){"site", "plant-017", QUERY_EQUAL}, &line);
    match(name, "sensor!=", (struct query_match){"sensor", "pressure", QUERY_NOT_EQUAL}, NULL);
    match(name, "device=~prefix", (struct query_match){"device", "press-00123.*", QUERY_MATCHES},
          NULL);
    match(name, "device=~", (struct query_match){"device", ".*9999", QUERY_MATCHES}, NULL);
}

static enum err count_rows(void *arg, const struct columns *batch)
{
    *(uint64_t *)arg += batch->rows;
    return ERR_OK;
}

static void tell(const char *name, const char *what, const struct query *query)
{
    struct scan_limits limits = {.memory_bytes = UINT64_MAX, .result_bytes = UINT64_MAX};
    uint64_t rows = 0, start = meter_cpu_ns();
    char text[64];

    for (uint32_t i = 0; i < shard_count; i++) {
        struct catalog_view view = catalog_view(shards[i].catalog);
        struct snapshot snapshot = {.series = &view};

        meter_must(scan_labels(&snapshot, query, &limits, count_rows, &rows));
        catalog_view_fini(&view);
    }
    (void)snprintf(text, sizeof text, "%s: %" PRIu64, what, rows);
    meter_report(name, text, (double)(meter_cpu_ns() - start) / 1e6, "ms");
}

static void tell_all(const char *name)
{
    struct query query = {.database = "factory", .table = "measurements", .about = QUERY_LABELS};

    tell(name, "labels", &query);
    query.about = QUERY_VALUES;
    query.fields[query.field_count++] = "site";
    tell(name, "values of site", &query);
    query.where[query.where_count++] = (struct query_match){"line", "line-07", QUERY_EQUAL};
    tell(name, "values of site, line=", &query);
    query.where[0] = (struct query_match){"device", "press-0077777.", QUERY_MATCHES};
    query.about = QUERY_SERIES;
    tell(name, "series, device=~", &query);
}

static void restart(const char *name, enum order order)
{
    uint64_t before, anon, start;
    char key[256];

    close_all();
    anon = resident("RssAnon:");
    before = resident("RssFile:");
    start = clk_now_ns();
    open_all();
    meter_report(name, "start", (double)(clk_now_ns() - start) / 1e6, "ms");
    meter_report(name, "resident after start",
                 (double)(resident("RssAnon:") + resident("RssFile:") - anon - before) /
                     series_count,
                 "bytes a series");
    look_up(name, order, "lookup, first");
    look_up(name, order, "lookup");
    match_all(name);
    tell_all(name);
    meter_report(name, "resident, own",
                 ((double)resident("RssAnon:") - (double)anon) / series_count, "bytes a series");
    meter_report(name, "resident, all touched",
                 ((double)resident("RssAnon:") + (double)resident("RssFile:") - (double)anon -
                  (double)before) /
                     series_count,
                 "bytes a series");
    /* A log tail: as many series again are replayed. */
    start = meter_cpu_ns();
    for (uint32_t i = 0; i < TAIL; i++) {
        size_t size = make_key(order == UNIQUE ? UNIQUE : ORDERED, series_count + SENSORS + i, key);
        uint64_t hash = key_hash(key, size);

        add(&shards[key_shard(hash, shard_count)], (struct slice){key, size}, hash);
    }
    meter_report(name, "replay of 200000 new series", (double)(meter_cpu_ns() - start) / 1e6, "ms");
}

static void run(const char *name, enum order order, uint32_t count)
{
    if (!meter_wants(name))
        return;
    begin(count);
    fill(name, order);
    restart(name, order);
    close_all();
    remove_all();
}

int main(int argc, char **argv)
{
    const char *count = meter_init("catalog", argc, argv);

    if (count != NULL)
        series_count = (uint32_t)strtoul(count, NULL, 10);
    dir = meter_make_dir();
    run("random", RANDOM, SHARDS);
    run("ordered", ORDERED, SHARDS);
    run("one", RANDOM, 1);
    run("unique", UNIQUE, SHARDS);
    (void)remove(dir);
    meter_fini();
    return 0;
}
