/*
 * Recovery. The log's records of this group come in log order, then one START tells the core
 * everything: term, vote, snapshot, entries.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "replication/configuration.h"
#include "replication/guards.h"
#include "replication/raft_wire.h"
#include "storage/base/check.h"

/* ---- Records ------------------------------------------------------------------------------- */

static enum err replay_entry(struct group *group, const struct log_record *record)
{
    struct mirror *mirror = &group->mirror;
    struct mirror_slot slot = {
        .term = record->term,
        .position = record->position,
        .size = record->payload != NULL ? record->payload->size : 0,
        .type = record->type,
    };

    if (record->index == 0 || record->term == 0 || record->payload == NULL ||
        record->type < GROUP_COMMAND || record->type > GROUP_CHANGE)
        return err_set(ERR_CORRUPT, "entry %" PRIu64 " of term %" PRIu64 ", type %u", record->index,
                       record->term, record->type);
    if (mirror_count(mirror) > 0 && record->index > mirror->last + 1)
        return err_set(ERR_CORRUPT, "entry %" PRIu64 " follows entry %" PRIu64, record->index,
                       mirror->last);
    if (record->type == GROUP_CHANGE) {
        enum err err = configuration_check(record->payload->bytes, record->payload->size);

        if (err != ERR_OK)
            return err_wrap(ERR_CORRUPT, "entry %" PRIu64, record->index);
    }

    /* It replaces what we had from there on. Older entries may be gone with their file. */
    if (mirror_count(mirror) > 0 && record->index > mirror->first) {
        mirror_cut(mirror, record->index);
    } else {
        mirror_cut(mirror, mirror->first);
        mirror->first = record->index;
        mirror->last = record->index - 1;
        mirror->evicted = record->index - 1;
    }
    if (record->type == GROUP_CHANGE || record->index > group->snapshot.index)
        slot.payload = buf_ref(record->payload); /* The store has the others. */
    return mirror_push(mirror, &slot);
}

/* Of a LOG_INSTALL, too: it is the newest whatever its index, and what stood before it is void. */
static enum err replay_snapshot(struct group *group, const struct log_record *record)
{
    struct group_snapshot *snapshot = &group->snapshot;
    enum err err;

    if (record->payload == NULL || record->index == 0 || record->term == 0)
        return err_set(ERR_CORRUPT, "snapshot %" PRIu64 " of term %" PRIu64, record->index,
                       record->term);
    err = configuration_check(record->payload->bytes, record->payload->size);
    if (err != ERR_OK)
        return err_wrap(ERR_CORRUPT, "snapshot %" PRIu64, record->index);
    if (record->kind == LOG_SNAPSHOT && record->index < snapshot->index)
        return ERR_OK;
    buf_unref(snapshot->configuration);
    *snapshot = (struct group_snapshot){
        .index = record->index,
        .term = record->term,
        .configuration_index = record->aux,
        .configuration = buf_ref(record->payload),
    };
    if (record->kind == LOG_INSTALL)
        group_void_entries(group);
    else
        mirror_evict(&group->mirror, record->index, GROUP_CHANGE); /* The store has them. */
    return ERR_OK;
}

enum err group_replay(struct group *group, const struct log_record *record)
{
    enum err err = ERR_OK;

    CHECK(!group->started);
    switch (record->kind) {
    case LOG_ENTRY:
        err = replay_entry(group, record);
        break;
    case LOG_TERM:
        group->raft.current_term = record->term;
        group->raft.voted_for = record->aux;
        break;
    case LOG_SNAPSHOT:
    case LOG_INSTALL:
        err = replay_snapshot(group, record);
        break;
    default:
        err = err_set(ERR_CORRUPT, "record of kind %u", record->kind);
        break;
    }
    return err == ERR_OK ? ERR_OK : err_wrap(err, "group %u", group->options.number);
}

/* ---- Start --------------------------------------------------------------------------------- */

/* The entry comes first: a torn tail cannot leave a term without it. No message leaves before both
 * are durable, so the same bytes are written again after a crash. */
static enum err bootstrap(struct group *group)
{
    struct log_record record = {
        .group = group->options.number,
        .kind = LOG_ENTRY,
        .type = GROUP_CHANGE,
        .index = 1,
        .term = 1,
    };
    struct mirror_slot slot = {.term = 1, .type = GROUP_CHANGE};
    enum err err =
        configuration_encode(group->options.voters, group->options.voter_count, &slot.payload);

    if (err != ERR_OK)
        return err;
    slot.size = slot.payload->size;
    record.payload = buf_ref(slot.payload);
    slot.stream = group->io.append(group->io.ctx, group, &record);
    return mirror_push(&group->mirror, &slot);
}

/* What the log and the store say has to fit together. */
static enum err check_recovered(const struct group *group, uint64_t applied)
{
    const struct mirror *mirror = &group->mirror;

    if (mirror_count(mirror) > 0 && mirror->first > group->snapshot.index + 1)
        return err_set(ERR_CORRUPT,
                       "group %u: the log begins at entry %" PRIu64
                       ", the snapshot ends at %" PRIu64,
                       group->options.number, mirror->first, group->snapshot.index);
    if (mirror->last < group->snapshot.index)
        return err_set(ERR_CORRUPT,
                       "group %u: the log ends at entry %" PRIu64
                       ", before its snapshot at %" PRIu64,
                       group->options.number, mirror->last, group->snapshot.index);
    if (applied < group->snapshot.index || applied > mirror->last)
        return err_set(ERR_CORRUPT,
                       "group %u: the store holds entries up to %" PRIu64
                       ", but the log has a snapshot at %" PRIu64 " and ends at %" PRIu64
                       ": one of the two is an older copy",
                       group->options.number, applied, group->snapshot.index, mirror->last);
    return ERR_OK;
}

