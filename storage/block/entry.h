/*
 * entry.h - what Raft orders: 64 bytes of header, then a body that the header's kind names.
 *
 * The client library (or the node that parsed text) makes the entry once. The very same bytes are
 * the payload of the WRITE frame, of the raft entry, of the log record, and what the head keeps.
 * Only the leader of the shard changes them, before it proposes: it stamps series ids into the
 * block's directory (block.h) and renews the header's checksum.
 *
 *     0 | magic "MRE1" | crc | size | kind version flags |
 *    16 | producer | epoch | shard | sequence |
 *    40 | zeros | 64
 *
 * EXACTLY ONCE   (producer, epoch, sequence) is counted per shard. A producer's first sequence in
 *                a shard is 1, and again 1 in each higher epoch; the next one is always the last
 *                one plus 1. The state machine applies only that; an older one is answered as
 *                done, a gap is refused (ERR_SEQUENCE). Producer 0 asks for no such thing.
 */
#ifndef STORAGE_BLOCK_ENTRY_H
#define STORAGE_BLOCK_ENTRY_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/base/attrs.h"
#include "storage/base/err.h"

enum entry_kind {
    ENTRY_BLOCK = 1,    /* One block of rows and new series keys (block.h). */
    ENTRY_SEAL = 2,     /* Move all before this entry into segments, drop some (seal_order.h). */
    ENTRY_SCHEMA = 3,   /* Group 0: fields and their types (replication/meta.h). */
    ENTRY_DATABASE = 4, /* Group 0: a database is made (replication/meta.h). */
    ENTRY_KIND_END
};

#define ENTRY_MAGIC 0x3145524du /* "MRE1" */

enum {
    ENTRY_VERSION = 1,
    ENTRY_SIZE_MAX = 16 * 1024 * 1024, /* Bytes, header included. */
};

struct entry_header {
    uint32_t magic;    /*  0 */
    uint32_t crc;      /*  4: CRC-32C of bytes 8 to 63 */
    uint32_t size;     /*  8: bytes of the whole entry */
    uint8_t kind;      /* 12: enum entry_kind */
    uint8_t version;   /* 13 */
    uint16_t flags;    /* 14: 0 */
    uint64_t producer; /* 16: 0 = none */
    uint32_t epoch;    /* 24 */
    uint32_t shard;    /* 28: the shard that the sender routed to */
    uint64_t sequence; /* 32 */
    uint8_t zero[24];  /* 40 */
};
static_assert(sizeof(struct entry_header) == 64, "stored on disk: the size cannot change");

/** Fill in magic, version and checksum of a header whose other fields are set. */
void entry_stamp(struct entry_header *header);

/** Check header and size of an entry of `size` bytes; copies the header out. ERR_INVALID. */
MUST_CHECK enum err entry_check(const void *bytes, size_t size, struct entry_header *ret_header);

#endif
