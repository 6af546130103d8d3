/*
 * column_int.c - how to code a chunk of integers, and doing it. Reading: column_int_read.c.
 */
#include "storage/block/column_int.h"

#include <string.h>

#include "storage/base/check.h"
#include "storage/base/varint.h"
#include "storage/block/column_int_form.h"
#include "storage/block/lanes.h"
#include "storage/block/pack.h"

enum {
    /* Looking for a line or for outliers costs about 0.2 ns a value; below this it saves next to
     * nothing. */
    SEARCH_COUNT_MIN = 128,
    SAMPLE = 16,
    SAMPLE_CUT = 2, /* Of the sorted sample, at both ends: what may be outliers. */
    WIDTH_GAIN = 2, /* Bits that the sample must promise before all values are looked at. */
    LINE_SPAN_BITS = 46,

    LANES_COUNT_MIN = 256,  /* Shorter chunks are not worth filling up lanes. */
    LANES_WASTE_SHARE = 32, /* Filling up may cost one byte of so many. */
};

/* How to code a chunk, and what it will cost. */
struct plan {
    struct lanes_model model;
    unsigned width;
    uint32_t patches;
    uint64_t bits; /* Cost: packed, patches, seeds and base. */
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

    return (struct plan){model, width, 0, head_bits(&model) + (uint64_t)packed * width};
}

