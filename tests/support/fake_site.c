#include "tests/support/fake_site.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "client/wire/message.h"
#include "storage/base/check.h"
#include "storage/block/block_reader.h"
#include "tests/support/fake_store.h"

enum { CONNS_MAX = 32, DECIDED_MAX = 8, CLUSTER = 77 };

struct fake_node {
    uint64_t server;
    int listener; /* -1: dead. */
    uint16_t port;
};

struct fake_conn {
    int fd; /* -1: free. */
    struct fake_node *node;
    struct bytes input;
    struct bytes held; /* An answer that waits for the next write. */
};

struct decided {
    char name[32];
    enum field_type type;
};

struct fake_site {
    struct fake_script script;
    pthread_t thread;
    int wake[2]; /* Written to wake the thread. */
    char nodes_text[128];

    pthread_mutex_t mutex; /* Covers what follows. */
    bool stop;
    uint32_t node_count, shard_count;
    struct fake_node nodes[FAKE_NODES_MAX];
    struct fake_conn conns[CONNS_MAX];
    uint64_t leaders[FAKE_SHARDS_MAX];
    struct fake_store store;
    struct decided decided[DECIDED_MAX];
    uint32_t decided_count;
    uint64_t writes, strays, declares, queries, bad;
    int64_t cutoff_ns;
};

/* ---- Answers ------------------------------------------------------------------------------- */

static void frame_into(struct bytes *out, enum frame_type type, uint64_t request,
                       const struct bytes *payload)
{
    struct frame_header header = {.type = (uint16_t)type, .request = request};

    frame_seal(&header, payload->data, payload->size);
    bytes_put(out, &header, sizeof header);
    bytes_put(out, payload->data, payload->size);
}

static void drop(struct fake_conn *conn)
{
    if (conn->fd >= 0)
        close(conn->fd);
    conn->fd = -1;
    bytes_fini(&conn->input);
    bytes_fini(&conn->held);
    conn->input = conn->held = (struct bytes){0};
}

static void send_bytes(struct fake_conn *conn, const struct bytes *bytes)
{
    size_t at = 0;

    while (at < bytes->size) {
        ssize_t sent = send(conn->fd, bytes->data + at, bytes->size - at, MSG_NOSIGNAL);

        if (sent < 0)
            return; /* The other side is gone; poll() tells. */
        at += (size_t)sent;
    }
}

static void reply(struct fake_conn *conn, enum frame_type type, uint64_t request,
                  struct bytes *payload)
{
    struct bytes out = {0};

    frame_into(&out, type, request, payload);
    send_bytes(conn, &out);
    bytes_fini(&out);
    bytes_fini(payload);
}

static void reply_error(struct fake_conn *conn, uint64_t request, enum err code, uint64_t leader,
                        uint32_t retry_ms, const char *text)
{
    struct message_error error = {
        .code = code, .leader = leader, .retry_ms = retry_ms, .text = {text, strlen(text)}};
    struct bytes payload = {0};

    message_put_error(&error, &payload);
    reply(conn, FRAME_ERROR, request, &payload);
}

static void reply_hello(struct fake_site *site, struct fake_conn *conn, uint64_t request)
{
    struct message_hello_ok hello = {.version = PROTOCOL_VERSION,
                                     .cluster = CLUSTER,
                                     .server = conn->node->server,
                                     .shards = site->shard_count,
                                     .frame_max = FRAME_PAYLOAD_MAX,
                                     .agent = {"fake", 4}};
    struct bytes payload = {0};

    message_put_hello_ok(&hello, &payload);
    reply(conn, FRAME_HELLO_OK, request, &payload);
}

static void reply_topology(struct fake_site *site, struct fake_conn *conn, uint64_t request)
{
    struct message_topology topology = {.nodes = site->node_count, .shards = site->shard_count};
    struct bytes payload = {0};

    for (uint32_t i = 0; i < site->node_count; i++) {
        topology.node[i].server = site->nodes[i].server;
        snprintf(topology.node[i].host, sizeof topology.node[i].host, "127.0.0.1");
        topology.node[i].native_port = site->nodes[i].port;
        topology.node[i].up = site->nodes[i].listener >= 0;
    }
    for (uint32_t i = 0; i < site->shard_count; i++)
        topology.leader[i] = site->leaders[i];
    message_put_topology(&topology, &payload);
    reply(conn, FRAME_TOPOLOGY_OK, request, &payload);
}

