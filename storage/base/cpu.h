/*
 * cpu.h - which of the instructions that not every CPU has may be used.
 *
 *     MILLRACE_SIMD=scalar|avx2|avx512 millraced ...     at most these; default: all the CPU has
 *
 * Loops that are worth it are compiled once for each level (storage/block/lanes.h) and give the
 * same bytes on all of them: the variable is for comparing, and for a CPU that turns out broken.
 *
 * It is read before main(). A program that finds a level that is unknown, or that its CPU does not
 * have, does not start (exit 64).
 */
#ifndef STORAGE_BASE_CPU_H
#define STORAGE_BASE_CPU_H

#include "storage/base/attrs.h"
#include "storage/base/err.h"

enum cpu_level {
    CPU_SCALAR, /* What every CPU of this architecture has. */
    CPU_AVX2,   /* x86-64: AVX2, FMA, BMI1, BMI2, LZCNT */
    CPU_AVX512, /* x86-64: those, and AVX-512 F, DQ, CD, BW, VL */
    CPU_LEVELS
};

/** The level to use. */
enum cpu_level cpu_level(void);

/** The best level of this CPU. */
enum cpu_level cpu_level_max(void);

const char *cpu_level_name(enum cpu_level level);

/**
 * Use this level from now on.
 *
 * Errors   ERR_INVALID: there is no such level, or this CPU does not have it
 * Thread   before other threads start, or in tests
 */
MUST_CHECK enum err cpu_use(const char *name);

#endif
