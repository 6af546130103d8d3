/*
 * catalog_folder.h - the series of a shard's folder that no store has open: for tools.
 *
 *     DIR/manifest.mrm --> which shard, how much of the catalog counts --> catalog --> view
 *
 * Thread    One at a time; opening blocks on the disk. Give it a dry disk (base/dry_disk.h): what a
 *           start would tidy up then stays as it is.
 */
#ifndef STORAGE_CATALOG_FOLDER_H
#define STORAGE_CATALOG_FOLDER_H

#include "storage/base/file.h"
#include "storage/catalog.h"
#include "storage/manifest.h"

struct catalog_folder {
    struct catalog *catalog; /* Owned. */
    struct catalog_view view;
};

/** The catalog that a manifest names. ERR_CORRUPT names the file; ERR_VERSION, ERR_IO,
 * ERR_NO_MEMORY. */
MUST_CHECK enum err catalog_folder_load(const struct disk *disk, const char *dir,
                                        const struct manifest *manifest,
                                        struct catalog_folder *ret_folder);

/** The same, by the manifest in the folder, whichever shard it is of. ERR_NOT_FOUND: there is no
 * manifest. */
MUST_CHECK enum err catalog_folder_open(const struct disk *disk, const char *dir,
                                        struct catalog_folder *ret_folder);
void catalog_folder_close(struct catalog_folder *folder); /* A zeroed struct is valid. */

/** The canonical key of a series; size 0: there is none with this id. Borrowed, or in `room` of
 * CATALOG_KEY_ROOM bytes. */
struct slice catalog_folder_key(const struct catalog_folder *folder, uint32_t id, char *room);
/** The table key of a table number; size 0: there is none. Borrowed until it is closed. */
struct slice catalog_folder_table_key(const struct catalog_folder *folder, uint32_t table);

#endif
