/*
 * What a damaged log asks of its groups: up to which index they are to be sealed, whose asking
 * counts, and when somebody else had better lead. The log, the group and the scrub are played.
 */
#include <criterion/criterion.h>

#include "node/meta.h"
#include "node/scrub.h"
#include "node/shard_io.h"

enum { NODES = 3, GROUPS = 3, HERE = 1, THERE = 2, NOBODY = 9 };

/* ---- What shard_log.c calls ---------------------------------------------------------------- */

static uint64_t now_ms = 100000;
static uint32_t damaged_file; /* 0: none. */
static bool written_still;    /* Nobody knows yet what the damaged file has. */
static uint64_t last_in_file, keep_after, saved;
static uint32_t current_file;
static enum err transfer_says;
static unsigned transfers, saves, leaves;

uint64_t worker_now_ms(void)
{
    return now_ms;
}

uint32_t scrub_damaged_log(const struct scrub *scrub)
{
    (void)scrub;
    return damaged_file;
}

bool log_last_index(struct log *log, uint32_t group, uint32_t number, uint64_t *ret_index)
{
    (void)log;
    (void)group;
    cr_assert_eq(number, damaged_file);
    *ret_index = last_in_file;
    return !written_still;
}

void log_range(struct log *log, uint32_t *ret_first, uint32_t *ret_last)
{
    (void)log;
    *ret_first = damaged_file;
    *ret_last = current_file;
}

uint64_t group_keep_after(const struct group *group)
{
    (void)group;
    return keep_after;
}

enum err group_transfer(struct group *group, uint64_t to)
{
    (void)group;
    cr_assert_eq(to, 0);
    transfers++;
    return transfer_says;
}

int node_find_server(const struct node *node, uint64_t server)
{
    for (uint32_t i = 0; i < node->options.cluster.node_count; i++)
        if (node->options.cluster.nodes[i].id == server)
            return (int)i;
    return -1;
}

uint64_t meta_saved(const struct meta *meta)
{
    (void)meta;
    return saved;
}

void meta_save_again(struct meta *meta)
{
    (void)meta;
    saves++;
}

void shard_leave(struct shard *shard, const struct group_state *state, uint64_t at_ms)
{
    (void)shard;
    (void)state;
    cr_assert_eq(at_ms, now_ms);
    leaves++;
}

/* ---- A node -------------------------------------------------------------------------------- */

static struct seal_ask asks[NODES * GROUPS];
static struct node node = {.server = HERE, .groups = GROUPS, .seal_asks = asks};
static struct worker worker = {.node = &node};
static struct shard shard = {.worker = &worker, .number = 2};
static struct group_state state = {.server = HERE};

static void set_up(void)
{
    node.options.cluster.node_count = NODES;
    for (uint32_t i = 0; i < NODES; i++)
        node.options.cluster.nodes[i].id = i + 1;
}

TestSuite(shard_log, .init = set_up);

static uint64_t asked(uint64_t sealed)
{
    shard_ask_seal(&shard, &state, sealed);
    return shard_own_ask(&node, shard.number);
}

/* ---- What is asked for --------------------------------------------------------------------- */

Test(shard_log, asks_for_nothing_while_the_log_is_well)
{
    last_in_file = 50;
    cr_assert_eq(asked(10), 0);
    damaged_file = 7;
    cr_assert_eq(asked(10), 50);
    damaged_file = 0; /* It is removed. */
    cr_assert_eq(asked(10), 0);
}

Test(shard_log, asks_up_to_the_last_entry_that_stands_in_a_damaged_file)
{
    damaged_file = 7;
    last_in_file = 50;
    cr_assert_eq(asked(49), 50);
    /* Sealed here, and others lack some of it: the group holds it until they do not. */
    state.all_have = 49;
    cr_assert_eq(asked(50), 50);
    /* They have it, but what was kept was told at the last seal: one more lets go of it. */
    state.all_have = 50;
    cr_assert_eq(asked(50), 51);
    cr_assert_eq(asked(60), 61);
    keep_after = 50;
    cr_assert_eq(asked(60), 0);
    last_in_file = 0; /* Nothing of this group stands there. */
    keep_after = 0;
    cr_assert_eq(asked(60), 0);
}

