#include "storage/block/column_newest.h"

#include "storage/block/column_int.h"
#include "storage/block/column_time.h"

/* Where a number stands among ascending ones; the reader is behind all of them then. */
static enum column_newest find_number(struct reader *reader, uint32_t count, uint32_t number,
                                      uint32_t *ret_at)
{
    uint64_t numbers[COLUMN_CHUNK];

    for (uint32_t at = 0; at < count; at += COLUMN_CHUNK) {
        uint32_t size = count - at < COLUMN_CHUNK ? count - at : COLUMN_CHUNK;
        uint32_t low = 0, high = size;

        column_int_get_roomy(reader, size, numbers);
        if (reader->bad)
            return COLUMN_NEWEST_ELSE;
        if (numbers[size - 1] < number)
            continue;
        while (low < high) {
            uint32_t middle = low + (high - low) / 2;

            if (numbers[middle] < number)
                low = middle + 1;
            else
                high = middle;
        }
        if (low == size || numbers[low] != number)
            return COLUMN_NEWEST_NONE;
        *ret_at = at + low;
        column_int_skip(reader, count - at - size);
        return reader->bad ? COLUMN_NEWEST_ELSE : COLUMN_NEWEST_FOUND;
    }
    return COLUMN_NEWEST_NONE;
}

enum column_newest column_newest_run(const struct column_rows *rows, uint32_t number,
                                     uint32_t numbers, struct column_run *ret_run)
{
    struct reader reader = rows->runs, again;
    enum column_newest found = COLUMN_NEWEST_FOUND;
    uint32_t run = number;
    uint64_t first = 0, count = 1;

    if (rows->run_count == numbers) /* They ascend: each has its own place. */
        column_int_skip(&reader, numbers);
    else
        found = find_number(&reader, rows->run_count, number, &run);
    if (found != COLUMN_NEWEST_FOUND)
        return found;
    if (rows->run_count == rows->rows) { /* One row each. */
        first = run;
    } else {
        again = reader;
        first = column_int_get_sum(&reader, rows->run_count, 0, run);
        count = column_int_get_one(&again, rows->run_count, run);
    }
    if (reader.bad || run >= rows->run_count || first > rows->rows || count < 1 ||
        count > rows->rows - first)
        return COLUMN_NEWEST_ELSE;
    *ret_run = (struct column_run){run, (uint32_t)first, (uint32_t)(first + count)};
    return COLUMN_NEWEST_FOUND;
}

enum column_newest column_newest_of(const struct column_rows *rows, const struct column_run *run,
                                    const struct column_presence *presence, enum field_type type,
                                    struct reader values, struct column_newest_value *ret_value)
{
    struct column_presence rest = *presence;
    struct reader times = rows->times;
    struct column_newest_value value;
    uint32_t row = 0, at = 0;

    if (!column_find_last(&rest, rows->rows, run->first, run->end, &row, &at))
        return rest.rest.bad ? COLUMN_NEWEST_ELSE : COLUMN_NEWEST_NONE;
    if (type == FIELD_STRING || at >= presence->values)
        return COLUMN_NEWEST_ELSE;
    value.bits = column_get_one_value(&values, type, presence->values, at);
    value.time_ns =
        column_time_get_one(&times, rows->run_count, rows->rows, run->run, run->first, row);
    if (values.bad || times.bad)
        return COLUMN_NEWEST_ELSE;
    *ret_value = value;
    return COLUMN_NEWEST_FOUND;
}