static void reply_declare(struct fake_site *site, struct fake_conn *conn, uint64_t request,
                          const uint8_t *bytes, size_t size)
{
    static struct message_declare declare; /* The site's thread alone is here. */
    struct bytes payload = {0};

    site->declares++;
    if (message_get_declare(bytes, size, &declare) != ERR_OK) {
        site->bad++;
        return;
    }
    for (uint32_t i = 0; i < declare.count; i++) {
        for (uint32_t j = 0; j < site->decided_count; j++) {
            if (strlen(site->decided[j].name) == declare.fields[i].name.size &&
                memcmp(site->decided[j].name, declare.fields[i].name.data,
                       declare.fields[i].name.size) == 0)
                declare.fields[i].type = (uint8_t)site->decided[j].type;
        }
    }
    message_put_declare(&declare, &payload);
    reply(conn, FRAME_DECLARE_OK, request, &payload);
}

static void reply_query(struct fake_site *site, struct fake_conn *conn, uint64_t request,
                        const uint8_t *bytes, size_t size)
{
    struct columns batches[2] = {0};
    struct message_query_end end = {.text = {"scripted", 8}, .next = {.series = QUERY_PLACE_END}};
    struct message_query asked;
    struct bytes payload = {0};
    uint32_t count = 0;
    enum err err = ERR_OK;

    if (site->script.on_query)
        err = site->script.on_query(site->script.ctx, site->queries, batches, &count);
    if (message_get_query(bytes, size, &asked) == ERR_OK) {
        if (site->script.on_page)
            end.next = site->script.on_page(site->script.ctx, site->queries, &asked.query);
        message_query_fini(&asked);
    } else {
        site->bad++;
    }
    site->queries++;
    for (uint32_t i = 0; i < count; i++) {
        columns_encode(&batches[i], &payload);
        end.rows += batches[i].rows;
        columns_fini(&batches[i]);
        reply(conn, FRAME_QUERY_BATCH, request, &payload);
        payload = (struct bytes){0};
    }
    if (err == ERR_END) {
        drop(conn);
        return;
    }
    if (err == (enum err)FAKE_SILENCE)
        return;
    end.code = err;
    message_put_query_end(&end, &payload);
    reply(conn, FRAME_QUERY_END, request, &payload);
}

/* ---- Writes -------------------------------------------------------------------------------- */

static void store(struct fake_site *site, struct fake_conn *conn, uint64_t request,
                  const struct entry_header *header, const uint8_t *entry, enum fake_deed deed)
{
    struct message_write_ok ok;
    struct bytes payload = {0};
    enum err err = fake_store_apply(&site->store, header, entry, &ok);

    if (deed == FAKE_STORE_AND_CLOSE) {
        drop(conn);
    } else if (deed == FAKE_STORE_SILENTLY) {
        return;
    } else if (err == ERR_SEQUENCE) {
        reply_error(conn, request, ERR_SEQUENCE, 0, 5, "send the missing one first");
    } else if (err != ERR_OK) {
        reply_error(conn, request, ERR_INVALID, 0, 0, "this cannot be stored");
    } else {
        message_put_write_ok(&ok, &payload);
        if (deed == FAKE_HOLD) {
            frame_into(&conn->held, FRAME_WRITE_OK, request, &payload);
            bytes_fini(&payload);
        } else {
            reply(conn, FRAME_WRITE_OK, request, &payload);
            send_bytes(conn, &conn->held);
            bytes_clear(&conn->held);
        }
    }
}

