#include "storage/store_compact.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/clk.h"
#include "storage/segment_proof.h"
#include "storage/store_internal.h"

enum {
    PLAN_MOST = 4,   /* That one order has: they run one after the other. */
    HIDDEN_PART = 2, /* Half of a segment's time before the cutoff: it is written anew. */
};

/* ---- One at a time ------------------------------------------------------------------------- */

bool store_wants_compaction(const struct store *store)
{
    return !store->compacting && compactions_next(&store->compactions) != NULL &&
           clk_now_ns() >= store->compact_retry_ns;
}

/* All parts that have files. Those of an input that is not made yet are parts, too: of the next
 * one to be made there are none such. */
static enum err hold_inputs(const struct store *store, const struct compaction *compaction,
                            struct compact_job *job)
{
    uint64_t *parts;
    uint32_t count, found = 0;
    enum err err = compactions_parts(&store->compactions, compaction, &parts, &count);

    if (err != ERR_OK)
        return err;
    job->inputs = malloc(((size_t)count + 1) * sizeof(struct segment *));
    if (job->inputs == NULL) {
        free(parts);
        return err_set(ERR_NO_MEMORY, "a compaction of %u segments", count);
    }
    for (uint32_t s = 0; s < store->segment_count; s++) /* They are in log order. */
        if (compactions_have(parts, count, segment_info(store->segments[s])->number))
            job->inputs[job->input_count++] = segment_ref(store->segments[s]);
    for (uint32_t i = 0; i < count; i++)
        found += compactions_find(&store->compactions, parts[i]) != NULL;
    free(parts);
    CHECK(found + job->input_count == count); /* The manifest was checked. */
    return ERR_OK;
}

static enum err new_job(struct store *store, const struct compaction *compaction,
                        struct compact_job **ret_job)
{
    struct compact_job *job = calloc(1, sizeof *job);
    enum err err;

    CHECK(!store->compacting);
    if (job == NULL)
        return err_set(ERR_NO_MEMORY, "a compaction");
    job->sealer = &store->sealer;
    job->disk = store->options.disk;
    job->dir = store->dir;
    job->shard = store->options.shard;
    job->memory = store->options.compact_memory;
    job->cancel = store->options.cancel;
    job->number = compaction->info.number;
    job->info = compaction->info;
    job->cutoff_ns = compaction->cutoff_ns;
    job->series = catalog_view(store->catalog);
    err = hold_inputs(store, compaction, job);
    if (err == ERR_OK)
        err = marks_copy(&store->tombstones, &job->tombstones);
    if (err != ERR_OK) {
        compact_job_free(job);
        return err;
    }
    store->compacting = true;
    *ret_job = job;
    return ERR_OK;
}

enum err store_compact_begin(struct store *store, struct compact_job **ret_job)
{
    const struct compaction *compaction = compactions_next(&store->compactions);

    CHECK(compaction != NULL);
    return new_job(store, compaction, ret_job);
}

/* What the order says of the segment to be holds for the one that came. Of what else it is known to
 * be clean by now is no matter: others may be ahead. */
static bool is_as_ordered(const struct segment_info *ordered, const struct segment_info *made)
{
    return made->number == ordered->number && made->first_index == ordered->first_index &&
           made->last_index == ordered->last_index && made->database == ordered->database &&
           made->window_first_ns == ordered->window_first_ns &&
           made->window_last_ns == ordered->window_last_ns && made->bound_ns == ordered->bound_ns &&
           made->time_min_ns >= ordered->time_min_ns && made->time_max_ns <= ordered->time_max_ns;
}

enum err store_compact_fetched(struct store *store, uint64_t number, struct segment *segment,
                               struct compact_job **ret_job)
{
    const struct compaction *compaction = compactions_find(&store->compactions, number);
    enum err err;

    if (store->compacting || store->seals_out > 0)
        err = err_set(ERR_BUSY, "%s: a seal or a compaction is out", store->dir);
    else if (compaction == NULL || compaction->input_count == 0)
        err =
            err_set(ERR_NOT_FOUND, "%s: segment %" PRIu64 " is not to be made", store->dir, number);
    else if (segment != NULL && !is_as_ordered(&compaction->info, segment_info(segment)))
        err = err_set(ERR_INVALID, "%s: segment %" PRIu64 " is not what was ordered", store->dir,
                      number);
    else
        err = new_job(store, compaction, ret_job);
    if (err != ERR_OK) {
        segment_unref(segment);
        return err;
    }
    (*ret_job)->segment = segment;
    if (segment != NULL)
        (*ret_job)->info = *segment_info(segment);
    return ERR_OK;
}

bool store_compact_is_stale(const struct store *store, const struct compact_job *job)
{
    return store->seals_out > 0 || compactions_find(&store->compactions, job->number) == NULL;
}

void store_compact_ready(struct store *store, struct compact_job *job)
{
    catalog_view_fini(&job->series);
    job->series = catalog_view(store->catalog);
}

