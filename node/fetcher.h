/*
 * fetcher.h - for a thread that may wait: pieces of files from other nodes, one at a time.
 *
 *    thread: fetcher_piece() --bell--> worker 0: fetcher_serve() --link--> that node's worker
 *               waits  <-------------------------- answer, time-out, link down <-----'
 *
 * Thread    One owner, which calls what waits; fetcher_serve() is for worker 0, fetcher_stop() for
 *           any.
 * Errors    ERR_CANCELED: this node stops; ERR_DISK_FULL: its disk is full; ERR_NO_MEMORY; what the
 *           other node says; ERR_TIMEOUT, ERR_UNAVAILABLE: that one is away, stops or has no room
 */
#ifndef NODE_FETCHER_H
#define NODE_FETCHER_H

#include <pthread.h>

#include "node/router.h"
#include "storage/base/file.h"
#include "storage/store_damage.h"

struct buf;
struct node;
struct worker;

struct fetcher {
    struct node *node;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping;
    struct piece_request *ask;      /* To be sent by worker 0. */
    struct piece_request *answered; /* Came back. */
};

void fetcher_init(struct fetcher *fetcher, struct node *node);
/** The owner's thread has ended. */
void fetcher_fini(struct fetcher *fetcher);
/** Whoever waits goes on at once, with ERR_CANCELED. */
void fetcher_stop(struct fetcher *fetcher);
/** Send what the owner waits for. */
void fetcher_serve(struct fetcher *fetcher, struct worker *worker);

/** One piece, all of it. `tries`: how often that node was asked in vain; it is given more time
 * then. *ret_bytes is counted. */
MUST_CHECK enum err fetcher_piece(struct fetcher *fetcher, uint64_t server,
                                  const struct fetch_piece *piece, uint32_t tries,
                                  struct buf **ret_bytes);

/** All pieces of `whole`, whose offset and length are not looked at: into ret_bytes, which has room
 * for whole->size. */
MUST_CHECK enum err fetcher_read(struct fetcher *fetcher, uint64_t server,
                                 const struct fetch_piece *whole, uint32_t tries,
                                 uint8_t *ret_bytes);

/** A shard's file, written to `path`, synced, and verified as it stands there, which is read with
 * `disk`. After an error there is nothing at `path`. */
MUST_CHECK enum err fetcher_file(struct fetcher *fetcher, uint64_t server, uint32_t shard,
                                 const struct store_file *file, uint32_t tries,
                                 const struct disk *disk, const char *path);

#endif
