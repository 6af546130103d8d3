/*
 * What a shard's storage costs: bench.store [--json]
 *
 *   wide      1000 series, rows of 10 two-decimal floats, blocks of 10000 rows: admission, apply,
 *             seal (which copies by slices: about 90 MB decoded)
 *   fleet     25000 series, rows of 10 floats, blocks of 2500 rows, each of a tenth of the series:
 *             what a shard of four gets from 100000 devices that report in turn
 *   narrow    100000 series, rows of one float, blocks of 10000 rows
 *   last      the newest value of one of 100000 series, in process: a million rows in a segment,
 *             then as many in 100 blocks of the head, too; by scans, and from memory: in random
 *             order, each question after the answer of the one before; known ones, and those that
 *             nobody has asked for, sealed or in the head. What following applied
 *             blocks costs when none, one in a hundred or all of the series are asked for.
 *   last-1m   the same of a million series, one row each in the segment
 *   fresh     a million new series of one row, blocks of 10000: a leader, and a follower
 *
 * In a folder of $TMPDIR (or /tmp) that is removed at the end, with real syncs. One thread; times
 * are of its CPU.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/clk.h"
#include "storage/block/block_builder.h"
#include "storage/block/seal_order.h"
#include "storage/scan.h"
#include "storage/store_last.h"
#include "tests/bench/meter.h"

enum {
    SERIES = 1000000,
    ROWS = 1000000,
    BLOCK_ROWS = 10000,
    BLOCK_ROWS_MIN = 2500,
    BLOCKS = 100,
    SEALS = 7,
    ASKS = 1000,
    FIRST_ASKS = 10000,
    LAST_BYTES = 320, /* A series: for its line, its share of the indexes, and its key. */
};

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

static struct buf *make_entry(struct block_builder *builder, uint32_t block, uint32_t rows,
                              uint32_t series, uint32_t fields, const struct store *store)
{
    struct entry_header header = {.kind = ENTRY_BLOCK};
    struct buf *entry;
    char key[256];
    char name[16];

    for (uint32_t row = 0; row < rows; row++) {
        uint64_t number = (uint64_t)block * rows + row;
        size_t size = make_key((uint32_t)(number % series), key, sizeof key);
        uint64_t hash = key_hash(key, size);
        uint32_t handle;

        meter_must(block_builder_series(builder, key, size, 16, hash,
                                        store_find_series(store, key, size, hash), &handle));
        meter_must(block_builder_row(builder, handle,
                                     (int64_t)(number / series) * NS_PER_S + (int64_t)number));
        for (uint32_t f = 0; f < fields; f++) {
            int name_size = snprintf(name, sizeof name, "field_%u", f);

            meter_must(
                block_builder_value(builder, name, (size_t)name_size, FIELD_FLOAT, random_float()));
        }
    }
    meter_must(block_builder_finish(builder, sizeof header, &entry, NULL));
    header.size = entry->size;
    entry_stamp(&header);
    memcpy(entry->bytes, &header, sizeof header);
    return entry;
}

/* What the seal takes of the CPU. */
static uint64_t seal_ns(struct store *store)
{
    struct buf *entry =
        seal_order_entry(0, store_applied_index(store), &(struct seal_content){.databases = NULL});
    enum store_outcome outcome;
    struct seal_job *job;
    uint64_t start;

    CHECK(entry != NULL);
    meter_must(store_apply(store, store_applied_index(store) + 1, entry, &outcome, &job));
    start = meter_cpu_ns();
    meter_must(seal_run(job));
    start = meter_cpu_ns() - start;
    store_seal_done(store, job, false);
    buf_unref(entry);
    return start;
}

static void seal(struct store *store, const char *name, double rows, double values)
{
    uint64_t ns = seal_ns(store);
    struct store_stats stats;

    store_stats(store, &stats);
    meter_report(name, "seal", (double)ns / rows, "ns a row");
    meter_report(name, "seal", (double)ns / values, "ns a value");
    meter_report(name, "segment", (double)stats.segment_bytes / values, "bytes a value");
}

static struct store *open_store(const char *dir, uint64_t last_bytes)
{
    struct store_options options = {.disk = disk_system(),
                                    .dir = dir,
                                    .series_max = SERIES,
                                    .head_bytes_max = UINT64_MAX,
                                    .seal_bytes = UINT64_MAX,
                                    .producers_max = 16,
                                    .last_bytes = last_bytes};
    struct store *store;

