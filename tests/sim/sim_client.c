#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/block/block_builder.h"
#include "tests/sim/sim.h"

/* Exactly once, from end to end: each client numbers its batches, and sends one until somebody says
 * that it is stored, over whatever leader there is. In the end every row is there once. */

enum { ROWS_MAX = 5, AGAIN_MS = 400 };

static uint32_t shards(const struct sim *sim)
{
    return sim->group_count;
}

/* ---- Batches ------------------------------------------------------------------------------- */

/* The key of a client's series: the first number whose key belongs to the shard, and is not an
 * earlier series'. */
static size_t series_key(const struct sim *sim, uint32_t number, const struct sim_client *client,
                         uint32_t series, uint8_t key[256], size_t *ret_table_size)
{
    const struct slice database = {SIM_DATABASE, strlen(SIM_DATABASE)};
    const struct slice table = {SIM_TABLE, strlen(SIM_TABLE)};

    *ret_table_size = key_write_table(database, table, key, 256);
    for (uint32_t at = 0, found = 0;; at++) {
        char value[48];
        int size = snprintf(value, sizeof value, "%" PRIu64 "-%u", client->producer, at);
        struct tag tag = {{"host", 4}, {value, (size_t)size}};
        size_t key_size = key_write(database, table, &tag, 1, key, 256);

        CHECK(key_size > 0);
        if (key_shard(key_hash(key, key_size), shards(sim)) == number && found++ == series)
            return key_size;
    }
}

static void add_row(struct sim *sim, uint32_t number, struct sim_client *client)
{
    uint32_t at = sim_rand(sim, SIM_SERIES);
    uint8_t key[256];
    size_t table_size;
    size_t size = series_key(sim, number, client, at, key, &table_size);
    uint32_t id = sim_rand(sim, 2) ? client->ids[at] : BLOCK_ID_NONE;
    uint32_t series;

    CHECK(block_builder_series(sim->builder, key, size, table_size, key_hash(key, size), id,
                               &series) == ERR_OK);
    CHECK(block_builder_row(sim->builder, series, (int64_t)sim->now_ms) == ERR_OK);
    CHECK(block_builder_value(sim->builder, "usage", 5, FIELD_INT, ++sim->serial) == ERR_OK);
}

static void make_batch(struct sim *sim, uint32_t number, struct sim_client *client)
{
    struct entry_header header = {.kind = ENTRY_BLOCK,
                                  .producer = client->producer,
                                  .epoch = 1,
                                  .shard = number,
                                  .sequence = client->sequence};

    client->made_at_ms = sim->now_ms;
    client->rows = 1 + sim_rand(sim, ROWS_MAX);
    for (uint32_t i = 0; i < client->rows; i++)
        add_row(sim, number, client);
    CHECK(block_builder_finish(sim->builder, sizeof header, &client->batch, NULL) == ERR_OK);
    block_builder_reset(sim->builder);
    header.size = client->batch->size;
    entry_stamp(&header);
    memcpy(client->batch->bytes, &header, sizeof header);
    sim->counters->batches++;
}

/* ---- Answers ------------------------------------------------------------------------------- */

static void learn_ids(struct sim *sim, uint32_t number, struct sim_client *client,
                      const struct sim_replica *replica)
{
    for (uint32_t i = 0; i < SIM_SERIES; i++) {
        uint8_t key[256];
        size_t table_size;
        size_t size = series_key(sim, number, client, i, key, &table_size);
        uint32_t id = store_find_series(replica->store.real, key, size, key_hash(key, size));

        if (id != BLOCK_ID_NONE)
            client->ids[i] = id;
    }
}

static void done(struct sim *sim, uint32_t number, struct sim_client *client,
                 const struct sim_replica *replica)
{
    struct sim_chain *chain = &sim->chains[number];

    learn_ids(sim, number, client, replica);
    if (chain->acknowledged < replica->store.index)
        chain->acknowledged = replica->store.index;
    buf_unref(client->batch);
    client->batch = NULL;
    client->asked = NULL;
    client->rows_done += client->rows;
    client->sequence++;
    client->again_at_ms = sim->now_ms + sim_rand(sim, 1 + 20000 / sim->p_load);
}

static void lost(struct sim *sim, struct sim_client *client)
{
    client->asked = NULL;
    client->again_at_ms = sim->now_ms + 1 + sim_rand(sim, AGAIN_MS);
}

void sim_client_applied(struct sim_replica *replica, uint64_t index, enum store_outcome outcome)
{
    struct sim *sim = replica->node->sim;

    for (uint32_t i = 0; i < SIM_CLIENTS; i++) {
        struct sim_client *client = &sim->clients[replica->number][i];

        if (client->asked != replica || client->index > index)
            continue;
        if (client->duplicate && store_has_applied(replica->store.real, client->batch)) {
            done(sim, replica->number, client, replica);
        } else if (!client->duplicate && client->index == index &&
                   (outcome == STORE_APPLIED || outcome == STORE_DUPLICATE)) {
            sim->counters->duplicates += outcome == STORE_DUPLICATE;
            done(sim, replica->number, client, replica);
        } else {
            sim->counters->gaps += outcome == STORE_GAP;
            lost(sim, client);
        }
    }
}

