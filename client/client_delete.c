#include <stdlib.h>
#include <string.h>

#include "client/call.h"
#include "client/client.h"
#include "storage/block/tombstone.h"

static enum err on_deleted(void *ctx, uint16_t type, const uint8_t *payload, size_t size)
{
    (void)ctx;
    (void)payload;
    (void)size;
    return type == FRAME_DELETE_OK
               ? ERR_END
               : err_set(ERR_INVALID, "DELETE was answered with a frame of type %u",
                         (unsigned)type);
}

static enum err fill(const struct millrace_condition *where, size_t count,
                     struct tombstone *tombstone)
{
    if (count > TOMBSTONE_CONDITIONS_MAX)
        return err_set(ERR_LIMIT, "a delete with %zu conditions, at most %d are allowed", count,
                       (int)TOMBSTONE_CONDITIONS_MAX);
    for (size_t i = 0; i < count; i++) {
        const char *op = where[i].op ? where[i].op : "=";
        bool negate = strcmp(op, "!=") == 0;

        if (!negate && strcmp(op, "=") != 0)
            return err_set(ERR_INVALID, "a delete takes = and !=, not \"%.10s\"", op);
        tombstone->conditions[i].tag = (struct slice){where[i].tag, strlen(where[i].tag)};
        tombstone->conditions[i].value = (struct slice){where[i].value, strlen(where[i].value)};
        tombstone->conditions[i].negate = negate;
    }
    tombstone->condition_count = (uint32_t)count;
    return ERR_OK;
}

static enum err ask(struct millrace *m, const struct bytes *tombstone)
{
    uint32_t shards = io_shards(m->io);
    struct call *calls = calloc(shards, sizeof *calls);
    enum err err = calls == NULL ? err_set(ERR_NO_MEMORY, "%u deletes", shards) : ERR_OK;

    for (uint32_t i = 0; i < shards && err == ERR_OK; i++) {
        struct message_delete message = {i, {(const char *)tombstone->data, tombstone->size}};
        struct bytes bytes = {0};

        message_put_delete(&message, &bytes);
        calls[i] = (struct call){.type = FRAME_DELETE,
                                 .payload = session_payload(&bytes),
                                 .timeout_ns = m->timeout_ns,
                                 .on_answer = on_deleted};
        bytes_fini(&bytes);
        if (!calls[i].payload)
            err = err_set(ERR_NO_MEMORY, "a delete");
    }
    if (err == ERR_OK)
        err = io_call(m->io, calls, shards);
    for (uint32_t i = 0; calls && i < shards; i++)
        buf_unref(calls[i].payload);
    free(calls);
    return err;
}

enum millrace_code millrace_delete(struct millrace *m, const char *table,
                                   const struct millrace_condition *where, size_t where_count,
                                   int64_t from_ns, int64_t to_ns)
{
    bool everything = from_ns == 0 && to_ns == 0;
    struct tombstone tombstone = {.first_ns = everything ? INT64_MIN : from_ns,
                                  .last_ns =
                                      everything || to_ns == INT64_MAX ? INT64_MAX : to_ns - 1};
    struct bytes bytes = {0};
    char key[KEY_SIZE_MAX];
    size_t size = key_write_table(names_database(m->names), (struct slice){table, strlen(table)},
                                  key, sizeof key);
    enum err err = size > 0 ? ERR_OK : err_set(ERR_INVALID, "a delete needs a table");

    if (err == ERR_OK && !everything && from_ns >= to_ns)
        err = err_set(ERR_INVALID, "a delete of no time: it ends before it begins");
    tombstone.table_key = (struct slice){key, size};
    if (err == ERR_OK)
        err = fill(where, where_count, &tombstone);
    if (err == ERR_OK) {
        tombstone_put(&tombstone, &bytes);
        err = bytes.failed ? err_set(ERR_NO_MEMORY, "a delete") : ask(m, &bytes);
    }
    bytes_fini(&bytes);
    return err == ERR_OK ? MILLRACE_OK : client_fail(m, err);
}