static unsigned span_width(struct lanes_span span)
{
    return pack_width((uint64_t)span.max - (uint64_t)span.min);
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

static inline uint64_t residual(const uint64_t *values, uint32_t at, unsigned order)
{
    if (order == 0)
        return values[at];
    if (order == 1)
        return values[at + 1] - values[at];
    return values[at + 2] - 2 * values[at + 1] + values[at];
}

/* A few residuals from all over the chunk, sorted. */
static void take_sample(const uint64_t *values, uint32_t count, unsigned order, int64_t *ret_sample)
{
    uint32_t step = (count - order) / SAMPLE;

    for (uint32_t i = 0; i < SAMPLE; i++) {
        int64_t number = (int64_t)residual(values, i * step + step / 2, order);
        uint32_t at = i;

        for (; at > 0 && ret_sample[at - 1] > number; at--)
            ret_sample[at] = ret_sample[at - 1];
        ret_sample[at] = number;
    }
}

/* The cheapest width around `middle`: wider ones become patches of their own width and a place. */
static struct plan plan_around(const uint64_t *values, uint32_t count, unsigned order,
                               uint64_t middle)
{
    uint32_t by_width[65] = {0};
    struct plan best = {.bits = UINT64_MAX};
    uint64_t patch_bits = 0;
    uint32_t patches = 0;

    for (uint32_t i = 0; i < count - order; i++)
        by_width[pack_width(zigzag(residual(values, i, order) - middle))]++;
    for (unsigned width = 65; width-- > 0;) {
        /* `width` bits reach from base to base + 2^width - 1, with the middle in the middle. */
        uint64_t base = width == 0 ? middle : middle - (1ull << (width - 1));
        struct plan plan = plan_of(model_of(values, order, base), count, width);

        plan.patches = patches;
        plan.bits += patch_bits + 8;
        if (plan.bits < best.bits)
            best = plan;
        patches += by_width[width];
        /* A zigzag difference from the base, not from the middle: a bit more; and the place. */
        patch_bits += (uint64_t)by_width[width] * ((width + 7) / 7 * 8 + 8);
    }
    return best;
}

/* Jumps between runs, and other outliers, make all residuals wide. Better to write those apart? */
static void improve_by_patching(const uint64_t *values, uint32_t count, struct plan *plan)
{
    struct plan patched;
    unsigned widths[3];
    uint64_t middles[3];
    unsigned best_width = plan->width;

    for (unsigned order = 0; order < 3; order++) {
        int64_t sample[SAMPLE];
        uint64_t range;

        take_sample(values, count, order, sample);
        range = (uint64_t)sample[SAMPLE - 1 - SAMPLE_CUT] - (uint64_t)sample[SAMPLE_CUT];
        widths[order] = range == 0 ? 0 : pack_width(range) + WIDTH_GAIN;
        middles[order] = (uint64_t)sample[SAMPLE / 2];
        if (widths[order] < best_width)
            best_width = widths[order];
    }
    if (best_width == plan->width)
        return;
    for (unsigned order = 0; order < 3; order++) {
        if (widths[order] > best_width)
            continue;
        patched = plan_around(values, count, order, middles[order]);
        if (patched.bits < plan->bits)
            *plan = patched;
    }
}

static struct plan choose(const uint64_t *values, uint32_t count)
{
    struct lanes_span spans[3];
    struct plan plan;

    lanes_kernels()->find_spans(values, count, spans);
    plan = plan_plain(values, count, spans);
    if (count >= SEARCH_COUNT_MIN && plan.width > 0) {
        improve_by_line(values, count, spans, &plan);
        improve_by_patching(values, count, &plan);
    }
    return plan;
}

/* ---- Writing ------------------------------------------------------------------------------- */

static bool use_lanes(uint32_t count, const struct plan *plan)
{
    size_t plain = pack_size(count - column_int_skipped(plan->model.order, false), plan->width);

    return count >= LANES_COUNT_MIN &&
           lanes_size(lanes_rows(count), plan->width) <= plain + plain / LANES_WASTE_SHARE;
}

static void put_head(const struct plan *plan, bool in_lanes, struct bytes *out)
{
    const struct lanes_model *model = &plan->model;

    bytes_put_u8(out, (uint8_t)(model->order + (plan->patches > 0 ? COLUMN_INT_PATCHED : 0) +
                                (in_lanes ? COLUMN_INT_LANES : 0)));
    bytes_put_u8(out, (uint8_t)plan->width);
    if (plan->patches > 0)
        bytes_put_varint(out, plan->patches);
    if (model->order == 1 || model->order == 2)
        bytes_put_varint(out, zigzag(model->before));
    if (model->order >= 2)
        bytes_put_varint(out, zigzag(model->step));
    bytes_put_varint(out, zigzag(model->base));
}

/* Write those that are too wide to `out`, and zeros in their places. Returns how many. */
static uint32_t cut_patches(uint64_t *packed, uint32_t count, unsigned width, struct bytes *out)
{
    uint16_t places[COLUMN_CHUNK];
    uint32_t found = lanes_kernels()->find_wide(packed, count, width, places);
    uint8_t *start = bytes_add(out, (size_t)found * 2 * VARINT_SIZE_MAX);
    uint8_t *end = start;
    uint32_t next = 0;

    for (uint32_t i = 0; i < found; i++) {
        uint32_t at = places[i];

        if (end != NULL) {
            end = varint_put(end, at - next);
            end = varint_put(end, zigzag(packed[at]));
        }
        packed[at] = 0;
        next = at + 1;
    }
    if (end != NULL)
        out->size = (size_t)(end - out->data);
    return found;
}

void column_int_put_chunk(const uint64_t *values, uint32_t count, struct bytes *out)
{
    _Alignas(64) uint64_t packed[LANES_NUMBERS_MAX];
    struct plan plan;
    uint32_t skipped;
    size_t size;
    uint8_t *place;
    bool in_lanes;

    CHECK(count >= 1);
    CHECK(count <= COLUMN_CHUNK);
    plan = choose(values, count);
    in_lanes = use_lanes(count, &plan);
    skipped = column_int_skipped(plan.model.order, in_lanes);
    put_head(&plan, in_lanes, out);
    if (plan.width == 0 && plan.patches == 0)
        return;
    size = in_lanes ? lanes_size(lanes_rows(count), plan.width)
                    : pack_size(count - skipped, plan.width);
    place = bytes_add(out, size);
    if (place == NULL)
        return;
    lanes_kernels()->find_packed(values, count, &plan.model, packed);
    if (plan.patches > 0) {
        size_t at = (size_t)(place - out->data);

        CHECK(cut_patches(packed, count, plan.width, out) == plan.patches);
        place = out->data + at; /* It may have moved. */
    }
    if (in_lanes) {
        uint32_t rows = lanes_rows(count);

        memset(packed + count, 0, (rows * LANES - count) * sizeof *packed);
        lanes_kernels()->pack(packed, rows, plan.width, place);
    } else {
        pack_put(packed + skipped, count - skipped, plan.width, place);
    }
}

void column_int_put(const uint64_t *values, uint32_t count, struct bytes *out)
{
    for (uint32_t at = 0; at < count; at += COLUMN_CHUNK)
        column_int_put_chunk(values + at, count - at < COLUMN_CHUNK ? count - at : COLUMN_CHUNK,
                             out);
}
