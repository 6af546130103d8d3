/*
 * frame.h - the native protocol's frames: what stands on every connection, client or peer.
 *
 *     0 | magic "MRF1" | crc | size | type | flags | request | 24 | payload (size bytes)
 *
 * Little-endian. The CRC-32C covers bytes 8 to 23 and the payload. A receiver that finds a wrong
 * magic, size or checksum closes the connection: there is no way to find the next frame.
 * `request` is chosen by the asker and stands in every answer. Requests on one connection are
 * answered in any order. docs/protocol.md is the specification.
 */
#ifndef CLIENT_WIRE_FRAME_H
#define CLIENT_WIRE_FRAME_H

#include <assert.h>
#include <stdint.h>

#include "storage/base/attrs.h"
#include "storage/base/err.h"
#include "storage/block/entry.h"

#define FRAME_MAGIC 0x3146524du /* "MRF1" */

enum {
    PROTOCOL_VERSION = 1,
    FRAME_PAYLOAD_MAX = ENTRY_SIZE_MAX + 64 * 1024,
    FRAME_MORE = 1, /* flags: this frame is a piece, the next of this type continues it */
};

/* The numbers are sent: append only. */
enum frame_type {
    FRAME_HELLO = 1,
    FRAME_HELLO_OK = 2,
    FRAME_ERROR = 3, /* struct message_error: answers any request */
    FRAME_PING = 4,
    FRAME_PONG = 5,
    FRAME_TOPOLOGY = 6, /* empty */
    FRAME_TOPOLOGY_OK = 7,
    FRAME_DECLARE = 8, /* fields and their types */
    FRAME_DECLARE_OK = 9,
    FRAME_WRITE = 10, /* the payload is an entry (entry.h) with a block */
    FRAME_WRITE_OK = 11,
    FRAME_QUERY = 12,
    FRAME_QUERY_BATCH = 13, /* columns (columns.h) */
    FRAME_QUERY_END = 14,
    FRAME_STATUS = 15,      /* empty, or "all" for the whole site */
    FRAME_STATUS_OK = 16,   /* JSON */
    FRAME_CANCEL = 17,      /* a query of this connection or peer, by `request` */
    FRAME_DATABASE = 18,    /* make, alter, drop or list databases */
    FRAME_DATABASE_OK = 19, /* the databases */
    FRAME_DELETE = 20,      /* rows of one shard */
    FRAME_DELETE_OK = 21,   /* empty */
    FRAME_SCRUB = 22,       /* empty: verify all files now */
    FRAME_SCRUB_OK = 23,    /* u64: done when so many passes are complete */
    FRAME_RAFT = 32,        /* Peers: raft messages (raft_wire.h) */
    FRAME_SHARD_QUERY = 33, /* Peers: shard, then a query */
    FRAME_SHARD_ROWS = 34,  /* columns */
    FRAME_SHARD_PART = 35,  /* an encoded aggregate */
    FRAME_SHARD_END = 36,
    FRAME_FETCH = 37,    /* Peers: a piece of a file (fetch.h) */
    FRAME_FETCH_OK = 38, /* its bytes */
    FRAME_DAMAGED = 39,  /* Peers: shards with damaged files; has no answer */
};

struct frame_header {
    uint32_t magic;
    uint32_t crc;
    uint32_t size; /* Payload bytes. */
    uint16_t type;
    uint16_t flags;
    uint64_t request;
};
static_assert(sizeof(struct frame_header) == 24, "sent: the size cannot change");

/** Fill in magic, size and crc. */
void frame_seal(struct frame_header *header, const void *payload, size_t size);
/** Check magic and size (not the crc) of 24 bytes. ERR_INVALID, ERR_TOO_LARGE. */
MUST_CHECK enum err frame_check_header(const void *bytes, struct frame_header *ret_header);
/** Check the crc. ERR_CORRUPT. */
MUST_CHECK enum err frame_check_payload(const struct frame_header *header, const void *payload);

#endif
