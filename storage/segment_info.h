/*
 * segment_info.h - what a manifest knows of a segment.
 *
 * All of it depends on the log alone, so it is the same on all replicas.
 */
#ifndef STORAGE_SEGMENT_INFO_H
#define STORAGE_SEGMENT_INFO_H

#include <stdint.h>

struct segment_info {
    uint64_t number;
    uint64_t first_index, last_index;
    uint64_t clean_index; /* What deletes and drops up to this log index hide is not in it. Of an
                             open segment it may be more by now: segment_proof.h. */
    uint32_t database;    /* The only one with rows in it: its number (database_map.h). */
    int64_t window_first_ns, window_last_ns; /* Rows have times from the one to the other. */
    uint64_t size;                           /* Bytes of the file. */
    uint64_t rows, points;
    int64_t time_min_ns, time_max_ns;
    int64_t bound_ns; /* A cutoff above it drops the segment: the latest time of what it was made
                         of, time_max_ns unless rows were erased. */
    uint64_t hash;
    uint32_t groups;
};

#endif
