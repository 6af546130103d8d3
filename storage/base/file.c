#include "storage/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

#include "storage/base/check.h"
#include "storage/base/fault.h"

enum { PAGE = 4096 };

struct file {
    int fd;
    bool direct, once;
    char path[]; /* For messages. */
};

/* ---- Errors -------------------------------------------------------------------------------- */

static enum err code_of(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
        return ERR_DISK_FULL;
    case ENOENT:
        return ERR_NOT_FOUND;
    case ENOMEM:
        return ERR_NO_MEMORY;
    default:
        return ERR_IO;
    }
}

/* "open data/log.0: Permission denied" */
static enum err failed(const char *what, const char *path, int error)
{
    char room[128];

    return err_set(code_of(error), "%s %s: %s", what, path, strerror_r(error, room, sizeof room));
}

static enum err failed_at(const char *what, const struct file *file, uint64_t offset, size_t size,
                          int error)
{
    char room[128];

    return err_set(code_of(error), "%s %s, %zu bytes at offset %" PRIu64 ": %s", what, file->path,
                   size, offset, strerror_r(error, room, sizeof room));
}

/* ---- One open file ------------------------------------------------------------------------- */

static int open_retrying(const char *path, int how)
{
    const mode_t mode = 0640; /* Data is for the service and its group. */
    int fd;

    do {
        fd = open(path, how, mode);
    } while (fd < 0 && errno == EINTR);
    return fd;
}

static enum err system_open(void *ctx, const char *path, unsigned flags, struct file **ret_file)
{
    size_t path_size = strlen(path) + 1;
    struct file *file = malloc(sizeof *file + path_size);
    int how = O_CLOEXEC | (flags & FILE_WRITE ? O_RDWR : O_RDONLY);

    (void)ctx;
    CHECK((flags & FILE_WRITE) || !(flags & (FILE_CREATE | FILE_TRUNCATE)));
    if (file == NULL)
        return err_set(ERR_NO_MEMORY, "open %s", path);
    if (flags & FILE_CREATE)
        how |= flags & FILE_TRUNCATE ? O_CREAT : O_CREAT | O_EXCL;
    if (flags & FILE_TRUNCATE)
        how |= O_TRUNC;

    file->direct = (flags & FILE_DIRECT) != 0;
    file->once = (flags & FILE_ONCE) != 0;
    file->fd = open_retrying(path, file->direct ? how | O_DIRECT : how);
    if (file->fd < 0 && file->direct && errno == EINVAL) {
        /* The file system has no O_DIRECT. Some create the file before they say so. */
        file->direct = false;
        file->fd = open_retrying(path, how & ~O_EXCL);
    }
    if (file->fd < 0) {
        int error = errno;

        free(file);
        return failed("open", path, error);
    }
    memcpy(file->path, path, path_size);
    if (file->once && !(flags & FILE_WRITE)) /* What is read ahead would stay. */
        (void)posix_fadvise(file->fd, 0, 0, POSIX_FADV_RANDOM);
    *ret_file = file;
    return ERR_OK;
}

static void system_close(struct file *file)
{
    /* What must be on disk was synced before; there is nothing left that could fail. */
    (void)close(file->fd);
    free(file);
}

/* Read from the page cache, as far as all of it is there. Else the caller reads it, and lets it go
 * again: what others had there before stays. */
static bool read_cached(const struct file *file, uint64_t offset, void *bytes, size_t size)
{
    struct iovec part = {bytes, size};

    return preadv2(file->fd, &part, 1, (off_t)offset, RWF_NOWAIT) == (ssize_t)size;
}

static enum err system_read(struct file *file, uint64_t offset, void *bytes, size_t size)
{
    size_t done = 0;

    if (FAULT("disk.read"))
        return failed_at("read", file, offset, size, EIO);
    if (file->once && read_cached(file, offset, bytes, size))
        return ERR_OK;
    while (done < size) {
        ssize_t got = pread(file->fd, (uint8_t *)bytes + done, size - done, (off_t)(offset + done));

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return failed_at("read", file, offset, size, errno);
        if (got == 0)
            return err_set(ERR_END, "read %s, %zu bytes at offset %" PRIu64 ": it ends after %zu",
                           file->path, size, offset, done);
        done += (size_t)got;
    }
    if (file->once) {
        uint64_t first = offset / PAGE * PAGE;

        (void)posix_fadvise(file->fd, (off_t)first,
                            (off_t)((offset + size - first + PAGE - 1) / PAGE * PAGE),
                            POSIX_FADV_DONTNEED);
    }
    return ERR_OK;
}

