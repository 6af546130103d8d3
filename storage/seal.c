#include "storage/seal.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "storage/base/check.h"
#include "storage/base/fault.h"
#include "storage/base/log_line.h"
#include "storage/base/metric.h"
#include "storage/block/seal_order.h"
#include "storage/block/tombstone.h"
#include "storage/catalog_run.h"
#include "storage/compact_order.h"
#include "storage/marks.h"
#include "storage/merge.h"
#include "storage/seal_parts.h"

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
    }
    *ret_job = job;
    return ERR_OK;
}

/* Of an attempt that failed; or of one that nobody took in. */
static void forget_results(struct seal_job *job)
{
    while (job->segment_count > 0)
        segment_unref(job->segments[--job->segment_count]);
    free(job->dropped);
    free(job->cleaned);
    free(job->room);
    job->dropped = NULL;
    job->dropped_count = 0;
    job->cleaned = NULL;
    job->cleaned_count = 0;
    job->room = NULL;
    compactions_fini(&job->compactions);
}

void seal_job_free(struct seal_job *job)
{
    if (job == NULL)
        return;
    for (uint32_t i = 0; i < job->block_count; i++)
        buf_unref(job->blocks[i].entry);
    free(job->blocks);
    buf_unref(job->order);
    bytes_fini(&job->producers);
    bytes_fini(&job->marks);
    bytes_fini(&job->tombstones);
    catalog_view_fini(&job->series);
    catalog_run_unref(job->run);
    forget_results(job);
    free(job->segments);
    free(job);
}

/* ---- Rules --------------------------------------------------------------------------------- */

/* What one seal goes by: which databases there are, and what is asked of each. */
struct rules {
    struct database_map databases;
    struct seal_rule *rules; /* By database. */
    bool *tables;            /* By table: those of the database that is written. */
    struct tombstone *tombstones;
    uint32_t tombstone_count;
};

static void rules_fini(struct rules *rules)
{
    database_map_fini(&rules->databases);
    free(rules->rules);
    free(rules->tables);
    free(rules->tombstones);
}

/* Which tables are the database's. Good until the next call. */
static const bool *rules_tables(const struct rules *rules, uint32_t database)
{
    for (uint32_t i = 0; i < rules->databases.tables; i++)
        rules->tables[i] = rules->databases.of_table[i] == database;
    return rules->tables;
}

static enum err rules_init(const struct seal_job *job, struct rules *rules)
{
    struct seal_database database;
    struct seal_order order;
    enum err err = seal_order_read(job->order, &order);

    CHECK(err == ERR_OK); /* It was applied. */
    err = database_map_extend(&rules->databases, &job->series);
    if (err != ERR_OK)
        return err;
    rules->rules = malloc((rules->databases.count + 1) * sizeof *rules->rules);
    rules->tables = malloc(rules->databases.tables + 1);
    if (rules->rules == NULL || rules->tables == NULL)
        return err_set(ERR_NO_MEMORY, "%u databases", rules->databases.count);
    for (uint32_t i = 0; i < rules->databases.count; i++) {
        struct mark mark = marks_find(&job->marks, rules->databases.names[i]);

        /* An order that erases freezes all that came before it. So did those before this one, and
         * what they erased is not among these blocks. */
        rules->rules[i] = (struct seal_rule){.window_ns = SEAL_WINDOW_DEFAULT_NS,
                                             .cutoff_ns = mark.cutoff_ns,
                                             .gone = mark.erased_index == job->last_index};
    }
    err = tombstones_parse(&job->tombstones, job->last_index, &rules->tombstones,
                           &rules->tombstone_count);
    while (err == ERR_OK && seal_order_next(&order, &database)) {
        uint32_t number = database_map_find(&rules->databases, database.name);

        if (number != DATABASE_NONE)
            rules->rules[number].window_ns = database.window_ns;
    }
    return err;
}

/* ---- In the pool --------------------------------------------------------------------------- */

