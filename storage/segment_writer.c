#include "storage/segment_writer.h"

#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "storage/base/check.h"
#include "storage/segment_format.h"
#include "storage/segment_pack.h"
#include "storage/segment_row.h"

enum {
    GROUP_PACKED = 4 << 20, /* Bytes of packed columns with which a group ends early. */
    SYNC_EVERY = 16 << 20,  /* Bytes that may wait for the disk in the page cache. */
    SAVED_PERCENT_MIN = 3,  /* Less than this, and LZ4 is not worth the reader's time. */
};

struct segment_writer {
    const struct disk *disk;
    struct file *file; /* NULL once it is closed. */
    XXH3_state_t *hash;
    struct segment_info info;
    struct segment_pack pack;
    bool in_table;
    uint32_t id;        /* Series under way; UINT32_MAX: none in this table. */
    bool is_large;      /* It has chunks of its own, */
    uint32_t rows_each; /* of so many rows. */

    struct bytes tables; /* Of the directory. */
    struct bytes groups;
    uint32_t table_count;
    struct bytes frame; /* Scratch: a frame or piece as it is stored. */
    uint64_t offset;    /* Where the file ends. */
    uint64_t synced;
    char dir[SEGMENT_PATH_SIZE];
    char temporary[SEGMENT_PATH_SIZE];
};

void segment_name(uint64_t number, char ret_name[SEGMENT_NAME_SIZE])
{
    (void)snprintf(ret_name, SEGMENT_NAME_SIZE, "%08" PRIu64 ".mrs", number % 100000000);
}

/* ---- The file ------------------------------------------------------------------------------ */

void segment_writer_free(struct segment_writer *writer)
{
    if (writer == NULL)
        return;
    if (writer->file != NULL)
        writer->disk->close(writer->file);
    (void)XXH3_freeState(writer->hash);
    segment_pack_fini(&writer->pack);
    bytes_fini(&writer->tables);
    bytes_fini(&writer->groups);
    bytes_fini(&writer->frame);
    free(writer);
}

static enum err append(struct segment_writer *writer, const void *bytes, size_t size)
{
    enum err err = writer->disk->write(writer->file, writer->offset, bytes, size);

    if (err == ERR_OK) {
        writer->offset += size;
        if (writer->offset - writer->synced >= SYNC_EVERY) {
            err = writer->disk->sync(writer->file);
            writer->synced = writer->offset;
        }
    }
    return err == ERR_OK ? ERR_OK : err_wrap(err, "%s", writer->temporary);
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
    err = disk->open(disk->ctx, writer->temporary,
                     FILE_WRITE | FILE_CREATE | FILE_TRUNCATE | FILE_ONCE, &writer->file);
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

/* ---- Groups -------------------------------------------------------------------------------- */

static enum err no_memory(const struct segment_writer *writer)
{
    return err_set(ERR_NO_MEMORY, "%s: a group of %u rows", writer->temporary,
                   writer->pack.group.rows);
}

static void put_crc(const struct segment_writer *writer, struct bytes *bytes)
{
    uint32_t crc = segment_crc(writer->offset, bytes->data, bytes->size);

    memcpy(bytes->data, &crc, sizeof crc);
}

/* LZ4 of the columns behind the frame's header, or the columns as they are. No columns: nothing. */
static enum err write_frame(struct segment_writer *writer, const struct bytes *columns,
                            uint32_t *ret_size)
{
    struct bytes *frame = &writer->frame;
    int bound = LZ4_compressBound((int)columns->size);
    int size;

    *ret_size = 0;
    if (columns->size == 0)
        return ERR_OK;
    CHECK(columns->size <= SEGMENT_FRAME_MAX);
    (void)XXH3_64bits_update(writer->hash, columns->data, columns->size);
    bytes_clear(frame);
    bytes_put_u32(frame, 0);
    bytes_put_u32(frame, (uint32_t)columns->size);
    if (bytes_add(frame, (size_t)bound) == NULL || frame->failed)
        return no_memory(writer);
    size =
        LZ4_compress_default((const char *)columns->data,
                             (char *)frame->data + SEGMENT_FRAME_HEADER, (int)columns->size, bound);
    if (size <= 0 || (size_t)size > columns->size - columns->size * SAVED_PERCENT_MIN / 100 - 1) {
        size = (int)columns->size;
        memcpy(frame->data + SEGMENT_FRAME_HEADER, columns->data, columns->size);
    }
    frame->size = SEGMENT_FRAME_HEADER + (size_t)size;
    put_crc(writer, frame);
    *ret_size = (uint32_t)frame->size;
    return append(writer, frame->data, frame->size);
}

static enum err write_piece(struct segment_writer *writer, const uint32_t words[3],
                            const struct bytes *entries)
{
    struct bytes *piece = &writer->frame;

    (void)XXH3_64bits_update(writer->hash, entries->data, entries->size);
    bytes_clear(piece);
    bytes_put_u32(piece, 0);
    bytes_put(piece, words, 3 * sizeof *words);
    bytes_put(piece, entries->data, entries->size);
    if (piece->failed)
        return no_memory(writer);
    put_crc(writer, piece);
    return append(writer, piece->data, piece->size);
}

static enum err write_columns(struct segment_writer *writer, uint32_t *sizes)
{
    struct segment_pack *pack = &writer->pack;
    uint32_t columns = SEGMENT_COLUMNS + pack->table.field_count;
    uint32_t words[3] = {0};
    uint64_t offset = writer->offset;
    enum err err = ERR_OK;