static enum err system_write(struct file *file, uint64_t offset, const void *bytes, size_t size)
{
    size_t done = 0;

    if (FAULT("disk.write"))
        return failed_at("write", file, offset, size, EIO);
    if (FAULT("disk.full"))
        return failed_at("write", file, offset, size, ENOSPC);
    while (done < size) {
        ssize_t put =
            pwrite(file->fd, (const uint8_t *)bytes + done, size - done, (off_t)(offset + done));

        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) /* A write of some bytes never returns 0 without a reason: a full device. */
            return failed_at("write", file, offset, size, put < 0 ? errno : ENOSPC);
        done += (size_t)put;
    }
    return ERR_OK;
}

static enum err system_sync(struct file *file)
{
    int result;

    if (FAULT("disk.sync"))
        return failed("sync", file->path, EIO);
    /* After any other error the kernel may have dropped the dirty pages and forgotten the error:
     * a second sync would return 0 for data that is lost. So only EINTR is tried again. */
    do {
        result = fdatasync(file->fd);
    } while (result < 0 && errno == EINTR);
    if (result != 0)
        return failed("sync", file->path, errno);
    if (file->once) /* Advice: if it is not taken, nothing is lost. */
        (void)posix_fadvise(file->fd, 0, 0, POSIX_FADV_DONTNEED);
    return ERR_OK;
}

static enum err system_size(struct file *file, uint64_t *ret_size)
{
    struct stat status;

    if (fstat(file->fd, &status) < 0)
        return failed("size of", file->path, errno);
    *ret_size = (uint64_t)status.st_size;
    return ERR_OK;
}

static enum err system_map(struct file *file, uint64_t size, const void **ret_bytes)
{
    void *bytes = MAP_FAILED;

    errno = EIO;
    if (!FAULT("disk.read"))
        bytes = mmap(NULL, (size_t)size, PROT_READ, MAP_SHARED, file->fd, 0);
    if (bytes == MAP_FAILED)
        return failed("map", file->path, errno);
    *ret_bytes = bytes;
    return ERR_OK;
}

static void system_unmap(const void *bytes, uint64_t size)
{
    (void)munmap((void *)(uintptr_t)bytes, (size_t)size);
}

static enum err system_truncate(struct file *file, uint64_t size)
{
    int result;

    do {
        result = ftruncate(file->fd, (off_t)size);
    } while (result < 0 && errno == EINTR);
    return result == 0 ? ERR_OK : failed("truncate", file->path, errno);
}

static bool system_is_direct(const struct file *file)
{
    return file->direct;
}

/* ---- Names --------------------------------------------------------------------------------- */

static enum err system_rename(void *ctx, const char *from, const char *to)
{
    (void)ctx;
    if (FAULT("disk.rename"))
        errno = EIO;
    else if (rename(from, to) == 0)
        return ERR_OK;
    return failed("rename", from, errno);
}

static enum err system_remove(void *ctx, const char *path)
{
    (void)ctx;
    return remove(path) == 0 ? ERR_OK : failed("remove", path, errno);
}

static enum err system_make_dir(void *ctx, const char *path)
{
    struct stat status;
    int error;

    (void)ctx;
    if (mkdir(path, 0750) == 0)
        return ERR_OK;
    error = errno;
    if (error == EEXIST && stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return ERR_OK;
    return failed("make directory", path, error);
}

static enum err system_sync_dir(void *ctx, const char *path)
{
    int fd = open_retrying(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error;

    (void)ctx;
    if (fd < 0)
        return failed("open directory", path, errno);
    error = fsync(fd) == 0 ? 0 : errno;
    (void)close(fd);
    return error == 0 ? ERR_OK : failed("sync directory", path, error);
}

static enum err system_list(void *ctx, const char *path, void (*each)(void *arg, const char *name),
                            void *arg)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int error;