    meter_must(store_open(&options, &store));
    return store;
}

static void apply(struct store *store, struct buf *entry)
{
    enum store_outcome outcome;
    struct seal_job *job;

    meter_must(store_apply(store, store_applied_index(store) + 1, entry, &outcome, &job));
    CHECK(outcome == STORE_APPLIED);
}

/* A seal of the same blocks as the first: the machine is noisy, so the quickest counts. */
static uint64_t seal_again_ns(struct buf *const *entries, uint32_t count)
{
    const char *dir = meter_make_dir();
    struct store *store = open_store(dir, 0);
    uint64_t ns;

    for (uint32_t i = 0; i < count; i++)
        apply(store, entries[i]);
    ns = seal_ns(store);
    store_close(store);
    meter_remove_dir(dir);
    return ns;
}

/* Applying the same blocks, while it is noted which series they have (last_where.h), or not. */
static uint64_t apply_again_ns(struct buf *const *entries, uint32_t count, bool noted)
{
    const char *dir = meter_make_dir();
    struct store *store = open_store(dir, 0);
    uint32_t field = store_last_field(store, (struct slice){"field_0", 7});
    struct last_value value;
    uint64_t start;

    apply(store, entries[0]);
    if (noted)
        CHECK(store_last_look(store, 0, field, &value) == LAST_VALUE);
    start = meter_cpu_ns();
    for (uint32_t i = 1; i < count; i++)
        apply(store, entries[i]);
    start = meter_cpu_ns() - start;
    store_close(store);
    meter_remove_dir(dir);
    return start;
}

/* By turns, the quickest of each. */
static void bench_noting(const char *name, struct buf *const *entries, uint32_t count)
{
    uint64_t best_ns[2] = {UINT64_MAX, UINT64_MAX};

    for (uint32_t i = 0; i < 2 * SEALS; i++) {
        uint64_t ns = apply_again_ns(entries, count, i % 2 == 1);

        best_ns[i % 2] = ns < best_ns[i % 2] ? ns : best_ns[i % 2];
    }
    for (uint32_t i = 0; i < 2; i++)
        meter_report(name, i == 0 ? "apply, best of 7" : "apply, noted, best of 7",
                     (double)best_ns[i] / ROWS * count / (count - 1), "ns a row");
}

static void bench_store(const char *name, uint32_t series, uint32_t fields, uint32_t block_rows)
{
    static struct buf *entries[ROWS / BLOCK_ROWS_MIN];
    double rows = ROWS;
    const char *dir;
    struct block_builder *builder;
    struct store *store;
    struct store_stats stats;
    uint32_t count = ROWS / block_rows;
    uint64_t admit_ns = 0, apply_ns = 0, best_ns = UINT64_MAX, start;

    if (!meter_wants(name))
        return;
    dir = meter_make_dir();
    meter_must(block_builder_new(&builder));
    store = open_store(dir, 0);
    for (uint32_t i = 0; i < count; i++) {
        bool duplicate;

        entries[i] = make_entry(builder, i, block_rows, series, fields, store);
        start = meter_cpu_ns();
        meter_must(store_admit(store, entries[i], 1, &duplicate));
        admit_ns += meter_cpu_ns() - start;
        start = meter_cpu_ns();
        apply(store, entries[i]);
        apply_ns += meter_cpu_ns() - start;
    }
    store_stats(store, &stats);
    meter_report(name, "admit", (double)admit_ns / rows, "ns a row");
    meter_report(name, "apply", (double)apply_ns / rows, "ns a row");
    meter_report(name, "head", (double)stats.head_bytes / rows / fields, "bytes a value");
    seal(store, name, rows, rows * fields);
    store_close(store);
    block_builder_free(builder);
    meter_remove_dir(dir);
    for (uint32_t i = 0; i < SEALS; i++) {
        start = seal_again_ns(entries, count);
        best_ns = start < best_ns ? start : best_ns;
    }
    meter_report(name, "seal, best of 7", (double)best_ns / rows / fields, "ns a value");
    bench_noting(name, entries, count);
    for (uint32_t i = 0; i < count; i++)
        buf_unref(entries[i]);
}

/* Every row of a new series: a leader's admission and apply, the ids for the answer, and a
 * follower's apply, which has to look for the keys itself. */
