/*
 * How fast one core answers queries:
 *
 *     bench.scan [--json FILE] [--question NAME] [--place NAME] [--runs N] [--series N] [SET...]
 *
 * Each set of data is asked three times: as blocks of the head, with its older half in a segment
 * (mixed), and as one segment (sealed, in the page cache).
 *
 *   fleet     1000 devices, 8 rows of each in a block of 8000 rows, as clients send them; a row has
 *             10 float fields of two decimals
 *   history   20 devices with long runs in each block, as sealed data has: the same fields
 *   wide      100000 devices, one row each in a block: what a run costs
 *   crossed   100 devices, 100 rows of each in a block; every other block was overtaken by the next
 *             one, as happens with several senders
 *   many      as many devices as --series says, with three rows of two fields, mixed only: what a
 *             series costs. The bench itself needs about 200 bytes for each, a scan what its limits
 *             say.
 *
 * Points/s of CPU time of the thread; best of several runs, after one warm-up. A point is a value
 * that the query had to look at: rows that match times fields asked for. Data from a fixed seed.
 */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "storage/base/check.h"
#include "storage/block/block_builder.h"
#include "storage/block/block_reader.h"
#include "storage/block/entry.h"
#include "storage/catalog_build.h"
#include "storage/merge.h"
#include "storage/scan.h"

enum { FIELDS = 10, MANY = 1000000, HEADROOM = sizeof(struct entry_header), BLOCK_ROWS = 20000 };

static FILE *json;
static const char *separator = "";

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int runs = 5;
static const char *only; /* The one question to ask; NULL: all. */
static const char *only_place;
static const char *place; /* head, mixed or sealed */

static void report(const char *set, const char *question, double points_a_second, double took_ms)
{
    printf("%-8s %-7s %-22s %9.1f M points/s %9.3f ms\n", set, place, question,
           points_a_second / 1e6, took_ms);
    if (json == NULL)
        return;
    (void)fprintf(json,
                  "%s\n  {\"bench\": \"scan\", \"set\": \"%s\", \"place\": \"%s\", "
                  "\"metric\": \"%s points/s\", \"value\": %.0f, \"ms\": %.3f}",
                  separator, set, place, question, points_a_second, took_ms);
    separator = ",";
}

/* ---- Data ---------------------------------------------------------------------------------- */

static const char *const names[FIELDS] = {"f0", "f1", "f2", "f3", "f4",
                                          "f5", "f6", "f7", "f8", "f9"};

struct set {
    const char *name;
    uint32_t series, blocks, rows; /* Rows of each series in a block. */
    bool crossed;
};

struct data {
    struct catalog *catalog;
    struct catalog_view view;
    struct snapshot snapshot;
    uint32_t series;
    uint32_t fields;
    uint32_t first, last; /* Series of the block that is being built. */
    uint64_t rows;
};

static uint64_t state;

static double random_value(uint32_t series, int64_t row, uint32_t field)
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    return round((20 + series % 50 + field + sin((double)row / 50) + (double)(z >> 54) / 512) *
                 100) /
           100;
}

static size_t write_key(uint32_t series, char *key, size_t room)
{
    char host[16], site[16];
    struct tag tags[2] = {{{"host", 4}, {host, 0}}, {{"site", 4}, {site, 0}}};

    tags[0].value.size = (size_t)snprintf(host, sizeof host, "h%08u", series);
    tags[1].value.size = (size_t)snprintf(site, sizeof site, "s%u", series % 16);
    return key_write((struct slice){"db", 2}, (struct slice){"cpu", 3}, tags, 2, key, room);
}

/* As a seal does it: without that, matching looks at every key. */
static void make_run(struct catalog *catalog)
{
    struct catalog_run *run;
    struct catalog_view view;

    CHECK(catalog_freeze(catalog, &view) == ERR_OK);
    CHECK(catalog_build(&view, 0, view.count, 0, NULL, &run) == ERR_OK);
    CHECK(catalog_adopt(catalog, run) == ERR_OK);
    catalog_run_unref(run);
    catalog_view_fini(&view);
}

static void make_catalog(struct data *data, uint32_t series)
{
    CHECK(catalog_new(&data->catalog) == ERR_OK);
    for (uint32_t i = 0; i < series; i++) {
        char key[256];
        size_t size = write_key(i, key, sizeof key);

        CHECK(catalog_add(data->catalog, (struct slice){key, size}, 7, key_hash(key, size)) ==
              ERR_OK);
        catalog_confirm(data->catalog);
    }
    make_run(data->catalog);
    data->series = series;
    data->view = catalog_view(data->catalog);
    data->snapshot.series = &data->view;
}

