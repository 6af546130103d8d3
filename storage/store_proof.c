#include "storage/store_proof.h"

#include <stdlib.h>

#include "storage/base/check.h"
#include "storage/base/clk.h"
#include "storage/compact.h"
#include "storage/segment_damage.h"
#include "storage/segment_proof.h"
#include "storage/store_internal.h"

/* ---- Which --------------------------------------------------------------------------------- */

/* A delete whose rows should be erased by now. */
struct erased {
    uint64_t index;
    uint32_t database;
    int64_t first_ns, last_ns;
};

/* Those up to a log index: worked out once for all segments. */
static enum err list_erased(const struct store *store, uint64_t index, struct erased **ret_list,
                            uint32_t *ret_count)
{
    struct tombstone *tombstones = NULL;
    uint32_t count = 0;
    enum err err = tombstones_parse(&store->tombstones, index, &tombstones, &count);
    struct erased *list = err == ERR_OK ? calloc((size_t)count + 1, sizeof *list) : NULL;

    if (err == ERR_OK && list == NULL)
        err = err_set(ERR_NO_MEMORY, "%u deletes", count);
    for (uint32_t i = 0; i < count && err == ERR_OK; i++)
        list[i] = (struct erased){
            tombstones[i].index,
            database_map_find(&store->databases, database_map_name(tombstones[i].table_key)),
            tombstones[i].first_ns, tombstones[i].last_ns};
    free(tombstones);
    if (err != ERR_OK)
        return err;
    *ret_list = list;
    *ret_count = count;
    return ERR_OK;
}

static bool has_erased(const struct erased *list, uint32_t count, uint64_t after,
                       const struct segment_info *info)
{
    for (uint32_t i = 0; i < count; i++)
        if (list[i].index > after && list[i].database == info->database &&
            list[i].first_ns <= info->time_max_ns && list[i].last_ns >= info->time_min_ns)
            return true;
    return false;
}

static uint64_t known_index(const struct segment *segment)
{
    uint64_t clean_index = segment_clean_index(segment);
    uint64_t index = segment_proof(segment).index;

    return index > clean_index ? index : clean_index;
}

static void hold(const struct store *store, const struct erased *list, uint32_t count,
                 const uint64_t *inputs, uint32_t input_count, struct proof_job *job)
{
    for (uint32_t i = 0; i < store->segment_count && job->count < PROOF_SEGMENTS; i++) {
        struct segment *segment = store->segments[i];
        const struct segment_info *info = segment_info(segment);

        if (!segment_proof(segment).hit && !segment_is_damaged(segment) &&
            !compactions_have(inputs, input_count, info->number) && !store_is_gone(store, info) &&
            has_erased(list, count, known_index(segment), info))
            job->items[job->count++] =
                (struct proof_item){.segment = segment_ref(segment), .after = known_index(segment)};
    }
}

/* ---- Out and back -------------------------------------------------------------------------- */

static enum err fill(const struct store *store, struct proof_job *job)
{
    struct erased *list = NULL;
    uint64_t *inputs = NULL;
    uint32_t count = 0, input_count = 0;
    enum err err = list_erased(store, job->upto, &list, &count);

    if (err == ERR_OK)
        err = compactions_inputs(&store->compactions, &inputs, &input_count);
    if (err == ERR_OK)
        hold(store, list, count, inputs, input_count, job);
    free(list);
    free(inputs);
    if (err != ERR_OK || job->count == 0)
        return err;
    job->series = catalog_view(store->catalog);
    return marks_copy(&store->tombstones, &job->tombstones);
}

enum err store_proof_begin(struct store *store, uint64_t erase_index, struct proof_job **ret_job)
{
    struct proof_job *job;
    enum err err;

    *ret_job = NULL;
    CHECK(erase_index <= store->applied_index);
    if (store->compacting || store->tombstones.size == 0 || clk_now_ns() < store->compact_retry_ns)
        return ERR_OK;
    job = calloc(1, sizeof *job);
    if (job == NULL)
        return err_set(ERR_NO_MEMORY, "a proof");
    job->shard = store->options.shard;
    job->cancel = store->options.cancel;
    job->upto = erase_index;
    err = fill(store, job);
    if (err != ERR_OK || job->count == 0) {
        proof_job_free(job);
        return err;
    }
    store->compacting = true;
    *ret_job = job;
    return ERR_OK;
}

void store_proof_done(struct store *store, struct proof_job *job, bool failed)
{
    CHECK(store->compacting);
    store->compacting = false;
    if (failed)
        store->compact_retry_ns = clk_now_ns() + COMPACT_RETRY_S * (uint64_t)NS_PER_S;
    for (uint32_t i = 0; i < job->count; i++)
        if (job->items[i].asked)
            segment_set_proof(job->items[i].segment,
                              (struct segment_proof){job->upto, job->items[i].hit});
    proof_job_free(job);
}

enum err store_plan_cleans(const struct store *store, struct seal_clean *ret_cleans,
                           uint32_t *ret_count)
{
    uint64_t *inputs = NULL;
    uint32_t input_count = 0, count = 0;
    enum err err;

    *ret_count = 0;
    if (store->seals != NULL) /* One of them may say so. */
        return ERR_OK;
    err = compactions_inputs(&store->compactions, &inputs, &input_count);
    for (uint32_t i = 0; i < store->segment_count && err == ERR_OK && count < SEAL_CLEANS_MAX;
         i++) {
        const struct segment *segment = store->segments[i];
        struct segment_proof proof = segment_proof(segment);
        uint64_t number = segment_info(segment)->number;

        if (!proof.hit && proof.index > segment_clean_index(segment) &&
            !compactions_have(inputs, input_count, number))
            ret_cleans[count++] = (struct seal_clean){number, proof.index};
    }
    free(inputs);
    *ret_count = count;
    return err;
}
