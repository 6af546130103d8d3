/*
 * The golden columns on the machine that this runs on, real or emulated: columns FILE
 *
 * Built by tests/cross/run.sh for other architectures, from storage/base and storage/block alone.
 */
#include <stdio.h>

#include "storage/base/cpu.h"
#include "storage/block/block.h"
#include "tests/support/golden_columns.h"

int main(int argc, char **argv)
{
    static unsigned char golden[1 << 20];
    FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
    size_t size;

    if (file == NULL) {
        (void)fprintf(stderr, "usage: columns tests/golden/columns_v2.bin\n");
        return 2;
    }
    size = fread(golden, 1, sizeof golden, file);
    (void)fclose(file);
    for (enum cpu_level level = CPU_SCALAR; level <= cpu_level_max(); level++) {
        const char *fault =
            cpu_use(cpu_level_name(level)) == ERR_OK ? golden_columns_fault(golden, size) : "level";

        if (fault != NULL) {
            (void)fprintf(stderr, "%s: differs: %s\n", cpu_level_name(level), fault);
            return 1;
        }
        (void)printf("%s: %zu bytes are written and read alike\n", cpu_level_name(level), size);
    }
    return 0;
}
