/*
 * Raft messages from a peer: whatever it says, what gets through is whole, and is the same again
 * when it is written.
 */
#include <string.h>

#include "replication/group_message.h"
#include "replication/raft_wire.h"
#include "storage/base/check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader reader = reader_on(data, size);
    struct group_message *message;
    uint32_t group;

    for (;;) {
        const uint8_t *from = reader.at;
        struct bytes again = {0};

        if (raft_wire_get(&reader, &group, &message) != ERR_OK)
            return 0;
        CHECK(message->term > 0);
        CHECK(message->kind != GROUP_APPEND || message->append.count <= GROUP_ENTRIES_MAX);
        raft_wire_put(message, group, &again);
        CHECK(again.size == raft_wire_size(message));
        CHECK(again.size == (size_t)(reader.at - from));
        CHECK(memcmp(again.data, from, again.size) == 0);
        bytes_fini(&again);
        group_message_free(message);
    }
}
