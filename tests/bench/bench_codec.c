/*
 * How small and how fast columns and blocks are: bench.codec [--json FILE]
 *
 *   columns   one field, 1 Mi values, a new series every 1024, in columns of 64 Ki values: bytes a
 *             value coded, and after LZ4 over the column; ns a value to encode and decode
 *   times     the same for the times of a section with runs of 1024 rows
 *   blocks    through the builder and the reader: bytes a point, ns a point to add, finish, read
 *
 * CPU time of the thread, so that a busy machine disturbs little; best of several runs, after one
 * warm-up. Data from a fixed seed.
 */
#include <inttypes.h>
#include <lz4.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "storage/base/check.h"
#include "storage/block/block_builder.h"
#include "storage/block/block_reader.h"
#include "storage/block/column.h"
#include "storage/block/column_time.h"

enum {
    RUN = 1024,        /* Rows of one series. */
    COLUMN = 64 * RUN, /* Values of one column. */
    COLUMNS = 16,
    VALUES = COLUMN * COLUMNS,
    RUNS = 5,
};

static FILE *json;
static const char *separator = "";

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void report(const char *name, const char *metric, double value)
{
    if (json == NULL)
        return;
    (void)fprintf(json,
                  "%s\n  {\"bench\": \"codec\", \"set\": \"%s\", \"metric\": \"%s\", "
                  "\"value\": %.4f}",
                  separator, name, metric, value);
    separator = ",";
}

/* ---- Chance -------------------------------------------------------------------------------- */

static uint64_t state;

