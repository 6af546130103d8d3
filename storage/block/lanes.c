#include "storage/block/lanes.h"

/* Each is lanes_kernels.c, compiled for that level. */
extern const struct lanes_kernels lanes_kernels_scalar;

#if defined(__x86_64__)

extern const struct lanes_kernels lanes_kernels_avx2;
extern const struct lanes_kernels lanes_kernels_avx512;

static const struct lanes_kernels *const tables[CPU_LEVELS] = {
    [CPU_SCALAR] = &lanes_kernels_scalar,
    [CPU_AVX2] = &lanes_kernels_avx2,
    [CPU_AVX512] = &lanes_kernels_avx512,
};

#else

static const struct lanes_kernels *const tables[CPU_LEVELS] = {
    [CPU_SCALAR] = &lanes_kernels_scalar,
};

#endif

const struct lanes_kernels *lanes_kernels(void)
{
    return tables[cpu_level()];
}

const struct lanes_kernels *lanes_kernels_of(enum cpu_level level)
{
    return tables[level];
}
