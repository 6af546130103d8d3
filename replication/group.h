/*
 * group.h - one replica of one Raft group: libraft's raft_step() with all its guards.
 *
 * No I/O in here: time, log, network, state machine come in through struct group_io, so the
 * simulator (tests/sim) runs this very code. Not thread-safe: one worker owns a group.
 * <raft.h> stays inside the .c files of replication/.
 *
 *        group_receive, group_tick, group_durable, group_propose
 *                 |
 *              guards --> raft_step() --> update, in this order:
 *                 term or vote   -> io.append(LOG_TERM), and messages wait for it (the gate)
 *                 entries        -> io.append(LOG_ENTRY), cutting our tail where they overlap
 *                 messages       -> filled from our log, queued behind the gate -> io.send
 *                 commit         -> io.apply, up to what is durable here
 *
 * ENTRIES    live in the log and, as counted bufs, in this group's mirror. group_evict() lets go of
 *            those that the head holds no more; one that a follower needs later is read back
 *            (io.load).
 * CALLBACKS  apply, leader and read_done may call group_propose(), group_read(), group_sealed() and
 *            group_evict(); the others must not call back.
 * INSTALL    A follower that needs entries which the leader's log has no more is shown as `behind`,
 *            and is told so (`lacks`). It begins again, as does a server that lost its log, with a
 *            state of the store and group_install().
 * SILENT     A group that was not started takes and says nothing: messages are dropped, there is no
 *            deadline, ERR_NOT_LEADER is the answer, and nothing of its log may go.
 */
#ifndef REPLICATION_GROUP_H
#define REPLICATION_GROUP_H

#include <stdbool.h>

#include "replication/log.h"
#include "storage/base/buf.h"
#include "storage/base/err.h"

struct group;
struct group_message; /* One Raft message with its entries: raft_wire.h turns it into bytes. */

enum { GROUP_SERVERS_MAX = 9, GROUP_LAG_MAX_DEFAULT = 65536 };

struct group_options {
    uint32_t number; /* Group: 0 is meta. */
    uint64_t server; /* Own id, 1 and up. */
    uint64_t seed;   /* For election timeouts: distinct for each (server, group). */
    uint32_t election_ms;
    uint32_t heartbeat_ms;
    uint64_t voters[GROUP_SERVERS_MAX]; /* First configuration, same on all; used when the log is
                                           empty. */
    uint32_t voter_count;
    /* Bytes proposed and not committed; above it group_propose() says ERR_BUSY. */
    uint64_t inflight_bytes_max;
    uint32_t lag_max;    /* Entries kept behind a seal for servers that lack them; 0: the default.
                            Each takes 48 bytes of memory. */
    uint64_t guards_off; /* Tests only: bits of guards.h to leave out. */
};

struct group_io {
    void *ctx;
    uint64_t (*now_ms)(void *ctx);
    /* Append to the log; takes over record->payload's reference. Returns the stream number. */
    uint64_t (*append)(void *ctx, struct group *group, const struct log_record *record);
    /* Takes over the message. `urgent`: may overtake bulk. */
    void (*send)(void *ctx, struct group *group, uint64_t to, struct group_message *message,
                 bool urgent);
    /* Bulk of this group to that peer is still queued in the link. */
    bool (*send_queued)(void *ctx, struct group *group, uint64_t to);
    /* Committed and durable here, in order; payload NULL for barriers and configurations. ERR_BUSY:
     * not now, call group_poke() later. Anything else but ERR_OK stops the group. */
    enum err (*apply)(void *ctx, struct group *group, uint64_t index, uint64_t term,
                      struct buf *payload);
    /* Leadership gained (after the own term's no-op is proposed) or lost. */
    void (*leader)(void *ctx, struct group *group, bool leading);
    /* Read an evicted entry from the log at `position`; answer with group_loaded(), later, not
     * from within. */
    void (*load)(void *ctx, struct group *group, uint64_t index, uint64_t term, uint64_t position);
    /* A read asked for with group_read() may be served (ok), or not (leadership lost). */
    void (*read_done)(void *ctx, struct group *group, uint64_t token, bool ok);
    /* The group stopped: broken contract or contradiction. The process should end with this line.
     */
    void (*fatal)(void *ctx, struct group *group, const char *what);
};

MUST_CHECK enum err group_new(const struct group_options *options, const struct group_io *io,
                              struct group **ret_group);
void group_free(struct group *group);

/* ---- Recovery: records of this group in log order, then start ------------------------------ */

MUST_CHECK enum err group_replay(struct group *group, const struct log_record *record);
/** `applied`: the store holds everything up to here; apply goes on behind it (index at least the
 * newest LOG_SNAPSHOT's). A group without records bootstraps itself from options.voters. */
MUST_CHECK enum err group_start(struct group *group, uint64_t applied);

/** What a replica begins with again that has lost its log, or fell behind: the store holds
 * everything up to `index`. */
