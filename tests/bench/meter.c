#include "tests/bench/meter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "storage/base/clk.h"
#include "storage/base/file.h"

static const char *bench, *wanted;
static FILE *json;
static const char *between = "[\n";
static char path[4096];

const char *meter_init(const char *name, int argc, char **argv)
{
    const char *rest = NULL;

    bench = name;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            json = i + 1 < argc && argv[i + 1][0] != '-' ? fopen(argv[++i], "w") : stdout;
        else if (strcmp(argv[i], "--case") == 0 && i + 1 < argc)
            wanted = argv[++i];
        else if (rest == NULL)
            rest = argv[i];
    }
    return rest;
}

void meter_fini(void)
{
    if (json == NULL)
        return;
    (void)fprintf(json, "%s", strcmp(between, "[\n") == 0 ? "[]\n" : "\n]\n");
    (void)fclose(json);
}

int meter_wants(const char *name)
{
    return wanted == NULL || strcmp(wanted, name) == 0;
}

void meter_report(const char *name, const char *what, double value, const char *unit)
{
    if (json != stdout) {
        (void)printf("%-8s %-30s %10.2f %s\n", name, what, value, unit);
        (void)fflush(stdout);
    }
    if (json == NULL)
        return;
    (void)fprintf(json,
                  "%s{\"bench\": \"%s\", \"case\": \"%s\", \"what\": \"%s\", \"value\": %.3f, "
                  "\"unit\": \"%s\"}",
                  between, bench, name, what, value, unit);
    between = ",\n";
}

uint64_t meter_cpu_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * (uint64_t)NS_PER_S + (uint64_t)now.tv_nsec;
}

void meter_must(enum err err)
{
    if (err == ERR_OK)
        return;
    (void)fprintf(stderr, "bench.%s: %s: %s\n", bench, err_name(err), err_detail());
    exit(1);
}

const char *meter_make_dir(void)
{
    const char *above = getenv("TMPDIR");

    (void)snprintf(path, sizeof path, "%s/bench-%s-XXXXXX", above == NULL ? "/tmp" : above, bench);
    if (mkdtemp(path) == NULL) {
        perror(path);
        exit(1);
    }
    return path;
}

static void remove_file(void *arg, const char *name)
{
    char file[8192];

    (void)snprintf(file, sizeof file, "%s/%s", (const char *)arg, name);
    (void)(remove(file) == 0);
}

void meter_remove_dir(const char *dir)
{
    meter_must(disk_system()->list(disk_system()->ctx, dir, remove_file, (void *)(uintptr_t)dir));
    (void)remove(dir);
}
