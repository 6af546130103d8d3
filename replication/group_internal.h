/*
 * group_internal.h - private to replication/: what a group consists of, and the calls between its
 * files.
 *
 *     group.c          events, the core's updates, apply, the leader's calls
 *     group_start.c    recovery and bootstrap
 *     group_install.c  beginning again with another server's state
 *     group_receive.c  messages from peers, through the guards into the core
 *     group_time.c     deadlines, elections at once, leadership handed over
 *     group_seal.c     snapshots, trimming, eviction
 *     group_state.c    what others may see of it
 *     group_read.c     linearizable reads: one round of PING and PONG
 *     outbox.c         messages to peers: gate, pieces, entries read back from the log
 *     guards.c         what keeps the core's defects away from our data
 */
#ifndef REPLICATION_GROUP_INTERNAL_H
#define REPLICATION_GROUP_INTERNAL_H

#include <raft.h>

#include "replication/group.h"
#include "replication/group_message.h"
#include "replication/mirror.h"

_Static_assert(RAFT_VERSION_NUMBER == 2201,
               "the ownership rules of raft_step() change after 0.22.1: docs/adr/0001-libraft.md");
_Static_assert((int)GROUP_COMMAND == RAFT_COMMAND && (int)GROUP_BARRIER == RAFT_BARRIER &&
                   (int)GROUP_CHANGE == RAFT_CHANGE,
               "entry types are stored and sent with the core's numbers");

enum {
    GROUP_READS_MAX = 256,  /* group_read() says ERR_BUSY above it. */
    GROUP_LOADS_MAX = 64,   /* Entries being read back from the log. */
    GROUP_OUTBOX_MAX = 4096 /* Messages waiting for the gate; more are dropped: Raft sends again. */
};

/* A state that the store holds durably: the group starts from it. */
struct group_snapshot {
    uint64_t index; /* 0: none. */
    uint64_t term, configuration_index;
    struct buf *configuration; /* Counted. */
    uint64_t stream;           /* Of its LOG_SNAPSHOT record. */
};

/* Another server, as far as messages go. Kept when it leaves the configuration. */
struct group_peer {
    uint64_t server;
    uint64_t heard_ms;  /* Its last message; 0: none. */
    bool mute, behind;  /* It said so last; it needs entries that the log no longer has. */
    uint64_t unread;    /* An entry that it needs could not be read back; 0: none. */
    uint64_t behind_ms; /* It was told so; 0: never. */

    /* As leader, forgotten at each change of term. */
    uint64_t empty_ms, empty_prev, empty_commit;   /* The last empty AppendEntries. */
    uint64_t sent_last;                            /* The last entry given to the link. */
    bool probing;                                  /* It refused, and has not told more since. */
    uint32_t forgot;                               /* Refusals of what it once acknowledged, */
    uint64_t forgot_ms;                            /* since then. */
    struct group_message *waiting, **waiting_tail; /* In order, for entries to be read back. */
};

struct group_load {
    uint64_t index, term;
    uint32_t size;
};

struct group_read {
    uint64_t token;
    uint64_t commit; /* To be applied before the read may be served. */
    uint64_t round;  /* To be answered by a majority. */
};

struct group {
    struct group_options options;
    struct group_io io;
    struct raft raft;
    bool started;
    bool dead;     /* io.fatal was called: nothing happens any more. */
    bool stepping; /* Inside raft_step() and the handling of its update. */
    bool applying;
    bool apply_more; /* The turn was long enough: go on at the next tick, now. */

    /* Time: never goes back, and may run ahead of io.now_ms (group_peer_lost). */
    uint64_t clock_ms;
    uint64_t ahead_ms;
    uint64_t ticked_ms;  /* The last RAFT_TIMEOUT. */
    uint64_t timeout_ms; /* The core's next. */

    /* The log. */
    struct mirror mirror;
    struct group_snapshot snapshot; /* Durable, and known to the core. */
    struct group_snapshot sealing;  /* Its record is on the way to the disk; index 0: none. */
    uint64_t durable;               /* Stream number. */
    uint64_t written_index;         /* Of the last LOG_ENTRY that became durable. Guard STALE. */
    uint64_t all_have; /* Every server has all entries up to here, as far as we know. */
    uint64_t applied;
    uint64_t commit;            /* The highest ever seen. */
    uint64_t uncommitted_bytes; /* Of entries behind it. */

