#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replication/log_internal.h"
#include "replication/log_read_ahead.h"
#include "storage/base/check.h"

/*
 * One pass over the files, in order. A record is *good* if its checksum fits its place, and *in
 * order* if it also follows on the one before: at once, or at the next multiple of 4096, and it
 * says itself which of the two (gap); and if it is of no earlier life than that one.
 *
 *    in order        in order        bad   good: leftovers       zeros, or the file's earlier use
 *   | r | r | r |   | r | r |     | ~~~~~ | r | r |  ~~~~ | r |
 *                           ^end  ^here the new life begins
 *
 * A good record behind the end that says it was synced beyond the end proves that something there
 * was on disk once: corruption. Without such a proof the bad record was being written when the
 * power went. The leftovers stay where they are: the states of the new life are synced before
 * anything else, and behind them a leftover is of an earlier life.
 */

struct recovery {
    struct log *log;
    log_replay_cb replay;
    void *arg;
    struct log_reader reader; /* Its room is the log's stage. */

    uint64_t said_end;   /* Where an orderly stop says that the log ends; 0: there was none. */
    bool is_new;         /* There were no files: behind the end are zeros. */
    uint32_t current_at; /* The file of the last record in order, and where that one ended. */
    uint64_t end;
};

static enum err corrupt(const struct recovery *recovery, uint32_t number, uint64_t offset,
                        const char *what)
{
    return err_set(ERR_CORRUPT,
                   "log %s/%08" PRIu32 ".log: offset %" PRIu64 ": %s. docs/operations.md says what "
                   "becomes of it; keep the directory of a node that is alone",
                   recovery->log->dir, number, offset, what);
}

/* ---- Which files there are ----------------------------------------------------------------- */

struct listing {
    uint32_t *numbers; /* Of .log files. Owned. */
    uint32_t count;
    uint32_t *spares; /* Of .spare files. Owned. */
    uint32_t spare_count;
    uint32_t *unfinished; /* Of .tmp files. Owned. */
    uint32_t unfinished_count;
    bool no_memory;
};

static void listing_add(struct listing *listing, uint32_t **numbers, uint32_t *count,
                        uint32_t number)
{
    uint32_t *grown = realloc(*numbers, (*count + 1) * sizeof *grown);

    if (grown == NULL) {
        listing->no_memory = true;
        return;
    }
    *numbers = grown;
    (*numbers)[(*count)++] = number;
}

static void listing_each(void *arg, const char *name)
{
    struct listing *listing = arg;
    const char *ending = strchr(name, '.');
    uint64_t number = 0;

    if (ending == NULL || ending - name < 8 || ending - name > 10)
        return; /* Not ours. */
    for (const char *digit = name; digit < ending; digit++) {
        if (*digit < '0' || *digit > '9')
            return;
        number = number * 10 + (uint64_t)(*digit - '0');
    }
    if (number == 0 || number > UINT32_MAX)
        return;
    if (strcmp(ending, ".log") == 0)
        listing_add(listing, &listing->numbers, &listing->count, (uint32_t)number);
    else if (strcmp(ending, ".spare") == 0)
        listing_add(listing, &listing->spares, &listing->spare_count, (uint32_t)number);
    else if (strcmp(ending, ".tmp") == 0)
        listing_add(listing, &listing->unfinished, &listing->unfinished_count, (uint32_t)number);
}

static void listing_fini(struct listing *listing)
{
    free(listing->numbers);
    free(listing->spares);
    free(listing->unfinished);
}

static int compare_numbers(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left;
    uint32_t b = *(const uint32_t *)right;

    return (a > b) - (a < b);
}

/* ---- Opening them -------------------------------------------------------------------------- */

static enum err check_header(const struct recovery *recovery, const struct log_file_header *header,
                             uint32_t number, uint64_t size)
{
    const struct log_options *options = &recovery->log->options;

    if (header->node != options->node || header->cluster != options->cluster)
        return err_set(ERR_INVALID,
                       "log %s/%08" PRIu32 ".log is of node %" PRIu64 " in cluster %016" PRIx64
                       ", this is node %" PRIu64 " in cluster %016" PRIx64
                       ": check node.id and the data directory",
                       options->dir, number, header->node, header->cluster, options->node,
                       options->cluster);
    if (header->number != number)
        return corrupt(recovery, number, 0, "its header has another number");
    if (header->file_bytes != size)
        return corrupt(recovery, number, size, "its size is not what its header says");
    return ERR_OK;
}

