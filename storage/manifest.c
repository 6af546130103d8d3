#include "storage/manifest.h"

#include <stdlib.h>
#include <string.h>

#include "storage/base/crc32c.h"
#include "storage/base/twin.h"
#include "storage/block/tombstone.h"
#include "storage/marks.h"

enum {
    CRC_AT = 4,
    SUMMED_FROM = 8,
    SIZE_AT = 16,
    SEGMENT_SIZE = 11 * 8 + 2 * 4, /* Bytes of one segment. */
};

void manifest_fini(struct manifest *manifest)
{
    free(manifest->segments);
    bytes_fini(&manifest->marks);
    bytes_fini(&manifest->tombstones);
    bytes_fini(&manifest->producers);
    *manifest = (struct manifest){0};
}

enum err manifest_add(struct manifest *manifest, const struct segment_info *info)
{
    uint32_t count = manifest->segment_count;
    struct segment_info *segments;

    if (count >= MANIFEST_SEGMENTS_MAX)
        return err_set(ERR_LIMIT, "%u segments, the most there can be", count);
    segments = realloc(manifest->segments, (count + 1) * sizeof *segments);
    if (segments == NULL)
        return err_set(ERR_NO_MEMORY, "%u segments", count + 1);
    segments[count] = *info;
    manifest->segments = segments;
    manifest->segment_count++;
    return ERR_OK;
}

/* ---- Bytes --------------------------------------------------------------------------------- */

static void put_segment(const struct segment_info *info, struct bytes *out)
{
    bytes_put_u64(out, info->number);
    bytes_put_u64(out, info->first_index);
    bytes_put_u64(out, info->last_index);
    bytes_put_u32(out, info->database);
    bytes_put_u64(out, (uint64_t)info->window_first_ns);
    bytes_put_u64(out, (uint64_t)info->window_last_ns);
    bytes_put_u64(out, info->size);
    bytes_put_u64(out, info->rows);
    bytes_put_u64(out, info->points);
    bytes_put_u64(out, (uint64_t)info->time_min_ns);
    bytes_put_u64(out, (uint64_t)info->time_max_ns);
    bytes_put_u64(out, info->hash);
    bytes_put_u32(out, info->groups);
}

static struct segment_info get_segment(struct reader *reader)
{
    struct segment_info info = {0};

    info.number = reader_u64(reader);
    info.first_index = reader_u64(reader);
    info.last_index = reader_u64(reader);
    info.database = reader_u32(reader);
    info.window_first_ns = (int64_t)reader_u64(reader);
    info.window_last_ns = (int64_t)reader_u64(reader);
    info.size = reader_u64(reader);
    info.rows = reader_u64(reader);
    info.points = reader_u64(reader);
    info.time_min_ns = (int64_t)reader_u64(reader);
    info.time_max_ns = (int64_t)reader_u64(reader);
    info.hash = reader_u64(reader);
    info.groups = reader_u32(reader);
    return info;
}

void manifest_encode(const struct manifest *manifest, struct bytes *out)
{
    size_t start = out->size;
    uint64_t size;
    uint32_t crc;

    bytes_put_u32(out, MANIFEST_MAGIC);
    bytes_put_u32(out, 0);
    bytes_put_u16(out, MANIFEST_VERSION);
    bytes_put_u16(out, 0);
    bytes_put_u32(out, manifest->shard);
    bytes_put_u64(out, 0);
    bytes_put_u64(out, manifest->sealed_index);
    bytes_put_u64(out, manifest->next_segment);
    bytes_put_u64(out, manifest->chain);
    bytes_put_u64(out, manifest->rows);
    bytes_put_u64(out, manifest->points);
    catalog_files_encode(&manifest->catalog, out);
    bytes_put_u32(out, manifest->segment_count);
    for (uint32_t i = 0; i < manifest->segment_count; i++)
        put_segment(&manifest->segments[i], out);
    bytes_put_u32(out, (uint32_t)manifest->marks.size);
    bytes_put(out, manifest->marks.data, manifest->marks.size);
    bytes_put_u32(out, (uint32_t)manifest->tombstones.size);
    bytes_put(out, manifest->tombstones.data, manifest->tombstones.size);
    bytes_put(out, manifest->producers.data, manifest->producers.size);
    if (out->failed)
        return;
    size = out->size - start;
    memcpy(out->data + start + SIZE_AT, &size, sizeof size);
    crc = crc32c(0, out->data + start + SUMMED_FROM, size - SUMMED_FROM);
    memcpy(out->data + start + CRC_AT, &crc, sizeof crc);
}

/* Segments of one seal follow each other, with the same indexes; the next ones' are higher. */
static bool is_next(const struct segment_info *before, const struct segment_info *info)
{
    bool same_seal =
        info->first_index == before->first_index && info->last_index == before->last_index;

    return info->number > before->number && info->first_index > 0 &&
           (same_seal || info->first_index > before->last_index) &&
           info->last_index >= info->first_index && info->time_min_ns <= info->time_max_ns &&
           info->window_first_ns <= info->time_min_ns && info->time_max_ns <= info->window_last_ns;
}

static enum err get_segments(struct manifest *manifest, uint32_t count, struct reader *reader)
{
    struct segment_info before = {0};