/* True: refused. What is stored is answered with a break of the connection now and then. */
static bool refuse_old(struct fake_site *site, struct fake_conn *conn, uint64_t request,
                       const uint8_t *entry, size_t size)
{
    struct message_error error = {
        .code = ERR_TOO_OLD, .cutoff_ns = site->cutoff_ns, .text = {"before what is kept", 19}};
    struct bytes payload = {0};
    struct block_view view;

    if (block_view(entry + sizeof(struct entry_header), size - sizeof(struct entry_header), true,
                   &view) != ERR_OK ||
        view.header.time_min_ns >= site->cutoff_ns)
        return false;
    message_put_error(&error, &payload);
    reply(conn, FRAME_ERROR, request, &payload);
    return true;
}

static void take_write(struct fake_site *site, struct fake_conn *conn, uint64_t request,
                       const uint8_t *entry, size_t size)
{
    struct entry_header header;
    enum fake_deed deed = FAKE_STORE;
    uint64_t leader;

    if (entry_check(entry, size, &header) != ERR_OK || header.shard >= site->shard_count) {
        site->bad++;
        reply_error(conn, request, ERR_INVALID, 0, 0, "this is no entry");
        return;
    }
    leader = site->leaders[header.shard];
    if (leader != conn->node->server) {
        site->strays++;
        reply_error(conn, request, ERR_NOT_LEADER, leader, 0, "somebody else leads");
        return;
    }
    if (site->script.on_write)
        deed = site->script.on_write(site->script.ctx, site->writes, &header);
    site->writes++;
    switch (deed) {
    case FAKE_CLOSE:
        drop(conn);
        break;
    case FAKE_IGNORE:
        break;
    case FAKE_BUSY:
        reply_error(conn, request, ERR_BUSY, 0, 5, "come back later");
        break;
    case FAKE_REFUSE:
        reply_error(conn, request, ERR_INVALID, 0, 0, "refused by the script");
        break;
    case FAKE_TOO_OLD:
        if (!refuse_old(site, conn, request, entry, size))
            store(site, conn, request, &header, entry,
                  site->writes % 5 == 0 ? FAKE_STORE_AND_CLOSE : FAKE_STORE);
        break;
    case FAKE_FORGET:
        fake_store_forget(&site->store, header.shard);
        store(site, conn, request, &header, entry, deed);
        break;
    default:
        store(site, conn, request, &header, entry, deed);
        break;
    }
}

/* ---- The thread ---------------------------------------------------------------------------- */

static void take_frame(struct fake_site *site, struct fake_conn *conn,
                       const struct frame_header *header, const uint8_t *payload)
{
    struct bytes answer = {0};
    char text[32];

    switch (header->type) {
    case FRAME_HELLO:
        reply_hello(site, conn, header->request);
        break;
    case FRAME_PING:
        reply(conn, FRAME_PONG, header->request, &answer);
        break;
    case FRAME_TOPOLOGY:
        reply_topology(site, conn, header->request);
        break;
    case FRAME_DECLARE:
        reply_declare(site, conn, header->request, payload, header->size);
        break;
    case FRAME_WRITE:
        take_write(site, conn, header->request, payload, header->size);
        break;
    case FRAME_QUERY:
        reply_query(site, conn, header->request, payload, header->size);
        break;
    case FRAME_STATUS:
        snprintf(text, sizeof text, "{\"server\":%u}", (unsigned)conn->node->server);
        bytes_put(&answer, text, strlen(text));
        reply(conn, FRAME_STATUS_OK, header->request, &answer);
        break;
    case FRAME_CANCEL:
        break;
    default:
        site->bad++;
        break;
    }
}

static void read_conn(struct fake_site *site, struct fake_conn *conn)
{
    struct frame_header header;
    uint8_t buffer[65536];
    ssize_t got = recv(conn->fd, buffer, sizeof buffer, 0);
    size_t at = 0;

    if (got <= 0) {
        drop(conn);
        return;
    }
    bytes_put(&conn->input, buffer, (size_t)got);
    while (conn->fd >= 0 && conn->input.size - at >= sizeof header) {
        const uint8_t *frame = conn->input.data + at;

        if (frame_check_header(frame, &header) != ERR_OK) {
            site->bad++;
            drop(conn);
            return;
        }
        if (conn->input.size - at < sizeof header + header.size)
            break;
        if (frame_check_payload(&header, frame + sizeof header) != ERR_OK)
            site->bad++;
        else
            take_frame(site, conn, &header, frame + sizeof header);
        at += sizeof header + header.size;
    }
    if (conn->fd >= 0) {
        conn->input.size -= at;
        memmove(conn->input.data, conn->input.data + at, conn->input.size);
    }
}

