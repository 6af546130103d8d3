/*
 * group_message.h - private to replication/: a Raft message of ours, free of raft.h.
 *
 * One that comes in was read and checked by raft_wire.h. One that goes out is made in outbox.h,
 * where it may wait: for the term to be durable here (`gate`), and for entries that have to be read
 * back from the log (`missing`).
 */
#ifndef REPLICATION_GROUP_MESSAGE_H
#define REPLICATION_GROUP_MESSAGE_H

#include <stdbool.h>

#include "storage/base/buf.h"
#include "storage/base/err.h"

/* The numbers are sent: append only. */
enum group_message_kind {
    GROUP_APPEND = 1,
    GROUP_APPEND_RESULT = 2,
    GROUP_VOTE = 3,
    GROUP_VOTE_RESULT = 4,
    GROUP_TIMEOUT_NOW = 5,
    GROUP_PING = 6,   /* Are we still your leader? For reads; not known to the core. */
    GROUP_PONG = 7,   /* In this term: yes. */
    GROUP_BEHIND = 8, /* The leader: my log begins behind your last entry. Not known to the core. */
    GROUP_MESSAGE_END
};

/* Of indexes and terms: nobody gets so far, and sums of two stay far from wrapping. */
#define GROUP_NUMBER_MAX (UINT64_C(1) << 62)

enum { GROUP_ENTRIES_MAX = 1024 }; /* Of one message; the core's window is never larger. */

/* Raft's entry types, as raft.h numbers them. */
enum group_entry_type { GROUP_COMMAND = 1, GROUP_BARRIER = 2, GROUP_CHANGE = 3 };

struct group_entry {
    uint64_t term;
    uint64_t position;   /* Going out, payload NULL: where it stands in our log. */
    struct buf *payload; /* Counted. */
    uint32_t size;
    uint8_t type;
};

struct group_append {
    uint64_t prev_index; /* 0 with prev_term 0: before the first entry. */
    uint64_t prev_term;
    uint64_t commit;
    uint64_t all_have;           /* Every server has all entries up to here. */
    struct group_entry *entries; /* Owned: malloc'ed. */
    uint32_t count;
};

struct group_append_result {
    uint64_t rejected;   /* The prev_index that was refused; 0: accepted. */
    uint64_t last_index; /* Accepted: durable up to here. Refused: try from here. */
    bool mute;           /* group_is_mute(): whoever answers cannot lead yet. */
};

struct group_vote {
    uint64_t last_index;
    uint64_t last_term;
    bool pre_vote;
    bool disrupt_leader; /* The leader itself asked for this election. */
};

struct group_vote_result {
    bool granted;
    bool pre_vote;
};

struct group_timeout_now {
    uint64_t last_index;
    uint64_t last_term;
};

struct group_message {
    enum group_message_kind kind;
    uint64_t term;
    union {
        struct group_append append;
        struct group_append_result append_result;
        struct group_vote vote;
        struct group_vote_result vote_result;
        struct group_timeout_now timeout_now;
        uint64_t round; /* PING and PONG */
    };

    /* Only while it waits in an outbox. */
    struct group_message *next;
    uint64_t to;
    uint64_t gate;    /* Leaves when this stream number is durable. */
    uint32_t missing; /* Entries whose payload has to be read back. */
};

/** A zeroed message with room for `count` entries; NULL: no memory. Freed by group_message_free()
 * (raft_wire.h). */
struct group_message *group_message_new(enum group_message_kind kind, uint64_t term,
                                        uint32_t count);

#endif
