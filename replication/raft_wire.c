#include "replication/raft_wire.h"

#include <inttypes.h>
#include <string.h>

#include "replication/configuration.h"
#include "replication/group_message.h"
#include "storage/base/check.h"
#include "storage/block/entry.h"

enum {
    HEADER_SIZE = 4 + 1 + 1 + 2 + 8,
    APPEND_SIZE = 8 + 8 + 8 + 8 + 4,
    ENTRY_SIZE = 8 + 4 + 1, /* Without its bytes. */
};
enum { FLAG_PRE_VOTE = 1, FLAG_DISRUPT = 2, FLAG_GRANTED = 4, FLAG_MUTE = 8 };

/* ---- Writing ------------------------------------------------------------------------------- */

size_t raft_wire_size(const struct group_message *message)
{
    size_t size = HEADER_SIZE;

    switch (message->kind) {
    case GROUP_APPEND:
        size += APPEND_SIZE;
        for (uint32_t i = 0; i < message->append.count; i++)
            size += ENTRY_SIZE + (size_t)message->append.entries[i].size;
        return size;
    case GROUP_APPEND_RESULT:
    case GROUP_VOTE:
    case GROUP_TIMEOUT_NOW:
        return size + 16;
    case GROUP_PING:
    case GROUP_PONG:
        return size + 8;
    default:
        return size;
    }
}

static uint8_t flags_of(const struct group_message *message)
{
    unsigned flags = 0;

    if (message->kind == GROUP_VOTE) {
        flags |= message->vote.pre_vote ? FLAG_PRE_VOTE : 0;
        flags |= message->vote.disrupt_leader ? FLAG_DISRUPT : 0;
    } else if (message->kind == GROUP_VOTE_RESULT) {
        flags |= message->vote_result.pre_vote ? FLAG_PRE_VOTE : 0;
        flags |= message->vote_result.granted ? FLAG_GRANTED : 0;
    } else if (message->kind == GROUP_APPEND_RESULT) {
        flags |= message->append_result.mute ? FLAG_MUTE : 0;
    }
    return (uint8_t)flags;
}

static void put_append(const struct group_append *append, struct bytes *out)
{
    bytes_put_u64(out, append->prev_index);
    bytes_put_u64(out, append->prev_term);
    bytes_put_u64(out, append->commit);
    bytes_put_u64(out, append->all_have);
    bytes_put_u32(out, append->count);
    for (uint32_t i = 0; i < append->count; i++) {
        const struct group_entry *entry = &append->entries[i];

        CHECK(entry->payload != NULL);
        CHECK(entry->payload->size == entry->size);
        bytes_put_u64(out, entry->term);
        bytes_put_u32(out, entry->size);
        bytes_put_u8(out, entry->type);
        bytes_put(out, entry->payload->bytes, entry->size);
    }
}

void raft_wire_put(const struct group_message *message, uint32_t group, struct bytes *out)
{
    bytes_put_u32(out, group);
    bytes_put_u8(out, (uint8_t)message->kind);
    bytes_put_u8(out, flags_of(message));
    bytes_put_u16(out, 0);
    bytes_put_u64(out, message->term);

    switch (message->kind) {
    case GROUP_APPEND:
        put_append(&message->append, out);
        break;
    case GROUP_APPEND_RESULT:
        bytes_put_u64(out, message->append_result.rejected);
        bytes_put_u64(out, message->append_result.last_index);
        break;
    case GROUP_VOTE:
        bytes_put_u64(out, message->vote.last_index);
        bytes_put_u64(out, message->vote.last_term);
        break;
    case GROUP_TIMEOUT_NOW:
        bytes_put_u64(out, message->timeout_now.last_index);
        bytes_put_u64(out, message->timeout_now.last_term);
        break;
    case GROUP_PING:
    case GROUP_PONG:
        bytes_put_u64(out, message->round);
        break;
    default:
        break;
    }
}

/* ---- Reading ------------------------------------------------------------------------------- */

/* An index and the term of its entry: both 0, or neither. */
static bool is_place(uint64_t index, uint64_t term, uint64_t term_max)
{
    return index <= GROUP_NUMBER_MAX && term <= term_max && (index == 0) == (term == 0);
}

static enum err get_entry(struct reader *reader, uint64_t term_min, uint64_t term_max,
                          struct group_entry *entry)
{
    uint64_t term = reader_u64(reader);
    uint32_t size = reader_u32(reader);
    uint8_t type = reader_u8(reader);
    const uint8_t *bytes;

    if (reader->bad || term < term_min || term > term_max || type < GROUP_COMMAND ||
        type > GROUP_CHANGE || size > ENTRY_SIZE_MAX)
        return err_set(ERR_INVALID, "entry of term %" PRIu64 ", type %u, %u bytes", term, type,
                       size);
    bytes = reader_take(reader, size);
    if (bytes == NULL)
        return err_set(ERR_INVALID, "entry of %u bytes: cut off", size);
    if (type == GROUP_CHANGE) {
        enum err err = configuration_check(bytes, size);

        if (err != ERR_OK)
            return err;
    }

    entry->payload = buf_new(size);
    if (entry->payload == NULL)
        return err_set(ERR_NO_MEMORY, "entry of %u bytes", size);
    memcpy(entry->payload->bytes, bytes, size);
    entry->payload->size = size;
    entry->size = size;
    entry->term = term;
    entry->type = type;
    return ERR_OK;
}

