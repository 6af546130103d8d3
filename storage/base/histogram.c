#include "storage/base/histogram.h"

#include <math.h>

#include "storage/base/check.h"

/* ---- Values and their buckets -------------------------------------------------------------- */

static uint32_t bucket_of(uint64_t value)
{
    int top; /* The highest bit that is set. */
    int shift;

    if (value >> HISTOGRAM_BITS != 0)
        return HISTOGRAM_BUCKETS - 1;
    if (value < (2u << HISTOGRAM_SUB_BITS))
        return (uint32_t)value;
    top = 63 - __builtin_clzll(value);
    shift = top - HISTOGRAM_SUB_BITS;
    return ((uint32_t)shift << HISTOGRAM_SUB_BITS) + (uint32_t)(value >> shift);
}

/* The largest value that bucket_of() puts there. */
static uint64_t last_of(uint32_t bucket)
{
    uint32_t shift;
    uint64_t first;

    if (bucket < (2u << HISTOGRAM_SUB_BITS))
        return bucket;
    shift = (bucket >> HISTOGRAM_SUB_BITS) - 1;
    first = (uint64_t)(bucket - (shift << HISTOGRAM_SUB_BITS)) << shift;
    return first + (UINT64_C(1) << shift) - 1;
}

/* ---- One writer: a plain load and store, atomic only so that others may look --------------- */

static uint64_t get(const _Atomic uint64_t *number)
{
    return atomic_load_explicit(number, memory_order_relaxed);
}

static void set(_Atomic uint64_t *number, uint64_t value)
{
    atomic_store_explicit(number, value, memory_order_relaxed);
}

void histogram_record_many(struct histogram *histogram, uint64_t value, uint64_t times)
{
    _Atomic uint64_t *bucket = &histogram->buckets[bucket_of(value)];

    if (times == 0)
        return;
    set(bucket, get(bucket) + times);
    set(&histogram->sum, get(&histogram->sum) + value * times);
    set(&histogram->count, get(&histogram->count) + times);
    if (value > get(&histogram->max))
        set(&histogram->max, value);
}

void histogram_record(struct histogram *histogram, uint64_t value)
{
    histogram_record_many(histogram, value, 1);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        uint64_t count = get(&from->buckets[i]);

        if (count > 0)
            set(&into->buckets[i], get(&into->buckets[i]) + count);
    }
    set(&into->sum, get(&into->sum) + get(&from->sum));
    set(&into->count, get(&into->count) + get(&from->count));
    if (get(&from->max) > get(&into->max))
        set(&into->max, get(&from->max));
}

void histogram_clear(struct histogram *histogram)
{
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        set(&histogram->buckets[i], 0);
    set(&histogram->count, 0);
    set(&histogram->sum, 0);
    set(&histogram->max, 0);
}

/* ---- Reading ------------------------------------------------------------------------------- */

uint64_t histogram_count(const struct histogram *histogram)
{
    return get(&histogram->count);
}

uint64_t histogram_max(const struct histogram *histogram)
{
    return get(&histogram->max);
}

double histogram_mean(const struct histogram *histogram)
{
    uint64_t count = get(&histogram->count);

    return count == 0 ? 0 : (double)get(&histogram->sum) / (double)count;
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent)
{
    uint64_t max = get(&histogram->max);
    uint64_t count = get(&histogram->count);
    uint64_t rank;
    uint64_t passed = 0;

    CHECK(percent >= 0);
    CHECK(percent <= 100);
    if (percent == 100)
        return max;
    rank = (uint64_t)ceil((double)count * percent / 100);
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS - 1; i++) {
        passed += get(&histogram->buckets[i]);
        if (passed >= rank && passed > 0)
            return last_of(i) < max ? last_of(i) : max;
    }
    return max;
}
