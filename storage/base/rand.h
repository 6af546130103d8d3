/*
 * rand.h - random numbers: a fast generator that repeats with its seed, and the kernel's entropy.
 *
 * The generator (xoshiro256**, seeded through splitmix64) is for timeouts, jitter, sampling and
 * load. It must not make anything that others may not guess: take rand_entropy() for tokens.
 */
#ifndef STORAGE_BASE_RAND_H
#define STORAGE_BASE_RAND_H

#include <stddef.h>
#include <stdint.h>

struct rand {
    uint64_t state[4];
};

/** The same seed gives the same numbers, on every machine and for ever. Any seed will do. */
void rand_init(struct rand *rand, uint64_t seed);

/** 64 random bits. Thread: one at a time for each struct. */
uint64_t rand_next(struct rand *rand);

/** 0 to bound - 1, each as likely as the others. bound at least 1. */
uint64_t rand_below(struct rand *rand, uint64_t bound);

/** 0.0 up to, but never, 1.0. */
double rand_unit(struct rand *rand);

/** `size` bytes that nobody can guess, from the kernel. Any thread; may wait early at boot. */
void rand_entropy(void *out, size_t size);

#endif
