#include "storage/compact_order.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/log_line.h"
#include "storage/compact_plan.h"

/* ---- Compactions --------------------------------------------------------------------------- */

static enum err line_up(const struct manifest *manifest, const struct segment_info ***ret_infos,
                        struct compact_segment **ret_segments, uint32_t *ret_count)
{
    const struct segment_info **infos = NULL;
    struct compact_segment *segments;
    uint32_t count = 0;
    enum err err = manifest_line_up(manifest, &infos, &count);

    if (err != ERR_OK)
        return err;
    segments = calloc((size_t)count + 1, sizeof *segments);
    if (segments == NULL) {
        free(infos);
        return err_set(ERR_NO_MEMORY, "%u segments", count);
    }
    for (uint32_t i = 0; i < count; i++)
        segments[i] = (struct compact_segment){.number = infos[i]->number,
                                               .database = infos[i]->database,
                                               .last_index = infos[i]->last_index,
                                               .window_first_ns = infos[i]->window_first_ns,
                                               .window_last_ns = infos[i]->window_last_ns};
    *ret_infos = infos;
    *ret_segments = segments;
    *ret_count = count;
    return ERR_OK;
}

/* The segment that stands for all of the inputs until it is made. */
static struct segment_info stand_in(const struct segment_info *const *infos, const uint32_t *at,
                                    uint32_t count)
{
    struct segment_info info = *infos[at[0]];

    info.size = info.rows = info.points = info.hash = 0;
    info.groups = 0;
    for (uint32_t i = 1; i < count; i++) {
        const struct segment_info *input = infos[at[i]];

        if (input->first_index < info.first_index)
            info.first_index = input->first_index;
        if (input->window_first_ns < info.window_first_ns)
            info.window_first_ns = input->window_first_ns;
        if (input->window_last_ns > info.window_last_ns)
            info.window_last_ns = input->window_last_ns;
        if (input->time_min_ns < info.time_min_ns)
            info.time_min_ns = input->time_min_ns;
        if (input->bound_ns > info.bound_ns)
            info.bound_ns = input->bound_ns;
        info.last_index = input->last_index;
    }
    info.time_max_ns = info.bound_ns;
    return info;
}

static enum err take_one(struct manifest *manifest, const struct seal_compaction *order,
                         uint64_t index, const struct seal_rule *rules)
{
    const struct segment_info **infos = NULL;
    struct compact_segment *segments = NULL;
    uint32_t at[SEAL_INPUTS_MAX], count = 0;
    enum err err = line_up(manifest, &infos, &segments, &count);

    if (err == ERR_OK && !compact_plan_allows(segments, count, order, at)) {
        log_debug("shard=%u a compaction of %u segments, %" PRIu64 " the first, was ordered at log "
                  "index %" PRIu64 " for what is not there any more: passed over",
                  manifest->shard, order->count, order->inputs[0], index);
    } else if (err == ERR_OK) {
        struct compaction compaction = {.info = stand_in(infos, at, order->count),
                                        .input_count = order->count};

        compaction.info.number = manifest->next_segment;
        compaction.info.clean_index = index;
        compaction.cutoff_ns = rules[compaction.info.database].cutoff_ns;
        compaction.inputs = malloc(order->count * sizeof *compaction.inputs);
        if (compaction.inputs == NULL) {
            err = err_set(ERR_NO_MEMORY, "a compaction of %u segments", order->count);
        } else {
            memcpy(compaction.inputs, order->inputs, order->count * sizeof *compaction.inputs);
            err = compactions_add(&manifest->compactions, &compaction);
        }
        manifest->next_segment += err == ERR_OK;
    }
    free(infos);
    free(segments);
    return err;
}

enum err compact_order_take(struct manifest *manifest, struct seal_order order, uint64_t index,
                            const struct seal_rule *rules)
{
    struct seal_compaction compaction;
    enum err err = ERR_OK;

    while (err == ERR_OK && seal_order_compaction(&order, &compaction))
        err = take_one(manifest, &compaction, index, rules);
    return err;
}

/* ---- Clean segments ------------------------------------------------------------------------ */