    (void)ctx;
    if (dir == NULL)
        return failed("list", path, errno);
    for (errno = 0; (entry = readdir(dir)) != NULL; errno = 0) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            each(arg, entry->d_name);
    }
    error = errno;
    (void)closedir(dir);
    return error == 0 ? ERR_OK : failed("list", path, error);
}

static enum err system_free_bytes(void *ctx, const char *path, uint64_t *ret_free,
                                  uint64_t *ret_total)
{
    struct statvfs status;

    (void)ctx;
    if (statvfs(path, &status) < 0)
        return failed("free space of", path, errno);
    *ret_free = (uint64_t)status.f_bavail * status.f_frsize;
    *ret_total = (uint64_t)status.f_blocks * status.f_frsize;
    return ERR_OK;
}

const struct disk *disk_system(void)
{
    static const struct disk system_disk = {
        .open = system_open,
        .close = system_close,
        .read = system_read,
        .write = system_write,
        .sync = system_sync,
        .map = system_map,
        .unmap = system_unmap,
        .size = system_size,
        .truncate = system_truncate,
        .is_direct = system_is_direct,
        .rename = system_rename,
        .remove = system_remove,
        .make_dir = system_make_dir,
        .sync_dir = system_sync_dir,
        .list = system_list,
        .free_bytes = system_free_bytes,
    };

    return &system_disk;
}

/* ---- Small files as a whole, over any table ------------------------------------------------ */

static enum err write_new(const struct disk *disk, const char *path, const void *bytes, size_t size)
{
    struct file *file;
    enum err err = disk->open(disk->ctx, path, FILE_WRITE | FILE_CREATE | FILE_TRUNCATE, &file);

    if (err != ERR_OK)
        return err;
    err = disk->write(file, 0, bytes, size);
    if (err == ERR_OK)
        err = disk->sync(file);
    disk->close(file);
    return err;
}

enum err disk_replace(const struct disk *disk, const char *dir, const char *name, const void *bytes,
                      size_t size)
{
    char path[PATH_MAX];
    char temporary[PATH_MAX];
    int written = snprintf(temporary, sizeof temporary, "%s/%s.tmp", dir, name);
    struct err_note note;
    enum err err;

    if (written < 0 || (size_t)written >= sizeof temporary)
        return err_set(ERR_TOO_LARGE, "replace %s in %s: the path is longer than %zu bytes", name,
                       dir, sizeof temporary - 1);
    (void)snprintf(path, sizeof path, "%s/%s", dir, name);

    err = write_new(disk, temporary, bytes, size);
    if (err == ERR_OK)
        err = disk->rename(disk->ctx, temporary, path);
    if (err != ERR_OK)
        goto remove_temporary;
    return disk->sync_dir(disk->ctx, dir);

remove_temporary:
    err_save(&note, err);
    (void)disk->remove(disk->ctx, temporary); /* If it stays, the next try overwrites it. */
    return err_restore(&note);
}

enum err disk_read_all(const struct disk *disk, const char *path, size_t max, uint8_t **ret_bytes,
                       size_t *ret_size)
{
    struct file *file;
    uint8_t *bytes = NULL;
    uint64_t size = 0;
    enum err err = disk->open(disk->ctx, path, FILE_READ, &file);

    if (err != ERR_OK)
        return err;
    err = disk->size(file, &size);
    if (err != ERR_OK)
        goto close_file;
    if (size > max) {
        err = err_set(ERR_TOO_LARGE, "%s has %" PRIu64 " bytes; at most %zu are allowed", path,
                      size, max);
        goto close_file;
    }
    bytes = malloc((size_t)size + 1);
    if (bytes == NULL) {
        err = err_set(ERR_NO_MEMORY, "read %s: %" PRIu64 " bytes", path, size);
        goto close_file;
    }
    err = disk->read(file, 0, bytes, (size_t)size);
    if (err != ERR_OK)
        goto free_bytes;
    bytes[size] = '\0';
    disk->close(file);
    *ret_bytes = bytes;
    *ret_size = (size_t)size;
    return ERR_OK;

free_bytes:
    free(bytes);
close_file:
    disk->close(file);
    return err;
}
