#include "tests/bench/codec_data.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "storage/base/clk.h"

/* ---- Chance -------------------------------------------------------------------------------- */

static uint64_t state;

void codec_data_seed(uint64_t seed)
{
    state = seed;
}

uint64_t codec_data_next(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double unit(void)
{
    return (double)(codec_data_next() >> 11) * 0x1p-53;
}

double codec_data_gauss(void)
{
    return sqrt(-2 * log(1 - unit())) * cos(6.283185307179586 * unit());
}

/* ---- What devices send --------------------------------------------------------------------- */

struct walk {
    double base; /* 0 to 100: where this series starts. */
    double x;
    uint32_t at;
};

static double temperature(struct walk *walk)
{
    walk->x += codec_data_gauss() * 0.05;
    return round((20 + walk->base / 10 + walk->x) * 100) / 100;
}

static double humidity(struct walk *walk)
{
    walk->x += codec_data_gauss() * 0.03;
    return round((40 + walk->base / 5 + walk->x) * 10) / 10;
}

static double counter(struct walk *walk)
{
    walk->x += floor(350 + 60 * codec_data_gauss());
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
    return 50 + 10 * sin(walk->at / 200.0) + codec_data_gauss() * 0.5;
}

static double small_integer(struct walk *walk)
{
    double r = unit();
    double v;

    walk->x += r < 0.05 ? -1 : r > 0.95 ? 1 : 0;
    v = 50 + floor(walk->base / 4) + walk->x;
    return v < 0 ? 0 : v > 100 ? 100 : v;
}

/* As the Time Series Benchmark Suite has them. */
static double three_steps(struct walk *walk)
{
    double v = 0;

    walk->x += floor(unit() * 3) - 1;
    v = floor(walk->base) + walk->x;
    walk->x += v < 0 ? 1 : v > 100 ? -1 : 0;
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
    walk->x += codec_data_gauss() * 1e-5;
    return round((48.1 + walk->base / 100 + walk->x) * 1e6) / 1e6;
}

static double power(struct walk *walk)
{
    (void)walk;
    return round((1500 + 3 * codec_data_gauss()) * 1000) / 1000;
}

static double narrow_noise(struct walk *walk)
{
    return (double)(float)noise(walk);
}

static uint64_t to_bits(enum field_type type, double value)
{
    uint64_t bits;

    if (type != FIELD_FLOAT)
        return (uint64_t)(int64_t)value;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static void fill_walk(enum field_type type, double (*make)(struct walk *walk), uint64_t *values)
{
    struct walk walk = {0};

    for (uint32_t i = 0; i < CODEC_VALUES; i++) {
        if (i % CODEC_RUN == 0)
            walk = (struct walk){.base = unit() * 100};
        walk.at = i;
        values[i] = to_bits(type, make(&walk));
    }
}

/* ---- When they send it --------------------------------------------------------------------- */

static int64_t start_ms(void)
{
    return 1700000000000 + (int64_t)(codec_data_next() % 1000);
}

static int64_t exact(int64_t *start, uint32_t at)
{
    if (at == 0)
        *start = start_ms();
    return (*start + (int64_t)at * 1000) * NS_PER_MS;
}

static int64_t jitter_5ms(int64_t *start, uint32_t at)
{
    return exact(start, at) + ((int64_t)(codec_data_next() % 11) - 5) * NS_PER_MS;
}

static int64_t drift(int64_t *now, uint32_t at)
{
    if (at == 0)
        *now = start_ms();
    *now += 10000 + (int64_t)(codec_data_next() % 101) - 50;
    return *now * NS_PER_MS;
}

static int64_t jitter_200us(int64_t *start, uint32_t at)
{
    return exact(start, at) + (int64_t)(codec_data_next() % 400001) - 200000;
}

static int64_t gaps(int64_t *now, uint32_t at)
{
    if (at == 0)
        *now = start_ms();
    *now += 5000 + (int64_t)(codec_data_next() % 7) - 3;
    if (codec_data_next() % 250 == 0)
        *now += 5000 * (int64_t)(1 + codec_data_next() % 20);
    return *now * NS_PER_MS;
}

static int64_t jitter_us(int64_t *start, uint32_t at)
{
    return exact(start, at) + (int64_t)(fabs(codec_data_gauss()) * 300) * 1000;
}

static void fill_times(int64_t (*make)(int64_t *kept, uint32_t at), uint64_t *values)
{
    int64_t kept = 0;

    for (uint32_t i = 0; i < CODEC_VALUES; i++)
        values[i] = (uint64_t)make(&kept, i % CODEC_RUN);
}

/* ---- What this machine has ----------------------------------------------------------------- */

static uint64_t *found; /* Of the walk under way. */
static uint32_t found_count;
static bool found_times;

static int take_file(const char *path, const struct stat *stat, int type, struct FTW *ftw)
{
    (void)path;
    (void)ftw;
    if (type != FTW_F)
        return 0;
    found[found_count++] = found_times ? (uint64_t)stat->st_mtim.tv_sec : (uint64_t)stat->st_size;
    return found_count == CODEC_VALUES;
}

/* In the order of the folders. Repeated until there are enough. */
static bool fill_files(bool times, uint64_t *values)
{
    uint32_t count;

    found = values;
    found_count = 0;
    found_times = times;
    (void)nftw("/usr", take_file, 64, FTW_PHYS);
    count = found_count;
    for (uint32_t i = count; count > 0 && i < CODEC_VALUES; i++)
        values[i] = values[i - count];
    return count >= CODEC_RUN;
}

/* The number behind a word of a file of /proc. */
static bool read_number(const char *path, const char *word, uint64_t *ret_number)
{
    char text[8192];
    FILE *file = fopen(path, "r");
    const char *at;
    size_t size;

    if (file == NULL)
        return false;
    size = fread(text, 1, sizeof text - 1, file);
    (void)fclose(file);
    text[size] = '\0';
    at = strstr(text, word);
    if (at == NULL)
        return false;
    *ret_number = strtoull(at + strlen(word), NULL, 10);
    return true;
}

/* A run of samples, as quick as they can be had; the other runs are that run. */
static bool fill_proc(const char *path, const char *word, uint64_t *values)
{
    for (uint32_t i = 0; i < 16 * CODEC_RUN; i++)
        if (!read_number(path, word, &values[i]))
            return false;
    for (uint32_t i = 16 * CODEC_RUN; i < CODEC_VALUES; i++)
        values[i] = values[i - 16 * CODEC_RUN];
    return true;
}

/* When a loop that does a little work looked at the clock, in us. */
static void fill_clock(uint64_t *values)
{
    for (uint32_t i = 0; i < CODEC_VALUES; i++) {
        struct timespec now;

        for (volatile int spin = 0; spin < 100; spin++)
            ;
        (void)clock_gettime(CLOCK_REALTIME, &now);
        values[i] = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
    }
}

/* ---- Sets ---------------------------------------------------------------------------------- */

enum real { MADE, FILE_SIZES, FILE_TIMES, MEMORY, SWITCHES, CLOCK };

static const struct {
    struct codec_data data;
    double (*walk)(struct walk *walk);
    int64_t (*time)(int64_t *kept, uint32_t at);
    enum real real;
} sets[] = {
    {{"temperature, 2 decimals", FIELD_FLOAT, 0.30, false}, temperature, NULL, MADE},
    {{"humidity, 1 decimal", FIELD_FLOAT, 0.15, false}, humidity, NULL, MADE},
    {{"counter", FIELD_FLOAT, 0.15, false}, counter, NULL, MADE},
    {{"gauge, near constant", FIELD_FLOAT, 0.10, false}, gauge, NULL, MADE},
    {{"noise, full precision", FIELD_FLOAT, 0.05, false}, noise, NULL, MADE},
    {{"integer 0..100", FIELD_INT, 0.10, false}, small_integer, NULL, MADE},
    {{"boolean, runs of 60", FIELD_BOOL, 0.05, false}, boolean, NULL, MADE},
    {{"GPS, 6 decimals", FIELD_FLOAT, 0.05, false}, position, NULL, MADE},
    {{"power, 3 decimals", FIELD_FLOAT, 0.05, false}, power, NULL, MADE},
    {{"integer, up, down or not", FIELD_INT, 0, false}, three_steps, NULL, MADE},
    {{"float32 widened", FIELD_FLOAT, 0, false}, narrow_noise, NULL, MADE},
    {{"times, exact 1 s", FIELD_INT, 0, true}, NULL, exact, MADE},
    {{"times, 1 s +- 5 ms", FIELD_INT, 0, true}, NULL, jitter_5ms, MADE},
    {{"times, 10 s drifting", FIELD_INT, 0, true}, NULL, drift, MADE},
    {{"times, 1 s +- 200 us, in ns", FIELD_INT, 0, true}, NULL, jitter_200us, MADE},
    {{"times, 5 s and gaps", FIELD_INT, 0, true}, NULL, gaps, MADE},
    {{"times, 1 s and jitter, in us", FIELD_INT, 0, true}, NULL, jitter_us, MADE},
    {{"real: file sizes", FIELD_UINT, 0, false}, NULL, NULL, FILE_SIZES},
    {{"real: file times, s", FIELD_INT, 0, false}, NULL, NULL, FILE_TIMES},
    {{"real: free memory, kB", FIELD_UINT, 0, false}, NULL, NULL, MEMORY},
    {{"real: context switches", FIELD_UINT, 0, false}, NULL, NULL, SWITCHES},
    {{"real: the clock in a loop, ns", FIELD_INT, 0, true}, NULL, NULL, CLOCK},
};

size_t codec_data_sets(void)
{
    return sizeof sets / sizeof sets[0];
}

const struct codec_data *codec_data_set(size_t at)
{
    return &sets[at].data;
}

bool codec_data_fill(size_t at, uint64_t *values)
{
    codec_data_seed(at + 1);
    if (sets[at].walk != NULL)
        fill_walk(sets[at].data.type, sets[at].walk, values);
    else if (sets[at].time != NULL)
        fill_times(sets[at].time, values);
    switch (sets[at].real) {
    case FILE_SIZES:
        return fill_files(false, values);
    case FILE_TIMES:
        return fill_files(true, values);
    case MEMORY:
        return fill_proc("/proc/meminfo", "MemFree:", values);
    case SWITCHES:
        return fill_proc("/proc/stat", "ctxt", values);
    case CLOCK:
        fill_clock(values);
        return true;
    default:
        return true;
    }
}
