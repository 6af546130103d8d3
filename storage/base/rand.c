#include "storage/base/rand.h"

#include <errno.h>
#include <sys/random.h>

#include "storage/base/check.h"

static uint64_t rotate_left(uint64_t bits, int by)
{
    return (bits << by) | (bits >> (64 - by));
}

void rand_init(struct rand *rand, uint64_t seed)
{
    /* splitmix64: seeds that are neighbours give states that are not, and never all zeros. */
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += 0x9e3779b97f4a7c15;

        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
        z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
        rand->state[i] = z ^ (z >> 31);
    }
}

uint64_t rand_next(struct rand *rand)
{
    uint64_t *s = rand->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t rand_below(struct rand *rand, uint64_t bound)
{
    uint64_t cut;
    uint64_t bits;

    CHECK(bound >= 1);
    /* 2^64 is seldom a multiple of bound: the first 2^64 % bound numbers are one too many. */
    cut = (0 - bound) % bound;
    do {
        bits = rand_next(rand);
    } while (bits < cut);
    return bits % bound;
}

double rand_unit(struct rand *rand)
{
    return (double)(rand_next(rand) >> 11) * 0x1.0p-53; /* A double holds 53 bits. */
}

void rand_entropy(void *out, size_t size)
{
    uint8_t *at = out;

    while (size > 0) {
        ssize_t got = getrandom(at, size, 0);

        if (got < 0 && errno == EINTR)
            continue;
        CHECK(got > 0); /* It fails only for bad arguments, or on a kernel before 3.17. */
        at += got;
        size -= (size_t)got;
    }
}
