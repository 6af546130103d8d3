/*
 * file.h - the disk, through a table of functions, so that tests can lose, tear and fail writes.
 *
 * The product uses disk_system(). The simulator and the fault tests bring their own table: the
 * same calls, with an unsynced tail that can vanish. Every call is blocking: log writer and pool
 * threads only (and start-up), never a worker with its loop running.
 *
 * Errors   ERR_IO with path and errno's text; ERR_DISK_FULL for ENOSPC, EDQUOT, EFBIG;
 *          ERR_NOT_FOUND for ENOENT. A write or sync that failed is never tried again on the same
 *          data: the caller gives the file up.
 */
#ifndef STORAGE_BASE_FILE_H
#define STORAGE_BASE_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/base/attrs.h"
#include "storage/base/err.h"

struct file; /* An open file; what is in it is the table's business. */

enum file_flags {
    FILE_READ = 0,
    FILE_WRITE = 1,
    FILE_CREATE = 2,   /* With FILE_WRITE. Fails if it exists, unless FILE_TRUNCATE is given too. */
    FILE_TRUNCATE = 4, /* With FILE_WRITE. */
    FILE_DIRECT = 8,   /* O_DIRECT where the file system allows it; else as without. */
    FILE_ONCE = 16,    /* Nobody will read it again soon: what was synced leaves the page cache, and
                          so does what was read and had not been there. */
};

struct disk {
    void *ctx;
    enum err (*open)(void *ctx, const char *path, unsigned flags, struct file **ret_file);
    void (*close)(struct file *file);
    /* All of `size` bytes or an error. read: ERR_END if the file ends before. */
    enum err (*read)(struct file *file, uint64_t offset, void *bytes, size_t size);
    enum err (*write)(struct file *file, uint64_t offset, const void *bytes, size_t size);
    enum err (*sync)(struct file *file); /* fdatasync */
    /* The first `size` bytes (not 0, and inside the file) to read from, until unmap(); the file may
     * be closed and removed meanwhile, not changed. Bytes that the disk cannot read later raise
     * SIGBUS. */
    enum err (*map)(struct file *file, uint64_t size, const void **ret_bytes);
    void (*unmap)(const void *bytes, uint64_t size);
    enum err (*size)(struct file *file, uint64_t *ret_size);
    enum err (*truncate)(struct file *file, uint64_t size);
    bool (*is_direct)(const struct file *file);
    enum err (*rename)(void *ctx, const char *from, const char *to);
    enum err (*remove)(void *ctx, const char *path);
    enum err (*make_dir)(void *ctx, const char *path); /* Fine if it exists. */
    enum err (*sync_dir)(void *ctx, const char *path);
    /* Calls `each` for every name in the directory, in any order. */
    enum err (*list)(void *ctx, const char *path, void (*each)(void *arg, const char *name),
                     void *arg);
    enum err (*free_bytes)(void *ctx, const char *path, uint64_t *ret_free, uint64_t *ret_total);
};

/**
 * The real one. Static. Fault points (fault.h): disk.read, disk.write, disk.full, disk.sync.
 * A write over a file size limit raises SIGXFSZ: a program that wants ERR_DISK_FULL instead
 * ignores that signal.
 */
const struct disk *disk_system(void);

/**
 * Write a small file so that it is there wholly or not at all: DIR/NAME.tmp, sync, rename,
 * sync_dir. After an error the old file is still there, except that a failed sync_dir leaves it
 * open which of the two a power loss would leave.
 */
MUST_CHECK enum err disk_replace(const struct disk *disk, const char *dir, const char *name,
                                 const void *bytes, size_t size);

/**
 * Read a whole file of at most `max` bytes.
 *
 * Returns  *ret_bytes, owned by the caller, free(); one NUL that is not counted follows the bytes
 * Errors   ERR_TOO_LARGE, and those of open and read
 */
MUST_CHECK enum err disk_read_all(const struct disk *disk, const char *path, size_t max,
                                  uint8_t **ret_bytes, size_t *ret_size);

#endif
