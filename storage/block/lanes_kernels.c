/*
 * The kernels of lanes.h, compiled once for each level of CPU: LANES_TABLE names the table, the
 * compiler's flags say what the level has. WIDE lanes fill a register; what is written below for
 * one register is done for all eight lanes in 8 / WIDE turns.
 */
#include "storage/block/lanes.h"

#include <string.h>

#include "storage/base/varint.h"
#include "storage/block/column_decimal.h"
#include "storage/block/lanes_dense_loops.h"
#include "storage/block/lanes_extremes.h"
#include "storage/block/lanes_registers.h"

extern const struct lanes_kernels LANES_TABLE;

/* ---- Looking at numbers -------------------------------------------------------------------- */

static void find_spans(const uint64_t *numbers, uint32_t count, struct lanes_span ret_spans[3])
{
    const struct lanes_span nothing = {INT64_MAX, INT64_MIN};
    int64_t min0 = INT64_MAX, max0 = INT64_MIN;
    int64_t min1 = INT64_MAX, max1 = INT64_MIN;
    int64_t min2 = INT64_MAX, max2 = INT64_MIN;

    for (uint32_t i = 2; i < count; i++) {
        uint64_t delta = numbers[i] - numbers[i - 1];
        int64_t second = (int64_t)(delta - (numbers[i - 1] - numbers[i - 2]));

        min0 = lesser_one(min0, (int64_t)numbers[i]);
        max0 = greater_one(max0, (int64_t)numbers[i]);
        min1 = lesser_one(min1, (int64_t)delta);
        max1 = greater_one(max1, (int64_t)delta);
        min2 = lesser_one(min2, second);
        max2 = greater_one(max2, second);
    }
    for (uint32_t i = 0; i < count && i < 2; i++) {
        min0 = lesser_one(min0, (int64_t)numbers[i]);
        max0 = greater_one(max0, (int64_t)numbers[i]);
    }
    if (count > 1) {
        min1 = lesser_one(min1, (int64_t)(numbers[1] - numbers[0]));
        max1 = greater_one(max1, (int64_t)(numbers[1] - numbers[0]));
    }
    ret_spans[0] = (struct lanes_span){min0, max0};
    ret_spans[1] = count > 1 ? (struct lanes_span){min1, max1} : nothing;
    ret_spans[2] = count > 2 ? (struct lanes_span){min2, max2} : nothing;
}

#define TOP_BIT (1ull << 63)

/* `position` is slope * i, plus the top bit; the result is (slope * i >> 16), as a signed shift
 * does it, which not every CPU has for registers. */
#define LINE_AT(position) (((position) >> LANES_SLOPE_BITS) - (TOP_BIT >> LANES_SLOPE_BITS))

static void find_line_span(const uint64_t *numbers, uint32_t count, uint64_t slope,
                           struct lanes_span *ret_span)
{
    int64_t min = INT64_MAX, max = INT64_MIN;
    uint64_t position = TOP_BIT;

    for (uint32_t i = 0; i < count; i++) {
        int64_t rest = (int64_t)(numbers[i] - LINE_AT(position));

        min = lesser_one(min, rest);
        max = greater_one(max, rest);
        position += slope;
    }
    *ret_span = (struct lanes_span){min, max};
}

static void find_packed(const uint64_t *numbers, uint32_t count, const struct lanes_model *model,
                        uint64_t *ret_packed)
{
    uint64_t base = model->base;
    uint64_t position = TOP_BIT;

    switch (model->order) {
    case 0:
        for (uint32_t i = 0; i < count; i++)
            ret_packed[i] = numbers[i] - base;
        return;
    case 1:
        ret_packed[0] = 0;
        for (uint32_t i = 1; i < count; i++)
            ret_packed[i] = numbers[i] - numbers[i - 1] - base;
        return;
    case 2:
        ret_packed[0] = 0;
        ret_packed[1] = 0;
        for (uint32_t i = 2; i < count; i++)
            ret_packed[i] = numbers[i] - 2 * numbers[i - 1] + numbers[i - 2] - base;
        return;
    default:
        for (uint32_t i = 0; i < count; i++) {
            ret_packed[i] = numbers[i] - LINE_AT(position) - base;
            position += model->step;
        }
        return;
    }
}

