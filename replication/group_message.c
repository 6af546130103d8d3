#include "replication/group_message.h"

#include <stdlib.h>

#include "replication/raft_wire.h"

struct group_message *group_message_new(enum group_message_kind kind, uint64_t term, uint32_t count)
{
    struct group_message *message = calloc(1, sizeof *message);

    if (message == NULL)
        return NULL;
    message->kind = kind;
    message->term = term;
    if (count > 0) {
        message->append.entries = calloc(count, sizeof *message->append.entries);
        if (message->append.entries == NULL) {
            free(message);
            return NULL;
        }
        message->append.count = count;
    }
    return message;
}

bool group_message_needs_room(const struct group_message *message)
{
    return message->kind == GROUP_TIMEOUT_NOW ||
           (message->kind == GROUP_APPEND && message->append.count > 0);
}

void group_message_free(struct group_message *message)
{
    if (message == NULL)
        return;
    if (message->kind == GROUP_APPEND) {
        for (uint32_t i = 0; i < message->append.count; i++)
            buf_unref(message->append.entries[i].payload);
        free(message->append.entries);
    }
    free(message);
}