Test(shard_log, asks_for_the_next_seal_while_the_damaged_file_is_still_written)
{
    damaged_file = 7;
    written_still = true;
    cr_assert_eq(asked(10), 11);
    cr_assert_eq(asked(11), 12);
    shard.meta = (struct meta *)&shard; /* Each node saves it when there is something to save. */
    cr_assert_eq(asked(11), 0);
}

/* The log removes a file behind a record that says that the start of the next one is on disk. */
Test(shard_log, the_first_shard_writes_once_more_when_nobody_needs_the_damaged_file)
{
    damaged_file = 7;
    current_file = 8;
    last_in_file = 50;
    keep_after = 50;
    cr_assert_eq(asked(60), 0, "one shard is enough");
    shard.number = 1;
    cr_assert_eq(asked(60), 61);
    cr_assert_eq(asked(61), 62, "until it is removed");
    current_file = 9; /* The start of this one says so of the one before. */
    cr_assert_eq(asked(61), 0);
    current_file = 8;
    last_in_file = 0; /* Nothing of this group stands there. */
    cr_assert_eq(asked(61), 62);
    asks[2].index = 50; /* The other one still needs it, and will write. */
    cr_assert_eq(asked(61), 0);
    asks[2].index = 0;
    asks[0].index = 50;
    cr_assert_eq(asked(61), 0);
    asks[0].index = 0;
    damaged_file = 0;
    cr_assert_eq(asked(61), 0);
}

Test(shard_log, keeps_what_each_group_asks_for_apart)
{
    damaged_file = 7;
    last_in_file = 50;
    cr_assert_eq(asked(10), 50);
    cr_assert_eq(shard_own_ask(&node, 1), 0);
    cr_assert_eq(shard_own_ask(&node, 0), 0);
    node.server = NOBODY; /* Not of this site's settings: it asks nobody, and nothing is written. */
    state.server = NOBODY;
    shard_ask_seal(&shard, &state, 10);
    cr_assert_eq(shard_own_ask(&node, 2), 0);
}

/* ---- Whose asking counts ------------------------------------------------------------------- */

Test(shard_log, believes_others_for_a_short_time)
{
    shard_hear_ask(&node, THERE, 2, 40, now_ms);
    cr_assert(shard_asks_seal(&node, THERE, 2));
    cr_assert_not(shard_asks_seal(&node, THERE, 1));
    cr_assert_not(shard_asks_seal(&node, THERE + 1, 2));
    now_ms += 1999;
    cr_assert(shard_asks_seal(&node, THERE, 2));
    now_ms++;
    cr_assert_not(shard_asks_seal(&node, THERE, 2));
    shard_hear_ask(&node, THERE, 2, 0, now_ms); /* It does not any more. */
    cr_assert_not(shard_asks_seal(&node, THERE, 2));
    shard_hear_ask(&node, NOBODY, 2, 40, now_ms);
    cr_assert_not(shard_asks_seal(&node, NOBODY, 2));
}

Test(shard_log, seals_for_the_one_who_asks_for_most_and_once_a_second)
{
    state.last = 100;
    cr_assert_not(shard_is_asked(&shard, &state, 0, now_ms));
    shard_hear_ask(&node, THERE, 2, 40, now_ms);
    shard_hear_ask(&node, THERE + 1, 2, 60, now_ms);
    shard_hear_ask(&node, THERE, 1, 1000, now_ms); /* Of another group. */
    cr_assert(shard_is_asked(&shard, &state, 59, now_ms));
    cr_assert_not(shard_is_asked(&shard, &state, 59, now_ms + 999));
    cr_assert_not(shard_is_asked(&shard, &state, 60, now_ms + 1000)); /* It is done. */
    cr_assert(shard_is_asked(&shard, &state, 59, now_ms + 1000));
}

