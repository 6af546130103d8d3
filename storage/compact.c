#include "storage/compact.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/fault.h"
#include "storage/base/metric.h"
#include "storage/database_map.h"
#include "storage/merge.h"
#include "storage/segment_damage.h"

enum {
    SPARE_BYTES = 256 * 1024 * 1024, /* That a compaction leaves free, for seals and the log. */
    PATH_SIZE = 4096,
};

void compact_job_free(struct compact_job *job)
{
    if (job == NULL)
        return;
    for (uint32_t i = 0; i < job->input_count; i++)
        segment_unref(job->inputs[i]);
    free(job->inputs);
    catalog_view_fini(&job->series);
    bytes_fini(&job->tombstones);
    segment_unref(job->segment);
    free(job->replaced);
    compactions_fini(&job->compactions);
    free(job);
}

/* ---- Making -------------------------------------------------------------------------------- */

/* The inputs, opened once more, and their groups as sources of a merge. */
struct sources {
    struct segment **segments;
    uint32_t segment_count;
    struct snapshot_source *sources;
    uint32_t count;
};

/* What was found damaged in here is so for all. */
static void sources_fini(const struct compact_job *job, struct sources *sources)
{
    for (uint32_t i = 0; i < sources->segment_count; i++) {
        if (segment_is_damaged(sources->segments[i]))
            segment_blame(job->inputs[i]);
        segment_unref(sources->segments[i]);
    }
    free(sources->segments);
    free(sources->sources);
}

static void add_groups(struct sources *sources, struct segment *segment)
{
    for (uint32_t i = 0; i < segment_groups(segment); i++)
        sources->sources[sources->count++] = snapshot_group(segment, i);
}

static enum err sources_init(const struct compact_job *job, struct sources *sources)
{
    size_t groups = 0;

    for (uint32_t i = 0; i < job->input_count; i++)
        groups += segment_groups(job->inputs[i]);
    sources->segments = calloc((size_t)job->input_count + 1, sizeof(struct segment *));
    sources->sources = malloc((groups + 1) * sizeof *sources->sources);
    if (sources->segments == NULL || sources->sources == NULL)
        return err_set(ERR_NO_MEMORY, "%zu groups of %u segments", groups, job->input_count);
    for (uint32_t i = 0; i < job->input_count; i++) {
        enum err err = segment_open_again(job->inputs[i], &sources->segments[i]);

        if (err == ERR_CORRUPT)
            segment_blame(job->inputs[i]);
        if (err != ERR_OK)
            return err;
        sources->segment_count++;
        add_groups(sources, sources->segments[i]);
    }
    return ERR_OK;
}

static enum err check_room(const struct compact_job *job)
{
    uint64_t needed = SPARE_BYTES, free_bytes = 0, total = 0;
    enum err err = job->disk->free_bytes(job->disk->ctx, job->dir, &free_bytes, &total);

    for (uint32_t i = 0; i < job->input_count; i++)
        needed += segment_info(job->inputs[i])->size;
    if (err == ERR_OK && free_bytes < needed)
        err = err_set(ERR_DISK_FULL,
                      "%s: %" PRIu64 " MiB are free, and %" PRIu64 " MiB are needed, of which %d "
                      "are left for other work",
                      job->dir, free_bytes >> 20, (needed >> 20) + 1, SPARE_BYTES >> 20);
    return err;
}

static enum err merge_inputs(const struct compact_job *job, const struct sources *sources,
                             struct segment_writer *writer)
{
    struct merge_filter filter = {.from_ns = job->cutoff_ns, .last_ns = INT64_MAX};
    struct tombstone *tombstones = NULL;
    /* Up to the order. If it is known by now to be clean of more, that is nothing to it: what those
     * deletes hide of the inputs is none of its rows anyway. */
    enum err err = tombstones_parse(&job->tombstones, job->info.clean_index, &tombstones,
                                    &filter.tombstone_count);

