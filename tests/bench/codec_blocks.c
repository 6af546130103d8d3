#include "tests/bench/codec_blocks.h"

#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "storage/base/check.h"
#include "storage/block/block_builder.h"
#include "storage/block/block_reader.h"
#include "storage/block/entry.h"
#include "tests/bench/codec_data.h"

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- Rows ---------------------------------------------------------------------------------- */

struct plan {
    const char *name;
    uint32_t rows; /* Of a block. */
    uint32_t fields;
    uint32_t series; /* That rows choose from; a row's time is its arrival, in ms. */
    bool known;      /* Ids are known to the sender. */
};

static const struct plan plans[] = {
    {"entry: 512 rows of 10 M series", 512, 1, 10000000, true},
    {"entry: 4096 rows of 10 M series", 4096, 1, 10000000, true},
    {"entry: 64 Ki rows of 10 M series", 65536, 1, 10000000, true},
    {"entry: 64 Ki rows of 1 K series", 65536, 1, 1000, true},
    {"entry: 512 rows of 8 fields", 512, 8, 1250000, true},
    {"entry: 4096 rows of 8 fields", 4096, 8, 1250000, true},
    {"entry: 16 Ki rows of 8 fields", 16384, 8, 1250000, true},
    {"entry: 4096 rows of 10 fields, 4 K", 4096, 10, 4000, true},
    {"entry: 4096 of 10, new series", 4096, 10, 1000000, false},
};

enum { FIELDS_MAX = 10, CLASSES = 8 };

struct row {
    uint32_t series;
    int64_t time_ns;
    uint64_t bits[FIELDS_MAX];
};

static const char *const kinds[CLASSES] = {"temperature", "flow",    "humidity", "energy",
                                           "voltage",     "filling", "door",     "power"};

/* Of one kind. */
static double value_of(uint32_t kind, uint32_t series)
{
    double noise = codec_data_gauss();
    double base = (double)(series * 2654435761u % 10000) / 100;

    switch (kind) {
    case 0:
    case 1:
        return round((20 + base / 10 + noise * 0.5) * 100) / 100;
    case 2:
        return round((40 + base / 5 + noise) * 10) / 10;
    case 3:
        return floor(base * 1e5 + noise * 350);
    case 4:
        return 230;
    case 5:
        return 50 + floor(base / 4 + noise);
    case 6:
        return noise > 0;
    default:
        return round((1500 + base + 3 * noise) * 1000) / 1000;
    }
}

/* Rows of one field are of a table of their kind; of several, each field is of its kind. */
static uint32_t kind_of(const struct plan *plan, uint32_t series)
{
    return plan->fields > 1 ? 0 : (uint32_t)((uint64_t)series * CLASSES / plan->series);
}

static struct row *make_rows(const struct plan *plan)
{
    struct row *rows = malloc(plan->rows * sizeof *rows);

    CHECK(rows != NULL);
    codec_data_seed(7);
    for (uint32_t i = 0; i < plan->rows; i++) {
        rows[i].series = (uint32_t)(codec_data_next() % plan->series);
        rows[i].time_ns =
            (1700000000000 + i / 40 + (int64_t)(codec_data_next() % 200) - 100) * 1000000;
        for (uint32_t field = 0; field < plan->fields; field++) {
            uint32_t kind = kind_of(plan, rows[i].series) + field;
            double value = value_of(kind % CLASSES, rows[i].series);

            memcpy(&rows[i].bits[field], &value, sizeof value);
        }
    }
    return rows;
}

/* A key looks like those of devices: a table and three tags. */
static size_t write_key(const char *table, uint32_t series, char *key, size_t *ret_table)
{
    char name[32];
    struct tag tags[3] = {{{"device", 6}, {name, 0}},
                          {{"region", 6}, {"eu-central-1", 12}},
                          {{"site", 4}, {"hall-07", 7}}};
    struct key_parts parts;
    size_t size;

    tags[0].value.size = (size_t)snprintf(name, sizeof name, "sensor-%07u", series);
    size = key_write((struct slice){"plant", 5}, (struct slice){table, strlen(table)}, tags, 3, key,
                     256);
    CHECK(key_parse(key, size, &parts) == 0);
    *ret_table = parts.table_key_size;
    return size;
}

