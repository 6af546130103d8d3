/*
 * segment_verify.h - whether a segment's file holds what was written: every checksum and the hash.
 *
 * What a scrub and a repair ask, at the speed of LZ4: no column is decoded. (segment_check.h works
 * out again all that the index says, and goes on behind a fault: for tools.)
 *
 * MEMORY    One group's frames.
 * Thread    Any; it blocks on the disk.
 */
#ifndef STORAGE_SEGMENT_VERIFY_H
#define STORAGE_SEGMENT_VERIFY_H

#include "storage/segment.h"

struct XXH3_state_s; /* <xxhash.h> */
struct segment_cursor;

/** ERR_CORRUPT: the first fault, with file and offset; ERR_IO, ERR_NO_MEMORY. */
MUST_CHECK enum err segment_verify(const struct segment *segment);

/** Take in a group, all of which was loaded. */
void segment_hash_group(struct XXH3_state_s *hash, const struct segment_cursor *cursor);
/** Behind all groups: take in the tables, and compare. ERR_CORRUPT, ERR_IO, ERR_NO_MEMORY. */
MUST_CHECK enum err segment_hash_end(struct XXH3_state_s *hash, const struct segment *segment);

#endif