    if (err != ERR_OK)
        return err;
    filter.tombstones = tombstones;
    err = merge_sources(sources->sources, sources->count, &job->series, &filter, job->memory,
                        job->cancel, writer);
    free(tombstones);
    if (err == ERR_OK && FAULT("compact.merge"))
        err = err_set(ERR_IO, "injected behind a merge");
    return err;
}

/* The file under its name, and what is known of it; `info` stays if it has no rows. */
static enum err make_file(const struct compact_job *job, const struct sources *sources,
                          struct segment_info *info)
{
    struct segment_info made = {
        .number = info->number, .first_index = info->first_index, .last_index = info->last_index};
    struct segment_writer *writer = NULL;
    bool empty = false;
    enum err err = segment_writer_new(job->disk, job->dir, job->shard, &made, &writer);

    if (err == ERR_OK)
        err = merge_inputs(job, sources, writer);
    if (err == ERR_OK)
        empty = segment_writer_count(writer) == 0;
    if (err == ERR_OK && !empty)
        err = segment_writer_finish(writer, &made);
    segment_writer_free(writer);
    if (err == ERR_OK && FAULT("compact.segment"))
        err = err_set(ERR_IO, "injected behind a segment");
    if (err != ERR_OK || empty)
        return err;
    made.clean_index = info->clean_index;
    made.database = info->database;
    made.window_first_ns = info->window_first_ns;
    made.window_last_ns = info->window_last_ns;
    made.bound_ns = info->bound_ns;
    *info = made;
    return ERR_OK;
}

/* A file under its own name stays: a manifest that could not be synced may name it. */
static void remove_temporary(const struct compact_job *job)
{
    char name[SEGMENT_NAME_SIZE], path[PATH_SIZE];
    struct err_note note;

    err_save(&note, ERR_OK);
    segment_name(job->number, name);
    (void)snprintf(path, sizeof path, "%s/%s.tmp", job->dir, name);
    (void)job->disk->remove(job->disk->ctx, path); /* If it stays, the next start removes it. */
    (void)err_restore(&note);
}

enum err compact_run(struct compact_job *job)
{
    struct sources sources = {0};
    struct segment_info info = job->info;
    enum err err = check_room(job);

    CHECK(job->segment == NULL);
    if (err == ERR_OK)
        err = sources_init(job, &sources);
    if (err == ERR_OK)
        err = make_file(job, &sources, &info);
    sources_fini(job, &sources);
    if (err != ERR_OK || info.rows == 0)
        remove_temporary(job);
    if (err == ERR_OK && info.rows > 0)
        err = segment_open(job->disk, job->dir, job->shard, &info, &job->segment);
    if (err != ERR_OK)
        return err_wrap(err, "shard %u: making segment %" PRIu64 " of %u others", job->shard,
                        job->number, job->input_count);
    job->info = info;
    metric_add(METRIC_WRITTEN_COMPACTED, info.size);
    return ERR_OK;
}

/* ---- Adopting ------------------------------------------------------------------------------ */

static enum err keep_tombstones(struct compact_job *job, const struct manifest *from,
                                struct manifest *manifest)
{
    struct database_map databases = {0};
    enum err err = database_map_extend(&databases, &job->series);

    if (err == ERR_OK)
        err = manifest_keep_tombstones(manifest, &databases, &from->tombstones,
                                       &manifest->tombstones);
    database_map_fini(&databases);
    if (err == ERR_OK)
        err = marks_copy(&manifest->tombstones, &job->tombstones);
    return err;
}

/* All parts out of the manifest, and in their place what came of them. An empty one waits for ever.
 */
static enum err put_in_place(struct compact_job *job, struct manifest *manifest)
{
    struct compactions *waiting = &manifest->compactions;
    struct compaction *compaction = compactions_find(waiting, job->number);
    uint64_t *parts = NULL;
    uint32_t count = 0;
    enum err err = compactions_parts(waiting, compaction, &parts, &count);

