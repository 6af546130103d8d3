/*
 * scrub_internal.h - what the parts of the scrub share: scrub.c has the thread, the pass and the
 * list, scrub_mend.c gets a good file, scrub_log.c has what there is to do about the log.
 */
#ifndef NODE_SCRUB_INTERNAL_H
#define NODE_SCRUB_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "node/fetcher.h"
#include "node/node.h"
#include "node/scrub.h"
#include "storage/base/paced_disk.h"
#include "storage/base/thread.h"

enum { SCRUB_PATH_SIZE = 4096 };

/** One damaged file. The thread and the shard's worker meet at it under the lock; while it is to be
 * mended the thread alone removes it, once it is mended the worker. */
struct scrub_item {
    struct scrub_item *next;
    uint32_t shard;
    struct store_file file;
    bool mended;
    uint64_t output; /* Not 0: what is in its place is this segment, of which it is a part. */
    struct segment *segment; /* Mended, counted: one of these two. An output may have none. */
    struct catalog_run *run;
    uint64_t found_ms, retry_ms, told_ms;
    uint32_t tries;
    char what[ERR_DETAIL_MAX];
    char state[ERR_DETAIL_MAX]; /* Why it is not mended yet. */
};

/** One damaged file of the log. Only the thread changes the list, under the lock. */
struct scrub_wound {
    struct scrub_wound *next;
    uint32_t number;
    uint64_t found_ms;
    char what[ERR_DETAIL_MAX];
};

struct scrub_shard {
    struct store *store; /* The thread's, to look at what any thread may; borrowed. */
    struct store *fresh; /* Under the lock: opened now that there is a catalog; for the worker. */
    bool waiting;        /* The thread's: its store waits for a catalog. */
    bool silent;         /* It rejoins (rejoin.h): its files are not ours to look at. */
    atomic_bool suspect;
    atomic_uint items; /* Written under the lock. */
};

struct scrub {
    struct node *node;
    struct thread thread;
    atomic_bool stopping;
    struct fetcher fetcher;
    struct paced_disk paced; /* The thread's, as all that has no lock and is not atomic. */
    const struct disk *disk;
    uint64_t due_ns; /* When the next window may be read. */
    bool hurry;
    struct scrub_shard *shards; /* Owned: node->shards. */
    atomic_uint log_damaged;    /* Highest number among the wounds. 0: there are none. */

    pthread_mutex_t lock;
    pthread_cond_t wake; /* For the thread: something was asked, reported. */
    struct scrub_item *items;
    struct scrub_wound *wounds;
    bool asked, running, fast;
    uint64_t next_pass_ms;
    struct scrub_status status;
};

/** Try to mend it. Gone, mended or put off: it is marked so. The thread. */
void scrub_mend(struct scrub *scrub, struct scrub_item *item);
/** Take it off the list. Under the lock. */
void scrub_remove(struct scrub *scrub, struct scrub_item *item);

/** All files of the log. ERR_CANCELED: the node stops. The thread. */
MUST_CHECK enum err scrub_check_log(struct scrub *scrub);
/** Forget the damaged files that are gone. The thread. */
void scrub_look_at_log(struct scrub *scrub);
void scrub_free_wounds(struct scrub *scrub);

#endif
