#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "tests/sim/sim.h"

/* A server may find out late that it fell behind, and then has to begin again: REJOIN_MS. */
enum { FAULTS_MS = 8000, CALM_MS = 12000, QUIET_MS = 2000, START_MS = 1000, REJOIN_MS = 6000 };

/* ---- The seed's weather -------------------------------------------------------------------- */

static void make_weather(struct sim *sim)
{
    static const uint32_t sizes[] = {3, 3, 3, 3, 5, 1, 2};
    bool hot = sim->options.hot;

    sim->node_count = sizes[sim_rand(sim, hot ? 5 : 7)];
    sim->group_count = 1 + sim_rand(sim, SIM_GROUPS_MAX);
    sim->ordered = sim_chance(sim, 1, 3);
    sim->p_lose = sim_rand(sim, 3) ? sim_rand(sim, 30) : sim_rand(sim, 250);
    sim->p_double = sim_rand(sim, hot ? 150 : 60);
    sim->p_slow = sim_rand(sim, hot ? 2 : 3) ? 0 : sim_rand(sim, hot ? 100 : 60);
    sim->delay_ms = 1 + sim_rand(sim, 3) * 12 + sim_rand(sim, 10);
    sim->p_load = hot ? 100 + sim_rand(sim, 400) : 20 + sim_rand(sim, 300);
    sim->p_crash = hot ? 10 + sim_rand(sim, 50) : sim_rand(sim, 4) ? sim_rand(sim, 12) : 0;
    sim->p_part = hot ? sim_rand(sim, 30) : sim_rand(sim, 3) ? sim_rand(sim, 12) : 0;
    sim->p_transfer = sim_rand(sim, 3) ? sim_rand(sim, hot ? 100 : 30) : 0;
    sim->p_pause = sim_rand(sim, 10);
    sim->p_read = sim_rand(sim, 400);
    sim->p_busy = sim_rand(sim, 3) ? 0 : sim_rand(sim, 10);
    sim->p_rumour = sim_rand(sim, 2) ? 0 : sim_rand(sim, 20);
    sim->lag_max = sim_rand(sim, 3) ? 4096 : 16 + sim_rand(sim, 100);
    sim->seal_every = 20 + sim_rand(sim, 100);
    sim->log_bytes_max = UINT64_C(1) << 40;
    if (!sim->options.rejoin)
        return;
    sim->lag_max = sim_rand(sim, 2) ? 4096 : 4 + sim_rand(sim, 60);
    sim->p_lose_log = sim_rand(sim, 4) ? 3 + sim_rand(sim, hot ? 25 : 12) : 0;
    if (sim_chance(sim, 1, 3))
        sim->log_bytes_max = (4 + sim_rand(sim, 4)) * SIM_LOG_FILE_BYTES;
}

/* ---- What users do ------------------------------------------------------------------------- */

static struct sim_replica *any_replica(struct sim *sim)
{
    struct sim_node *node = &sim->nodes[sim_rand(sim, sim->node_count)];

    return sim_node_runs(node) ? &node->replicas[sim_rand(sim, sim->group_count)] : NULL;
}

static void propose(struct sim *sim)
{
    struct sim_replica *replica = any_replica(sim);
    struct buf *entries[3];
    uint32_t count = 1 + sim_rand(sim, 3);
    uint64_t first;

    if (replica == NULL || !group_is_ready(replica->group))
        return;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t size = 8 + (sim_chance(sim, 1, 20) ? sim_rand(sim, 12000) : sim_rand(sim, 200));

        entries[i] = buf_new(size);
        CHECK(entries[i] != NULL);
        memset(entries[i]->bytes, 0, size);
        sim->serial++;
        memcpy(entries[i]->bytes, &sim->serial, sizeof sim->serial);
        entries[i]->size = size;
    }
    if (group_propose(replica->group, entries, count, &first) == ERR_OK)
        sim->counters->proposed += count;
    for (uint32_t i = 0; i < count; i++)
        buf_unref(entries[i]);
}

static void ask(struct sim *sim)
{
    struct sim_replica *replica = any_replica(sim);
    struct sim_read *read;
    enum err err;

    if (replica == NULL)
        return;
    read = malloc(sizeof *read);
    CHECK(read != NULL);
    *read = (struct sim_read){.token = ++sim->serial,
                              .seen = sim->chains[replica->number].acknowledged,
                              .next = replica->reads};
    replica->reads = read; /* First: the answer may come from within. */
    err = group_read(replica->group, read->token);
    if (err == ERR_OK)
        return;
    CHECK(replica->reads == read);
    replica->reads = read->next;
    free(read);
}

static void transfer(struct sim *sim)
{
    struct sim_replica *replica = any_replica(sim);
    uint64_t to = sim_rand(sim, 2) ? 0 : 1 + sim_rand(sim, sim->node_count);

    if (replica != NULL && group_transfer(replica->group, to) == ERR_OK)
        sim->counters->transfers++;
}

/* ---- What happens to them ------------------------------------------------------------------ */

static void cut_network(struct sim *sim)
{
    uint32_t side = sim_rand(sim, 1u << sim->node_count);
    bool one_way = sim_chance(sim, 1, 4);

    for (uint32_t a = 0; a < sim->node_count; a++) {
        for (uint32_t b = 0; b < sim->node_count; b++) {
            bool a_in = side >> a & 1, b_in = side >> b & 1;

            if (a_in != b_in && !(one_way && a_in))
                sim->cut[a][b] = true;
        }
    }
    sim->heal_at_ms = sim->now_ms + 100 + sim_rand(sim, 2500);
}