static void bench_fresh(const char *name)
{
    static uint32_t ids[BLOCK_ROWS];
    char dirs[2][4096];
    struct store *stores[2];
    uint64_t admit_ns = 0, apply_ns = 0, ids_ns = 0, follow_ns = 0, start;
    struct block_builder *builder;

    if (!meter_wants(name))
        return;
    meter_must(block_builder_new(&builder));
    for (int i = 0; i < 2; i++) {
        (void)snprintf(dirs[i], sizeof dirs[i], "%s", meter_make_dir());
        stores[i] = open_store(dirs[i], 0);
    }
    for (uint32_t i = 0; i < BLOCKS; i++) {
        struct buf *entry = make_entry(builder, i, BLOCK_ROWS, SERIES, 1, stores[0]);
        struct block_view view;
        bool duplicate;

        start = meter_cpu_ns();
        meter_must(store_admit(stores[0], entry, 1, &duplicate));
        admit_ns += meter_cpu_ns() - start;
        start = meter_cpu_ns();
        apply(stores[0], entry);
        apply_ns += meter_cpu_ns() - start;
        start = meter_cpu_ns();
        view = block_view_again(entry->bytes + sizeof(struct entry_header),
                                entry->size - sizeof(struct entry_header));
        store_fresh_ids(stores[0], &view, ids);
        ids_ns += meter_cpu_ns() - start;
        start = meter_cpu_ns();
        apply(stores[1], entry);
        follow_ns += meter_cpu_ns() - start;
        buf_unref(entry);
    }
    meter_report(name, "admit", (double)admit_ns / SERIES, "ns a series");
    meter_report(name, "apply", (double)apply_ns / SERIES, "ns a series");
    meter_report(name, "ids", (double)ids_ns / SERIES, "ns a series");
    meter_report(name, "apply, follower", (double)follow_ns / SERIES, "ns a series");
    for (int i = 0; i < 2; i++) {
        store_close(stores[i]);
        meter_remove_dir(dirs[i]);
    }
    block_builder_free(builder);
}

static enum err count_rows(void *arg, const struct columns *batch)
{
    *(uint64_t *)arg += batch->rows;
    return ERR_OK;
}

/* The newest value of one series, found by a tag: snapshot, search and all. */
static void ask_last(struct store *store, const char *name, const char *what, uint32_t series)
{
    struct scan_limits limits = {.memory_bytes = UINT64_MAX, .result_bytes = UINT64_MAX};
    uint64_t rows = 0, start = meter_cpu_ns();

    for (uint32_t i = 0; i < ASKS; i++) {
        struct query query = {.database = "factory",
                              .table = "sensors",
                              .field_count = 1,
                              .fields = {"field_0"},
                              .where_count = 1,
                              .from_ns = INT64_MIN,
                              .to_ns = INT64_MAX,
                              .last = true};
        struct snapshot *snapshot = store_snapshot(store);
        char host[32];

        CHECK(snapshot != NULL);
        chance = chance * 6364136223846793005u + 1442695040888963407u;
        (void)snprintf(host, sizeof host, "device-%08u", (uint32_t)(chance >> 33) % series);
        query.where[0] = (struct query_match){"host", host, QUERY_EQUAL};
        meter_must(scan_rows(snapshot, &query, &limits, count_rows, &rows));
        snapshot_free(snapshot);
    }
    CHECK(rows == ASKS);
    meter_report(name, what, (double)(meter_cpu_ns() - start) / 1e3 / ASKS, "us");
}

/* ---- Last values from memory --------------------------------------------------------------- */

/* In random order: series, their ids, and their keys one behind the other. */
struct asked {
    uint32_t count;
    uint32_t first; /* Nobody has asked for it, and for those behind it. */
    uint32_t *ids;
    char (*keys)[64];
    uint8_t *sizes;
};

static struct asked make_asked(const struct store *store, uint32_t series)
{
    struct asked asked = {.count = series,
                          .ids = malloc(series * sizeof *asked.ids),
                          .keys = malloc(series * sizeof *asked.keys),
                          .sizes = malloc(series)};

    CHECK(asked.ids != NULL && asked.keys != NULL && asked.sizes != NULL);
    for (uint32_t i = 0; i < series; i++)
        asked.ids[i] = i;
    for (uint32_t i = series - 1; i > 0; i--) {
        uint32_t other, number = asked.ids[i];

        chance = chance * 6364136223846793005u + 1442695040888963407u;
        other = (uint32_t)(chance >> 33) % (i + 1);
        asked.ids[i] = asked.ids[other];
        asked.ids[other] = number;
    }
    for (uint32_t i = 0; i < series; i++) {
        size_t size = make_key(asked.ids[i], asked.keys[i], sizeof asked.keys[i]);

        asked.sizes[i] = (uint8_t)size;
        asked.ids[i] = store_find_series(store, asked.keys[i], size, key_hash(asked.keys[i], size));
    }
    return asked;
}

