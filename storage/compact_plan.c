#include "storage/compact_plan.h"

#include <stdlib.h>

enum {
    UNIT_BYTES = 1024,  /* Smaller ones are all of the lowest tier. */
    LAST_GROWS_BY = 16, /* To finish a window, at most so many bytes are written for a new one. */
};

/* ---- Runs ---------------------------------------------------------------------------------- */

static bool overlap(const struct compact_segment *a, const struct compact_segment *b)
{
    return a->window_first_ns <= b->window_last_ns && b->window_first_ns <= a->window_last_ns;
}

/* `between` has the same rows' times as some input. */
static bool is_in_the_way(const struct compact_segment *segments, const uint32_t *at,
                          uint32_t count, const struct compact_segment *between)
{
    if (between->database != segments[at[0]].database)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (overlap(&segments[at[i]], between))
            return true;
    return false;
}

bool compact_plan_allows(const struct compact_segment *segments, uint32_t count,
                         const struct seal_compaction *compaction, uint32_t *ret_at)
{
    uint32_t place = 0, next = 0;
    uint64_t last_index;

    for (uint32_t i = 0; i < compaction->count; i++, place++) {
        while (place < count && segments[place].number != compaction->inputs[i])
            place++;
        if (place == count ||
            segments[place].database != segments[i == 0 ? place : ret_at[0]].database)
            return false;
        ret_at[i] = place;
    }
    /* What comes of them has the highest number, so it stands behind all of the same last index. */
    last_index = segments[ret_at[compaction->count - 1]].last_index;
    for (place = ret_at[0]; place < count && segments[place].last_index <= last_index; place++) {
        if (next < compaction->count && place == ret_at[next])
            next++;
        else if (is_in_the_way(segments, ret_at, compaction->count, &segments[place]))
            return false;
    }
    return true;
}

/* ---- Stretches: of one window, one behind the other, and free ------------------------------ */

struct planner {
    const struct compact_segment *segments;
    uint32_t count;
    const struct compact_rules *rules;
    uint32_t *order; /* Places of segments by (database, window, place). */
    bool *taken;     /* By place. */
    uint32_t most;
    struct seal_compaction *compactions;
    uint32_t chosen;
};

static _Thread_local const struct compact_segment *compared; /* qsort() passes nothing along. */

static int compare_places(const void *a, const void *b)
{
    uint32_t left_at = *(const uint32_t *)a, right_at = *(const uint32_t *)b;
    const struct compact_segment *left = &compared[left_at], *right = &compared[right_at];

    if (left->database != right->database)
        return left->database < right->database ? -1 : 1;
    if (left->window_first_ns != right->window_first_ns)
        return left->window_first_ns < right->window_first_ns ? -1 : 1;
    return (left_at > right_at) - (left_at < right_at);
}

static bool is_full(const struct planner *planner, uint32_t place)
{
    return planner->segments[place].bytes > planner->rules->bytes_max / 2;
}

static bool is_free(const struct planner *planner, uint32_t place)
{
    return !planner->segments[place].busy && !planner->taken[place];
}

static unsigned tier_of(const struct planner *planner, uint32_t place)
{
    uint64_t bytes = planner->segments[place].bytes / UNIT_BYTES;
    unsigned tier = 0;

    for (; bytes >= planner->rules->fanout; bytes /= planner->rules->fanout)
        tier++;
    return tier;
}

/* Take as many of places[0..count) as fit, from the first one on. False: not even two. */
static bool choose(struct planner *planner, const uint32_t *places, uint32_t count)
{
    struct seal_compaction *compaction = &planner->compactions[planner->chosen];
    uint32_t at[SEAL_INPUTS_MAX];
    uint64_t bytes = 0;

    compaction->count = 0;
    while (compaction->count < count && compaction->count < SEAL_INPUTS_MAX) {
        const struct compact_segment *segment = &planner->segments[places[compaction->count]];

        if (bytes + segment->bytes > planner->rules->bytes_max)
            break;
        bytes += segment->bytes;
        compaction->inputs[compaction->count++] = segment->number;
    }
    if (compaction->count < 2 ||
        !compact_plan_allows(planner->segments, planner->count, compaction, at))
        return false;
    for (uint32_t i = 0; i < compaction->count; i++)
        planner->taken[at[i]] = true;
    planner->chosen++;
    return true;
}

