/*
 * rejoin.h - groups whose log or state this node has lost begin again from the other nodes: one
 * thread.
 *
 *    start: log damaged, disk new, state unreadable -> rejoin_list.h, on disk, before anything else
 *      those groups are silent; the thread, for each of them, again and again until all are staged:
 *        asks every other node what its group knows  -> the leader's term and last entry
 *        gets the leader's snapshot, and the files of it that are not here; saves the manifest
 *    node stops and starts, in the same process: the groups begin with group_install(), mute
 *    a group has all that it may have promised -> its name leaves the list
 *
 *    start: nothing in the log -> the thread asks whether this node is new, or has lost its disk
 *
 * Why nothing that was promised is forgotten: docs/adr/0027.
 *
 * WAITS      for ever, if a node that has to be asked is away: what it waits for is shown in status
 *            and, once a minute, in the log. Nothing is thrown away meanwhile: a damaged log is set
 *            aside as log.damaged-EPOCH and removed when the last group is back.
 * Thread     As each function says. The thread of its own is nice.
 */
#ifndef NODE_REJOIN_H
#define NODE_REJOIN_H

#include "node/rejoin_list.h"

struct fetch_known;
struct group_install;
struct node;
struct rejoin;
struct worker;

/* ---- Start: the main thread, or one for all of a worker's groups ----------------------------- */

/** Read the list. `fresh`: the disk is new, or the log is gone: all groups are lost; ERR_INVALID if
 * there is a log. Other errors as rejoin_list_load() and rejoin_list_save(). */
MUST_CHECK enum err rejoin_open(struct node *node, bool fresh, struct rejoin **ret_rejoin);
/** The log is damaged: all groups are lost, and it is set aside. ERR_IO, ERR_DISK_FULL. */
MUST_CHECK enum err rejoin_lose_log(struct rejoin *rejoin);
/** The state of a group cannot be read, its log can. ERR_IO, ERR_DISK_FULL. */
MUST_CHECK enum err rejoin_lose_state(struct rejoin *rejoin, uint32_t group);
/** The log was replayed, and there is nothing in it: whether this node ran before has to be asked,
 * and until then no group starts. (rejoin_first.c) */
void rejoin_hold(struct rejoin *rejoin);
/** The log was replayed, the workers do not run yet. ERR_UNAVAILABLE. */
MUST_CHECK enum err rejoin_start(struct rejoin *rejoin);

/** Before the workers end. */
void rejoin_stop(struct rejoin *rejoin);
/** After they have ended. NULL is allowed. */
void rejoin_free(struct rejoin *rejoin);

/* ---- While it runs: any thread -------------------------------------------------------------- */

/** No group may start yet; when that ends, the workers' bells ring. */
bool rejoin_holds(const struct rejoin *rejoin);
/** Before a message of Raft counts that came from that server: that it was heard is durable then.
 * False: it is not, so it must not count. */
bool rejoin_hear(struct rejoin *rejoin, uint64_t server);
/** What to say to a server whose log is empty; `start`: a number of its own. */
struct fetch_known rejoin_known(struct rejoin *rejoin, uint64_t server, uint64_t start);
/** The group is not started: it waits to be staged. */
bool rejoin_is_silent(const struct rejoin *rejoin, uint32_t group);
/** It has forgotten what it may have promised, and has no term to tell. */
bool rejoin_is_lost(const struct rejoin *rejoin, uint32_t group);
/** It may go on with the log that it has: nothing of that may go. */
bool rejoin_keeps_log(const struct rejoin *rejoin, uint32_t group);
/** What the group begins with. False: as usual. */
bool rejoin_install(const struct rejoin *rejoin, uint32_t group, struct group_install *ret_install);
/** A group that is silent, or began again and may be mute. False: there is none. */
bool rejoin_next(struct rejoin *rejoin, uint32_t *ret_group);
/** Who leads a silent group, as the thread was told last; 0: nobody knows. */
uint64_t rejoin_leader(const struct rejoin *rejoin, uint32_t group);
/** A group that runs: the leader's log may begin behind our last entry. It is asked; if so, the
 * node stops and starts. */
void rejoin_behind(struct rejoin *rejoin, uint32_t group, uint64_t last);
/** A group that was installed is not mute any more. */
void rejoin_done(struct rejoin *rejoin, uint32_t group);
/** Worker 0: send what the thread asks other nodes for. */
void rejoin_serve(struct rejoin *rejoin, struct worker *worker);

/** Each group that rejoins, with what is done or waited for; `what` is borrowed during the call.
 * REJOIN_NOT of group 0: whether any of them has to is not known yet. */
void rejoin_each(struct rejoin *rejoin,
                 void (*each)(void *arg, uint32_t group, enum rejoin_state state, const char *what),
                 void *arg);

#endif
