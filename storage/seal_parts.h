/*
 * seal_parts.h - which windows of time of which databases the blocks of a seal have rows of: each
 * becomes a segment of its own, so that retention drops whole files.
 *
 *     time ->  |  window  |  window  |  window  |         (they start at multiples of their width)
 *     db a     |          |  part    |  part    |
 *     db b     |  part ................ (older) |  part |
 *
 * BOUNDED   Rows of thousands of years in one seal must not make thousands of files: of a
 *           database, the newest windows have segments of their own, and all that is older shares
 *           one.
 * EXACT     Parts are found from the series and times of blocks, so now and then one turns out to
 *           be empty: whoever merges it finds out, and makes no file.
 *
 * Thread    Pool: immutable inputs.
 */
#ifndef STORAGE_SEAL_PARTS_H
#define STORAGE_SEAL_PARTS_H

#include <stdbool.h>

#include "storage/database_map.h"
#include "storage/head.h"

/* Of all databases of a seal together, roughly: each has one window of its own and one for what is
 * older, whatever their number. */
enum { SEAL_PARTS_MAX = 128, SEAL_WINDOWS_MAX = 64 };

/** What is asked of a database's rows. */
struct seal_rule {
    int64_t window_ns;
    int64_t cutoff_ns; /* Rows before it are left out. */
    bool gone;         /* All of them are. */
};

/** Rows of one database with a time from from_ns to last_ns. */
struct seal_part {
    uint32_t database;
    int64_t from_ns, last_ns;
};

/**
 * Find the parts of blocks, by (database, time).
 *
 * databases   has all tables of `series`; rules has one for each database
 * ret_parts   free() it
 * Errors      ERR_CORRUPT: a block is damaged, names its log index; ERR_NO_MEMORY
 */
MUST_CHECK enum err seal_parts_find(const struct head_block *blocks, uint32_t count,
                                    const struct catalog_view *series,
                                    const struct database_map *databases,
                                    const struct seal_rule *rules, struct seal_part **ret_parts,
                                    uint32_t *ret_count);

#endif
