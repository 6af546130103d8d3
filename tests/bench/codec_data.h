/*
 * codec_data.h - columns to measure codecs with: what devices send, made from a seed, and what this
 * machine has.
 *
 * Values come in runs of CODEC_RUN, each of another series, as chunks of a segment do. The made
 * ones and their shares of "mix" are fixed: figures stay comparable. The real ones are of the
 * machine that the bench runs on: sizes and times of files under /usr, counters of /proc, and the
 * clock.
 */
#ifndef TESTS_BENCH_CODEC_DATA_H
#define TESTS_BENCH_CODEC_DATA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/base/types.h"

enum {
    CODEC_RUN = 1024,              /* Values of one series. */
    CODEC_COLUMN = 64 * CODEC_RUN, /* Of one frame. */
    CODEC_COLUMNS = 4,
    CODEC_VALUES = CODEC_COLUMN * CODEC_COLUMNS,
};

struct codec_data {
    const char *name;
    enum field_type type;
    double share; /* Of the mix. */
    bool times;   /* ns, ascending in each run. */
};

/** How many sets there are. */
size_t codec_data_sets(void);
const struct codec_data *codec_data_set(size_t at);

/** Make CODEC_VALUES values. False if this machine does not have them. */
bool codec_data_fill(size_t at, uint64_t *values);

/* Chance from a fixed seed, for other data too. */
void codec_data_seed(uint64_t seed);
uint64_t codec_data_next(void);
double codec_data_gauss(void);

#endif
