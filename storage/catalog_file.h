/*
 * catalog_file.h - the runs of a shard's catalog as files, and which of them count.
 *
 *     seal:  young keys --> run      and with the runs before it that are smaller than four of it,
 *            or small anyway, merged into one --> SERIES.mrc --> manifest names it
 *
 * So a run that stays is at least four times the next one: there are at most ten, a lookup asks
 * few, and a series is written again a few times in its life. A run's name is the count of series
 * at its end, which no other run of the shard has; its file does not change.
 *
 * CHECKS    A file is read once and its sums are verified when it is opened; then it is mapped.
 * CRASH     Files that the manifest does not name are left over, and are removed at start.
 * Thread    Any, one at a time; it blocks on the disk.
 */
#ifndef STORAGE_CATALOG_FILE_H
#define STORAGE_CATALOG_FILE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "storage/base/bytes.h"
#include "storage/base/file.h"
#include "storage/catalog.h"

enum {
    CATALOG_FILES_MAX = 16, /* See above: there are at most ten. */
    CATALOG_FILE_NAME_SIZE = 16,
    CATALOG_FILE_SMALL = 1 << 16, /* Series: a run of fewer is always merged with the next one. */
    CATALOG_FILE_GROWTH = 4,
    CATALOG_FILE_LONG = 1 << 20, /* Series: a run of more takes so long that others go on meanwhile
                                    (base/turnstile.h). */
};

#define CATALOG_FILE_SUFFIX ".mrc"

struct catalog_file_info {
    uint32_t first, count; /* Series. */
    uint64_t size;         /* Bytes. */
    uint32_t crc;          /* Of the header, which has that of the rest. */
};

/** The files that count, oldest first: in the manifest. A plain value. */
struct catalog_files {
    uint32_t count;
    struct catalog_file_info files[CATALOG_FILES_MAX];
};

/** Series in all of them. */
uint32_t catalog_files_series(const struct catalog_files *files);
/** u32 count, then for each u32 first, u32 count, u64 size, u32 crc. */
void catalog_files_encode(const struct catalog_files *files, struct bytes *out);
/** ERR_CORRUPT */
MUST_CHECK enum err catalog_files_decode(struct reader *reader, struct catalog_files *ret_files);

/** "00012345.mrc" */
void catalog_file_name(const struct catalog_file_info *info, char ret_name[CATALOG_FILE_NAME_SIZE]);

/** Verify and map. ERR_CORRUPT names the file; ERR_VERSION, ERR_IO, ERR_NO_MEMORY. */
MUST_CHECK enum err catalog_file_open(const struct disk *disk, const char *dir, uint32_t shard,
                                      const struct catalog_file_info *info,
                                      struct catalog_run **ret_run);

/** Verify a file of any name, by reading all of it. The same errors. */
MUST_CHECK enum err catalog_file_verify(const struct disk *disk, const char *path, uint32_t shard,
                                        const struct catalog_file_info *info);

/**
 * Write series catalog_files_series() to view->count - 1, synced and under its name, and open it.
 *
 * files    in: those that count, whose runs are `runs`; out: with the new one instead of those
 *          that it holds. Unchanged on failure
 * ret_run  counted: the new one
 * Errors   ERR_IO, ERR_DISK_FULL, ERR_NO_MEMORY, ERR_CANCELED, ERR_CORRUPT
 */
MUST_CHECK enum err catalog_file_write(const struct disk *disk, const char *dir, uint32_t shard,
                                       const struct catalog_view *view, struct catalog_files *files,
                                       struct catalog_run *const *runs, const atomic_bool *cancel,
                                       struct catalog_run **ret_run);

#endif
