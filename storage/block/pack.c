#include "storage/block/pack.h"

#include <assert.h>
#include <string.h>

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "words are stored as they are");

/* A value of up to so many bits lies wholly in the eight bytes that its first bit is in. */
enum { ONE_LOAD_MAX = 57 };

void pack_put(const uint64_t *values, uint32_t count, unsigned width, uint8_t *out)
{
    uint64_t word = 0;
    unsigned fill = 0; /* Bits of `word` in use: 0 to 63. */

    if (width == 0)
        return;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t value = values[i];

        word |= value << fill;
        fill += width;
        if (fill >= 64) {
            memcpy(out, &word, sizeof word);
            out += sizeof word;
            fill -= 64;
            word = fill == 0 ? 0 : value >> (width - fill);
        }
    }
    memcpy(out, &word, (fill + 7) / 8);
}

/* Any value, near the end of the bytes too. */
static uint64_t get_one(const uint8_t *in, size_t size, uint64_t bit, uint64_t mask)
{
    uint64_t words[2] = {0, 0};
    size_t at = (size_t)(bit >> 3);
    unsigned shift = (unsigned)bit & 7;

    memcpy(words, in + at, size - at < sizeof words ? size - at : sizeof words);
    return (words[0] >> shift | (shift == 0 ? 0 : words[1] << (64 - shift))) & mask;
}

void pack_get(const uint8_t *in, uint32_t count, unsigned width, uint64_t *ret_values)
{
    uint64_t mask = width == 64 ? UINT64_MAX : (1ull << width) - 1;
    size_t size = pack_size(count, width);
    uint32_t fast = 0; /* Values that one load of eight bytes gets without passing the end. */
    uint64_t bit = 0;

    if (width == 0) {
        memset(ret_values, 0, count * sizeof *ret_values);
        return;
    }
    if (width <= ONE_LOAD_MAX && size >= sizeof(uint64_t)) {
        size_t last_bit = (size - sizeof(uint64_t)) * 8 + 7;

        fast = last_bit / width + 1 < count ? (uint32_t)(last_bit / width) + 1 : count;
    }
    for (uint32_t i = 0; i < fast; i++, bit += width) {
        uint64_t word;

        memcpy(&word, in + (bit >> 3), sizeof word);
        ret_values[i] = word >> (bit & 7) & mask;
    }
    for (uint32_t i = fast; i < count; i++, bit += width)
        ret_values[i] = get_one(in, size, bit, mask);
}
