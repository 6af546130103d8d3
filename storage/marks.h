/*
 * marks.h - up to where the rows of each database of a shard are gone.
 *
 *     for each database that has lost rows, in ascending order of names as bytes:
 *     string name | i64 cutoff | u64 drop | u64 erased index
 *
 * The encoded form is the only one: the state machine, the manifest, a seal and each snapshot hold
 * the same few bytes, and whoever wants to know looks through them.
 *
 * Thread    One at a time for each list.
 */
#ifndef STORAGE_MARKS_H
#define STORAGE_MARKS_H

#include "storage/base/attrs.h"
#include "storage/base/bytes.h"
#include "storage/base/err.h"
#include "storage/base/types.h"

enum { MARKS_MAX = 8192 }; /* Databases: twice as many as a site may have. */

struct mark {
    struct slice database; /* Borrowed from the list, or from who asked. */
    int64_t cutoff_ns;     /* Rows with an earlier time are gone; INT64_MIN: none. */
    uint64_t drop;         /* Number of the last drop of the database that came here; 0: none. */
    uint64_t erased_index; /* What stands in the log before this entry is gone; 0: nothing. */
};

/** The mark of a database; that of one whose rows are all there, if it is not in the list. */
struct mark marks_find(const struct bytes *list, struct slice database);

/** Put in a mark, or replace the one of that database. ERR_NO_MEMORY, ERR_LIMIT (MARKS_MAX): the
 * list is as it was. */
MUST_CHECK enum err marks_put(struct bytes *list, const struct mark *mark);

/** The largest cutoff; INT64_MIN: there is none. */
int64_t marks_cutoff_max(const struct bytes *list);

/** Whether bytes from a disk are such a list. ERR_CORRUPT. */
MUST_CHECK enum err marks_check(const void *bytes, size_t size);

/** Replace what `ret_copy` holds. ERR_NO_MEMORY. */
MUST_CHECK enum err marks_copy(const struct bytes *list, struct bytes *ret_copy);

/** Names as bytes: negative, 0 or positive. */
int marks_compare(struct slice a, struct slice b);

#endif
