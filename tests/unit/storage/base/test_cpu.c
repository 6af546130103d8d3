/*
 * Levels of CPU: only those that are there can be chosen.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "storage/base/cpu.h"

Test(cpu, uses_the_best_level_unless_told_otherwise)
{
    if (getenv("MILLRACE_SIMD") == NULL)
        cr_assert_eq(cpu_level(), cpu_level_max());
    cr_assert_eq(cpu_use("scalar"), ERR_OK);
    cr_assert_eq(cpu_level(), CPU_SCALAR);
    cr_assert_eq(cpu_use(cpu_level_name(cpu_level_max())), ERR_OK);
    cr_assert_eq(cpu_level(), cpu_level_max());
}

Test(cpu, use_refuses_what_is_unknown_or_not_there)
{
    enum cpu_level before = cpu_level();

    cr_assert_eq(cpu_use("sse9"), ERR_INVALID);
    cr_assert_eq(cpu_use(""), ERR_INVALID);
    for (enum cpu_level level = cpu_level_max() + 1; level < CPU_LEVELS; level++)
        cr_assert_eq(cpu_use(cpu_level_name(level)), ERR_INVALID);
    cr_assert_eq(cpu_level(), before);
}
