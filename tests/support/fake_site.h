/*
 * fake_site.h - a site of up to three nodes inside the test: real sockets on loopback, the native
 * protocol, the rules of exactly-once, and a script that lets it misbehave.
 *
 * All nodes share one memory of rows and producers (as if replication took no time) and are served
 * by one thread. What is stored is counted row by row: each row's first field is an integer, its
 * number, so a test can ask how often row 17 was stored.
 *
 * Thread   Any; the script runs on the site's thread with its lock held and calls nothing here.
 */
#ifndef TESTS_SUPPORT_FAKE_SITE_H
#define TESTS_SUPPORT_FAKE_SITE_H

#include <stdbool.h>
#include <stdint.h>

#include "client/wire/frame.h"
#include "storage/block/columns.h"
#include "storage/block/query.h"
#include "tests/support/fake_store.h"

enum { FAKE_NODES_MAX = 3 };

/* What to do with a WRITE that the leader of its shard got. */
enum fake_deed {
    FAKE_STORE,           /* As it should be. */
    FAKE_STORE_AND_CLOSE, /* Stored, and the connection closes before the answer. */
    FAKE_STORE_SILENTLY,  /* Stored, never answered. */
    FAKE_HOLD,            /* Stored; answered after the next write of this connection. */
    FAKE_CLOSE,           /* Lost: the connection closes. */
    FAKE_IGNORE,          /* Lost: never answered. */
    FAKE_BUSY,            /* Refused for now. */
    FAKE_REFUSE,          /* Refused for good: invalid. */
    FAKE_TOO_OLD,         /* Refused if it has a row before fake_site_keep_from(), else stored. */
    FAKE_FORGET,          /* The producer is forgotten first, then the rules apply. */
};

enum { FAKE_SILENCE = ERR_COUNT };

struct fake_script {
    /* NULL: FAKE_STORE always. `at` counts the WRITEs seen, from 0. */
    enum fake_deed (*on_write)(void *ctx, uint64_t at, const struct entry_header *header);
    /* The answer of QUERY number `at`: fill in batches; ERR_OK ends it well, ERR_END closes the
     * connection after the batches, FAKE_SILENCE leaves it open, others end it with that code.
     * NULL: no rows. */
    enum err (*on_query)(void *ctx, uint64_t at, struct columns batches[2], uint32_t *ret_count);
    /* Where the page of QUERY number `at` ends, and what it asks. NULL: all of it came. */
    struct query_place (*on_page)(void *ctx, uint64_t at, const struct query *query);
    void *ctx;
};

struct fake_site;

/** All shards are led by server 1; server ids are 1, 2, ... NULL: no sockets or memory. */
struct fake_site *fake_site_start(uint32_t nodes, uint32_t shards,
                                  const struct fake_script *script);
void fake_site_stop(struct fake_site *site);

/** "127.0.0.1:PORT,..." of all nodes. Borrowed. */
const char *fake_site_nodes(const struct fake_site *site);

void fake_site_set_leader(struct fake_site *site, uint32_t shard, uint64_t server);
/** Close all connections of a node and refuse new ones; and take them again. */
void fake_site_kill(struct fake_site *site, uint64_t server);
void fake_site_revive(struct fake_site *site, uint64_t server);
/** DECLARE of a field of this name is answered with this type, whatever was asked for. */
void fake_site_decide(struct fake_site *site, const char *field, enum field_type type);

/** FAKE_TOO_OLD: rows from this time on are kept. */
void fake_site_keep_from(struct fake_site *site, int64_t cutoff_ns);

struct fake_counts {
    uint64_t writes;     /* WRITE frames seen by leaders. */
    uint64_t stored;     /* Entries applied. */
    uint64_t duplicates; /* Entries answered as duplicates. */
    uint64_t gaps;       /* Entries refused for a gap in the sequence. */
    uint64_t strays;     /* WRITE frames that came to a node which does not lead. */
    uint64_t fresh_keys; /* Series keys in all stored blocks. */
    uint64_t declares, queries;
    uint64_t bad; /* Blocks or frames that could not be read: always a bug of the client. */
    uint64_t epoch_max;
};
struct fake_counts fake_site_counts(struct fake_site *site);

/** How often the row with this number was stored. */
uint32_t fake_site_stored(struct fake_site *site, uint32_t row);
/** Were all rows of each series stored in the order of their numbers? */
bool fake_site_in_order(struct fake_site *site);

#endif
