/*
 * router.h - requests that may have to be carried out elsewhere: by another worker, another node.
 *
 *    router_write()   shard led here  -> its worker: shard_write()
 *                     led elsewhere   -> FRAME_WRITE over the link -> there: shard_write()
 *    answer           -> the worker that asked -> request->done()
 *
 * REQUESTS   are structs of the asker, made with malloc, carried by pointer and given back through
 *            done(), always exactly once, on the asker's worker. A request that went over a link is
 *            found again by its number: worker (8 bits), slot (24), generation (32).
 *            A link that breaks, a new leader, or 10 s without an answer (of a query: its own
 *            time) end it with ERR_UNAVAILABLE or ERR_TIMEOUT: then nobody knows whether it was
 *            done, and the asker asks again, a writer with the same sequence.
 */
#ifndef NODE_ROUTER_H
#define NODE_ROUTER_H

#include <stdatomic.h>
#include <stdbool.h>

#include "client/wire/fetch.h"
#include "client/wire/frame.h"
#include "storage/base/bytes.h"
#include "storage/base/err.h"
#include "storage/base/types.h"
#include "storage/block/query.h"

struct buf;
struct worker;

enum route_kind { ROUTE_WRITE, ROUTE_DECLARE, ROUTE_ORDER, ROUTE_QUERY, ROUTE_PIECE };

/** How it went. */
struct answer {
    enum err code;
    uint64_t leader;   /* ERR_NOT_LEADER: who leads, 0 = unknown. */
    uint32_t retry_ms; /* Transient: come back after this. */
    int64_t cutoff_ns; /* ERR_TOO_OLD: rows from then on are taken. */
    char text[ERR_DETAIL_MAX];
};

/** What every request begins with. */
struct route {
    enum route_kind kind;
    struct worker *origin; /* Who asked. */
    void (*done)(struct route *route);
    struct answer answer;
    uint64_t peer;       /* Asked over the link: that server, */
    uint64_t number;     /* with that number. */
    uint64_t expires_ms; /* Likewise. */
};

struct write_request {
    struct route route;
    uint32_t shard;
    struct buf *entry; /* Counted. */
    bool local_only;   /* Answer ERR_NOT_LEADER instead of forwarding. */
    /* Result */
    bool duplicate;
    uint64_t index;
    uint32_t rows;
    uint32_t id_count;
    uint32_t *ids; /* Owned; for the block's fresh keys. */
    /* The owner's */
    uint64_t wait_index;
    uint64_t proposed_ns;
    struct write_request *next;
};

/** Decide the types of fields; makes the database if that is allowed. */
struct declare_request {
    struct route route;
    struct bytes message; /* Owned: an encoded struct message_declare. */
    uint8_t *types;       /* Owned: the decided ones, one for each field. */
    uint32_t count;
    uint32_t shard;  /* The asker's: a group number. */
    bool local_only; /* Answer ERR_NOT_LEADER instead of forwarding. */
    uint64_t wait_index;
    struct declare_request *next;
};

/** What a group's leader is to put into its log for an operator: databases, in the meta group
 * (FRAME_DATABASE); deletes, in a shard's (FRAME_DELETE). */
struct order_request {
    struct route route;
    uint32_t group;       /* 0: about databases. */
    struct bytes message; /* Owned: an encoded struct message_database or message_delete. */
    bool local_only;      /* Answer ERR_NOT_LEADER instead of forwarding. */
    /* Result */
    struct bytes answer; /* Owned: the payload of the answer's frame. */
    /* The owner's */
    uint64_t wait_index;
    uint64_t due_ms;
    struct order_request *next;
};

struct query_part {
    struct buf *bytes; /* Counted. */
    bool aggregate;    /* An encoded aggregate; else columns. */
};

/** One shard's share of a query. */
struct query_request {
    struct route route;
    uint32_t shard;
    const struct query *query; /* Borrowed until done(). */
    uint32_t timeout_ms;
    uint64_t at; /* Ask this other node; 0: who leads, but for the next two. */
    bool local;  /* This node's replica may answer, whoever leads. */
    bool here;   /* Answer ERR_NOT_LEADER instead of forwarding. */
    /* Set by router_cancel(), read by the pool: nobody wants the answer any more. */
    atomic_bool canceled;
    /* Result */
    struct query_part *parts; /* Owned. */
    uint32_t part_count;
    uint64_t bytes; /* Of all parts. */
    uint64_t rows;
    uint64_t stale_ms;
    struct query_place next; /* Of a page. */
};

/** A piece of a file: from another node, or here for another one. */
struct piece_request {
    struct route route;
    void *asker;
    bool abandoned;  /* The asker's. */
    uint64_t server; /* Whom to ask; 0: this node, */
    uint64_t from;   /* for that other one. */
    uint32_t timeout_ms;
    struct fetch_piece piece;
    struct buf *bytes; /* Result, counted. */
};

struct router_slot {
    struct route *route; /* NULL: free. */
    uint32_t generation;
    uint32_t next_free;
};

struct router {
    struct router_slot *slots; /* Owned. */
    uint32_t count;
    uint32_t free; /* First free slot; count: none. */
};

void router_fini(struct router *router);

/** Carry the request out; route.origin, done and the request's own fields are set. */
void router_write(struct worker *worker, struct write_request *request);
void router_declare(struct worker *worker, struct declare_request *request);
void router_order(struct worker *worker, struct order_request *request);
void router_query(struct worker *worker, struct query_request *request);
void router_piece(struct worker *worker, struct piece_request *request);

/** The asker, on his worker, wants no answer any more: it ends soon, wherever it is, and done()
 * follows, perhaps before this returns. */
void router_cancel(struct worker *worker, struct query_request *request);

/** Give a request back to its asker, from the worker that carried it out. */
void router_answer(struct worker *worker, struct route *route);
/** Fill in route->answer from this thread's err_detail() and answer. */
void router_fail(struct worker *worker, struct route *route, enum err code, uint32_t retry_ms);

/** The decided types of a done request into this worker's copy of the schema: they are found there
 * from now on. ERR_UNAVAILABLE: the answer does not fit the question; ERR_LIMIT, ERR_NO_MEMORY. */
MUST_CHECK enum err router_learn_types(struct worker *worker,
                                       const struct declare_request *request);
/** The decided types of a done request as the payload of a FRAME_DECLARE_OK. */
void router_encode_types(const struct declare_request *request, struct bytes *out);

/** Fill in group and message of an order from a frame's payload, and the type of its answer.
 * ERR_INVALID: a delete that makes no sense. */
MUST_CHECK enum err router_read_order(uint16_t frame, const struct buf *payload,
                                      struct order_request *request, uint16_t *ret_answer);

/** Free what a request owns, and the request. */
void router_free_write(struct write_request *request);
void router_free_declare(struct declare_request *request);
void router_free_order(struct order_request *request);
void router_free_query(struct query_request *request);
void router_free_piece(struct piece_request *request);

/** For router.c: the payload of an answer into its request. ERR_END: more is to come. */
MUST_CHECK enum err router_take(struct worker *worker, struct route *route, uint16_t type,
                                struct buf *payload);

/** A frame that is not raft's came from another node. */
void router_frame(struct worker *worker, uint64_t from, const struct frame_header *header,
                  struct buf *payload);
/** The link to that server broke: end what waits for it. */
void router_peer_down(struct worker *worker, uint64_t server);
/** The worker closes: end all that waits for other nodes, refuse what comes. */
void router_close(struct worker *worker);
/** End what has waited too long, or for somebody who leads no more. */
void router_tick(struct worker *worker, uint64_t now_ms);

#endif
