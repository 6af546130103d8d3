#include "replication/group.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "replication/configuration.h"
#include "replication/guards.h"
#include "replication/outbox.h"
#include "replication/raft_wire.h"
#include "storage/base/check.h"

/* The core asks and tells how much space a server has; our admission control does that. */
enum { CAPACITY = 0xffff };
/* Bytes of entries that may be on the way to a follower, turned into the core's number of them. */
enum { WINDOW_BYTES = 8 * 1024 * 1024, WINDOW_MIN = 16, WINDOW_FIT_EVERY = 64 };
enum { BARRIER_SIZE = 8 };
/* Entries applied in one turn: heartbeats of other groups wait meanwhile. */
enum { APPLY_MAX = 256 };

#define FLAG_TERM    (RAFT_UPDATE_CURRENT_TERM | RAFT_UPDATE_VOTED_FOR)
#define FLAG_ENTRIES (RAFT_UPDATE_ENTRIES)
#define FLAG_MESSAGE (RAFT_UPDATE_MESSAGES)

/* ---- Life ---------------------------------------------------------------------------------- */

static enum err check_options(const struct group_options *options)
{
    if (options->server == 0 || options->election_ms == 0 || options->heartbeat_ms == 0)
        return err_set(ERR_INVALID, "group %u: server, election and heartbeat must not be 0",
                       options->number);
    if (options->voter_count < 1 || options->voter_count > GROUP_SERVERS_MAX)
        return err_set(ERR_INVALID, "group %u: %u voters, 1 to %d allowed", options->number,
                       options->voter_count, GROUP_SERVERS_MAX);
    return ERR_OK;
}

static void set_up_core(struct group *group)
{
    const struct group_options *options = &group->options;
    struct raft *raft = &group->raft;
    uint64_t seed = (options->seed ^ options->seed >> 32) * UINT64_C(0x9e3779b97f4a7c15);

    raft->tracer = NULL; /* The default one formats every message into static memory. */
    raft_seed(raft, (unsigned)(seed >> 32));
    raft_set_election_timeout(raft, options->election_ms);
    raft_set_heartbeat_timeout(raft, options->heartbeat_ms);
    raft_set_pre_vote(raft, true);
    raft_set_install_snapshot_timeout(raft, 10 * options->election_ms);
    raft_set_max_inflight_entries(raft, WINDOW_MIN);
}

enum err group_new(const struct group_options *options, const struct group_io *io,
                   struct group **ret_group)
{
    char address[CONFIGURATION_ADDRESS_MAX];
    struct group *group;
    enum err err = check_options(options);

    if (err != ERR_OK)
        return err;
    group = calloc(1, sizeof *group);
    if (group == NULL)
        goto no_memory;
    group->options = *options;
    if (group->options.lag_max == 0)
        group->options.lag_max = GROUP_LAG_MAX_DEFAULT;
    group->io = *io;
    group->outbox_tail = &group->outbox;
    mirror_init(&group->mirror, 1);
    group->barrier = buf_new(BARRIER_SIZE);
    if (group->barrier == NULL)
        goto free_group;
    memset(group->barrier->bytes, 0, BARRIER_SIZE);
    group->barrier->size = BARRIER_SIZE;
    configuration_address(options->server, address);
    if (raft_init(&group->raft, NULL, NULL, options->server, address) != 0)
        goto free_barrier;
    set_up_core(group);
    *ret_group = group;
    return ERR_OK;

free_barrier:
    buf_unref(group->barrier);
free_group:
    free(group);
no_memory:
    return err_set(ERR_NO_MEMORY, "group %u", options->number);
}

void group_free(struct group *group)
{
    if (group == NULL)
        return;
    raft_close(&group->raft, NULL);
    outbox_fini(group);
    mirror_fini(&group->mirror);
    buf_unref(group->snapshot.configuration);
    buf_unref(group->sealing.configuration);
    buf_unref(group->barrier);
    free(group->room);
    free(group);
}

void group_fail(struct group *group, const char *what)
{
    if (group->dead)
        return;
    group->dead = true;
    group->io.fatal(group->io.ctx, group, what);
}

/* ---- Small helpers ------------------------------------------------------------------------- */