/* A file gets its name after its header was synced: one without was damaged, not torn. */
static enum err open_file(struct recovery *recovery, uint32_t number)
{
    struct log *log = recovery->log;
    const struct disk *disk = log->options.disk;
    struct log_file_header header;
    struct file *file;
    char path[PATH_MAX];
    uint64_t size = 0;
    enum err err;

    log_files_path(log, number, "log", path);
    err = disk->open(disk->ctx, path, FILE_WRITE | FILE_DIRECT, &file);
    if (err != ERR_OK)
        return err;
    err = disk->size(file, &size);
    if (err == ERR_OK && size < LOG_ALIGN)
        err = corrupt(recovery, number, size, "the file ends inside its header");
    if (err == ERR_OK)
        err = disk->read(file, 0, recovery->reader.room, LOG_ALIGN);
    if (err == ERR_OK)
        err = log_file_header_get(recovery->reader.room, &header);
    if (err == ERR_CORRUPT)
        err = corrupt(recovery, number, 0, "the file's header is damaged");
    if (err == ERR_OK)
        err = check_header(recovery, &header, number, size);
    if (err == ERR_OK)
        err = log_files_open(log, &header, file);
    if (err != ERR_OK)
        disk->close(file);
    return err;
}

static enum err open_listed(struct recovery *recovery, struct listing *listing)
{
    struct log *log = recovery->log;
    const struct disk *disk = log->options.disk;
    enum err err = ERR_OK;

    for (uint32_t i = 0; i < listing->unfinished_count && err == ERR_OK; i++) {
        char path[PATH_MAX];

        log_files_path(log, listing->unfinished[i], "tmp", path);
        err = disk->remove(disk->ctx, path);
    }
    for (uint32_t i = 0; i < listing->spare_count && err == ERR_OK; i++)
        err = log_files_add_spare(log, listing->spares[i]);
    if (err == ERR_OK && listing->count > 0)
        qsort(listing->numbers, listing->count, sizeof *listing->numbers, compare_numbers);
    for (uint32_t i = 0; i < listing->count && err == ERR_OK; i++) {
        if (i > 0 && listing->numbers[i] != listing->numbers[i - 1] + 1)
            return corrupt(recovery, listing->numbers[i - 1] + 1, 0, "the file is missing");
        err = open_file(recovery, listing->numbers[i]);
    }
    return err;
}

/* The directory's own name has to survive too. */
static enum err make_dir(const struct log *log)
{
    const struct disk *disk = log->options.disk;
    char parent[PATH_MAX];
    char *slash;
    enum err err = disk->make_dir(disk->ctx, log->dir);

    if (err != ERR_OK)
        return err;
    (void)snprintf(parent, sizeof parent, "%s", log->dir);
    slash = strrchr(parent, '/');
    if (slash == NULL)
        (void)snprintf(parent, sizeof parent, ".");
    else
        slash[slash == parent ? 1 : 0] = '\0';
    return disk->sync_dir(disk->ctx, parent);
}

static enum err open_files(struct recovery *recovery)
{
    struct log *log = recovery->log;
    const struct disk *disk = log->options.disk;
    struct listing listing = {0};
    enum err err = make_dir(log);

    if (err == ERR_OK)
        err = disk->list(disk->ctx, log->dir, listing_each, &listing);
    if (err == ERR_OK && listing.no_memory)
        err = err_set(ERR_NO_MEMORY, "log: list of files");
    if (err == ERR_OK)
        err = open_listed(recovery, &listing);
    if (err == ERR_OK && listing.count == 0) {
        /* A small one, so that the first start is quick; log_prepare() makes the next. */
        uint64_t bytes = log->options.file_bytes;

        recovery->is_new = true;
        err = log_files_create(log, 1, bytes < LOG_STAGE_BYTES ? bytes : LOG_STAGE_BYTES);
    }
    listing_fini(&listing);
    return err;
}

/* ---- Replaying them ------------------------------------------------------------------------ */

static enum err replay(struct recovery *recovery, const struct log_record *record)
{
    enum err err = log_adopt(recovery->log, record);

    return err == ERR_OK ? recovery->replay(recovery->arg, record) : err;
}

static bool state_is_known(const struct log_group *group, const struct log_record *record,
                           const struct log_state_payload *snapshot, const uint8_t *configuration,
                           uint32_t configuration_size)
{
    return group->term == record->term && group->vote == record->aux &&
           memcmp(&group->snapshot, snapshot, sizeof *snapshot) == 0 &&
           group->configuration_size == configuration_size &&
           (configuration_size == 0 ||
            memcmp(group->configuration, configuration, configuration_size) == 0);
}

