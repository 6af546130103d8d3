#include "storage/seal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/fault.h"
#include "storage/catalog_run.h"
#include "storage/merge.h"

enum { PATH_SIZE = 4096 };

enum err seal_job_new(struct sealer *sealer, const struct head_block *blocks, uint32_t count,
                      struct seal_job **ret_job)
{
    struct seal_job *job = calloc(1, sizeof *job);

    if (job != NULL && count > 0)
        job->blocks = malloc(count * sizeof *job->blocks);
    if (job == NULL || (count > 0 && job->blocks == NULL)) {
        free(job);
        return err_set(ERR_NO_MEMORY, "a seal of %u blocks", count);
    }
    job->sealer = sealer;
    job->block_count = count;
    for (uint32_t i = 0; i < count; i++) {
        job->blocks[i] = blocks[i];
        (void)buf_ref(blocks[i].entry);
        job->block_rows += blocks[i].rows;
    }
    *ret_job = job;
    return ERR_OK;
}

void seal_job_free(struct seal_job *job)
{
    if (job == NULL)
        return;
    for (uint32_t i = 0; i < job->block_count; i++)
        buf_unref(job->blocks[i].entry);
    free(job->blocks);
    bytes_fini(&job->producers);
    segment_unref(job->segment);
    catalog_view_fini(&job->series);
    catalog_run_unref(job->run);
    free(job);
}

/* ---- In the pool --------------------------------------------------------------------------- */

static enum err write_segment(struct seal_job *job, struct manifest *manifest)
{
    const struct sealer *sealer = job->sealer;
    struct segment_info info = {.number = manifest->next_segment,
                                .first_index = manifest->sealed_index + 1,
                                .last_index = job->last_index};
    struct segment_writer *writer = NULL;
    enum err err;

    if (job->block_rows == 0)
        return ERR_OK;
    err = segment_writer_new(sealer->disk, sealer->dir, manifest->shard, &info, &writer);
    if (err == ERR_OK)
        err = merge_blocks(job->blocks, job->block_count, &job->series, NULL, sealer->memory,
                           sealer->cancel, writer);
    if (err == ERR_OK)
        err = segment_writer_finish(writer, &info);
    segment_writer_free(writer);
    if (err == ERR_OK)
        err = manifest_add(manifest, &info);
    if (err != ERR_OK)
        return err;
    manifest->next_segment++;
    segment_unref(job->segment); /* Of an attempt that failed later. */
    job->segment = NULL;
    return segment_open(sealer->disk, sealer->dir, manifest->shard, &info, &job->segment);
}

static enum err write_catalog(struct seal_job *job, struct manifest *manifest)
{
    const struct sealer *sealer = job->sealer;

    if (job->series.count == catalog_files_series(&manifest->catalog))
        return ERR_OK;
    catalog_run_unref(job->run); /* Of an attempt that failed later. */
    job->run = NULL;
    return catalog_file_write(sealer->disk, sealer->dir, manifest->shard, &job->series,
                              &manifest->catalog, sealer->runs, sealer->cancel, &job->run);
}

/* The manifest on disk names the new run: those that are in it are not needed any more. What cannot
 * be removed is left to the next start. */
static void take_run(struct sealer *sealer, struct catalog_run *run,
                     const struct catalog_files *before, const struct catalog_files *now)
{
    if (run == NULL)
        return;
    for (uint32_t i = now->count - 1; i < before->count; i++) {
        char name[CATALOG_FILE_NAME_SIZE];
        char path[PATH_SIZE];

        catalog_run_unref(sealer->runs[i]);
        sealer->runs[i] = NULL;
        catalog_file_name(&before->files[i], name);
        (void)snprintf(path, sizeof path, "%s/%s", sealer->dir, name);
        (void)(sealer->disk->remove(sealer->disk->ctx, path) == ERR_OK);
    }
    sealer->runs[now->count - 1] = catalog_run_ref(run);
}

/* A copy, so that a seal that fails half way leaves the manifest in memory as on the disk. */
static enum err copy_manifest(const struct manifest *from, const struct seal_job *job,
                              struct manifest *ret_manifest)
{
    struct manifest copy = *from;
    enum err err = ERR_OK;

    copy.segments = NULL;
    copy.segment_count = 0;
    copy.producers = (struct bytes){0};
    for (uint32_t i = 0; i < from->segment_count && err == ERR_OK; i++)
        err = manifest_add(&copy, &from->segments[i]);
    bytes_put(&copy.producers, job->producers.data, job->producers.size);
    if (err == ERR_OK && copy.producers.failed)
        err = err_set(ERR_NO_MEMORY, "producers");
    if (err != ERR_OK) {
        manifest_fini(&copy);
        return err;
    }
    *ret_manifest = copy;
    return ERR_OK;
}

static enum err write_all(struct seal_job *job, struct manifest *manifest)
{
    enum err err = write_segment(job, manifest);

    if (err == ERR_OK && FAULT("seal.catalog"))
        err = err_set(ERR_IO, "injected before the catalog");
    if (err == ERR_OK)
        err = write_catalog(job, manifest);
    if (err == ERR_OK && FAULT("seal.manifest"))
        err = err_set(ERR_IO, "injected before the manifest");
    if (err != ERR_OK)
        return err;
    manifest->sealed_index = job->last_index;
    manifest->chain = job->chain;
    manifest->rows = job->rows;
    manifest->points = job->points;
    return manifest_save(manifest, job->sealer->disk, job->sealer->dir);
}

static enum err seal_one(struct seal_job *job)
{
    struct sealer *sealer = job->sealer;
    struct manifest manifest;
    enum err err = copy_manifest(&sealer->manifest, job, &manifest);

    if (err != ERR_OK)
        return err;
    err = write_all(job, &manifest);
    if (err != ERR_OK) {
        manifest_fini(&manifest);
        return err_wrap(err, "shard %u: sealing log index %" PRIu64 " to %" PRIu64,
                        sealer->manifest.shard, sealer->manifest.sealed_index + 1, job->last_index);
    }
    take_run(sealer, job->run, &sealer->manifest.catalog, &manifest.catalog);
    manifest_fini(&sealer->manifest);
    sealer->manifest = manifest;
    job->sealed = true;
    return ERR_OK;
}

enum err seal_run(struct seal_job *job)
{
    while (!job->sealed) {
        struct seal_job *oldest = job;
        enum err err;

        while (oldest->before != NULL && !oldest->before->sealed)
            oldest = oldest->before;
        err = seal_one(oldest);
        if (err != ERR_OK)
            return err;
    }
    return ERR_OK;
}
