/*
 * ledger.h - which rows of each writer were sent, acknowledged, and read back: a bit each.
 *
 * Thread    ledger_acknowledge() of one writer from one thread at a time; ledger_read() after all
 *           writers have ended.
 * Memory    2 bits a row, in chunks of a million rows; ROWS_MAX rows a writer.
 */
#ifndef LOADGEN_LEDGER_H
#define LOADGEN_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "storage/base/attrs.h"
#include "storage/base/err.h"

enum { LEDGER_CHUNK_ROWS = 1 << 20, LEDGER_CHUNKS_MAX = 1 << 14 };

struct ledger_chunk {
    uint64_t acknowledged[LEDGER_CHUNK_ROWS / 64];
    uint64_t read[LEDGER_CHUNK_ROWS / 64];
};

struct ledger {
    struct ledger_chunk *chunks[LEDGER_CHUNKS_MAX]; /* Owned. */
};

struct ledger_count {
    uint64_t acknowledged; /* Rows. */
    uint64_t read;         /* Distinct rows found. */
    uint64_t lost;         /* Acknowledged and not found. */
    uint64_t unknown;      /* Found, never acknowledged: the answer was lost, not the row. */
    uint64_t first_lost;   /* Number of the first one. */
};

/** Make room for rows below `rows`. ERR_NO_MEMORY, ERR_LIMIT. Before they are acknowledged. */
MUST_CHECK enum err ledger_reserve(struct ledger *ledger, uint64_t rows);
void ledger_fini(struct ledger *ledger);
void ledger_acknowledge(struct ledger *ledger, uint64_t row);
/** False: it was read before, or never reserved. */
bool ledger_read(struct ledger *ledger, uint64_t row);
struct ledger_count ledger_count(const struct ledger *ledger);

#endif
