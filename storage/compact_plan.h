/*
 * compact_plan.h - which segments of a shard should become one: what its leader orders.
 *
 *     window   | ######## ####  ## ## ## #  |          sizes of a window's segments, oldest first
 *                 full    '-- tier 1   '-- tier 0
 *
 * TIERS     Segments of one database and window are merged when `fanout` of them are of about the
 *           same size: a byte is written once for each power of `fanout` between the size of a seal
 *           and `bytes_max`. Smaller ones between them come along.
 * FULL      What has half of bytes_max stays as it is, and nothing is made that has more.
 * OVER      Of a window whose time is over, and that nothing was added to for some time, all that
 *           is left becomes one, unless that means to write much for little.
 * DEAD      What holds rows that were deleted some time ago (proof.h), or that are mostly before
 *           the cutoff, is written anew, alone if it has to be.
 * RUNS      Only segments that follow each other may be merged: one of the same database between
 *           them and where the new one comes to stand (manifest.h), with times that overlap, would
 *           be on the wrong side of their rows.
 *
 * Thread    Any; it works on its arguments alone.
 */
#ifndef STORAGE_COMPACT_PLAN_H
#define STORAGE_COMPACT_PLAN_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/base/attrs.h"
#include "storage/base/err.h"
#include "storage/block/seal_order.h"

struct compact_segment {
    uint64_t number;
    uint32_t database;
    int64_t window_first_ns, window_last_ns;
    uint64_t last_index; /* In the log. */
    uint64_t bytes;      /* 0: it has no rows. */
    bool busy;           /* It is not there yet: not to be chosen. */
    bool dead;           /* Worth to be written anew. */
};

struct compact_rules {
    uint32_t fanout; /* 2 or more. */
    uint64_t bytes_max;
    int64_t now_ns;       /* Windows that end before it are over. */
    uint64_t quiet_index; /* Up to this log index nothing is new any more. */
};

/**
 * Choose up to `most` compactions that have no segment in common.
 *
 * segments   all that the shard is said to have, in log order: manifest_line_up()
 * Errors     ERR_NO_MEMORY
 */
MUST_CHECK enum err compact_plan(const struct compact_segment *segments, uint32_t count,
                                 const struct compact_rules *rules, uint32_t most,
                                 struct seal_compaction *ret_compactions, uint32_t *ret_count);

/** The inputs are there, in this order, of one database, and may become one: RUNS. Their places go
 * into `at`, room for SEAL_INPUTS_MAX. */
bool compact_plan_allows(const struct compact_segment *segments, uint32_t count,
                         const struct seal_compaction *compaction, uint32_t *ret_at);

#endif