static void add_row(struct data *data, struct block_builder *builder, uint32_t series, int64_t row)
{
    char key[256];
    size_t size = write_key(series, key, sizeof key);
    uint32_t number;

    CHECK(block_builder_series(builder, key, size, 7, key_hash(key, size), series, &number) ==
          ERR_OK);
    CHECK(block_builder_row(builder, number, row * 10000000000) == ERR_OK);
    data->first = series < data->first ? series : data->first;
    data->last = series > data->last ? series : data->last;
    for (uint32_t f = 0; f < data->fields; f++) {
        double value = random_value(series, row, f);
        uint64_t bits;

        memcpy(&bits, &value, sizeof bits);
        CHECK(block_builder_value(builder, names[f], 2, FIELD_FLOAT, bits) == ERR_OK);
    }
}

static void add_source(struct data *data, struct block_builder *builder)
{
    struct snapshot_source *source = &data->snapshot.sources[data->snapshot.source_count++];
    struct block_view view;

    *source = (struct snapshot_source){.offset = HEADROOM, .table_max = CATALOG_NONE};
    CHECK(block_builder_finish(builder, HEADROOM, &source->entry, NULL) == ERR_OK);
    source->size = source->entry->size - HEADROOM;
    CHECK(block_view(source->entry->bytes + HEADROOM, source->size, true, &view) == ERR_OK);
    source->rows = view.header.rows;
    source->time_min_ns = view.header.time_min_ns;
    source->time_max_ns = view.header.time_max_ns;
    source->series_min = data->first;
    source->series_max = data->last;
    data->first = UINT32_MAX;
    data->last = 0;
    data->rows += source->rows;
}

/* Blocks with `rows` rows of each series, one behind the other in time. */
static void make_data(struct data *data, uint32_t series, uint32_t fields, uint32_t blocks,
                      uint32_t rows)
{
    struct block_builder *builder;
    int64_t row = 0;

    *data = (struct data){.fields = fields, .first = UINT32_MAX};
    state = 1;
    make_catalog(data, series);
    CHECK(block_builder_new(&builder) == ERR_OK);
    data->snapshot.sources =
        calloc((size_t)blocks * (series * rows / BLOCK_ROWS + 2), sizeof *data->snapshot.sources);
    CHECK(data->snapshot.sources != NULL);
    for (uint32_t block = 0; block < blocks; block++, row += rows) {
        for (uint32_t i = 0; i < series; i++) {
            if (block_builder_rows(builder) + rows > BLOCK_ROWS)
                add_source(data, builder);
            for (uint32_t r = 0; r < rows; r++)
                add_row(data, builder, i, row + r);
        }
        add_source(data, builder);
    }
    block_builder_free(builder);
}

static void free_sources(const struct data *data)
{
    for (uint32_t i = 0; i < data->snapshot.source_count; i++) {
        buf_unref(data->snapshot.sources[i].entry);
        segment_unref(data->snapshot.sources[i].segment);
    }
    free(data->snapshot.sources);
}

static void free_data(struct data *data)
{
    free_sources(data);
    catalog_view_fini(&data->view);
    catalog_free(data->catalog);
}

/* ---- Sealing ------------------------------------------------------------------------------- */

/* The first `count` sources as a segment, whose file has no name any more. */
static struct segment *seal(const struct data *data, uint32_t count)
{
    char dir[] = "/tmp/bench_scan.XXXXXX", name[SEGMENT_NAME_SIZE], path[64];
    struct segment_info info = {.number = 1, .first_index = 1, .last_index = 1};
    struct head_block *blocks = calloc(count, sizeof *blocks);
    struct segment_writer *writer;
    struct segment *segment;

    CHECK(blocks != NULL && mkdtemp(dir) != NULL);
    for (uint32_t i = 0; i < count; i++) {
        const struct snapshot_source *source = &data->snapshot.sources[i];

        blocks[i] = (struct head_block){.entry = source->entry,
                                        .index = i + 1,
                                        .size = source->size,
                                        .rows = source->rows,
                                        .time_min_ns = source->time_min_ns,
                                        .time_max_ns = source->time_max_ns,
                                        .series_min = source->series_min,
                                        .series_max = source->series_max};
    }
    CHECK(segment_writer_new(disk_system(), dir, 0, &info, &writer) == ERR_OK);
    CHECK(merge_blocks(blocks, count, &data->view, NULL, 64 << 20, NULL, writer) == ERR_OK);
    CHECK(segment_writer_finish(writer, &info) == ERR_OK);
    segment_writer_free(writer);
    CHECK(segment_open(disk_system(), dir, 0, &info, &segment) == ERR_OK);
    segment_name(1, name);
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    CHECK(unlink(path) == 0 && rmdir(dir) == 0);
    printf("         %.3f bytes a value in a segment of %.1f M values\n",
           (double)info.size / (double)info.points, (double)info.points / 1e6);
    free(blocks);
    return segment;
}

