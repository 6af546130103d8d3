/*
 * column_int_read.c - chunks of integers from bytes that nobody vouches for.
 */
#include <assert.h>
#include <string.h>

#include "storage/base/varint.h"
#include "storage/block/column_int.h"
#include "storage/block/column_int_form.h"
#include "storage/block/lanes.h"
#include "storage/block/lanes_dense.h"
#include "storage/block/pack.h"

/* A chunk whose head was read; its patches are not. */
struct chunk {
    struct lanes_model model;
    uint32_t count;
    unsigned width;
    bool in_lanes;
    bool is_dense;    /* In lanes, five in a byte. */
    uint32_t skipped; /* First numbers that are not packed. */
    uint64_t patches;
    const uint8_t *packed;
};

/* ---- Head ---------------------------------------------------------------------------------- */

/* Bytes of the packed numbers. */
static size_t packed_size(const struct chunk *chunk)
{
    if (chunk->is_dense)
        return lanes_dense_size(chunk->count);
    if (chunk->in_lanes)
        return lanes_size(lanes_rows(chunk->count), chunk->width);
    return pack_size(chunk->count - chunk->skipped, chunk->width);
}

static bool read_head(struct reader *reader, uint32_t count, struct chunk *ret_chunk)
{
    uint8_t head = reader_u8(reader);
    uint8_t width = reader_u8(reader);
    struct chunk chunk = {.count = count, .width = width};
    struct lanes_model *model = &chunk.model;
    bool patched = (head & COLUMN_INT_PATCHED) != 0;

    model->order = head & COLUMN_INT_ORDER;
    chunk.in_lanes = (head & COLUMN_INT_LANES) != 0;
    chunk.is_dense = (head & COLUMN_INT_DENSE) != 0;
    chunk.skipped = column_int_skipped(model->order, chunk.in_lanes);
    if (head >= 2 * COLUMN_INT_DENSE || width > 64 ||
        (chunk.is_dense && (!chunk.in_lanes || width != COLUMN_INT_DENSE_WIDTH)) ||
        (model->order != LANES_LINE && model->order >= count) || (patched && width == 64)) {
        reader->bad = true;
        return false;
    }
    if (patched)
        chunk.patches = reader_varint(reader);
    if (model->order == 1 || model->order == 2)
        model->before = unzigzag(reader_varint(reader));
    if (model->order >= 2)
        model->step = unzigzag(reader_varint(reader));
    model->base = unzigzag(reader_varint(reader));
    chunk.packed = reader_take(reader, packed_size(&chunk));
    if (chunk.packed == NULL || reader->bad)
        return false;
    *ret_chunk = chunk;
    return true;
}

/* ---- One behind the other ------------------------------------------------------------------ */

/* The next patch behind place `next` - 1. False: there is none, or it is bad. */
static bool next_patch(struct reader *reader, const struct chunk *chunk, uint64_t next,
                       uint64_t *ret_at, uint64_t *ret_difference)
{
    uint64_t distance = reader_varint(reader);

    *ret_difference = unzigzag(reader_varint(reader));
    *ret_at = next + distance;
    if (reader->bad || distance >= chunk->count - next) {
        reader->bad = true;
        return false;
    }
    return true;
}

static void restore(uint64_t *values, uint32_t count, const struct lanes_model *model)
{
    uint64_t value = model->before, step = model->step, base = model->base, position = 0;

    switch (model->order) {
    case 0:
        for (uint32_t i = 0; i < count; i++)
            values[i] += base;
        return;
    case 1:
        for (uint32_t i = 0; i < count; i++)
            values[i] = value += values[i] + base;
        return;
    case 2:
        for (uint32_t i = 0; i < count; i++) {
            step += values[i] + base;
            values[i] = value += step;
        }
        return;
    default:
        for (uint32_t i = 0; i < count; i++, position += step)
            values[i] += column_int_line(position) + base;
        return;
    }
}

static void get_plain(struct reader *reader, const struct chunk *chunk, uint64_t *ret_values)
{
    uint64_t next = 0, at, difference;

    for (uint32_t i = 0; i < chunk->skipped; i++)
        ret_values[i] = 0;
    pack_get(chunk->packed, chunk->count - chunk->skipped, chunk->width,
             ret_values + chunk->skipped);
    for (uint64_t left = chunk->patches; left > 0; left--, next = at + 1) {
        if (!next_patch(reader, chunk, next, &at, &difference))
            return;
        ret_values[at] = difference;
    }
    restore(ret_values, chunk->count, &chunk->model);
}

/* ---- In lanes ------------------------------------------------------------------------------ */

