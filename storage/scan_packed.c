#include "storage/scan_packed.h"

#include <inttypes.h>

#include "storage/base/check.h"
#include "storage/block/column.h"
#include "storage/block/column_aggregate.h"
#include "storage/block/column_int.h"

enum { PARTS_MAX = 2 * BLOCK_ROWS_MAX / COLUMN_CHUNK + 2 };

/* What a chunk adds to a run. */
struct part {
    uint32_t run;
    struct aggregate_cell cell;
};

struct packed {
    uint32_t agg;
    enum field_type type;
    const struct aggregate_run *runs;
    uint32_t run_count;
    struct part parts[PARTS_MAX];
    uint32_t part_count;
};

static bool is_worth_it(const struct packed *packed, uint32_t rows)
{
    uint32_t chunks = (rows + COLUMN_CHUNK - 1) / COLUMN_CHUNK;

    return packed->type != FIELD_STRING && packed->agg >= QUERY_MIN && packed->agg <= QUERY_MEAN &&
           packed->run_count <= chunks + 1;
}

/* False: it is not exact, or a number stands at the edge that aggregate_sum.h leaves out. */
static bool make_sum(enum field_type type, const struct column_aggregate *totals,
                     struct aggregate_cell *cell)
{
    struct aggregate_sum sum = {0};
    int128 whole = totals->sum_high * ((int128)1 << 64) + totals->sum_low;

    if (!totals->exact)
        return false;
    cell->as.sum = whole;
    if (type != FIELD_FLOAT)
        return true;
    if ((int64_t)totals->min <= -((int64_t)1 << 51))
        return false;
    aggregate_sum_add_decimals(&sum, totals->exponent, (int64_t)whole);
    cell->as.sum = sum.decimals;
    return true;
}

static bool make_cell(const struct packed *packed, const struct column_aggregate *totals,
                      struct aggregate_cell *cell)
{
    uint64_t extreme = packed->agg == QUERY_MIN ? totals->min : totals->max;

    if (packed->agg == QUERY_SUM || packed->agg == QUERY_MEAN)
        return make_sum(packed->type, totals, cell);
    if (packed->type == FIELD_FLOAT && totals->exact)
        extreme = column_aggregate_float(extreme, totals->exponent);
    cell->as.bits = extreme;
    return true;
}

/* The chunk of `count` values from `start` on, for all runs from *run on that have some of it. */
static bool add_chunk(struct packed *packed, struct reader *values, uint32_t start, uint32_t count,
                      uint32_t *run)
{
    struct reader behind = *values;
    uint32_t end = start + count;

    for (uint32_t i = *run; i < packed->run_count && packed->runs[i].start < end; i++) {
        const struct aggregate_run *own = &packed->runs[i];
        uint32_t own_end = own->start + own->rows;
        uint32_t first = own->start > start ? own->start - start : 0;
        uint32_t last = own_end < end ? own_end - start : count;
        struct part *part = &packed->parts[packed->part_count];
        struct column_aggregate totals;

        behind = *values;
        column_aggregate_chunk(&behind, packed->type, count, first, last, &totals);
        *part = (struct part){.run = i, .cell = {.count = last - first}};
        CHECK(packed->part_count < PARTS_MAX);
        if (behind.bad || !make_cell(packed, &totals, &part->cell))
            return false;
        packed->part_count++;
        if (own_end <= end)
            *run = i + 1;
    }
    if (behind.at == values->at) { /* No run has any of it. */
        struct column_aggregate totals;

        column_aggregate_chunk(&behind, packed->type, count, 0, 1, &totals);
    }
    *values = behind;
    return !behind.bad;
}

/* False also if the bytes are damaged: decoding says how. */
static bool find_parts(struct packed *packed, struct reader *values, uint32_t rows)
{
    uint32_t run = 0;

    column_open_values(values);
    for (uint32_t start = 0; start < rows && run < packed->run_count; start += COLUMN_CHUNK) {
        uint32_t count = rows - start < COLUMN_CHUNK ? rows - start : COLUMN_CHUNK;

        if (values->bad || !add_chunk(packed, values, start, count, &run))
            return false;
    }
    return true;
}

enum err scan_packed_add(struct aggregate *into, struct section_reader *reader, uint32_t agg,
                         uint32_t at, uint32_t field, bool *ret_done)
{
    struct packed packed;
    struct reader values;
    enum err err;

    packed.agg = agg;
    packed.type = section_field(reader, at).type;
    packed.runs = aggregate_runs(into, &packed.run_count);
    packed.part_count = 0;
    *ret_done = false;
    if (!is_worth_it(&packed, reader->section.rows))
        return ERR_OK;
    err = section_packed(reader, at, &values);
    if (err != ERR_OK || !find_parts(&packed, &values, reader->section.rows))
        return err;
    *ret_done = true;
    for (uint32_t i = 0; i < packed.part_count && err == ERR_OK; i++)
        err = aggregate_run_part(into, &packed.runs[packed.parts[i].run], field,
                                 &packed.parts[i].cell);
    return err;
}
