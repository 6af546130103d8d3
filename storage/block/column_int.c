/*
 * column_int.c - how to code a chunk of integers, and doing it. Reading: column_int_read.c.
 */
#include "storage/block/column_int.h"

#include <string.h>

#include "storage/base/check.h"
#include "storage/base/varint.h"
#include "storage/block/column_int_form.h"
#include "storage/block/lanes.h"
#include "storage/block/lanes_dense.h"
#include "storage/block/pack.h"

enum {
    /* Looking for a line or for outliers costs about 0.2 ns a value; below this it saves next to
     * nothing. */
    SEARCH_COUNT_MIN = 128,
    SAMPLE = 16,
    SAMPLE_GROUP = 4,
    GUESS_STEP = 4,
    WIDTH_GAIN = 2, /* Bits that the sample must promise before all values are looked at. */
    LINE_SPAN_BITS = 46,

    LANES_COUNT_MIN = 256,  /* Shorter chunks are not worth filling up lanes. */
    LANES_WASTE_SHARE = 32, /* Filling up may cost one byte of so many. */
    PATCH_COUNT_BITS = 16,  /* How many patches there are. */
    DENSE_PATCH_SHARE = 16, /* One number of so many may be none of the three. */
};

/* How to code a chunk, and what it will cost. */
struct plan {
    struct lanes_model model;
    unsigned width;
    bool patched;
    bool dense;
    uint64_t bits; /* Cost: packed, patches, seeds and base. */
};

/* The packed numbers of a patched plan, and which of them are too wide. */
struct patched {
    _Alignas(64) uint64_t packed[LANES_NUMBERS_MAX];
    uint32_t count;
    uint16_t places[COLUMN_CHUNK];
};

/* ---- Cost ---------------------------------------------------------------------------------- */

static unsigned varint_bits(uint64_t value)
{
    unsigned width = pack_width(value);

    return width == 0 ? 8 : (width + 6) / 7 * 8;
}

/* Seeds for which the first packed numbers are 0. */
static struct lanes_model model_of(const uint64_t *values, unsigned order, uint64_t base)
{
    struct lanes_model model = {.order = order, .base = base};

    if (order == 1) {
        model.before = values[0] - base;
    } else if (order == 2) {
        uint64_t first = values[1] - values[0] - base; /* Difference of number 0. */

        model.before = values[0] - first;
        model.step = first - base;
    }
    return model;
}

static unsigned head_bits(const struct lanes_model *model)
{
    unsigned bits = varint_bits(zigzag(model->base));

    if (model->order == 1 || model->order == 2)
        bits += varint_bits(zigzag(model->before));
    if (model->order >= 2)
        bits += varint_bits(zigzag(model->step));
    return bits;
}

static struct plan plan_of(struct lanes_model model, uint32_t count, unsigned width)
{
    uint32_t packed = count - column_int_skipped(model.order, false);

    return (struct plan){
        .model = model, .width = width, .bits = head_bits(&model) + (uint64_t)packed * width};
}

/* Of an outlier whose zigzag distance from the middle has `width` bits: the one from the base has
 * a bit more; and the place. */
static unsigned patch_cost(unsigned width)
{
    return (width + 7) / 7 * 8 + 8;
}

static uint64_t span_range(struct lanes_span span)
{
    return (uint64_t)span.max - (uint64_t)span.min;
}

static unsigned span_width(struct lanes_span span)
{
    return pack_width(span_range(span));
}

/* ---- Choosing ------------------------------------------------------------------------------ */

/* The shortest way in which every residual of order 0 to 2 is packed. */
static struct plan plan_plain(const uint64_t *values, uint32_t count,
                              const struct lanes_span spans[3])
{
    struct plan best = {.bits = UINT64_MAX};

    for (unsigned order = 0; order < 3 && order < count; order++) {
        struct lanes_model model = model_of(values, order, (uint64_t)spans[order].min);
        struct plan plan = plan_of(model, count, span_width(spans[order]));

        if (plan.bits < best.bits)
            best = plan;
    }
    return best;
}

