/*
 * seal.h - move the head up to a log index into a segment, durably.
 *
 *      ENTRY_SEAL applied at index I: everything below I is frozen    (worker)
 *                 |
 *      merge --> segment NNNNNNNN.mrs, synced, renamed                (pool, seal_run())
 *                 |
 *      new series keys --> SERIES.mrc, with older ones, synced, renamed: catalog_file.h
 *                 |
 *      manifest.mrm replaced: from now on it counts
 *                 |
 *      the head drops the frozen blocks                               (worker, store_seal_done())
 *
 * SAME EVERYWHERE  What is frozen depends on the log alone: all that was applied before the seal's
 *            own entry, and catalog, producers and sums as they were then. So all replicas make
 *            the same segments whenever they get to it, and log replay goes on just behind I.
 * QUEUE      Seals may be ordered while one is running. A job has to run in the order in which it
 *            was handed out, after store_seal_done() of the one before. What a failed job leaves is
 *            done first by the next one, as a segment of its own.
 * CRASH      Between two steps the manifest is the old one: files it does not name are removed at
 *            the next start, and the log still has the entries.
 */
#ifndef STORAGE_SEAL_H
#define STORAGE_SEAL_H

#include "storage/catalog_file.h"
#include "storage/head.h"
#include "storage/manifest.h"
#include "storage/store.h"

/** What the jobs of a shard work on: used by the running job alone while one is out. */
struct sealer {
    const struct disk *disk;
    const char *dir; /* Borrowed from the store. */
    struct manifest manifest;
    struct catalog_run *runs[CATALOG_FILES_MAX]; /* Of manifest.catalog, counted. */
    size_t memory;             /* Bytes that merging may use for columns: merge.h. */
    const atomic_bool *cancel; /* Of the store's options. */
};

/** One frozen part of the log. */
struct seal_job {
    struct sealer *sealer;
    struct seal_job *before;   /* The one ordered before, if it is not sealed. */
    uint64_t last_index;       /* Of the ENTRY_SEAL. */
    struct head_block *blocks; /* Owned, entries counted. */
    uint32_t block_count;
    uint64_t block_rows;
    struct catalog_view series;   /* Owned. */
    uint64_t chain, rows, points; /* As of last_index. */
    struct bytes producers;
    struct catalog_run *run; /* The catalog's newest one, counted; NULL without new series. */
    bool sealed;             /* Done: the manifest on disk holds it. */
    struct segment *segment; /* What came of it, opened; NULL if there were no rows. */
};

/** Freeze `count` blocks; the caller fills in series, sums and producers. ERR_NO_MEMORY. */
MUST_CHECK enum err seal_job_new(struct sealer *sealer, const struct head_block *blocks,
                                 uint32_t count, struct seal_job **ret_job);
void seal_job_free(struct seal_job *job); /* NULL is allowed. */

#endif
