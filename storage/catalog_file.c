#include "storage/catalog_file.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/crc32c.h"
#include "storage/base/metric.h"
#include "storage/base/turnstile.h"
#include "storage/catalog_build.h"

enum { PATH_SIZE = 4096, WINDOW = 1 << 20 };

/* ---- Which files --------------------------------------------------------------------------- */

uint32_t catalog_files_series(const struct catalog_files *files)
{
    const struct catalog_file_info *last;

    if (files->count == 0)
        return 0;
    last = &files->files[files->count - 1];
    return last->first + last->count;
}

void catalog_files_encode(const struct catalog_files *files, struct bytes *out)
{
    bytes_put_u32(out, files->count);
    for (uint32_t i = 0; i < files->count; i++) {
        bytes_put_u32(out, files->files[i].first);
        bytes_put_u32(out, files->files[i].count);
        bytes_put_u64(out, files->files[i].size);
        bytes_put_u32(out, files->files[i].crc);
    }
}

enum err catalog_files_decode(struct reader *reader, struct catalog_files *ret_files)
{
    struct catalog_files files = {.count = reader_u32(reader)};
    uint32_t series = 0;

    if (files.count > CATALOG_FILES_MAX)
        return err_set(ERR_CORRUPT, "%u files of the catalog, at most %d are allowed", files.count,
                       CATALOG_FILES_MAX);
    for (uint32_t i = 0; i < files.count; i++) {
        struct catalog_file_info *info = &files.files[i];

        info->first = reader_u32(reader);
        info->count = reader_u32(reader);
        info->size = reader_u64(reader);
        info->crc = reader_u32(reader);
        if (reader->bad || info->first != series || info->count == 0 ||
            info->count > CATALOG_SERIES_MAX - series)
            return err_set(ERR_CORRUPT, "file %u of %u of the catalog: not behind the one before",
                           i, files.count);
        series += info->count;
    }
    *ret_files = files;
    return ERR_OK;
}

void catalog_file_name(const struct catalog_file_info *info, char ret_name[CATALOG_FILE_NAME_SIZE])
{
    (void)snprintf(ret_name, CATALOG_FILE_NAME_SIZE, "%08" PRIu32 CATALOG_FILE_SUFFIX,
                   info->first + info->count);
}

/* ---- Opening ------------------------------------------------------------------------------- */

/* Sums over the whole file, by reading: an I/O error is an error here, not a signal later. */
static enum err verify(const struct disk *disk, struct file *file,
                       const struct catalog_run_header *header)
{
    uint8_t *window = malloc(WINDOW);
    uint32_t crc = 0;
    enum err err = ERR_OK;

    if (window == NULL)
        return err_set(ERR_NO_MEMORY, "a window of %d bytes", WINDOW);
    for (uint64_t at = sizeof *header; at < header->size && err == ERR_OK;) {
        uint64_t left = header->size - at;
        size_t part = left < WINDOW ? (size_t)left : WINDOW;

        err = disk->read(file, at, window, part);
        if (err == ERR_OK)
            crc = crc32c(crc, window, part);
        at += part;
    }
    free(window);
    if (err == ERR_OK && crc != header->body_crc)
        err = err_set(ERR_CORRUPT, "offset %zu to the end: bad checksum", sizeof *header);
    return err;
}

static enum err check_file(const struct disk *disk, struct file *file, uint32_t shard,
                           const struct catalog_file_info *info)
{
    struct catalog_run_header header;
    uint64_t size = 0;
    enum err err = disk->size(file, &size);

    if (err != ERR_OK)
        return err;
    if (size != info->size || size < sizeof header)
        return err_set(ERR_CORRUPT, "%" PRIu64 " bytes, the manifest has %" PRIu64, size,
                       info->size);
    err = disk->read(file, 0, &header, sizeof header);
    if (err == ERR_OK)
        err = catalog_run_check(&header, size, shard);
    if (err == ERR_OK &&
        (header.crc != info->crc || header.first != info->first || header.count != info->count))
        err = err_set(ERR_CORRUPT, "offset 0: a good catalog, but not the one in the manifest");
    return err == ERR_OK ? verify(disk, file, &header) : err;
}

static enum err open_file(const struct disk *disk, struct file *file, uint32_t shard,
                          const struct catalog_file_info *info, struct catalog_run **ret_run)
{
    const void *bytes = NULL;
    enum err err = check_file(disk, file, shard, info);

    if (err == ERR_OK)
        err = disk->map(file, info->size, &bytes);
    return err == ERR_OK ? catalog_run_open(bytes, info->size, shard, disk, ret_run) : err;
}

enum err catalog_file_verify(const struct disk *disk, const char *path, uint32_t shard,
                             const struct catalog_file_info *info)
{
    struct file *file;
    enum err err = disk->open(disk->ctx, path, FILE_READ, &file);

    if (err == ERR_NOT_FOUND)
        return err_set(ERR_CORRUPT, "%s: missing, the manifest has %u series in it", path,
                       info->count);
    if (err != ERR_OK)
        return err;
    err = check_file(disk, file, shard, info);
    disk->close(file);
    return err == ERR_OK ? ERR_OK : err_wrap(err, "%s", path);
}