/* Bits of a number; branchless, so that eight are done at once where registers can count zeros. */
INLINE uint64_t width_of(uint64_t number)
{
    return 64 - (uint64_t)__builtin_clzll(number | 1) - (number == 0);
}

static void count_widths(const uint64_t *numbers, uint32_t count, uint32_t *ret_counts)
{
    enum { WIDTHS = 65, TABLES = 4 }; /* Several: adding to the same number twice has to wait. */
    uint32_t tables[TABLES][WIDTHS] = {{0}};
    uint64_t widths[LANES_NUMBERS_MAX];
    uint32_t i = 0;

    for (uint32_t k = 0; k < count; k++)
        widths[k] = width_of(zigzag(numbers[k]));
    for (; i + TABLES <= count; i += TABLES)
        for (uint32_t k = 0; k < TABLES; k++)
            tables[k][widths[i + k]]++;
    for (; i < count; i++)
        tables[0][widths[i]]++;
    for (unsigned width = 0; width < WIDTHS; width++) {
        ret_counts[width] = 0;
        for (uint32_t k = 0; k < TABLES; k++)
            ret_counts[width] += tables[k][width];
    }
}

static uint32_t find_wide(const uint64_t *numbers, uint32_t count, unsigned width,
                          uint16_t *ret_places)
{
    uint64_t high = width == 64 ? 0 : UINT64_MAX << width;
    uint32_t found = 0;
    uint32_t i = 0;

    for (; i + LANES <= count; i += LANES)
        for (unsigned which = which_of_eight(numbers + i, high); which != 0; which &= which - 1)
            ret_places[found++] = (uint16_t)(i + (unsigned)__builtin_ctz(which));
    for (; i < count; i++)
        if ((numbers[i] & high) != 0)
            ret_places[found++] = (uint16_t)i;
    return found;
}

/* ---- Packing ------------------------------------------------------------------------------- */

INLINE void pack_part(const uint64_t *numbers, uint32_t rows, unsigned width, uint8_t *out)
{
    vec word = {0};
    unsigned fill = 0; /* Bits of `word` in use: 0 to 63. */

    for (uint32_t row = 0; row < rows; row += WIDE) {
        vec r[WIDE];

        for (unsigned lane = 0; lane < WIDE; lane++)
            r[lane] = load(numbers + lane * rows + row);
        transpose(r);
        for (unsigned k = 0; k < WIDE; k++) {
            word |= r[k] << fill;
            fill += width;
            if (fill < 64)
                continue;
            store(out, word);
            out += LANES * sizeof(uint64_t);
            fill -= 64;
            word = fill == 0 ? (vec){0} : r[k] >> (width - fill);
        }
    }
    if (fill > 0)
        store(out, word);
}

static void pack(const uint64_t *numbers, uint32_t rows, unsigned width, uint8_t *out)
{
    for (unsigned lane = 0; lane < LANES && width > 0; lane += WIDE)
        pack_part(numbers + lane * rows, rows, width, out + lane * sizeof(uint64_t));
}

INLINE void unpack_part(const uint8_t *in, uint32_t rows, unsigned width, uint64_t *ret_rows,
                        uint64_t *ret_sum, uint64_t *ret_prefix)
{
    vec mask = all(width == 64 ? UINT64_MAX : (1ull << width) - 1);
    vec sum = {0}, prefix = {0};
    vec word = load(in);
    unsigned at = 0; /* Bits of `word` that were taken: 0 to 63. */

    for (uint32_t row = 0; row < rows; row++) {
        vec number = word >> at;

        at += width;
        if (at >= 64) {
            at -= 64;
            in += LANES * sizeof(uint64_t);
            if (at > 0) {
                word = load(in);
                number |= word << (width - at);
            } else if (row + 1 < rows) {
                word = load(in);
            }
        }
        number &= mask;
        sum += number;
        prefix += sum;
        store(ret_rows + row * LANES, number);
    }
    store(ret_sum, sum);
    store(ret_prefix, prefix);
}

static void unpack(const uint8_t *in, uint32_t rows, unsigned width, uint64_t *ret_rows,
                   struct lanes_sums *ret_sums)
{
    if (width == 0) {
        memset(ret_rows, 0, (size_t)rows * LANES * sizeof *ret_rows);
        memset(ret_sums, 0, sizeof *ret_sums);
        return;
    }
    for (unsigned lane = 0; lane < LANES; lane += WIDE)
        unpack_part(in + lane * sizeof(uint64_t), rows, width, ret_rows + lane,
                    ret_sums->sum + lane, ret_sums->prefix + lane);
}

