/*
 * What a leader orders: thousands of random shards, and what every plan must keep to.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "storage/compact_plan.h"
#include "tests/support/seed.h"

enum { SEGMENTS_MAX = 200, MOST = SEAL_COMPACTIONS_MAX };

static const struct compact_rules rules = {4, 1 << 30, 0, 0};

static struct compact_segment segment(uint64_t number, int64_t window, uint64_t bytes)
{
    return (struct compact_segment){.number = number,
                                    .window_first_ns = window * 100,
                                    .window_last_ns = window * 100 + 99,
                                    .last_index = number,
                                    .bytes = bytes};
}

static uint32_t plan(const struct compact_segment *segments, uint32_t count,
                     const struct compact_rules *by, struct seal_compaction *compactions)
{
    uint32_t planned = 0;

    cr_assert_eq(compact_plan(segments, count, by, MOST, compactions, &planned), ERR_OK);
    return planned;
}

/* ---- Rules --------------------------------------------------------------------------------- */

Test(compact_plan, merges_as_many_of_a_size_as_the_fan_out)
{
    struct compact_segment segments[5];
    struct seal_compaction compactions[MOST];

    for (uint32_t i = 0; i < 5; i++)
        segments[i] = segment(i + 1, 7, i == 0 ? 64 << 20 : 2 << 20);
    cr_assert_eq(plan(segments, 4, &rules, compactions), 0);
    cr_assert_eq(plan(segments, 5, &rules, compactions), 1);
    cr_assert_eq(compactions[0].count, 4);
    cr_assert_eq(compactions[0].inputs[0], 2);
}

Test(compact_plan, leaves_windows_and_databases_apart)
{
    struct compact_segment segments[8];
    struct seal_compaction compactions[MOST];

    for (uint32_t i = 0; i < 8; i++)
        segments[i] = segment(i + 1, i % 2, 1 << 20);
    segments[6].database = 1;
    cr_assert_eq(plan(segments, 8, &rules, compactions), 1);
    cr_assert_eq(compactions[0].count, 4);
    for (uint32_t i = 0; i < 4; i++)
        cr_assert_eq(compactions[0].inputs[i], 2 + 2 * i);
}

Test(compact_plan, takes_no_more_than_one_may_have)
{
    struct compact_segment segments[6];
    struct seal_compaction compactions[MOST];

    for (uint32_t i = 0; i < 6; i++)
        segments[i] = segment(i + 1, 0, 400 << 20);
    cr_assert_eq(plan(segments, 6, &rules, compactions), 1);
    cr_assert_eq(compactions[0].count, 2);
    for (uint32_t i = 0; i < 6; i++)
        segments[i].bytes = 600 << 20; /* Full: any two are too many. */
    cr_assert_eq(plan(segments, 6, &rules, compactions), 0);
}

Test(compact_plan, finishes_a_window_that_is_over_and_quiet)
{
    struct compact_segment segments[2] = {segment(1, 0, 64 << 20), segment(2, 0, 8 << 20)};
    struct compact_rules over = rules;
    struct seal_compaction compactions[MOST];

    over.now_ns = 100;
    over.quiet_index = 1;
    cr_assert_eq(plan(segments, 2, &over, compactions), 0); /* Segment 2 is new. */
    over.quiet_index = 2;
    cr_assert_eq(plan(segments, 2, &over, compactions), 1);
    over.now_ns = 99; /* Its last moment. */
    cr_assert_eq(plan(segments, 2, &over, compactions), 0);
    over.now_ns = 100;
    segments[1].bytes = 64 << 10; /* Not worth to write a thousand times as much for it. */
    cr_assert_eq(plan(segments, 2, &over, compactions), 0);
}

Test(compact_plan, writes_anew_what_is_dead_even_alone)
{
    struct compact_segment segments[2] = {segment(1, 0, 64 << 20), segment(2, 0, 900 << 20)};
    struct seal_compaction compactions[MOST];

    segments[1].dead = true;
    cr_assert_eq(plan(segments, 2, &rules, compactions), 1);
    cr_assert_eq(compactions[0].count, 1);
    cr_assert_eq(compactions[0].inputs[0], 2);
    segments[1].busy = true;
    cr_assert_eq(plan(segments, 2, &rules, compactions), 0);
}

Test(compact_plan, allows_runs_alone)
{
    struct compact_segment segments[4] = {segment(1, 0, 1), segment(2, 0, 1), segment(3, 1, 1),
                                          segment(4, 0, 1)};
    uint32_t at[SEAL_INPUTS_MAX];

    cr_assert(compact_plan_allows(segments, 4, &(struct seal_compaction){2, {2, 4}}, at));
    cr_assert_eq(at[1], 3);
    cr_assert(compact_plan_allows(segments, 4, &(struct seal_compaction){2, {2, 3}}, at));
    cr_assert_not(compact_plan_allows(segments, 4, &(struct seal_compaction){2, {1, 4}}, at));
    cr_assert_not(compact_plan_allows(segments, 4, &(struct seal_compaction){2, {4, 2}}, at));
    cr_assert_not(compact_plan_allows(segments, 4, &(struct seal_compaction){2, {4, 5}}, at));
    /* Of one seal: what comes of 2 and 3 stands behind 4. */
    segments[2].last_index = segments[3].last_index;
    cr_assert_not(compact_plan_allows(segments, 4, &(struct seal_compaction){2, {2, 3}}, at));
    segments[3].window_first_ns = segments[3].window_last_ns = 500;
    cr_assert(compact_plan_allows(segments, 4, &(struct seal_compaction){2, {2, 3}}, at));
    segments[3].database = 1;
    cr_assert_not(compact_plan_allows(segments, 4, &(struct seal_compaction){2, {2, 4}}, at));
    cr_assert_not(compact_plan_allows(segments, 0, &(struct seal_compaction){1, {2}}, at));
}

