/*
 * compact.h - make the segments that were ordered: several become one, in the background.
 *
 *      an order stands in a seal: its inputs wait in the manifest        (pool, compact_order.h)
 *                 |
 *      store_compact_begin(): the oldest one, its inputs held            (worker)
 *                 |
 *      compact_run(): merge --> NNNNNNNN.mrs, synced, renamed            (a thread of its own)
 *                 |
 *      store_compact_ready(): with the databases of this moment          (worker)
 *                 |
 *      compact_adopt(): manifest replaced, files of inputs removed       (pool, between seals)
 *                 |
 *      store_compact_done(): readers find it instead of its inputs       (worker)
 *
 * SAME      What comes out depends on the inputs and on what deletes and cutoffs said up to the
 *           order, and on nothing that was said later: however late a replica makes it, the file is
 *           the same. ADR 0018 has the argument.
 * CRASH     Until the manifest is replaced the inputs count, and what was made of them is removed
 *           at the next start, which begins anew. Behind it, what the manifest does not name any
 *           more is removed there.
 * DROPPED   If its inputs were dropped meanwhile, compact_adopt() finds the order gone, and removes
 *           what was made.
 * FETCHED   If an input is damaged here, and gone elsewhere since it was merged there, what others
 *           made is fetched (store_damage.h) and taken in by the same steps, without compact_run().
 * MEMORY    As merge.h says, of `memory`. Inputs are read through files of their own, which leave
 *           in the page cache what they find there, and nothing else.
 */
#ifndef STORAGE_COMPACT_H
#define STORAGE_COMPACT_H

#include "storage/seal.h"

enum { COMPACT_RETRY_S = 10 }; /* As a seal: a full disk does not get better faster. */

struct compact_job {
    struct sealer *sealer; /* For compact_adopt() alone. */
    const struct disk *disk;
    const char *dir;
    uint32_t shard;
    size_t memory;
    const atomic_bool *cancel;
    uint64_t number;          /* Of the segment to be. */
    struct segment_info info; /* What is known of it; all, once it is made. */
    int64_t cutoff_ns;        /* Of the order. */
    struct segment **inputs;  /* Owned, counted, in log order: all parts that have files. */
    uint32_t input_count;
    struct catalog_view series; /* Owned. */
    struct bytes tombstones;    /* Owned. Once it is adopted: those that are still needed. */
    struct segment *segment;    /* Counted: what was made; NULL: it has no rows. */

    bool adopted;          /* The manifest on disk has it. */
    bool gone;             /* It was dropped before that. */
    uint64_t sealed_index; /* Of the manifest then. */
    uint64_t *replaced;    /* Owned: numbers of inputs with files, ascending. */
    uint32_t replaced_count;
    struct compactions compactions; /* Those that wait then. */
};

/** Make the segment. ERR_CANCELED, ERR_DISK_FULL (nothing was begun unless there is room for all),
 * ERR_IO, ERR_NO_MEMORY, ERR_CORRUPT (an input is damaged: names it). May be run again. */
MUST_CHECK enum err compact_run(struct compact_job *job);

/** After compact_run(), while no seal of the shard runs: let it count. ERR_IO, ERR_DISK_FULL,
 * ERR_NO_MEMORY: the inputs count on. */
MUST_CHECK enum err compact_adopt(struct compact_job *job);

void compact_job_free(struct compact_job *job); /* NULL is allowed. */

#endif