Test(shard_log, believes_no_index_that_the_log_cannot_have)
{
    static const uint64_t nonsense[] = {100 + 4096 + 1, UINT64_MAX / 2, UINT64_MAX};

    state.last = 100;
    for (size_t i = 0; i < sizeof nonsense / sizeof *nonsense; i++) {
        state.leading = i > 0; /* Who follows says nothing about it, and does the same. */
        shard_hear_ask(&node, THERE, 2, nonsense[i], now_ms);
        cr_assert_not(shard_is_asked(&shard, &state, 99, now_ms += 1000));
    }
    /* What others ask for counts, and so does what an old leader has more than the one of now. */
    shard_hear_ask(&node, THERE + 1, 2, 60, now_ms);
    cr_assert(shard_is_asked(&shard, &state, 59, now_ms += 1000));
    cr_assert_not(shard_is_asked(&shard, &state, 60, now_ms += 1000));
    shard_hear_ask(&node, THERE, 2, 100 + 4096, now_ms);
    cr_assert(shard_is_asked(&shard, &state, 60, now_ms += 1000));
}

Test(shard_log, hands_the_meta_group_over_for_no_index_that_the_log_cannot_have)
{
    shard_hear_ask(&node, THERE, 2, UINT64_MAX, now_ms);
    state.leading = true;
    state.last = state.applied = saved = 45;
    for (int i = 0; i < 10; i++)
        shard_save_for_log(&shard, &state, now_ms += 1000);
    cr_assert_eq(transfers, 0);
    state.applied = state.last = 46;
    shard_save_for_log(&shard, &state, now_ms += 1000);
    cr_assert_eq(saves, 0);
}

/* ---- The meta group ------------------------------------------------------------------------ */

Test(shard_log, saves_the_meta_group_or_hands_it_over_for_an_entry_to_save_behind)
{
    shard_hear_ask(&node, THERE, 2, 40, now_ms);
    saved = 39;
    state.applied = 45;
    shard_save_for_log(&shard, &state, now_ms);
    cr_assert_eq(saves, 1);
    shard_save_for_log(&shard, &state, now_ms + 500); /* Once a second. */
    cr_assert_eq(saves, 1);
    state.applied = 39; /* All of it is saved, and more is asked for. */
    shard_save_for_log(&shard, &state, now_ms + 1000);
    cr_assert_eq(saves, 1);
    cr_assert_eq(transfers, 0, "who does not lead hands nothing over");
    state.leading = true;
    transfer_says = ERR_BUSY;
    shard_save_for_log(&shard, &state, now_ms + 2000);
    shard_save_for_log(&shard, &state, now_ms + 3000);
    cr_assert_eq(transfers, 2);
    saved = 40;
    shard_save_for_log(&shard, &state, now_ms + 4000);
    cr_assert_eq(saves, 1);
    cr_assert_eq(transfers, 2);
}

/* ---- Leaving ------------------------------------------------------------------------------- */

static void tick_leave(uint64_t sealed)
{
    shard_leave_for_log(&shard, &state, sealed, now_ms);
}

Test(shard_log, leaves_when_others_lack_for_long_what_stands_in_a_damaged_file)
{
    damaged_file = 7;
    last_in_file = 50;
    state.leading = true;
    cr_assert_eq(asked(40), 50);
    tick_leave(40); /* First it is sealed. */
    now_ms += 10000;
    tick_leave(40);
    cr_assert_eq(leaves, 0);
    tick_leave(50); /* Sealed, and somebody lacks it: from here on. */
    now_ms += 2999;
    tick_leave(50);
    cr_assert_eq(leaves, 0);
    now_ms++;
    state.leading = false;
    tick_leave(50);
    cr_assert_eq(leaves, 0);
    state.leading = true;
    tick_leave(50);
    cr_assert_eq(leaves, 1);
    state.all_have = 50; /* Now they have it: the time begins anew when they lack something. */
    tick_leave(50);
    state.all_have = 40;
    tick_leave(50);
    now_ms += 2999;
    tick_leave(50);
    cr_assert_eq(leaves, 1);
}
