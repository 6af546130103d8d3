/*
 * Runs of a catalog from anybody. The header's sum is made right first, because no fuzzer guesses
 * it; then all that is in the run is asked for, and it is merged with itself moved behind it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/crc32c.h"
#include "storage/catalog_build.h"
#include "tests/support/mem_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { ASKED_MAX = 64 }; /* Series: more of them say nothing new. */

/* The bytes with a right header, as if they began with series `first`. */
static struct catalog_run *open_run(const uint8_t *data, size_t size, uint32_t first)
{
    struct catalog_run_header header;
    struct catalog_run *run = NULL;
    uint8_t *bytes = malloc(size + 1);

    CHECK(bytes != NULL);
    memcpy(bytes, data, size);
    if (size >= sizeof header) {
        memcpy(&header, bytes, sizeof header);
        header.magic = CATALOG_RUN_MAGIC;
        header.version = CATALOG_RUN_VERSION;
        header.shard = 0;
        header.size = size;
        header.first = first;
        header.crc = crc32c(0, (const uint8_t *)&header + 8, sizeof header - 8);
        memcpy(bytes, &header, sizeof header);
    }
    return catalog_run_open(bytes, size, 0, NULL, &run) == ERR_OK ? run : NULL;
}

static void ask(const struct catalog_run *run)
{
    char key[CATALOG_KEY_ROOM];

    for (uint32_t at = 0; at < run->header.count && at < ASKED_MAX; at++) {
        size_t size = catalog_run_key(run, at, key);
        uint32_t found;

        (void)catalog_run_table(run, at);
        CHECK(size <= KEY_SIZE_MAX);
        found = catalog_run_find(run, (struct slice){key, size}, key_hash(key, size));
        CHECK(found == CATALOG_RUN_NONE || found < run->header.count);
    }
    for (uint32_t name = 0; name < run->header.names; name++) {
        struct catalog_values_walk walk;
        struct slice value;

        catalog_values_seek(&walk, &run->names[name].values, 0);
        while (catalog_values_next(&walk, &value))
            (void)key_hash(value.data, value.size);
        (void)catalog_values_lower_bound(&run->names[name].values, (struct slice){"m", 1}, &walk);
    }
}

static void merge(struct catalog_run *const *runs)
{
    struct mem_disk *disk = mem_disk_new();
    const struct disk *table = mem_disk_table(disk);
    struct catalog_run_header header;
    struct file *file;

    CHECK(table->open(table->ctx, "./a", FILE_WRITE | FILE_CREATE, &file) == ERR_OK);
    (void)(catalog_merge(runs, 2, table, file, NULL, &header) == ERR_OK);
    table->close(file);
    mem_disk_free(disk);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct catalog_run *runs[2] = {open_run(data, size, 0), NULL};

    if (runs[0] != NULL) {
        ask(runs[0]);
        runs[1] = open_run(data, size, runs[0]->header.count);
        if (runs[1] != NULL)
            merge(runs);
    }
    catalog_run_unref(runs[0]);
    catalog_run_unref(runs[1]);
    return 0;
}
