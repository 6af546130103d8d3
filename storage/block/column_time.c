#include "storage/block/column_time.h"

#include "storage/block/column_int.h"

enum { CODEC = 1, UNIT_MAX = 3 };

static const int64_t units_ns[UNIT_MAX + 1] = {1, 1000, 1000000, 1000000000};

/* ---- Writing ------------------------------------------------------------------------------- */

/* Written out, so that the compiler divides by a constant: a multiplication. */
static inline int64_t divide(int64_t number, unsigned unit)
{
    switch (unit) {
    case 1:
        return number / 1000;
    case 2:
        return number / 1000000;
    case 3:
        return number / 1000000000;
    default:
        return number;
    }
}

static unsigned find_unit(const int64_t *times_ns, uint32_t count)
{
    for (unsigned unit = UNIT_MAX; unit > 0; unit--) {
        uint32_t i = 0;

        while (i < count && divide(times_ns[i], unit) * units_ns[unit] == times_ns[i])
            i++;
        if (i == count)
            return unit;
    }
    return 0;
}

void column_time_put(const int64_t *times_ns, const uint64_t *counts, uint32_t runs,
                     uint64_t *scratch, struct bytes *out)
{
    uint32_t rows = 0;
    uint32_t at = 0;
    uint64_t *delta = scratch + runs;
    unsigned unit;

    for (uint32_t run = 0; run < runs; run++)
        rows += (uint32_t)counts[run];
    unit = find_unit(times_ns, rows);
    for (uint32_t run = 0; run < runs; run++) {
        uint32_t end = at + (uint32_t)counts[run];
        int64_t last = divide(times_ns[at], unit);

        scratch[run] = (uint64_t)last;
        for (at++; at < end; at++) {
            int64_t time = divide(times_ns[at], unit);

            *delta++ = (uint64_t)time - (uint64_t)last;
            last = time;
        }
    }
    bytes_put_u8(out, CODEC);
    bytes_put_u8(out, (uint8_t)unit);
    column_int_put(scratch, runs, out);
    column_int_put(scratch + runs, rows - runs, out);
}

/* ---- Reading ------------------------------------------------------------------------------- */

void column_time_get(struct reader *reader, const uint64_t *counts, uint32_t runs, uint32_t rows,
                     uint64_t *scratch, int64_t *ret_times_ns)
{
    uint8_t codec = reader_u8(reader);
    uint8_t unit = reader_u8(reader);
    uint64_t *numbers = (uint64_t *)ret_times_ns;
    uint64_t *delta = numbers + runs;
    uint32_t at = 0;

    if (codec != CODEC || unit > UNIT_MAX) {
        reader->bad = true;
        return;
    }
    column_int_get(reader, runs, scratch);
    /* The differences stand at the end of the result: each is read before its place is written. */
    column_int_get(reader, rows - runs, delta);
    for (uint32_t run = 0; run < runs && !reader->bad; run++) {
        uint32_t end = at + (uint32_t)counts[run];
        int64_t time;

        if (__builtin_mul_overflow((int64_t)scratch[run], units_ns[unit], &time))
            reader->bad = true;
        ret_times_ns[at] = time;
        for (at++; at < end; at++) {
            uint64_t step;

            if (__builtin_mul_overflow(*delta, (uint64_t)units_ns[unit], &step) ||
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
