#include "storage/scan_packed.h"

#include <inttypes.h>

#include "storage/base/check.h"
#include "storage/block/column.h"
#include "storage/block/column_aggregate.h"
#include "storage/block/column_float.h"

enum { PARTS_MAX = 2 * BLOCK_ROWS_MAX / COLUMN_CHUNK + 2 };

struct packed {
    struct aggregate *into;
    uint32_t agg;
    uint32_t field; /* Of `into`. */
    enum field_type type;
    uint32_t rows;
    const struct aggregate_run *runs;
    uint32_t run_count;

    /* The current chunk: rows `start` to start + count - 1, and the runs that have some of them,
     * `run` to behind - 1. */
    uint32_t start, count;
    uint32_t run, behind;
};

static uint32_t run_end(const struct packed *packed, uint32_t run)
{
    return packed->runs[run].start + packed->runs[run].rows;
}

/* Go to the next chunk. False: there is none, or no run has any of what is left. */
static bool next_chunk(struct packed *packed)
{
    uint32_t left;

    packed->start += packed->count;
    if (packed->behind > packed->run && run_end(packed, packed->behind - 1) > packed->start)
        packed->run = packed->behind - 1;
    else
        packed->run = packed->behind;
    left = packed->rows - packed->start;
    packed->count = left < COLUMN_CHUNK ? left : COLUMN_CHUNK;
    while (packed->behind < packed->run_count &&
           packed->runs[packed->behind].start < packed->start + packed->count)
        packed->behind++;
    return left > 0 && packed->run < packed->run_count;
}

/* The rows of a run in the chunk, counted there. */
static void clip(const struct packed *packed, uint32_t run, uint32_t *ret_first, uint32_t *ret_end)
{
    uint32_t start = packed->runs[run].start, end = run_end(packed, run) - packed->start;

    *ret_first = start > packed->start ? start - packed->start : 0;
    *ret_end = end < packed->count ? end : packed->count;
}

/* ---- Sums ---------------------------------------------------------------------------------- */

static enum err add_sums(struct packed *packed, uint8_t exponent,
                         const struct column_int_sums *sums)
{
    int64_t totals[COLUMN_CHUNK], so_far = 0;
    uint32_t values[COLUMN_CHUNK], n = 0, at = 0; /* `so_far` is the sum of `at` values. */

    for (uint32_t run = packed->run; run < packed->behind; run++, n++) {
        uint32_t first, end;
        int64_t sum;

        clip(packed, run, &first, &end);
        if (first > at)
            so_far = column_int_sum(sums, first);
        sum = column_int_sum(sums, end);
        totals[n] = sum - so_far;
        values[n] = end - first;
        so_far = sum;
        at = end;
    }
    return aggregate_run_sums(packed->into, packed->run, n, packed->field, exponent, totals,
                              values);
}

static enum err add_values(struct packed *packed, const uint64_t *bits)
{
    enum err err = ERR_OK;

    for (uint32_t run = packed->run; run < packed->behind && err == ERR_OK; run++) {
        uint32_t first, end;

        clip(packed, run, &first, &end);
        err = aggregate_run_values(packed->into, run, packed->field, bits + first, end - first);
    }
    return err;
}

static enum err corrupt(const struct section_reader *reader, uint32_t at)
{
    struct slice name = section_field(reader, at).name;
    const struct snapshot_source *source = reader->source;

    if (source->segment == NULL) /* scan_decode names the block. */
        return err_set(ERR_CORRUPT, "bad values of field %.*s", (int)name.size, name.data);
    return err_set(
        ERR_CORRUPT, "%s: group %" PRIu32 ", chunk %" PRIu32 ": bad values of field %.*s",
        segment_path(source->segment), source->group, reader->at, (int)name.size, name.data);
}

static enum err sum_up(struct packed *packed, const struct section_reader *reader, uint32_t at,
                       struct reader *values)
{
    enum err err = values->bad ? corrupt(reader, at) : ERR_OK;

