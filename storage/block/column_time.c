#include "storage/block/column_time.h"

#include <string.h>

#include "storage/block/column_int.h"
#include "storage/block/lanes.h"

enum {
    CODEC = 2,
    UNIT = 3,
    WHOLE = 4, /* Added to the unit. */

    WHOLE_BITS_GOOD = 5, /* A row: with so few, differences are not worth trying. */
    WHOLE_RUN_MIN = 128, /* Rows a run, on the average: below this, jumps between runs cost more. */
};

static const int64_t units_ns[UNIT + 1] = {1, 1000, 1000000, 1000000000};

/* ---- Writing ------------------------------------------------------------------------------- */

/* Up to COLUMN_CHUNK times in a unit that divides them; false if it does not. */
static bool divide(const int64_t *times_ns, uint32_t count, unsigned unit, int64_t *ret_times)
{
    if (unit > 0)
        return lanes_kernels()->divide_times(times_ns, count, unit, ret_times);
    memcpy(ret_times, times_ns, count * sizeof *times_ns);
    return true;
}

static uint32_t chunk_at(uint32_t at, uint32_t rows)
{
    return rows - at < COLUMN_CHUNK ? rows - at : COLUMN_CHUNK;
}

/* The largest unit that divides all times. */
static unsigned find_unit(const int64_t *times_ns, uint32_t rows)
{
    int64_t times[COLUMN_CHUNK];
    unsigned unit = UNIT;
    uint32_t at = 0;

    while (at < rows)
        if (times_ns[at] % units_ns[unit] == 0 &&
            divide(times_ns + at, chunk_at(at, rows), unit, times))
            at += COLUMN_CHUNK;
        else
            unit--; /* What a larger one divides, this one does too. */
    return unit;
}

static void put_whole(const int64_t *times_ns, uint32_t rows, unsigned unit, struct bytes *out)
{
    int64_t times[COLUMN_CHUNK];

    bytes_put_u8(out, (uint8_t)(unit + WHOLE));
    for (uint32_t at = 0; at < rows; at += COLUMN_CHUNK) {
        (void)divide(times_ns + at, chunk_at(at, rows), unit, times);
        column_int_put_chunk((const uint64_t *)times, chunk_at(at, rows), out);
    }
}

static void put_differences(const int64_t *times_ns, const uint64_t *counts, uint32_t runs,
                            uint32_t rows, unsigned unit, uint64_t *scratch, struct bytes *out)
{
    int64_t times[COLUMN_CHUNK];
    uint64_t *delta = scratch + runs;
    uint64_t left = 0, before = 0; /* Rows left of the run under way; the last time. */
    uint32_t run = 0;

    for (uint32_t at = 0; at < rows; at += COLUMN_CHUNK) {
        uint32_t count = chunk_at(at, rows), i = 0;

        (void)divide(times_ns + at, count, unit, times);
        while (i < count) {
            uint32_t end;

            if (left == 0) {
                left = counts[run] - 1;
                before = scratch[run++] = (uint64_t)times[i++];
            }
            end = left < count - i ? i + (uint32_t)left : count;
            left -= end - i;
            for (; i < end; i++) {
                *delta++ = (uint64_t)times[i] - before;
                before = (uint64_t)times[i];
            }
        }
    }
    bytes_put_u8(out, (uint8_t)unit);
    column_int_put(scratch, runs, out);
    column_int_put(scratch + runs, rows - runs, out);
}

void column_time_put(const int64_t *times_ns, const uint64_t *counts, uint32_t runs,
                     uint64_t *scratch, struct bytes *out)
{
    uint32_t rows = 0;
    unsigned unit;
    size_t start, middle;

    for (uint32_t run = 0; run < runs; run++)
        rows += (uint32_t)counts[run];
    unit = find_unit(times_ns, rows);
    bytes_put_u8(out, CODEC);
    start = out->size;
    if (rows / runs >= WHOLE_RUN_MIN) {
        put_whole(times_ns, rows, unit, out);
        /* Of one run, differences are an order of the integers. */
        if (runs == 1 || (out->size - start) * 8 <= (size_t)rows * WHOLE_BITS_GOOD)
            return;
    }
    middle = out->size;
    put_differences(times_ns, counts, runs, rows, unit, scratch, out);
    if (middle == start || out->failed)
        return;
    if (out->size - middle < middle - start) {
        memmove(out->data + start, out->data + middle, out->size - middle);
        out->size -= middle - start;
    } else {
        out->size = middle;
    }
}

/* ---- Reading ------------------------------------------------------------------------------- */

/* Runs `first` to `end` - 1: rows `start` to behind - 1. */
struct some {
    uint32_t first, end;
    uint32_t start, behind;
};

