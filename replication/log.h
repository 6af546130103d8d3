/*
 * log.h - the shared log: one sequence of records for all Raft groups of a node.
 *
 * It is the node's only write-ahead log. One thread at a time uses a struct log (the log writer's;
 * in the simulator the only one), except for what says "any thread".
 *
 *     DIR/00000001.log, 00000002.log, ...   preallocated, zeroed, recycled under a new number
 *     file header (4096) | group of records, padded to 4096 | group | ... | zeros
 *     record: header (72) | payload | to 8               docs/formats.md, log_format.h
 *
 * POSITION   file number << 32 | offset: where a record stands. Grows for ever.
 * SYNCED     each record says up to which position all was on disk when it was written. At
 *            recovery a bad record is a torn tail if no later valid record claims its place as
 *            synced; otherwise it is corruption (ERR_CORRUPT), as is one that cannot be read: the
 *            node begins again from the others.
 * LIFE       each start writes and syncs a state with a new life number before anything else: what
 *            an earlier life left behind a torn tail is never in order behind that.
 * FILES      a new file begins with one LOG_STATE record a group (term, vote, snapshot), so older
 *            files may go as soon as no group needs an entry in them. When the file of a
 *            LOG_INSTALL goes, so has every entry that it made void. The next file is ready
 *            before it is needed, so a full disk still has room for terms and votes.
 * ERRORS     of a write or sync are final: the kernel may have dropped what it could not write, so
 *            nothing is tried again. Every later call returns the same error.
 */
#ifndef REPLICATION_LOG_H
#define REPLICATION_LOG_H

#include "storage/base/buf.h"
#include "storage/base/err.h"
#include "storage/base/file.h"

enum log_kind {
    LOG_ENTRY = 1, /* index, term, type; payload: the entry. Cuts what the group had from index on.
                    */
    LOG_TERM = 2,  /* term, aux: vote (server id or 0) */
    LOG_SNAPSHOT = 3, /* index, term, aux: configuration's index; payload: configuration, 64 KiB at
                         most. The state up to index is in the store: entries at or below it are
                         not needed to start. */
    LOG_STATE = 4,    /* Written by the log itself: the group's newest LOG_TERM and LOG_SNAPSHOT (or
                         LOG_INSTALL) in one. Replayed as those two, if the records themselves are
                         gone. */
    LOG_INSTALL = 5, /* As LOG_SNAPSHOT, for a state that came from another server: the entries that
                         the group had before are void, the next one is index + 1. */
};

struct log_record {
    uint32_t group;
    uint8_t kind;
    uint8_t type; /* raft's entry type; LOG_ENTRY only */
    uint64_t index;
    uint64_t term;
    uint64_t aux;
    struct buf *payload; /* Counted: whoever frees the record drops it. NULL: none. */
    uint64_t position;   /* Set by log_write(). */
};

struct log_options {
    const struct disk *disk;
    const char *dir;
    uint64_t node; /* Server id: a file of another node is refused. */
    uint64_t cluster;
    uint32_t groups;     /* Group numbers are below it. */
    uint64_t file_bytes; /* Of new files: a multiple of 4096 from 64 KiB to 1 GiB. A record fills at
                            most 3/4 of one: the product needs 2 * ENTRY_SIZE_MAX. Default 64 MiB.
                          */
    uint64_t bytes_max;  /* All files: behind it the oldest go even if a follower lacks them, once
                            LOG_SNAPSHOTs say that this node does not. */
    uint64_t reserve_bytes; /* log_prepare() says ERR_DISK_FULL while fewer are free. */
    bool read_ahead;        /* A start reads with a thread of its own while records are replayed. */
};

struct log;

/** What recovery found, record by record in log order; payload borrowed, ref it to keep. An error
 * ends log_open() with it. */
typedef enum err (*log_replay_cb)(void *arg, const struct log_record *record);