/* ---- Random shards ------------------------------------------------------------------------- */

static uint32_t make_shard(uint64_t *seed, struct compact_segment *segments)
{
    uint32_t count = (uint32_t)seed_below(seed, SEGMENTS_MAX);

    for (uint32_t i = 0; i < count; i++) {
        segments[i] = segment(i + 1, (int64_t)seed_below(seed, 4),
                              seed_below(seed, UINT64_C(1) << (10 + seed_below(seed, 20))));
        segments[i].database = (uint32_t)seed_below(seed, 2);
        if (seed_below(seed, 10) == 0)
            segments[i].window_first_ns = INT64_MIN; /* All that is older. */
        segments[i].busy = seed_below(seed, 20) == 0;
        segments[i].dead = seed_below(seed, 30) == 0;
    }
    return count;
}

static void check_one(const struct compact_segment *segments, uint32_t count,
                      const struct compact_rules *by, const struct seal_compaction *compaction,
                      bool *taken)
{
    uint32_t at[SEAL_INPUTS_MAX];
    uint64_t bytes = 0;

    cr_assert(compact_plan_allows(segments, count, compaction, at));
    for (uint32_t i = 0; i < compaction->count; i++) {
        cr_assert_not(taken[at[i]], "segment %u twice", at[i]);
        taken[at[i]] = true;
        cr_assert_not(segments[at[i]].busy);
        bytes += segments[at[i]].bytes;
    }
    if (compaction->count == 1)
        cr_assert(segments[at[0]].dead);
    else
        cr_assert_leq(bytes, by->bytes_max);
}

Test(compact_plan, keeps_to_the_rules_in_any_shard)
{
    static struct compact_segment segments[SEGMENTS_MAX];
    uint64_t seed = seed_of_run("compact_plan");

    for (int round = 0; round < 5000; round++) {
        struct compact_rules by = {
            2 + (uint32_t)seed_below(&seed, 8), UINT64_C(1) << (20 + seed_below(&seed, 12)),
            (int64_t)seed_below(&seed, 500), seed_below(&seed, SEGMENTS_MAX)};
        uint32_t count = make_shard(&seed, segments), planned;
        bool taken[SEGMENTS_MAX] = {false};
        struct seal_compaction compactions[MOST];

        planned = plan(segments, count, &by, compactions);
        cr_assert_leq(planned, MOST);
        for (uint32_t i = 0; i < planned; i++)
            check_one(segments, count, &by, &compactions[i], taken);
    }
}

/* ---- How much is written ------------------------------------------------------------------- */

struct amplification {
    uint64_t sealed, written;
    uint32_t segments;
};

/* One in place of the others; all are of one window. */
static uint32_t carry_out(struct compact_segment *segments, uint32_t count,
                          const struct seal_compaction *compaction, uint64_t *ret_bytes)
{
    struct compact_segment made = {0};
    uint32_t at[SEAL_INPUTS_MAX], next = 0, kept = 0;

    cr_assert(compact_plan_allows(segments, count, compaction, at));
    for (uint32_t i = 0; i < count; i++) {
        if (next == compaction->count || i != at[next]) {
            segments[kept++] = segments[i];
            continue;
        }
        *ret_bytes += segments[i].bytes;
        made.bytes += segments[i].bytes;
        if (++next == compaction->count) {
            segments[kept] = segments[i];
            segments[kept++].bytes = made.bytes;
        }
    }
    return kept;
}

/* Seals of `bytes` each into one window, until so many are in it. */
static struct amplification fill(uint32_t fanout, uint64_t bytes, uint32_t seals)
{
    static struct compact_segment segments[SEGMENTS_MAX];
    struct compact_rules by = {fanout, 1 << 30, 0, 0};
    struct amplification found = {0};
    uint32_t count = 0;

    for (uint32_t i = 0; i < seals; i++) {
        struct seal_compaction compactions[MOST];
        uint32_t planned;

        cr_assert_lt(count, SEGMENTS_MAX);
        segments[count++] = segment(i + 1, 0, bytes);
        found.sealed += bytes;
        while ((planned = plan(segments, count, &by, compactions)) > 0)
            for (uint32_t p = 0; p < planned; p++)
                count = carry_out(segments, count, &compactions[p], &found.written);
    }
    found.segments = count;
    return found;
}

Test(compact_plan, writes_a_byte_once_for_each_power_of_the_fan_out)
{
    for (uint32_t fanout = 4; fanout <= 8; fanout += 4) {
        struct amplification small = fill(fanout, 1 << 20, 2000);
        struct amplification large = fill(fanout, 24 << 20, 1000);

        cr_log_info("fan-out %u: seals of 1 MiB are written %.2f times more, leaving %u of 2000; "
                    "of 24 MiB %.2f times, leaving %u of 1000",
                    fanout, (double)small.written / (double)small.sealed, small.segments,
                    (double)large.written / (double)large.sealed, large.segments);
        cr_assert_leq(small.written, (fanout == 4 ? 5 : 4) * small.sealed);
        cr_assert_leq(large.written, (fanout == 4 ? 3 : 2) * large.sealed);
    }
}