static uint64_t next(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double unit(void)
{
    return (double)(next() >> 11) * 0x1p-53;
}

static double gauss(void)
{
    return sqrt(-2 * log(1 - unit())) * cos(6.283185307179586 * unit());
}

/* ---- Data ---------------------------------------------------------------------------------- */

struct walk {
    double base; /* 0 to 100: where this series starts. */
    double x;
    uint32_t at;
};

static double temperature(struct walk *walk)
{
    walk->x += gauss() * 0.05;
    return round((20 + walk->base / 10 + walk->x) * 100) / 100;
}

static double humidity(struct walk *walk)
{
    walk->x += gauss() * 0.03;
    return round((40 + walk->base / 5 + walk->x) * 10) / 10;
}

static double counter(struct walk *walk)
{
    walk->x += floor(350 + 60 * gauss());
    return floor(walk->base * 1e6) + walk->x;
}

static double gauge(struct walk *walk)
{
    if (unit() < 1 / 500.0)
        walk->x = floor(unit() * 3);
    return 230 + walk->x;
}

static double noise(struct walk *walk)
{
    return 50 + 10 * sin(walk->at / 200.0) + gauss() * 0.5;
}

static double small_integer(struct walk *walk)
{
    double r = unit();
    double v;

    walk->x += r < 0.05 ? -1 : r > 0.95 ? 1 : 0;
    v = 50 + floor(walk->base / 4) + walk->x;
    return v < 0 ? 0 : v > 100 ? 100 : v;
}

static double boolean(struct walk *walk)
{
    if (unit() < 1 / 60.0)
        walk->x = 1 - walk->x;
    return walk->x;
}

static double position(struct walk *walk)
{
    walk->x += gauss() * 1e-5;
    return round((48.1 + walk->base / 100 + walk->x) * 1e6) / 1e6;
}

static double power(struct walk *walk)
{
    (void)walk;
    return round((1500 + 3 * gauss()) * 1000) / 1000;
}

static double narrow_noise(struct walk *walk)
{
    return (double)(float)noise(walk);
}

static const struct {
    const char *name;
    double (*make)(struct walk *walk);
    enum field_type type;
    double share; /* Of the mix. */
} sets[] = {
    {"temp, 2 decimals", temperature, FIELD_FLOAT, 0.30},
    {"humidity, 1 decimal", humidity, FIELD_FLOAT, 0.15},
    {"counter", counter, FIELD_FLOAT, 0.15},
    {"gauge, near constant", gauge, FIELD_FLOAT, 0.10},
    {"noise, full precision", noise, FIELD_FLOAT, 0.05},
    {"integer 0..100", small_integer, FIELD_INT, 0.10},
    {"boolean, runs of 60", boolean, FIELD_BOOL, 0.05},
    {"GPS, 6 decimals", position, FIELD_FLOAT, 0.05},
    {"power, 3 decimals", power, FIELD_FLOAT, 0.05},
    {"float32 widened", narrow_noise, FIELD_FLOAT, 0},
};

enum { SETS = sizeof sets / sizeof sets[0] };

static uint64_t to_bits(enum field_type type, double value)
{
    uint64_t bits;

    if (type != FIELD_FLOAT)
        return (uint64_t)(int64_t)value;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void make_values(size_t set, uint64_t *values)
{
    struct walk walk = {0};

    state = set + 1;
    for (uint32_t i = 0; i < VALUES; i++) {
        if (i % RUN == 0)
            walk = (struct walk){.base = unit() * 100};
        walk.at = i;
        values[i] = to_bits(sets[set].type, sets[set].make(&walk));
    }
}

/* Times of runs, in ns, by what their clock does. */
enum { TIME_SETS = 6 };
static const char *const time_names[TIME_SETS] = {
    "ms, exact 1 s",     "ms, 1 s +- 5 ms",  "ms, 10 s, drifting",
    "ns, 1 s +- 200 us", "ms, 5 s and gaps", "us, 1 s and jitter",
};

static void make_times(int set, int64_t *times)
{
    int64_t ms = 0;

    state = (uint64_t)set + 100;
    for (uint32_t i = 0; i < VALUES; i++) {
        int64_t at = i % RUN;

        if (at == 0)
            ms = 1700000000000 + (int64_t)(next() % 1000);
        if (set == 0) {
            times[i] = (ms + at * 1000) * 1000000;
        } else if (set == 1) {
            times[i] = (ms + at * 1000 + (int64_t)(next() % 11) - 5) * 1000000;
        } else if (set == 2) {
            ms += 10000 + (int64_t)(next() % 101) - 50;
            times[i] = ms * 1000000;
        } else if (set == 3) {
            times[i] = (ms + at * 1000) * 1000000 + (int64_t)(next() % 400001) - 200000;
        } else if (set == 4) {
            ms += 5000 + (int64_t)(next() % 7) - 3;
            if (next() % 250 == 0)
                ms += 5000 * (int64_t)(1 + next() % 20);
            times[i] = ms * 1000000;
        } else {
            times[i] = ((ms + at * 1000) * 1000 + (int64_t)(fabs(gauss()) * 300)) * 1000;
        }
    }
}

/* ---- Columns ------------------------------------------------------------------------------- */

struct cost {
    double coded, stored;  /* Bytes a value: coded, then after LZ4 where it helps. */
    double encode, decode; /* ns a value. */
};

static double best(double before, uint64_t start_ns)
{
    double took = (double)(now_ns() - start_ns) / COLUMN;

    return before == 0 || took < before ? took : before;
}

static size_t stored_size(const struct bytes *bytes)
{
    static char out[LZ4_COMPRESSBOUND(COLUMN * 10)];
    int size = LZ4_compress_default((const char *)bytes->data, out, (int)bytes->size, sizeof out);

    return (size_t)size < bytes->size - bytes->size * 3 / 100 ? (size_t)size : bytes->size;
}

static void add_cost(struct cost *total, const struct bytes *bytes, double encode, double decode)
{
    total->coded += (double)bytes->size / VALUES;
    total->stored += (double)stored_size(bytes) / VALUES;
    total->encode += encode / COLUMNS;
    total->decode += decode / COLUMNS;
}

static struct cost measure_values(enum field_type type, const uint64_t *values)
{
    static uint64_t back[COLUMN];
    struct bytes out = {0};
    struct cost cost = {0};

    for (uint32_t column = 0; column < COLUMNS; column++, values += COLUMN) {
        double encode = 0, decode = 0;

        for (int run = 0; run <= RUNS; run++) {
            uint64_t start = now_ns();
            struct reader reader;
            const char *text;

            bytes_clear(&out);
            column_put_values(type, values, COLUMN, NULL, &out);
            encode = best(run == 0 ? 0 : encode, start);
            start = now_ns();
            reader = reader_on(out.data, out.size);
            column_get_values(&reader, type, COLUMN, back, &text);
            decode = best(run == 0 ? 0 : decode, start);
            CHECK(reader_done(&reader));
            CHECK(memcmp(values, back, sizeof back) == 0);
        }
        add_cost(&cost, &out, encode, decode);
    }
    bytes_fini(&out);
    return cost;
}

static struct cost measure_times(const int64_t *times)
{
    static uint64_t counts[COLUMN / RUN], scratch[2 * COLUMN];
    static int64_t back[COLUMN];
    struct bytes out = {0};
    struct cost cost = {0};

    for (uint32_t run = 0; run < COLUMN / RUN; run++)
        counts[run] = RUN;
    for (uint32_t column = 0; column < COLUMNS; column++, times += COLUMN) {
        double encode = 0, decode = 0;

        for (int run = 0; run <= RUNS; run++) {
            uint64_t start = now_ns();
            struct reader reader;

            bytes_clear(&out);
            column_time_put(times, counts, COLUMN / RUN, scratch, &out);
            encode = best(run == 0 ? 0 : encode, start);
            start = now_ns();
            reader = reader_on(out.data, out.size);
            column_time_get(&reader, counts, COLUMN / RUN, COLUMN, scratch, back);
            decode = best(run == 0 ? 0 : decode, start);
            CHECK(reader_done(&reader));
            CHECK(memcmp(times, back, sizeof back) == 0);
        }
        add_cost(&cost, &out, encode, decode);
    }
    bytes_fini(&out);
    return cost;
}

static void print_cost(const char *name, struct cost cost)
{
    printf("%-24s %7.3f %7.3f %8.2f %8.2f\n", name, cost.coded, cost.stored, cost.encode,
           cost.decode);
    report(name, "coded_bytes_per_value", cost.coded);
    report(name, "stored_bytes_per_value", cost.stored);
    report(name, "encode_ns_per_value", cost.encode);
    report(name, "decode_ns_per_value", cost.decode);
}

static void bench_columns(void)
{
    uint64_t *values = malloc(VALUES * sizeof *values);
    struct cost mix = {0};

    CHECK(values != NULL);
    printf("%-24s %7s %7s %8s %8s\n", "columns of 64 Ki", "B/val", "+LZ4", "enc ns", "dec ns");
    for (size_t set = 0; set < SETS; set++) {
        struct cost cost;

        make_values(set, values);
        cost = measure_values(sets[set].type, values);
        print_cost(sets[set].name, cost);
        mix.coded += cost.coded * sets[set].share;
        mix.stored += cost.stored * sets[set].share;
        mix.encode += cost.encode * sets[set].share;
        mix.decode += cost.decode * sets[set].share;
    }
    print_cost("mix", mix);
    for (int set = 0; set < TIME_SETS; set++) {
        make_times(set, (int64_t *)values);
        print_cost(time_names[set], measure_times((const int64_t *)values));
    }
    free(values);
}

/* ---- Blocks -------------------------------------------------------------------------------- */

struct plan {
    const char *name;
    uint32_t rows; /* Of a block. */
    uint32_t fields;
    uint32_t series; /* That rows choose from; a row's time is its arrival, in ms. */
    bool known;      /* Ids are known to the sender. */
};

static const struct plan plans[] = {
    {"1 field, 512 rows, 1 M", 512, 1, 1000000, true},
    {"1 field, 4096 rows, 1 M", 4096, 1, 1000000, true},
    {"1 field, 64 Ki, 1 M", 65536, 1, 1000000, true},
    {"1 field, 64 Ki, 1 K", 65536, 1, 1000, true},
    {"10 fields, 512 rows, 4 K", 512, 10, 4000, true},
    {"10 fields, 4096, 4 K", 4096, 10, 4000, true},
    {"10 fields, 4096, fresh", 4096, 10, 1000000, false},
};

struct block_cost {
    double bytes, add, finish, read;
};

enum { FIELDS_MAX = 10 };

struct row {
    uint32_t series;
    int64_t time_ns;
    uint64_t bits[FIELDS_MAX];
};

static struct row *make_rows(const struct plan *plan)
{
    struct row *rows = malloc(plan->rows * sizeof *rows);

    CHECK(rows != NULL);
    state = 7;
    for (uint32_t i = 0; i < plan->rows; i++) {
        rows[i].series = (uint32_t)(next() % plan->series);
        rows[i].time_ns = (1700000000000 + i / 100) * 1000000;
        for (uint32_t field = 0; field < plan->fields; field++)
            rows[i].bits[field] = to_bits(FIELD_FLOAT, round((20 + field + gauss()) * 100) / 100);
    }
    return rows;
}

/* A key looks like those of devices: a table and three tags. */
static size_t write_key(uint32_t series, char *key, size_t *ret_table)
{
    char name[32];
    struct tag tags[3] = {{{"device", 6}, {name, 0}},
                          {{"region", 6}, {"eu-central-1", 12}},
                          {{"site", 4}, {"hall-07", 7}}};
    struct key_parts parts;
    size_t size;

    tags[0].value.size = (size_t)snprintf(name, sizeof name, "sensor-%07u", series);
    size = key_write((struct slice){"plant", 5}, (struct slice){"env", 3}, tags, 3, key, 256);
    CHECK(key_parse(key, size, &parts) == 0);
    *ret_table = parts.table_key_size;
    return size;
}

static void add_rows(struct block_builder *builder, const struct plan *plan, const struct row *rows,
                     char (*keys)[128], const size_t *sizes, const uint64_t *hashes, size_t table)
{
    static const char names[FIELDS_MAX][16] = {
        "usage_user", "usage_system",  "usage_idle",  "usage_nice",  "usage_iowait",
        "usage_irq",  "usage_softirq", "usage_steal", "usage_guest", "usage_gnice"};

    for (uint32_t i = 0; i < plan->rows; i++) {
        uint32_t series;

        CHECK(block_builder_series(builder, keys[i], sizes[i], table, hashes[i],
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
    CHECK(block_read_runs(block, 0, places, counts) == ERR_OK);
    CHECK(block_read_times(block, 0, times) == ERR_OK);
    for (uint32_t field = 0; field < block_section(block, 0)->fields; field++)
        CHECK(block_read_field(block, 0, field, present, values, &strings) == ERR_OK);
    block_free(block);
}

static double best_of(double before, uint64_t from_ns, uint64_t to_ns, double points)
{
    double took = (double)(to_ns - from_ns) / points;

    return before == 0 || took < before ? took : before;
}

static struct block_cost measure_block(const struct plan *plan)
{
    struct row *rows = make_rows(plan);
    char(*keys)[128] = malloc(plan->rows * sizeof *keys);
    size_t *sizes = malloc(plan->rows * sizeof *sizes), table = 0;
    uint64_t *hashes = malloc(plan->rows * sizeof *hashes);
    double points = (double)plan->rows * plan->fields;
    struct block_cost cost = {0};
    struct block_builder *builder;

    CHECK(keys != NULL);
    CHECK(sizes != NULL);
    CHECK(hashes != NULL);
    CHECK(block_builder_new(&builder) == ERR_OK);
    for (uint32_t i = 0; i < plan->rows; i++) {
        sizes[i] = write_key(rows[i].series, keys[i], &table);
        hashes[i] = key_hash(keys[i], sizes[i]);
    }
    for (uint32_t run = 0; run < 20 + 400000 / plan->rows; run++) {
        uint64_t start = now_ns(), added, finished;
        struct buf *buf;

        add_rows(builder, plan, rows, keys, sizes, hashes, table);
        added = now_ns();
        CHECK(block_builder_finish(builder, 0, &buf, NULL) == ERR_OK);
        finished = now_ns();
        read_block(buf);
        cost.add = best_of(cost.add, start, added, points);
        cost.finish = best_of(cost.finish, added, finished, points);
        cost.read = best_of(cost.read, finished, now_ns(), points);
        cost.bytes = (double)buf->size / points;
        buf_unref(buf);
    }
    block_builder_free(builder);
    free(rows);
    free(keys);
    free(sizes);
    free(hashes);
    return cost;
}

static void bench_blocks(void)
{
    printf("%-26s %7s %8s %8s %8s\n", "blocks, ns a point", "B/point", "add", "finish", "read");
    for (size_t i = 0; i < sizeof plans / sizeof plans[0]; i++) {
        struct block_cost cost = measure_block(&plans[i]);

        printf("%-26s %7.3f %8.2f %8.2f %8.2f\n", plans[i].name, cost.bytes, cost.add, cost.finish,
               cost.read);
        report(plans[i].name, "bytes_per_point", cost.bytes);
        report(plans[i].name, "add_ns_per_point", cost.add);
        report(plans[i].name, "finish_ns_per_point", cost.finish);
        report(plans[i].name, "read_ns_per_point", cost.read);
    }
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--json") == 0) {
        json = fopen(argv[2], "w");
        if (json == NULL) {
            perror(argv[2]);
            return 1;
        }
        (void)fprintf(json, "[");
    } else if (argc != 1) {
        (void)fprintf(stderr, "usage: bench.codec [--json FILE]\n");
        return 2;
    }
    bench_columns();
    bench_blocks();
    if (json != NULL) {
        (void)fprintf(json, "\n]\n");
        if (fclose(json) != 0)
            return 1;
    }
    return 0;
}
