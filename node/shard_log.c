/*
 * What a group does about damage in this node's log, and in that of others.
 *
 * ASKING   A file of the log goes when no group needs an entry in it: when those up to some index
 *          are sealed, and every server has them. So each group asks for a seal up to that index as
 *          long as it holds a damaged file back; nodes tell each other with DAMAGED. The log wants
 *          one thing more: a record that says that the start of the next file is on disk.
 * SEALING  is ordered by the leader, for all. What was asked for is done when its own sealed index
 *          is there. The meta group is saved by each node for itself.
 * DOUBT    What a node asks for stands in its log, so it is hardly behind the end of the leader's:
 *          of an index far behind that, no seal makes an end, and it is not believed.
 * LEAVING  A server that lacks such entries gets them from a leader whose log is whole.
 */
#include <inttypes.h>

#include "node/meta.h"
#include "node/scrub.h"
#include "node/shard_io.h"
#include "storage/base/log_line.h"

enum {
    AGAIN_MS = 1000,       /* Between two seals that were asked for. */
    AHEAD_MAX = 4096,      /* Entries: more than an old leader has proposed and nobody else has. */
    DOUBT_MS = 60 * 1000,  /* Between two lines about what is not believed. */
    HEARD_MS = 2000,       /* What others say is believed so long. */
    LEAVE_AFTER_MS = 3000, /* Who is only late has what he lacks by then. */
    FIRST_SHARD = 1,
};

static struct seal_ask *ask_of(const struct node *node, uint64_t server, uint32_t group)
{
    int at = node_find_server(node, server);

    return at < 0 ? NULL : &node->seal_asks[(size_t)at * node->groups + group];
}

/* No group needs the file, and it may stay for ever all the same: the next one starts with states
 * that stand in it, too, and it goes when a later record says that they are on disk. What came last
 * may be what stands right behind them, if the file was left late and nobody writes any more. */
static bool lacks_a_record(const struct shard *shard, uint32_t number)
{
    const struct node *node = shard->worker->node;
    uint32_t first, current;

    if (shard->number != FIRST_SHARD) /* One is enough to write it. */
        return false;
    log_range(node->log, &first, &current);
    if (current != number + 1)
        return false;
    for (uint32_t g = 0; g < node->groups; g++)
        if (g != shard->number && shard_own_ask(node, g) != 0)
            return false;
    return true;
}

/* Up to which index this group has to be sealed, so that no damaged file is needed; 0: none is. */
static uint64_t endangered(const struct shard *shard, const struct group_state *state,
                           uint64_t sealed)
{
    const struct node *node = shard->worker->node;
    uint32_t number = scrub_damaged_log(node->scrub);
    uint64_t index;

    if (number == 0)
        return 0;
    if (!log_last_index(node->log, shard->number, number, &index))
        return shard->meta != NULL ? 0 : sealed + 1; /* The order of a seal begins the next one. */
    if (index <= group_keep_after(shard->group))
        return lacks_a_record(shard, number) ? sealed + 1 : 0;
    /* A seal after this one lets go of what everybody has by now. */
    return index <= sealed && state->all_have >= index ? sealed + 1 : index;
}

void shard_ask_seal(struct shard *shard, const struct group_state *state, uint64_t sealed)
{
    struct seal_ask *ask = ask_of(shard->worker->node, state->server, shard->number);

    if (ask != NULL)
        atomic_store_explicit(&ask->index, endangered(shard, state, sealed), memory_order_relaxed);
}

uint64_t shard_own_ask(const struct node *node, uint32_t group)
{
    const struct seal_ask *ask = ask_of(node, node->server, group);

    return ask == NULL ? 0 : atomic_load_explicit(&ask->index, memory_order_relaxed);
}

void shard_hear_ask(struct node *node, uint64_t server, uint32_t group, uint64_t index,
                    uint64_t now_ms)
{
    struct seal_ask *ask = ask_of(node, server, group);

    if (ask == NULL)
        return;
    atomic_store_explicit(&ask->index, index, memory_order_relaxed);
    atomic_store_explicit(&ask->heard_ms, now_ms, memory_order_relaxed);
}

bool shard_asks_seal(const struct node *node, uint64_t server, uint32_t group)
{
    const struct seal_ask *ask = ask_of(node, server, group);

    return ask != NULL && atomic_load_explicit(&ask->index, memory_order_relaxed) != 0 &&
           worker_now_ms() - atomic_load_explicit(&ask->heard_ms, memory_order_relaxed) < HEARD_MS;
}

/* Who is late knows little of the group's log: the leader says what is wrong. */
static bool believe(const struct shard *shard, const struct group_state *state, uint64_t server,
                    uint64_t index)
{
    if (index <= state->last + AHEAD_MAX)
        return true;
    if (state->leading)
        log_every(DOUBT_MS, LOG_WARN,
                  "group=%u node %" PRIu64 " asks for a seal up to log index %" PRIu64
                  " for the sake of its damaged log, but the log ends at %" PRIu64
                  ": not done; does that node have another version, or bad memory?",
                  shard->number, server, index, state->last);
    return false;
}

bool shard_is_asked(struct shard *shard, const struct group_state *state, uint64_t sealed,
                    uint64_t now_ms)
{
    const struct node *node = shard->worker->node;
    uint64_t most = 0;

    for (uint32_t i = 0; i < node->options.cluster.node_count; i++) {
        const struct seal_ask *ask = &node->seal_asks[(size_t)i * node->groups + shard->number];
        uint64_t index = atomic_load_explicit(&ask->index, memory_order_relaxed);

        if (index > most && believe(shard, state, node->options.cluster.nodes[i].id, index))
            most = index;
    }
    if (most <= sealed || now_ms - shard->asked_ms < AGAIN_MS)
        return false;
    shard->asked_ms = now_ms;
    return true;
}

void shard_save_for_log(struct shard *shard, const struct group_state *state, uint64_t now_ms)
{
    uint64_t saved = meta_saved(shard->meta);

    if (!shard_is_asked(shard, state, saved, now_ms))
        return;
    if (state->applied > saved)
        meta_save_again(shard->meta);
    else if (state->leading) /* Who leads next begins with an entry, behind which all can save. */
        (void)(group_transfer(shard->group, 0) == ERR_OK); /* If not, then in a second. */
}

void shard_leave_for_log(struct shard *shard, const struct group_state *state, uint64_t sealed,
                         uint64_t now_ms)
{
    uint64_t ask = shard_own_ask(shard->worker->node, shard->number);

    if (ask == 0 || ask > sealed || state->all_have >= ask) {
        shard->held_ms = 0;
        return;
    }
    if (shard->held_ms == 0)
        shard->held_ms = now_ms;
    if (state->leading && now_ms - shard->held_ms >= LEAVE_AFTER_MS)
        shard_leave(shard, state, now_ms);
}
