#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/segment.h"
#include "storage/segment_format.h"

struct segment {
    _Atomic uint32_t refs;
    const struct disk *disk;
    struct file *file;
    struct segment_info info;
    struct segment_block *blocks; /* Owned: info.blocks. */
    char path[];
};

/* ---- Opening ------------------------------------------------------------------------------- */

static enum err check_size(struct segment *segment)
{
    const struct segment_info *info = &segment->info;
    uint64_t index_size = (uint64_t)info->blocks * sizeof *segment->blocks;
    uint64_t size = 0;
    enum err err = segment->disk->size(segment->file, &size);

    if (err != ERR_OK)
        return err;
    if (size != info->size || info->blocks == 0 || info->blocks > SEGMENT_BLOCKS_MAX ||
        size < sizeof(struct segment_header) + index_size + sizeof(struct segment_footer))
        return err_set(ERR_CORRUPT,
                       "%" PRIu64 " bytes, the manifest says %" PRIu64 " and %u blocks", size,
                       info->size, info->blocks);
    return ERR_OK;
}

static enum err check_header(struct segment *segment, uint32_t shard)
{
    const struct segment_info *info = &segment->info;
    struct segment_header header;
    enum err err = segment->disk->read(segment->file, 0, &header, sizeof header);

    if (err != ERR_OK)
        return err;
    if (header.magic != SEGMENT_MAGIC || header.crc != segment_header_crc(&header))
        return err_set(ERR_CORRUPT, "offset 0: not the header of a segment, or damaged");
    if (header.version != SEGMENT_VERSION)
        return err_set(ERR_VERSION, "written in version %u, this program reads %d", header.version,
                       SEGMENT_VERSION);
    if (header.shard != shard || header.number != info->number ||
        header.first_index != info->first_index || header.last_index != info->last_index)
        return err_set(ERR_CORRUPT,
                       "offset 0: it is segment %" PRIu64 " of shard %u, not %" PRIu64 " of %u",
                       header.number, header.shard, info->number, shard);
    return ERR_OK;
}

static enum err check_footer(struct segment *segment, struct segment_footer *footer)
{
    const struct segment_info *info = &segment->info;
    uint64_t offset = info->size - sizeof *footer;
    enum err err = segment->disk->read(segment->file, offset, footer, sizeof *footer);

    if (err != ERR_OK)
        return err;
    if (footer->magic != SEGMENT_FOOTER_MAGIC || footer->crc != segment_footer_crc(footer))
        return err_set(ERR_CORRUPT, "offset %" PRIu64 ": the footer is damaged", offset);
    if (footer->number != info->number || footer->size != info->size ||
        footer->hash != info->hash || footer->blocks != info->blocks ||
        footer->rows != info->rows || footer->points != info->points ||
        footer->index_offset != offset - (uint64_t)info->blocks * sizeof(struct segment_block))
        return err_set(ERR_CORRUPT,
                       "offset %" PRIu64 ": the footer is not the one that the manifest knows",
                       offset);
    return ERR_OK;
}

/* The blocks stand back to back from the header to the index, and add up to the footer's sums. */
static enum err check_index(const struct segment *segment, const struct segment_footer *footer)
{
    uint64_t offset = sizeof(struct segment_header);
    uint64_t rows = 0;

    for (uint32_t i = 0; i < footer->blocks; i++) {
        const struct segment_block *block = &segment->blocks[i];

        if (block->offset != offset || block->size < sizeof(struct block_header) ||
            block->series_min > block->series_max || block->table_min > block->table_max ||
            block->time_min_ns > block->time_max_ns)
            return err_set(ERR_CORRUPT, "offset %" PRIu64 ": the index of block %u is wrong",
                           footer->index_offset + i * sizeof *block, i);
        offset += block->size;
        rows += block->rows;
    }
    if (offset != footer->index_offset || rows != footer->rows)
        return err_set(ERR_CORRUPT, "offset %" PRIu64 ": the index does not add up",
                       footer->index_offset);
    return ERR_OK;
}

static enum err read_index(struct segment *segment)
{
    const struct segment_info *info = &segment->info;
    uint64_t index_size = (uint64_t)info->blocks * sizeof *segment->blocks;
    struct segment_footer footer;
    enum err err = check_footer(segment, &footer);