uint64_t group_clock(struct group *group)
{
    uint64_t now_ms = group->io.now_ms(group->io.ctx) + group->ahead_ms;

    if (now_ms > group->clock_ms)
        group->clock_ms = now_ms;
    return group->clock_ms;
}

struct raft_entry *group_entries(struct group *group, uint32_t count)
{
    if (count > group->room_count) {
        struct raft_entry *room = realloc(group->room, count * sizeof *room);

        if (room == NULL)
            return NULL;
        group->room = room;
        group->room_count = count;
    }
    return group->room;
}

uint64_t group_term_at(const struct group *group, uint64_t index)
{
    const struct mirror_slot *slot = mirror_at(&group->mirror, index);

    if (slot != NULL)
        return slot->term;
    return index != 0 && index == group->snapshot.index ? group->snapshot.term : 0;
}

struct group_peer *group_peer(struct group *group, uint64_t server)
{
    struct group_peer *peer;

    for (uint32_t i = 0; i < group->peer_count; i++) {
        if (group->peers[i].server == server)
            return &group->peers[i];
    }
    if (group->peer_count == GROUP_SERVERS_MAX)
        return NULL;
    peer = &group->peers[group->peer_count++];
    *peer = (struct group_peer){.server = server};
    peer->waiting_tail = &peer->waiting;
    return peer;
}

void group_write_term(struct group *group, uint64_t term, uint64_t vote)
{
    struct log_record record = {
        .group = group->options.number, .kind = LOG_TERM, .term = term, .aux = vote};

    group->gate = group->io.append(group->io.ctx, group, &record);
}

/* ---- The update of one step ---------------------------------------------------------------- */

/* Fit the core's window, counted in entries, to their size. */
static void fit_window(struct group *group)
{
    const struct mirror *mirror = &group->mirror;
    uint64_t bytes = 1, count = 0, window;

    for (uint64_t index = mirror->last; index >= mirror->first && count < WINDOW_FIT_EVERY;
         index--, count++)
        bytes += mirror_at(mirror, index)->size;
    window = WINDOW_BYTES * count / bytes;
    if (window < WINDOW_MIN)
        window = WINDOW_MIN;
    if (window > GROUP_ENTRIES_MAX)
        window = GROUP_ENTRIES_MAX;
    raft_set_max_inflight_entries(&group->raft, (unsigned)window);
    group->pushed = 0;
}

static void write_entry(struct group *group, uint64_t index, uint64_t term, uint8_t type,
                        struct buf *payload)
{
    struct log_record record = {
        .group = group->options.number,
        .kind = LOG_ENTRY,
        .type = type,
        .index = index,
        .term = term,
        .payload = buf_ref(payload),
    };
    struct mirror_slot slot = {
        .term = term, .type = type, .size = payload->size, .payload = buf_ref(payload)};

    slot.stream = group->io.append(group->io.ctx, group, &record);
    if (mirror_push(&group->mirror, &slot) != ERR_OK) {
        group_fail(group, err_detail());
        return;
    }
    group->uncommitted_bytes += slot.size;
    if (++group->pushed >= WINDOW_FIT_EVERY)
        fit_window(group);
}

/* The core's only sign of a truncation: entries where we already have some. */
static void cut(struct group *group, uint64_t from)
{
    for (uint64_t index = from; index <= group->mirror.last; index++) {
        if (index > group->commit)
            group->uncommitted_bytes -= mirror_at(&group->mirror, index)->size;
    }
    mirror_cut(&group->mirror, from);
}

static void take_entries(struct group *group, const struct raft_update *update, bool submitted)
{
    const struct raft_entry *batch = update->entries.batch;
    bool barrier = batch == &group->raft.barrier;
    uint64_t index = update->entries.index;

    if (index < group->mirror.first || index > group->mirror.last + 1) {
        group_fail(group, "the core's entries leave a hole in the log");
        return;
    }
    if (index <= group->applied) {
        group_fail(group, "the core truncates entries that were applied");
        return;
    }
    cut(group, index);
    for (unsigned i = 0; i < update->entries.n && !group->dead; i++) {
        struct buf *payload = group->barrier;

        if (!barrier)
            payload = CONTAINER_OF(batch[i].buf.base, struct buf, bytes);
        write_entry(group, index + i, batch[i].term, (uint8_t)batch[i].type, payload);
    }
    if (barrier || !submitted)
        raft_free(batch[0].batch); /* The barrier's bytes, or the token of a received batch. */
}

