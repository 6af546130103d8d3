#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "replication/guards.h"
#include "storage/base/check.h"
#include "tests/sim/sim.h"

/* ---- What a group asks for ----------------------------------------------------------------- */

static uint64_t io_now(void *ctx)
{
    return ((struct sim_replica *)ctx)->node->sim->now_ms;
}

static uint64_t io_append(void *ctx, struct group *group, const struct log_record *record)
{
    struct sim_node *node = ((struct sim_replica *)ctx)->node;
    struct log_record *kept = malloc(sizeof *kept);

    (void)group;
    CHECK(kept != NULL);
    *kept = *record;
    if (node->pending_count == node->pending_room) {
        node->pending_room = node->pending_room == 0 ? 64 : node->pending_room * 2;
        node->pending = realloc(node->pending, node->pending_room * sizeof *node->pending);
        CHECK(node->pending != NULL);
    }
    node->pending[node->pending_count++] = kept;
    return ++node->appended;
}

static void io_send(void *ctx, struct group *group, uint64_t to, struct group_message *message,
                    bool urgent)
{
    const struct sim_replica *replica = ctx;

    (void)group;
    sim_net_send(replica->node->sim, replica, to, message, urgent);
}

static bool io_send_queued(void *ctx, struct group *group, uint64_t to)
{
    const struct sim_replica *replica = ctx;

    (void)group;
    return sim_net_queued(replica->node->sim, replica, to);
}

static enum err io_apply(void *ctx, struct group *group, uint64_t index, uint64_t term,
                         struct buf *payload)
{
    struct sim_replica *replica = ctx;
    struct sim *sim = replica->node->sim;
    enum err err;

    (void)group;
    if (replica->store.busy_until_ms > sim->now_ms)
        return ERR_BUSY;
    if (index != replica->store.index + 1) {
        sim_found(sim, replica, "apply leaves an index out, or comes twice");
        return ERR_CORRUPT;
    }
    err = sim_store_apply(replica, index, term, payload);
    if (err == ERR_OK)
        sim_check_applied(replica, term);
    return sim->finding[0] == '\0' ? err : ERR_CORRUPT;
}

static void io_leader(void *ctx, struct group *group, bool leading)
{
    struct sim_replica *replica = ctx;

    (void)group;
    if (leading)
        sim_check_leader(replica);
    else if (replica->node->sim->options.store)
        sim_client_lost(replica);
}

static void io_load(void *ctx, struct group *group, uint64_t index, uint64_t term,
                    uint64_t position)
{
    struct sim_replica *replica = ctx;
    struct sim_node *node = replica->node;
    struct sim_load *load = malloc(sizeof *load);

    (void)group;
    CHECK(load != NULL);
    *load = (struct sim_load){
        .group = replica->number,
        .index = index,
        .term = term,
        .position = position,
        .at_ms = node->sim->now_ms + 1 + sim_rand(node->sim, 10),
        .next = node->loads,
    };
    node->loads = load;
    node->sim->counters->loads++;
}

static void io_read_done(void *ctx, struct group *group, uint64_t token, bool ok)
{
    (void)group;
    sim_check_read(ctx, token, ok);
}

static void io_fatal(void *ctx, struct group *group, const char *what)
{
    struct sim_replica *replica = ctx;

    (void)group;
    sim_found(replica->node->sim, replica, what);
}

static void new_group(struct sim_replica *replica)
{
    struct sim *sim = replica->node->sim;
    struct group_options options = {
        .number = replica->number,
        .server = replica->node->server,
        .seed = rand_next(&sim->rand),
        .election_ms = SIM_ELECTION_MS,
        .heartbeat_ms = SIM_HEARTBEAT_MS,
        .voter_count = sim->node_count,
        .inflight_bytes_max = 16 * 1024,
        .lag_max = sim->lag_max,
        .guards_off = sim->options.guards_off,
    };
    struct group_io io = {
        .ctx = replica,
        .now_ms = io_now,
        .append = io_append,
        .send = io_send,
        .send_queued = io_send_queued,
        .apply = io_apply,
        .leader = io_leader,
        .load = io_load,
        .read_done = io_read_done,
        .fatal = io_fatal,
    };

    for (uint32_t i = 0; i < sim->node_count; i++)
        options.voters[i] = i + 1;
    CHECK(group_new(&options, &io, &replica->group) == ERR_OK);
}

