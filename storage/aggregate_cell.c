#include "storage/aggregate_cell.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "storage/aggregate_order.h"
#include "storage/base/check.h"
#include "storage/block/column_int.h"

enum { SHORT_RUN = 256 };

static double as_float(uint64_t bits)
{
    double value;

    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint64_t float_bits(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* ---- Rules of types ------------------------------------------------------------------------ */

bool aggregate_cell_takes(enum query_agg agg, enum field_type type)
{
    bool summed = agg == QUERY_SUM || agg == QUERY_MEAN;
    bool ordered = agg == QUERY_MIN || agg == QUERY_MAX;

    if (type == FIELD_STRING)
        return !summed && !ordered;
    return type != FIELD_BOOL || !summed;
}

enum field_type aggregate_cell_type(enum query_agg agg, enum field_type type, bool exact)
{
    if (agg == QUERY_COUNT)
        return FIELD_UINT;
    if (agg == QUERY_MEAN || (agg == QUERY_SUM && !exact))
        return FIELD_FLOAT;
    return type;
}

bool aggregate_cell_is_exact(enum query_agg agg, enum field_type type,
                             const struct aggregate_cell *cell)
{
    if (agg != QUERY_SUM || cell->count == 0)
        return true;
    if (type == FIELD_INT)
        return cell->as.sum >= INT64_MIN && cell->as.sum <= INT64_MAX;
    if (type == FIELD_UINT)
        return cell->as.sum >= 0 && cell->as.sum <= (int128)UINT64_MAX;
    return true;
}

static double sum_as_float(enum field_type type, const struct aggregate_cell *cell)
{
    struct aggregate_sum sum = {cell->as.sum, cell->bins};

    return type == FIELD_FLOAT ? aggregate_sum_value(&sum) : (double)cell->as.sum;
}

uint64_t aggregate_cell_bits(enum query_agg agg, enum field_type type, bool exact,
                             const struct aggregate_cell *cell)
{
    switch (agg) {
    case QUERY_COUNT:
        return cell->count;
    case QUERY_MEAN:
        return float_bits(sum_as_float(type, cell) / (double)cell->count);
    case QUERY_SUM:
        if (type == FIELD_FLOAT || !exact)
            return float_bits(sum_as_float(type, cell));
        return (uint64_t)cell->as.sum;
    default:
        return cell->as.bits;
    }
}

/* ---- Sums of a run ------------------------------------------------------------------------- */

/* Eight bytes of 0 or 1 at a time: the product's top byte is their sum. */
static uint64_t count_present(const uint8_t *present, uint32_t rows)
{
    uint64_t count = 0;
    uint32_t i = 0;

    for (; i + 8 <= rows; i += 8) {
        uint64_t eight;

        memcpy(&eight, present + i, sizeof eight);
        count += (eight * 0x0101010101010101) >> 56;
    }
    for (; i < rows; i++)
        count += present[i];
    return count;
}

/* Halves are summed apart: neither overflows 64 bits within 2^31 rows. */
static int128 sum_integers(const uint64_t *bits, uint32_t rows, bool has_sign)
{
    uint64_t low = 0, high = 0, negative = 0;

    for (uint32_t i = 0; i < rows; i++) {
        low += bits[i] & 0xffffffff;
        high += bits[i] >> 32;
        negative += bits[i] >> 63;
    }
    /* Read as unsigned, a negative number is 2^64 too large. */
    return (int128)low + ((int128)high << 32) - (has_sign ? (int128)negative << 64 : 0);
}

/* ---- Minima of a run ----------------------------------------------------------------------- */

/* The extreme of a run without absent values; the compiler turns the choice into one min or max
 * instruction. NaNs lose every comparison; infinity is what is left if there is nothing else. */
static double extreme_of_floats(const uint64_t *bits, uint32_t rows, bool want_min)
{
    /* Several that do not wait for each other. */
    double lanes[LANES], found = want_min ? INFINITY : -INFINITY;
    uint32_t i = 0;

    if (rows < 2 * LANES) { /* Lanes would take longer to fill and to empty. */
        for (; i < rows; i++) {
            double value = as_float(bits[i]);
            found = (want_min ? value < found : value > found) ? value : found;
        }
        return found;
    }
    for (uint32_t lane = 0; lane < LANES; lane++)
        lanes[lane] = found;
    if (want_min) {
        for (; i + LANES <= rows; i += LANES) {
            for (uint32_t lane = 0; lane < LANES; lane++) {
                double value = as_float(bits[i + lane]);
                lanes[lane] = value < lanes[lane] ? value : lanes[lane];
            }
        }
    } else {
        for (; i + LANES <= rows; i += LANES) {
            for (uint32_t lane = 0; lane < LANES; lane++) {
                double value = as_float(bits[i + lane]);
                lanes[lane] = value > lanes[lane] ? value : lanes[lane];
            }
        }
    }
    for (; i < rows; i++) {
        double value = as_float(bits[i]);
        lanes[0] = (want_min ? value < lanes[0] : value > lanes[0]) ? value : lanes[0];
    }
    for (uint32_t lane = 0; lane < LANES; lane++)
        found = (want_min ? lanes[lane] < found : lanes[lane] > found) ? lanes[lane] : found;
    return found;
}

/* The same of integers: `flip` makes signed ones compare as unsigned. */
static uint64_t extreme_of_integers(const uint64_t *bits, uint32_t rows, uint64_t flip,
                                    bool want_min)
{
    uint64_t found = want_min ? UINT64_MAX : 0;

    if (want_min) {
        for (uint32_t i = 0; i < rows; i++)
            found = (bits[i] ^ flip) < found ? bits[i] ^ flip : found;
    } else {
        for (uint32_t i = 0; i < rows; i++)
            found = (bits[i] ^ flip) > found ? bits[i] ^ flip : found;
    }
    return found ^ flip;
}

/* `present` is NULL if all are; at least one is. */
static uint64_t extreme_of_run(enum query_agg agg, enum field_type type, const uint8_t *present,
                               const uint64_t *bits, uint32_t rows)
{
    uint64_t best = 0;
    bool found = false;

    if (type == FIELD_FLOAT && present == NULL) {
        double extreme = extreme_of_floats(bits, rows, agg == QUERY_MIN);

        if (!isinf(extreme) && extreme != 0)
            return float_bits(extreme);
        /* Perhaps nothing but NaNs, or zeros of both signs: the slow loop tells. */
    }
    if (type != FIELD_FLOAT && present == NULL)
        return extreme_of_integers(bits, rows, aggregate_order(type, 0), agg == QUERY_MIN);
    for (uint32_t i = 0; i < rows; i++) {
        if ((present == NULL || present[i]) &&
            (!found || aggregate_order_better(agg, type, bits[i], best))) {
            best = bits[i];
            found = true;
        }
    }
    return best;
}

uint64_t aggregate_cell_extreme(enum query_agg agg, enum field_type type, const uint64_t *bits,
                                uint32_t count)
{
    return extreme_of_run(agg, type, NULL, bits, count);
}

int128 aggregate_cell_sum(enum field_type type, const uint64_t *bits, uint32_t count)
{
    return sum_integers(bits, count, type == FIELD_INT);
}

/* ---- Combining ----------------------------------------------------------------------------- */

static bool text_is_larger(struct slice a, struct slice b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);

    return order != 0 ? order > 0 : a.size > b.size;
}

/* Whether `from` replaces `into` as first or last value. */
static bool is_nearer(enum query_agg agg, enum field_type type, const struct aggregate_cell *from,
                      const struct aggregate_cell *into)
{
    if (from->time_ns != into->time_ns)
        return (from->time_ns < into->time_ns) == (agg == QUERY_FIRST);
    if (type == FIELD_STRING)
        return text_is_larger(from->as.text, into->as.text);
    return from->as.bits > into->as.bits;
}

static enum err replace(enum field_type type, struct aggregate_cell *into,
                        const struct aggregate_cell *from, uint64_t *memory)
{
    if (type == FIELD_STRING) {
        size_t old = into->count > 0 ? into->as.text.size : 0;
        char *text = malloc(from->as.text.size + 1);

        if (text == NULL)
            return err_set(ERR_NO_MEMORY, "aggregate: no memory for a string of %zu bytes",
                           from->as.text.size);
        memcpy(text, from->as.text.data, from->as.text.size);
        if (into->count > 0)
            free((char *)(uintptr_t)into->as.text.data);
        into->as.text = (struct slice){text, from->as.text.size};
        *memory = *memory - old + from->as.text.size;
    } else {
        into->as.bits = from->as.bits;
    }
    into->time_ns = from->time_ns;
    return ERR_OK;
}

static enum err add_sum(enum field_type type, struct aggregate_cell *into,
                        const struct aggregate_cell *from, uint64_t *memory)
{
    struct aggregate_sum sum = {into->as.sum, into->bins};
    const struct aggregate_sum more = {from->as.sum, from->bins};
    enum err err;

    if (type != FIELD_FLOAT) {
        if (__builtin_add_overflow(into->as.sum, from->as.sum, &into->as.sum))
            return err_set(ERR_INVALID, "aggregate: a sum of integers overflows 128 bits");
        return ERR_OK;
    }
    err = aggregate_sum_combine(&sum, &more, memory);
    into->as.sum = sum.decimals;
    into->bins = sum.bins;
    return err;
}

enum err aggregate_cell_combine(enum query_agg agg, enum field_type type,
                                struct aggregate_cell *into, const struct aggregate_cell *from,
                                uint64_t *memory)
{
    enum err err = ERR_OK;
    uint64_t count;

    if (from->count == 0)
        return ERR_OK;
    if (__builtin_add_overflow(into->count, from->count, &count))
        return err_set(ERR_INVALID, "aggregate: a count overflows 64 bits");

    switch (agg) {
    case QUERY_SUM:
    case QUERY_MEAN:
        err = add_sum(type, into, from, memory);
        break;
    case QUERY_MIN:
    case QUERY_MAX:
        if (into->count == 0 || aggregate_order_better(agg, type, from->as.bits, into->as.bits))
            into->as.bits = from->as.bits;
        break;
    case QUERY_FIRST:
    case QUERY_LAST:
        if (into->count == 0 || is_nearer(agg, type, from, into))
            err = replace(type, into, from, memory);
        break;
    default:
        break;
    }
    if (err == ERR_OK)
        into->count = count;
    return err;
}

/* ---- Adding runs --------------------------------------------------------------------------- */

static enum err pick_of_run(enum query_agg agg, enum field_type type, struct aggregate_cell *into,
                            const struct aggregate_run *run, const struct aggregate_column *column,
                            uint64_t *memory)
{
    const uint8_t *present = column->present;
    struct aggregate_cell cell = {.count = 1};
    uint32_t at = agg == QUERY_FIRST ? run->start : run->start + run->rows - 1;

    while (present != NULL && !present[at])
        at = agg == QUERY_FIRST ? at + 1 : at - 1;
    cell.time_ns = column->times_ns[at];
    if (type == FIELD_STRING) {
        cell.as.text.data = column->text + (uint32_t)column->bits[at];
        cell.as.text.size = column->bits[at] >> 32;
    } else {
        cell.as.bits = column->bits[at];
    }
    if (into->count > 0 && !is_nearer(agg, type, &cell, into))
        return ERR_OK;
    return replace(type, into, &cell, memory);
}

/* Absent values are the bits of 0.0, which changes no sum. */
static enum err add_floats(struct aggregate_cell *into, const uint64_t *bits, uint32_t rows,
                           uint64_t *memory)
{
    struct aggregate_sum sum = {into->as.sum, into->bins};
    enum err err = aggregate_sum_add(&sum, bits, rows, memory);

    into->as.sum = sum.decimals;
    into->bins = sum.bins;
    return err;
}

static enum err add_run(enum query_agg agg, enum field_type type, struct aggregate_cell *into,
                        const struct aggregate_run *run, const struct aggregate_column *column,
                        uint64_t *memory)
{
    const uint64_t *bits = column->bits + run->start;
    const uint8_t *present = column->present == NULL ? NULL : column->present + run->start;
    uint64_t count = present == NULL ? run->rows : count_present(present, run->rows);
    enum err err = ERR_OK;

    if (count == 0)
        return ERR_OK;
    switch (agg) {
    case QUERY_SUM:
    case QUERY_MEAN: /* An empty cell is all zeros. */
        if (type == FIELD_FLOAT)
            err = add_floats(into, bits, run->rows, memory);
        else
            into->as.sum += sum_integers(bits, run->rows, type == FIELD_INT);
        break;
    case QUERY_MIN:
    case QUERY_MAX: {
        uint64_t extreme =
            extreme_of_run(agg, type, count == run->rows ? NULL : present, bits, run->rows);

        if (into->count == 0 || aggregate_order_better(agg, type, extreme, into->as.bits))
            into->as.bits = extreme;
        break;
    }
    case QUERY_FIRST:
    case QUERY_LAST:
        err = pick_of_run(agg, type, into, run, column, memory);
        break;
    default: /* QUERY_COUNT has its count. */
        break;
    }
    into->count += count;
    return err;
}

/* Short runs of floats: numbers are found for many rows at once, then each run adds its own. */
struct numbers {
    uint32_t start, end; /* Rows that it is about. */
    bool found;          /* They are decimals: numbers[i] / 10^form. */
    unsigned form;
    int64_t numbers[AGGREGATE_SUM_AT_ONCE];
};

/* The sum of a run that ends before `numbers` do; false: they are no decimals of one form. */
static bool add_numbers(struct aggregate_cell *into, const struct aggregate_run *run,
                        const struct numbers *numbers, const uint8_t *present)
{
    struct aggregate_sum total = {into->as.sum, into->bins};
    uint32_t first = run->start - numbers->start;
    int64_t sum = 0;

    if (!numbers->found)
        return false;
    for (uint32_t i = first; i < first + run->rows; i++)
        sum += numbers->numbers[i];
    aggregate_sum_add_decimals(&total, numbers->form, sum);
    into->as.sum = total.decimals;
    into->count += present == NULL ? run->rows : count_present(present + run->start, run->rows);
    return true;
}

/* The numbers of the first run and of those that follow it without a gap. */
static void find_numbers(const struct aggregate_run *runs, uint32_t run_count,
                         const struct aggregate_column *column, struct numbers *numbers)
{
    uint32_t end = runs[0].start + runs[0].rows;

    for (uint32_t i = 1; i < run_count && runs[i].start == end; i++) {
        if (end + runs[i].rows - runs[0].start > AGGREGATE_SUM_AT_ONCE)
            break;
        end += runs[i].rows;
    }
    numbers->start = runs[0].start;
    numbers->end = end;
    numbers->found = aggregate_sum_numbers(column->bits + numbers->start, end - numbers->start,
                                           &numbers->form, numbers->numbers);
}

static enum err add_float_runs(enum query_agg agg, struct aggregate_cell *cells,
                               const struct aggregate_run *runs, uint32_t run_count,
                               const struct aggregate_column *column, uint64_t *memory)
{
    struct numbers numbers;

    numbers.start = numbers.end = 0;
    for (uint32_t i = 0; i < run_count; i++) {
        const struct aggregate_run *run = &runs[i];
        struct aggregate_cell *cell = &cells[run->cell];
        enum err err;

        if (run->rows <= SHORT_RUN) {
            if (run->start < numbers.start || run->start + run->rows > numbers.end)
                find_numbers(run, run_count - i, column, &numbers);
            if (add_numbers(cell, run, &numbers, column->present))
                continue;
        }
        err = add_run(agg, FIELD_FLOAT, cell, run, column, memory);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

enum err aggregate_cell_add(enum query_agg agg, enum field_type type, struct aggregate_cell *cells,
                            const struct aggregate_run *runs, uint32_t run_count,
                            const struct aggregate_column *column, uint64_t *memory)
{
    if (type == FIELD_FLOAT && (agg == QUERY_SUM || agg == QUERY_MEAN) && run_count > 1)
        return add_float_runs(agg, cells, runs, run_count, column, memory);
    for (uint32_t i = 0; i < run_count; i++) {
        enum err err = add_run(agg, type, &cells[runs[i].cell], &runs[i], column, memory);

        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

void aggregate_cell_add_sums(struct aggregate_cell *cells, const struct lanes_run *runs,
                             uint32_t run_count, int64_t unit, const struct column_int_sums *sums)
{
    uint16_t place = 0;
    int64_t so_far = 0; /* The sum at `place`: mostly a run begins where the one before ended. */

    for (uint32_t i = 0; i < run_count; i++) {
        struct aggregate_cell *cell = &cells[runs[i].into];
        int64_t sum = column_int_sum(sums, runs[i].last);

        if (runs[i].before != place)
            so_far = column_int_sum(sums, runs[i].before);
        cell->as.sum += (int128)(sum - so_far) * unit;
        cell->count += (uint32_t)(runs[i].end - runs[i].first);
        so_far = sum;
        place = runs[i].last;
    }
}

/* With `agg` and `type` as constants. */
static inline __attribute__((always_inline)) void
add_extremes(enum query_agg agg, enum field_type type, struct aggregate_cell *cells,
             const struct lanes_run *runs, uint32_t run_count, const uint64_t *bits)
{
    for (uint32_t i = 0; i < run_count; i++) {
        struct aggregate_cell *cell = &cells[runs[i].into];
        uint64_t old = cell->as.bits;

        cell->as.bits =
            cell->count == 0 || aggregate_order_better(agg, type, bits[i], old) ? bits[i] : old;
        cell->count += (uint32_t)(runs[i].end - runs[i].first);
    }
}

void aggregate_cell_add_extremes(enum query_agg agg, enum field_type type,
                                 struct aggregate_cell *cells, const struct lanes_run *runs,
                                 uint32_t run_count, const uint64_t *bits)
{
    if (type == FIELD_FLOAT && agg == QUERY_MIN)
        add_extremes(QUERY_MIN, FIELD_FLOAT, cells, runs, run_count, bits);
    else if (type == FIELD_FLOAT)
        add_extremes(QUERY_MAX, FIELD_FLOAT, cells, runs, run_count, bits);
    else
        add_extremes(agg, type, cells, runs, run_count, bits);
}

void aggregate_cell_fini(enum query_agg agg, enum field_type type, struct aggregate_cell *cell)
{
    if (type == FIELD_STRING && cell->count > 0 && (agg == QUERY_FIRST || agg == QUERY_LAST))
        free((char *)(uintptr_t)cell->as.text.data);
    if (type == FIELD_FLOAT && (agg == QUERY_SUM || agg == QUERY_MEAN))
        free(cell->bins);
}

/* ---- As bytes ------------------------------------------------------------------------------ */

void aggregate_cell_put(enum query_agg agg, enum field_type type, const struct aggregate_cell *cell,
                        struct bytes *out)
{
    bytes_put_varint(out, cell->count);
    if (agg == QUERY_COUNT)
        return;
    if (agg == QUERY_FIRST || agg == QUERY_LAST)
        bytes_put_u64(out, (uint64_t)cell->time_ns);
    if (agg == QUERY_SUM || agg == QUERY_MEAN) {
        const struct aggregate_sum sum = {cell->as.sum, cell->bins};

        if (type == FIELD_FLOAT)
            aggregate_sum_put(&sum, out);
        else
            bytes_put(out, &cell->as.sum, sizeof cell->as.sum);
    } else if (type == FIELD_STRING) {
        bytes_put_string(out, cell->as.text.data, cell->as.text.size);
    } else {
        bytes_put_u64(out, cell->as.bits);
    }
}

static void get_sum(enum field_type type, struct reader *reader, struct aggregate_bins *room,
                    struct aggregate_cell *cell)
{
    struct aggregate_sum sum = {0};
    const uint8_t *bytes;

    if (type == FIELD_FLOAT) {
        aggregate_sum_get(reader, room, &sum);
        cell->as.sum = sum.decimals;
        cell->bins = sum.bins;
        return;
    }
    bytes = reader_take(reader, sizeof cell->as.sum);
    if (bytes != NULL)
        memcpy(&cell->as.sum, bytes, sizeof cell->as.sum);
}

void aggregate_cell_get(enum query_agg agg, enum field_type type, struct reader *reader,
                        struct aggregate_bins *room, struct aggregate_cell *ret_cell)
{
    struct aggregate_cell cell = {.count = reader_varint(reader)};

    if (cell.count == 0)
        reader->bad = true;
    if (agg == QUERY_FIRST || agg == QUERY_LAST)
        cell.time_ns = (int64_t)reader_u64(reader);
    if (agg == QUERY_SUM || agg == QUERY_MEAN) {
        get_sum(type, reader, room, &cell);
    } else if (agg != QUERY_COUNT && type == FIELD_STRING) {
        cell.as.text.data = reader_string(reader, UINT32_MAX, &cell.as.text.size);
    } else if (agg != QUERY_COUNT) {
        cell.as.bits = reader_u64(reader);
        if (type == FIELD_BOOL && cell.as.bits > 1)
            reader->bad = true;
    }
    *ret_cell = cell;
}
