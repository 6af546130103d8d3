#include "replication/log.h"

#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "replication/log_internal.h"
#include "storage/base/check.h"

/* ---- The newest state of each group -------------------------------------------------------- */

static enum err adopt_snapshot(struct log *log, struct log_group *group,
                               const struct log_record *record)
{
    uint32_t size = record->payload == NULL ? 0 : record->payload->size;
    uint8_t *configuration = NULL;

    if (record->kind == LOG_SNAPSHOT && record->index < group->snapshot.snapshot_index)
        return ERR_OK;
    if (size > 0) {
        configuration = malloc(size);
        if (configuration == NULL)
            return err_set(ERR_NO_MEMORY, "log: configuration of group %u", record->group);
        memcpy(configuration, record->payload->bytes, size);
    }
    free(group->configuration);
    group->configuration = configuration;
    group->configuration_size = size;
    group->snapshot = (struct log_state_payload){.snapshot_index = record->index,
                                                 .snapshot_term = record->term,
                                                 .snapshot_aux = record->aux};
    group->known = true;
    log->snapshots_dirty = true;
    return ERR_OK;
}

enum err log_adopt(struct log *log, const struct log_record *record)
{
    struct log_group *group = &log->groups[record->group];

    if (record->kind == LOG_SNAPSHOT || record->kind == LOG_INSTALL)
        return adopt_snapshot(log, group, record);
    if (record->kind == LOG_TERM) {
        group->term = record->term;
        group->vote = record->aux;
        group->known = true;
    }
    return ERR_OK;
}

/* ---- Writing one group --------------------------------------------------------------------- */

static enum err fail(struct log *log, enum err err)
{
    err_save(&log->failed, err);
    return err;
}

static enum err flush_stage(struct log *log)
{
    const struct disk *disk = log->options.disk;
    size_t size = log->staged;

    log->staged = 0;
    if (size == 0)
        return ERR_OK;
    log->dirty = true;
    log->written_bytes += size;
    log->stage_at += size;
    return disk->write(log->current->part.file, log->stage_at - size, log->stage, size);
}

static enum err stage(struct log *log, const void *bytes, size_t size)
{
    const uint8_t *from = bytes;
    enum err err = ERR_OK;

    while (size > 0 && err == ERR_OK) {
        size_t room = LOG_STAGE_BYTES - log->staged;
        size_t piece = size < room ? size : room;

        memcpy(log->stage + log->staged, from, piece);
        log->staged += piece;
        from += piece;
        size -= piece;
        if (log->staged == LOG_STAGE_BYTES)
            err = flush_stage(log);
    }
    return err;
}

static enum err stage_zeros_to(struct log *log, uint64_t offset)
{
    static const uint8_t zeros[LOG_ALIGN];
    uint64_t at = log->stage_at + log->staged;

    return stage(log, zeros, (size_t)(offset - at));
}

static enum err put_record(struct log *log, struct log_record *record)
{
    const void *payload = record->payload == NULL ? NULL : record->payload->bytes;
    uint64_t at = log->stage_at + log->staged;
    struct log_record_header header = {
        .size = record->payload == NULL ? 0 : record->payload->size,
        .group = record->group,
        .kind = record->kind,
        .type = record->type,
        .life = log->life,
        .gap = (uint32_t)(at - log->end),
        .index = record->index,
        .term = record->term,
        .aux = record->aux,
        .position = log_position(log->current->part.number, at),
        .synced = log->synced,
        .file_id = log->current->part.id,
    };
    uint64_t end = at + log_record_bytes(header.size);
    enum err err;

    log_record_seal(&header, payload);
    if ((err = stage(log, &header, sizeof header)) != ERR_OK ||
        (err = stage(log, payload, header.size)) != ERR_OK ||
        (err = stage_zeros_to(log, end)) != ERR_OK)
        return err;

    log->end = end;
    log->claiming = log->synced;
    log->records++;
    record->position = header.position;
    if (record->kind == LOG_ENTRY && record->index > log->current->last_index[record->group])
        log->current->last_index[record->group] = record->index;
    return log_adopt(log, record);
}

/* All of them fit into the current file. */
static enum err write_group(struct log *log, struct log_record *const *records, size_t count)
{
    enum err err = ERR_OK;

    log->stage_at = log->at;
    for (size_t i = 0; i < count && err == ERR_OK; i++)
        err = put_record(log, records[i]);
    if (err == ERR_OK)
        err = stage_zeros_to(log, log_align(log->end));
    if (err == ERR_OK)
        err = flush_stage(log);
    log->staged = 0;
    log->at = log_align(log->end);
    return err;
}

/* ---- Files, one after the other ------------------------------------------------------------ */