    pack->group.offset = writer->offset;
    pack->group.table = writer->table_count - 1;
    for (uint32_t i = 0; i < columns && err == ERR_OK; i++)
        err = write_frame(writer, &pack->columns[i].frame, &sizes[i]);
    pack->group.index_offset = writer->offset;
    if (err != ERR_OK)
        return err;
    words[0] = sizes[0];
    words[1] = sizes[1];
    err = write_piece(writer, words, &pack->columns[1].entries);
    offset += (uint64_t)sizes[0] + sizes[1];
    for (uint32_t i = SEGMENT_COLUMNS; i < columns && err == ERR_OK; i++) {
        words[0] = sizes[i];
        memcpy(&words[1], &offset, sizeof offset);
        err = write_piece(writer, words, &pack->columns[i].entries);
        offset += sizes[i];
    }
    return err;
}

static enum err end_group(struct segment_writer *writer)
{
    struct segment_pack *pack = &writer->pack;
    struct segment_info *info = &writer->info;
    uint32_t *sizes;
    enum err err;

    if (pack->group.chunks == 0)
        return ERR_OK;
    sizes = calloc(SEGMENT_COLUMNS + (size_t)pack->table.field_count, sizeof *sizes);
    if (sizes == NULL)
        return no_memory(writer);
    err = write_columns(writer, sizes);
    free(sizes);
    if (err != ERR_OK)
        return err;
    bytes_put(&writer->groups, &pack->group, sizeof pack->group);
    if (writer->groups.failed)
        return no_memory(writer);
    info->groups++;
    info->rows += pack->group.rows;
    info->points += pack->group.points;
    if (pack->group.time_min_ns < info->time_min_ns)
        info->time_min_ns = pack->group.time_min_ns;
    if (pack->group.time_max_ns > info->time_max_ns)
        info->time_max_ns = pack->group.time_max_ns;
    segment_pack_clear(pack);
    return ERR_OK;
}

static enum err end_chunk(struct segment_writer *writer)
{
    struct segment_pack *pack = &writer->pack;
    enum err err;

    if (pack->rows == 0)
        return ERR_OK;
    err = segment_pack_end_chunk(pack);
    if (err == ERR_OK &&
        (pack->group.chunks == SEGMENT_GROUP_CHUNKS || pack->packed >= GROUP_PACKED))
        err = end_group(writer);
    return err;
}

/* ---- Rows ---------------------------------------------------------------------------------- */

enum err segment_writer_end_table(struct segment_writer *writer)
{
    enum err err;

    if (!writer->in_table)
        return ERR_OK;
    writer->in_table = false;
    err = end_chunk(writer);
    return err == ERR_OK ? end_group(writer) : err;
}

enum err segment_writer_table(struct segment_writer *writer, const struct segment_table *table)
{
    enum err err = segment_writer_end_table(writer);

