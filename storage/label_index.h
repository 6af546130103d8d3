/*
 * label_index.h - postings: which series of a run satisfy a condition, compressed, and made when
 * somebody first asks.
 *
 *     (table, tag, operator, value) --> bitmap of series (CRoaring)      the least lately asked one
 *                                       kept within a byte a series      goes first
 *
 * A run does not change, so what is kept stays right. Dashboards ask the same few conditions again
 * and again: these are then answered without looking at the run.
 *
 * Thread   Any, at the same time: a mutex guards the list, and postings in use are counted.
 */
#ifndef STORAGE_LABEL_INDEX_H
#define STORAGE_LABEL_INDEX_H

#include "storage/catalog_run.h"
#include "storage/label_match.h"
#include "storage/scan.h"

enum { LABEL_POSTINGS_MAX = 256 }; /* Kept at most: the list is searched from its start. */

struct label_index;
struct roaring_bitmap_s; /* <roaring/roaring.h> */

/** What a condition is answered with: counted, label_posting_unref(). */
struct label_posting;

/** Keeps postings of at most `bytes_max` bytes. ERR_NO_MEMORY. */
MUST_CHECK enum err label_index_new(uint64_t bytes_max, struct label_index **ret_index);
void label_index_free(struct label_index *index); /* NULL is allowed. */

/** Bytes of the postings that are kept. */
uint64_t label_index_bytes(struct label_index *index);

/** The series of the run that are of table number `table` and satisfy condition `at`. Errors of
 * catalog_match(). */
MUST_CHECK enum err label_index_find(struct label_index *index, const struct catalog_run *run,
                                     uint32_t table, struct label_match *match, uint32_t at,
                                     const struct scan_limits *limits,
                                     struct label_posting **ret_posting);

/** Numbers in the run. Borrowed from the posting. */
const struct roaring_bitmap_s *label_posting_series(const struct label_posting *posting);
void label_posting_unref(struct label_posting *posting); /* NULL is allowed. */

#endif
