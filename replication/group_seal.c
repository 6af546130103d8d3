#include <inttypes.h>

#include "replication/configuration.h"
#include "replication/guards.h"
#include "storage/base/check.h"

/* ---- Trimming ------------------------------------------------------------------------------ */

/* The configuration as of `index`: the newest one in the log at or below it, else the snapshot's.
 */
struct buf *group_configuration_at(const struct group *group, uint64_t index, uint64_t *ret_index)
{
    for (uint64_t at = index; at >= group->mirror.first; at--) {
        const struct mirror_slot *slot = mirror_at(&group->mirror, at);

        if (slot != NULL && slot->type == GROUP_CHANGE) {
            *ret_index = at;
            return slot->payload;
        }
    }
    *ret_index = group->snapshot.configuration_index;
    return group->snapshot.configuration;
}

enum err group_sealed(struct group *group, uint64_t index)
{
    struct group_snapshot sealing = {.index = index};
    struct log_record record;

    if (!group->started)
        return ERR_OK; /* What its log is for is not decided yet. */
    if (index > group->applied)
        return err_set(ERR_INVALID,
                       "group %u: sealed up to %" PRIu64 ", but applied only up to %" PRIu64,
                       group->options.number, index, group->applied);
    if (group->dead || index == 0 || index <= group->sealing.index ||
        guard_snapshot_stale(group, index))
        return ERR_OK;

    sealing.term = group_term_at(group, index);
    sealing.configuration = group_configuration_at(group, index, &sealing.configuration_index);
    if (sealing.term == 0 || sealing.configuration == NULL)
        return ERR_OK; /* Trimmed away long ago. */
    record = (struct log_record){
        .group = group->options.number,
        .kind = LOG_SNAPSHOT,
        .index = index,
        .term = sealing.term,
        .aux = sealing.configuration_index,
        .payload = buf_ref(sealing.configuration),
    };
    buf_unref(group->sealing.configuration); /* The newer one covers it. */
    group->sealing = sealing;
    buf_ref(sealing.configuration);
    group->sealing.stream = group->io.append(group->io.ctx, group, &record);
    return ERR_OK;
}

uint64_t group_all_have(struct group *group)
{
    const struct raft_configuration *configuration = &group->raft.configuration;
    uint64_t all =
        group->raft.last_stored; /* Ours may be on their disks before it is on our own. */

    if (!group_is_leader(group))
        return group->all_have;
    for (unsigned i = 0; i < configuration->n; i++) {
        raft_index match = 0; /* What a server has is not known before it has answered. */

        if (configuration->servers[i].id == group->options.server)
            continue;
        (void)raft_match_index(&group->raft, configuration->servers[i].id, &match);
        if (match < all)
            all = match;
    }
    if (all > group->all_have)
        group->all_have = all;
    return group->all_have;
}

/* Entries to keep in front of a snapshot at `index`: those that somebody lacks, and the one
 * before, for its term: the next snapshot would take it away from who lacks only what comes
 * behind this one. Every replica keeps them, since any may lead tomorrow. */
static unsigned trailing(struct group *group, uint64_t index)
{
    uint64_t all_have = group_all_have(group);
    uint64_t lag = all_have < index ? index - all_have + 1 : 1;

    return (unsigned)(lag < group->options.lag_max ? lag : group->options.lag_max);
}

void group_finish_seal(struct group *group)
{
    struct group_snapshot *sealing = &group->sealing;
    struct raft_event event = {.type = RAFT_SNAPSHOT};

    if (sealing->index == 0 || sealing->stream > group->durable)
        return;
    if (guard_snapshot_stale(group, sealing->index)) {
        buf_unref(sealing->configuration);
        *sealing = (struct group_snapshot){0};
        return;
    }
    if (configuration_decode(sealing->configuration, &event.snapshot.metadata.configuration) !=
        ERR_OK) {
        group_fail(group, err_detail());
        return;
    }
    event.snapshot.metadata.index = sealing->index;
    event.snapshot.metadata.term = sealing->term;
    event.snapshot.metadata.configuration_index = sealing->configuration_index;
    event.snapshot.trailing = trailing(group, sealing->index);
    buf_unref(group->snapshot.configuration);
    group->snapshot = *sealing;
    *sealing = (struct group_snapshot){0};
    if (group_step(group, &event) == 0)
        mirror_drop(&group->mirror, group->raft.trail.offset);
}

void group_evict(struct group *group, uint64_t index)
{
    mirror_evict(&group->mirror, index < group->applied ? index : group->applied, GROUP_CHANGE);
}

uint64_t group_keep_after(const struct group *group)
{
    uint64_t first = group->mirror.first;

    if (!group->started)
        return 0;
    /* The entry at the snapshot's index is there for its term, which the snapshot knows, too,
     * after a restart. */
    return first == group->snapshot.index ? first : first - 1;
}

uint64_t group_position(const struct group *group, uint64_t index)
{
    const struct mirror_slot *slot = mirror_at(&group->mirror, index);

    return slot != NULL ? slot->position : 0;
}
