/*
 * catalog_build.h - make runs (catalog_run.h): of keys in memory, and of older runs.
 *
 *     keys    --> numbers for names, values, shapes --> sorted --> run in memory
 *     runs    --> their lists of values merged, series copied with the new ranks --> run in a file
 *
 * What comes out depends on the keys, their order and the counts of the runs alone, so that all
 * replicas make the same bytes.
 *
 * MEMORY   catalog_build: about 20 bytes a series, and each value once. catalog_merge: 6 bytes a
 *          series and 4 bytes a value.
 * Thread   Pool: it takes about half a microsecond a series.
 */
#ifndef STORAGE_CATALOG_BUILD_H
#define STORAGE_CATALOG_BUILD_H

#include <stdatomic.h>

#include "storage/catalog.h"
#include "storage/catalog_run.h"

/** Series `first` to `end` - 1 of a view, as a run in memory. `cancel` NULL: never. ERR_NO_MEMORY,
 * ERR_CANCELED. */
MUST_CHECK enum err catalog_build(const struct catalog_view *view, uint32_t first, uint32_t end,
                                  uint32_t shard, const atomic_bool *cancel,
                                  struct catalog_run **ret_run);

/**
 * Runs that follow each other, oldest first, as one: written into `file` of `disk`, not synced.
 *
 * Errors  ERR_CORRUPT: a run's bytes are wrong; ERR_NO_MEMORY, ERR_CANCELED, those of writing
 */
MUST_CHECK enum err catalog_merge(struct catalog_run *const *runs, uint32_t count,
                                  const struct disk *disk, struct file *file,
                                  const atomic_bool *cancel, struct catalog_run_header *ret_header);

#endif
