/*
 * block_builder.h - collect rows, then encode them as one block.
 *
 * Used by the client library and by the node's text ingest. Rows come in any order; the builder
 * remembers series and fields it has seen, sorts at the end, and is used again for the next block
 * (memory is kept). One thread at a time.
 *
 *     table  = block_builder_table(b, table_key)        cheap when it repeats
 *     series = block_builder_series(b, table, key, hash, id)
 *     block_builder_row(b, series, time_ns)
 *     block_builder_value(b, "usage_user", FIELD_FLOAT, bits)   ... of the row just begun
 *     size   = block_builder_finish(b, buf)
 */
#ifndef STORAGE_BLOCK_BLOCK_BUILDER_H
#define STORAGE_BLOCK_BLOCK_BUILDER_H

#include "storage/base/attrs.h"
#include "storage/base/buf.h"
#include "storage/base/err.h"
#include "storage/block/block.h"

struct block_builder;

MUST_CHECK enum err block_builder_new(struct block_builder **ret_builder);
void block_builder_free(struct block_builder *builder); /* NULL is allowed. */

/** Forget all rows and series; keep the memory. */
void block_builder_reset(struct block_builder *builder);

uint32_t block_builder_rows(const struct block_builder *builder);
uint32_t block_builder_points(const struct block_builder *builder);
/** Bytes of memory in use for rows and keys: what a byte budget counts. */
size_t block_builder_bytes(const struct block_builder *builder);

/**
 * The series for the following rows, added on first sight (found again by hash and key).
 *
 * key    a whole canonical series key (checked by the caller); copied if it has no id
 * hash   key_hash(key): it is what tells series with ids apart
 * id     the series' id in its shard, or BLOCK_ID_NONE
 * Errors ERR_NO_MEMORY; ERR_LIMIT: the block is full of tables, series or bytes: finish it first
 */
MUST_CHECK enum err block_builder_series(struct block_builder *builder, const void *key,
                                         size_t key_size, size_t table_key_size, uint64_t hash,
                                         uint32_t id, uint32_t *ret_series);

/** Begin a row. ERR_LIMIT at BLOCK_ROWS_MAX rows, or when the block may take half of an entry's
 * ENTRY_SIZE_MAX: finish this block first. ERR_NO_MEMORY. */
MUST_CHECK enum err block_builder_row(struct block_builder *builder, uint32_t series,
                                      int64_t time_ns);

/**
 * One field of the row just begun. A name given twice in one row: the later wins.
 *
 * bits   float: its bit pattern; int, uint: the number; bool: 0 or 1
 * Errors ERR_TYPE_CONFLICT: the field has another type earlier in this block; ERR_LIMIT: more than
 *        FIELD_COUNT_MAX fields in the table, or a bad size of the name; ERR_TOO_LARGE: the row
 *        takes more than half of ENTRY_SIZE_MAX; ERR_NO_MEMORY. The row stays without that field.
 */
MUST_CHECK enum err block_builder_value(struct block_builder *builder, const char *name,
                                        size_t name_size, enum field_type type, uint64_t bits);
MUST_CHECK enum err block_builder_string(struct block_builder *builder, const char *name,
                                         size_t name_size, const void *data, size_t size);

/** Take back the row just begun (a later field of its line was bad). Its series stays. */
void block_builder_undo_row(struct block_builder *builder);

/**
 * Encode everything into a new buf that has `headroom` bytes (an entry header's) before the block;
 * buf->size counts both. The builder is then empty but for memory. With no rows but series, the
 * block registers them.
 *
 * fresh_series   if not NULL: receives, for each fresh key of the block's directory in its order,
 *                the number that block_builder_series() gave; room for as many as there are series
 * Errors  ERR_NO_MEMORY: the rows are kept, try again or reset. A block that was accepted row by
 *         row fits BLOCK_BODY_RAW_MAX and, with its header, ENTRY_SIZE_MAX: ERR_TOO_LARGE only
 *         if `headroom` is more than an entry's header.
 */
MUST_CHECK enum err block_builder_finish(struct block_builder *builder, size_t headroom,
                                         struct buf **ret_buf, uint32_t *ret_fresh_series);

#endif
