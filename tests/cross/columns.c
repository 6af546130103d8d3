/*
 * The golden columns on the machine that this runs on, real or emulated: columns FOLDER
 *
 * Built by tests/cross/run.sh for other architectures, from storage/base and storage/block alone.
 */
#include <stdio.h>

#include "storage/base/cpu.h"
#include "storage/block/block.h"
#include "tests/support/golden_columns.h"

static int check(unsigned codec, const char *folder)
{
    static unsigned char golden[1 << 20];
    char path[4096];
    FILE *file;
    size_t size;

    (void)snprintf(path, sizeof path, "%s/columns_v%u.bin", folder, codec);
    file = fopen(path, "rb");
    if (file == NULL) {
        perror(path);
        return 2;
    }
    size = fread(golden, 1, sizeof golden, file);
    (void)fclose(file);
    for (enum cpu_level level = CPU_SCALAR; level <= cpu_level_max(); level++) {
        const char *fault = cpu_use(cpu_level_name(level)) == ERR_OK
                                ? golden_columns_fault(codec, golden, size)
                                : "level";

        if (fault != NULL) {
            (void)fprintf(stderr, "%s, codec %u: differs: %s\n", cpu_level_name(level), codec,
                          fault);
            return 1;
        }
        (void)printf("%s, codec %u: %zu bytes are written and read alike\n", cpu_level_name(level),
                     codec, size);
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        (void)fprintf(stderr, "usage: columns tests/golden\n");
        return 2;
    }
    for (unsigned codec = 2; codec <= 3; codec++) {
        int result = check(codec, argv[1]);

        if (result != 0)
            return result;
    }
    return 0;
}
