#include <stdlib.h>
#include <string.h>

#include "client/call.h"
#include "client/client.h"

/* The I/O thread keeps the payload; it is looked at by the caller. */
static enum err on_databases(void *ctx, uint16_t type, const uint8_t *payload, size_t size)
{
    struct bytes *answer = ctx;

    if (type != FRAME_DATABASE_OK)
        return err_set(ERR_INVALID, "DATABASE was answered with a frame of type %u",
                       (unsigned)type);
    bytes_clear(answer);
    bytes_put(answer, payload, size);
    return answer->failed ? err_set(ERR_NO_MEMORY, "a list of databases") : ERR_END;
}

static enum err ask(struct millrace *m, const struct message_database *message,
                    struct bytes *ret_answer)
{
    struct call call = {.type = FRAME_DATABASE,
                        .timeout_ns = m->timeout_ns,
                        .on_answer = on_databases,
                        .ctx = ret_answer};
    struct bytes bytes = {0};
    enum err err;

    if (message->name.size > NAME_SIZE_MAX)
        return err_set(ERR_LIMIT, "a database's name of %zu bytes, at most %d are allowed",
                       message->name.size, (int)NAME_SIZE_MAX);
    message_put_database(message, &bytes);
    call.payload = session_payload(&bytes);
    bytes_fini(&bytes);
    if (!call.payload)
        return err_set(ERR_NO_MEMORY, "a question about databases");
    err = io_call(m->io, &call, 1);
    buf_unref(call.payload);
    return err;
}

static enum millrace_code change(struct millrace *m, enum database_op op, const char *name,
                                 const uint64_t *retention_ns, const uint64_t *retention_bytes,
                                 const uint64_t *series_max)
{
    struct message_database message = {.op = (uint8_t)op,
                                       .name = {name, strlen(name)},
                                       .sets_retention = retention_ns != NULL,
                                       .retention_ns = retention_ns ? *retention_ns : 0,
                                       .sets_bytes = retention_bytes != NULL,
                                       .retention_bytes = retention_bytes ? *retention_bytes : 0,
                                       .sets_series = series_max != NULL,
                                       .series_max = series_max ? *series_max : 0};
    struct bytes answer = {0};
    enum err err = ask(m, &message, &answer);

    bytes_fini(&answer);
    return err == ERR_OK ? MILLRACE_OK : client_fail(m, err);
}

enum millrace_code millrace_database_create(struct millrace *m, const char *name,
                                            const uint64_t *retention_ns,
                                            const uint64_t *retention_bytes,
                                            const uint64_t *series_max)
{
    return change(m, DATABASE_CREATE, name, retention_ns, retention_bytes, series_max);
}

enum millrace_code millrace_database_alter(struct millrace *m, const char *name,
                                           const uint64_t *retention_ns,
                                           const uint64_t *retention_bytes,
                                           const uint64_t *series_max)
{
    return change(m, DATABASE_ALTER, name, retention_ns, retention_bytes, series_max);
}

enum millrace_code millrace_database_drop(struct millrace *m, const char *name)
{
    return change(m, DATABASE_DROP, name, NULL, NULL, NULL);
}

/* The array, and behind it the names. */
static enum err list(const struct bytes *answer, struct millrace_database **ret_databases,
                     size_t *ret_count)
{
    struct message_database_info info;
    struct millrace_database *databases;
    size_t count = 0, at = 0;
    char *names;
    enum err err;

    while ((err = message_get_database_info(answer->data, answer->size, &at, &info)) == ERR_OK)
        count++;
    if (err != ERR_END)
        return err;
    /* With its size in front, a name takes as much room there as with a NUL behind it here. */
    databases = malloc((count + 1) * sizeof *databases + answer->size);
    if (!databases)
        return err_set(ERR_NO_MEMORY, "a list of %zu databases", count);
    names = (char *)(databases + count + 1);
    at = 0;
    for (size_t i = 0; i < count; i++) {
        if (message_get_database_info(answer->data, answer->size, &at, &info) != ERR_OK)
            break; /* It was read a moment ago. */
        databases[i] = (struct millrace_database){names, info.retention_ns, info.retention_bytes,
                                                  info.series_max, info.window_ns};
        memcpy(names, info.name.data, info.name.size);
        names[info.name.size] = '\0';
        names += info.name.size + 1;
    }
    *ret_databases = databases;
    *ret_count = count;
    return ERR_OK;
}

enum millrace_code millrace_databases(struct millrace *m, struct millrace_database **ret_databases,
                                      size_t *ret_count)
{
    static const struct message_database message = {.op = DATABASE_LIST, .name = {"", 0}};
    struct bytes answer = {0};
    enum err err = ask(m, &message, &answer);

    if (err == ERR_OK)
        err = list(&answer, ret_databases, ret_count);
    bytes_fini(&answer);
    return err == ERR_OK ? MILLRACE_OK : client_fail(m, err);
}
