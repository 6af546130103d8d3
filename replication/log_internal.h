/*
 * log_internal.h - what the files of the shared log share: for log*.c only.
 *
 *     log.c            open, write, sync, read
 *     log_files.c      the files: make, recycle, release; the table that all threads look at
 *     log_recovery.c   what a start finds in them
 *     log_end.c        what an orderly stop says of their end
 *     log_verify.c     what a scrub finds in them
 *     log_reader.c     records, one by one
 *     log_read_ahead.c their bytes, before recovery asks for them
 *     log_format.c     the bytes
 *
 * THREADS   Fields are grouped by who may touch them. The writing thread owns the end of the log;
 *           the table of files is under the lock, which is never held across a disk call.
 */
#ifndef REPLICATION_LOG_INTERNAL_H
#define REPLICATION_LOG_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "replication/log.h"
#include "replication/log_reader.h"

enum {
    LOG_STAGE_BYTES = LOG_WINDOW_BYTES, /* One write; at 1 MiB a disk gives its full speed. */
    LOG_CONFIGURATION_MAX = 64 * 1024,
    LOG_PATH_ROOM = 32, /* Bytes a path needs behind the directory's. */
};

struct log_file {
    struct log_part part;  /* Its file is owned; positioned reads and writes: any thread. */
    uint64_t end;          /* Lock: where its last record ended; 0 while it is written. */
    uint32_t readers;      /* Lock: of threads that read it. */
    atomic_bool condemned; /* It is damaged: log_condemn(). */
    uint64_t last_index[]; /* Of each group, its highest LOG_ENTRY in here, 0: none. Written by the
                              writing thread while it is the current file, then only read. */
};

struct log_group {
    /* Writing thread: what the next LOG_STATE will say. */
    bool known;
    uint64_t term;
    uint64_t vote;
    struct log_state_payload snapshot;
    uint8_t *configuration; /* Owned. */
    uint32_t configuration_size;

    /* Lock. */
    uint64_t keep_after;
    uint64_t snapshot_synced; /* snapshot.snapshot_index, once it is on disk. */
};

struct log {
    struct log_options options;
    char *dir;                /* Owned; options.dir too. */
    struct log_group *groups; /* Owned, options.groups of them. */

    /* Writing thread. */
    struct log_file *current;
    uint64_t at;       /* Where in it the next group starts: aligned. */
    uint64_t end;      /* Where its last record ended; LOG_ALIGN if there is none. */
    uint64_t synced;   /* Everything before this position is on disk. */
    uint64_t claiming; /* What the record written last says of that, ... */
    uint64_t claimed;  /* ... and what records say that are on disk themselves. */
    uint16_t life;     /* Of the records written since this start. */
    bool dirty;        /* Something was written since the last sync. */
    bool snapshots_dirty;
    bool finished;          /* log_finish(): nothing is written any more. */
    struct err_note failed; /* Code ERR_OK: not. */
    uint8_t *stage;         /* Owned, LOG_STAGE_BYTES, aligned. */
    size_t staged;
    uint64_t stage_at; /* The stage's place in the current file. */
    uint64_t written_bytes;
    uint64_t records;
    uint64_t syncs;

    /* Lock. */
    pthread_mutex_t lock;
    pthread_cond_t prepared;
    struct log_file **files; /* Ascending, without holes. The current one, and what follows it
                                (empty, ready to be written). */
    uint32_t file_count;
    uint32_t file_capacity;
    uint32_t current_at; /* Of the current file in `files`. */
    uint32_t *spares;    /* Numbers of NNNNNNNN.spare files: released, to be used again. */
    uint32_t spare_count;
    uint32_t spare_capacity;
    bool preparing;        /* One thread at a time makes files. */
    uint64_t claimed_seen; /* Copy of `claimed`. */
    struct log_stats stats;
};

/* ---- log_files.c --------------------------------------------------------------------------- */

/** "DIR/00000001.log"; room for strlen(dir) + LOG_PATH_ROOM bytes. */
void log_files_path(const struct log *log, uint32_t number, const char *ending, char *path);

/** "DIR/NAME", NAME of at most LOG_PATH_ROOM - 2 bytes. */
void log_files_path_of(const struct log *log, const char *name, char *path);

/** Open an existing file and add it to the table's end. Takes what its header says. */
MUST_CHECK enum err log_files_open(struct log *log, const struct log_file_header *header,
                                   struct file *file);

/** Make a new zeroed file and add it to the table's end. */
MUST_CHECK enum err log_files_create(struct log *log, uint32_t number, uint64_t bytes);

/** Make sure a file follows the current one. Any thread. */
MUST_CHECK enum err log_files_ensure_next(struct log *log);

/** The next file becomes the current one: there is one. Writing thread. */
void log_files_advance(struct log *log);

/** Remember a spare. */
MUST_CHECK enum err log_files_add_spare(struct log *log, uint32_t number);

/** The file of that number, kept from being recycled until it is unpinned. NULL: it is gone. Any
 * thread. */
struct log_file *log_files_pin(struct log *log, uint32_t number);
void log_files_unpin(struct log *log, struct log_file *file);

void log_files_fini(struct log *log);

/* ---- log_recovery.c ------------------------------------------------------------------------ */

/** Find the files, replay them, look behind the end; sets current, at, end, synced, life and the
 * groups. Writes nothing but the first file of an empty directory. */
MUST_CHECK enum err log_recovery_run(struct log *log, log_replay_cb replay, void *arg);

/* ---- log_end.c ----------------------------------------------------------------------------- */

/** Where the log ended when it was finished: a position; 0: nobody said so. */
uint64_t log_end_read(const struct log *log);

/** Nobody has said so, durably: before the first write. The errors of remove and sync_dir. */
MUST_CHECK enum err log_end_remove(const struct log *log);

/* ---- log.c --------------------------------------------------------------------------------- */

/** Take over what a LOG_TERM, LOG_SNAPSHOT or LOG_INSTALL says into its group. ERR_NO_MEMORY. */
MUST_CHECK enum err log_adopt(struct log *log, const struct log_record *record);

#endif