struct group_install {
    uint64_t index, term; /* Of the snapshot. */
    uint64_t configuration_index;
    const void *configuration; /* Encoded. Borrowed during the call. */
    uint32_t configuration_size;
    /* The leader's last entry when it was asked, and its term: not below ours, and, if ours is
     * forgotten, the highest of all voters'. */
    uint64_t until, until_term;
};
/** Whether it can be right: for what came from another server, before it is kept. ERR_INVALID. */
MUST_CHECK enum err group_check_install(const struct group_install *install);
/**
 * Between group_replay() and group_start(): write the term, our own vote in it and LOG_INSTALL.
 * What the log has of the group is void, and it is mute for now. If its snapshot is at or above
 * `index` already (this was done before), entries stay, and it is only made mute again.
 *
 * Errors  ERR_INVALID: of the arguments; or the log knows of a higher term than the others did
 */
MUST_CHECK enum err group_install(struct group *group, const struct group_install *install);
/** It may have promised what it forgot: it takes entries, but neither votes nor stands for election
 * yet. */
bool group_is_mute(const struct group *group);

/* ---- Events -------------------------------------------------------------------------------- */

/** Takes over the message; `from` is who the link says it is. */
void group_receive(struct group *group, uint64_t from, struct group_message *message);
/** When now_ms() has reached group_deadline(), which is 0 when there is more to apply at once. */
void group_tick(struct group *group);
uint64_t group_deadline(const struct group *group);
/** A record became durable (in stream order), then: all up to `stream` are. */
void group_written(struct group *group, uint64_t index, uint64_t stream, uint64_t position);
void group_durable(struct group *group, uint64_t stream);
/** The connection of that server's process closed: if it leads, start a pre-vote now. */
void group_peer_lost(struct group *group, uint64_t server);
/** Try again what io.apply put off. */
void group_poke(struct group *group);
void group_loaded(struct group *group, uint64_t index, uint64_t term, struct buf *payload);

/* ---- The leader ---------------------------------------------------------------------------- */

/**
 * Propose entries, all in one step. Takes a reference of each on success.
 *
 * Errors  ERR_NOT_LEADER; ERR_BUSY: over inflight_bytes_max, or a transfer is running
 */
MUST_CHECK enum err group_propose(struct group *group, struct buf *const *payloads, uint32_t count,
                                  uint64_t *ret_first_index);
/** Leads, and has applied everything up to its own term's no-op: only then may ids be stamped. */
bool group_is_ready(const struct group *group);
/** Hand leadership to `to`, 0: any that is caught up and not mute. ERR_NOT_LEADER, ERR_BUSY. */
MUST_CHECK enum err group_transfer(struct group *group, uint64_t to);
/** Confirm leadership with a majority; io.read_done(token) follows. ERR_NOT_LEADER, ERR_BUSY. */
MUST_CHECK enum err group_read(struct group *group, uint64_t token);

/* ---- Pruning ------------------------------------------------------------------------------- */

/** The store holds everything up to `index` durably: write LOG_SNAPSHOT, and trim once it is
 * durable. */
MUST_CHECK enum err group_sealed(struct group *group, uint64_t index);
/** Drop the memory of entries at or below `index` (they stay in the log files). */
void group_evict(struct group *group, uint64_t index);
/** The log need not keep an entry at or below this: it is sealed here and every server has it, or
 * so many came behind it that a server without it is given up. */
uint64_t group_keep_after(const struct group *group);
/** Where an entry stands in the log; 0: not known. */
uint64_t group_position(const struct group *group, uint64_t index);

/**
 * The snapshot's facts for a state that the store holds up to `index`: term, configuration (a
 * counted reference for the caller), its index.
 *
 * Errors  ERR_NOT_FOUND: not in the log any more
 */
MUST_CHECK enum err group_snapshot_at(const struct group *group, uint64_t index, uint64_t *ret_term,
                                      uint64_t *ret_configuration_index,
                                      struct buf **ret_configuration);

/* ---- Looking ------------------------------------------------------------------------------- */

struct group_state {
    uint32_t number;
    uint64_t server, leader, term; /* leader: 0 when unknown */
    uint64_t first, last, commit, applied, durable;
    uint64_t snapshot; /* The store holds all up to here, as the log tells. */
    uint64_t all_have; /* Every server has the entries up to here, as far as we know. */
    uint64_t cached_bytes, inflight_bytes;
    uint64_t silent_ms; /* As follower: since the leader's last word; since the start if none. */
    bool leading, ready;
    bool mute;        /* group_is_mute() */
    bool lacks;       /* The leader has told us that its log begins behind our last entry. */
    uint32_t servers; /* Of the configuration, we included: so many peers[], in its order. */
    struct {
        uint64_t server;
        uint64_t match; /* As leader: entries that it has for certain. */
        bool online;    /* Heard within the election timeout. */
        bool mute;      /* It has said that it may not lead yet. */
        bool behind;    /* As leader: it needs entries that the log no longer has. */
    } peers[GROUP_SERVERS_MAX];
};
void group_state(const struct group *group, struct group_state *ret_state);
uint32_t group_number(const struct group *group);
void *group_ctx(const struct group *group);

#endif
