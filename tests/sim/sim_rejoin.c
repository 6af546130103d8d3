/*
 * Nodes that lose their log, or fall behind everybody's: their groups are silent, ask the others,
 * take the leader's sealed state, and begin again with it.
 *
 *     whole --log wiped--------> lost ---all others answered--.
 *       ^                                                     +--> fetch --> ready --start--.
 *       |--its leader tells it-> behind ---its leader does ---'                             |
 *       '--------------------------- mute no longer <---------------------------------------'
 *
 * What is durable is what the product keeps in its file `rejoin`: the state, and of `ready` the
 * install. Questions ignore cuts, and each is answered at a time of its own: all that is said about
 * it is that it was after the start. One node at a time has lost its log.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "tests/sim/sim.h"

/* Between two steps at most; in a hurry so that what the node promised is still under way. */
enum {
    ASK_MS = 400,
    FETCH_MS = 600,
    LACKS_MS = 500,
    HURRY_MS = 4,
    CALM_MS = 50,
    GIVE_UP_MS = 1000
};
enum { LOOK_EVERY_MS = 16, FILES_MAX = 1024, NAME_SIZE = 48, STRIKE_MS = 60 };

static uint32_t soon(const struct sim_node *node, uint32_t most_ms)
{
    if (node->hurry)
        most_ms = HURRY_MS;
    if (node->sim->calm)
        most_ms = CALM_MS;
    return 1 + sim_rand(node->sim, most_ms);
}

static bool is_waiting(const struct sim_replica *replica)
{
    return replica->rejoin.state == SIM_LOST || replica->rejoin.state == SIM_BEHIND;
}

static void restart(struct sim_node *node, enum mem_disk_crash how)
{
    sim_node_crash(node, how);
    node->start_at_ms = node->sim->now_ms + soon(node, 1500);
}

/* ---- Files --------------------------------------------------------------------------------- */

struct names {
    uint32_t count;
    char names[FILES_MAX][NAME_SIZE];
};

static void add_name(void *arg, const char *name)
{
    struct names *names = arg;

    CHECK(names->count < FILES_MAX && strlen(name) < NAME_SIZE);
    memcpy(names->names[names->count++], name, strlen(name) + 1);
}

static void list(struct mem_disk *mem, const char *dir, struct names *ret_names)
{
    const struct disk *disk = mem_disk_table(mem);

    ret_names->count = 0;
    CHECK(disk->make_dir(disk->ctx, dir) == ERR_OK);
    CHECK(disk->sync_dir(disk->ctx, "/") == ERR_OK);
    CHECK(disk->list(disk->ctx, dir, add_name, ret_names) == ERR_OK);
}

static void empty_dir(struct mem_disk *mem, const char *dir)
{
    static struct names names;
    const struct disk *disk = mem_disk_table(mem);

    list(mem, dir, &names);
    for (uint32_t i = 0; i < names.count; i++) {
        char path[2 * NAME_SIZE];

        (void)snprintf(path, sizeof path, "%s/%s", dir, names.names[i]);
        CHECK(disk->remove(disk->ctx, path) == ERR_OK);
    }
    CHECK(disk->sync_dir(disk->ctx, dir) == ERR_OK);
}

static void copy_dir(struct mem_disk *from, struct mem_disk *to, const char *dir)
{
    static struct names names;

    empty_dir(to, dir);
    list(from, dir, &names);
    for (uint32_t i = 0; i < names.count; i++) {
        char path[2 * NAME_SIZE];
        size_t size = 0;
        uint8_t *bytes;

        (void)snprintf(path, sizeof path, "%s/%s", dir, names.names[i]);
        bytes = mem_disk_get(from, path, &size);
        CHECK(bytes != NULL);
        mem_disk_put(to, path, bytes, size);
        free(bytes);
    }
}

/* ---- Faults -------------------------------------------------------------------------------- */

static bool somebody_is_lost(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->node_count; i++) {
        for (uint32_t k = 0; k < sim->group_count; k++) {
            if (sim->nodes[i].replicas[k].rejoin.was_lost)
                return true;
        }
    }
    return false;
}

