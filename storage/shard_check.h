/*
 * shard_check.h - verify the folder of a shard that no node has open: manifest, catalog, every
 * segment wholly, and what else lies there.
 *
 * What a start would refuse or a scan would stumble over is a fault; what the next start removes by
 * itself (files of a seal that did not come to its end) is harmless, and a note. Nothing is
 * changed if the disk is a dry one (base/dry_disk.h).
 *
 * Thread    Any; it blocks on the disk.
 */
#ifndef STORAGE_SHARD_CHECK_H
#define STORAGE_SHARD_CHECK_H

#include "storage/base/file.h"
#include "storage/damage.h"

/** What was found, as far as it could be read. */
struct shard_check {
    bool has_manifest;     /* A good one. */
    bool knows_sealed;     /* There is one, or none was ever made: the next is known. */
    uint64_t sealed_index; /* 0: nothing was sealed. */
    uint32_t segments, series;
    uint64_t segment_bytes, rows, points; /* Of the segments that the manifest names. */
};

/** ERR_NO_MEMORY, ERR_NOT_FOUND: no such folder. Everything that is wrong in it is a report. */
MUST_CHECK enum err shard_check_run(const struct disk *disk, const char *dir, uint32_t shard,
                                    struct damage_sink *sink, struct shard_check *ret_found);

#endif
