#include "replication/outbox.h"

#include <inttypes.h>
#include <stdlib.h>

#include "replication/guards.h"
#include "replication/raft_wire.h"
#include "storage/base/check.h"
#include "storage/base/log_line.h"

/* Bytes of entries being read back at a time, unless it is a single one. */
enum { LOAD_BYTES_MAX = 4 * 1024 * 1024 };

enum { BEHIND_LINE_MS = 10000 };

/* ---- Making messages ----------------------------------------------------------------------- */

void outbox_add(struct group *group, uint64_t to, struct group_message *message)
{
    if (group->outbox_count == GROUP_OUTBOX_MAX) {
        group_message_free(message); /* The disk hangs. Raft takes a lost message. */
        return;
    }
    message->next = NULL;
    message->to = to;
    if (message->gate < group->gate)
        message->gate = group->gate;
    *group->outbox_tail = message;
    group->outbox_tail = &message->next;
    group->outbox_count++;
}

/* How many entries from `index` on go into one piece. */
static uint32_t piece_length(const struct group *group, uint64_t index, uint32_t count)
{
    uint64_t bytes = 0;
    uint32_t length = 0;

    while (length < count && length < GROUP_ENTRIES_MAX) {
        bytes += mirror_at(&group->mirror, index + length)->size;
        if (length > 0 && bytes > OUTBOX_PIECE_MAX)
            break;
        length++;
    }
    return length;
}

static void fill(struct group *group, struct group_message *message, uint64_t index)
{
    for (uint32_t i = 0; i < message->append.count; i++) {
        const struct mirror_slot *slot = mirror_at(&group->mirror, index + i);

        message->append.entries[i] = (struct group_entry){
            .term = slot->term,
            .position = slot->position,
            .payload = slot->payload != NULL ? buf_ref(slot->payload) : NULL,
            .size = slot->size,
            .type = slot->type,
        };
        message->missing += slot->payload == NULL;
        message->gate = guard_change_gate(group, slot, message->gate);
    }
}

/* Cut to pieces: legal, since each has its own prev, and nothing after a lost one is accepted. */
static void add_append(struct group *group, uint64_t to, const struct raft_append_entries *core)
{
    uint64_t prev_index = core->prev_log_index, prev_term = core->prev_log_term;
    uint32_t left = core->n_entries;

    if (left > 0 && (mirror_at(&group->mirror, prev_index + 1) == NULL ||
                     mirror_at(&group->mirror, prev_index + left) == NULL)) {
        group_fail(group, "the core sends entries that the log does not have");
        return;
    }
    do {
        uint32_t length = piece_length(group, prev_index + 1, left);
        struct group_message *message = group_message_new(GROUP_APPEND, core->term, length);

        if (message == NULL)
            return;
        message->append.prev_index = prev_index;
        message->append.prev_term = prev_term;
        message->append.commit = core->leader_commit;
        message->append.all_have = group_all_have(group);
        fill(group, message, prev_index + 1);
        outbox_add(group, to, message);

        prev_index += length;
        prev_term = group_term_at(group, prev_index);
        left -= length;
    } while (left > 0);
}

void outbox_probe(struct group *group, uint64_t to, uint64_t prev)
{
    struct group_message *message = group_message_new(GROUP_APPEND, group->raft.current_term, 0);

    if (message == NULL)
        return;
    message->append.prev_index = prev;
    message->append.prev_term = group_term_at(group, prev);
    message->append.commit = group->raft.commit_index;
    message->append.all_have = group_all_have(group);
    outbox_add(group, to, message);
}

static struct group_message *from_raft(const struct group *group, const struct raft_message *core)
{
    struct group_message *message = NULL;

    switch (core->type) {
    case RAFT_APPEND_ENTRIES_RESULT:
        message = group_message_new(GROUP_APPEND_RESULT, core->append_entries_result.term, 0);
        if (message != NULL)
            message->append_result = (struct group_append_result){
                .rejected = core->append_entries_result.rejected,
                .last_index = guard_hint(group, core->append_entries_result.rejected,
                                         core->append_entries_result.last_log_index),
                .mute = group->mute,
            };
        break;
    case RAFT_REQUEST_VOTE:
        message = group_message_new(GROUP_VOTE, core->request_vote.term, 0);
        if (message != NULL)
            message->vote = (struct group_vote){
                .last_index = core->request_vote.last_log_index,
                .last_term = core->request_vote.last_log_term,
                .pre_vote = core->request_vote.pre_vote,
                .disrupt_leader = core->request_vote.disrupt_leader,
            };
        break;
    case RAFT_REQUEST_VOTE_RESULT:
        message = group_message_new(GROUP_VOTE_RESULT,
                                    guard_vote_term(group, &core->request_vote_result), 0);
        if (message != NULL)
            message->vote_result = (struct group_vote_result){
                .granted = core->request_vote_result.vote_granted,
                .pre_vote = core->request_vote_result.pre_vote,
            };
        break;
    case RAFT_TIMEOUT_NOW:
        message = group_message_new(GROUP_TIMEOUT_NOW, core->timeout_now.term, 0);
        if (message != NULL)
            message->timeout_now = (struct group_timeout_now){
                .last_index = core->timeout_now.last_log_index,
                .last_term = core->timeout_now.last_log_term,
            };
        break;
    default:
        break;
    }
    return message;
}

