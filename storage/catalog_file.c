#include "storage/catalog_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/crc32c.h"

enum {
    PATH_SIZE = 4096,
    /* Read at a time: a whole chunk always fits. */
    WINDOW = 2 * CATALOG_CHUNK,
    STORED_MIN = 3, /* Bytes of a key with its size: two empty names. */
};
static_assert((size_t)WINDOW >= sizeof(struct catalog_chunk_header) + CATALOG_CHUNK,
              "loading goes on by at least one chunk for each window");

static uint32_t header_crc(const struct catalog_file_header *header)
{
    return crc32c(0, &header->version,
                  sizeof *header - offsetof(struct catalog_file_header, version));
}

static uint32_t chunk_crc(const struct catalog_chunk_header *header, const void *keys)
{
    uint32_t crc =
        crc32c(0, &header->size, sizeof *header - offsetof(struct catalog_chunk_header, size));

    return crc32c(crc, keys, header->size);
}

static void path_of(const char *dir, char *ret_path)
{
    (void)snprintf(ret_path, PATH_SIZE, "%s/%s", dir, CATALOG_FILE_NAME);
}

/* ---- Appending ----------------------------------------------------------------------------- */

static enum err write_header(const struct disk *disk, struct file *file, uint32_t shard)
{
    struct catalog_file_header header = {
        .magic = CATALOG_FILE_MAGIC, .version = CATALOG_FILE_VERSION, .shard = shard};

    header.crc = header_crc(&header);
    return disk->write(file, 0, &header, sizeof header);
}

static enum err write_chunks(const struct disk *disk, struct file *file, uint32_t shard,
                             const struct catalog_view *view, uint32_t from, uint32_t to,
                             uint64_t *size)
{
    while (from < to) {
        uint32_t next = 0;
        struct slice keys = catalog_stored(view->catalog, from, to, &next);
        struct catalog_chunk_header header = {.magic = CATALOG_CHUNK_MAGIC,
                                              .size = (uint32_t)keys.size,
                                              .count = next - from,
                                              .first_id = from,
                                              .shard = shard,
                                              .offset = *size};
        enum err err;

        header.crc = chunk_crc(&header, keys.data);
        err = disk->write(file, *size, &header, sizeof header);
        if (err == ERR_OK)
            err = disk->write(file, *size + sizeof header, keys.data, keys.size);
        if (err != ERR_OK)
            return err;
        *size += sizeof header + keys.size;
        from = next;
    }
    return ERR_OK;
}

enum err catalog_file_append(const struct disk *disk, const char *dir, uint32_t shard,
                             uint64_t size, const struct catalog_view *view, uint32_t from,
                             uint32_t to, uint64_t *ret_size)
{
    unsigned flags = size == 0 ? FILE_WRITE | FILE_CREATE | FILE_TRUNCATE : FILE_WRITE;
    bool fresh = size == 0;
    char path[PATH_SIZE];
    struct file *file;
    enum err err;

    CHECK(to <= view->count);
    path_of(dir, path);
    err = disk->open(disk->ctx, path, flags, &file);
    if (err != ERR_OK)
        return err;
    if (fresh) {
        err = write_header(disk, file, shard);
        size = sizeof(struct catalog_file_header);
    }
    if (err == ERR_OK)
        err = write_chunks(disk, file, shard, view, from, to, &size);
    if (err == ERR_OK)
        err = disk->sync(file);
    disk->close(file);
    if (err == ERR_OK && fresh)
        err = disk->sync_dir(disk->ctx, dir);
    if (err != ERR_OK)
        return err_wrap(err, "%s: appending series %u to %u", path, from, to);
    *ret_size = size;
    return ERR_OK;
}

/* ---- Loading ------------------------------------------------------------------------------- */

static enum err check_header(const struct catalog_file_header *header, uint32_t shard)
{
    if (header->magic != CATALOG_FILE_MAGIC || header->crc != header_crc(header))
        return err_set(ERR_CORRUPT, "offset 0: not the header of a catalog, or damaged");
    if (header->version != CATALOG_FILE_VERSION)
        return err_set(ERR_VERSION, "written in version %u, this program reads %d", header->version,
                       CATALOG_FILE_VERSION);
    if (header->shard != shard)
        return err_set(ERR_CORRUPT, "offset 0: it belongs to shard %u", header->shard);
    return ERR_OK;
}