/* Packed numbers, patched, by rows. False: a patch is bad. */
static bool unpack_lanes(struct reader *reader, const struct chunk *chunk, uint64_t *ret_rows,
                         struct lanes_sums *ret_sums)
{
    uint32_t rows = lanes_rows(chunk->count);
    uint64_t next = 0, at, difference;

    if (chunk->is_dense)
        lanes_kernels()->unpack_dense(chunk->packed, chunk->count, ret_rows, ret_sums);
    else
        lanes_kernels()->unpack(chunk->packed, rows, chunk->width, ret_rows, ret_sums);
    for (uint64_t left = chunk->patches; left > 0; left--, next = at + 1) {
        uint32_t lane, row;

        if (!next_patch(reader, chunk, next, &at, &difference))
            return false;
        lane = (uint32_t)at / rows;
        row = (uint32_t)at % rows;
        difference -= ret_rows[row * LANES + lane];
        ret_rows[row * LANES + lane] += difference;
        ret_sums->sum[lane] += difference;
        ret_sums->prefix[lane] += difference * (rows - row);
    }
    return true;
}

static void get_lanes(struct reader *reader, const struct chunk *chunk, bool roomy,
                      uint64_t *ret_values)
{
    _Alignas(64) uint64_t packed[LANES_NUMBERS_MAX];
    uint32_t rows = lanes_rows(chunk->count);
    struct lanes_sums sums;

    if (!unpack_lanes(reader, chunk, packed, &sums))
        return;
    if (roomy || chunk->count == rows * LANES) {
        lanes_kernels()->restore(packed, rows, &chunk->model, &sums, ret_values);
    } else {
        _Alignas(64) uint64_t values[LANES_NUMBERS_MAX];

        lanes_kernels()->restore(packed, rows, &chunk->model, &sums, values);
        memcpy(ret_values, values, chunk->count * sizeof *values);
    }
}

static void get_chunk(struct reader *reader, uint32_t count, bool roomy, uint64_t *ret_values)
{
    struct chunk chunk;

    if (!read_head(reader, count, &chunk))
        return;
    if (chunk.in_lanes)
        get_lanes(reader, &chunk, roomy, ret_values);
    else
        get_plain(reader, &chunk, ret_values);
}

void column_int_get_chunk(struct reader *reader, uint32_t count, uint64_t *ret_values)
{
    get_chunk(reader, count, false, ret_values);
}

void column_int_get_roomy(struct reader *reader, uint32_t count, uint64_t *ret_values)
{
    get_chunk(reader, count, true, ret_values);
}

void column_int_skip_chunk(struct reader *reader, uint32_t count)
{
    struct chunk chunk;

    if (!read_head(reader, count, &chunk))
        return;
    for (uint64_t left = chunk.patches; left > 0 && !reader->bad; left--) {
        (void)reader_varint(reader);
        (void)reader_varint(reader);
    }
}

void column_int_get_some(struct reader *reader, uint32_t count, uint32_t first, uint32_t end,
                         uint64_t *ret_values)
{
    for (uint32_t at = 0; at < end && !reader->bad; at += COLUMN_CHUNK) {
        uint32_t size = count - at < COLUMN_CHUNK ? count - at : COLUMN_CHUNK;

        if (at + size > first)
            column_int_get_chunk(reader, size, ret_values + at);
        else
            column_int_skip_chunk(reader, size);
    }
}

void column_int_get(struct reader *reader, uint32_t count, uint64_t *ret_values)
{
    column_int_get_some(reader, count, 0, count, ret_values);
}

/* ---- One of many --------------------------------------------------------------------------- */

/* Packed number `at` of five in a byte. */
static uint64_t dense_one(const struct chunk *chunk, uint32_t at)
{
    uint32_t rows = lanes_rows(chunk->count), lane = at / rows, row = at % rows;
    uint32_t byte = row / LANES_DENSE, rest = lanes_dense_bytes(chunk->count % rows);
    /* As many lanes as are full come with each byte, and up to `rest` one more. */
    const uint8_t *place = chunk->packed + (size_t)byte * (chunk->count / rows) + lane;
    unsigned product = place[byte < rest ? byte : rest] * 3u;

    for (uint32_t k = row % LANES_DENSE; k > 0; k--)
        product = product % 256 * 3;
    return product / 256;
}