static void forget_install(struct sim_rejoin *rejoin)
{
    buf_unref(rejoin->configuration);
    rejoin->configuration = NULL;
}

void sim_rejoin_fini(struct sim_node *node)
{
    for (uint32_t k = 0; k < SIM_GROUPS_MAX; k++)
        forget_install(&node->replicas[k].rejoin);
}

static void lose(struct sim_node *node)
{
    struct sim *sim = node->sim;
    bool disk_too = sim_chance(sim, 1, 3);

    node->hurry = sim_chance(sim, 2, 3);
    restart(node, sim_chance(sim, 1, 2) ? MEM_DISK_PROCESS : MEM_DISK_TORN);
    if (disk_too) {
        mem_disk_free(node->disk);
        node->disk = mem_disk_new();
    } else {
        empty_dir(node->disk, "/log");
    }
    for (uint32_t k = 0; k < sim->group_count; k++) {
        struct sim_replica *replica = &node->replicas[k];

        forget_install(&replica->rejoin);
        replica->rejoin = (struct sim_rejoin){.state = SIM_LOST, .was_lost = true};
        if (disk_too)
            replica->store = (struct sim_store){0};
    }
    sim->counters->wiped++;
}

static void cut_off(struct sim_node *node, uint32_t ms)
{
    struct sim *sim = node->sim;
    uint32_t at = (uint32_t)node->server - 1;

    for (uint32_t i = 0; i < sim->node_count; i++)
        sim->cut[at][i] = sim->cut[i][at] = i != at;
    sim->heal_at_ms = sim->now_ms + ms;
}

/* The others hear at once that the leader is gone. It goes on leading for a while. */
static void drop_leader(struct sim *sim)
{
    struct sim_replica *leader = sim_leader(sim, sim_rand(sim, sim->group_count));

    if (leader == NULL)
        return;
    sim_node_spread_news(leader->node);
    cut_off(leader->node, 200 + sim_rand(sim, 600));
}

/* The others go on without the leader, perhaps with the vote of who has just come back. */
static void strike_leader(struct sim *sim)
{
    struct sim_replica *leader = sim_leader(sim, sim->strike_group);

    sim->strike_at_ms = 0;
    memset(sim->cut, 0, sizeof sim->cut);
    if (leader != NULL && sim_chance(sim, 1, 2))
        sim_node_crash(leader->node, MEM_DISK_PROCESS);
    else if (leader != NULL)
        cut_off(leader->node, 500 + sim_rand(sim, 2500));
}

void sim_rejoin_faults(struct sim *sim)
{
    bool now = sim->lose_at_ms != 0 && sim->lose_at_ms <= sim->now_ms;
    struct sim_node *node = &sim->nodes[now ? sim->lose_node : sim_rand(sim, sim->node_count)];

    if (now)
        sim->lose_at_ms = 0;
    if (sim->node_count >= 3 && node->up && (now || sim_chance(sim, sim->p_lose_log, 10000)) &&
        !somebody_is_lost(sim))
        lose(node);
    if (sim_chance(sim, sim->p_lose_log, 10000))
        drop_leader(sim);
    if (sim->strike_at_ms != 0 && sim->strike_at_ms <= sim->now_ms)
        strike_leader(sim);
}

static bool leads_still(const struct sim_replica *replica)
{
    struct group_state state;

    if (!replica->node->up)
        return false;
    group_state(replica->group, &state);
    return state.leading;
}

/* Votes were just given: somebody may forget his, while the leader before does not know of it. */
void sim_rejoin_elected(const struct sim_replica *replica)
{
    struct sim *sim = replica->node->sim;
    uint32_t at = sim_rand(sim, sim->node_count);
    bool two = false;

    for (uint32_t i = 0; i < sim->node_count; i++)
        two |= &sim->nodes[i] != replica->node &&
               leads_still(&sim->nodes[i].replicas[replica->number]);
    if (sim->calm || &sim->nodes[at] == replica->node || !sim_chance(sim, two ? 4 : 1, 6))
        return;
    sim->lose_at_ms = sim->now_ms + 1 + sim_rand(sim, two ? 20 : 60);
    sim->lose_node = at;
}