/* Made or not: what is known of it. NULL: it is not there. */
static struct segment_info *find_info(const struct manifest *manifest, uint64_t number)
{
    struct compaction *compaction = compactions_find(&manifest->compactions, number);

    if (compaction != NULL)
        return &compaction->info;
    for (uint32_t i = 0; i < manifest->segment_count; i++)
        if (manifest->segments[i].number == number)
            return &manifest->segments[i];
    return NULL;
}

enum err compact_order_clean(struct manifest *manifest, struct seal_order order, uint64_t index,
                             struct seal_clean *ret_taken, uint32_t *ret_count)
{
    struct seal_clean clean;
    uint64_t *inputs = NULL;
    uint32_t input_count = 0, count = 0;
    enum err err = compactions_inputs(&manifest->compactions, &inputs, &input_count);

    if (err != ERR_OK)
        return err;
    while (seal_order_clean(&order, &clean)) {
        struct segment_info *info = find_info(manifest, clean.number);

        /* What becomes part of another one is gone where that one is made. */
        if (info == NULL || compactions_have(inputs, input_count, clean.number) ||
            clean.index <= info->clean_index || clean.index >= index) {
            log_debug("shard=%u segment %" PRIu64 " was said to be clean up to log index %" PRIu64
                      " by log index %" PRIu64 ", which does not fit any more: passed over",
                      manifest->shard, clean.number, clean.index, index);
            continue;
        }
        info->clean_index = clean.index;
        ret_taken[count++] = clean;
    }
    free(inputs);
    *ret_count = count;
    return ERR_OK;
}

/* ---- Drops --------------------------------------------------------------------------------- */

/* Numbers of what goes, ascending. */
struct dead {
    uint64_t *numbers; /* Owned: room for all segments, and what is still to be made. */
    uint32_t count;
};

static enum err find_dead(const struct manifest *manifest, const struct seal_rule *rules,
                          struct dead *dead)
{
    const struct segment_info **infos = NULL;
    uint32_t count = 0;
    enum err err = manifest_line_up(manifest, &infos, &count);

    for (uint32_t i = 0; i < count; i++) {
        const struct seal_rule *rule = &rules[infos[i]->database];

        if (rule->gone || infos[i]->bound_ns < rule->cutoff_ns)
            dead->numbers[dead->count++] = infos[i]->number;
    }
    compactions_sort(dead->numbers, dead->count);
    free(infos);
    return err;
}

/* Inputs have lower numbers, so from the highest one down all are found that go with others. */
static void drop_compactions(struct compactions *list, struct dead *dead)
{
    for (uint32_t i = list->count; i-- > 0;) {
        struct compaction *compaction = &list->items[i];

        if (!compactions_have(dead->numbers, dead->count, compaction->info.number))
            continue;
        for (uint32_t n = 0; n < compaction->input_count; n++)
            dead->numbers[dead->count++] = compaction->inputs[n];
        compactions_sort(dead->numbers, dead->count);
        compactions_remove(list, compaction->info.number);
    }
}

enum err compact_order_drop(struct manifest *manifest, const struct seal_rule *rules,
                            uint64_t **ret_dropped, uint32_t *ret_count)
{
    size_t most = (size_t)manifest->segment_count + manifest->compactions.count;
    struct dead dead = {.numbers = malloc((most + 1) * sizeof *dead.numbers)};
    uint64_t *dropped = malloc((most + 1) * sizeof *dropped);
    uint32_t count = 0;
    enum err err = dead.numbers == NULL || dropped == NULL
                       ? err_set(ERR_NO_MEMORY, "%zu segments", most)
                       : find_dead(manifest, rules, &dead);

    if (err != ERR_OK) {
        free(dead.numbers);
        free(dropped);
        return err;
    }
    drop_compactions(&manifest->compactions, &dead);
    for (uint32_t i = 0; i < manifest->segment_count; i++)
        if (compactions_have(dead.numbers, dead.count, manifest->segments[i].number))
            dropped[count++] = manifest->segments[i].number;
    manifest_remove(manifest, dead.numbers, dead.count);
    free(dead.numbers);
    compactions_sort(dropped, count);
    *ret_dropped = dropped;
    *ret_count = count;
    return ERR_OK;
}