/* That server needs what the log has no more: it has to begin again, with a state of the store. It
 * may have more than we know of: guard_behind() asks. */
static void note_behind(struct group *group, uint64_t server)
{
    struct group_peer *peer = group_peer(group, server);

    if (peer != NULL && peer->behind)
        log_every(
            BEHIND_LINE_MS, LOG_WARN,
            "group=%u server %" PRIu64 " needs entries before %" PRIu64
            ", which the log here no longer has: it has to begin again from the store's files",
            group->options.number, server, group->mirror.first);
    if (peer == NULL)
        return;
    peer->behind = true;
    group_tell_behind(group, peer);
}

void outbox_add_raft(struct group *group, const struct raft_message *core)
{
    struct group_message *message;

    if (core->type == RAFT_APPEND_ENTRIES) {
        add_append(group, core->server_id, &core->append_entries);
        return;
    }
    if (core->type == RAFT_INSTALL_SNAPSHOT) {
        note_behind(group, core->server_id);
        return;
    }
    if (core->type == RAFT_REQUEST_VOTE_RESULT && core->request_vote_result.vote_granted)
        group_yield(group);
    message = from_raft(group, core);
    if (message != NULL)
        outbox_add(group, core->server_id, message);
}

/* ---- Waiting for entries ------------------------------------------------------------------- */

static bool is_loading(const struct group *group, uint64_t index, uint64_t term)
{
    for (uint32_t i = 0; i < group->load_count; i++) {
        if (group->loads[i].index == index && group->loads[i].term == term)
            return true;
    }
    return false;
}

/* Returns false when no more may be asked for now. */
static bool load_missing(struct group *group, const struct group_message *message)
{
    const struct group_append *append = &message->append;

    for (uint32_t i = 0; i < append->count; i++) {
        const struct group_entry *entry = &append->entries[i];
        uint64_t index = append->prev_index + 1 + i;

        if (entry->payload != NULL || is_loading(group, index, entry->term))
            continue;
        if (group->load_count == GROUP_LOADS_MAX ||
            (group->load_count > 0 && group->load_bytes + entry->size > LOAD_BYTES_MAX))
            return false;
        group->loads[group->load_count++] = (struct group_load){index, entry->term, entry->size};
        group->load_bytes += entry->size;
        group->io.load(group->io.ctx, group, index, entry->term, entry->position);
    }
    return true;
}

static void load_more(struct group *group)
{
    for (uint32_t i = 0; i < group->peer_count; i++) {
        for (const struct group_message *at = group->peers[i].waiting; at != NULL; at = at->next) {
            if (!load_missing(group, at))
                return;
        }
    }
}

static void drop_waiting(struct group_peer *peer)
{
    while (peer->waiting != NULL) {
        struct group_message *message = peer->waiting;

        peer->waiting = message->next;
        group_message_free(message);
    }
    peer->waiting_tail = &peer->waiting;
}

static void send_whole(struct group *group, struct group_peer *peer)
{
    while (peer->waiting != NULL && peer->waiting->missing == 0) {
        struct group_message *message = peer->waiting;

        peer->waiting = message->next;
        if (peer->waiting == NULL)
            peer->waiting_tail = &peer->waiting;
        message->next = NULL;
        group->io.send(group->io.ctx, group, peer->server, message, false);
    }
}

/* Give a payload to the entries that wait for it. */
static void hand_out(struct group_peer *peer, uint64_t index, uint64_t term, struct buf *payload)
{
    for (struct group_message *at = peer->waiting; at != NULL; at = at->next) {
        uint64_t place = index - at->append.prev_index - 1; /* Huge when below. */
        struct group_entry *entry;

        if (place >= at->append.count)
            continue;
        entry = &at->append.entries[place];
        if (entry->term != term || entry->payload != NULL)
            continue;
        entry->payload = buf_ref(payload);
        at->missing--;
    }
}

static bool waits_for(const struct group_peer *peer, uint64_t index)
{
    for (const struct group_message *at = peer->waiting; at != NULL; at = at->next) {
        if (index - at->append.prev_index - 1 < at->append.count)
            return true;
    }
    return false;
}

/* ---- Leaving ------------------------------------------------------------------------------- */

static void drop_entries(struct group_message *message)
{
    for (uint32_t i = 0; i < message->append.count; i++)
        buf_unref(message->append.entries[i].payload);
    message->append.count = 0;
    message->missing = 0;
}