/* One chunk at file offset `offset`, of which `left` bytes are at hand. */
static enum err load_chunk(struct catalog *catalog, uint32_t shard, uint64_t offset,
                           const uint8_t *bytes, uint64_t left, size_t *ret_used)
{
    struct catalog_chunk_header header;
    enum err err;

    if (left < sizeof header)
        return err_set(ERR_CORRUPT, "offset %" PRIu64 ": %" PRIu64 " bytes are no chunk", offset,
                       left);
    memcpy(&header, bytes, sizeof header);
    if (header.magic != CATALOG_CHUNK_MAGIC || header.size > CATALOG_CHUNK ||
        header.size > left - sizeof header)
        return err_set(ERR_CORRUPT, "offset %" PRIu64 ": not the header of a chunk", offset);
    if (header.crc != chunk_crc(&header, bytes + sizeof header))
        return err_set(ERR_CORRUPT, "offset %" PRIu64 ": bad checksum of a chunk", offset);
    if (header.offset != offset || header.shard != shard ||
        header.first_id != catalog_count(catalog))
        return err_set(ERR_CORRUPT,
                       "offset %" PRIu64 ": the chunk belongs to shard %u, offset %" PRIu64
                       ", series %u",
                       offset, header.shard, header.offset, header.first_id);
    err = catalog_load(catalog, bytes + sizeof header, header.size, header.count);
    if (err != ERR_OK)
        return err_wrap(err, "offset %" PRIu64, offset);
    *ret_used = sizeof header + header.size;
    return ERR_OK;
}

static enum err load_window(struct catalog *catalog, uint32_t shard, uint64_t *offset,
                            const uint8_t *window, size_t filled, bool last)
{
    size_t at = 0;
    size_t used = 0;

    /* Only a window that ends with the file may end in anything but the start of a chunk. */
    while (at < filled &&
           (last || filled - at >= sizeof(struct catalog_chunk_header) + CATALOG_CHUNK)) {
        enum err err = load_chunk(catalog, shard, *offset, window + at, filled - at, &used);

        if (err != ERR_OK)
            return err;
        at += used;
        *offset += used;
    }
    return ERR_OK;
}

static enum err load_chunks(const struct disk *disk, struct file *file, uint32_t shard,
                            uint64_t size, struct catalog *catalog)
{
    uint64_t offset = sizeof(struct catalog_file_header);
    uint8_t *window = malloc(WINDOW);
    enum err err = ERR_OK;

    if (window == NULL)
        return err_set(ERR_NO_MEMORY, "a window of %d bytes", WINDOW);
    while (err == ERR_OK && offset < size) {
        uint64_t left = size - offset;
        size_t part = left < WINDOW ? (size_t)left : WINDOW;

        err = disk->read(file, offset, window, part);
        if (err == ERR_OK)
            err = load_window(catalog, shard, &offset, window, part, part == left);
    }
    free(window);
    return err;
}

static enum err load_file(const struct disk *disk, struct file *file, uint32_t shard, uint64_t size,
                          uint32_t count, struct catalog *catalog)
{
    struct catalog_file_header header;
    uint64_t file_size = 0;
    enum err err = disk->size(file, &file_size);

    if (err != ERR_OK)
        return err;
    if (file_size < size || size < sizeof header || count > size / STORED_MIN)
        return err_set(ERR_CORRUPT, "%" PRIu64 " bytes of the %" PRIu64 " in the manifest",
                       file_size, size);
    err = disk->read(file, 0, &header, sizeof header);
    if (err == ERR_OK)
        err = check_header(&header, shard);
    if (err == ERR_OK)
        err = catalog_expect(catalog, count);
    if (err == ERR_OK)
        err = load_chunks(disk, file, shard, size, catalog);
    if (err == ERR_OK && catalog_count(catalog) != count)
        err = err_set(ERR_CORRUPT, "%u series of the %u in the manifest", catalog_count(catalog),
                      count);
    /* Synced with what is appended next. */
    if (err == ERR_OK && file_size > size)
        err = disk->truncate(file, size);
    return err;
}

enum err catalog_file_load(const struct disk *disk, const char *dir, uint32_t shard, uint64_t size,
                           uint32_t count, struct catalog *catalog)
{
    char path[PATH_SIZE];
    struct file *file;
    enum err err;

    path_of(dir, path);
    err = disk->open(disk->ctx, path, FILE_WRITE, &file);
    if (err == ERR_NOT_FOUND)
        return err_set(ERR_CORRUPT, "%s: missing, the manifest has %u series in it", path, count);
    if (err != ERR_OK)
        return err;
    err = load_file(disk, file, shard, size, count, catalog);
    disk->close(file);
    return err == ERR_OK ? ERR_OK : err_wrap(err, "%s", path);
}
