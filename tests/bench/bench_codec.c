/*
 * How small and how fast columns and blocks are: bench.codec [--json FILE]
 *
 *   columns   one field, 256 Ki values, a new series every 1024, in columns of 64 Ki; ours beside
 *             what others do with the same column (codec_peers.h). "millrace" is how blocks keep
 *             it, "segment" how segments do. Bytes a value as stored: packed, then LZ4 over the
 *             column if that saves 3 %. ns a value to encode and decode, LZ4 included. Aggregating:
 *             sum, minimum and maximum from the stored bytes; for the others, and for times, by
 *             decoding first.
 *   entries   rows through the block builder and the reader: bytes a point, ns a point
 *
 * CPU time of the thread, so that a busy machine disturbs little; best of several runs, after one
 * warm-up. Data from a fixed seed, but for "real: " (codec_data.h).
 */
#define LZ4_STATIC_LINKING_ONLY /* For LZ4_compress_fast_extState_fastReset(). */
#include <lz4.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "storage/base/check.h"
#include "storage/base/cpu.h"
#include "storage/block/column.h"
#include "storage/block/column_aggregate.h"
#include "storage/block/column_int.h"
#include "storage/block/column_time.h"
#include "tests/bench/codec_blocks.h"
#include "tests/bench/codec_data.h"
#include "tests/bench/codec_peers.h"

enum { RUNS = 5 };

/* Of ours; then come the others. */
enum codec { BLOCK, SEGMENT, OURS };

struct cost {
    double bytes;                     /* A value. */
    double encode, decode, aggregate; /* ns a value. */
};

static FILE *json;
static const char *separator = "";
static volatile double sink; /* What aggregates go into. */

static uint64_t now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void report(const char *data, const char *codec, struct cost cost)
{
    char aggregate[32] = "null";

    printf("%-34s %-12s %8.3f %8.2f %8.2f", data, codec, cost.bytes, cost.encode, cost.decode);
    if (cost.aggregate > 0) {
        printf(" %8.2f", 1 / cost.aggregate);
        (void)snprintf(aggregate, sizeof aggregate, "%.0f", 1e9 / cost.aggregate);
    }
    printf("\n");
    if (json == NULL)
        return;
    (void)fprintf(json,
                  "%s\n  {\"data\": \"%s\", \"codec\": \"%s\", \"bytes_per_value\": %.4f, "
                  "\"encode_ns\": %.3f, \"decode_ns\": %.3f, \"aggregate_points_per_s\": %s}",
                  separator, data, codec, cost.bytes, cost.encode, cost.decode, aggregate);
    separator = ",";
}

/* ---- Ours ---------------------------------------------------------------------------------- */

/* A column as it is stored. */
struct stored {
    struct bytes packed;
    struct bytes bytes; /* With LZ4. */
    bool compressed;
};

static uint64_t counts[CODEC_COLUMN / CODEC_RUN];
static uint64_t scratch[CODEC_COLUMN];
static uint64_t back[CODEC_COLUMN];
static struct stored stored;

static size_t ours_encode(const struct codec_data *data, enum codec codec, const uint64_t *values)
{
    static LZ4_stream_t lz4;
    size_t room;
    int size;

    bytes_clear(&stored.packed);
    bytes_clear(&stored.bytes);
    if (data->times)
        column_time_put((const int64_t *)values, counts, CODEC_COLUMN / CODEC_RUN, scratch,
                        &stored.packed);
    else if (codec == SEGMENT)
        column_put_dense_values(data->type, values, CODEC_COLUMN, NULL, &stored.packed);
    else
        column_put_values(data->type, values, CODEC_COLUMN, NULL, &stored.packed);
    room = stored.packed.size - (stored.packed.size * 3 + 99) / 100;
    size = LZ4_compress_fast_extState_fastReset(&lz4, (const char *)stored.packed.data,
                                                (char *)bytes_add(&stored.bytes, room),
                                                (int)stored.packed.size, (int)room, 1);
    stored.compressed = size > 0;
    stored.bytes.size = (size_t)size;
    return stored.compressed ? stored.bytes.size : stored.packed.size;
}

static struct reader ours_open(void)
{
    static uint8_t room[CODEC_COLUMN * 10];

    if (!stored.compressed)
        return reader_on(stored.packed.data, stored.packed.size);
    CHECK(LZ4_decompress_safe((const char *)stored.bytes.data, (char *)room, (int)stored.bytes.size,
                              (int)sizeof room) == (int)stored.packed.size);
    return reader_on(room, stored.packed.size);
}

static void ours_decode(const struct codec_data *data)
{
    struct reader reader = ours_open();
    const char *text;

    if (data->times)
        column_time_get(&reader, counts, CODEC_COLUMN / CODEC_RUN, CODEC_COLUMN, scratch,
                        (int64_t *)back);
    else
        column_get_values(&reader, data->type, CODEC_COLUMN, back, &text);
    CHECK(reader_done(&reader));
}

