/*
 * segment_writer.h - make a segment of rows that come in its order.
 *
 *     table --> series --> rows --> chunk (segment_pack.h) --> group --> file
 *
 * CHUNKS   A series of half a chunk or more gets chunks of its own, of about equal size, so that
 *          the index answers for it; smaller ones are put together, never cut.
 * MEMORY   A group is written as soon as it has 64 chunks or some MiB of packed columns. Besides,
 *          64 bytes a group and the names of fields are kept for the directory.
 * CACHE    The file is synced now and then, and what is synced leaves the page cache: a seal does
 *          not evict what queries use.
 *
 * Thread   One at a time; it blocks.
 */
#ifndef STORAGE_SEGMENT_WRITER_H
#define STORAGE_SEGMENT_WRITER_H

#include "storage/segment.h"

struct segment_writer;

/** Start DIR/NAME.tmp. `info` gives number and indexes. ERR_IO, ERR_DISK_FULL, ERR_NO_MEMORY. */
MUST_CHECK enum err segment_writer_new(const struct disk *disk, const char *dir, uint32_t shard,
                                       const struct segment_info *info,
                                       struct segment_writer **ret_writer);
void segment_writer_free(struct segment_writer *writer); /* NULL is allowed. */

/** Begin a table; its number is higher than all before. Its fields are borrowed until its end.
 * ERR_LIMIT: more than SEGMENT_FIELDS_MAX; and the errors of writing. */
MUST_CHECK enum err segment_writer_table(struct segment_writer *writer,
                                         const struct segment_table *table);
/** End the table under way, if there is one. The errors of writing. */
MUST_CHECK enum err segment_writer_end_table(struct segment_writer *writer);

/**
 * Begin a series of the table; its id is higher than all before in the table. The same id again
 * changes nothing.
 *
 * rows     how many it has, or some more: where chunks end depends on it
 * Errors   as of writing
 */
MUST_CHECK enum err segment_writer_series(struct segment_writer *writer, uint32_t id,
                                          uint64_t rows);

/**
 * Rows of the series: their times ascend strictly and are later than all before.
 *
 * rows   one behind the other: segment_row.h
 * texts  one for each field of the table: what its values point into, if it is a FIELD_STRING
 */
MUST_CHECK enum err segment_writer_rows(struct segment_writer *writer, const uint64_t *rows,
                                        const char *const *texts, uint32_t count);

/** Rows so far: a segment of none cannot be finished. */
uint64_t segment_writer_count(const struct segment_writer *writer);

/** Write the directory and the footer, sync, rename, sync the directory; fills in the rest of
 * `info`. After an error the file may be there under either name. */
MUST_CHECK enum err segment_writer_finish(struct segment_writer *writer,
                                          struct segment_info *ret_info);

#endif
