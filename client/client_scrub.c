#include <jansson.h>
#include <stdlib.h>

#include "client/call.h"
#include "client/client.h"
#include "storage/base/bytes.h"

static enum err on_begun(void *ctx, uint16_t type, const uint8_t *payload, size_t size)
{
    struct reader reader = reader_on(payload, size);
    uint64_t pass = reader_u64(&reader);

    if (type != FRAME_SCRUB_OK || !reader_done(&reader))
        return err_set(ERR_INVALID, "SCRUB was answered with a frame of type %u and %zu bytes",
                       (unsigned)type, size);
    *(uint64_t *)ctx = pass;
    return ERR_END;
}

static char *tell(const struct message_topology *topology, const uint64_t *passes)
{
    json_t *nodes = json_array();
    char *json;

    for (uint32_t i = 0; i < topology->nodes; i++)
        (void)json_array_append_new(nodes, json_pack("{s:I, s:I}", "server",
                                                     (json_int_t)topology->node[i].server,
                                                     "complete_at", (json_int_t)passes[i]));
    json = json_dumps(nodes, JSON_COMPACT);
    json_decref(nodes);
    return json;
}

static enum err ask_all(struct millrace *m, char **ret_json)
{
    struct message_topology *topology = malloc(sizeof *topology);
    uint64_t passes[TOPOLOGY_NODES_MAX] = {0};
    struct call calls[TOPOLOGY_NODES_MAX] = {0};
    enum err err;

    if (!topology)
        return err_set(ERR_NO_MEMORY, "a scrub");
    io_topology(m->io, topology);
    for (uint32_t i = 0; i < topology->nodes; i++)
        calls[i] = (struct call){.type = FRAME_SCRUB,
                                 .server = topology->node[i].server,
                                 .timeout_ns = m->timeout_ns,
                                 .on_answer = on_begun,
                                 .ctx = &passes[i]};
    err = io_call(m->io, calls, topology->nodes);
    for (uint32_t i = 0; i < topology->nodes; i++)
        if (passes[i] != 0)
            err = ERR_OK; /* Who is away does not keep the others from it. */
    if (err == ERR_OK) {
        *ret_json = tell(topology, passes);
        if (!*ret_json)
            err = err_set(ERR_NO_MEMORY, "a scrub");
    }
    free(topology);
    return err;
}

enum millrace_code millrace_scrub(struct millrace *m, char **ret_json)
{
    enum err err = ask_all(m, ret_json);

    return err == ERR_OK ? MILLRACE_OK : client_fail(m, err);
}
