#include "storage/block/column_int.h"

#include <stdbool.h>

#include "storage/base/check.h"
#include "storage/base/varint.h"
#include "storage/block/pack.h"

enum {
    ORDER_MAX = 2,
    PATCHED = 4, /* Added to the order. */

    /* Looking for outliers costs about 0.3 ns a value; below this a patch saves next to nothing. */
    PATCH_COUNT_MIN = 128,
    SAMPLE = 16,
    SAMPLE_CUT = 2, /* Of the sorted sample, at both ends: what may be outliers. */
    WIDTH_GAIN = 2, /* Bits that the sample must promise before all values are looked at. */
};

/* How to code a chunk, and what it will cost. */
struct plan {
    unsigned order;
    unsigned width;
    uint64_t base;
    uint32_t patches;
    uint64_t bits; /* Cost: packed, patches, seeds and base. */
};

/* ---- Choosing ------------------------------------------------------------------------------ */

struct span {
    int64_t min;
    int64_t max;
};

static inline void span_add(struct span *span, uint64_t value)
{
    int64_t number = (int64_t)value;

    span->min = number < span->min ? number : span->min;
    span->max = number > span->max ? number : span->max;
}

/* The ranges of values, differences and differences of those, in one go. */
static void find_spans(const uint64_t *values, uint32_t count, struct span spans[ORDER_MAX + 1])
{
    struct span s0 = {INT64_MAX, INT64_MIN};
    struct span s1 = s0, s2 = s0;
    uint64_t last = values[0], last_delta = 0;

    span_add(&s0, last);
    if (count > 1) {
        last_delta = values[1] - last;
        last = values[1];
        span_add(&s0, last);
        span_add(&s1, last_delta);
    }
    for (uint32_t i = 2; i < count; i++) {
        uint64_t delta = values[i] - last;

        span_add(&s0, values[i]);
        span_add(&s1, delta);
        span_add(&s2, delta - last_delta);
        last = values[i];
        last_delta = delta;
    }
    spans[0] = s0;
    spans[1] = s1;
    spans[2] = s2;
}

static unsigned varint_bits(uint64_t value)
{
    unsigned width = pack_width(value);

    return width == 0 ? 8 : (width + 6) / 7 * 8;
}

static uint64_t seed_of(const uint64_t *values, unsigned at)
{
    return at == 0 ? values[0] : values[1] - values[0];
}

static unsigned head_bits(const uint64_t *values, unsigned order, uint64_t base)
{
    unsigned bits = varint_bits(zigzag(base));

    for (unsigned at = 0; at < order; at++)
        bits += varint_bits(zigzag(seed_of(values, at)));
    return bits;
}

/* The shortest way in which every residual is packed. */
static struct plan plan_plain(const uint64_t *values, uint32_t count)
{
    struct span spans[ORDER_MAX + 1];
    struct plan best = {.bits = UINT64_MAX};

    find_spans(values, count, spans);
    for (unsigned order = 0; order <= ORDER_MAX && order < count; order++) {
        uint64_t base = (uint64_t)spans[order].min;
        unsigned width = pack_width((uint64_t)spans[order].max - base);
        uint64_t bits = head_bits(values, order, base) + (uint64_t)(count - order) * width;

        if (bits < best.bits)
            best = (struct plan){order, width, base, 0, bits};
    }
    return best;
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
    for (unsigned width = 64; width > 0; width--) {
        /* `width` bits reach from base to base + 2^width - 1, with the middle in the middle. */
        uint64_t base = middle - (1ull << (width - 1));
        uint64_t bits =
            head_bits(values, order, base) + (uint64_t)(count - order) * width + patch_bits + 8;

        if (bits < best.bits)
            best = (struct plan){order, width, base, patches, bits};
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
    unsigned best_width = plan->width;
    unsigned best_order = 0;
    uint64_t best_middle = 0;

    for (unsigned order = 0; order <= ORDER_MAX; order++) {
        int64_t sample[SAMPLE];
        unsigned width;

        take_sample(values, count, order, sample);
        width =
            pack_width((uint64_t)sample[SAMPLE - 1 - SAMPLE_CUT] - (uint64_t)sample[SAMPLE_CUT]) +
            WIDTH_GAIN;
        if (width < best_width) {
            best_width = width;
            best_order = order;
            best_middle = (uint64_t)sample[SAMPLE / 2];
        }
    }
    if (best_width == plan->width)
        return;
    patched = plan_around(values, count, best_order, best_middle);
    if (patched.bits < plan->bits)
        *plan = patched;
}

/* ---- Writing ------------------------------------------------------------------------------- */

static void find_rest(const uint64_t *values, uint32_t count, const struct plan *plan,
                      uint64_t *ret_rest)
{
    uint32_t left = count - plan->order;
    uint64_t base = plan->base;

    if (plan->order == 0) {
        for (uint32_t i = 0; i < left; i++)
            ret_rest[i] = residual(values, i, 0) - base;
    } else if (plan->order == 1) {
        for (uint32_t i = 0; i < left; i++)
            ret_rest[i] = residual(values, i, 1) - base;
    } else {
        for (uint32_t i = 0; i < left; i++)
            ret_rest[i] = residual(values, i, 2) - base;
    }
}

/* Write the ones that are too wide to `out`, and zeros in their places. Returns how many. */
static uint32_t cut_patches(uint64_t *rest, uint32_t count, unsigned width, uint8_t **out)
{
    uint32_t patches = 0;
    uint32_t next = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (rest[i] >> width == 0)
            continue;
        *out = varint_put(*out, i - next);
        *out = varint_put(*out, zigzag(rest[i]));
        rest[i] = 0;
        next = i + 1;
        patches++;
    }
    return patches;
}