static enum err add_segment(struct seal_job *job, const struct manifest *manifest,
                            const struct segment_info *info)
{
    if (job->segment_count == job->segment_capacity) {
        uint32_t capacity = job->segment_capacity == 0 ? 4 : 2 * job->segment_capacity;
        struct segment **segments = realloc(job->segments, capacity * sizeof(struct segment *));

        if (segments == NULL)
            return err_set(ERR_NO_MEMORY, "%u segments", capacity);
        job->segments = segments;
        job->segment_capacity = capacity;
    }
    return segment_open(job->sealer->disk, job->sealer->dir, manifest->shard, info,
                        &job->segments[job->segment_count]);
}

void seal_remove_file(const struct sealer *sealer, uint64_t number, const char *end)
{
    char name[SEGMENT_NAME_SIZE];
    char path[PATH_SIZE];
    enum err err;

    segment_name(number, name);
    (void)snprintf(path, sizeof path, "%s/%s%s", sealer->dir, name, end);
    err = sealer->disk->remove(sealer->disk->ctx, path);
    if (err != ERR_OK) /* It counts no more, and goes at the next start. */
        log_warn("%s: it is not needed any more, and could not be removed: %s", path, err_detail());
}

static enum err write_part(struct seal_job *job, const struct rules *rules,
                           const struct seal_part *part, struct manifest *manifest)
{
    const struct sealer *sealer = job->sealer;
    int64_t cutoff_ns = rules->rules[part->database].cutoff_ns;
    struct merge_filter filter = {.tables = rules_tables(rules, part->database),
                                  .from_ns = part->from_ns < cutoff_ns ? cutoff_ns : part->from_ns,
                                  .last_ns = part->last_ns,
                                  .tombstones = rules->tombstones,
                                  .tombstone_count = rules->tombstone_count};
    struct segment_info info = {.number = manifest->next_segment,
                                .first_index = manifest->sealed_index + 1,
                                .last_index = job->last_index};
    struct segment_writer *writer = NULL;
    bool empty = false; /* seal_parts.h */
    enum err err = segment_writer_new(sealer->disk, sealer->dir, manifest->shard, &info, &writer);

    if (err == ERR_OK)
        err = merge_blocks(job->blocks, job->block_count, &job->series, &filter, sealer->memory,
                           sealer->cancel, writer);
    if (err == ERR_OK)
        empty = segment_writer_count(writer) == 0;
    if (err == ERR_OK && !empty)
        err = segment_writer_finish(writer, &info);
    segment_writer_free(writer);
    if (empty) {
        seal_remove_file(sealer, info.number, ".tmp");
        return ERR_OK;
    }
    metric_add(METRIC_WRITTEN_SEALED, info.size);
    info.clean_index = info.last_index;
    info.bound_ns = info.time_max_ns;
    info.database = part->database;
    info.window_first_ns = part->from_ns;
    info.window_last_ns = part->last_ns;
    if (err == ERR_OK && FAULT("seal.segment"))
        err = err_set(ERR_IO, "injected behind a segment");
    if (err == ERR_OK)
        err = manifest_add(manifest, &info);
    if (err == ERR_OK)
        err = add_segment(job, manifest, &info);
    if (err != ERR_OK)
        return err;
    job->segment_count++;
    manifest->next_segment++;
    return ERR_OK;
}

static enum err write_segments(struct seal_job *job, const struct rules *rules,
                               struct manifest *manifest)
{
    struct seal_part *parts = NULL;
    uint32_t count = 0;
    enum err err = seal_parts_find(job->blocks, job->block_count, &job->series, &rules->databases,
                                   rules->rules, &parts, &count);

    for (uint32_t i = 0; i < count && err == ERR_OK; i++)
        err = write_part(job, rules, &parts[i], manifest);
    free(parts);
    if (err == ERR_OK) {
        job->room = malloc(((size_t)manifest->segment_count + 1) * sizeof(struct segment *));
        if (job->room == NULL)
            err = err_set(ERR_NO_MEMORY, "%u segments", manifest->segment_count);
    }
    return err;
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
    enum err err = manifest_copy(from, ret_manifest);

