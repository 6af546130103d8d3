#define LZ4_STATIC_LINKING_ONLY /* For LZ4_compress_fast_extState_fastReset(). */
#include "tests/bench/codec_peers.h"

#include <lz4.h>
#include <string.h>
#ifdef HAVE_ZSTD
#include <zstd.h>
#endif

#include "storage/base/check.h"
#include "tests/bench/codec_data.h"

enum { COLUMN_BYTES = CODEC_COLUMN * (int)sizeof(uint64_t) };

/* ---- LZ4 ----------------------------------------------------------------------------------- */

static size_t lz4_encode(const uint64_t *values, uint8_t *out)
{
    static LZ4_stream_t state;

    return (size_t)LZ4_compress_fast_extState_fastReset(&state, (const char *)values, (char *)out,
                                                        COLUMN_BYTES, CODEC_PEER_ROOM, 1);
}

static void lz4_decode(const uint8_t *in, size_t size, uint64_t *ret_values)
{
    CHECK(LZ4_decompress_safe((const char *)in, (char *)ret_values, (int)size, COLUMN_BYTES) ==
          COLUMN_BYTES);
}

/* ---- Bytes shuffled, then LZ4 -------------------------------------------------------------- */

/* Eight words of eight bytes to eight words of the first, second, ... bytes: halves of blocks of
 * one, two and four bytes change places. */
static inline void transpose_bytes(uint64_t w[8])
{
    static const uint64_t masks[] = {0x00ff00ff00ff00ff, 0x0000ffff0000ffff, 0x00000000ffffffff};

    for (unsigned step = 0; step < 3; step++) {
        unsigned distance = 1u << step, shift = 8u << step;

        for (unsigned i = 0; i < 8; i++) {
            uint64_t low, high;

            if ((i & distance) != 0)
                continue;
            low = w[i];
            high = w[i + distance];
            w[i] = (low & masks[step]) | (high & masks[step]) << shift;
            w[i + distance] = (low >> shift & masks[step]) | (high & ~masks[step]);
        }
    }
}

static size_t shuffle_encode(const uint64_t *values, uint8_t *out)
{
    static uint8_t shuffled[COLUMN_BYTES];
    static LZ4_stream_t state;

    for (uint32_t run = 0; run < CODEC_COLUMN; run += CODEC_RUN)
        for (uint32_t i = 0; i < CODEC_RUN; i += 8) {
            uint64_t w[8];

            memcpy(w, values + run + i, sizeof w);
            transpose_bytes(w);
            for (uint32_t byte = 0; byte < 8; byte++)
                memcpy(shuffled + run * 8 + byte * CODEC_RUN + i, &w[byte], 8);
        }
    return (size_t)LZ4_compress_fast_extState_fastReset(&state, (const char *)shuffled, (char *)out,
                                                        COLUMN_BYTES, CODEC_PEER_ROOM, 1);
}

static void shuffle_decode(const uint8_t *in, size_t size, uint64_t *ret_values)
{
    static uint8_t shuffled[COLUMN_BYTES];

    CHECK(LZ4_decompress_safe((const char *)in, (char *)shuffled, (int)size, COLUMN_BYTES) ==
          COLUMN_BYTES);
    for (uint32_t run = 0; run < CODEC_COLUMN; run += CODEC_RUN)
        for (uint32_t i = 0; i < CODEC_RUN; i += 8) {
            uint64_t w[8];

            for (uint32_t byte = 0; byte < 8; byte++)
                memcpy(&w[byte], shuffled + run * 8 + byte * CODEC_RUN + i, 8);
            transpose_bytes(w);
            memcpy(ret_values + run + i, w, sizeof w);
        }
}

/* ---- Gorilla ------------------------------------------------------------------------------- */

struct bit_writer {
    uint8_t *at;
    uint64_t word;
    unsigned fill; /* Bits of `word`, from the top: 0 to 63. */
};

static inline void put_bits(struct bit_writer *writer, uint64_t bits, unsigned count)
{
    unsigned room = 64 - writer->fill;
    uint64_t word;

    if (count < room) {
        writer->word |= bits << (room - count);
        writer->fill += count;
        return;
    }
    count -= room;
    word = __builtin_bswap64(writer->word | bits >> count);
    memcpy(writer->at, &word, sizeof word);
    writer->at += sizeof word;
    writer->word = count == 0 ? 0 : bits << (64 - count);
    writer->fill = count;
}