    while (err == ERR_OK && next_chunk(packed)) {
        uint64_t bits[COLUMN_CHUNK];
        struct column_int_sums sums;
        uint8_t exponent;

        if (packed->run == packed->behind) {
            column_aggregate_skip(values, packed->type, packed->count);
            err = values->bad ? corrupt(reader, at) : ERR_OK;
            continue;
        }
        if (column_aggregate_sums(values, packed->type, packed->count, &exponent, &sums)) {
            err = add_sums(packed, exponent, &sums);
            continue;
        }
        if (packed->type == FIELD_FLOAT)
            column_float_get_chunk(values, packed->count, bits);
        else
            column_int_get_chunk(values, packed->count, bits);
        err = values->bad ? corrupt(reader, at) : add_values(packed, bits);
    }
    return err;
}

/* ---- Minima and maxima --------------------------------------------------------------------- */

/* What a chunk adds to a run. */
struct part {
    uint32_t run;
    struct aggregate_cell cell;
};

static uint64_t extreme_of(const struct packed *packed, const struct column_aggregate *totals)
{
    uint64_t extreme = packed->agg == QUERY_MIN ? totals->min : totals->max;

    return packed->type == FIELD_FLOAT && totals->exact
               ? column_aggregate_float(extreme, totals->exponent)
               : extreme;
}

/* The parts of the chunk, and the reader behind it. */
static void find_extremes(const struct packed *packed, struct reader *values, struct part *parts,
                          uint32_t *part_count)
{
    struct column_aggregate totals;
    struct reader behind = *values;

    for (uint32_t run = packed->run; run < packed->behind && !behind.bad; run++) {
        uint32_t first, end;

        behind = *values;
        clip(packed, run, &first, &end);
        column_aggregate_chunk(&behind, packed->type, packed->count, first, end, &totals);
        CHECK(*part_count < PARTS_MAX);
        parts[(*part_count)++] = (struct part){
            .run = run, .cell = {.count = end - first, .as.bits = extreme_of(packed, &totals)}};
    }
    if (packed->run == packed->behind)
        column_aggregate_skip(&behind, packed->type, packed->count);
    *values = behind;
}

/* Nothing is added, and *ret_done stays false, if the bytes are damaged: decoding says how. */
static enum err find_all_extremes(struct packed *packed, struct reader *values, bool *ret_done)
{
    struct part parts[PARTS_MAX];
    uint32_t part_count = 0;
    enum err err = ERR_OK;

    while (next_chunk(packed) && !values->bad)
        find_extremes(packed, values, parts, &part_count);
    *ret_done = !values->bad;
    for (uint32_t i = 0; i < part_count && *ret_done && err == ERR_OK; i++)
        err = aggregate_run_part(packed->into, &packed->runs[parts[i].run], packed->field,
                                 &parts[i].cell);
    return err;
}

/* -------------------------------------------------------------------------------------------- */

enum err scan_packed_add(struct aggregate *into, struct section_reader *reader, uint32_t agg,
                         uint32_t at, uint32_t field, bool *ret_done)
{
    struct packed packed = {.into = into,
                            .agg = agg,
                            .field = field,
                            .type = section_field(reader, at).type,
                            .rows = reader->section.rows};
    bool is_sum = agg == QUERY_SUM || agg == QUERY_MEAN;
    struct reader values;
    enum err err;

    *ret_done = false;
    packed.runs = aggregate_runs(into, &packed.run_count);
    if (!is_sum && (packed.type == FIELD_STRING || (agg != QUERY_MIN && agg != QUERY_MAX) ||
                    packed.run_count > packed.rows / COLUMN_CHUNK + 2))
        return ERR_OK;
    err = section_packed(reader, at, &values);
    if (err != ERR_OK)
        return err;
    column_open_values(&values);
    if (!is_sum)
        return find_all_extremes(&packed, &values, ret_done);
    *ret_done = true;
    return sum_up(&packed, reader, at, &values);
}