static enum err get_append(struct reader *reader, uint64_t term, struct group_message **ret_message)
{
    uint64_t prev_index = reader_u64(reader);
    uint64_t prev_term = reader_u64(reader);
    uint64_t commit = reader_u64(reader);
    uint64_t all_have = reader_u64(reader);
    uint32_t count = reader_u32(reader);
    uint64_t term_min = prev_term > 0 ? prev_term : 1;
    struct group_message *message;

    if (reader->bad || !is_place(prev_index, prev_term, term) || commit > GROUP_NUMBER_MAX ||
        all_have > GROUP_NUMBER_MAX)
        return err_set(ERR_INVALID, "append behind %" PRIu64 " of term %" PRIu64, prev_index,
                       prev_term);
    if (count > GROUP_ENTRIES_MAX || count > reader_left(reader) / ENTRY_SIZE)
        return err_set(ERR_INVALID, "append of %u entries in %zu bytes", count,
                       reader_left(reader));
    message = group_message_new(GROUP_APPEND, term, count);
    if (message == NULL)
        return err_set(ERR_NO_MEMORY, "append of %u entries", count);
    message->append.prev_index = prev_index;
    message->append.prev_term = prev_term;
    message->append.commit = commit;
    message->append.all_have = all_have;
    for (uint32_t i = 0; i < count; i++) {
        enum err err = get_entry(reader, term_min, term, &message->append.entries[i]);

        if (err != ERR_OK) {
            group_message_free(message);
            return err_wrap(err, "append, entry %u of %u", i + 1, count);
        }
        term_min = message->append.entries[i].term;
    }
    *ret_message = message;
    return ERR_OK;
}

/* The bodies of fixed size. False: out of range. */
static bool get_fixed(struct reader *reader, struct group_message *message)
{
    switch (message->kind) {
    case GROUP_APPEND_RESULT:
        message->append_result.rejected = reader_u64(reader);
        message->append_result.last_index = reader_u64(reader);
        return message->append_result.rejected <= GROUP_NUMBER_MAX &&
               message->append_result.last_index <= GROUP_NUMBER_MAX;
    case GROUP_VOTE:
        message->vote.last_index = reader_u64(reader);
        message->vote.last_term = reader_u64(reader);
        return is_place(message->vote.last_index, message->vote.last_term, message->term);
    case GROUP_TIMEOUT_NOW:
        message->timeout_now.last_index = reader_u64(reader);
        message->timeout_now.last_term = reader_u64(reader);
        return is_place(message->timeout_now.last_index, message->timeout_now.last_term,
                        message->term);
    case GROUP_PING:
    case GROUP_PONG:
        message->round = reader_u64(reader);
        return true;
    default:
        return true;
    }
}

static unsigned flags_allowed(unsigned kind)
{
    if (kind == GROUP_VOTE)
        return FLAG_PRE_VOTE | FLAG_DISRUPT;
    if (kind == GROUP_APPEND_RESULT)
        return FLAG_MUTE;
    return kind == GROUP_VOTE_RESULT ? FLAG_PRE_VOTE | FLAG_GRANTED : 0;
}

static void set_flags(struct group_message *message, unsigned flags)
{
    if (message->kind == GROUP_VOTE) {
        message->vote.pre_vote = (flags & FLAG_PRE_VOTE) != 0;
        message->vote.disrupt_leader = (flags & FLAG_DISRUPT) != 0;
    } else if (message->kind == GROUP_VOTE_RESULT) {
        message->vote_result.pre_vote = (flags & FLAG_PRE_VOTE) != 0;
        message->vote_result.granted = (flags & FLAG_GRANTED) != 0;
    } else if (message->kind == GROUP_APPEND_RESULT) {
        message->append_result.mute = (flags & FLAG_MUTE) != 0;
    }
}

enum err raft_wire_get(struct reader *reader, uint32_t *ret_group,
                       struct group_message **ret_message)
{
    struct group_message *message = NULL;
    uint32_t group;
    unsigned kind, flags, zero;
    uint64_t term;
    enum err err;

    if (!reader->bad && reader->at == reader->end)
        return ERR_END;
    group = reader_u32(reader);
    kind = reader_u8(reader);
    flags = reader_u8(reader);
    zero = reader_u16(reader);
    term = reader_u64(reader);
    if (reader->bad || kind < GROUP_APPEND || kind >= GROUP_MESSAGE_END || zero != 0 ||
        (flags & ~flags_allowed(kind)) != 0 || term == 0 || term > GROUP_NUMBER_MAX)
        return err_set(ERR_INVALID, "raft message of kind %u, flags %u, term %" PRIu64, kind, flags,
                       term);

    if (kind == GROUP_APPEND) {
        err = get_append(reader, term, &message);
        if (err != ERR_OK)
            return err_wrap(err, "group %u", group);
    } else {
        message = group_message_new((enum group_message_kind)kind, term, 0);
        if (message == NULL)
            return err_set(ERR_NO_MEMORY, "raft message");
        if (!get_fixed(reader, message) || reader->bad) {
            group_message_free(message);
            return err_set(ERR_INVALID, "group %u: raft message of kind %u", group, kind);
        }
        set_flags(message, flags);
    }
    *ret_group = group;
    *ret_message = message;
    return ERR_OK;
}
