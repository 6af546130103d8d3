#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "tests/sim/sim.h"

static void show(const struct sim_replica *replica)
{
    static const char *const states[] = {"", " lost", " behind", " ready"};
    const char *mute;
    struct group_state state;

    if (replica->group == NULL) {
        (void)printf("    server %" PRIu64 " group %u: down\n", replica->node->server,
                     replica->number);
        return;
    }
    group_state(replica->group, &state);
    mute = state.mute ? " mute" : "";
    (void)printf("    server %" PRIu64 " group %u%s%s: leader %" PRIu64 " term %" PRIu64
                 ", first %" PRIu64 " last %" PRIu64 " durable %" PRIu64 " commit %" PRIu64
                 " applied %" PRIu64 " sealed %" PRIu64 "\n",
                 state.server, replica->number, states[replica->rejoin.state], mute, state.leader,
                 state.term, state.first, state.last, state.durable, state.commit, state.applied,
                 replica->store.sealed_index);
    for (uint32_t i = 0; state.leading && i < state.servers; i++)
        (void)printf("      server %" PRIu64 ": match %" PRIu64 "%s%s\n", state.peers[i].server,
                     state.peers[i].match, state.peers[i].online ? "" : ", not heard",
                     state.peers[i].behind ? ", behind" : "");
}

void sim_found(struct sim *sim, const struct sim_replica *replica, const char *what)
{
    if (sim->finding[0] != '\0')
        return;
    (void)snprintf(sim->finding, sizeof sim->finding, "%s", what);
    if (!sim->options.verbose)
        return;
    (void)printf("  at %" PRIu64 " ms, server %" PRIu64 ", group %u: %s\n", sim->now_ms,
                 replica != NULL ? replica->node->server : 0, replica != NULL ? replica->number : 0,
                 what);
    for (uint32_t k = 0; k < sim->group_count; k++) {
        for (uint32_t i = 0; i < sim->node_count; i++)
            show(&sim->nodes[i].replicas[k]);
    }
}

static uint64_t *place(uint64_t **array, uint64_t *capacity, uint64_t index)
{
    if (index >= *capacity) {
        uint64_t grown = (index + 1) * 2;

        *array = realloc(*array, grown * sizeof **array);
        CHECK(*array != NULL);
        memset(*array + *capacity, 0, (grown - *capacity) * sizeof **array);
        *capacity = grown;
    }
    return &(*array)[index];
}

struct sim_replica *sim_leader(struct sim *sim, uint32_t number)
{
    struct sim_replica *leader = NULL;
    uint64_t term = 0;

    for (uint32_t i = 0; i < sim->node_count; i++) {
        struct sim_replica *replica = &sim->nodes[i].replicas[number];
        struct group_state state;

        if (!sim->nodes[i].up)
            continue;
        group_state(replica->group, &state);
        if (state.leading && state.term > term) {
            term = state.term;
            leader = replica;
        }
    }
    return leader;
}

/* ---- While it runs ------------------------------------------------------------------------- */

/* All replicas go through the same states, also again after a start. */
void sim_check_applied(struct sim_replica *replica, uint64_t term)
{
    struct sim *sim = replica->node->sim;
    struct sim_chain *chain = &sim->chains[replica->number];
    uint64_t *hash = place(&chain->hash, &chain->capacity, replica->store.index);
    struct group_state state;

    sim->counters->applied++;
    if (*hash != 0 && *hash != replica->store.hash) {
        sim_found(sim, replica, "DIVERGENCE: replicas differ at an applied index");
        return;
    }
    *hash = replica->store.hash;
    if (replica->store.index > chain->last)
        chain->last = replica->store.index;
    group_state(replica->group, &state);
    if (state.leading && state.term == term && replica->store.index > chain->acknowledged) {
        chain->acknowledged = replica->store.index;
        sim->counters->acknowledged++;
    }
}