void column_int_put_chunk(const uint64_t *values, uint32_t count, struct bytes *out)
{
    uint64_t rest[COLUMN_CHUNK];
    struct plan plan;

    CHECK(count >= 1);
    CHECK(count <= COLUMN_CHUNK);
    plan = plan_plain(values, count);
    if (count >= PATCH_COUNT_MIN && plan.width > WIDTH_GAIN)
        improve_by_patching(values, count, &plan);

    bytes_put_u8(out, (uint8_t)(plan.order + (plan.patches > 0 ? PATCHED : 0)));
    bytes_put_u8(out, (uint8_t)plan.width);
    if (plan.patches > 0)
        bytes_put_varint(out, plan.patches);
    for (unsigned at = 0; at < plan.order; at++)
        bytes_put_varint(out, zigzag(seed_of(values, at)));
    bytes_put_varint(out, zigzag(plan.base));
    if (plan.width > 0) {
        uint8_t patches[COLUMN_CHUNK * 2 * VARINT_SIZE_MAX];
        uint8_t *patches_end = patches;
        uint8_t *packed = bytes_add(out, pack_size(count - plan.order, plan.width));

        find_rest(values, count, &plan, rest);
        if (plan.patches > 0)
            CHECK(cut_patches(rest, count - plan.order, plan.width, &patches_end) == plan.patches);
        if (packed != NULL)
            pack_put(rest, count - plan.order, plan.width, packed);
        bytes_put(out, patches, (size_t)(patches_end - patches));
    }
}

void column_int_put(const uint64_t *values, uint32_t count, struct bytes *out)
{
    for (uint32_t at = 0; at < count; at += COLUMN_CHUNK)
        column_int_put_chunk(values + at, count - at < COLUMN_CHUNK ? count - at : COLUMN_CHUNK,
                             out);
}

/* ---- Reading ------------------------------------------------------------------------------- */

static void apply_patches(struct reader *reader, uint64_t patches, uint32_t count, uint64_t *rest)
{
    uint64_t next = 0;

    for (; patches > 0; patches--) {
        uint64_t distance = reader_varint(reader);
        uint64_t difference = unzigzag(reader_varint(reader));

        if (reader->bad || distance >= count - next) {
            reader->bad = true;
            return;
        }
        rest[next + distance] = difference;
        next += distance + 1;
    }
}

static void add_base(uint64_t *values, uint32_t count, unsigned order, const uint64_t *seeds,
                     uint64_t base)
{
    uint64_t value, delta;

    if (order == 0) {
        for (uint32_t i = 0; i < count; i++)
            values[i] += base;
        return;
    }
    value = seeds[0];
    if (order == 1) {
        values[0] = value;
        for (uint32_t i = 1; i < count; i++)
            values[i] = value += values[i] + base;
        return;
    }
    delta = seeds[1];
    values[0] = value;
    values[1] = value += delta;
    for (uint32_t i = 2; i < count; i++) {
        delta += values[i] + base;
        values[i] = value += delta;
    }
}

void column_int_get_chunk(struct reader *reader, uint32_t count, uint64_t *ret_values)
{
    uint8_t head = reader_u8(reader);
    uint8_t width = reader_u8(reader);
    unsigned order = head & 3;
    bool patched = (head & PATCHED) != 0;
    uint64_t patches = patched ? reader_varint(reader) : 0;
    uint64_t seeds[ORDER_MAX] = {0, 0};
    const uint8_t *packed;
    uint64_t base;

    if (head > PATCHED + ORDER_MAX || order > ORDER_MAX || order >= count || width > 64 ||
        (patched && width == 64)) {
        reader->bad = true;
        return;
    }
    for (unsigned at = 0; at < order; at++)
        seeds[at] = unzigzag(reader_varint(reader));
    base = unzigzag(reader_varint(reader));
    packed = reader_take(reader, pack_size(count - order, width));
    if (packed == NULL || reader->bad)
        return;
    pack_get(packed, count - order, width, ret_values + order);
    if (patched)
        apply_patches(reader, patches, count - order, ret_values + order);
    if (!reader->bad)
        add_base(ret_values, count, order, seeds, base);
}

void column_int_get(struct reader *reader, uint32_t count, uint64_t *ret_values)
{
    for (uint32_t at = 0; at < count && !reader->bad; at += COLUMN_CHUNK)
        column_int_get_chunk(reader, count - at < COLUMN_CHUNK ? count - at : COLUMN_CHUNK,
                             ret_values + at);
}
