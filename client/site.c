#include "client/site.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/call.h"
#include "client/lane.h"

#define TOPOLOGY_EVERY_NS UINT64_C(50000000) /* A lost leader's successor is found this fast. */

enum {
    REQUEST_TOPOLOGY = 3,  /* All requests for the topology: any answer is good. */
    SEED_FAILURES_MAX = 5, /* io_start() gives up when all seeds failed so often: after 0.3 s. */
};

/* ---- Sessions and the topology ------------------------------------------------------------- */

static struct session *add_session(struct io *io, const struct session_address *address)
{
    struct session *session;

    if (io->session_count == IO_SESSIONS_MAX)
        return NULL;
    session = session_new(&io->loop, address, &io->events);
    if (session)
        io->sessions[io->session_count++] = session;
    return session;
}

/* One that is ready if there is any: a node may be known by several addresses. */
static struct session *find_session(struct io *io, uint64_t server)
{
    struct session *found = NULL;

    for (uint32_t i = 0; i < io->session_count; i++) {
        struct session *session = io->sessions[i];

        if (session_server(session) == server && (!found || session_is_ready(session)))
            found = session;
    }
    return found;
}

struct session *site_session_of(struct io *io, uint64_t server)
{
    struct session *session = find_session(io, server);
    struct session_address address = {0};

    for (uint32_t i = 0; i < io->topology.nodes && !session; i++) {
        if (io->topology.node[i].server != server)
            continue;
        snprintf(address.host, sizeof address.host, "%s", io->topology.node[i].host);
        address.port = io->topology.node[i].native_port;
        session = add_session(io, &address);
        if (session)
            session_expect(session, server);
    }
    return session;
}

struct session *site_session_any(struct io *io)
{
    for (uint32_t i = 0; i < io->session_count; i++) {
        struct session *session = io->sessions[(io->turn + i) % io->session_count];

        if (session_is_ready(session)) {
            io->turn = (io->turn + i + 1) % io->session_count;
            return session;
        }
    }
    for (uint32_t i = 0; i < io->topology.nodes; i++)
        (void)site_session_of(io, io->topology.node[i].server);
    for (uint32_t i = 0; i < io->session_count; i++)
        session_open(io->sessions[i], io->now_ns);
    return NULL;
}

void site_ask_topology(struct io *io)
{
    struct session *session;

    if (io->now_ns - io->asked_ns < TOPOLOGY_EVERY_NS)
        return;
    session = site_session_any(io);
    if (session && session_send(session, FRAME_TOPOLOGY, REQUEST_TOPOLOGY, NULL) == ERR_OK)
        io->asked_ns = io->now_ns;
}

static enum err take_topology(struct io *io, const uint8_t *payload, size_t size)
{
    struct message_topology topology;
    enum err err = message_get_topology(payload, size, &topology);

    if (err != ERR_OK)
        return err;
    if (topology.shards == 0 || (io->shards != 0 && topology.shards != io->shards))
        return err_set(ERR_INVALID, "the node tells of %u shards, the site has %u",
                       (unsigned)topology.shards, (unsigned)io->shards);
    if (!io->lanes) {
        io->lanes = calloc(topology.shards, sizeof *io->lanes);
        if (!io->lanes)
            return err_set(ERR_NO_MEMORY, "%u shards", (unsigned)topology.shards);
        for (uint32_t i = 0; i < topology.shards; i++)
            lane_init(&io->lanes[i], i);
    }
    pthread_mutex_lock(&io->mutex);
    io->shards = topology.shards;
    io->topology = topology;
    pthread_cond_broadcast(&io->changed);
    pthread_mutex_unlock(&io->mutex);
    for (uint32_t i = 0; i < topology.shards; i++)
        lane_set_leader(io, &io->lanes[i], topology.leader[i]);
    return ERR_OK;
}

static void note_hopeless(struct io *io)
{
    for (uint32_t i = 0; i < io->options.seed_count; i++) {
        if (session_failures(io->sessions[i]) < SEED_FAILURES_MAX)
            return;
    }
    pthread_mutex_lock(&io->mutex);
    io->hopeless = true;
    pthread_cond_broadcast(&io->changed);
    pthread_mutex_unlock(&io->mutex);
}

/* ---- Events of the sessions ---------------------------------------------------------------- */

static void pump(struct io *io)
{
    struct call *next;

    for (uint32_t i = 0; i < io->shards; i++)
        lane_pump(io, &io->lanes[i]);
    for (struct call *call = io->calls; call; call = next) {
        next = call->next;
        call_tick(io, call);
    }
}

static enum err site_ready_cb(void *ctx, struct session *session,
                              const struct message_hello_ok *hello)
{
    struct io *io = ctx;

    io->now_ns = uv_hrtime();
    if (io->cluster != 0 && hello->cluster != io->cluster)
        return err_set(ERR_INVALID, "the node is of another cluster than the first one");
    if (hello->server == 0)
        return err_set(ERR_INVALID, "the node has no server id");
    io->cluster = hello->cluster;
    if (io->shards == 0 && session_send(session, FRAME_TOPOLOGY, REQUEST_TOPOLOGY, NULL) != ERR_OK)
        return ERR_NO_MEMORY;
    pump(io);
    return ERR_OK;
}

static struct lane *lane_of(struct io *io, uint64_t request)
{
    uint32_t at = lane_of_request(request);

    return at < io->shards ? &io->lanes[at] : NULL;
}

static enum err take_lane_frame(struct io *io, struct lane *lane, const struct frame_header *header,
                                const uint8_t *payload)
{
    struct message_write_ok ok;
    struct message_error error;
    enum err err;

    if (header->type == FRAME_WRITE_OK) {
        err = message_get_write_ok(payload, header->size, &ok);
        return err != ERR_OK ? err : lane_written(io, lane, header->request, &ok);
    }
    if (header->type == FRAME_ERROR) {
        err = message_get_error(payload, header->size, &error);
        return err != ERR_OK ? err : lane_refused(io, lane, header->request, &error);
    }
    return err_set(ERR_INVALID, "a write was answered with a frame of type %u",
                   (unsigned)header->type);
}

static enum err site_frame_cb(void *ctx, struct session *session, const struct frame_header *header,
                              const uint8_t *payload)
{
    struct io *io = ctx;
    struct lane *lane = lane_of(io, header->request);

    io->now_ns = uv_hrtime();
    if (lane)
        return take_lane_frame(io, lane, header, payload);
    if (header->request == REQUEST_TOPOLOGY)
        return header->type == FRAME_TOPOLOGY_OK ? take_topology(io, payload, header->size)
                                                 : ERR_OK; /* We ask again when we need it. */
    return call_take(io, session, header, payload);
}

static void site_closed_cb(void *ctx, struct session *session)
{
    struct io *io = ctx;

    io->now_ns = uv_hrtime();
    if (session_failures(session) == 1)
        atomic_fetch_add_explicit(&io->counts.reconnects, 1, memory_order_relaxed);
    for (uint32_t i = 0; i < io->shards; i++)
        lane_lost(io, &io->lanes[i], session);
    call_lost(io, session);
    if (io->shards == 0)
        note_hopeless(io);
}

/* ---- Start --------------------------------------------------------------------------------- */

enum err site_init(struct io *io)
{
    io->events = (struct session_events){site_ready_cb, site_frame_cb, site_closed_cb, io};
    for (uint32_t i = 0; i < io->options.seed_count; i++) {
        if (!add_session(io, &io->options.seeds[i]))
            return err_set(ERR_NO_MEMORY, "a session");
    }
    return ERR_OK;
}