void sim_check_leader(struct sim_replica *replica)
{
    struct sim *sim = replica->node->sim;
    struct sim_chain *chain = &sim->chains[replica->number];
    struct group_state state;
    uint64_t *leader;

    group_state(replica->group, &state);
    leader = place(&chain->leader, &chain->leader_capacity, state.term);
    if (*leader != 0 && *leader != replica->node->server)
        sim_found(sim, replica, "two leaders in one term");
    *leader = replica->node->server;
    sim->counters->elections++;
    if (sim->options.rejoin)
        sim_rejoin_elected(replica);
    if (sim->leaderless_ms[replica->number] != 0) {
        uint64_t took_ms = sim->now_ms - sim->leaderless_ms[replica->number];

        sim->counters->failovers++;
        sim->counters->failover_ms += took_ms;
        sim->counters->failovers_slow += took_ms > SIM_ELECTION_MS;
        sim->leaderless_ms[replica->number] = 0;
    }
}

void sim_check_read(struct sim_replica *replica, uint64_t token, bool ok)
{
    struct sim *sim = replica->node->sim;

    for (struct sim_read **link = &replica->reads; *link != NULL; link = &(*link)->next) {
        struct sim_read *read = *link;

        if (read->token != token)
            continue;
        sim->counters->reads += ok;
        if (ok && replica->store.index < read->seen)
            sim_found(sim, replica, "STALE READ: what was acknowledged before it is missing");
        *link = read->next;
        free(read);
        return;
    }
    sim_found(sim, replica, "a read was answered twice");
}

void sim_check_state(struct sim_replica *replica)
{
    struct group_state state;

    group_state(replica->group, &state);
    if (state.commit < replica->commit_seen)
        sim_found(replica->node->sim, replica, "the commit index went back");
    replica->commit_seen = state.commit;
    if (state.durable > state.last || state.applied > state.durable ||
        (state.applied > state.commit && state.applied > replica->store.sealed_index))
        sim_found(replica->node->sim, replica, "durable, applied and commit do not fit together");
}

/* ---- After the calm ------------------------------------------------------------------------ */

/* The leader's log begins behind what that server needs: without --rejoin it has no cure.
 * What the server has behind its commit index may be of a branch that was given up. */
static bool is_known_behind(const struct group_state *leader, uint64_t server, uint64_t commit)
{
    for (uint32_t i = 0; i < leader->servers; i++) {
        if (leader->peers[i].server == server)
            return leader->peers[i].behind && commit < leader->first;
    }
    return false;
}

static void check_replica(struct sim *sim, struct sim_replica *replica,
                          const struct group_state *leader, struct sim_replica *leading)
{
    struct group_state state;

    group_state(replica->group, &state);
    if (sim->options.rejoin && replica->rejoin.state != SIM_WHOLE) {
        sim_found(sim, replica, "LIVENESS: a replica did not rejoin");
        return;
    }
    if (!sim->options.rejoin && is_known_behind(leader, replica->node->server, state.commit)) {
        sim->counters->behind++;
        return;
    }
    if (state.applied != leader->applied)
        sim_found(sim, replica, "LIVENESS: a replica did not catch up");
    else if (replica->store.hash != leading->store.hash)
        sim_found(sim, replica, "DIVERGENCE: replicas differ at the end");
    else if (sim->options.store && replica != leading)
        sim_order_compare(replica, leading);
}

void sim_check_end(struct sim *sim)
{
    for (uint32_t k = 0; k < sim->group_count && sim->finding[0] == '\0'; k++) {
        struct sim_replica *leading = sim_leader(sim, k);
        struct group_state leader;

        if (leading == NULL) {
            sim_found(sim, NULL, "LIVENESS: no leader after the calm");
            return;
        }
        group_state(leading->group, &leader);
        if (leader.applied < sim->chains[k].last)
            sim_found(sim, leading, "LOSS: the leader misses applied entries");
        else if (leader.applied != leader.last)
            sim_found(sim, leading, "LIVENESS: the leader does not commit");
        for (uint32_t i = 0; i < sim->node_count && sim->finding[0] == '\0'; i++)
            check_replica(sim, &sim->nodes[i].replicas[k], &leader, leading);
    }
    if (sim->options.store && sim->finding[0] == '\0')
        sim_client_check_end(sim);
}

void sim_check_fini(struct sim *sim)
{
    for (uint32_t k = 0; k < SIM_GROUPS_MAX; k++) {
        free(sim->chains[k].hash);
        free(sim->chains[k].leader);
        sim->chains[k] = (struct sim_chain){0};
    }
}