/**
 * Open (or make) the log and replay every record that still counts. A torn tail does not.
 *
 * Errors  ERR_CORRUPT names file and offset: wrong bytes, or none though all files could be opened;
 *         ERR_VERSION; ERR_IO; ERR_INVALID: the log of another node or cluster
 */
MUST_CHECK enum err log_open(const struct log_options *options, log_replay_cb replay, void *arg,
                             struct log **ret_log);
/**
 * The checks of a start, with its replay, and nothing else: for tools. On a dry disk
 * (storage/base/dry_disk.h) nothing is changed.
 *
 * ret_end  the position behind the last record that counts
 * Errors   as log_open()
 */
MUST_CHECK enum err log_check(const struct log_options *options, log_replay_cb replay, void *arg,
                              uint64_t *ret_end);
/** Sync, and leave word of where the log ends (DIR/end.mre): the next start is quicker, and takes
 * for damage what otherwise might be a torn tail. Behind it only log_close() is allowed. The errors
 * of log_sync(), ERR_DISK_FULL, ERR_IO: the next start has to look for the end. */
MUST_CHECK enum err log_finish(struct log *log);
/** No sync: what was not synced may be lost. */
void log_close(struct log *log);

/** Write records as one group (padded, maybe several writes). Not durable before log_sync().
 * An error is final: the log takes no more, every later call returns it. */
MUST_CHECK enum err log_write(struct log *log, struct log_record *const *records, size_t count);
MUST_CHECK enum err log_sync(struct log *log);

/** The group needs no entry at or below `index` (followers included). The next log_prepare() frees
 * files. Any thread. */
void log_keep_after(struct log *log, uint32_t group, uint64_t index);

/**
 * Release files that nobody needs, and make sure that a file waits to be next. Slow: one background
 * thread of the log's own, beside the writing one. Without it log_write() makes the files.
 *
 * Errors  ERR_DISK_FULL: no room for the next file, or fewer than reserve_bytes are free: take in
 *         nothing new, try again later. ERR_IO
 */
MUST_CHECK enum err log_prepare(struct log *log);

/** No file waits to be next: log_prepare() has work that log_write() will soon wait for. Any
 * thread. */
bool log_lacks_next(struct log *log);

/** Read the payload of the LOG_ENTRY at `position`, checked. Any thread, while the log is open.
 * ERR_NOT_FOUND when its file is gone. */
MUST_CHECK enum err log_read(struct log *log, uint64_t position, uint32_t group, uint64_t index,
                             struct buf **ret_payload);

/* ---- Damage on the disk. Any thread ------------------------------------------------------- */

/** Numbers of the oldest file and of the one that is written now. */
void log_range(struct log *log, uint32_t *ret_first, uint32_t *ret_current);
/**
 * Read all that was synced of a file, from the disk with `disk`: records, and the zeros between
 * them. The file stays meanwhile.
 *
 * Errors  ERR_CORRUPT names file and offset; ERR_NOT_FOUND: there is no such file any more; the
 *         disk's
 */
MUST_CHECK enum err log_verify(struct log *log, const struct disk *disk, uint32_t number);
/** The file is damaged: nothing more is put into it as soon as another one is ready, and once it is
 * released it is removed. */
void log_condemn(struct log *log, uint32_t number);
/** The group's highest entry that stands in this file or in an older one; 0: none. False: the file
 * is still written, nobody knows yet. */
bool log_last_index(struct log *log, uint32_t group, uint32_t number, uint64_t *ret_index);

/** Files from one position to a later one. */
static inline uint64_t log_files_between(uint64_t from, uint64_t to)
{
    return (to >> 32) - (from >> 32);
}

struct log_stats {
    uint64_t files, bytes;                  /* On disk, spare files included. */
    uint64_t written_bytes, records, syncs; /* Since the log was opened, up to the last sync. */
    uint64_t position;                      /* Up to here all is on disk. */
    bool direct;
};
/** Any thread. */
void log_stats(struct log *log, struct log_stats *ret_stats);

#endif
