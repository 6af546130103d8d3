/*
 * seal.h - move the head up to a log index into segments, and drop what retention lets go, durably.
 *
 *      ENTRY_SEAL applied at index I: everything below I is frozen    (worker)
 *                 |
 *      merge --> segments NNNNNNNN.mrs, synced, renamed               (pool, seal_run())
 *                 |      one for each window of time of each database (seal_parts.h), without
 *                 |      what the order deletes
 *      new series keys --> SERIES.mrc, with older ones, synced, renamed: catalog_file.h
 *                 |
 *      manifest.mrm replaced: from now on it counts
 *                 |
 *      files of segments that were dropped are removed: who still reads one has it open
 *                 |
 *      the head drops the frozen blocks                               (worker, store_seal_done())
 *
 * DROPS      A seal's order may move up the time before which a database's rows are gone, or say
 *            that the whole database is (seal_order.h). From the moment that it is applied, nobody
 *            sees such rows (marks.h, snapshot.h). The job then leaves them out, and drops the
 *            segments that have no others.
 *
 * COMPACTIONS  An order may name segments that become one. The job takes them into the manifest as
 *            compactions that wait; compact.h makes them, beside seals. It may also say of
 *            segments that deletes hide nothing of them: the job notes it in the manifest.
 *
 * SAME EVERYWHERE  What is frozen depends on the log alone: all that was applied before the seal's
 *            own entry, and catalog, producers and sums as they were then. So all replicas make
 *            the same segments whenever they get to it, and log replay goes on just behind I.
 * QUEUE      Seals may be ordered while one is running. A job has to run in the order in which it
 *            was handed out, after store_seal_done() of the one before. What a failed job leaves is
 *            done first by the next one, as segments of their own.
 * CRASH      Between two steps the manifest is the old one: files it does not name are removed at
 *            the next start, and the log still has the entries.
 */
#ifndef STORAGE_SEAL_H
#define STORAGE_SEAL_H

#include <pthread.h>

#include "storage/block/seal_order.h"
#include "storage/catalog_file.h"
#include "storage/head.h"
#include "storage/manifest.h"
#include "storage/store.h"

/** What the jobs of a shard work on: used by the running job alone while one is out. */
struct sealer {
    const struct disk *disk;
    const char *dir;      /* Borrowed from the store. */
    pthread_mutex_t lock; /* Held to replace the manifest, here and on the disk, and by any thread
                             that looks at it (store_damage.h). */
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
    struct buf *order;            /* Counted: the ENTRY_SEAL. */
    struct catalog_view series;   /* Owned. */
    uint64_t chain, rows, points; /* As of last_index. */
    struct bytes producers, marks;
    struct bytes tombstones; /* Up to last_index; once it is sealed, those that are still needed. */
    struct compactions compactions; /* Once it is sealed: those that wait. */
    struct catalog_run *run; /* The catalog's newest one, counted; NULL without new series. */
    bool sealed;             /* Done: the manifest on disk holds it. */

    struct segment **segments; /* Owned: what came of it, opened. */
    uint32_t segment_count, segment_capacity;
    uint64_t *dropped; /* Owned: numbers of segments that are gone, ascending. */
    uint32_t dropped_count;
    struct seal_clean *cleaned; /* Owned: segments that are clean of more than they were. */
    uint32_t cleaned_count;
    struct segment **room; /* Owned: for all segments of the manifest, once it is taken in. */
};

/** Freeze `count` blocks; the caller fills in the order, series, sums, producers and marks.
 * ERR_NO_MEMORY. */
MUST_CHECK enum err seal_job_new(struct sealer *sealer, const struct head_block *blocks,
                                 uint32_t count, struct seal_job **ret_job);
void seal_job_free(struct seal_job *job); /* NULL is allowed. */

/** Remove the file of a segment, or (`end` ".tmp") what was to become one; a warning says so if
 * that fails. It does not count any more. */
void seal_remove_file(const struct sealer *sealer, uint64_t number, const char *end);

#endif