/* ---- Asking -------------------------------------------------------------------------------- */

static void begin_asking(struct sim_replica *replica)
{
    struct sim_rejoin *rejoin = &replica->rejoin;

    rejoin->asking = true;
    rejoin->fetch_at_ms = 0;
    rejoin->answers = 0;
    rejoin->term = rejoin->leader = rejoin->leader_term = 0;
    for (uint32_t i = 0; i < replica->node->sim->node_count; i++) {
        rejoin->ask_at_ms[i] = replica->node->sim->now_ms + soon(replica->node, ASK_MS);
        if (&replica->node->sim->nodes[i] == replica->node)
            rejoin->ask_at_ms[i] = UINT64_MAX;
    }
}

/* One that has lost its log knows of no term. */
static void ask(struct sim_replica *replica, const struct sim_replica *other)
{
    struct sim_rejoin *rejoin = &replica->rejoin;
    uint64_t *ask_at_ms = &rejoin->ask_at_ms[other->node->server - 1];
    struct group_state state;

    if (!sim_node_runs(other->node) || other->rejoin.state == SIM_LOST) {
        *ask_at_ms += soon(replica->node, ASK_MS);
        return;
    }
    group_state(other->group, &state);
    *ask_at_ms = UINT64_MAX;
    rejoin->answers++;
    if (state.term > rejoin->term)
        rejoin->term = state.term;
    if (state.leading && state.term > rejoin->leader_term) {
        rejoin->leader = state.server;
        rejoin->leader_term = state.term;
        rejoin->last = state.last;
    }
}

/* Whether the answers so far say who leads, in the highest term of all. */
static bool know_leader(const struct sim_replica *replica)
{
    const struct sim_rejoin *rejoin = &replica->rejoin;
    const struct sim *sim = replica->node->sim;
    struct group_state state;

    if (rejoin->leader == 0)
        return false;
    if (rejoin->state == SIM_LOST && !sim->options.leader_alone)
        return rejoin->answers == sim->node_count - 1 && rejoin->leader_term == rejoin->term;
    group_state(replica->group, &state);
    return rejoin->leader_term >= state.term;
}

/* ---- The leader's state -------------------------------------------------------------------- */

static void take_state(struct sim_replica *replica, struct sim_replica *leading)
{
    struct sim *sim = replica->node->sim;
    char dir[32];

    if (sim->options.store) {
        (void)snprintf(dir, sizeof dir, "/shard-%u", replica->number);
        copy_dir(leading->node->disk, replica->node->disk, dir);
    }
    replica->store = (struct sim_store){.sealed_index = leading->store.sealed_index,
                                        .sealed_hash = leading->store.sealed_hash};
}

static void fetch(struct sim_replica *replica)
{
    struct sim *sim = replica->node->sim;
    struct sim_rejoin *rejoin = &replica->rejoin;
    struct sim_replica *leading = &sim->nodes[rejoin->leader - 1].replicas[replica->number];
    struct group_install install = {.until = rejoin->last, .until_term = rejoin->leader_term};

    rejoin->asking = false;
    if (!sim_node_runs(leading->node) || leading->rejoin.silent)
        return;
    install.index = leading->store.sealed_index > 0 ? leading->store.sealed_index : 1;
    if (rejoin->state == SIM_BEHIND && install.index <= replica->store.sealed_index) {
        rejoin->state = SIM_WHOLE; /* That leader is not ahead of us: perhaps its log reaches us. */
        return;
    }
    if (rejoin->state == SIM_BEHIND && !rejoin->was_lost) {
        struct group_state own;

        group_state(replica->group, &own);
        install.until = own.last > 0 ? own.last : 1; /* It has forgotten nothing. */
    }
    forget_install(rejoin);
    if (group_snapshot_at(leading->group, install.index, &install.term,
                          &install.configuration_index, &rejoin->configuration) != ERR_OK)
        return;
    install.configuration = rejoin->configuration->bytes;
    install.configuration_size = rejoin->configuration->size;
    rejoin->install = install;
    rejoin->state = SIM_READY;
    take_state(replica, leading);
    if (!sim->calm && sim_chance(sim, 1, 2)) {
        sim->strike_at_ms = sim->now_ms + 1 + sim_rand(sim, sim_chance(sim, 1, 2) ? 1 : STRIKE_MS);
        sim->strike_group = replica->number;
    }
}