/* ---- From packed to numbers ---------------------------------------------------------------- */

/* Where the lanes begin. */
struct starts {
    uint64_t before[LANES];
    uint64_t step[LANES];
};

static void find_starts(uint32_t rows, const struct lanes_model *model,
                        const struct lanes_sums *sums, struct starts *ret_starts)
{
    uint64_t before = model->before, step = model->step;

    if (model->order == LANES_LINE) {
        for (unsigned lane = 0; lane < LANES; lane++) {
            ret_starts->before[lane] = step * lane * rows + TOP_BIT;
            ret_starts->step[lane] = step;
        }
        return;
    }
    for (unsigned lane = 0; lane < LANES; lane++) {
        ret_starts->before[lane] = before;
        ret_starts->step[lane] = step;
        if (model->order == 1) {
            before += sums->sum[lane] + rows * model->base;
        } else {
            before +=
                sums->prefix[lane] + rows * step + (uint64_t)rows * (rows + 1) / 2 * model->base;
            step += sums->sum[lane] + rows * model->base;
        }
    }
}

/* The next number of each lane. For a line `before` is its position. */
INLINE vec advance(unsigned order, vec packed, vec base, vec *before, vec *step)
{
    switch (order) {
    case 0:
        return packed + base;
    case 1:
        *before += packed + base;
        return *before;
    case 2:
        *step += packed + base;
        *before += *step;
        return *before;
    default:
        packed += LINE_AT(*before) + base;
        *before += *step;
        return packed;
    }
}

/* `call` with the order as a constant: the loop in it has no choice to make. */
#define WITH_ORDER(order, call) \
    switch (order) {            \
    case 0:                     \
        call(0);                \
        break;                  \
    case 1:                     \
        call(1);                \
        break;                  \
    case 2:                     \
        call(2);                \
        break;                  \
    default:                    \
        call(LANES_LINE);       \
        break;                  \
    }

INLINE void restore_part(unsigned order, const uint64_t *packed_rows, uint32_t rows, uint64_t base,
                         const uint64_t *before_of, const uint64_t *step_of, uint64_t *ret_numbers)
{
    vec before = load(before_of), step = load(step_of);

    for (uint32_t row = 0; row < rows; row += WIDE) {
        vec r[WIDE];

        for (unsigned k = 0; k < WIDE; k++)
            r[k] = advance(order, load(packed_rows + (row + k) * LANES), all(base), &before, &step);
        transpose(r);
        for (unsigned lane = 0; lane < WIDE; lane++)
            store(ret_numbers + lane * rows + row, r[lane]);
    }
}

static void restore(const uint64_t *packed_rows, uint32_t rows, const struct lanes_model *model,
                    const struct lanes_sums *sums, uint64_t *ret_numbers)
{
    struct starts starts;

    find_starts(rows, model, sums, &starts);
#define RESTORE(order)                                                               \
    for (unsigned lane = 0; lane < LANES; lane += WIDE)                              \
    restore_part(order, packed_rows + lane, rows, model->base, starts.before + lane, \
                 starts.step + lane, ret_numbers + lane * rows)
    WITH_ORDER(model->order, RESTORE)
}

/* ---- Sums and totals ----------------------------------------------------------------------- */

INLINE vec accumulate_part(unsigned order, const uint64_t *packed_rows, uint32_t rows,
                           uint64_t base, const uint64_t *before_of, const uint64_t *step_of,
                           uint64_t bias, uint64_t *ret_rows)
{
    vec before = load(before_of), step = load(step_of), sum = {0}, any = {0};

    for (uint32_t row = 0; row < rows; row++) {
        vec number = advance(order, load(packed_rows + row * LANES), all(base), &before, &step);

        any |= number + bias;
        sum += number;
        store(ret_rows + row * LANES, sum);
    }
    return any;
}