/* A LOG_STATE says what older records said. Where those are gone, it is replayed in their place; a
 * LOG_INSTALL as a LOG_SNAPSHOT: the entries that it made void are gone with it. */
static enum err replay_state(struct recovery *recovery, const struct log_record *state)
{
    struct log_group *group = &recovery->log->groups[state->group];
    uint32_t number = log_position_file(state->position);
    uint64_t offset = log_position_offset(state->position);
    struct log_state_payload snapshot;
    struct log_record record = {.group = state->group, .position = state->position};
    const uint8_t *configuration;
    uint32_t size;
    enum err err = ERR_OK;

    if (state->payload == NULL || state->payload->size < sizeof snapshot)
        return corrupt(recovery, number, offset, "a state is too short");
    memcpy(&snapshot, state->payload->bytes, sizeof snapshot);
    configuration = state->payload->bytes + sizeof snapshot;
    size = state->payload->size - (uint32_t)sizeof snapshot;

    if (group->known) {
        if (!state_is_known(group, state, &snapshot, configuration, size))
            return corrupt(recovery, number, offset, "a state contradicts older records");
        return ERR_OK;
    }
    if (state->term > 0) {
        record.kind = LOG_TERM;
        record.term = state->term;
        record.aux = state->aux;
        err = replay(recovery, &record);
    }
    if (err == ERR_OK && snapshot.snapshot_index > 0) {
        record.kind = LOG_SNAPSHOT;
        record.index = snapshot.snapshot_index;
        record.term = snapshot.snapshot_term;
        record.aux = snapshot.snapshot_aux;
        record.payload = buf_new(size);
        if (record.payload == NULL)
            return err_set(ERR_NO_MEMORY, "log: configuration of %" PRIu32 " bytes", size);
        memcpy(record.payload->bytes, configuration, size);
        record.payload->size = size;
        err = replay(recovery, &record);
        buf_unref(record.payload);
    }
    return err;
}

static enum err replay_record(struct recovery *recovery, struct log_file *file,
                              const struct log_record_header *header)
{
    uint64_t offset = log_position_offset(header->position);
    struct log_record record = {.group = header->group,
                                .kind = header->kind,
                                .type = header->type,
                                .index = header->index,
                                .term = header->term,
                                .aux = header->aux,
                                .payload = header->size == 0 ? NULL : recovery->reader.payload,
                                .position = header->position};

    if (header->kind < LOG_ENTRY || header->kind > LOG_INSTALL)
        return corrupt(recovery, file->part.number, offset, "a record of an unknown kind");
    if (header->group >= recovery->log->options.groups)
        return err_set(ERR_INVALID,
                       "log %s/%08" PRIu32 ".log has records of group %" PRIu32
                       ", but only %" PRIu32 " groups are configured",
                       recovery->log->dir, file->part.number, header->group,
                       recovery->log->options.groups);
    if (header->kind == LOG_STATE)
        return replay_state(recovery, &record);
    if (header->kind == LOG_ENTRY && header->index > file->last_index[header->group])
        file->last_index[header->group] = header->index;
    return replay(recovery, &record);
}

/* Replay the file that is current now, to the end of what is in order. */
static enum err replay_file(struct recovery *recovery)
{
    struct log_file *file = recovery->log->files[recovery->current_at];
    struct log_record_header header;
    bool found = false;

    recovery->end = LOG_ALIGN;
    for (;;) {
        enum err err =
            log_reader_next(&recovery->reader, &file->part, recovery->end, &header, &found);

        if (err == ERR_OK && found)
            err = replay_record(recovery, file, &header);
        if (err != ERR_OK || !found)
            return err;
        recovery->end = log_position_offset(header.position) + log_record_bytes(header.size);
    }
}

static uint64_t end_of(const struct recovery *recovery)
{
    return log_position(recovery->log->files[recovery->current_at]->part.number, recovery->end);
}

/* Go through the files as long as the next one has begun. It was begun after this one was synced,
 * and its first record tells where this one ended. */
static enum err replay_files(struct recovery *recovery)
{
    struct log *log = recovery->log;
    struct log_record_header header;
    bool begun = true;
    enum err err = replay_file(recovery);

