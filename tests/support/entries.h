/*
 * entries.h - entries for tests, as a client or a leader would make them.
 *
 * Series are of database "db", unless the table's name says otherwise ("other/cpu"), and have one
 * tag, "host". Functions abort without memory.
 */
#ifndef TESTS_SUPPORT_ENTRIES_H
#define TESTS_SUPPORT_ENTRIES_H

#include "storage/base/buf.h"
#include "storage/block/block.h"
#include "storage/block/entry.h"
#include "storage/block/seal_order.h"

/** One value. One with the same table, host and time as the one before it is of the same row. */
struct entries_value {
    const char *table, *host;
    int64_t time_ns;
    const char *field;
    enum field_type type;
    uint64_t bits;    /* Not FIELD_STRING. */
    const char *text; /* FIELD_STRING. */
    uint32_t id;      /* Of the series, plus 1; 0: fresh. */
};

struct entries_from {
    uint32_t shard;
    uint64_t producer; /* 0: none. */
    uint32_t epoch;
    uint64_t sequence;
};

/** The canonical key into `ret_key` (at least 256 bytes); its size. */
size_t entries_key(const char *table, const char *host, char *ret_key);

/** An ENTRY_BLOCK as a client sends it. */
struct buf *entries_block(const struct entries_from *from, const struct entries_value *values,
                          size_t count);

/** An ENTRY_SEAL. */
struct buf *entries_seal(uint32_t shard, uint64_t upto);
/** One that says something of databases. */
struct buf *entries_drop(uint32_t shard, uint64_t upto, const struct seal_database *databases,
                         uint32_t count);
/** One that deletes rows of a table ("cpu" or "other/cpu") with a time from first_ns to last_ns; of
 * one host, or (NULL) of all. */
struct buf *entries_delete(uint32_t shard, uint64_t upto, const char *table, const char *host,
                           int64_t first_ns, int64_t last_ns);

/** One that makes segments of others. */
struct buf *entries_compact(uint32_t shard, uint64_t upto,
                            const struct seal_compaction *compactions, uint32_t count);

/** One that says of segments which deletes hide nothing of them, and makes some of others. */
struct buf *entries_clean(uint32_t shard, uint64_t upto, const struct seal_clean *cleans,
                          uint32_t clean_count, const struct seal_compaction *compactions,
                          uint32_t count);

/** Stamp ids as a leader would, without its checks. */
void entries_stamp(struct buf *entry, const uint32_t *ids);

/** Another buf with the same bytes. */
struct buf *entries_copy(const struct buf *entry);

#endif
