/*
 * dry_disk.h - a disk on which nothing can be changed: loaders and checks run on it, and what they
 * would tidy up stays as it is.
 *
 * Files are opened for reading, whatever was asked for; a file that is not there is not made
 * (ERR_NOT_FOUND). Writes, syncs, cuts, renames and removals seem to work and do nothing.
 *
 * Thread    As the disk below.
 */
#ifndef STORAGE_BASE_DRY_DISK_H
#define STORAGE_BASE_DRY_DISK_H

#include "storage/base/file.h"

struct dry_disk {
    struct disk table;
    const struct disk *below;
};

/** Returns the table to give to the code that must not change anything. `below` and `dry` are
 * borrowed as long as it is used. */
const struct disk *dry_disk_init(struct dry_disk *dry, const struct disk *below);

#endif
