/*
 * sim.h - one simulated cluster: the product's groups, guards, wire format and shared log, on a
 * clock, a network and disks that are made here, and break as the seed says.
 *
 *     sim_main.c     options, processes, report
 *     sim_run.c      one seed: what happens to the cluster, and when
 *     sim_node.c     a node: what its groups ask for; its log writer; crash and start
 *     sim_store.c    its state machines: a running hash, or the product's store
 *     sim_rejoin.c   nodes that lose their log, or fall behind, and begin again
 *     sim_client.c   clients of the product's store, that send again until they are answered
 *     sim_net.c      messages on their way
 *     sim_check.c    what must hold, and what was found
 *
 * A seed is one run: the same seed and options give the same run, on any machine.
 */
#ifndef TESTS_SIM_SIM_H
#define TESTS_SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "replication/group.h"
#include "replication/log.h"
#include "storage/base/bytes.h"
#include "storage/base/rand.h"
#include "storage/store.h"
#include "tests/support/mem_disk.h"

enum {
    SIM_NODES_MAX = 5,
    SIM_GROUPS_MAX = 2,
    SIM_CLIENTS = 3,     /* Of each group. */
    SIM_SERIES = 4,      /* Of each client. */
    SIM_CALENDAR = 4096, /* A message takes less, in ms. */
    SIM_FINDING_MAX = 160,
    SIM_ELECTION_MS = 300,
    SIM_HEARTBEAT_MS = 60,
    SIM_LOG_FILE_BYTES = 64 * 1024,
};

/* What all rows of clients belong to. */
#define SIM_DATABASE "db"
#define SIM_TABLE    "cpu"

/* ---- Options and results ------------------------------------------------------------------- */

struct sim_options {
    uint64_t guards_off;
    bool hot;          /* More crashes, more load, more doubles. */
    bool store;        /* The product's store and clients, not a hash and bytes. */
    bool rejoin;       /* Logs are lost, and leaders' logs short. */
    bool leader_alone; /* A fault: who lost its log believes the first that says it leads. */
    bool verbose;
};

/* Counted over all seeds of a process. */
/* clang-format off */
#define SIM_COUNTERS(X)                                                                       \
    X(proposed) X(acknowledged) X(applied) X(crashes) X(elections) X(transfers) X(seals)      \
    X(loads) X(reads) X(messages) X(lost) X(doubled) X(syncs) X(behind)                       \
    X(failovers) X(failover_ms) X(failovers_slow) X(batches) X(resent) X(duplicates) X(gaps) \
    X(cutoffs) X(drops) X(deletes) X(compactions) X(proofs) X(cleans) X(files)               \
    X(wiped) X(fell_behind) X(rejoined)
/* clang-format on */

#define SIM_COUNTER(name) uint64_t name;
struct sim_counters {
    SIM_COUNTERS(SIM_COUNTER)
};

/* ---- The cluster --------------------------------------------------------------------------- */

struct sim;

struct sim_load {
    uint32_t group;
    uint64_t index, term, position, at_ms;
    struct sim_load *next;
};

struct sim_read {
    uint64_t token;
    uint64_t seen; /* The last index acknowledged by anybody when the read came in. */
    struct sim_read *next;
};

/* What a node's store of one group would have: in memory, and in its last manifest. */
struct sim_store {
    uint64_t index, hash;               /* Applied. */
    uint64_t sealed_index, sealed_hash; /* Durable. */
    uint64_t told_index;                /* group_sealed() was called for. */
    uint64_t sealing_at_ms;             /* A seal is under way and done then; 0: none. */
    uint64_t sealing_index, sealing_hash;
    uint64_t busy_until_ms;         /* The head is full. */
    struct store *real;             /* With options.store. */
    struct sim_job *jobs;           /* Its seals, in order. */
    struct compact_job *compaction; /* Made, and adopted at compact_at_ms. */
    uint64_t compact_at_ms;
};

struct sim_job {
    struct seal_job *job;
    uint64_t at_ms;
    struct sim_job *next;
};

/* Sends one batch after the other, each until it is answered. */
struct sim_client {
    uint64_t producer;
    uint64_t sequence;   /* Of the batch under way, or the next one. */
    struct buf *batch;   /* As it was made; NULL: idle. */
    uint32_t rows;       /* In it. */
    uint64_t made_at_ms; /* The time of its rows, as nanoseconds. */
    uint64_t rows_done;
    struct sim_replica *asked; /* Who proposed it; NULL: nobody yet, or the answer is lost. */
    uint64_t index;            /* Where; or what has to be applied to know about a duplicate. */
    bool duplicate;
    uint64_t again_at_ms;
    uint32_t ids[SIM_SERIES];
};