/* ---- Start and crash ----------------------------------------------------------------------- */

static enum err replay(void *arg, const struct log_record *record)
{
    struct sim_node *node = arg;

    if (record->group >= node->sim->group_count)
        return err_set(ERR_CORRUPT, "group %u", record->group);
    return group_replay(node->replicas[record->group].group, record);
}

static bool open_log(struct sim_node *node)
{
    struct log_options options = {
        .disk = mem_disk_table(node->disk),
        .dir = "/log",
        .node = node->server,
        .cluster = 1,
        .groups = node->sim->group_count,
        .file_bytes = SIM_LOG_FILE_BYTES,
        .bytes_max = node->sim->log_bytes_max,
    };
    char what[SIM_FINDING_MAX];

    if (log_open(&options, replay, node, &node->log) == ERR_OK)
        return true;
    node->log = NULL;
    (void)snprintf(what, sizeof what, "log_open: %s", err_detail());
    sim_found(node->sim, &node->replicas[0], what);
    return false;
}

void sim_node_start(struct sim_node *node)
{
    struct sim *sim = node->sim;

    if (node->disk == NULL)
        node->disk = mem_disk_new();
    node->appended = node->written = node->durable = 0;
    node->sync_at_ms = 0;
    for (uint32_t i = 0; i < sim->group_count; i++) {
        struct sim_replica *replica = &node->replicas[i];

        replica->node = node;
        replica->number = i;
        replica->commit_seen = 0;
        sim_rejoin_begin(replica);
        new_group(replica);
    }
    node->up = true; /* Whatever happens: sim_node_end() has to free it. */
    for (uint32_t i = 0; i < sim->group_count; i++) {
        if (!node->replicas[i].rejoin.silent && !sim_store_open(&node->replicas[i]))
            return;
    }
    if (!open_log(node))
        return;
    for (uint32_t i = 0; i < sim->group_count; i++) {
        struct sim_replica *replica = &node->replicas[i];

        if (replica->rejoin.silent)
            continue;
        if (!sim_rejoin_install(replica))
            return;
        if (group_start(replica->group, replica->store.index) != ERR_OK)
            sim_found(sim, replica, err_detail());
    }
}

static void free_records(struct log_record **records, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        buf_unref(records[i]->payload);
        free(records[i]);
    }
    free(records);
}

static void drop_memory(struct sim_node *node)
{
    for (uint32_t i = 0; i < node->sim->group_count; i++) {
        struct sim_replica *replica = &node->replicas[i];

        group_free(replica->group);
        replica->group = NULL;
        sim_store_close(replica);
        while (replica->reads != NULL) {
            struct sim_read *read = replica->reads;

            replica->reads = read->next;
            free(read);
        }
    }
    free_records(node->pending, node->pending_count);
    free_records(node->writing, node->writing_count);
    node->pending = node->writing = NULL;
    node->pending_count = node->pending_room = node->writing_count = 0;
    while (node->loads != NULL) {
        struct sim_load *load = node->loads;

        node->loads = load->next;
        free(load);
    }
    if (node->log != NULL)
        log_close(node->log);
    node->log = NULL;
    node->up = false;
}

void sim_node_spread_news(struct sim_node *node)
{
    struct sim *sim = node->sim;

    for (uint32_t i = 0; i < sim->node_count; i++) {
        struct sim_node *other = &sim->nodes[i];
        bool cut = sim->cut[i][node->server - 1] || sim->cut[node->server - 1][i];

        if (other == node || !sim_node_runs(other) || cut)
            continue;
        for (uint32_t k = 0; k < sim->group_count; k++)
            group_peer_lost(other->replicas[k].group, node->server);
    }
}

void sim_node_crash(struct sim_node *node, enum mem_disk_crash how)
{
    struct sim *sim = node->sim;

    sim->counters->crashes++;
    for (uint32_t i = 0; i < sim->group_count; i++)
        sim_store_die(&node->replicas[i]);
    mem_disk_crash(node->disk, how, rand_next(&sim->rand));
    drop_memory(node);
    node->start_at_ms = sim->now_ms + 50 + sim_rand(sim, 1500);
    if (how ==
        MEM_DISK_PROCESS) /* What was sent before arrives before. After a power cut: never. */
        node->news_at_ms = sim->now_ms + 1 + sim->delay_ms;
}

