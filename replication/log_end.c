#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "replication/log_internal.h"
#include "storage/base/check.h"
#include "storage/base/log_line.h"

/*
 * An orderly stop leaves word where the log ends; the next start then need not look through what
 * stands behind. The word is gone from the disk before a byte is written there: so a log that ends
 * before it is damaged, and one that ends behind it cannot be.
 */

#define END_FILE "end.mre"

static enum err get_end(const struct log *log, const uint8_t *bytes, size_t size,
                        uint64_t *ret_position)
{
    struct log_end end;
    enum err err = log_end_get(bytes, size, &end);

    if (err == ERR_OK && (end.node != log->options.node || end.cluster != log->options.cluster))
        err = err_set(ERR_INVALID, "it is of node %" PRIu64 " in cluster %016" PRIx64, end.node,
                      end.cluster);
    if (err == ERR_OK)
        *ret_position = end.position;
    return err;
}

uint64_t log_end_read(const struct log *log)
{
    const struct disk *disk = log->options.disk;
    char path[PATH_MAX];
    uint8_t *bytes;
    size_t size;
    uint64_t position = 0;
    enum err err;

    log_files_path_of(log, END_FILE, path);
    err = disk_read_all(disk, path, sizeof(struct log_end), &bytes, &size);
    if (err == ERR_OK) {
        err = get_end(log, bytes, size, &position);
        free(bytes);
    }
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        log_warn("%s says nothing of the log's end, which is looked for: %s", path, err_detail());
    return position;
}

enum err log_end_remove(const struct log *log)
{
    const struct disk *disk = log->options.disk;
    char path[PATH_MAX];
    enum err err;

    log_files_path_of(log, END_FILE, path);
    err = disk->remove(disk->ctx, path);
    if (err != ERR_OK && err != ERR_NOT_FOUND)
        return err;
    /* Also if it is not there: it may have been removed by a process that did not come this far. */
    return disk->sync_dir(disk->ctx, log->dir);
}

enum err log_finish(struct log *log)
{
    uint8_t bytes[sizeof(struct log_end)];
    enum err err;

    CHECK(!log->finished);
    if ((err = log_sync(log)) != ERR_OK)
        return err;
    log->finished = true;
    log_end_put(&(struct log_end){.node = log->options.node,
                                  .cluster = log->options.cluster,
                                  .position = log->synced},
                bytes);
    return disk_replace(log->options.disk, log->dir, END_FILE, bytes, sizeof bytes);
}