static uint64_t accumulate(const uint64_t *packed_rows, uint32_t rows,
                           const struct lanes_model *model, const struct lanes_sums *sums,
                           uint64_t bias, uint64_t *ret_rows)
{
    struct starts starts;
    uint64_t found = 0;
    vec any = {0};

    find_starts(rows, model, sums, &starts);
#define ACCUMULATE(order)                                                                      \
    for (unsigned lane = 0; lane < LANES; lane += WIDE)                                        \
    any |= accumulate_part(order, packed_rows + lane, rows, model->base, starts.before + lane, \
                           starts.step + lane, bias, ret_rows + lane)
    WITH_ORDER(model->order, ACCUMULATE)
    for (unsigned k = 0; k < WIDE; k++)
        found |= any[k];
    return found;
}

#if defined(__AVX2__)

struct part_totals {
    vec sum, min, max;
};

/* `first` and `end`: rows of each lane that count, if `some`. */
INLINE void reduce_part(unsigned order, bool some, const uint64_t *packed_rows, uint32_t rows,
                        uint64_t base, const struct starts *starts, unsigned lane, vec first,
                        vec end, struct part_totals *totals)
{
    vec before = load(starts->before + lane), step = load(starts->step + lane);
    struct part_totals t = *totals;

    for (uint32_t row = 0; row < rows; row++) {
        vec number =
            advance(order, load(packed_rows + row * LANES + lane), all(base), &before, &step);

        if (some) {
            vec mask = (vec)((signed_vec)first <= (signed_vec)all(row)) &
                       (vec)((signed_vec)all(row) < (signed_vec)end);

            t.sum += number & mask;
            t.min = lesser(t.min, choose(mask, number, all(INT64_MAX)));
            t.max = greater(t.max, choose(mask, number, all(TOP_BIT)));
        } else {
            t.sum += number;
            t.min = lesser(t.min, number);
            t.max = greater(t.max, number);
        }
    }
    *totals = t;
}

/* The row of `lane` where number `at` of all would be, from 0 to rows. */
static uint64_t row_in_lane(uint32_t at, unsigned lane, uint32_t rows)
{
    uint32_t start = lane * rows;

    if (at <= start)
        return 0;
    return at - start < rows ? at - start : rows;
}

static void reduce(const uint64_t *packed_rows, uint32_t rows, const struct lanes_model *model,
                   const struct lanes_sums *sums, uint32_t first, uint32_t end,
                   struct lanes_totals *ret_totals)
{
    bool some = first > 0 || end < rows * LANES;
    struct part_totals totals = {all(0), all(INT64_MAX), all(TOP_BIT)};
    struct starts starts;

    find_starts(rows, model, sums, &starts);
    for (unsigned lane = 0; lane < LANES; lane += WIDE) {
        vec firsts = {0}, ends = {0};

        for (unsigned k = 0; k < WIDE && some; k++) {
            firsts[k] = row_in_lane(first, lane + k, rows);
            ends[k] = row_in_lane(end, lane + k, rows);
        }
#define REDUCE(order)                                                                              \
    do {                                                                                           \
        if (some)                                                                                  \
            reduce_part(order, true, packed_rows, rows, model->base, &starts, lane, firsts, ends,  \
                        &totals);                                                                  \
        else                                                                                       \
            reduce_part(order, false, packed_rows, rows, model->base, &starts, lane, firsts, ends, \
                        &totals);                                                                  \
    } while (false)
        WITH_ORDER(model->order, REDUCE)
    }
    *ret_totals = (struct lanes_totals){0, INT64_MAX, INT64_MIN};
    for (unsigned k = 0; k < WIDE; k++) {
        ret_totals->sum += totals.sum[k];
        ret_totals->min = lesser_one(ret_totals->min, (int64_t)totals.min[k]);
        ret_totals->max = greater_one(ret_totals->max, (int64_t)totals.max[k]);
    }
}

#else

/* Where registers cannot compare numbers of 64 bits, their minimum is quicker one by one. */
static void reduce(const uint64_t *packed_rows, uint32_t rows, const struct lanes_model *model,
                   const struct lanes_sums *sums, uint32_t first, uint32_t end,
                   struct lanes_totals *ret_totals)
{
    struct lanes_totals totals = {0, INT64_MAX, INT64_MIN};
    uint64_t numbers[LANES_NUMBERS_MAX];

    restore(packed_rows, rows, model, sums, numbers);
    for (uint32_t i = first; i < end; i++) {
        totals.sum += numbers[i];
        totals.min = lesser_one(totals.min, (int64_t)numbers[i]);
        totals.max = greater_one(totals.max, (int64_t)numbers[i]);
    }
    *ret_totals = totals;
}

