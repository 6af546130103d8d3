/*
 * block_reader.h - look into a block that came from a socket, a peer or a disk.
 *
 * TRUST    block_view() checks header, sizes and checksums; block_load() decompresses and parses
 *          the section headers. Whatever the bytes hold, every function stays inside them, bounds
 *          its memory by BLOCK_BODY_RAW_MAX and says ERR_CORRUPT.
 * Thread   one at a time for each struct block; the bytes may be shared.
 */
#ifndef STORAGE_BLOCK_BLOCK_READER_H
#define STORAGE_BLOCK_BLOCK_READER_H

#include <stdbool.h>
#include <stddef.h>

#include "storage/base/attrs.h"
#include "storage/base/bytes.h"
#include "storage/base/err.h"
#include "storage/block/block.h"

/** A block whose header, sizes and checksums are good. Borrows the bytes. */
struct block_view {
    struct block_header header;
    unsigned id_width;      /* Bits of a known id: 0 to 32. */
    const uint8_t *bases;   /* u32, not aligned, one for BLOCK_ID_GROUP known ids. */
    const uint8_t *offsets; /* Known ids, packed. */
    const uint8_t *slots;   /* u32, not aligned, one a fresh key. Behind the offsets. */
    const uint8_t *keys;    /* Fresh keys: varint size, bytes. */
    const uint8_t *body;
    size_t size; /* Bytes of the whole block. */
};

/** The id at a place. */
static inline uint32_t block_view_id(const struct block_view *view, uint32_t place)
{
    uint32_t known = view->header.known, id;
    uint64_t bit, word;
    const uint8_t *at;

    if (place >= known) {
        __builtin_memcpy(&id, view->slots + (size_t)(place - known) * sizeof id, sizeof id);
        return id;
    }
    bit = (uint64_t)place * view->id_width;
    at = view->offsets + bit / 8;
    bit %= 8;
    if (at > view->slots - sizeof word) { /* Before the offsets there are bytes to be read too. */
        bit += 8 * (uint64_t)(at - (view->slots - sizeof word));
        at = view->slots - sizeof word;
    }
    __builtin_memcpy(&word, at, sizeof word);
    __builtin_memcpy(&id, view->bases + place / BLOCK_ID_GROUP * sizeof id, sizeof id);
    /* Of width 0 there are no bits: what is shifted does not matter, but it must be below 64. */
    return id + (uint32_t)(word >> bit % 64 & ((1ull << view->id_width) - 1));
}

/** The smallest id of a block with one, and the highest: known ones ascend. */
uint32_t block_view_id_min(const struct block_view *view);
uint32_t block_view_id_max(const struct block_view *view);

/** The first place of a series from place `from` on; known + fresh if there is none. */
uint32_t block_view_find(const struct block_view *view, uint32_t id, uint32_t from);

/** Whether one of the ids, which ascend, may be in the block: if not, none is. */
bool block_view_may_have(const struct block_view *view, const uint32_t *ids, uint32_t count);

/** `verify_body` false skips body_crc (it was checked before and stayed in memory). ERR_CORRUPT. */
MUST_CHECK enum err block_view(const void *bytes, size_t size, bool verify_body,
                               struct block_view *ret_view);

/** The same of bytes that block_view() found good, and that stayed in memory: not checked again. */
struct block_view block_view_again(const void *bytes, size_t size);

/** Walk the fresh keys: start with *at = 0; false after the last. Keys are checked by block_view.
 */
bool block_view_next_key(const struct block_view *view, size_t *at, const char **ret_key,
                         size_t *ret_size);

/** Stamp ids (view->header.fresh of them) into the slots and renew the sums. Leader only, before
 * the bytes are shared. `bytes` is what `view` was made of. */
void block_stamp(void *bytes, struct block_view *view, const uint32_t *ids);

/* ---- Columns ------------------------------------------------------------------------------- */

struct block_field {
    struct slice name;
    enum field_type type;
    uint32_t values; /* Present ones. */
};

struct block_section {
    const char *table_key;
    size_t table_key_size;
    uint32_t runs;
    uint32_t rows;
    uint32_t fields;
};

/** A loaded block: decompressed, sections found. Owns its memory; borrows `view`'s bytes. */
struct block;

MUST_CHECK enum err block_load(const struct block_view *view, struct block **ret_block);
void block_free(struct block *block); /* NULL is allowed. */

uint32_t block_sections(const struct block *block);
const struct block_section *block_section(const struct block *block, uint32_t at);
const struct block_field *block_field(const struct block *block, uint32_t section, uint32_t field);

/** Decode a section's runs: `places` and `counts` have room for section->runs. */
MUST_CHECK enum err block_read_runs(struct block *block, uint32_t section, uint32_t *places,
                                    uint32_t *counts);
/** Decode a section's times: room for section->rows. */
MUST_CHECK enum err block_read_times(struct block *block, uint32_t section, int64_t *times_ns);

/** Decode the times of runs `first` to `end` - 1, at their places. Others are undefined. */
MUST_CHECK enum err block_read_some_times(struct block *block, uint32_t section, uint32_t first,
                                          uint32_t end, int64_t *times_ns);

/**
 * Decode one field.
 *
 * present   one byte a row: 1 where the row has the field (room for section->rows)
 * values    one u64 a row: bits as in block_builder_value(), 0 where absent. For strings: offset in
 *           the low 32 bits, size in the high 32 bits, into *ret_strings (borrowed from the block
 *           until its next call for a string field); NULL otherwise
 */
MUST_CHECK enum err block_read_field(struct block *block, uint32_t section, uint32_t field,
                                     uint8_t *present, uint64_t *values, const char **ret_strings);

/** The same of rows `first` to `end` - 1 alone, at their places. Others are undefined. */
MUST_CHECK enum err block_read_some_values(struct block *block, uint32_t section, uint32_t field,
                                           uint32_t first, uint32_t end, uint8_t *present,
                                           uint64_t *values, const char **ret_strings);

/** The packed values of a field, as column_put_values() wrote them. Borrowed from the block. */
struct reader block_packed_field(const struct block *block, uint32_t section, uint32_t field);

#endif
