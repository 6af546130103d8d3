/*
 * segment_damage.h - segments whose files are damaged: who finds it says so, once, for everybody.
 *
 *     open --ok--> segment --a read finds wrong bytes--> damaged --a good file comes--> replaced
 *       '---damage---> stand-in, damaged from the start ----------------^
 *
 * FLAG      A reader that meets wrong bytes fails, as always, and flags the segment. The worker
 *           that owns the shard sees the flag within a tick, and from then on no query starts that
 *           needs it (store_damage.h). Nothing clears a flag: a good file is another segment.
 * STAND-IN  A segment that cannot be opened must not keep its shard from starting. What stands for
 *           it knows what the manifest knows, has one group that covers all, and every read of it
 *           is ERR_CORRUPT: whoever passes it over would lose rows.
 * Thread    Any.
 */
#ifndef STORAGE_SEGMENT_DAMAGE_H
#define STORAGE_SEGMENT_DAMAGE_H

#include "storage/segment.h"

/** What stands for a file that segment_open() refused. One reference is the caller's.
 * ERR_NO_MEMORY. */
MUST_CHECK enum err segment_stand_in(const struct disk *disk, const char *dir,
                                     const struct segment_info *info, struct segment **ret_segment);

/** Its file is damaged. */
void segment_blame(const struct segment *segment);
bool segment_is_damaged(const struct segment *segment);

/** segment_open() of a file with any name. */
MUST_CHECK enum err segment_open_at(const struct disk *disk, const char *path, uint32_t shard,
                                    const struct segment_info *info, struct segment **ret_segment);

#endif
