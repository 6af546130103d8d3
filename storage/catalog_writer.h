/*
 * catalog_writer.h - write a run (catalog_run.h), into a file or into memory, front to back.
 *
 *     for each name, ascending:    catalog_writer_name, catalog_writer_value ..., (ascending)
 *     catalog_writer_table ...     ascending numbers
 *     catalog_writer_shape ...
 *     catalog_writer_series ...    exactly `count`
 *     catalog_writer_finish
 *
 * MEMORY   6 bytes a series for the hash table, and a window; all of it, if it goes into memory.
 * ERRORS   are kept: after one, calls do nothing, and catalog_writer_finish() says it.
 * Thread   One.
 */
#ifndef STORAGE_CATALOG_WRITER_H
#define STORAGE_CATALOG_WRITER_H

#include "storage/base/bytes.h"
#include "storage/catalog_run.h"

struct catalog_writer;

/** A run of `count` series, whose first id is `first`. `file`, of `disk`, is written from offset 0;
 * NULL: into memory. Both borrowed. ERR_NO_MEMORY. */
MUST_CHECK enum err catalog_writer_new(const struct disk *disk, struct file *file, uint32_t shard,
                                       uint32_t first, uint32_t count,
                                       struct catalog_writer **ret_writer);
void catalog_writer_free(struct catalog_writer *writer); /* NULL is allowed. */

/** A name. It may get so many values, at most: long lists are front-coded. */
void catalog_writer_name(struct catalog_writer *writer, struct slice name, uint64_t values_max);
/** Its next value: ranks are given out from 0. */
void catalog_writer_value(struct catalog_writer *writer, struct slice value);

/** So many of the series will be of this table. */
void catalog_writer_table(struct catalog_writer *writer, uint32_t number, struct slice key,
                          uint32_t series);
/** `table` counts tables, `names` names, as they were written. */
void catalog_writer_shape(struct catalog_writer *writer, uint32_t table, const uint32_t *names,
                          uint32_t count);

/** The next series: its shape (as they were written), the ranks of its tags, its key's hash. */
void catalog_writer_series(struct catalog_writer *writer, uint32_t shape, const uint32_t *ranks,
                           uint32_t tags, uint64_t hash);

/**
 * All is written; the file is not synced.
 *
 * ret_header  what stands at its start
 * ret_bytes   into memory: the run, owned by the caller, malloc'ed; else NULL
 * Errors      ERR_NO_MEMORY, those of writing; ERR_LIMIT: over 4 GiB of values of one name
 */
MUST_CHECK enum err catalog_writer_finish(struct catalog_writer *writer,
                                          struct catalog_run_header *ret_header,
                                          uint8_t **ret_bytes);

#endif