static struct buf *state_payload(const struct log_group *group)
{
    struct buf *payload = buf_new((uint32_t)sizeof group->snapshot + group->configuration_size);

    if (payload == NULL)
        return NULL;
    memcpy(payload->bytes, &group->snapshot, sizeof group->snapshot);
    if (group->configuration_size > 0)
        memcpy(payload->bytes + sizeof group->snapshot, group->configuration,
               group->configuration_size);
    payload->size = payload->capacity;
    return payload;
}

static void free_states(struct log_record *states, size_t count)
{
    for (size_t i = 0; i < count; i++)
        buf_unref(states[i].payload);
    free(states);
}

/* The first group's, known or not, begins the life of a start; the first life has no need of it. */
static bool has_state(const struct log *log, uint32_t g)
{
    return log->groups[g].known || (g == 0 && log->life != 0);
}

static uint64_t states_bytes(const struct log *log)
{
    uint64_t bytes = 0;

    for (uint32_t g = 0; g < log->options.groups; g++) {
        const struct log_group *group = &log->groups[g];

        if (has_state(log, g))
            bytes += log_record_bytes(sizeof group->snapshot + group->configuration_size);
    }
    return bytes;
}

/* Write what is known of every group, so that no older file is needed for it. There is room. */
static enum err write_states(struct log *log)
{
    uint32_t groups = log->options.groups;
    struct log_record *states = calloc(groups, sizeof *states);
    struct log_record **list = calloc(groups, sizeof *list);
    size_t count = 0;
    enum err err = ERR_OK;

    if (states == NULL || list == NULL) {
        err = err_set(ERR_NO_MEMORY, "log: states of %u groups", groups);
        goto free_lists;
    }
    for (uint32_t g = 0; g < groups; g++) {
        const struct log_group *group = &log->groups[g];
        struct log_record *state = &states[count];

        if (!has_state(log, g))
            continue;
        *state = (struct log_record){.group = g,
                                     .kind = LOG_STATE,
                                     .index = group->snapshot.snapshot_index,
                                     .term = group->term,
                                     .aux = group->vote,
                                     .payload = state_payload(group)};
        if (state->payload == NULL) {
            err = err_set(ERR_NO_MEMORY, "log: state of group %u", g);
            goto free_lists;
        }
        list[count++] = state;
    }
    if (count > 0)
        err = write_group(log, list, count);

free_lists:
    if (states != NULL)
        free_states(states, count);
    free(list);
    return err;
}

/* The old file is synced before a byte goes into the new one: only the last file can be torn. */
static enum err next_file(struct log *log)
{
    enum err err = log_sync(log);

    if (err == ERR_OK)
        err = log_files_ensure_next(log);
    if (err == ERR_OK && states_bytes(log) > log->options.file_bytes / 4 - LOG_ALIGN)
        err = err_set(ERR_LIMIT, "log %s: files of %" PRIu64 " bytes are too small for %u groups",
                      log->dir, log->options.file_bytes, log->options.groups);
    if (err != ERR_OK)
        return err;
    log_files_advance(log);
    return write_states(log);
}

/* How many of the records fit into what is left of the current file. */
static size_t count_fitting(const struct log *log, struct log_record *const *records, size_t count)
{
    uint64_t room = log->current->part.bytes - log->at;

    for (size_t i = 0; i < count; i++) {
        const struct buf *payload = records[i]->payload;
        uint64_t bytes = log_record_bytes(payload == NULL ? 0 : payload->size);

        if (bytes > room)
            return i;
        room -= bytes;
    }
    return count;
}

/* The current file is damaged. Where no other one is ready the disk may be full: it has to do. */
static bool leaves_early(struct log *log)
{
    return atomic_load_explicit(&log->current->condemned, memory_order_relaxed) &&
           !log_lacks_next(log);
}

static bool fits_nowhere(const struct log *log, const struct log_record *record)
{
    uint32_t size = record->payload == NULL ? 0 : record->payload->size;

    /* A new file starts with states, at most a quarter of it. */
    return log_record_bytes(size) > log->options.file_bytes / 4 * 3 ||
           ((record->kind == LOG_SNAPSHOT || record->kind == LOG_INSTALL) &&
            size > LOG_CONFIGURATION_MAX);
}

enum err log_write(struct log *log, struct log_record *const *records, size_t count)
{
    enum err err = ERR_OK;