    if (err != ERR_OK)
        return err;
    job->info.clean_index = compaction->info.clean_index; /* It may be more by now. */
    free(compaction->inputs);
    compaction->inputs = NULL;
    compaction->input_count = 0;
    /* Those of its inputs may be known better here than where they were not made themselves. */
    compaction->info.time_min_ns = compaction->info.time_max_ns = compaction->info.bound_ns;
    if (job->segment != NULL) {
        compactions_remove(waiting, job->number);
        err = manifest_add(manifest, &job->info);
    }
    for (uint32_t i = 0; i < count; i++)
        compactions_remove(waiting, parts[i]); /* Those that were empty, or not made here. */
    manifest_remove(manifest, parts, count);
    free(parts);
    return err;
}

static enum err list_inputs(struct compact_job *job)
{
    free(job->replaced);
    job->replaced = malloc(((size_t)job->input_count + 1) * sizeof *job->replaced);
    if (job->replaced == NULL)
        return err_set(ERR_NO_MEMORY, "%u segments", job->input_count);
    for (uint32_t i = 0; i < job->input_count; i++)
        job->replaced[i] = segment_info(job->inputs[i])->number;
    job->replaced_count = job->input_count;
    compactions_sort(job->replaced, job->replaced_count);
    return ERR_OK;
}

static enum err change_manifest(struct compact_job *job, struct manifest *manifest)
{
    const struct sealer *sealer = job->sealer;
    enum err err = put_in_place(job, manifest);

    bytes_put(&manifest->producers, sealer->manifest.producers.data,
              sealer->manifest.producers.size);
    if (err == ERR_OK && manifest->producers.failed)
        err = err_set(ERR_NO_MEMORY, "producers");
    if (err == ERR_OK)
        err = marks_copy(&sealer->manifest.marks, &manifest->marks);
    if (err == ERR_OK)
        err = keep_tombstones(job, &sealer->manifest, manifest);
    compactions_fini(&job->compactions); /* Of an attempt before. */
    if (err == ERR_OK)
        err = compactions_copy(&manifest->compactions, &job->compactions);
    if (err == ERR_OK && FAULT("compact.manifest"))
        err = err_set(ERR_IO, "injected before the manifest");
    return err;
}

/* Others look at the manifest by the lock: store_damage.h. */
static enum err replace_manifest(struct sealer *sealer, struct manifest *manifest)
{
    enum err err;

    (void)pthread_mutex_lock(&sealer->lock);
    err = manifest_save(manifest, sealer->disk, sealer->dir);
    if (err == ERR_OK) {
        manifest_fini(&sealer->manifest);
        sealer->manifest = *manifest;
    }
    (void)pthread_mutex_unlock(&sealer->lock);
    return err;
}

enum err compact_adopt(struct compact_job *job)
{
    struct sealer *sealer = job->sealer;
    struct manifest manifest;
    enum err err;

    if (compactions_find(&sealer->manifest.compactions, job->number) == NULL) {
        job->gone = true;
        if (job->segment != NULL)
            seal_remove_file(sealer, job->number, "");
        return ERR_OK;
    }
    err = list_inputs(job);
    if (err == ERR_OK)
        err = manifest_copy(&sealer->manifest, &manifest);
    if (err != ERR_OK)
        return err;
    err = change_manifest(job, &manifest);
    if (err == ERR_OK)
        err = replace_manifest(sealer, &manifest);
    if (err != ERR_OK) {
        manifest_fini(&manifest);
        return err_wrap(err, "shard %u: taking in segment %" PRIu64, job->shard, job->number);
    }
    job->sealed_index = manifest.sealed_index;
    job->adopted = true;
    metric_add(METRIC_SEGMENT_COMPACTED, job->replaced_count);
    for (uint32_t i = 0; i < job->replaced_count && !FAULT("compact.remove"); i++)
        seal_remove_file(sealer, job->replaced[i], "");
    return ERR_OK;
}