/* ---- Rules --------------------------------------------------------------------------------- */

/* Enough of one tier, with what is smaller between them; the lowest tier first. */
static void merge_tiers(struct planner *planner, const uint32_t *places, uint32_t count)
{
    enum { TIERS = 64 };

    for (unsigned tier = 0; tier < TIERS; tier++) {
        uint32_t first = 0, equal = 0, larger = 0;

        for (uint32_t i = 0; i <= count && planner->chosen < planner->most; i++) {
            unsigned own = i < count ? tier_of(planner, places[i]) : UINT32_MAX;

            if (own <= tier && is_free(planner, places[i])) {
                equal += own == tier;
                continue;
            }
            if (equal >= planner->rules->fanout)
                (void)choose(planner, places + first, i - first);
            larger += i < count && own > tier;
            first = i + 1;
            equal = 0;
        }
        if (larger == 0)
            return;
    }
}

/* The window is over: one of the rest, unless one of them is nearly all of it. */
static void merge_rest(struct planner *planner, const uint32_t *places, uint32_t count)
{
    uint64_t bytes = 0, largest = 0;

    for (uint32_t i = 0; i < count; i++) {
        const struct compact_segment *segment = &planner->segments[places[i]];

        if (!is_free(planner, places[i]) || segment->last_index > planner->rules->quiet_index ||
            segment->window_last_ns >= planner->rules->now_ns)
            return;
        bytes += segment->bytes;
        largest = segment->bytes > largest ? segment->bytes : largest;
    }
    if (count >= 2 && planner->chosen < planner->most &&
        (bytes - largest) * LAST_GROWS_BY >= largest)
        (void)choose(planner, places, count);
}

static void rewrite_dead(struct planner *planner)
{
    for (uint32_t i = 0; i < planner->count && planner->chosen < planner->most; i++) {
        if (!planner->segments[i].dead || !is_free(planner, i))
            continue;
        planner->taken[i] = true;
        planner->compactions[planner->chosen++] =
            (struct seal_compaction){1, {planner->segments[i].number}};
    }
}

/* ---- All ----------------------------------------------------------------------------------- */

static bool same_window(const struct planner *planner, uint32_t a, uint32_t b)
{
    const struct compact_segment *left = &planner->segments[a], *right = &planner->segments[b];

    return left->database == right->database && left->window_first_ns == right->window_first_ns;
}

static void plan_windows(struct planner *planner)
{
    const uint32_t *order = planner->order;
    uint32_t end;

    for (uint32_t first = 0; first < planner->count; first = end) {
        end = first + 1;
        if (is_full(planner, order[first]) || !is_free(planner, order[first]))
            continue;
        while (end < planner->count && same_window(planner, order[first], order[end]) &&
               !is_full(planner, order[end]) && is_free(planner, order[end]))
            end++;
        merge_tiers(planner, order + first, end - first);
        merge_rest(planner, order + first, end - first);
    }
}

enum err compact_plan(const struct compact_segment *segments, uint32_t count,
                      const struct compact_rules *rules, uint32_t most,
                      struct seal_compaction *ret_compactions, uint32_t *ret_count)
{
    struct planner planner = {.segments = segments,
                              .count = count,
                              .rules = rules,
                              .most = most,
                              .compactions = ret_compactions};

    planner.order = malloc(((size_t)count + 1) * sizeof *planner.order);
    planner.taken = calloc((size_t)count + 1, sizeof *planner.taken);
    if (planner.order == NULL || planner.taken == NULL) {
        free(planner.order);
        free(planner.taken);
        return err_set(ERR_NO_MEMORY, "a plan for %u segments", count);
    }
    for (uint32_t i = 0; i < count; i++)
        planner.order[i] = i;
    compared = segments;
    qsort(planner.order, count, sizeof *planner.order, compare_places);
    if (most > 0) {
        plan_windows(&planner);
        rewrite_dead(&planner);
    }
    free(planner.order);
    free(planner.taken);
    *ret_count = planner.chosen;
    return ERR_OK;
}
