/*
 * compactions.h - segments that were ordered and that a replica has not made yet.
 *
 *     segments   1 --.
 *                2 --+--> 5 --.            5 and 8 have been ordered: what they are to be made of
 *                3 -------------+--> 8     is still there, and 8 stands in for all of it
 *                6 -------------'
 *                7
 *
 * An order names the inputs and so decides number, place, and what is in it. When a replica comes
 * to make it is up to that replica; until then readers read the inputs. An input may be one that
 * was ordered earlier: they are made in the order of their numbers.
 *
 * One that turns out to have no rows has no file. It stays in the list, without inputs, so that all
 * replicas go on to see the same segments, until it is dropped or is an input itself.
 *
 * Thread    One at a time for each list.
 */
#ifndef STORAGE_COMPACTIONS_H
#define STORAGE_COMPACTIONS_H

#include "storage/segment.h"

struct compaction {
    struct segment_info info; /* Of the segment to be. Times are those of the inputs, which bound
                                 it; size, rows, points, hash and groups are 0. */
    int64_t cutoff_ns;        /* Rows before it are left out; INT64_MIN: none. */
    uint32_t input_count;     /* 0: it was made, and is empty. */
    uint64_t *inputs;         /* Owned: their numbers, in log order. */
};

struct compactions {
    struct compaction *items; /* Owned, by number. */
    uint32_t count, capacity;
};

void compactions_fini(struct compactions *list); /* A zeroed struct is valid. */

/** Append one; its inputs are taken over, on an error too. ERR_NO_MEMORY. */
MUST_CHECK enum err compactions_add(struct compactions *list, const struct compaction *compaction);
/** Append copies of all. ERR_NO_MEMORY. */
MUST_CHECK enum err compactions_copy(const struct compactions *from, struct compactions *to);
/** The one of that number, or NULL. */
struct compaction *compactions_find(const struct compactions *list, uint64_t number);
/** Take the one of that number from the list, if it is there. */
void compactions_remove(struct compactions *list, uint64_t number);
/** The first one that is to be made, or NULL. */
const struct compaction *compactions_next(const struct compactions *list);

/** The numbers of all that becomes part of one of them, ascending: its inputs, and where those are
 * not made yet, theirs. free() them. ERR_NO_MEMORY. */
MUST_CHECK enum err compactions_parts(const struct compactions *list,
                                      const struct compaction *compaction, uint64_t **ret_numbers,
                                      uint32_t *ret_count);
/** The numbers of all inputs, ascending: free() them. ERR_NO_MEMORY. */
MUST_CHECK enum err compactions_inputs(const struct compactions *list, uint64_t **ret_numbers,
                                       uint32_t *ret_count);

/* Lists of numbers: put in order; asked, once they are. */

void compactions_sort(uint64_t *numbers, uint32_t count);
bool compactions_have(const uint64_t *numbers, uint32_t count, uint64_t number); /* Ascending. */

#endif
