/*
 * seed.h - chance that can be repeated: one seed a run, printed, taken from $SEED if set.
 */
#ifndef TESTS_SUPPORT_SEED_H
#define TESTS_SUPPORT_SEED_H

#include <stdint.h>

/** The seed of this run: $SEED, or one of the clock. Printed to stderr with `name` each time. */
uint64_t seed_of_run(const char *name);

/** The next of a stream of random numbers (splitmix64). */
uint64_t seed_next(uint64_t *state);

/** 0 to below - 1; 0 if `below` is 0. */
uint64_t seed_below(uint64_t *state, uint64_t below);

#endif
