/*
 * store.h - the state machine of one shard: catalog, head, segments, producers.
 *
 *      entry (committed) --store_apply()--> catalog   keys -> ids, in log order
 *                                           producers (epoch, last sequence)
 *                                           head      blocks, as they came
 *                                             |  ENTRY_SEAL
 *                                             v
 *                                           seal job --pool--> segment files, manifest
 *
 * Every replica applies the same entries in the same order, and so holds the same ids, the same
 * producers, and builds the same segments.
 *
 * Thread    All of it belongs to the worker that owns the shard, except: seal_run() and the
 *           reading of a snapshot run in the pool, on immutable inputs.
 * Disk      store_open() and seal_run() block. Everything else does no I/O.
 */
#ifndef STORAGE_STORE_H
#define STORAGE_STORE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "storage/base/buf.h"
#include "storage/base/err.h"
#include "storage/base/file.h"
#include "storage/block/block_reader.h"
#include "storage/block/entry.h"
#include "storage/marks.h"

struct store;
struct snapshot; /* storage/snapshot.h */
struct seal_job;

struct store_options {
    const struct disk *disk; /* Borrowed: outlives the store and its segments. */
    const char *dir;         /* This shard's folder; made if missing. Copied. */
    uint32_t shard;          /* Number, for messages and file headers. */
    uint32_t series_max;     /* Admission's limit. */
    /** Admission's limit on the series of a database in this shard; 0: none. NULL: none has one.
     * The worker's thread. */
    uint64_t (*database_series_max)(void *ctx, struct slice database);
    void *database_ctx;
    uint64_t head_bytes_max; /* A full head refuses admissions with ERR_BUSY. */
    uint64_t seal_bytes;     /* Head bytes that ask for a seal. */
    uint32_t producers_max;  /* Remembered, 1 to 2^20: the same on all replicas. */
    int64_t future_ns_max;   /* Admission's limit on times ahead of the clock; 0: none. */
    size_t compact_memory;   /* Bytes that a compaction may use for columns: merge.h. */
    uint64_t last_bytes;     /* For last values that were asked for: store_last.h; 0: none. */
    const atomic_bool
        *cancel; /* Set by any thread: a seal or compaction that runs ends with ERR_CANCELED. NULL:
                                  never. Outlives the store. */
};

/** Open or make a shard's storage. ERR_IO, ERR_CORRUPT (says which file and what to do),
 * ERR_NO_MEMORY. */
MUST_CHECK enum err store_open(const struct store_options *options, struct store **ret_store);
/** No seal job or compaction may be out, no snapshot may be held. */
void store_close(struct store *store);

/** The log index up to which the manifest holds everything: apply continues behind it. */
uint64_t store_sealed_index(const struct store *store);
/** Last index given to store_apply(), or the sealed index after opening. */
uint64_t store_applied_index(const struct store *store);

/* ---- The leader, before it proposes -------------------------------------------------------- */

/** A refusal for the limit of a database begins with this and the name, in quotes. One for the
 * limit of the shard does not. */
#define STORE_LIMIT_OF "database \""

/**
 * Check an ENTRY_BLOCK from outside against this shard, and stamp ids for its fresh keys.
 *
 * Checks: header, checksums, that keys hash to this shard (of `shards`), that known ids exist and
 * belong to the table whose section uses them, limits. Ids for new keys are tentative: the entry
 * has to be proposed next, or store_retract() called. The bytes are changed in place.
 *
 * Errors  ERR_INVALID, ERR_TOO_OLD (a row is of a time that was dropped), ERR_LIMIT (series_max),
 *         ERR_BUSY (head full), ERR_SEQUENCE (gap: retry the missing one first; or the producer's
 *         epoch is over), ERR_NO_MEMORY. On an error nothing was taken.
 * ret_duplicate  the sequence was committed or is in flight already: do not propose; answer as done
 *         when the group has committed everything proposed so far.
 */
MUST_CHECK enum err store_admit(struct store *store, struct buf *entry, uint32_t shards,
                                bool *ret_duplicate);
/** The same of an entry whose block is open already: `view` is that of block_view() with its body,
 * and `block` was loaded of it. */
MUST_CHECK enum err store_admit_opened(struct store *store, struct buf *entry,
                                       struct block_view *view, struct block *block,
                                       uint32_t shards, bool *ret_duplicate);

/** After ERR_TOO_OLD: the time from which on the database of the refused row has its rows. What the
 * sender has to leave out follows from it, and goes on to do so: it never moves back. */
int64_t store_refused_before(const struct store *store);

/** Whether the rows of an entry that was found to be a duplicate are really in: asked when all
 * that was on the way then is applied. */
bool store_has_applied(const struct store *store, const struct buf *entry);

/** The entry admitted last could not be proposed: take back its ids and its sequence. */
void store_retract(struct store *store);

