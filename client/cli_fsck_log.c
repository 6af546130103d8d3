#include <inttypes.h>
#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/cli_fsck.h"
#include "replication/log.h"
#include "replication/log_format.h"

enum { PATH_SIZE = 4096 };

struct lookout {
    const struct disk *disk;
    const char *dir;
    uint32_t files;
    bool known;
    struct log_file_header header; /* Of some file that has a good one. */
};

/* ---- Whose log it is ----------------------------------------------------------------------- */

static enum err read_header(const struct lookout *lookout, const char *name,
                            struct log_file_header *ret_header)
{
    static alignas(LOG_ALIGN) uint8_t page[LOG_ALIGN];
    char path[PATH_SIZE];
    struct file *file;
    enum err err;

    (void)snprintf(path, sizeof path, "%s/%s", lookout->dir, name);
    err = lookout->disk->open(lookout->disk->ctx, path, FILE_READ, &file);
    if (err != ERR_OK)
        return err;
    err = lookout->disk->read(file, 0, page, sizeof page);
    lookout->disk->close(file);
    return err == ERR_OK ? log_file_header_get(page, ret_header) : err;
}

static void look_at(void *arg, const char *name)
{
    struct lookout *lookout = arg;
    const char *ending = strrchr(name, '.');

    if (ending == NULL || strcmp(ending, ".log") != 0)
        return;
    lookout->files++;
    if (!lookout->known)
        lookout->known = read_header(lookout, name, &lookout->header) == ERR_OK;
}

/* ---- Replaying ----------------------------------------------------------------------------- */

static enum err replay(void *arg, const struct log_record *record)
{
    struct cli_fsck_log *log = arg;
    struct cli_fsck_group *group = &log->groups[record->group];

    log->records++;
    if (record->group >= log->group_count)
        log->group_count = record->group + 1;
    if (record->kind == LOG_INSTALL) {
        group->snapshot = record->index;
        group->last = record->index;
    } else if (record->kind == LOG_SNAPSHOT && record->index > group->snapshot) {
        group->snapshot = record->index;
        group->last = group->last > record->index ? group->last : record->index;
    } else if (record->kind == LOG_ENTRY && record->index > group->snapshot) {
        group->last = record->index;
    }
    return ERR_OK;
}

void cli_fsck_log_fini(struct cli_fsck_log *log)
{
    free(log->groups);
    *log = (struct cli_fsck_log){0};
}

enum err cli_fsck_log_check(const struct disk *disk, const char *dir, uint32_t groups_max,
                            struct damage_sink *sink, struct cli_fsck_log *ret_log)
{
    struct lookout lookout = {.disk = disk, .dir = dir};
    struct cli_fsck_log log = {0};
    struct log_options options = {
        .disk = disk, .dir = dir, .groups = groups_max, .file_bytes = LOG_FILE_BYTES_MIN};
    uint64_t end;
    enum err err = disk->list(disk->ctx, dir, look_at, &lookout);

    if (err != ERR_OK || lookout.files == 0) {
        damage_report(sink, dir, DAMAGE_NOWHERE, "missing, or there is no file in it");
        return ERR_OK;
    }
    if (!lookout.known) {
        damage_report(sink, dir, 0, "no file in it has a good header");
        return ERR_OK;
    }
    log.groups = calloc(groups_max, sizeof *log.groups);
    if (log.groups == NULL)
        return err_set(ERR_NO_MEMORY, "%" PRIu32 " groups", groups_max);
    options.node = log.node = lookout.header.node;
    options.cluster = log.cluster = lookout.header.cluster;
    err = log_check(&options, replay, &log, &end);
    log.good = err == ERR_OK;
    if (err != ERR_OK && err != ERR_NO_MEMORY) {
        /* "log DIR/NNNNNNNN.log: offset ...": without the first word it begins with the file. */
        if (strncmp(err_detail(), "log ", 4) == 0) {
            struct err_note note;

            err_save(&note, err);
            (void)err_set(err, "%s", note.detail + 4);
            damage_report_error(sink, NULL);
        } else {
            damage_report_error(sink, dir);
        }
        err = ERR_OK;
    }
    if (err != ERR_OK) {
        cli_fsck_log_fini(&log);
        return err;
    }
    *ret_log = log;
    return ERR_OK;
}