void sim_node_end(struct sim_node *node)
{
    if (node->up)
        drop_memory(node);
    sim_rejoin_fini(node);
    if (node->disk != NULL)
        mem_disk_free(node->disk);
    node->disk = NULL;
}

/* ---- A turn -------------------------------------------------------------------------------- */

static void read_back(struct sim_node *node, const struct sim_load *load)
{
    struct group *group = node->replicas[load->group].group;
    struct buf *payload = NULL;
    enum err err = log_read(node->log, load->position, load->group, load->index, &payload);

    if (err != ERR_OK && err != ERR_NOT_FOUND) {
        sim_found(node->sim, &node->replicas[load->group], err_detail());
        return;
    }
    group_loaded(group, load->index, load->term, payload);
    buf_unref(payload);
}

static void turn_loads(struct sim_node *node)
{
    struct sim_load **link = &node->loads;

    while (*link != NULL) {
        struct sim_load *load = *link;

        if (load->at_ms > node->sim->now_ms) {
            link = &load->next;
            continue;
        }
        *link = load->next;
        read_back(node, load);
        free(load);
        link = &node->loads; /* It may have asked for more. */
    }
}

static void begin_sync(struct sim_node *node)
{
    struct sim *sim = node->sim;

    node->writing = node->pending;
    node->writing_count = node->pending_count;
    node->pending = NULL;
    node->pending_count = node->pending_room = 0;
    if (log_write(node->log, node->writing, node->writing_count) != ERR_OK) {
        sim_found(sim, &node->replicas[0], err_detail());
        return;
    }
    node->written = node->appended;
    node->sync_at_ms = sim->now_ms + 1 + sim_rand(sim, sim->calm ? 5 : 25);
    if (!sim->calm && sim_chance(sim, 1, 200))
        node->sync_at_ms += sim_rand(sim, 800);
}

static void end_sync(struct sim_node *node)
{
    uint64_t stream = node->durable;

    node->sync_at_ms = 0;
    node->sim->counters->syncs++;
    if (log_sync(node->log) != ERR_OK) {
        sim_found(node->sim, &node->replicas[0], err_detail());
        return;
    }
    for (size_t i = 0; i < node->writing_count; i++) {
        const struct log_record *record = node->writing[i];

        group_written(node->replicas[record->group].group, record->index, ++stream,
                      record->position);
    }
    CHECK(stream == node->written);
    node->durable = stream;
    free_records(node->writing, node->writing_count);
    node->writing = NULL;
    node->writing_count = 0;
    for (uint32_t i = 0; i < node->sim->group_count; i++)
        group_durable(node->replicas[i].group, stream);
}

static void trim_log(struct sim_node *node)
{
    for (uint32_t i = 0; i < node->sim->group_count; i++)
        log_keep_after(node->log, i, group_keep_after(node->replicas[i].group));
    if (log_prepare(node->log) != ERR_OK)
        sim_found(node->sim, &node->replicas[0], err_detail());
}

void sim_node_turn(struct sim_node *node)
{
    struct sim *sim = node->sim;

    turn_loads(node);
    if (node->sync_at_ms != 0 && node->sync_at_ms <= sim->now_ms)
        end_sync(node);
    for (uint32_t i = 0; i < sim->group_count && sim->finding[0] == '\0'; i++) {
        struct sim_replica *replica = &node->replicas[i];

        if (replica->rejoin.silent)
            continue;
        sim_store_turn(replica);
        if (sim->finding[0] != '\0')
            return;
        if (group_deadline(replica->group) <= sim->now_ms)
            group_tick(replica->group);
        if (sim->now_ms % 32 == 0)
            sim_check_state(replica);
    }
    if (sim->finding[0] == '\0' && node->pending_count > 0 && node->sync_at_ms == 0)
        begin_sync(node);
    if (sim->finding[0] == '\0' && sim->now_ms % 256 == node->server)
        trim_log(node);
    if (sim->finding[0] == '\0' && sim->options.rejoin)
        sim_rejoin_turn(node);
}
