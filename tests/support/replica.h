/*
 * replica.h - a store on a disk in memory, with the log that feeds it: one replica without Raft.
 *
 * The log is an array of entries that outlives crashes; opening replays what the manifest lacks,
 * as a node does.
 */
#ifndef TESTS_SUPPORT_REPLICA_H
#define TESTS_SUPPORT_REPLICA_H

#include "storage/snapshot.h"
#include "storage/store.h"
#include "tests/support/contents.h"
#include "tests/support/entries.h"
#include "tests/support/mem_disk.h"

struct replica {
    struct mem_disk *disk; /* Owned. */
    struct store_options options;
    struct store *store; /* NULL: closed. */
    struct buf **log;    /* log[i] is the entry of index i + 1; NULL: not a command. */
    size_t log_count;
};

/** With shard 0 of 1 in folder "data", and limits that no test meets by chance. Not open. */
void replica_init(struct replica *replica);
/** Closes the store. */
void replica_fini(struct replica *replica);

/** Open the store, apply the log from behind what it holds, and run the seals met in it. */
MUST_CHECK enum err replica_open(struct replica *replica);
void replica_close(struct replica *replica);

/** Append to the log and apply. A seal is run at once; its error is returned. */
MUST_CHECK enum err replica_apply(struct replica *replica, struct buf *entry,
                                  enum store_outcome *ret_outcome);
/** As a leader: admit, then replica_apply(). Aborts if it is not admitted and applied. */
void replica_write(struct replica *replica, const struct entries_from *from,
                   const struct entries_value *values, size_t count);
MUST_CHECK enum err replica_seal(struct replica *replica);

/** Make all segments that were ordered; the first error ends it. */
MUST_CHECK enum err replica_compact(struct replica *replica);

/** As a leader: find out which segments have rows that deletes up to a log index hide. */
MUST_CHECK enum err replica_prove(struct replica *replica, uint64_t erase_index);

/** All values, as the store shows them now. */
MUST_CHECK enum err replica_read(struct replica *replica, struct contents *ret_contents);

#endif