static void add_rows(struct block_builder *builder, const struct plan *plan, const struct row *rows,
                     char (*keys)[128], const size_t *sizes, const size_t *tables,
                     const uint64_t *hashes)
{
    static const char names[FIELDS_MAX][16] = {
        "usage_user", "usage_system",  "usage_idle",  "usage_nice",  "usage_iowait",
        "usage_irq",  "usage_softirq", "usage_steal", "usage_guest", "usage_gnice"};

    for (uint32_t i = 0; i < plan->rows; i++) {
        uint32_t series;

        CHECK(block_builder_series(builder, keys[i], sizes[i], tables[i], hashes[i],
                                   plan->known ? rows[i].series : BLOCK_ID_NONE,
                                   &series) == ERR_OK);
        CHECK(block_builder_row(builder, series, rows[i].time_ns) == ERR_OK);
        for (uint32_t field = 0; field < plan->fields; field++)
            CHECK(block_builder_value(builder, names[field], strlen(names[field]), FIELD_FLOAT,
                                      rows[i].bits[field]) == ERR_OK);
    }
}

static void read_block(const struct buf *buf)
{
    static uint32_t places[BLOCK_ROWS_MAX], counts[BLOCK_ROWS_MAX];
    static int64_t times[BLOCK_ROWS_MAX];
    static uint8_t present[BLOCK_ROWS_MAX];
    static uint64_t values[BLOCK_ROWS_MAX];
    struct block_view view;
    struct block *block;
    const char *strings;

    CHECK(block_view(buf->bytes, buf->size, true, &view) == ERR_OK);
    CHECK(block_load(&view, &block) == ERR_OK);
    for (uint32_t at = 0; at < block_sections(block); at++) {
        CHECK(block_read_runs(block, at, places, counts) == ERR_OK);
        CHECK(block_read_times(block, at, times) == ERR_OK);
        for (uint32_t field = 0; field < block_section(block, at)->fields; field++)
            CHECK(block_read_field(block, at, field, present, values, &strings) == ERR_OK);
    }
    block_free(block);
}

static double best_of(double before, uint64_t from_ns, uint64_t to_ns, double points)
{
    double took = (double)(to_ns - from_ns) / points;

    return before == 0 || took < before ? took : before;
}

/* ---- Measuring ----------------------------------------------------------------------------- */

static struct codec_block_cost measure_plan(const struct plan *plan)
{
    struct row *rows = make_rows(plan);
    char(*keys)[128] = malloc(plan->rows * sizeof *keys);
    size_t *sizes = malloc(plan->rows * sizeof *sizes);
    size_t *tables = malloc(plan->rows * sizeof *tables);
    uint64_t *hashes = malloc(plan->rows * sizeof *hashes);
    double points = (double)plan->rows * plan->fields;
    struct codec_block_cost cost = {0};
    struct block_builder *builder;

    CHECK(keys != NULL);
    CHECK(sizes != NULL);
    CHECK(tables != NULL);
    CHECK(hashes != NULL);
    CHECK(block_builder_new(&builder) == ERR_OK);
    for (uint32_t i = 0; i < plan->rows; i++) {
        sizes[i] =
            write_key(kinds[kind_of(plan, rows[i].series)], rows[i].series, keys[i], &tables[i]);
        hashes[i] = key_hash(keys[i], sizes[i]);
    }
    for (uint32_t run = 0; run < 10 + 200000 / plan->rows; run++) {
        uint64_t start = now_ns(), added, finished;
        struct buf *buf;

        add_rows(builder, plan, rows, keys, sizes, tables, hashes);
        added = now_ns();
        CHECK(block_builder_finish(builder, 0, &buf, NULL) == ERR_OK);
        finished = now_ns();
        read_block(buf);
        cost.add = best_of(cost.add, start, added, points);
        cost.finish = best_of(cost.finish, added, finished, points);
        cost.read = best_of(cost.read, finished, now_ns(), points);
        cost.bytes = (double)(buf->size + sizeof(struct entry_header)) / points;
        buf_unref(buf);
    }
    block_builder_free(builder);
    free(rows);
    free(keys);
    free(sizes);
    free(tables);
    free(hashes);
    return cost;
}

size_t codec_blocks_plans(void)
{
    return sizeof plans / sizeof plans[0];
}

const char *codec_blocks_name(size_t plan)
{
    return plans[plan].name;
}

struct codec_block_cost codec_blocks_measure(size_t plan)
{
    return measure_plan(&plans[plan]);
}
