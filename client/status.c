#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "client/call.h"
#include "client/client.h"

/* A node on the site's network tells its status in a few ms; a dead one must not hold up the rest
 * for long. */
#define STATUS_WAIT_NS UINT64_C(2000000000)

/* The I/O thread keeps the text; it is parsed by the caller. */
static enum err on_status(void *ctx, uint16_t type, const uint8_t *payload, size_t size)
{
    char **text = ctx;

    if (type != FRAME_STATUS_OK)
        return err_set(ERR_INVALID, "STATUS was answered with a frame of type %u", (unsigned)type);
    *text = strndup((const char *)payload, size);
    return *text ? ERR_END : err_set(ERR_NO_MEMORY, "a status of %zu bytes", size);
}

static enum err status_of_one(struct millrace *m, char **ret_json)
{
    char *text = NULL;
    struct call call = {
        .type = FRAME_STATUS, .timeout_ns = m->timeout_ns, .on_answer = on_status, .ctx = &text};
    enum err err = io_call(m->io, &call, 1);

    if (err == ERR_OK)
        *ret_json = text;
    return err;
}

/* One object of what the nodes said. Nodes that said nothing, or nonsense, are unreachable. */
static char *join_statuses(const struct message_topology *topology, char *texts[])
{
    json_t *nodes = json_array(), *unreachable = json_array();
    json_t *site;
    char *json = NULL;

    for (uint32_t i = 0; i < topology->nodes; i++) {
        json_t *node = texts[i] ? json_loads(texts[i], 0, NULL) : NULL;

        if (node)
            json_array_append_new(nodes, node);
        else
            json_array_append_new(unreachable, json_integer((json_int_t)topology->node[i].server));
    }
    site = json_pack("{s:O, s:O}", "nodes", nodes, "unreachable", unreachable);
    if (site)
        json = json_dumps(site, JSON_COMPACT);
    json_decref(site);
    json_decref(unreachable);
    json_decref(nodes);
    return json;
}

static enum err status_of_all(struct millrace *m, char **ret_json)
{
    struct message_topology *topology = malloc(sizeof *topology);
    char *texts[TOPOLOGY_NODES_MAX] = {NULL};
    struct call calls[TOPOLOGY_NODES_MAX] = {0};
    char *json;

    if (!topology)
        return err_set(ERR_NO_MEMORY, "a status");
    io_topology(m->io, topology);
    for (uint32_t i = 0; i < topology->nodes; i++)
        calls[i] = (struct call){.type = FRAME_STATUS,
                                 .server = topology->node[i].server,
                                 .timeout_ns = STATUS_WAIT_NS,
                                 .on_answer = on_status,
                                 .ctx = &texts[i]};
    if (io_call(m->io, calls, topology->nodes) != ERR_OK) {
        /* Some node did not answer: that is part of the status. */
    }
    json = join_statuses(topology, texts);
    for (uint32_t i = 0; i < topology->nodes; i++)
        free(texts[i]);
    free(topology);
    if (!json)
        return err_set(ERR_NO_MEMORY, "a status");
    *ret_json = json;
    return ERR_OK;
}

enum millrace_code millrace_status(struct millrace *m, int all, char **ret_json)
{
    enum err err = all ? status_of_all(m, ret_json) : status_of_one(m, ret_json);

    return err == ERR_OK ? MILLRACE_OK : client_fail(m, err);
}
