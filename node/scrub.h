/*
 * scrub.h - looks for damage in this node's files, and mends it from other nodes: one thread.
 *
 *     pass:  meta.mrc -> log -> shard 0: manifest, catalog, segments -> shard 1 ...
 *                 |                                      every 24 h, or when it is asked for
 *     damaged ----+<--- a scan or a merge met it (scrub_report)
 *        |
 *        v                                 other nodes, one after the other
 *     the list --> still damaged? --> FETCH piece by piece --> NAME.mend.tmp, synced, verified
 *        ^                                                        |
 *        '-- scrub_sync() on the worker: refuse what needs it     v
 *                          or take the good file in  <-- renamed over the damaged one, opened
 *
 * QUIET     The thread is nice 19, reads past the page cache at storage.scrub_rate, and asks for
 *           one piece of at most 256 KiB at a time, so what others have to do comes first. Once
 *           there is something to mend it does not wait for its rate.
 * KEPT      Nothing is ever given up: what no node has in a good state is asked for again and
 *           again, is shown by name, and is refused to whoever asks for it.
 * Thread    Any, unless it says otherwise.
 */
#ifndef NODE_SCRUB_H
#define NODE_SCRUB_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/store_damage.h"

struct node;
struct scrub;
struct worker;

/** After the stores were opened and before the workers run. ERR_NO_MEMORY, ERR_UNAVAILABLE. */
MUST_CHECK enum err scrub_start(struct node *node, struct scrub **ret_scrub);
/** End the thread; before the workers end. What it still knows is forgotten by scrub_free(). */
void scrub_stop(struct scrub *scrub);
/** After the workers have ended. NULL is allowed. */
void scrub_free(struct scrub *scrub);

/** Begin a pass now, and read fast. It is complete when so many passes are as it returns. */
uint64_t scrub_ask(struct scrub *scrub);
/** Somebody met damage in a file. */
void scrub_report(struct scrub *scrub, uint32_t shard, const struct store_file *file,
                  const char *what);
/** Somebody met damage in a shard, and cannot say where: look at its catalog. */
void scrub_suspect(struct scrub *scrub, uint32_t shard);

/** Files of the shard that are damaged. */
uint32_t scrub_count(const struct scrub *scrub, uint32_t shard);
/** Highest number of a log file that is damaged; 0: none is. What stands in it and in older ones
 * has to be sealed. */
uint32_t scrub_damaged_log(const struct scrub *scrub);
/** The shard's worker: tell the store what is damaged, and take in what was mended. The store of a
 * shard that waited for its catalog is replaced; true: so it was, and it can begin. */
bool scrub_sync(struct scrub *scrub, uint32_t shard, struct store **store);
/** Worker 0: send what the thread asks other nodes for. */
void scrub_serve(struct scrub *scrub, struct worker *worker);

struct scrub_status {
    bool running;
    uint64_t passes;                 /* Complete, since the start. */
    uint64_t files, bytes;           /* Of the pass that runs, or of the last one. */
    uint64_t complete_unix_s;        /* When the last one was complete; 0: none was. */
    uint64_t found, mended, damaged; /* Since the start; now. */
};
void scrub_status(struct scrub *scrub, struct scrub_status *ret_status);

/** A file that is damaged now. Borrowed during the call. */
struct scrub_damage {
    int shard; /* -1: it is of the log. */
    const char *file, *what, *state;
    uint64_t since_ms; /* Ago. */
};
void scrub_each(struct scrub *scrub, void (*each)(void *arg, const struct scrub_damage *damage),
                void *arg);

#endif