enum sim_rejoin_state { SIM_WHOLE, SIM_LOST, SIM_BEHIND, SIM_READY };

struct sim_rejoin {
    /* On its disk. */
    enum sim_rejoin_state state;
    bool was_lost; /* Until it is whole again. */
    struct group_install install;
    struct buf *configuration; /* Of `install`. Counted. */

    /* In memory. */
    bool silent;       /* Its group is not started, nor its store open. */
    uint64_t begun_ms; /* The node's start. */
    bool asking;
    uint64_t ask_at_ms[SIM_NODES_MAX]; /* UINT64_MAX: answered. */
    uint32_t answers;
    uint64_t term; /* The highest in the answers, and who leads in which, up to which entry. */
    uint64_t leader, leader_term, last;
    uint64_t fetch_at_ms;    /* 0: the leader is not known yet. */
    uint64_t lacks_since_ms; /* 0: it does not. */
};

struct sim_replica {
    struct sim_node *node;
    uint32_t number;
    struct group *group;
    struct sim_store store;
    struct sim_rejoin rejoin;
    uint64_t commit_seen;
    struct sim_read *reads;
};

struct sim_node {
    struct sim *sim;
    uint64_t server;
    bool up;
    uint64_t start_at_ms, paused_until_ms;
    bool hurry;          /* It begins again as fast as it can. */
    uint64_t news_at_ms; /* The others see then that its connections closed; 0: they do not. */
    struct mem_disk *disk;
    struct log *log;
    struct sim_replica replicas[SIM_GROUPS_MAX];

    /* The log writer: appended, then written, then durable. */
    struct log_record **pending; /* Owned, with their payloads. */
    size_t pending_count, pending_room;
    uint64_t appended; /* Stream numbers. */
    uint64_t written;
    uint64_t durable;
    struct log_record **writing; /* Those that the sync under way makes durable. */
    size_t writing_count;
    uint64_t sync_at_ms; /* 0: no sync under way. */
    struct sim_load *loads;
};

struct sim_mail {
    struct sim_mail *next;
    uint64_t from, to;
    uint32_t group;
    bool urgent;
    uint32_t size;
    uint8_t bytes[];
};

struct sim_chain {
    uint64_t *hash; /* By index: what the first replica that applied it had. 0: nobody yet. */
    uint64_t capacity;
    uint64_t last;         /* Applied by anybody. */
    uint64_t acknowledged; /* Applied by the leader that proposed it. */
    uint64_t *leader;      /* By term. */
    uint64_t leader_capacity;
};

struct sim {
    struct sim_options options;
    struct rand rand;
    uint64_t seed, now_ms;
    bool calm;  /* The faults are over. */
    bool quiet; /* No new work: what is under way ends. */
    uint32_t node_count, group_count;
    struct sim_node nodes[SIM_NODES_MAX]; /* Server id - 1. */
    struct sim_chain chains[SIM_GROUPS_MAX];
    struct sim_mail *calendar[SIM_CALENDAR];
    bool cut[SIM_NODES_MAX][SIM_NODES_MAX];
    uint64_t last_at_ms[SIM_NODES_MAX][SIM_NODES_MAX][2]; /* Ordered links. */
    uint32_t queued[SIM_NODES_MAX][SIM_NODES_MAX][SIM_GROUPS_MAX];

    /* This seed's weather, in 1/1000 for each message, in 1/10000 for each ms. */
    uint32_t p_lose, p_double, p_slow, delay_ms;
    bool ordered; /* As over TCP: in order for each queue. */
    uint32_t p_load, p_crash, p_part, p_transfer, p_pause, p_read, p_busy, p_rumour;
    uint32_t lag_max, seal_every;
    uint32_t p_lose_log;
    uint64_t log_bytes_max;

    uint64_t serial; /* Of the last entry proposed. */
    struct block_builder *builder;
    struct sim_client clients[SIM_GROUPS_MAX][SIM_CLIENTS];
    uint64_t heal_at_ms;
    uint64_t lose_at_ms; /* lose_node loses its log; 0: not planned. */
    uint32_t lose_node;
    uint64_t strike_at_ms; /* The leader of strike_group dies or is cut off. */
    uint32_t strike_group;
    uint64_t leaderless_ms[SIM_GROUPS_MAX]; /* Since its leader died in the calm; 0: it did not. */
    struct sim_counters *counters;
    char finding[SIM_FINDING_MAX]; /* The first; "": none. */
};