static void accept_conn(struct fake_site *site, struct fake_node *node)
{
    int fd = accept(node->listener, NULL, NULL);

    for (uint32_t i = 0; fd >= 0 && i < CONNS_MAX; i++) {
        if (site->conns[i].fd < 0) {
            site->conns[i].fd = fd;
            site->conns[i].node = node;
            return;
        }
    }
    if (fd >= 0)
        close(fd);
}

static void *serve(void *arg)
{
    struct fake_site *site = arg;
    struct pollfd fds[1 + FAKE_NODES_MAX + CONNS_MAX];
    char ignored[64];

    pthread_mutex_lock(&site->mutex);
    while (!site->stop) {
        fds[0] = (struct pollfd){.fd = site->wake[0], .events = POLLIN};
        for (uint32_t i = 0; i < FAKE_NODES_MAX; i++)
            fds[1 + i] = (struct pollfd){.fd = i < site->node_count ? site->nodes[i].listener : -1,
                                         .events = POLLIN};
        for (uint32_t i = 0; i < CONNS_MAX; i++)
            fds[1 + FAKE_NODES_MAX + i] =
                (struct pollfd){.fd = site->conns[i].fd, .events = POLLIN};
        pthread_mutex_unlock(&site->mutex);
        poll(fds, 1 + FAKE_NODES_MAX + CONNS_MAX, -1);
        pthread_mutex_lock(&site->mutex);
        if (fds[0].revents && read(site->wake[0], ignored, sizeof ignored) < 0)
            break;
        for (uint32_t i = 0; i < site->node_count; i++) {
            if (fds[1 + i].revents && site->nodes[i].listener == fds[1 + i].fd)
                accept_conn(site, &site->nodes[i]);
        }
        for (uint32_t i = 0; i < CONNS_MAX; i++) {
            if (fds[1 + FAKE_NODES_MAX + i].revents && site->conns[i].fd >= 0 &&
                site->conns[i].fd == fds[1 + FAKE_NODES_MAX + i].fd)
                read_conn(site, &site->conns[i]);
        }
    }
    pthread_mutex_unlock(&site->mutex);
    return NULL;
}

static void wake(struct fake_site *site)
{
    CHECK(write(site->wake[1], "", 1) == 1);
}

/* ---- Life ---------------------------------------------------------------------------------- */

/* Port 0: any. */
static int open_listener(uint16_t *port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 16) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0) {
        close(fd);
        return -1;
    }
    *port = ntohs(address.sin_port);
    return fd;
}

struct fake_site *fake_site_start(uint32_t nodes, uint32_t shards, const struct fake_script *script)
{
    struct fake_site *site = calloc(1, sizeof *site);
    size_t at = 0;

    CHECK(nodes <= FAKE_NODES_MAX);
    CHECK(shards <= FAKE_SHARDS_MAX);
    if (!site || pipe(site->wake) < 0)
        return NULL;
    if (script)
        site->script = *script;
    fake_store_init(&site->store);
    site->node_count = nodes;
    site->shard_count = shards;
    for (uint32_t i = 0; i < CONNS_MAX; i++)
        site->conns[i].fd = -1;
    for (uint32_t i = 0; i < shards; i++)
        site->leaders[i] = 1;
    for (uint32_t i = 0; i < nodes; i++) {
        site->nodes[i].server = i + 1;
        site->nodes[i].listener = open_listener(&site->nodes[i].port);
        if (site->nodes[i].listener < 0)
            return NULL;
        at += (size_t)snprintf(site->nodes_text + at, sizeof site->nodes_text - at,
                               "%s127.0.0.1:%u", i ? "," : "", (unsigned)site->nodes[i].port);
    }
    pthread_mutex_init(&site->mutex, NULL);
    CHECK(pthread_create(&site->thread, NULL, serve, site) == 0);
    return site;
}