enum err catalog_file_open(const struct disk *disk, const char *dir, uint32_t shard,
                           const struct catalog_file_info *info, struct catalog_run **ret_run)
{
    char name[CATALOG_FILE_NAME_SIZE];
    char path[PATH_SIZE];
    struct file *file;
    enum err err;

    catalog_file_name(info, name);
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    err = disk->open(disk->ctx, path, FILE_READ, &file);
    if (err == ERR_NOT_FOUND)
        return err_set(ERR_CORRUPT, "%s: missing, the manifest has %u series in it", path,
                       info->count);
    if (err != ERR_OK)
        return err;
    err = open_file(disk, file, shard, info, ret_run);
    disk->close(file);
    return err == ERR_OK ? ERR_OK : err_wrap(err, "%s", path);
}

/* ---- Writing ------------------------------------------------------------------------------- */

/* How many of the files stay, when so many series come. */
static uint32_t keep(const struct catalog_files *files, uint64_t series)
{
    uint32_t kept = files->count;

    while (kept > 0 && (files->files[kept - 1].count < CATALOG_FILE_SMALL ||
                        files->files[kept - 1].count < CATALOG_FILE_GROWTH * series))
        series += files->files[--kept].count;
    return kept;
}

static enum err write_runs(const struct disk *disk, const char *path,
                           struct catalog_run *const *runs, uint32_t count,
                           const atomic_bool *cancel, struct catalog_run_header *ret_header)
{
    struct file *file;
    enum err err = disk->open(disk->ctx, path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &file);

    if (err != ERR_OK)
        return err;
    if (count == 1) {
        *ret_header = runs[0]->header;
        err = disk->write(file, 0, runs[0]->bytes, runs[0]->header.size);
    } else {
        err = catalog_merge(runs, count, disk, file, cancel, ret_header);
    }
    if (err == ERR_OK)
        err = disk->sync(file);
    disk->close(file);
    return err;
}

static enum err write_file(const struct disk *disk, const char *dir,
                           struct catalog_run *const *runs, uint32_t count,
                           const atomic_bool *cancel, struct catalog_file_info *ret_info)
{
    const struct catalog_run_header *newest = &runs[count - 1]->header;
    struct catalog_run_header header;
    char name[CATALOG_FILE_NAME_SIZE];
    char path[PATH_SIZE], temporary[PATH_SIZE];
    struct err_note note;
    enum err err;

    ret_info->first = runs[0]->header.first;
    ret_info->count = newest->first + newest->count - ret_info->first;
    catalog_file_name(ret_info, name);
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);
    (void)snprintf(temporary, sizeof temporary, "%s/%s.tmp", dir, name);
    err = write_runs(disk, temporary, runs, count, cancel, &header);
    if (err == ERR_OK)
        err = disk->rename(disk->ctx, temporary, path);
    if (err != ERR_OK) {
        err_save(&note, err);
        (void)disk->remove(disk->ctx, temporary); /* If it stays, the next start removes it. */
        return err_wrap(err_restore(&note), "%s", path);
    }
    metric_add(METRIC_WRITTEN_CATALOG, header.size);
    ret_info->size = header.size;
    ret_info->crc = header.crc;
    return disk->sync_dir(disk->ctx, dir);
}

/* Those behind the first `kept`, and what is new, as one. */
static enum err write_run(const struct disk *disk, const char *dir, uint32_t shard,
                          const struct catalog_view *view, struct catalog_files *files,
                          struct catalog_run *const *runs, uint32_t kept, const atomic_bool *cancel,
                          struct catalog_run **ret_run)
{
    uint32_t series = catalog_files_series(files);
    uint32_t merged = files->count - kept;
    struct catalog_run *inputs[CATALOG_FILES_MAX + 1];
    struct catalog_file_info info;
    enum err err;

    CHECK(kept < CATALOG_FILES_MAX);
    for (uint32_t i = 0; i < merged; i++) {
        inputs[i] = runs[kept + i];
        err = catalog_run_verify(inputs[i]);
        if (err != ERR_OK)
            return err_wrap(err, "%s: the run of the catalog to series %u", dir,
                            inputs[i]->header.first + inputs[i]->header.count);
    }
    err = catalog_build(view, series, view->count, shard, cancel, &inputs[merged]);
    if (err != ERR_OK)
        return err;
    err = write_file(disk, dir, inputs, merged + 1, cancel, &info);
    catalog_run_unref(inputs[merged]);
    if (err == ERR_OK)
        err = catalog_file_open(disk, dir, shard, &info, ret_run);
    if (err != ERR_OK)
        return err;
    files->count = kept + 1;
    files->files[kept] = info;
    return ERR_OK;
}

enum err catalog_file_write(const struct disk *disk, const char *dir, uint32_t shard,
                            const struct catalog_view *view, struct catalog_files *files,
                            struct catalog_run *const *runs, const atomic_bool *cancel,
                            struct catalog_run **ret_run)
{
    uint32_t kept = keep(files, view->count - catalog_files_series(files)), before = 0;
    bool steps_aside;
    enum err err;

    for (uint32_t i = 0; i < kept; i++)
        before += files->files[i].count;
    steps_aside = view->count - before >= CATALOG_FILE_LONG && turnstile_step_aside();
    err = write_run(disk, dir, shard, view, files, runs, kept, cancel, ret_run);
    if (steps_aside)
        turnstile_step_back();
    return err;
}
