/*
 * A replica that begins again, with a state that came from another server: its log was lost, or no
 * other log reaches back to it any more.
 *
 *     group_replay()   group_install()   group_start()                     entry `until`, or one of
 *          |                 |                |                            a later term, is durable
 *     old entries  ->  TERM, INSTALL   ->  mute: takes entries, -------->  as any other
 *                      all void            neither votes nor campaigns
 *
 * Why mute: what this server promised before, and forgot, is known to others. Votes: each went to a
 * candidate that knows its term, so none is of a term above until_term, and in that one the vote is
 * our own. Entries that it acknowledged and that can be committed: the leader of until_term has
 * them, at or below `until`, since this server helped to elect nobody after it forgot them. As soon
 * as our log has come that far, or shows the mark of a later leader, who has them as well, a vote
 * of ours can do no more harm than one of a server that never lost anything.
 */
#include <inttypes.h>
#include <string.h>

#include "replication/configuration.h"
#include "replication/guards.h"
#include "replication/outbox.h"
#include "replication/raft_wire.h"
#include "storage/base/check.h"

/* ---- Beginning again ----------------------------------------------------------------------- */

static bool is_number(uint64_t value)
{
    return value > 0 && value <= GROUP_NUMBER_MAX;
}

enum err group_check_install(const struct group_install *install)
{
    if (!is_number(install->index) || !is_number(install->term) || !is_number(install->until) ||
        !is_number(install->until_term) || install->configuration_index == 0 ||
        install->configuration_index > install->index)
        return err_set(ERR_INVALID,
                       "snapshot %" PRIu64 " of term %" PRIu64 ", configuration %" PRIu64
                       ", until entry %" PRIu64 " of term %" PRIu64,
                       install->index, install->term, install->configuration_index, install->until,
                       install->until_term);
    return configuration_check(install->configuration, install->configuration_size);
}

static enum err check_install(const struct group *group, const struct group_install *install)
{
    uint64_t known_term = group->raft.current_term;

    if (group->snapshot.index < install->index && known_term > install->until_term &&
        known_term > install->term)
        return err_set(ERR_INVALID,
                       "the log knows of term %" PRIu64 ", the others that were asked of %" PRIu64
                       ": ask again",
                       known_term, install->until_term);
    return group_check_install(install);
}

/* Whether nobody else votes: nobody could have answered then. */
static enum err check_not_alone(const struct group *group, const struct buf *encoded)
{
    struct raft_configuration configuration;
    bool alone;
    enum err err = configuration_decode(encoded, &configuration);

    if (err != ERR_OK)
        return err;
    alone = guard_sole(group, &configuration);
    raft_configuration_close(&configuration);
    return alone ? err_set(ERR_INVALID, "a sole voter has nobody to begin again from") : ERR_OK;
}

/* Takes over the configuration. */
static void write_install(struct group *group, const struct group_install *install,
                          struct buf *configuration)
{
    struct log_record record = {
        .group = group->options.number,
        .kind = LOG_INSTALL,
        .index = install->index,
        .term = install->term,
        .aux = install->configuration_index,
        .payload = buf_ref(configuration),
    };

    buf_unref(group->snapshot.configuration);
    group->snapshot = (struct group_snapshot){
        .index = record.index,
        .term = record.term,
        .configuration_index = record.aux,
        .configuration = configuration,
    };
    group_void_entries(group);
    group->install_stream = group->io.append(group->io.ctx, group, &record);
    group->gate = group->install_stream;
}

static void adopt_term(struct group *group, uint64_t term)
{
    group->raft.current_term = term;
    group->raft.voted_for = group->options.server;
    group_write_term(group, term, group->options.server);
}

/* The term comes first: torn behind it, the same install is made again. */
static enum err begin_again(struct group *group, const struct group_install *install)
{
    struct buf *configuration = buf_new(install->configuration_size);
    enum err err;

    if (configuration == NULL)
        return err_set(ERR_NO_MEMORY, "configuration of %" PRIu32 " bytes",
                       install->configuration_size);
    memcpy(configuration->bytes, install->configuration, install->configuration_size);
    configuration->size = install->configuration_size;
    err = check_not_alone(group, configuration);
    if (err != ERR_OK) {
        buf_unref(configuration);
        return err;
    }
    adopt_term(group, install->term > install->until_term ? install->term : install->until_term);
    write_install(group, install, configuration);
    return ERR_OK;
}

enum err group_install(struct group *group, const struct group_install *install)
{
    enum err err = check_install(group, install);

    CHECK(!group->started);
    if (err == ERR_OK && group->snapshot.index < install->index)
        err = begin_again(group, install);
    else if (err == ERR_OK && group->raft.current_term < install->until_term)
        adopt_term(group, install->until_term); /* It was not needed: the entries count. */
    if (err != ERR_OK)
        return err_wrap(err, "group %u: install", group->options.number);
    group->until = install->until;
    group->until_term = install->until_term;
    group->mute = true;
    return ERR_OK;
}

void group_void_entries(struct group *group)
{
    mirror_fini(&group->mirror);
    mirror_init(&group->mirror, group->snapshot.index + 1);
}

/* ---- Mute ---------------------------------------------------------------------------------- */

bool group_is_mute(const struct group *group)
{
    return group->mute;
}

void group_end_mute(struct group *group)
{
    if (group->mute && group->durable >= group->install_stream && !guard_mute(group))
        group->mute = false;
}

/* ---- What others begin again from ---------------------------------------------------------- */

enum err group_snapshot_at(const struct group *group, uint64_t index, uint64_t *ret_term,
                           uint64_t *ret_configuration_index, struct buf **ret_configuration)
{
    uint64_t term = index == 0 ? 0 : group_term_at(group, index);
    uint64_t configuration_index;
    struct buf *configuration = group_configuration_at(group, index, &configuration_index);

    if (term == 0 || configuration == NULL || configuration_index > index)
        return err_set(ERR_NOT_FOUND,
                       "group %u: the log, from entry %" PRIu64 " to %" PRIu64
                       ", does not tell of a snapshot at %" PRIu64 " any more",
                       group->options.number, group->mirror.first, group->mirror.last, index);
    *ret_term = term;
    *ret_configuration_index = configuration_index;
    *ret_configuration = buf_ref(configuration);
    return ERR_OK;
}

/* ---- A follower that the leader's log does not reach --------------------------------------- */

/* The core says so once in a while, as long as it is like that. */
void group_tell_behind(struct group *group, struct group_peer *peer)
{
    uint64_t now_ms = group_clock(group);
    struct group_message *message;

    if (peer->behind_ms != 0 && now_ms - peer->behind_ms < group->options.heartbeat_ms)
        return;
    message = group_message_new(GROUP_BEHIND, group->raft.current_term, 0);
    if (message == NULL)
        return; /* As good as lost on the way. */
    peer->behind_ms = now_ms;
    outbox_add(group, peer->server, message);
}

void group_hear_behind(struct group *group, uint64_t from, uint64_t term)
{
    const struct raft *raft = &group->raft;

    if (group->durable < group->install_stream)
        return; /* Who begins once more counts on the term of the first time. */
    if (raft->state == RAFT_FOLLOWER && raft->current_term == term &&
        raft->follower_state.current_leader.id == from)
        group->lacks_term = term;
}
