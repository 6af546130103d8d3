#include "tests/support/seed.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

uint64_t seed_of_run(const char *name)
{
    const char *text = getenv("SEED");
    struct timespec now;
    uint64_t seed;

    if (text != NULL) {
        seed = strtoull(text, NULL, 0);
    } else {
        (void)clock_gettime(CLOCK_REALTIME, &now);
        seed = (uint64_t)now.tv_sec * 1000000007u + (uint64_t)now.tv_nsec;
    }
    (void)fprintf(stderr, "%s: SEED=%" PRIu64 "\n", name, seed);
    return seed;
}

uint64_t seed_next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint64_t seed_below(uint64_t *state, uint64_t below)
{
    uint64_t number = seed_next(state);

    return below == 0 ? 0 : number % below;
}