static void heal_network(struct sim *sim)
{
    memset(sim->cut, 0, sizeof sim->cut);
    sim->heal_at_ms = 0;
}

static void rumour(struct sim *sim)
{
    struct sim_replica *replica = any_replica(sim);

    if (replica != NULL)
        group_peer_lost(replica->group, 1 + sim_rand(sim, sim->node_count));
}

static void crash(struct sim_node *node)
{
    static const enum mem_disk_crash ways[] = {MEM_DISK_PROCESS, MEM_DISK_POWER, MEM_DISK_TORN,
                                               MEM_DISK_TORN};

    sim_node_crash(node, ways[sim_rand(node->sim, 4)]);
}

/* In the calm, to see how long the others take to find that out. */
static void kill_a_leader(struct sim *sim)
{
    struct sim_replica *leader = sim_leader(sim, 0);

    if (sim->node_count < 3 || leader == NULL || !group_is_ready(leader->group))
        return;
    for (uint32_t k = 0; k < sim->group_count; k++) {
        if (sim_leader(sim, k) == &leader->node->replicas[k])
            sim->leaderless_ms[k] = sim->now_ms;
    }
    sim_node_crash(leader->node, MEM_DISK_PROCESS);
}

static void break_something(struct sim *sim)
{
    struct sim_node *node = &sim->nodes[sim_rand(sim, sim->node_count)];

    if (node->up && sim_chance(sim, sim->p_crash, 10000))
        crash(node);
    if (sim_chance(sim, sim->p_pause, 10000))
        node->paused_until_ms = sim->now_ms + sim_rand(sim, 900);
    if (sim->heal_at_ms == 0 && sim_chance(sim, sim->p_part, 10000))
        cut_network(sim);
    if (sim->heal_at_ms != 0 && sim->heal_at_ms <= sim->now_ms)
        heal_network(sim);
    if (sim_chance(sim, sim->p_transfer, 10000))
        transfer(sim);
    if (sim_chance(sim, sim->p_rumour, 10000))
        rumour(sim);
    if (sim->options.rejoin)
        sim_rejoin_faults(sim);
}

/* ---- A run --------------------------------------------------------------------------------- */

/* More work comes in. The product's clients go on with what they have by themselves. */
static void load(struct sim *sim, uint32_t chance)
{
    if (!sim->options.store && sim_chance(sim, chance, 1000))
        propose(sim);
}

static void turn(struct sim *sim)
{
    sim_net_turn(sim);
    for (uint32_t i = 0; i < sim->node_count && sim->finding[0] == '\0'; i++) {
        struct sim_node *node = &sim->nodes[i];

        if (node->news_at_ms != 0 && node->news_at_ms <= sim->now_ms) {
            node->news_at_ms = 0;
            sim_node_spread_news(node);
        }
        if (!node->up && node->start_at_ms <= sim->now_ms)
            sim_node_start(node);
        else if (sim_node_runs(node))
            sim_node_turn(node);
    }
    if (sim->options.store && sim->finding[0] == '\0')
        sim_client_turn(sim);
}

static void live(struct sim *sim)
{
    uint64_t end_ms = sim->now_ms + FAULTS_MS;
    uint64_t late_ms = sim->options.rejoin ? REJOIN_MS : 0;

    for (; sim->now_ms < end_ms && sim->finding[0] == '\0'; sim->now_ms++) {
        turn(sim);
        if (sim->finding[0] != '\0')
            return;
        load(sim, sim->p_load);
        if (sim_chance(sim, sim->p_read, 10000))
            ask(sim);
        break_something(sim);
    }
    heal_network(sim);
    sim->calm = true;
    end_ms = sim->now_ms + CALM_MS + late_ms;
    for (; sim->now_ms < end_ms && sim->finding[0] == '\0'; sim->now_ms++) {
        turn(sim);
        sim->quiet = sim->now_ms + QUIET_MS + late_ms >= end_ms;
        if (sim->finding[0] == '\0' && !sim->quiet)
            load(sim, 10);
        if (sim->finding[0] == '\0' && sim->now_ms + CALM_MS / 2 + late_ms == end_ms)
            kill_a_leader(sim);
    }
    if (sim->finding[0] == '\0')
        sim_check_end(sim);
}

void sim_run(uint64_t seed, const struct sim_options *options, struct sim_counters *counters,
             char finding[SIM_FINDING_MAX])
{
    struct sim *sim = calloc(1, sizeof *sim);

    CHECK(sim != NULL);
    sim->options = *options;
    sim->counters = counters;
    sim->seed = seed;
    sim->now_ms = START_MS;
    rand_init(&sim->rand, seed);
    make_weather(sim);
    if (options->store)
        sim_client_begin(sim);
    for (uint32_t i = 0; i < sim->node_count; i++) {
        sim->nodes[i].sim = sim;
        sim->nodes[i].server = i + 1;
        sim_node_start(&sim->nodes[i]);
    }
    live(sim);
    for (uint32_t i = 0; i < sim->node_count; i++)
        sim_node_end(&sim->nodes[i]);
    sim_net_end(sim);
    sim_client_fini(sim);
    sim_check_fini(sim);
    (void)snprintf(finding, SIM_FINDING_MAX, "%s", sim->finding);
    free(sim);
}
