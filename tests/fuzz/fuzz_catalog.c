/*
 * Catalog files from anybody. Checksums and places of chunks are made right first, because no
 * fuzzer guesses them; then the file is loaded, and what was loaded is asked for.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/crc32c.h"
#include "storage/catalog_file.h"
#include "tests/support/mem_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Returns how many series the chunks claim to have. */
static uint32_t make_right(uint8_t *bytes, size_t size)
{
    struct catalog_file_header header;
    size_t at = sizeof header;
    uint32_t series = 0;

    if (size < sizeof header)
        return 0;
    memcpy(&header, bytes, sizeof header);
    header.crc = crc32c(0, (uint8_t *)&header + 8, sizeof header - 8);
    memcpy(bytes, &header, sizeof header);
    while (size - at >= sizeof(struct catalog_chunk_header)) {
        struct catalog_chunk_header chunk;

        memcpy(&chunk, bytes + at, sizeof chunk);
        if (chunk.size > size - at - sizeof chunk)
            chunk.size = (uint32_t)(size - at - sizeof chunk);
        chunk.first_id = series;
        chunk.shard = 0;
        chunk.offset = at;
        chunk.crc = crc32c(0, (uint8_t *)&chunk + 8, sizeof chunk - 8);
        chunk.crc = crc32c(chunk.crc, bytes + at + sizeof chunk, chunk.size);
        memcpy(bytes + at, &chunk, sizeof chunk);
        series += chunk.count;
        at += sizeof chunk + chunk.size;
    }
    return series;
}

static void ask(const struct catalog *catalog)
{
    struct catalog_view view = catalog_view(catalog);

    for (uint32_t id = 0; id < view.count; id++) {
        struct slice key = catalog_view_key(&view, id);
        struct slice table = catalog_view_table_key(&view, catalog_view_table(&view, id));

        CHECK(catalog_find(catalog, key.data, key.size, key_hash(key.data, key.size)) == id);
        CHECK(table.size <= key.size);
        CHECK(memcmp(table.data, key.data, table.size) == 0);
    }
    for (uint32_t id = 0; id < view.count;) {
        uint32_t next = 0;

        (void)catalog_stored(catalog, id, view.count, &next);
        CHECK(next > id);
        id = next;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mem_disk *disk = mem_disk_new();
    uint8_t *bytes = malloc(size + 1);
    struct catalog *catalog;
    uint32_t series;

    CHECK(bytes != NULL);
    memcpy(bytes, data, size);
    series = make_right(bytes, size);
    mem_disk_put(disk, "./catalog.mrc", bytes, size);
    CHECK(catalog_new(&catalog) == ERR_OK);
    if (catalog_file_load(mem_disk_table(disk), ".", 0, size, series, catalog) == ERR_OK)
        ask(catalog);
    catalog_free(catalog);
    mem_disk_free(disk);
    free(bytes);
    return 0;
}