static void take_update(struct group *group, const struct raft_event *event,
                        const struct raft_update *update)
{
    if (update->flags & FLAG_TERM)
        group_write_term(group, group->raft.current_term, group->raft.voted_for);
    if (update->flags & (FLAG_ENTRIES))
        take_entries(group, update, event->type == RAFT_SUBMIT);
    if (update->flags & (FLAG_MESSAGE)) {
        for (unsigned i = 0; i < update->messages.n && !group->dead; i++)
            outbox_add_raft(group, &update->messages.batch[i]);
    }
}

static void note_commit(struct group *group)
{
    if (group->raft.commit_index < group->commit) {
        group_fail(group, "the commit index went back");
        return;
    }
    while (group->commit < group->raft.commit_index) {
        const struct mirror_slot *slot = mirror_at(&group->mirror, ++group->commit);

        if (slot != NULL)
            group->uncommitted_bytes -= slot->size;
    }
}

int group_step(struct group *group, struct raft_event *event)
{
    struct raft_update update = {0};
    int rv;

    if (group->dead)
        return RAFT_SHUTDOWN;
    CHECK(!group->stepping);
    group->stepping = true;
    event->time = group_clock(group);
    event->capacity = CAPACITY;
    rv = raft_step(&group->raft, event, &update);
    if (rv == 0) {
        take_update(group, event, &update);
        note_commit(group);
        if (event->type == RAFT_TIMEOUT)
            group->ticked_ms = event->time;
        group->timeout_ms = guard_deadline(group, raft_timeout(&group->raft));
    } else if (event->type != RAFT_SUBMIT && event->type != RAFT_TRANSFER) {
        group_fail(group, raft_strerror(rv));
    }
    group->stepping = false;
    return rv;
}

/* ---- After the steps ----------------------------------------------------------------------- */

static int submit(struct group *group, struct buf *const *payloads, uint32_t count, uint8_t type)
{
    struct raft_event event = {.type = RAFT_SUBMIT};
    struct raft_entry *entries = group_entries(group, count);

    if (entries == NULL)
        return RAFT_NOMEM;
    for (uint32_t i = 0; i < count; i++)
        entries[i] = (struct raft_entry){
            .term = group->raft.current_term,
            .type = (enum raft_entry_type)type,
            .buf = {payloads[i]->bytes, payloads[i]->size},
            .batch = payloads[i]->bytes,
        };
    event.submit.entries = entries;
    event.submit.n = count;
    return group_step(group, &event);
}

static void lead(struct group *group)
{
    group->led_term = group->raft.current_term;
    group->leading = true;
    group->lost_at_ms = 0;
    outbox_reset(group);
    fit_window(group);
    group->own_first = group->mirror.last;
    if (guard_needs_barrier(group)) {
        if (submit(group, &group->barrier, 1, GROUP_BARRIER) != 0) {
            group_fail(group, "the core refuses a new leader's barrier");
            return;
        }
        group->own_first = group->mirror.last;
    }
    group->io.leader(group->io.ctx, group, true);
}

static void follow(struct group *group)
{
    group->leading = false;
    group_end_transfer(group);
    outbox_reset(group);
    group_read_fail(group);
    group->io.leader(group->io.ctx, group, false);
}

/* Lost and gained again between two looks counts as both. */
static void note_leadership(struct group *group)
{
    bool leading = group_is_leader(group);

    if (group->leading && (!leading || group->led_term != group->raft.current_term))
        follow(group);
    if (leading && !group->leading && !group->dead)
        lead(group);
}

void group_report_configuration(struct group *group, uint64_t index)
{
    const struct mirror_slot *slot = mirror_at(&group->mirror, index);
    struct raft_event event = {.type = RAFT_CONFIGURATION};

    if (slot == NULL || slot->type != GROUP_CHANGE) {
        group_fail(group, "the core's uncommitted configuration is no entry of the log");
        return;
    }
    event.configuration.index = index;
    if (configuration_decode(slot->payload, &event.configuration.conf) != ERR_OK) {
        group_fail(group, err_detail());
        return;
    }
    (void)group_step(group, &event);
}

