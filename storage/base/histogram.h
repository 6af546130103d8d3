/*
 * histogram.h - how often each latency occurred: any percentile, off by less than 1 %, in 36 KB.
 *
 *     value      0 .. 255        256 .. 511       512 .. 1023     ...   up to 2^42 - 1
 *     buckets    256, exact      128, 2 wide      128, 4 wide     ...   128 for each doubling
 *
 * So a bucket is never wider than 1/128 of its values. Larger values are counted in the last one,
 * and the true maximum is kept beside. In nanoseconds the range is 73 minutes.
 *
 * Thread    One writes (record, merge into, clear). Any may read or merge from it meanwhile: each
 *           number is read whole, but they may be of slightly different moments.
 */
#ifndef STORAGE_BASE_HISTOGRAM_H
#define STORAGE_BASE_HISTOGRAM_H

#include <stdatomic.h>
#include <stdint.h>

enum {
    HISTOGRAM_BITS = 42,    /* Of the largest value that has a bucket of its own. */
    HISTOGRAM_SUB_BITS = 7, /* 2^7 buckets for each doubling. */
    HISTOGRAM_BUCKETS = ((HISTOGRAM_BITS - HISTOGRAM_SUB_BITS) + 1) << HISTOGRAM_SUB_BITS,
};

struct histogram { /* Zeroed is valid and empty. */
    _Atomic uint64_t count;
    _Atomic uint64_t sum;
    _Atomic uint64_t max;
    _Atomic uint64_t buckets[HISTOGRAM_BUCKETS];
};

/** Count one value. A few ns. */
void histogram_record(struct histogram *histogram, uint64_t value);

/** Count the same value `times` times. */
void histogram_record_many(struct histogram *histogram, uint64_t value, uint64_t times);

/** Add all that `from` counted. */
void histogram_merge(struct histogram *into, const struct histogram *from);

/** Forget everything. */
void histogram_clear(struct histogram *histogram);

uint64_t histogram_count(const struct histogram *histogram);
uint64_t histogram_max(const struct histogram *histogram); /* Exact; 0 if empty. */
double histogram_mean(const struct histogram *histogram);  /* Exact; 0 if empty. */

/**
 * The value that `percent` (0 to 100) of the values do not exceed; 0 if empty.
 *
 * Never less than the true one, and less than 1 % more; exact for 100.
 */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);

#endif
