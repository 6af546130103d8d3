#include "storage/base/metric.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdalign.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "storage/base/attrs.h"
#include "storage/base/check.h"

/* Upper bounds in nanoseconds, and as Prometheus shall print them. The last bucket has none. */
#define US(n) ((n)*UINT64_C(1000))
#define MS(n) ((n)*UINT64_C(1000000))
static const struct bound {
    uint64_t ns;
    const char *text;
} bounds[] = {
    {US(50), "5e-05"}, {US(100), "0.0001"}, {US(200), "0.0002"}, {US(400), "0.0004"},
    {MS(1), "0.001"},  {MS(2), "0.002"},    {MS(5), "0.005"},    {MS(10), "0.01"},
    {MS(20), "0.02"},  {MS(50), "0.05"},    {MS(100), "0.1"},    {MS(200), "0.2"},
    {MS(500), "0.5"},  {MS(1000), "1"},     {MS(2000), "2"},     {MS(5000), "5"},
    {MS(10000), "10"},
};

enum { BOUND_COUNT = sizeof bounds / sizeof *bounds };

struct timer {
    _Atomic uint64_t sum_ns;
    _Atomic uint64_t buckets[BOUND_COUNT + 1];
};

struct block {
    alignas(CACHE_LINE) _Atomic uint64_t values[METRIC_COUNT];
    struct timer timers[METRIC_TIMER_COUNT];
    _Atomic bool taken;
};

static struct block blocks[METRIC_THREADS_MAX];
static _Thread_local struct block *own;

/* ---- A block for each thread --------------------------------------------------------------- */

static pthread_key_t at_thread_end;

static void give_back(void *block)
{
    /* Release: the next owner goes on from our last numbers. Pairs with the exchange in take(). */
    atomic_store_explicit(&((struct block *)block)->taken, false, memory_order_release);
}

static void make_key(void)
{
    CHECK(pthread_key_create(&at_thread_end, give_back) == 0);
}

static struct block *take(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    (void)pthread_once(&once, make_key);
    for (int i = 0; i < METRIC_THREADS_MAX; i++) {
        if (!atomic_exchange_explicit(&blocks[i].taken, true, memory_order_acquire)) {
            (void)pthread_setspecific(at_thread_end, &blocks[i]);
            return &blocks[i];
        }
    }
    return NULL;
}

static struct block *own_block(void)
{
    if (__builtin_expect(own == NULL, 0)) {
        own = take();
        CHECK(own != NULL); /* More threads than METRIC_THREADS_MAX: we start a fixed number. */
    }
    return own;
}

/* ---- Counting ------------------------------------------------------------------------------ */

static uint64_t get(const _Atomic uint64_t *number)
{
    return atomic_load_explicit(number, memory_order_relaxed);
}

/* The block's owner is the only writer, so nothing is lost between the load and the store. */
static void add(_Atomic uint64_t *number, uint64_t n)
{
    atomic_store_explicit(number, get(number) + n, memory_order_relaxed);
}

void metric_add(enum metric metric, uint64_t n)
{
    add(&own_block()->values[metric], n);
}

void metric_sub(enum metric metric, uint64_t n)
{
    add(&own_block()->values[metric], 0 - n); /* One block may wrap below 0; the sum does not. */
}

void metric_time(enum metric_timer timer, uint64_t duration_ns)
{
    struct timer *mine = &own_block()->timers[timer];
    int at = 0;

    while (at < BOUND_COUNT && duration_ns > bounds[at].ns)
        at++;
    add(&mine->buckets[at], 1);
    add(&mine->sum_ns, duration_ns);
}

/* ---- Adding up ----------------------------------------------------------------------------- */

uint64_t metric_sum(enum metric metric)
{
    uint64_t sum = 0;

    for (int i = 0; i < METRIC_THREADS_MAX; i++)
        sum += get(&blocks[i].values[metric]);
    return sum;
}

static uint64_t sum_bucket(enum metric_timer timer, int bucket)
{
    uint64_t sum = 0;

    for (int i = 0; i < METRIC_THREADS_MAX; i++)
        sum += get(&blocks[i].timers[timer].buckets[bucket]);
    return sum;
}

uint64_t metric_timer_count(enum metric_timer timer)
{
    uint64_t sum = 0;

    for (int bucket = 0; bucket <= BOUND_COUNT; bucket++)
        sum += sum_bucket(timer, bucket);
    return sum;
}

/* ---- As text ------------------------------------------------------------------------------- */

static PRINTF_LIKE(2, 3) void put(struct bytes *out, const char *format, ...)
{
    char line[256];
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    CHECK(size >= 0);
    CHECK((size_t)size < sizeof line); /* Names and help texts are ours. */
    bytes_put(out, line, (size_t)size);
}

static void put_head(struct bytes *out, const char *name, const char *kind, const char *help)
{
    put(out, "# HELP %s %s.\n# TYPE %s %s\n", name, help, name, kind);
}

static void put_timer(struct bytes *out, enum metric_timer timer, const char *name)
{
    uint64_t passed = 0;
    uint64_t sum_ns = 0;

    for (int i = 0; i < METRIC_THREADS_MAX; i++)
        sum_ns += get(&blocks[i].timers[timer].sum_ns);
    for (int i = 0; i < BOUND_COUNT; i++) {
        passed += sum_bucket(timer, i);
        put(out, "%s_bucket{le=\"%s\"} %" PRIu64 "\n", name, bounds[i].text, passed);
    }
    passed += sum_bucket(timer, BOUND_COUNT);
    put(out, "%s_bucket{le=\"+Inf\"} %" PRIu64 "\n", name, passed);
    put(out, "%s_sum %.9f\n%s_count %" PRIu64 "\n", name, (double)sum_ns * 1e-9, name, passed);
}

void metric_write_prometheus(struct bytes *out)
{
    static const struct {
        const char *kind, *name, *help;
    } rows[METRIC_COUNT] = {
#define METRIC_ROW(id, kind, name, help) {#kind, name, help},
        METRIC_TABLE(METRIC_ROW)};
    static const struct {
        const char *name, *help;
    } timers[METRIC_TIMER_COUNT] = {
#define METRIC_TIMER_ROW(id, name, help) {name, help},
        METRIC_TIMER_TABLE(METRIC_TIMER_ROW)};

    for (int i = 0; i < METRIC_COUNT; i++) {
        put_head(out, rows[i].name, rows[i].kind, rows[i].help);
        put(out, "%s %" PRId64 "\n", rows[i].name, (int64_t)metric_sum((enum metric)i));
    }
    for (int i = 0; i < METRIC_TIMER_COUNT; i++) {
        put_head(out, timers[i].name, "histogram", timers[i].help);
        put_timer(out, (enum metric_timer)i, timers[i].name);
    }
}