static struct some find_rows(const uint64_t *counts, uint32_t first, uint32_t end)
{
    struct some some = {first, end, 0, 0};

    for (uint32_t run = 0; run < end; run++) {
        some.start += run < first ? (uint32_t)counts[run] : 0;
        some.behind += (uint32_t)counts[run];
    }
    return some;
}

static void get_whole(struct reader *reader, const uint64_t *counts, const struct some *some,
                      uint32_t rows, unsigned unit, int64_t *ret_times_ns)
{
    for (uint32_t at = 0; at < some->behind && !reader->bad; at += COLUMN_CHUNK) {
        uint32_t count = chunk_at(at, rows);

        if (at + count <= some->start) {
            column_int_skip_chunk(reader, count);
            continue;
        }
        column_int_get_chunk(reader, count, (uint64_t *)ret_times_ns + at);
        if (unit > 0 && !reader->bad &&
            !lanes_kernels()->multiply_times(ret_times_ns + at, count, unit))
            reader->bad = true;
    }
    ret_times_ns += some->start;
    for (uint32_t run = some->first; run < some->end && !reader->bad; run++) {
        reader->bad = !lanes_kernels()->times_ascend(ret_times_ns, (uint32_t)counts[run]);
        ret_times_ns += counts[run];
    }
}

static void get_differences(struct reader *reader, const uint64_t *counts, uint32_t runs,
                            const struct some *some, uint32_t rows, int64_t unit_ns,
                            uint64_t *scratch, int64_t *ret_times_ns)
{
    uint64_t *deltas = (uint64_t *)ret_times_ns + runs;
    uint64_t *delta = deltas + some->start - some->first;
    uint32_t at = some->start;

    column_int_get(reader, runs, scratch);
    /* The differences stand at the end of the result: each is read before its place is written. */
    column_int_get_some(reader, rows - runs, some->start - some->first, some->behind - some->end,
                        deltas);
    for (uint32_t run = some->first; run < some->end && !reader->bad; run++) {
        uint32_t end = at + (uint32_t)counts[run];
        int64_t time;

        if (__builtin_mul_overflow((int64_t)scratch[run], unit_ns, &time))
            reader->bad = true;
        ret_times_ns[at] = time;
        for (at++; at < end; at++) {
            uint64_t step;

            if (__builtin_mul_overflow(*delta, (uint64_t)unit_ns, &step) ||
                step > (uint64_t)INT64_MAX - (uint64_t)time) {
                reader->bad = true;
                return;
            }
            delta++;
            time = (int64_t)((uint64_t)time + step);
            ret_times_ns[at] = time;
        }
    }
}

void column_time_get_some(struct reader *reader, const uint64_t *counts, uint32_t runs,
                          uint32_t rows, uint32_t first, uint32_t end, uint64_t *scratch,
                          int64_t *ret_times_ns)
{
    struct some some = find_rows(counts, first, end);
    uint8_t codec = reader_u8(reader);
    uint8_t unit = reader_u8(reader);

    if (codec != CODEC || unit > UNIT + WHOLE) {
        reader->bad = true;
        return;
    }
    if ((unit & WHOLE) != 0)
        get_whole(reader, counts, &some, rows, unit & UNIT, ret_times_ns);
    else
        get_differences(reader, counts, runs, &some, rows, units_ns[unit], scratch, ret_times_ns);
}

void column_time_get(struct reader *reader, const uint64_t *counts, uint32_t runs, uint32_t rows,
                     uint64_t *scratch, int64_t *ret_times_ns)
{
    column_time_get_some(reader, counts, runs, rows, 0, runs, scratch, ret_times_ns);
}

int64_t column_time_get_one(struct reader *reader, uint32_t runs, uint32_t rows, uint32_t run,
                            uint32_t start, uint32_t row)
{
    uint8_t codec = reader_u8(reader), unit = reader_u8(reader);
    int64_t time = 0;

    if (codec != CODEC || unit > UNIT + WHOLE)
        reader->bad = true;
    if (reader->bad)
        return 0;
    if ((unit & WHOLE) != 0) {
        time = (int64_t)column_int_get_one(reader, rows, row);
    } else {
        uint32_t chunk_end = (run / COLUMN_CHUNK + 1) * COLUMN_CHUNK;

        time = (int64_t)column_int_get_one(reader, runs, run);
        if (row > start) {
            column_int_skip(reader, chunk_end < runs ? runs - chunk_end : 0);
            time = (int64_t)((uint64_t)time +
                             column_int_get_sum(reader, rows - runs, start - run, row - run));
        }
    }
    if (__builtin_mul_overflow(time, units_ns[unit & UNIT], &time))
        reader->bad = true;
    return time;
}