/* The same data, its first `count` sources as the groups of a segment. */
static struct data seal_some(const struct data *data, uint32_t count)
{
    struct segment *segment = seal(data, count);
    struct data sealed = *data;
    struct snapshot *snapshot = &sealed.snapshot;
    uint32_t groups = segment_groups(segment);

    snapshot->series = &sealed.view;
    snapshot->source_count = 0;
    snapshot->sources =
        calloc(groups + data->snapshot.source_count - count + 1, sizeof *snapshot->sources);
    CHECK(snapshot->sources != NULL);
    for (uint32_t i = 0; i < groups; i++) {
        const struct segment_group *group = segment_group(segment, i);

        snapshot->sources[snapshot->source_count++] =
            (struct snapshot_source){.segment = segment_ref(segment),
                                     .group = i,
                                     .rows = group->rows,
                                     .time_min_ns = group->time_min_ns,
                                     .time_max_ns = group->time_max_ns,
                                     .series_min = group->series_min,
                                     .series_max = group->series_max};
    }
    for (uint32_t i = count; i < data->snapshot.source_count; i++) {
        snapshot->sources[snapshot->source_count] = data->snapshot.sources[i];
        (void)buf_ref(snapshot->sources[snapshot->source_count++].entry);
    }
    segment_unref(segment);
    return sealed;
}

/* ---- Questions ----------------------------------------------------------------------------- */

static const struct scan_limits limits = {.memory_bytes = 64 << 20, .result_bytes = UINT64_MAX};

static enum err drop(void *arg, const struct columns *batch)
{
    *(uint64_t *)arg += batch->rows;
    return ERR_OK;
}

static void answer(const struct data *data, const struct query *query)
{
    struct aggregate *aggregate;
    struct columns columns;
    uint64_t rows = 0;

    if (query->agg == QUERY_RAW) {
        CHECK(scan_rows(&data->snapshot, query, &limits, drop, &rows) == ERR_OK);
        CHECK(rows > 0);
        return;
    }
    CHECK(aggregate_new(query, 1u << 30, &aggregate) == ERR_OK);
    CHECK(scan_aggregate(&data->snapshot, query, &limits, aggregate) == ERR_OK);
    CHECK(aggregate_finish(aggregate, &columns) == ERR_OK);
    CHECK(columns.rows > 0);
    columns_fini(&columns);
    aggregate_free(aggregate);
}

static void measure(const char *set, const struct data *data, const char *question,
                    const struct query *query, uint64_t points)
{
    uint64_t best = UINT64_MAX;

    if ((only != NULL && strcmp(only, question) != 0) ||
        (only_place != NULL && strcmp(only_place, place) != 0))
        return;
    for (int run = 0; run <= runs; run++) {
        uint64_t start = now_ns(), took;

        answer(data, query);
        took = now_ns() - start;
        if (run > 0 && took < best)
            best = took;
    }
    report(set, question, (double)points * 1e9 / (double)best, (double)best / 1e6);
}

static void measure_all(const char *set, const struct data *data)
{
    const struct query all = {
        .database = "db", .table = "cpu", .from_ns = INT64_MIN, .to_ns = INT64_MAX};
    struct query query = all;
    uint64_t values = data->rows * data->fields;
    bool many = data->series >= MANY;

    query.agg = QUERY_MEAN;
    measure(set, data, "mean of all", &query, values);
    query.agg = QUERY_MAX;
    measure(set, data, "max of all", &query, values);
    query.field_count = 1;
    query.fields[0] = names[1];
    measure(set, data, "max of one field", &query, data->rows);
    query = all;
    query.agg = QUERY_MEAN;
    query.every_ns = 60000000000;
    measure(set, data, "mean by minute", &query, values);
    query.agg = QUERY_MAX;
    measure(set, data, "max by minute", &query, values);
    query.agg = QUERY_MEAN;
    query.group_by[query.group_count++] = many ? "site" : "host"; /* A group needs memory. */
    query.every_ns = 3600000000000;
    measure(set, data, many ? "mean by hour and site" : "mean by hour and host", &query, values);
    query.field_count = 1;
    query.fields[0] = names[1];
    measure(set, data, "the same, one field", &query, data->rows);
    query = all;
    query.last = true;
    measure(set, data, "last", &query, values);
    query = all;
    measure(set, data, "rows", &query, values);
    query.where_count = 1;
    query.where[0] = (struct query_match){"site", "s3", QUERY_EQUAL};
    measure(set, data, "rows of one site", &query, values / 16);
    query.where[0] = (struct query_match){"host", "h00000007", QUERY_EQUAL};
    measure(set, data, "rows of one host", &query, values / data->series);
    query.agg = QUERY_MEAN;
    query.every_ns = 3600000000000;
    measure(set, data, "mean of one host", &query, values / data->series);
}

