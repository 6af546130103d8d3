#include "storage/block/column_time.h"

#include <string.h>

#include "storage/block/column_int.h"
#include "storage/block/lanes.h"

enum {
    CODEC = 2,
    UNIT = 3,
    WHOLE = 4, /* Added to the unit. */

    WHOLE_RUN_MIN = 128, /* Rows a run, on the average: below this, jumps between runs cost more. */
};

static const int64_t units_ns[UNIT + 1] = {1, 1000, 1000000, 1000000000};

/* ---- Writing ------------------------------------------------------------------------------- */

/* Times in the largest unit that divides them all, and that unit. */
static const int64_t *divide(const int64_t *times_ns, uint32_t rows, int64_t *scratch,
                             unsigned *ret_unit)
{
    for (unsigned unit = UNIT; unit > 0; unit--)
        if (times_ns[0] % units_ns[unit] == 0 && times_ns[rows - 1] % units_ns[unit] == 0 &&
            lanes_kernels()->divide_times(times_ns, rows, unit, scratch)) {
            *ret_unit = unit;
            return scratch;
        }
    *ret_unit = 0;
    return times_ns;
}

static void put_differences(const int64_t *times, const uint64_t *counts, uint32_t runs,
                            uint32_t rows, uint64_t *scratch, struct bytes *out)
{
    uint64_t *delta = scratch + runs;
    uint32_t at = 0;

    for (uint32_t run = 0; run < runs; run++) {
        uint32_t end = at + (uint32_t)counts[run];

        scratch[run] = (uint64_t)times[at];
        for (at++; at < end; at++)
            *delta++ = (uint64_t)times[at] - (uint64_t)times[at - 1];
    }
    column_int_put(scratch, runs, out);
    column_int_put(scratch + runs, rows - runs, out);
}

void column_time_put(const int64_t *times_ns, const uint64_t *counts, uint32_t runs,
                     uint64_t *scratch, struct bytes *out)
{
    const int64_t *times;
    uint32_t rows = 0;
    unsigned unit;
    size_t start, middle;

    for (uint32_t run = 0; run < runs; run++)
        rows += (uint32_t)counts[run];
    times = divide(times_ns, rows, (int64_t *)scratch + rows, &unit);
    bytes_put_u8(out, CODEC);
    start = out->size;
    if (rows / runs >= WHOLE_RUN_MIN) {
        bytes_put_u8(out, (uint8_t)(unit + WHOLE));
        column_int_put((const uint64_t *)times, rows, out);
        if (runs == 1)
            return; /* Differences are an order of the integers. */
    }
    middle = out->size;
    bytes_put_u8(out, (uint8_t)unit);
    put_differences(times, counts, runs, rows, scratch, out);
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

static void get_whole(struct reader *reader, const uint64_t *counts, uint32_t runs, uint32_t rows,
                      int64_t unit_ns, int64_t *ret_times_ns)
{
    int64_t min = INT64_MAX, max = INT64_MIN;
    uint32_t at = 0;

    column_int_get(reader, rows, (uint64_t *)ret_times_ns);
    if (reader->bad)
        return;
    for (uint32_t row = 0; row < rows; row++) {
        min = ret_times_ns[row] < min ? ret_times_ns[row] : min;
        max = ret_times_ns[row] > max ? ret_times_ns[row] : max;
    }
    if (min < INT64_MIN / unit_ns || max > INT64_MAX / unit_ns) {
        reader->bad = true;
        return;
    }
    for (uint32_t row = 0; row < rows && unit_ns > 1; row++)
        ret_times_ns[row] *= unit_ns;
    for (uint32_t run = 0; run < runs; run++) {
        uint32_t end = at + (uint32_t)counts[run];

        for (at++; at < end; at++)
            reader->bad |= ret_times_ns[at] < ret_times_ns[at - 1];
    }
}

static void get_differences(struct reader *reader, const uint64_t *counts, uint32_t runs,
                            uint32_t rows, int64_t unit_ns, uint64_t *scratch,
                            int64_t *ret_times_ns)
{
    uint64_t *numbers = (uint64_t *)ret_times_ns;
    uint64_t *delta = numbers + runs;
    uint32_t at = 0;

    column_int_get(reader, runs, scratch);
    /* The differences stand at the end of the result: each is read before its place is written. */
    column_int_get(reader, rows - runs, delta);
    for (uint32_t run = 0; run < runs && !reader->bad; run++) {
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

void column_time_get(struct reader *reader, const uint64_t *counts, uint32_t runs, uint32_t rows,
                     uint64_t *scratch, int64_t *ret_times_ns)
{
    uint8_t codec = reader_u8(reader);
    uint8_t unit = reader_u8(reader);

    if (codec != CODEC || unit > UNIT + WHOLE) {
        reader->bad = true;
        return;
    }
    if ((unit & WHOLE) != 0)
        get_whole(reader, counts, runs, rows, units_ns[unit & UNIT], ret_times_ns);
    else
        get_differences(reader, counts, runs, rows, units_ns[unit], scratch, ret_times_ns);
}
