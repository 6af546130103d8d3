#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "storage/base/check.h"
#include "storage/segment.h"
#include "storage/segment_format.h"

struct segment_writer {
    const struct disk *disk;
    struct file *file; /* NULL once it is closed. */
    XXH3_state_t *hash;
    struct segment_info info;
    struct bytes index;
    uint64_t offset;
    char dir[SEGMENT_PATH_SIZE];
    char temporary[SEGMENT_PATH_SIZE];
};

void segment_name(uint64_t number, char ret_name[SEGMENT_NAME_SIZE])
{
    (void)snprintf(ret_name, SEGMENT_NAME_SIZE, "%08" PRIu64 ".mrs", number % 100000000);
}

void segment_writer_free(struct segment_writer *writer)
{
    if (writer == NULL)
        return;
    if (writer->file != NULL)
        writer->disk->close(writer->file);
    (void)XXH3_freeState(writer->hash);
    bytes_fini(&writer->index);
    free(writer);
}

static enum err append(struct segment_writer *writer, const void *bytes, size_t size)
{
    enum err err = writer->disk->write(writer->file, writer->offset, bytes, size);

    if (err != ERR_OK)
        return err_wrap(err, "%s", writer->temporary);
    (void)XXH3_64bits_update(writer->hash, bytes, size);
    writer->offset += size;
    return ERR_OK;
}

static enum err begin(struct segment_writer *writer, uint32_t shard)
{
    const struct disk *disk = writer->disk;
    struct segment_header header = {.magic = SEGMENT_MAGIC,
                                    .version = SEGMENT_VERSION,
                                    .shard = shard,
                                    .number = writer->info.number,
                                    .first_index = writer->info.first_index,
                                    .last_index = writer->info.last_index};
    enum err err;

    if (writer->hash == NULL)
        return err_set(ERR_NO_MEMORY, "%s", writer->temporary);
    (void)XXH3_64bits_reset(writer->hash);
    err = disk->open(disk->ctx, writer->temporary, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE,
                     &writer->file);
    if (err != ERR_OK)
        return err;
    header.crc = segment_header_crc(&header);
    return append(writer, &header, sizeof header);
}

enum err segment_writer_new(const struct disk *disk, const char *dir, uint32_t shard,
                            const struct segment_info *info, struct segment_writer **ret_writer)
{
    struct segment_writer *writer = calloc(1, sizeof *writer);
    char name[SEGMENT_NAME_SIZE];
    enum err err;
    int size;

    if (writer == NULL)
        return err_set(ERR_NO_MEMORY, "a segment writer");
    writer->disk = disk;
    writer->hash = XXH3_createState();
    writer->info = (struct segment_info){.number = info->number,
                                         .first_index = info->first_index,
                                         .last_index = info->last_index,
                                         .time_min_ns = INT64_MAX,
                                         .time_max_ns = INT64_MIN};
    segment_name(info->number, name);
    (void)snprintf(writer->dir, sizeof writer->dir, "%s", dir);
    size = snprintf(writer->temporary, sizeof writer->temporary, "%s/%s.tmp", dir, name);
    if (size < 0 || (size_t)size >= sizeof writer->temporary)
        err = err_set(ERR_INVALID, "the name of folder %.64s... is too long", dir);
    else
        err = begin(writer, shard);
    if (err != ERR_OK) {
        segment_writer_free(writer);
        return err;
    }
    *ret_writer = writer;
    return ERR_OK;
}

enum err segment_writer_block(struct segment_writer *writer, const void *block, size_t size,
                              uint32_t table_min, uint32_t table_max)
{
    struct segment_info *info = &writer->info;
    struct segment_block entry = {.offset = writer->offset,
                                  .size = (uint32_t)size,
                                  .table_min = table_min,
                                  .table_max = table_max};
    struct block_view view;
    enum err err = block_view(block, size, false, &view);

    CHECK(err == ERR_OK); /* Made by us a moment ago. */
    CHECK(view.header.fresh == 0);
    CHECK(view.header.known > 0);
    if (info->blocks >= SEGMENT_BLOCKS_MAX)
        return err_set(ERR_LIMIT, "%s: over %d blocks", writer->temporary, SEGMENT_BLOCKS_MAX);
    entry.rows = view.header.rows;
    entry.points = view.header.points;
    entry.time_min_ns = view.header.time_min_ns;
    entry.time_max_ns = view.header.time_max_ns;
    entry.series_min = entry.series_max = block_view_id(&view, 0);
    for (uint32_t place = 1; place < view.header.known; place++) {
        uint32_t id = block_view_id(&view, place);

        entry.series_min = id < entry.series_min ? id : entry.series_min;
        entry.series_max = id > entry.series_max ? id : entry.series_max;
    }
    entry.header_crc = view.header.header_crc;
    err = append(writer, block, size);
    if (err != ERR_OK)
        return err;
    bytes_put(&writer->index, &entry, sizeof entry);
    if (writer->index.failed)
        return err_set(ERR_NO_MEMORY, "%s: index of %u blocks", writer->temporary, info->blocks);
    info->blocks++;
    info->rows += entry.rows;
    info->points += entry.points;
    if (entry.time_min_ns < info->time_min_ns)
        info->time_min_ns = entry.time_min_ns;
    if (entry.time_max_ns > info->time_max_ns)
        info->time_max_ns = entry.time_max_ns;
    return ERR_OK;
}

static enum err write_end(struct segment_writer *writer)
{
    struct segment_info *info = &writer->info;
    struct segment_footer footer = {.magic = SEGMENT_FOOTER_MAGIC,
                                    .version = SEGMENT_VERSION,
                                    .blocks = info->blocks,
                                    .index_offset = writer->offset,
                                    .index_crc = crc32c(0, writer->index.data, writer->index.size),
                                    .number = info->number,
                                    .rows = info->rows,
                                    .points = info->points,
                                    .time_min_ns = info->time_min_ns,
                                    .time_max_ns = info->time_max_ns};
    enum err err = append(writer, writer->index.data, writer->index.size);

    if (err != ERR_OK)
        return err;
    info->hash = XXH3_64bits_digest(writer->hash);
    info->size = writer->offset + sizeof footer;
    footer.hash = info->hash;
    footer.size = info->size;
    footer.crc = segment_footer_crc(&footer);
    return append(writer, &footer, sizeof footer);
}

enum err segment_writer_finish(struct segment_writer *writer, struct segment_info *ret_info)
{
    const struct disk *disk = writer->disk;
    char path[SEGMENT_PATH_SIZE];
    enum err err;

    CHECK(writer->info.blocks > 0);
    err = write_end(writer);
    if (err == ERR_OK)
        err = disk->sync(writer->file);
    disk->close(writer->file);
    writer->file = NULL;
    if (err != ERR_OK)
        return err;
    /* Without the ".tmp" at its end. */
    (void)snprintf(path, sizeof path, "%.*s", (int)strlen(writer->temporary) - 4,
                   writer->temporary);
    err = disk->rename(disk->ctx, writer->temporary, path);
    if (err == ERR_OK)
        err = disk->sync_dir(disk->ctx, writer->dir);
    if (err == ERR_OK)
        *ret_info = writer->info;
    return err;
}
