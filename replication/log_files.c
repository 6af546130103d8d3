#include "replication/log_internal.h"

#include <inttypes.h>
#include <limits.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/rand.h"

/*
 *            create: zeros, header, sync, rename              log_prepare(): nobody needs it
 *   new.tmp -----------------------------------> NNNNNNNN.log ------------------------------.
 *                                                      ^                                    |
 *                                                      '------- MMMMMMMM.spare <------------'
 *                                     recycle: new header, sync, rename
 *
 * Each arrow ends with a sync of the directory, before the next one starts and before a byte is
 * written into the file: so after a crash the .log files are a row of numbers without holes, and
 * each has its header.
 */

void log_files_path(const struct log *log, uint32_t number, const char *ending, char *path)
{
    (void)snprintf(path, strlen(log->dir) + LOG_PATH_ROOM, "%s/%08" PRIu32 ".%s", log->dir, number,
                   ending);
}

void log_files_path_of(const struct log *log, const char *name, char *path)
{
    (void)snprintf(path, strlen(log->dir) + LOG_PATH_ROOM, "%s/%s", log->dir, name);
}

/* ---- The table ----------------------------------------------------------------------------- */

/* Room for one more element: the array, perhaps moved; NULL, and the array as it was, if there is
 * no memory. */
static void *grow(void *array, uint32_t *capacity, uint32_t count, size_t element)
{
    uint32_t wanted = count < 16 ? 16 : count * 2;
    void *grown;

    if (count < *capacity)
        return array;
    grown = realloc(array, wanted * element);
    if (grown != NULL)
        *capacity = wanted;
    return grown;
}

enum err log_files_open(struct log *log, const struct log_file_header *header, struct file *file)
{
    size_t indexes = log->options.groups * sizeof(uint64_t);
    struct log_file *entry = calloc(1, sizeof *entry + indexes);
    struct log_file **files = NULL;

    if (entry == NULL)
        return err_set(ERR_NO_MEMORY, "log: file %u", header->number);
    entry->part = (struct log_part){
        .number = header->number, .id = header->id, .bytes = header->file_bytes, .file = file};

    (void)pthread_mutex_lock(&log->lock);
    files = grow(log->files, &log->file_capacity, log->file_count, sizeof(struct log_file *));
    if (files != NULL) {
        log->files = files;
        log->files[log->file_count++] = entry;
    }
    (void)pthread_mutex_unlock(&log->lock);

    if (files == NULL) {
        free(entry);
        return err_set(ERR_NO_MEMORY, "log: table of files");
    }
    return ERR_OK;
}

enum err log_files_add_spare(struct log *log, uint32_t number)
{
    uint32_t *spares;

    (void)pthread_mutex_lock(&log->lock);
    spares = grow(log->spares, &log->spare_capacity, log->spare_count, sizeof *log->spares);
    if (spares != NULL) {
        log->spares = spares;
        log->spares[log->spare_count++] = number;
    }
    (void)pthread_mutex_unlock(&log->lock);
    return spares != NULL ? ERR_OK : err_set(ERR_NO_MEMORY, "log: table of spare files");
}

bool log_lacks_next(struct log *log)
{
    bool lacks;

    (void)pthread_mutex_lock(&log->lock);
    lacks = log->current_at + 1 >= log->file_count;
    (void)pthread_mutex_unlock(&log->lock);
    return lacks;
}

void log_files_advance(struct log *log)
{
    (void)pthread_mutex_lock(&log->lock);
    CHECK(log->current_at + 1 < log->file_count);
    log->current->end = log->end;
    log->current = log->files[++log->current_at];
    (void)pthread_mutex_unlock(&log->lock);
    log->at = LOG_ALIGN;
    log->end = LOG_ALIGN;
}

struct log_file *log_files_pin(struct log *log, uint32_t number)
{
    struct log_file *file = NULL;

    (void)pthread_mutex_lock(&log->lock);
    if (number >= log->files[0]->part.number &&
        number - log->files[0]->part.number < log->file_count) {
        file = log->files[number - log->files[0]->part.number];
        file->readers++;
    }
    (void)pthread_mutex_unlock(&log->lock);
    return file;
}

void log_files_unpin(struct log *log, struct log_file *file)
{
    (void)pthread_mutex_lock(&log->lock);
    file->readers--;
    (void)pthread_mutex_unlock(&log->lock);
}

void log_files_fini(struct log *log)
{
    for (uint32_t i = 0; i < log->file_count; i++) {
        log->options.disk->close(log->files[i]->part.file);
        free(log->files[i]);
    }
    free(log->files);
    free(log->spares);
}

/* ---- Making files -------------------------------------------------------------------------- */

/* Give an open file its header and the name under which the log uses it, and add it. Takes the file
 * over, also on failure. */
