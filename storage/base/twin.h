/*
 * twin.h - a small file that is kept twice, so that one damaged copy is mended from the other.
 *
 *     twin_save()   NAME       written aside, synced, renamed
 *                   NAME.copy  then the same: at any moment one of the two is whole
 *     twin_load()   NAME is good: it counts. Else NAME.copy does.
 *                   The one that is damaged, missing or older is written again from the other.
 *
 * What only the newer of two states may do (remove files that the older one names) comes after
 * twin_save(); so when NAME.copy is the older one, it still holds.
 *
 * Thread    Any, one at a time for a file. All of it blocks on the disk.
 */
#ifndef STORAGE_BASE_TWIN_H
#define STORAGE_BASE_TWIN_H

#include "storage/base/file.h"

#define TWIN_SUFFIX ".copy"

/** Whether bytes are such a file, whole: its checksum. ERR_CORRUPT, ERR_VERSION. */
typedef enum err (*twin_check)(const void *bytes, size_t size);

/** Replace both. After an error the file, the copy or both are still the old ones. ERR_IO,
 * ERR_DISK_FULL. */
MUST_CHECK enum err twin_save(const struct disk *disk, const char *dir, const char *name,
                              const void *bytes, size_t size);

/**
 * Read what counts, and mend the other one; that it was damaged is logged. If it cannot be mended
 * (the disk is full), it stays as it is.
 *
 * Returns  *ret_bytes as disk_read_all()
 * Errors   ERR_NOT_FOUND: there is neither; ERR_CORRUPT: neither is good, names both; ERR_VERSION,
 *          ERR_IO, ERR_NO_MEMORY
 */
MUST_CHECK enum err twin_load(const struct disk *disk, const char *dir, const char *name,
                              size_t max, twin_check check, uint8_t **ret_bytes, size_t *ret_size);

/** Whether both are there and good: for a scrub, whose owner saves them again. ERR_CORRUPT names
 * the one that is not; ERR_NOT_FOUND: there is neither. */
MUST_CHECK enum err twin_verify(const struct disk *disk, const char *dir, const char *name,
                                size_t max, twin_check check);

#endif