/** Leadership is lost: forget ids and sequences given to unapplied entries. Not while entries that
 * were admitted here are on their way and others may be admitted: they would get the same ids. */
void store_forget_tentative(struct store *store);

/** Fill ids (one for each fresh key, in its order) of a block that was applied or found duplicate.
 * BLOCK_ID_NONE for a key that is not applied. */
void store_fresh_ids(const struct store *store, const struct block_view *view, uint32_t *ret_ids);

/** The head is big enough (`early`: half of it) and no seal is out, or one failed some seconds ago:
 * propose ENTRY_SEAL{applied index}. */
bool store_wants_seal(const struct store *store, bool early);

/* ---- Every replica ------------------------------------------------------------------------- */

enum store_outcome {
    STORE_APPLIED,   /* Rows are in the head. */
    STORE_DUPLICATE, /* This sequence was applied before. */
    STORE_GAP,       /* The sequence leaves a gap: not applied. */
    STORE_REFUSED,   /* Not applied: the entry contradicts the state (says why in err_detail()). */
    STORE_SEAL,      /* A seal starts: *ret_job goes to the pool, then store_seal_done(). */
    STORE_NOTHING    /* A barrier, configuration, or seal with nothing to do: the index moves. */
};

/**
 * Apply a committed entry. `index` is the last one plus 1; entry NULL for what is not a command.
 * The head keeps a reference. Deterministic: the state depends on the log alone.
 *
 * A seal takes everything before its own entry, so `upto` only tells whether it is out of date.
 * Rows that it drops are gone from its application on.
 * Jobs may be handed out while another is in the pool: run them in this order, each after
 * store_seal_done() of the one before.
 *
 * Errors  ERR_NO_MEMORY, ERR_CORRUPT: the process cannot go on with this shard
 */
MUST_CHECK enum err store_apply(struct store *store, uint64_t index, struct buf *entry,
                                enum store_outcome *ret_outcome, struct seal_job **ret_job);

/** Pool thread: write segments, catalog and manifest, all synced. ERR_IO, ERR_DISK_FULL, ... */
MUST_CHECK enum err seal_run(struct seal_job *job);
/**
 * Back on the worker: take the segments in, drop the sealed blocks from the head; the job is gone.
 * After an error of seal_run() (`failed` true) the blocks stay in the head, a seal is asked for
 * again later, and its job does the rest of this one first.
 */
void store_seal_done(struct store *store, struct seal_job *job, bool failed);

/* ---- Looking ------------------------------------------------------------------------------- */

/** A frozen view for a scan: head blocks, segments and series of this moment. NULL: no memory.
 * Give it back with snapshot_free() before store_close(). */
struct snapshot *store_snapshot(struct store *store);

struct store_stats {
    uint64_t series, head_blocks, head_bytes, head_rows, segments, segment_bytes, segment_rows;
    uint64_t applied_index, sealed_index;
    uint64_t rows, points;            /* Applied since the shard was made (kept in the manifest). */
    uint64_t chain;                   /* Hash over all applied entries: equal on equal replicas. */
    uint64_t tombstones;              /* Deletes whose rows segments may still hold. */
    uint64_t compactions;             /* Ordered, and not made here yet. */
    uint64_t last_series, last_bytes; /* Whose last values are known, and what they take. */
    bool sealing;                     /* A job is out. */
};
void store_stats(const struct store *store, struct store_stats *ret_stats);

/** What a shard has of a database. Its number is below store_database_count(). */
struct store_database {
    struct slice name;    /* Borrowed from the store. */
    uint64_t bytes, rows; /* Of segments. */
    uint32_t segments;
    int64_t time_min_ns; /* Of their rows; INT64_MAX: none. */
};
uint32_t store_database_count(const struct store *store);
/** The number of a database, or UINT32_MAX. */
uint32_t store_database_find(const struct store *store, struct slice name);
void store_database(const struct store *store, uint32_t number, struct store_database *ret);
/** What of a database is gone, whether or not it has series here. Borrows from the store. */
struct mark store_database_mark(const struct store *store, struct slice name);
/** The smallest time of the head's rows, of all databases; INT64_MAX: there are none. */
int64_t store_head_time_min(const struct store *store);
/**
 * The earliest cutoff that leaves at most `bytes` of segments to a database, and always its newest
 * one. INT64_MIN: nothing has to go.
 *
 * Errors  ERR_NO_MEMORY
 */
MUST_CHECK enum err store_cutoff_for(const struct store *store, uint32_t number, uint64_t bytes,
                                     int64_t *ret_cutoff_ns);

/** The id of an applied key, or BLOCK_ID_NONE. */
uint32_t store_find_series(const struct store *store, const void *key, size_t size, uint64_t hash);

#endif