    if (err != ERR_OK)
        return err;
    bytes_put(&ret_manifest->producers, job->producers.data, job->producers.size);
    if (ret_manifest->producers.failed)
        err = err_set(ERR_NO_MEMORY, "producers");
    if (err == ERR_OK)
        err = marks_copy(&job->marks, &ret_manifest->marks);
    if (err != ERR_OK)
        manifest_fini(ret_manifest);
    return err;
}

static enum err take_cleans(struct seal_job *job, const struct seal_order *order,
                            struct manifest *manifest)
{
    if (order->cleans_left == 0)
        return ERR_OK;
    job->cleaned = malloc(order->cleans_left * sizeof *job->cleaned);
    if (job->cleaned == NULL)
        return err_set(ERR_NO_MEMORY, "%u clean segments", order->cleans_left);
    return compact_order_clean(manifest, *order, job->last_index, job->cleaned,
                               &job->cleaned_count);
}

static enum err change_segments(struct seal_job *job, struct manifest *manifest)
{
    struct rules rules = {0};
    struct seal_order order;
    enum err err = seal_order_read(job->order, &order);

    CHECK(err == ERR_OK); /* It was applied. */
    err = rules_init(job, &rules);
    if (err == ERR_OK)
        err = compact_order_drop(manifest, rules.rules, &job->dropped, &job->dropped_count);
    if (err == ERR_OK)
        err = take_cleans(job, &order, manifest);
    if (err == ERR_OK)
        err = compact_order_take(manifest, order, job->last_index, rules.rules);
    if (err == ERR_OK)
        err = write_segments(job, &rules, manifest);
    if (err == ERR_OK)
        err = manifest_keep_tombstones(manifest, &rules.databases, &job->tombstones,
                                       &manifest->tombstones);
    rules_fini(&rules);
    return err;
}

static enum err write_all(struct seal_job *job, struct manifest *manifest)
{
    enum err err = change_segments(job, manifest);

    if (err == ERR_OK && FAULT("seal.catalog"))
        err = err_set(ERR_IO, "injected before the catalog");
    if (err == ERR_OK)
        err = write_catalog(job, manifest);
    if (err == ERR_OK && FAULT("seal.manifest"))
        err = err_set(ERR_IO, "injected before the manifest");
    if (err == ERR_OK)
        err = compactions_copy(&manifest->compactions, &job->compactions);
    if (err != ERR_OK)
        return err;
    manifest->sealed_index = job->last_index;
    manifest->chain = job->chain;
    manifest->rows = job->rows;
    manifest->points = job->points;
    return ERR_OK;
}

/* Others look at the manifest by the lock: store_damage.h. */
static enum err replace_manifest(struct seal_job *job, struct manifest *manifest)
{
    struct sealer *sealer = job->sealer;
    enum err err;

    (void)pthread_mutex_lock(&sealer->lock);
    err = manifest_save(manifest, sealer->disk, sealer->dir);
    if (err == ERR_OK) {
        take_run(sealer, job->run, &sealer->manifest.catalog, &manifest->catalog);
        manifest_fini(&sealer->manifest);
        sealer->manifest = *manifest;
    }
    (void)pthread_mutex_unlock(&sealer->lock);
    return err;
}

static enum err seal_one(struct seal_job *job)
{
    struct sealer *sealer = job->sealer;
    struct manifest manifest;
    enum err err = copy_manifest(&sealer->manifest, job, &manifest);

    if (err != ERR_OK)
        return err;
    forget_results(job);
    err = write_all(job, &manifest);
    if (err == ERR_OK)
        err = replace_manifest(job, &manifest);
    if (err != ERR_OK) {
        manifest_fini(&manifest);
        return err_wrap(err, "shard %u: sealing log index %" PRIu64 " to %" PRIu64,
                        sealer->manifest.shard, sealer->manifest.sealed_index + 1, job->last_index);
    }
    job->sealed = true;
    /* There is room: they are some of those that are there. */
    bytes_clear(&job->tombstones);
    bytes_put(&job->tombstones, manifest.tombstones.data, manifest.tombstones.size);
    for (uint32_t i = 0; i < job->dropped_count && !FAULT("seal.remove"); i++)
        seal_remove_file(sealer, job->dropped[i], "");
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
