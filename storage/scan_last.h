/*
 * scan_last.h - the newest value of each field of each series of a region.
 *
 * Nothing is collected but those values, so the region can have many series, and all their past.
 * Sources are looked at from the newest to the oldest: at equal times the value that is known came
 * later in the log, and wins. Of few series two things spare most of the work: a block
 * of the head is not opened if its directory has none of them; and a source is passed over that
 * ends before the oldest of the values found, when there are all that the query can ask for. Of few
 * values in a block of the head each is found by itself (block_newest.h), without decoding others.
 *
 * Thread   The scan's.
 */
#ifndef STORAGE_SCAN_LAST_H
#define STORAGE_SCAN_LAST_H

#include "storage/block/block_newest.h"
#include "storage/last_found.h"
#include "storage/scan_decode.h"
#include "storage/scan_merge.h"

struct scan_last_cell;

struct scan_last {
    struct scan_decode *decode; /* Borrowed. */
    uint64_t budget;            /* Bytes. */
    uint64_t used;
    bool full;                     /* The budget did not suffice: take a smaller region. */
    struct scan_last_cell **cells; /* Owned: for each column one a series, or NULL. */
    uint32_t column_capacity;
    struct block_newest block; /* Of the head, while values are looked for one by one. */
    uint32_t slots;
    int64_t known_ns; /* Of all that is asked for, a value of that time or newer is known. */
};

void scan_last_init(struct scan_last *last, struct scan_decode *decode, uint64_t budget);
void scan_last_fini(struct scan_last *last);

/** Forget what was there, and go through a region. The errors of scan_decode_region(). */
MUST_CHECK enum err scan_last_region(struct scan_last *last, const struct scan_region *region);

/** Hand out one row for each series of the region that has a value, in order of their ids; its time
 * is that of its newest value. Errors: `take`'s; ERR_NO_MEMORY. */
MUST_CHECK enum err scan_last_run(const struct scan_last *last, scan_merge_cb take, void *arg);

/** Tell what scan_last_run() hands out, each value with its own time. */
void scan_last_tell(const struct scan_last *last, struct last_found *found);

#endif