/* Packed number `at`, without patches. */
static uint64_t packed_one(const struct chunk *chunk, uint32_t at)
{
    uint32_t count = chunk->count - chunk->skipped, first;
    uint64_t some[8]; /* So many end on a byte's border. */

    if (chunk->width == 0 || at < chunk->skipped)
        return 0;
    if (chunk->is_dense)
        return dense_one(chunk, at);
    if (chunk->in_lanes) {
        uint32_t rows = lanes_rows(chunk->count), bit = at % rows * chunk->width;
        const uint8_t *word = chunk->packed + ((size_t)bit / 64 * LANES + at / rows) * 8;
        uint64_t low, high = 0;

        memcpy(&low, word, sizeof low);
        bit %= 64;
        if (bit + chunk->width > 64)
            memcpy(&high, word + LANES * sizeof high, sizeof high);
        low = low >> bit | (bit > 0 ? high << (64 - bit) : 0);
        return chunk->width == 64 ? low : low & ((1ull << chunk->width) - 1);
    }
    at -= chunk->skipped;
    first = at / 8 * 8;
    pack_get(chunk->packed + (size_t)first / 8 * chunk->width,
             count - first < 8 ? count - first : 8, chunk->width, some);
    return some[at - first];
}

/* What stands at `at` once the patches are read. */
static uint64_t patched_one(struct reader *reader, const struct chunk *chunk, uint32_t at)
{
    uint64_t value = packed_one(chunk, at), next = 0, place, difference;

    for (uint64_t left = chunk->patches; left > 0; left--, next = place + 1) {
        if (!next_patch(reader, chunk, next, &place, &difference))
            return 0;
        if (place == at)
            value = difference;
    }
    return value;
}

/* All of a chunk, whose head was read. */
static void get_opened(struct reader *reader, const struct chunk *chunk, uint64_t *ret_values)
{
    if (chunk->in_lanes)
        get_lanes(reader, chunk, true, ret_values);
    else
        get_plain(reader, chunk, ret_values);
}

uint64_t column_int_get_one_of_chunk(struct reader *reader, uint32_t count, uint32_t at)
{
    uint64_t values[LANES_NUMBERS_MAX], steps = (uint64_t)at + 1;
    struct lanes_model model;
    struct chunk chunk;

    if (!read_head(reader, count, &chunk))
        return 0;
    model = chunk.model;
    if (model.order == 0)
        return model.base + patched_one(reader, &chunk, at);
    if (model.order == LANES_LINE)
        return column_int_line(model.step * at) + model.base + patched_one(reader, &chunk, at);
    if (chunk.width == 0 && chunk.patches == 0) /* All differences are the base. */
        return model.order == 1
                   ? model.before + steps * model.base
                   : model.before + steps * model.step + steps * (steps + 1) / 2 * model.base;
    get_opened(reader, &chunk, values);
    return reader->bad ? 0 : values[at];
}

static uint32_t chunk_size(uint32_t count, uint32_t at)
{
    return count - at < COLUMN_CHUNK ? count - at : COLUMN_CHUNK;
}

uint64_t column_int_get_one(struct reader *reader, uint32_t count, uint32_t at)
{
    uint32_t first = at / COLUMN_CHUNK * COLUMN_CHUNK;

    column_int_skip(reader, first);
    return reader->bad ? 0
                       : column_int_get_one_of_chunk(reader, chunk_size(count, first), at - first);
}

/* Of values `first` to `end` - 1 of a chunk. */
static uint64_t sum_chunk(struct reader *reader, uint32_t count, uint32_t first, uint32_t end)
{
    uint64_t values[LANES_NUMBERS_MAX], sum = 0;
    struct chunk chunk;

    if (!read_head(reader, count, &chunk))
        return 0;
    if (chunk.model.order == 0 && chunk.width == 0 && chunk.patches == 0)
        return (end - first) * chunk.model.base;
    get_opened(reader, &chunk, values);
    for (uint32_t i = first; i < end && !reader->bad; i++)
        sum += values[i];
    return sum;
}

uint64_t column_int_get_sum(struct reader *reader, uint32_t count, uint32_t first, uint32_t end)
{
    uint32_t at = first / COLUMN_CHUNK * COLUMN_CHUNK;
    uint64_t sum = 0;

    column_int_skip(reader, at);
    for (; at < end && !reader->bad; at += COLUMN_CHUNK) {
        uint32_t size = chunk_size(count, at);

        sum +=
            sum_chunk(reader, size, first > at ? first - at : 0, end - at < size ? end - at : size);
    }
    return sum;
}

void column_int_skip(struct reader *reader, uint32_t count)
{
    for (uint32_t at = 0; at < count && !reader->bad; at += COLUMN_CHUNK)
        column_int_skip_chunk(reader, chunk_size(count, at));
}

/* ---- Totals -------------------------------------------------------------------------------- */