/* From the means of the first and the last quarter: jitter of single values hardly tilts it. */
static uint64_t find_slope(const uint64_t *values, uint32_t count)
{
    uint32_t quarter = count / 4;
    int64_t first = 0, last = 0, difference, run;

    for (uint32_t i = 0; i < quarter; i++) {
        first += (int64_t)(values[i] - values[0]);
        last += (int64_t)(values[count - quarter + i] - values[0]);
    }
    difference = last - first; /* Below 2^55: a quarter of 2^10 values of 2^46. */
    run = (int64_t)quarter * (count - quarter);
    return (uint64_t)(difference / run * (1 << LANES_SLOPE_BITS) +
                      difference % run * (1 << LANES_SLOPE_BITS) / run);
}

/* The span of a few values' distances from the line through both ends: a lower bound, nearly. */
static struct lanes_span sample_line(const uint64_t *values, uint32_t count)
{
    int64_t rise = (int64_t)(values[count - 1] - values[0]);
    int64_t slope = rise * (1 << LANES_SLOPE_BITS) / (int64_t)(count - 1);
    struct lanes_span span = {INT64_MAX, INT64_MIN};
    uint32_t step = count / SAMPLE;

    for (uint32_t i = 0; i < SAMPLE; i++) {
        uint64_t line = column_int_line((uint64_t)slope * (i * step));
        int64_t rest = (int64_t)(values[i * step] - values[0] - line);

        span.min = rest < span.min ? rest : span.min;
        span.max = rest > span.max ? rest : span.max;
    }
    return span;
}

/* Clocks tick along a line, and jitter around it: differences would double the jitter. */
static void improve_by_line(const uint64_t *values, uint32_t count,
                            const struct lanes_span spans[3], struct plan *plan)
{
    struct lanes_model model = {.order = LANES_LINE};
    struct lanes_span span;
    struct plan line;

    if (span_width(spans[0]) > LINE_SPAN_BITS || span_width(spans[0]) <= span_width(spans[1]) ||
        span_width(sample_line(values, count)) > plan->width)
        return;
    model.step = find_slope(values, count);
    lanes_kernels()->find_line_span(values, count, model.step, &span);
    model.base = (uint64_t)span.min;
    line = plan_of(model, count, span_width(span));
    if (line.bits < plan->bits)
        *plan = line;
}

static inline int64_t residual(const uint64_t *values, uint32_t at, unsigned order)
{
    if (order == 0)
        return (int64_t)values[at];
    if (order == 1)
        return (int64_t)(values[at + 1] - values[at]);
    return (int64_t)(values[at + 2] - 2 * values[at + 1] + values[at]);
}

/* The span of a few residuals from all over the chunk, but for the lowest and the highest of four
 * groups: outliers are rare. */
static struct lanes_span sample_residuals(const uint64_t *values, uint32_t count, unsigned order)
{
    uint32_t step = (count - order) / SAMPLE;
    struct lanes_span first = {INT64_MAX, INT64_MIN}, second = first;

    for (uint32_t group = 0; group < SAMPLE; group += SAMPLE_GROUP) {
        struct lanes_span span = {INT64_MAX, INT64_MIN};

        for (uint32_t i = group; i < group + SAMPLE_GROUP; i++) {
            int64_t number = residual(values, i * step + step / 2, order);

            span.min = number < span.min ? number : span.min;
            span.max = number > span.max ? number : span.max;
        }
        if (span.min < second.min)
            second.min = span.min < first.min ? first.min : span.min;
        if (span.max > second.max)
            second.max = span.max > first.max ? first.max : span.max;
        first.min = span.min < first.min ? span.min : first.min;
        first.max = span.max > first.max ? span.max : first.max;
    }
    return second;
}

/* The mean of the same sample, its outliers cut to the span's ends. */
static uint64_t sample_middle(const uint64_t *values, uint32_t count, unsigned order,
                              struct lanes_span span)
{
    uint32_t step = (count - order) / SAMPLE;
    uint64_t range = (uint64_t)span.max - (uint64_t)span.min, sum = 0;