    CHECK(!log->finished);
    if (log->failed.code != ERR_OK)
        return err_restore(&log->failed);
    for (size_t i = 0; i < count; i++) {
        CHECK(records[i]->group < log->options.groups);
        CHECK(records[i]->kind >= LOG_ENTRY);
        CHECK(records[i]->kind <= LOG_INSTALL);
        CHECK(records[i]->kind != LOG_STATE);
        if (fits_nowhere(log, records[i]))
            return fail(log, err_set(ERR_TOO_LARGE, "log %s: a record of group %u has %u bytes",
                                     log->dir, records[i]->group, records[i]->payload->size));
    }
    while (count > 0 && err == ERR_OK) {
        size_t fitting = leaves_early(log) ? 0 : count_fitting(log, records, count);

        err = fitting > 0 ? write_group(log, records, fitting) : next_file(log);
        records += fitting;
        count -= fitting;
    }
    return err == ERR_OK ? ERR_OK : fail(log, err);
}

enum err log_sync(struct log *log)
{
    enum err err;

    if (log->failed.code != ERR_OK)
        return err_restore(&log->failed);
    if (log->dirty) {
        err = log->options.disk->sync(log->current->part.file);
        if (err != ERR_OK)
            return fail(log, err);
        log->dirty = false;
        log->claimed = log->claiming;
        log->syncs++;
        log->synced = log_position(log->current->part.number, log->end);
    }

    (void)pthread_mutex_lock(&log->lock);
    log->claimed_seen = log->claimed;
    log->stats.written_bytes = log->written_bytes;
    log->stats.records = log->records;
    log->stats.syncs = log->syncs;
    log->stats.position = log->synced;
    if (log->snapshots_dirty) {
        log->snapshots_dirty = false;
        for (uint32_t g = 0; g < log->options.groups; g++)
            log->groups[g].snapshot_synced = log->groups[g].snapshot.snapshot_index;
    }
    (void)pthread_mutex_unlock(&log->lock);
    return ERR_OK;
}

/* ---- Reading back, from any thread --------------------------------------------------------- */

/* Read `size` bytes at `from` (both aligned) into new memory behind the `have` bytes of `head`. */
static enum err read_behind(const struct log *log, const struct log_file *file, uint64_t from,
                            size_t size, const uint8_t *head, size_t have, uint8_t **ret_bytes)
{
    uint8_t *bytes = aligned_alloc(LOG_ALIGN, size);
    enum err err;

    if (bytes == NULL)
        return err_set(ERR_NO_MEMORY, "log: read of %zu bytes", size);
    if (have > 0)
        memcpy(bytes, head, have);
    err = log->options.disk->read(file->part.file, from + have, bytes + have, size - have);
    if (err != ERR_OK) {
        free(bytes);
        return err;
    }
    *ret_bytes = bytes;
    return ERR_OK;
}

static enum err damaged(const struct log *log, uint64_t position)
{
    return err_set(ERR_CORRUPT, "log %s/%08" PRIu32 ".log: offset %" PRIu64 ": not the entry",
                   log->dir, log_position_file(position), log_position_offset(position));
}

static enum err read_entry(const struct log *log, const struct log_file *file, uint64_t position,
                           uint32_t group, uint64_t index, struct buf **ret_payload)
{
    enum { FIRST_READ = 64 * 1024 };
    uint64_t offset = log_position_offset(position);
    uint64_t from = offset / LOG_ALIGN * LOG_ALIGN;
    size_t skip = (size_t)(offset - from);
    size_t have, need;
    struct log_record_header header;
    struct buf *payload = NULL;
    uint8_t *bytes, *more;
    enum err err;

    if (offset + sizeof header > file->part.bytes)
        return damaged(log, position);
    have = file->part.bytes - from < FIRST_READ ? (size_t)(file->part.bytes - from) : FIRST_READ;
    err = read_behind(log, file, from, have, NULL, 0, &bytes);
    if (err != ERR_OK)
        return err;

    memcpy(&header, bytes + skip, sizeof header);
    err = damaged(log, position);
    if (!log_record_plausible(&header, position, file->part.id, file->part.bytes - offset) ||
        header.kind != LOG_ENTRY || header.group != group || header.index != index)
        goto free_bytes;
    need = (size_t)log_align(skip + sizeof header + header.size);
    if (need > have) {
        err = read_behind(log, file, from, need, bytes, have, &more);
        if (err != ERR_OK)
            goto free_bytes;
        free(bytes);
        bytes = more;
        err = damaged(log, position);
    }
    if (!log_record_intact(&header, bytes + skip + sizeof header))
        goto free_bytes;
    payload = buf_new(header.size);
    if (payload == NULL) {
        err = err_set(ERR_NO_MEMORY, "log: entry of %u bytes", header.size);
        goto free_bytes;
    }
    memcpy(payload->bytes, bytes + skip + sizeof header, header.size);
    payload->size = header.size;
    *ret_payload = payload;
    err = ERR_OK;

free_bytes:
    free(bytes);
    return err;
}

enum err log_read(struct log *log, uint64_t position, uint32_t group, uint64_t index,
                  struct buf **ret_payload)
{
    struct log_file *file = log_files_pin(log, log_position_file(position));
    enum err err;