static uint8_t *gorilla_put_run(const uint64_t *values, uint8_t *out)
{
    struct bit_writer writer = {out, 0, 0};
    unsigned lead = 65, trail = 0; /* Of the window; 65: there is none yet. */
    uint64_t word;

    put_bits(&writer, values[0], 64);
    for (uint32_t i = 1; i < CODEC_RUN; i++) {
        uint64_t bits = values[i] ^ values[i - 1];
        unsigned zeros, end;

        if (bits == 0) {
            put_bits(&writer, 0, 1);
            continue;
        }
        zeros = (unsigned)__builtin_clzll(bits);
        end = (unsigned)__builtin_ctzll(bits);
        zeros = zeros > 31 ? 31 : zeros;
        if (lead > 64 || zeros < lead || end < trail) {
            lead = zeros;
            trail = end;
            put_bits(&writer, 3, 2);
            put_bits(&writer, lead, 5);
            put_bits(&writer, 63 - lead - trail, 6);
        } else {
            put_bits(&writer, 2, 2);
        }
        put_bits(&writer, bits >> trail, 64 - lead - trail);
    }
    word = __builtin_bswap64(writer.word);
    memcpy(writer.at, &word, sizeof word);
    return writer.at + (writer.fill + 7) / 8;
}

/* `count` bits, 1 to 64, from bit `at` on. */
static inline uint64_t get_bits(const uint8_t *in, uint64_t *at, unsigned count)
{
    uint64_t word, offset = *at % 8;

    memcpy(&word, in + *at / 8, sizeof word);
    word = __builtin_bswap64(word) << offset;
    if (count + offset > 64)
        word |= in[*at / 8 + 8] >> (8 - offset);
    *at += count;
    return word >> (64 - count);
}

static const uint8_t *gorilla_get_run(const uint8_t *in, uint64_t *ret_values)
{
    unsigned lead = 0, trail = 0;
    uint64_t at = 0;

    ret_values[0] = get_bits(in, &at, 64);
    for (uint32_t i = 1; i < CODEC_RUN; i++) {
        ret_values[i] = ret_values[i - 1];
        if (get_bits(in, &at, 1) == 0)
            continue;
        if (get_bits(in, &at, 1) != 0) {
            lead = (unsigned)get_bits(in, &at, 5);
            trail = 63 - lead - (unsigned)get_bits(in, &at, 6);
        }
        ret_values[i] ^= get_bits(in, &at, 64 - lead - trail) << trail;
    }
    return in + (at + 7) / 8;
}

static size_t gorilla_encode(const uint64_t *values, uint8_t *out)
{
    uint8_t *at = out;

    for (uint32_t run = 0; run < CODEC_COLUMN; run += CODEC_RUN)
        at = gorilla_put_run(values + run, at);
    return (size_t)(at - out);
}

static void gorilla_decode(const uint8_t *in, size_t size, uint64_t *ret_values)
{
    const uint8_t *end = in + size;

    for (uint32_t run = 0; run < CODEC_COLUMN; run += CODEC_RUN)
        in = gorilla_get_run(in, ret_values + run);
    CHECK(in == end);
}

/* ---- zstd ---------------------------------------------------------------------------------- */

#ifdef HAVE_ZSTD
static size_t zstd_encode(const uint64_t *values, uint8_t *out)
{
    return ZSTD_compress(out, CODEC_PEER_ROOM, values, COLUMN_BYTES, 1);
}

static void zstd_decode(const uint8_t *in, size_t size, uint64_t *ret_values)
{
    CHECK(ZSTD_decompress(ret_values, COLUMN_BYTES, in, size) == COLUMN_BYTES);
}
#endif

/* ---- All ----------------------------------------------------------------------------------- */

static const struct codec_peer peers[] = {
    {"lz4", lz4_encode, lz4_decode},
    {"shuffle+lz4", shuffle_encode, shuffle_decode},
    {"gorilla", gorilla_encode, gorilla_decode},
#ifdef HAVE_ZSTD
    {"zstd-1", zstd_encode, zstd_decode},
#endif
};

size_t codec_peers_count(void)
{
    return sizeof peers / sizeof peers[0];
}

const struct codec_peer *codec_peers_at(size_t at)
{
    return &peers[at];
}