#endif

/* ---- Decimals and times -------------------------------------------------------------------- */

static uint64_t to_integers(const uint64_t *bits, uint32_t count, unsigned exponent,
                            uint64_t *ret_integers)
{
    struct column_decimal decimal = column_decimal(exponent);
    uint64_t misses = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t miss;

        ret_integers[i] = column_decimal_integer(bits[i], decimal, &miss);
        misses |= miss;
    }
    return misses;
}

static uint64_t to_floats(uint64_t *values, uint32_t count, unsigned exponent)
{
    struct column_decimal decimal = column_decimal(exponent);
    uint64_t outside = 0;

    for (uint32_t i = 0; i < count; i++) {
        outside |= column_decimal_outside(values[i]);
        values[i] = column_decimal_bits(values[i], decimal);
    }
    return outside;
}

static void reduce_floats(const uint64_t *bits, uint32_t count,
                          struct lanes_float_totals *ret_totals)
{
    double sums[LANES] = {0};
    int64_t min = INT64_MAX, max = INT64_MIN;
    uint32_t i = 0;

    for (; i + LANES <= count; i += LANES)
        for (unsigned k = 0; k < LANES; k++) {
            int64_t order = lanes_float_order(bits[i + k]);

            sums[k] += column_decimal_float(bits[i + k]);
            min = lesser_one(min, order);
            max = greater_one(max, order);
        }
    for (unsigned k = 0; i < count; i++, k++) {
        sums[k] += column_decimal_float(bits[i]);
        min = lesser_one(min, lanes_float_order(bits[i]));
        max = greater_one(max, lanes_float_order(bits[i]));
    }
    for (unsigned half = LANES / 2; half > 0; half /= 2)
        for (unsigned k = 0; k < half; k++)
            sums[k] += sums[k + half];
    *ret_totals = (struct lanes_float_totals){sums[0], min, max};
}

static const uint64_t units_ns[] = {1, 1000, 1000000, 1000000000};

/* 1000^unit is 125^unit, which has an inverse modulo 2^64, times 8^unit. */
static bool divide_times(const int64_t *times_ns, uint32_t count, unsigned unit, int64_t *ret_times)
{
    static const uint64_t inverses[] = {1, 0x1cac083126e978d5, 0x790fb65668c26139,
                                        0x8e47ce423a2e9c6d};
    uint64_t inverse = inverses[unit], size = units_ns[unit], max = INT64_MAX / size;
    uint64_t bad = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t time = (uint64_t)times_ns[i];
        uint64_t quotient = (uint64_t)((int64_t)(time * inverse) >> 3 * unit);

        /* All multiples of 8^unit pass the first test, modulo 2^64; the others' quotients would
         * be out of range. */
        bad |= (quotient * size) ^ time;
        bad |= quotient + max > 2 * max;
        ret_times[i] = (int64_t)quotient;
    }
    return bad == 0;
}

static bool multiply_times(int64_t *times, uint32_t count, unsigned unit)
{
    uint64_t size = units_ns[unit], max = INT64_MAX / size;
    uint64_t bad = 0;

    for (uint32_t i = 0; i < count; i++) {
        bad |= (uint64_t)times[i] + max > 2 * max;
        times[i] = (int64_t)((uint64_t)times[i] * size);
    }
    return bad == 0;
}

static bool times_ascend(const int64_t *times, uint32_t count)
{
    uint64_t bad = 0;

    for (uint32_t i = 1; i < count; i++)
        bad |= times[i] < times[i - 1];
    return bad == 0;
}

const struct lanes_kernels LANES_TABLE = {
    .find_spans = find_spans,
    .find_line_span = find_line_span,
    .find_packed = find_packed,
    .count_widths = count_widths,
    .find_wide = find_wide,
    .pack = pack,
    .unpack = unpack,
    .pack_dense = pack_dense,
    .unpack_dense = unpack_dense,
    .restore = restore,
    .reduce = reduce,
    .accumulate = accumulate,
    .find_extremes = find_extremes,
    .to_integers = to_integers,
    .to_floats = to_floats,
    .reduce_floats = reduce_floats,
    .divide_times = divide_times,
    .multiply_times = multiply_times,
    .times_ascend = times_ascend,
};