/* Of values of any size: halves are summed apart, so that neither overflows. */
static void total(const uint64_t *values, uint32_t count, bool has_sign,
                  struct column_int_totals *ret_totals)
{
    const uint64_t flip = has_sign ? 1ull << 63 : 0; /* Makes signed numbers compare as unsigned. */
    uint64_t low = 0, high = 0, negative = 0;
    uint64_t min = UINT64_MAX, max = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = values[i] ^ flip;

        low += values[i] & UINT32_MAX;
        high += values[i] >> 32;
        negative += values[i] >> 63;
        min = value < min ? value : min;
        max = value > max ? value : max;
    }
    high += low >> 32; /* Below 2^43. */
    ret_totals->min = min ^ flip;
    ret_totals->max = max ^ flip;
    ret_totals->sum_low = high << 32 | (low & UINT32_MAX);
    /* Read as unsigned, a negative number is 2^64 too large. */
    ret_totals->sum_high = (int64_t)(high >> 32) - (has_sign ? (int64_t)negative : 0);
}

void column_int_get_totals(struct reader *reader, uint32_t count, uint32_t first, uint32_t end,
                           bool has_sign, struct column_int_totals *ret_totals)
{
    const int64_t limit = (int64_t)1 << 52; /* 1024 times it is still below 2^63. */
    _Alignas(64) uint64_t packed[LANES_NUMBERS_MAX], values[LANES_NUMBERS_MAX];
    uint32_t rows = lanes_rows(count);
    struct lanes_totals totals;
    struct lanes_sums sums;
    struct chunk chunk;

    if (!read_head(reader, count, &chunk))
        return;
    if (!chunk.in_lanes) {
        get_plain(reader, &chunk, values);
        if (!reader->bad)
            total(values + first, end - first, has_sign, ret_totals);
        return;
    }
    if (!unpack_lanes(reader, &chunk, packed, &sums))
        return;
    lanes_kernels()->reduce(packed, rows, &chunk.model, &sums, first, end, &totals);
    if (totals.min >= (has_sign ? -limit : 0) && totals.max <= limit) {
        *ret_totals = (struct column_int_totals){
            .min = (uint64_t)totals.min,
            .max = (uint64_t)totals.max,
            .sum_low = totals.sum,
            .sum_high = (int64_t)totals.sum < 0 ? -1 : 0,
        };
        return;
    }
    lanes_kernels()->restore(packed, rows, &chunk.model, &sums, values);
    total(values + first, end - first, has_sign, ret_totals);
}

/* ---- Running sums -------------------------------------------------------------------------- */

/* A chunk whose numbers are there, as if they stood in lanes. */
static uint64_t accumulate(const uint64_t *values, uint32_t count, uint64_t bias, uint64_t *inside)
{
    uint32_t rows = lanes_rows(count);
    uint64_t sum = 0, any = 0;

    memset(inside, 0, COLUMN_CHUNK * sizeof *inside); /* Lanes may be empty. */
    for (uint32_t at = 0, lane = 0, row = 0; at < count; at++) {
        sum += values[at];
        any |= values[at] + bias;
        inside[row * LANES + lane] = sum;
        if (++row < rows)
            continue;
        row = 0;
        lane++;
        sum = 0;
    }
    return any;
}

bool column_int_get_sums(struct reader *reader, uint32_t count, bool has_sign,
                         struct column_int_sums *ret_sums)
{
    const uint64_t limit = 1ull << 50; /* 1024 times it is still below 2^63. */
    const uint64_t bias = has_sign ? limit : 0;
    uint32_t rows = lanes_rows(count);
    uint64_t *inside = ret_sums->inside + LANES;
    uint64_t values[COLUMN_CHUNK], any;
    struct lanes_sums sums;
    struct chunk chunk;

    static_assert(LANES == sizeof ret_sums->before / sizeof *ret_sums->before, "one a lane");
    if (!read_head(reader, count, &chunk))
        return false;
    if (chunk.in_lanes) {
        if (!unpack_lanes(reader, &chunk, inside, &sums))
            return false;
        any = lanes_kernels()->accumulate(inside, rows, &chunk.model, &sums, bias, inside);
    } else {
        get_plain(reader, &chunk, values);
        if (reader->bad)
            return false;
        any = accumulate(values, count, bias, inside);
    }
    ret_sums->inside[0] = 0;
    ret_sums->before[0] = 0;
    for (uint32_t lane = 1; lane < LANES; lane++)
        ret_sums->before[lane] = ret_sums->before[lane - 1] + inside[(rows - 1) * LANES + lane - 1];
    return any < limit + bias;
}
