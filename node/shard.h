/*
 * shard.h - one replica on its worker: the Raft group, the state machine behind it, and who waits.
 *
 *    write_request -> parked (until its fields' types are known) -> admitted, proposed -> waiting
 *                                                                                          |
 *    done() <------------------------- applied, outcome <---- group commits <--------------'
 *
 * Group 0 is the meta group: its state machine is meta.h's, and it has no store.
 *
 * ORDER    Requests of one shard are admitted in the order in which they came: one that waits for a
 *          type holds back those behind it, so a producer's sequences never overtake each other.
 * LOST     When leadership goes, all waiting requests end with ERR_UNAVAILABLE: they may be applied
 *          later, or never; asking again with the same sequence tells.
 * Thread   The owner's worker. Seals, scans and reads of old entries run in the pool.
 */
#ifndef NODE_SHARD_H
#define NODE_SHARD_H

#include "node/router.h"
#include "node/worker.h"
#include "replication/group.h"
#include "storage/store.h"

struct compact_task;
struct seal_task;
struct read_wait;

/** A log index of some time ago: nothing up to it is new any more. */
struct shard_aged {
    uint64_t index; /* 0: not known yet. */
    uint64_t next;  /* What it will be. */
    uint64_t since_ms;
};

/** From the group's start until it serves: it knows a leader, and has applied what that one has
 * committed. */
struct shard_start {
    bool serves;
    uint64_t began_ns, led_ns; /* Start; a leader is known. */
    uint64_t from;             /* The store had applied that much. */
    uint64_t apply_ns;         /* Spent in shard_apply(). */
};

/** What another node that begins again was told of: its bytes, as long as it asks for them. */
struct shard_offer {
    struct bytes bytes; /* Owned; empty: nothing is offered. */
    uint64_t hash;
    uint64_t asked_ms;
};

struct shard {
    struct worker *worker;
    uint32_t number; /* Of the group; the shard's own number is one less. */
    struct group *group;
    struct store *store; /* NULL: group 0. */
    struct meta *meta;   /* Group 0 only. */
    struct write_request *parked, **parked_end;
    struct write_request *waiting, **waiting_end; /* By wait_index, ascending. */
    bool declaring;                               /* The first parked one asks for types. */
    bool resuming;                                /* shard_resume() is on the stack. */
    uint64_t seal_index; /* Of the seal that we have proposed and not applied; 0: none. */
    struct seal_task *seals, **seals_end;         /* The first one is in the pool. */
    struct order_request *deletes, **deletes_end; /* Wait to be applied, by wait_index. */
    uint64_t last_proposed;                       /* Since we lead; 0: nothing. */
    uint64_t pressed_ms;                          /* Last seal for the log's sake. */
    uint64_t looked_ms;                           /* Last look for what has to be dropped. */
    uint64_t drops_done; /* Databases' drops up to this number were ordered here, and applied. */
    uint64_t kept_after; /* Last told to the log. */
    struct shard_aged quiet, erase; /* What is not written to any more; is to be erased. */
    uint64_t proved_ms;             /* Last look for segments that deletes are due for. */
    bool compact_failed;            /* The last one did, and that was said. */
    uint64_t compact_wanted_ms;     /* Since when there is one to order; 0: there is none. */
    uint64_t led_since_ms;          /* 0: we do not lead. */
    uint64_t damaged_ms;            /* Files are damaged since then; 0: none is. */
    uint64_t left_ms;               /* Last tried to hand over for that. */
    uint64_t asked_ms;              /* Last seal for the sake of a damaged log. */
    uint64_t held_ms; /* Since then others lack what stands in one here; 0: they do not. */
    struct shard_start start;
    struct shard_offer offer;
    bool silent;       /* It rejoins (rejoin.h), and its group is not started. */
    bool installed;    /* It has, and may still be mute. */
    uint64_t lacks_ms; /* The leader's log may begin behind ours since then; 0: it does not. */
    struct read_wait *reads; /* Linearizable queries that wait for their round. */
    uint64_t read_token;
};

/** Before the log is replayed: open the store (or meta) and make the group. Any thread, one for all
 * of a worker's. */
MUST_CHECK enum err shard_new(struct worker *worker, uint32_t number, struct shard **ret_shard);
/** Nothing of it may be in the pool. */
void shard_free(struct shard *shard);
/** After the log was replayed, on the worker. */
MUST_CHECK enum err shard_start(struct shard *shard);

/** Take a write in; route.done() follows in any case. */
void shard_write(struct shard *shard, struct write_request *request);
/** Answer one shard's part of a query; route.done() follows in any case. */
void shard_query(struct shard *shard, struct query_request *request);

/** Every 100 ms: scans that wait for the pool, and nobody waits for them, end. */
void shard_scan_tick(struct worker *worker);

/** Delete rows, as the leader; route.done() follows in any case. */
void shard_delete(struct shard *shard, struct order_request *request);

/** Read a piece of a file, or of what the group knows, for another node; route.done() follows in
 * any case. */
void shard_piece(struct shard *shard, struct piece_request *request);
/** Worker 0, now and then: tell the other nodes which shards have damaged files here. */
void shard_tell_damage(struct worker *worker, uint64_t now_ms);
/** Another node has told us that: the payload of a FRAME_DAMAGED. Any worker. */
void shard_hear_damage(struct node *node, uint64_t server, const struct buf *payload);

/** That node has said of late that its files of the group's shard are damaged. Any worker. */
bool shard_is_damaged_at(const struct node *node, uint64_t server, uint32_t group);
/** So has every node, this one too. */
bool shard_is_damaged_everywhere(const struct node *node, uint32_t group);

/** Every 100 ms, for all of the worker's shards: seals, pruning, balance, the board. */
void shard_tick_all(struct worker *worker, uint64_t now_ms);
/** After events: tell everybody who leads. */
void shard_publish(struct shard *shard);
/** Ask for types is answered, or a type was learned: go on with the parked ones. */
void shard_resume(struct shard *shard);
/** End every request that waits here: writes, declarations, linearizable reads. */
void shard_fail_all(struct shard *shard, enum err code, const char *why);

/** Leads and may propose; otherwise ERR_NOT_LEADER or ERR_UNAVAILABLE (in `ret_answer`). */
bool shard_can_propose(const struct shard *shard, struct answer *ret_answer);
/** Propose a command of our own. Takes a reference on success. */
MUST_CHECK enum err shard_propose(struct shard *shard, struct buf *entry, uint64_t *ret_index);

/** The worker's group with this number, or NULL if another worker owns it. */
struct shard *shard_find(struct worker *worker, uint32_t group);

#endif