    while (err == ERR_OK && recovery->current_at + 1 < log->file_count &&
           end_of(recovery) != recovery->said_end) {
        uint32_t number = log->files[recovery->current_at]->part.number;
        const struct log_file *next = log->files[recovery->current_at + 1];

        err = log_reader_next(&recovery->reader, &next->part, LOG_ALIGN, &header, &begun);
        if (err != ERR_OK || !begun)
            break;
        if (header.synced != end_of(recovery))
            return corrupt(recovery, number, recovery->end,
                           "a damaged record: the next file proves that it was synced");
        log->files[recovery->current_at++]->end = recovery->end;
        err = replay_file(recovery);
    }
    if (err == ERR_OK && recovery->current_at == 0 && recovery->end == LOG_ALIGN &&
        log->files[0]->part.number > 1)
        return corrupt(recovery, log->files[0]->part.number, LOG_ALIGN,
                       "no states, though an older file was released for them");
    if (err == ERR_OK && end_of(recovery) < recovery->said_end)
        return corrupt(recovery, log->files[recovery->current_at]->part.number, recovery->end,
                       "a damaged record: the last stop says that it was synced");
    return err;
}

/* ---- Behind the end ------------------------------------------------------------------------ */

/* The next place from `offset` on where a record might start; the file's size if there is none. */
static enum err find_magic(struct recovery *recovery, const struct log_file *file, uint64_t offset,
                           uint64_t *ret_offset)
{
    while (offset < file->part.bytes) {
        enum err err = log_reader_load(&recovery->reader, &file->part, offset);

        if (err != ERR_OK)
            return err;
        for (; offset < recovery->reader.window_end; offset += 8) {
            uint32_t magic;

            memcpy(&magic, log_reader_at(&recovery->reader, offset), sizeof magic);
            if (magic == LOG_RECORD_MAGIC) {
                *ret_offset = offset;
                return ERR_OK;
            }
        }
    }
    *ret_offset = file->part.bytes;
    return ERR_OK;
}

/* Look for good records behind the end: do they prove corruption? */
static enum err check_file_behind(struct recovery *recovery, const struct log_file *file,
                                  uint64_t from)
{
    uint64_t end = end_of(recovery);

    for (;;) {
        struct log_record_header header;
        bool good;
        enum err err = find_magic(recovery, file, from, &from);

        if (err != ERR_OK || from == file->part.bytes)
            return err;
        err = log_reader_try(&recovery->reader, &file->part, from, &header, &good);
        if (err != ERR_OK)
            return err;
        if (good && header.synced > end)
            return corrupt(recovery, log_position_file(end), recovery->end,
                           "a damaged record: a later one proves that it was synced");
        from += good ? log_record_bytes(header.size) : 8;
    }
}

static enum err check_behind(struct recovery *recovery)
{
    const struct log *log = recovery->log;
    enum err err = ERR_OK;

    if (end_of(recovery) == recovery->said_end)
        return ERR_OK;
    err = check_file_behind(recovery, log->files[recovery->current_at], recovery->end);
    for (uint32_t i = recovery->current_at + 1; i < log->file_count && err == ERR_OK; i++)
        err = check_file_behind(recovery, log->files[i], LOG_ALIGN);
    return err;
}

enum err log_recovery_run(struct log *log, log_replay_cb replay_cb, void *arg)
{
    struct recovery recovery = {.log = log, .replay = replay_cb, .arg = arg};
    enum err err;

    log_reader_init(&recovery.reader, log->options.disk, log->stage);
    err = open_files(&recovery);
    if (err == ERR_OK)
        recovery.said_end = log_end_read(log);
    if (err == ERR_OK && log->options.read_ahead)
        recovery.reader.ahead = log_read_ahead_start(log);
    if (err == ERR_OK)
        err = replay_files(&recovery);
    if (err == ERR_OK)
        err = check_behind(&recovery);
    /* The headers of all files were read, and this was not: it is the place, not the disk. */
    if (err == ERR_IO && recovery.reader.unreadable)
        err = err_wrap(ERR_CORRUPT, "log %s cannot be read", log->dir);
    log_read_ahead_stop(recovery.reader.ahead);
    log_reader_fini(&recovery.reader);
    if (err != ERR_OK)
        return err;

    log->current_at = recovery.current_at;
    log->current = log->files[recovery.current_at];
    log->end = recovery.end;
    log->at = log_align(recovery.end);
    log->synced = log_position(log->current->part.number, log->end);
    log->life = recovery.is_new ? 0 : (uint16_t)(recovery.reader.life + 1);
    return ERR_OK;
}