/* The first `count` sources in a segment. */
static void measure_sealed(const char *set, const struct data *data, uint32_t count)
{
    struct data sealed = seal_some(data, count);

    sealed.snapshot.series = &sealed.view;
    place = count < data->snapshot.source_count ? "mixed" : "sealed";
    measure_all(set, &sealed);
    free_sources(&sealed);
}

/* Blocks 2 1 4 3 6 5 ... in place of 1 2 3 4 5 6 ...; the first stays. */
static void cross(struct data *data, uint32_t blocks)
{
    struct snapshot_source *sources = data->snapshot.sources;

    CHECK(data->snapshot.source_count == blocks);
    for (uint32_t i = 1; i + 1 < blocks; i += 2) {
        struct snapshot_source overtaken = sources[i];

        sources[i] = sources[i + 1];
        sources[i + 1] = overtaken;
    }
}

static void measure_set(const struct set *set)
{
    struct data data;

    make_data(&data, set->series, FIELDS, set->blocks, set->rows);
    if (set->crossed)
        cross(&data, set->blocks);
    place = "head";
    measure_all(set->name, &data);
    measure_sealed(set->name, &data, (data.snapshot.source_count + 1) / 2);
    measure_sealed(set->name, &data, data.snapshot.source_count);
    free_data(&data);
}

/* MiB that a line of /proc/self/status tells of. */
static double resident_mib(const char *line)
{
    FILE *file = fopen("/proc/self/status", "r");
    char text[128];
    double kib = 0;

    CHECK(file != NULL);
    while (fgets(text, sizeof text, file) != NULL)
        if (strncmp(text, line, strlen(line)) == 0)
            kib = strtod(text + strlen(line), NULL);
    (void)fclose(file);
    return kib / 1024;
}

/* The peak of resident memory begins anew. */
static void forget_peak(void)
{
    FILE *file = fopen("/proc/self/clear_refs", "w");

    if (file == NULL)
        return;
    (void)fputs("5", file);
    (void)fclose(file);
}

static void measure_many(uint32_t series)
{
    struct data data, sealed;
    double before;

    make_data(&data, series, 2, 3, 1);
    place = "mixed";
    sealed = seal_some(&data, data.snapshot.source_count / 3 * 2);
    sealed.snapshot.series = &sealed.view;
    forget_peak();
    before = resident_mib("VmRSS:");
    measure_all("many", &sealed);
    printf("         %.0f MiB resident before the first question, %.0f at the peak\n", before,
           resident_mib("VmHWM:"));
    free_sources(&sealed);
    free_data(&data);
}

/* ---- Command line -------------------------------------------------------------------------- */

static const struct set sets[] = {{"fleet", 1000, 40, 8, false},
                                  {"history", 20, 16, 1000, false},
                                  {"wide", 100000, 3, 1, false},
                                  {"crossed", 100, 40, 100, true}};

enum { SETS = sizeof sets / sizeof *sets };

static bool is_asked(int argc, char **argv, const char *name)
{
    for (int i = optind; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return optind == argc;
}

static FILE *open_json(const char *path)
{
    FILE *file = fopen(path, "w");

    if (file == NULL)
        perror(path);
    else
        (void)fprintf(file, "[");
    return file;
}

/* False: the command line makes no sense. */
static bool read_options(int argc, char **argv, uint32_t *ret_series)
{
    static const struct option options[] = {
        {"json", required_argument, NULL, 'j'},   {"question", required_argument, NULL, 'q'},
        {"place", required_argument, NULL, 'p'},  {"runs", required_argument, NULL, 'r'},
        {"series", required_argument, NULL, 's'}, {0}};
    int option;

    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1)
        switch (option) {
        case 'j':
            json = open_json(optarg);
            if (json == NULL)
                return false;
            break;
        case 'q':
            only = optarg;
            break;
        case 'p':
            only_place = optarg;
            break;
        case 'r':
            runs = (int)strtol(optarg, NULL, 10);
            break;
        case 's':
            *ret_series = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        default:
            return false;
        }
    return true;
}

int main(int argc, char **argv)
{
    uint32_t series = MANY;

    if (!read_options(argc, argv, &series) || series < 16 || series > 100 * MANY) {
        (void)fprintf(stderr, "usage: bench.scan [--json FILE] [--question NAME] [--place NAME] "
                              "[--runs N] [--series N] [SET...]\n");
        return 2;
    }
    for (size_t i = 0; i < SETS; i++)
        if (is_asked(argc, argv, sets[i].name))
            measure_set(&sets[i]);
    if (is_asked(argc, argv, "many"))
        measure_many(series);
    if (json != NULL) {
        (void)fprintf(json, "\n]\n");
        if (fclose(json) != 0)
            return 1;
    }
    return 0;
}
