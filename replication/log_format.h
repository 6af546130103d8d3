/*
 * log_format.h - the bytes of a log file: headers made, sealed and checked.
 *
 * docs/formats.md is the specification. Little-endian; every field is at its natural place.
 *
 *   file     struct log_file_header, zeros to 4096 | groups of records | zeros, or what the file
 *            held when it was last used
 *   group    what one log_write() wrote, from a multiple of 4096 on; its records follow each other
 *   record   struct log_record_header | payload | zeros to a multiple of 8
 *
 * PLACE      a record is good only where it was written: its position and the file's random id are
 *            under its checksum. So a recycled file needs no zeroing, and a block that the disk put
 *            in the wrong place is noticed.
 * GAP        the bytes between the end of the record before and this one: 0 inside a group, less
 *            than 4096 at its start. A record that was lost between two good ones shows as a gap
 *            that does not fit.
 * LIFE       each start writes and syncs a state of the new life before anything else, so what an
 *            earlier one left behind a torn tail is known by its life, should it ever stand behind
 *            a newer record: even if it was torn itself, and the bytes it lacked came later.
 */
#ifndef REPLICATION_LOG_FORMAT_H
#define REPLICATION_LOG_FORMAT_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "storage/base/attrs.h"
#include "storage/base/err.h"

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "headers are written as they stand");

#define LOG_FILE_MAGIC   0x314c524du /* "MRL1" */
#define LOG_RECORD_MAGIC 0x3152524du /* "MRR1" */
#define LOG_END_MAGIC    0x3145524du /* "MRE1" */

enum {
    LOG_VERSION = 1,
    LOG_ALIGN = 4096, /* Of groups, and of every read and write: what O_DIRECT asks for. */
    LOG_FILE_BYTES_MIN = 64 * 1024,
    LOG_FILE_BYTES_MAX = 1024 * 1024 * 1024,
};

struct log_file_header {
    uint32_t magic;      /*  0 */
    uint32_t crc;        /*  4: CRC-32C of bytes 8 to 4095 */
    uint32_t version;    /*  8 */
    uint32_t number;     /* 12: the file's, from 1 */
    uint64_t id;         /* 16: random, new each time the file is used */
    uint64_t node;       /* 24 */
    uint64_t cluster;    /* 32 */
    uint64_t file_bytes; /* 40: size of this file; others may have another one */
};
static_assert(sizeof(struct log_file_header) == 48, "stored on disk: the size cannot change");

struct log_record_header {
    uint32_t magic;    /*  0 */
    uint32_t crc;      /*  4: CRC-32C of bytes 8 to the end of the payload */
    uint32_t size;     /*  8: bytes of the payload */
    uint32_t group;    /* 12 */
    uint8_t kind;      /* 16: enum log_kind */
    uint8_t type;      /* 17 */
    uint16_t life;     /* 18: of the log, one more at each start */
    uint32_t gap;      /* 20 */
    uint64_t index;    /* 24 */
    uint64_t term;     /* 32 */
    uint64_t aux;      /* 40 */
    uint64_t position; /* 48: of this record */
    uint64_t synced;   /* 56: everything before this position was on disk when it was written */
    uint64_t file_id;  /* 64 */
};
static_assert(sizeof(struct log_record_header) == 72, "stored on disk: the size cannot change");

/* The payload of a LOG_STATE record, whose term is the current one and aux the vote. The newest
 * snapshot's (or install's) configuration follows. Snapshot index 0: there is none. */
struct log_state_payload {
    uint64_t snapshot_index;
    uint64_t snapshot_term;
    uint64_t snapshot_aux;
};
static_assert(sizeof(struct log_state_payload) == 24, "stored on disk: the size cannot change");

/* The file end.mre of an orderly stop. */
struct log_end {
    uint32_t magic;    /*  0 */
    uint32_t crc;      /*  4: CRC-32C of bytes 8 to the end */
    uint32_t version;  /*  8 */
    uint32_t zero;     /* 12 */
    uint64_t node;     /* 16 */
    uint64_t cluster;  /* 24 */
    uint64_t position; /* 32: where the last record ended; all of it was synced */
};
static_assert(sizeof(struct log_end) == 40, "stored on disk: the size cannot change");

/* ---- Positions ----------------------------------------------------------------------------- */

static inline uint64_t log_position(uint32_t number, uint64_t offset)
{
    return (uint64_t)number << 32 | offset;
}
static inline uint32_t log_position_file(uint64_t position)
{
    return (uint32_t)(position >> 32);
}
static inline uint64_t log_position_offset(uint64_t position)
{
    return position & UINT32_MAX;
}

/** Up to the next multiple of LOG_ALIGN. */
static inline uint64_t log_align(uint64_t offset)
{
    return (offset + LOG_ALIGN - 1) / LOG_ALIGN * LOG_ALIGN;
}

/** What a record with a payload of `size` bytes takes up in its group. */
static inline uint64_t log_record_bytes(uint64_t size)
{
    return sizeof(struct log_record_header) + (size + 7) / 8 * 8;
}

/* ---- File headers -------------------------------------------------------------------------- */

/** Write the first LOG_ALIGN bytes of a file. The header's magic, crc and version are filled in. */
void log_file_header_put(const struct log_file_header *header, uint8_t page[LOG_ALIGN]);

/** Check them. ERR_CORRUPT, ERR_VERSION. Node, cluster and number are for the caller to compare. */
MUST_CHECK enum err log_file_header_get(const uint8_t page[LOG_ALIGN],
                                        struct log_file_header *ret_header);

/* ---- The end -------------------------------------------------------------------------------- */

/** Write the file. Magic, crc and version are filled in. */
void log_end_put(const struct log_end *end, uint8_t bytes[sizeof(struct log_end)]);

/** Check it. ERR_CORRUPT, ERR_VERSION. Node and cluster are for the caller to compare. */
MUST_CHECK enum err log_end_get(const uint8_t *bytes, size_t size, struct log_end *ret_end);

/* ---- Record headers ------------------------------------------------------------------------ */

/** Fill in magic and crc; everything else is set. */
void log_record_seal(struct log_record_header *header, const void *payload);

/** Could this be the header of a record that stands at `position` and ends within `room` bytes?
 * Cheap, no checksum. With file_id 0 any file id will do. */
bool log_record_plausible(const struct log_record_header *header, uint64_t position,
                          uint64_t file_id, uint64_t room);

/** The checksum fits; `payload` holds header->size bytes. */
bool log_record_intact(const struct log_record_header *header, const void *payload);

#endif
