/*
 * paced_disk.h - a disk that is read past the page cache, in whole windows, no faster than one
 * says: for a scrub, which reads everything and must not be noticed.
 *
 *     verify --read(offset, 100 bytes)--> window of 1 MiB <--O_DIRECT-- disk
 *                                           '-- then sleep until the rate allows the next one
 *
 * What comes is what the disk has, not what a cache remembers of it; and the cache keeps what
 * queries use. Where a file system has no O_DIRECT, and for the last bytes of a file that do not
 * make up 4096, it reads as usual.
 *
 * Only for reading: open for it, close, read, size; the rest is that of the disk below.
 *
 * Thread    One at a time.
 */
#ifndef STORAGE_BASE_PACED_DISK_H
#define STORAGE_BASE_PACED_DISK_H

#include "storage/base/file.h"

enum { PACED_DISK_WINDOW = 1024 * 1024 };

struct paced_disk {
    struct disk table;
    const struct disk *below;
    /* Before each window: wait until `size` more bytes may be read. ERR_CANCELED ends the reading.
     * Borrowed with its arg. */
    enum err (*wait)(void *arg, size_t size);
    void *arg;
    uint8_t *window;       /* Owned. */
    const struct file *of; /* Whose bytes are in there; NULL: nobody's. */
    uint64_t offset;       /* Of the window in the file. */
    size_t filled;
};

/** Returns the table to read with. `below` and `paced` are borrowed while it is used.
 * ERR_NO_MEMORY. */
MUST_CHECK enum err paced_disk_init(struct paced_disk *paced, const struct disk *below,
                                    enum err (*wait)(void *arg, size_t size), void *arg,
                                    const struct disk **ret_disk);
void paced_disk_fini(struct paced_disk *paced); /* A zeroed struct is valid. */

#endif