    if (err != ERR_OK)
        return err;
    if (table->field_count > SEGMENT_FIELDS_MAX)
        return err_set(ERR_LIMIT, "%s: table %u has %u fields, %d is the most", writer->temporary,
                       table->number, table->field_count, SEGMENT_FIELDS_MAX);
    bytes_put_u32(&writer->tables, table->number);
    bytes_put_u32(&writer->tables, table->field_count);
    for (uint32_t i = 0; i < table->field_count; i++) {
        bytes_put_u8(&writer->tables, (uint8_t)table->fields[i].type);
        bytes_put_string(&writer->tables, table->fields[i].name.data, table->fields[i].name.size);
    }
    if (writer->tables.failed)
        return err_set(ERR_NO_MEMORY, "%s: the names of %u fields", writer->temporary,
                       table->field_count);
    writer->table_count++;
    writer->in_table = true;
    writer->id = UINT32_MAX;
    writer->is_large = false;
    return segment_pack_table(&writer->pack, table);
}

enum err segment_writer_series(struct segment_writer *writer, uint32_t id, uint64_t rows)
{
    struct segment_pack *pack = &writer->pack;
    bool was_large = writer->is_large;

    CHECK(writer->in_table);
    if (writer->id == id)
        return ERR_OK;
    CHECK(writer->id == UINT32_MAX || writer->id < id);
    writer->id = id;
    writer->is_large = rows >= pack->rows_max / 2 && rows > 0;
    writer->rows_each = pack->rows_max;
    if (writer->is_large) {
        uint64_t chunks = (rows + pack->rows_max - 1) / pack->rows_max;

        writer->rows_each = (uint32_t)((rows + chunks - 1) / chunks);
    }
    if (was_large || writer->is_large || pack->rows + rows > pack->rows_max)
        return end_chunk(writer);
    return ERR_OK;
}

enum err segment_writer_rows(struct segment_writer *writer, const uint64_t *rows,
                             const char *const *texts, uint32_t count)
{
    struct segment_pack *pack = &writer->pack;

    CHECK(writer->id != UINT32_MAX);
    while (count > 0) {
        uint32_t room, taken = 0;
        enum err err = ERR_OK;

        if (pack->rows >= writer->rows_each)
            err = end_chunk(writer);
        room = writer->rows_each - pack->rows;
        if (err == ERR_OK)
            err = segment_pack_rows(pack, writer->id, rows, texts, count < room ? count : room,
                                    &taken);
        if (err == ERR_OK && taken == 0) /* Long strings: they go to a chunk of their own. */
            err = end_chunk(writer);
        if (err != ERR_OK)
            return err;
        rows += (size_t)taken * segment_row_words(pack->table.field_count);
        count -= taken;
    }
    return ERR_OK;
}

uint64_t segment_writer_count(const struct segment_writer *writer)
{
    return writer->info.rows + writer->pack.group.rows + writer->pack.rows;
}

/* ---- The end ------------------------------------------------------------------------------- */

static enum err write_end(struct segment_writer *writer)
{
    struct segment_info *info = &writer->info;
    struct segment_footer footer = {.magic = SEGMENT_FOOTER_MAGIC,
                                    .version = SEGMENT_VERSION,
                                    .groups = info->groups,
                                    .directory_offset = writer->offset,
                                    .tables = writer->table_count,
                                    .number = info->number,
                                    .rows = info->rows,
                                    .points = info->points,
                                    .time_min_ns = info->time_min_ns,
                                    .time_max_ns = info->time_max_ns};
    enum err err;

    (void)XXH3_64bits_update(writer->hash, writer->tables.data, writer->tables.size);
    footer.directory_crc = crc32c(crc32c(0, writer->tables.data, writer->tables.size),
                                  writer->groups.data, writer->groups.size);
    err = append(writer, writer->tables.data, writer->tables.size);
    if (err == ERR_OK)
        err = append(writer, writer->groups.data, writer->groups.size);
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
    enum err err = segment_writer_end_table(writer);

    CHECK(err != ERR_OK || writer->info.rows > 0);
    if (err == ERR_OK)
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