/* The core has to be told of each configuration that is committed, also after a restart. */
static void report_configurations(struct group *group)
{
    const struct raft *raft = &group->raft;

    while (!group->dead && raft->configuration_uncommitted_index != 0 &&
           raft->configuration_uncommitted_index <= raft->commit_index) {
        uint64_t index = raft->configuration_uncommitted_index;

        group_report_configuration(group, index);
        if (raft->configuration_uncommitted_index == index)
            return;
    }
}

/* Up to what is committed and durable here. */
static void apply_committed(struct group *group)
{
    uint64_t turn_end = group->applied + APPLY_MAX;

    if (group->applying)
        return;
    group->applying = true;
    group->apply_more = false;
    while (!group->dead && group->applied < group->raft.commit_index &&
           group->applied < group->raft.last_stored) {
        if (group->applied == turn_end) {
            group->apply_more = true;
            break;
        }
        uint64_t index = group->applied + 1;
        const struct mirror_slot *slot = mirror_at(&group->mirror, index);
        struct buf *payload;
        enum err err;

        if (slot == NULL || slot->payload == NULL) {
            group_fail(group, "an entry to be applied is not in memory");
            break;
        }
        payload = slot->type == GROUP_COMMAND ? slot->payload : NULL;
        err = group->io.apply(group->io.ctx, group, index, slot->term, payload);
        if (err == ERR_BUSY)
            break;
        if (err != ERR_OK) {
            group_fail(group, err_detail());
            break;
        }
        group->applied = index;
    }
    group->applying = false;
}

void group_settle(struct group *group)
{
    group_end_mute(group);
    note_leadership(group);
    report_configurations(group);
    apply_committed(group);
    if (group->dead)
        return;
    group_push_transfer(group);
    outbox_flush(group);
    group_read_settle(group);
}

/* ---- Disk ---------------------------------------------------------------------------------- */

void group_written(struct group *group, uint64_t index, uint64_t stream, uint64_t position)
{
    struct mirror_slot *slot = mirror_at(&group->mirror, index);

    if (slot == NULL)
        return;
    group->written_index = index;
    if (slot->stream == stream) /* Otherwise written anew since. */
        slot->position = position;
}

void group_durable(struct group *group, uint64_t stream)
{
    struct raft_event event = {.type = RAFT_PERSISTED_ENTRIES};
    uint64_t stored;

    if (stream > group->durable)
        group->durable = stream;
    if (group->dead || !group->started)
        return;
    outbox_flush(group);
    group_finish_seal(group);
    stored = guard_stored(group);
    if (stored > group->raft.last_stored) {
        event.persisted_entries.index = stored;
        (void)group_step(group, &event);
    }
    group_settle(group);
}

void group_poke(struct group *group)
{
    if (!group->dead && group->started)
        group_settle(group);
}

void group_loaded(struct group *group, uint64_t index, uint64_t term, struct buf *payload)
{
    if (!group->dead)
        outbox_loaded(group, index, term, payload);
}

/* ---- The leader ---------------------------------------------------------------------------- */

enum err group_propose(struct group *group, struct buf *const *payloads, uint32_t count,
                       uint64_t *ret_first_index)
{
    uint64_t first = group->mirror.last + 1;
    uint64_t bytes = 0;
    int rv;

    CHECK(count >= 1);
    if (group->dead || !group_is_leader(group))
        return err_set(ERR_NOT_LEADER, "group %u: led by another server", group->options.number);
    if (group->transfer_to != 0)
        return err_set(ERR_BUSY, "group %u: leadership is being handed over",
                       group->options.number);
    for (uint32_t i = 0; i < count; i++)
        bytes += payloads[i]->size;
    if (group->uncommitted_bytes > 0 &&
        group->uncommitted_bytes + bytes > group->options.inflight_bytes_max)
        return err_set(ERR_BUSY, "group %u: %" PRIu64 " bytes proposed and not committed",
                       group->options.number, group->uncommitted_bytes);

    rv = submit(group, payloads, count, GROUP_COMMAND);
    if (rv != 0)
        return err_set(ERR_BUSY, "group %u: %s", group->options.number, raft_strerror(rv));
    *ret_first_index = first;
    group_settle(group);
    return ERR_OK;
}

bool group_is_ready(const struct group *group)
{
    return !group->dead && group_is_leader(group) && group->leading &&
           group->led_term == group->raft.current_term && group->applied >= group->own_first;
}
