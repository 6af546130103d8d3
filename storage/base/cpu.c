#include "storage/base/cpu.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

static const char *const names[CPU_LEVELS] = {"scalar", "avx2", "avx512"};

static enum cpu_level used;

enum cpu_level cpu_level(void)
{
    return used;
}

const char *cpu_level_name(enum cpu_level level)
{
    return names[level];
}

#if defined(__x86_64__)

/* Not every compiler knows this one by name. */
static bool has_lzcnt(void)
{
    unsigned a, b, c, d;

    return __get_cpuid(0x80000001, &a, &b, &c, &d) != 0 && (c & bit_LZCNT) != 0;
}

enum cpu_level cpu_level_max(void)
{
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
        !__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2") || !has_lzcnt())
        return CPU_SCALAR;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512dq") ||
        !__builtin_cpu_supports("avx512cd") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512vl"))
        return CPU_AVX2;
    return CPU_AVX512;
}

#else

enum cpu_level cpu_level_max(void)
{
    return CPU_SCALAR;
}

#endif

enum err cpu_use(const char *name)
{
    enum cpu_level level = CPU_SCALAR;

    while (level < CPU_LEVELS && strcmp(names[level], name) != 0)
        level++;
    if (level == CPU_LEVELS)
        return err_set(ERR_INVALID, "\"%s\": expected scalar, avx2 or avx512", name);
    if (level > cpu_level_max())
        return err_set(ERR_INVALID, "%s: this CPU has %s at most", name, names[cpu_level_max()]);
    used = level;
    return ERR_OK;
}

__attribute__((constructor)) static void choose_level(void)
{
    const char *name = getenv("MILLRACE_SIMD");

    used = cpu_level_max();
    if (name == NULL || cpu_use(name) == ERR_OK)
        return;
    (void)fprintf(stderr, "MILLRACE_SIMD: %s\n", err_detail());
    _exit(64); /* EX_USAGE */
}