    if (file == NULL)
        return err_set(ERR_NOT_FOUND,
                       "log %s: file %" PRIu32 " of group %u's entry %" PRIu64 " is gone", log->dir,
                       log_position_file(position), group, index);
    err = read_entry(log, file, position, group, index, ret_payload);
    log_files_unpin(log, file);
    return err;
}

void log_stats(struct log *log, struct log_stats *ret_stats)
{
    (void)pthread_mutex_lock(&log->lock);
    *ret_stats = log->stats;
    ret_stats->files = log->file_count + log->spare_count;
    ret_stats->bytes = log->spare_count * log->options.file_bytes;
    for (uint32_t i = 0; i < log->file_count; i++)
        ret_stats->bytes += log->files[i]->part.bytes;
    ret_stats->direct = log->options.disk->is_direct(log->files[0]->part.file);
    (void)pthread_mutex_unlock(&log->lock);
}

/* ---- Opening and closing ------------------------------------------------------------------- */

static enum err check_options(const struct log_options *options)
{
    if (options->file_bytes < LOG_FILE_BYTES_MIN || options->file_bytes > LOG_FILE_BYTES_MAX ||
        options->file_bytes % LOG_ALIGN != 0)
        return err_set(ERR_INVALID,
                       "log: files of %" PRIu64 " bytes: not a multiple of %d from %d to %d",
                       options->file_bytes, LOG_ALIGN, LOG_FILE_BYTES_MIN, LOG_FILE_BYTES_MAX);
    if (strlen(options->dir) + LOG_PATH_ROOM > PATH_MAX)
        return err_set(ERR_INVALID, "log: the path %.64s... is too long", options->dir);
    return ERR_OK;
}

static enum err log_new(const struct log_options *options, struct log **ret_log)
{
    struct log *log = calloc(1, sizeof *log);

    if (log == NULL)
        return err_set(ERR_NO_MEMORY, "log: %zu bytes", sizeof *log);
    (void)pthread_mutex_init(&log->lock, NULL);
    (void)pthread_cond_init(&log->prepared, NULL);
    log->options = *options;
    log->dir = strdup(options->dir);
    log->groups = calloc(options->groups, sizeof *log->groups);
    log->stage = aligned_alloc(LOG_ALIGN, LOG_STAGE_BYTES);
    if (log->dir == NULL || log->groups == NULL || log->stage == NULL) {
        log_close(log);
        return err_set(ERR_NO_MEMORY, "log: %d bytes and %u groups", LOG_STAGE_BYTES,
                       options->groups);
    }
    log->options.dir = log->dir;
    *ret_log = log;
    return ERR_OK;
}

/* What recovery replayed may still be in the page cache only (the process died, not the machine):
 * it is synced before anything claims so. The states then make older files dispensable. */
static enum err settle(struct log *log)
{
    enum err err;

    log->dirty = true;
    if ((err = log_sync(log)) != ERR_OK || (err = log_end_remove(log)) != ERR_OK)
        return err;
    if (states_bytes(log) <= log->current->part.bytes - log->at)
        err = write_states(log);
    else
        err = next_file(log);
    return err == ERR_OK ? log_sync(log) : fail(log, err);
}

enum err log_open(const struct log_options *options, log_replay_cb replay, void *arg,
                  struct log **ret_log)
{
    struct log *log = NULL;
    enum err err = check_options(options);

    if (err == ERR_OK)
        err = log_new(options, &log);
    if (err != ERR_OK)
        return err;
    if ((err = log_recovery_run(log, replay, arg)) != ERR_OK || (err = settle(log)) != ERR_OK) {
        struct err_note note;

        err_save(&note, err);
        log_close(log);
        return err_restore(&note);
    }
    *ret_log = log;
    return ERR_OK;
}

enum err log_check(const struct log_options *options, log_replay_cb replay, void *arg,
                   uint64_t *ret_end)
{
    struct log *log = NULL;
    struct err_note note;
    enum err err = check_options(options);

    if (err == ERR_OK)
        err = log_new(options, &log);
    if (err != ERR_OK)
        return err;
    err = log_recovery_run(log, replay, arg);
    if (err == ERR_OK)
        *ret_end = log->synced; /* Recovery takes all that counts as synced. */
    err_save(&note, err);
    log_close(log);
    return err_restore(&note);
}

void log_close(struct log *log)
{
    log_files_fini(log);
    for (uint32_t g = 0; log->groups != NULL && g < log->options.groups; g++)
        free(log->groups[g].configuration);
    free(log->groups);
    free(log->stage);
    free(log->dir);
    (void)pthread_cond_destroy(&log->prepared);
    (void)pthread_mutex_destroy(&log->lock);
    free(log);
}