/* Of whatever type: the bits as floats. */
static void add_up_decoded(void)
{
    double sums[8] = {0}, min = 1e300, max = -1e300;

    for (uint32_t i = 0; i < CODEC_COLUMN; i += 8)
        for (uint32_t k = 0; k < 8; k++) {
            double value;

            memcpy(&value, &back[i + k], sizeof value);
            sums[k] += value;
            min = value < min ? value : min;
            max = value > max ? value : max;
        }
    sink =
        sums[0] + sums[1] + sums[2] + sums[3] + sums[4] + sums[5] + sums[6] + sums[7] + min + max;
}

static void ours_aggregate(const struct codec_data *data)
{
    struct reader reader;

    if (data->times) {
        ours_decode(data);
        add_up_decoded();
        return;
    }
    reader = ours_open();
    column_open_values(&reader);
    for (uint32_t at = 0; at < CODEC_COLUMN; at += COLUMN_CHUNK) {
        struct column_aggregate aggregate;

        column_aggregate_chunk(&reader, data->type, COLUMN_CHUNK, 0, COLUMN_CHUNK, &aggregate);
        sink = (double)aggregate.sum_low + aggregate.sum + (double)aggregate.min +
               (double)aggregate.max;
    }
    CHECK(reader_done(&reader));
}

/* ---- Measuring ----------------------------------------------------------------------------- */

static void keep_best(double *best, uint64_t start_ns, int run)
{
    double took = (double)(now_ns() - start_ns) / CODEC_COLUMN;

    if (run <= 1 || took < *best) /* Run 0 warms up. */
        *best = took;
}

static const struct codec_peer *peer_of(size_t codec)
{
    return codec < OURS ? NULL : codec_peers_at(codec - OURS);
}

static struct cost measure_column(const struct codec_data *data, size_t codec,
                                  const uint64_t *values)
{
    const struct codec_peer *peer = peer_of(codec);
    static uint8_t out[CODEC_PEER_ROOM];
    struct cost cost = {0};

    for (int run = 0; run <= RUNS; run++) {
        uint64_t start = now_ns();
        size_t size =
            peer != NULL ? peer->encode(values, out) : ours_encode(data, (enum codec)codec, values);

        keep_best(&cost.encode, start, run);
        start = now_ns();
        if (peer != NULL)
            peer->decode(out, size, back);
        else
            ours_decode(data);
        keep_best(&cost.decode, start, run);
        CHECK(memcmp(values, back, sizeof back) == 0);
        start = now_ns();
        if (peer != NULL) {
            peer->decode(out, size, back);
            add_up_decoded();
        } else {
            ours_aggregate(data);
        }
        keep_best(&cost.aggregate, start, run);
        cost.bytes = (double)size / CODEC_COLUMN;
    }
    return cost;
}

static void add_cost(struct cost *sum, struct cost cost, double share)
{
    sum->bytes += cost.bytes * share;
    sum->encode += cost.encode * share;
    sum->decode += cost.decode * share;
    sum->aggregate += cost.aggregate * share;
}

static const char *codec_name(size_t codec)
{
    if (codec < OURS)
        return codec == BLOCK ? "millrace" : "segment";
    return peer_of(codec)->name;
}

static void bench_columns(void)
{
    uint64_t *values = malloc(CODEC_VALUES * sizeof *values);
    size_t codecs = codec_peers_count() + OURS;
    struct cost mix[8] = {{0}};

    CHECK(values != NULL);
    CHECK(codecs <= sizeof mix / sizeof mix[0]);
    printf("%-34s %-12s %8s %8s %8s %8s\n", "columns", "codec", "B/value", "enc ns", "dec ns",
           "agg G/s");
    for (uint32_t run = 0; run < CODEC_COLUMN / CODEC_RUN; run++)
        counts[run] = CODEC_RUN;
    for (size_t set = 0; set < codec_data_sets(); set++) {
        const struct codec_data *data = codec_data_set(set);

        if (!codec_data_fill(set, values))
            continue;
        for (size_t codec = 0; codec < codecs; codec++) {
            struct cost cost = {0};

            for (uint32_t column = 0; column < CODEC_COLUMNS; column++)
                add_cost(&cost, measure_column(data, codec, values + column * CODEC_COLUMN),
                         1.0 / CODEC_COLUMNS);
            report(data->name, codec_name(codec), cost);
            add_cost(&mix[codec], cost, data->share);
        }
    }
    for (size_t codec = 0; codec < codecs; codec++)
        report("mix", codec_name(codec), mix[codec]);
    free(values);
    bytes_fini(&stored.packed);
    bytes_fini(&stored.bytes);
}

static void bench_blocks(void)
{
    printf("%-34s %-12s %8s %8s %8s\n", "entries: a point", "", "B", "enc ns", "dec ns");
    for (size_t plan = 0; plan < codec_blocks_plans(); plan++) {
        struct codec_block_cost cost = codec_blocks_measure(plan);

        report(codec_blocks_name(plan), "millrace",
               (struct cost){cost.bytes, cost.add + cost.finish, cost.read, 0});
        printf("%-34s   add %.2f, finish %.2f\n", "", cost.add, cost.finish);
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
    printf("instructions: %s\n", cpu_level_name(cpu_level()));
    bench_columns();
    bench_blocks();
    if (json != NULL) {
        (void)fprintf(json, "\n]\n");
        if (fclose(json) != 0)
            return 1;
    }
    return 0;
}