static void turn_silent(struct sim_replica *replica)
{
    struct sim *sim = replica->node->sim;
    struct sim_rejoin *rejoin = &replica->rejoin;

    if (!rejoin->asking)
        begin_asking(replica);
    if (rejoin->fetch_at_ms != 0) {
        if (rejoin->fetch_at_ms <= sim->now_ms)
            fetch(replica);
        return;
    }
    for (uint32_t i = 0; i < sim->node_count; i++) {
        if (rejoin->ask_at_ms[i] <= sim->now_ms)
            ask(replica, &sim->nodes[i].replicas[replica->number]);
    }
    if (rejoin->state == SIM_BEHIND && rejoin->leader == 0 &&
        sim->now_ms - rejoin->begun_ms > GIVE_UP_MS)
        rejoin->state = SIM_WHOLE; /* Its log is sound, and its vote may be what is missing. */
    else if (know_leader(replica))
        rejoin->fetch_at_ms = sim->now_ms + soon(replica->node, FETCH_MS);
    else if (rejoin->answers == sim->node_count - 1)
        rejoin->asking = false;
}

/* ---- A node's turn ------------------------------------------------------------------------- */

void sim_rejoin_begin(struct sim_replica *replica)
{
    replica->rejoin.silent = is_waiting(replica);
    replica->rejoin.begun_ms = replica->node->sim->now_ms;
    replica->rejoin.asking = false;
    replica->rejoin.lacks_since_ms = 0;
}

bool sim_rejoin_install(struct sim_replica *replica)
{
    struct sim_rejoin *rejoin = &replica->rejoin;

    struct group_state state;

    if (rejoin->state == SIM_READY && group_install(replica->group, &rejoin->install) != ERR_OK) {
        sim_found(replica->node->sim, replica, err_detail());
        return false;
    }
    /* Where nothing was sealed, the first configuration is installed: a store has nothing of it. */
    group_state(replica->group, &state);
    if (state.snapshot == 1 && replica->store.index == 0)
        CHECK(sim_store_apply(replica, 1, 1, NULL) == ERR_OK);
    return true;
}

/* Returns true when the replica has fallen behind for good. */
static bool look(struct sim_replica *replica)
{
    struct sim *sim = replica->node->sim;
    struct sim_rejoin *rejoin = &replica->rejoin;
    struct group_state state;

    if (rejoin->state == SIM_READY && !group_is_mute(replica->group)) {
        rejoin->state = SIM_WHOLE;
        rejoin->was_lost = false;
        forget_install(rejoin);
        sim->counters->rejoined++;
    }
    if (sim->now_ms % LOOK_EVERY_MS != 0)
        return false;
    group_state(replica->group, &state);
    if (!state.lacks)
        rejoin->lacks_since_ms = 0;
    else if (rejoin->lacks_since_ms == 0)
        rejoin->lacks_since_ms = sim->now_ms;
    else if (sim->now_ms - rejoin->lacks_since_ms > LACKS_MS) {
        rejoin->state = SIM_BEHIND;
        sim->counters->fell_behind++;
        return true;
    }
    return false;
}

void sim_rejoin_turn(struct sim_node *node)
{
    struct sim *sim = node->sim;
    bool fell = false, ready = false, waiting = false;

    for (uint32_t k = 0; k < sim->group_count; k++) {
        struct sim_replica *replica = &node->replicas[k];

        if (is_waiting(replica))
            turn_silent(replica);
        else if (!replica->rejoin.silent)
            fell |= look(replica);
        waiting |= is_waiting(replica);
        ready |= replica->rejoin.silent && !is_waiting(replica);
    }
    if (fell || (ready && !waiting))
        restart(node, sim_chance(sim, 1, 2) ? MEM_DISK_PROCESS : MEM_DISK_TORN);
}
