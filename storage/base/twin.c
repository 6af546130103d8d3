#include "storage/base/twin.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/log_line.h"

struct half {
    char path[PATH_MAX];
    uint8_t *bytes; /* Owned. */
    size_t size;
    enum err err;
    struct err_note note;
};

static enum err copy_name(const char *name, char ret_name[NAME_MAX])
{
    int size = snprintf(ret_name, NAME_MAX, "%s" TWIN_SUFFIX, name);

    return size > 0 && size < NAME_MAX ? ERR_OK
                                       : err_set(ERR_TOO_LARGE, "%s: too long a name", name);
}

enum err twin_save(const struct disk *disk, const char *dir, const char *name, const void *bytes,
                   size_t size)
{
    char copy[NAME_MAX];
    enum err err = copy_name(name, copy);

    if (err == ERR_OK)
        err = disk_replace(disk, dir, name, bytes, size);
    if (err == ERR_OK)
        err = disk_replace(disk, dir, copy, bytes, size);
    return err;
}

/* ---- Loading ------------------------------------------------------------------------------- */

static void read_half(const struct disk *disk, const char *dir, const char *name, size_t max,
                      twin_check check, struct half *half)
{
    (void)snprintf(half->path, sizeof half->path, "%s/%s", dir, name);
    half->err = disk_read_all(disk, half->path, max, &half->bytes, &half->size);
    if (half->err == ERR_TOO_LARGE || half->err == ERR_END)
        half->err = err_set(ERR_CORRUPT, "%s", err_detail());
    else if (half->err == ERR_OK)
        half->err = check(half->bytes, half->size);
    if (half->err == ERR_CORRUPT || half->err == ERR_VERSION)
        half->err = err_wrap(half->err, "%s", half->path);
    if (half->err != ERR_OK)
        err_save(&half->note, half->err);
}

static void mend(const struct disk *disk, const char *dir, const char *name, const struct half *bad,
                 const struct half *good)
{
    enum err err;

    if (bad->err == ERR_CORRUPT || bad->err == ERR_IO)
        log_warn("damaged, the other copy of it counts: %s", bad->note.detail);
    err = disk_replace(disk, dir, name, good->bytes, good->size);
    if (err != ERR_OK && err != ERR_NOT_FOUND) /* A dry disk makes no files. */
        log_warn("%s: not mended, there is one copy of it until it is saved again: %s", bad->path,
                 err_detail());
}

/* Of two halves of which none is good: what to say. */
static enum err neither(const struct half *file, const struct half *copy)
{
    const struct half *first = file->err == ERR_NOT_FOUND ? copy : file;

    if (file->err == ERR_CORRUPT && copy->err == ERR_CORRUPT)
        return err_set(ERR_CORRUPT, "%s; and so is its copy, %s", file->note.detail, copy->path);
    return err_restore(&first->note);
}

static enum err choose(const struct disk *disk, const char *dir, const char *name, const char *copy,
                       struct half halves[2], struct half **ret_good)
{
    struct half *file = &halves[0], *other = &halves[1];

    if (file->err == ERR_NO_MEMORY || other->err == ERR_NO_MEMORY)
        return err_set(ERR_NO_MEMORY, "%s", file->path);
    if (file->err == ERR_VERSION)
        return err_restore(&file->note); /* It is whole: no copy is any better. */
    if (file->err == ERR_OK) {
        if (other->err != ERR_OK || other->size != file->size ||
            memcmp(other->bytes, file->bytes, file->size) != 0)
            mend(disk, dir, copy, other, file);
        *ret_good = file;
        return ERR_OK;
    }
    if (other->err != ERR_OK)
        return neither(file, other);
    mend(disk, dir, name, file, other);
    *ret_good = other;
    return ERR_OK;
}

enum err twin_load(const struct disk *disk, const char *dir, const char *name, size_t max,
                   twin_check check, uint8_t **ret_bytes, size_t *ret_size)
{
    struct half halves[2] = {0}, *good = NULL;
    char copy[NAME_MAX];
    enum err err = copy_name(name, copy);

    if (err != ERR_OK)
        return err;
    read_half(disk, dir, name, max, check, &halves[0]);
    read_half(disk, dir, copy, max, check, &halves[1]);
    err = choose(disk, dir, name, copy, halves, &good);
    if (err == ERR_OK) {
        *ret_bytes = good->bytes;
        *ret_size = good->size;
        good->bytes = NULL;
    }
    free(halves[0].bytes);
    free(halves[1].bytes);
    return err;
}

enum err twin_verify(const struct disk *disk, const char *dir, const char *name, size_t max,
                     twin_check check)
{
    struct half halves[2] = {0};
    char copy[NAME_MAX];
    enum err err = copy_name(name, copy);

    if (err != ERR_OK)
        return err;
    read_half(disk, dir, name, max, check, &halves[0]);
    read_half(disk, dir, copy, max, check, &halves[1]);
    free(halves[0].bytes);
    free(halves[1].bytes);
    for (size_t i = 0; i < 2; i++) {
        if (halves[i].err == ERR_NOT_FOUND && halves[1 - i].err != ERR_NOT_FOUND)
            return err_set(ERR_CORRUPT, "%s: missing", halves[i].path);
        if (halves[i].err != ERR_OK)
            return err_restore(&halves[i].note);
    }
    return ERR_OK;
}
