#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>

#include "replication/log_internal.h"

/* ---- One file ------------------------------------------------------------------------------ */

static enum err damaged(const struct log *log, uint32_t number, uint64_t offset, const char *what)
{
    return err_set(ERR_CORRUPT, "log %s/%08" PRIu32 ".log: offset %" PRIu64 ": %s", log->dir,
                   number, offset, what);
}

static enum err check_header(const struct log *log, struct log_reader *reader,
                             const struct log_part *part)
{
    struct log_file_header header;
    enum err err = log_reader_load(reader, part, 0);

    if (err != ERR_OK)
        return err;
    if (log_file_header_get(log_reader_at(reader, 0), &header) != ERR_OK || header.id != part->id ||
        header.number != part->number || header.file_bytes != part->bytes ||
        header.node != log->options.node || header.cluster != log->options.cluster)
        return damaged(log, part->number, 0, "the file's header is damaged");
    return ERR_OK;
}

static enum err check_zeros(const struct log *log, struct log_reader *reader,
                            const struct log_part *part, uint64_t from, uint64_t to)
{
    enum err err = ERR_OK;

    for (; from < to; from++) {
        err = log_reader_load(reader, part, from);
        if (err != ERR_OK)
            return err;
        if (*log_reader_at(reader, from) != 0)
            return damaged(log, part->number, from, "between two records not all is zero");
    }
    return ERR_OK;
}

/* The records up to `end`, where the last one ended. */
static enum err check_records(const struct log *log, struct log_reader *reader,
                              const struct log_part *part, uint64_t end)
{
    uint64_t at = LOG_ALIGN;
    enum err err = ERR_OK;

    while (at < end && err == ERR_OK) {
        struct log_record_header header;
        uint64_t offset;
        bool found;

        err = log_reader_next(reader, part, at, &header, &found);
        if (err != ERR_OK)
            return err;
        if (!found)
            return damaged(log, part->number, at, "the record is damaged");
        offset = log_position_offset(header.position);
        err = check_zeros(log, reader, part, at, offset);
        at = offset + log_record_bytes(header.size);
        if (err == ERR_OK)
            err = check_zeros(log, reader, part, offset + sizeof header + header.size, at);
    }
    if (err == ERR_OK && at != end)
        return damaged(log, part->number, end, "the last record does not end here");
    return err == ERR_OK ? check_zeros(log, reader, part, end, log_align(end)) : err;
}

static enum err check_file(const struct log *log, const struct disk *disk,
                           const struct log_part *pinned, uint64_t end)
{
    struct log_part part = *pinned;
    uint8_t *window = aligned_alloc(LOG_ALIGN, LOG_WINDOW_BYTES);
    struct log_reader reader;
    char path[PATH_MAX];
    enum err err;

    if (window == NULL)
        return err_set(ERR_NO_MEMORY, "log: a window of %d bytes", LOG_WINDOW_BYTES);
    log_reader_init(&reader, disk, window);
    log_files_path(log, part.number, "log", path);
    err = disk->open(disk->ctx, path, FILE_READ, &part.file);
    if (err == ERR_OK) {
        err = check_header(log, &reader, &part);
        if (err == ERR_OK)
            err = check_records(log, &reader, &part, end);
        disk->close(part.file);
    }
    log_reader_fini(&reader);
    free(window);
    return err == ERR_END ? damaged(log, part.number, part.bytes, "the file is too short") : err;
}

/* ---- From any thread ----------------------------------------------------------------------- */

void log_range(struct log *log, uint32_t *ret_first, uint32_t *ret_current)
{
    (void)pthread_mutex_lock(&log->lock);
    *ret_first = log->files[0]->part.number;
    *ret_current = log->files[log->current_at]->part.number;
    (void)pthread_mutex_unlock(&log->lock);
}

/* Where what was synced of the file ends. */
static uint64_t end_of(struct log *log, const struct log_file *file)
{
    uint64_t end;

    (void)pthread_mutex_lock(&log->lock);
    end = file->end;
    if (end == 0) /* It is written now, or begun and not yet synced, or still empty. */
        end = log_position_file(log->stats.position) == file->part.number
                  ? log_position_offset(log->stats.position)
                  : LOG_ALIGN;
    (void)pthread_mutex_unlock(&log->lock);
    return end;
}

enum err log_verify(struct log *log, const struct disk *disk, uint32_t number)
{
    struct log_file *file = log_files_pin(log, number);
    enum err err;

    if (file == NULL)
        return err_set(ERR_NOT_FOUND, "log %s: file %" PRIu32 " is gone", log->dir, number);
    err = check_file(log, disk, &file->part, end_of(log, file));
    log_files_unpin(log, file);
    return err;
}

void log_condemn(struct log *log, uint32_t number)
{
    struct log_file *file = log_files_pin(log, number);

    if (file == NULL)
        return;
    atomic_store(&file->condemned, true);
    log_files_unpin(log, file);
}

bool log_last_index(struct log *log, uint32_t group, uint32_t number, uint64_t *ret_index)
{
    bool known;

    *ret_index = 0;
    (void)pthread_mutex_lock(&log->lock);
    known = number < log->files[log->current_at]->part.number;
    for (uint32_t i = 0; known && i < log->current_at; i++) {
        const struct log_file *file = log->files[i];

        if (file->part.number <= number && file->last_index[group] > *ret_index)
            *ret_index = file->last_index[group];
    }
    (void)pthread_mutex_unlock(&log->lock);
    return known;
}
