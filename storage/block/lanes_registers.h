/*
 * lanes_registers.h - a register of 64-bit numbers, of whatever size the compiler was told to use.
 *
 * WIDE numbers fill one: 8 with AVX-512, 4 with AVX2, else 2, which every compiler can make of what
 * there is. Only what its vector types do badly is written out for a CPU. Private to
 * lanes_kernels.c.
 */
#ifndef STORAGE_BLOCK_LANES_REGISTERS_H
#define STORAGE_BLOCK_LANES_REGISTERS_H

#include <stdint.h>
#include <string.h>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#if defined(__AVX512F__)
enum { WIDE = 8 };
#elif defined(__AVX2__)
enum { WIDE = 4 };
#else
enum { WIDE = 2 };
#endif

#define INLINE static inline __attribute__((always_inline))

typedef uint64_t vec __attribute__((vector_size(WIDE * sizeof(uint64_t))));
typedef int64_t signed_vec __attribute__((vector_size(WIDE * sizeof(int64_t))));

INLINE vec load(const void *at)
{
    vec value;

    memcpy(&value, at, sizeof value);
    return value;
}

INLINE void store(void *at, vec value)
{
    memcpy(at, &value, sizeof value);
}

INLINE vec all(uint64_t number)
{
    return (vec){0} + number;
}

/* Numbers of `yes` where the mask is ones, of `no` where it is zeros. */
INLINE vec choose(vec mask, vec yes, vec no)
{
    return (yes & mask) | (no & ~mask);
}

#if defined(__AVX512F__)

INLINE vec lesser(vec a, vec b)
{
    return (vec)_mm512_min_epi64((__m512i)a, (__m512i)b);
}

INLINE vec greater(vec a, vec b)
{
    return (vec)_mm512_max_epi64((__m512i)a, (__m512i)b);
}

/* Rows to columns: pairs, then fours, then eights. */
INLINE void transpose(vec r[WIDE])
{
    const __m512i low = _mm512_set_epi64(13, 12, 5, 4, 9, 8, 1, 0);
    const __m512i high = _mm512_set_epi64(15, 14, 7, 6, 11, 10, 3, 2);
    __m512i two[WIDE], four[WIDE];

    for (int i = 0; i < WIDE; i += 2) {
        two[i] = _mm512_unpacklo_epi64((__m512i)r[i], (__m512i)r[i + 1]);
        two[i + 1] = _mm512_unpackhi_epi64((__m512i)r[i], (__m512i)r[i + 1]);
    }
    for (int i = 0; i < WIDE; i += 4)
        for (int k = 0; k < 2; k++) {
            four[i + k] = _mm512_permutex2var_epi64(two[i + k], low, two[i + k + 2]);
            four[i + k + 2] = _mm512_permutex2var_epi64(two[i + k], high, two[i + k + 2]);
        }
    for (int k = 0; k < 4; k++) {
        r[k] = (vec)_mm512_shuffle_i64x2(four[k], four[k + 4], 0x44);
        r[k + 4] = (vec)_mm512_shuffle_i64x2(four[k], four[k + 4], 0xee);
    }
}

#elif defined(__AVX2__)

INLINE vec lesser(vec a, vec b)
{
    return choose((vec)((signed_vec)a < (signed_vec)b), a, b);
}

INLINE vec greater(vec a, vec b)
{
    return choose((vec)((signed_vec)a > (signed_vec)b), a, b);
}

INLINE void transpose(vec r[WIDE])
{
    __m256i a = _mm256_unpacklo_epi64((__m256i)r[0], (__m256i)r[1]);
    __m256i b = _mm256_unpackhi_epi64((__m256i)r[0], (__m256i)r[1]);
    __m256i c = _mm256_unpacklo_epi64((__m256i)r[2], (__m256i)r[3]);
    __m256i d = _mm256_unpackhi_epi64((__m256i)r[2], (__m256i)r[3]);

    r[0] = (vec)_mm256_permute2x128_si256(a, c, 0x20);
    r[1] = (vec)_mm256_permute2x128_si256(b, d, 0x20);
    r[2] = (vec)_mm256_permute2x128_si256(a, c, 0x31);
    r[3] = (vec)_mm256_permute2x128_si256(b, d, 0x31);
}

#else

INLINE void transpose(vec r[WIDE])
{
    vec a = {r[0][0], r[1][0]};
    vec b = {r[0][1], r[1][1]};

    r[0] = a;
    r[1] = b;
}

#endif

/* Bit k is set if number k of eight has one of these bits. */
#if defined(__AVX512F__)
INLINE unsigned which_of_eight(const uint64_t *numbers, uint64_t bits)
{
    return _mm512_test_epi64_mask((__m512i)load(numbers), (__m512i)all(bits));
}
#else
INLINE unsigned which_of_eight(const uint64_t *numbers, uint64_t bits)
{
    unsigned which = 0;

    for (unsigned k = 0; k < 8; k++)
        which |= (unsigned)((numbers[k] & bits) != 0) << k;
    return which;
}
#endif

#endif