/* One for several, or none at all: there is room. */
static void replace_segments(struct store *store, struct compact_job *job)
{
    uint32_t count = 0;

    last_groups_forget(&store->last_groups);
    for (uint32_t i = 0; i < store->segment_count; i++) {
        struct segment *segment = store->segments[i];

        if (compactions_have(job->replaced, job->replaced_count, segment_info(segment)->number))
            segment_unref(segment);
        else
            store->segments[count++] = segment;
    }
    store->segment_count = count;
    if (job->segment == NULL)
        return;
    while (count > 0 && manifest_compare(segment_info(store->segments[count - 1]), &job->info) > 0)
        count--;
    memmove(store->segments + count + 1, store->segments + count,
            (store->segment_count - count) * sizeof(struct segment *));
    segment_set_clean_index(job->segment, job->info.clean_index);
    store->segments[count] = job->segment;
    store->segment_count++;
    job->segment = NULL;
}

void store_compact_done(struct store *store, struct compact_job *job, bool failed)
{
    CHECK(store->compacting);
    CHECK(failed || job->adopted || job->gone);
    store->compacting = false;
    if (failed) {
        store->compact_retry_ns = clk_now_ns() + COMPACT_RETRY_S * (uint64_t)NS_PER_S;
    } else if (job->adopted) {
        replace_segments(store, job);
        compactions_fini(&store->compactions);
        store->compactions = job->compactions;
        job->compactions = (struct compactions){0};
        store_keep_tombstones(store, job->sealed_index, &job->tombstones);
    }
    compact_job_free(job);
}

/* ---- The leader's choice ------------------------------------------------------------------- */

static bool is_mostly_hidden(const struct store *store, const struct segment_info *info)
{
    int64_t cutoff_ns;

    if (store->cutoff_max_ns <= info->time_min_ns)
        return false;
    cutoff_ns = marks_find(&store->marks, store->databases.names[info->database]).cutoff_ns;
    return cutoff_ns > info->time_min_ns &&
           ((uint64_t)cutoff_ns - (uint64_t)info->time_min_ns) >
               ((uint64_t)info->time_max_ns - (uint64_t)info->time_min_ns) / HIDDEN_PART;
}

static struct compact_segment describe(const struct store *store, const struct segment_info *info,
                                       bool waits)
{
    return (struct compact_segment){
        .number = info->number,
        .database = info->database,
        .window_first_ns = info->window_first_ns,
        .window_last_ns = info->window_last_ns,
        .last_index = info->last_index,
        .bytes = info->size,
        .busy = waits || store_is_gone(store, info),
    };
}

/* In log order, both lists put together; those that become part of others are busy. */
static enum err list_segments(const struct store *store, struct compact_segment **ret_segments,
                              uint32_t *ret_count)
{
    struct compact_segment *segments =
        calloc((size_t)store->segment_count + store->compactions.count + 1, sizeof *segments);
    uint64_t *inputs = NULL;
    uint32_t input_count = 0, count = 0;
    enum err err = compactions_inputs(&store->compactions, &inputs, &input_count);

    if (err == ERR_OK && segments == NULL)
        err = err_set(ERR_NO_MEMORY, "a plan for %u segments", store->segment_count);
    for (uint32_t i = 0; i < store->segment_count && err == ERR_OK; i++) {
        const struct segment_info *info = segment_info(store->segments[i]);

        if (compactions_have(inputs, input_count, info->number))
            continue;
        segments[count] = describe(store, info, false);
        segments[count++].dead =
            segment_proof(store->segments[i]).hit || is_mostly_hidden(store, info);
    }
    for (uint32_t i = 0; i < store->compactions.count && err == ERR_OK; i++) {
        const struct compaction *compaction = &store->compactions.items[i];
        struct compact_segment own =
            describe(store, &compaction->info, compaction->input_count > 0);
        uint32_t at = count;

        if (compactions_have(inputs, input_count, own.number))
            continue;
        while (at > 0 && (segments[at - 1].last_index > own.last_index ||
                          (segments[at - 1].last_index == own.last_index &&
                           segments[at - 1].number > own.number)))
            at--;
        memmove(segments + at + 1, segments + at, (count++ - at) * sizeof *segments);
        segments[at] = own;
    }
    free(inputs);
    if (err != ERR_OK) {
        free(segments);
        return err;
    }
    *ret_segments = segments;
    *ret_count = count;
    return ERR_OK;
}

enum err store_plan_compactions(const struct store *store, const struct compact_rules *rules,
                                struct seal_compaction *ret_compactions, uint32_t *ret_count)
{
    struct compact_segment *segments = NULL;
    uint32_t count = 0;
    enum err err;

    *ret_count = 0;
    /* What was ordered and not made is not planned around. */
    if (store->seals != NULL || compactions_next(&store->compactions) != NULL)
        return ERR_OK;
    err = list_segments(store, &segments, &count);
    if (err == ERR_OK)
        err = compact_plan(segments, count, rules, PLAN_MOST, ret_compactions, ret_count);
    free(segments);
    return err;
}
