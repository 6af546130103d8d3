/*
 * rejoin_internal.h - what the parts of rejoin share: rejoin.c has the list, the thread and the
 * rounds, rejoin_stage.c gets one group's state, rejoin_log.c moves the damaged log, rejoin_first.c
 * finds out whether an empty log is right.
 */
#ifndef NODE_REJOIN_INTERNAL_H
#define NODE_REJOIN_INTERNAL_H

#include <stdatomic.h>

#include "node/fetcher.h"
#include "node/node.h"
#include "node/rejoin.h"
#include "storage/base/thread.h"

struct rejoin_group {
    enum rejoin_state began; /* Of this start; what is silent stays so until the next one. */
    uint64_t own_term;       /* As the log has it, */
    uint64_t own_last;       /* and its last entry, */
    uint64_t own_snapshot;   /* and its newest snapshot. */
    uint64_t leader_ms;      /* A leader answered; the start, if none. The thread's. */
    uint64_t own_sealed;     /* Its state, as it stood on the disk, is of that entry. */
    bool touched;            /* That may be another one now. The thread's. */
    bool given_up;           /* It goes on as it was, with the next start. The thread's. */
    _Atomic uint64_t leader;
    struct rejoin_entry staged; /* The thread's. */
    uint64_t behind;            /* Its last entry, when its worker said so; 0: it did not. This and
                                   `done` are under the lock. */
    bool done;
    struct store_file *files; /* Of what was staged; owned, the thread's. */
    uint32_t file_count;
    uint32_t tries;
    char what[ERR_DETAIL_MAX]; /* Under the lock. */
};

/** A node that begins for the first time, or has done so: rejoin_first.c. */
struct rejoin_first {
    atomic_bool holds;
    _Atomic uint64_t unheard; /* Bits by place in cluster.nodes: nothing was ever heard of them. */
    uint64_t start;           /* A random number, not 0. */
    uint64_t begin_ms;
    uint64_t with[OPTIONS_NODES_MAX]; /* Who began with us: their starts. Under the lock. */
    char what[ERR_DETAIL_MAX];        /* Under the lock. */
};

struct rejoin {
    struct node *node;
    struct rejoin_first first;
    struct thread thread;
    bool started;
    struct fetcher fetcher;
    struct rejoin_list list;     /* Of the disk. Under the lock. */
    struct rejoin_group *groups; /* Owned: node->groups. */
    uint64_t told_ms;            /* The thread's: of the last line about what is waited for. */

    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stopping;
    bool told; /* A group's worker said something. */
};

/** It has forgotten nothing, and its state on the disk is still one that its log goes with. */
static inline bool rejoin_may_go_on(const struct rejoin_group *group)
{
    return group->began == REJOIN_BEHIND && !group->touched && group->own_sealed <= group->own_last;
}

/** Read which servers were never heard of. ERR_IO, ERR_NO_MEMORY. */
MUST_CHECK enum err rejoin_first_open(struct rejoin *rejoin);
/** Ask until it is known. True: this node ran before, and has lost it. The thread. */
bool rejoin_first_ask(struct rejoin *rejoin);

bool rejoin_is_stopping(struct rejoin *rejoin);
/** Until something is said, or the time is over. */
void rejoin_sleep(struct rejoin *rejoin, uint64_t ms);

/** What a ready group begins with; borrows from the entry. */
struct group_install rejoin_install_of(const struct rejoin_entry *entry);

/** There is no log. ERR_INVALID: there is, or the node is alone; ERR_IO, ERR_NO_MEMORY. */
MUST_CHECK enum err rejoin_check_no_log(const struct node *node);
/** Give the damaged log another name. ERR_IO. */
MUST_CHECK enum err rejoin_set_log_aside(const struct node *node);
/** Remove what was set aside. */
void rejoin_remove_logs(const struct node *node);

/** Show what is done, or waited for. */
void rejoin_say(struct rejoin *rejoin, uint32_t group, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** Whether the group's leader has no entry any more of those behind `last`. The thread. */
bool rejoin_is_behind(struct rejoin *rejoin, uint32_t group, uint64_t last);

/** Fill groups[group].staged, with its files and its manifest on the disk. On an error, which says
 * what is missing, nothing is given up: try again. ERR_END: it is not behind (any more). The
 * thread. */
MUST_CHECK enum err rejoin_stage(struct rejoin *rejoin, uint32_t group);

#endif