void sim_client_lost(struct sim_replica *replica)
{
    struct sim *sim = replica->node->sim;

    for (uint32_t i = 0; i < SIM_CLIENTS; i++) {
        if (sim->clients[replica->number][i].asked == replica)
            lost(sim, &sim->clients[replica->number][i]);
    }
    if (replica->store.real != NULL)
        store_forget_tentative(replica->store.real);
}

/* ---- Asking -------------------------------------------------------------------------------- */

static struct buf *copy(const struct buf *batch)
{
    struct buf *copied = buf_new(batch->size);

    CHECK(copied != NULL);
    memcpy(copied->bytes, batch->bytes, batch->size);
    copied->size = batch->size;
    return copied;
}

/* As the leader's node does. */
static void ask(struct sim *sim, struct sim_client *client, struct sim_replica *replica)
{
    struct buf *entry = copy(client->batch);
    struct group_state state;
    enum err err = store_admit(replica->store.real, entry, shards(sim), &client->duplicate);

    sim->counters->resent++;
    group_state(replica->group, &state);
    if (err == ERR_OK && client->duplicate) {
        client->index = state.last; /* Its first copy is at or below it. */
        client->asked = replica;
        sim->counters->duplicates++;
        if (client->index <= replica->store.index)
            sim_client_applied(replica, replica->store.index, STORE_NOTHING);
    } else if (err == ERR_OK) {
        err = group_propose(replica->group, &entry, 1, &client->index);
        if (err == ERR_OK)
            client->asked = replica;
        else
            store_retract(replica->store.real);
    } else if (err != ERR_BUSY && err != ERR_SEQUENCE) {
        sim_found(sim, replica, err_detail());
    }
    buf_unref(entry);
}

static void turn(struct sim *sim, uint32_t number, struct sim_client *client)
{
    struct sim_replica *leader;

    if (client->again_at_ms > sim->now_ms || (client->batch == NULL && sim->quiet))
        return;
    if (client->batch == NULL)
        make_batch(sim, number, client);
    client->again_at_ms = sim->now_ms + AGAIN_MS; /* If nobody answers until then. */
    leader = sim_leader(sim, number);
    if (leader == NULL || !sim_node_runs(leader->node) || !group_is_ready(leader->group))
        return;
    client->asked = NULL;
    ask(sim, client, leader);
}

void sim_client_turn(struct sim *sim)
{
    for (uint32_t k = 0; k < sim->group_count; k++) {
        for (uint32_t i = 0; i < SIM_CLIENTS && sim->finding[0] == '\0'; i++)
            turn(sim, k, &sim->clients[k][i]);
    }
}

/* ---- Begin and end ------------------------------------------------------------------------- */

void sim_client_begin(struct sim *sim)
{
    CHECK(block_builder_new(&sim->builder) == ERR_OK);
    for (uint32_t k = 0; k < sim->group_count; k++) {
        for (uint32_t i = 0; i < SIM_CLIENTS; i++) {
            struct sim_client *client = &sim->clients[k][i];

            client->producer = 1 + k * SIM_CLIENTS + i;
            client->sequence = 1;
            client->again_at_ms = sim->now_ms + 1;
            for (uint32_t s = 0; s < SIM_SERIES; s++)
                client->ids[s] = BLOCK_ID_NONE;
        }
    }
}

void sim_client_check_end(struct sim *sim)
{
    for (uint32_t k = 0; k < sim->group_count; k++) {
        const struct sim_replica *leader = sim_leader(sim, k);
        struct store_stats stats;
        uint64_t rows = 0;

        for (uint32_t i = 0; i < SIM_CLIENTS; i++) {
            if (sim->clients[k][i].batch != NULL)
                sim_found(sim, leader, "LIVENESS: a batch is not stored after the calm");
            rows += sim->clients[k][i].rows_done;
        }
        store_stats(leader->store.real, &stats);
        if (stats.rows < rows)
            sim_found(sim, leader, "LOSS: rows that were acknowledged are not there");
        else if (stats.rows > rows)
            sim_found(sim, leader, "TWICE: more rows are there than were sent");
    }
}

void sim_client_fini(struct sim *sim)
{
    for (uint32_t k = 0; k < SIM_GROUPS_MAX; k++) {
        for (uint32_t i = 0; i < SIM_CLIENTS; i++)
            buf_unref(sim->clients[k][i].batch);
    }
    block_builder_free(sim->builder);
}