    if (range > UINT64_MAX / SAMPLE)
        return (uint64_t)span.min + range / 2;
    for (uint32_t i = 0; i < SAMPLE; i++) {
        int64_t number = residual(values, i * step + step / 2, order);

        if (number > span.max)
            sum += range;
        else if (number > span.min)
            sum += (uint64_t)number - (uint64_t)span.min;
    }
    return (uint64_t)span.min + (sum + SAMPLE / 2) / SAMPLE;
}

/* The cheapest width around `middle`, going by one residual of four: wider ones become patches of
 * their own width and a place. */
static struct plan guess_width(const uint64_t *values, uint32_t count, unsigned order,
                               uint64_t middle)
{
    uint64_t some[COLUMN_CHUNK / GUESS_STEP];
    uint32_t by_width[65], number = 0;
    struct plan best = {.bits = UINT64_MAX};
    uint64_t patch_bits = 0;

    for (uint32_t i = 0; i < count - order; i += GUESS_STEP)
        some[number++] = (uint64_t)residual(values, i, order) - middle;
    lanes_kernels()->count_widths(some, number, by_width);
    for (unsigned width = 65; width-- > 0;) {
        if (patch_bits > 0 || width == 0 || by_width[width] > 0) {
            /* From base to base + 2^width - 1, with the middle in the middle. */
            uint64_t base = width == 0 ? middle : middle - (1ull << (width - 1));
            struct plan plan = plan_of(model_of(values, order, base), count, width);

            plan.bits += patch_bits;
            if (plan.bits < best.bits)
                best = plan;
        }
        patch_bits += (uint64_t)by_width[width] * GUESS_STEP * patch_cost(width);
    }
    return best;
}

/* What the patches cost whose places and numbers are known. */
static uint64_t patches_bits(const struct patched *patched)
{
    uint64_t bits = 0;

    for (uint32_t i = 0; i < patched->count; i++)
        bits += 8 + varint_bits(zigzag(patched->packed[patched->places[i]]));
    return bits;
}

/* Look at all values. Sets ret_patched, and the plan's cost. */
static void find_patches(const uint64_t *values, uint32_t count, struct plan *plan,
                         struct patched *ret_patched)
{
    lanes_kernels()->find_packed(values, count, &plan->model, ret_patched->packed);
    ret_patched->count =
        lanes_kernels()->find_wide(ret_patched->packed, count, plan->width, ret_patched->places);
    plan->patched = ret_patched->count > 0;
    plan->bits = plan_of(plan->model, count, plan->width).bits + patches_bits(ret_patched);
}

/* How many values are outside of a sampled span. */
static uint32_t count_outside(const uint64_t *values, uint32_t count, unsigned order,
                              struct lanes_span span, struct patched *scratch)
{
    struct lanes_model model = {.order = order, .base = (uint64_t)span.min};

    lanes_kernels()->find_packed(values, count, &model, scratch->packed);
    return lanes_kernels()->find_wide(scratch->packed, count, span_width(span), scratch->places);
}

/* The order whose sampled width is best. Where a level shifts, differences have fewer outliers than
 * values; where one value sticks out, more. Differences of differences never have fewer. */
static unsigned pick_order(const uint64_t *values, uint32_t count, const unsigned *widths,
                           const struct lanes_span *spans, struct patched *scratch)
{
    if (widths[2] < widths[0] && widths[2] < widths[1])
        return 2;
    if (widths[0] != widths[1])
        return widths[0] < widths[1] ? 0 : 1;
    return count_outside(values, count, 0, spans[0], scratch) <=
                   count_outside(values, count, 1, spans[1], scratch)
               ? 0
               : 1;
}

/* Jumps between runs, and other outliers, make all residuals wide. Better to write those apart? */
static void improve_by_patching(const uint64_t *values, uint32_t count, struct plan *plan,
                                struct patched *ret_patched)
{
    struct lanes_span spans[3];
    unsigned widths[3], order;
    unsigned best_width = plan->width;
    struct plan patched;