    if (err != ERR_OK)
        return err;
    segment->blocks = malloc(index_size);
    if (segment->blocks == NULL)
        return err_set(ERR_NO_MEMORY, "index of %u blocks", info->blocks);
    err = segment->disk->read(segment->file, footer.index_offset, segment->blocks, index_size);
    if (err != ERR_OK)
        return err;
    if (crc32c(0, segment->blocks, index_size) != footer.index_crc)
        return err_set(ERR_CORRUPT, "offset %" PRIu64 ": bad checksum of the index",
                       footer.index_offset);
    return check_index(segment, &footer);
}

enum err segment_open(const struct disk *disk, const char *dir, uint32_t shard,
                      const struct segment_info *info, struct segment **ret_segment)
{
    struct segment *segment = calloc(1, sizeof *segment + SEGMENT_PATH_SIZE);
    char name[SEGMENT_NAME_SIZE];
    enum err err;

    if (segment == NULL)
        return err_set(ERR_NO_MEMORY, "a segment");
    atomic_init(&segment->refs, 1);
    segment->disk = disk;
    segment->info = *info;
    segment_name(info->number, name);
    (void)snprintf(segment->path, SEGMENT_PATH_SIZE, "%s/%s", dir, name);
    err = disk->open(disk->ctx, segment->path, FILE_READ, &segment->file);
    if (err == ERR_NOT_FOUND)
        err = err_set(ERR_CORRUPT, "missing, the manifest has %" PRIu64 " rows in it", info->rows);
    if (err == ERR_OK)
        err = check_size(segment);
    if (err == ERR_OK)
        err = check_header(segment, shard);
    if (err == ERR_OK)
        err = read_index(segment);
    if (err != ERR_OK) {
        err = err_wrap(err, "%s", segment->path);
        segment_unref(segment);
        return err;
    }
    *ret_segment = segment;
    return ERR_OK;
}

struct segment *segment_ref(struct segment *segment)
{
    (void)atomic_fetch_add_explicit(&segment->refs, 1, memory_order_relaxed);
    return segment;
}

void segment_unref(struct segment *segment)
{
    uint32_t before;

    if (segment == NULL)
        return;
    /* Release: our reads are over. Acquire by the last holder: so are everybody else's. */
    before = atomic_fetch_sub_explicit(&segment->refs, 1, memory_order_acq_rel);
    CHECK(before >= 1);
    if (before > 1)
        return;
    if (segment->file != NULL)
        segment->disk->close(segment->file);
    free(segment->blocks);
    free(segment);
}

/* ---- Reading ------------------------------------------------------------------------------- */

const struct segment_info *segment_info(const struct segment *segment)
{
    return &segment->info;
}

uint32_t segment_blocks(const struct segment *segment)
{
    return segment->info.blocks;
}

const struct segment_block *segment_block(const struct segment *segment, uint32_t at)
{
    CHECK(at < segment->info.blocks);
    return &segment->blocks[at];
}

/* The block that stands at `offset`: the index is sorted by it. */
static const struct segment_block *find_block(const struct segment *segment, uint64_t offset)
{
    uint32_t low = 0;
    uint32_t high = segment->info.blocks - 1;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (segment->blocks[middle].offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    CHECK(segment->blocks[low].offset == offset);
    return &segment->blocks[low];
}

enum err segment_read(struct segment *segment, uint64_t offset, struct bytes *room,
                      struct block_view *ret_view)
{
    const struct segment_block *block = find_block(segment, offset);
    struct block_view view;
    enum err err;

    bytes_clear(room);
    if (bytes_add(room, block->size) == NULL)
        return err_set(ERR_NO_MEMORY, "%s: a block of %u bytes", segment->path, block->size);
    err = segment->disk->read(segment->file, offset, room->data, block->size);
    if (err == ERR_END)
        err = err_set(ERR_CORRUPT, "the file has become shorter");
    if (err == ERR_OK)
        err = block_view(room->data, room->size, true, &view);
    if (err == ERR_OK && (view.header.header_crc != block->header_crc || view.header.fresh != 0 ||
                          view.header.known == 0))
        err = err_set(ERR_CORRUPT, "a good block, but not the one of the index");
    if (err != ERR_OK)
        return err_wrap(err, "%s: block at offset %" PRIu64, segment->path, offset);
    *ret_view = view;
    return ERR_OK;
}