static void free_asked(struct asked *asked)
{
    free(asked->ids);
    free(asked->keys);
    free(asked->sizes);
}

/* The last value of each `step`-th series is known, as if it had been asked for now. */
static void know_some(struct store *store, uint32_t series, uint32_t step)
{
    struct slice name = {"field_0", 7};
    uint32_t field = store_last_field(store, name);
    struct last_value value;

    for (uint32_t id = 0; id < series; id += step) {
        meter_must(store_last_read(store, id, 1, name));
        CHECK(store_last(store, id, field, &value) == LAST_VALUE);
    }
}

/* The same of series 0 to count - 1. */
static void know(struct store *store, uint32_t count)
{
    struct slice name = {"field_0", 7};
    uint32_t field = store_last_field(store, name);
    struct last_value value;

    for (uint32_t id = 0; id < count; id += LAST_SERIES_MAX) {
        uint32_t some = count - id < LAST_SERIES_MAX ? count - id : LAST_SERIES_MAX;

        meter_must(store_last_read(store, id, some, name));
    }
    for (uint32_t id = 0; id < count; id++)
        CHECK(store_last(store, id, field, &value) == LAST_VALUE);
}

enum ask { BY_ID, BY_KEY, BY_CATALOG };

/* Each question waits for the answer before it: its place depends on that one's type. */
static void ask_known(struct store *store, const char *name, const char *what,
                      const struct asked *asked, enum ask ask)
{
    uint32_t field = store_last_field(store, (struct slice){"field_0", 7});
    uint32_t at = 0, missed = 0;
    uint64_t start = meter_cpu_ns();

    for (uint32_t i = 0; i < asked->count; i++) {
        struct last_value value = {.type = FIELD_FLOAT};
        struct slice key = {asked->keys[at], asked->sizes[at]};
        enum last_answer answer;

        if (ask == BY_ID)
            answer = store_last(store, asked->ids[at], field, &value);
        else if (ask == BY_KEY)
            answer = store_last_by_key(store, key, key_hash(key.data, key.size), field, &value);
        else
            answer = store_last(
                store, store_find_series(store, key.data, key.size, key_hash(key.data, key.size)),
                field, &value);
        missed += answer != LAST_VALUE;
        at += (uint32_t)value.type;
    }
    CHECK(at == asked->count * (uint32_t)FIELD_FLOAT);
    CHECK(missed == 0);
    meter_report(name, what, (double)(meter_cpu_ns() - start) / asked->count, "ns");
}

/* Of series that nobody has asked for: the next ones from asked->first on. */
static void ask_unknown(struct store *store, const char *name, const char *what,
                        struct asked *asked, bool read)
{
    struct slice name_of = {"field_0", 7};
    uint32_t field = store_last_field(store, name_of), asks = 0;
    uint64_t start = meter_cpu_ns();

    for (; asks < FIRST_ASKS; asks++) {
        uint32_t id = asked->ids[asked->first++];
        struct last_value value;

        if (!read) {
            CHECK(store_last_look(store, id, field, &value) == LAST_VALUE);
            continue;
        }
        CHECK(store_last(store, id, field, &value) == LAST_UNKNOWN);
        meter_must(store_last_read(store, id, 1, name_of));
        CHECK(store_last(store, id, field, &value) == LAST_VALUE);
    }
    meter_report(name, what, (double)(meter_cpu_ns() - start) / 1e3 / FIRST_ASKS, "us");
}

static void write_blocks(struct store *store, uint32_t series, uint32_t first, uint32_t end,
                         const char *name, const char *what)
{
    struct block_builder *builder;
    uint64_t apply_ns = 0;

    meter_must(block_builder_new(&builder));
    for (uint32_t i = first; i < end; i++) {
        struct buf *entry = make_entry(builder, i, BLOCK_ROWS, series, 1, store);
        bool duplicate;
        uint64_t start;

        meter_must(store_admit(store, entry, 1, &duplicate));
        start = meter_cpu_ns();
        apply(store, entry);
        apply_ns += meter_cpu_ns() - start;
        buf_unref(entry);
    }
    if (what != NULL)
        meter_report(name, what, (double)apply_ns / (end - first) / BLOCK_ROWS, "ns a row");
    block_builder_free(builder);
}