    if (count > reader_left(reader) / SEGMENT_SIZE)
        return err_set(ERR_CORRUPT, "%u segments do not fit", count);
    for (uint32_t i = 0; i < count; i++) {
        struct segment_info info = get_segment(reader);
        enum err err;

        if (!is_next(&before, &info) || info.number >= manifest->next_segment ||
            info.last_index > manifest->sealed_index)
            return err_set(ERR_CORRUPT, "segment %u of %u: out of order", i, count);
        before = info;
        err = manifest_add(manifest, &info);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}

/* A list with its size in front, which is kept in its stored form. */
static enum err get_list(struct reader *reader, enum err (*check)(const void *bytes, size_t size),
                         struct bytes *ret_list)
{
    uint32_t size = reader_u32(reader);
    const uint8_t *bytes = reader_take(reader, size);
    enum err err = reader->bad ? err_set(ERR_CORRUPT, "a list of %u bytes does not fit", size)
                               : check(bytes, size);

    if (err != ERR_OK)
        return err;
    bytes_put(ret_list, bytes, size);
    return ret_list->failed ? err_set(ERR_NO_MEMORY, "a list of %u bytes", size) : ERR_OK;
}

static enum err get_body(struct manifest *manifest, struct reader *reader)
{
    uint32_t segments;
    enum err err;

    manifest->sealed_index = reader_u64(reader);
    manifest->next_segment = reader_u64(reader);
    manifest->chain = reader_u64(reader);
    manifest->rows = reader_u64(reader);
    manifest->points = reader_u64(reader);
    err = catalog_files_decode(reader, &manifest->catalog);
    if (err != ERR_OK)
        return err;
    segments = reader_u32(reader);
    if (reader->bad)
        return err_set(ERR_CORRUPT, "it ends early");
    err = get_segments(manifest, segments, reader);
    if (err == ERR_OK)
        err = get_list(reader, marks_check, &manifest->marks);
    if (err == ERR_OK)
        err = get_list(reader, tombstones_check, &manifest->tombstones);
    if (err != ERR_OK)
        return err;
    bytes_put(&manifest->producers, reader->at, reader_left(reader));
    return manifest->producers.failed ? err_set(ERR_NO_MEMORY, "producers") : ERR_OK;
}

enum err manifest_check(const void *bytes, size_t size)
{
    struct reader reader = reader_on(bytes, size);
    uint32_t magic = reader_u32(&reader);
    uint32_t crc = reader_u32(&reader);

    if (size < SUMMED_FROM || magic != MANIFEST_MAGIC ||
        crc != crc32c(0, (const uint8_t *)bytes + SUMMED_FROM, size - SUMMED_FROM))
        return err_set(ERR_CORRUPT, "%zu bytes are not a manifest, or are damaged", size);
    return ERR_OK;
}

enum err manifest_decode(const void *bytes, size_t size, struct manifest *ret_manifest)
{
    struct reader reader = reader_on(bytes, size);
    struct manifest manifest = {0};
    uint16_t version;
    enum err err = manifest_check(bytes, size);

    if (err != ERR_OK)
        return err;
    (void)reader_u64(&reader); /* Magic and sum. */
    version = reader_u16(&reader);
    if (version != MANIFEST_VERSION)
        return err_set(ERR_VERSION, "written in version %u, this program reads %d", version,
                       MANIFEST_VERSION);
    (void)reader_u16(&reader);
    manifest.shard = reader_u32(&reader);
    if (reader_u64(&reader) != size)
        return err_set(ERR_CORRUPT, "%zu bytes are not what it was written with", size);
    err = get_body(&manifest, &reader);
    if (err != ERR_OK) {
        manifest_fini(&manifest);
        return err;
    }
    *ret_manifest = manifest;
    return ERR_OK;
}

/* ---- Disk ---------------------------------------------------------------------------------- */

enum err manifest_save(const struct manifest *manifest, const struct disk *disk, const char *dir)
{
    struct bytes bytes = {0};
    enum err err;

    manifest_encode(manifest, &bytes);
    if (bytes.failed)
        err = err_set(ERR_NO_MEMORY, "a manifest of %u segments", manifest->segment_count);
    else if (bytes.size > MANIFEST_SIZE_MAX)
        err = err_set(ERR_LIMIT, "a manifest of %zu bytes", bytes.size);
    else
        err = twin_save(disk, dir, MANIFEST_NAME, bytes.data, bytes.size);
    bytes_fini(&bytes);
    return err;
}

enum err manifest_load(const struct disk *disk, const char *dir, uint32_t shard,
                       struct manifest *ret_manifest)
{
    struct manifest manifest = {0};
    enum err err = manifest_load_any(disk, dir, &manifest);

    if (err == ERR_OK && manifest.shard != shard) {
        err = err_set(ERR_CORRUPT, "%s/" MANIFEST_NAME ": it belongs to shard %u", dir,
                      manifest.shard);
        manifest_fini(&manifest);
    }
    if (err == ERR_OK)
        *ret_manifest = manifest;
    return err;
}

enum err manifest_load_any(const struct disk *disk, const char *dir, struct manifest *ret_manifest)
{
    uint8_t *bytes;
    size_t size;
    enum err err =
        twin_load(disk, dir, MANIFEST_NAME, MANIFEST_SIZE_MAX, manifest_check, &bytes, &size);

    if (err != ERR_OK)
        return err;
    err = manifest_decode(bytes, size, ret_manifest);
    free(bytes);
    return err == ERR_OK ? ERR_OK : err_wrap(err, "%s/" MANIFEST_NAME, dir);
}

enum err manifest_verify(const struct disk *disk, const char *dir)
{
    return twin_verify(disk, dir, MANIFEST_NAME, MANIFEST_SIZE_MAX, manifest_check);
}