static enum err put_in_place(struct log *log, struct file *file, const char *path, uint32_t number,
                             uint64_t bytes)
{
    const struct disk *disk = log->options.disk;
    alignas(LOG_ALIGN) uint8_t page[LOG_ALIGN];
    char target[PATH_MAX];
    struct log_file_header header = {.number = number,
                                     .node = log->options.node,
                                     .cluster = log->options.cluster,
                                     .file_bytes = bytes};
    enum err err;

    while (header.id == 0)
        rand_entropy(&header.id, sizeof header.id);
    log_file_header_put(&header, page);
    log_files_path(log, number, "log", target);
    if ((err = disk->write(file, 0, page, sizeof page)) != ERR_OK ||
        (err = disk->sync(file)) != ERR_OK ||
        (err = disk->rename(disk->ctx, path, target)) != ERR_OK ||
        (err = disk->sync_dir(disk->ctx, log->dir)) != ERR_OK ||
        (err = log_files_open(log, &header, file)) != ERR_OK)
        goto close_file;
    return ERR_OK;

close_file:
    disk->close(file);
    return err;
}

/* On a full disk nothing is begun: the attempt would take the last space from everybody else. */
static enum err check_space(const struct log *log, uint64_t bytes)
{
    const struct disk *disk = log->options.disk;
    uint64_t free_bytes, total_bytes;
    enum err err = disk->free_bytes(disk->ctx, log->dir, &free_bytes, &total_bytes);

    if (err != ERR_OK || free_bytes >= bytes)
        return err;
    return err_set(ERR_DISK_FULL,
                   "log %s: the next file needs %" PRIu64 " bytes, %" PRIu64 " are free: free "
                   "space, or shorten the retention",
                   log->dir, bytes, free_bytes);
}

enum err log_files_create(struct log *log, uint32_t number, uint64_t bytes)
{
    static alignas(LOG_ALIGN) const uint8_t zeros[256 * 1024];
    const struct disk *disk = log->options.disk;
    struct err_note note;
    struct file *file;
    char path[PATH_MAX];
    enum err err = check_space(log, bytes);

    if (err != ERR_OK)
        return err;
    log_files_path(log, number, "tmp", path);
    err =
        disk->open(disk->ctx, path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE | FILE_DIRECT, &file);
    if (err != ERR_OK)
        return err;
    /* Zeros are really written: a sync behind a write into space that is only reserved has to
     * commit the file system's journal too, and costs half as much again. */
    for (uint64_t at = 0; at < bytes && err == ERR_OK;) {
        uint64_t left = bytes - at;
        size_t piece = left < sizeof zeros ? (size_t)left : sizeof zeros;

        err = disk->write(file, at, zeros, piece);
        at += piece;
    }
    if (err == ERR_OK)
        return put_in_place(log, file, path, number, bytes);

    err_save(&note, err);
    disk->close(file);
    (void)disk->remove(disk->ctx, path); /* A full disk: give back what was taken. */
    return err_restore(&note);
}

/* Use a spare again. What it holds cannot be mistaken for new records: log_format.h, PLACE. */
static enum err recycle(struct log *log, uint32_t spare, uint32_t number)
{
    const struct disk *disk = log->options.disk;
    struct file *file;
    char path[PATH_MAX];
    uint64_t size;
    enum err err;

    log_files_path(log, spare, "spare", path);
    err = disk->open(disk->ctx, path, FILE_WRITE | FILE_DIRECT, &file);
    if (err != ERR_OK)
        return err;
    err = disk->size(file, &size);
    if (err == ERR_OK && size == log->options.file_bytes)
        return put_in_place(log, file, path, number, size);
    disk->close(file);
    if (err == ERR_OK) /* The size was changed in the configuration. */
        err = disk->remove(disk->ctx, path);
    if (err == ERR_OK)
        err = disk->sync_dir(disk->ctx, log->dir);
    return err != ERR_OK ? err : log_files_create(log, number, log->options.file_bytes);
}

enum err log_files_ensure_next(struct log *log)
{
    uint32_t number, spare = 0;
    enum err err = ERR_OK;

    (void)pthread_mutex_lock(&log->lock);
    while (log->preparing)
        (void)pthread_cond_wait(&log->prepared, &log->lock);
    if (log->current_at + 1 < log->file_count) {
        (void)pthread_mutex_unlock(&log->lock);
        return ERR_OK;
    }
    log->preparing = true;
    number = log->files[log->file_count - 1]->part.number + 1;
    if (log->spare_count > 0)
        spare = log->spares[--log->spare_count];
    (void)pthread_mutex_unlock(&log->lock);

    err = spare != 0 ? recycle(log, spare, number)
                     : log_files_create(log, number, log->options.file_bytes);

