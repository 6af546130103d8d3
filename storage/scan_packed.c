#include "storage/scan_packed.h"

#include <inttypes.h>
#include <stdlib.h>

#include "storage/base/check.h"
#include "storage/block/column.h"
#include "storage/block/column_aggregate.h"
#include "storage/block/column_float.h"

enum {
    RUNS_MAX = BLOCK_ROWS_MAX + SCAN_PACKED_CHUNKS, /* Each chunk may cut one. */
    FEW = 2, /* Runs of a chunk, for each of which it may be unpacked. */
};

/* A field of a section. */
struct packed_field {
    struct aggregate *into;
    const struct section_reader *section;
    uint32_t agg;
    uint32_t at;    /* In the section. */
    uint32_t field; /* Of `into`. */
    enum field_type type;
};

/* ---- Runs of chunks ------------------------------------------------------------------------- */

void scan_packed_fini(struct scan_packed *packed)
{
    free(packed->runs);
    *packed = (struct scan_packed){0};
}

static uint32_t lesser(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* The part of a run in the chunk of `count` rows that begins at row `start`; `before` is the part
 * before it. */
static struct lanes_run cut(const struct aggregate_run *run, uint32_t start, uint32_t count,
                            uint32_t inverse, const struct lanes_run *before)
{
    uint32_t first = run->start > start ? run->start - start : 0;
    uint32_t end = lesser(run->start + run->rows - start, count);

    return (struct lanes_run){
        .into = run->cell,
        .first = (uint16_t)first,
        .end = (uint16_t)end,
        .before = before->end == first ? before->last : column_int_place(count, inverse, first),
        .last = column_int_place(count, inverse, end),
        .window = lanes_window(end - first),
    };
}

enum err scan_packed_begin(struct scan_packed *packed, const struct aggregate *into, uint32_t rows)
{
    uint32_t run_count, next = 0, made = 0;
    const struct aggregate_run *runs = aggregate_runs(into, &run_count);

    if (packed->runs == NULL)
        packed->runs = malloc(RUNS_MAX * sizeof *packed->runs);
    if (packed->runs == NULL)
        return err_set(ERR_NO_MEMORY, "scan: no memory for the runs of a chunk");
    packed->rows = rows;
    for (uint32_t chunk = 0, start = 0; start < rows; chunk++, start += COLUMN_CHUNK) {
        uint32_t count = lesser(rows - start, COLUMN_CHUNK);
        uint32_t inverse = column_int_inverse(count);
        const struct lanes_run none = {0}, *before = &none;

        while (next < run_count && runs[next].start < start + count) {
            CHECK(made < RUNS_MAX);
            packed->runs[made] = cut(&runs[next], start, count, inverse, before);
            before = &packed->runs[made++];
            if (runs[next].start + runs[next].rows > start + count)
                break; /* The next chunk has the rest. */
            next++;
        }
        packed->ends[chunk] = made;
    }
    packed->run_count = made;
    return ERR_OK;
}

/* ---- A chunk -------------------------------------------------------------------------------- */

static enum err corrupt(const struct packed_field *field)
{
    struct slice name = section_field(field->section, field->at).name;
    const struct snapshot_source *source = field->section->source;

    if (source->segment == NULL) /* scan_decode names the block. */
        return err_set(ERR_CORRUPT, "bad values of field %.*s", (int)name.size, name.data);
    return err_set(ERR_CORRUPT,
                   "%s: group %" PRIu32 ", chunk %" PRIu32 ": bad values of field %.*s",
                   segment_path(source->segment), source->group, field->section->at, (int)name.size,
                   name.data);
}

/* Whatever the values are. */
static enum err add_values(const struct packed_field *field, struct reader *values, uint32_t count,
                           const struct lanes_run *runs, uint32_t run_count)
{
    uint64_t bits[COLUMN_CHUNK];

    if (field->type == FIELD_FLOAT)
        column_float_get_chunk(values, count, bits);
    else
        column_int_get_chunk(values, count, bits);
    return values->bad ? corrupt(field)
                       : aggregate_add_values(field->into, field->field, runs, run_count, bits);
}

static enum err add_sums(const struct packed_field *field, struct reader *values, uint32_t count,
                         const struct lanes_run *runs, uint32_t run_count)
{
    struct column_int_sums sums;
    uint8_t exponent;

    return column_aggregate_sums(values, field->type, count, &exponent, &sums)
               ? aggregate_add_sums(field->into, field->field, exponent, runs, run_count, &sums)
               : add_values(field, values, count, runs, run_count);
}

/* Of a few runs: unpack the chunk once for each. */
static void find_few(const struct packed_field *field, struct reader *values, uint32_t count,
                     const struct lanes_run *runs, uint32_t run_count, uint64_t *ret_bits)
{
    struct reader behind = *values;

    for (uint32_t i = 0; i < run_count && !behind.bad; i++) {
        struct column_aggregate totals = {0};

        behind = *values;
        column_aggregate_chunk(&behind, field->type, count, runs[i].first, runs[i].end, &totals);
        ret_bits[i] = field->agg == QUERY_MIN ? totals.min : totals.max;
        if (field->type == FIELD_FLOAT && totals.exact && !behind.bad)
            ret_bits[i] = column_aggregate_float(ret_bits[i], totals.exponent);
    }
    *values = behind;
}

static enum err add_extremes(const struct packed_field *field, struct reader *values,
                             uint32_t count, const struct lanes_run *runs, uint32_t run_count)
{
    uint64_t bits[COLUMN_CHUNK];

    if (run_count <= FEW)
        find_few(field, values, count, runs, run_count, bits);
    else if (!column_aggregate_extremes(values, field->type, count, field->agg == QUERY_MIN, runs,
                                        run_count, bits))
        return add_values(field, values, count, runs, run_count);
    return values->bad ? corrupt(field)
                       : aggregate_add_extremes(field->into, field->field, runs, run_count, bits);
}

/* -------------------------------------------------------------------------------------------- */

enum err scan_packed_add(struct scan_packed *packed, struct aggregate *into,
                         struct section_reader *reader, uint32_t agg, uint32_t at, uint32_t field,
                         bool *ret_done)
{
    const struct packed_field of = {into, reader, agg, at, field, section_field(reader, at).type};
    bool is_sum = agg == QUERY_SUM || agg == QUERY_MEAN;
    struct reader values;
    uint32_t run = 0;
    enum err err;

    *ret_done = false;
    if (!is_sum && (of.type == FIELD_STRING || (agg != QUERY_MIN && agg != QUERY_MAX)))
        return ERR_OK;
    err = section_packed(reader, at, &values);
    if (err != ERR_OK)
        return err;
    *ret_done = true;
    column_open_values(&values);
    if (values.bad)
        return corrupt(&of);
    for (uint32_t start = 0, chunk = 0; start < packed->rows && err == ERR_OK; chunk++) {
        uint32_t count = lesser(packed->rows - start, COLUMN_CHUNK);
        uint32_t run_count = packed->ends[chunk] - run;
        const struct lanes_run *runs = packed->runs + run;

        if (run == packed->run_count)
            break; /* Nobody asks for what is left. */
        if (run_count == 0) {
            column_aggregate_skip(&values, of.type, count);
            err = values.bad ? corrupt(&of) : ERR_OK;
        } else {
            err = is_sum ? add_sums(&of, &values, count, runs, run_count)
                         : add_extremes(&of, &values, count, runs, run_count);
        }
        run = packed->ends[chunk];
        start += count;
    }
    return err;
}