/* The same without memory for it: what is read of a segment is not there for the next question. */
static void ask_closed(const char *dir, const char *name, const struct asked *asked)
{
    struct store *store = open_store(dir, 0);
    uint64_t start = meter_cpu_ns();

    for (uint32_t i = 0; i < ASKS; i++)
        meter_must(store_last_read(store, asked->ids[i], 1, (struct slice){"field_0", 7}));
    meter_report(name, "unknown id, sealed, group not open",
                 (double)(meter_cpu_ns() - start) / 1e3 / ASKS, "us");
    store_close(store);
}

/* Nobody has asked for them: in a store of its own, because they are followed from then on. */
static void bench_unknown(const char *name, uint32_t series)
{
    const char *dir = meter_make_dir();
    struct store *store = open_store(dir, (uint64_t)series * LAST_BYTES);
    struct asked asked;

    write_blocks(store, series, 0, BLOCKS, name, NULL);
    (void)seal_ns(store);
    asked = make_asked(store, series);
    ask_unknown(store, name, "unknown id, sealed", &asked, true);
    ask_unknown(store, name, "unknown id, sealed, again", &asked, true);
    write_blocks(store, series, BLOCKS, 2 * BLOCKS, name, NULL);
    ask_unknown(store, name, "unknown id, in the head", &asked, false);
    ask_unknown(store, name, "unknown id, in the head, again", &asked, false);
    store_close(store);
    ask_closed(dir, name, &asked);
    free_asked(&asked);
    meter_remove_dir(dir);
}

static void bench_known(struct store *store, const char *name, uint32_t series)
{
    struct asked asked = make_asked(store, series);
    struct store_stats stats;

    know(store, series);
    ask_known(store, name, "known id", &asked, BY_ID);
    ask_known(store, name, "known id, again", &asked, BY_ID);
    store_stats(store, &stats);
    CHECK(stats.last_series == series);
    meter_report(name, "memory", (double)stats.last_bytes / series, "bytes a series");
    meter_report(name, "memory of ten million", (double)stats.last_bytes / series * 1e7 / 1048576,
                 "MiB");
    ask_known(store, name, "id by the catalog", &asked, BY_CATALOG);
    ask_known(store, name, "known id, new key", &asked, BY_KEY);
    ask_known(store, name, "known key", &asked, BY_KEY);
    ask_known(store, name, "known key, again", &asked, BY_KEY);
    store_stats(store, &stats);
    CHECK(stats.last_series == series);
    meter_report(name, "memory with keys", (double)stats.last_bytes / series, "bytes a series");
    free_asked(&asked);
}

static void bench_last(const char *name, uint32_t series)
{
    uint32_t round = series / BLOCK_ROWS, at = BLOCKS;
    const char *dir;
    struct store *store;

    if (!meter_wants(name))
        return;
    dir = meter_make_dir();
    store = open_store(dir, (uint64_t)series * LAST_BYTES);
    write_blocks(store, series, 0, BLOCKS, name, NULL);
    seal(store, name, (double)BLOCKS * BLOCK_ROWS, (double)BLOCKS * BLOCK_ROWS);
    ask_last(store, name, "last, sealed", series);
    write_blocks(store, series, at, at + BLOCKS, name, NULL);
    at += BLOCKS;
    ask_last(store, name, "last, in the head", series);
    write_blocks(store, series, at, at + round, name, "apply, none is asked");
    at += round;
    know_some(store, series, 100);
    write_blocks(store, series, at, at + round, name, "apply, 1 in 100 is asked");
    at += round;
    bench_known(store, name, series);
    write_blocks(store, series, at, at + round, name, "apply, all are asked");
    store_close(store);
    meter_remove_dir(dir);
    bench_unknown(name, series);
}

int main(int argc, char **argv)
{
    (void)meter_init("store", argc, argv);
    bench_store("wide", 1000, 10, BLOCK_ROWS);
    bench_store("fleet", 25000, 10, BLOCK_ROWS_MIN);
    bench_store("narrow", 100000, 1, BLOCK_ROWS);
    bench_fresh("fresh");
    bench_last("last", 100000);
    bench_last("last-1m", SERIES);
    meter_fini();
    return 0;
}