/* The entry at the snapshot's index may be gone, though the snapshot knows its term. The next
 * snapshot forgets that, and a follower that has all up to here, and lacks what comes behind, can
 * only be served by who knows the term before. So it gets a slot, which keeps that as long as
 * somebody may need it. Nobody is ever sent the entry itself: for that the term of the one before
 * would have to be known. (In front of entry 1 nothing has to be.) */
static enum err keep_snapshot_term(struct group *group)
{
    const struct mirror_slot slot = {.term = group->snapshot.term, .type = GROUP_BARRIER};

    if (group->snapshot.index <= 1 || group->mirror.first != group->snapshot.index + 1)
        return ERR_OK;
    return mirror_put_first(&group->mirror, &slot);
}

/* The newest configuration that the log tells of. */
static const struct buf *newest_configuration(const struct group *group)
{
    for (uint64_t index = group->mirror.last; index >= group->mirror.first; index--) {
        const struct mirror_slot *slot = mirror_at(&group->mirror, index);

        if (slot->type == GROUP_CHANGE)
            return slot->payload;
    }
    return group->snapshot.configuration;
}

/* Term and vote to start with. They are ahead of the newest entry, whose term was written before it
 * (bootstrap alone writes an entry first). */
static enum err choose_term(struct group *group, uint64_t *ret_term, uint64_t *ret_vote)
{
    struct raft_configuration configuration;
    uint64_t term = group->raft.current_term, vote = group->raft.voted_for;
    uint64_t last_term = group_term_at(group, group->mirror.last);
    enum err err = configuration_decode(newest_configuration(group), &configuration);

    if (err != ERR_OK)
        return err_wrap(err, "group %u", group->options.number);
    if (term < last_term) {
        term = last_term;
        vote = 0;
    }
    if (guard_sole(group, &configuration)) {
        term++;
        vote = group->options.server;
    }
    raft_configuration_close(&configuration);
    if (term != group->raft.current_term || vote != group->raft.voted_for)
        group_write_term(group, term, vote);
    *ret_term = term;
    *ret_vote = vote;
    return ERR_OK;
}

static struct raft_entry *list_entries(const struct group *group)
{
    uint64_t count = mirror_count(&group->mirror);
    struct raft_entry *entries = calloc(count, sizeof *entries);

    if (entries == NULL)
        return NULL;
    for (uint64_t i = 0; i < count; i++) {
        const struct mirror_slot *slot = mirror_at(&group->mirror, group->mirror.first + i);

        entries[i].term = slot->term;
        entries[i].type = (enum raft_entry_type)slot->type;
        if (slot->type == GROUP_CHANGE) /* The only ones that the core looks into. */
            entries[i].buf = (struct raft_buffer){slot->payload->bytes, slot->size};
    }
    return entries;
}

static enum err step_start(struct group *group, uint64_t term, uint64_t vote)
{
    struct raft_event event = {.type = RAFT_START};
    struct raft_snapshot_metadata metadata = {0};
    struct raft_entry *entries = list_entries(group);
    enum err err = ERR_OK;
    int rv;

    if (entries == NULL)
        return err_set(ERR_NO_MEMORY, "group %u: %" PRIu64 " entries", group->options.number,
                       mirror_count(&group->mirror));
    if (group->snapshot.index > 0) {
        metadata.index = group->snapshot.index;
        metadata.term = group->snapshot.term;
        metadata.configuration_index = group->snapshot.configuration_index;
        err = configuration_decode(group->snapshot.configuration, &metadata.configuration);
        event.start.metadata = &metadata; /* The configuration passes into the core. */
    }
    if (err == ERR_OK) {
        event.start.term = term;
        event.start.voted_for = vote;
        event.start.start_index = group->mirror.first;
        event.start.entries = entries;
        event.start.n_entries = (unsigned)mirror_count(&group->mirror);
        group->raft.current_term = 0;
        group->raft.voted_for = 0;
        rv = group_step(group, &event);
        if (rv != 0)
            err = err_set(ERR_CORRUPT, "group %u: the core refuses to start: %s",
                          group->options.number, raft_strerror(rv));
    }
    free(entries);
    return err;
}

enum err group_start(struct group *group, uint64_t applied)
{
    uint64_t term = 0, vote = 0;
    enum err err = ERR_OK;

    CHECK(!group->started);
    if (mirror_count(&group->mirror) == 0)
        mirror_init(&group->mirror, group->snapshot.index + 1);
    if (group->mirror.last == 0)
        err = bootstrap(group);
    if (err == ERR_OK)
        err = check_recovered(group, applied);
    if (err == ERR_OK)
        err = keep_snapshot_term(group);
    if (err == ERR_OK)
        err = choose_term(group, &term, &vote);
    if (err != ERR_OK)
        return err;

    group->applied = applied;
    for (uint64_t index = group->mirror.first; index <= group->mirror.last; index++)
        group->uncommitted_bytes += mirror_at(&group->mirror, index)->size;
    group->commit = group->mirror.first - 1;
    mirror_evict(&group->mirror, applied, GROUP_CHANGE);
    err = step_start(group, term, vote);
    if (err != ERR_OK)
        return err;
    group->started = true;
    group->leader_heard_ms = group_clock(group);
    group_settle(group);
    return ERR_OK;
}
