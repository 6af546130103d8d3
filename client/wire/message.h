/*
 * message.h - the payloads of frames as structs, and back.
 *
 * message_put_X() appends the payload; the caller keeps counts within the limits below (checked)
 * and looks at out->failed once at the end. message_get_X() checks everything and borrows strings
 * from the payload unless it says otherwise. After an error *ret holds nothing of use.
 *
 * Errors   ERR_INVALID, naming frame and field. HELLO and HELLO_OK: ERR_VERSION, with ret->version
 *          set, if the other side speaks another version. docs/protocol.md has the layouts.
 * Thread   Any.
 */
#ifndef CLIENT_WIRE_MESSAGE_H
#define CLIENT_WIRE_MESSAGE_H

#include <stdbool.h>

#include "client/wire/frame.h"
#include "storage/base/bytes.h"
#include "storage/base/types.h"
#include "storage/block/query.h"

enum {
    MESSAGE_TEXT_MAX = 1024,        /* Bytes of an agent or an explanation; longer ones are cut. */
    MESSAGE_QUERY_MAX = 512 * 1024, /* Bytes of a query: all its names at their limits fit. */
};

enum message_role { ROLE_CLIENT = 1, ROLE_PEER = 2 };

struct message_hello {
    uint32_t version;
    uint8_t role;
    uint64_t cluster;   /* Peers: must match. Clients: 0. */
    uint64_t server;    /* Peers: own id. */
    uint32_t worker;    /* Peers: the sending worker. */
    struct slice agent; /* "millrace 0.1.0" */
};
void message_put_hello(const struct message_hello *message, struct bytes *out);
MUST_CHECK enum err message_get_hello(const void *bytes, size_t size, struct message_hello *ret);

struct message_hello_ok {
    uint32_t version;
    uint64_t cluster;
    uint64_t server;
    uint32_t shards;
    uint32_t frame_max;
    struct slice agent;
};
void message_put_hello_ok(const struct message_hello_ok *message, struct bytes *out);
MUST_CHECK enum err message_get_hello_ok(const void *bytes, size_t size,
                                         struct message_hello_ok *ret);

struct message_error {
    uint32_t code;     /* enum err */
    uint64_t leader;   /* ERR_NOT_LEADER: server id, 0 = unknown */
    uint32_t retry_ms; /* Transient errors: come back after this; 0: do not retry as it is. */
    int64_t cutoff_ns; /* ERR_TOO_OLD: rows from this time on are taken; else 0. */
    struct slice text;
    uint32_t id_count;  /* ERR_LIMIT to a write: of the block's fresh keys, in its order, the ids */
    const uint8_t *ids; /* of those that are known all the same; u32 each, not aligned. */
};
void message_put_error(const struct message_error *message, struct bytes *out);
MUST_CHECK enum err message_get_error(const void *bytes, size_t size, struct message_error *ret);

enum { TOPOLOGY_NODES_MAX = 9, TOPOLOGY_SHARDS_MAX = 1024 };
struct message_topology {
    uint32_t nodes;
    struct {
        uint64_t server;
        char host[64];
        uint16_t native_port;
        uint16_t http_port;
        bool up; /* As the answering node sees it. */
    } node[TOPOLOGY_NODES_MAX];
    uint32_t shards;
    uint64_t leader[TOPOLOGY_SHARDS_MAX]; /* Server id; 0 = unknown. */
};
void message_put_topology(const struct message_topology *message, struct bytes *out);
MUST_CHECK enum err message_get_topology(const void *bytes, size_t size,
                                         struct message_topology *ret);

/* DECLARE: table key, then fields; the answer has the decided type of each in the same order. */
struct message_declare_field {
    struct slice name;
    uint8_t type;
};
struct message_declare {
    struct slice table_key;
    uint32_t count;
    struct message_declare_field fields[FIELD_COUNT_MAX];
};
void message_put_declare(const struct message_declare *message, struct bytes *out);
MUST_CHECK enum err message_get_declare(const void *bytes, size_t size,
                                        struct message_declare *ret);

/* DATABASE: what to do with one, or with all of them. */
enum database_op { DATABASE_CREATE = 1, DATABASE_ALTER = 2, DATABASE_DROP = 3, DATABASE_LIST = 4 };
struct message_database {
    uint8_t op; /* enum database_op */
    /* CREATE, ALTER: else the default, or what it was. */
    bool sets_retention, sets_bytes, sets_series;
    uint64_t retention_ns;    /* 0: for ever */
    uint64_t retention_bytes; /* 0: no limit */
    uint64_t series_max;      /* 0: no limit */
    struct slice name;        /* Empty for LIST. */
};
void message_put_database(const struct message_database *message, struct bytes *out);
MUST_CHECK enum err message_get_database(const void *bytes, size_t size,
                                         struct message_database *ret);

/* DATABASE_OK: the database as it is now; those of a list; none after a drop. */
struct message_database_info {
    struct slice name;
    uint64_t retention_ns, retention_bytes, series_max;
    uint64_t window_ns; /* Of a segment. */
};
void message_put_database_info(const struct message_database_info *info, struct bytes *out);
/** The next one of a DATABASE_OK: start with `*at` 0; ERR_END behind the last. */
MUST_CHECK enum err message_get_database_info(const void *bytes, size_t size, size_t *at,
                                              struct message_database_info *ret);

/* DELETE: the shard, then a tombstone (tombstone.h), which is checked, too. */
struct message_delete {
    uint32_t shard;
    struct slice tombstone;
};
void message_put_delete(const struct message_delete *message, struct bytes *out);
MUST_CHECK enum err message_get_delete(const void *bytes, size_t size, struct message_delete *ret);

/* WRITE_OK: applied at the leader after commit on a majority's disk. */
struct message_write_ok {
    uint32_t shard;
    uint64_t sequence;
    uint64_t index; /* Log index of the entry; 0 for a duplicate. */
    uint32_t rows;
    bool duplicate;
    uint32_t id_count;  /* Ids of the block's fresh keys, in its order. */
    const uint8_t *ids; /* u32 each, not aligned. */
};
void message_put_write_ok(const struct message_write_ok *message, struct bytes *out);
MUST_CHECK enum err message_get_write_ok(const void *bytes, size_t size,
                                         struct message_write_ok *ret);

/* QUERY and SHARD_QUERY: strings are copied into `room`, which the query then borrows. Owned by who
 * decoded it: message_query_fini(). ERR_TOO_LARGE above MESSAGE_QUERY_MAX, ERR_NO_MEMORY. */
struct message_query {
    struct query query;
    uint32_t shard;      /* SHARD_QUERY only. */
    uint32_t timeout_ms; /* 0: the node's default. */
    struct bytes room;
};
void message_put_query(const struct query *query, uint32_t shard, uint32_t timeout_ms,
                       struct bytes *out);
MUST_CHECK enum err message_get_query(const void *bytes, size_t size, struct message_query *ret);
void message_query_fini(struct message_query *message);

/* QUERY_END, SHARD_END */
struct message_query_end {
    uint32_t code; /* enum err; 0: complete */
    uint64_t rows;
    uint64_t stale_ms; /* QUERY_ANY: age of the answer at most; 0 otherwise. */
    uint64_t leader;   /* ERR_NOT_LEADER: who leads, 0 = unknown. */
    struct slice text;
    struct query_place next; /* Of a page. */
};
void message_put_query_end(const struct message_query_end *message, struct bytes *out);
MUST_CHECK enum err message_get_query_end(const void *bytes, size_t size,
                                          struct message_query_end *ret);

#endif