/* A heartbeat that is right whatever is queued, made from any AppendEntries. False: not known. */
static bool make_heartbeat(struct group *group, struct group_message *message)
{
    struct group_append *append = &message->append;
    raft_index match;

    if (raft_match_index(&group->raft, message->to, &match) != 0)
        return false;
    append->prev_index = match;
    append->prev_term = match == 0 ? 0 : group_term_at(group, match);
    append->commit = group->raft.commit_index;
    drop_entries(message);
    return match == 0 || append->prev_term != 0;
}

static void send_heartbeat(struct group *group, struct group_peer *peer,
                           struct group_message *message, bool queued)
{
    uint64_t now_ms = group_clock(group);

    if ((guard_overtake(group, queued) && !make_heartbeat(group, message)) ||
        guard_empties(group, peer, &message->append, now_ms)) {
        group_message_free(message);
        return;
    }
    peer->empty_ms = now_ms;
    peer->empty_prev = message->append.prev_index;
    peer->empty_commit = message->append.commit;
    group->io.send(group->io.ctx, group, peer->server, message, true);
}

/* It is not served, but goes on hearing that we lead. */
static void give_up_waiting(struct group *group, struct group_peer *peer)
{
    struct group_message *message = peer->waiting;

    peer->waiting = message->next;
    message->next = NULL;
    drop_waiting(peer);
    group_tell_behind(group, peer);
    drop_entries(message);
    send_heartbeat(group, peer, message, false);
}

void outbox_loaded(struct group *group, uint64_t index, uint64_t term, struct buf *payload)
{
    for (uint32_t i = 0; i < group->load_count; i++) {
        if (group->loads[i].index != index || group->loads[i].term != term)
            continue;
        if (payload != NULL && payload->size != group->loads[i].size)
            payload = NULL; /* Not what was written there. */
        group->load_bytes -= group->loads[i].size;
        group->loads[i] = group->loads[--group->load_count];
        break;
    }
    for (uint32_t i = 0; i < group->peer_count; i++) {
        struct group_peer *peer = &group->peers[i];

        if (payload != NULL) {
            hand_out(peer, index, term, payload);
            send_whole(group, peer);
        } else if (waits_for(peer, index)) {
            peer->unread = index;
            give_up_waiting(group, peer);
        }
    }
    load_more(group);
}

/* Take the first `count` entries off: the peer has them, or they are on their way. */
static void shorten(struct group_message *message, uint32_t count)
{
    struct group_append *append = &message->append;

    for (uint32_t i = 0; i < count; i++) {
        message->missing -= append->entries[i].payload == NULL;
        buf_unref(append->entries[i].payload);
    }
    append->prev_index += count;
    append->prev_term = append->entries[count - 1].term;
    append->count -= count;
    for (uint32_t i = 0; i < append->count; i++)
        append->entries[i] = append->entries[i + count];
}

static void send_append(struct group *group, struct group_message *message)
{
    struct group_peer *peer = group_peer(group, message->to);
    uint32_t again;
    bool queued;

    if (peer == NULL || !group_is_leader(group) || message->term != group->raft.current_term) {
        group_message_free(message); /* Of a term that is over. */
        return;
    }
    if (guard_probe(group, peer, &message->append))
        drop_entries(message);
    queued = peer->waiting != NULL || group->io.send_queued(group->io.ctx, group, peer->server);
    again = guard_resend(group, peer, queued, &message->append);
    if (again > 0 && again < message->append.count)
        shorten(message, again);
    else if (again > 0 && !make_heartbeat(group, message)) {
        group_message_free(message);
        return;
    }
    if (message->append.count == 0) {
        send_heartbeat(group, peer, message, queued);
        return;
    }

    peer->sent_last = message->append.prev_index + message->append.count;
    *peer->waiting_tail = message;
    peer->waiting_tail = &message->next;
    send_whole(group, peer);
    if (peer->waiting != NULL)
        load_more(group);
}

void outbox_flush(struct group *group)
{
    while (!group->dead && group->outbox != NULL && guard_gate(group, group->outbox->gate)) {
        struct group_message *message = group->outbox;

        group->outbox = message->next;
        if (group->outbox == NULL)
            group->outbox_tail = &group->outbox;
        group->outbox_count--;
        message->next = NULL;
        if (message->kind == GROUP_APPEND)
            send_append(group, message);
        else
            group->io.send(group->io.ctx, group, message->to, message, true);
    }
}

void outbox_reset(struct group *group)
{
    for (uint32_t i = 0; i < group->peer_count; i++) {
        struct group_peer *peer = &group->peers[i];

        drop_waiting(peer);
        peer->empty_ms = 0;
        peer->sent_last = 0;
        peer->probing = false;
        peer->forgot = 0;
        peer->behind = false;
        peer->behind_ms = 0;
        peer->unread = 0;
    }
}

void outbox_fini(struct group *group)
{
    while (group->outbox != NULL) {
        struct group_message *message = group->outbox;

        group->outbox = message->next;
        group_message_free(message);
    }
    group->outbox_tail = &group->outbox;
    outbox_reset(group);
}