static void close_node(struct fake_site *site, struct fake_node *node)
{
    if (node->listener >= 0)
        close(node->listener);
    node->listener = -1;
    for (uint32_t i = 0; i < CONNS_MAX; i++) {
        if (site->conns[i].fd >= 0 && site->conns[i].node == node)
            drop(&site->conns[i]);
    }
}

void fake_site_stop(struct fake_site *site)
{
    pthread_mutex_lock(&site->mutex);
    site->stop = true;
    pthread_mutex_unlock(&site->mutex);
    wake(site);
    pthread_join(site->thread, NULL);
    for (uint32_t i = 0; i < site->node_count; i++)
        close_node(site, &site->nodes[i]);
    fake_store_fini(&site->store);
    close(site->wake[0]);
    close(site->wake[1]);
    pthread_mutex_destroy(&site->mutex);
    free(site);
}

const char *fake_site_nodes(const struct fake_site *site)
{
    return site->nodes_text;
}

void fake_site_set_leader(struct fake_site *site, uint32_t shard, uint64_t server)
{
    pthread_mutex_lock(&site->mutex);
    site->leaders[shard] = server;
    pthread_mutex_unlock(&site->mutex);
}

void fake_site_kill(struct fake_site *site, uint64_t server)
{
    pthread_mutex_lock(&site->mutex);
    close_node(site, &site->nodes[server - 1]);
    pthread_mutex_unlock(&site->mutex);
    wake(site);
}

void fake_site_revive(struct fake_site *site, uint64_t server)
{
    struct fake_node *node = &site->nodes[server - 1];

    pthread_mutex_lock(&site->mutex);
    /* The old listener lives until the thread has left poll(). */
    while ((node->listener = open_listener(&node->port)) < 0) {
        CHECK(errno == EADDRINUSE);
        pthread_mutex_unlock(&site->mutex);
        usleep(1000);
        pthread_mutex_lock(&site->mutex);
    }
    pthread_mutex_unlock(&site->mutex);
    wake(site);
}

void fake_site_decide(struct fake_site *site, const char *field, enum field_type type)
{
    pthread_mutex_lock(&site->mutex);
    CHECK(site->decided_count < DECIDED_MAX);
    snprintf(site->decided[site->decided_count].name, sizeof site->decided[0].name, "%s", field);
    site->decided[site->decided_count++].type = type;
    pthread_mutex_unlock(&site->mutex);
}

void fake_site_keep_from(struct fake_site *site, int64_t cutoff_ns)
{
    pthread_mutex_lock(&site->mutex);
    site->cutoff_ns = cutoff_ns;
    pthread_mutex_unlock(&site->mutex);
}

struct fake_counts fake_site_counts(struct fake_site *site)
{
    struct fake_counts counts;

    pthread_mutex_lock(&site->mutex);
    counts = (struct fake_counts){
        .writes = site->writes,
        .stored = site->store.entries,
        .duplicates = site->store.duplicates,
        .gaps = site->store.gaps,
        .strays = site->strays,
        .fresh_keys = site->store.fresh_keys,
        .declares = site->declares,
        .queries = site->queries,
        .bad = site->bad + site->store.bad,
        .epoch_max = site->store.epoch_max,
    };
    pthread_mutex_unlock(&site->mutex);
    return counts;
}

uint32_t fake_site_stored(struct fake_site *site, uint32_t row)
{
    uint32_t times;

    pthread_mutex_lock(&site->mutex);
    times = site->store.rows[row];
    pthread_mutex_unlock(&site->mutex);
    return times;
}

bool fake_site_in_order(struct fake_site *site)
{
    bool in_order;

    pthread_mutex_lock(&site->mutex);
    in_order = site->store.in_order;
    pthread_mutex_unlock(&site->mutex);
    return in_order;
}