/** 0 to below - 1. */
static inline uint32_t sim_rand(struct sim *sim, uint32_t below)
{
    return below == 0 ? 0 : (uint32_t)rand_below(&sim->rand, below);
}
static inline bool sim_chance(struct sim *sim, uint32_t chance, uint32_t of)
{
    return sim_rand(sim, of) < chance;
}

/* ---- sim_run.c ----------------------------------------------------------------------------- */

/** Run one seed. Returns the finding, or "". */
void sim_run(uint64_t seed, const struct sim_options *options, struct sim_counters *counters,
             char finding[SIM_FINDING_MAX]);

/* ---- sim_node.c ---------------------------------------------------------------------------- */

void sim_node_start(struct sim_node *node);
void sim_node_crash(struct sim_node *node, enum mem_disk_crash how);
/** Those that had a connection to it see that it closed; those that are cut off from it do not. */
void sim_node_spread_news(struct sim_node *node);
/** One ms of its life: loads, syncs, seals, timers. */
void sim_node_turn(struct sim_node *node);
/** Free all, without any loss to look into. */
void sim_node_end(struct sim_node *node);
static inline bool sim_node_runs(const struct sim_node *node)
{
    return node->up && node->paused_until_ms <= node->sim->now_ms;
}

/* ---- sim_store.c --------------------------------------------------------------------------- */

/** Recover what the disk says. False: there was a finding. */
bool sim_store_open(struct sim_replica *replica);
/** The process is gone. */
void sim_store_close(struct sim_replica *replica);
enum err sim_store_apply(struct sim_replica *replica, uint64_t index, uint64_t term,
                         struct buf *payload);
void sim_store_turn(struct sim_replica *replica);
/** The process is about to die: perhaps in the middle of a seal. */
void sim_store_die(struct sim_replica *replica);

/* ---- sim_rejoin.c -------------------------------------------------------------------------- */

/** Its node starts. */
void sim_rejoin_begin(struct sim_replica *replica);
/** Its group is about to start. False: there was a finding. */
bool sim_rejoin_install(struct sim_replica *replica);
/** The last of a node's turn: it may be down behind it. */
void sim_rejoin_turn(struct sim_node *node);
void sim_rejoin_faults(struct sim *sim);
/** It won an election. */
void sim_rejoin_elected(const struct sim_replica *replica);
void sim_rejoin_fini(struct sim_node *node);

/* ---- sim_order.c --------------------------------------------------------------------------- */

/** A seal's order, with drops and deletes by chance. */
struct buf *sim_order_entry(struct sim_replica *replica);
/** Of all rows that can be read. */
uint64_t sim_order_digest(struct sim_replica *replica);
/** Both have applied the same: so they have the same rows, and if all is sealed, the same files. */
void sim_order_compare(struct sim_replica *replica, struct sim_replica *leading);

/* ---- sim_client.c -------------------------------------------------------------------------- */

void sim_client_begin(struct sim *sim);
void sim_client_turn(struct sim *sim);
/** That replica applied an entry; what it was proposed as is answered. */
void sim_client_applied(struct sim_replica *replica, uint64_t index, enum store_outcome outcome);
/** It leads no more, or died: what it was asked is not answered. */
void sim_client_lost(struct sim_replica *replica);
/** After the calm: every batch was stored, once, everywhere. */
void sim_client_check_end(struct sim *sim);
void sim_client_fini(struct sim *sim);

/* ---- sim_net.c ----------------------------------------------------------------------------- */

void sim_net_send(struct sim *sim, const struct sim_replica *from, uint64_t to,
                  struct group_message *message, bool urgent);
bool sim_net_queued(const struct sim *sim, const struct sim_replica *from, uint64_t to);
/** Deliver what arrives in this ms. */
void sim_net_turn(struct sim *sim);
void sim_net_end(struct sim *sim);

/* ---- sim_check.c --------------------------------------------------------------------------- */

/** Keep the first finding of a seed; the run stops at its next turn. */
void sim_found(struct sim *sim, const struct sim_replica *replica, const char *what)
    __attribute__((nonnull(1, 3)));
void sim_check_applied(struct sim_replica *replica, uint64_t term);
void sim_check_leader(struct sim_replica *replica);
void sim_check_read(struct sim_replica *replica, uint64_t token, bool ok);
void sim_check_state(struct sim_replica *replica);
/** After the calm: everybody has everything. */
void sim_check_end(struct sim *sim);
void sim_check_fini(struct sim *sim);
/** The ready leader of the highest term, or NULL. */
struct sim_replica *sim_leader(struct sim *sim, uint32_t number);

#endif
