/*
 * Segment files from anybody. The checksums of header, index and footer are made right first, and
 * the manifest is taken to say what the file says of itself; then it is opened and every block is
 * read.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/crc32c.h"
#include "storage/segment.h"
#include "tests/support/mem_disk.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct segment_info make_right(uint8_t *bytes, size_t size)
{
    struct segment_info info = {.size = size};
    struct segment_header header;
    struct segment_footer footer;

    if (size < sizeof header + sizeof footer)
        return info;
    memcpy(&header, bytes, sizeof header);
    memcpy(&footer, bytes + size - sizeof footer, sizeof footer);
    header.shard = 0;
    header.number = footer.number = 1;
    header.crc = crc32c(0, (uint8_t *)&header + 8, sizeof header - 8);
    footer.size = size;
    footer.index_offset = size - sizeof footer - (uint64_t)footer.blocks * 64;
    if (footer.index_offset <= size)
        footer.index_crc = crc32c(0, bytes + footer.index_offset, (size_t)footer.blocks * 64);
    footer.crc = crc32c(0, (uint8_t *)&footer + 8, sizeof footer - 8);
    memcpy(bytes, &header, sizeof header);
    memcpy(bytes + size - sizeof footer, &footer, sizeof footer);
    info.number = 1;
    info.first_index = header.first_index;
    info.last_index = header.last_index;
    info.rows = footer.rows;
    info.points = footer.points;
    info.hash = footer.hash;
    info.blocks = footer.blocks;
    return info;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mem_disk *disk = mem_disk_new();
    uint8_t *bytes = malloc(size + 1);
    struct segment_info info;
    struct segment *segment;

    CHECK(bytes != NULL);
    memcpy(bytes, data, size);
    info = make_right(bytes, size);
    mem_disk_put(disk, "./00000001.mrs", bytes, size);
    if (segment_open(mem_disk_table(disk), ".", 0, &info, &segment) == ERR_OK) {
        struct bytes room = {0};
        struct block_view view;

        for (uint32_t i = 0; i < segment_blocks(segment); i++)
            (void)(segment_read(segment, segment_block(segment, i)->offset, &room, &view) ==
                   ERR_OK);
        bytes_fini(&room);
        segment_unref(segment);
    }
    mem_disk_free(disk);
    free(bytes);
    return 0;
}
