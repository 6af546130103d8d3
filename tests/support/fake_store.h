/*
 * fake_store.h - what a fake site remembers: producers, series and how often each row was stored.
 *
 * Each row's first field is an integer below FAKE_ROWS_MAX: its number.
 */
#ifndef TESTS_SUPPORT_FAKE_STORE_H
#define TESTS_SUPPORT_FAKE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "client/wire/message.h"
#include "storage/block/entry.h"

enum { FAKE_SHARDS_MAX = 8, FAKE_SERIES_MAX = 4096, FAKE_ROWS_MAX = 1 << 17 };

struct fake_producer {
    uint64_t id;
    uint32_t epoch;
    uint64_t last;
};

struct fake_shard {
    struct fake_producer producer; /* One client a test. */
    char *keys[FAKE_SERIES_MAX];   /* Owned: by series id. */
    size_t sizes[FAKE_SERIES_MAX];
    int64_t newest[FAKE_SERIES_MAX]; /* The last row's number. */
    uint32_t series;
};

struct fake_store {
    struct fake_shard shards[FAKE_SHARDS_MAX];
    uint8_t rows[FAKE_ROWS_MAX]; /* How often each was stored. */
    bool in_order;               /* Row numbers went up in each series. */
    uint64_t entries, duplicates, gaps, fresh_keys, bad;
    uint64_t epoch_max;
};

void fake_store_init(struct fake_store *store);
void fake_store_fini(struct fake_store *store);

/** Forget a shard's producer, as a site does with one that was idle for long. */
void fake_store_forget(struct fake_store *store, uint32_t shard);

/**
 * Take an entry by the rules of exactly-once (docs/protocol.md). ok->ids are good until the next
 * call. ERR_SEQUENCE: a gap; ERR_INVALID: not a block, or of an old epoch.
 */
MUST_CHECK enum err fake_store_apply(struct fake_store *store, const struct entry_header *header,
                                     const uint8_t *entry, struct message_write_ok *ok);

#endif