    for (order = 0; order < 3; order++) {
        spans[order] = sample_residuals(values, count, order);
        widths[order] = span_width(spans[order]);
        widths[order] += widths[order] == 0 ? 0 : WIDTH_GAIN;
        if (widths[order] < best_width)
            best_width = widths[order];
    }
    if (best_width == plan->width)
        return;
    order = pick_order(values, count, widths, spans, ret_patched);
    patched = guess_width(values, count, order, sample_middle(values, count, order, spans[order]));
    if (patched.bits >= plan->bits)
        return;
    find_patches(values, count, &patched, ret_patched);
    if (patched.bits < plan->bits)
        *plan = patched;
}

/* ---- Dense --------------------------------------------------------------------------------- */

/* Of numbers from 0 to 2 alone, where the difference from base is that. */
static struct plan plan_dense(const uint64_t *values, uint32_t count, unsigned order, uint64_t base)
{
    struct plan plan = {
        .model = model_of(values, order, base), .width = COLUMN_INT_DENSE_WIDTH, .dense = true};

    plan.bits = head_bits(&plan.model) + 8 * (uint64_t)lanes_dense_size(count);
    return plan;
}

/* Those that are not get patches. False: they are too many. */
static bool patch_dense(const uint64_t *values, uint32_t count, struct plan *plan,
                        struct patched *ret_patched)
{
    uint64_t above[COLUMN_CHUNK]; /* As wide as the width if the number is above 2. */

    lanes_kernels()->find_packed(values, count, &plan->model, ret_patched->packed);
    for (uint32_t i = 0; i < count; i++)
        above[i] = ret_patched->packed[i] | (ret_patched->packed[i] + 1);
    ret_patched->count = lanes_kernels()->find_wide(above, count, plan->width, ret_patched->places);
    if (ret_patched->count > count / DENSE_PATCH_SHARE)
        return false;
    plan->patched = ret_patched->count > 0;
    plan->bits += PATCH_COUNT_BITS + patches_bits(ret_patched);
    return true;
}

/* Three neighbouring numbers take 1.6 bits each and not 2; beside outliers that two bits have no
 * room for, not 3. */
static void improve_densely(const uint64_t *values, uint32_t count,
                            const struct lanes_span spans[3], struct plan *plan,
                            struct patched *ret_patched)
{
    struct patched patched;

    for (unsigned order = 0; order < 3; order++) {
        bool all = span_range(spans[order]) <= LANES_DENSE_MAX;
        struct lanes_span span = all ? spans[order] : sample_residuals(values, count, order);
        uint64_t base = (uint64_t)span.min;
        struct plan dense;

        if (span_range(span) > LANES_DENSE_MAX)
            continue;
        if (span_range(span) < LANES_DENSE_MAX && !all)
            base = sample_middle(values, count, order, span) - 1;
        dense = plan_dense(values, count, order, base);
        if (dense.bits >= plan->bits || (!all && !patch_dense(values, count, &dense, &patched)) ||
            dense.bits >= plan->bits)
            continue;
        *plan = dense;
        if (dense.patched)
            *ret_patched = patched;
    }
}

/* ---- The plan ------------------------------------------------------------------------------- */

/* Sets ret_patched if the plan is patched. */
static struct plan choose(const uint64_t *values, uint32_t count, bool dense,
                          struct patched *ret_patched)
{
    struct lanes_span spans[3];
    struct plan plan;

    lanes_kernels()->find_spans(values, count, spans);
    plan = plan_plain(values, count, spans);
    if (count >= SEARCH_COUNT_MIN && plan.width > 0) {
        improve_by_line(values, count, spans, &plan);
        improve_by_patching(values, count, &plan, ret_patched);
    }
    if (dense && count >= LANES_COUNT_MIN)
        improve_densely(values, count, spans, &plan, ret_patched);
    return plan;
}

/* ---- Writing ------------------------------------------------------------------------------- */

static bool use_lanes(uint32_t count, const struct plan *plan)
{
    size_t plain = pack_size(count - column_int_skipped(plan->model.order, false), plan->width);

    return count >= LANES_COUNT_MIN &&
           lanes_size(lanes_rows(count), plan->width) <= plain + plain / LANES_WASTE_SHARE;
}

