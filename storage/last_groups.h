/*
 * last_groups.h - groups of segments that were asked for last values, kept open.
 *
 *     (segment, group) --> | cursor | cursor | ... |   the one that was asked for longest ago goes
 *
 * To find one value in a group, the frames of three columns are read and checked as a whole: 64
 * chunks. Who asks for another series of it, soon, finds them here.
 *
 * ROOM      Open groups with what they hold of their files take `bytes_max` at most.
 * SEGMENTS  are counted, so last_groups_forget() has to be called when some have gone: their files
 *           would take room on the disk for ever.
 *
 * Thread    The worker's; it waits for the disk.
 */
#ifndef STORAGE_LAST_GROUPS_H
#define STORAGE_LAST_GROUPS_H

#include "storage/segment_cursor.h"

enum { LAST_GROUPS_MAX = 128 };

struct last_group {
    struct segment *segment; /* Counted. NULL: free. */
    uint32_t group;
    uint64_t bytes, used; /* `used`: when, by `questions`. */
    struct segment_cursor cursor;
};

struct last_groups {
    uint64_t bytes_max; /* 0: nothing is kept. */
    uint64_t bytes, questions;
    struct last_group *groups[LAST_GROUPS_MAX]; /* Owned; those in use are the first ones. */
    uint32_t count;
};

void last_groups_fini(struct last_groups *groups);
void last_groups_forget(struct last_groups *groups);

/** Open a group, or find it open: borrowed until last_groups_done(). The errors of
 * segment_cursor_open(). */
MUST_CHECK enum err last_groups_open(struct last_groups *groups, struct segment *segment,
                                     uint32_t group, struct last_group **ret_group);
/** What was to be read of it is read. */
void last_groups_done(struct last_groups *groups, struct last_group *group);

#endif
