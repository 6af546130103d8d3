#include "storage/base/paced_disk.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"

enum {
    ALIGNMENT = 4096,
    JUMP =
        128 * 1024, /* A window that does not follow the last one: most of it may be for nothing. */
};

/* One file, opened twice below. */
struct file {
    struct paced_disk *paced;
    struct file *direct, *plain;
    uint64_t size;
};

static enum err paced_open(void *ctx, const char *path, unsigned flags, struct file **ret_file)
{
    struct paced_disk *paced = ctx;
    const struct disk *below = paced->below;
    struct file *file = calloc(1, sizeof *file);
    enum err err;

    CHECK(flags == FILE_READ);
    if (file == NULL)
        return err_set(ERR_NO_MEMORY, "open %s", path);
    file->paced = paced;
    err = below->open(below->ctx, path, FILE_READ, &file->plain);
    if (err != ERR_OK)
        goto free_file;
    err = below->open(below->ctx, path, FILE_READ | FILE_DIRECT, &file->direct);
    if (err != ERR_OK)
        goto close_plain;
    err = below->size(file->plain, &file->size);
    if (err != ERR_OK)
        goto close_direct;
    *ret_file = file;
    return ERR_OK;

close_direct:
    below->close(file->direct);
close_plain:
    below->close(file->plain);
free_file:
    free(file);
    return err;
}

static void paced_close(struct file *file)
{
    if (file->paced->of == file)
        file->paced->of = NULL;
    file->paced->below->close(file->direct);
    file->paced->below->close(file->plain);
    free(file);
}

static enum err paced_size(struct file *file, uint64_t *ret_size)
{
    *ret_size = file->size;
    return ERR_OK;
}

/* Where the window that has `offset` begins: behind the last one, if that is near. A reader that
 * takes a group's index first, and then what stands before it, finds both in there. */
static uint64_t window_of(const struct file *file, uint64_t offset)
{
    const struct paced_disk *paced = file->paced;
    uint64_t end = (paced->offset + paced->filled) / ALIGNMENT * ALIGNMENT;

    if (paced->of == file && offset >= end && offset - end < PACED_DISK_WINDOW)
        return end;
    return offset / ALIGNMENT * ALIGNMENT;
}

/* The window that `offset` is in, as far as the file goes. */
static enum err fill(struct file *file, uint64_t offset)
{
    struct paced_disk *paced = file->paced;
    uint64_t start = window_of(file, offset);
    /* Less for nothing, where a reader jumps. */
    bool follows = paced->of == file && start >= paced->offset &&
                   start / ALIGNMENT == (paced->offset + paced->filled) / ALIGNMENT;
    size_t room = follows ? PACED_DISK_WINDOW : JUMP;
    uint64_t left = file->size - start;
    size_t size = left < room ? (size_t)left : room;
    size_t whole = size / ALIGNMENT * ALIGNMENT;
    enum err err;

    paced->of = NULL;
    err = paced->wait(paced->arg, size);
    if (err == ERR_OK && whole > 0)
        err = paced->below->read(file->direct, start, paced->window, whole);
    if (err == ERR_OK && whole < size)
        err = paced->below->read(file->plain, start + whole, paced->window + whole, size - whole);
    if (err != ERR_OK)
        return err;
    paced->of = file;
    paced->offset = start;
    paced->filled = size;
    return ERR_OK;
}

static enum err paced_read(struct file *file, uint64_t offset, void *bytes, size_t size)
{
    struct paced_disk *paced = file->paced;
    uint8_t *to = bytes;

    if (offset > file->size || size > file->size - offset)
        return err_set(ERR_END, "%zu bytes at offset %" PRIu64 ": the file ends at %" PRIu64, size,
                       offset, file->size);
    while (size > 0) {
        size_t at, part;

        if (paced->of != file || offset < paced->offset ||
            offset >= paced->offset + paced->filled) {
            enum err err = fill(file, offset);

            if (err != ERR_OK)
                return err;
        }
        at = (size_t)(offset - paced->offset);
        part = paced->filled - at < size ? paced->filled - at : size;
        memcpy(to, paced->window + at, part);
        to += part;
        offset += part;
        size -= part;
    }
    return ERR_OK;
}

enum err paced_disk_init(struct paced_disk *paced, const struct disk *below,
                         enum err (*wait)(void *arg, size_t size), void *arg,
                         const struct disk **ret_disk)
{
    *paced = (struct paced_disk){.table = *below, .below = below, .wait = wait, .arg = arg};
    paced->window = aligned_alloc(ALIGNMENT, PACED_DISK_WINDOW);
    if (paced->window == NULL)
        return err_set(ERR_NO_MEMORY, "a window of %d bytes", (int)PACED_DISK_WINDOW);
    paced->table.ctx = paced;
    paced->table.open = paced_open;
    paced->table.close = paced_close;
    paced->table.read = paced_read;
    paced->table.size = paced_size;
    *ret_disk = &paced->table;
    return ERR_OK;
}

void paced_disk_fini(struct paced_disk *paced)
{
    free(paced->window);
    *paced = (struct paced_disk){0};
}