static void put_head(const struct plan *plan, uint32_t patches, bool in_lanes, struct bytes *out)
{
    const struct lanes_model *model = &plan->model;

    bytes_put_u8(out, (uint8_t)(model->order + (patches > 0 ? COLUMN_INT_PATCHED : 0) +
                                (in_lanes ? COLUMN_INT_LANES : 0) +
                                (plan->dense ? COLUMN_INT_DENSE : 0)));
    bytes_put_u8(out, (uint8_t)plan->width);
    if (patches > 0)
        bytes_put_varint(out, patches);
    if (model->order == 1 || model->order == 2)
        bytes_put_varint(out, zigzag(model->before));
    if (model->order >= 2)
        bytes_put_varint(out, zigzag(model->step));
    bytes_put_varint(out, zigzag(model->base));
}

static void put_packed(uint64_t *packed, uint32_t count, const struct plan *plan, bool in_lanes,
                       struct bytes *out)
{
    uint32_t skipped = column_int_skipped(plan->model.order, in_lanes);
    uint32_t rows = lanes_rows(count);
    uint8_t *place;

    if (plan->width == 0)
        return;
    if (in_lanes) {
        place =
            bytes_add(out, plan->dense ? lanes_dense_size(count) : lanes_size(rows, plan->width));
        memset(packed + count, 0, (rows * LANES - count) * sizeof *packed);
        if (place != NULL && plan->dense)
            lanes_kernels()->pack_dense(packed, count, place);
        else if (place != NULL)
            lanes_kernels()->pack(packed, rows, plan->width, place);
    } else {
        place = bytes_add(out, pack_size(count - skipped, plan->width));
        if (place != NULL)
            pack_put(packed + skipped, count - skipped, plan->width, place);
    }
}

static bool put_chunk(const uint64_t *values, uint32_t count, bool dense, struct bytes *out)
{
    uint8_t patches[COLUMN_CHUNK * 2 * VARINT_SIZE_MAX], *end = patches;
    struct patched patched;
    struct plan plan;
    uint32_t next = 0;
    bool in_lanes;

    CHECK(count >= 1);
    CHECK(count <= COLUMN_CHUNK);
    plan = choose(values, count, dense, &patched);
    if (!plan.patched) {
        patched.count = 0;
        if (plan.width > 0)
            lanes_kernels()->find_packed(values, count, &plan.model, patched.packed);
    }
    for (uint32_t i = 0; i < patched.count; i++) {
        uint32_t at = patched.places[i];

        end = varint_put(end, at - next);
        end = varint_put(end, zigzag(patched.packed[at]));
        patched.packed[at] = 0;
        next = at + 1;
    }
    in_lanes = plan.dense || use_lanes(count, &plan);
    put_head(&plan, patched.count, in_lanes, out);
    put_packed(patched.packed, count, &plan, in_lanes, out);
    bytes_put(out, patches, (size_t)(end - patches));
    return plan.dense;
}

void column_int_put_chunk(const uint64_t *values, uint32_t count, struct bytes *out)
{
    (void)put_chunk(values, count, false, out);
}

bool column_int_put_dense_chunk(const uint64_t *values, uint32_t count, struct bytes *out)
{
    return put_chunk(values, count, true, out);
}

void column_int_put(const uint64_t *values, uint32_t count, struct bytes *out)
{
    for (uint32_t at = 0; at < count; at += COLUMN_CHUNK)
        column_int_put_chunk(values + at, count - at < COLUMN_CHUNK ? count - at : COLUMN_CHUNK,
                             out);
}

bool column_int_put_dense(const uint64_t *values, uint32_t count, struct bytes *out)
{
    bool any = false;

    for (uint32_t at = 0; at < count; at += COLUMN_CHUNK)
        any |= column_int_put_dense_chunk(
            values + at, count - at < COLUMN_CHUNK ? count - at : COLUMN_CHUNK, out);
    return any;
}