    (void)pthread_mutex_lock(&log->lock);
    log->preparing = false;
    (void)pthread_cond_broadcast(&log->prepared);
    (void)pthread_mutex_unlock(&log->lock);
    return err;
}

/* ---- Releasing files ----------------------------------------------------------------------- */

static uint64_t bytes_on_disk(const struct log *log)
{
    uint64_t bytes = log->spare_count * log->options.file_bytes;

    for (uint32_t i = 0; i < log->file_count; i++)
        bytes += log->files[i]->part.bytes;
    return bytes;
}

/* Lock held. Nobody needs the oldest file: not for its entries, and the terms, votes and snapshots
 * in it stand again at the start of the next file, on disk, and a later record claims so: damage
 * to them will be seen as such and not as a torn tail. */
static bool can_release_oldest(const struct log *log)
{
    const struct log_file *oldest = log->files[0];
    bool over = bytes_on_disk(log) > log->options.bytes_max;

    if (log->current_at == 0 || oldest->readers > 0)
        return false;
    if (log->claimed_seen <= log_position(log->files[1]->part.number, LOG_ALIGN))
        return false;
    for (uint32_t g = 0; g < log->options.groups; g++) {
        const struct log_group *group = &log->groups[g];
        uint64_t index = oldest->last_index[g];

        if (index > group->keep_after && !(over && index <= group->snapshot_synced))
            return false;
    }
    return true;
}

/* Lock held. Take the oldest file out of the table; the caller owns it. */
static struct log_file *take_oldest(struct log *log)
{
    struct log_file *oldest = log->files[0];

    log->file_count--;
    log->current_at--;
    memmove(log->files, log->files + 1, log->file_count * sizeof(struct log_file *));
    return oldest;
}

/* Make a spare of it, or remove it if there is enough already. */
static enum err release(struct log *log, struct log_file *oldest, bool keep)
{
    const struct disk *disk = log->options.disk;
    uint32_t number = oldest->part.number;
    char path[PATH_MAX];
    char target[PATH_MAX];
    enum err err;

    keep =
        keep && oldest->part.bytes == log->options.file_bytes && !atomic_load(&oldest->condemned);
    disk->close(oldest->part.file);
    free(oldest);

    log_files_path(log, number, "log", path);
    log_files_path(log, number, "spare", target);
    err = keep ? disk->rename(disk->ctx, path, target) : disk->remove(disk->ctx, path);
    if (err == ERR_OK)
        err = disk->sync_dir(disk->ctx, log->dir);
    return err == ERR_OK && keep ? log_files_add_spare(log, number) : err;
}

static enum err release_all(struct log *log)
{
    enum err err = ERR_OK;

    while (err == ERR_OK) {
        struct log_file *oldest = NULL;
        bool keep;

        (void)pthread_mutex_lock(&log->lock);
        keep = bytes_on_disk(log) <= log->options.bytes_max;
        if (can_release_oldest(log))
            oldest = take_oldest(log);
        (void)pthread_mutex_unlock(&log->lock);
        if (oldest == NULL)
            break;
        err = release(log, oldest, keep);
    }
    return err;
}

static enum err remove_spares(struct log *log)
{
    const struct disk *disk = log->options.disk;
    enum err err = ERR_OK;

    while (err == ERR_OK) {
        uint32_t spare = 0;
        char path[PATH_MAX];

        (void)pthread_mutex_lock(&log->lock);
        if (log->spare_count > 0)
            spare = log->spares[--log->spare_count];
        (void)pthread_mutex_unlock(&log->lock);
        if (spare == 0)
            break;
        log_files_path(log, spare, "spare", path);
        err = disk->remove(disk->ctx, path);
    }
    return err;
}

enum err log_prepare(struct log *log)
{
    const struct disk *disk = log->options.disk;
    uint64_t free_bytes, total_bytes;
    enum err err;

    if ((err = release_all(log)) != ERR_OK || (err = log_files_ensure_next(log)) != ERR_OK ||
        (err = disk->free_bytes(disk->ctx, log->dir, &free_bytes, &total_bytes)) != ERR_OK)
        return err;
    if (free_bytes >= log->options.reserve_bytes)
        return ERR_OK;
    err = remove_spares(log);
    return err != ERR_OK ? err
                         : err_set(ERR_DISK_FULL,
                                   "log %s: %" PRIu64 " bytes are free, %" PRIu64 " are kept in "
                                   "reserve: free space, or shorten the retention",
                                   log->dir, free_bytes, log->options.reserve_bytes);
}

void log_keep_after(struct log *log, uint32_t group, uint64_t index)
{
    CHECK(group < log->options.groups);
    (void)pthread_mutex_lock(&log->lock);
    if (index > log->groups[group].keep_after)
        log->groups[group].keep_after = index;
    (void)pthread_mutex_unlock(&log->lock);
}