    /* The messages. */
    uint64_t gate; /* Stream number of the newest term and vote. */
    struct group_message *outbox, **outbox_tail;
    uint32_t outbox_count;
    struct group_peer peers[GROUP_SERVERS_MAX];
    uint32_t peer_count;
    struct group_load loads[GROUP_LOADS_MAX];
    uint32_t load_count;
    uint64_t load_bytes;
    struct buf *barrier;     /* The payload of every barrier: 8 zeros. */
    struct raft_entry *room; /* For the entries of one event. */
    uint32_t room_count;
    uint32_t pushed; /* Entries since the window was last fitted to their size. */

    /* As leader. */
    bool leading;         /* As io.leader was last told. */
    uint64_t led_term;    /* The term of `leading`. */
    uint64_t own_first;   /* The first entry of the term that we lead. */
    uint64_t transfer_to; /* Leadership goes there; 0: stays. */
    bool transfer_sent;
    uint64_t transfer_until_ms;

    /* As follower: the leader's process is gone. */
    uint64_t lost_at_ms; /* When to ask for votes; 0: not wanted. */
    uint64_t lost_term;
    uint32_t lost_tries;
    uint64_t leader_heard_ms; /* The leader's last AppendEntries; the start, if none. */
    uint64_t lacks_term; /* The leader of this term said that its log begins behind ours; 0: no. */
    bool mute;           /* Since group_install(), until the entry or the term comes. */
    uint64_t until, until_term, install_stream;

    /* Reads, oldest first, as a ring. */
    struct group_read reads[GROUP_READS_MAX];
    uint32_t read_first, read_count;
    uint64_t read_round; /* The last round begun. */
    uint64_t read_acks;  /* Bits by place in peers[]. */
    bool read_running;   /* That round is not answered yet. */
};

/* ---- group.c, group_time.c, group_seal.c --------------------------------------------------- */

/** The group's clock: monotonic, in step with io.now_ms but for what group_peer_lost() added. */
uint64_t group_clock(struct group *group);
/** Stop for good: tells io.fatal once. */
void group_fail(struct group *group, const char *what);
/** Run one event through the core and carry out its update. Returns raft_step()'s value; any error
 * but that of a SUBMIT or TRANSFER has stopped the group. */
int group_step(struct group *group, struct raft_event *event);
/** After one or several steps: leadership, configurations, apply, messages, reads. */
void group_settle(struct group *group);
/** Room for the entries of one event, borrowed until the next call; NULL: no memory. */
struct raft_entry *group_entries(struct group *group, uint32_t count);
/** The term of an entry, of the log or of the snapshot; 0: not known (any more). */
uint64_t group_term_at(const struct group *group, uint64_t index);
/** The peer's place; NULL if there are too many. */
struct group_peer *group_peer(struct group *group, uint64_t server);
/** Write the current term and vote; messages wait for it. */
void group_write_term(struct group *group, uint64_t term, uint64_t vote);
/** Tell the core that the configuration of entry `index` is committed. */
void group_report_configuration(struct group *group, uint64_t index);
/** Whether leadership can be handed over now, or that has taken too long. */
void group_push_transfer(struct group *group);
void group_end_transfer(struct group *group);
/** As the leader: let a voter that is up to date lead, not `except`. */
void group_hand_over(struct group *group, uint64_t except);
/** Another server was granted a vote or a pre-vote. */
void group_yield(struct group *group);
/** Every server has all entries up to here. Leaders know, and tell their followers. */
uint64_t group_all_have(struct group *group);
/** The configuration as of `index`, borrowed, and its own index. NULL: not known. */
struct buf *group_configuration_at(const struct group *group, uint64_t index, uint64_t *ret_index);
/** The record of a seal may have become durable. */
void group_finish_seal(struct group *group);
static inline bool group_is_leader(const struct group *group)
{
    return group->raft.state == RAFT_LEADER;
}

/* ---- group_install.c ----------------------------------------------------------------------- */

/** The log in memory begins anew behind the snapshot. */
void group_void_entries(struct group *group);
/** It may be mute no longer. */
void group_end_mute(struct group *group);
/** As leader: that server needs entries that the log no longer has. */
void group_tell_behind(struct group *group, struct group_peer *peer);
/** A server that leads in `term` said so to us. */
void group_hear_behind(struct group *group, uint64_t from, uint64_t term);

/* ---- group_read.c -------------------------------------------------------------------------- */

void group_read_ping(struct group *group, uint64_t from, const struct group_message *message);
void group_read_pong(struct group *group, uint64_t from, const struct group_message *message);
/** Ask those again that have not answered: messages get lost. */
void group_read_repeat(struct group *group);
/** Serve what may be served. */
void group_read_settle(struct group *group);
/** Leadership is lost. */
void group_read_fail(struct group *group);

#endif
