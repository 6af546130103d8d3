/*
 * cli_fsck.h - what the parts of `millrace fsck` share.
 *
 *     cli_fsck.c       the command line, the data directory, its shards
 *     cli_fsck_log.c   the log: a start's own recovery on a dry disk
 */
#ifndef CLIENT_CLI_FSCK_H
#define CLIENT_CLI_FSCK_H

#include "storage/base/file.h"
#include "storage/damage.h"

/** What the log says of a group. Indexes of entries; 0: none. */
struct cli_fsck_group {
    uint64_t snapshot, last;
};

struct cli_fsck_log {
    struct cli_fsck_group *groups; /* Owned: 0 is the schema's, 1 + S that of shard S. */
    uint32_t group_count;          /* That have records. */
    uint64_t records;
    bool good; /* The rest is known. */
    uint64_t node, cluster;
};

/** Check DIR, the log of a node of at most `groups_max` groups, for all of which `ret_log` then has
 * room. ERR_NO_MEMORY; all else is a report. */
MUST_CHECK enum err cli_fsck_log_check(const struct disk *disk, const char *dir,
                                       uint32_t groups_max, struct damage_sink *sink,
                                       struct cli_fsck_log *ret_log);
void cli_fsck_log_fini(struct cli_fsck_log *log);

#endif
