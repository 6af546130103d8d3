#include "storage/base/dry_disk.h"

/* ---- What reads goes through --------------------------------------------------------------- */

static enum err dry_open(void *ctx, const char *path, unsigned flags, struct file **ret_file)
{
    const struct disk *below = ((const struct dry_disk *)ctx)->below;

    return below->open(below->ctx, path, FILE_READ | (flags & FILE_DIRECT), ret_file);
}

static enum err dry_list(void *ctx, const char *path, void (*each)(void *arg, const char *name),
                         void *arg)
{
    const struct disk *below = ((const struct dry_disk *)ctx)->below;

    return below->list(below->ctx, path, each, arg);
}

static enum err dry_free_bytes(void *ctx, const char *path, uint64_t *ret_free, uint64_t *ret_total)
{
    const struct disk *below = ((const struct dry_disk *)ctx)->below;

    return below->free_bytes(below->ctx, path, ret_free, ret_total);
}

/* ---- What changes something does nothing --------------------------------------------------- */

static enum err dry_write(struct file *file, uint64_t offset, const void *bytes, size_t size)
{
    (void)file, (void)offset, (void)bytes, (void)size;
    return ERR_OK;
}

static enum err dry_sync(struct file *file)
{
    (void)file;
    return ERR_OK;
}

static enum err dry_truncate(struct file *file, uint64_t size)
{
    (void)file, (void)size;
    return ERR_OK;
}

static enum err dry_rename(void *ctx, const char *from, const char *to)
{
    (void)ctx, (void)from, (void)to;
    return ERR_OK;
}

static enum err dry_path(void *ctx, const char *path)
{
    (void)ctx, (void)path;
    return ERR_OK;
}

const struct disk *dry_disk_init(struct dry_disk *dry, const struct disk *below)
{
    dry->below = below;
    dry->table = *below;
    dry->table.ctx = dry;
    dry->table.open = dry_open;
    dry->table.list = dry_list;
    dry->table.free_bytes = dry_free_bytes;
    dry->table.write = dry_write;
    dry->table.sync = dry_sync;
    dry->table.truncate = dry_truncate;
    dry->table.rename = dry_rename;
    dry->table.remove = dry_path;
    dry->table.make_dir = dry_path;
    dry->table.sync_dir = dry_path;
    return &dry->table;
}
